// Contract of conv_row_f32: one row of a direct convolution with a fused tail. No intrinsics: safe
// everywhere.
#pragma once
#include <cstddef>

namespace microtome {

/// out[x][o] = leaky(bias[o] + sum_{b,t,k,c} in(b,t)[x * stride + k][c] * w[b][t][k][c][o]) + residual[x][o]
/// for x in [0, width), o in [0, 16): one row of pixels, one block of 16 output channels.
///
/// The row formulation has no spatial rank: a 2D 3x3 kernel has 3 tap rows, a 3D one 9, a 1x1 one 1.
/// Every array has 16 channels innermost ("a pixel" = 16 floats = one cache line). Zero padding is part of
/// the input: the caller copies rows into a padded strip (layers/strip.hpp), so no border case exists here.
struct ConvRowArgs {
  const float* in;                 ///< pixel of output pixel 0, tap row 0, tap column 0, block 0
  std::ptrdiff_t block_stride;     ///< floats from one input block of 16 channels to the next
  const int* block_channels;       ///< [blocks]: channels in use per block, 1..16 (concats need not be full)
  int blocks;                      ///< input blocks
  const std::ptrdiff_t* tap_rows;  ///< [taps]: float offset of each tap row from `in`
  int taps;                        ///< 1, 3 or 9
  int kernel_width;                ///< 1 or 3
  int stride;                      ///< 1 or 2, along x
  const float* weights;            ///< [block][tap][kernel_width][block_channels[block]][16]
  const float* bias;               ///< [16]
  const float* residual;           ///< [width][16] added after the activation, or null; may equal `out`
  float slope;                     ///< LeakyReLU slope in [0, 1]; 1 = no activation
  int out_channels;                ///< 1..16 in use; weights and bias are zero above, and so is the output
  float* out;                      ///< [width][16]
  int width;                       ///< output pixels, at least 1
};

}  // namespace microtome
