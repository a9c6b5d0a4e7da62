// A loaded network and the sessions that run it: what an embedding program uses.
//
//   auto model = microtome::load_model("nuclei.safetensors");
//   microtome::Session session(model);
//   microtome::ProbabilityMap p = session.run(rgb, width, height);
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../core/parallel.hpp"
#include "layer_report.hpp"

namespace microtome {

/// Packed weights and facts. Immutable: any number of sessions and threads may share it.
class Model {
 public:
  const ModelInfo& info() const { return info_; }
  /// Whether it computes in integers: a quantized file (docs/quantization.md).
  bool quantized() const { return std::holds_alternative<IntResUnet<2>>(network_); }
  /// One of the two, by quantized().
  const ResUnet<2>& network() const { return std::get<ResUnet<2>>(network_); }
  const IntResUnet<2>& int_network() const { return std::get<IntResUnet<2>>(network_); }
  const KernelTable& kernels() const { return *kernels_; }

  /// Bytes of packed weights held in memory.
  std::size_t weight_bytes() const {
    std::size_t n = 0;
    std::visit(
        [&](const auto& net) {
          for (const auto& c : net.convs()) n += c.conv.weight_bytes();
        },
        network_);
    return n;
  }

  /// The layers whose algorithm is not the cost model's choice: what EngineOptions::algorithms changed.
  std::map<std::string, ConvAlgorithm> tuned_layers() const {
    std::map<std::string, ConvAlgorithm> list;
    const auto add = [&](const auto& net) {
      for (const auto& c : net.convs())
        if (c.tuned) list.emplace(c.name, c.conv.algorithm());
    };
    std::visit(add, network_);
    return list;
  }

  /// What runs, layer by layer, for a width x height image (multiples of 16).
  std::vector<LayerReport> layers(std::int64_t width, std::int64_t height) const {
    return std::visit([&](const auto& net) { return report_layers(net, {height, width}); }, network_);
  }

 private:
  using Network = std::variant<ResUnet<2>, IntResUnet<2>>;

  friend class Session;
  friend std::shared_ptr<const Model> load_model(const std::string&, const ModelFacts&, const EngineOptions&);
  Model(const SafeTensors& file, ModelInfo info, bool quantized, const EngineOptions& options)
      : info_(std::move(info)),
        network_(quantized ? Network(std::in_place_type<IntResUnet<2>>, file, info_, options)
                           : Network(std::in_place_type<ResUnet<2>>, file, info_, options)),
        kernels_(&microtome::kernels()) {}

  ModelInfo info_;
  Network network_;
  const KernelTable* kernels_;
};

/// Maps the safetensors file, folds the norms and packs the weights for this CPU; the mapping is released.
/// `facts` complete or override the file's metadata (docs/weights-format.md): a bare GaNDLF state_dict needs
/// at least {"architecture": "resunet"}. `options` may choose the algorithm of each layer. Throws InputError
/// naming file and tensor or key, and UsageError for a choice that cannot be. A file with the fact
/// `quantization` becomes an integer network.
inline std::shared_ptr<const Model> load_model(const std::string& path, const ModelFacts& facts = {},
                                               const EngineOptions& options = {}) {
  const SafeTensors file(path);
  const detail::FactTable all = detail::gather_facts(file, facts);
  const detail::FactReader reader(all);
  ModelInfo info;
  info.path = path;
  info.architecture = reader.text("architecture", "");
  if (info.architecture == "residualunet") info.architecture = "resunet";
  if (info.architecture.empty())
    throw InputError(path, "architecture", "is stated neither in the file nor in a JSON file beside it");
  if (info.architecture != "resunet" && info.architecture != "unet")
    reader.fail("architecture", "'" + info.architecture + "' is not supported; resunet or unet expected");
  info.spatial_dims = static_cast<int>(reader.integer("spatial_dims", 2, 1, 3));
  if (info.spatial_dims != 2) reader.fail("spatial_dims", "only 2D networks can be run so far");
  info.transposed = reader.text("axis_order", "hw") == "wh";  // decides how the kernels are packed
  info.patch_size = detail::read_patch_size(reader);          // decides by which algorithms they are run
  const std::string quantization = reader.text("quantization", "");
  if (!quantization.empty() && quantization != "int8")
    reader.fail("quantization", "'" + quantization + "' is not supported; int8 expected");
  if (!quantization.empty() && reader.text("quantization_version", "") != "1")
    reader.fail("quantization_version",
                "'" + reader.text("quantization_version", "") + "' is not known to this program; 1 expected");
  auto model = std::shared_ptr<Model>(new Model(file, std::move(info), !quantization.empty(), options));
  read_facts(model->info_, all);
  if (model->quantized() && model->info_.sigmoid_multiplier != 1.0)
    reader.fail("sigmoid_input_multiplier", "is part of the weights of an integer network; 1 expected");
  return model;
}

/// Probabilities of one image: planar, class c of pixel (x, y) at data[(c * height + y) * width + x], 0..1
/// (the logits when the model's final layer is `none`).
struct ProbabilityMap {
  int classes = 0;
  std::int64_t width = 0, height = 0;
  std::vector<float> data;
};

/// Scratch memory and loops for one image at a time; belongs to one thread at a time. Memory that grows
/// with the image is allocated for the first size and kept. Results do not depend on the executor.
class Session {
 public:
  /// `executor` (not owned, may be shared with nobody else while run() is active) spreads each image over
  /// threads; null: the calling thread alone.
  explicit Session(std::shared_ptr<const Model> model, Executor* executor = nullptr)
      : model_(std::move(model)), executor_(executor ? executor : &serial_) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Interleaved 8-bit pixels with the model's input channels (RGB), `row_stride` bytes per row. `width` and
  /// `height` are multiples of 16, at most 16384. `out`: [classes][height][width] floats. Throws UsageError.
  void run(const std::uint8_t* pixels, std::size_t row_stride, std::int64_t width, std::int64_t height,
           float* out) {
    prepare(width, height);
    const int channels = model_->info().input_channels;
    if (model_->quantized()) {
      const IntResUnet<2>& net = model_->int_network();
      const TableImageSource image(pixels, row_stride, channels, {height, width}, net.table().data(),
                                   net.table_zero_point());
      net.run(context(), int_plan_, arena_, image, model_->info().final_layer, out);
      return;
    }
    std::vector<float> scale, shift;
    normalization(pixels, row_stride, width, height, scale, shift);
    run_source(ImageSource(pixels, row_stride, channels, {height, width}, std::move(scale), std::move(shift)),
               out);
  }

  /// As above, rows without padding, the result in a vector.
  ProbabilityMap run(const std::uint8_t* pixels, std::int64_t width, std::int64_t height) {
    prepare(width, height);
    ProbabilityMap map;
    map.classes = model_->info().classes;
    map.width = width;
    map.height = height;
    map.data.resize(static_cast<std::size_t>(map.classes) * static_cast<std::size_t>(width * height));
    run(pixels, static_cast<std::size_t>(width) * static_cast<std::size_t>(model_->info().input_channels),
        width, height, map.data.data());
    return map;
  }

  /// Planar floats [channels][height][width], already normalised. Throws UsageError if the network computes
  /// in integers: it reads pixels.
  void run_planar(const float* input, std::int64_t width, std::int64_t height, float* out) {
    if (model_->quantized()) throw UsageError("model", "an integer network reads 8-bit pixels, not floats");
    prepare(width, height);
    run_source(PlanarSource<2>(input, model_->info().input_channels, {height, width}), out);
  }

  /// From now on run() adds the seconds of each layer to `times` (not owned); null: no longer.
  void time_layers(LayerTimes* times) { times_ = times; }

  /// From now on run() shows `observer` (not owned) every number inside the network; null: no longer. Only
  /// for models loaded with all fusions on. Throws UsageError if the network computes in integers.
  void observe(Observer* observer) {
    if (observer && model_->quantized())
      throw UsageError("model", "an integer network has no floats to observe");
    observer_ = observer;
  }

  /// Bytes a session allocates for a width x height image when its executor has `workers` workers.
  static std::size_t planned_bytes(const Model& model, std::int64_t width, std::int64_t height,
                                   int workers = 1) {
    return std::visit(
        [&](const auto& net) {
          const auto plan = net.plan({height, width}, workers);
          return AlignedBuffer::allocated(Parts(plan, workers).total, Pages::huge);
        },
        model.network_);
  }

 private:
  // One buffer for everything: rounded up to huge pages one by one, small parts would take twice the memory.
  struct Parts {
    std::size_t shared, scratch, scratch_step, total;  // where a part begins; the arena begins at 0

    template <class Plan>
    Parts(const Plan& plan, int workers)
        : shared(AlignedBuffer::allocated(plan.arena_bytes)),
          scratch(shared + AlignedBuffer::allocated(plan.shared_bytes)),
          scratch_step(AlignedBuffer::allocated(plan.scratch_bytes)),
          total(scratch + scratch_step * static_cast<std::size_t>(workers)) {}
  };

  template <class Plan>
  void allocate(const Plan& plan) {
    const Parts parts(plan, executor_->workers());
    scratch_.clear();
    arena_ = AlignedBuffer();
    shared_ = AlignedBuffer();
    if (parts.total > memory_.size()) {
      memory_ = AlignedBuffer();
      memory_ = AlignedBuffer(parts.total, Pages::huge);
    }
    arena_ = memory_.part(0, plan.arena_bytes);
    shared_ = memory_.part(parts.shared, plan.shared_bytes);
    for (int w = 0; w < executor_->workers(); ++w)
      scratch_.push_back(
          memory_.part(parts.scratch + parts.scratch_step * static_cast<std::size_t>(w), plan.scratch_bytes));
  }

  void prepare(std::int64_t width, std::int64_t height) {
    if (width < 16 || height < 16 || width % 16 != 0 || height % 16 != 0 || width > kMaxSide ||
        height > kMaxSide)
      throw UsageError("image size", std::to_string(width) + " x " + std::to_string(height) +
                                         ": multiples of 16 from 16 to " + std::to_string(kMaxSide) +
                                         " expected");
    const Index<2> size = {height, width};
    if (model_->quantized())
      prepare(model_->int_network(), int_plan_, size);
    else
      prepare(model_->network(), plan_, size);
  }

  template <class Net>
  void prepare(const Net& net, typename Net::Plan& planned, const Index<2>& size) {
    if (planned.size == size) return;
    auto plan = net.plan(size, executor_->workers());
    planned = {};  // if memory runs out below, the next call starts anew
    allocate(plan);
    planned = std::move(plan);
  }

  RunContext context() { return {&model_->kernels(), executor_, &scratch_, &shared_, times_, observer_}; }

  void run_source(const RowSource<float, 2>& source, float* out) {
    const ModelInfo& info = model_->info();
    model_->network().run(context(), plan_, arena_, source, info.final_layer,
                          static_cast<float>(info.sigmoid_multiplier), out);
  }

  void normalization(const std::uint8_t* pixels, std::size_t row_stride, std::int64_t width,
                     std::int64_t height, std::vector<float>& scale, std::vector<float>& shift) const {
    const Normalization& n = model_->info().normalization;
    const std::size_t channels = static_cast<std::size_t>(model_->info().input_channels);
    scale.assign(channels, n.kind == Normalization::Kind::div255 ? 1.0f / 255.0f : 1.0f);
    shift.assign(channels, 0.0f);
    if (n.kind == Normalization::Kind::mean_std)
      for (std::size_t c = 0; c < channels; ++c) {
        scale[c] = static_cast<float>(1.0 / (255.0 * n.std[c]));
        shift[c] = static_cast<float>(-n.mean[c] / n.std[c]);
      }
    if (n.kind != Normalization::Kind::zscore_tile) return;
    // Integer sums: exact, whatever the order. A blank patch has no spread; it becomes zeros.
    std::uint64_t sum = 0, squares = 0;
    const std::size_t row = static_cast<std::size_t>(width) * channels;
    for (std::int64_t y = 0; y < height; ++y) {
      const std::uint8_t* p = pixels + static_cast<std::size_t>(y) * row_stride;
      for (std::size_t i = 0; i < row; ++i) {
        sum += p[i];
        squares += static_cast<std::uint64_t>(p[i]) * p[i];
      }
    }
    const double count = static_cast<double>(row) * static_cast<double>(height);
    const double mean = static_cast<double>(sum) / count;
    const double variance = (static_cast<double>(squares) - static_cast<double>(sum) * mean) / (count - 1.0);
    const double inverse = variance > 0.0 ? 1.0 / std::sqrt(variance) : 0.0;
    scale.assign(channels, static_cast<float>(inverse));
    shift.assign(channels, static_cast<float>(-mean * inverse));
  }

  std::shared_ptr<const Model> model_;
  DefaultExecutor serial_{1};
  Executor* executor_;
  LayerTimes* times_ = nullptr;
  Observer* observer_ = nullptr;
  ResUnet<2>::Plan plan_;
  IntResUnet<2>::Plan int_plan_;
  AlignedBuffer memory_, arena_, shared_;  // the others are parts of the first one
  std::vector<AlignedBuffer> scratch_;
};

}  // namespace microtome
