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

#if defined(__AVX512BW__) && defined(__AVX512VL__) ? defined(__AVX512VNNI__) : defined(__AVXVNNI__)
#define MICROTOME_VNNI  // vpdpwssd as wide as Ints
#endif

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

// The loop over pairs of channels: on AVX-512 the register tile is so large that unrolling gains nothing.
#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define MICROTOME_UNROLL_PAIRS MICROTOME_NO_UNROLL
#else
#define MICROTOME_UNROLL_PAIRS _Pragma("GCC unroll 4")
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
/// sum + a0 * b0 + a1 * b1 of the pairs (a0, a1) and (b0, b1) of each lane.
///
/// Clang must not see the addition: it reorders integer sums, adds up the products of several steps first,
/// and that takes more registers than there are. With VNNI it is one instruction, which clang takes apart
/// for some CPUs.
inline Ints multiply_add_pairs(Ints a, Ints b, Ints sum) {
#if defined(MICROTOME_VNNI) && defined(__AVX512F__)
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
#elif defined(MICROTOME_VNNI)
  __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
#else
  const Ints product{MICROTOME_INT(madd_epi16)(a.v, b.v)};
#if !defined(__clang__)
  return sum + product;
#elif defined(__AVX2__)
  __asm__("vpaddd %1, %0, %0" : "+v"(sum.v) : "v"(product.v));
#else
  __asm__("paddd %1, %0" : "+x"(sum.v) : "x"(product.v));
#endif
#endif
  return sum;
}

/// The same of the pair at p, in all lanes, and each of `weight`.
template <int NV>
inline void multiply_add_pair(const std::int16_t* p, const Ints (&weight)[NV], Ints (&sum)[NV]) {
#if defined(MICROTOME_VNNI) && defined(__AVX512F__)
  // The instruction reads the pair itself, which g++ 12 does not know. It also leaves sums in memory that
  // assembly changes where they are: hence the copy.
  static_assert(NV == 1);
  using Pair [[gnu::may_alias]] = std::int32_t;
  IntRegister s = sum[0].v;
  __asm__("vpdpwssd %2%{1to16%}, %1, %0"
          : "+v"(s)
          : "v"(weight[0].v), "m"(*reinterpret_cast<const Pair*>(p)));
  sum[0].v = s;
#else
  std::int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  const Ints all = all_lanes(pair);
  MICROTOME_UNROLL
  for (int v = 0; v < NV; ++v) sum[v] = multiply_add_pairs(all, weight[v], sum[v]);
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
