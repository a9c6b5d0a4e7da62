// The fused convolution layer: sources -> padded strip -> convolution -> bias, LeakyReLU, residual -> rows.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/parallel.hpp"
#include "source.hpp"

namespace microtome {

/// What a layer needs while it runs: kernels, threads, and one strip of scratch memory per worker.
struct RunContext {
  const KernelTable* kernels = nullptr;
  Executor* executor = nullptr;
  std::vector<AlignedBuffer>* scratch =
      nullptr;  ///< [executor->workers()], each at least the layers' scratch_bytes
};

/// A convolution with kernel 1 or 3, stride 1 or 2, zero "same" padding, its weights packed once at load.
/// Computes leaky(conv(sources) + bias) + residual for any spatial rank; the concat of several sources is
/// free.
template <class T, int Rank>
class Conv {
 public:
  /// weight: [out][sum of in][kernel^Rank] as PyTorch's Conv2d/Conv3d, bias: [out].
  /// `after` is folded in (y -> scale * y + shift per output channel); `slope` is the activation behind it.
  /// `in` lists the channels of each source in concat order.
  Conv(const std::vector<float>& weight, const std::vector<float>& bias, std::vector<int> in, int out,
       int kernel, int stride, const Affine& after, float slope)
      : in_(std::move(in)), out_(out), kernel_(kernel), stride_(stride), slope_(slope) {
    for (const int c : in_)
      for (int b = 0; b < channel_blocks(c); ++b)
        block_channels_.push_back(std::min(kChannelBlock, c - b * kChannelBlock));
    taps_ = 1;
    for (int d = 0; d < Rank - 1; ++d) taps_ *= kernel;
    pack(weight, bias, after);
  }

  int out_channels() const { return out_; }
  int kernel() const { return kernel_; }
  int stride() const { return stride_; }
  int in_channels() const {
    int n = 0;
    for (const int c : in_) n += c;
    return n;
  }
  std::size_t weight_bytes() const { return (weights_.size() + bias_.size()) * sizeof(float); }
  /// Multiply-accumulates for an output of `size`.
  double macs(const Index<Rank>& size) const {
    return static_cast<double>(volume<Rank>(size)) * out_ * in_channels() * taps_ * kernel_;
  }

  /// Bytes of scratch one worker needs to produce an output of `size`; `rows_too` if the rows go to scratch
  /// as well.
  std::size_t scratch_bytes(const Index<Rank>& size, int workers, bool rows_too = false) const {
    const Strip s = plan(size, workers);
    return (s.floats() + (rows_too ? row_floats(s.tile) : 0)) * sizeof(T);
  }

  /// Writes the whole output tensor. `residual` (same shape, may be `out` itself) is added after the
  /// activation.
  void run(const RunContext& ctx, const std::vector<const RowSource<T, Rank>*>& sources,
           const Tensor<T, Rank>& out, const Tensor<T, Rank>* residual = nullptr) const {
    run_tiles(
        ctx, sources, out.size, false,
        [&](int block, const Index<Rank>& at, const Index<Rank>&, T*) { return out.pixel(block, at); },
        [&](int block, const Index<Rank>& at) { return residual ? residual->pixel(block, at) : nullptr; },
        [](const Index<Rank>&, const Index<Rank>&, const Index<Rank>&, const T*) {});
  }

  /// As run(), but the rows of a tile go to scratch memory [block][row][tile width][16] and are handed to
  /// done(begin, end, tile, rows), `tile` being the extents that index `rows`: how the last layer reaches its
  /// final activation without a logits tensor.
  template <class Done>
  void run_to(const RunContext& ctx, const std::vector<const RowSource<T, Rank>*>& sources,
              const Index<Rank>& size, Done&& done) const {
    run_tiles(
        ctx, sources, size, true,
        [&](int block, const Index<Rank>& at, const Index<Rank>& tile, T* rows) {
          std::int64_t r = block;
          for (int d = 0; d < Rank - 1; ++d) r = r * tile[d] + at[d];
          return rows + r * tile[Rank - 1] * kChannelBlock;
        },
        [](int, const Index<Rank>&) -> const T* { return nullptr; }, done);
  }

 private:
  // The padded input of one output tile: [in block][outer axes...][row pixels][16].
  struct Strip {
    Index<Rank> tile{};   // output pixels
    Index<Rank> input{};  // input pixels with padding
    std::int64_t row_pixels = 0, rows = 0;
    int blocks = 0;
    std::size_t floats() const {
      return static_cast<std::size_t>(row_pixels * rows * blocks) * kChannelBlock;
    }
  };

  std::size_t row_floats(const Index<Rank>& tile) const {
    return static_cast<std::size_t>(volume<Rank>(tile)) * static_cast<std::size_t>(channel_blocks(out_)) *
           kChannelBlock;
  }

  Strip strip_of(const Index<Rank>& tile) const {
    Strip s;
    s.tile = tile;
    s.rows = 1;
    for (int d = 0; d < Rank; ++d) {
      s.input[d] = (tile[d] - 1) * stride_ + kernel_;
      if (d < Rank - 1) s.rows *= s.input[d];
    }
    s.row_pixels = s.input[Rank - 1] | 1;  // odd number of cache lines, see Tensor
    s.blocks = static_cast<int>(block_channels_.size());
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
      double cost = (1.0 + 0.125 * input / (static_cast<double>(volume<Rank>(tile)) * stride_ * stride_)) *
                    turns * workers / tasks;
      const double excess = static_cast<double>(s.floats() * sizeof(T)) / static_cast<double>(kStripBytes);
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

  template <class OutRow, class ResidualRow, class Done>
  void run_tiles(const RunContext& ctx, const std::vector<const RowSource<T, Rank>*>& sources,
                 const Index<Rank>& size, bool rows_too, OutRow&& out_row, ResidualRow&& residual_row,
                 Done&& done) const {
    const Strip strip = plan(size, ctx.executor->workers());
    Index<Rank> tiles{};
    int tasks = 1;
    for (int d = 0; d < Rank; ++d) {
      tiles[d] = (size[d] + strip.tile[d] - 1) / strip.tile[d];
      tasks *= static_cast<int>(tiles[d]);
    }
    parallel_for(*ctx.executor, tasks, [&](int task, int worker) {
      Index<Rank> begin{}, end{};
      std::int64_t rest = task;
      for (int d = Rank - 1; d >= 0; --d) {
        begin[d] = rest % tiles[d] * strip.tile[d];
        end[d] = std::min(size[d], begin[d] + strip.tile[d]);
        rest /= tiles[d];
      }
      T* scratch = (*ctx.scratch)[static_cast<std::size_t>(worker)].template as<T>();
      T* rows = rows_too ? scratch + strip.floats() : nullptr;
      fill(*ctx.kernels, sources, strip, begin, end, scratch);
      convolve(
          *ctx.kernels, strip, begin, end, scratch,
          [&](int block, const Index<Rank>& at) {
            Index<Rank> from = at;  // in the tile when the rows go to scratch, in the tensor otherwise
            if (rows_too)
              for (int d = 0; d < Rank; ++d) from[d] -= begin[d];
            return out_row(block, from, strip.tile, rows);
          },
          residual_row);
      done(begin, end, strip.tile, rows);
    });
  }

  // Copies the input of output tile [begin, end) into the strip; outside the input it writes zeros.
  void fill(const KernelTable& k, const std::vector<const RowSource<T, Rank>*>& sources, const Strip& strip,
            const Index<Rank>& begin, const Index<Rank>& end, T* scratch) const {
    const int pad = kernel_ / 2;
    Index<Rank> first{}, last{};
    for (int d = 0; d < Rank; ++d) {
      first[d] = begin[d] * stride_ - pad;
      last[d] = (end[d] - 1) * stride_ + kernel_ - pad;
    }
    int strip_block = 0;
    for (const RowSource<T, Rank>* source : sources) {
      const Index<Rank> limit = source->size();
      for (int block = 0; block < channel_blocks(source->channels()); ++block, ++strip_block) {
        for_each_row<Rank>(first, last, [&](const Index<Rank>& at) {
          std::int64_t row = strip_block;
          bool inside = true;
          for (int d = 0; d < Rank - 1; ++d) {
            row = row * strip.input[d] + at[d] - first[d];
            inside = inside && at[d] >= 0 && at[d] < limit[d];
          }
          T* out = scratch + row * strip.row_pixels * kChannelBlock;
          const std::int64_t n = last[Rank - 1] - first[Rank - 1];
          const auto zero = [&](std::int64_t from, std::int64_t to) {
            if (to > from)
              std::memset(static_cast<void*>(out + from * kChannelBlock), 0,
                          static_cast<std::size_t>(to - from) * kChannelBlock * sizeof(T));
          };
          if (!inside) return zero(0, n);
          Index<Rank> from = at;
          from[Rank - 1] = std::max<std::int64_t>(0, first[Rank - 1]);
          const std::int64_t left = from[Rank - 1] - first[Rank - 1];
          const std::int64_t right = std::min(limit[Rank - 1], last[Rank - 1]) - first[Rank - 1];
          zero(0, left);
          source->row(k, block, from, static_cast<int>(right - left), out + left * kChannelBlock);
          zero(right, n);
        });
      }
    }
  }

  template <class OutRow, class ResidualRow>
  void convolve(const KernelTable& k, const Strip& strip, const Index<Rank>& begin, const Index<Rank>& end,
                const T* scratch, OutRow&& out_row, ResidualRow&& residual_row) const {
    std::ptrdiff_t taps[9];
    int tap = 0;
    Index<Rank> tap_end{};
    for (auto& e : tap_end) e = kernel_;
    const std::int64_t row_floats_in = strip.row_pixels * kChannelBlock;
    const auto row_number = [&](const Index<Rank>& at) {
      std::int64_t r = 0;
      for (int d = 0; d < Rank - 1; ++d) r = r * strip.input[d] + at[d];
      return r;
    };
    for_each_row<Rank>(Index<Rank>{}, tap_end,
                       [&](const Index<Rank>& at) { taps[tap++] = row_number(at) * row_floats_in; });
    ConvRowArgs a{};
    a.block_stride = static_cast<std::ptrdiff_t>(strip.rows * row_floats_in);
    a.block_channels = block_channels_.data();
    a.blocks = strip.blocks;
    a.tap_rows = taps;
    a.taps = taps_;
    a.kernel_width = kernel_;
    a.stride = stride_;
    a.slope = slope_;
    a.width = static_cast<int>(end[Rank - 1] - begin[Rank - 1]);
    // Output blocks outermost: one block's weights (C * 9 * 64 bytes) are reused by every row of the strip.
    for (int block = 0; block < channel_blocks(out_); ++block) {
      a.weights = weights_.data() + static_cast<std::size_t>(block) * block_weights_;
      a.bias = bias_.data() + block * kChannelBlock;
      a.out_channels = std::min(kChannelBlock, out_ - block * kChannelBlock);
      for_each_row<Rank>(begin, end, [&](const Index<Rank>& at) {
        Index<Rank> from{};
        for (int d = 0; d < Rank - 1; ++d) from[d] = (at[d] - begin[d]) * stride_;
        a.in = scratch + row_number(from) * row_floats_in;
        a.out = out_row(block, at);
        a.residual = residual_row(block, at);
        k.conv_row_f32(a);
      });
    }
  }

  // [out block][in block][tap row][kx][channels of the block][16]: what conv_row_f32 reads in order.
  void pack(const std::vector<float>& weight, const std::vector<float>& bias, const Affine& after) {
    const int columns = taps_ * kernel_, inputs = in_channels(), out_blocks = channel_blocks(out_);
    block_weights_ = static_cast<std::size_t>(inputs * columns) * kChannelBlock;
    weights_.assign(block_weights_ * static_cast<std::size_t>(out_blocks), 0.0f);
    bias_.assign(static_cast<std::size_t>(out_blocks) * kChannelBlock, 0.0f);
    for (int o = 0; o < out_; ++o) {
      const float scale = after.identity() ? 1.0f : after.scale[static_cast<std::size_t>(o)];
      const float shift = after.identity() ? 0.0f : after.shift[static_cast<std::size_t>(o)];
      bias_[static_cast<std::size_t>(o)] = bias[static_cast<std::size_t>(o)] * scale + shift;
      float* to =
          weights_.data() + static_cast<std::size_t>(o / kChannelBlock) * block_weights_ + o % kChannelBlock;
      int first = 0;
      for (const int channels : block_channels_) {
        for (int t = 0; t < columns; ++t)
          for (int c = 0; c < channels; ++c, to += kChannelBlock)
            *to = weight[static_cast<std::size_t>((o * inputs + first + c) * columns + t)] * scale;
        first += channels;
      }
    }
  }

  std::vector<int> in_;
  int out_, kernel_, stride_;
  float slope_;
  int taps_ = 1;
  std::vector<int> block_channels_;
  std::size_t block_weights_ = 0;  // floats per output block
  std::vector<float> weights_, bias_;
};

}  // namespace microtome
