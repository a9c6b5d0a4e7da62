// winograd_product_i16 for every instruction set: the register tile of winograd_product_f32, two channels per
// step.
//
// Registers: PX * NV sums + NV weights + 1 broadcast + 1 product: SSE2 2 x 4, AVX2 6 x 2 (all 16), AVX-512
// 24 x 1. Bound by the units that multiply and add: vpmaddwd and vpaddd share them.
#pragma once
#include "../simd_int.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

constexpr int kProductTilesI16 = kIntLanes == 16 ? 24 : kIntLanes == 8 ? 6 : 2;

template <int PX>
inline void product_tile_i16(const WinogradProductI16Args& a, const std::int16_t* in, const std::int16_t* w,
                             std::int32_t* out) {
  Ints sum[PX][kIntVecs];
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < kIntVecs; ++v) sum[i][v] = all_lanes(0);
  }
  for (int b = 0; b < a.blocks; ++b, in += a.block_stride) {
    const int channels = 2 * a.block_pairs[b];
    MICROTOME_UNROLL_PAIRS
    for (int c = 0; c < channels; c += 2, w += 2 * kBlock) {
      Ints weight[kIntVecs];
      MICROTOME_UNROLL
      for (int v = 0; v < kIntVecs; ++v) weight[v] = load_pairs(w + 2 * v * kIntLanes);
      MICROTOME_UNROLL
      for (int i = 0; i < PX; ++i) multiply_add_pair(in + i * kBlock + c, weight, sum[i]);
    }
  }
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < kIntVecs; ++v) store(out + i * kBlock + v * kIntLanes, sum[i][v]);
  }
}

template <int PX>
inline void product_tile_i16_of(int tiles, const WinogradProductI16Args& a, const std::int16_t* in,
                                const std::int16_t* w, std::int32_t* out) {
  if (tiles == PX)
    product_tile_i16<PX>(a, in, w, out);
  else if constexpr (PX > 1)
    product_tile_i16_of<PX - 1>(tiles, a, in, w, out);
}

inline void winograd_product_i16(const WinogradProductI16Args& a) {
  constexpr int PX = kProductTilesI16;
  for (int o = 0; o < a.outputs; ++o) {
    const std::int16_t* w = a.weights + o * a.weight_stride;
    std::int32_t* out = a.out + o * a.out_stride;
    int t = 0;
    for (; a.tiles - t >= 2 * PX; t += PX) product_tile_i16<PX>(a, a.in + t * kBlock, w, out + t * kBlock);
    // The rest, fewer than 2 PX tiles, in two about equal parts: one or two alone would wait for the latency.
    const int rest = a.tiles - t, first = rest > PX ? (rest + 1) / 2 : rest;
    product_tile_i16_of<PX>(first, a, a.in + t * kBlock, w, out + t * kBlock);
    t += first;
    if (rest > first) product_tile_i16_of<PX>(rest - first, a, a.in + t * kBlock, w, out + t * kBlock);
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
