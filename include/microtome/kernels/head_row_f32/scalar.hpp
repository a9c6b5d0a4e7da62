// Reference of head_row_f32, in the accumulator type of the caller's choice (tests use double).
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void head_row_f32(const HeadRowArgs& a) {
  for (int x = 0; x < a.width; ++x) {
    const float* w = a.weights;
    for (int o = 0; o < a.outputs; ++o) {
      Acc sum = a.bias[o];
      for (int b = 0; b < a.blocks; ++b)
        for (int t = 0; t < a.taps; ++t)
          for (int k = 0; k < a.kernel_width; ++k) {
            const float* pixel = a.in + b * a.block_stride + a.tap_rows[t] + (x + k) * 16;
            for (int c = 0; c < 16; ++c, ++w) sum += static_cast<Acc>(pixel[c]) * *w;
          }
      a.out[x * 16 + o] = static_cast<float>(sum);
    }
  }
}

}  // namespace microtome::scalar
