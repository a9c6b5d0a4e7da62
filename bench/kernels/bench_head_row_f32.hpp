// Benchmark of head_row_f32.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_head_row_f32(const KernelTable& table) {
  for (const int outputs : {1, 2})
    benchmark::RegisterBenchmark(
        name(table, "head_row_f32", "64x" + std::to_string(outputs) + "/512px").c_str(),
        [&table, outputs](benchmark::State& s) {
          constexpr std::ptrdiff_t row = 514 * 16, taps[3] = {0, row, 2 * row};
          const Floats in = some(4 * 3 * row), bias = some(2);
          const Floats weights = some(static_cast<std::size_t>(outputs) * 4 * 9 * 16);
          Floats out(512 * 16);
          for (auto _ : s) {
            table.head_row_f32(
                {in.data(), 3 * row, 4, taps, 3, 3, weights.data(), bias.data(), outputs, out.data(), 512});
            benchmark::ClobberMemory();
          }
          s.counters["GMAC/s"] =
              Counter(static_cast<double>(s.iterations()) * 512 * 64 * 9 * outputs * 1e-9, Counter::kIsRate);
        });
}

}  // namespace microtome_bench
