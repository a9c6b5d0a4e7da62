// Reference of winograd_weights_i16: the two matrix products as written.
#pragma once
#include "../winograd_int.hpp"
#include "args.hpp"

namespace microtome::scalar {

inline void winograd_weights_i16(const WinogradWeightsI16Args& a) {
  const auto& g = WinogradIntMatrices::kWeights;
  for (int e = 0; e < a.pairs * 32; ++e)
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 6; ++j) {
        int sum = 0;
        for (int y = 0; y < 3; ++y)
          for (int x = 0; x < 3; ++x) sum += g[i][y] * g[j][x] * a.weights[(y * 3 + x) * a.pairs * 32 + e];
        a.out[(i * 6 + j) * a.position_stride + e] = static_cast<std::int16_t>(sum);
      }
}

}  // namespace microtome::scalar
