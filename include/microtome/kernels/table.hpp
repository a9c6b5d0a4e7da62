// The kernel table's type, alone: instruction-set objects include this and nothing that pulls in the C++
// library.
#pragma once
#include "../core/isa.hpp"

#define MICROTOME_KERNEL_FILE(op) MICROTOME_STR(op/args.hpp)
#include "kernels.inc"
#undef MICROTOME_KERNEL_FILE

namespace microtome {

/// One instruction set's kernels. All are single-threaded leaves of type void(const Args&).
struct KernelTable {
  const char* isa;
#define MICROTOME_KERNEL(op, Args) void (*op)(const Args&);
#include "kernels.inc"
#undef MICROTOME_KERNEL
};

}  // namespace microtome
