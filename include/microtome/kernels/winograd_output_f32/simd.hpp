// winograd_output_f32 for every instruction set: columns first, then rows, then the tail of the convolution.
// The outer loops must not be unrolled: compilers would interleave several tiles' vectors and spill.
#pragma once
#include "../winograd_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

// One tile, lanes [v, v + kLanes) of the block, `wide` columns of it.
template <int M>
inline void winograd_output_tile(const WinogradOutputArgs& a, int x, int v, int wide) {
  constexpr int N = M + 2;
  const Vec slope(a.slope), bias = load(a.bias + v);
  alignas(64) float columns[M * N * kLanes];
  const float* from = a.in + x / M * kBlock + v;
  float* column = columns;
  MICROTOME_NO_UNROLL
  for (int j = 0; j < N; ++j, from += a.position_stride, column += kLanes) {
    Vec m[N];
    MICROTOME_UNROLL
    for (int i = 0; i < N; ++i) m[i] = load(from + i * N * a.position_stride);
    Winograd<M>::output(m);
    MICROTOME_UNROLL
    for (int i = 0; i < M; ++i) store(column + i * N * kLanes, m[i]);
  }
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(x) * kBlock + v;
  const float* residual = a.residual ? a.residual + at : nullptr;
  float* out = a.out + at;
  const float* row = columns;
  MICROTOME_NO_UNROLL
  for (int i = 0; i < a.rows; ++i, row += N * kLanes, out += a.out_stride) {
    Vec y[N];
    MICROTOME_UNROLL
    for (int j = 0; j < N; ++j) y[j] = load(row + j * kLanes);
    Winograd<M>::output(y);
    MICROTOME_UNROLL
    for (int j = 0; j < M; ++j) y[j] = leaky(y[j] + bias, slope);
    if (wide == M) {
      if (residual) {
        MICROTOME_UNROLL
        for (int j = 0; j < M; ++j) y[j] = y[j] + load(residual + j * kBlock);
      }
      MICROTOME_UNROLL
      for (int j = 0; j < M; ++j) store(out + j * kBlock, y[j]);
    } else {
      MICROTOME_UNROLL
      for (int j = 0; j < M; ++j) {
        if (j >= wide) break;
        store(out + j * kBlock, residual ? y[j] + load(residual + j * kBlock) : y[j]);
      }
    }
    if (residual) residual += a.residual_stride;
  }
}

template <int M>
inline void winograd_output(const WinogradOutputArgs& a) {
  // Both halves of a line while it is in L1: M as a whole is not.
  MICROTOME_NO_UNROLL
  for (int x = 0; x < a.width; x += M) {
    MICROTOME_NO_UNROLL
    for (int v = 0; v < kBlock; v += kLanes)
      winograd_output_tile<M>(a, x, v, a.width - x < M ? a.width - x : M);
  }
}

inline void winograd_output_f32(const WinogradOutputArgs& a) {
  if (a.tile == 4)
    winograd_output<4>(a);
  else
    winograd_output<6>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
