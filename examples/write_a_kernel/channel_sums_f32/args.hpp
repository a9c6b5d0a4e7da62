// Contract of channel_sums_f32: the sum of each channel over a row of pixels. No intrinsics: safe everywhere.
#pragma once

namespace microtome {

/// sums[c] = sum over x in [0, width) of in[x][c], for c in [0, 16).
struct ChannelSumsArgs {
  const float* in;  ///< [width][16]
  int width;        ///< pixels, at least 1
  float* sums;      ///< [16]
};

}  // namespace microtome
