// Checks of winograd_product_f32.
#pragma once
#include <microtome/kernels/winograd_product_f32/scalar.hpp>

#include <cmath>
#include <vector>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_winograd_product_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int tiles = 1; tiles <= 53; tiles += tiles < 30 ? 1 : 23)  // every rest of every register tile
    for (const int channels : {1, 3, 16, 17, 33, 48, 277})
      for (int outputs = 1; outputs <= 3; ++outputs) {
        std::vector<int> block_channels;
        for (int c = channels; c > 0; c -= 16) block_channels.push_back(c < 16 ? c : 16);
        const std::size_t blocks = block_channels.size(), row = static_cast<std::size_t>(tiles) * 16;
        const std::size_t block_row = row + 16 * (seed % 3), panel = static_cast<std::size_t>(channels) * 16;
        Guarded<float> in((blocks - 1) * block_row + row, seed % 2 != 0);
        Guarded<float> weights(panel * static_cast<std::size_t>(outputs));
        Guarded<float> got(static_cast<std::size_t>(outputs - 1) * block_row + row), want(got.size());
        fill_random(in, seed++), fill_random(weights, seed++, 0.3f), fill_random(got, seed);
        std::copy(got.data(), got.data() + got.size(), want.data());  // what lies between the blocks stays
        WinogradProductArgs a{};
        a.in = in.data(), a.block_stride = static_cast<std::ptrdiff_t>(block_row);
        a.block_channels = block_channels.data(), a.blocks = static_cast<int>(blocks), a.tiles = tiles;
        a.weights = weights.data(), a.weight_stride = static_cast<std::ptrdiff_t>(panel);
        a.outputs = outputs, a.out_stride = static_cast<std::ptrdiff_t>(block_row);
        a.out = want.data();
        scalar::winograd_product_f32<double>(a);
        a.out = got.data();
        table.winograd_product_f32(a);
        INFO(std::string(table.isa), ": ", channels, " channels -> ", outputs, " blocks, ", tiles, " tiles");
        CHECK(difference(got, want) <= 4e-7 * std::sqrt(channels + 4.0));
      }
}

}  // namespace microtome_test
