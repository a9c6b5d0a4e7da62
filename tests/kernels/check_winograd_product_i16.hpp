// Checks of winograd_product_i16.
#pragma once
#include <microtome/kernels/winograd_product_i16/scalar.hpp>

#include <vector>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_winograd_product_i16(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int tiles = 1; tiles <= 53; tiles += tiles < 30 ? 1 : 23)  // every rest of every register tile
    for (const int channels : {1, 3, 16, 17, 33, 64})
      for (int outputs = 1; outputs <= 3; ++outputs) {
        const std::vector<int> pairs = pairs_of_blocks(channels);
        const std::size_t blocks = pairs.size(), row = static_cast<std::size_t>(tiles) * 16;
        const std::size_t block_row = row + 16 * (seed % 3);
        const std::size_t panel = static_cast<std::size_t>((channels + 1) / 2) * 32;
        Guarded<std::int16_t> in((blocks - 1) * block_row + row, seed % 2 != 0);
        Guarded<std::int16_t> weights(panel * static_cast<std::size_t>(outputs));
        Guarded<std::int32_t> got(static_cast<std::size_t>(outputs - 1) * block_row + row), want(got.size());
        // The largest values that the transforms make; of the last lengths the sums wrap.
        fill_integers(in, seed++, -17340, 17340), fill_integers(weights, seed++, -6223, 6223);
        if (seed % 5 == 0) std::fill(in.data(), in.data() + in.size(), std::int16_t{17340});
        if (seed % 5 <= 1) std::fill(weights.data(), weights.data() + weights.size(), std::int16_t{-6223});
        fill_integers(got, seed, -1000, 1000);
        std::copy(got.data(), got.data() + got.size(), want.data());  // what lies between the blocks stays
        WinogradProductI16Args a{};
        a.in = in.data(), a.block_stride = static_cast<std::ptrdiff_t>(block_row);
        a.block_pairs = pairs.data(), a.blocks = static_cast<int>(blocks), a.tiles = tiles;
        a.weights = weights.data(), a.weight_stride = static_cast<std::ptrdiff_t>(panel);
        a.outputs = outputs, a.out_stride = static_cast<std::ptrdiff_t>(block_row);
        a.out = want.data();
        scalar::winograd_product_i16(a);
        a.out = got.data();
        table.winograd_product_i16(a);
        INFO(std::string(table.isa), ": ", channels, " channels -> ", outputs, " blocks, ", tiles, " tiles");
        CHECK(first_difference(got, want) == -1);
      }
}

}  // namespace microtome_test
