// Benchmark of load_row_f32.
#pragma once

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_load_row_f32(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "load_row_f32", "512px").c_str(), [&table](benchmark::State& s) {
    const Floats in = some(512 * 16), scale = some(16), shift = some(16);
    Floats out(in.size());
    for (auto _ : s) {
      table.load_row_f32({in.data(), scale.data(), shift.data(), 0.01f, out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 64 * 2);
  });
}

}  // namespace microtome_bench
