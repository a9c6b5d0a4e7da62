// Where the convolutions of integer networks get their rows from: the sources of layers/source.hpp for
// tensors of integers. Strips hold 16-bit numbers: acts (0..255) or, for 1x1 convolutions, raws. What acts
// and raws are: core/requantize.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "source.hpp"

namespace microtome {

/// How sums become acts: to_act(v, m_pos, m_neg, zero_point).
struct ActStep {
  float m_pos = 1.0f, m_neg = 1.0f;  ///< 0 <= m_neg <= m_pos
  int zero_point = 0;                ///< 0..255
};

/// A norm's affine in integers and the step to acts after it, padded to whole blocks.
struct RawPrologue {
  std::vector<std::int16_t> factor;  ///< [blocks * 16]
  std::vector<std::int32_t> term;    ///< [blocks * 16]; raw * factor + term fits in 32 bits for every raw
  ActStep step;

  RawPrologue(std::vector<std::int16_t> factors, std::vector<std::int32_t> terms, const ActStep& to_act)
      : factor(std::move(factors)), term(std::move(terms)), step(to_act) {
    const std::size_t n =
        static_cast<std::size_t>(channel_blocks(static_cast<int>(factor.size()))) * kChannelBlock;
    factor.resize(n), term.resize(n);
  }
};

/// Rows of 8-bit activations.
template <int Rank>
class ActSource final : public RowSource<std::int16_t, Rank> {
 public:
  ActSource(const Tensor<std::uint8_t, Rank>& t, int zero_point) : tensor_(t), zero_point_(zero_point) {}
  int channels() const override { return tensor_.channels; }
  Index<Rank> size() const override { return tensor_.size; }
  std::int16_t padding() const override { return static_cast<std::int16_t>(zero_point_); }
  void row(const KernelTable& k, int block, const Index<Rank>& at, int n, std::int16_t* out) const override {
    k.widen_row_u8({tensor_.pixel(block, at), out, n});
  }

 private:
  Tensor<std::uint8_t, Rank> tensor_;
  int zero_point_;
};

/// Rows of raws: as they are, or as acts behind a prologue.
template <int Rank>
class RawSource final : public RowSource<std::int16_t, Rank> {
 public:
  RawSource(const Tensor<std::int16_t, Rank>& t, const RawPrologue* p) : tensor_(t), prologue_(p) {}
  int channels() const override { return tensor_.channels; }
  Index<Rank> size() const override { return tensor_.size; }
  std::int16_t padding() const override {
    return static_cast<std::int16_t>(prologue_ ? prologue_->step.zero_point : 0);
  }
  void row(const KernelTable& k, int block, const Index<Rank>& at, int n, std::int16_t* out) const override {
    const std::int16_t* in = tensor_.pixel(block, at);
    if (!prologue_) {
      std::memcpy(out, in, static_cast<std::size_t>(n) * kChannelBlock * sizeof(std::int16_t));
      return;
    }
    const int c = block * kChannelBlock;
    const ActStep& s = prologue_->step;
    k.load_row_i16({in, prologue_->factor.data() + c, prologue_->term.data() + c, s.m_pos, s.m_neg,
                    s.zero_point, out, n});
  }

 private:
  Tensor<std::int16_t, Rank> tensor_;
  const RawPrologue* prologue_;
};

/// ResizeAxis with weights in units of 1/128: integers, so that all machines have the same.
struct ResizeAxisI16 {
  std::vector<std::int32_t> lo, hi;
  std::vector<std::int16_t> fraction;  ///< of `hi`, 0..128

  explicit ResizeAxisI16(std::int64_t n) {
    const std::size_t outputs = static_cast<std::size_t>(2 * n);
    lo.resize(outputs), hi.resize(outputs), fraction.resize(outputs);
    const std::int64_t whole = 2 * n - 1;
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      const std::int64_t product = i * (n - 1), q = product / whole, r = product % whole;
      const std::size_t at = static_cast<std::size_t>(i);
      lo[at] = static_cast<std::int32_t>(q);
      hi[at] = static_cast<std::int32_t>(std::min(q + 1, n - 1));
      fraction[at] =
          static_cast<std::int16_t>((2 * 128 * r + whole) / (2 * whole));  // nearest; `whole` is odd: no ties
    }
  }
};

/// Rows of raws enlarged x2 along every axis (bilinear, trilinear; align_corners=True), then LeakyReLU and
/// the step to acts. The step's multipliers are those of 2^14 times a raw.
template <int Rank>
class UpsampledRawSource final : public RowSource<std::int16_t, Rank> {
 public:
  static_assert(Rank == 2 || Rank == 3, "2 or 4 source rows");
  UpsampledRawSource(const Tensor<std::int16_t, Rank>& t, const ActStep& step) : tensor_(t), step_(step) {
    for (int d = 0; d < Rank; ++d) axes_.emplace_back(t.size[d]);
  }
  int channels() const override { return tensor_.channels; }
  Index<Rank> size() const override {
    Index<Rank> s = tensor_.size;
    for (auto& v : s) v *= 2;
    return s;
  }
  std::int16_t padding() const override { return static_cast<std::int16_t>(step_.zero_point); }
  void row(const KernelTable& k, int block, const Index<Rank>& at, int n, std::int16_t* out) const override {
    UpsampleRowI16Args a{};
    a.row_count = 1 << (Rank - 1);
    int upper[Rank - 1];  // weights of the upper neighbours along the outer axes
    for (int d = 0; d < Rank - 1; ++d)
      upper[d] = axes_[static_cast<std::size_t>(d)].fraction[static_cast<std::size_t>(at[d])];
    set_weights(upper, a.row_weight);
    for (int r = 0; r < a.row_count; ++r) {  // bit d of r: the upper neighbour along outer axis d
      Index<Rank> from{};
      for (int d = 0; d < Rank - 1; ++d) {
        const ResizeAxisI16& axis = axes_[static_cast<std::size_t>(d)];
        const std::size_t i = static_cast<std::size_t>(at[d]);
        from[d] = ((r >> d) & 1) != 0 ? axis.hi[i] : axis.lo[i];
      }
      a.rows[r] = tensor_.pixel(block, from);
    }
    const ResizeAxisI16& along = axes_.back();
    const std::size_t x = static_cast<std::size_t>(at[Rank - 1]);
    a.lo = along.lo.data() + x;
    a.hi = along.hi.data() + x;
    a.fraction = along.fraction.data() + x;
    a.m_pos = step_.m_pos, a.m_neg = step_.m_neg, a.zero_point = step_.zero_point;
    a.out = out;
    a.width = n;
    k.upsample_row_i16(a);
  }

 private:
  static void set_weights(const int (&upper)[1], std::int16_t* weight) {
    weight[0] = static_cast<std::int16_t>(128 - upper[0]);
    weight[1] = static_cast<std::int16_t>(upper[0]);
  }
  // One product is rounded, the others follow from it: each axis keeps its weights, and all four sum to 128.
  static void set_weights(const int (&upper)[2], std::int16_t* weight) {
    const int both = (upper[0] * upper[1] + 64) / 128;
    weight[0] = static_cast<std::int16_t>(128 - upper[0] - upper[1] + both);
    weight[1] = static_cast<std::int16_t>(upper[0] - both);
    weight[2] = static_cast<std::int16_t>(upper[1] - both);
    weight[3] = static_cast<std::int16_t>(both);
  }

  Tensor<std::int16_t, Rank> tensor_;
  ActStep step_;
  std::vector<ResizeAxisI16> axes_;
};

/// Rows of an interleaved 8-bit image, each value through its channel's table.
class TableImageSource final : public RowSource<std::int16_t, 2> {
 public:
  /// `table` is [channels][256], acts with zero point `zero_point`; it must outlive the source, like the
  /// pixels.
  TableImageSource(const std::uint8_t* pixels, std::size_t row_stride, int channels, const Index<2>& size,
                   const std::uint8_t* table, int zero_point)
      : pixels_(pixels),
        row_stride_(row_stride),
        channels_(channels),
        size_(size),
        table_(table),
        zero_point_(zero_point) {}
  int channels() const override { return channels_; }
  Index<2> size() const override { return size_; }
  std::int16_t padding() const override { return static_cast<std::int16_t>(zero_point_); }
  void row(const KernelTable& k, int, const Index<2>& at, int n, std::int16_t* out) const override {
    const std::uint8_t* in = pixels_ + static_cast<std::size_t>(at[0]) * row_stride_ +
                             static_cast<std::size_t>(at[1]) * static_cast<std::size_t>(channels_);
    k.image_row_i16({in, channels_, table_, out, n});
  }

 private:
  const std::uint8_t* pixels_;
  std::size_t row_stride_;
  int channels_;
  Index<2> size_;
  const std::uint8_t* table_;
  int zero_point_;
};

}  // namespace microtome
