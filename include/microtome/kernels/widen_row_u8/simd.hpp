// widen_row_u8 for every instruction set: one pixel per turn. Bound by loads and stores.
#pragma once
#include "../simd_int.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

inline void widen_row_u8(const WidenRowArgs& a) {
  const std::uint8_t* in = a.in;
  std::int16_t* out = a.out;
  for (int x = 0; x < a.width; ++x, in += kBlock, out += kBlock) {
    const __m128i pixel = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
#if defined(__AVX2__)
    store(out, Shorts{_mm256_cvtepu8_epi16(pixel)});
#else
    store(out, Shorts{_mm_unpacklo_epi8(pixel, _mm_setzero_si128())});
    store(out + kShortLanes, Shorts{_mm_unpackhi_epi8(pixel, _mm_setzero_si128())});
#endif
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
