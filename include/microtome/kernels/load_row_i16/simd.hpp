// load_row_i16 for every instruction set: one pixel per turn, factors and terms stay in registers. A 16-bit
// value and anything beside it, times the pair (factor, 0), is a product of 32 bits in one instruction.
#pragma once
#include "../act_row_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

inline void load_row_i16(const LoadRowI16Args& a) {
  const std::int16_t zeros[kBlock] = {};
  Ints factor[kIntVecs], term[kIntVecs];
  interleaved(a.factor, zeros, factor);
  load_interleaved(a.term, term);
  const ActRow act(a.m_pos, a.m_neg, a.zero_point);
  const std::int16_t* in = a.in;
  std::int16_t* out = a.out;
  for (int x = 0; x < a.width; ++x, in += kBlock, out += kBlock) {
    Ints v[kIntVecs];
    interleaved(in, in, v);
    MICROTOME_UNROLL
    for (int i = 0; i < kIntVecs; ++i) v[i] = multiply_add_pairs(v[i], factor[i], term[i]);
    act.store_pixel(out, v);
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
