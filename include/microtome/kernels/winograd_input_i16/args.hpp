// Contract of winograd_input_i16: a row of input tiles into the integer Winograd domain. No intrinsics: safe
// everywhere.
#pragma once
#include <cstddef>
#include <cstdint>

namespace microtome {

/// V_t = B^T d_t B for the tiles t of one row and the 16 channels of one block (kernels/winograd_int.hpp):
///   d_t[i][j][c] = in[i * row_stride + (t * 4 + j) * 16 + c], 0 <= i, j < 6, all in 0..255
///   out[(i * 6 + j) * position_stride + t * 16 + c] = V_t[i][j][c], within +-17340
/// Neighbouring tiles share two columns of the input. Padding, the zero point, is part of the input.
struct WinogradInputI16Args {
  const std::int16_t* in;          ///< [6 rows][(tiles * 4 + 2) pixels][16]
  std::ptrdiff_t row_stride;       ///< elements from one input row to the next
  int tiles;                       ///< at least 1
  std::int16_t* out;               ///< [36 positions][tiles][16]
  std::ptrdiff_t position_stride;  ///< elements from one position to the next
};

}  // namespace microtome
