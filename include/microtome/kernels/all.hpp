// Every operator's implementation for the instruction set of this translation unit.
#pragma once
#include "../core/isa.hpp"

#define MICROTOME_KERNEL_FILE(op) MICROTOME_STR(op/simd.hpp)
#include "kernels.inc"
#undef MICROTOME_KERNEL_FILE
