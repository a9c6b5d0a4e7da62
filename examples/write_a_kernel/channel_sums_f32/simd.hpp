// channel_sums_f32 for every instruction set: eight vectors of partial sums.
//
// An addition takes 3-4 cycles, and two can start in each. One partial sum per channel would make every
// addition wait for the one before it; eight independent ones keep both units busy. They are kPixels pixels
// x kVecs vectors of channels: 2 x 4 (SSE2), 4 x 2 (AVX2), 8 x 1 (AVX-512). Registers: 8 of 16, the pixels
// are memory operands.
#pragma once
#include <microtome/kernels/simd.hpp>

#include "args.hpp"

// Every instruction set compiles this file in a namespace of its own; the unnamed one keeps the linker from
// merging what is in it (docs/dispatch.md).
namespace microtome::MICROTOME_ISA {
namespace {

inline void channel_sums_f32(const ChannelSumsArgs& a) {
  constexpr int kPixels = 8 / kVecs;
  Vec partial[kPixels][kVecs];
  MICROTOME_UNROLL  // or GCC keeps the array in memory
      for (int i = 0; i < kPixels; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < kVecs; ++v) partial[i][v] = Vec(0.0f);
  }

  const float* in = a.in;
  int left = a.width;
  for (; left >= kPixels; left -= kPixels, in += kPixels * kBlock) {
    MICROTOME_UNROLL
    for (int i = 0; i < kPixels; ++i) {
      MICROTOME_UNROLL
      for (int v = 0; v < kVecs; ++v) partial[i][v] = partial[i][v] + load(in + i * kBlock + v * kLanes);
    }
  }
  for (; left > 0; --left, in += kBlock) {  // the pixels that do not fill a group
    MICROTOME_UNROLL
    for (int v = 0; v < kVecs; ++v) partial[0][v] = partial[0][v] + load(in + v * kLanes);
  }

  MICROTOME_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    Vec sum = partial[0][v];
    MICROTOME_UNROLL
    for (int i = 1; i < kPixels; ++i) sum = sum + partial[i][v];
    store(a.sums + v * kLanes, sum);
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
