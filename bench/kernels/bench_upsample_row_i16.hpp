// Benchmark of upsample_row_i16.
#pragma once
#include <algorithm>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_upsample_row_i16(const KernelTable& table) {
  const auto run = [&table](benchmark::State& s) {
    const Shorts in(2 * 256 * 16, 500), fraction(512, 40);
    Ints lo(512), hi(512);
    for (int i = 0; i < 512; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      lo[at] = i * 255 / 511, hi[at] = std::min(255, lo[at] + 1);
    }
    Shorts out(512 * 16);
    UpsampleRowI16Args a{};
    a.rows[0] = in.data(), a.rows[1] = in.data() + 256 * 16;
    a.row_weight[0] = 32, a.row_weight[1] = 96, a.row_count = 2;
    a.lo = lo.data(), a.hi = hi.data(), a.fraction = fraction.data();
    a.m_pos = 1e-5f, a.m_neg = 1e-7f, a.zero_point = 9, a.out = out.data(), a.width = 512;
    for (auto _ : s) {
      table.upsample_row_i16(a);
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 32);
  };
  benchmark::RegisterBenchmark(name(table, "upsample_row_i16", "512px").c_str(), run);
}

}  // namespace microtome_bench
