// Checks of winograd_weights_i16.
#pragma once
#include <microtome/kernels/winograd_weights_i16/scalar.hpp>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_winograd_weights_i16(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int pairs = 1; pairs <= 8; ++pairs)
    for (int pattern = 0; pattern < 4; ++pattern) {
      const std::ptrdiff_t position = pairs * 32 + 16 * (pattern % 2);
      Guarded<std::int8_t> weights(static_cast<std::size_t>(9 * pairs * 32), pairs % 2 != 0);
      Guarded<std::int16_t> got(static_cast<std::size_t>(35 * position + pairs * 32)), want(got.size());
      fill_integers(weights, seed++, pattern == 2 ? 127 : -127, pattern == 3 ? -127 : 127);
      fill_integers(got, seed, -99, 99);
      std::copy(got.data(), got.data() + got.size(), want.data());
      scalar::winograd_weights_i16({weights.data(), pairs, want.data(), position});
      table.winograd_weights_i16({weights.data(), pairs, got.data(), position});
      INFO(std::string(table.isa), ": ", pairs, " pairs");
      CHECK(first_difference(got, want) == -1);
    }
}

}  // namespace microtome_test
