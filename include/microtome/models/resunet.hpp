// GaNDLF's `unet` and `resunet`: the whole network on one screen, then how it is bound to a state_dict and
// run. Source: GaNDLF.models.unet (ResUNet = unet with residualConnections), both historical down-sampling
// blocks.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../core/arena.hpp"
#include "../io/model_info.hpp"
#include "../io/safetensors.hpp"
#include "../layers/conv.hpp"

namespace microtome {

/// One convolution of the network: its packed weights and the prologue of each source it reads.
template <int Rank>
struct NetConv {
  std::string name;  ///< "en_1.conv0"
  Conv<float, Rank> conv;
  std::vector<Prologue> prologues;  ///< one per source; an identity one copies
  int level;                        ///< output resolution: level 0 is the input's, each level halves it
};

/// The algorithm for a layer. Below 16 input channels Winograd's transforms cost more than they save; weights
/// that are transformed late grow by 4 with F(4x4), by 7 with F(6x6).
template <int Rank>
ConvAlgorithm choose_algorithm(const ConvShape& s, bool last) {
  if (last && s.out <= 4 && s.stride == 1 && s.slope == kNoActivation) return ConvAlgorithm::head;
  if (Rank != 2 || s.kernel != 3 || s.stride != 1 || s.inputs() < 16 || last) return ConvAlgorithm::direct;
  return transforms_weights_late(s) ? ConvAlgorithm::winograd4 : ConvAlgorithm::winograd6;
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
  /// given. Throws InputError naming the tensor.
  ResUnet(const SafeTensors& file, ModelInfo& info) {
    const bool residual = info.architecture == "resunet";
    residual_ = residual;
    read_shape(file, info);
    const int f = info.base_filters;
    const Binder b{file, info.transposed, &info.parameters};
    // Without residual connections a block's first convolution has one reader, so the norm behind it folds
    // too.
    const auto first_norm = [&](const std::string& n) {
      return residual ? Affine() : b.norm(n, channels_of(n, f));
    };
    const auto slope = [&](bool activated) { return activated ? kLeakySlope : kNoActivation; };
    const auto prologue = [&](const std::string& n, int c) { return Prologue(b.norm(n, c), kLeakySlope, c); };
    const auto maybe = [&](bool folded, const std::string& n, int c) {
      return folded ? Prologue() : prologue(n, c);
    };

    add(b, "ins.conv0", {info.input_channels}, f, 3, 1, first_norm("ins.in_0"), slope(!residual),
        {Prologue()}, 0);
    add(b, "ins.conv1", {f}, f, 3, 1, b.norm("ins.in_1", f), kLeakySlope, {maybe(!residual, "ins.in_0", f)},
        0);
    add(b, "ins.conv2", {f}, f, 3, 1, {}, kNoActivation, {Prologue()}, 0);
    for (int k = 0; k < 4; ++k) {
      const std::string ds = "ds_" + std::to_string(k), en = "en_" + std::to_string(k + 1);
      const int c = f << k;
      const bool fold_en = info.norm_before_down && !residual;
      if (info.norm_before_down)
        add(b, ds + ".conv0", {c}, 2 * c, 3, 2, fold_en ? b.norm(en + ".in_0", 2 * c) : Affine(),
            slope(fold_en), {prologue(ds + ".in_0", c)}, k + 1);
      else
        add(b, ds + ".conv0", {c}, 2 * c, 3, 2, b.norm(ds + ".in_0", 2 * c), kLeakySlope, {Prologue()},
            k + 1);
      add(b, en + ".conv0", {2 * c}, 2 * c, 3, 1, b.norm(en + ".in_1", 2 * c), kLeakySlope,
          {maybe(fold_en, en + ".in_0", 2 * c)}, k + 1);
      add(b, en + ".conv1", {2 * c}, 2 * c, 3, 1, {}, kNoActivation, {Prologue()}, k + 1);
    }
    for (int k = 3; k >= 0; --k) {
      const std::string us = "us_" + std::to_string(k), de = "de_" + std::to_string(k);
      const int c = f << k, o = k == 0 ? 2 * f : c;
      const Affine cat = b.norm(de + ".in_0", 2 * c);
      add(b, us + ".conv0", {2 * c}, c, 1, 1, slice(cat, 0, c), kNoActivation, {Prologue()}, k + 1);
      add(b, de + ".conv0", {c, c}, o, 3, 1, first_norm(de + ".in_1"), slope(!residual),
          {Prologue(), Prologue(slice(cat, c, c), kLeakySlope, c)}, k);
      add(b, de + ".conv1", {o}, o, 3, 1, b.norm(de + ".in_2", o), kLeakySlope,
          {maybe(!residual, de + ".in_1", o)}, k);
      const bool fold_out = k == 0 && !residual;
      add(b, de + ".conv2", {o}, o, 3, 1, fold_out ? b.norm("out.in_0", o) : Affine(), slope(fold_out),
          {Prologue()}, k);
    }
    add(b, "out.conv0", {2 * f}, info.classes, 3, 1, {}, kNoActivation, {maybe(!residual, "out.in_0", 2 * f)},
        0);
  }

  const std::vector<NetConv<Rank>>& convs() const { return convs_; }

  /// Memory for one input size: where every tensor lives in the arena.
  struct Plan {
    Index<Rank> size{};
    std::vector<Tensor<float, Rank>> tensors;  ///< data = null until bound
    std::vector<std::size_t> offsets;          ///< bytes from the arena's start
    std::size_t arena_bytes = 0;
    std::size_t scratch_bytes = 0;  ///< per worker
    std::size_t shared_bytes = 0;   ///< for all workers together
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
    constexpr int last = kDecoder + 4 * 3 + 4;  // de_0 and out
    // Same order as run(): ins x1, u; per level d, t; per decoder up, t, v.
    window(0, size[0], 0, last);
    window(1, kBandRows + 2, 0, 2);
    for (int k = 0; k < 4; ++k) {
      const int ds = 3 + 3 * k;
      tensor(ds, k == 3 ? kDecoder
                        : kDecoder + 4 * (2 - k) + 1);  // x5 is read by us_3; x_{k+2} by de_{k+1}.conv0
      tensor(ds + 1, ds + 2);
    }
    for (int k = 3; k >= 1; --k) {
      const int us = kDecoder + 4 * (3 - k);
      tensor(us, us + 1);
      tensor(us + 1, us + 4);  // d, in place over t: read by the next us
      tensor(us + 2, us + 3);
    }
    const int us = kDecoder + 4 * 3;
    tensor(us, last);
    window(us + 1, kBandRows + 4, us + 1, last);
    window(us + 2, kBandRows + 2, us + 1, last);
    arena.solve();
    for (const int id : ids) p.offsets.push_back(arena.offset(id));
    p.arena_bytes = arena.total();
    for (const NetConv<Rank>& c : convs_) {
      const Index<Rank> out = at_level(size, c.level);
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
      Tensor<float, Rank> t = p.tensors[next];
      t.data = arena.as<float>(p.offsets[next++]);
      return t;
    };
    using T = Tensor<float, Rank>;
    const auto conv_rows = [&](std::size_t step, const T& in, const T& to, const T* residual,
                               const Rows& rows) {
      const NetConv<Rank>& c = convs_[step];
      const TensorSource<Rank> source(in, &c.prologues[0]);
      c.conv.run(ctx, {&source}, to, residual, rows);
    };
    const auto conv = [&](std::size_t step, const T& in, const T& to, const T* residual) {
      conv_rows(step, in, to, residual, {0, to.size[0]});
    };
    const auto decode = [&](std::size_t step, const T& up, const T& skip, const T& to, const Rows& rows) {
      const NetConv<Rank>& c = convs_[step];
      const UpsampledSource<Rank> enlarged(up, kLeakySlope);
      const TensorSource<Rank> source(skip, &c.prologues[1]);
      c.conv.run(ctx, {&enlarged, &source}, to, nullptr, rows);
    };
    const auto sum = [&](const T& t) { return residual_ ? &t : nullptr; };
    const std::int64_t height = p.size[0];
    // A row of a 3x3 convolution needs one row more above and below: of a chain, each layer runs one row
    // ahead of the next. done = rows finished of the chain's first layer, its second ...
    const auto ahead = [&](std::int64_t end, std::int64_t n) { return std::min(height, end + n); };

    T skips[4];
    T x = take(), u = take();
    for (std::int64_t y = 0, done[2] = {0, 0}; y < height; y += kBandRows) {
      const std::int64_t end = ahead(y, kBandRows), ends[2] = {ahead(end, 2), ahead(end, 1)};
      u.roll(std::max<std::int64_t>(0, y - 1));
      convs_[0].conv.run(ctx, {&image}, x, nullptr, {done[0], ends[0]});
      conv_rows(1, x, u, nullptr, {done[1], ends[1]});
      conv_rows(2, u, x, sum(x), {y, end});
      done[0] = ends[0], done[1] = ends[1];
    }
    std::size_t step = 3;
    for (T& skip : skips) {
      skip = x;
      const T d = take(), t = take();
      conv(step++, x, d, nullptr);
      conv(step++, d, t, nullptr);
      conv(step++, t, d, sum(d));
      x = d;
    }
    for (int k = 3; k >= 1; --k) {
      const T up = take(), t = take(), v = take();
      conv(step++, x, up, nullptr);
      decode(step++, up, skips[k], t, {0, t.size[0]});
      conv(step++, t, v, nullptr);
      conv(step++, v, t, sum(t));
      x = t;
    }
    const T up = take();
    T t = take(), v = take();
    conv(step++, x, up, nullptr);
    for (std::int64_t y = 0, done[3] = {0, 0, 0}; y < height; y += kBandRows) {
      const std::int64_t end = ahead(y, kBandRows), ends[3] = {ahead(end, 3), ahead(end, 2), ahead(end, 1)};
      t.roll(std::max<std::int64_t>(0, y - 1));
      v.roll(y);
      decode(step, up, skips[0], t, {done[0], ends[0]});
      conv_rows(step + 1, t, v, nullptr, {done[1], ends[1]});
      conv_rows(step + 2, v, t, sum(t), {done[2], ends[2]});
      head(ctx, p.size, t, convs_[step + 3], final_layer, sigmoid_multiplier, {y, end}, out);
      for (int i = 0; i < 3; ++i) done[i] = ends[i];
    }
  }

 private:
  static constexpr int kDecoder = 15;  // index of us_3.conv0: 3 of ins, 4 x (ds, en, en)

  // Reads tensors by name and counts their elements.
  struct Binder {
    const SafeTensors& file;
    bool transposed;
    std::int64_t* parameters;

    std::vector<float> read(const std::string& name, const std::vector<std::int64_t>& shape) const {
      std::vector<float> v = file.floats(name, shape);
      *parameters += static_cast<std::int64_t>(v.size());
      return v;
    }
    Affine norm(const std::string& n, int channels) const {
      const std::vector<std::int64_t> c = {channels};
      const std::vector<float> weight = file.floats(n + ".weight", c), bias = file.floats(n + ".bias", c),
                               mean = file.floats(n + ".running_mean", c),
                               var = file.floats(n + ".running_var", c);
      for (const float v : var)
        if (v < 0) throw InputError(file.path(), n + ".running_var", "holds a negative variance");
      return affine_of_norm(weight, bias, mean, var);
    }
    /// Rows of a convolution's weight tensor, in the orientation of the images that will be fed.
    WeightRows kernel(const std::string& n, int out, int in, int k) const {
      std::vector<std::int64_t> shape = {out, in};
      for (int d = 0; d < Rank; ++d) shape.push_back(k);
      const TensorEntry& t = file.float_entry(n, shape);
      *parameters += t.elements();
      const std::size_t row = static_cast<std::size_t>(t.elements()) / static_cast<std::size_t>(out);
      return [this, n, &t, row, k](int o, float* to) {
        file.read(n, t, static_cast<std::size_t>(o) * row, row, to);
        // A network trained on transposed images equals the same network with transposed kernels.
        static_assert(Rank == 2 || Rank == 3, "axis reversal of a square or cubic kernel");
        if (!transposed || k == 1) return;
        const std::size_t size = static_cast<std::size_t>(Rank == 3 ? k * k * k : k * k);
        for (std::size_t at = 0; at < row; at += size)
          for (int y = 0; y < k; ++y)
            for (int x = 0; x < y; ++x)
              for (int z = 0; z < (Rank == 3 ? k : 1); ++z) {
                const auto i = [&](int first, int last) {
                  return at +
                         static_cast<std::size_t>(Rank == 3 ? (first * k + z) * k + last : first * k + last);
                };
                std::swap(to[i(y, x)], to[i(x, y)]);
              }
      };
    }
  };

  static int channels_of(const std::string& norm, int f) {  // of ins.in_0 and de_k.in_1
    if (norm[0] == 'i') return f;
    const int k = norm[3] - '0';
    return k == 0 ? 2 * f : f << k;
  }

  static Index<Rank> at_level(Index<Rank> size, int level) {
    for (auto& s : size) s >>= level;
    return size;
  }

  // Everything the tensor shapes tell: channels, classes, base filters, topology.
  static void read_shape(const SafeTensors& file, ModelInfo& info) {
    const auto shape = [&](const char* name, std::size_t rank) -> const std::vector<std::int64_t>& {
      const TensorEntry& t = file.entry(name);
      if (t.shape.size() != rank)
        throw InputError(
            file.path(), name,
            "has shape " + shape_text(t.shape) + ", " + std::to_string(rank) + " dimensions expected");
      return t.shape;
    };
    const auto bounded = [&](const char* name, std::int64_t v, std::int64_t high) {
      if (v < 1 || v > high)
        throw InputError(file.path(), name,
                         std::to_string(v) + " channels, 1 to " + std::to_string(high) + " supported");
      return static_cast<int>(v);
    };
    const std::vector<std::int64_t>& first = shape("ins.conv0.weight", Rank + 2);
    info.base_filters = bounded("ins.conv0.weight", first[0], 256);
    info.input_channels = bounded("ins.conv0.weight", first[1], kChannelBlock);
    info.classes = bounded("out.conv0.weight", shape("out.conv0.weight", Rank + 2)[0], 256);
    const std::int64_t norm = shape("ds_0.in_0.weight", 1)[0];
    info.norm_before_down = norm == info.base_filters;
    if (!info.norm_before_down && norm != 2 * info.base_filters)
      throw InputError(file.path(), "ds_0.in_0.weight",
                       "has " + std::to_string(norm) + " channels, " + std::to_string(info.base_filters) +
                           " or " + std::to_string(2 * info.base_filters) + " expected");
    info.weight_type = file.entry("ins.conv0.weight").dtype;
    info.parameters = 0;
    for (const auto& [name, t] : file.tensors())
      if (name.size() > 5 && name.find(".in_") != std::string::npos &&
          (name.rfind(".weight") == name.size() - 7 || name.rfind(".bias") == name.size() - 5))
        info.parameters += t.elements();
  }

  void add(const Binder& b, const std::string& name, std::vector<int> in, int out, int kernel, int stride,
           const Affine& after, float slope, std::vector<Prologue> prologues, int level) {
    ConvShape shape{std::move(in), out, kernel, stride, slope, ConvAlgorithm::direct};
    shape.algorithm = choose_algorithm<Rank>(shape, name == "out.conv0");
    const std::string weight = name + ".weight";
    const WeightRows rows = b.kernel(weight, out, shape.inputs(), kernel);
    const std::vector<float> bias = b.read(name + ".bias", {out});
    convs_.push_back(
        {name, Conv<float, Rank>(std::move(shape), rows, bias, after), std::move(prologues), level});
    b.file.release(b.file.entry(weight));
  }

  // out.conv0 and the final activation, tile by tile: no logits tensor.
  void head(const RunContext& ctx, const Index<Rank>& size, const Tensor<float, Rank>& x,
            const NetConv<Rank>& c, FinalLayer final_layer, float sigmoid_multiplier, const Rows& rows,
            float* out) const {
    const TensorSource<Rank> source(x, &c.prologues[0]);
    const std::int64_t plane = volume<Rank>(size);
    c.conv.run_to(
        ctx, {&source}, size, rows,
        [&](const Index<Rank>& begin, const Index<Rank>& end, const Index<Rank>& tile, const float* logits) {
          ProbabilityArgs a{};
          a.classes = c.conv.out_channels();
          a.final_layer = final_layer;
          a.multiplier = sigmoid_multiplier;
          a.plane_stride = plane;
          a.block_stride = volume<Rank>(tile) * kChannelBlock;
          a.width = static_cast<int>(end[Rank - 1] - begin[Rank - 1]);
          for_each_row<Rank>(begin, end, [&](const Index<Rank>& at) {
            std::int64_t row = 0, to = 0;
            for (int d = 0; d < Rank - 1; ++d) row = row * tile[d] + at[d] - begin[d];
            for (int d = 0; d < Rank; ++d) to = to * size[d] + at[d];
            a.logits = logits + row * tile[Rank - 1] * kChannelBlock;
            a.out = out + to;
            ctx.kernels->probabilities_f32(a);
          });
        });
  }

  bool residual_ = true;
  std::vector<NetConv<Rank>> convs_;
};

}  // namespace microtome
