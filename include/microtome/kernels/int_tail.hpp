// What the integer convolutions do to their sums. No intrinsics: safe everywhere.
#pragma once
#include <cstdint>

namespace microtome {

/// A pixel's 16 sums v, with the bias, become one of (functions of core/requantize.hpp)
///   act[o]   = to_act(v[o] + bias[o], m_pos[o], m_neg[o], zero_point)
///   raw[o]   = to_raw(v[o] + bias[o], m_pos[o], residual[o])
///   logit[o] = to_logit(v[o] + bias[o], m_pos[o])
/// LeakyReLU is m_neg = slope * m_pos. Lanes without an output channel have weights, bias and multipliers of
/// zero: their act is the zero point, their raw is the residual's.
struct IntTail {
  const std::int32_t* bias;      ///< [16]
  const float* m_pos;            ///< [16]
  const float* m_neg;            ///< [16], read for acts only
  int zero_point;                ///< of acts, 0..255
  const std::int16_t* residual;  ///< added to raws, or null; may equal `raw`
  std::uint8_t* act;             ///< exactly one of these three is set: [pixels][16]
  std::int16_t* raw;
  std::int32_t* logit;
};

}  // namespace microtome
