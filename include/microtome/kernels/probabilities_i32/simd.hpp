// probabilities_i32 for every instruction set: chunks of 64 pixels are transposed into planes, looked up one
// by one, and divided in vectors.
#pragma once
#include "../act_row_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

struct FixedChunk {
  static constexpr int kPixels = 64;  // a multiple of every vector width
  static constexpr int kMaxClasses = 256;
  alignas(64) std::int32_t planes[kMaxClasses * kPixels];  // logits, then their powers
  alignas(64) std::int32_t sums[kPixels];
};

inline std::int32_t power(const std::int32_t* table, std::int32_t d) {
  return table[d < 4095 ? d : 4095];
}

inline void softmax_powers(FixedChunk& chunk, int classes, const std::int32_t* table) {
  constexpr int n = FixedChunk::kPixels;
  std::int32_t top[n];
  for (int i = 0; i < n; ++i) top[i] = chunk.planes[i], chunk.sums[i] = 0;
  for (int c = 1; c < classes; ++c)
    for (int i = 0; i < n; ++i) top[i] = chunk.planes[c * n + i] > top[i] ? chunk.planes[c * n + i] : top[i];
  for (int c = 0; c < classes; ++c)
    for (int i = 0; i < n; ++i) {
      const std::int32_t e = power(table, top[i] - chunk.planes[c * n + i]);
      chunk.planes[c * n + i] = e;
      chunk.sums[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(chunk.sums[i]) +
                                                static_cast<std::uint32_t>(e));  // 2^31 at most
    }
}

// The quotients of 64 integers as floats. A sum of exactly 2^31 is negative as a signed number: hence the
// sign is taken off.
inline void divide(const std::int32_t* numerators, const std::int32_t* sums, float* out) {
  for (int i = 0; i < FixedChunk::kPixels; i += kIntLanes)
    store(out + i, to_floats(load(numerators + i)) / magnitude(to_floats(load(sums + i))));
}

inline void probabilities_i32(const ProbabilityI32Args& a) {
  constexpr int n = FixedChunk::kPixels;
  FixedChunk chunk;
  alignas(64) float plane[n];
  for (int x = 0; x < a.width; x += n) {
    const int used = a.width - x < n ? a.width - x : n;
    for (int c = 0; c < a.classes; ++c) {
      const std::int32_t* from =
          a.logits + c / kBlock * a.block_stride + static_cast<std::ptrdiff_t>(x) * kBlock + c % kBlock;
      std::int32_t* to = chunk.planes + c * n;
      for (int i = 0; i < used; ++i) to[i] = from[i * kBlock];
      for (int i = used; i < n; ++i) to[i] = 0;
    }
    if (a.final_layer == FinalLayer::softmax) softmax_powers(chunk, a.classes, a.exp_table);
    for (int c = 0; c < a.classes; ++c) {
      std::int32_t* p = chunk.planes + c * n;
      if (a.final_layer == FinalLayer::none)
        for (int i = 0; i < n; ++i) chunk.sums[i] = 256;
      if (a.final_layer == FinalLayer::sigmoid)
        for (int i = 0; i < n; ++i) {
          const std::int32_t mine = power(a.exp_table, p[i] < 0 ? -p[i] : 0);
          chunk.sums[i] = mine + power(a.exp_table, p[i] > 0 ? p[i] : 0);
          p[i] = mine;
        }
      divide(p, chunk.sums, plane);
      std::memcpy(a.out + c * a.plane_stride + x, plane, static_cast<std::size_t>(used) * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
