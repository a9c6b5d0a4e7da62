// winograd_weights_f32 for every instruction set: lanes are output channels.
#pragma once
#include "../winograd_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int M>
inline void winograd_weights(const WinogradWeightsArgs& a) {
  constexpr int N = M + 2;
  const std::ptrdiff_t tap = static_cast<std::ptrdiff_t>(a.channels) * kBlock;
  MICROTOME_NO_UNROLL
  for (std::ptrdiff_t at = 0; at < tap; at += kLanes) {
    alignas(64) float columns[3 * N * kLanes];
    MICROTOME_NO_UNROLL
    for (int x = 0; x < 3; ++x) {
      const float* w = a.weights + x * tap + at;
      Vec u[N];
      Winograd<M>::weights(load(w), load(w + 3 * tap), load(w + 6 * tap), u);
      MICROTOME_UNROLL
      for (int i = 0; i < N; ++i) store(columns + (i * 3 + x) * kLanes, u[i]);
    }
    float* to = a.out + at;
    MICROTOME_NO_UNROLL
    for (int i = 0; i < N; ++i, to += N * a.position_stride) {
      const float* from = columns + i * 3 * kLanes;
      Vec u[N];
      Winograd<M>::weights(load(from), load(from + kLanes), load(from + 2 * kLanes), u);
      MICROTOME_UNROLL
      for (int j = 0; j < N; ++j) store(to + j * a.position_stride, u[j]);
    }
  }
}

inline void winograd_weights_f32(const WinogradWeightsArgs& a) {
  if (a.tile == 4)
    winograd_weights<4>(a);
  else
    winograd_weights<6>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
