// conv_row_f32 for every instruction set: a register tile of PX pixels x NV vectors of output channels.
//
// Registers (16 on SSE2 and AVX2, 32 on AVX-512): PX * NV accumulators + NV weights + 1 broadcast.
//   SSE2     2 px x 4 vec =  8 + 4 + 1 = 13     (no memory-operand broadcast, so one more temporary)
//   AVX2     6 px x 2 vec = 12 + 2 + 1 = 15
//   AVX-512 24 px x 1 vec = 24 + 1     = 25     (broadcasts are memory operands of the FMA)
//   one vector of outputs (few classes): 8 px, enough independent chains for the FMA latency
// Per input channel an AVX2 tile issues 12 FMA, 6 broadcasts and 2 loads: the two FMA ports are the limit.
// 12 independent chains cover the FMA latency of 4-5 cycles at 2 per cycle. An AVX-512 tile issues 24 FMA and
// 25 loads, at 2 per cycle each: the weights' one load is what a wider tile would spread further (14 px: 93 %
// of the FMA ports, 24: 96 %, 28: 97 %), and 24 divides the matrix products of Winograd's two dozen tiles.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int NV>
constexpr int kConvPixels = kLanes == 16 ? 24
                            : NV == 1    ? 8
                            : NV == 2    ? 6
                                         : 2;

template <int PX, int NV, int STRIDE>
inline void conv_tile(const ConvRowArgs& a, int x) {
  Vec acc[PX][NV];
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int v = 0; v < NV; ++v) acc[i][v] = load(a.bias + v * kLanes);
  }
  const float* w = a.weights;
  const float* block = a.in + static_cast<std::ptrdiff_t>(x) * STRIDE * kBlock;
  for (int b = 0; b < a.blocks; ++b, block += a.block_stride) {
    const int channels = a.block_channels[b];
    for (int t = 0; t < a.taps; ++t) {
      const float* pixel = block + a.tap_rows[t];
      for (int k = 0; k < a.kernel_width; ++k, pixel += kBlock) {
#pragma GCC unroll 4
        for (int c = 0; c < channels; ++c, w += kBlock) {
          Vec weight[NV];
          MICROTOME_UNROLL
          for (int v = 0; v < NV; ++v) weight[v] = load(w + v * kLanes);
          MICROTOME_UNROLL
          for (int i = 0; i < PX; ++i) {
            const Vec value(pixel[i * STRIDE * kBlock + c]);
            MICROTOME_UNROLL
            for (int v = 0; v < NV; ++v) acc[i][v] = multiply_add(value, weight[v], acc[i][v]);
          }
        }
      }
    }
  }
  const Vec slope(a.slope);
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(x + i) * kBlock;
    MICROTOME_UNROLL
    for (int v = 0; v < NV; ++v) {
      Vec r = leaky(acc[i][v], slope);
      if (a.residual) r = r + load(a.residual + at + v * kLanes);
      store(a.out + at + v * kLanes, r);
    }
    for (int v = NV; v < kVecs; ++v) store(a.out + at + v * kLanes, Vec(0.0f));
  }
}

template <int PX, int NV, int STRIDE>
inline void conv_tile_of(int pixels, const ConvRowArgs& a, int x) {
  if (pixels == PX)
    conv_tile<PX, NV, STRIDE>(a, x);
  else if constexpr (PX > 1)
    conv_tile_of<PX - 1, NV, STRIDE>(pixels, a, x);
}

template <int NV, int STRIDE>
inline void conv_row(const ConvRowArgs& a) {
  constexpr int PX = kConvPixels<NV>;
  int x = 0;
  for (; a.width - x >= 2 * PX; x += PX) conv_tile<PX, NV, STRIDE>(a, x);
  // The rest, fewer than 2 PX pixels, as two tiles of about equal size: a tile of one or two pixels alone
  // would wait for the FMA latency.
  const int rest = a.width - x;
  const int first = rest > PX ? (rest + 1) / 2 : rest;
  conv_tile_of<PX, NV, STRIDE>(first, a, x);
  if (rest > first) conv_tile_of<PX, NV, STRIDE>(rest - first, a, x + first);
}

inline void conv_row_f32(const ConvRowArgs& a) {
  if (a.stride == 2)
    conv_row<kVecs, 2>(a);
  else if (a.out_channels <= kLanes)
    conv_row<1, 1>(a);
  else
    conv_row<kVecs, 1>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
