// Benchmark of winograd_product_i16. The bound is what vpmaddwd and vpaddd, or vpdpwssd, can do.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_winograd_product_i16(const KernelTable& table) {
  for (const int channels : {32, 64, 128})
    benchmark::RegisterBenchmark(
        name(table, "winograd_product_i16",
             std::to_string(channels) + "x" + std::to_string(channels) + "/24tiles")
            .c_str(),
        [&table, channels](benchmark::State& s) {
          const int blocks = channels / 16, block_pairs[8] = {8, 8, 8, 8, 8, 8, 8, 8};
          constexpr std::ptrdiff_t kRow = 25 * 16;
          const Shorts in(static_cast<std::size_t>(blocks * kRow), 123);
          const Shorts weights(static_cast<std::size_t>(channels * channels), -77);
          Ints out(in.size());
          for (auto _ : s) {
            table.winograd_product_i16({in.data(), kRow, block_pairs, blocks, 24, weights.data(),
                                        channels * 16, blocks, out.data(), kRow});
            benchmark::ClobberMemory();
          }
          s.counters["GMAC/s"] = Counter(
              static_cast<double>(s.iterations()) * 24 * channels * channels * 1e-9, Counter::kIsRate);
        });
}

}  // namespace microtome_bench
