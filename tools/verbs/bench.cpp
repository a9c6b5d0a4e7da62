// microtome bench: how long a model takes on this machine, layer by layer, and how much memory.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "args.hpp"
#include "fma_peak.hpp"
#include "layer_report.hpp"
#include "measure.hpp"
#include "microtome/core/json_writer.hpp"
#include "microtome/core/text.hpp"
#include "microtome/version.hpp"
#include "outputs.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "tuning.hpp"

namespace microtome::tools {
namespace {

// GMAC/s, and its share of what one core can do at most.
struct Rate {
  double gmacs = 0.0, percent = 0.0;
  Rate(double macs, double seconds, double peak)
      : gmacs(seconds > 0.0 ? 1e-9 * macs / seconds : 0.0), percent(100.0 * gmacs / peak) {}
};

// The engine without one of its parts, against the whole engine measured in turn with it.
struct Ablation {
  std::string off;
  Timing full, without;
  std::size_t session_bytes = 0, weights_bytes = 0;
  double difference = 0.0;  // the largest of any output

  double ratio() const { return without.best_cpu() / full.best_cpu(); }
};

// Rounding differs by orders of magnitude less.
constexpr double kLargestDifference = 1e-4;

struct Result {
  std::shared_ptr<const Model> model;
  std::int64_t side = 0;
  int threads = 0, runs = 0;
  double load_seconds = 0.0, first_seconds = 0.0, fma_peak = 0.0, macs = 0.0;
  std::size_t session_bytes = 0;
  std::uint64_t peak_growth = 0;
  Timing timing;
  LayerTimes times;
  std::vector<LayerReport> layers;
  std::vector<Ablation> ablations;

  double megapixels_per_second() const {
    return 1e-6 * static_cast<double>(side * side) / timing.best_wall();
  }
  Rate rate() const { return {macs, timing.best_cpu(), fma_peak}; }
  Rate rate(std::size_t layer) const { return {layers[layer].macs, times.layers[layer].cpu, fma_peak}; }
  double share(std::size_t layer) const { return 100.0 * times.layers[layer].cpu / timing.best_cpu(); }
};

// A NaN stays.
double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = d <= worst ? worst : d;
  }
  return worst;
}

std::vector<Ablation> ablate(const BenchArgs& args, Trial& full, Executor& executor, ProgressBar& bar) {
  std::vector<Ablation> list;
  std::uint64_t done = 0;
  const std::uint64_t total = std::size(kEngineSwitches) * static_cast<std::uint64_t>(args.runs);
  for (const EngineSwitch& part : kEngineSwitches) {
    if (full.model().quantized() && !part.integers) continue;
    EngineOptions options;
    options.side = args.size;
    options.algorithms = full.model().tuned_layers();
    options.*part.on = false;
    Trial without(load_model(args.model, {}, options), args.size, executor);
    without.run();
    full.restart();
    for (int i = 0; i < args.runs; ++i) {
      check_interrupt();
      bar.update({"ablate", done++, total});
      full.measure();
      without.measure();
    }
    const Model& m = without.model();
    list.push_back({part.name, full.timing(), without.timing(),
                    Session::planned_bytes(m, args.size, args.size, executor.workers()), m.weight_bytes(),
                    largest_difference(full.output(), without.output())});
  }
  bar.update({"ablate", total, total});
  return list;
}

Result measure(const BenchArgs& args, ProgressBar& bar) {
  Result r;
  r.side = args.size;
  r.runs = args.runs;
  r.threads = args.threads > 0 ? args.threads : os::cpu_count();
  r.fma_peak = microtome_bench::fma_peak_gmacs();
  const std::uint64_t before = os::peak_memory();
  const double start = os::now();
  r.model = load_tuned(args.model, args.size, !args.no_tune).model;
  r.load_seconds = os::now() - start;
  DefaultExecutor executor(r.threads);
  Trial trial(r.model, r.side, executor);
  const double first = os::now();
  trial.run();
  r.first_seconds = os::now() - first;
  for (int i = 0; i < r.runs; ++i) {
    check_interrupt();
    bar.update({"bench", static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(r.runs)});
    trial.measure();
  }
  bar.update({"bench", static_cast<std::uint64_t>(r.runs), static_cast<std::uint64_t>(r.runs)});
  r.peak_growth = os::peak_memory() - before;
  r.fma_peak = std::max(r.fma_peak, microtome_bench::fma_peak_gmacs());
  r.timing = trial.timing();
  r.times = trial.layers();
  r.layers = r.model->layers(r.side, r.side);
  for (const LayerReport& l : r.layers) r.macs += l.macs;
  r.session_bytes = Session::planned_bytes(*r.model, r.side, r.side, r.threads);
  if (args.ablate) r.ablations = ablate(args, trial, executor, bar);
  return r;
}

void print_text(const Result& r) {
  const double ms = 1e3, mb = 1e-6;
  const Rate rate = r.rate();
  std::printf("%s, base %d, %lld x %lld px, %d thread%s, %s on %s\n", printable(r.model->info().path).c_str(),
              r.model->info().base_filters, static_cast<long long>(r.side), static_cast<long long>(r.side),
              r.threads, r.threads == 1 ? "" : "s", active_isa(), cpu_name().c_str());
  std::printf("time    best of %d: %.1f ms, CPU %.1f ms; median: %.1f ms, CPU %.1f ms\n", r.runs,
              ms * r.timing.best_wall(), ms * r.timing.best_cpu(), ms * r.timing.median_wall(),
              ms * r.timing.median_cpu());
  std::printf("speed   %.3g Mpixel/s; per core %.1f GMAC/s, %.0f %% of its FMA peak of %.1f GMAC/s\n",
              r.megapixels_per_second(), rate.gmacs, rate.percent, r.fma_peak);
  std::printf("start   load %.1f ms, first image %.1f ms\n", ms * r.load_seconds, ms * r.first_seconds);
  std::printf("memory  session %.1f MB, weights %.1f MB; the peak grew by %.1f MB\n",
              mb * static_cast<double>(r.session_bytes), mb * static_cast<double>(r.model->weight_bytes()),
              mb * static_cast<double>(r.peak_growth));
  std::printf("%-12s %-10s %9s %6s %11s %8s %8s %6s %7s %6s %8s\n", "layer", "kernel", "channels", "kernel",
              "output px", "ms", "CPU ms", "share", "GMAC/s", "peak", "MB");
  LayerTimes::Seconds sum;
  for (std::size_t i = 0; i < r.layers.size(); ++i) {
    const LayerReport& l = r.layers[i];
    const LayerTimes::Seconds& s = r.times.layers[i];
    sum.wall += s.wall, sum.cpu += s.cpu;
    std::printf("%-12s %-10s %9s %6s %11s %8.2f %8.2f %4.1f %% %7.1f %4.0f %% %8.2f\n", l.name.c_str(),
                l.kernel.c_str(), channels_text(l).c_str(), kernel_text(l).c_str(), size_text(l).c_str(),
                ms * s.wall, ms * s.cpu, r.share(i), r.rate(i).gmacs, r.rate(i).percent,
                mb * static_cast<double>(l.bytes_read + l.bytes_written));
  }
  std::printf("%-51s %8.2f %8.2f\n", "sum", ms * sum.wall, ms * sum.cpu);
  if (r.ablations.empty()) return;
  std::printf("\n%-22s %9s %9s %9s %7s %11s %11s %10s\n", "without", "ms", "CPU ms", "all on", "ratio",
              "session MB", "weights MB", "difference");
  for (const Ablation& a : r.ablations)
    std::printf("%-22s %9.1f %9.1f %9.1f %7.2f %11.1f %11.1f %10.1e\n", a.off.c_str(),
                ms * a.without.best_wall(), ms * a.without.best_cpu(), ms * a.full.best_cpu(), a.ratio(),
                mb * static_cast<double>(a.session_bytes), mb * static_cast<double>(a.weights_bytes),
                a.difference);
}

void write_timing(JsonWriter& j, const Timing& t) {
  j.field("best_ms", 1e3 * t.best_wall());
  j.field("median_ms", 1e3 * t.median_wall());
  j.field("best_cpu_ms", 1e3 * t.best_cpu());
  j.field("median_cpu_ms", 1e3 * t.median_cpu());
}

std::string json(const Result& r) {
  const ModelInfo& m = r.model->info();
  JsonWriter j;
  j.open_object();
  j.field("microtome", MICROTOME_VERSION);
  j.field("cpu", cpu_name());
  j.field("isa", active_isa());
  j.open_object("model");
  j.field("file", file_name(m.path));
  j.field("architecture", m.architecture);
  j.field("base_filters", m.base_filters);
  j.field("classes", m.classes);
  j.close();
  j.field("size_px", r.side);
  j.field("threads", r.threads);
  j.field("runs", r.runs);
  write_timing(j, r.timing);
  j.field("load_ms", 1e3 * r.load_seconds);
  j.field("first_ms", 1e3 * r.first_seconds);
  j.field("megapixels_per_second", r.megapixels_per_second());
  j.field("macs", r.macs);
  j.field("gmacs_per_core_second", r.rate().gmacs);
  j.field("fma_peak_gmacs_per_second", r.fma_peak);
  j.field("percent_of_fma_peak", r.rate().percent);
  j.field("session_bytes", r.session_bytes);
  j.field("weights_bytes", r.model->weight_bytes());
  j.field("peak_growth_bytes", r.peak_growth);
  j.open_array("layers");
  for (std::size_t i = 0; i < r.layers.size(); ++i) {
    j.open_object();
    write_layer(j, r.layers[i]);
    j.field("ms", 1e3 * r.times.layers[i].wall);
    j.field("cpu_ms", 1e3 * r.times.layers[i].cpu);
    j.field("percent_of_time", r.share(i));
    j.field("gmacs_per_core_second", r.rate(i).gmacs);
    j.field("percent_of_fma_peak", r.rate(i).percent);
    j.close();
  }
  j.close();
  if (!r.ablations.empty()) {
    j.open_array("ablation");
    for (const Ablation& a : r.ablations) {
      j.open_object();
      j.field("without", a.off);
      write_timing(j, a.without);
      j.open_object("full");
      write_timing(j, a.full);
      j.close();
      j.field("ratio", a.ratio());
      j.field("session_bytes", a.session_bytes);
      j.field("weights_bytes", a.weights_bytes);
      j.field("largest_difference", a.difference);
      j.close();
    }
    j.close();
  }
  j.close();
  return j.text();
}

}  // namespace

int run_bench(const BenchArgs& args) {
  check_outputs({{"--json", args.json}}, {args.model});
  const SignalGuard signals;
  try {
    Result result;
    {
      ProgressBar bar(args.model, args.quiet);
      result = measure(args, bar);
    }
    print_text(result);
    if (!args.json.empty()) {
      const std::string text = json(result);
      os::write_file_atomically(args.json, text.data(), text.size());
    }
    for (const Ablation& a : result.ablations)
      if (!(a.difference <= kLargestDifference))
        throw InputError(args.model, a.off, "without it the results differ by more than rounding does");
  } catch (const Cancelled&) {
    std::fprintf(stderr, "microtome: interrupted\n");
    return 128 + interrupted;
  }
  return 0;
}

}  // namespace microtome::tools
