// Benchmark of winograd_weights_i16.
#pragma once

#include "kernels/bench.hpp"

namespace microtome_bench {

// The weights of one input block; bytes in and out.
inline void bench_winograd_weights_i16(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "winograd_weights_i16", "16x16").c_str(),
                               [&table](benchmark::State& s) {
                                 const std::vector<std::int8_t> weights(9 * 16 * 16, 77);
                                 Shorts out(36 * 17 * 16);
                                 for (auto _ : s) {
                                   table.winograd_weights_i16({weights.data(), 8, out.data(), 17 * 16});
                                   benchmark::ClobberMemory();
                                 }
                                 s.SetBytesProcessed(s.iterations() * (9 + 36 * 2) * 256);
                               });
}

}  // namespace microtome_bench
