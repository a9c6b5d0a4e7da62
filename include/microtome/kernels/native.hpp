// The kernels of this translation unit's own flags, for programs that only include the headers.
// Included by kernel_table.hpp.
#pragma once
#include <vector>

#include "../core/isa.hpp"
#include "all.hpp"
#include "table.hpp"

// The namespace carries the ISA: two translation units with different -m flags get two tables, not one.
#define MICROTOME_NATIVE MICROTOME_CAT(native_, MICROTOME_ISA)

namespace microtome {
inline namespace MICROTOME_NATIVE {

inline const KernelTable& kernels() {
  static const KernelTable table = {
      MICROTOME_STR(MICROTOME_ISA),
#define MICROTOME_KERNEL(op, Args) &MICROTOME_ISA::op,
#include "kernels.inc"
#undef MICROTOME_KERNEL
  };
  return table;
}

inline std::vector<const KernelTable*> runnable_tables() {
  return {&kernels()};
}

}  // namespace MICROTOME_NATIVE
}  // namespace microtome
