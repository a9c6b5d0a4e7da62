// Benchmark of conv_row_f32.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "kernels/bench.hpp"

namespace microtome_bench {

// One strip as the layer makes it: `rows` output rows of `width` pixels, `in` -> 16 channels, 3x3.
inline void bench_conv_row_f32(const KernelTable& table) {
  for (const int in : {3, 16, 32, 64, 128, 256})
    for (const int stride : {1, 2}) {
      const int width = 48, rows = 4;
      const std::string shape =
          std::to_string(in) + "x16/" + std::to_string(width) + "px/s" + std::to_string(stride);
      benchmark::RegisterBenchmark(
          name(table, "conv_row_f32", shape).c_str(), [&table, in, stride](benchmark::State& s) {
            std::vector<int> channels;
            for (int n = in; n > 0; n -= 16) channels.push_back(std::min(n, 16));
            const std::ptrdiff_t row = ((width - 1) * stride + 3) * 16, taps[3] = {0, row, 2 * row};
            const int strip_rows = (rows - 1) * stride + 3;
            const Floats input = some(static_cast<std::size_t>(row * strip_rows) * channels.size());
            const Floats weights = some(static_cast<std::size_t>(in) * 9 * 16), bias = some(16);
            Floats out(static_cast<std::size_t>(width) * 16);
            ConvRowArgs a{};
            a.block_stride = row * strip_rows;
            a.block_channels = channels.data();
            a.blocks = static_cast<int>(channels.size());
            a.tap_rows = taps;
            a.taps = 3, a.kernel_width = 3, a.stride = stride;
            a.weights = weights.data(), a.bias = bias.data(), a.slope = 0.01f;
            a.out_channels = 16, a.out = out.data(), a.width = width;
            for (auto _ : s)
              for (int y = 0; y < rows; ++y) {
                a.in = input.data() + y * stride * row;
                table.conv_row_f32(a);
                benchmark::ClobberMemory();
              }
            s.counters["GMAC/s"] = Counter(
                static_cast<double>(s.iterations()) * rows * width * 16 * in * 9 * 1e-9, Counter::kIsRate);
          });
    }
}

}  // namespace microtome_bench
