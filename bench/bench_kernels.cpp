// Every kernel of every instruction set this CPU runs, in GMAC/s or GB/s. The list kernels.inc drives it: a
// kernel without a bench_<operator>.hpp does not compile.
//   build/bench/bench_kernels --benchmark_filter=conv_row
// The first line is the FMA peak of one core, measured in the same run: compare conv_row_f32 with it.
#include <benchmark/benchmark.h>
#include <microtome/kernels/kernel_table.hpp>

#include <string>

#include "fma_peak.hpp"

#define MICROTOME_KERNEL_FILE(op) MICROTOME_STR(bench_##op.hpp)
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL_FILE

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const microtome::KernelTable* table : microtome::runnable_tables()) {
#define MICROTOME_KERNEL(op, Args) microtome_bench::bench_##op(*table);
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL
  }
  benchmark::AddCustomContext("FMA peak, GMAC/s, one core",
                              std::to_string(microtome_bench::fma_peak_gmacs()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
