// Contract of head_row_f32: one row of a direct convolution with few outputs. No intrinsics: safe everywhere.
#pragma once
#include <cstddef>

namespace microtome {

/// out[x * 16 + o] = bias[o] + sum_{b,t,k,c} in(b,t)[x + k][c] * w[o][b][t][k][c] for x in [0, width) and o
/// in [0, outputs): what conv_row_f32 computes with stride 1 and no tail, for the last layer of a
/// segmentation network. Where conv_row_f32 has an output channel in each lane, this kernel has an input
/// channel: with two classes the other way round would leave most lanes idle.
struct HeadRowArgs {
  const float* in;                 ///< pixel of output pixel 0, tap row 0, tap column 0, block 0
  std::ptrdiff_t block_stride;     ///< floats from one input block of 16 channels to the next
  int blocks;                      ///< input blocks; lanes of unused channels are finite
  const std::ptrdiff_t* tap_rows;  ///< [taps]: float offset of each tap row from `in`
  int taps;                        ///< 1, 3 or 9
  int kernel_width;                ///< 1 or 3
  const float* weights;            ///< [outputs][blocks][taps][kernel_width][16], zero for unused channels
  const float* bias;               ///< [outputs]
  int outputs;                     ///< 1..16
  float* out;                      ///< [width][16]; lanes from `outputs` on are left as they are
  int width;                       ///< pixels, at least 1
};

}  // namespace microtome
