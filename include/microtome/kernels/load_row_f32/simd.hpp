// load_row_f32 for every instruction set: scale and shift stay in registers (2 * kVecs), one pixel per turn.
// Bound by loads and stores.
#pragma once
#include "../simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

inline void load_row_f32(const LoadRowArgs& a) {
  Vec scale[kVecs], shift[kVecs];
  const Vec slope(a.slope);
  MICROTOME_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    scale[v] = load(a.scale + v * kLanes);
    shift[v] = load(a.shift + v * kLanes);
  }
  const float* in = a.in;
  float* out = a.out;
  for (int x = 0; x < a.width; ++x, in += kBlock, out += kBlock) {
    MICROTOME_UNROLL
    for (int v = 0; v < kVecs; ++v)
      store(out + v * kLanes, leaky(multiply_add(load(in + v * kLanes), scale[v], shift[v]), slope));
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
