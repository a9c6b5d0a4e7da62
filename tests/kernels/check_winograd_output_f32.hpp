// Checks of winograd_output_f32.
#pragma once
#include <microtome/kernels/winograd_output_f32/scalar.hpp>

#include <algorithm>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_winograd_output_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (const int tile : {4, 6})
    for (int width = 1; width <= 27; ++width)
      for (int rows = 1; rows <= tile; ++rows)
        for (const bool in_place : {false, true}) {
          const int tiles = (width + tile - 1) / tile, positions = (tile + 2) * (tile + 2);
          const std::ptrdiff_t position = (tiles + width % 2) * 16, row = (width + 2) * 16;
          const std::size_t pixels = static_cast<std::size_t>((rows - 1) * row + width * 16);
          Guarded<float> in(static_cast<std::size_t>((positions - 1) * position + tiles * 16),
                            width % 2 != 0);
          Guarded<float> bias(16), residual(pixels), got(pixels), want(pixels);
          fill_random(in, seed++), fill_random(bias, seed++), fill_random(residual, seed++);
          // Pixels between rows belong to somebody else: they stay as they were.
          std::copy(residual.data(), residual.data() + pixels, got.data());
          std::copy(residual.data(), residual.data() + pixels, want.data());
          WinogradOutputArgs a{};
          a.in = in.data(), a.position_stride = position, a.tile = tile;
          a.bias = bias.data(), a.slope = width % 3 == 0 ? 1.0f : 0.01f;
          a.residual = in_place || rows % 2 == 0 ? residual.data() : nullptr, a.residual_stride = row;
          a.out = want.data(), a.out_stride = row, a.rows = rows, a.width = width;
          scalar::winograd_output_f32<double>(a);
          a.out = got.data();
          if (in_place) a.residual = got.data();
          table.winograd_output_f32(a);
          INFO(std::string(table.isa), ": ", width, " x ", rows, ", tile ", tile);
          CHECK(difference(got, want) <= 5e-7);
        }
}

}  // namespace microtome_test
