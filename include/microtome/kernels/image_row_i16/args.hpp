// Contract of image_row_i16: interleaved 8-bit pixels to the 16 bits that convolutions of integer networks
// read, through a table for each channel.
#pragma once
#include <cstdint>

namespace microtome {

/// out[x][c] = table[c][in[x][c]] for x in [0, width), c in [0, channels), and 0 for c in [channels, 16).
/// The table holds normalisation and quantisation of a channel: it has 256 possible values.
struct ImageRowI16Args {
  const std::uint8_t* in;     ///< [width][channels]
  int channels;               ///< 1..16
  const std::uint8_t* table;  ///< [channels][256]
  std::int16_t* out;          ///< [width][16], 0..255
  int width;
};

}  // namespace microtome
