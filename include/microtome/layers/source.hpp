// Where a convolution's input rows come from. A source writes rows of one channel block into the
// convolution's padded strip and does on the way whatever would otherwise be a pass of its own: affine +
// LeakyReLU of a norm that cannot fold, bilinear upsampling, conversion from pixels. Two sources in a row are
// a channel concat that never exists in memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/tensor.hpp"
#include "../kernels/kernel_table.hpp"
#include "affine.hpp"

namespace microtome {

inline constexpr float kLeakySlope = 0.01f;  ///< every activation of GaNDLF's unet family
inline constexpr float kNoActivation = 1.0f;

template <class T, int Rank>
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual int channels() const = 0;
  virtual Index<Rank> size() const = 0;
  /// Writes pixels [at, at + n) along the last axis of channel block `block` to out[n][16]. The range lies
  /// inside size(): padding is the convolution's business.
  virtual void row(const KernelTable& k, int block, const Index<Rank>& at, int n, T* out) const = 0;
  /// What a convolution pads with: the value that stands for zero.
  virtual T padding() const { return T{}; }
};

/// A norm's affine and the activation after it, padded to whole blocks.
struct Prologue {
  std::vector<float> scale, shift;  ///< [blocks * 16], or empty: identity
  float slope = kNoActivation;

  Prologue() = default;
  Prologue(const Affine& a, float leaky_slope, int channels) : slope(leaky_slope) {
    const std::size_t n = static_cast<std::size_t>(channel_blocks(channels)) * kChannelBlock;
    scale.assign(n, a.identity() ? 1.0f : 0.0f);
    shift.assign(n, 0.0f);
    std::copy(a.scale.begin(), a.scale.end(), scale.begin());
    std::copy(a.shift.begin(), a.shift.end(), shift.begin());
  }
  bool identity() const { return scale.empty(); }
};

/// Rows of a tensor through an optional prologue.
template <int Rank>
class TensorSource final : public RowSource<float, Rank> {
 public:
  TensorSource(const Tensor<float, Rank>& t, const Prologue* p) : tensor_(t), prologue_(p) {}
  int channels() const override { return tensor_.channels; }
  Index<Rank> size() const override { return tensor_.size; }
  void row(const KernelTable& k, int block, const Index<Rank>& at, int n, float* out) const override {
    const float* in = tensor_.pixel(block, at);
    if (!prologue_ || prologue_->identity()) {
      std::memcpy(out, in, static_cast<std::size_t>(n) * kChannelBlock * sizeof(float));
      return;
    }
    const int c = block * kChannelBlock;
    k.load_row_f32({in, prologue_->scale.data() + c, prologue_->shift.data() + c, prologue_->slope, out, n});
  }

 private:
  Tensor<float, Rank> tensor_;
  const Prologue* prologue_;
};

/// One axis of a x2 linear resize with align_corners: output i reads source i * (n - 1) / (2n - 1).
struct ResizeAxis {
  std::vector<std::int32_t> lo, hi;
  std::vector<float> fraction;

  explicit ResizeAxis(std::int64_t n) {
    const std::size_t outputs = static_cast<std::size_t>(2 * n);
    lo.resize(outputs), hi.resize(outputs), fraction.resize(outputs);
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      // Exact in integers: i * (n - 1) = q * (2n - 1) + r.
      const std::int64_t product = i * (n - 1), q = product / (2 * n - 1), r = product % (2 * n - 1);
      const std::size_t at = static_cast<std::size_t>(i);
      lo[at] = static_cast<std::int32_t>(q);
      hi[at] = static_cast<std::int32_t>(std::min(q + 1, n - 1));
      fraction[at] = static_cast<float>(static_cast<double>(r) / static_cast<double>(2 * n - 1));
    }
  }
};

/// Rows of a tensor enlarged x2 along every axis (bilinear, trilinear; align_corners=True), then LeakyReLU.
/// Source: torch.nn.functional.interpolate as used by GaNDLF's UpsamplingModule.
template <int Rank>
class UpsampledSource final : public RowSource<float, Rank> {
 public:
  static_assert(Rank == 2 || Rank == 3, "2 or 4 source rows");
  UpsampledSource(const Tensor<float, Rank>& t, float slope) : tensor_(t), slope_(slope) {
    for (int d = 0; d < Rank; ++d) axes_.emplace_back(t.size[d]);
  }
  int channels() const override { return tensor_.channels; }
  Index<Rank> size() const override {
    Index<Rank> s = tensor_.size;
    for (auto& v : s) v *= 2;
    return s;
  }
  void row(const KernelTable& k, int block, const Index<Rank>& at, int n, float* out) const override {
    UpsampleRowArgs a{};
    a.row_count = 1 << (Rank - 1);
    for (int r = 0; r < a.row_count; ++r) {  // bit d of r: the upper neighbour along outer axis d
      Index<Rank> from{};
      float weight = 1.0f;
      for (int d = 0; d < Rank - 1; ++d) {
        const ResizeAxis& axis = axes_[static_cast<std::size_t>(d)];
        const std::size_t i = static_cast<std::size_t>(at[d]);
        const bool upper = ((r >> d) & 1) != 0;
        from[d] = upper ? axis.hi[i] : axis.lo[i];
        weight *= upper ? axis.fraction[i] : 1.0f - axis.fraction[i];
      }
      a.rows[r] = tensor_.pixel(block, from);
      a.row_weight[r] = weight;
    }
    const ResizeAxis& along = axes_.back();
    const std::size_t x = static_cast<std::size_t>(at[Rank - 1]);
    a.lo = along.lo.data() + x;
    a.hi = along.hi.data() + x;
    a.fraction = along.fraction.data() + x;
    a.slope = slope_;
    a.out = out;
    a.width = n;
    k.upsample_row_f32(a);
  }

 private:
  Tensor<float, Rank> tensor_;
  float slope_;
  std::vector<ResizeAxis> axes_;
};

/// Rows of an interleaved 8-bit image, normalised as value * scale[c] + shift[c].
class ImageSource final : public RowSource<float, 2> {
 public:
  ImageSource(const std::uint8_t* pixels, std::size_t row_stride, int channels, const Index<2>& size,
              std::vector<float> scale, std::vector<float> shift)
      : pixels_(pixels),
        row_stride_(row_stride),
        channels_(channels),
        size_(size),
        scale_(std::move(scale)),
        shift_(std::move(shift)) {}
  int channels() const override { return channels_; }
  Index<2> size() const override { return size_; }
  void row(const KernelTable& k, int, const Index<2>& at, int n, float* out) const override {
    const std::uint8_t* in = pixels_ + static_cast<std::size_t>(at[0]) * row_stride_ +
                             static_cast<std::size_t>(at[1]) * static_cast<std::size_t>(channels_);
    k.image_row_u8({in, channels_, scale_.data(), shift_.data(), out, n});
  }

 private:
  const std::uint8_t* pixels_;
  std::size_t row_stride_;
  int channels_;
  Index<2> size_;
  std::vector<float> scale_, shift_;
};

/// Rows of planar floats [channels][outer axes...][width], taken as they are.
template <int Rank>
class PlanarSource final : public RowSource<float, Rank> {
 public:
  PlanarSource(const float* data, int channels, const Index<Rank>& size)
      : data_(data), channels_(channels), size_(size) {}
  int channels() const override { return channels_; }
  Index<Rank> size() const override { return size_; }
  void row(const KernelTable&, int block, const Index<Rank>& at, int n, float* out) const override {
    const int first = block * kChannelBlock, last = std::min(channels_, first + kChannelBlock);
    for (int c = first; c < last; ++c) {
      std::int64_t i = c;
      for (int d = 0; d < Rank; ++d) i = i * size_[d] + at[d];
      const float* in = data_ + i;
      for (int x = 0; x < n; ++x) out[x * kChannelBlock + c - first] = in[x];
    }
  }

 private:
  const float* data_;
  int channels_;
  Index<Rank> size_;
};

}  // namespace microtome
