// The arithmetic of integer networks against a reference in integers. tests.cmake compiles this file with
// other optimisation levels and with FMA, too: all of them must pass.
#include <doctest.h>
#include <microtome/core/requantize.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

using namespace microtome;

namespace {

constexpr std::int32_t kMin = INT32_MIN, kMax = INT32_MAX;

// mantissa * 2^-shift to the nearest integer, ties to even, saturated far outside of every bound.
std::int64_t round_shift(std::int64_t mantissa, int shift) {
  if (shift <= 0) {
    if (mantissa == 0) return 0;
    if (shift < -30) return mantissa < 0 ? INT64_MIN / 2 : INT64_MAX / 2;
    return mantissa * (std::int64_t{1} << -shift);
  }
  if (shift > 62) return 0;
  const std::int64_t one = std::int64_t{1} << shift, floor = mantissa >> shift, rest = mantissa - floor * one;
  if (rest * 2 == one) return floor + (floor & 1);
  return floor + (rest * 2 > one ? 1 : 0);
}

// A positive or negative integer to the float that is nearest, as mantissa and exponent; |m| < 2^62.
void to_float(std::int64_t v, std::int64_t& mantissa, int& exponent) {
  exponent = 0;
  while ((std::llabs(v) >> exponent) >= (1 << 24)) ++exponent;
  mantissa = round_shift(v, exponent);
}

// float(v) * m rounded to float, then to an integer: every step in integers.
std::int64_t reference(std::int32_t v, float m, std::int64_t low, std::int64_t high) {
  int m_exponent = 0, v_exponent = 0, exponent = 0;
  const std::int64_t m_mantissa = static_cast<std::int64_t>(std::ldexp(std::frexp(m, &m_exponent), 24));
  m_exponent -= 24;
  std::int64_t v_mantissa = 0, mantissa = 0;
  to_float(v, v_mantissa, v_exponent);
  to_float(v_mantissa * m_mantissa, mantissa, exponent);
  const std::int64_t rounded = round_shift(mantissa, -(exponent + v_exponent + m_exponent));
  return std::min(std::max(rounded, low), high);
}

std::vector<std::int32_t> values() {
  std::vector<std::int32_t> v = {0, kMin, kMin + 1, kMax, kMax - 1};
  for (int bit = 0; bit < 31; ++bit)
    for (const std::int32_t d : {-3, -2, -1, 0, 1, 2, 3})
      v.push_back((1 << bit) + d), v.push_back(-(1 << bit) + d);
  for (int i = -700; i <= 700; ++i) v.push_back(i);
  std::mt19937 rng(1);
  for (int i = 0; i < 3000; ++i) v.push_back(static_cast<std::int32_t>(rng()) >> (i % 24));
  return v;
}

std::vector<float> multipliers() {
  std::vector<float> m = {0.0f,  1.0f,  0.5f,   0.25f,  0.01f, 1.0f / 3, 1e-3f,
                          1e-6f, 3e-9f, 1e-30f, 1e-45f, 2.5f,  1e30f};
  std::mt19937 rng(2);
  for (int i = 0; i < 40; ++i)
    m.push_back(std::ldexp(1.0f + static_cast<float>(rng() >> 9) / 8388608.0f, -(i % 32)));
  return m;
}

}  // namespace

TEST_CASE("halves go to the even neighbour") {
  const std::int32_t expected[] = {-4, -4, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 4, 4};
  for (int v = -8; v <= 8; ++v) {
    CAPTURE(v);
    const std::int32_t want = expected[v + 8];
    CHECK(to_raw(v, 0.5f) == want);
    CHECK(to_logit(v, 0.5f) == want);
    CHECK(to_act(v, 0.5f, 0.5f, 100) == 100 + want);
  }
}

TEST_CASE("negative sums take the other multiplier, zero the first") {
  CHECK(to_act(-100, 1.0f, 0.25f, 50) == 25);
  CHECK(to_act(100, 1.0f, 0.25f, 50) == 150);
  CHECK(to_act(-100, 1.0f, 0.0f, 50) == 50);  // ReLU
  CHECK(to_act(0, 1.0f, 0.25f, 7) == 7);
}

TEST_CASE("results stay within their bounds") {
  for (const int z : {0, 1, 128, 254, 255}) {
    CAPTURE(z);
    CHECK(to_act(kMin, 1.0f, 1.0f, z) == 0);
    CHECK(to_act(kMax, 1.0f, 1.0f, z) == 255);
    CHECK(to_act(kMax, 3e38f, 3e38f, z) == 255);  // the product is infinite
    CHECK(to_act(-z, 1.0f, 1.0f, z) == 0);
    CHECK(to_act(255 - z, 1.0f, 1.0f, z) == 255);
  }
  CHECK(to_raw(kMax, 1.0f) == 32767);
  CHECK(to_raw(kMin, 1.0f) == -32768);
  CHECK(to_raw(32767, 1.0f, 1) == 32767);
  CHECK(to_raw(-32768, 1.0f, -1) == -32768);
  CHECK(to_raw(kMax, 1.0f, -32768) == -1);  // saturated before the residual is added
  CHECK(to_raw(kMin, 1.0f, 32767) == -1);
  CHECK(to_logit(kMax, 1.0f) == kLogitLimit);
  CHECK(to_logit(kMin, 1.0f) == -kLogitLimit);
  CHECK(to_logit(kLogitLimit - 1, 1.0f) == kLogitLimit - 1);
}

TEST_CASE("the conversion to float rounds to nearest even") {
  // 2^30 + 64 and + 192 lie half-way between floats that are 128 apart.
  CHECK(requantize((1 << 30) + 64, std::ldexp(1.0f, -7), -kLogitLimit * 2, kLogitLimit * 2) == 1 << 23);
  CHECK(requantize((1 << 30) + 192, std::ldexp(1.0f, -7), -kLogitLimit * 2, kLogitLimit * 2) ==
        (1 << 23) + 2);
  CHECK(requantize(kMax, std::ldexp(1.0f, -31), -9, 9) == 1);
  CHECK(requantize(kMin, std::ldexp(1.0f, -31), -9, 9) == -1);
}

TEST_CASE("every result is the one of integer arithmetic, clamped after it is rounded") {
  std::int64_t wrong = 0;
  for (const float m : multipliers())
    for (const std::int32_t v : values()) {
      wrong += to_logit(v, m) != reference(v, m, -kLogitLimit, kLogitLimit);
      wrong += to_raw(v, m) != reference(v, m, -32768, 32767);
      for (const int z : {0, 3, 128, 255}) {
        const float m_neg = 0.01f * m;
        wrong += to_act(v, m, m_neg, z) != reference(v, v < 0 ? m_neg : m, -z, 255 - z) + z;
        // What vectors do instead of choosing.
        const float larger = std::max(static_cast<float>(v) * m, static_cast<float>(v) * m_neg);
        const float clamped = std::min(std::max(larger, static_cast<float>(-z)), static_cast<float>(255 - z));
        wrong += to_act(v, m, m_neg, z) != static_cast<int>(std::nearbyint(clamped)) + z;
      }
    }
  CHECK(wrong == 0);
}

TEST_CASE("sums are modulo 2^32") {
  CHECK(wrapping_add(kMax, 1) == kMin);
  CHECK(wrapping_add(kMin, -1) == kMax);
  CHECK(wrapping_add(wrapping_add(kMax, 5), -5) == kMax);
  CHECK(wrapping_multiply(9, 0x38E38E39) == 1);  // the inverse of 9
  CHECK(wrapping_multiply(kMin, 3) == kMin);
}
