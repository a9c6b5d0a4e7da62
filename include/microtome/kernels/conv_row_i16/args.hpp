// Contract of conv_row_i16: one row of a direct integer convolution with a fused tail. No intrinsics: safe
// everywhere.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../int_tail.hpp"

namespace microtome {

/// sum[x][o] = sum over b, t, k, p and i in {0, 1} of
///     in(b,t)[x * stride + k][2 * p + i] * w[b][t][k][p][o][i]
/// modulo 2^32, then the tail, for x in [0, width), o in [0, 16): one row of pixels, one block of 16 output
/// channels.
///
/// Without spatial rank, as conv_row_f32. The strip holds acts or raws as 16-bit numbers, 16 channels of a
/// pixel side by side. Padding is part of it: zero points. Channels come in pairs, as vpmaddwd multiplies
/// them: the partner that an odd number lacks has weight 0.
struct ConvRowI16Args {
  const std::int16_t* in;          ///< pixel of output pixel 0, tap row 0, tap column 0, block 0
  std::ptrdiff_t block_stride;     ///< elements from one input block of 16 channels to the next
  const int* block_pairs;          ///< [blocks]: channel pairs in use per block, 1..8
  int blocks;                      ///< input blocks
  const std::ptrdiff_t* tap_rows;  ///< [taps]: element offset of each tap row from `in`
  int taps;                        ///< 1, 3 or 9
  int kernel_width;                ///< 1 or 3
  int stride;                      ///< 1 or 2, along x
  const std::int16_t* weights;     ///< [block][tap][kernel_width][pair][16][2], within +-127
  IntTail tail;                    ///< output: [width][16]
  int out_channels;                ///< 1..16 in use; weights, bias and multipliers are zero above
  int width;                       ///< output pixels, at least 1
};

}  // namespace microtome
