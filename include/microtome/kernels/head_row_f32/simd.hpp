// head_row_f32 for every instruction set: lanes are input channels, summed up at the end.
//
// Registers: PX * NO accumulators + NO weights + 1 pixel. 6 px x 2 outputs = 12 + 2 + 1 = 15, as
// conv_row_f32: per weight vector 6 FMA, and a pixel is loaded once for NO of them. A lone output takes 8
// pixels.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int PX, int NO>
inline void head_tile(const HeadRowArgs& a, int x, int o) {
  Vec acc[PX][NO];
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int n = 0; n < NO; ++n) acc[i][n] = Vec(0.0f);
  }
  const std::ptrdiff_t columns =
      static_cast<std::ptrdiff_t>(a.taps) * a.kernel_width * a.blocks * kBlock;  // weights of one output
  const float* w = a.weights + o * columns;
  for (int b = 0; b < a.blocks; ++b)
    for (int t = 0; t < a.taps; ++t) {
      const float* pixel =
          a.in + b * a.block_stride + a.tap_rows[t] + static_cast<std::ptrdiff_t>(x) * kBlock;
      for (int l = 0; l < a.kernel_width * kBlock; l += kLanes, w += kLanes) {
        Vec weight[NO];
        MICROTOME_UNROLL
        for (int n = 0; n < NO; ++n) weight[n] = load(w + n * columns);
        // GCC would notice that the next tap column reads the same pixels, one further, and keep them in
        // registers it does not have.
        MICROTOME_OPAQUE(pixel);
        MICROTOME_UNROLL
        for (int i = 0; i < PX; ++i) {
          Vec value = load(pixel + i * kBlock + l);
          MICROTOME_OPAQUE_VECTOR(value.data);  // else GCC loads it again for each output
          MICROTOME_UNROLL
          for (int n = 0; n < NO; ++n) acc[i][n] = multiply_add(value, weight[n], acc[i][n]);
        }
      }
    }
  MICROTOME_UNROLL
  for (int i = 0; i < PX; ++i) {
    MICROTOME_UNROLL
    for (int n = 0; n < NO; ++n) a.out[(x + i) * kBlock + o + n] = a.bias[o + n] + sum(acc[i][n]);
  }
}

template <int PX, int NO>
inline void head_tile_of(int pixels, const HeadRowArgs& a, int x, int o) {
  if (pixels == PX)
    head_tile<PX, NO>(a, x, o);
  else if constexpr (PX > 1)
    head_tile_of<PX - 1, NO>(pixels, a, x, o);
}

template <int NO>
inline void head_outputs(const HeadRowArgs& a, int o) {
  constexpr int PX = NO == 1 ? 8 : 6;
  int x = 0;
  for (; a.width - x >= PX; x += PX) head_tile<PX, NO>(a, x, o);
  if (x < a.width) head_tile_of<PX, NO>(a.width - x, a, x, o);
}

inline void head_row_f32(const HeadRowArgs& a) {
  int o = 0;
  for (; a.outputs - o >= 2; o += 2) head_outputs<2>(a, o);
  if (o < a.outputs) head_outputs<1>(a, o);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
