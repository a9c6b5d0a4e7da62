// Times a network: best and median of several runs, and the layers of the best one.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "microtome/core/os.hpp"
#include "microtome/models/model.hpp"
#include "microtome/pipeline/progress.hpp"
#include "signals.hpp"

namespace microtome::tools {

/// Throws Cancelled after a signal (SignalGuard).
inline void check_interrupt() {
  if (interrupted != 0) throw Cancelled();
}

/// Seconds of one or several runs. Best runs are chosen by CPU time, which other programs disturb least.
class Timing {
 public:
  /// Notes a run; returns whether it was the best so far.
  bool add(double wall, double cpu) {
    const bool best = wall_.empty() || cpu < best_cpu();
    wall_.push_back(wall);
    cpu_.push_back(cpu);
    return best;
  }
  double best_wall() const { return *std::min_element(wall_.begin(), wall_.end()); }
  double best_cpu() const { return *std::min_element(cpu_.begin(), cpu_.end()); }
  double median_wall() const { return median(wall_); }
  double median_cpu() const { return median(cpu_); }

 private:
  static double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return 0.5 * (v[(v.size() - 1) / 2] + v[v.size() / 2]);
  }
  std::vector<double> wall_, cpu_;
};

/// A model, a session and a square image of noise, ready to run.
class Trial {
 public:
  Trial(std::shared_ptr<const Model> model, std::int64_t side, Executor& executor)
      : model_(std::move(model)), session_(model_, &executor), side_(side) {
    const auto area = static_cast<std::size_t>(side * side);
    pixels_.resize(area * static_cast<std::size_t>(model_->info().input_channels));
    std::uint32_t state = 1;
    for (std::uint8_t& v : pixels_)
      v = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
    output_.resize(area * static_cast<std::size_t>(model_->info().classes));
  }

  /// One inference. The first one allocates: run it once before measuring.
  void run() {
    session_.run(pixels_.data(), pixels_.size() / static_cast<std::size_t>(side_), side_, side_,
                 output_.data());
  }

  /// One inference, timed as a whole and by layer.
  void measure() {
    LayerTimes layers;
    session_.time_layers(&layers);
    const double wall = os::now(), cpu = os::process_cpu_seconds();
    run();
    const double cpu_seconds = os::process_cpu_seconds() - cpu, wall_seconds = os::now() - wall;
    session_.time_layers(nullptr);
    if (timing_.add(wall_seconds, cpu_seconds)) layers_ = std::move(layers);
  }

  /// Forgets what was measured.
  void restart() { timing_ = {}; }

  const Model& model() const { return *model_; }
  const Timing& timing() const { return timing_; }
  const LayerTimes& layers() const { return layers_; }  ///< of the run with the least CPU time
  const std::vector<float>& output() const { return output_; }

 private:
  std::shared_ptr<const Model> model_;
  Session session_;
  std::int64_t side_;
  std::vector<std::uint8_t> pixels_;
  std::vector<float> output_;
  Timing timing_;
  LayerTimes layers_;
};

}  // namespace microtome::tools
