// GaNDLF's `unet` and `resunet` in integers: the network of a quantized file, exact on every CPU. Same
// convolutions and same order as resunet.hpp; what numbers become between them is in core/requantize.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../core/arena.hpp"
#include "../core/exp_table.hpp"
#include "../io/model_info.hpp"
#include "../layers/int_conv.hpp"
#include "engine_options.hpp"
#include "head.hpp"
#include "quantized_reader.hpp"
#include "unet_layers.hpp"
#include "unet_schedule.hpp"

namespace microtome {

/// How a convolution reads one of its sources.
struct IntSource {
  bool raw = false;                     ///< 16 bits
  std::optional<RawPrologue> prologue;  ///< of raws; none: as they are, or enlarged
  ActStep step;                         ///< of what is enlarged; for acts only the zero point
};

/// One convolution of an integer network.
template <int Rank>
struct IntNetConv {
  std::string name;
  IntConv<Rank> conv;
  QuantOutput output;
  std::vector<IntSource> sources;
  int level;
  bool enlarges, adds;     ///< as in NetConv
  bool winograd_is_exact;  ///< for its weights
  bool tuned;              ///< as in NetConv
};

/// Whether the weights of `c` may be computed in Winograd's domain, exactly.
inline bool winograd_is_exact(const QuantizedConv& c) {
  if (c.weight_bits != 8) return false;
  for (std::size_t o = 0; o < c.outputs(); ++o)
    if (!winograd_is_exact(c.weight.data() + o * c.taps(), c.taps())) return false;
  return true;
}

/// The algorithm for a layer. As for floats, below 16 input channels Winograd's transforms cost more than
/// they save.
template <int Rank>
ConvAlgorithm choose_int_algorithm(const ConvShape& s, bool winograd_is_exact, bool last) {
  const bool winograd =
      Rank == 2 && s.kernel == 3 && s.stride == 1 && s.inputs() >= 16 && !last && winograd_is_exact;
  return winograd ? ConvAlgorithm::winograd4 : ConvAlgorithm::direct;
}

template <int Rank>
class IntResUnet {
  // Acts; raws where the layer that writes it says so: the pointer is then one to 16 bits.
  using T = Tensor<std::uint8_t, Rank>;

 public:
  /// Binds by name. Fills channels, classes, base_filters and topology of `info`; `info.architecture` is
  /// given. Of `options` bands, Winograd and algorithms count; integer networks are always fused. Throws
  /// InputError naming file and tensor, UsageError if `options` ask for what cannot be.
  IntResUnet(const SafeTensors& file, ModelInfo& info, const EngineOptions& options = {})
      : options_(options) {
    if (!options_.fused() || !options_.low_resolution_1x1)
      throw UsageError("options", "the parts of an integer network cannot be run unfused");
    read_unet_channels<Rank>(file, info);
    info.weight_type = "I8";  // the first layer's may have 16 bits
    const auto topology = file.metadata().find("topology");
    if (topology != file.metadata().end() && topology->second != "new")
      throw InputError(file.path(), "topology",
                       "'" + topology->second + "' cannot be run in integers; 'new' expected");
    info.norm_before_down = true;
    const std::vector<UnetLayer> layers = unet_layers(info);
    const QuantizedReader<Rank> reader(file, info.transposed);
    std::vector<QuantizedConv> scales;  // of layers read, without weights
    for (std::size_t i = 0; i < layers.size(); ++i) {
      QuantizedConv c = reader.read(layers, i);
      check_wiring(file.path(), layers[i], c, scales);
      info.parameters += static_cast<std::int64_t>(c.weight.size() + c.bias.size());
      add(layers, i, c);
      if (i == 0) table_ = std::move(c.table), table_zero_point_ = c.input_zero_point;
      c.weight = {};
      scales.push_back(std::move(c));
    }
    for (const auto& [name, algorithm] : options_.algorithms)
      if (std::none_of(convs_.begin(), convs_.end(), [&, n = &name](const auto& c) { return c.name == *n; }))
        throw UsageError("algorithm", "'" + name + "' is not a layer of this network");
    schedule_.bands = options_.depth_first;
    schedule_.first_apart = convs_[0].output != convs_[2].output;
  }

  const std::vector<IntNetConv<Rank>>& convs() const { return convs_; }
  /// What the values of a pixel become: [channels][256] acts with this zero point.
  const std::vector<std::uint8_t>& table() const { return table_; }
  int table_zero_point() const { return table_zero_point_; }

  struct Plan {
    Index<Rank> size{};
    std::vector<T> tensors;            ///< data = null until bound
    std::vector<std::size_t> offsets;  ///< bytes from the arena's start
    std::size_t arena_bytes = 0;
    std::size_t scratch_bytes = 0;  ///< per worker
    std::size_t shared_bytes = 0;   ///< for all workers together
  };

  Plan plan(const Index<Rank>& size, int workers) const {
    Plan p;
    p.size = size;
    ArenaPlan arena;
    std::vector<int> ids;
    schedule_.place(size[0], [&](int writer, int last_writer, std::int64_t rows, int first, int last) {
      const IntNetConv<Rank>& c = at(writer);
      T t;
      t.channels = c.conv.out_channels();
      t.size = at_level(size, c.level);
      t.held = std::min(rows, t.size[0]);
      Index<Rank> memory = t.size;
      memory[0] = t.held;
      p.tensors.push_back(t);
      ids.push_back(arena.add(T::elements(t.channels, memory) * std::max(bytes(writer), bytes(last_writer)),
                              first, last));
    });
    arena.solve();
    for (const int id : ids) p.offsets.push_back(arena.offset(id));
    p.arena_bytes = arena.total();
    for (int i = 0; i < UnetSchedule::kSteps; ++i) {
      const IntConv<Rank>& conv = at(i).conv;
      Index<Rank> out = at_level(size, at(i).level);
      out[0] = std::min(out[0], schedule_.rows_per_call(i));
      const bool last = i + 1 == UnetSchedule::kSteps;
      p.scratch_bytes = std::max(p.scratch_bytes, conv.scratch_bytes(out, workers, last));
      p.shared_bytes = std::max(p.shared_bytes, conv.shared_bytes(out));
    }
    return p;
  }

  /// Runs the network on `image` (acts with table_zero_point(), rows of p.size). `out` receives
  /// [classes][outer axes...][width] floats.
  void run(const RunContext& ctx, const Plan& p, const AlignedBuffer& arena,
           const RowSource<std::int16_t, Rank>& image, FinalLayer final_layer, float* out) const {
    std::size_t next = 0;
    const auto take = [&] {
      T t = p.tensors[next];
      t.data = arena.as<std::uint8_t>(p.offsets[next++]);
      return t;
    };
    schedule_.run<T>(p.size[0], take, Running{*this, ctx, p, image, final_layer, out});
  }

 private:
  const IntNetConv<Rank>& at(int step) const { return convs_[static_cast<std::size_t>(step)]; }
  std::size_t bytes(int step) const { return at(step).output == QuantOutput::raw ? 2 : 1; }

  static Index<Rank> at_level(Index<Rank> size, int level) {
    for (auto& s : size) s >>= level;
    return size;
  }

  // What one layer writes must be what the next one reads.
  static void check_wiring(const std::string& path, const UnetLayer& l, const QuantizedConv& c,
                           const std::vector<QuantizedConv>& earlier) {
    const auto require = [&](bool good, const char* tensor, const std::string& why) {
      if (!good) throw InputError(path, l.name + "." + tensor, why);
    };
    require(c.output != QuantOutput::raw || !l.activated, "output", "16 bits cannot be activated");
    if (l.adds != UnetLayer::kNothing)
      require(earlier[static_cast<std::size_t>(l.adds)].output_scale == c.output_scale, "output_scale",
              "is not that of " + earlier[static_cast<std::size_t>(l.adds)].name + ", to which it is added");
    if (c.reads_raw) require(c.input_zero_point == 0, "input_zero_point", "16 bits have none: 0 expected");
    for (const UnetSource& s : l.sources) {
      if (s.layer == UnetSource::kImage) continue;
      const QuantizedConv& writer = earlier[static_cast<std::size_t>(s.layer)];
      if (writer.output == QuantOutput::act)
        require(writer.output_zero_point == c.input_zero_point, "input_zero_point",
                "is not the output_zero_point of " + writer.name);
    }
  }

  void add(const std::vector<UnetLayer>& layers, std::size_t i, const QuantizedConv& c) {
    const UnetLayer& l = layers[i];
    const auto slope = [](bool activated) { return activated ? kLeakySlope : kNoActivation; };
    ConvShape shape{{}, l.out, l.kernel, l.stride, slope(l.activated), ConvAlgorithm::direct};
    std::vector<IntSource> sources;
    std::size_t raws = 0;
    for (const UnetSource& s : l.sources) {
      shape.in.push_back(s.channels);
      IntSource& source = sources.emplace_back();
      source.step.zero_point = c.input_zero_point;
      source.raw = s.layer != UnetSource::kImage && at(s.layer).output == QuantOutput::raw;
      if (!source.raw || c.reads_raw) continue;
      const QuantizedSource& q = c.sources[raws++];
      source.step.m_pos = q.multiplier;
      source.step.m_neg = q.multiplier * slope(s.activated);
      if (!s.enlarged) source.prologue.emplace(q.scale, q.shift, source.step);
    }
    const bool exact = winograd_is_exact(c);
    const ConvAlgorithm usual = choose_int_algorithm<Rank>(shape, exact, c.output == QuantOutput::logits);
    const auto wanted = options_.algorithms.find(c.name);
    shape.algorithm = wanted != options_.algorithms.end() ? wanted->second : usual;
    if (is_winograd(shape.algorithm) && c.output == QuantOutput::logits)
      throw UsageError("algorithm", std::string(to_string(shape.algorithm)) + " cannot compute " + c.name);
    if (!options_.winograd) shape.algorithm = ConvAlgorithm::direct;
    const bool tuned = shape.algorithm != usual;
    const IntScaling scaling{c.bias, c.multiplier, c.output_zero_point};
    const IntRows rows = [&](int o, std::int16_t* row) {
      std::copy_n(c.weight.data() + static_cast<std::size_t>(o) * c.taps(), c.taps(), row);
    };
    convs_.push_back({l.name, IntConv<Rank>(std::move(shape), rows, scaling), c.output, std::move(sources),
                      l.level, l.sources[0].enlarged, l.adds != UnetLayer::kNothing, exact, tuned});
  }

  // ---- running

  static Tensor<std::int16_t, Rank> raw(const T& t) {
    return {reinterpret_cast<std::int16_t*>(t.data), t.channels, t.size, t.origin, t.held};
  }

  // One source of each kind there is, on the stack.
  class AnySource {
   public:
    const RowSource<std::int16_t, Rank>* bind(const IntSource& s, bool enlarged, const T& t) {
      if (!s.raw) return &act_.emplace(t, s.step.zero_point);
      if (enlarged) return &enlarged_.emplace(raw(t), s.step);
      return &raw_.emplace(raw(t), s.prologue ? &*s.prologue : nullptr);
    }

   private:
    std::optional<ActSource<Rank>> act_;
    std::optional<RawSource<Rank>> raw_;
    std::optional<UpsampledRawSource<Rank>> enlarged_;
  };

  struct Running {
    const IntResUnet& net;
    const RunContext& ctx;
    const Plan& plan;
    const RowSource<std::int16_t, Rank>& image;
    FinalLayer final_layer;
    float* out;

    void first(const T& to, const Rows& rows) const {
      const LayerClock clock(ctx.times, 0);
      write(0, {&image}, to, rows);
    }
    void layer(int step, const T& in, const T* skip, const T& to, const Rows& rows) const {
      if (rows.begin >= rows.end) return;
      const LayerClock clock(ctx.times, static_cast<std::size_t>(step));
      const IntNetConv<Rank>& c = net.at(step);
      AnySource first_source, second_source;
      Sources<std::int16_t, Rank> sources{first_source.bind(c.sources[0], c.enlarges, in)};
      if (skip) sources.push_back(second_source.bind(c.sources[1], false, *skip));
      write(step, sources, to, rows);
    }
    void head(const T& in, const Rows& rows) const {
      const LayerClock clock(ctx.times, net.convs_.size() - 1);
      const IntNetConv<Rank>& c = net.convs_.back();
      AnySource source;
      run_head(ctx, c.conv, {source.bind(c.sources[0], false, in)}, plan.size, final_layer, rows, out);
    }
    void roll(T& t, int step, std::int64_t row) const {
      if (net.bytes(step) == 1) return t.roll(row);
      Tensor<std::int16_t, Rank> wide = raw(t);
      wide.roll(row);
      t.origin = wide.origin;
    }

   private:
    void write(int step, const Sources<std::int16_t, Rank>& sources, const T& to, const Rows& rows) const {
      const IntNetConv<Rank>& c = net.at(step);
      if (c.output == QuantOutput::act) return c.conv.run(ctx, sources, to, rows);
      const Tensor<std::int16_t, Rank> wide = raw(to);
      c.conv.run(ctx, sources, wide, c.adds ? &wide : nullptr, rows);
    }
  };

  EngineOptions options_;
  UnetSchedule schedule_;
  std::vector<IntNetConv<Rank>> convs_;
  std::vector<std::uint8_t> table_;
  int table_zero_point_ = 0;
};

}  // namespace microtome
