// winograd_input_f32 for every instruction set: columns first, then rows.
//
// The two columns that neighbouring tiles share are transformed once: a strip of columns goes
// through the vertical pass into a buffer that stays in L1, the horizontal pass reads it tile by tile. The
// outer loops must not be unrolled: compilers would interleave several tiles' vectors and spill.
#pragma once
#include "../winograd_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

// Tiles in one go: with more of them, the lines of V that a vector fills by half have left L1 before the
// other half comes.
constexpr int kInputTiles = 2;

template <int M>
inline void winograd_input_tiles(const float* in, std::ptrdiff_t row_stride, int tiles, float* out,
                                 std::ptrdiff_t position_stride) {
  constexpr int N = M + 2;
  alignas(64) float strip[(kInputTiles * M + 2) * N * kLanes];
  float* column = strip;
  MICROTOME_NO_UNROLL
  for (int x = 0; x < tiles * M + 2; ++x, in += kBlock, column += N * kLanes) {
    Vec d[N];
    MICROTOME_UNROLL
    for (int i = 0; i < N; ++i) d[i] = load(in + i * row_stride);
    Winograd<M>::input(d);
    MICROTOME_UNROLL
    for (int i = 0; i < N; ++i) store(column + i * kLanes, d[i]);
  }
  MICROTOME_NO_UNROLL
  for (int t = 0; t < tiles; ++t) {
    const float* from = strip + t * M * N * kLanes;
    float* to = out + t * kBlock;
    MICROTOME_NO_UNROLL
    for (int i = 0; i < N; ++i, from += kLanes, to += N * position_stride) {
      Vec d[N];
      MICROTOME_UNROLL
      for (int j = 0; j < N; ++j) d[j] = load(from + j * N * kLanes);
      Winograd<M>::input(d);
      MICROTOME_UNROLL
      for (int j = 0; j < N; ++j) store(to + j * position_stride, d[j]);
    }
  }
}

template <int M>
inline void winograd_input(const WinogradInputArgs& a) {
  for (int t = 0; t < a.tiles; t += kInputTiles) {
    const int tiles = a.tiles - t < kInputTiles ? a.tiles - t : kInputTiles;
    for (int v = 0; v < kBlock; v += kLanes)
      winograd_input_tiles<M>(a.in + t * M * kBlock + v, a.row_stride, tiles, a.out + t * kBlock + v,
                              a.position_stride);
  }
}

inline void winograd_input_f32(const WinogradInputArgs& a) {
  if (a.tile == 4)
    winograd_input<4>(a);
  else
    winograd_input<6>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
