// One slide to its folder of results: mask.tif, overlay.png, summary.json.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "../core/os.hpp"
#include "../core/sha256.hpp"
#include "../models/model.hpp"
#include "network.hpp"
#include "overlay.hpp"
#include "pyramid_writer.hpp"
#include "segment.hpp"
#include "summary.hpp"

namespace microtome {

/// The model as segment_slide() runs it. `sha256`: the digest of the weights file; empty: it is computed.
inline PatchNetwork make_patch_network(std::shared_ptr<const Model> model, std::string sha256 = "") {
  PatchNetwork n;
  n.info = model->info();
  n.sha256 = sha256.empty() ? sha256_of_file(n.info.path) : std::move(sha256);
  n.shared_bytes = model->weight_bytes();
  for (const auto& [layer, algorithm] : model->tuned_layers()) n.tuned_layers[layer] = to_string(algorithm);
  n.run_bytes = [model](std::int64_t w, std::int64_t h, int workers) {
    return Session::planned_bytes(*model, w, h, workers);
  };
  n.open = [model](Executor* executor) -> PatchFn {
    auto session = std::make_shared<Session>(model, executor);
    return [session](const std::uint8_t* rgb, std::size_t row_stride, std::int64_t w, std::int64_t h,
                     float* out) { session->run(rgb, row_stride, w, h, out); };
  };
  return n;
}

/// Segments `slide` into `folder` (created): mask.tif, overlay.png and, last, summary.json. Files appear
/// complete or not at all, those of an earlier run stay until new ones are ready, and a folder that this call
/// made is removed if it stays empty. `open_seconds` is the time the caller spent opening slide and model,
/// for the report. Throws InputError, UsageError, ResourceError (another run is writing to the folder, among
/// others), Cancelled.
inline SegmentResult segment_slide(const Slide& slide, const PatchNetwork& network, const std::string& folder,
                                   SegmentOptions options = {}, const ProgressFn& progress = {},
                                   double open_seconds = 0.0) {
  const double start = os::now();
  const ModelInfo& model = network.info;
  const Plane plane = choose_plane(slide, {options.mpp, options.level, model.spacing_um_px});
  detail::choose_grid(slide, plane, options, model);  // refuses before anything is written or allocated
  const bool made = os::make_directories(folder);
  const os::FolderLock lock(folder);
  struct Tidy {  // after the files are closed, before the lock is released
    const std::string& folder;
    bool made;
    ~Tidy() {
      if (made) os::remove_empty_directory(folder);
    }
  } const tidy{folder, made};
  options.spill_path = folder + "/.spill";

  DefaultExecutor own(options.threads > 0 ? options.threads : os::cpu_count());
  Executor& executor = options.executor ? *options.executor : own;

  MaskPyramidOptions mask;
  mask.width = MaskAxis{slide.width(), plane.width, plane.mask_downsample}.size();
  mask.height = MaskAxis{slide.height(), plane.height, plane.mask_downsample}.size();
  mask.tile = kMaskTile;
  mask.mpp_x = slide.pixel_size().x * static_cast<double>(plane.mask_downsample);
  mask.mpp_y = slide.pixel_size().y * static_cast<double>(plane.mask_downsample);
  std::vector<std::string> names;
  for (const Label& l : make_labels(model)) {
    names.push_back(l.name);
    mask.colors.push_back(l.color);
  }
  mask.description = describe_classes(names);
  mask.software = "microtome " MICROTOME_VERSION;
  MaskPyramidWriter writer(folder + "/mask.tif", mask);
  SegmentResult result = segment_to_sink(
      slide, network, options,
      [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
        writer.write_tile(tx, ty, labels);
      },
      progress);
  const double finish = os::now();
  os::remove_file(folder + "/summary.json");  // no longer true once mask.tif is replaced
  writer.finish(&executor);
  const double drawing = os::now();
  result.seconds.write += drawing - finish;
  write_overlay(folder + "/overlay.png", slide, folder + "/mask.tif", mask.colors, &executor, progress);
  result.seconds.overlay = os::now() - drawing;

  result.seconds.open = open_seconds;
  result.seconds.total = os::now() - start + open_seconds;
  const std::string text = summary_json(slide, network, result, active_isa(), os::peak_memory());
  os::write_file_atomically(folder + "/summary.json", text.data(), text.size());
  return result;
}

}  // namespace microtome
