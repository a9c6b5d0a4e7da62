// Benchmark of image_row_u8.
#pragma once
#include <vector>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_image_row_u8(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "image_row_u8", "512px").c_str(), [&table](benchmark::State& s) {
    const std::vector<std::uint8_t> in(512 * 3, 200);
    const Floats scale = some(3), shift = some(3);
    Floats out(512 * 16);
    for (auto _ : s) {
      table.image_row_u8({in.data(), 3, scale.data(), shift.data(), out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 3);
  });
}

}  // namespace microtome_bench
