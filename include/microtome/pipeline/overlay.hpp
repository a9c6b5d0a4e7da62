// overlay.png: the slide with the mask drawn over it, for a first look.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../core/parallel.hpp"
#include "../io/png_writer.hpp"
#include "../slide/slide.hpp"
#include "open_labels.hpp"
#include "progress.hpp"
#include "resample.hpp"

namespace microtome {

/// Size of the overlay of a mask of width x height: the same when it fits a screen at full zoom (4096 pixels
/// a side, so that the outlines of single nuclei show), else shrunk to 2048 pixels on the longer side.
inline std::pair<std::int64_t, std::int64_t> overlay_size(std::int64_t width, std::int64_t height) {
  const std::int64_t longest = std::max(width, height);
  if (longest <= 4096) return {width, height};
  return {std::max<std::int64_t>(1, width * 2048 / longest),
          std::max<std::int64_t>(1, height * 2048 / longest)};
}

namespace detail {

// The mask at the overlay's scale, one row at a time and from top to bottom.
class OverlayLabels {
 public:
  struct Row {
    std::vector<std::uint8_t> label;    // the commonest label but 0; 0 where there is none
    std::vector<std::uint8_t> solid;    // that label where it fills half the pixel, else 0
    std::vector<std::uint8_t> covered;  // share of the pixel that is not label 0, 255 = all
  };

  // The coarsest level of the mask with two samples per overlay pixel and axis: enough to average, and only
  // a few megabytes of any slide. (Levels of labels are samples, not averages.)
  OverlayLabels(const std::string& mask_path, std::int64_t width, std::int64_t height)
      : width_(width), height_(height) {
    mask_ = open_labels(mask_path);
    if (mask_->width() != width || mask_->height() != height)
      for (int k = mask_->levels() - 1; k > 0; --k) {
        std::unique_ptr<LabelImage> level = open_labels(mask_path, k);
        if (level->width() < 2 * width || level->height() < 2 * height) continue;
        mask_ = std::move(level);
        break;
      }
  }

  void read(std::int64_t y, Row& row) {
    row.label.assign(static_cast<std::size_t>(width_), 0);
    row.solid = row.covered = row.label;
    const std::int64_t mw = mask_->width(), mh = mask_->height();
    const std::int64_t y0 = y * mh / height_, y1 = std::max(y0 + 1, (y + 1) * mh / height_);
    lines_.resize(static_cast<std::size_t>((y1 - y0) * mw));
    for (std::int64_t j = y0; j < y1; ++j)
      std::memcpy(lines_.data() + (j - y0) * mw, line(j), static_cast<std::size_t>(mw));
    std::array<std::uint32_t, 256> count{};
    for (std::int64_t x = 0; x < width_; ++x) {
      const std::int64_t x0 = x * mw / width_, x1 = std::max(x0 + 1, (x + 1) * mw / width_);
      std::uint32_t all = 0, zero = 0;
      std::uint8_t best = 0;
      for (std::int64_t j = 0; j < y1 - y0; ++j)
        for (const std::uint8_t *p = lines_.data() + j * mw + x0, *end = p + (x1 - x0); p < end; ++p, ++all) {
          if (*p == 0)
            ++zero;
          else if (++count[*p] > count[best])
            best = *p;
        }
      const auto i = static_cast<std::size_t>(x);
      row.label[i] = best;
      row.solid[i] = 2 * count[best] >= all ? best : std::uint8_t{0};
      row.covered[i] = static_cast<std::uint8_t>(255 * (all - zero) / all);
      if (best != 0) count.fill(0);
    }
  }

 private:
  const std::uint8_t* line(std::int64_t y) {
    if (y < band_begin_ || y >= band_end_) {
      band_begin_ = y / kBand * kBand;
      band_end_ = std::min(band_begin_ + kBand, mask_->height());
      band_.resize(static_cast<std::size_t>((band_end_ - band_begin_) * mask_->width()));
      mask_->read(0, band_begin_, mask_->width(), band_end_ - band_begin_, band_.data());
    }
    return band_.data() + (y - band_begin_) * mask_->width();
  }

  static constexpr std::int64_t kBand = 512;  // a row of the tiles that MaskPyramidWriter makes
  std::int64_t width_, height_, band_begin_ = 0, band_end_ = 0;
  std::unique_ptr<LabelImage> mask_;
  std::vector<std::uint8_t> band_, lines_;
};

inline void blend(std::uint8_t* rgb, const std::array<std::uint8_t, 3>& color, int alpha) {  // alpha 0..255
  for (std::size_t c = 0; c < 3; ++c)
    rgb[c] = static_cast<std::uint8_t>((rgb[c] * (255 - alpha) + color[c] * alpha + 127) / 255);
}

}  // namespace detail

/// Draws the labels of `mask_path` (a mask of the whole slide, at any scale) over `slide`: classes tinted in
/// colors[label], light where single objects are seen, in proportion to their share of the pixel where they
/// are not; areas outlined by one pixel. Label 0 is left as it is; labels beyond `colors` are yellow. Streams
/// both in bands. Throws InputError (a damaged mask; damaged slide tiles are white), ResourceError,
/// Cancelled.
inline void write_overlay(const std::string& png_path, const Slide& slide, const std::string& mask_path,
                          const std::vector<std::array<std::uint8_t, 3>>& colors,
                          Executor* executor = nullptr, const ProgressFn& progress = {}) {
  DefaultExecutor serial(1);
  Executor& ex = executor ? *executor : serial;
  const std::unique_ptr<LabelImage> mask = open_labels(mask_path);
  const auto size = overlay_size(mask->width(), mask->height());
  const std::int64_t width = size.first, height = size.second;  // clang cannot capture structured bindings
  const bool full = width == mask->width() && height == mask->height();
  int level = 0;
  while (level + 1 < static_cast<int>(slide.levels().size()) &&
         slide.levels()[static_cast<std::size_t>(level) + 1].width >= width &&
         slide.levels()[static_cast<std::size_t>(level) + 1].height >= height)
    ++level;

  constexpr std::int64_t kBand = 256, kChunk = 512;
  const std::size_t stride = static_cast<std::size_t>(width) * 3;
  const auto chunks = static_cast<int>((width + kChunk - 1) / kChunk);
  std::vector<std::unique_ptr<PlaneReader>> readers(static_cast<std::size_t>(ex.workers()));
  std::vector<std::uint8_t> rgb(stride * static_cast<std::size_t>(std::min(kBand, height)));
  detail::OverlayLabels labels(mask_path, width, height);
  detail::OverlayLabels::Row rows[3];  // the row above, this one, the one below, by number modulo 3
  labels.read(0, rows[0]);
  PngWriter png(png_path, width, height, 3);
  std::mutex guard;
  for (std::int64_t y0 = 0; y0 < height; y0 += kBand) {
    const std::int64_t band = std::min(kBand, height - y0);
    const auto tell = [&] {
      const std::lock_guard<std::mutex> lock(guard);
      report(progress, "overlay", static_cast<std::uint64_t>(y0), static_cast<std::uint64_t>(height));
    };
    tell();
    parallel_for(ex, chunks, [&](int i, int worker) {
      auto& reader = readers[static_cast<std::size_t>(worker)];
      if (!reader) reader = std::make_unique<PlaneReader>(slide, level, width, height, BadTile::fill);
      reader->between_blocks(tell);
      const std::int64_t x = i * kChunk;
      reader->read(x, y0, std::min(kChunk, width - x), band, rgb.data() + 3 * x, stride);
    });
    for (std::int64_t y = y0; y < y0 + band; ++y) {
      if (y + 1 < height) labels.read(y + 1, rows[(y + 1) % 3]);
      const auto& here = rows[y % 3];
      const auto& above = y > 0 ? rows[(y - 1) % 3] : here;
      const auto& below = y + 1 < height ? rows[(y + 1) % 3] : here;
      std::uint8_t* out = rgb.data() + static_cast<std::size_t>(y - y0) * stride;
      for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x, out += 3) {
        if (here.label[x] == 0) continue;
        const std::uint8_t s = here.solid[x];
        const bool outline =
            s != 0 && (above.solid[x] != s || below.solid[x] != s || (x > 0 && here.solid[x - 1] != s) ||
                       (x + 1 < here.solid.size() && here.solid[x + 1] != s));
        const std::array<std::uint8_t, 3> color =
            here.label[x] < colors.size() ? colors[here.label[x]] : std::array<std::uint8_t, 3>{255, 255, 0};
        detail::blend(out, color, outline ? 230 : (full ? 50 : 150) * here.covered[x] / 255);
      }
    }
    png.write_rows(rgb.data(), band, stride);
  }
  png.finish();
  report(progress, "overlay", static_cast<std::uint64_t>(height), static_cast<std::uint64_t>(height));
}

}  // namespace microtome
