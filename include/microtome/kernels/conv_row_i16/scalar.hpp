// Reference of conv_row_i16.
#pragma once
#include "../int_tail_scalar.hpp"
#include "args.hpp"

namespace microtome::scalar {

inline void conv_row_i16(const ConvRowI16Args& a) {
  for (int x = 0; x < a.width; ++x)
    for (int o = 0; o < 16; ++o) {
      std::int32_t sum = 0;
      const std::int16_t* w = a.weights + o * 2;
      for (int b = 0; b < a.blocks; ++b)
        for (int t = 0; t < a.taps; ++t)
          for (int k = 0; k < a.kernel_width; ++k) {
            const std::int16_t* pixel = a.in + b * a.block_stride + a.tap_rows[t] + (x * a.stride + k) * 16;
            for (int p = 0; p < a.block_pairs[b]; ++p, w += 32)
              for (int i = 0; i < 2; ++i) sum = wrapping_add(sum, pixel[2 * p + i] * w[i]);
          }
      int_tail(a.tail, sum, o, x * 16, x * 16);
    }
}

}  // namespace microtome::scalar
