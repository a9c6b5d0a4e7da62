// winograd_input_i16 for every instruction set: columns first, then rows, as winograd_input_f32.
//
// The two columns that neighbouring tiles share are transformed once: a strip of 4 tiles goes through the
// vertical pass into a buffer that stays in L1, the horizontal pass reads it tile by tile. The outer loops
// must not be unrolled: compilers would interleave several tiles' vectors and spill.
#pragma once
#include "../winograd_int_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

inline void winograd_input_i16_tiles(const std::int16_t* in, std::ptrdiff_t row_stride, int tiles,
                                     std::int16_t* out, std::ptrdiff_t position_stride) {
  constexpr int kTiles = 4;
  alignas(64) std::int16_t strip[(kTiles * 4 + 2) * 6 * kShortLanes];
  std::int16_t* column = strip;
  MICROTOME_NO_UNROLL
  for (int x = 0; x < tiles * 4 + 2; ++x, in += kBlock, column += 6 * kShortLanes) {
    Shorts d[6];
    MICROTOME_UNROLL
    for (int i = 0; i < 6; ++i) d[i] = load_shorts(in + i * row_stride);
    WinogradInt::input(d);
    MICROTOME_UNROLL
    for (int i = 0; i < 6; ++i) store(column + i * kShortLanes, d[i]);
  }
  MICROTOME_NO_UNROLL
  for (int t = 0; t < tiles; ++t) {
    const std::int16_t* from = strip + t * 4 * 6 * kShortLanes;
    std::int16_t* to = out + t * kBlock;
    MICROTOME_NO_UNROLL
    for (int i = 0; i < 6; ++i, from += kShortLanes, to += 6 * position_stride) {
      Shorts d[6];
      MICROTOME_UNROLL
      for (int j = 0; j < 6; ++j) d[j] = load_shorts(from + j * 6 * kShortLanes);
      WinogradInt::input(d);
      MICROTOME_UNROLL
      for (int j = 0; j < 6; ++j) store(to + j * position_stride, d[j]);
    }
  }
}

inline void winograd_input_i16(const WinogradInputI16Args& a) {
  for (int t = 0; t < a.tiles; t += 4) {
    const int tiles = a.tiles - t < 4 ? a.tiles - t : 4;
    for (int v = 0; v < kBlock; v += kShortLanes)
      winograd_input_i16_tiles(a.in + t * 4 * kBlock + v, a.row_stride, tiles, a.out + t * kBlock + v,
                               a.position_stride);
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
