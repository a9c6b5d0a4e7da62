// GaNDLF's `unet` and `resunet`: the whole network on one screen, then how it is bound to a state_dict and
// run. Source: GaNDLF.models.unet (ResUNet = unet with residualConnections), both historical down-sampling
// blocks.
#pragma once
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../core/arena.hpp"
#include "../io/model_info.hpp"
#include "../layers/conv.hpp"
#include "../layers/observer.hpp"
#include "algorithm_choice.hpp"
#include "engine_options.hpp"
#include "head.hpp"
#include "net_conv.hpp"
#include "state_dict.hpp"
#include "unet_layers.hpp"
#include "unet_schedule.hpp"
#include "unfused.hpp"

namespace microtome {

/// Sizes of all axes must be multiples of 16 (four halvings).
///
///   x1 = ins(image)                              f  channels, level 0
///   x2 = en_1(ds_0(x1))  ... x5 = en_4(ds_3(x4))  2f, 4f, 8f, 16f; levels 1..4
///   d  = de_3(us_3(x5), x4) ... de_0(us_0(d), x1) 8f, 4f, 2f, 2f; levels 3..0
///   y  = out(d)
/// with A = LeakyReLU(0.01), n = norm (an affine at inference), r = 1 for resunet and 0 for unet:
///   ins(x):    t = conv0(x);                  y = conv2(A(in_1(conv1(A(in_0(t))))))  + r t
///   ds(x):     y = conv0(A(in_0(x)))          (before GaNDLF 0.0.20: y = A(in_0(conv0(x)))), stride 2
///   en(x):     y = conv1(A(in_1(conv0(A(in_0(x)))))) + r x
///   us(x):     y = conv0_1x1(bilinear2x(x))
///   de(u, s):  t = conv0(A(in_0([u, s])));    y = conv2(A(in_2(conv1(A(in_1(t))))))  + r t
///   out(x):    y = final(conv0(A(in_0(x))))
///
/// What is computed differently, exactly: a norm folds into the convolution before it when nobody else reads
/// that convolution's result; otherwise norm and activation are applied while the next convolution loads its
/// input. us: the 1x1 runs at low resolution and its result is enlarged on load (resize weights sum to 1, so
/// both are linear maps that commute); the first half of de.in_0 folds into it for the same reason. Padding
/// is zero in the activated domain.
template <int Rank>
class ResUnet {
  using T = Tensor<float, Rank>;

 public:
  /// Binds by name. Fills channels, classes, base_filters and topology of `info`; `info.architecture` is
  /// given. Throws InputError naming the tensor, and UsageError if `options` name an algorithm for a layer
  /// that does not exist or cannot use it.
  ResUnet(const SafeTensors& file, ModelInfo& info, const EngineOptions& options = {})
      : options_(options), schedule_{options.depth_first} {
    read_unet_shape<Rank>(file, info);
    const StateDict<Rank> b{file, info.transposed, &info.parameters};
    side_ = options.side > 0 ? options.side : info.patch_size;
    for (const UnetLayer& l : unet_layers(info, options_.low_resolution_1x1)) add(b, l);
    for (const auto& [name, algorithm] : options_.algorithms)
      if (std::none_of(convs_.begin(), convs_.end(), [&, n = &name](const auto& c) { return c.name == *n; }))
        throw UsageError("algorithm", "'" + name + "' is not a layer of this network");
  }

  const std::vector<NetConv<Rank>>& convs() const { return convs_; }

  /// Memory for one input size: where every tensor lives in the arena.
  struct Plan {
    Index<Rank> size{};
    std::vector<T> tensors;            ///< data = null until bound
    std::vector<std::size_t> offsets;  ///< bytes from the arena's start
    std::size_t arena_bytes = 0;
    std::size_t scratch_bytes = 0;       ///< per worker
    std::size_t shared_bytes = 0;        ///< for all workers together
    std::vector<PassPlan<Rank>> passes;  ///< per convolution; empty in the product, see unfused.hpp
  };

  Plan plan(const Index<Rank>& size, int workers) const {
    Plan p;
    p.size = size;
    ArenaPlan arena;
    std::vector<int> ids;
    schedule_.place(size[0], [&](int writer, int, std::int64_t rows, int first_step, int last_step) {
      const NetConv<Rank>& c = convs_[static_cast<std::size_t>(writer)];
      T t;
      t.channels = c.conv.out_channels();
      t.size = at_level(size, c.level);
      t.held = std::min(rows, t.size[0]);
      Index<Rank> memory = t.size;
      memory[0] = t.held;
      p.tensors.push_back(t);
      ids.push_back(arena.add(T::elements(t.channels, memory) * sizeof(float), first_step, last_step));
    });
    if (!options_.fused()) plan_passes(p, arena);
    arena.solve();
    for (PassPlan<Rank>& passes : p.passes) passes.bind(arena);
    for (const int id : ids) p.offsets.push_back(arena.offset(id));
    p.arena_bytes = arena.total();
    for (const NetConv<Rank>& c : convs_) {
      const std::size_t i = static_cast<std::size_t>(&c - convs_.data());
      Index<Rank> out = at_level(size, c.level);
      out[0] = std::min(out[0], schedule_.rows_per_call(static_cast<int>(i)));
      p.scratch_bytes = std::max(p.scratch_bytes, c.conv.scratch_bytes(out, workers, &c == &convs_.back()));
      p.shared_bytes = std::max(p.shared_bytes, c.conv.shared_bytes(out));
    }
    return p;
  }

  /// Runs the network on `image` (rows of p.size). `out` receives [classes][outer axes...][width] floats.
  void run(const RunContext& ctx, const Plan& p, const AlignedBuffer& arena,
           const RowSource<float, Rank>& image, FinalLayer final_layer, float sigmoid_multiplier,
           float* out) const {
    std::size_t next = 0;
    const auto take = [&] {
      T t = p.tensors[next];
      t.data = arena.as<float>(p.offsets[next++]);
      return t;
    };
    schedule_.run<T>(p.size[0], take,
                     Running{*this, ctx, p, arena, image, final_layer, sigmoid_multiplier, out});
  }

 private:
  static Index<Rank> at_level(Index<Rank> size, int level) {
    for (auto& s : size) s >>= level;
    return size;
  }

  Index<Rank> usual_size(int level) const {
    Index<Rank> size{};
    size.fill(std::max<std::int64_t>(1, side_ >> level));
    return size;
  }

  void add(const StateDict<Rank>& b, const UnetLayer& l) {
    const auto slope = [](bool activated) { return activated ? kLeakySlope : kNoActivation; };
    ConvShape shape{{}, l.out, l.kernel, l.stride, slope(l.activated), ConvAlgorithm::direct};
    std::vector<Prologue> prologues;
    for (const UnetSource& s : l.sources) {
      shape.in.push_back(s.channels);
      prologues.emplace_back();
      if (!s.norm.none()) prologues.back() = Prologue(b.norm(s.norm), slope(s.activated), s.channels);
      prologues.back().slope = slope(s.activated);
    }
    Affine after = b.norm(l.norm);
    std::vector<Prologue> passes = split_epilogue(options_, after, shape.slope, l.out);
    const ConvAlgorithm usual = choose_algorithm<Rank>(shape, l.name == "out.conv0", usual_size(l.level));
    shape.algorithm = algorithm_of(l.name, shape, usual);
    const std::string weight = l.name + ".weight";
    const WeightRows rows = b.kernel(weight, l.out, shape.inputs(), l.kernel);
    const std::vector<float> bias = b.read(l.name + ".bias", {l.out});
    convs_.push_back({l.name, Conv<float, Rank>(std::move(shape), rows, bias, after), std::move(prologues),
                      l.level, l.sources[0].enlarged, l.adds != UnetLayer::kNothing, std::move(passes)});
    convs_.back().tuned = convs_.back().conv.algorithm() != usual;
    b.file.release(b.file.entry(weight));
  }

  ConvAlgorithm algorithm_of(const std::string& name, const ConvShape& shape, ConvAlgorithm usual) const {
    const auto wanted = options_.algorithms.find(name);
    const ConvAlgorithm a = wanted != options_.algorithms.end() ? wanted->second : usual;
    if (!can_use<Rank>(a, shape, name == "out.conv0"))
      throw UsageError("algorithm", std::string(to_string(a)) + " cannot compute " + name);
    return is_winograd(a) && !options_.winograd ? ConvAlgorithm::direct : a;
  }

  void plan_passes(Plan& p, ArenaPlan& arena) const {
    constexpr int de_0 = UnetSchedule::kUp + 1, last = UnetSchedule::kSteps - 1;
    for (int i = 0; i <= last; ++i) {
      const NetConv<Rank>& c = convs_[static_cast<std::size_t>(i)];
      const Index<Rank> out = at_level(p.size, c.level);
      const std::int64_t band = schedule_.rows_per_call(i);
      const bool whole = band >= out[0];
      int first = i, end = i;
      if (options_.depth_first && i <= 3) first = 0, end = 3;
      if (options_.depth_first && i >= de_0) first = de_0, end = last;
      p.passes.emplace_back(options_, c, out, whole ? out[0] : std::min(out[0], band + 3), first, end, i == 0,
                            i == last, arena);
    }
  }

  // ---- running

  struct Running {
    const ResUnet& net;
    const RunContext& ctx;
    const Plan& plan;
    const AlignedBuffer& arena;
    const RowSource<float, Rank>& image;
    FinalLayer final_layer;
    float sigmoid_multiplier;
    float* out;

    void first(const T& to, const Rows& rows) const {
      const LayerClock clock(ctx.times, 0);
      net.write(*this, 0, {&image}, to, rows);
    }
    void layer(int step, const T& in, const T* skip, const T& to, const Rows& rows) const {
      if (rows.begin >= rows.end) return;
      const std::size_t i = static_cast<std::size_t>(step);
      const LayerClock clock(ctx.times, i);
      net.read(*this, i, in, skip, rows,
               [&](const Sources<float, Rank>& sources) { net.write(*this, i, sources, to, rows); });
    }
    void head(const T& in, const Rows& rows) const { net.head(*this, in, rows); }
    void roll(T& t, int, std::int64_t row) const {
      if (net.options_.blocked_layout)
        t.roll(row);
      else
        roll_planar(t, row);
    }
  };

  // Hands a convolution's sources to f.
  template <class F>
  void read(const Running& now, std::size_t step, const T& in, const T* skip, const Rows& rows, F&& f) const {
    const NetConv<Rank>& c = convs_[step];
    if (!options_.fused())
      return read_unfused(now.ctx, options_, now.plan.passes[step], now.arena, c, in, skip, rows, f);
    std::optional<UpsampledSource<Rank>> enlarged;
    std::optional<TensorSource<Rank>> source, second;
    Sources<float, Rank> sources;
    if (c.enlarges)
      sources.push_back(&enlarged.emplace(in, c.prologues[0].slope));
    else
      sources.push_back(&source.emplace(in, &c.prologues[0]));
    if (skip) sources.push_back(&second.emplace(*skip, &c.prologues[1]));
    f(sources);
  }

  void write(const Running& now, std::size_t step, const Sources<float, Rank>& sources, const T& to,
             const Rows& rows) const {
    const NetConv<Rank>& c = convs_[step];
    if (!options_.fused())
      return write_unfused(now.ctx, options_, now.plan.passes[step], now.arena, c, sources, to, rows);
    c.conv.run(now.ctx, sources, to, c.adds ? &to : nullptr, rows);
    if (!now.ctx.observer || rows.begin >= rows.end) return;
    observe_input<Rank>(*now.ctx.observer, *now.ctx.kernels, step, sources, c.conv.shape().stride, rows.begin,
                        rows.end);
    observe_output<Rank>(*now.ctx.observer, step, to, rows.begin, rows.end);
  }

  // out.conv0 and the final activation.
  void head(const Running& now, const T& x, const Rows& rows) const {
    const LayerClock clock(now.ctx.times, convs_.size() - 1);
    read(now, convs_.size() - 1, x, nullptr, rows, [&](const Sources<float, Rank>& sources) {
      run_head(now.ctx, convs_.back().conv, sources, now.plan.size, now.final_layer, now.sigmoid_multiplier,
               rows, now.out);
      if (now.ctx.observer)
        observe_input<Rank>(*now.ctx.observer, *now.ctx.kernels, convs_.size() - 1, sources, 1, rows.begin,
                            rows.end);
    });
  }

  EngineOptions options_;
  UnetSchedule schedule_;
  std::int64_t side_ = 0;  // of usual images
  std::vector<NetConv<Rank>> convs_;
};

}  // namespace microtome
