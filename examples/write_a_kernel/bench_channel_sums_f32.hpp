// Benchmark of channel_sums_f32.
#pragma once

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_channel_sums_f32(const KernelTable& table) {
  for (const int width : {64, 512})  // 4 and 32 KiB: well inside the L1 cache, and all of it
    benchmark::RegisterBenchmark(
        name(table, "channel_sums_f32", std::to_string(width) + "px").c_str(),
        [&table, width](benchmark::State& s) {
          const Floats in = some(static_cast<std::size_t>(width) * 16);
          Floats sums(16);
          for (auto _ : s) {
            table.channel_sums_f32({in.data(), width, sums.data()});
            benchmark::ClobberMemory();  // or the compiler may drop a result that nobody reads
          }
          s.SetBytesProcessed(s.iterations() * width * 64);
        });
}

}  // namespace microtome_bench
