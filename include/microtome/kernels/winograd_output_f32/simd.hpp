// winograd_output_f32 for every instruction set: columns first, then rows, then the tail of the convolution.
// The outer loops must not be unrolled: compilers would interleave several tiles' vectors and spill.
#pragma once
#include "../winograd_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int M>
inline void winograd_output(const WinogradOutputArgs& a) {
  constexpr int N = M + 2;
  const Vec slope(a.slope);
  for (int v = 0; v < kBlock; v += kLanes) {
    const Vec bias = load(a.bias + v);
    MICROTOME_NO_UNROLL
    for (int x = 0; x < a.width; x += M) {
      const float* tile = a.in + x / M * kBlock + v;
      alignas(64) float columns[M * N * kLanes];
      MICROTOME_NO_UNROLL
      for (int j = 0; j < N; ++j) {
        const float* from = tile + j * a.position_stride;
        Vec m[N];
        MICROTOME_UNROLL
        for (int i = 0; i < N; ++i) m[i] = load(from + i * N * a.position_stride);
        Winograd<M>::output(m);
        MICROTOME_UNROLL
        for (int i = 0; i < M; ++i) store(columns + (i * N + j) * kLanes, m[i]);
      }
      const int wide = a.width - x < M ? a.width - x : M;
      MICROTOME_NO_UNROLL
      for (int i = 0; i < a.rows; ++i) {
        const float* from = columns + i * N * kLanes;
        Vec y[N];
        MICROTOME_UNROLL
        for (int j = 0; j < N; ++j) y[j] = load(from + j * kLanes);
        Winograd<M>::output(y);
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(x) * kBlock + v;
        const float* residual = a.residual ? a.residual + i * a.residual_stride + at : nullptr;
        float* out = a.out + i * a.out_stride + at;
        MICROTOME_UNROLL
        for (int j = 0; j < M; ++j) {
          if (j >= wide) break;
          Vec r = leaky(y[j] + bias, slope);
          if (residual) r = r + load(residual + j * kBlock);
          store(out + j * kBlock, r);
        }
      }
    }
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
