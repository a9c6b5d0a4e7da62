// Benchmark of conv_row_i16.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "kernels/bench.hpp"

namespace microtome_bench {

// One strip as the layer makes it: `rows` output rows of `width` pixels, `in` -> 16 channels, 3x3.
inline void bench_conv_row_i16(const KernelTable& table) {
  for (const int in : {3, 16, 32, 64, 128, 256})
    for (const int stride : {1, 2}) {
      const int width = 48, rows = 4;
      const std::string shape =
          std::to_string(in) + "x16/" + std::to_string(width) + "px/s" + std::to_string(stride);
      benchmark::RegisterBenchmark(
          name(table, "conv_row_i16", shape).c_str(), [&table, in, stride](benchmark::State& s) {
            std::vector<int> pairs;
            for (int n = in; n > 0; n -= 16) pairs.push_back((std::min(n, 16) + 1) / 2);
            const std::ptrdiff_t row = ((width - 1) * stride + 3) * 16, taps[3] = {0, row, 2 * row};
            const int strip_rows = (rows - 1) * stride + 3;
            const Shorts input(static_cast<std::size_t>(row * strip_rows) * pairs.size(), 200);
            const Shorts weights(static_cast<std::size_t>(in + 1) * 9 * 16, -77);
            const Ints bias(16, 5);
            const Floats m = some(16);
            Bytes out(static_cast<std::size_t>(width) * 16);
            ConvRowI16Args a{};
            a.block_stride = row * strip_rows, a.block_pairs = pairs.data();
            a.blocks = static_cast<int>(pairs.size());
            a.tap_rows = taps, a.taps = 3, a.kernel_width = 3, a.stride = stride;
            a.weights = weights.data(), a.out_channels = 16, a.width = width;
            a.tail = {bias.data(), m.data(), m.data(), 7, nullptr, out.data(), nullptr, nullptr};
            for (auto _ : s)
              for (int y = 0; y < rows; ++y) {
                a.in = input.data() + y * stride * row;
                table.conv_row_i16(a);
                benchmark::ClobberMemory();
              }
            s.counters["GMAC/s"] = Counter(
                static_cast<double>(s.iterations()) * rows * width * 16 * in * 9 * 1e-9, Counter::kIsRate);
          });
    }
}

}  // namespace microtome_bench
