// Benchmark of upsample_row_f32.
#pragma once
#include <algorithm>
#include <vector>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_upsample_row_f32(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "upsample_row_f32", "512px").c_str(),
                               [&table](benchmark::State& s) {
                                 const Floats in = some(2 * 256 * 16), fraction = some(512);
                                 std::vector<std::int32_t> lo(512), hi(512);
                                 for (int i = 0; i < 512; ++i)
                                   lo[static_cast<std::size_t>(i)] = i * 255 / 511,
                                   hi[static_cast<std::size_t>(i)] = std::min(255, i * 255 / 511 + 1);
                                 Floats out(512 * 16);
                                 UpsampleRowArgs a{};
                                 a.rows[0] = in.data(), a.rows[1] = in.data() + 256 * 16;
                                 a.row_weight[0] = 0.25f, a.row_weight[1] = 0.75f;
                                 a.row_count = 2;
                                 a.lo = lo.data(), a.hi = hi.data(), a.fraction = fraction.data();
                                 a.slope = 0.01f, a.out = out.data(), a.width = 512;
                                 for (auto _ : s) {
                                   table.upsample_row_f32(a);
                                   benchmark::ClobberMemory();
                                 }
                                 s.SetBytesProcessed(s.iterations() * 512 * 64);
                               });
}

}  // namespace microtome_bench
