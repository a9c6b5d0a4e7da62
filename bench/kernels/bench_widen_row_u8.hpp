// Benchmark of widen_row_u8.
#pragma once
#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_widen_row_u8(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "widen_row_u8", "512px").c_str(), [&table](benchmark::State& s) {
    const Bytes in(512 * 16, 100);
    Shorts out(in.size());
    for (auto _ : s) {
      table.widen_row_u8({in.data(), out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * (16 + 32));
  });
}

}  // namespace microtome_bench
