// probabilities_f32 for every instruction set: chunks of 64 pixels are transposed into the output planes,
// then worked on with one vector per kLanes pixels. Two passes over the planes: they stay in L1.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

constexpr int kChunk = 64;  // pixels; a multiple of every vector width

// One chunk: planes[c * kChunk + i] holds the logits on entry, the probabilities on return.
inline void final_layer_chunk(float* planes, int classes, FinalLayer layer, float multiplier) {
  const Vec one(1.0f);
  for (int i = 0; i < kChunk; i += kLanes) {
    float* p = planes + i;
    if (layer == FinalLayer::sigmoid) {
      const Vec m(-multiplier);
      for (int c = 0; c < classes; ++c)
        store(p + c * kChunk, one / (one + xsimd::exp(m * load(p + c * kChunk))));
      continue;
    }
    Vec top = load(p), sum(0.0f);
    for (int c = 1; c < classes; ++c) top = xsimd::max(top, load(p + c * kChunk));
    for (int c = 0; c < classes; ++c) {
      const Vec e = xsimd::exp(load(p + c * kChunk) - top);
      store(p + c * kChunk, e);
      sum = sum + e;
    }
    const Vec inverse = one / sum;
    for (int c = 0; c < classes; ++c) store(p + c * kChunk, load(p + c * kChunk) * inverse);
  }
}

inline void probabilities_f32(const ProbabilityArgs& a) {
  constexpr int kMaxClasses = 256;  // checked when the model is loaded
  alignas(64) float planes[kMaxClasses * kChunk];
  for (int x = 0; x < a.width; x += kChunk) {
    const int n = a.width - x < kChunk ? a.width - x : kChunk;
    for (int c = 0; c < a.classes; ++c) {
      const float* from =
          a.logits + c / kBlock * a.block_stride + static_cast<std::ptrdiff_t>(x) * kBlock + c % kBlock;
      float* to = planes + c * kChunk;
      for (int i = 0; i < n; ++i) to[i] = from[i * kBlock];
      for (int i = n; i < kChunk; ++i) to[i] = 0.0f;
    }
    if (a.final_layer != FinalLayer::none) final_layer_chunk(planes, a.classes, a.final_layer, a.multiplier);
    for (int c = 0; c < a.classes; ++c)
      std::memcpy(a.out + c * a.plane_stride + x, planes + c * kChunk,
                  static_cast<std::size_t>(n) * sizeof(float));
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
