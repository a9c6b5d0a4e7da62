// Contract of upsample_row_i16: one row of a x2 linear resize (align_corners) of integers, with the LeakyReLU
// and the step to 8 bits that follow.
#pragma once
#include <cstdint>

namespace microtome {

/// out[x][c] = to_act(v, m_pos, m_neg, zero_point) of core/requantize.hpp, widened to 16 bits, with
///   v = sum_r row_weight[r] * ((128 - f[x]) * rows[r][lo[x]][c] + f[x] * rows[r][hi[x]][c])
/// for x in [0, width), c in [0, 16). Weights are 7-bit fractions: v is 2^14 times the interpolated value,
/// and |v| <= 2^29. Rank-free: 2 source rows make it bilinear, 4 trilinear.
struct UpsampleRowI16Args {
  const std::int16_t* rows[4];   ///< source rows, [source width][16] raws
  std::int16_t row_weight[4];    ///< 0..128, sum to 128
  int row_count;                 ///< 2 (2D) or 4 (3D)
  const std::int32_t* lo;        ///< [width] left source pixel
  const std::int32_t* hi;        ///< [width] right source pixel
  const std::int16_t* fraction;  ///< [width] weight of the right one, 0..128
  float m_pos, m_neg;            ///< 0 <= m_neg <= m_pos
  int zero_point;                ///< of the result, 0..255
  std::int16_t* out;             ///< [width][16], 0..255
  int width;
};

}  // namespace microtome
