// What segmentation needs of a network: a function from pixels to probabilities, and its appetite for memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "../core/parallel.hpp"
#include "../io/model_info.hpp"

namespace microtome {

/// Runs one patch: interleaved RGB (row_stride bytes per row), width and height multiples of 16, into
/// classes * height * width floats, planar. Belongs to one thread at a time.
using PatchFn = std::function<void(const std::uint8_t* rgb, std::size_t row_stride, std::int64_t width,
                                   std::int64_t height, float* out)>;

/// A network that segment_to_sink() can run; anything that maps pixels to probabilities will do.
struct PatchNetwork {
  ModelInfo info;
  std::string sha256;            ///< of the weights file, hex; reported only
  std::size_t shared_bytes = 0;  ///< weights, held once
  /// Layers computed otherwise than by default, and the algorithm: it decides the last bits of the result.
  std::map<std::string, std::string> tuned_layers;
  /// Scratch of one PatchFn for patches of width x height whose loops run on `workers` workers.
  std::function<std::size_t(std::int64_t width, std::int64_t height, int workers)> run_bytes;
  std::function<PatchFn(Executor*)>
      open;  ///< a new PatchFn whose loops run on the executor (nullptr: serial)
};

}  // namespace microtome
