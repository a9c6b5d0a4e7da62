// Checks of head_row_f32.
#pragma once
#include <microtome/kernels/head_row_f32/scalar.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_head_row_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int outputs = 1; outputs <= 5; ++outputs)
    for (int width = 1; width <= 20; ++width)
      for (const int blocks : {1, 2, 5})
        for (const int kernel : {1, 3}) {
          const int taps = kernel == 1 ? 1 : width % 2 == 0 ? 3 : 9;
          const std::size_t row = static_cast<std::size_t>(width + kernel - 1) * 16;
          Guarded<float> in(row * static_cast<std::size_t>(taps * blocks), seed % 2 != 0);
          Guarded<float> weights(static_cast<std::size_t>(outputs * blocks * taps * kernel) * 16);
          Guarded<float> bias(static_cast<std::size_t>(outputs));
          Guarded<float> got(static_cast<std::size_t>((width - 1) * 16 + outputs)), want(got.size());
          fill_random(in, seed++), fill_random(weights, seed++, 0.3f), fill_random(bias, seed++);
          fill_random(got, seed);  // lanes above `outputs` belong to somebody else
          std::copy(got.data(), got.data() + got.size(), want.data());
          std::vector<std::ptrdiff_t> tap_rows;
          for (int t = 0; t < taps; ++t) tap_rows.push_back(static_cast<std::ptrdiff_t>(row) * t);
          HeadRowArgs a{};
          a.in = in.data(), a.block_stride = static_cast<std::ptrdiff_t>(row) * taps, a.blocks = blocks;
          a.tap_rows = tap_rows.data(), a.taps = taps, a.kernel_width = kernel;
          a.weights = weights.data(), a.bias = bias.data(), a.outputs = outputs, a.width = width;
          a.out = want.data();
          scalar::head_row_f32<double>(a);
          a.out = got.data();
          table.head_row_f32(a);
          INFO(std::string(table.isa), ": ", blocks, " blocks -> ", outputs, ", width ", width, ", kernel ",
               kernel);
          CHECK(difference(got, want) <= 4e-7 * std::sqrt(16.0 * blocks * taps * kernel + 4));
        }
}

}  // namespace microtome_test
