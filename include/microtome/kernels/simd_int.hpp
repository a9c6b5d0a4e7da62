// The vector vocabulary of the integer kernels: 32-bit sums as wide as this translation unit's flags allow,
// and 16-bit values, of which one pixel of 16 channels is the widest vector. All sums wrap.
//
// Intrinsics, not xsimd: every kernel must give the same bytes on every CPU, so each operation is one that
// all widths have with the same meaning. The rules of simd.hpp hold.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "simd.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

#if defined(__AVX512BW__) && defined(__AVX512VL__)
using IntRegister = __m512i;
using FloatRegister = __m512;
#define MICROTOME_INT(op) _mm512_##op
#define MICROTOME_INT_LOGIC(op) _mm512_##op##_si512
#elif defined(__AVX2__)
using IntRegister = __m256i;
using FloatRegister = __m256;
#define MICROTOME_INT(op) _mm256_##op
#define MICROTOME_INT_LOGIC(op) _mm256_##op##_si256
#else
using IntRegister = __m128i;
using FloatRegister = __m128;
#define MICROTOME_INT(op) _mm_##op
#define MICROTOME_INT_LOGIC(op) _mm_##op##_si128
#endif

#if defined(__AVX2__)
using ShortRegister = __m256i;
#define MICROTOME_SHORT(op) _mm256_##op
#else
using ShortRegister = __m128i;
#define MICROTOME_SHORT(op) _mm_##op
#endif

constexpr int kIntLanes = static_cast<int>(sizeof(IntRegister) / sizeof(std::int32_t));
constexpr int kIntVecs = kBlock / kIntLanes;  ///< vectors of sums per block: 4 (SSE2), 2 (AVX2), 1 (AVX-512)
constexpr int kShortLanes = static_cast<int>(sizeof(ShortRegister) / sizeof(std::int16_t));

/// kIntLanes 32-bit integers.
struct Ints {
  IntRegister v;
};

inline Ints operator+(Ints a, Ints b) {
  return {MICROTOME_INT(add_epi32)(a.v, b.v)};
}
inline Ints operator-(Ints a, Ints b) {
  return {MICROTOME_INT(sub_epi32)(a.v, b.v)};
}
template <int N>
inline Ints shift_left(Ints a) {
  return {MICROTOME_INT(slli_epi32)(a.v, N)};
}
template <int N>
inline Ints shift_right(Ints a) {  // of signed numbers: rounds down
  return {MICROTOME_INT(srai_epi32)(a.v, N)};
}
inline Ints load(const std::int32_t* p) {
  return {MICROTOME_INT_LOGIC(loadu)(reinterpret_cast<const IntRegister*>(p))};
}
inline void store(std::int32_t* p, Ints a) {
  MICROTOME_INT_LOGIC(storeu)(reinterpret_cast<IntRegister*>(p), a.v);
}
inline Ints all_lanes(std::int32_t value) {
  return {MICROTOME_INT(set1_epi32)(value)};
}

/// The low 32 bits of the products.
inline Ints multiply_low(Ints a, Ints b) {
#if defined(__AVX2__)
  return {MICROTOME_INT(mullo_epi32)(a.v, b.v)};
#else
  const __m128i even = _mm_mul_epu32(a.v, b.v);
  const __m128i odd = _mm_mul_epu32(_mm_srli_epi64(a.v, 32), _mm_srli_epi64(b.v, 32));
  return {_mm_unpacklo_epi32(_mm_shuffle_epi32(even, 0x08), _mm_shuffle_epi32(odd, 0x08))};
#endif
}

/// kIntLanes pairs of 16-bit integers from memory.
inline Ints load_pairs(const std::int16_t* p) {
  return {MICROTOME_INT_LOGIC(loadu)(reinterpret_cast<const IntRegister*>(p))};
}
/// One pair in all lanes.
inline Ints broadcast_pair(const std::int16_t* p) {
  std::int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return all_lanes(pair);
}
/// sum + a0 * b0 + a1 * b1 of the pairs (a0, a1) and (b0, b1) of each lane.
///
/// Clang must not see the addition: it reorders integer sums, adds up the products of several steps first,
/// and that takes more registers than there are.
inline Ints multiply_add_pairs(Ints a, Ints b, Ints sum) {
  const Ints product{MICROTOME_INT(madd_epi16)(a.v, b.v)};
#if !defined(__clang__)
  return sum + product;
#elif defined(__AVX2__)
  __asm__("vpaddd %1, %0, %0" : "+v"(sum.v) : "v"(product.v));
  return sum;
#else
  __asm__("paddd %1, %0" : "+x"(sum.v) : "x"(product.v));
  return sum;
#endif
}

/// kShortLanes 16-bit integers.
struct Shorts {
  ShortRegister v;
};

inline Shorts operator+(Shorts a, Shorts b) {
  return {MICROTOME_SHORT(add_epi16)(a.v, b.v)};
}
inline Shorts operator-(Shorts a, Shorts b) {
  return {MICROTOME_SHORT(sub_epi16)(a.v, b.v)};
}
template <int N>
inline Shorts shift_left(Shorts a) {
  return {MICROTOME_SHORT(slli_epi16)(a.v, N)};
}
inline Shorts load_shorts(const std::int16_t* p) {
#if defined(__AVX2__)
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
#else
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
#endif
}
inline void store(std::int16_t* p, Shorts a) {
#if defined(__AVX2__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
#else
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a.v);
#endif
}
/// kShortLanes signed bytes, widened.
inline Shorts load_widened(const std::int8_t* p) {
#if defined(__AVX2__)
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#else
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return {_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8)};
#endif
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
