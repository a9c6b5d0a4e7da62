// winograd_product_f32 for every instruction set: the register tile of conv_row_f32 without anything around
// it.
//
// Registers: PX * NV sums + NV weights + 1 broadcast, as there: SSE2 2 x 4, AVX2 6 x 2, AVX-512 24 x 1.
// Bound by the two FMA ports; V and one block's U of the position are in L1.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

constexpr int kProductPixels = kLanes == 16 ? 24 : kLanes == 8 ? 6 : 2;

template <int PX>
inline void product_tile(const WinogradProductArgs& a, const float* in, const float* w, float* out) {
  Vec acc[PX][kVecs];
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[i][v] = Vec(0.0f);
  }
  for (int b = 0; b < a.blocks; ++b, in += a.block_stride) {
    const int channels = a.block_channels[b];
#pragma GCC unroll 4
    for (int c = 0; c < channels; ++c, w += kBlock) {
      Vec weight[kVecs];
      MICROTOME_UNROLL
      for (int v = 0; v < kVecs; ++v) weight[v] = load(w + v * kLanes);
      MICROTOME_UNROLL
      for (int i = 0; i < PX; ++i) {
        const Vec value(in[i * kBlock + c]);
        MICROTOME_UNROLL
        for (int v = 0; v < kVecs; ++v) acc[i][v] = multiply_add(value, weight[v], acc[i][v]);
      }
    }
  }
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < kVecs; ++v) store(out + i * kBlock + v * kLanes, acc[i][v]);
  }
}

template <int PX>
inline void product_tile_of(int tiles, const WinogradProductArgs& a, const float* in, const float* w,
                            float* out) {
  if (tiles == PX)
    product_tile<PX>(a, in, w, out);
  else if constexpr (PX > 1)
    product_tile_of<PX - 1>(tiles, a, in, w, out);
}

inline void winograd_product_f32(const WinogradProductArgs& a) {
  constexpr int PX = kProductPixels;
  for (int o = 0; o < a.outputs; ++o) {
    const float* w = a.weights + o * a.weight_stride;
    float* out = a.out + o * a.out_stride;
    int t = 0;
    for (; a.tiles - t >= 2 * PX; t += PX) product_tile<PX>(a, a.in + t * kBlock, w, out + t * kBlock);
    // The rest, fewer than 2 PX tiles, in two about equal parts: one or two alone would wait for the latency.
    const int rest = a.tiles - t, first = rest > PX ? (rest + 1) / 2 : rest;
    product_tile_of<PX>(first, a, a.in + t * kBlock, w, out + t * kBlock);
    t += first;
    if (rest > first) product_tile_of<PX>(rest - first, a, a.in + t * kBlock, w, out + t * kBlock);
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
