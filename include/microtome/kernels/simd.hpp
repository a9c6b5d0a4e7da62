// The vector vocabulary of the FP32 kernels: xsimd batches as wide as this translation unit's flags allow.
//
// Rules for every kernel file: everything lives in microtome::<isa> and in an unnamed namespace (the linker
// can then never merge one ISA's code into another's), no containers, no statics, no exceptions, no threads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <xsimd/xsimd.hpp>

#include "../core/isa.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

using Vec = xsimd::batch<float>;
constexpr int kLanes = static_cast<int>(Vec::size);
constexpr int kBlock = 16;              ///< channels per block, innermost in memory
constexpr int kVecs = kBlock / kLanes;  ///< vectors per block: 4 (SSE2), 2 (AVX2), 1 (AVX-512)

inline Vec load(const float* p) {
  return Vec::load_unaligned(p);
}
inline void store(float* p, Vec v) {
  v.store_unaligned(p);
}

/// a * b + c. On AVX-512 xsimd 8.1's own fma is a multiply and an add, hence the intrinsic.
inline Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return Vec(_mm512_fmadd_ps(a, b, c));
#else
  return xsimd::fma(a, b, c);
#endif
}

/// Sum of all lanes: halves are added until one is left. (xsimd has it under a name that depends on its
/// version. Through memory it would wait for a store to be forwarded at every step.)
inline float sum(Vec v) {
#if defined(__SSE2__)
#if defined(__AVX512F__)
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v),
                                    _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
#elif defined(__AVX__)
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
#else
  const __m128 four = v;
#endif
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
  alignas(64) float lanes[kLanes];
  store(lanes, v);
  for (int n = kLanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  return lanes[0];
#endif
}

/// LeakyReLU for slopes in [0, 1]; slope 1 is the identity.
inline Vec leaky(Vec v, Vec slope) {
  return xsimd::max(v, slope * v);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
