// GaNDLF's `unet` and `resunet`: the whole network on one screen, then how it is bound to a state_dict and
// run. Source: GaNDLF.models.unet (ResUNet = unet with residualConnections), both historical down-sampling
// blocks.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../core/arena.hpp"
#include "../io/model_info.hpp"
#include "../layers/conv.hpp"
#include "engine_options.hpp"
#include "head.hpp"
#include "net_conv.hpp"
#include "state_dict.hpp"
#include "unet_layers.hpp"
#include "unfused.hpp"

namespace microtome {

/// Rows of a band of the depth-first level 0: a multiple of both Winograd tile sizes and of 2. Few enough
/// that what one layer writes is still in cache when the next one reads it, enough that the two or three rows
/// by which each layer runs ahead stay a small part.
inline constexpr std::int64_t kBandRows = 24;

/// The algorithm for a layer. Below 16 input channels Winograd's transforms cost more than they save. F(6x6)
/// multiplies least, but its weights grow by 7, F(4x4)'s by 4: above 256 x 256 channels that counts for
/// more, and the images there are too small for large tiles.
template <int Rank>
ConvAlgorithm choose_algorithm(const ConvShape& s, bool last) {
  if (last && s.out <= 4 && s.stride == 1 && s.slope == kNoActivation) return ConvAlgorithm::head;
  if (Rank != 2 || s.kernel != 3 || s.stride != 1 || s.inputs() < 16 || last) return ConvAlgorithm::direct;
  return s.inputs() * s.out > 256 * 256 ? ConvAlgorithm::winograd4 : ConvAlgorithm::winograd6;
}

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
 public:
  /// Binds by name. Fills channels, classes, base_filters and topology of `info`; `info.architecture` is
  /// given. Throws InputError naming the tensor, and UsageError if `options` name an algorithm for a layer
  /// that does not exist or cannot use it.
  ResUnet(const SafeTensors& file, ModelInfo& info, const EngineOptions& options = {}) : options_(options) {
    read_unet_shape<Rank>(file, info);
    const StateDict<Rank> b{file, info.transposed, &info.parameters};
    for (const UnetLayer& l : unet_layers(info, options_.low_resolution_1x1)) add(b, l);
    for (const auto& [name, algorithm] : options_.algorithms)
      if (std::none_of(convs_.begin(), convs_.end(), [&, n = &name](const auto& c) { return c.name == *n; }))
        throw UsageError("algorithm", "'" + name + "' is not a layer of this network");
  }

  const std::vector<NetConv<Rank>>& convs() const { return convs_; }

  /// Memory for one input size: where every tensor lives in the arena.
  struct Plan {
    Index<Rank> size{};
    std::vector<Tensor<float, Rank>> tensors;  ///< data = null until bound
    std::vector<std::size_t> offsets;          ///< bytes from the arena's start
    std::size_t arena_bytes = 0;
    std::size_t scratch_bytes = 0;       ///< per worker
    std::size_t shared_bytes = 0;        ///< for all workers together
    std::vector<PassPlan<Rank>> passes;  ///< per convolution; empty in the product, see unfused.hpp
  };

  /// Steps are counted in convolutions; a residual sum is written over the tensor it adds to.
  ///
  /// At full resolution the network runs depth-first, in bands of rows: of ins only x1 and of de_0 nothing
  /// exists as a whole, which halves the memory. The convolutions of a band count as the one step that it is.
  Plan plan(const Index<Rank>& size, int workers) const {
    Plan p;
    p.size = size;
    ArenaPlan arena;
    std::vector<int> ids;
    const auto window = [&](int conv, std::int64_t rows, int first_step, int last_step) {
      const NetConv<Rank>& c = convs_[static_cast<std::size_t>(conv)];
      Tensor<float, Rank> t;
      t.channels = c.conv.out_channels();
      t.size = at_level(size, c.level);
      t.held = std::min(rows, t.size[0]);
      Index<Rank> memory = t.size;
      memory[0] = t.held;
      p.tensors.push_back(t);
      ids.push_back(arena.add(Tensor<float, Rank>::elements(t.channels, memory) * sizeof(float), first_step,
                              last_step));
    };
    const auto tensor = [&](int conv, int last_step) {
      window(conv, at_level(size, convs_[static_cast<std::size_t>(conv)].level)[0], conv, last_step);
    };
    constexpr int us_0 = kDecoder + 4 * 3, last = us_0 + 4;  // de_0 and out
    const std::int64_t band = band_rows(size);
    const bool bands = options_.depth_first;
    // Same order as run(): ins x1, u; per level d, t; per decoder up, t, v.
    window(0, size[0], 0, bands ? last : us_0 + 1);
    window(1, band + 2, bands ? 0 : 1, bands ? 3 : 2);
    for (int k = 0; k < 4; ++k) {
      const int ds = 3 + 3 * k;
      // x5 is read by us_3; x_{k+2} by de_{k+1}.conv0
      window(ds, at_level(size, k + 1)[0], bands && k == 0 ? 0 : ds,
             k == 3 ? kDecoder : kDecoder + 4 * (2 - k) + 1);
      tensor(ds + 1, ds + 2);
    }
    for (int k = 3; k >= 1; --k) {
      const int us = kDecoder + 4 * (3 - k);
      tensor(us, us + 1);
      tensor(us + 1, us + 4);  // d, in place over t: read by the next us
      tensor(us + 2, us + 3);
    }
    tensor(us_0, bands ? last : us_0 + 1);
    window(us_0 + 1, band + 4, us_0 + 1, last);
    window(us_0 + 2, band + 2, bands ? us_0 + 1 : us_0 + 2, bands ? last : us_0 + 3);
    if (!options_.fused()) plan_passes(p, arena);
    arena.solve();
    for (PassPlan<Rank>& passes : p.passes) passes.bind(arena);
    for (const int id : ids) p.offsets.push_back(arena.offset(id));
    p.arena_bytes = arena.total();
    for (const NetConv<Rank>& c : convs_) {
      const std::size_t i = static_cast<std::size_t>(&c - convs_.data());
      Index<Rank> out = at_level(size, c.level);
      out[0] = std::min(out[0], band_of(i));
      p.scratch_bytes = std::max(p.scratch_bytes, c.conv.scratch_bytes(out, workers, &c == &convs_.back()));
      p.shared_bytes = std::max(p.shared_bytes, c.conv.shared_bytes(out));
    }
    return p;
  }

  /// Runs the network on `image` (rows of p.size). `out` receives [classes][outer axes...][width] floats.
  void run(const RunContext& ctx, const Plan& p, const AlignedBuffer& arena,
           const RowSource<float, Rank>& image, FinalLayer final_layer, float sigmoid_multiplier,
           float* out) const {
    const Running now{ctx, p, arena};
    std::size_t next = 0;
    const auto take = [&] {
      T t = p.tensors[next];
      t.data = arena.as<float>(p.offsets[next++]);
      return t;
    };
    const auto conv_rows = [&](std::size_t step, const T& in, const T& to, const Rows& rows) {
      layer(now, step, in, nullptr, to, rows);
    };
    const auto conv = [&](std::size_t step, const T& in, const T& to) {
      conv_rows(step, in, to, {0, to.size[0], to.size[0]});
    };
    const std::int64_t height = p.size[0], band = band_rows(p.size);
    // A row of a 3x3 convolution needs one row more above and below: of a chain, each layer runs one row
    // ahead of the next. done = rows finished of the chain's first layer, its second ...
    const auto ahead = [&](std::int64_t end, std::int64_t n) { return std::min(height, end + n); };

    T skips[4];
    T x = take(), u = take(), down = take();
    for (std::int64_t y = 0, done[2] = {0, 0}; y < height; y += band) {
      const std::int64_t end = ahead(y, band), ends[2] = {ahead(end, 2), ahead(end, 1)};
      roll(u, std::max<std::int64_t>(0, y - 1));
      first(now, image, x, {done[0], ends[0], band});
      conv_rows(1, x, u, {done[1], ends[1], band});
      conv_rows(2, u, x, {y, end, band});
      conv_rows(3, x, down, {y / 2, end / 2, band / 2});
      done[0] = ends[0], done[1] = ends[1];
    }
    std::size_t step = 3;
    for (T& skip : skips) {
      skip = x;
      const T d = step == 3 ? down : take(), t = take();
      if (step != 3) conv(step, x, d);
      ++step;
      conv(step++, d, t);
      conv(step++, t, d);
      x = d;
    }
    for (int k = 3; k >= 1; --k) {
      const T up = take(), t = take(), v = take();
      conv(step++, x, up);
      layer(now, step++, up, &skips[k], t, {0, t.size[0], t.size[0]});
      conv(step++, t, v);
      conv(step++, v, t);
      x = t;
    }
    const T up = take();
    T t = take(), v = take();
    conv(step++, x, up);
    for (std::int64_t y = 0, done[3] = {0, 0, 0}; y < height; y += band) {
      const std::int64_t end = ahead(y, band), ends[3] = {ahead(end, 3), ahead(end, 2), ahead(end, 1)};
      roll(t, std::max<std::int64_t>(0, y - 1));
      roll(v, y);
      layer(now, step, up, &skips[0], t, {done[0], ends[0], band});
      conv_rows(step + 1, t, v, {done[1], ends[1], band});
      conv_rows(step + 2, v, t, {done[2], ends[2], band});
      head(now, t, final_layer, sigmoid_multiplier, {y, end, band}, out);
      for (int i = 0; i < 3; ++i) done[i] = ends[i];
    }
  }

 private:
  // Rows of output that the convolution at `step` computes per call.
  std::int64_t band_of(std::size_t step) const {
    constexpr std::size_t de_0 = kDecoder + 4 * 3 + 1;
    if (!options_.depth_first) return std::numeric_limits<std::int64_t>::max();
    if (step == 3) return kBandRows / 2;
    return step < 3 || step >= de_0 ? kBandRows : std::numeric_limits<std::int64_t>::max();
  }

  static constexpr int kDecoder = 15;  // index of us_3.conv0: 3 of ins, 4 x (ds, en, en)

  static Index<Rank> at_level(Index<Rank> size, int level) {
    for (auto& s : size) s >>= level;
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
    shape.algorithm = algorithm_of(l.name, shape);
    const std::string weight = l.name + ".weight";
    const WeightRows rows = b.kernel(weight, l.out, shape.inputs(), l.kernel);
    const std::vector<float> bias = b.read(l.name + ".bias", {l.out});
    convs_.push_back({l.name, Conv<float, Rank>(std::move(shape), rows, bias, after), std::move(prologues),
                      l.level, l.sources[0].enlarged, l.adds != UnetLayer::kNothing, std::move(passes)});
    b.file.release(b.file.entry(weight));
  }

  ConvAlgorithm algorithm_of(const std::string& name, const ConvShape& shape) const {
    const auto wanted = options_.algorithms.find(name);
    const ConvAlgorithm a = wanted != options_.algorithms.end()
                                ? wanted->second
                                : choose_algorithm<Rank>(shape, name == "out.conv0");
    return is_winograd(a) && !options_.winograd ? ConvAlgorithm::direct : a;
  }

  void plan_passes(Plan& p, ArenaPlan& arena) const {
    constexpr int de_0 = kDecoder + 4 * 3 + 1, last = de_0 + 3;
    for (int i = 0; i <= last; ++i) {
      const NetConv<Rank>& c = convs_[static_cast<std::size_t>(i)];
      const Index<Rank> out = at_level(p.size, c.level);
      const std::int64_t band = band_of(static_cast<std::size_t>(i));
      const bool whole = band >= out[0];
      int first = i, end = i;
      if (options_.depth_first && i <= 3) first = 0, end = 3;
      if (options_.depth_first && i >= de_0) first = de_0, end = last;
      p.passes.emplace_back(options_, c, out, whole ? out[0] : std::min(out[0], band + 3), first, end, i == 0,
                            i == last, arena);
    }
  }

  // ---- running

  using T = Tensor<float, Rank>;

  struct Running {
    const RunContext& ctx;
    const Plan& plan;
    const AlignedBuffer& arena;
  };

  std::int64_t band_rows(const Index<Rank>& size) const {
    return options_.depth_first ? std::min(size[0], kBandRows) : size[0];
  }

  void roll(T& t, std::int64_t row) const {
    if (options_.blocked_layout)
      t.roll(row);
    else
      roll_planar(t, row);
  }

  // ins.conv0, which reads the image.
  void first(const Running& now, const RowSource<float, Rank>& image, const T& to, const Rows& rows) const {
    const LayerClock clock(now.ctx.times, 0);
    write(now, 0, {&image}, to, rows);
  }

  // Every convolution between two tensors; `skip` is the second source of a concatenation, or null.
  void layer(const Running& now, std::size_t step, const T& in, const T* skip, const T& to,
             const Rows& rows) const {
    if (rows.begin >= rows.end) return;
    const LayerClock clock(now.ctx.times, step);
    read(now, step, in, skip, rows,
         [&](const Sources<float, Rank>& sources) { write(now, step, sources, to, rows); });
  }

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
  }

  // out.conv0 and the final activation.
  void head(const Running& now, const T& x, FinalLayer final_layer, float sigmoid_multiplier,
            const Rows& rows, float* out) const {
    const LayerClock clock(now.ctx.times, convs_.size() - 1);
    read(now, convs_.size() - 1, x, nullptr, rows, [&](const Sources<float, Rank>& sources) {
      run_head(now.ctx, convs_.back().conv, sources, now.plan.size, final_layer, sigmoid_multiplier, rows,
               out);
    });
  }

  EngineOptions options_;
  std::vector<NetConv<Rank>> convs_;
};

}  // namespace microtome
