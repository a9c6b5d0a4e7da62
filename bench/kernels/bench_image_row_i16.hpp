// Benchmark of image_row_i16.
#pragma once
#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_image_row_i16(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "image_row_i16", "512px").c_str(), [&table](benchmark::State& s) {
    const Bytes in(512 * 3, 200), values(3 * 256, 100);
    Shorts out(512 * 16);
    for (auto _ : s) {
      table.image_row_i16({in.data(), 3, values.data(), out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 3);
  });
}

}  // namespace microtome_bench
