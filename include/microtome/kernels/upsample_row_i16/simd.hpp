// upsample_row_i16 for every instruction set: left and right neighbour side by side, so that one instruction
// multiplies both with the products of row and column weights, which fit in 16 bits, and adds.
#pragma once
#include "../act_row_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int ROWS>
inline void upsample_rows_i16(const UpsampleRowI16Args& a) {
  const ActRow act(a.m_pos, a.m_neg, a.zero_point);
  // Copies: a store to `out` could change what `a` holds, as far as the compiler knows.
  const std::int16_t* rows[ROWS];
  std::int32_t row_weight[ROWS];
  MICROTOME_UNROLL
  for (int r = 0; r < ROWS; ++r) rows[r] = a.rows[r], row_weight[r] = a.row_weight[r];
  const std::int32_t *los = a.lo, *his = a.hi;
  const std::int16_t* fractions = a.fraction;
  std::int16_t* out = a.out;
  const int width = a.width;
  for (int x = 0; x < width; ++x, out += kBlock) {
    const std::ptrdiff_t lo = static_cast<std::ptrdiff_t>(los[x]) * kBlock;
    const std::ptrdiff_t hi = static_cast<std::ptrdiff_t>(his[x]) * kBlock;
    const std::int32_t columns = (128 - fractions[x]) + fractions[x] * 65536;  // a pair of 16-bit weights
    Ints sum[kIntVecs];
    MICROTOME_UNROLL
    for (int i = 0; i < kIntVecs; ++i) sum[i] = all_lanes(0);
    MICROTOME_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      const Ints weights = all_lanes(row_weight[r] * columns);
      Ints neighbours[kIntVecs];
      interleaved(rows[r] + lo, rows[r] + hi, neighbours);
      MICROTOME_UNROLL
      for (int i = 0; i < kIntVecs; ++i) sum[i] = multiply_add_pairs(neighbours[i], weights, sum[i]);
    }
    act.store_pixel(out, sum);
  }
}

inline void upsample_row_i16(const UpsampleRowI16Args& a) {
  a.row_count == 2 ? upsample_rows_i16<2>(a) : upsample_rows_i16<4>(a);
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
