// Contract of widen_row_u8: 8-bit activations to the 16 bits that convolutions of integer networks read.
#pragma once
#include <cstdint>

namespace microtome {

/// out[x][c] = in[x][c] for x in [0, width), c in [0, 16).
struct WidenRowArgs {
  const std::uint8_t* in;  ///< [width][16] acts
  std::int16_t* out;       ///< [width][16], 0..255
  int width;
};

}  // namespace microtome
