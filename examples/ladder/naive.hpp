// Rung 1: the definition, as textbooks write it.
//
// Why it is slow, worst first:
//  - Every multiplication adds to the same `sum`, so it waits for the one before it: 4 cycles each, while the
//  core
//    could start 2 in every cycle, each of 8 numbers (AVX2). That alone is a factor of 64.
//  - The compiler may not change that: floating-point sums in another order round differently (it may with
//    -ffast-math; the rungs below change the order by hand).
//  - `in` is read across planes: neighbours in the sum are a plane apart, each in a cache line of its own, of
//    which the loop uses 12 bytes. With a power-of-two plane all of them also compete for the same few places
//    of the L1 cache.
//  - Comparisons in the innermost loop keep the border out.
#pragma once
#include <cstddef>
#include <vector>

#include "problem.hpp"

namespace ladder {

class Naive {
 public:
  static constexpr const char* kName = "naive, NCHW";
  static constexpr const char* kChange = "the definition: one sum, each step waits for the one before it";
  static constexpr double kTolerance = 3e-5;

  explicit Naive(const Problem& p) : p_(p), out_(p.in.size()) {}

  void run() {
    const std::ptrdiff_t channels = p_.channels, side = p_.side;
    const float *in = p_.in.data(), *weight = p_.weight.data();
    float* out = out_.data();
    for (std::ptrdiff_t o = 0; o < channels; ++o)
      for (std::ptrdiff_t y = 0; y < side; ++y)
        for (std::ptrdiff_t x = 0; x < side; ++x) {
          float sum = 0;
          for (std::ptrdiff_t c = 0; c < channels; ++c)
            for (std::ptrdiff_t ky = 0; ky < 3; ++ky) {
              const std::ptrdiff_t iy = y + ky - 1;
              if (iy < 0 || iy >= side) continue;
              for (std::ptrdiff_t kx = 0; kx < 3; ++kx) {
                const std::ptrdiff_t ix = x + kx - 1;
                if (ix < 0 || ix >= side) continue;
                sum += in[(c * side + iy) * side + ix] * weight[((o * channels + c) * 3 + ky) * 3 + kx];
              }
            }
          out[(o * side + y) * side + x] = sum;
        }
  }

  float at(int o, int y, int x) const {
    return out_[static_cast<std::size_t>((o * p_.side + y) * p_.side + x)];
  }

 private:
  const Problem& p_;
  std::vector<float> out_;
};

}  // namespace ladder
