// Post-training quantization: a network's weights and a calibration become the convolutions of an integer
// network.
//
//   auto model = load_model("nuclei.safetensors");
//   Calibration calibration(model->network().convs().size());
//   Session session(model);
//   session.observe(&calibration);
//   ...                                                  // run images
//   const QuantizedNet net = quantize(model->info(), calibration);
//   write_quantized(net, "nuclei.int8.safetensors");     // quantized_file.hpp
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../core/sha256.hpp"
#include "quant_scales.hpp"
#include "quantize_conv.hpp"
#include "state_dict.hpp"

namespace microtome {

/// An integer network, and the metadata of its file.
struct QuantizedNet {
  std::vector<QuantizedConv> convs;
  std::map<std::string, std::string> metadata;
};

namespace detail {

// The weights of layer i with everything in them: the norm behind it, the divisors of what it reads and of
// what its reader reads, and the factor inside a final sigmoid, so that logits say the same for every model.
inline RealConv real_conv(const StateDict<2>& state, const ModelInfo& info,
                          const std::vector<UnetLayer>& layers, const QuantScales& s, std::size_t i) {
  const UnetLayer& l = layers[i];
  const std::size_t inputs = static_cast<std::size_t>(l.inputs()), outputs = static_cast<std::size_t>(l.out),
                    kernel = static_cast<std::size_t>(l.kernel * l.kernel);
  const WeightRows rows = state.kernel(l.name + ".weight", l.out, l.inputs(), l.kernel);
  std::vector<float> weight(inputs * outputs * kernel);
  for (std::size_t o = 0; o < outputs; ++o) rows(static_cast<int>(o), weight.data() + o * inputs * kernel);
  RealConv real = fold(weight, state.read(l.name + ".bias", {l.out}), state.norm(l.norm));

  const bool sigmoid = info.final_layer == FinalLayer::sigmoid;
  for (std::size_t o = 0; o < outputs; ++o) {
    const double factor = s.kinds[i] == QuantOutput::act   ? 1.0 / s.divisors[i + 1][o]  // its only reader
                          : s.kinds[i] == QuantOutput::raw ? 1.0 / s.raw_divisors[i][o]
                                                           : (sigmoid ? info.sigmoid_multiplier : 1.0);
    real.bias[o] *= factor;
    for (std::size_t c = 0; c < inputs; ++c)
      for (std::size_t k = 0; k < kernel; ++k)
        real.weight[(o * inputs + c) * kernel + k] *= factor * s.divisors[i][c];
  }
  return real;
}

// Means of what a layer reads, divided by the divisors.
inline InputMeans input_means(const Calibration::Input& in, const std::vector<double>& divisors,
                              const ActScale& act, bool reads_raw) {
  InputMeans m;
  for (std::size_t c = 0; c < in.values.size(); ++c) {
    m.real.push_back(in.mean(c) / divisors[c]);
    double error = 0.0;
    if (!reads_raw)
      for (const Histogram::Bin& b : combined({in.values[c]}, {divisors[c]}).bins())
        error += b.count * (act.nearest(b.middle()) - b.middle());
    m.rounded.push_back(m.real.back() + error / in.pixels);
  }
  return m;
}

// The norm of a source whose channels have been divided by `before`, and are to be divided by `divisors`
// from `first` on.
inline Affine divided_norm(Affine norm, int channels, const std::vector<double>& before,
                           const std::vector<double>& divisors, std::size_t first) {
  if (norm.identity()) {
    norm.scale.assign(static_cast<std::size_t>(channels), 1.0f);
    norm.shift.assign(static_cast<std::size_t>(channels), 0.0f);
  }
  for (std::size_t c = 0; c < norm.scale.size(); ++c) {
    norm.scale[c] = static_cast<float>(static_cast<double>(norm.scale[c]) * before[c] / divisors[first + c]);
    norm.shift[c] = static_cast<float>(static_cast<double>(norm.shift[c]) / divisors[first + c]);
  }
  return norm;
}

}  // namespace detail

/// Throws InputError for a network that quantize() cannot handle, before anything has been shown to it.
inline void require_quantizable(const ModelInfo& info) {
  if (info.weight_type == "I8")
    throw InputError(info.path, "quantization",
                     "it is quantized already; give the model that it was made from");
  if (!info.norm_before_down)
    throw InputError(info.path, "ds_0.in_0.weight",
                     "networks with the norm behind the strided convolution (GaNDLF before 0.0.20) cannot be "
                     "run in integers");
  std::vector<std::uint8_t> table;
  detail::pixel_table(info, table);
}

/// Quantizes the network of `info.path`, whose values `seen` has watched; `facts` as given to load_model().
/// Throws InputError: what require_quantizable() refuses, no values seen, values that are not finite, weights
/// that no integers can stand for.
inline QuantizedNet quantize(const ModelInfo& info, const Calibration& seen,
                             const QuantizeOptions& options = {}, const ModelFacts& facts = {}) {
  require_quantizable(info);
  const SafeTensors file(info.path);
  std::int64_t parameters = 0;
  const StateDict<2> state{file, false, &parameters};  // kernels stay as the file has them
  const std::vector<UnetLayer> layers = unet_layers(info);
  const QuantScales scales = choose_scales(info, layers, seen, options);

  QuantizedNet net;
  for (const auto& [key, fact] : detail::gather_facts(file, facts)) net.metadata[key] = fact.text;
  net.metadata["architecture"] = info.architecture;
  net.metadata["topology"] = "new";
  net.metadata["sigmoid_input_multiplier"] = "1";
  net.metadata["quantization"] = "int8";
  net.metadata["quantization_version"] = "1";
  net.metadata["source_sha256"] = sha256_of_file(info.path);

  for (std::size_t i = 0; i < layers.size(); ++i) {
    const UnetLayer& l = layers[i];
    QuantizedConv c;
    c.name = l.name;
    c.weight_shape = file.entry(l.name + ".weight").shape;
    c.reads_raw = l.kernel == 1;
    c.output = scales.kinds[i];
    c.input_scale = scales.inputs[i].scale;
    c.input_zero_point = scales.inputs[i].zero_point;
    c.output_scale = c.output == QuantOutput::act   ? scales.inputs[i + 1].scale
                     : c.output == QuantOutput::raw ? scales.raw[i]
                                                    : 1.0f / kLogitOne;
    c.output_zero_point = c.output == QuantOutput::act ? scales.inputs[i + 1].zero_point : 0;
    if (i == 0) {
      // Colours differ little and weights of opposite signs cancel: the steps of 8 bits would show. The
      // direct kernel multiplies 16 bits anyway.
      c.weight_bits = 16;
      c.table = scales.table;
    }

    InputMeans means;
    if (options.correct_bias && i > 0)
      means = detail::input_means(seen.input_of(i), scales.divisors[i], scales.inputs[i], c.reads_raw);
    quantize_weights(detail::real_conv(state, info, layers, scales, i),
                     largest_allowed_sum(l.kernel, l.stride, c.reads_raw), means, c);
    std::size_t first = 0;
    for (const UnetSource& s : l.sources) {
      const bool raw = s.layer >= 0 && scales.kinds[static_cast<std::size_t>(s.layer)] == QuantOutput::raw;
      if (raw && !c.reads_raw) {
        const Affine norm = detail::divided_norm(state.norm(s.norm), s.channels,
                                                 scales.raw_divisors[static_cast<std::size_t>(s.layer)],
                                                 scales.divisors[i], first);
        c.sources.push_back(quantize_source(
            norm, s.enlarged, static_cast<double>(scales.raw[static_cast<std::size_t>(s.layer)]),
            static_cast<double>(c.input_scale)));
      }
      first += static_cast<std::size_t>(s.channels);
    }
    net.metadata[c.name + ".output"] = to_string(c.output);
    check_quantized(c, info.path);
    net.convs.push_back(std::move(c));
  }
  return net;
}

}  // namespace microtome
