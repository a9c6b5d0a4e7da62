// image_row_i16 for every instruction set: plain scalar look-ups. Vectors cannot look up bytes in tables of
// 256 faster than a load each.
#pragma once
#include "../simd_int.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

// CHANNELS 0: any number.
template <int CHANNELS>
inline void image_rows_i16(const ImageRowI16Args& a) {
  const int channels = CHANNELS ? CHANNELS : a.channels;
  const std::uint8_t* in = a.in;
  std::int16_t* out = a.out;
  for (int x = 0; x < a.width; ++x, in += channels, out += kBlock) {
    std::memset(out, 0, kBlock * sizeof(std::int16_t));
    for (int c = 0; c < channels; ++c) out[c] = a.table[c * 256 + in[c]];
  }
}

inline void image_row_i16(const ImageRowI16Args& a) {
  a.channels == 3 ? image_rows_i16<3>(a) : image_rows_i16<0>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
