// Mean blending of overlapping patches on the mask canvas, tile by tile, in bounded memory.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "accumulators.hpp"
#include "grid.hpp"
#include "labels.hpp"
#include "plane.hpp"

namespace microtome {

/// Receives finished tiles of the mask: kMaskTile * kMaskTile labels, row-major, 0 outside the canvas. Called
/// from several threads at once, every tile at most once; a tile that no patch touched is not delivered.
using TileSink = std::function<void(std::int64_t tx, std::int64_t ty, const std::uint8_t* labels)>;

/// Side of a mask tile and of an accumulator, pixels.
constexpr std::int64_t kMaskTile = 512;

/// Sums the probabilities of overlapping patches on the mask canvas and turns them into labels.
///
/// Every mask pixel takes its value from the one plane pixel under its centre; nearest sampling commutes with
/// averaging, so the patches are summed on the mask directly and no plane-sized map exists. A tile's
/// accumulator (per class a 32-bit sum, and an 8-bit count) lives from the first patch that touches it to the
/// last, which turns it into labels and delivers it.
class Stitcher {
 public:
  static std::size_t accumulator_bytes(int classes) {
    return static_cast<std::size_t>(kMaskTile * kMaskTile) *
           (sizeof(std::uint32_t) * static_cast<std::size_t>(classes) + 1);
  }

  /// `expect` is called for every patch that will be added, before any is added.
  Stitcher(const PatchGrid& grid, MaskAxis x, MaskAxis y, LabelRule rule, std::size_t accumulators,
           std::string spill_path, TileSink sink)
      : grid_(grid),
        x_(x),
        y_(y),
        rule_(std::move(rule)),
        sink_(std::move(sink)),
        across_((x.size() + kMaskTile - 1) / kMaskTile),
        remaining_(static_cast<std::size_t>(across_ * ((y.size() + kMaskTile - 1) / kMaskTile))),
        counts_(static_cast<std::size_t>(rule_.labels())),
        store_(accumulator_bytes(rule_.classes()), accumulators, std::move(spill_path)) {}

  /// Announces patch (column, row).
  void expect(std::int64_t column, std::int64_t row) {
    for_each_tile(window(column, row), [&](std::int64_t tx, std::int64_t ty) { ++remaining(tx, ty); });
  }

  /// Adds the output of patch (column, row): class c of its pixel (x, y) at p[(c * patch + y) * patch + x].
  /// Pixels beyond the plane are ignored. Throws what the sink throws, and ResourceError when spilling fails.
  void add(std::int64_t column, std::int64_t row, const float* p) {
    const Window w = window(column, row);
    const std::vector<std::int32_t> from_x = samples(x_, grid_.x().start(column), w.x0, w.x1);
    const std::vector<std::int32_t> from_y = samples(y_, grid_.y().start(row), w.y0, w.y1);
    for_each_tile(w, [&](std::int64_t tx, std::int64_t ty) {
      AccumulatorStore::Loan loan = store_.borrow(ty * across_ + tx);
      const std::int64_t x0 = std::max(w.x0, tx * kMaskTile), x1 = std::min(w.x1, (tx + 1) * kMaskTile);
      const std::int64_t y0 = std::max(w.y0, ty * kMaskTile), y1 = std::min(w.y1, (ty + 1) * kMaskTile);
      for (std::int64_t y = y0; y < y1; ++y) {
        const std::size_t at =
            static_cast<std::size_t>((y - ty * kMaskTile) * kMaskTile + x0 - tx * kMaskTile);
        add_row(loan.data(), at, p + from_y[static_cast<std::size_t>(y - w.y0)] * grid_.patch(),
                from_x.data() + (x0 - w.x0), static_cast<std::size_t>(x1 - x0));
      }
      if (--remaining(tx, ty) == 0) {  // under the loan: patches of one tile come here one after the other
        finish(tx, ty, loan.data());
        loan.discard();
      }
    });
  }

  /// Mask pixels per label among the delivered tiles.
  std::uint64_t pixels(int label) const { return counts_[static_cast<std::size_t>(label)].load(); }
  std::uint64_t spills() const { return store_.spills(); }

 private:
  struct Window {
    std::int64_t x0, x1, y0, y1;  // mask pixels
  };

  Window window(std::int64_t column, std::int64_t row) const {
    const std::int64_t px = grid_.x().start(column), py = grid_.y().start(row);
    return {x_.first_mask(px), x_.first_mask(px + grid_.patch()), y_.first_mask(py),
            y_.first_mask(py + grid_.patch())};
  }

  template <class F>
  static void for_each_tile(const Window& w, F&& f) {
    if (w.x0 >= w.x1 || w.y0 >= w.y1) return;
    for (std::int64_t ty = w.y0 / kMaskTile; ty <= (w.y1 - 1) / kMaskTile; ++ty)
      for (std::int64_t tx = w.x0 / kMaskTile; tx <= (w.x1 - 1) / kMaskTile; ++tx) f(tx, ty);
  }

  static std::vector<std::int32_t> samples(const MaskAxis& axis, std::int64_t start, std::int64_t m0,
                                           std::int64_t m1) {
    std::vector<std::int32_t> s;
    for (std::int64_t m = m0; m < m1; ++m) s.push_back(static_cast<std::int32_t>(axis.plane_of(m) - start));
    return s;
  }

  void add_row(std::uint8_t* block, std::size_t at, const float* p, const std::int32_t* from,
               std::size_t n) const {
    constexpr std::size_t kPixels = static_cast<std::size_t>(kMaskTile * kMaskTile);
    const auto classes = static_cast<std::size_t>(rule_.classes());
    for (std::size_t c = 0; c < classes; ++c) {
      std::uint32_t* sum = reinterpret_cast<std::uint32_t*>(block) + c * kPixels + at;
      const float* plane = p + c * static_cast<std::size_t>(grid_.patch() * grid_.patch());
      for (std::size_t i = 0; i < n; ++i) sum[i] += fixed_probability(plane[from[i]]);
    }
    std::uint8_t* count = block + classes * kPixels * sizeof(std::uint32_t) + at;
    for (std::size_t i = 0; i < n; ++i) ++count[i];
  }

  void finish(std::int64_t tx, std::int64_t ty, const std::uint8_t* block) {
    constexpr std::size_t kPixels = static_cast<std::size_t>(kMaskTile * kMaskTile);
    const std::uint8_t* count =
        block + static_cast<std::size_t>(rule_.classes()) * kPixels * sizeof(std::uint32_t);
    std::vector<std::uint8_t> labels(kPixels);
    rule_.apply(reinterpret_cast<const std::uint32_t*>(block), count, kPixels, labels.data());
    std::vector<std::uint64_t> seen(counts_.size());
    const std::int64_t w = std::min(kMaskTile, x_.size() - tx * kMaskTile),
                       h = std::min(kMaskTile, y_.size() - ty * kMaskTile);
    for (std::int64_t y = 0; y < h; ++y)
      for (std::int64_t x = 0; x < w; ++x) ++seen[labels[static_cast<std::size_t>(y * kMaskTile + x)]];
    for (std::size_t i = 0; i < seen.size(); ++i) counts_[i] += seen[i];
    sink_(tx, ty, labels.data());
  }

  std::uint32_t& remaining(std::int64_t tx, std::int64_t ty) {
    return remaining_[static_cast<std::size_t>(ty * across_ + tx)];
  }

  const PatchGrid grid_;
  const MaskAxis x_, y_;
  const LabelRule rule_;
  const TileSink sink_;
  const std::int64_t across_;
  std::vector<std::uint32_t> remaining_;  // patches still to come, per tile
  std::vector<std::atomic<std::uint64_t>> counts_;
  AccumulatorStore store_;
};

}  // namespace microtome
