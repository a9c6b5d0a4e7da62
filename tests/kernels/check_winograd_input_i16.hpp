// Checks of winograd_input_i16.
#pragma once
#include <microtome/kernels/winograd_input_i16/scalar.hpp>

#include <cstdlib>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_winograd_input_i16(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int tiles = 1; tiles <= 21; ++tiles)
    for (const int zero_point : {0, 7, 255}) {
      const std::ptrdiff_t row = (tiles * 4 + 2 + tiles % 2) * 16, position = (tiles + seed % 3) * 16;
      Guarded<std::int16_t> in(static_cast<std::size_t>(5 * row + (tiles * 4 + 2) * 16), tiles % 2 != 0);
      Guarded<std::int16_t> got(static_cast<std::size_t>(35 * position + tiles * 16)), want(got.size());
      fill_integers(in, seed++, 0, 255);
      for (std::size_t i = 0; i < in.size(); ++i)  // a border of padding
        if (i < static_cast<std::size_t>(row) || i % static_cast<std::size_t>(row) < 16)
          in[i] = static_cast<std::int16_t>(zero_point);
      fill_integers(got, seed, -99, 99);
      std::copy(got.data(), got.data() + got.size(), want.data());  // what lies between positions stays
      scalar::winograd_input_i16({in.data(), row, tiles, want.data(), position});
      table.winograd_input_i16({in.data(), row, tiles, got.data(), position});
      INFO(std::string(table.isa), ": ", tiles, " tiles");
      CHECK(first_difference(got, want) == -1);
    }
  // The pattern of 0 and 255 that makes V largest, for every position and both signs.
  for (int p = 0; p < 36; ++p)
    for (const int sign : {1, -1}) {
      const auto& b = WinogradIntMatrices::kInput;
      Guarded<std::int16_t> in(36 * 16), out(36 * 16);
      int largest = 0;
      for (int y = 0; y < 6; ++y)
        for (int x = 0; x < 6; ++x) {
          const int factor = b[p / 6][y] * b[p % 6][x];
          const int value = factor * sign > 0 ? 255 : 0;
          largest += factor * value;
          for (int c = 0; c < 16; ++c)
            in[static_cast<std::size_t>((y * 6 + x) * 16 + c)] = static_cast<std::int16_t>(value);
        }
      table.winograd_input_i16({in.data(), 6 * 16, 1, out.data(), 16});
      CHECK(std::abs(largest) <= 17340);
      for (int c = 0; c < 16; ++c) CHECK(out[static_cast<std::size_t>(p * 16 + c)] == largest);
    }
}

}  // namespace microtome_test
