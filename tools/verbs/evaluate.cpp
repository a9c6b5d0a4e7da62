// microtome evaluate: how well a mask agrees with the truth, or a model with images whose truth is known.
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "args.hpp"
#include "evaluate_report.hpp"
#include "microtome/pipeline/evaluate_images.hpp"
#include "microtome/pipeline/segment_slide.hpp"
#include "outputs.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "stain_option.hpp"
#include "tuning.hpp"

namespace microtome::tools {
namespace {

using nlohmann::json;

// Names of the labels from `{"class_names": [...]}` in a mask's description; empty when it holds none.
std::vector<std::string> class_names(const LabelImage& mask) {
  std::vector<std::string> names;
  const json d = json::parse(mask.description(), nullptr, false);
  if (!d.is_object() || !d.contains("class_names") || !d["class_names"].is_array()) return names;
  for (const json& n : d["class_names"])
    names.push_back(n.is_string() ? n.get<std::string>() : std::string());
  return names;
}

int evaluate_masks(const EvaluateArgs& args) {
  check_outputs({{"--json", args.json}, {"--csv", args.csv}}, {args.prediction, args.truth});
  const auto prediction = open_labels(args.prediction), truth = open_labels(args.truth);
  BlockCounts blocks;
  const Confusion c = compare_masks(*prediction, *truth, &blocks);
  std::vector<std::string> names = class_names(*prediction);
  if (names.empty()) names = class_names(*truth);

  const std::size_t n = blocks.parts().size();
  const std::vector<ClassRow> pooled = pooled_rows(names, [&](int label) {
    std::vector<ClassScore> list;
    for (const LabelCounts& part : blocks.parts()) list.push_back(part.score(label));
    return list;
  });
  print_table(pooled, n > 1);
  if (!args.json.empty()) {
    json report = {{"prediction", args.prediction}, {"truth", args.truth},
                   {"width", prediction->width()},  {"height", prediction->height()},
                   {"pixels", c.total()},           {"pooled", json_rows(pooled, true)}};
    describe_interval(report, "block", n);
    report["ci95_block_pixels"] = blocks.side();
    write_json(args.json, report);
  }
  if (!args.csv.empty()) {
    CsvReport csv;
    csv.add("", pooled);
    csv.write(args.csv);
  }
  return 0;
}

std::string saved_mask(const EvaluateArgs& args, const ImagePair& pair) {
  return without_last_slashes(args.save_masks) + "/" + pair.name + ".png";
}

struct Outcome {
  std::vector<ImageScore> scores;
  json failed = json::array();
  bool saving_failed = false;  // then the images after it have not been run
};

// All images; those that fail are reported on stderr and in `failed`, unless there is but one. A mask that
// cannot be saved ends the run: the disk is full, or not there, for the others too.
Outcome run_images(const EvaluateArgs& args, const std::vector<ImagePair>& pairs, ImagePredictor& predictor) {
  Outcome out;
  PredictionSink save;
  if (!args.save_masks.empty())
    save = [&](const ImagePair& pair, const LabelMemory& mask) {
      out.saving_failed = true;
      PngWriter png(saved_mask(args, pair), mask.width(), mask.height(), 1);
      png.write_rows(mask.row(0), mask.height(), static_cast<std::size_t>(mask.width()));
      png.finish();
      out.saving_failed = false;
    };
  ProgressBar bar("evaluate", args.quiet);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (out.saving_failed) {
      out.failed.push_back({{"image", pairs[i].image}, {"error", "not run"}});
      continue;
    }
    const std::string shown = printable(pairs[i].image);
    constexpr std::uint64_t kSteps = 1000;  // per image, for large ones report patches
    const auto progress = [&](const Progress& p) {
      const bool patches = p.total > 0 && p.stage == std::string("segment");
      bar.update({"images", i * kSteps + (patches ? kSteps * p.done / p.total : 0), pairs.size() * kSteps});
      return interrupted == 0;
    };
    try {
      report(progress, "images", 0, 1);
      out.scores.push_back(evaluate_image(pairs[i], predictor, save, progress));
      bar.update({"images", (i + 1) * kSteps, pairs.size() * kSteps});
      for (const std::string& w : out.scores.back().warnings) {
        bar.end_line();
        std::fprintf(stderr, "microtome: %s: warning: %s\n", shown.c_str(), printable(w).c_str());
      }
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception& e) {
      if (pairs.size() == 1) throw;
      const bool memory = dynamic_cast<const std::bad_alloc*>(&e) != nullptr;
      const std::string why = memory ? shown + ": out of memory" : e.what();
      bar.end_line();
      std::fprintf(stderr, "microtome: %s\n", why.c_str());
      out.failed.push_back({{"image", pairs[i].image}, {"error", why}});
    }
  }
  finish_scores(out.scores);
  return out;
}

int evaluate_model(const EvaluateArgs& args) {
  check_backend(args.backend);
  const std::vector<ImagePair> pairs = match_images(args.images, args.masks);
  std::vector<std::string> inputs = {args.model};
  if (!args.stain.target.empty()) inputs.push_back(args.stain.target);
  for (const ImagePair& p : pairs) inputs.insert(inputs.end(), {p.image, p.mask});
  std::vector<Output> outputs = {{"--json", args.json}, {"--csv", args.csv}};
  for (const ImagePair& p : pairs)
    if (!args.save_masks.empty()) outputs.push_back({"--save-masks", saved_mask(args, p)});
  check_outputs(outputs, inputs, without_last_slashes(args.save_masks));
  if (!args.save_masks.empty()) os::make_directories(args.save_masks);

  const SignalGuard signals;
  const double start = os::now();
  LoadedModel loaded = load_tuned(args.model, 0, !args.no_tune);
  check_precision(args.backend, *loaded.model);
  const char* precision = precision_of(*loaded.model);
  PatchNetwork network = make_patch_network(std::move(loaded.model), std::move(loaded.sha256));
  if (args.threshold) network = with_threshold(std::move(network), *args.threshold);
  DefaultExecutor executor(args.threads > 0 ? args.threads : os::cpu_count());
  PredictOptions options;
  options.stain_target = stain_target(args.stain, network.info.spacing_um_px, args.threads);
  ImagePredictor predictor(std::move(network), executor, options);
  const ModelInfo& model = predictor.network().info;
  Outcome outcome;
  try {
    outcome = run_images(args, pairs, predictor);
  } catch (const Cancelled&) {
    std::fprintf(stderr, "microtome: interrupted\n");
    return 128 + interrupted;
  }
  const std::vector<ImageScore>& scores = outcome.scores;
  const json& failed = outcome.failed;

  std::vector<std::string> names;
  for (const Label& l : make_labels(model)) names.push_back(l.name);
  const std::vector<ClassRow> pooled =
      pooled_rows(names, [&](int label) { return class_scores(scores, label); });
  std::uint64_t pixels = 0;
  for (const ImageScore& s : scores) pixels += s.mask_pixels;
  const double seconds = os::now() - start;
  print_table(pooled, scores.size() > 1);
  if (!args.quiet)
    std::printf("%zu of %zu images, %.3g Mpixel, %.1f s\n", scores.size(), scores.size() + failed.size(),
                1e-6 * static_cast<double>(pixels), seconds);
  if (pooled.size() > names.size())
    std::fprintf(
        stderr,
        "microtome: warning: the masks hold labels that the model does not have (%s and perhaps more): "
        "are they numbers of objects instead of classes, or some masks 0/255 and others 0/1?\n",
        printable(pooled[names.size()].name).c_str());

  json report = {{"model", args.model},
                 {"model_sha256", predictor.network().sha256},
                 {"tuned_layers", json(predictor.network().tuned_layers)},
                 {"precision", precision},
                 {"device", args.backend.device},
                 {"threshold", args.threshold ? json(*args.threshold) : json(nullptr)},
                 {"stain_norm", args.stain.norm},
                 {"stain_target", json_stain(options.stain_target)},
                 {"image_count", scores.size()},
                 {"mask_pixels", pixels},
                 {"seconds", seconds},
                 {"failed", failed},
                 {"pooled", json_rows(pooled, true)},
                 {"images", json::array()}};
  describe_interval(report, "image", scores.size());
  CsvReport csv;
  csv.add("", pooled);
  for (const ImageScore& s : scores) {
    std::vector<ClassRow> rows;
    for (const ClassRow& p : pooled) rows.push_back({p.name, p.label, s.counts.score(p.label), {}});
    csv.add(s.files.image, rows);
    report["images"].push_back({{"image", s.files.image},
                                {"mask", s.files.mask},
                                {"width", s.width},
                                {"height", s.height},
                                {"mask_pixels", s.mask_pixels},
                                {"mpp", s.mpp > 0.0 ? json(s.mpp) : json(nullptr)},
                                {"stain_fitted", json_stain(s.stain)},
                                {"one_pass", s.whole},
                                {"seconds", s.seconds},
                                {"classes", json_rows(rows, false)}});
  }
  if (!args.json.empty()) write_json(args.json, report);
  if (!args.csv.empty()) csv.write(args.csv);
  if (failed.empty()) return 0;
  std::fprintf(stderr, "microtome: %zu of %zu images failed\n", failed.size(), pairs.size());
  return outcome.saving_failed ? static_cast<int>(ErrorKind::resource) : 1;
}

}  // namespace

int run_evaluate(const EvaluateArgs& args) {
  return args.model.empty() ? evaluate_masks(args) : evaluate_model(args);
}

}  // namespace microtome::tools
