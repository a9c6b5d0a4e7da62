// From a slide and a network to the labels of a mask: scale, tissue, patches, threads, memory, stitching.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../core/os.hpp"
#include "../core/parallel.hpp"
#include "../slide/slide.hpp"
#include "grid.hpp"
#include "labels.hpp"
#include "memory_plan.hpp"
#include "network.hpp"
#include "plane.hpp"
#include "progress.hpp"
#include "resample.hpp"
#include "stain_sample.hpp"
#include "stitch.hpp"
#include "tissue.hpp"

namespace microtome {

/// How to segment. The result depends on the first block only, never on the second.
struct SegmentOptions {
  double mpp = 0.0;           ///< run at this scale, um/px; 0: the model's
  int level = -1;             ///< run on this slide level as it is; -1: chosen by scale
  std::int64_t patch = 0;     ///< pixels at that scale; 0: the model's
  std::int64_t stride = 0;    ///< pixels; 0: the model's, or in its proportion when `patch` is given
  bool find_tissue = true;    ///< run only patches that touch tissue; false: all
  StainProfile stain_target;  ///< the network sees the slide in these colours; method none: in its own

  std::uint64_t max_memory = 0;  ///< bytes; 0: a quarter of the physical memory
  int threads = 0;               ///< 0: all CPUs this process may use
  Executor* executor =
      nullptr;  ///< where loops run instead (`threads` is then ignored); must outlive the call
  std::string spill_path = "microtome.spill";  ///< a temporary file is made beside it when memory is short
};

/// Seconds of work per stage, summed over threads; `total` is by the clock.
struct StageSeconds {
  double open = 0, tissue = 0, read = 0, stain = 0, infer = 0, stitch = 0, write = 0, overlay = 0, total = 0;
};

/// What was done; summary.hpp writes it down.
struct SegmentResult {
  Plane plane;
  std::int64_t mask_width = 0, mask_height = 0;  ///< pixels
  double mask_mpp_x = 0.0, mask_mpp_y = 0.0;     ///< um per mask pixel, 0: unknown
  std::vector<Label> labels;
  std::vector<std::uint64_t> label_pixels;  ///< mask pixels per label
  std::int64_t patch = 0, stride = 0;       ///< pixels of the plane
  std::int64_t patches_run = 0, patches_skipped = 0;
  double tissue_fraction = -1.0;  ///< share of the slide, -1: not looked for
  int tissue_threshold = -1;
  StainProfile stain_target;  ///< as asked for
  StainProfile stain;         ///< of the slide; method none: not asked for, or not to be fitted (a warning)
  std::uint64_t bad_tile_reads = 0;  ///< reads of damaged tiles, shown to the network as white
  MemoryPlan memory;
  int threads = 1;
  std::uint64_t spills = 0;  ///< accumulators written to disk for want of memory
  StageSeconds seconds;
  std::vector<std::string> warnings;
};

namespace detail {

/// What runs where: the geometry of one segmentation.
struct PatchJob {
  const Slide& slide;
  const PatchNetwork& network;
  Plane plane;
  PatchGrid grid;
  MaskAxis x, y;
  std::vector<bool> chosen;  // one bit per patch, row-major: whether it runs
  StainNormalizer stain;

  bool runs(std::int64_t column, std::int64_t row) const {
    return chosen[static_cast<std::size_t>(row * grid.columns() + column)];
  }
};

/// Throws UsageError (see PatchGrid), and InputError for more patches than any real slide has: one bit per
/// patch is held, and a wrong pixel size must not decide how many.
inline PatchGrid choose_grid(const Slide& slide, const Plane& plane, const SegmentOptions& o,
                             const ModelInfo& model) {
  constexpr std::int64_t kMaxPatches = std::int64_t{1} << 28;
  const std::int64_t patch = o.patch > 0 ? o.patch : model.patch_size;
  std::int64_t stride = o.stride > 0 ? o.stride : model.stride;
  if (o.stride <= 0 && patch != model.patch_size && model.patch_size > 0)
    stride = std::max<std::int64_t>(1, patch * model.stride / model.patch_size);
  const PatchGrid grid(plane.width, plane.height, patch, stride);
  if (grid.columns() > kMaxPatches / grid.rows())
    throw InputError(slide.path(), "mpp",
                     "a plane of " + std::to_string(plane.width) + " x " + std::to_string(plane.height) +
                         " pixels is out of range: is a pixel size of " +
                         scale_text(slide.pixel_size().mean()) + " um/px right?");
  return grid;
}

inline std::vector<bool> choose_patches(const PatchGrid& grid, const TissueMask* tissue) {
  std::vector<bool> chosen(static_cast<std::size_t>(grid.count()), true);
  if (tissue)
    for (std::int64_t r = 0, i = 0; r < grid.rows(); ++r)
      for (std::int64_t c = 0; c < grid.columns(); ++c, ++i)
        chosen[static_cast<std::size_t>(i)] = tissue->touches(
            grid.x().start(c), grid.y().start(r), grid.patch(), grid.patch(), grid.x().size, grid.y().size);
  return chosen;
}

inline MemoryNeeds memory_needs(const PatchJob& job, std::uint64_t tissue_bytes, int threads) {
  constexpr std::uint64_t kProgram = 48u << 20;  // code, libraries, file index
  constexpr std::uint64_t kWorker = 8u << 20;    // decoder, stack, mask tile being compressed
  const std::int64_t side = job.grid.patch();
  const auto area = static_cast<std::uint64_t>(side * side);
  const auto classes = static_cast<std::uint64_t>(job.network.info.classes);
  MemoryNeeds n;
  n.threads = threads;
  for (const bool run : job.chosen) n.patches += run;
  n.mask_tiles_across = (job.x.size() + kMaskTile - 1) / kMaskTile;
  n.mask_tiles_down = (job.y.size() + kMaskTile - 1) / kMaskTile;
  n.tile_rows_per_patch = job.y.first_mask(side) / kMaskTile + 2;
  n.per_block = Stitcher::accumulator_bytes(job.network.info.classes);
  n.per_session = job.network.run_bytes(side, side, 1) + area * (3 + 4 * classes) +
                  PlaneReader::kScratchBytes + job.slide.reader_bytes() + kWorker;
  n.inner_extra = job.network.run_bytes(side, side, threads) - job.network.run_bytes(side, side, 1);
  n.fixed = kProgram + job.network.shared_bytes + job.slide.shared_bytes() + tissue_bytes +
            job.chosen.size() / 8 + 24 * static_cast<std::uint64_t>(n.mask_tiles_across * n.mask_tiles_down);
  return n;
}

/// Columns of patches in a band of the traversal that is `tiles` mask tiles wide.
inline std::int64_t band_columns(const PatchJob& job, std::int64_t tiles) {
  if (tiles * kMaskTile >= job.x.size()) return job.grid.columns();
  const std::int64_t end =
      std::min(job.plane.width, job.x.plane_of(tiles * kMaskTile));  // plane pixels under the band
  return end <= job.grid.patch() ? 1 : (end - job.grid.patch()) / job.grid.x().stride + 1;
}

/// Runs the chosen patches and adds them to `stitcher`; fills the times and counts of `result`.
inline void run_patches(const PatchJob& job, Stitcher& stitcher, Executor& executor,
                        const ProgressFn& progress, SegmentResult& result) {
  const std::int64_t side = job.grid.patch();
  const std::size_t rgb_stride = static_cast<std::size_t>(side) * 3;
  const BandOrder order(job.grid.columns(), job.grid.rows(), band_columns(job, result.memory.band_tiles));
  const auto total = static_cast<std::uint64_t>(result.patches_run);
  std::uint64_t done = 0;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex guard;

  const auto work = [&](Executor* inner) {
    PlaneReader reader(job.slide, job.plane.level, job.plane.width, job.plane.height, BadTile::fill);
    reader.between_blocks([&] {
      const std::lock_guard<std::mutex> lock(guard);
      report(progress, "segment", done, total);
    });
    const PatchFn network = job.network.open(inner);
    std::vector<std::uint8_t> rgb(rgb_stride * static_cast<std::size_t>(side));
    std::vector<float> probabilities(static_cast<std::size_t>(side * side * job.network.info.classes));
    StageSeconds spent;
    while (!stop) {
      const std::int64_t i = next.fetch_add(1);
      if (i >= job.grid.count()) break;
      const BandOrder::Cell at = order.cell(i);
      if (!job.runs(at.column, at.row)) continue;
      const double t0 = os::now();
      reader.read(job.grid.x().start(at.column), job.grid.y().start(at.row), side, side, rgb.data(),
                  rgb_stride);
      const double t1 = os::now();
      job.stain.apply(rgb.data(), rgb_stride, side, side);
      const double t2 = os::now();
      network(rgb.data(), rgb_stride, side, side, probabilities.data());
      const double t3 = os::now();
      if (!std::all_of(probabilities.begin(), probabilities.end(), [](float p) { return std::isfinite(p); }))
        throw InputError(job.network.info.path, "", "the network gave a value that is not a number");
      stitcher.add(at.column, at.row, probabilities.data());
      spent.read += t1 - t0;
      spent.stain += t2 - t1;
      spent.infer += t3 - t2;
      spent.stitch += os::now() - t3;
      const std::lock_guard<std::mutex> lock(guard);
      report(progress, "segment", ++done, total);
    }
    const std::lock_guard<std::mutex> lock(guard);
    result.seconds.read += spent.read;
    result.seconds.stain += spent.stain;
    result.seconds.infer += spent.infer;
    result.seconds.stitch += spent.stitch;
    result.bad_tile_reads += reader.bad_tiles();
  };

  report(progress, "segment", 0, total);
  if (total == 0) return;
  if (result.memory.sessions == 1) return work(result.memory.inner_threads ? &executor : nullptr);
  parallel_for(executor, result.memory.sessions, [&](int, int) {
    try {
      work(nullptr);
    } catch (...) {
      stop = true;  // the others end after their patch
      throw;
    }
  });
}

}  // namespace detail

/// Segments `slide` and delivers the finished mask tiles to `sink` (see TileSink; untouched tiles are label
/// 0). The mask has the same bytes for any number of threads, executor and memory budget. Throws InputError,
/// UsageError, ResourceError, Cancelled.
inline SegmentResult segment_to_sink(const Slide& slide, const PatchNetwork& network,
                                     const SegmentOptions& options, const TileSink& sink,
                                     const ProgressFn& progress = {}) {
  const double start = os::now();
  const ModelInfo& model = network.info;
  if (model.input_channels != 3)
    throw InputError(model.path, "input channels",
                     "slides have 3 (RGB), the model takes " + std::to_string(model.input_channels));
  const LabelRule rule(model.final_layer, model.classes, model.thresholds, model.path,
                       model.first_is_background());
  const Plane plane = choose_plane(slide, {options.mpp, options.level, model.spacing_um_px});
  const std::int64_t d = plane.mask_downsample;
  detail::PatchJob job{slide,
                       network,
                       plane,
                       detail::choose_grid(slide, plane, options, model),
                       {slide.width(), plane.width, d},
                       {slide.height(), plane.height, d},
                       {},
                       {}};
  DefaultExecutor own(options.threads > 0 ? options.threads : os::cpu_count());
  Executor& executor = options.executor ? *options.executor : own;

  SegmentResult result;
  result.plane = plane;
  result.warnings = plane.warnings;
  result.labels = make_labels(model);
  result.mask_width = job.x.size();
  result.mask_height = job.y.size();
  result.mask_mpp_x = slide.pixel_size().x * static_cast<double>(d);
  result.mask_mpp_y = slide.pixel_size().y * static_cast<double>(d);
  result.patch = job.grid.patch();
  result.stride = job.grid.x().stride;
  result.threads = executor.workers();

  TissueMask tissue;
  if (options.find_tissue) {
    tissue = TissueMask::detect(slide, executor, progress);
    result.seconds.tissue = os::now() - start;
    result.tissue_fraction = tissue.fraction();
    result.tissue_threshold = tissue.threshold();
    result.bad_tile_reads = tissue.bad_tiles();
    if (tissue.fraction() == 0.0 && tissue.bad_tiles() > 0)
      throw InputError(slide.path(), "", "damaged: no tissue in the part that can be read");
    if (tissue.fraction() < 0.001)
      result.warnings.push_back("almost no tissue was found; if there is some, use --tissue none");
  }
  const TissueMask* found = options.find_tissue ? &tissue : nullptr;
  if (options.stain_target.method != StainMethod::none) {
    const double begin = os::now();
    result.stain_target = options.stain_target;
    job.stain = make_stain_normalizer(options.stain_target, slide, plane, found, executor, progress,
                                      result.stain, result.warnings);
    result.seconds.stain = os::now() - begin;
  }
  job.chosen = detail::choose_patches(job.grid, found);
  for (const bool run : job.chosen) ++(run ? result.patches_run : result.patches_skipped);
  result.memory =
      plan_memory(detail::memory_needs(job, tissue.pixels().size(), result.threads), options.max_memory);

  std::atomic<std::int64_t> sink_ns{0};
  Stitcher stitcher(job.grid, job.x, job.y, rule, static_cast<std::size_t>(result.memory.blocks),
                    options.spill_path, [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
                      const double begin = os::now();
                      sink(tx, ty, labels);
                      sink_ns += static_cast<std::int64_t>((os::now() - begin) * 1e9);
                    });
  for (std::int64_t r = 0; r < job.grid.rows(); ++r)
    for (std::int64_t c = 0; c < job.grid.columns(); ++c)
      if (job.runs(c, r)) stitcher.expect(c, r);
  detail::run_patches(job, stitcher, executor, progress, result);

  result.seconds.write = 1e-9 * static_cast<double>(sink_ns.load());
  result.seconds.stitch -= result.seconds.write;
  result.spills = stitcher.spills();
  auto background =
      static_cast<std::uint64_t>(result.mask_width) * static_cast<std::uint64_t>(result.mask_height);
  for (int l = 0; l < rule.labels(); ++l) {
    result.label_pixels.push_back(stitcher.pixels(l));
    if (l > 0) background -= stitcher.pixels(l);
  }
  result.label_pixels[0] = background;
  if (result.bad_tile_reads > 0)
    result.warnings.push_back("damaged tiles were read as white, " + std::to_string(result.bad_tile_reads) +
                              " times");
  result.seconds.total = os::now() - start;
  return result;
}

}  // namespace microtome
