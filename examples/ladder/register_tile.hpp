// Rung 3: several pixels at once, their sums in registers. This is as far as doing the definition's
// multiplications goes: the rung ends near the peak of the machine.
//
//   one input channel c, AVX2, 16 registers:
//
//                      weights of 16 outputs:  [ w0 ][ w1 ]             2 registers
//     pixel x   [c] --broadcast-->             [ += ][ += ]
//     pixel x+1 [c] --broadcast-->             [ += ][ += ]            12 registers of sums,
//      ...                                       ...                    1 for the broadcast
//     pixel x+5 [c] --broadcast-->             [ += ][ += ]
//
// Why it is faster:
//  - 6 x 2 = 12 sums that do not depend on each other. Two FMA ports x 4 cycles of latency need 8: no
//  waiting.
//  - A weight is loaded once and used for 6 pixels, a pixel for 2 vectors of weights: 8 loads for 12 FMA,
//  where
//    rung 2 has 3 for 2. The two load ports are no longer the limit.
// More pixels would need more than 16 registers: the compiler would "spill" sums to memory, and every FMA
// would wait for a load and a store. AVX-512 has 32 registers of 16 floats: 24 pixels x 1 vector. SSE2 has no
// FMA and 4 floats per register: 2 x 4.
//
// The library's kernel, include/microtome/kernels/conv_row_f32/, is this and a tail (bias, activation,
// residual).
#pragma once
#include <vector>

#include "microtome/kernels/simd.hpp"
#include "problem.hpp"

namespace ladder {

class RegisterTile {
 public:
  static constexpr const char* kName = "register tile";
  static constexpr const char* kChange =
      "12 independent sums (AVX2) hide the latency; a loaded weight serves 6 pixels";
  static constexpr double kTolerance = 3e-5;

  explicit RegisterTile(const Problem& p)
      : blocks_(p.channels / 16),
        side_(p.side),
        weight_(pack(p)),
        in_(p.channels, p.side, 1),
        out_(p.channels, p.side, 1) {
    in_.fill(p);
  }

  void run() {
    for (int ob = 0; ob < blocks_; ++ob)
      for (int y = 0; y < side_; ++y) {
        for (int x = 0; x + kPixels <= side_; x += kPixels) tile(ob, y, x);
        if (side_ % kPixels != 0) tile(ob, y, side_ - kPixels);  // the last one overlaps: same values again
      }
  }

  float at(int o, int y, int x) const { return out_.pixel(o / 16, y, x)[o % 16]; }

 private:
  // Vec is as many floats as the compiler's flags allow, kLanes of them; 16 outputs are kVecs vectors.
  static constexpr int kLanes = microtome::MICROTOME_ISA::kLanes, kVecs = microtome::MICROTOME_ISA::kVecs;
  static constexpr int kPixels = kVecs == 1 ? 24 : kVecs == 2 ? 6 : 2;

  void tile(int ob, int y, int x) {
    using namespace microtome::MICROTOME_ISA;
    Vec sum[kPixels][kVecs];
    MICROTOME_UNROLL  // tells GCC to give every element a register of its own
        for (int i = 0; i < kPixels; ++i) {
      MICROTOME_UNROLL
      for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec(0.0f);
    }
    const float* w = weight_.data() + static_cast<std::ptrdiff_t>(ob) * blocks_ * 9 * 256;
    for (int b = 0; b < blocks_; ++b)
      for (int k = 0; k < 9; ++k) {
        const float* pixel = in_.pixel(b, y + k / 3 - 1, x + k % 3 - 1);
        for (int c = 0; c < 16; ++c, w += 16) {
          Vec weight[kVecs];
          MICROTOME_UNROLL
          for (int v = 0; v < kVecs; ++v) weight[v] = load(w + v * kLanes);
          MICROTOME_UNROLL
          for (int i = 0; i < kPixels; ++i) {
            const Vec value(pixel[i * 16 + c]);
            MICROTOME_UNROLL
            for (int v = 0; v < kVecs; ++v) sum[i][v] = multiply_add(value, weight[v], sum[i][v]);
          }
        }
      }
    MICROTOME_UNROLL
    for (int i = 0; i < kPixels; ++i) {
      MICROTOME_UNROLL
      for (int v = 0; v < kVecs; ++v) store(out_.pixel(ob, y, x + i) + v * kLanes, sum[i][v]);
    }
  }

  int blocks_, side_;
  std::vector<float> weight_;
  BlockedImage in_, out_;
};

}  // namespace ladder
