// GaNDLF's `unet` and `resunet` as a list of convolutions: what each of them reads, what happens to that on
// the way, and which norm is folded into it. Everything that runs or rewrites the network is built from this
// list; the formulas it stands for, and why it is right, are at class ResUnet.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "../io/model_info.hpp"

namespace microtome {

/// `count` channels, from `first` on, of the norm with that name and `channels` channels. No name: no norm.
struct NormPart {
  std::string name;
  int channels = 0, first = 0, count = 0;
  bool none() const { return name.empty(); }
};

/// What a convolution reads.
struct UnetSource {
  static constexpr int kImage = -1;
  int layer = kImage;      ///< index of the convolution whose result it is
  int channels = 0;        ///< of that result
  NormPart norm;           ///< applied on the way, if any
  bool activated = false;  ///< then LeakyReLU
  bool enlarged = false;   ///< enlarged x2 before all that
  bool copied() const { return norm.none() && !activated && !enlarged; }
};

/// One convolution: result = leaky(norm(conv(sources))) + residual.
struct UnetLayer {
  static constexpr int kNothing = -1;
  std::string name;                 ///< "en_1.conv0"
  std::vector<UnetSource> sources;  ///< in concat order
  int out = 0, kernel = 3, stride = 1;
  NormPart norm;           ///< folded into it, if any
  bool activated = false;  ///< LeakyReLU behind it
  int level = 0;           ///< resolution of the result: level 0 is the image's, each level halves it
  int adds = kNothing;     ///< index of the convolution to whose result it is added: the residual

  int inputs() const {
    int n = 0;
    for (const UnetSource& s : sources) n += s.channels;
    return n;
  }
};

/// The convolutions in the order in which they run. `info`: architecture, channels, classes, base filters and
/// topology. `low_resolution_1x1`: the 1x1 convolution of us runs before the enlargement, not behind it.
inline std::vector<UnetLayer> unet_layers(const ModelInfo& info, bool low_resolution_1x1 = true) {
  const bool residual = info.architecture == "resunet";
  const int f = info.base_filters;
  std::vector<UnetLayer> layers;
  const auto last = [&] { return static_cast<int>(layers.size()) - 1; };
  const auto whole = [](const std::string& name, int channels) {
    return NormPart{name, channels, 0, channels};
  };
  const auto copy = [&](int layer, int channels) { return UnetSource{layer, channels, {}, false, false}; };
  // A source with norm and activation; just a copy where both are in the convolution that made it.
  const auto source = [&](int layer, const NormPart& norm, bool folded = false) {
    return UnetSource{layer, norm.count, folded ? NormPart() : norm, !folded, false};
  };
  const auto add = [&](std::string name, std::vector<UnetSource> sources, int out, const NormPart& norm,
                       int level) -> UnetLayer& {
    layers.push_back({std::move(name), std::move(sources), out, 3, 1, norm, !norm.none(), level});
    return layers.back();
  };
  // Without residual connections a block's first convolution has one reader, so the norm behind it folds too.
  const auto first_norm = [&](const std::string& name, int c) {
    return residual ? NormPart() : whole(name, c);
  };
  const auto sum_with = [&](int layer) { return residual ? layer : UnetLayer::kNothing; };

  add("ins.conv0", {copy(UnetSource::kImage, info.input_channels)}, f, first_norm("ins.in_0", f), 0);
  add("ins.conv1", {source(0, whole("ins.in_0", f), !residual)}, f, whole("ins.in_1", f), 0);
  add("ins.conv2", {copy(1, f)}, f, {}, 0).adds = sum_with(0);
  int results[5] = {last()};  // per level
  for (int k = 0; k < 4; ++k) {
    const std::string ds = "ds_" + std::to_string(k), en = "en_" + std::to_string(k + 1);
    const int c = f << k, x = results[k];
    const bool fold_en = info.norm_before_down && !residual;
    const NormPart before_en = whole(en + ".in_0", 2 * c);
    if (info.norm_before_down)
      add(ds + ".conv0", {source(x, whole(ds + ".in_0", c))}, 2 * c, fold_en ? before_en : NormPart(), k + 1);
    else
      add(ds + ".conv0", {copy(x, c)}, 2 * c, whole(ds + ".in_0", 2 * c), k + 1);
    layers.back().stride = 2;
    const int down = last();
    add(en + ".conv0", {source(down, before_en, fold_en)}, 2 * c, whole(en + ".in_1", 2 * c), k + 1);
    add(en + ".conv1", {copy(last(), 2 * c)}, 2 * c, {}, k + 1).adds = sum_with(down);
    results[k + 1] = last();
  }
  for (int k = 3, x = results[4]; k >= 0; --k) {
    const std::string us = "us_" + std::to_string(k), de = "de_" + std::to_string(k);
    const int c = f << k, o = k == 0 ? 2 * f : c;
    UnetLayer& up =
        add(us + ".conv0", {copy(x, 2 * c)}, c, {de + ".in_0", 2 * c, 0, c}, low_resolution_1x1 ? k + 1 : k);
    up.kernel = 1;
    up.activated = up.sources[0].enlarged = !low_resolution_1x1;
    UnetSource enlarged = copy(last(), c);
    enlarged.activated = enlarged.enlarged = low_resolution_1x1;
    add(de + ".conv0", {enlarged, source(results[k], {de + ".in_0", 2 * c, c, c})}, o,
        first_norm(de + ".in_1", o), k);
    const int first = last();
    add(de + ".conv1", {source(first, whole(de + ".in_1", o), !residual)}, o, whole(de + ".in_2", o), k);
    const bool fold_out = k == 0 && !residual;
    add(de + ".conv2", {copy(last(), o)}, o, fold_out ? whole("out.in_0", o) : NormPart(), k).adds =
        sum_with(first);
    x = last();
  }
  add("out.conv0", {source(last(), whole("out.in_0", 2 * f), !residual)}, info.classes, {}, 0);
  return layers;
}

}  // namespace microtome
