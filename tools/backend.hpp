// Which arithmetic and which device a verb runs on.
#pragma once
#include <initializer_list>
#include <string>

#include "microtome/core/error.hpp"

namespace microtome::tools {

struct BackendArgs {
  std::string precision = "fp32";
  std::string device = "cpu";
};

/// Throws UsageError naming what there is.
inline void check_backend(const BackendArgs& args) {
  const auto check = [](const char* option, const std::string& value,
                        std::initializer_list<const char*> known) {
    std::string list;
    for (const char* k : known) {
      if (value == k) return;
      list += (list.empty() ? "" : ", ") + std::string(k);
    }
    throw UsageError(option, "'" + value + "' is not available; there is: " + list);
  };
  check("--precision", args.precision, {"fp32"});
  check("--device", args.device, {"cpu"});
}

}  // namespace microtome::tools
