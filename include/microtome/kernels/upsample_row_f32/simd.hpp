// upsample_row_f32 for every instruction set: 2 * row_count loads, as many FMAs and one store per vector.
// Neighbouring outputs share their sources, which L1 serves.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int ROWS>
inline void upsample_rows(const UpsampleRowArgs& a) {
  Vec weight[ROWS];
  MICROTOME_UNROLL
  for (int r = 0; r < ROWS; ++r) weight[r] = Vec(a.row_weight[r]);
  const Vec slope(a.slope);
  float* out = a.out;
  for (int x = 0; x < a.width; ++x, out += kBlock) {
    const std::ptrdiff_t lo = static_cast<std::ptrdiff_t>(a.lo[x]) * kBlock;
    const std::ptrdiff_t hi = static_cast<std::ptrdiff_t>(a.hi[x]) * kBlock;
    const Vec f(a.fraction[x]);
    MICROTOME_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      Vec left = weight[0] * load(a.rows[0] + lo + v * kLanes);
      Vec right = weight[0] * load(a.rows[0] + hi + v * kLanes);
      MICROTOME_UNROLL
      for (int r = 1; r < ROWS; ++r) {
        left = multiply_add(weight[r], load(a.rows[r] + lo + v * kLanes), left);
        right = multiply_add(weight[r], load(a.rows[r] + hi + v * kLanes), right);
      }
      store(out + v * kLanes, leaky(multiply_add(f, right - left, left), slope));
    }
  }
}

inline void upsample_row_f32(const UpsampleRowArgs& a) {
  a.row_count == 2 ? upsample_rows<2>(a) : upsample_rows<4>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
