// Benchmark of winograd_input_f32.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

// One row of 24 tiles of one channel block; bytes in and out.
inline void bench_winograd_input_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    benchmark::RegisterBenchmark(
        name(table, "winograd_input_f32", "F" + std::to_string(tile)).c_str(),
        [&table, tile](benchmark::State& s) {
          const int n = tile + 2, width = 24 * tile + 2;
          const Floats in = some(static_cast<std::size_t>(n * width) * 16);
          Floats out(static_cast<std::size_t>(n * n * 25) * 16);
          for (auto _ : s) {
            table.winograd_input_f32({in.data(), width * 16, tile, 24, out.data(), 25 * 16});
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (n * width + n * n * 24) * 64);
        });
}

}  // namespace microtome_bench
