// Rung 2: the same sums in a layout that suits the machine. Still plain C++, no intrinsics.
//
// Why it is faster:
//  - 16 channels lie side by side. 16 outputs are summed at once, each in its own order, so the compiler may
//    use vectors: the innermost loop is 2 FMA on AVX2, 1 on AVX-512, 4 multiplications and 4 additions on
//    SSE2.
//  - A pixel is exactly one cache line, and all of it is used. Weights are read front to back, in the order
//  in
//    which they were packed; the hardware prefetcher sees it coming.
//  - The border of zeros is part of the image: no comparisons.
//
// Whether a compiler sees it is luck: g++ 12 at -O3 unrolls the inner loop before it looks for vectors and
// ends up with a tenth of the speed it reaches at -O2; clang 14 gets it right at both. Hence -O2
// (CMakeLists.txt), and hence the next rung says what it wants.
//
// What is left: `sum` is 2 vectors (AVX2), i.e. 2 chains of dependent FMA. A core that starts 2 FMA per cycle
// and finishes them 4 cycles later wants 8 in flight: at best a quarter of the peak. And each weight that is
// loaded is used once.
#pragma once
#include <vector>

#include "problem.hpp"

namespace ladder {

class Blocked {
 public:
  static constexpr const char* kName = "blocked, NCHWc16";
  static constexpr const char* kChange =
      "16 channels side by side: whole cache lines, vectors, no border case";
  static constexpr double kTolerance = 3e-5;

  explicit Blocked(const Problem& p)
      : blocks_(p.channels / 16),
        side_(p.side),
        weight_(pack(p)),
        in_(p.channels, p.side, 1),
        out_(p.channels, p.side, 1) {
    in_.fill(p);
  }

  void run() {
    for (int ob = 0; ob < blocks_; ++ob)
      for (int y = 0; y < side_; ++y)
        for (int x = 0; x < side_; ++x) {
          float sum[16] = {};
          const float* w = weight_.data() + static_cast<std::ptrdiff_t>(ob) * blocks_ * 9 * 256;
          for (int b = 0; b < blocks_; ++b)
            for (int ky = 0; ky < 3; ++ky)
              for (int kx = 0; kx < 3; ++kx) {
                const float* pixel = in_.pixel(b, y + ky - 1, x + kx - 1);
                for (int c = 0; c < 16; ++c, w += 16)
                  for (int o = 0; o < 16; ++o) sum[o] += pixel[c] * w[o];
              }
          std::memcpy(out_.pixel(ob, y, x), sum, sizeof sum);
        }
  }

  float at(int o, int y, int x) const { return out_.pixel(o / 16, y, x)[o % 16]; }

 private:
  int blocks_, side_;
  std::vector<float> weight_;
  BlockedImage in_, out_;
};

}  // namespace ladder
