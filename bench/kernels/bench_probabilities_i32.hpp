// Benchmark of probabilities_i32.
#pragma once
#include <microtome/core/exp_table.hpp>

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_probabilities_i32(const KernelTable& table) {
  for (const FinalLayer layer : {FinalLayer::sigmoid, FinalLayer::softmax})
    benchmark::RegisterBenchmark(
        name(table, "probabilities_i32", layer == FinalLayer::softmax ? "softmax2/512px" : "sigmoid2/512px")
            .c_str(),
        [&table, layer](benchmark::State& s) {
          Ints logits(512 * 16);
          for (std::size_t i = 0; i < logits.size(); ++i)
            logits[i] = static_cast<std::int32_t>(i * 37 % 2001) - 1000;
          Floats out(512 * 2);
          for (auto _ : s) {
            table.probabilities_i32(
                {logits.data(), 512 * 16, 2, layer, kExpTable.value, out.data(), 512, 512});
            benchmark::ClobberMemory();
          }
          s.SetItemsProcessed(s.iterations() * 512);
        });
}

}  // namespace microtome_bench
