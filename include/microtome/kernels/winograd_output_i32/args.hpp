// Contract of winograd_output_i32: a row of tiles back from the integer Winograd domain, with the fused tail
// of a convolution. No intrinsics: safe everywhere.
#pragma once
#include <cstddef>

#include "../int_tail.hpp"

namespace microtome {

/// R_t = A^T M_t A modulo 2^32, Y = R / 576 (kernels/winograd_int.hpp), then the tail, for the tiles t of one
/// row and one block of 16 output channels. Exact if |Y| < 2^25 (core/winograd_bound.hpp). Of the tiles'
/// pixels only the first `rows` rows and `width` columns exist.
struct WinogradOutputI32Args {
  const std::int32_t* in;          ///< M: [36 positions][tiles][16]
  std::ptrdiff_t position_stride;  ///< elements from one position to the next
  IntTail tail;                    ///< output: [rows][width][16]
  std::ptrdiff_t out_stride;       ///< elements from one row of the output to the next
  std::ptrdiff_t residual_stride;  ///< elements from one row of the residual to the next
  int rows;                        ///< 1..4
  int width;                       ///< pixels, at least 1; ceil(width / 4) tiles are read
};

}  // namespace microtome
