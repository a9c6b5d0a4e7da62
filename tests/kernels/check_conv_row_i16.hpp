// Checks of conv_row_i16.
#pragma once
#include <microtome/kernels/conv_row_i16/scalar.hpp>

#include <vector>

#include "kernels/check_int_tail.hpp"

namespace microtome_test {

struct ConvI16Case {
  std::vector<int> channels;  // per source
  int out, width, kernel, taps, stride;
  Output output;
  bool raw_input;
};

inline void check_conv_i16(const KernelTable& table, const ConvI16Case& c, std::uint32_t seed) {
  std::vector<int> blocks;
  int pairs = 0;
  for (const int n : c.channels)
    for (const int p : pairs_of_blocks(n)) blocks.push_back(p), pairs += p;
  const int row_pixels = (c.width - 1) * c.stride + c.kernel;
  const std::size_t row = static_cast<std::size_t>(row_pixels) * 16;
  // Lanes beyond a block's pairs are never used; what they hold here would be seen.
  Guarded<std::int16_t> in(row * static_cast<std::size_t>(c.taps) * blocks.size(), seed % 2 != 0);
  Guarded<std::int16_t> weights(static_cast<std::size_t>(pairs * c.taps * c.kernel) * 32);
  fill_integers(in, seed, c.raw_input ? -32768 : 0, c.raw_input ? 32767 : 255);
  fill_integers(weights, seed + 1, -127, 127);
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (static_cast<int>(i / 2 % 16) >= c.out) weights[i] = 0;
  TailCase tail(c.output, static_cast<std::size_t>(c.width) * 16,
                (c.raw_input ? 32768.0 : 255.0) * 127 * pairs * c.taps * c.kernel / 4, seed);
  for (std::size_t o = static_cast<std::size_t>(c.out); o < 16; ++o)
    tail.bias[o] = 0, tail.m_pos[o] = tail.m_neg[o] = 0;
  std::vector<std::ptrdiff_t> taps;
  for (int t = 0; t < c.taps; ++t) taps.push_back(static_cast<std::ptrdiff_t>(row) * t);
  ConvRowI16Args a{};
  a.in = in.data(), a.block_stride = static_cast<std::ptrdiff_t>(row) * c.taps;
  a.block_pairs = blocks.data(), a.blocks = static_cast<int>(blocks.size());
  a.tap_rows = taps.data(), a.taps = c.taps, a.kernel_width = c.kernel, a.stride = c.stride;
  a.weights = weights.data(), a.out_channels = c.out, a.width = c.width;
  a.tail = tail.tail(true);
  scalar::conv_row_i16(a);
  a.tail = tail.tail(false);
  table.conv_row_i16(a);
  INFO(std::string(table.isa), ": ", 2 * pairs, " -> ", c.out, " channels, width ", c.width, ", kernel ",
       c.kernel, ", taps ", c.taps, ", stride ", c.stride, ", output ", static_cast<int>(c.output));
  tail.check();
}

inline void check_conv_row_i16(const KernelTable& table) {
  std::uint32_t seed = 1;
  const auto output = [&] { return kOutputs[seed % 5]; };
  for (int width = 1; width <= 40; ++width)
    for (const int stride : {1, 2}) {
      check_conv_i16(table, {{5}, 16, width, 3, 3, stride, output(), false}, seed);
      ++seed;
    }
  for (const int width : {47, 48, 49, 71, 72, 97})  // several full tiles of the widest vectors and the rest
    for (const int stride : {1, 2}) {
      check_conv_i16(table, {{2, 3}, 16, width, 3, 1, stride, output(), false}, seed);
      ++seed;
    }
  for (int n = 1; n <= 33; ++n)
    for (const Output kind : kOutputs) check_conv_i16(table, {{n}, 16, 13, 3, 3, 1, kind, false}, seed++);
  for (int out = 1; out <= 16; ++out)
    for (const int width : {1, 7, 8, 9, 23, 27, 29})
      for (const int stride : {1, 2}) {
        check_conv_i16(table, {{19}, out, width, 3, 3, stride, output(), false}, seed);
        ++seed;
      }
  for (const int width : {1, 5, 12, 31})
    for (const Output kind : kOutputs) {
      check_conv_i16(table, {{16, 32}, 16, width, 1, 1, 1, kind, true}, seed++);  // 1x1 of raws
      check_conv_i16(table, {{3, 7}, 9, width, 3, 9, 1, kind, false}, seed++);    // 3D, two sources
      check_conv_i16(table, {{33}, 16, width, 3, 9, 2, kind, false}, seed++);
    }
}

}  // namespace microtome_test
