// to_act of core/requantize.hpp on vectors, for the kernels that fill strips (the convolutions have theirs in
// int_tail_simd.hpp), and the order of channels in which they widen and pack.
#pragma once
#include "simd_int.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

/// kIntLanes floats.
struct Floats {
  FloatRegister v;
};

inline void store(float* p, Floats f) {
  MICROTOME_INT(storeu_ps)(p, f.v);
}
inline Floats all_lanes(float value) {
  return {MICROTOME_INT(set1_ps)(value)};
}
inline Floats operator/(Floats a, Floats b) {
  return {MICROTOME_INT(div_ps)(a.v, b.v)};
}
inline Floats magnitude(Floats f) {
  return {MICROTOME_INT(max_ps)(f.v, MICROTOME_INT(sub_ps)(MICROTOME_INT(setzero_ps)(), f.v))};
}

/// To the nearest float, ties to even.
inline Floats to_floats(Ints v) {
  return {MICROTOME_INT(cvtepi32_ps)(v.v)};
}

/// f clamped to [low, high], then to the nearest integer, ties to even.
inline Ints rounded(Floats f, Floats low, Floats high) {
  const FloatRegister clamped = MICROTOME_INT(min_ps)(MICROTOME_INT(max_ps)(f.v, low.v), high.v);
  return {MICROTOME_INT(cvtps_epi32)(clamped)};
}

/// v * (v < 0 ? negative : positive), rounded and clamped; the larger product is the chosen one, because
/// 0 <= negative <= positive.
inline Ints requantized(Ints v, Floats positive, Floats negative, Floats low, Floats high) {
  const FloatRegister f = to_floats(v).v;
  return rounded(
      {MICROTOME_INT(max_ps)(MICROTOME_INT(mul_ps)(f, positive.v), MICROTOME_INT(mul_ps)(f, negative.v))},
      low, high);
}

// Packing 32 to 16 bits works within 128-bit lanes on AVX2. Kernels that begin with 16-bit values widen them
// in the order that packing undoes, the order of `interleaved`: channels 0-3, 8-11 in the first vector and
// 4-7, 12-15 in the second. Elsewhere it is the natural one.

/// The pairs (a[c], b[c]) of 16 channels, in interleaved order.
inline void interleaved(const std::int16_t* a, const std::int16_t* b, Ints (&out)[kIntVecs]) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const Shorts low = load_shorts(a), high = load_shorts(b);
  out[0].v =
      _mm512_or_si512(_mm512_cvtepu16_epi32(low.v), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high.v), 16));
#else
  MICROTOME_UNROLL
  for (int v = 0; v < kIntVecs; v += 2) {
    const Shorts low = load_shorts(a + v * kIntLanes), high = load_shorts(b + v * kIntLanes);
    out[v].v = MICROTOME_SHORT(unpacklo_epi16)(low.v, high.v);
    out[v + 1].v = MICROTOME_SHORT(unpackhi_epi16)(low.v, high.v);
  }
#endif
}

/// 16 sums from memory, in interleaved order.
inline void load_interleaved(const std::int32_t* p, Ints (&out)[kIntVecs]) {
  MICROTOME_UNROLL
  for (int v = 0; v < kIntVecs; ++v) out[v] = load(p + v * kIntLanes);
#if defined(__AVX2__) && !(defined(__AVX512BW__) && defined(__AVX512VL__))
  const __m256i first = out[0].v, second = out[1].v;
  out[0].v = _mm256_permute2x128_si256(first, second, 0x20);
  out[1].v = _mm256_permute2x128_si256(first, second, 0x31);
#endif
}

/// 16 values in interleaved order, saturated to 16 bits, in kBlock / kShortLanes vectors of natural order.
inline void pack_interleaved(const Ints (&in)[kIntVecs], Shorts (&out)[kBlock / kShortLanes]) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  out[0].v = _mm512_cvtsepi32_epi16(in[0].v);
#else
  MICROTOME_UNROLL
  for (int v = 0; v < kIntVecs; v += 2) out[v / 2].v = MICROTOME_SHORT(packs_epi32)(in[v].v, in[v + 1].v);
#endif
}

/// What a source does to its sums: an act of one zero point, still 16 bits wide.
class ActRow {
 public:
  ActRow(float m_pos, float m_neg, int zero_point)
      : positive_(all_lanes(m_pos)),
        negative_(all_lanes(m_neg)),
        low_(all_lanes(static_cast<float>(-zero_point))),
        high_(all_lanes(static_cast<float>(255 - zero_point))),
        zero_point_{MICROTOME_SHORT(set1_epi16)(static_cast<short>(zero_point))} {}

  /// Writes the 16 acts of the sums v, which are in interleaved order.
  inline void store_pixel(std::int16_t* out, Ints (&v)[kIntVecs]) const {
    Shorts packed[kBlock / kShortLanes];
    MICROTOME_UNROLL
    for (int i = 0; i < kIntVecs; ++i) v[i] = requantized(v[i], positive_, negative_, low_, high_);
    pack_interleaved(v, packed);
    MICROTOME_UNROLL
    for (int i = 0; i < kBlock / kShortLanes; ++i) store(out + i * kShortLanes, packed[i] + zero_point_);
  }

 private:
  Floats positive_, negative_, low_, high_;
  Shorts zero_point_;
};

}  // namespace
}  // namespace microtome::MICROTOME_ISA
