// Which patches cover a plane, as arithmetic: nothing here grows with the slide.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../core/error.hpp"
#include "../io/model_info.hpp"

namespace microtome {

/// Patch positions along one axis of `size` pixels: 0, stride, 2 stride ... and a last patch that ends with
/// the axis, so that no strip is left out (GaNDLF's slide loop leaves one; its torchio grid sampler adds the
/// same last patch). An axis shorter than one patch holds a single patch at 0 that sticks out.
struct GridAxis {
  std::int64_t size = 0, patch = 0, stride = 0;  ///< pixels

  std::int64_t count() const { return size <= patch ? 1 : (size - patch + stride - 1) / stride + 1; }
  std::int64_t start(std::int64_t i) const {
    return std::max<std::int64_t>(0, std::min(i * stride, size - patch));
  }

  /// Upper bound of the patches that cover one pixel.
  std::int64_t max_overlap() const {
    const std::int64_t regular = (patch + stride - 1) / stride;
    return std::min(count(), regular + (size > patch && (size - patch) % stride != 0 ? 1 : 0));
  }
};

/// The patches of a width x height plane.
class PatchGrid {
 public:
  /// Throws UsageError unless patch is a positive multiple of 16 (four halvings in the network, aligned to a
  /// pixel block), 1 <= stride <= patch, and no pixel is covered more than 255 times (the stitcher's
  /// counter).
  PatchGrid(std::int64_t width, std::int64_t height, std::int64_t patch, std::int64_t stride)
      : x_{width, patch, stride}, y_{height, patch, stride} {
    if (patch < 16 || patch > kMaxSide || patch % 16 != 0)
      throw UsageError("--patch", std::to_string(patch) + " is not a multiple of 16 between 16 and " +
                                      std::to_string(kMaxSide) + " pixels");
    if (stride < 1 || stride > patch)
      throw UsageError("--stride", std::to_string(stride) + " is not between 1 and the patch side of " +
                                       std::to_string(patch) + " pixels");
    if (x_.max_overlap() * y_.max_overlap() > 255)
      throw UsageError("--stride", "a stride of " + std::to_string(stride) + " for patches of " +
                                       std::to_string(patch) + " pixels covers a pixel " +
                                       std::to_string(x_.max_overlap() * y_.max_overlap()) +
                                       " times, 255 at most");
  }

  const GridAxis& x() const { return x_; }
  const GridAxis& y() const { return y_; }
  std::int64_t patch() const { return x_.patch; }
  std::int64_t columns() const { return x_.count(); }
  std::int64_t rows() const { return y_.count(); }
  std::int64_t count() const { return columns() * rows(); }

 private:
  GridAxis x_, y_;
};

/// The order in which patches run: vertical bands of `band` columns, row by row inside a band, every other
/// row from right to left. Tiles under a row are complete soon after the next rows have passed, so only about
/// one band width of them is unfinished at a time, however large the slide is.
class BandOrder {
 public:
  struct Cell {
    std::int64_t column, row;
  };

  BandOrder(std::int64_t columns, std::int64_t rows, std::int64_t band)
      : columns_(columns), rows_(rows), band_(std::clamp<std::int64_t>(band, 1, columns)) {}

  /// The index-th patch, index in [0, columns * rows).
  Cell cell(std::int64_t index) const {
    const std::int64_t first = index / (band_ * rows_) * band_;
    const std::int64_t width = std::min(band_, columns_ - first);
    const std::int64_t within = index - first * rows_;
    const std::int64_t row = within / width, step = within % width;
    return {first + (row % 2 == 0 ? step : width - 1 - step), row};
  }

 private:
  std::int64_t columns_, rows_, band_;
};

}  // namespace microtome
