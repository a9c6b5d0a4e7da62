// Checks of winograd_input_f32.
#pragma once
#include <microtome/kernels/winograd_input_f32/scalar.hpp>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_winograd_input_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    for (int tiles = 1; tiles <= 13; ++tiles)
      for (const int gap : {0, 3}) {
        const std::ptrdiff_t row = (tiles * tile + 2 + gap) * 16, position = (tiles + gap) * 16;
        const int n = tile + 2;
        // The last row and the last position end with their data: what lies between rows is not theirs.
        Guarded<float> in(static_cast<std::size_t>((n - 1) * row + (tiles * tile + 2) * 16), tiles % 2 != 0);
        Guarded<float> got(static_cast<std::size_t>((n * n - 1) * position + tiles * 16)), want(got.size());
        fill_random(in, static_cast<std::uint32_t>(tiles));
        WinogradInputArgs a{in.data(), row, tile, tiles, want.data(), position};
        scalar::winograd_input_f32<double>(a);
        a.out = got.data();
        table.winograd_input_f32(a);
        INFO(std::string(table.isa), ": ", tiles, " tiles of ", tile, ", gap ", gap);
        CHECK(difference(got, want) <= 1e-6);
      }
}

}  // namespace microtome_test
