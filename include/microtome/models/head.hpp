// The last convolution of a network and the final activation behind it.
#pragma once
#include <cstdint>

#include "../core/exp_table.hpp"
#include "../core/final_layer.hpp"
#include "../layers/conv.hpp"
#include "../layers/int_conv.hpp"

namespace microtome {

namespace detail {

/// Hands the rows of a tile of logits, [block][row][tile width][16], to `a`, and calls f for each.
template <int Rank, class Args, class Logit, class F>
void for_each_logit_row(Args& a, const Index<Rank>& begin, const Index<Rank>& end, const Index<Rank>& tile,
                        const Index<Rank>& size, const Logit* logits, float* out, F&& f) {
  a.plane_stride = volume<Rank>(size);
  a.block_stride = volume<Rank>(tile) * kChannelBlock;
  a.width = static_cast<int>(end[Rank - 1] - begin[Rank - 1]);
  for_each_row<Rank>(begin, end, [&](const Index<Rank>& at) {
    std::int64_t row = 0, to = 0;
    for (int d = 0; d < Rank - 1; ++d) row = row * tile[d] + at[d] - begin[d];
    for (int d = 0; d < Rank; ++d) to = to * size[d] + at[d];
    a.logits = logits + row * tile[Rank - 1] * kChannelBlock;
    a.out = out + to;
    f();
  });
}

}  // namespace detail

/// Writes rows of the probabilities, planar: [classes][outer axes...][width] of `size`. Tile by tile: there
/// is no tensor of logits.
template <int Rank>
void run_head(const RunContext& ctx, const Conv<float, Rank>& conv, const Sources<float, Rank>& sources,
              const Index<Rank>& size, FinalLayer final_layer, float sigmoid_multiplier, const Rows& rows,
              float* out) {
  conv.run_to(
      ctx, sources, size, rows,
      [&](const Index<Rank>& begin, const Index<Rank>& end, const Index<Rank>& tile, const float* logits) {
        ProbabilityArgs a{};
        a.classes = conv.out_channels();
        a.final_layer = final_layer;
        a.multiplier = sigmoid_multiplier;
        detail::for_each_logit_row<Rank>(a, begin, end, tile, size, logits, out,
                                         [&] { ctx.kernels->probabilities_f32(a); });
      });
}

/// The same of an integer network; a factor inside the sigmoid is part of its weights.
template <int Rank>
void run_head(const RunContext& ctx, const IntConv<Rank>& conv, const Sources<std::int16_t, Rank>& sources,
              const Index<Rank>& size, FinalLayer final_layer, const Rows& rows, float* out) {
  conv.run_to(ctx, sources, size, rows,
              [&](const Index<Rank>& begin, const Index<Rank>& end, const Index<Rank>& tile,
                  const std::int32_t* logits) {
                ProbabilityI32Args a{};
                a.classes = conv.out_channels();
                a.final_layer = final_layer;
                a.exp_table = kExpTable.value;
                detail::for_each_logit_row<Rank>(a, begin, end, tile, size, logits, out,
                                                 [&] { ctx.kernels->probabilities_i32(a); });
              });
}

}  // namespace microtome
