// Reference of winograd_product_i16.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

inline void winograd_product_i16(const WinogradProductI16Args& a) {
  for (int o = 0; o < a.outputs; ++o)
    for (int t = 0; t < a.tiles; ++t)
      for (int l = 0; l < 16; ++l) {
        std::uint32_t sum = 0;  // unsigned: it may wrap
        const std::int16_t* w = a.weights + o * a.weight_stride + l * 2;
        for (int b = 0; b < a.blocks; ++b)
          for (int k = 0; k < a.block_pairs[b]; ++k, w += 32) {
            const std::int16_t* pair = a.in + b * a.block_stride + t * 16 + 2 * k;
            sum += static_cast<std::uint32_t>(pair[0] * w[0]) + static_cast<std::uint32_t>(pair[1] * w[1]);
          }
        a.out[o * a.out_stride + t * 16 + l] = static_cast<std::int32_t>(sum);
      }
}

}  // namespace microtome::scalar
