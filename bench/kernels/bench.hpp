// What the benchmark of every kernel shares. A benchmark registers one or more shapes of one kernel of
// `table`.
#pragma once
#include <benchmark/benchmark.h>
#include <microtome/kernels/kernel_table.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

namespace microtome_bench {

using namespace microtome;  // the kernels' arguments
using benchmark::Counter;

/// Allocates whole cache lines, as the library does: of a vector that begins elsewhere every other 32-byte
/// load would cross a line.
template <class T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};

using Floats = std::vector<float, LineAllocator<float>>;
using Bytes = std::vector<std::uint8_t, LineAllocator<std::uint8_t>>;
using Shorts = std::vector<std::int16_t, LineAllocator<std::int16_t>>;
using Ints = std::vector<std::int32_t, LineAllocator<std::int32_t>>;

/// n values that are neither zero nor denormal.
inline Floats some(std::size_t n) {
  return Floats(n, 0.5f);
}

/// "<operator>/<instruction set>/<shape>", what --benchmark_filter sees.
inline std::string name(const KernelTable& table, const char* op, const std::string& shape) {
  return std::string(op) + "/" + table.isa + "/" + shape;
}

}  // namespace microtome_bench
