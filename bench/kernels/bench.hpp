// What the benchmark of every kernel shares. A benchmark registers one or more shapes of one kernel of
// `table`.
#pragma once
#include <benchmark/benchmark.h>
#include <microtome/core/kernel_table.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace microtome_bench {

using namespace microtome;  // the kernels' arguments
using benchmark::Counter;

inline std::vector<float> ones(std::size_t n) {
  return std::vector<float>(n, 0.5f);
}

/// "<operator>/<instruction set>/<shape>", what --benchmark_filter sees.
inline std::string name(const KernelTable& table, const char* op, const std::string& shape) {
  return std::string(op) + "/" + table.isa + "/" + shape;
}

}  // namespace microtome_bench
