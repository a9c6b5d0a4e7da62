// The plane: the slide seen at the scale the network expects, and the mask canvas laid over it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../slide/slide.hpp"

namespace microtome {

/// What decides the scale. At most one of `mpp` and `level` is set.
struct ScaleRequest {
  double mpp = 0.0;        ///< um/px asked for by the user; 0: the model's
  int level = -1;          ///< this level as it is; -1: chosen by scale
  double model_mpp = 0.0;  ///< um/px the model was trained at; 0: unknown
};

/// The image the network runs on: `level` of the slide, resampled to width x height.
struct Plane {
  int level = 0;                       ///< slide level that is read
  std::int64_t width = 1, height = 1;  ///< pixels
  double mpp_x = 0.0, mpp_y = 0.0;     ///< um per plane pixel, 0: unknown
  std::int64_t mask_downsample = 1;    ///< d: the mask canvas is level 0 divided by d, rounded up
  std::vector<std::string> warnings;   ///< one sentence each

  /// Pixels of `level` per plane pixel; 1: not resampled.
  double factor_x(const Slide& s) const {
    return static_cast<double>(s.levels()[static_cast<std::size_t>(level)].width) /
           static_cast<double>(width);
  }
  double factor_y(const Slide& s) const {
    return static_cast<double>(s.levels()[static_cast<std::size_t>(level)].height) /
           static_cast<double>(height);
  }
};

/// Short decimal text of a scale: "0.499".
inline std::string scale_text(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", v);
  return text;
}

/// The coarsest level that is at least as fine as `per_pixel_x` x `per_pixel_y` level-0 pixels per plane
/// pixel; level 0 when none is.
inline int level_at_least_as_fine(const Slide& slide, double per_pixel_x, double per_pixel_y) {
  int best = 0;
  for (std::size_t i = 0; i < slide.levels().size(); ++i) {
    const SlideLevel& l = slide.levels()[i];
    const double dx = static_cast<double>(slide.width()) / static_cast<double>(l.width);
    const double dy = static_cast<double>(slide.height()) / static_cast<double>(l.height);
    const bool finer = l.width > slide.levels()[static_cast<std::size_t>(best)].width;
    if (dx <= per_pixel_x && dy <= per_pixel_y && !finer) best = static_cast<int>(i);
  }
  return best;
}

/// Chooses level and plane size.
/// - `level`: that level, whatever its scale.
/// - otherwise a level within 5 % of the wanted scale is used as it is (scanners differ by more than that
///   from their own nominal scale; resampling would only blur), else the coarsest finer level is resampled.
/// Throws UsageError for an impossible request, InputError for a slide whose pixel size is unknown.
inline Plane choose_plane(const Slide& slide, const ScaleRequest& request) {
  constexpr double kMaxShrink = 1024.0, kMaxEnlarge = 64.0;  // beyond: a wrong unit, not a wish
  const PixelSize& mpp = slide.pixel_size();
  const auto& levels = slide.levels();
  const double w0 = static_cast<double>(slide.width()), h0 = static_cast<double>(slide.height());
  Plane p;

  const auto use_level = [&](int level) {
    const SlideLevel& l = levels[static_cast<std::size_t>(level)];
    p.level = level;
    p.width = l.width;
    p.height = l.height;
    p.mpp_x = mpp.known() ? mpp.x * w0 / static_cast<double>(l.width) : 0.0;
    p.mpp_y = mpp.known() ? mpp.y * h0 / static_cast<double>(l.height) : 0.0;
  };
  const auto warn_scale = [&](double run_mpp) {
    const double ratio = request.model_mpp > 0.0 && run_mpp > 0.0 ? run_mpp / request.model_mpp : 1.0;
    if (ratio > 1.5 || ratio < 1.0 / 1.5)
      p.warnings.push_back("runs at " + scale_text(run_mpp) + " um/px; the model was trained at " +
                           scale_text(request.model_mpp) + " um/px");
  };

  if (request.level >= 0) {
    if (static_cast<std::size_t>(request.level) >= levels.size())
      throw UsageError("--level", std::to_string(request.level) + " asked for, but " + slide.path() +
                                      " has levels 0 to " + std::to_string(levels.size() - 1));
    use_level(request.level);
    // Level sizes are rounded, so their ratio may fall just short of the integer that is meant.
    const double ratio = std::max(1.0, levels[static_cast<std::size_t>(request.level)].downsample);
    const double whole = std::round(ratio);
    p.mask_downsample =
        static_cast<std::int64_t>(std::abs(ratio - whole) < 0.01 * whole ? whole : std::floor(ratio));
    warn_scale(0.5 * (p.mpp_x + p.mpp_y));
    return p;
  }

  const double target = request.mpp > 0.0 ? request.mpp : request.model_mpp;
  if (!(target > 0.0))
    throw UsageError("--mpp",
                     "the model does not state its scale (spacing_um_px): give --mpp X (um/px) or --level N");
  if (!mpp.known())
    throw InputError(
        slide.path(), "mpp",
        "the pixel size is unknown" + (mpp.source.empty() ? std::string() : " (" + mpp.source + ")") +
            ": give --slide-mpp X (um per pixel of level 0), or --level N to run on a level as it is");
  const double ratio_x = target / mpp.x, ratio_y = target / mpp.y;  // level-0 pixels per plane pixel
  if (std::max(ratio_x, ratio_y) > kMaxShrink * levels.back().downsample ||
      std::min(ratio_x, ratio_y) < 1.0 / kMaxEnlarge)
    throw UsageError("--mpp", scale_text(target) + " um/px is out of range for " + slide.path() + " with " +
                                  scale_text(mpp.mean()) + " um/px: check both numbers");
  p.mask_downsample =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(target / mpp.mean() + 1e-6)));

  double closest = 0.05;
  int as_is = -1;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double off_x = std::abs(w0 / static_cast<double>(levels[i].width) / ratio_x - 1.0);
    const double off_y = std::abs(h0 / static_cast<double>(levels[i].height) / ratio_y - 1.0);
    const double off = std::max(off_x, off_y);
    if (off > closest || (as_is >= 0 && off == closest)) continue;
    closest = off;
    as_is = static_cast<int>(i);
  }
  if (as_is >= 0) {
    use_level(as_is);
  } else {
    p.level = level_at_least_as_fine(slide, ratio_x, ratio_y);
    p.width = std::max<std::int64_t>(1, std::llround(w0 / ratio_x));
    p.height = std::max<std::int64_t>(1, std::llround(h0 / ratio_y));
    p.mpp_x = p.mpp_y = target;
  }
  warn_scale(target);
  if (std::min(ratio_x, ratio_y) < 0.25)
    p.warnings.push_back("the slide (" + scale_text(mpp.mean()) + " um/px) is enlarged " +
                         scale_text(mpp.mean() / target) +
                         " times: it holds less detail than the network expects");
  if (p.width < 16 || p.height < 16)
    p.warnings.push_back("at " + scale_text(target) + " um/px the slide is only " + std::to_string(p.width) +
                         " x " + std::to_string(p.height) + " pixels");
  return p;
}

/// Nearest-pixel mapping between one axis of the mask canvas and of the plane, in exact integers. The centre
/// of a mask pixel lies in exactly one plane pixel, and the mapping never decreases.
struct MaskAxis {
  std::int64_t level0 = 1;  ///< pixels of slide level 0
  std::int64_t plane = 1;   ///< pixels of the plane
  std::int64_t d = 1;       ///< level-0 pixels per mask pixel

  std::int64_t size() const { return (level0 + d - 1) / d; }  ///< mask pixels

  /// Plane pixel under mask pixel m.
  std::int64_t plane_of(std::int64_t m) const {
    return std::min(plane - 1, (2 * m + 1) * d * plane / (2 * level0));
  }
  /// First mask pixel whose plane pixel is >= p; size() for p >= plane.
  std::int64_t first_mask(std::int64_t p) const {
    if (p >= plane) return size();
    const std::int64_t odd =
        (2 * level0 * p + d * plane - 1) / (d * plane);  // smallest 2m + 1 that reaches p
    return std::min(size(), odd / 2);
  }
};

}  // namespace microtome
