// microtome segment: slides in, a folder of results for each out.
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <string>

#include "args.hpp"
#include "microtome/core/text.hpp"
#include "microtome/pipeline/finished.hpp"
#include "microtome/pipeline/plane.hpp"
#include "microtome/pipeline/segment_slide.hpp"
#include "microtome/slide/registry.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "stain_option.hpp"
#include "tuning.hpp"

namespace microtome::tools {
namespace {

// The folder of each slide; two slides must not share one.
std::map<std::string, std::string> result_folders(const SegmentArgs& args) {
  std::map<std::string, std::string> folder_of, taken_by;
  for (const std::string& slide : args.slides) {
    const std::string name = file_stem(slide);
    if (name.empty() || name == "." || name == "..")
      throw UsageError("slides", "'" + slide + "' does not name a file");
    const std::string folder = args.output + "/" + name;
    const auto [other, first] = taken_by.emplace(folder, slide);
    if (!first)
      throw UsageError("slides", "'" + other->second + "' and '" + slide + "' would both write to " + folder);
    folder_of[slide] = folder;
  }
  return folder_of;
}

// Results must not replace what is read.
void refuse_outputs_that_are_inputs(const SegmentArgs& args,
                                    const std::map<std::string, std::string>& folders) {
  std::map<os::FileId, std::string> inputs;
  for (const std::string& slide : args.slides) inputs.emplace(os::file_id(slide), slide);
  inputs.emplace(os::file_id(args.model), args.model);
  if (!args.stain.target.empty()) inputs.emplace(os::file_id(args.stain.target), args.stain.target);
  inputs.erase(os::FileId());  // missing ones
  for (const auto& [slide, folder] : folders)
    for (const char* name : {"/mask.tif", "/overlay.png", "/summary.json"}) {
      const auto input = inputs.find(os::file_id(folder + name));
      if (input != inputs.end())
        throw UsageError("--output",
                         "'" + input->second + "' would be overwritten by the results of '" + slide + "'");
    }
}

void segment_one(const SegmentArgs& args, const std::string& path, const std::string& folder,
                 const PatchNetwork& network, const StainProfile& stain, double load_seconds) {
  const std::string shown = printable(path);
  const double start = os::now();
  const std::unique_ptr<Slide> slide = open_slide(path);
  if (args.slide_mpp > 0.0) slide->set_pixel_size({args.slide_mpp, args.slide_mpp, "--slide-mpp"});
  SegmentOptions options;
  options.mpp = args.mpp;
  options.level = args.level;
  options.patch = args.patch;
  options.stride = args.stride;
  options.find_tissue = args.tissue == "auto";
  options.stain_target = stain;
  options.max_memory = args.max_memory;
  options.threads = args.threads;
  if (!args.overwrite && is_finished(folder, *slide, network, options)) {
    std::printf("%s: finished earlier, left alone (%s); --overwrite runs it again\n", shown.c_str(),
                printable(folder).c_str());
    return;
  }
  const auto warn = [&](const std::string& w) {
    std::fprintf(stderr, "microtome: %s: warning: %s\n", shown.c_str(), printable(w).c_str());
  };
  // What is doubtful about the scale is known before hours of work.
  const Plane plane = choose_plane(*slide, {options.mpp, options.level, network.info.spacing_um_px});
  for (const std::string& w : plane.warnings) warn(w);
  SegmentResult r;
  {
    ProgressBar bar(path, args.quiet);
    const auto progress = [&](const Progress& p) {
      bar.update(p);
      return interrupted == 0;
    };
    r = segment_slide(*slide, network, folder, options, progress, os::now() - start + load_seconds);
  }
  for (std::size_t i = plane.warnings.size(); i < r.warnings.size(); ++i) warn(r.warnings[i]);
  if (args.quiet) return;
  const double megapixels = 1e-6 * static_cast<double>(slide->width()) * static_cast<double>(slide->height());
  std::printf("%s: %s, %lld of %lld patches in %.1f s, %.3g Mpixel/s of the slide, peak memory %s\n",
              shown.c_str(), printable(folder + "/mask.tif").c_str(), static_cast<long long>(r.patches_run),
              static_cast<long long>(r.patches_run + r.patches_skipped), r.seconds.total,
              megapixels / r.seconds.total, mebibytes(os::peak_memory()).c_str());
  const double mm2 = r.mask_mpp_x * r.mask_mpp_y * 1e-6;
  for (std::size_t l = 1; l < r.labels.size(); ++l)
    if (mm2 > 0.0)
      std::printf("  %s: %.4g mm2\n", printable(r.labels[l].name).c_str(),
                  static_cast<double>(r.label_pixels[l]) * mm2);
    else
      std::printf("  %s: %llu mask pixels\n", printable(r.labels[l].name).c_str(),
                  static_cast<unsigned long long>(r.label_pixels[l]));
}

}  // namespace

int run_segment(const SegmentArgs& args) {
  check_backend(args.backend);
  if (args.tissue != "auto" && args.tissue != "none") throw UsageError("--tissue", "auto or none expected");
  if (args.output.empty()) throw UsageError("--output", "is empty: the name of a directory expected");
  const std::map<std::string, std::string> folders = result_folders(args);
  refuse_outputs_that_are_inputs(args, folders);
  const SignalGuard signals;
  const double start = os::now();
  LoadedModel loaded = load_tuned(args.model, args.patch, !args.no_tune);
  check_precision(args.backend, *loaded.model);
  const PatchNetwork network = make_patch_network(std::move(loaded.model), std::move(loaded.sha256));
  const StainProfile stain =
      stain_target(args.stain, args.mpp > 0.0 ? args.mpp : network.info.spacing_um_px, args.threads);
  const double load_seconds = os::now() - start;

  int failed = 0;
  for (const std::string& slide : args.slides) {
    const std::string& folder = folders.at(slide);
    try {
      segment_one(args, slide, folder, network, stain, load_seconds);
    } catch (const Cancelled&) {
      std::fprintf(stderr, "microtome: %s: interrupted\n", printable(slide).c_str());
      return 128 + interrupted;
    } catch (const std::exception& e) {
      if (args.slides.size() == 1) throw;
      const bool memory = dynamic_cast<const std::bad_alloc*>(&e) != nullptr;
      std::fprintf(stderr, "microtome: %s\n",
                   memory ? (printable(slide) + ": out of memory").c_str() : e.what());
      ++failed;
    }
  }
  if (failed > 0) std::fprintf(stderr, "microtome: %d of %zu slides failed\n", failed, args.slides.size());
  return failed > 0 ? 1 : 0;
}

}  // namespace microtome::tools
