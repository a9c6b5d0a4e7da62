// Contract of load_row_f32: the affine + LeakyReLU prologue of a convolution, applied while a row is copied.
#pragma once

namespace microtome {

/// out[x][c] = leaky(in[x][c] * scale[c] + shift[c]) for x in [0, width), c in [0, 16).
/// Used where a norm cannot fold into the convolution before it. Padding pixels are not passed through here:
/// they are zero in the activated domain, and leaky(shift) is not.
struct LoadRowArgs {
  const float* in;     ///< [width][16]
  const float* scale;  ///< [16]
  const float* shift;  ///< [16]
  float slope;         ///< LeakyReLU slope in [0, 1]; 1 = no activation
  float* out;          ///< [width][16]
  int width;
};

}  // namespace microtome
