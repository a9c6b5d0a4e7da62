// The scales of an integer network: what every tensor is (8 or 16 bits), how far it reaches, and by how much
// each channel is shrunk so that all of a tensor make use of its bits.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../io/model_info.hpp"
#include "calibration.hpp"
#include "quant_range.hpp"
#include "quantized_conv.hpp"
#include "unet_layers.hpp"

namespace microtome {

struct QuantizeOptions {
  RangeMethod method = RangeMethod::percentile;
  double percentile = 99.99;  ///< per cent of the values that are not clipped at either end
  double equalize = 1.0;      ///< how much channels are evened out, 0 (not at all) to 1 (to equal ranges)
  bool correct_bias = true;   ///< take the mean error of rounding off the biases
  double raw_headroom = 2.0;  ///< 16-bit results reach that many times as far as any value seen
};

/// Per layer, in the order of unet_layers().
struct QuantScales {
  std::vector<QuantOutput> kinds;
  std::vector<std::vector<double>>
      divisors;                  ///< of each input channel, in (0, 1]: 8 bits hold value / divisor
  std::vector<ActScale> inputs;  ///< of value / divisor; of raw input the scale alone
  std::vector<float> raw;        ///< of raw results
  std::vector<std::vector<double>> raw_divisors;  ///< of each output channel: 16 bits hold value / divisor
  std::vector<std::uint8_t> table;                ///< what pixels become
};

namespace detail {

// A layer reads a channel divided by its divisor and multiplies with weights that are that much larger: exact
// in real numbers, for the norm before it, the activation and the enlargement commute with a positive factor.
// Ranges of the channels then differ less, so that 8 bits are finer for the narrow ones; at the cost of
// weights that differ more, which is cheap: each output has its own scale. An idea of Nagel et al. (ICCV
// 2019, cross-layer equalization) and of SmoothQuant (Xiao et al., ICML 2023), whose exponent `equalize` is.
inline std::vector<double> channel_divisors(const Calibration::Input& in, const QuantizeOptions& o) {
  constexpr double kSmallest = 1.0 / 64;  // a channel that was hardly ever active may be, in another image
  std::vector<double> reach;
  for (const Histogram& h : in.values) {
    const RangeMethod method =
        o.method == RangeMethod::minmax ? RangeMethod::minmax : RangeMethod::percentile;
    const ValueRange r = choose_range(h, method, o.percentile);
    reach.push_back(std::max(-r.low, r.high));
  }
  const double most = *std::max_element(reach.begin(), reach.end());
  for (double& v : reach) v = most > 0.0 ? std::pow(std::max(v / most, kSmallest), o.equalize) : 1.0;
  return reach;
}

/// What the 256 values of a pixel become, the normalisation included. Throws InputError for a normalisation
/// by the statistics of each image.
inline ActScale pixel_table(const ModelInfo& info, std::vector<std::uint8_t>& table) {
  const Normalization& n = info.normalization;
  if (n.kind == Normalization::Kind::zscore_tile)
    throw InputError(info.path, "normalization",
                     "zscore_tile cannot be quantized: the scale of the input differs from image to image");
  const std::size_t channels = static_cast<std::size_t>(info.input_channels);
  const auto real = [&](std::size_t c, int v) {
    if (n.kind == Normalization::Kind::none) return static_cast<double>(v);
    return n.kind == Normalization::Kind::div255 ? v / 255.0 : (v / 255.0 - n.mean[c]) / n.std[c];
  };
  ValueRange r;
  for (std::size_t c = 0; c < channels; ++c) {
    r.low = std::min(r.low, real(c, 0));
    r.high = std::max(r.high, real(c, 255));
  }
  const ActScale s = ActScale::covering(r);
  table.clear();
  for (std::size_t c = 0; c < channels; ++c)
    for (int v = 0; v < 256; ++v) {
      const double q = std::nearbyint(real(c, v) / static_cast<double>(s.scale)) + s.zero_point;
      table.push_back(static_cast<std::uint8_t>(std::clamp(q, 0.0, 255.0)));
    }
  return s;
}

// Divisors and scales of 16-bit results. Channels differ by more than 16 bits can bridge: the norm behind
// them may enlarge a narrow one a thousandfold. A residual sum has the divisors and scale of what it is added
// to; what is enlarged has those of its reader; where us multiplies the result as it is, weights that differ
// less are worth half of the evenness.
inline void choose_raw_scales(const std::vector<UnetLayer>& layers, const Calibration& seen, double headroom,
                              QuantScales& s) {
  constexpr double kSmallest = 1.0 / 4096;
  std::vector<std::vector<double>> reach;
  std::vector<double> exponent(layers.size(), 1.0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Calibration::Output& out = seen.output_of(i);
    reach.emplace_back(out.begin(), out.end());
    if (layers[i].kernel == 1) exponent[static_cast<std::size_t>(layers[i].sources[0].layer)] = 0.5;
  }
  for (std::size_t i = layers.size(); i-- > 0;) {  // from sums to what they are added to
    if (layers[i].adds == UnetLayer::kNothing) continue;
    const std::size_t first = static_cast<std::size_t>(layers[i].adds);
    for (std::size_t c = 0; c < reach[i].size(); ++c)
      reach[first][c] = std::max(reach[first][c], reach[i][c]);
    exponent[first] = std::min(exponent[first], exponent[i]);
  }
  s.raw.assign(layers.size(), 1.0f);
  s.raw_divisors.resize(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<double>& d = s.raw_divisors[i];
    if (s.kinds[i] != QuantOutput::raw) continue;
    if (layers[i].adds != UnetLayer::kNothing) {
      const std::size_t first = static_cast<std::size_t>(layers[i].adds);
      d = s.raw_divisors[first], s.raw[i] = s.raw[first];
      continue;
    }
    const double most = *std::max_element(reach[i].begin(), reach[i].end());
    double largest = 0.0;
    for (std::size_t c = 0; c < reach[i].size(); ++c) {
      if (layers[i].kernel == 1)
        d.push_back(s.divisors[i + 1][c]);
      else
        d.push_back(most > 0.0 ? std::pow(std::max(reach[i][c] / most, kSmallest), exponent[i]) : 1.0);
      largest = std::max(largest, reach[i][c] / d[c]);
    }
    if (largest > 0.0) s.raw[i] = static_cast<float>(largest * headroom / 32768.0);
  }
}

}  // namespace detail

/// Chooses all scales. Throws InputError: no values seen, values that are not finite, a normalisation that
/// cannot be quantized.
inline QuantScales choose_scales(const ModelInfo& info, const std::vector<UnetLayer>& layers,
                                 const Calibration& seen, const QuantizeOptions& options) {
  QuantScales s;
  s.inputs.resize(layers.size());
  s.inputs[0] = detail::pixel_table(info, s.table);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Calibration::Input& in = seen.input_of(i);
    if (in.pixels == 0.0) throw InputError(info.path, layers[i].name, "no image has been shown to it");
    const bool as_it_is = i == 0 || layers[i].kernel == 1 || options.equalize == 0.0;
    s.kinds.push_back(output_of(layers, static_cast<int>(i)));
    s.divisors.push_back(as_it_is ? std::vector<double>(in.values.size(), 1.0)
                                  : detail::channel_divisors(in, options));
    if (i > 0 && layers[i].kernel > 1)
      s.inputs[i] = ActScale::covering(
          choose_range(combined(in.values, s.divisors[i]), options.method, options.percentile));
  }
  if (!seen.finite()) throw InputError(info.path, "", "the network gave a value that is not a number");
  detail::choose_raw_scales(layers, seen, options.raw_headroom, s);
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (layers[i].kernel == 1) {
      const std::size_t writer = static_cast<std::size_t>(layers[i].sources[0].layer);
      s.inputs[i].scale = s.raw[writer];
      s.divisors[i] = s.raw_divisors[writer];
    }
  return s;
}

}  // namespace microtome
