// Where the time of an inference goes, layer by layer.
#pragma once
#include <cstddef>
#include <vector>

#include "../core/os.hpp"

namespace microtome {

/// Seconds per layer, in the order of Model::layers(), added up over bands and runs. CPU time is that of the
/// whole process: of other work in it as well.
struct LayerTimes {
  struct Seconds {
    double wall = 0.0, cpu = 0.0;
  };
  std::vector<Seconds> layers;
};

/// Adds the time between its construction and destruction to one layer; does nothing where `times` is null.
class LayerClock {
 public:
  LayerClock(LayerTimes* times, std::size_t layer) : times_(times), layer_(layer) {
    if (!times_) return;
    if (times_->layers.size() <= layer) times_->layers.resize(layer + 1);
    start_ = {os::now(), os::process_cpu_seconds()};
  }
  ~LayerClock() {
    if (!times_) return;
    LayerTimes::Seconds& s = times_->layers[layer_];
    s.cpu += os::process_cpu_seconds() - start_.cpu;
    s.wall += os::now() - start_.wall;
  }
  LayerClock(const LayerClock&) = delete;
  LayerClock& operator=(const LayerClock&) = delete;

 private:
  LayerTimes* times_;
  std::size_t layer_;
  LayerTimes::Seconds start_;
};

}  // namespace microtome
