// Contract of winograd_input_f32: a row of input tiles into the Winograd domain. No intrinsics: safe
// everywhere.
#pragma once
#include <cstddef>

namespace microtome {

/// V_t = B^T d_t B for the tiles t of one row and the 16 channels of one block (kernels/winograd.hpp):
///   d_t[i][j][c] = in[i * row_stride + (t * tile + j) * 16 + c], 0 <= i, j < tile + 2
///   out[(i * (tile + 2) + j) * position_stride + t * 16 + c] = V_t[i][j][c]
/// Neighbouring tiles share two columns of the input. Padding is part of the input, as for conv_row_f32.
struct WinogradInputArgs {
  const float* in;                 ///< [tile + 2 rows][(tiles * tile + 2) pixels][16]
  std::ptrdiff_t row_stride;       ///< floats from one input row to the next
  int tile;                        ///< 4 or 6: output pixels per side
  int tiles;                       ///< at least 1
  float* out;                      ///< [(tile + 2)^2 positions][tiles][16]
  std::ptrdiff_t position_stride;  ///< floats from one position to the next
};

}  // namespace microtome
