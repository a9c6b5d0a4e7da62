// Reference of winograd_output_i32: the two matrix products as written.
#pragma once
#include "../int_tail_scalar.hpp"
#include "../winograd_int.hpp"
#include "args.hpp"

namespace microtome::scalar {

inline void winograd_output_i32(const WinogradOutputI32Args& a) {
  const auto& m = WinogradIntMatrices::kOutput;
  for (int y = 0; y < a.rows; ++y)
    for (int x = 0; x < a.width; ++x)
      for (int o = 0; o < 16; ++o) {
        std::int32_t r = 0;
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j)
            r = wrapping_add(r, wrapping_multiply(m[y][i] * m[x % 4][j],
                                                  a.in[(i * 6 + j) * a.position_stride + x / 4 * 16 + o]));
        // The shift of a negative number keeps its sign with every compiler that this library knows.
        const std::int32_t sum =
            wrapping_multiply(r, WinogradIntMatrices::kInverseOf9) >> WinogradIntMatrices::kShift;
        int_tail(a.tail, sum, o, y * a.out_stride + x * 16, y * a.residual_stride + x * 16);
      }
}

}  // namespace microtome::scalar
