// Integer networks for tests: random but valid files, and what they compute, evaluated one number at a time.
#pragma once
#include <microtome/core/exp_table.hpp>
#include <microtome/core/parallel.hpp>
#include <microtome/core/requantize.hpp>
#include <microtome/models/int_resunet.hpp>
#include <microtome/models/quantized_reader.hpp>
#include <microtome/models/unet_layers.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "io/safetensors_file.hpp"

namespace microtome_test {

using namespace microtome;

struct IntNet {
  std::vector<UnetLayer> layers;
  std::vector<QuantizedConv> convs;
  std::map<std::string, std::string> metadata;

  QuantizedConv& conv(const std::string& name) {
    return *std::find_if(convs.begin(), convs.end(), [&](const auto& c) { return c.name == name; });
  }

  SafeTensorsFile file() const {
    SafeTensorsFile f;
    for (const auto& [key, value] : metadata)
      f.metadata += (f.metadata.empty() ? "{\"" : ",\"") + key + "\":\"" + value + "\"";
    f.metadata += "}";
    for (const QuantizedConv& c : convs) {
      const auto add = [&](const std::string& name, const char* type, std::vector<std::int64_t> shape,
                           const auto& v) {
        f.add_raw(c.name + "." + name, type, shape, v.data(), v.size() * sizeof v[0]);
      };
      const auto add_list = [&](const std::string& name, const char* type, const auto& v) {
        add(name, type, {static_cast<std::int64_t>(v.size())}, v);
      };
      using Floats = std::vector<float>;
      using Integers = std::vector<std::int32_t>;
      if (c.weight_bits == 16)
        add("weight", "I16", c.weight_shape, c.weight);
      else
        add("weight", "I8", c.weight_shape, std::vector<std::int8_t>(c.weight.begin(), c.weight.end()));
      add_list("weight_scale", "F32", c.weight_scale);
      add_list("bias", "I32", c.bias);
      add_list("multiplier", "F32", c.multiplier);
      add_list("output_scale", "F32", Floats{c.output_scale});
      add_list("output_zero_point", "I32", Integers{c.output_zero_point});
      add_list("input_scale", "F32", Floats{c.input_scale});
      add_list("input_zero_point", "I32", Integers{c.input_zero_point});
      if (!c.table.empty())
        add("table", "U8", {static_cast<std::int64_t>(c.table.size()) / 256, 256}, c.table);
      for (std::size_t i = 0; i < c.sources.size(); ++i) {
        const std::string s = "source" + std::to_string(i) + ".";
        add_list(s + "multiplier", "F32", Floats{c.sources[i].multiplier});
        if (c.sources[i].scale.empty()) continue;
        add_list(s + "scale", "I16", c.sources[i].scale);
        add_list(s + "shift", "I32", c.sources[i].shift);
      }
    }
    return f;
  }
};

/// Numbers that use the ranges there are: acts spread around zero points, raws over thousands.
inline IntNet random_int_net(const std::string& architecture, int base, int channels, int classes) {
  std::mt19937 rng(17);
  const auto integer = [&](int low, int high) {
    return low + static_cast<int>(rng() % static_cast<std::uint32_t>(high - low + 1));
  };
  const auto real = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(rng() >> 8) * 0x1p-24;
  };
  constexpr double kAct = 50.0, kRaw = 4000.0, kWeight = 40.0;  // typical magnitudes
  ModelInfo info;
  info.architecture = architecture;
  info.base_filters = base, info.input_channels = channels, info.classes = classes;
  IntNet net;
  net.layers = unet_layers(info);
  net.metadata = {{"architecture", architecture},
                  {"quantization", "int8"},
                  {"quantization_version", "1"},
                  {"topology", "new"},
                  {"final_layer", classes == 1 ? "sigmoid" : "softmax"}};
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const UnetLayer& l = net.layers[i];
    QuantizedConv c;
    c.name = l.name;
    c.output = output_of(net.layers, static_cast<int>(i));
    c.reads_raw = l.kernel == 1;
    net.metadata[l.name + ".output"] = to_string(c.output);
    c.weight_shape = {l.out, l.inputs(), l.kernel, l.kernel};
    const int taps = l.inputs() * l.kernel * l.kernel;
    c.output_scale = 0.25f;
    c.output_zero_point = c.output == QuantOutput::act ? integer(0, 60) : 0;
    c.input_zero_point = c.reads_raw ? 0 : integer(60, 140);
    for (const UnetSource& s : l.sources)
      if (s.layer != UnetSource::kImage) {
        const QuantizedConv& writer = net.convs[static_cast<std::size_t>(s.layer)];
        if (writer.output == QuantOutput::act) {
          c.input_zero_point = writer.output_zero_point;
          continue;
        }
        if (c.reads_raw) continue;
        QuantizedSource& q = c.sources.emplace_back();
        q.multiplier = static_cast<float>(kAct / kRaw / 16384.0);
        if (s.enlarged) continue;
        q.multiplier = static_cast<float>(kAct / (kRaw * 1000.0));
        for (int k = 0; k < s.channels; ++k) {
          q.scale.push_back(static_cast<std::int16_t>(integer(-1500, 1500)));
          q.shift.push_back(integer(-1000000, 1000000));
        }
      }
    if (i == 0)
      for (int v = 0; v < channels * 256; ++v) c.table.push_back(static_cast<std::uint8_t>(255 - v % 256));
    if (i == 0 && classes > 1) c.weight_bits = 16;
    const double middle = c.weight_bits == 16 ? 200 * kWeight : kWeight;
    const double typical = middle * std::sqrt(taps) * (c.reads_raw ? kRaw : kAct);
    for (int o = 0; o < l.out; ++o) {
      int sum = 0;
      for (int t = 0; t < taps; ++t) {
        const double most = c.largest_weight();
        const int w = static_cast<int>(std::clamp(real(-2 * middle, 2 * middle), -most, most));
        c.weight.push_back(static_cast<std::int16_t>(w));
        sum += w;
      }
      c.weight_scale.push_back(0.01f);
      c.bias.push_back(-c.input_zero_point * sum + static_cast<int>(real(-typical, typical)));
      const double target = c.output == QuantOutput::act ? kAct : c.output == QuantOutput::raw ? kRaw : 300.0;
      c.multiplier.push_back(static_cast<float>(target / typical * real(0.5, 1.5)));
    }
    net.convs.push_back(std::move(c));
  }
  return net;
}

/// Whole numbers, [channel][y][x].
struct IntPlanes {
  int channels = 0, height = 0, width = 0;
  std::vector<std::int32_t> v;

  IntPlanes() = default;
  IntPlanes(int c, int h, int w)
      : channels(c), height(h), width(w), v(static_cast<std::size_t>(c) * static_cast<std::size_t>(h * w)) {}
  std::int32_t& at(int c, int y, int x) { return v[static_cast<std::size_t>((c * height + y) * width + x)]; }
  std::int32_t at(int c, int y, int x) const {
    return v[static_cast<std::size_t>((c * height + y) * width + x)];
  }
};

/// 2^14 times `in`, enlarged x2 with 7-bit weights.
inline IntPlanes enlarge(const IntPlanes& in) {
  IntPlanes out(in.channels, 2 * in.height, 2 * in.width);
  struct Tap {
    int lo, hi, upper;
  };
  const auto tap = [](int i, int n) {
    const double at = static_cast<double>(i * (n - 1)) / (2 * n - 1);
    const int lo = i * (n - 1) / (2 * n - 1);
    return Tap{lo, std::min(lo + 1, n - 1), static_cast<int>(std::floor(128.0 * (at - lo) + 0.5))};
  };
  for (int c = 0; c < out.channels; ++c)
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x) {
        const Tap a = tap(y, in.height), b = tap(x, in.width);
        const auto row = [&](int r) {
          return (128 - b.upper) * in.at(c, r, b.lo) + b.upper * in.at(c, r, b.hi);
        };
        out.at(c, y, x) = (128 - a.upper) * row(a.lo) + a.upper * row(a.hi);
      }
  return out;
}

/// The network's logits for interleaved pixels.
inline IntPlanes int_logits(const IntNet& net, const std::vector<std::uint8_t>& pixels, int height,
                            int width) {
  std::vector<IntPlanes> results;
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const UnetLayer& l = net.layers[i];
    const QuantizedConv& c = net.convs[i];
    IntPlanes in(l.inputs(), l.stride * (height >> l.level), l.stride * (width >> l.level));
    int channel = 0;
    std::size_t raws = 0;
    for (const UnetSource& s : l.sources) {
      IntPlanes from(s.channels, in.height, in.width);
      const bool image = s.layer == UnetSource::kImage;
      if (image) {
        for (int k = 0; k < s.channels; ++k)
          for (int p = 0; p < height * width; ++p)
            from.v[static_cast<std::size_t>(k * height * width + p)] =
                c.table[static_cast<std::size_t>(k * 256) +
                        pixels[static_cast<std::size_t>(p * s.channels + k)]];
      } else {
        from = results[static_cast<std::size_t>(s.layer)];
        if (s.enlarged) from = enlarge(from);
      }
      if (!image && !c.reads_raw && net.convs[static_cast<std::size_t>(s.layer)].output == QuantOutput::raw) {
        const QuantizedSource& q = c.sources[raws++];
        const float m = q.multiplier, slope = s.activated ? 0.01f : 1.0f;
        for (int k = 0; k < s.channels; ++k)
          for (int p = 0; p < in.height * in.width; ++p) {
            std::int32_t& v = from.v[static_cast<std::size_t>(k * in.height * in.width + p)];
            if (!s.enlarged)
              v = v * q.scale[static_cast<std::size_t>(k)] + q.shift[static_cast<std::size_t>(k)];
            v = to_act(v, m, m * slope, c.input_zero_point);
          }
      }
      std::copy(from.v.begin(), from.v.end(), &in.at(channel, 0, 0));
      channel += s.channels;
    }
    IntPlanes out(l.out, height >> l.level, width >> l.level);
    for (int o = 0; o < l.out; ++o)
      for (int y = 0; y < out.height; ++y)
        for (int x = 0; x < out.width; ++x) {
          const std::size_t at = static_cast<std::size_t>(o);
          const std::int16_t* w = c.weight.data() + at * c.taps();
          std::int32_t v = c.bias[at];
          for (int k = 0; k < in.channels; ++k)
            for (int ky = 0; ky < l.kernel; ++ky)
              for (int kx = 0; kx < l.kernel; ++kx) {
                const int iy = y * l.stride + ky - l.kernel / 2, ix = x * l.stride + kx - l.kernel / 2;
                const bool inside = iy >= 0 && iy < in.height && ix >= 0 && ix < in.width;
                v += *w++ * (inside ? in.at(k, iy, ix) : c.input_zero_point);
              }
          const float m = c.multiplier[at];
          std::int32_t& result = out.at(o, y, x);
          if (c.output == QuantOutput::act)
            result = to_act(v, m, m * (l.activated ? 0.01f : 1.0f), c.output_zero_point);
          else if (c.output == QuantOutput::logits)
            result = to_logit(v, m);
          else
            result = to_raw(
                v, m,
                l.adds == UnetLayer::kNothing
                    ? std::int16_t{0}
                    : static_cast<std::int16_t>(results[static_cast<std::size_t>(l.adds)].at(o, y, x)));
        }
    results.push_back(std::move(out));
  }
  return results.back();
}

/// Softmax over the channels, or the sigmoid of one.
inline std::vector<float> int_probabilities(const IntPlanes& logits) {
  std::vector<float> out(logits.v.size());
  const std::size_t plane = static_cast<std::size_t>(logits.height * logits.width);
  const auto power = [](std::int32_t below) { return kExpTable.value[std::min(below, ExpTable::kSize - 1)]; };
  for (std::size_t p = 0; p < plane; ++p) {
    std::vector<std::int32_t> l;
    for (int c = 0; c < logits.channels; ++c) l.push_back(logits.v[static_cast<std::size_t>(c) * plane + p]);
    if (logits.channels == 1) l.push_back(0);
    const std::int32_t most = *std::max_element(l.begin(), l.end());
    std::int32_t sum = 0;
    for (const std::int32_t v : l) sum += power(most - v);
    for (int c = 0; c < logits.channels; ++c)
      out[static_cast<std::size_t>(c) * plane + p] =
          static_cast<float>(power(most - l[static_cast<std::size_t>(c)])) / static_cast<float>(sum);
  }
  return out;
}

/// What the engine makes of interleaved pixels.
inline std::vector<float> run_int_network(const IntResUnet<2>& network, const ModelInfo& info,
                                          const KernelTable& table, int threads, FinalLayer final_layer,
                                          const std::vector<std::uint8_t>& pixels, const Index<2>& size) {
  DefaultExecutor executor(threads);
  const auto plan = network.plan(size, executor.workers());  // one, in a build without threads
  const AlignedBuffer arena(plan.arena_bytes);
  AlignedBuffer shared(plan.shared_bytes);
  std::vector<AlignedBuffer> scratch;
  for (int w = 0; w < executor.workers(); ++w) scratch.emplace_back(plan.scratch_bytes);
  const int channels = info.input_channels;
  const TableImageSource image(pixels.data(), static_cast<std::size_t>(size[1] * channels), channels, size,
                               network.table().data(), network.table_zero_point());
  std::vector<float> out(static_cast<std::size_t>(info.classes * size[0] * size[1]));
  network.run({&table, &executor, &scratch, &shared}, plan, arena, image, final_layer, out.data());
  return out;
}

}  // namespace microtome_test
