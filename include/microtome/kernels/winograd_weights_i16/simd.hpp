// winograd_weights_i16 for every instruction set: lanes are weights, each on its own.
#pragma once
#include "../winograd_int_simd.hpp"
#include "args.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

inline void winograd_weights_i16(const WinogradWeightsI16Args& a) {
  const std::ptrdiff_t tap = static_cast<std::ptrdiff_t>(a.pairs) * 2 * kBlock;
  MICROTOME_NO_UNROLL
  for (std::ptrdiff_t at = 0; at < tap; at += kShortLanes) {
    alignas(64) std::int16_t columns[3 * 6 * kShortLanes];
    MICROTOME_NO_UNROLL
    for (int x = 0; x < 3; ++x) {
      const std::int8_t* w = a.weights + x * tap + at;
      Shorts u[6];
      WinogradInt::weights(load_widened(w), load_widened(w + 3 * tap), load_widened(w + 6 * tap), u);
      MICROTOME_UNROLL
      for (int i = 0; i < 6; ++i) store(columns + (i * 3 + x) * kShortLanes, u[i]);
    }
    std::int16_t* to = a.out + at;
    MICROTOME_NO_UNROLL
    for (int i = 0; i < 6; ++i, to += 6 * a.position_stride) {
      const std::int16_t* from = columns + i * 3 * kShortLanes;
      Shorts u[6];
      WinogradInt::weights(load_shorts(from), load_shorts(from + kShortLanes),
                           load_shorts(from + 2 * kShortLanes), u);
      MICROTOME_UNROLL
      for (int j = 0; j < 6; ++j) store(to + j * a.position_stride, u[j]);
    }
  }
}

}  // namespace
}  // namespace microtome::MICROTOME_ISA
