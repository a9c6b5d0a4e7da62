// The fused convolution layer: sources -> convolution -> bias, LeakyReLU, residual -> rows. Owns the packed
// weights; how they are multiplied is up to direct_conv.hpp or winograd_conv.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "direct_conv.hpp"
#include "winograd_conv.hpp"

namespace microtome {

/// How a convolution is computed. Winograd needs 2D, a 3x3 kernel and stride 1. head, the direct convolution
/// for few outputs, needs stride 1, at most 16 outputs, no activation, run_to() without residual, and sources
/// that fill the lanes of unused channels (tensors do, pixels do not).
enum class ConvAlgorithm { direct, head, winograd4, winograd6 };

inline constexpr ConvAlgorithm kConvAlgorithms[] = {ConvAlgorithm::direct, ConvAlgorithm::head,
                                                    ConvAlgorithm::winograd4, ConvAlgorithm::winograd6};

inline const char* to_string(ConvAlgorithm a) {
  switch (a) {
    case ConvAlgorithm::direct:
      return "direct";
    case ConvAlgorithm::head:
      return "head";
    case ConvAlgorithm::winograd4:
      return "winograd4";
    case ConvAlgorithm::winograd6:
      return "winograd6";
  }
  return "?";
}

inline bool is_winograd(ConvAlgorithm a) {
  return a == ConvAlgorithm::winograd4 || a == ConvAlgorithm::winograd6;
}

/// Shape of a convolution with kernel 1 or 3, stride 1 or 2 and zero "same" padding.
struct ConvShape {
  std::vector<int> in;  ///< channels of each source, in concat order
  int out = 0, kernel = 3, stride = 1;
  float slope = kNoActivation;  ///< of the LeakyReLU behind it
  ConvAlgorithm algorithm = ConvAlgorithm::direct;

  int inputs() const {
    int n = 0;
    for (const int c : in) n += c;
    return n;
  }
};

/// Whether a Winograd layer transforms its weights whenever it runs, not once at load. From 128 x 128
/// channels on they are megabytes per layer and used for few tiles: making them anew costs a thirtieth of the
/// layer's time and saves 4 or 7 times the memory of the weights, and the time to fill it.
inline bool transforms_weights_late(const ConvShape& s) {
  return s.inputs() * s.out >= 128 * 128;
}

/// Writes the weights of output channel `out`, [sum of in][kernel^Rank] as PyTorch's Conv2d/Conv3d stores
/// them, to `row`. Lets a layer pack a file's tensor without a copy of it.
using WeightRows = std::function<void(int out, float* row)>;

/// The rows of a weight tensor in memory, which must outlive the result.
inline WeightRows rows_of(const std::vector<float>& weight, int outputs) {
  const std::size_t row = weight.size() / static_cast<std::size_t>(outputs);
  return [&weight, row](int o, float* to) {
    std::copy_n(weight.data() + static_cast<std::size_t>(o) * row, row, to);
  };
}

/// Computes leaky(conv(sources) + bias) + residual; the concat of several sources is free.
template <class T, int Rank>
class Conv {
 public:
  /// bias: [out]. `after` is folded in: y -> scale * y + shift per output channel. Throws UsageError if the
  /// algorithm cannot compute the shape.
  Conv(ConvShape shape, const WeightRows& weights, const std::vector<float>& bias, const Affine& after)
      : shape_(std::move(shape)) {
    const bool plain = shape_.stride == 1 && shape_.slope == kNoActivation && shape_.out <= kChannelBlock;
    if ((is_winograd() && (Rank != 2 || shape_.kernel != 3 || shape_.stride != 1)) ||
        (algorithm() == ConvAlgorithm::head && !plain))
      throw UsageError("algorithm", std::string(to_string(algorithm())) + " cannot compute this convolution");
    for (const int c : shape_.in)
      for (int b = 0; b < channel_blocks(c); ++b)
        block_channels_.push_back(std::min(kChannelBlock, c - b * kChannelBlock));
    pack_bias(bias, after);
    if (shape_.algorithm == ConvAlgorithm::head)
      pack_head(weights, after);
    else
      pack(weights, after);
  }

  const ConvShape& shape() const { return shape_; }
  ConvAlgorithm algorithm() const { return shape_.algorithm; }
  int out_channels() const { return shape_.out; }
  std::size_t weight_bytes() const { return weights_.size() + bias_.size() * sizeof(float); }
  /// Multiply-accumulates of the definition (a direct convolution) for an output of `size`.
  double macs(const Index<Rank>& size) const {
    return static_cast<double>(volume<Rank>(size)) * shape_.out * shape_.inputs() * columns();
  }

  /// Bytes of scratch one worker needs for an output of `size`, or for bands of it; `rows_too` for run_to().
  std::size_t scratch_bytes(const Index<Rank>& size, int workers, bool rows_too = false) const {
    if constexpr (Rank == 2)
      if (is_winograd()) return winograd().scratch_bytes(size, workers);
    return direct().scratch_bytes(size, workers, rows_too);
  }
  /// Bytes of scratch that all workers share.
  std::size_t shared_bytes([[maybe_unused]] const Index<Rank>& size) const {
    if constexpr (Rank == 2)
      if (is_winograd()) return winograd().shared_bytes(size);
    return 0;
  }

  /// Writes rows [rows.begin, rows.end) along axis 0 of `out`. `residual` (same shape, may be `out` itself)
  /// is added after the activation.
  void run(const RunContext& ctx, const Sources<T, Rank>& sources, const Tensor<T, Rank>& out,
           const Tensor<T, Rank>* residual, const Rows& rows) const {
    if (rows.begin >= rows.end) return;
    const auto tail = [&](int block, const Index<Rank>& at) -> FloatArithmetic::Tail {
      return {bias_of(block), shape_.slope, residual ? residual->pixel(block, at) : nullptr,
              out.pixel(block, at)};
    };
    if constexpr (Rank == 2)
      if (is_winograd()) return winograd().run(ctx, sources, out.size, rows, tail);
    direct().run(ctx, sources, out.size, rows, tail);
  }
  void run(const RunContext& ctx, const Sources<T, Rank>& sources, const Tensor<T, Rank>& out,
           const Tensor<T, Rank>* residual = nullptr) const {
    run(ctx, sources, out, residual, {0, out.size[0], out.size[0]});
  }

  /// As run(), but the rows of a tile go to scratch memory [block][row][tile width][16] and are handed to
  /// done(begin, end, tile, rows), `tile` being the extents that index `rows`: how the last layer reaches its
  /// final activation without a logits tensor. Throws UsageError for a Winograd algorithm.
  template <class Done>
  void run_to(const RunContext& ctx, const Sources<T, Rank>& sources, const Index<Rank>& size,
              const Rows& rows, Done&& done) const {
    if (is_winograd())
      throw UsageError("algorithm", std::string(to_string(algorithm())) + " has no run_to()");
    const auto tail = [&](int block, T* row) -> FloatArithmetic::Tail {
      return {bias_of(block), shape_.slope, nullptr, row};
    };
    direct().run_to(ctx, sources, size, rows, tail, done);
  }

 private:
  bool is_winograd() const { return microtome::is_winograd(algorithm()); }
  int tile() const { return algorithm() == ConvAlgorithm::winograd4 ? 4 : 6; }
  int columns() const {  // weights per pair of channels
    int n = 1;
    for (int d = 0; d < Rank; ++d) n *= shape_.kernel;
    return n;
  }

  const float* bias_of(int block) const { return bias_.data() + block * kChannelBlock; }

  bool keeps_transformed_weights() const { return is_winograd() && !transforms_weights_late(shape_); }

  static float scale_of(const Affine& after, int o) {
    return after.identity() ? 1.0f : after.scale[static_cast<std::size_t>(o)];
  }

  void pack_bias(const std::vector<float>& bias, const Affine& after) {
    bias_.assign(static_cast<std::size_t>(channel_blocks(shape_.out)) * kChannelBlock, 0.0f);
    for (int o = 0; o < shape_.out; ++o) {
      const std::size_t i = static_cast<std::size_t>(o);
      bias_[i] = bias[i] * scale_of(after, o) + (after.identity() ? 0.0f : after.shift[i]);
    }
  }

  // [out block][in block][tap row][kx][channels of the block][16]: what conv_row_f32 and winograd_weights_f32
  // read in order; or, transformed, [position][out block][channel][16]: the order of the matrix product.
  void pack(const WeightRows& weights, const Affine& after) {
    const int n = columns(), inputs = shape_.inputs(), row = inputs * n;
    const int positions = (tile() + 2) * (tile() + 2);
    const bool transform = keeps_transformed_weights();
    block_weights_ = static_cast<std::size_t>(inputs * (transform ? positions : n)) * kChannelBlock;
    weights_ =
        AlignedBuffer(block_weights_ * static_cast<std::size_t>(channel_blocks(shape_.out)) * sizeof(float));
    const std::size_t u_block = static_cast<std::size_t>(inputs) * kChannelBlock;
    const std::ptrdiff_t u_position = channel_blocks(shape_.out) * static_cast<std::ptrdiff_t>(u_block);
    // 16 outputs as in the file, an odd number of lines apart: they are read side by side.
    const int stride = ((row + kChannelBlock - 1) / kChannelBlock | 1) * kChannelBlock;
    std::vector<float> rows(static_cast<std::size_t>(stride) * kChannelBlock);
    std::vector<float> packed(transform ? static_cast<std::size_t>(row) * kChannelBlock : 0);
    for (int first = 0; first < shape_.out; first += kChannelBlock) {
      const int outputs = std::min(kChannelBlock, shape_.out - first);
      if (outputs < kChannelBlock) std::fill(rows.begin(), rows.end(), 0.0f);  // unused lanes are zero
      float scale[kChannelBlock] = {};
      for (int o = 0; o < outputs; ++o) {
        weights(first + o, rows.data() + o * stride);
        scale[o] = scale_of(after, first + o);
      }
      const std::size_t out_block = static_cast<std::size_t>(first / kChannelBlock);
      float* block = weights_.as<float>() + out_block * (transform ? u_block : block_weights_);
      float* to = transform ? packed.data() : block;
      const float* from = rows.data();
      for (const int channels : block_channels_) {
        for (int c = 0; c < channels; ++c)
          for (int t = 0; t < n; ++t, ++from) {
            float* line = to + (t * channels + c) * kChannelBlock;
            for (int o = 0; o < kChannelBlock; ++o) line[o] = from[o * stride] * scale[o];
          }
        if (transform) {
          kernels().winograd_weights_f32({to, channels, tile(), block, u_position});
          block += channels * kChannelBlock;
        }
        to += n * channels * kChannelBlock;
      }
    }
  }

  // [out][in block][tap row][kx][16], zero above a block's channels: what head_row_f32 reads in order.
  void pack_head(const WeightRows& weights, const Affine& after) {
    const int n = columns();
    std::vector<float> row(static_cast<std::size_t>(shape_.inputs() * n));
    block_weights_ = block_channels_.size() * static_cast<std::size_t>(n) * kChannelBlock;
    weights_ = AlignedBuffer(block_weights_ * static_cast<std::size_t>(shape_.out) * sizeof(float));
    std::memset(weights_.data(), 0, weights_.size());
    float* to = weights_.as<float>();
    for (int o = 0; o < shape_.out; ++o) {
      weights(o, row.data());
      const float* from = row.data();
      for (const int channels : block_channels_) {
        for (int c = 0; c < channels; ++c)
          for (int t = 0; t < n; ++t) to[t * kChannelBlock + c] = *from++ * scale_of(after, o);
        to += n * kChannelBlock;
      }
    }
  }

  DirectConv<FloatArithmetic, Rank> direct() const {
    DirectConv<FloatArithmetic, Rank> d;
    d.block_depth = block_channels_.data();
    d.blocks = static_cast<int>(block_channels_.size());
    d.out_channels = shape_.out;
    d.kernel = shape_.kernel;
    d.stride = shape_.stride;
    d.weights = weights_.as<float>();
    d.block_weights = block_weights_;
    d.head = algorithm() == ConvAlgorithm::head;
    return d;
  }

  WinogradConv<FloatArithmetic> winograd() const {
    WinogradConv<FloatArithmetic> w;
    w.tile = tile();
    w.block_depth = block_channels_.data();
    w.blocks = static_cast<int>(block_channels_.size());
    w.depth = shape_.inputs();
    w.out_channels = shape_.out;
    if (keeps_transformed_weights())
      w.transformed = weights_.as<float>();
    else
      w.weights = weights_.as<float>();
    return w;
  }

  ConvShape shape_;
  std::vector<int> block_channels_;
  std::size_t block_weights_ = 0;  // floats per block of outputs; of a head, per output
  AlignedBuffer weights_;
  std::vector<float> bias_;
};

}  // namespace microtome
