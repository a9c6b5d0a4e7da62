// image_row_u8 for every instruction set: three scattered floats per pixel, plain scalar code. It is 0.1 % of
// a network's time, so it is not worth shuffles.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

inline void image_row_u8(const ImageRowArgs& a) {
  const std::uint8_t* in = a.in;
  float* out = a.out;
  for (int x = 0; x < a.width; ++x, in += a.channels, out += kBlock)
    for (int c = 0; c < a.channels; ++c) out[c] = static_cast<float>(in[c]) * a.scale[c] + a.shift[c];
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
