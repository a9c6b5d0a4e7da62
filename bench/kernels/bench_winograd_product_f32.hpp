// Benchmark of winograd_product_f32.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_winograd_product_f32(const KernelTable& table) {
  for (const int channels : {32, 64, 128})
    benchmark::RegisterBenchmark(
        name(table, "winograd_product_f32",
             std::to_string(channels) + "x" + std::to_string(channels) + "/24tiles")
            .c_str(),
        [&table, channels](benchmark::State& s) {
          const int blocks = channels / 16, block_channels[8] = {16, 16, 16, 16, 16, 16, 16, 16};
          constexpr std::ptrdiff_t kRow = 25 * 16;
          const Floats in = some(static_cast<std::size_t>(blocks * kRow));
          const Floats weights = some(static_cast<std::size_t>(channels * channels));
          Floats out(in.size());
          for (auto _ : s) {
            table.winograd_product_f32({in.data(), kRow, block_channels, blocks, 24, weights.data(),
                                        channels * 16, blocks, out.data(), kRow});
            benchmark::ClobberMemory();
          }
          s.counters["GMAC/s"] = Counter(
              static_cast<double>(s.iterations()) * 24 * channels * channels * 1e-9, Counter::kIsRate);
        });
}

}  // namespace microtome_bench
