// Shows a network images so that its ranges become known: which parts of which images, and the run.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../models/calibration.hpp"
#include "../models/model.hpp"
#include "../models/quantize.hpp"
#include "../slide/registry.hpp"
#include "grid.hpp"
#include "predict_image.hpp"
#include "resample.hpp"
#include "tissue.hpp"

namespace microtome {

struct CalibrateOptions {
  std::int64_t patches = 64;  ///< to run in all
};

/// What calibrate() has seen.
struct CalibrationRun {
  Calibration seen;
  std::uint64_t images = 0, patches = 0, pixels = 0;
};

namespace detail {

/// Corners of `wanted` patches that are evenly spaced among those of a plane that touch tissue; among all
/// where none does.
inline std::vector<std::pair<std::int64_t, std::int64_t>> calibration_patches(const Slide& image,
                                                                              const PatchGrid& grid,
                                                                              std::int64_t wanted,
                                                                              Executor& executor,
                                                                              const ProgressFn& progress) {
  std::vector<std::pair<std::int64_t, std::int64_t>> chosen;
  if (grid.count() == 1) return {{0, 0}};
  const TissueMask tissue = TissueMask::detect(image, executor, progress);
  const auto each = [&](bool all, const auto& visit) {
    for (std::int64_t r = 0; r < grid.rows(); ++r)
      for (std::int64_t c = 0; c < grid.columns(); ++c) {
        const std::int64_t x = grid.x().start(c), y = grid.y().start(r);
        if (all || tissue.touches(x, y, grid.patch(), grid.patch(), grid.x().size, grid.y().size))
          visit(x, y);
      }
  };
  std::int64_t candidates = 0, at = 0;
  each(false, [&](std::int64_t, std::int64_t) { ++candidates; });
  const bool all = candidates == 0;
  if (all) candidates = grid.count();
  const std::int64_t n = std::min(wanted, candidates);
  each(all, [&](std::int64_t x, std::int64_t y) {  // patch i is candidate (i + 1/2) * candidates / n
    const auto i = static_cast<std::int64_t>(chosen.size());
    if (i < n && at++ == (2 * i + 1) * candidates / (2 * n)) chosen.emplace_back(x, y);
  });
  return chosen;
}

}  // namespace detail

/// Runs `options.patches` patches of `images` (slides or plain images) through the network, the same number
/// of each as far as it goes; of more images than that, evenly spaced ones. An image smaller than a patch
/// runs whole, its sides rounded up to multiples of 16 by reflection. Images are brought to the network's
/// scale as ImagePredictor does. The choice depends on the files alone. Throws InputError (a damaged image; a
/// network that does not take RGB or that require_quantizable() refuses), UsageError (impossible scale),
/// ResourceError, Cancelled.
inline CalibrationRun calibrate(const std::shared_ptr<const Model>& model,
                                const std::vector<std::string>& images, const CalibrateOptions& options,
                                Executor& executor, const ProgressFn& progress = {}) {
  const ModelInfo& info = model->info();
  require_quantizable(info);
  if (info.input_channels != 3)
    throw InputError(info.path, "input channels",
                     "images have 3 (RGB), the model takes " + std::to_string(info.input_channels));
  constexpr std::int64_t kLargestPatch = 1024;
  const std::int64_t patch = std::min(info.patch_size, kLargestPatch);
  const auto total = static_cast<std::int64_t>(images.size()), used = std::min(total, options.patches);
  CalibrationRun run{Calibration(model->network().convs().size())};
  Session session(model, &executor);
  session.observe(&run.seen);
  std::vector<std::uint8_t> rgb;
  std::vector<float> probabilities;
  std::int64_t done = 0, planned = 0;
  for (std::int64_t i = 0; i < used; ++i) {
    const auto image = open_slide(images[static_cast<std::size_t>(i * total / used)]);
    const bool as_is = !image->pixel_size().known() || info.spacing_um_px <= 0.0;
    const Plane plane = choose_plane(*image, {0.0, as_is ? 0 : -1, info.spacing_um_px});
    const PatchGrid grid(plane.width, plane.height, patch, patch);
    const std::int64_t share = options.patches / used + (i < options.patches % used ? 1 : 0);
    PlaneReader reader(*image, plane.level, plane.width, plane.height, BadTile::fail);
    ++run.images;
    for (const auto& [x, y] : detail::calibration_patches(*image, grid, share, executor, progress)) {
      const std::int64_t inner_w = std::min(patch, plane.width), inner_h = std::min(patch, plane.height);
      const std::int64_t w = (inner_w + 15) / 16 * 16, h = (inner_h + 15) / 16 * 16;
      const std::size_t stride = static_cast<std::size_t>(w) * 3;
      rgb.resize(stride * static_cast<std::size_t>(h));
      probabilities.resize(static_cast<std::size_t>(w * h * info.classes));
      reader.read(x, y, inner_w, inner_h, rgb.data(), stride);
      pad_by_reflection(rgb.data(), stride, inner_w, inner_h, w, h);
      session.run(rgb.data(), stride, w, h, probabilities.data());
      ++run.patches;
      report(progress, "calibrate", static_cast<std::uint64_t>(++done),
             static_cast<std::uint64_t>(options.patches));
      run.pixels += static_cast<std::uint64_t>(w * h);
    }
    done = planned += share;  // an image may have had fewer patches than its share
    report(progress, "calibrate", static_cast<std::uint64_t>(done),
           static_cast<std::uint64_t>(options.patches));
  }
  return run;
}

}  // namespace microtome
