// Prints the chosen instruction set, then those this CPU can run, then those built in: one line each.
#include <cstdio>

#include "microtome/core/error.hpp"
#include "microtome/core/kernel_table.hpp"

int main() {
  try {
    std::printf("%s\n", microtome::active_isa());
    for (const auto& name : microtome::available_isas()) std::printf("%s ", name.c_str());
    std::printf("\n");
    for (const microtome::Isa isa : microtome::built_isas()) std::printf("%s ", to_string(isa));
    std::printf("\n");
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
