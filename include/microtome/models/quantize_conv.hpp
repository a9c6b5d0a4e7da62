// One convolution from floats to integers: docs/quantization.md has the arithmetic.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "../core/requantize.hpp"
#include "../layers/affine.hpp"
#include "quant_range.hpp"
#include "quantized_conv.hpp"

namespace microtome {

/// Real weights and bias of a convolution with everything folded into them.
struct RealConv {
  std::vector<double> weight;  ///< [out][taps]
  std::vector<double> bias;    ///< [out]
};

/// Folds the norm behind a convolution into it.
inline RealConv fold(const std::vector<float>& weight, const std::vector<float>& bias, const Affine& after) {
  RealConv c{{weight.begin(), weight.end()}, {bias.begin(), bias.end()}};
  if (after.identity()) return c;
  const std::size_t taps = weight.size() / bias.size();
  for (std::size_t o = 0; o < bias.size(); ++o) {
    const double scale = static_cast<double>(after.scale[o]);
    for (std::size_t i = 0; i < taps; ++i) c.weight[o * taps + i] *= scale;
    c.bias[o] = c.bias[o] * scale + static_cast<double>(after.shift[o]);
  }
  return c;
}

/// The sum that no products of an output's weights may exceed: that of Winograd's exact arithmetic for 3x3
/// convolutions of stride 1, otherwise one that leaves room for the bias in 32 bits.
inline std::int64_t largest_allowed_sum(int kernel, int stride, bool reads_raw) {
  if (kernel == 3 && stride == 1 && !reads_raw) return (std::int64_t{1} << 25) - 1;
  return std::int64_t{1} << (reads_raw ? 30 : 29);
}

/// Mean of each input channel, as it is and behind its rounding to 8 bits.
struct InputMeans {
  std::vector<double> real, rounded;  ///< [channels], or empty
};

/// Fills weight, weight_scale, bias and multiplier of `c`, whose scales and outputs are given. Weights are
/// symmetric, with 127 (of 16 bits 32767) steps for the largest of an output channel; fewer where sums could
/// otherwise exceed `largest`, which costs a fraction of a bit of that channel. `means`: of each input
/// channel; where they are given, the mean error that rounding the weights makes is taken off the bias (M.
/// Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019,
/// section 4.2).
inline void quantize_weights(const RealConv& real, std::int64_t largest, const InputMeans& means,
                             QuantizedConv& c) {
  const std::size_t outputs = real.bias.size(), taps = real.weight.size() / outputs;
  const double in = static_cast<double>(c.input_scale), steps = c.largest_weight();
  const double out = c.output == QuantOutput::logits ? 1.0 / kLogitOne : static_cast<double>(c.output_scale);
  c.weight.resize(real.weight.size());
  c.weight_scale.resize(outputs), c.bias.resize(outputs), c.multiplier.resize(outputs);
  for (std::size_t o = 0; o < outputs; ++o) {
    const double* w = real.weight.data() + o * taps;
    std::int16_t* q = c.weight.data() + o * taps;
    double most = 0.0;
    for (std::size_t i = 0; i < taps; ++i) most = std::max(most, std::abs(w[i]));
    // Also coarse enough for a bias that dwarfs the weights, and for a multiplier that is a normal number.
    double scale =
        std::max({most / steps, std::abs(real.bias[o]) / in * std::exp2(-28.0), out / in * std::exp2(-60.0)});
    const auto round_all = [&] {
      scale = static_cast<double>(static_cast<float>(scale));
      for (std::size_t i = 0; i < taps; ++i)
        q[i] = static_cast<std::int16_t>(std::clamp(std::nearbyint(w[i] / scale), -steps, steps));
    };
    round_all();
    for (std::int64_t sum; (sum = largest_sum(q, taps, c.reads_raw)) > largest;) {
      scale *= 1.001 * static_cast<double>(sum) / static_cast<double>(largest);
      round_all();
    }

    double bias = real.bias[o];
    std::int64_t weights = 0;
    const std::size_t per_channel = means.real.empty() ? 1 : taps / means.real.size();
    for (std::size_t i = 0; i < taps; ++i) {
      weights += q[i];
      if (!means.real.empty())
        bias -= q[i] * scale * means.rounded[i / per_channel] - w[i] * means.real[i / per_channel];
    }
    const double sum =
        std::nearbyint(bias / (in * scale)) - c.input_zero_point * static_cast<double>(weights);
    constexpr double kMost = std::numeric_limits<std::int32_t>::max();
    c.weight_scale[o] = static_cast<float>(scale);
    c.bias[o] = static_cast<std::int32_t>(std::clamp(sum, -kMost, kMost));  // check_quantized() refuses those
    c.multiplier[o] = static_cast<float>(in * scale / out);
  }
}

/// The way of raw values of scale `raw` through `norm` to acts of scale `act`. `enlarged`: they arrive times
/// 2^14, and their norm is in the convolution that made them; `norm` is not looked at.
inline QuantizedSource quantize_source(const Affine& norm, bool enlarged, double raw, double act) {
  QuantizedSource s;
  if (enlarged) {
    s.multiplier = static_cast<float>(raw / act / 16384.0);
    return s;
  }
  // The unit of scale * q + shift: as fine as 16 and 31 bits allow.
  double unit = 0.0;
  for (std::size_t c = 0; c < norm.scale.size(); ++c)
    unit = std::max({unit, std::abs(static_cast<double>(norm.scale[c])) * raw / 32767.0,
                     std::abs(static_cast<double>(norm.shift[c])) / 1073741823.0});
  if (unit == 0.0) unit = act;
  for (std::size_t c = 0; c < norm.scale.size(); ++c) {
    s.scale.push_back(
        static_cast<std::int16_t>(std::nearbyint(static_cast<double>(norm.scale[c]) * raw / unit)));
    s.shift.push_back(static_cast<std::int32_t>(std::nearbyint(static_cast<double>(norm.shift[c]) / unit)));
  }
  s.multiplier = static_cast<float>(unit / act);
  return s;
}

}  // namespace microtome
