// microtome tune: measures the algorithms that each layer can use, and keeps the fastest ones.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "args.hpp"
#include "layer_report.hpp"
#include "measure.hpp"
#include "microtome/core/text.hpp"
#include "microtome/pipeline/memory_plan.hpp"
#include "progress.hpp"
#include "tuning.hpp"

namespace microtome::tools {
namespace {

// A layer leaves the cost model's choice only for a gain that measuring again would show, too.
constexpr double kLeastGain = 0.02;

// Best seconds of each layer by algorithm, in the order of the layers.
using Seconds = std::vector<std::map<ConvAlgorithm, double>>;

// CPU time is the steadier measure, but of one thread only.
double seconds_of(const LayerTimes::Seconds& s, int threads) {
  return threads == 1 ? s.cpu : s.wall;
}
double seconds_of(const Timing& t, int threads) {
  return threads == 1 ? t.best_cpu() : t.best_wall();
}

// Runs the whole network with each algorithm wherever it can be used, in turn: layers are measured among
// their neighbours, with caches as they are in use.
Seconds measure_layers(const TuneArgs& args, const Model& model, Executor& executor, ProgressBar& bar) {
  const std::vector<LayerReport> layers = model.layers(args.size, args.size);
  // All engines are in memory at once. `head` is for the last layer alone, and Winograd for all others: no
  // engine of its own for `head`.
  constexpr ConvAlgorithm kEngines[][2] = {{ConvAlgorithm::direct, ConvAlgorithm::head},
                                           {ConvAlgorithm::winograd4, ConvAlgorithm::direct},
                                           {ConvAlgorithm::winograd6, ConvAlgorithm::direct}};
  std::vector<std::unique_ptr<Trial>> trials;
  std::uint64_t needed = model.weight_bytes();
  for (const auto& [usual, last] : kEngines) {
    EngineOptions options;
    options.side = args.size;
    bool any = false;
    for (const LayerReport& l : layers) {
      const ConvAlgorithm a = &l == &layers.back() ? last : usual;
      if (std::find(l.usable.begin(), l.usable.end(), a) == l.usable.end()) continue;
      options.algorithms[l.name] = a;
      any = any || a == usual;
    }
    if (!any) continue;
    const auto engine = load_model(args.model, {}, options);
    needed +=
        engine->weight_bytes() + Session::planned_bytes(*engine, args.size, args.size, executor.workers());
    if (needed > default_memory_budget())
      throw ResourceError("", "--size",
                          mebibytes(needed) + " and more are needed to compare engines at " +
                              std::to_string(args.size) + " px, of " + mebibytes(default_memory_budget()) +
                              " that may be used");
    trials.push_back(std::make_unique<Trial>(engine, args.size, executor));
    check_interrupt();
    trials.back()->run();
  }
  Seconds best(layers.size());
  const std::uint64_t total = trials.size() * static_cast<std::uint64_t>(args.runs);
  std::uint64_t done = 0;
  for (int run = 0; run < args.runs; ++run)
    for (const auto& trial : trials) {
      check_interrupt();
      bar.update({"tune", done++, total});
      trial->restart();
      trial->measure();
      const std::vector<LayerReport> ran = trial->model().layers(args.size, args.size);
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const ConvAlgorithm a = ran[i].algorithm;
        const double s = seconds_of(trial->layers().layers[i], args.threads);
        const auto [known, first] = best[i].emplace(a, s);
        if (!first) known->second = std::min(known->second, s);
      }
    }
  bar.update({"tune", total, total});
  return best;
}

Algorithms choose(const Model& model, const Seconds& seconds) {
  Algorithms chosen;
  const std::vector<LayerReport> layers = model.layers(16, 16);
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const LayerReport& l = layers[i];
    const auto fastest = std::min_element(seconds[i].begin(), seconds[i].end(),
                                          [](const auto& a, const auto& b) { return a.second < b.second; });
    if (fastest->second < (1.0 - kLeastGain) * seconds[i].at(l.algorithm)) chosen[l.name] = fastest->first;
  }
  return chosen;
}

void print_table(const Model& model, const Seconds& seconds, const Algorithms& chosen, std::int64_t side) {
  std::printf("%-12s %9s %6s %11s", "layer", "channels", "kernel", "output px");
  for (const ConvAlgorithm a : kConvAlgorithms) std::printf(" %10s", to_string(a));
  std::printf("  fastest alone\n");
  const std::vector<LayerReport> layers = model.layers(side, side);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerReport& l = layers[i];
    std::printf("%-12s %9s %6s %11s", l.name.c_str(), channels_text(l).c_str(), kernel_text(l).c_str(),
                size_text(l).c_str());
    for (const ConvAlgorithm a : kConvAlgorithms) {
      const auto s = seconds[i].find(a);
      if (s == seconds[i].end())
        std::printf(" %10s", "");
      else
        std::printf(" %7.2f ms", 1e3 * s->second);
    }
    const auto c = chosen.find(l.name);
    std::printf("  %s\n", c == chosen.end()
                              ? l.kernel.c_str()
                              : (std::string(to_string(c->second)) + ", not " + l.kernel).c_str());
  }
}

void tune(TuneArgs args) {
  args.threads = std::max(1, args.threads);
  if (args.size == 0) args.size = read_patch_size(args.model);
  EngineOptions options;
  options.side = args.size;
  const auto model = load_model(args.model, {}, options);
  const TuningKey key(sha256_of_file(args.model), args.size);
  make_tuning_folder();  // minutes later is too late to fail
  DefaultExecutor executor(args.threads);
  Algorithms chosen;
  Timing before, after;
  {
    ProgressBar bar(args.model, args.quiet);
    const Seconds seconds = measure_layers(args, *model, executor, bar);
    chosen = choose(*model, seconds);
    bar.end_line();
    print_table(*model, seconds, chosen, args.size);
    if (!chosen.empty()) {  // what is best layer by layer need not be best together
      options.algorithms = chosen;
      Trial usual(model, args.size, executor),
          tuned(load_model(args.model, {}, options), args.size, executor);
      usual.run();
      tuned.run();
      for (int run = 0; run < args.runs; ++run) {
        check_interrupt();
        bar.update({"check", static_cast<std::uint64_t>(run), static_cast<std::uint64_t>(args.runs)});
        usual.measure();
        tuned.measure();
      }
      before = usual.timing();
      after = tuned.timing();
    }
  }
  if (!chosen.empty()) {
    const double was = seconds_of(before, args.threads), is = seconds_of(after, args.threads);
    std::printf("the whole network: %.1f ms, was %.1f ms\n", 1e3 * is, 1e3 * was);
    if (is >= was) chosen.clear();
  }
  if (chosen.empty()) std::printf("the cost model's choice is kept for every layer\n");
  write_tuning(key, chosen);
  std::printf("written to %s\n", printable(key.path()).c_str());
}

}  // namespace

int run_tune(const TuneArgs& args) {
  if (args.clear) {
    const std::vector<std::string> files = tuning_files();
    for (const std::string& file : files) os::remove_file(file);
    std::printf("%zu tuning%s forgotten\n", files.size(), files.size() == 1 ? "" : "s");
    return 0;
  }
  const SignalGuard signals;
  try {
    tune(args);
  } catch (const Cancelled&) {
    std::fprintf(stderr, "microtome: interrupted\n");
    return 128 + interrupted;
  }
  return 0;
}

}  // namespace microtome::tools
