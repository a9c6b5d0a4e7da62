// Contract of winograd_output_f32: a row of tiles back from the Winograd domain, with the fused tail of a
// convolution. No intrinsics: safe everywhere.
#pragma once
#include <cstddef>

namespace microtome {

/// Y_t = A^T M_t A (kernels/winograd.hpp), then out = leaky(Y + bias) + residual, for the tiles t of one row
/// and one block of 16 output channels. Of the tiles' pixels only the first `rows` rows and `width` columns
/// exist.
struct WinogradOutputArgs {
  const float* in;                 ///< M: [(tile + 2)^2 positions][tiles][16]
  std::ptrdiff_t position_stride;  ///< floats from one position to the next
  int tile;                        ///< 4 or 6
  const float* bias;               ///< [16]
  float slope;                     ///< LeakyReLU slope in [0, 1]; 1 = no activation
  const float* residual;           ///< added after the activation, or null; may equal `out`
  std::ptrdiff_t residual_stride;  ///< floats from one row to the next
  float* out;                      ///< [rows][width][16]
  std::ptrdiff_t out_stride;       ///< floats from one row to the next
  int rows;                        ///< 1..tile
  int width;                       ///< pixels, at least 1; ceil(width / tile) tiles are read
};

}  // namespace microtome
