// Reference of winograd_output_f32: the two matrix products as written.
#pragma once
#include "../winograd.hpp"
#include "args.hpp"

namespace microtome::scalar {

template <class Acc, int M>
void winograd_output_f32(const WinogradOutputArgs& a) {
  constexpr int N = M + 2;
  const auto& m = WinogradMatrices<M>::kOutput;
  for (int y = 0; y < a.rows; ++y)
    for (int x = 0; x < a.width; ++x)
      for (int o = 0; o < 16; ++o) {
        Acc sum = a.bias[o];
        for (int i = 0; i < N; ++i)
          for (int j = 0; j < N; ++j)
            sum += static_cast<Acc>(m[y][i] * m[x % M][j]) *
                   a.in[(i * N + j) * a.position_stride + x / M * 16 + o];
        if (sum < 0) sum *= static_cast<Acc>(a.slope);
        if (a.residual) sum += static_cast<Acc>(a.residual[y * a.residual_stride + x * 16 + o]);
        a.out[y * a.out_stride + x * 16 + o] = static_cast<float>(sum);
      }
}

template <class Acc>
void winograd_output_f32(const WinogradOutputArgs& a) {
  a.tile == 4 ? winograd_output_f32<Acc, 4>(a) : winograd_output_f32<Acc, 6>(a);
}

}  // namespace microtome::scalar
