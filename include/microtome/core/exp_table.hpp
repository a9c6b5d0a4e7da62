// Powers of e in fixed point, for probabilities that are the same on every machine: exp() of a C library may
// differ in its last bit from the next one's.
#pragma once
#include <cstdint>

namespace microtome {

struct ExpTable {
  static constexpr int kSize = 4096;
  std::int32_t value[kSize];
};

namespace detail {

/// The high 64 bits of a 128-bit product.
constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const std::uint64_t middle = a1 * b0 + (a0 * b0 >> 32), middle2 = a0 * b1 + (middle & 0xffffffffu);
  return a1 * b1 + (middle >> 32) + (middle2 >> 32);
}

/// exp(-(d + 1) / 256) = exp(-d / 256) * exp(-1 / 256), with 63 bits: all steps together lose 2^-28 units of
/// the result, and no entry is closer than 2^-14 to the middle between two integers.
constexpr ExpTable make_exp_table() {
  constexpr std::uint64_t kStep = 0xff007fd55ffdde39;  // 2^64 exp(-1 / 256)
  ExpTable table{};
  std::uint64_t power = std::uint64_t{1} << 63;
  for (int d = 0; d < ExpTable::kSize; ++d) {
    table.value[d] = static_cast<std::int32_t>((power + (std::uint64_t{1} << 39)) >> 40);
    power = multiply_high(power, kStep);
  }
  return table;
}

}  // namespace detail

/// value[d] = 2^23 exp(-d / 256), rounded to nearest.
inline constexpr ExpTable kExpTable = detail::make_exp_table();

}  // namespace microtome
