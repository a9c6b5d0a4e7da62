// Where the tissue is, on a small thumbnail, so that empty glass is not run through the network.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../core/parallel.hpp"
#include "../slide/slide.hpp"
#include "plane.hpp"
#include "progress.hpp"
#include "resample.hpp"

namespace microtome {

/// Otsu's threshold (IEEE Trans. SMC 9(1), 1979): the value v that best splits the histogram into [0, v] and
/// above.
inline int otsu_threshold(const std::array<std::uint64_t, 256>& histogram) {
  double total = 0.0, weighted = 0.0;
  for (int v = 0; v < 256; ++v) {
    total += static_cast<double>(histogram[static_cast<std::size_t>(v)]);
    weighted += v * static_cast<double>(histogram[static_cast<std::size_t>(v)]);
  }
  int best = 0;
  double best_between = -1.0, below = 0.0, below_weighted = 0.0;
  for (int v = 0; v < 255; ++v) {
    below += static_cast<double>(histogram[static_cast<std::size_t>(v)]);
    below_weighted += v * static_cast<double>(histogram[static_cast<std::size_t>(v)]);
    if (below == 0.0 || below == total) continue;
    const double gap = below_weighted / below - (weighted - below_weighted) / (total - below);
    const double between = below * (total - below) * gap * gap;
    if (between > best_between) {
      best_between = between;
      best = v;
    }
  }
  return best;
}

/// Tissue on a thumbnail of the whole slide, about 8 um per pixel, at most 4096 pixels a side.
///
/// A thumbnail pixel (area average of the coarsest level that is fine enough) is tissue when it is
/// - coloured: HSV saturation above Otsu's threshold of the whole thumbnail, kept between 8 and 14 of 255.
///   The floor is the noise of JPEG glass; the cap keeps pale tissue beside strongly stained tissue, which
///   Otsu alone would call background; or
/// - grey but clearly darker than glass (brightest channel below 180): unsaturated stains, pigment, ink;
/// and never when it is near black (brightest channel below 30: scanner padding) or near white (darkest
/// channel above 242). Then tissue grows by one thumbnail pixel all around, so that no border is cut. The
/// choice errs on the side of running too much: false tissue costs time, missed tissue costs the result.
class TissueMask {
 public:
  /// Reads the slide with `executor`'s workers. Throws InputError, Cancelled.
  static TissueMask detect(const Slide& slide, Executor& executor, const ProgressFn& progress = {}) {
    TissueMask m;
    const double longest = static_cast<double>(std::max(slide.width(), slide.height()));
    const double wanted = slide.pixel_size().known() ? 8.0 / slide.pixel_size().mean() : 32.0;
    const double scale = std::max({1.0, std::min(wanted, longest / 256.0), longest / 4096.0});
    m.width_ = std::max<std::int64_t>(1, std::llround(static_cast<double>(slide.width()) / scale));
    m.height_ = std::max<std::int64_t>(1, std::llround(static_cast<double>(slide.height()) / scale));
    m.classify(slide, executor, progress);
    m.grow();
    return m;
  }

  std::int64_t width() const { return width_; }                      ///< thumbnail pixels
  std::int64_t height() const { return height_; }                    ///< thumbnail pixels
  const std::vector<std::uint8_t>& pixels() const { return mask_; }  ///< 1: run here; after growing
  double fraction() const { return fraction_; }  ///< share of the slide that is tissue, before growing
  int threshold() const { return threshold_; }   ///< saturation above which a pixel is tissue
  std::uint64_t bad_tiles() const { return bad_tiles_; }

  /// Whether [x, x+w) x [y, y+h) of a plane_width x plane_height plane over the slide touches tissue.
  bool touches(std::int64_t x, std::int64_t y, std::int64_t w, std::int64_t h, std::int64_t plane_width,
               std::int64_t plane_height) const {
    const std::int64_t x0 = x * width_ / plane_width, y0 = y * height_ / plane_height;
    const std::int64_t x1 = std::min(width_, ((x + w) * width_ + plane_width - 1) / plane_width);
    const std::int64_t y1 = std::min(height_, ((y + h) * height_ + plane_height - 1) / plane_height);
    for (std::int64_t j = y0; j < y1; ++j)
      for (std::int64_t i = x0; i < x1; ++i)
        if (mask_[static_cast<std::size_t>(j * width_ + i)]) return true;
    return false;
  }

 private:
  enum : std::uint8_t { kNever = 0, kAlways = 255 };  // otherwise the saturation, 1..254

  static std::uint8_t saturation(const std::uint8_t* rgb) {
    const int high = std::max({rgb[0], rgb[1], rgb[2]}), low = std::min({rgb[0], rgb[1], rgb[2]});
    return static_cast<std::uint8_t>(high == 0 ? 0 : 255 * (high - low) / high);
  }

  void classify(const Slide& slide, Executor& executor, const ProgressFn& progress) {
    constexpr std::int64_t kRows = 16;
    const int level =
        level_at_least_as_fine(slide, static_cast<double>(slide.width()) / static_cast<double>(width_),
                               static_cast<double>(slide.height()) / static_cast<double>(height_));
    const auto bands = static_cast<int>((height_ + kRows - 1) / kRows);
    const std::size_t row = static_cast<std::size_t>(width_) * 3;
    std::vector<std::unique_ptr<PlaneReader>> readers(static_cast<std::size_t>(executor.workers()));
    std::array<std::uint64_t, 256> histogram{};
    std::uint64_t done = 0;
    std::mutex guard;
    mask_.resize(static_cast<std::size_t>(width_ * height_));

    parallel_for(executor, bands, [&](int band, int worker) {
      auto& reader = readers[static_cast<std::size_t>(worker)];
      if (!reader) {
        reader = std::make_unique<PlaneReader>(slide, level, width_, height_, BadTile::fill);
        reader->between_blocks([&] {  // a band of a huge slide without coarse levels takes minutes
          const std::lock_guard<std::mutex> lock(guard);
          report(progress, "tissue", done, static_cast<std::uint64_t>(bands));
        });
      }
      const std::int64_t y = band * kRows, h = std::min(kRows, height_ - y);
      std::vector<std::uint8_t> rgb(row * static_cast<std::size_t>(h));
      reader->read(0, y, width_, h, rgb.data(), row);
      std::array<std::uint64_t, 256> local{};
      std::uint8_t* out = mask_.data() + static_cast<std::size_t>(y * width_);
      for (std::size_t i = 0; i < rgb.size(); i += 3) {
        const int high = std::max({rgb[i], rgb[i + 1], rgb[i + 2]}),
                  low = std::min({rgb[i], rgb[i + 1], rgb[i + 2]});
        const std::uint8_t s = saturation(&rgb[i]);
        if (high >= 30) ++local[s];
        *out++ = high < 30 || low > 242 ? std::uint8_t{kNever}
                 : high < 180           ? std::uint8_t{kAlways}
                                        : std::clamp<std::uint8_t>(s, 1, 254);
      }
      const std::lock_guard<std::mutex> lock(guard);
      for (std::size_t v = 0; v < 256; ++v) histogram[v] += local[v];
      report(progress, "tissue", ++done, static_cast<std::uint64_t>(bands));
    });

    threshold_ = std::clamp(otsu_threshold(histogram), 8, 14);
    std::uint64_t tissue = 0;
    for (std::uint8_t& v : mask_) tissue += v = v > threshold_;
    fraction_ = static_cast<double>(tissue) / static_cast<double>(mask_.size());
    for (const auto& r : readers) bad_tiles_ += r ? r->bad_tiles() : 0;
  }

  // 3x3 dilation: along rows, then along columns.
  void grow() {
    std::vector<std::uint8_t> wide(mask_.size());
    const auto spread = [](const std::uint8_t* from, std::uint8_t* to, std::int64_t n, std::int64_t step) {
      for (std::int64_t i = 0; i < n; ++i)
        to[i * step] =
            from[i * step] | (i > 0 ? from[(i - 1) * step] : 0) | (i + 1 < n ? from[(i + 1) * step] : 0);
    };
    for (std::int64_t y = 0; y < height_; ++y)
      spread(&mask_[static_cast<std::size_t>(y * width_)], &wide[static_cast<std::size_t>(y * width_)],
             width_, 1);
    for (std::int64_t x = 0; x < width_; ++x)
      spread(&wide[static_cast<std::size_t>(x)], &mask_[static_cast<std::size_t>(x)], height_, width_);
  }

  std::int64_t width_ = 0, height_ = 0;
  std::vector<std::uint8_t> mask_;
  double fraction_ = 0.0;
  int threshold_ = 0;
  std::uint64_t bad_tiles_ = 0;
};

}  // namespace microtome
