// microtome quantize: an integer network from a float one and some images.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "args.hpp"
#include "microtome/core/json_writer.hpp"
#include "microtome/core/text.hpp"
#include "microtome/models/quantized_file.hpp"
#include "microtome/pipeline/calibrate.hpp"
#include "microtome/pipeline/match_images.hpp"
#include "outputs.hpp"
#include "progress.hpp"
#include "signals.hpp"

namespace microtome::tools {
namespace {

// What the file says about its calibration: numbers only, no names of images.
std::string describe(const QuantizeOptions& o, const CalibrationRun& run) {
  JsonWriter j;
  j.open_object();
  j.field("method", to_string(o.method));
  if (o.method == RangeMethod::percentile) j.field("percentile", o.percentile);
  j.field("equalize", o.equalize);
  j.field("bias_correction", o.correct_bias);
  j.field("images", run.images);
  j.field("patches", run.patches);
  j.field("pixels", run.pixels);
  j.close();
  return j.text();
}

}  // namespace

int run_quantize(const QuantizeArgs& args) {
  QuantizeOptions options;
  options.method = range_method(args.method);
  options.percentile = args.percentile;
  options.equalize = args.equalize;
  options.correct_bias = !args.no_bias_correction;
  const std::vector<std::string> images = list_images(args.calibrate);
  std::vector<std::string> inputs = images;
  inputs.push_back(args.model);
  check_outputs({{"--output", args.output}}, inputs);
  if (!args.overwrite && os::exists(args.output))
    throw UsageError("--output", "'" + args.output + "' exists; --overwrite replaces it");

  const SignalGuard signals;
  const double start = os::now();
  const std::shared_ptr<const Model> model = load_model(args.model);
  std::vector<std::uint8_t> table;
  detail::pixel_table(model->info(), table);  // refuses what cannot be quantized, before any image is run
  DefaultExecutor executor(args.threads > 0 ? args.threads : os::cpu_count());
  try {
    ProgressBar bar("quantize", args.quiet);
    CalibrateOptions c;
    c.patches = args.images;
    const CalibrationRun run = calibrate(model, images, c, executor, [&](const Progress& p) {
      bar.update(p);
      return interrupted == 0;
    });
    QuantizedNet net = quantize(model->info(), run.seen, options);
    net.metadata["calibration"] = describe(options, run);
    if (interrupted != 0) throw Cancelled();
    write_quantized(net, args.output);
    if (!args.quiet) {
      const os::File before(args.model, os::File::Mode::read), after(args.output, os::File::Mode::read);
      std::printf("%s: %.2f MB, %.1f %% of %s; %llu patches of %llu images, %.1f s\n",
                  printable(args.output).c_str(), 1e-6 * static_cast<double>(after.size()),
                  100.0 * static_cast<double>(after.size()) / static_cast<double>(before.size()),
                  printable(args.model).c_str(), static_cast<unsigned long long>(run.patches),
                  static_cast<unsigned long long>(run.images), os::now() - start);
    }
  } catch (const Cancelled&) {
    std::fprintf(stderr, "microtome: interrupted\n");
    return 128 + interrupted;
  }
  return 0;
}

}  // namespace microtome::tools
