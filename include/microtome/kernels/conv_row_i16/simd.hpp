// conv_row_i16 for every instruction set: a register tile of PX pixels x NV vectors of output channels, two
// input channels per step.
//
// Registers (16 on SSE2 and AVX2, 32 on AVX-512): PX * NV sums + NV weights + 1 broadcast + 1 product.
//   SSE2     2 px x 4 vec =  8 + 4 + 2 = 14
//   AVX2     6 px x 2 vec = 12 + 2 + 2 = 16
//   AVX-512 24 px x 1 vec = 24 + 1 + 2 = 27
//   one vector of outputs on AVX2 (few classes): 12 px
// The sums go through memory to the tail, which is one piece of code for all tiles.
#pragma once
#include "../int_tail_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int NV>
constexpr int kConvPixelsI16 = kIntLanes == 16 ? 24
                               : NV == 1       ? 12
                               : NV == 2       ? 6
                                               : 2;

template <int PX, int NV, int STRIDE>
inline void conv_tile_i16(const ConvRowI16Args& a, int x, std::int32_t* sums) {
  Ints sum[PX][NV];
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < NV; ++v) sum[i][v] = all_lanes(0);
  }
  const std::int16_t* w = a.weights;
  const std::int16_t* block = a.in + static_cast<std::ptrdiff_t>(x) * STRIDE * kBlock;
  for (int b = 0; b < a.blocks; ++b, block += a.block_stride) {
    const int channels = 2 * a.block_pairs[b];
    for (int t = 0; t < a.taps; ++t) {
      const std::int16_t* pixel = block + a.tap_rows[t];
      for (int k = 0; k < a.kernel_width; ++k, pixel += kBlock) {
        MICROTOME_UNROLL_PAIRS
        for (int c = 0; c < channels; c += 2, w += 2 * kBlock) {
          Ints weight[NV];
          MICROTOME_UNROLL
          for (int v = 0; v < NV; ++v) weight[v] = load_pairs(w + 2 * v * kIntLanes);
          MICROTOME_UNROLL
          for (int i = 0; i < PX; ++i) multiply_add_pair(pixel + i * STRIDE * kBlock + c, weight, sum[i]);
        }
      }
    }
  }
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < kIntVecs; ++v)
      store(sums + i * kBlock + v * kIntLanes, v < NV ? sum[i][v < NV ? v : 0] : all_lanes(0));
  }
}

template <int PX, int NV, int STRIDE>
inline void conv_tile_i16_of(int pixels, const ConvRowI16Args& a, int x, std::int32_t* sums) {
  if (pixels == PX)
    conv_tile_i16<PX, NV, STRIDE>(a, x, sums);
  else if constexpr (PX > 1)
    conv_tile_i16_of<PX - 1, NV, STRIDE>(pixels, a, x, sums);
}

template <int NV, int STRIDE>
inline void conv_row_i16(const ConvRowI16Args& a) {
  constexpr int PX = kConvPixelsI16<NV>;
  alignas(64) std::int32_t sums[PX * kBlock];
  int pixels = 0;
  for (int x = 0; x < a.width; x += pixels) {
    // The rest, fewer than 2 PX pixels, as two tiles of about equal size: a tile of one or two pixels alone
    // would wait for the latency.
    const int rest = a.width - x;
    pixels = rest >= 2 * PX ? PX : rest > PX ? (rest + 1) / 2 : rest;
    conv_tile_i16_of<PX, NV, STRIDE>(pixels, a, x, sums);
    int_tail(a.tail, sums, pixels, static_cast<std::ptrdiff_t>(x) * kBlock,
             static_cast<std::ptrdiff_t>(x) * kBlock);
  }
}

inline void conv_row_i16(const ConvRowI16Args& a) {
  if (a.stride == 2)
    conv_row_i16<kIntVecs, 2>(a);
  else if (a.out_channels <= kIntLanes)
    conv_row_i16<1, 1>(a);
  else
    conv_row_i16<kIntVecs, 1>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
