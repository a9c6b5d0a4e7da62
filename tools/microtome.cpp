// Command line of microtome: parses flags, calls one verb, turns exceptions into one line and an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>

#include "args.hpp"
#include "microtome/core/error.hpp"
#include "microtome/version.hpp"

namespace {

using namespace microtome::tools;

void add_threads(CLI::App* verb, CommonArgs& a) {
  verb->add_option("-j,--threads", a.threads, "threads (default: all CPUs this process may use)")
      ->check(CLI::Range(0, 1024));
  verb->add_flag("-q,--quiet", a.quiet, "no progress");
}

void add_tuning(CLI::App* verb, TuningArgs& a) {
  verb->add_flag("--no-tune", a.no_tune, "ignore what 'microtome tune' found");
}

void add_stain(CLI::App* verb, StainArgs& a) {
  verb->add_option(
          "--stain-norm", a.norm,
          "stain normalisation: none, macenko or reinhard; measure first, it can do harm (default: none)")
      ->check(CLI::IsMember({"none", "macenko", "reinhard"}));
  verb->add_option("--stain-target", a.target,
                   "slide or image whose colours it aims at (default: reference values)");
}

// CLI::PositiveNumber lets NaN and infinity pass.
const CLI::Validator positive(
    [](std::string& text) {
      double v = 0.0;
      return CLI::detail::lexical_cast(text, v) && v > 0.0 && v < 1e12
                 ? std::string()
                 : "'" + text + "' is not a positive number";
    },
    "POSITIVE");

// CLI::Range lets NaN pass.
CLI::Validator between(double low, double high) {
  std::string range = CLI::detail::to_string(low) + " to " + CLI::detail::to_string(high);
  const auto check = [=](std::string& text) {
    double v = 0.0;
    return CLI::detail::lexical_cast(text, v) && v >= low && v <= high ? std::string()
                                                                       : "'" + text + "' is not in " + range;
  };
  return {check, "in " + range};
}

// Bytes with an optional suffix: "512M", "2G".
std::uint64_t parse_bytes(const std::string& text) {
  std::size_t used = 0;
  double value = -1.0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  const std::string unit = used < text.size() ? text.substr(used) : "";
  double scale = 0.0;
  if (unit.empty()) scale = 1.0;
  if (unit == "K" || unit == "KiB") scale = 1024.0;
  if (unit == "M" || unit == "MiB") scale = 1048576.0;
  if (unit == "G" || unit == "GiB") scale = 1073741824.0;
  if (!(value > 0.0) || !(value * scale < 1e18) || scale == 0.0)
    throw microtome::UsageError("--max-memory", "'" + text + "' is not a size such as 512M or 2G");
  return static_cast<std::uint64_t>(value * scale);
}

int run(int argc, char** argv) {
  CLI::App app{
      "Segments whole-slide images with a residual UNet on an ordinary CPU.\n"
      "Not a medical device: for research use."};
  app.name("microtome");
  app.set_version_flag("--version", "microtome " MICROTOME_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  app.footer(
      "Exit codes: 0 done, 1 some inputs failed, 2 usage, 3 bad input, 4 resources, 130/143 interrupted.\n"
      "MICROTOME_ISA=baseline|avx2|avxvnni|avx512bw|avx512vnni forces the instruction set\n"
      "(an unavailable one is an error).\n"
      "'microtome VERB --help' shows the options and examples of a verb.");
  int code = 0;

  SegmentArgs segment;
  std::string memory;
  auto* s = app.add_subcommand("segment", "segment slides: mask.tif, overlay.png, summary.json per slide");
  s->add_option("slides", segment.slides, "slides or images")->required();
  s->add_option("-m,--model", segment.model, "weights (safetensors)")->required();
  s->add_option("-o,--output", segment.output, "directory; results go to DIR/<slide stem>/")->required();
  s->add_option("--mpp", segment.mpp, "run at this scale, um/px (default: the model's)")->check(positive);
  s->add_option("--level", segment.level, "run on this level as it is, whatever its scale")
      ->check(CLI::Range(0, 4095))
      ->excludes("--mpp");
  s->add_option("--slide-mpp", segment.slide_mpp,
                "um/px of the slide's level 0, when it states none or a wrong one")
      ->check(positive);
  s->add_option("--patch", segment.patch,
                "patch side, pixels at model scale, a multiple of 16 (default: the model's)")
      ->check(positive);
  s->add_option("--stride", segment.stride, "patch stride, pixels at model scale (default: the model's)")
      ->check(positive);
  s->add_option("--tissue", segment.tissue,
                "which patches to run: auto (where tissue is found) or none (all)")
      ->check(CLI::IsMember({"auto", "none"}));
  s->add_option("--max-memory", memory, "memory budget, e.g. 512M or 2G (default: a quarter of the RAM)");
  s->add_option("--precision", segment.backend.precision,
                "arithmetic: fp32 or int8 (default: what the model is made for)");
  s->add_option("--device", segment.backend.device, "where to run: cpu");
  add_stain(s, segment.stain);
  s->add_flag("--overwrite", segment.overwrite, "redo slides whose results exist");
  add_tuning(s, segment);
  add_threads(s, segment);
  s->footer(
      "Examples:\n"
      "  microtome segment slide.svs -m weights/nuclei-b16.safetensors -o out\n"
      "  microtome segment *.tif -m model.safetensors -o out --slide-mpp 0.5 -j 4");
  s->callback([&] {
    if (!memory.empty()) segment.max_memory = parse_bytes(memory);
    code = run_segment(segment);
  });

  InfoArgs info;
  auto* i = app.add_subcommand("info", "describe a slide or a model");
  i->add_option("path", info.path, "slide, image or weights file")->required();
  i->add_option("--size", info.size, "of a model: side of the image to plan for, pixels (default: its patch)")
      ->check(CLI::Range(16, 16384));
  i->add_flag("--json", info.json, "machine-readable");
  add_tuning(i, info);
  i->footer(
      "Examples:\n  microtome info slide.svs\n  microtome info weights/nuclei-b16.safetensors --size 1024");
  i->callback([&] { code = run_info(info); });

  RegionArgs region;
  auto* r = app.add_subcommand("region", "extract a rectangle of a slide as PNG, or hash its pixels");
  r->add_option("slide", region.slide, "slide or image")->required();
  r->add_option("-o,--output", region.output, "PNG file to write");
  r->add_flag("--hash", region.hash, "print the MD5 of the RGB bytes (row by row, no padding)");
  r->add_option("--level", region.level, "pyramid level (default 0, the finest)")->check(CLI::Range(0, 4095));
  r->add_option("--rect", region.rect,
                "X,Y,W,H: corner in level-0 pixels, size in pixels of the level (default: all)")
      ->delimiter(',')
      ->expected(4);
  r->footer(
      "Examples:\n"
      "  microtome region slide.svs -o corner.png --rect 1000,1500,512,512\n"
      "  microtome region slide.svs --level 2 --hash");
  r->callback([&] {
    if (region.output.empty() && !region.hash)
      throw microtome::UsageError("region", "give -o FILE.png, --hash or both");
    code = run_region(region);
  });

  DoctorArgs doctor;
  auto* d = app.add_subcommand("doctor", "CPU features, chosen kernels, threads, memory, problems");
  d->add_option("-m,--model", doctor.model, "also plan this model: memory per patch, layers");
  d->add_flag("--json", doctor.json, "machine-readable");
  add_tuning(d, doctor);
  add_threads(d, doctor);
  d->footer("Example:\n  microtome doctor -m weights/nuclei-b16.safetensors");
  d->callback([&] { code = run_doctor(doctor); });

  EvaluateArgs evaluate;
  auto* e = app.add_subcommand(
      "evaluate", "Dice, IoU, precision and recall per class: of a mask, or of a model on images");
  e->add_option("prediction", evaluate.prediction, "mask to judge (TIFF or PNG of class ids)");
  e->add_option("truth", evaluate.truth, "true mask on the same canvas, or a whole number of times finer");
  e->add_option("-m,--model", evaluate.model,
                "weights (safetensors) to judge instead, on --images and --masks");
  e->add_option("--images", evaluate.images, "directory of images, or one image");
  e->add_option("--masks", evaluate.masks, "directory of true masks with the same names, or one mask");
  e->add_option("--precision", evaluate.backend.precision,
                "arithmetic: fp32 or int8 (default: what the model is made for)");
  e->add_option("--device", evaluate.backend.device, "where to run: cpu");
  e->add_option("--threshold", evaluate.threshold,
                "probability from which a class counts, 0 to 1 (default: the model's)");
  add_stain(e, evaluate.stain);
  e->add_option("--save-masks", evaluate.save_masks,
                "directory to write the predicted masks to (PNG of class ids)");
  e->add_option("--json", evaluate.json, "also write the figures to this file");
  e->add_option("--csv", evaluate.csv, "also write them as a table, a row per image and class");
  add_tuning(e, evaluate);
  add_threads(e, evaluate);
  e->footer(
      "Examples:\n"
      "  microtome evaluate out/slide/mask.tif slide.truth.tif --json score.json\n"
      "  microtome evaluate -m weights/nuclei-b16.safetensors --images val/images --masks val/masks --csv "
      "score.csv\n"
      "Masks hold 0 for the background and class ids above; of 0 and 255 only, 255 is class 1.\n"
      "Images without a pixel size run pixel for pixel.");
  e->callback([&] {
    const bool masks = !evaluate.prediction.empty() || !evaluate.truth.empty();
    const bool images = !evaluate.model.empty() || !evaluate.images.empty() || !evaluate.masks.empty();
    if (masks && images)
      throw microtome::UsageError("evaluate", "give either two masks or --model, not both");
    if (!images && (evaluate.prediction.empty() || evaluate.truth.empty()))
      throw microtome::UsageError("evaluate", "give PREDICTION and TRUTH, or --model, --images and --masks");
    if (images && (evaluate.model.empty() || evaluate.images.empty() || evaluate.masks.empty()))
      throw microtome::UsageError("evaluate",
                                  "--model, --images and --masks belong together: one is missing");
    for (const char* option :
         {"--precision", "--device", "--threshold", "--stain-norm", "--stain-target", "--save-masks"})
      if (masks && e->count(option) > 0) throw microtome::UsageError(option, "belongs to --model");
    for (const auto& [option, path] : {std::pair{"--json", &evaluate.json}, std::pair{"--csv", &evaluate.csv},
                                       std::pair{"--save-masks", &evaluate.save_masks}})
      if (e->count(option) > 0 && path->empty())
        throw microtome::UsageError(option, "is empty: a name expected");
    code = run_evaluate(evaluate);
  });

  BenchArgs bench;
  auto* b = app.add_subcommand("bench", "time a model on this machine, layer by layer");
  b->add_option("-m,--model", bench.model, "weights (safetensors)")->required();
  b->add_option("--size", bench.size, "side of the image, pixels, a multiple of 16 (default 512)")
      ->check(CLI::Range(16, 16384));
  b->add_option(
       "--runs", bench.runs,
       "inferences measured, after one that is not (default 7); with --ablate, of either engine per part")
      ->check(CLI::Range(1, 1000000000));
  b->add_flag("--ablate", bench.ablate, "also time the engine with one of its parts switched off at a time");
  b->add_option("--json", bench.json, "also write the figures to this file");
  add_tuning(b, bench);
  add_threads(b, bench);
  b->footer(
      "Examples:\n"
      "  microtome bench -m weights/nuclei-b16.safetensors -j 1\n"
      "  microtome bench -m weights/nuclei-b16.safetensors -j 1 --ablate --json bench.json\n"
      "GMAC/s are those of the definition: Winograd does the same work with fewer multiplications and may\n"
      "exceed 100 % of the peak. CPU ms are summed over threads.");
  b->callback([&] {
    if (b->count("--json") > 0 && bench.json.empty())
      throw microtome::UsageError("--json", "is empty: a name expected");
    code = run_bench(bench);
  });

  TuneArgs tune;
  auto* t =
      app.add_subcommand("tune", "find the fastest algorithm of each layer on this machine, and keep it");
  t->add_option("-m,--model", tune.model, "weights (safetensors)");
  t->add_option("--size", tune.size,
                "side of the image, pixels, a multiple of 16 (default: the model's patch)")
      ->check(CLI::Range(16, 16384));
  t->add_option("--runs", tune.runs, "inferences per algorithm (default 7)")
      ->check(CLI::Range(1, 1000000000));
  t->add_flag("--clear", tune.clear, "forget every tuning, of all models, instead");
  t->add_option("-j,--threads", tune.threads, "threads (default 1: segment runs a patch per thread)")
      ->check(CLI::Range(1, 1024));
  t->add_flag("-q,--quiet", tune.quiet, "no progress");
  t->footer(
      "Examples:\n  microtome tune -m weights/nuclei-b16.safetensors\n  microtome tune --clear\n"
      "Results then differ in the last bits from those of other algorithms; --no-tune of other verbs goes "
      "back.");
  t->callback([&] {
    if (tune.clear == !tune.model.empty())
      throw microtome::UsageError("tune", "give either --model or --clear");
    code = run_tune(tune);
  });

  QuantizeArgs quantize;
  auto* q = app.add_subcommand("quantize", "make an integer (INT8) model from a float one and some images");
  q->add_option("-m,--model", quantize.model, "weights (safetensors) in floats")->required();
  q->add_option("--calibrate", quantize.calibrate, "directory of images, an image or a slide; varied ones")
      ->required();
  q->add_option("-o,--output", quantize.output, "file to write (safetensors)")->required();
  q->add_option("--method", quantize.method,
                "how ranges are chosen: minmax, percentile, mse or kl (default: percentile)")
      ->check(CLI::IsMember({"minmax", "percentile", "mse", "kl"}));
  q->add_option("--percentile", quantize.percentile,
                "for that method: per cent of the values that are not clipped at either end (default: 99.99)")
      ->check(between(50.0, 100.0));
  q->add_option("--images", quantize.images,
                "images, or patches of larger ones and slides, to look at (default: 64)")
      ->check(CLI::Range(1, 100000));
  q->add_option("--equalize", quantize.equalize, "how much channels are evened out, 0 to 1 (default: 1)")
      ->check(between(0.0, 1.0));
  q->add_flag("--no-bias-correction", quantize.no_bias_correction,
              "leave the mean error of rounding where it is");
  q->add_flag("--overwrite", quantize.overwrite, "replace a file that exists");
  add_threads(q, quantize);
  q->footer(
      "Examples:\n"
      "  microtome quantize -m weights/nuclei-b16.safetensors --calibrate train/images -o "
      "nuclei.int8.safetensors\n"
      "  microtome quantize -m model.safetensors --calibrate slide.svs -o model.int8.safetensors --images "
      "128\n"
      "Show it what the model will see: other stains and scanners have other ranges.");
  q->callback([&] { code = run_quantize(quantize); });

  SynthArgs synth;
  auto* y = app.add_subcommand("synth", "write a synthetic H&E-like slide and its true mask");
  y->add_option("-o,--output", synth.output, "slide to write; the truth goes beside it as <stem>.truth.tif")
      ->required();
  y->add_option("--width", synth.width, "pixels")->check(CLI::Range(64, 1000000));
  y->add_option("--height", synth.height, "pixels")->check(CLI::Range(64, 1000000));
  y->add_option("--tissue", synth.tissue, "share of the slide covered by tissue")->check(between(0.0, 1.0));
  y->add_option("--seed", synth.seed, "same seed, same bytes");
  y->add_option("--mpp", synth.mpp, "um/px written into the slide; nuclei are drawn at this scale")
      ->check(between(0.1, 2.0));
  y->add_flag("--overwrite", synth.overwrite, "replace files that exist");
  y->add_flag("-q,--quiet", synth.quiet, "no progress");
  y->footer("Example:\n  microtome synth -o demo.tif --width 8192 --height 6144 --tissue 0.6 --seed 7");
  y->callback([&] { code = run_synth(synth); });

  const auto is_verb = [&](const CLI::App* verb) { return verb->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_verb).empty())
    throw microtome::UsageError("", "'" + std::string(argv[1]) + "' is not a verb; see microtome --help");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& err) {
    if (err.get_exit_code() == 0) return app.exit(err);  // --help, --version
    throw microtome::UsageError("", std::string(err.what()) + "; see --help");
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "microtome: %s\n", e.what());
    return static_cast<int>(e.kind());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "microtome: out of memory\n");
    return 4;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "microtome: internal error: %s\n", e.what());
    return 4;
  }
}
