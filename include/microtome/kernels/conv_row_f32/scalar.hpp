// Reference of conv_row_f32, in the accumulator type of the caller's choice (tests use double).
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void conv_row_f32(const ConvRowArgs& a) {
  for (int x = 0; x < a.width; ++x)
    for (int o = 0; o < 16; ++o) {
      Acc sum = a.bias[o];
      const float* w = a.weights + o;
      for (int b = 0; b < a.blocks; ++b)
        for (int t = 0; t < a.taps; ++t)
          for (int k = 0; k < a.kernel_width; ++k) {
            const float* pixel = a.in + b * a.block_stride + a.tap_rows[t] + (x * a.stride + k) * 16;
            for (int c = 0; c < a.block_channels[b]; ++c, w += 16) sum += static_cast<Acc>(pixel[c]) * *w;
          }
      if (sum < 0) sum *= static_cast<Acc>(a.slope);
      if (a.residual) sum += static_cast<Acc>(a.residual[x * 16 + o]);
      a.out[x * 16 + o] = static_cast<float>(sum);
    }
}

}  // namespace microtome::scalar
