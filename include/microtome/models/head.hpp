// The last convolution of a network and the final activation behind it.
#pragma once
#include <cstdint>

#include "../core/final_layer.hpp"
#include "../layers/conv.hpp"

namespace microtome {

/// Writes rows of the probabilities, planar: [classes][outer axes...][width] of `size`. Tile by tile: there
/// is no tensor of logits.
template <int Rank>
void run_head(const RunContext& ctx, const Conv<float, Rank>& conv, const Sources<float, Rank>& sources,
              const Index<Rank>& size, FinalLayer final_layer, float sigmoid_multiplier, const Rows& rows,
              float* out) {
  const std::int64_t plane = volume<Rank>(size);
  conv.run_to(
      ctx, sources, size, rows,
      [&](const Index<Rank>& begin, const Index<Rank>& end, const Index<Rank>& tile, const float* logits) {
        ProbabilityArgs a{};
        a.classes = conv.out_channels();
        a.final_layer = final_layer;
        a.multiplier = sigmoid_multiplier;
        a.plane_stride = plane;
        a.block_stride = volume<Rank>(tile) * kChannelBlock;
        a.width = static_cast<int>(end[Rank - 1] - begin[Rank - 1]);
        for_each_row<Rank>(begin, end, [&](const Index<Rank>& at) {
          std::int64_t row = 0, to = 0;
          for (int d = 0; d < Rank - 1; ++d) row = row * tile[d] + at[d] - begin[d];
          for (int d = 0; d < Rank; ++d) to = to * size[d] + at[d];
          a.logits = logits + row * tile[Rank - 1] * kChannelBlock;
          a.out = out + to;
          ctx.kernels->probabilities_f32(a);
        });
      });
}

}  // namespace microtome
