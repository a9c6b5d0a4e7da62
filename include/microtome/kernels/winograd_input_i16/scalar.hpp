// Reference of winograd_input_i16: the two matrix products as written.
#pragma once
#include "../winograd_int.hpp"
#include "args.hpp"

namespace microtome::scalar {

inline void winograd_input_i16(const WinogradInputI16Args& a) {
  const auto& b = WinogradIntMatrices::kInput;
  for (int t = 0; t < a.tiles; ++t)
    for (int c = 0; c < 16; ++c)
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j) {
          int sum = 0;
          for (int y = 0; y < 6; ++y)
            for (int x = 0; x < 6; ++x)
              sum += b[i][y] * b[j][x] * a.in[y * a.row_stride + (t * 4 + x) * 16 + c];
          a.out[(i * 6 + j) * a.position_stride + t * 16 + c] = static_cast<std::int16_t>(sum);
        }
}

}  // namespace microtome::scalar
