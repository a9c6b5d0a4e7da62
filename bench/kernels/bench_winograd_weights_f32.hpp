// Benchmark of winograd_weights_f32.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

// The weights of one input block.
inline void bench_winograd_weights_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    benchmark::RegisterBenchmark(
        name(table, "winograd_weights_f32", "F" + std::to_string(tile)).c_str(),
        [&table, tile](benchmark::State& s) {
          const int positions = (tile + 2) * (tile + 2);
          const Floats weights = some(9 * 16 * 16);
          Floats out(static_cast<std::size_t>(positions * 17) * 16);
          for (auto _ : s) {
            table.winograd_weights_f32({weights.data(), 16, tile, out.data(), 17 * 16});
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (9 + positions) * 16 * 64);
        });
}

}  // namespace microtome_bench
