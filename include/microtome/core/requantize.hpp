// The exact arithmetic of integer networks: how a 32-bit sum becomes the next layer's input. Every kernel of
// every instruction set, and every other device, gives the bytes that these functions give.
//
//   act    unsigned 8 bit, real value = scale * (q - zero point)    inputs of convolutions
//   raw    signed 16 bit,  real value = scale * q                   residual sums and skips
//   logit  signed 32 bit,  real value = q / 256                     the network's last values
//
// A product of integers becomes any of them by one conversion to float (round to nearest even), ONE
// multiplication, a clamp, and one rounding to integer (nearest even).
//
// - One multiplication and no addition in float: there is nothing that a compiler could contract to an FMA,
//   which rounds once instead of twice and changes bytes. Biases and zero points are integers, added to the
//   sum before or to the result after. LeakyReLU is a second multiplier, the first times the slope, computed
//   when weights are packed.
// - Clamped before it is rounded: the bounds are integers, so the result is the same as the other way round,
//   and a conversion to integer cannot overflow.
// - Processors that flush subnormal numbers to zero change nothing: such products round to zero anyway.
//
// Multipliers are finite and 0 <= m_neg <= m_pos (LeakyReLU's slope is in [0, 1]), so that
// max(v * m_pos, v * m_neg) is the same number as choosing one by the sign of v. Files are checked for it
// when they are loaded. The rounding mode of the processor must be the default.
//
// Kernels do not call these functions (docs/dispatch.md says why); the references they are tested against do.
#pragma once
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>

namespace microtome {

static_assert(FLT_EVAL_METHOD != 1 && FLT_EVAL_METHOD != 2, "floats must be rounded after each operation");

inline constexpr std::int32_t kLogitOne = 256;        ///< logits are in units of 1/256
inline constexpr std::int32_t kLogitLimit = 1 << 23;  ///< and saturate here

/// v * m clamped to [low, high], then rounded to the nearest integer, ties to even. |low|, |high| <= 2^24.
inline std::int32_t requantize(std::int32_t v, float m, std::int32_t low, std::int32_t high) {
  const float product = static_cast<float>(v) * m;
  const float clamped = std::min(std::max(product, static_cast<float>(low)), static_cast<float>(high));
  return static_cast<std::int32_t>(std::nearbyint(clamped));
}

/// A sum to an act with zero point z in [0, 255]: m_pos for v >= 0, m_neg below.
inline std::uint8_t to_act(std::int32_t v, float m_pos, float m_neg, int z) {
  return static_cast<std::uint8_t>(requantize(v, v < 0 ? m_neg : m_pos, -z, 255 - z) + z);
}

/// A sum to a raw, saturated, then the residual (a raw of the same scale) added, saturated again.
inline std::int16_t to_raw(std::int32_t v, float m, std::int16_t residual = 0) {
  const std::int32_t sum = requantize(v, m, -32768, 32767) + residual;
  return static_cast<std::int16_t>(std::clamp(sum, -32768, 32767));
}

/// A sum to a logit in units of 1 / kLogitOne.
inline std::int32_t to_logit(std::int32_t v, float m) {
  return requantize(v, m, -kLogitLimit, kLogitLimit);
}

/// Sums of 32 bits are modulo 2^32 everywhere: partial sums may wrap, whole ones fit (checked when weights
/// are packed).
inline std::int32_t wrapping_add(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}
inline std::int32_t wrapping_multiply(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
}

}  // namespace microtome
