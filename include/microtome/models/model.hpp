// A loaded network and the sessions that run it: what an embedding program uses.
//   auto model = microtome::load_model("nuclei.safetensors");
//   microtome::Session session(model);
//   microtome::ProbabilityMap p = session.run(rgb, width, height);
// PLACEHOLDER INTERFACE, being implemented: signatures below are what other code may rely on.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../core/parallel.hpp"

namespace microtome {

enum class FinalLayer { none, sigmoid, softmax };

/// The facts a model file states about itself (safetensors `__metadata__`, docs/weights-format.md).
struct ModelInfo {
  std::string path;
  std::string architecture;                ///< "resunet" or "unet"
  int input_channels = 3, classes = 2, base_filters = 16;
  FinalLayer final_layer = FinalLayer::softmax;
  std::vector<std::string> class_names;    ///< one per class
  std::vector<std::string> class_colors;   ///< "#rrggbb" or "" (background, transparent), one per class
  std::vector<double> thresholds;          ///< one per class, used by sigmoid models
  double spacing_um_px = 0.0;              ///< 0: unknown
  std::int64_t patch_size = 512, stride = 256;  ///< pixels at that spacing
  std::string sha256;                      ///< of the whole file, hex
};

/// Probabilities of one image: planar, class c at data[c * width * height + y * width + x], 0..1.
struct ProbabilityMap {
  int classes = 0;
  std::int64_t width = 0, height = 0;
  std::vector<float> data;
};

class Model;  // const ModelInfo& info() const;

/// Maps, folds and packs the weights. Throws InputError naming file and tensor.
std::shared_ptr<const Model> load_model(const std::string& path);

/// Scratch memory and loops for one image at a time. Belongs to one thread at a time.
class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model, Executor* executor = nullptr /* serial */);
  /// Interleaved 8-bit RGB, row_stride bytes per row; width and height multiples of 16.
  /// `out` receives classes * height * width floats, planar.
  void run(const std::uint8_t* rgb, std::size_t row_stride, std::int64_t width, std::int64_t height, float* out);
  ProbabilityMap run(const std::uint8_t* rgb, std::int64_t width, std::int64_t height);
  /// Bytes of scratch memory a session needs for a width x height image.
  static std::size_t planned_bytes(const Model& model, std::int64_t width, std::int64_t height);
};

}  // namespace microtome
