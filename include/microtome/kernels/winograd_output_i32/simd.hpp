// winograd_output_i32 for every instruction set: columns first, then rows, then the tail for whole pixels.
//
// The outer loops must not be unrolled: compilers would interleave several tiles' vectors and spill.
#pragma once
#include "../int_tail_simd.hpp"
#include "../winograd_int.hpp"
#include "../winograd_int_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

/// Y of one tile and one vector of outputs: `rows` rows of 4 pixels.
inline void winograd_output_i32_tile(const std::int32_t* in, std::ptrdiff_t position_stride, int rows,
                                     std::int32_t* sums) {
  alignas(64) std::int32_t columns[4 * 6 * kIntLanes];
  MICROTOME_NO_UNROLL
  for (int j = 0; j < 6; ++j, in += position_stride) {
    Ints m[6];
    MICROTOME_UNROLL
    for (int i = 0; i < 6; ++i) m[i] = load(in + i * 6 * position_stride);
    WinogradInt::output(m);
    MICROTOME_UNROLL
    for (int i = 0; i < 4; ++i) store(columns + (i * 6 + j) * kIntLanes, m[i]);
  }
  const Ints inverse = all_lanes(WinogradIntMatrices::kInverseOf9);
  MICROTOME_NO_UNROLL
  for (int i = 0; i < rows; ++i, sums += 4 * kBlock) {
    Ints r[6];
    MICROTOME_UNROLL
    for (int j = 0; j < 6; ++j) r[j] = load(columns + (i * 6 + j) * kIntLanes);
    WinogradInt::output(r);
    MICROTOME_UNROLL
    for (int j = 0; j < 4; ++j)
      store(sums + j * kBlock, shift_right<WinogradIntMatrices::kShift>(multiply_low(r[j], inverse)));
  }
}

inline void winograd_output_i32(const WinogradOutputI32Args& a) {
  MICROTOME_NO_UNROLL
  for (int x = 0; x < a.width; x += 4) {
    alignas(64) std::int32_t sums[4 * 4 * kBlock];
    MICROTOME_NO_UNROLL
    for (int v = 0; v < kBlock; v += kIntLanes)
      winograd_output_i32_tile(a.in + x / 4 * kBlock + v, a.position_stride, a.rows, sums + v);
    const int wide = a.width - x < 4 ? a.width - x : 4;
    MICROTOME_NO_UNROLL
    for (int i = 0; i < a.rows; ++i)
      int_tail(a.tail, sums + i * 4 * kBlock, wide, i * a.out_stride + x * kBlock,
               i * a.residual_stride + x * kBlock);
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
