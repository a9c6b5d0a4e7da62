// Benchmark of winograd_input_i16.
#pragma once

#include "kernels/bench.hpp"

namespace microtome_bench {

// One row of 24 tiles of one channel block; bytes in and out.
inline void bench_winograd_input_i16(const KernelTable& table) {
  benchmark::RegisterBenchmark(
      name(table, "winograd_input_i16", "24tiles").c_str(), [&table](benchmark::State& s) {
        constexpr int kWidth = 24 * 4 + 2;
        const Shorts in(6 * kWidth * 16, 200);
        Shorts out(36 * 25 * 16);
        for (auto _ : s) {
          table.winograd_input_i16({in.data(), kWidth * 16, 24, out.data(), 25 * 16});
          benchmark::ClobberMemory();
        }
        s.SetBytesProcessed(s.iterations() * (6 * kWidth + 36 * 24) * 32);
      });
}

}  // namespace microtome_bench
