// The fused convolution layer of integer networks: sources -> convolution -> bias, and what
// core/requantize.hpp makes of the sums -> rows. What conv.hpp is for floats.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/winograd_bound.hpp"
#include "conv.hpp"
#include "direct_conv.hpp"
#include "int_arithmetic.hpp"
#include "source_i16.hpp"
#include "winograd_conv.hpp"

namespace microtome {

/// What sums become, channel by channel.
struct IntScaling {
  std::vector<std::int32_t> bias;  ///< [out], added to the sum
  std::vector<float> multiplier;   ///< [out], positive; of sums below 0 in acts: times the shape's slope
  int zero_point = 0;              ///< of acts
};

/// The weights of output channel `out`, [sum of in][kernel^Rank], to `row`: -127..127, for
/// ConvAlgorithm::direct up to -32767..32767.
using IntRows = std::function<void(int out, std::int16_t* row)>;

/// Computes integer convolutions; the concat of several sources is free. ConvAlgorithm::winograd4 is exact
/// where winograd_is_exact() says so of every output channel, and gives the same integers as `direct`.
template <int Rank>
class IntConv {
 public:
  /// Throws UsageError if the algorithm cannot compute the shape, or not exactly; if sums of weights and bias
  /// need more than 32 bits (inputs of 1x1 are raws); if a multiplier is not finite or negative.
  IntConv(ConvShape shape, const IntRows& weights, const IntScaling& scaling)
      : shape_(std::move(shape)), zero_point_(scaling.zero_point) {
    if ((algorithm() != ConvAlgorithm::direct && algorithm() != ConvAlgorithm::winograd4) ||
        (is_winograd() && (Rank != 2 || shape_.kernel != 3 || shape_.stride != 1)))
      refuse("cannot compute this convolution in integers");
    for (const int c : shape_.in)
      for (int b = 0; b < channel_blocks(c); ++b) {
        block_channels_.push_back(std::min(kChannelBlock, c - b * kChannelBlock));
        block_pairs_.push_back((block_channels_.back() + 1) / 2);
        pairs_ += block_pairs_.back();
      }
    const std::size_t lanes = static_cast<std::size_t>(channel_blocks(shape_.out)) * kChannelBlock;
    bias_ = scaling.bias, bias_.resize(lanes);
    m_pos_ = scaling.multiplier, m_pos_.resize(lanes);
    for (const float m : m_pos_) {
      if (!(m >= 0.0f && std::isfinite(m))) throw UsageError("multiplier", "is negative or not finite");
      m_neg_.push_back(m * shape_.slope);
    }
    pack(weights);
  }

  const ConvShape& shape() const { return shape_; }
  ConvAlgorithm algorithm() const { return shape_.algorithm; }
  int out_channels() const { return shape_.out; }
  std::size_t weight_bytes() const {
    return weights_.size() + bias_.size() * (sizeof(std::int32_t) + 2 * sizeof(float));
  }
  /// Multiply-accumulates of the definition (a direct convolution) for an output of `size`.
  double macs(const Index<Rank>& size) const {
    return static_cast<double>(volume<Rank>(size)) * shape_.out * shape_.inputs() * columns();
  }

  /// As Conv's.
  std::size_t scratch_bytes(const Index<Rank>& size, int workers, bool rows_too = false) const {
    if constexpr (Rank == 2)
      if (is_winograd()) return winograd().scratch_bytes(size, workers);
    return direct().scratch_bytes(size, workers, rows_too);
  }
  std::size_t shared_bytes([[maybe_unused]] const Index<Rank>& size) const {
    if constexpr (Rank == 2)
      if (is_winograd()) return winograd().shared_bytes(size);
    return 0;
  }

  using Inputs = Sources<std::int16_t, Rank>;

  /// Writes rows [rows.begin, rows.end) along axis 0 of `out`: acts.
  void run(const RunContext& ctx, const Inputs& sources, const Tensor<std::uint8_t, Rank>& out,
           const Rows& rows) const {
    run_rows(ctx, sources, out.size, rows, [&](int block, const Index<Rank>& at) {
      IntTail t = tail(block);
      t.act = out.pixel(block, at);
      return t;
    });
  }
  /// Raws. `residual` (same shape and scale, may be `out` itself) is added; there is no activation.
  void run(const RunContext& ctx, const Inputs& sources, const Tensor<std::int16_t, Rank>& out,
           const Tensor<std::int16_t, Rank>* residual, const Rows& rows) const {
    run_rows(ctx, sources, out.size, rows, [&](int block, const Index<Rank>& at) {
      IntTail t = tail(block);
      t.raw = out.pixel(block, at);
      t.residual = residual ? residual->pixel(block, at) : nullptr;
      return t;
    });
  }
  /// Logits, to scratch memory: as Conv::run_to().
  template <class Done>
  void run_to(const RunContext& ctx, const Inputs& sources, const Index<Rank>& size, const Rows& rows,
              Done&& done) const {
    if (is_winograd()) refuse("has no run_to()");
    direct().run_to(
        ctx, sources, size, rows,
        [&](int block, std::int32_t* row) {
          IntTail t = tail(block);
          t.logit = row;
          return t;
        },
        done);
  }

 private:
  bool is_winograd() const { return microtome::is_winograd(algorithm()); }
  bool keeps_transformed_weights() const { return is_winograd() && !transforms_weights_late(shape_); }
  int columns() const {
    int n = 1;
    for (int d = 0; d < Rank; ++d) n *= shape_.kernel;
    return n;
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw UsageError("algorithm", std::string(to_string(algorithm())) + " " + why);
  }

  // The weights of one output channel.
  void check(const std::int16_t* row, std::size_t n, std::int32_t bias) const {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (largest_sum(row, n, shape_.kernel == 1) + std::abs(std::int64_t{bias}) > kMost)
      throw UsageError("weight", "allows sums that do not fit into 32 bits");
    if (!is_winograd()) return;
    const auto fits = [](int w) { return -127 <= w && w <= 127; };
    if (!winograd_is_exact(row, n) || !std::all_of(row, row + n, fits))
      refuse("is not exact for these weights");
  }
  static std::int8_t to_int8(std::int16_t w) { return static_cast<std::int8_t>(w); }

  IntTail tail(int block) const {
    const int first = block * kChannelBlock;
    IntTail t{};
    t.bias = bias_.data() + first;
    t.m_pos = m_pos_.data() + first;
    t.m_neg = m_neg_.data() + first;
    t.zero_point = zero_point_;
    return t;
  }

  template <class TailOf>
  void run_rows(const RunContext& ctx, const Inputs& sources, const Index<Rank>& size, const Rows& rows,
                TailOf&& tail_of) const {
    if (rows.begin >= rows.end) return;
    if constexpr (Rank == 2)
      if (is_winograd()) return winograd().run(ctx, sources, size, rows, tail_of);
    direct().run(ctx, sources, size, rows, tail_of);
  }

  // [out block][in block][tap row][kx][pair][16][2]: 16 bits for conv_row_i16, 8 for winograd_weights_i16
  // while the layer runs; or, transformed, [position][out block][pair][16][2], 16 bits: the order of the
  // product.
  void pack(const IntRows& weights) {
    constexpr int kLine = IntArithmetic::kWeightLine, kPositions = 36;
    const int n = columns();
    const bool transform = keeps_transformed_weights();
    const int out_blocks = channel_blocks(shape_.out);
    const std::size_t block = static_cast<std::size_t>(pairs_ * n) * kLine;
    const std::size_t u_block = static_cast<std::size_t>(pairs_) * kLine;
    const std::size_t element = is_winograd() && !transform ? 1 : sizeof(std::int16_t);
    weights_ = AlignedBuffer((transform ? kPositions * u_block : block) * element *
                             static_cast<std::size_t>(out_blocks));
    const std::size_t row = static_cast<std::size_t>(shape_.inputs() * n);
    std::vector<std::int16_t> rows(row * kChannelBlock), packed(block);
    std::vector<std::int8_t> narrow(is_winograd() ? block : 0);
    for (int o = 0; o < out_blocks; ++o) {
      std::fill(rows.begin(), rows.end(), std::int16_t{0});  // lanes without an output channel
      for (int lane = 0; lane < std::min(kChannelBlock, shape_.out - o * kChannelBlock); ++lane) {
        std::int16_t* to = rows.data() + static_cast<std::size_t>(lane) * row;
        weights(o * kChannelBlock + lane, to);
        check(to, row, bias_[static_cast<std::size_t>(o * kChannelBlock + lane)]);
      }
      pack_block(rows, n, packed);
      const std::size_t at = static_cast<std::size_t>(o);
      if (is_winograd()) std::transform(packed.begin(), packed.end(), narrow.begin(), to_int8);
      if (transform) {
        std::int16_t* u = weights_.as<std::int16_t>() + at * u_block;
        const std::int8_t* from = narrow.data();
        for (const int pairs : block_pairs_) {
          kernels().winograd_weights_i16({from, pairs, u, static_cast<std::ptrdiff_t>(u_block) * out_blocks});
          from += pairs * n * kLine;
          u += pairs * kLine;
        }
      } else if (is_winograd()) {
        std::memcpy(weights_.as<std::int8_t>() + at * block, narrow.data(), block);
      } else {
        std::copy(packed.begin(), packed.end(), weights_.as<std::int16_t>() + at * block);
      }
    }
  }

  // 16 rows as files have them to [in block][tap row][kx][pair][16][2].
  void pack_block(const std::vector<std::int16_t>& rows, int n, std::vector<std::int16_t>& packed) const {
    const std::size_t row = rows.size() / kChannelBlock;
    std::fill(packed.begin(), packed.end(), std::int16_t{0});  // partners that odd numbers of channels lack
    std::int16_t* to = packed.data();
    const std::int16_t* from = rows.data();
    for (std::size_t b = 0; b < block_pairs_.size(); ++b) {
      const int pairs = block_pairs_[b];
      for (int c = 0; c < block_channels_[b]; ++c)
        for (int t = 0; t < n; ++t, ++from)
          for (int o = 0; o < kChannelBlock; ++o)
            to[((t * pairs + c / 2) * kChannelBlock + o) * 2 + c % 2] =
                from[static_cast<std::size_t>(o) * row];
      to += n * pairs * IntArithmetic::kWeightLine;
    }
  }

  DirectConv<IntArithmetic, Rank> direct() const {
    DirectConv<IntArithmetic, Rank> d;
    d.block_depth = block_pairs_.data();
    d.blocks = static_cast<int>(block_pairs_.size());
    d.out_channels = shape_.out;
    d.kernel = shape_.kernel;
    d.stride = shape_.stride;
    d.weights = weights_.as<std::int16_t>();
    d.block_weights = static_cast<std::size_t>(pairs_ * columns()) * IntArithmetic::kWeightLine;
    return d;
  }

  WinogradConv<IntArithmetic> winograd() const {
    WinogradConv<IntArithmetic> w;
    w.block_depth = block_pairs_.data();
    w.blocks = static_cast<int>(block_pairs_.size());
    w.depth = pairs_;
    w.out_channels = shape_.out;
    if (keeps_transformed_weights())
      w.transformed = weights_.as<std::int16_t>();
    else
      w.weights = weights_.as<std::int8_t>();
    return w;
  }

  ConvShape shape_;
  int zero_point_;
  std::vector<int> block_channels_, block_pairs_;
  int pairs_ = 0;
  AlignedBuffer weights_;
  std::vector<std::int32_t> bias_;
  std::vector<float> m_pos_, m_neg_;
};

}  // namespace microtome
