// Benchmark of winograd_output_i32.
#pragma once
#include <string>

#include "kernels/bench.hpp"

namespace microtome_bench {

// One row of 24 tiles of one block of outputs, as acts or as raws with residual; bytes in and out.
inline void bench_winograd_output_i32(const KernelTable& table) {
  for (const bool raw : {false, true})
    benchmark::RegisterBenchmark(
        name(table, "winograd_output_i32", raw ? "raw/24tiles" : "act/24tiles").c_str(),
        [&table, raw](benchmark::State& s) {
          constexpr int kWidth = 24 * 4;
          const Ints in(36 * 25 * 16, 576 * 100), bias(16, 5);
          const Floats m = some(16);
          Bytes act(4 * kWidth * 16);
          Shorts raws(act.size());
          WinogradOutputI32Args a{};
          a.in = in.data(), a.position_stride = 25 * 16;
          a.tail = {bias.data(), m.data(), m.data(), 7, raws.data(), act.data(), nullptr, nullptr};
          if (raw) a.tail.raw = raws.data(), a.tail.act = nullptr;
          a.out_stride = a.residual_stride = kWidth * 16, a.rows = 4, a.width = kWidth;
          for (auto _ : s) {
            table.winograd_output_i32(a);
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (36 * 24 * 4 + 4 * kWidth * (raw ? 4 : 1)) * 16);
        });
}

}  // namespace microtome_bench
