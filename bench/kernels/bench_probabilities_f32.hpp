// Benchmark of probabilities_f32.
#pragma once

#include "kernels/bench.hpp"

namespace microtome_bench {

inline void bench_probabilities_f32(const KernelTable& table) {
  for (const FinalLayer layer : {FinalLayer::sigmoid, FinalLayer::softmax})
    benchmark::RegisterBenchmark(
        name(table, "probabilities_f32", layer == FinalLayer::softmax ? "softmax2/512px" : "sigmoid2/512px")
            .c_str(),
        [&table, layer](benchmark::State& s) {
          const Floats logits = some(512 * 16);
          Floats out(512 * 2);
          for (auto _ : s) {
            table.probabilities_f32({logits.data(), 512 * 16, 2, layer, 1.0f, out.data(), 512, 512});
            benchmark::ClobberMemory();
          }
          s.SetItemsProcessed(s.iterations() * 512);
        });
}

}  // namespace microtome_bench
