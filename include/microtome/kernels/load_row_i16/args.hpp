// Contract of load_row_i16: what stands between a residual sum and a convolution of an integer network (norm,
// LeakyReLU, 8 bits), applied while a row is copied.
#pragma once
#include <cstdint>

namespace microtome {

/// out[x][c] = to_act(in[x][c] * factor[c] + term[c], m_pos, m_neg, zero_point) of core/requantize.hpp,
/// widened to 16 bits, for x in [0, width), c in [0, 16). The sum in front of it must fit in 32 bits for
/// every in[x][c].
struct LoadRowI16Args {
  const std::int16_t* in;      ///< [width][16] raws
  const std::int16_t* factor;  ///< [16]
  const std::int32_t* term;    ///< [16]
  float m_pos, m_neg;          ///< 0 <= m_neg <= m_pos
  int zero_point;              ///< of the result, 0..255
  std::int16_t* out;           ///< [width][16], 0..255
  int width;
};

}  // namespace microtome
