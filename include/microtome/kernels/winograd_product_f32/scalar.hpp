// Reference of winograd_product_f32, in the accumulator type of the caller's choice (tests use double).
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void winograd_product_f32(const WinogradProductArgs& a) {
  for (int o = 0; o < a.outputs; ++o)
    for (int t = 0; t < a.tiles; ++t)
      for (int l = 0; l < 16; ++l) {
        Acc sum = 0;
        const float* w = a.weights + o * a.weight_stride + l;
        for (int b = 0; b < a.blocks; ++b)
          for (int c = 0; c < a.block_channels[b]; ++c, w += 16)
            sum += static_cast<Acc>(a.in[b * a.block_stride + t * 16 + c]) * *w;
        a.out[o * a.out_stride + t * 16 + l] = static_cast<float>(sum);
      }
}

}  // namespace microtome::scalar
