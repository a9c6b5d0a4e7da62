// Which arithmetic and which device a verb runs on.
#pragma once
#include <initializer_list>
#include <string>

#include "microtome/core/error.hpp"
#include "microtome/models/model.hpp"

namespace microtome::tools {

struct BackendArgs {
  std::string precision;  ///< empty: what the model's file is made for
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
  if (!args.precision.empty()) check("--precision", args.precision, {"fp32", "int8"});
  check("--device", args.device, {"cpu"});
}

/// Throws UsageError if the model's file holds weights for another arithmetic than the one asked for.
inline void check_precision(const BackendArgs& args, const Model& model) {
  if (args.precision == "int8" && !model.quantized())
    throw UsageError("--precision",
                     "'" + model.info().path + "' holds floats: microtome quantize makes an int8 file of it");
  if (args.precision == "fp32" && model.quantized())
    throw UsageError("--precision",
                     "'" + model.info().path + "' is an int8 file; give the one it was made from");
}

/// The arithmetic of a model, as --precision names it.
inline const char* precision_of(const Model& model) {
  return model.quantized() ? "int8" : "fp32";
}

}  // namespace microtome::tools
