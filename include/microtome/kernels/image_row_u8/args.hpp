// Contract of image_row_u8: interleaved 8-bit pixels to the blocked float layout, normalised on the way.
#pragma once
#include <cstdint>

namespace microtome {

/// out[x][c] = in[x][c] * scale[c] + shift[c] for x in [0, width), c in [0, channels).
/// Channels above `channels` are left untouched: the convolution does not read them.
struct ImageRowArgs {
  const std::uint8_t* in;  ///< [width][channels]
  int channels;            ///< 1..16
  const float* scale;      ///< [channels], e.g. 1/255
  const float* shift;      ///< [channels]
  float* out;              ///< [width][16]
  int width;
};

}  // namespace microtome
