// Benchmark of load_row_i16.
#pragma once
#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_load_row_i16(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "load_row_i16", "512px").c_str(), [&table](benchmark::State& s) {
    const Shorts in(512 * 16, 500), factor(16, 3000);
    const Ints term(16, 70000);
    Shorts out(in.size());
    for (auto _ : s) {
      table.load_row_i16({in.data(), factor.data(), term.data(), 1e-5f, 1e-7f, 9, out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 32 * 2);
  });
}

}  // namespace microtome_bench
