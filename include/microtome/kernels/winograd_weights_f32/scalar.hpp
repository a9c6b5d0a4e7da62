// Reference of winograd_weights_f32: the two matrix products as written.
#pragma once
#include "../winograd.hpp"
#include "args.hpp"

namespace microtome::scalar {

template <class Acc, int M>
void winograd_weights_f32(const WinogradWeightsArgs& a) {
  constexpr int N = M + 2;
  const auto& g = WinogradMatrices<M>::kWeights;
  for (int c = 0; c < a.channels; ++c)
    for (int o = 0; o < 16; ++o)
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
          Acc sum = 0;
          for (int y = 0; y < 3; ++y)
            for (int x = 0; x < 3; ++x)
              sum += static_cast<Acc>(g[i][y] * g[j][x]) * a.weights[((y * 3 + x) * a.channels + c) * 16 + o];
          a.out[(i * N + j) * a.position_stride + c * 16 + o] = static_cast<float>(sum);
        }
}

template <class Acc>
void winograd_weights_f32(const WinogradWeightsArgs& a) {
  a.tile == 4 ? winograd_weights_f32<Acc, 4>(a) : winograd_weights_f32<Acc, 6>(a);
}

}  // namespace microtome::scalar
