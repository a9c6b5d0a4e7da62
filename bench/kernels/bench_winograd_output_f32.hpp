// Benchmark of winograd_output_f32.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

// One row of 24 tiles of one block of outputs with residual; bytes in and out.
inline void bench_winograd_output_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    benchmark::RegisterBenchmark(
        name(table, "winograd_output_f32", "F" + std::to_string(tile)).c_str(),
        [&table, tile](benchmark::State& s) {
          const int positions = (tile + 2) * (tile + 2), width = 24 * tile;
          const Floats in = some(static_cast<std::size_t>(positions * 25) * 16), bias = some(16);
          Floats out = some(static_cast<std::size_t>(tile * width) * 16);
          WinogradOutputArgs a{};
          a.in = in.data(), a.position_stride = 25 * 16, a.tile = tile;
          a.bias = bias.data(), a.slope = 1.0f;
          a.residual = a.out = out.data(), a.residual_stride = a.out_stride = width * 16;
          a.rows = tile, a.width = width;
          for (auto _ : s) {
            table.winograd_output_f32(a);
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (positions * 24 + 2 * tile * width) * 64);
        });
}

}  // namespace microtome_bench
