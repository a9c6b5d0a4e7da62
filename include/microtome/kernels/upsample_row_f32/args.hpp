// Contract of upsample_row_f32: one row of a x2 linear resize (align_corners) with the LeakyReLU that
// follows.
#pragma once
#include <cstdint>

namespace microtome {

/// out[x][c] = leaky((1 - f[x]) * s(lo[x])[c] + f[x] * s(hi[x])[c]),  s(i)[c] = sum_r row_weight[r] *
/// rows[r][i][c] for x in [0, width), c in [0, 16). Rank-free: 2 source rows make it bilinear, 4 trilinear.
/// The caller computes positions as PyTorch's interpolate(align_corners=True): source = i * (n - 1) / (2n -
/// 1).
struct UpsampleRowArgs {
  const float* rows[4];    ///< source rows, [source width][16]
  float row_weight[4];     ///< sum to 1
  int row_count;           ///< 2 (2D) or 4 (3D)
  const std::int32_t* lo;  ///< [width] left source pixel
  const std::int32_t* hi;  ///< [width] right source pixel
  const float* fraction;   ///< [width] weight of the right one, in [0, 1)
  float slope;             ///< LeakyReLU slope in [0, 1]; 1 = no activation
  float* out;              ///< [width][16]
  int width;
};

}  // namespace microtome
