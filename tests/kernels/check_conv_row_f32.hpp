// Checks of conv_row_f32.
#pragma once
#include <microtome/kernels/conv_row_f32/scalar.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/check.hpp"

namespace microtome_test {

struct ConvCase {
  std::vector<int> channels;  // per source
  int out, width, kernel, taps, stride;
  bool residual, in_place;
  float slope;
};

inline void check_conv(const KernelTable& table, const ConvCase& c, std::uint32_t seed) {
  std::vector<int> blocks;
  int inputs = 0;
  for (int n : c.channels)
    for (inputs += n; n > 0; n -= 16) blocks.push_back(std::min(n, 16));
  const int row_pixels = (c.width - 1) * c.stride + c.kernel;
  const std::size_t row = static_cast<std::size_t>(row_pixels) * 16;
  Guarded<float> in(row * static_cast<std::size_t>(c.taps) * blocks.size(), seed % 2 != 0);
  Guarded<float> weights(static_cast<std::size_t>(inputs * c.taps * c.kernel) * 16), bias(16);
  Guarded<float> residual(static_cast<std::size_t>(c.width) * 16), got(residual.size()),
      want(residual.size());
  fill_random(in, seed);
  fill_random(weights, seed + 1, 0.3f);
  fill_random(bias, seed + 2);
  fill_random(residual, seed + 3);
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (static_cast<int>(i % 16) >= c.out) weights[i] = 0;
  for (int o = c.out; o < 16; ++o) bias[static_cast<std::size_t>(o)] = 0;
  // Lanes beyond a block's channels are never read: poison them.
  for (std::size_t b = 0; b < blocks.size(); ++b)
    for (std::size_t p = 0; p < row / 16 * static_cast<std::size_t>(c.taps); ++p)
      for (int l = blocks[b]; l < 16; ++l)
        in[b * row * static_cast<std::size_t>(c.taps) + p * 16 + static_cast<std::size_t>(l)] = NAN;
  if (c.residual)
    for (std::size_t i = 0; i < residual.size(); ++i)
      if (static_cast<int>(i % 16) >= c.out) residual[i] = 0;
  std::vector<std::ptrdiff_t> taps;
  for (int t = 0; t < c.taps; ++t) taps.push_back(static_cast<std::ptrdiff_t>(row) * t);
  ConvRowArgs a{};
  a.in = in.data();
  a.block_stride = static_cast<std::ptrdiff_t>(row) * c.taps;
  a.block_channels = blocks.data();
  a.blocks = static_cast<int>(blocks.size());
  a.tap_rows = taps.data();
  a.taps = c.taps;
  a.kernel_width = c.kernel;
  a.stride = c.stride;
  a.weights = weights.data();
  a.bias = bias.data();
  a.residual = c.residual ? residual.data() : nullptr;
  a.slope = c.slope;
  a.out_channels = c.out;
  a.width = c.width;
  a.out = want.data();
  scalar::conv_row_f32<double>(a);
  a.out = got.data();
  if (c.in_place) {
    std::copy(residual.data(), residual.data() + residual.size(), got.data());
    a.residual = got.data();
  }
  table.conv_row_f32(a);
  // Rounding grows with the number of terms; 4e-7 per sqrt(term) leaves a factor of about 4.
  const double bound = 4e-7 * std::sqrt(static_cast<double>(inputs * c.taps * c.kernel) + 4);
  INFO(std::string(table.isa), ": ", inputs, " -> ", c.out, " channels, width ", c.width, ", kernel ",
       c.kernel, ", taps ", c.taps, ", stride ", c.stride);
  CHECK(difference(got, want) <= bound);
}

inline void check_conv_row_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int width = 1; width <= 40; ++width)
    for (const int stride : {1, 2})
      check_conv(table, {{5}, 16, width, 3, 3, stride, false, false, 0.01f}, seed++);
  for (const int width : {47, 48, 49, 71, 72, 97})  // several full tiles of the widest vectors and the rest
    for (const int stride : {1, 2})
      check_conv(table, {{2, 3}, 16, width, 3, 1, stride, true, false, 0.01f}, seed++);
  for (int n = 1; n <= 33; ++n) check_conv(table, {{n}, 16, 13, 3, 3, 1, true, false, 1.0f}, seed++);
  for (int out = 1; out <= 16; ++out)
    for (const int width : {1, 7, 8, 9, 23, 27, 29})
      for (const int stride : {1, 2})
        check_conv(table, {{19}, out, width, 3, 3, stride, true, false, 0.01f}, seed++);
  for (const int width : {1, 5, 12, 31}) {
    check_conv(table, {{16, 32}, 16, width, 1, 1, 1, false, false, 1.0f}, seed++);  // 1x1
    check_conv(table, {{3, 7}, 9, width, 3, 9, 1, true, true, 0.01f}, seed++);  // 3D, two sources, in place
    check_conv(table, {{24, 24}, 16, width, 3, 3, 1, true, true, 1.0f}, seed++);
    check_conv(table, {{33}, 16, width, 3, 9, 2, false, false, 0.01f}, seed++);
  }
}

}  // namespace microtome_test
