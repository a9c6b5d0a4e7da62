// winograd_product_f32 for every instruction set: the register tile of conv_row_f32 without anything around
// it.
//
// Registers: PX * NV sums + NV weights + 1 broadcast, as there: SSE2 2 x 4, AVX2 6 x 2, AVX-512 24 x 1.
// Bound by the two FMA ports; V of the position and U of one block of outputs are in L1.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

constexpr int kProductPixels = kLanes == 16 ? 24 : kLanes == 8 ? 6 : 2;

// Adds to `out` unless `first`.
template <int PX>
inline void product_tile(const WinogradProductArgs& a, const float* in, const float* w, float* out,
                         bool first) {
  Vec acc[PX][kVecs];
  if (first) {
    MICROTOME_UNROLL
    for (int i = 0; i < PX; ++i) {
      MICROTOME_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[i][v] = Vec(0.0f);
    }
  } else {
    MICROTOME_UNROLL
    for (int i = 0; i < PX; ++i) {
      MICROTOME_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[i][v] = load(out + i * kBlock + v * kLanes);
    }
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
                            float* out, bool first) {
  if (tiles == PX)
    product_tile<PX>(a, in, w, out, first);
  else if constexpr (PX > 1)
    product_tile_of<PX - 1>(tiles, a, in, w, out, first);
}

// All tiles, one block of outputs, the channel blocks of `a`.
inline void product_row(const WinogradProductArgs& a, const float* w, float* out, bool first) {
  constexpr int PX = kProductPixels;
  int t = 0;
  for (; a.tiles - t >= 2 * PX; t += PX) product_tile<PX>(a, a.in + t * kBlock, w, out + t * kBlock, first);
  // The rest, fewer than 2 PX tiles, in two about equal parts: one or two alone would wait for the latency.
  const int rest = a.tiles - t, half = rest > PX ? (rest + 1) / 2 : rest;
  product_tile_of<PX>(half, a, a.in + t * kBlock, w, out + t * kBlock, first);
  t += half;
  if (rest > half) product_tile_of<PX>(rest - half, a, a.in + t * kBlock, w, out + t * kBlock, first);
}

inline void winograd_product_f32(const WinogradProductArgs& a) {
  constexpr int kSlab = 16;  // channel blocks whose U, 16 KiB per block of outputs, stays in L1 for all tiles
  WinogradProductArgs slab = a;
  std::ptrdiff_t channels = 0;
  for (int b = 0; b < a.blocks; b += kSlab) {
    slab.blocks = a.blocks - b < kSlab ? a.blocks - b : kSlab;
    slab.block_channels = a.block_channels + b;
    slab.in = a.in + b * a.block_stride;
    for (int o = 0; o < a.outputs; ++o)
      product_row(slab, a.weights + o * a.weight_stride + channels * kBlock, a.out + o * a.out_stride,
                  b == 0);
    for (int i = 0; i < slab.blocks; ++i) channels += slab.block_channels[i];
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
