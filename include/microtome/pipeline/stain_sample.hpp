// Which pixels of a slide are measured for stain normalisation: few, spread over the tissue, always the same.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/parallel.hpp"
#include "../core/text.hpp"
#include "../slide/slide.hpp"
#include "plane.hpp"
#include "progress.hpp"
#include "resample.hpp"
#include "stain.hpp"
#include "tissue.hpp"

namespace microtome {

/// Interleaved RGB pixels of the plane. All of them when it has at most 2^20; otherwise every second one, in
/// both directions, of at most 256 squares of 128 x 128 pixels that are evenly spaced among those on tissue
/// (`tissue` null: among all): 3 MB, from a few hundred reads, however large the slide. Does not depend on
/// `executor`. Throws Cancelled.
inline std::vector<std::uint8_t> sample_stain(const Slide& slide, const Plane& plane,
                                              const TissueMask* tissue, Executor& executor,
                                              const ProgressFn& progress = {}) {
  constexpr std::int64_t kSide = 128, kStep = 2, kSquares = 256;
  constexpr std::size_t kBytes = 3 * (kSide / kStep) * (kSide / kStep);
  const auto open = [&] {
    return std::make_unique<PlaneReader>(slide, plane.level, plane.width, plane.height, BadTile::fill);
  };
  if (plane.width <= static_cast<std::int64_t>(detail::kMaxStainPixels) / plane.height) {
    const std::size_t row = static_cast<std::size_t>(plane.width) * 3;
    std::vector<std::uint8_t> rgb(row * static_cast<std::size_t>(plane.height));
    open()->read(0, 0, plane.width, plane.height, rgb.data(), row);
    return rgb;
  }

  const std::int64_t columns = (plane.width + kSide - 1) / kSide, rows = (plane.height + kSide - 1) / kSide;
  const auto each_candidate = [&](const auto& visit) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        if (!tissue || tissue->touches(c * kSide, r * kSide, kSide, kSide, plane.width, plane.height))
          visit(c * kSide, r * kSide);
  };
  std::int64_t candidates = 0, at = 0;
  each_candidate([&](std::int64_t, std::int64_t) { ++candidates; });
  std::vector<std::pair<std::int64_t, std::int64_t>> squares;
  const std::int64_t wanted = std::min(kSquares, candidates);
  each_candidate([&](std::int64_t x, std::int64_t y) {  // square i is candidate i * candidates / wanted
    if (at++ == static_cast<std::int64_t>(squares.size()) * candidates / wanted) squares.emplace_back(x, y);
  });

  std::vector<std::uint8_t> sample(kBytes * squares.size());
  std::vector<std::unique_ptr<PlaneReader>> readers(static_cast<std::size_t>(executor.workers()));
  std::uint64_t done = 0;
  std::mutex guard;
  parallel_for(executor, static_cast<int>(squares.size()), [&](int i, int worker) {
    auto& reader = readers[static_cast<std::size_t>(worker)];
    if (!reader) reader = open();
    std::vector<std::uint8_t> rgb(3 * kSide * kSide);
    const auto [x, y] = squares[static_cast<std::size_t>(i)];
    reader->read(x, y, kSide, kSide, rgb.data(), 3 * kSide);
    std::uint8_t* to = sample.data() + kBytes * static_cast<std::size_t>(i);
    for (std::int64_t v = 0; v < kSide; v += kStep)
      for (std::int64_t u = 0; u < kSide; u += kStep, to += 3)
        std::copy_n(rgb.data() + 3 * (v * kSide + u), 3, to);
    const std::lock_guard<std::mutex> lock(guard);
    report(progress, "stain", ++done, squares.size());
  });
  return sample;
}

/// Measures the plane by its sample.
inline StainFit fit_plane_stain(StainMethod method, const Slide& slide, const Plane& plane,
                                const TissueMask* tissue, Executor& executor,
                                const ProgressFn& progress = {}) {
  const std::vector<std::uint8_t> rgb = sample_stain(slide, plane, tissue, executor, progress);
  return fit_stain(method, rgb.data(), rgb.size() / 3);
}

/// What gives pixels of the plane the colours of `target`: fits the plane and stores its profile in `fitted`,
/// or adds the reason why not to `warnings` and changes nothing. Method none: nothing is read.
inline StainNormalizer make_stain_normalizer(const StainProfile& target, const Slide& slide,
                                             const Plane& plane, const TissueMask* tissue, Executor& executor,
                                             const ProgressFn& progress, StainProfile& fitted,
                                             std::vector<std::string>& warnings) {
  if (target.method == StainMethod::none) return {};
  const StainFit fit = fit_plane_stain(target.method, slide, plane, tissue, executor, progress);
  if (!fit.ok()) {
    warnings.push_back("the stain is not normalised: " + fit.failure);
    return {};
  }
  fitted = fit.profile;
  return StainNormalizer(fit.profile, target);
}

/// Measures a whole slide or image at `mpp` um per pixel, or on its level 0 when either scale is unknown: a
/// target for others. Throws InputError when it cannot be fitted, UsageError for an impossible scale.
inline StainProfile stain_of_slide(StainMethod method, const Slide& slide, double mpp, Executor& executor,
                                   const ProgressFn& progress = {}) {
  Plane plane;
  plane.width = slide.width();
  plane.height = slide.height();
  if (mpp > 0.0 && slide.pixel_size().known()) plane = choose_plane(slide, {mpp, -1, mpp});
  const TissueMask tissue = TissueMask::detect(slide, executor, progress);
  StainFit fit = fit_plane_stain(method, slide, plane, &tissue, executor, progress);
  if (!fit.ok()) throw InputError(slide.path(), "stain", fit.failure);
  fit.profile.origin = file_name(slide.path());
  return fit.profile;
}

}  // namespace microtome
