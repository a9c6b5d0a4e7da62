// Reference of winograd_input_f32: the two matrix products as written.
#pragma once
#include "../winograd.hpp"
#include "args.hpp"

namespace microtome::scalar {

template <class Acc, int M>
void winograd_input_f32(const WinogradInputArgs& a) {
  constexpr int N = M + 2;
  const auto& b = WinogradMatrices<M>::kInput;
  for (int t = 0; t < a.tiles; ++t)
    for (int c = 0; c < 16; ++c)
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
          Acc sum = 0;
          for (int y = 0; y < N; ++y)
            for (int x = 0; x < N; ++x)
              sum += static_cast<Acc>(b[i][y] * b[j][x]) * a.in[y * a.row_stride + (t * M + x) * 16 + c];
          a.out[(i * N + j) * a.position_stride + t * 16 + c] = static_cast<float>(sum);
        }
}

template <class Acc>
void winograd_input_f32(const WinogradInputArgs& a) {
  a.tile == 4 ? winograd_input_f32<Acc, 4>(a) : winograd_input_f32<Acc, 6>(a);
}

}  // namespace microtome::scalar
