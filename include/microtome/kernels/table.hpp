// The kernel table's type, alone: instruction-set objects include this and nothing that pulls in the C++
// library.
#pragma once
#include "conv_row_f32/args.hpp"
#include "head_row_f32/args.hpp"
#include "image_row_u8/args.hpp"
#include "load_row_f32/args.hpp"
#include "probabilities_f32/args.hpp"
#include "upsample_row_f32/args.hpp"
#include "winograd_input_f32/args.hpp"
#include "winograd_output_f32/args.hpp"
#include "winograd_weights_f32/args.hpp"

namespace microtome {

/// One instruction set's kernels. All are single-threaded leaves of type void(const Args&).
struct KernelTable {
  const char* isa;
#define MICROTOME_KERNEL(op, Args) void (*op)(const Args&);
#include "kernels.inc"
#undef MICROTOME_KERNEL
};

}  // namespace microtome
