// Reads any rectangle of a plane: a slide level resampled to another size, block by block in bounded memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "../slide/slide.hpp"

namespace microtome {

/// Weights of one axis: which level pixels make each of `count` plane pixels from `begin` on. Everything is
/// exact integer arithmetic on global coordinates, so a plane pixel has the same value in whatever rectangle
/// it is read. Shrinking averages the area under the pixel; enlarging interpolates between pixel centres
/// (half-pixel centres, edges repeated). The weights of a pixel sum to 2^14 exactly: a flat area stays flat.
class AxisTaps {
 public:
  static constexpr int kBits = 14;

  AxisTaps(std::int64_t level, std::int64_t plane, std::int64_t begin, std::int64_t count) {
    taps_.reserve(static_cast<std::size_t>(count));
    for (std::int64_t p = begin; p < begin + count; ++p) {
      const auto at = static_cast<std::int32_t>(weights_.size());
      if (plane > level)
        interpolate(level, plane, p);
      else
        average(level, plane, p);
      taps_.push_back({first_, at, static_cast<std::int32_t>(weights_.size()) - at});
    }
  }

  struct Tap {
    std::int64_t first;     ///< first level pixel
    std::int32_t at, size;  ///< its weights: weights()[at .. at + size)
  };
  const std::vector<Tap>& taps() const { return taps_; }
  const std::uint16_t* weights(const Tap& t) const { return weights_.data() + t.at; }
  std::int64_t level_begin() const { return taps_.front().first; }
  std::int64_t level_end() const { return taps_.back().first + taps_.back().size; }

 private:
  // In units of 1/plane level pixel: plane pixel p covers [p level, (p+1) level), level pixel i [i plane,
  // (i+1) plane).
  void average(std::int64_t level, std::int64_t plane, std::int64_t p) {
    first_ = p * level / plane;
    const auto rounded = [&](std::int64_t covered) { return ((covered << kBits) + level / 2) / level; };
    for (std::int64_t i = first_, before = 0; before < level; ++i) {
      const std::int64_t covered = std::min(level, (i + 1) * plane - p * level);
      weights_.push_back(static_cast<std::uint16_t>(rounded(covered) - rounded(before)));
      before = covered;
    }
  }

  // Centre of plane pixel p in level pixels, from the centre of level pixel 0: ((2p+1) level - plane) / (2
  // plane).
  void interpolate(std::int64_t level, std::int64_t plane, std::int64_t p) {
    const std::int64_t twice = 2 * plane, centre = std::max<std::int64_t>(0, (2 * p + 1) * level - plane);
    first_ = std::min(centre / twice, level - 1);
    const auto right = static_cast<std::uint16_t>(((centre % twice << kBits) + plane) / twice);
    weights_.push_back(static_cast<std::uint16_t>((1 << kBits) - right));
    if (first_ + 1 < level)
      weights_.push_back(right);
    else
      weights_.back() = 1 << kBits;
  }

  std::vector<Tap> taps_;
  std::vector<std::uint16_t> weights_;
  std::int64_t first_ = 0;
};

/// Reads rectangles of the width x height plane made of one slide level. Belongs to one thread at a time.
class PlaneReader {
 public:
  /// Bytes of scratch a reader holds while resampling (block and its horizontally resampled copy), rounded
  /// up.
  static constexpr std::size_t kScratchBytes = 12u << 20;

  PlaneReader(const Slide& slide, int level, std::int64_t width, std::int64_t height,
              BadTile policy = BadTile::fill)
      : reader_(slide.open_reader(policy)),
        level_(level),
        level_width_(slide.levels()[static_cast<std::size_t>(level)].width),
        level_height_(slide.levels()[static_cast<std::size_t>(level)].height),
        width_(width),
        height_(height) {}

  /// `f` is called between the blocks of a read, about every 512 K level pixels, and ends it by throwing: a
  /// plane much smaller than its level makes one read last minutes.
  void between_blocks(std::function<void()> f) { between_blocks_ = std::move(f); }

  /// Interleaved 8-bit RGB of [x, x+w) x [y, y+h) in plane pixels; row i begins at rgb + i * row_stride
  /// (bytes). Parts outside the plane are white. Throws InputError (BadTile::fail).
  void read(std::int64_t x, std::int64_t y, std::int64_t w, std::int64_t h, std::uint8_t* rgb,
            std::size_t row_stride) {
    if (width_ == level_width_ && height_ == level_height_) {
      reader_->read_level(level_, x, y, w, h, rgb, row_stride);
      return;
    }
    const std::int64_t x0 = std::max<std::int64_t>(x, 0), x1 = std::min(x + w, width_);
    const std::int64_t y0 = std::max<std::int64_t>(y, 0), y1 = std::min(y + h, height_);
    if (x0 > x || y0 > y || x1 < x + w || y1 < y + h)
      for (std::int64_t i = 0; i < h; ++i)
        std::memset(rgb + static_cast<std::size_t>(i) * row_stride, 255, static_cast<std::size_t>(w) * 3);
    // A block spans about 1024 x 512 level pixels, whatever the factor.
    const std::int64_t step_x = std::max<std::int64_t>(1, 1024 * width_ / level_width_);
    const std::int64_t step_y = std::max<std::int64_t>(1, 512 * height_ / level_height_);
    for (std::int64_t by = y0; by < y1; by += step_y)
      for (std::int64_t bx = x0; bx < x1; bx += step_x) {
        if (between_blocks_ && (bx != x0 || by != y0)) between_blocks_();
        read_block(bx, by, std::min(step_x, x1 - bx), std::min(step_y, y1 - by),
                   rgb + static_cast<std::size_t>(by - y) * row_stride + static_cast<std::size_t>(bx - x) * 3,
                   row_stride);
      }
  }

  std::uint64_t bad_tiles() const { return reader_->bad_tiles(); }

 private:
  void read_block(std::int64_t x, std::int64_t y, std::int64_t w, std::int64_t h, std::uint8_t* out,
                  std::size_t out_stride) {
    const AxisTaps across(level_width_, width_, x, w), down(level_height_, height_, y, h);
    const std::int64_t sw = across.level_end() - across.level_begin();
    const std::int64_t sh = down.level_end() - down.level_begin();
    const std::size_t source_stride = static_cast<std::size_t>(sw) * 3, row = static_cast<std::size_t>(w) * 3;
    source_.resize(source_stride * static_cast<std::size_t>(sh));
    rows_.resize(row * static_cast<std::size_t>(sh));
    reader_->read_level(level_, across.level_begin(), down.level_begin(), sw, sh, source_.data(),
                        source_stride);

    for (std::size_t i = 0; i < static_cast<std::size_t>(sh); ++i) {  // across: 8-bit -> 8.8 fixed point
      const std::uint8_t* from = source_.data() + i * source_stride;
      std::uint16_t* to = rows_.data() + i * row;
      for (const AxisTaps::Tap& t : across.taps()) {
        const std::uint8_t* p = from + static_cast<std::size_t>(t.first - across.level_begin()) * 3;
        const std::uint16_t* weight = across.weights(t);
        std::uint32_t r = 32, g = 32, b = 32;
        for (std::int32_t k = 0; k < t.size; ++k, p += 3) {
          r += std::uint32_t{weight[k]} * p[0];
          g += std::uint32_t{weight[k]} * p[1];
          b += std::uint32_t{weight[k]} * p[2];
        }
        *to++ = static_cast<std::uint16_t>(r >> 6);
        *to++ = static_cast<std::uint16_t>(g >> 6);
        *to++ = static_cast<std::uint16_t>(b >> 6);
      }
    }
    for (const AxisTaps::Tap& t : down.taps()) {  // down: 8.8 fixed point -> 8-bit
      sums_.assign(row, 1u << (AxisTaps::kBits + 7));
      for (std::int32_t k = 0; k < t.size; ++k) {
        const std::uint16_t* from =
            rows_.data() + static_cast<std::size_t>(t.first - down.level_begin() + k) * row;
        const std::uint32_t weight = down.weights(t)[k];
        for (std::size_t i = 0; i < row; ++i) sums_[i] += weight * from[i];
      }
      for (std::size_t i = 0; i < row; ++i)
        out[i] = static_cast<std::uint8_t>(sums_[i] >> (AxisTaps::kBits + 8));
      out += out_stride;
    }
  }

  std::unique_ptr<SlideReader> reader_;
  int level_;
  std::int64_t level_width_, level_height_, width_, height_;
  std::vector<std::uint8_t> source_;
  std::vector<std::uint16_t> rows_;
  std::vector<std::uint32_t> sums_;
  std::function<void()> between_blocks_;
};

}  // namespace microtome
