// The tail of the integer convolutions for every instruction set: bias, requantisation, LeakyReLU, residual.
// core/requantize.hpp says what each must give; here is how few instructions do it.
//
// - Only products too large for a 32-bit integer are clamped in float: they would turn negative. Too small
// ones
//   become the smallest integer, and the saturating conversions to 16 and 8 bits do the rest.
// - m_neg <= m_pos, so LeakyReLU is the larger of both products.
#pragma once
#include "int_tail.hpp"
#include "simd_int.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

using FloatRegisters = FloatRegister[kIntVecs];

/// The nearest integers to numbers not above `high`.
inline Ints nearest(FloatRegister v, float high) {
  return {MICROTOME_INT(cvtps_epi32)(MICROTOME_INT(min_ps)(v, MICROTOME_INT(set1_ps)(high)))};
}

/// 16 sums to 16 saturated 16-bit numbers plus `more`, saturated; in the order of `more`, that of memory.
inline void store_raw(std::int16_t* to, const Ints (&v)[kIntVecs], const std::int16_t* more) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  __m256i r = _mm512_cvtsepi32_epi16(v[0].v);
  if (more) r = _mm256_adds_epi16(r, load_shorts(more).v);
  store(to, Shorts{r});
#elif defined(__AVX2__)
  __m256i r = _mm256_permute4x64_epi64(_mm256_packs_epi32(v[0].v, v[1].v), 0xd8);
  if (more) r = _mm256_adds_epi16(r, load_shorts(more).v);
  store(to, Shorts{r});
#else
  for (int h = 0; h < 2; ++h) {
    __m128i r = _mm_packs_epi32(v[2 * h].v, v[2 * h + 1].v);
    if (more) r = _mm_adds_epi16(r, load_shorts(more + 8 * h).v);
    store(to + 8 * h, Shorts{r});
  }
#endif
}

/// 16 numbers plus the zero point, saturated to 0..255.
inline void store_act(std::uint8_t* to, const Ints (&v)[kIntVecs], int zero_point) {
  __m128i r;
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const __m512i shifted = _mm512_add_epi32(v[0].v, _mm512_set1_epi32(zero_point));
  r = _mm512_cvtusepi32_epi8(_mm512_max_epi32(shifted, _mm512_setzero_si512()));
#elif defined(__AVX2__)
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(zero_point));
  const __m256i shorts = _mm256_adds_epi16(_mm256_packs_epi32(v[0].v, v[1].v), zero);
  // Each half of the register holds 4 lanes of both vectors.
  const __m256i bytes = _mm256_packus_epi16(shorts, shorts);
  r = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5)));
#else
  const __m128i zero = _mm_set1_epi16(static_cast<short>(zero_point));
  r = _mm_packus_epi16(_mm_adds_epi16(_mm_packs_epi32(v[0].v, v[1].v), zero),
                       _mm_adds_epi16(_mm_packs_epi32(v[2].v, v[3].v), zero));
#endif
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), r);
}

/// Calls finish(p, v) for the pixels p of sums [pixels][16], v being floats of the sums with the bias.
template <class Finish>
inline void for_each_pixel(const std::int32_t* sums, int pixels, const std::int32_t* bias, Finish&& finish) {
  Ints b[kIntVecs];
  MICROTOME_UNROLL
  for (int i = 0; i < kIntVecs; ++i) b[i] = load(bias + i * kIntLanes);
  MICROTOME_NO_UNROLL
  for (std::ptrdiff_t p = 0; p < pixels; ++p) {
    FloatRegisters v;
    MICROTOME_UNROLL
    for (int i = 0; i < kIntVecs; ++i)
      v[i] = MICROTOME_INT(cvtepi32_ps)((load(sums + p * kBlock + i * kIntLanes) + b[i]).v);
    finish(p * kBlock, v);
  }
}

/// `pixels` pixels from sums [pixels][16], to `out` elements into the output; the residual begins `residual`
/// elements into its own.
inline void int_tail(const IntTail& t, const std::int32_t* sums, int pixels, std::ptrdiff_t out,
                     std::ptrdiff_t residual) {
  FloatRegisters m_pos, m_neg;
  MICROTOME_UNROLL
  for (int i = 0; i < kIntVecs; ++i) m_pos[i] = MICROTOME_INT(loadu_ps)(t.m_pos + i * kIntLanes);
  if (t.act) {
    MICROTOME_UNROLL
    for (int i = 0; i < kIntVecs; ++i) m_neg[i] = MICROTOME_INT(loadu_ps)(t.m_neg + i * kIntLanes);
    std::uint8_t* to = t.act + out;
    const int zero_point = t.zero_point;
    for_each_pixel(sums, pixels, t.bias, [&](std::ptrdiff_t at, const FloatRegisters& v) {
      Ints r[kIntVecs];
      MICROTOME_UNROLL
      for (int i = 0; i < kIntVecs; ++i)
        r[i] = nearest(MICROTOME_INT(max_ps)(MICROTOME_INT(mul_ps)(v[i], m_pos[i]),
                                             MICROTOME_INT(mul_ps)(v[i], m_neg[i])),
                       32767.0f);
      store_act(to + at, r, zero_point);
    });
  } else if (t.raw) {
    std::int16_t* to = t.raw + out;
    const std::int16_t* more = t.residual ? t.residual + residual : nullptr;
    for_each_pixel(sums, pixels, t.bias, [&](std::ptrdiff_t at, const FloatRegisters& v) {
      Ints r[kIntVecs];
      MICROTOME_UNROLL
      for (int i = 0; i < kIntVecs; ++i) r[i] = nearest(MICROTOME_INT(mul_ps)(v[i], m_pos[i]), 32767.0f);
      store_raw(to + at, r, more ? more + at : nullptr);
    });
  } else {
    std::int32_t* to = t.logit + out;
    const FloatRegister low = MICROTOME_INT(set1_ps)(-8388608.0f);
    for_each_pixel(sums, pixels, t.bias, [&](std::ptrdiff_t at, const FloatRegisters& v) {
      MICROTOME_UNROLL
      for (int i = 0; i < kIntVecs; ++i)
        store(to + at + i * kIntLanes,
              nearest(MICROTOME_INT(max_ps)(MICROTOME_INT(mul_ps)(v[i], m_pos[i]), low), 8388608.0f));
    });
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
