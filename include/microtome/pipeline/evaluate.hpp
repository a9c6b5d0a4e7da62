// A predicted mask against the truth: one confusion matrix, streamed, and the figures derived from it.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "label_counts.hpp"
#include "label_image.hpp"

namespace microtome {

/// Pixels by predicted and true label. Truth masks of 0 and 255 only count as 0 and 1, predictions likewise.
class Confusion {
 public:
  Confusion() : n_(256 * 256, 0) {}

  std::uint64_t at(int predicted, int truth) const { return n_[index(predicted, truth)]; }
  void add(int predicted, int truth, std::uint64_t pixels) { n_[index(predicted, truth)] += pixels; }
  std::uint64_t predicted(int label) const {
    std::uint64_t s = 0;
    for (int t = 0; t < 256; ++t) s += at(label, t);
    return s;
  }
  std::uint64_t truth(int label) const {
    std::uint64_t s = 0;
    for (int p = 0; p < 256; ++p) s += at(p, label);
    return s;
  }
  std::uint64_t total() const {
    std::uint64_t s = 0;
    for (const auto v : n_) s += v;
    return s;
  }

  /// Counts `n` pixel pairs.
  void count(const std::uint8_t* predicted, const std::uint8_t* truth, std::size_t n) {
    for_each_run(predicted, truth, n, [&](int p, int t, std::uint64_t pixels) { add(p, t, pixels); });
  }

  /// Image editors save binary masks as 0 and 255: where a mask holds no other label, 255 becomes 1.
  void fold_binary() {
    bool p_binary = true, t_binary = true;
    for (int l = 1; l < 255; ++l) {
      p_binary = p_binary && predicted(l) == 0;
      t_binary = t_binary && truth(l) == 0;
    }
    for (int l = 0; l < 256 && t_binary; ++l) move(l, 255, l, 1);
    for (int l = 0; l < 256 && p_binary; ++l) move(255, l, 1, l);
  }

 private:
  static std::size_t index(int p, int t) { return static_cast<std::size_t>(p * 256 + t); }
  void move(int p, int t, int to_p, int to_t) {
    n_[index(to_p, to_t)] += n_[index(p, t)];
    n_[index(p, t)] = 0;
  }
  std::vector<std::uint64_t> n_;  // [predicted][truth]
};

inline ClassScore score(const Confusion& c, int label) {
  ClassScore s;
  s.true_positive = c.at(label, label);
  s.false_positive = c.predicted(label) - s.true_positive;
  s.false_negative = c.truth(label) - s.true_positive;
  return s;
}

/// The counts of a large mask by square blocks, from which bootstrap_dice() resamples.
class BlockCounts {
 public:
  static constexpr std::int64_t kMaxBlocks = 16384;

  /// `side`: of a block, mask pixels; it doubles until there are no more than kMaxBlocks.
  explicit BlockCounts(std::int64_t side = 1024) : side_(side) {}

  /// Before counting: lays the grid over a width x height mask.
  void reset(std::int64_t width, std::int64_t height) {
    const auto across = [&](std::int64_t size) { return (size + side_ - 1) / side_; };
    while (across(width) > kMaxBlocks / across(height)) side_ *= 2;
    across_ = across(width);
    parts_.assign(static_cast<std::size_t>(across_ * across(height)), LabelCounts());
  }

  /// Counts `width` x `height` pixel pairs (rows without padding) at (x, y) here and in `all`.
  void count(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
             const std::uint8_t* predicted, const std::uint8_t* truth, Confusion& all) {
    const bool one_block = (x + width - 1) / side_ == x / side_ && (y + height - 1) / side_ == y / side_;
    const std::int64_t rows = one_block ? height : 1;  // counted at a time
    for (std::int64_t j = 0; j < height; j += rows)
      for (std::int64_t i = 0, n = 0; i < width; i += n) {
        n = std::min(width, ((x + i) / side_ + 1) * side_ - x) - i;
        LabelCounts& part = parts_[static_cast<std::size_t>((y + j) / side_ * across_ + (x + i) / side_)];
        const std::size_t at = static_cast<std::size_t>(j * width + i);
        for_each_run(predicted + at, truth + at, static_cast<std::size_t>(n * rows),
                     [&](int p, int t, std::uint64_t pixels) {
                       all.add(p, t, pixels);
                       part.add(p, t, pixels);
                     });
      }
  }

  std::int64_t side() const { return side_; }  ///< mask pixels
  std::vector<LabelCounts>& parts() { return parts_; }

 private:
  std::int64_t side_, across_ = 0;
  std::vector<LabelCounts> parts_;
};

/// Counts the pixels of two masks of the same canvas, of which the truth is finer by an integer `k` (sizes
/// rounded up): the middle pixel of each k x k block counts. Reads both in blocks of at most 16 MiB, beside
/// the one tile, strip or row that each mask holds. `blocks`, if given, receives the same counts by block of
/// the predicted mask. Nothing is folded. Throws InputError when a mask is damaged.
inline Confusion count_masks(LabelImage& predicted, LabelImage& truth, std::int64_t k,
                             BlockCounts* blocks = nullptr) {
  const std::int64_t w = predicted.width(), h = predicted.height();
  const bool rows = predicted.by_rows() || truth.by_rows();
  // Of a truth in whole rows only the middle ones are read, of tiles all: a row would decode them again.
  const bool middle_rows = k > 1 && truth.by_rows();
  const std::int64_t per_pixel = middle_rows ? k : k * k;  // bytes of truth per predicted pixel
  constexpr std::int64_t kBlock = std::int64_t{1} << 24;
  std::int64_t block_w = std::max<std::int64_t>(1, 1024 / k), block_h = block_w;
  if (rows) {
    block_w = std::min(w, kBlock / per_pixel);
    // Rows wider than a block are read one by one, so that their pieces come from one decoded row or strip.
    block_h = block_w < w
                  ? 1
                  : std::clamp<std::int64_t>(kBlock / (w * per_pixel), 1, std::max<std::int64_t>(1, 128 / k));
  }
  Confusion c;
  if (blocks) blocks->reset(w, h);
  std::vector<std::uint8_t> p, t, row;
  for (std::int64_t y = 0; y < h; y += block_h)
    for (std::int64_t x = 0; x < w; x += block_w) {
      const std::int64_t bw = std::min(block_w, w - x), bh = std::min(block_h, h - y);
      p.resize(static_cast<std::size_t>(bw * bh));
      predicted.read(x, y, bw, bh, p.data());
      const std::int64_t tw = std::min(bw * k, truth.width() - x * k),
                         th = std::min(bh * k, truth.height() - y * k);
      const auto middle = [k](std::int64_t i, std::int64_t size) {
        return std::min(i * k + k / 2, size - 1);
      };
      if (middle_rows) {
        t.resize(p.size());
        row.resize(static_cast<std::size_t>(tw));
        for (std::int64_t j = 0; j < bh; ++j) {
          truth.read(x * k, y * k + middle(j, th), tw, 1, row.data());
          for (std::int64_t i = 0; i < bw; ++i)
            t[static_cast<std::size_t>(j * bw + i)] = row[static_cast<std::size_t>(middle(i, tw))];
        }
      } else {
        t.resize(static_cast<std::size_t>(tw * th));
        truth.read(x * k, y * k, tw, th, t.data());
        for (std::int64_t j = 0; j < bh && k > 1; ++j)  // in place: the source is never before the target
          for (std::int64_t i = 0; i < bw; ++i)
            t[static_cast<std::size_t>(j * bw + i)] =
                t[static_cast<std::size_t>(middle(j, th) * tw + middle(i, tw))];
      }
      if (blocks)
        blocks->count(x, y, bw, bh, p.data(), t.data(), c);
      else
        c.count(p.data(), t.data(), p.size());
    }
  return c;
}

/// Compares two masks of the same canvas; the truth may be finer by an integer k <= 1024 (sizes rounded up),
/// see count_masks(). 0 and 255 only count as 0 and 1. Throws InputError when the sizes do not match or a
/// mask is damaged.
inline Confusion compare_masks(LabelImage& predicted, LabelImage& truth, BlockCounts* blocks = nullptr) {
  const std::int64_t w = predicted.width(), h = predicted.height();
  const std::int64_t k = (truth.width() + w - 1) / w;
  if (k > 1024 || (truth.width() + k - 1) / k != w || (truth.height() + k - 1) / k != h)
    throw InputError(truth.path(), "size",
                     std::to_string(truth.width()) + " x " + std::to_string(truth.height()) +
                         " pixels is no multiple of the prediction's " + std::to_string(w) + " x " +
                         std::to_string(h));
  Confusion c = count_masks(predicted, truth, k, blocks);
  c.fold_binary();
  if (blocks) fold_binary(blocks->parts());
  return c;
}

}  // namespace microtome
