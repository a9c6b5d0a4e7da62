// Checks of winograd_weights_f32.
#pragma once
#include <microtome/kernels/winograd_weights_f32/scalar.hpp>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_winograd_weights_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    for (int channels = 1; channels <= 33; ++channels) {
      const std::ptrdiff_t position = (channels + channels % 3) * 16;
      const int positions = (tile + 2) * (tile + 2);
      Guarded<float> weights(static_cast<std::size_t>(9 * channels) * 16, channels % 2 != 0);
      Guarded<float> got(static_cast<std::size_t>((positions - 1) * position + channels * 16)),
          want(got.size());
      fill_random(weights, static_cast<std::uint32_t>(channels));
      WinogradWeightsArgs a{weights.data(), channels, tile, want.data(), position};
      scalar::winograd_weights_f32<double>(a);
      a.out = got.data();
      table.winograd_weights_f32(a);
      INFO(std::string(table.isa), ": ", channels, " channels, tile ", tile);
      CHECK(difference(got, want) <= 5e-7);
    }
}

}  // namespace microtome_test
