// Direct convolution: padded strip -> conv_row_f32 or conv_row_i16, one row of 16 output channels at a time.
// Any spatial rank, kernel 1 or 3, stride 1 or 2. What Winograd (winograd_conv.hpp) cannot or should not do.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "float_arithmetic.hpp"
#include "strip.hpp"

namespace microtome {

/// One direct convolution; weights belong to the layer that owns it. `Arithmetic`: FloatArithmetic or
/// IntArithmetic. What becomes of the sums is up to whoever runs it.
template <class Arithmetic, int Rank>
struct DirectConv {
  using Value = typename Arithmetic::Value;
  using Logit = typename Arithmetic::Logit;
  using Weight = typename Arithmetic::Weight;

  const int* block_depth = nullptr;  ///< [blocks]: channels (floats) or pairs of them (integers) in use
  int blocks = 0, out_channels = 0, kernel = 1, stride = 1;
  const Weight* weights = nullptr;  ///< [out block][in block][taps][kernel][depth][line]; of a head [out][in
                                    ///< block][taps][kernel][16]
  std::size_t block_weights = 0;    ///< weights per block of outputs
  bool head = false;                ///< few outputs: head_row_f32; no activation, no residual, stride 1

  /// Bytes of scratch one worker needs for an output of `size`; `rows_too` if the rows go to scratch as well.
  std::size_t scratch_bytes(const Index<Rank>& size, int workers, bool rows_too) const {
    const Strip s = plan(size, workers);
    return strip_bytes(s) + (rows_too ? row_elements(s.tile) * sizeof(Logit) : 0);
  }

  /// Rows [rows.begin, rows.end) of axis 0 of an output of `size`. tail(block, at) says what becomes of the
  /// sums of the row from pixel `at` on.
  template <class TailOf>
  void run(const RunContext& ctx, const Sources<Value, Rank>& sources, const Index<Rank>& size,
           const Rows& rows, TailOf&& tail) const {
    run_tiles(
        ctx, sources, size, rows, false,
        [&](int block, const Index<Rank>& at, const Index<Rank>&, Logit*) { return tail(block, at); },
        [](const Index<Rank>&, const Index<Rank>&, const Index<Rank>&, const Logit*) {});
  }

  /// As run(), but the rows of a tile go to scratch memory [block][row][tile width][16] and are handed to
  /// done(begin, end, tile, rows), `tile` being the extents that index `rows`. tail(block, row) says how.
  template <class TailOf, class Done>
  void run_to(const RunContext& ctx, const Sources<Value, Rank>& sources, const Index<Rank>& size,
              const Rows& rows, TailOf&& tail, Done&& done) const {
    run_tiles(
        ctx, sources, size, rows, true,
        [&](int block, const Index<Rank>& at, const Index<Rank>& tile, Logit* to) {
          std::int64_t r = block;
          for (int d = 0; d < Rank - 1; ++d) r = r * tile[d] + at[d];
          return tail(block, to + r * tile[Rank - 1] * kChannelBlock);
        },
        done);
  }

 private:
  // The padded input of one output tile: [in block][outer axes...][row pixels][16].
  struct Strip {
    Index<Rank> tile{};   // output pixels
    Index<Rank> input{};  // input pixels with padding
    std::int64_t row_pixels = 0, rows = 0;
    int blocks = 0;
    std::size_t elements() const {
      return static_cast<std::size_t>(row_pixels * rows * blocks) * kChannelBlock;
    }
  };

  // Whole cache lines, so that rows behind it start at one.
  static std::size_t strip_bytes(const Strip& s) {
    return (s.elements() * sizeof(Value) + kLine - 1) / kLine * kLine;
  }
  static constexpr std::size_t kLine = 64;

  std::size_t row_elements(const Index<Rank>& tile) const {
    return static_cast<std::size_t>(volume<Rank>(tile)) *
           static_cast<std::size_t>(channel_blocks(out_channels)) * kChannelBlock;
  }

  Strip strip_of(const Index<Rank>& tile) const {
    Strip s;
    s.tile = tile;
    s.rows = 1;
    for (int d = 0; d < Rank; ++d) {
      s.input[d] = (tile[d] - 1) * stride + kernel;
      if (d < Rank - 1) s.rows *= s.input[d];
    }
    s.row_pixels = s.input[Rank - 1] | 1;  // odd number of cache lines, see Tensor
    s.blocks = blocks;
    return s;
  }

  // The tile with the least work repeated at its borders whose strip stays in L2 beside the weights that
  // stream through, and that leaves no worker idle. A pure function of shape and worker count; results do not
  // depend on it.
  Strip plan(const Index<Rank>& size, int workers) const {
    constexpr std::size_t kStripBytes = 256 * 1024;
    static constexpr std::int64_t kWidths[] = {1 << 30, 192, 96,
                                               48,      24,  12};  // multiples of the register tile
    static constexpr std::int64_t kRows[] = {32, 16, 8, 4, 2, 1};
    Strip best;
    double best_cost = 0;
    const auto consider = [&](const Index<Rank>& tile) {
      const Strip s = strip_of(tile);
      double tasks = 1, input = 1;
      for (int d = 0; d < Rank; ++d) {
        tasks *= static_cast<double>((size[d] + tile[d] - 1) / tile[d]);
        input *= static_cast<double>(s.input[d]);
      }
      const double turns = static_cast<double>((static_cast<std::int64_t>(tasks) + workers - 1) / workers);
      // Loading a pixel costs about as much as 1/8 of the arithmetic on it.
      double cost = (1.0 + 0.125 * input / (static_cast<double>(volume<Rank>(tile)) * stride * stride)) *
                    turns * workers / tasks;
      const double excess =
          static_cast<double>(s.elements() * sizeof(Value)) / static_cast<double>(kStripBytes);
      if (excess > 1) cost *= 4 * excess;
      if (best_cost == 0 || cost < best_cost) best = s, best_cost = cost;
    };
    for (const std::int64_t w : kWidths)
      for (const std::int64_t r : kRows) {
        Index<Rank> tile{};
        for (int d = 0; d < Rank - 1; ++d) tile[d] = std::min(size[d], r);
        tile[Rank - 1] = std::min(size[Rank - 1], w);
        consider(tile);
      }
    return best;
  }

  template <class TailOf, class Done>
  void run_tiles(const RunContext& ctx, const Sources<Value, Rank>& sources, const Index<Rank>& size,
                 const Rows& rows, bool rows_too, TailOf&& tail, Done&& done) const {
    Index<Rank> part = size;
    part[0] = rows.end - rows.begin;
    Index<Rank> band = size;
    band[0] = rows.band;
    const Strip strip = plan(band, ctx.executor->workers());
    Index<Rank> tiles{};
    int tasks = 1;
    for (int d = 0; d < Rank; ++d) {
      tiles[d] = (part[d] + strip.tile[d] - 1) / strip.tile[d];
      tasks *= static_cast<int>(tiles[d]);
    }
    parallel_for(*ctx.executor, tasks, [&](int task, int worker) {
      Index<Rank> begin{}, end{};
      std::int64_t rest = task;
      for (int d = Rank - 1; d >= 0; --d) {
        begin[d] = rest % tiles[d] * strip.tile[d];
        end[d] = std::min(part[d], begin[d] + strip.tile[d]);
        rest /= tiles[d];
      }
      begin[0] += rows.begin, end[0] += rows.begin;
      const AlignedBuffer& memory = (*ctx.scratch)[static_cast<std::size_t>(worker)];
      Value* scratch = memory.as<Value>();
      Logit* to = rows_too ? memory.as<Logit>(strip_bytes(strip)) : nullptr;
      fill(*ctx.kernels, sources, strip, begin, end, scratch);
      convolve(*ctx.kernels, strip, begin, end, scratch, [&](int block, const Index<Rank>& at) {
        Index<Rank> from = at;  // in the tile when the rows go to scratch, in the tensor otherwise
        if (rows_too)
          for (int d = 0; d < Rank; ++d) from[d] -= begin[d];
        return tail(block, from, strip.tile, to);
      });
      done(begin, end, strip.tile, to);
    });
  }

  // Copies the input of output tile [begin, end) into the strip.
  void fill(const KernelTable& k, const Sources<Value, Rank>& sources, const Strip& strip,
            const Index<Rank>& begin, const Index<Rank>& end, Value* scratch) const {
    const int pad = kernel / 2;
    Index<Rank> first{}, last{};
    for (int d = 0; d < Rank; ++d) {
      first[d] = begin[d] * stride - pad;
      last[d] = (end[d] - 1) * stride + kernel - pad;
    }
    for (const RowSource<Value, Rank>* source : sources)
      for (int block = 0; block < channel_blocks(source->channels()); ++block) {
        fill_strip<Value, Rank>(k, *source, block, first, last, strip.input, strip.row_pixels, last[0],
                                scratch);
        scratch += strip.row_pixels * strip.rows * kChannelBlock;
      }
  }

  template <class TailOf>
  void convolve(const KernelTable& k, const Strip& strip, const Index<Rank>& begin, const Index<Rank>& end,
                const Value* scratch, TailOf&& tail) const {
    std::ptrdiff_t taps[9];
    int tap = 0;
    Index<Rank> tap_end{};
    for (auto& e : tap_end) e = kernel;
    const std::int64_t row_elements_in = strip.row_pixels * kChannelBlock;
    const auto row_number = [&](const Index<Rank>& at) {
      std::int64_t r = 0;
      for (int d = 0; d < Rank - 1; ++d) r = r * strip.input[d] + at[d];
      return r;
    };
    for_each_row<Rank>(Index<Rank>{}, tap_end,
                       [&](const Index<Rank>& at) { taps[tap++] = row_number(at) * row_elements_in; });
    const std::ptrdiff_t block_stride = static_cast<std::ptrdiff_t>(strip.rows * row_elements_in);
    const int width = static_cast<int>(end[Rank - 1] - begin[Rank - 1]);
    const auto input_row = [&](const Index<Rank>& at) {
      Index<Rank> from{};
      for (int d = 0; d < Rank - 1; ++d) from[d] = (at[d] - begin[d]) * stride;
      return scratch + row_number(from) * row_elements_in;
    };
    if constexpr (std::is_same_v<Arithmetic, FloatArithmetic>)
      if (head) {
        for_each_row<Rank>(begin, end, [&](const Index<Rank>& at) {
          const typename Arithmetic::Tail t = tail(0, at);
          k.head_row_f32({input_row(at), block_stride, strip.blocks, taps, tap, kernel, weights, t.bias,
                          out_channels, t.out, width});
        });
        return;
      }
    typename Arithmetic::ConvRow a{};
    a.block_stride = block_stride;
    a.blocks = strip.blocks;
    a.tap_rows = taps;
    a.taps = tap;
    a.kernel_width = kernel;
    a.stride = stride;
    a.width = width;
    // Output blocks outermost: one block's weights (C * 9 * 64 bytes) are reused by every row of the strip.
    for (int block = 0; block < channel_blocks(out_channels); ++block) {
      a.weights = weights + static_cast<std::size_t>(block) * block_weights;
      a.out_channels = std::min(kChannelBlock, out_channels - block * kChannelBlock);
      for_each_row<Rank>(begin, end, [&](const Index<Rank>& at) {
        a.in = input_row(at);
        Arithmetic::conv_row(k, a, block_depth, tail(block, at));
      });
    }
  }
};

}  // namespace microtome
