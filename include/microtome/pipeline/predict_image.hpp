// One image through a network to the labels of its pixels: whole when it is small, patch by patch otherwise.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/parallel.hpp"
#include "label_image.hpp"
#include "memory_plan.hpp"
#include "segment.hpp"
#include "stain_sample.hpp"

namespace microtome {

/// A mask held in memory.
class LabelMemory final : public LabelImage {
 public:
  LabelMemory() = default;
  /// All pixels 0. `path` is what errors name.
  LabelMemory(const std::string& path, std::int64_t width, std::int64_t height)
      : labels_(static_cast<std::size_t>(width * height)) {
    path_ = path;
    width_ = width;
    height_ = height;
  }

  std::uint8_t* row(std::int64_t y) { return labels_.data() + static_cast<std::size_t>(y * width_); }
  const std::uint8_t* row(std::int64_t y) const {
    return labels_.data() + static_cast<std::size_t>(y * width_);
  }
  void read(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
            std::uint8_t* out) override {
    for (std::int64_t j = 0; j < height; ++j)
      std::memcpy(out + j * width, row(y + j) + x, static_cast<std::size_t>(width));
  }

 private:
  std::vector<std::uint8_t> labels_;  // [height][width]
};

/// Fills the right and bottom margins of an image of width x height pixels in a buffer of padded_width x
/// padded_height (interleaved RGB, `stride` bytes per row) by reflection about the last pixel, which is not
/// repeated: what torch.nn.functional.pad(mode="reflect") does. A margin as wide as the image or wider goes
/// on back and forth; a single pixel is repeated.
inline void pad_by_reflection(std::uint8_t* rgb, std::size_t stride, std::int64_t width, std::int64_t height,
                              std::int64_t padded_width, std::int64_t padded_height) {
  const auto mirrored = [](std::int64_t i, std::int64_t size) {
    if (size == 1) return std::int64_t{0};
    i %= 2 * (size - 1);
    return i < size ? i : 2 * (size - 1) - i;
  };
  for (std::int64_t y = 0; y < height; ++y) {
    std::uint8_t* row = rgb + static_cast<std::size_t>(y) * stride;
    for (std::int64_t x = width; x < padded_width; ++x)
      std::memcpy(row + 3 * x, row + 3 * mirrored(x, width), 3);
  }
  for (std::int64_t y = height; y < padded_height; ++y)
    std::memcpy(rgb + static_cast<std::size_t>(y) * stride,
                rgb + static_cast<std::size_t>(mirrored(y, height)) * stride,
                static_cast<std::size_t>(padded_width) * 3);
}

/// `network` with another threshold than its model states, 0..1. Sigmoid: of every class. Softmax over two
/// classes: the second one is the label where its probability reaches `threshold`. Throws UsageError for a
/// softmax over more classes, where no single probability decides, and for a threshold out of range.
inline PatchNetwork with_threshold(PatchNetwork network, double threshold) {
  ModelInfo& info = network.info;
  if (!(threshold >= 0.0 && threshold <= 1.0))
    throw UsageError("--threshold", "a number from 0 to 1 expected");
  if (info.final_layer == FinalLayer::softmax && info.classes == 2) {
    // The last class to reach its threshold wins: the first always does, the second when it should.
    info.final_layer = FinalLayer::sigmoid;
    info.thresholds = {0.0, threshold};
    return network;
  }
  if (info.final_layer != FinalLayer::sigmoid)
    throw UsageError("--threshold", "needs a sigmoid model or a softmax over two classes; " + info.path +
                                        " has a softmax over " + std::to_string(info.classes));
  info.thresholds.assign(static_cast<std::size_t>(info.classes), threshold);
  return network;
}

struct PredictOptions {
  /// Images of at most so many pixels at the model's scale, sides rounded up to multiples of 16, run in one
  /// pass.
  std::int64_t whole_pixels = 1536 * 1536;
  std::uint64_t max_memory = 0;  ///< bytes, for patches and for the mask each; 0: a quarter of the physical
  std::string spill_path = "microtome.spill";  ///< as in SegmentOptions
  StainProfile stain_target;                   ///< as in SegmentOptions; every image is measured by itself
};

/// What ImagePredictor made of an image.
struct Prediction {
  LabelMemory mask;    ///< labels on the image divided by plane.mask_downsample, sizes rounded up
  Plane plane;         ///< the scale the network saw
  bool whole = false;  ///< in one pass
  StainProfile stain;  ///< of the image; method none: not asked for, or not to be fitted (a warning)
  std::vector<std::string> warnings;  ///< one sentence each
};

/// Runs images one after the other, each with all workers of an executor. Belongs to one thread at a time.
///
/// An image without a pixel size, and any image when the model states no scale, runs pixel for pixel;
/// otherwise it is brought to the model's scale as a slide is (choose_plane()). Size alone decides between
/// one pass and patches, so the result depends neither on the executor nor on the memory. A pass over the
/// whole image sees more context than patches do at their seams. Networks that normalise by statistics of
/// what they are shown (zscore_tile) always run in patches: those of a whole image are others.
class ImagePredictor {
 public:
  /// `executor` must outlive the object. Throws InputError when the network does not segment RGB images.
  ImagePredictor(PatchNetwork network, Executor& executor, PredictOptions options = {})
      : network_(std::move(network)),
        executor_(executor),
        options_(std::move(options)),
        rule_(network_.info.final_layer, network_.info.classes, network_.info.thresholds, network_.info.path,
              network_.info.first_is_background()) {
    if (network_.info.input_channels != 3)
      throw InputError(
          network_.info.path, "input channels",
          "images have 3 (RGB), the model takes " + std::to_string(network_.info.input_channels));
    if (options_.max_memory == 0) options_.max_memory = default_memory_budget();
  }

  const PatchNetwork& network() const { return network_; }

  /// The scale at which run() shows the image to the network. Throws UsageError for an impossible one.
  Plane plane(const Slide& image) const {
    return choose_plane(image, {0.0, as_is(image) ? 0 : -1, network_.info.spacing_um_px});
  }

  /// Throws InputError (damaged image, image too large), UsageError (impossible scale), ResourceError (one
  /// pass needs more than half of the physical memory, or a disk is full), Cancelled.
  Prediction run(const Slide& image, const ProgressFn& progress = {}) {
    Prediction p;
    p.plane = plane(image);
    p.warnings = p.plane.warnings;
    const MaskAxis x{image.width(), p.plane.width, p.plane.mask_downsample},
        y{image.height(), p.plane.height, p.plane.mask_downsample};
    if (static_cast<std::uint64_t>(x.size()) > options_.max_memory / static_cast<std::uint64_t>(y.size()))
      throw InputError(image.path(), "image size",
                       "a mask of " + std::to_string(x.size()) + " x " + std::to_string(y.size()) +
                           " pixels does not fit into " + mebibytes(options_.max_memory) +
                           ": run 'segment', then 'evaluate' the masks");
    p.mask = LabelMemory(image.path(), x.size(), y.size());
    p.whole = runs_whole(p.plane);
    if (p.whole)
      run_whole(image, x, y, p, progress);
    else
      run_patches(image, p, progress);
    return p;
  }

 private:
  static std::int64_t padded(std::int64_t size) { return (size + 15) / 16 * 16; }

  bool as_is(const Slide& image) const {
    return !image.pixel_size().known() || network_.info.spacing_um_px <= 0.0;
  }

  bool runs_whole(const Plane& plane) const {
    return network_.info.normalization.kind != Normalization::Kind::zscore_tile &&
           padded(plane.width) <= options_.whole_pixels / padded(plane.height);
  }

  void require_memory(const Slide& image, std::int64_t w, std::int64_t h) const {
    const std::uint64_t half = 2 * default_memory_budget();
    const std::uint64_t planned = network_.run_bytes(w, h, executor_.workers()) + network_.shared_bytes +
                                  image.shared_bytes() +
                                  static_cast<std::uint64_t>(w * h) *
                                      (3 + sizeof(float) * static_cast<std::uint64_t>(network_.info.classes));
    if (planned > half)
      throw ResourceError(image.path(), "",
                          "one pass over the image needs " + mebibytes(planned) +
                              ", more than half of the physical memory (" + mebibytes(half) + ")");
  }

  void run_whole(const Slide& image, const MaskAxis& x, const MaskAxis& y, Prediction& out,
                 const ProgressFn& progress) {
    const Plane& plane = out.plane;
    const std::int64_t w = padded(plane.width), h = padded(plane.height);
    require_memory(image, w, h);
    const std::size_t stride = static_cast<std::size_t>(w) * 3;
    std::vector<std::uint8_t> rgb(stride * static_cast<std::size_t>(h));
    PlaneReader reader(image, plane.level, plane.width, plane.height, BadTile::fail);
    reader.between_blocks([&] { report(progress, "segment", 0, 1); });
    reader.read(0, 0, plane.width, plane.height, rgb.data(), stride);
    make_stain_normalizer(options_.stain_target, image, plane, nullptr, executor_, progress, out.stain,
                          out.warnings)
        .apply(rgb.data(), stride, plane.width, plane.height);
    pad_by_reflection(rgb.data(), stride, plane.width, plane.height, w, h);

    if (!whole_) whole_ = network_.open(&executor_);
    std::vector<float> p(static_cast<std::size_t>(w * h * network_.info.classes));
    whole_(rgb.data(), stride, w, h, p.data());
    report(progress, "segment", 1, 1);  // heeds what came up meanwhile
    if (!std::all_of(p.begin(), p.end(), [](float v) { return std::isfinite(v); }))
      throw InputError(network_.info.path, "", "the network gave a value that is not a number");
    label(p, w, h, x, y, out.mask);
  }

  // Labels of the plane row by row, sampled where the centres of the mask's pixels lie.
  void label(const std::vector<float>& p, std::int64_t w, std::int64_t h, const MaskAxis& x,
             const MaskAxis& y, LabelMemory& mask) const {
    const auto n = static_cast<std::size_t>(x.plane), classes = static_cast<std::size_t>(rule_.classes());
    std::vector<std::uint32_t> sums(n * classes);
    const std::vector<std::uint8_t> counts(n, 1);
    std::vector<std::uint8_t> labels(n);
    std::vector<std::int64_t> column;
    for (std::int64_t m = 0; m < mask.width(); ++m) column.push_back(x.plane_of(m));
    std::int64_t labelled = -1;
    for (std::int64_t m = 0; m < mask.height(); ++m) {
      const std::int64_t row = y.plane_of(m);
      if (row != labelled) {
        for (std::size_t c = 0; c < classes; ++c) {
          const float* from = p.data() + (static_cast<std::int64_t>(c) * h + row) * w;
          for (std::size_t i = 0; i < n; ++i) sums[c * n + i] = fixed_probability(from[i]);
        }
        rule_.apply(sums.data(), counts.data(), n, labels.data());
        labelled = row;
      }
      std::uint8_t* out = mask.row(m);
      for (std::size_t i = 0; i < column.size(); ++i) out[i] = labels[static_cast<std::size_t>(column[i])];
    }
  }

  void run_patches(const Slide& image, Prediction& p, const ProgressFn& progress) {
    whole_ = nullptr;  // its memory is needed now
    SegmentOptions o;
    o.level = as_is(image) ? 0 : -1;
    o.find_tissue = false;
    o.executor = &executor_;
    o.max_memory = options_.max_memory;
    o.spill_path = options_.spill_path;
    o.stain_target = options_.stain_target;
    const SegmentResult r = segment_to_sink(
        image, network_, o,
        [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
          const std::int64_t x = tx * kMaskTile, y = ty * kMaskTile;
          const std::int64_t w = std::min(kMaskTile, p.mask.width() - x),
                             h = std::min(kMaskTile, p.mask.height() - y);
          for (std::int64_t j = 0; j < h; ++j)
            std::memcpy(p.mask.row(y + j) + x, labels + j * kMaskTile, static_cast<std::size_t>(w));
        },
        progress);
    p.stain = r.stain;
    p.warnings = r.warnings;
    if (r.bad_tile_reads > 0)
      throw InputError(image.path(), "", "damaged: a part of the image cannot be read");
  }

  PatchNetwork network_;
  Executor& executor_;
  PredictOptions options_;
  LabelRule rule_;
  PatchFn whole_;  // opened when first needed, kept: its scratch memory is reused
};

}  // namespace microtome
