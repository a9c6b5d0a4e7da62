// One convolution of an integer network as a file holds it; docs/quantization.md says what the numbers mean.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/winograd_bound.hpp"
#include "unet_layers.hpp"

namespace microtome {

/// What a convolution's sums become: core/requantize.hpp.
enum class QuantOutput { act, raw, logits };

inline const char* to_string(QuantOutput o) {
  return o == QuantOutput::act ? "act" : o == QuantOutput::raw ? "raw" : "logits";
}

/// What the result of a layer is: an act where the only reader is a convolution that reads it as it is, and
/// not the 1x1 of us, whose wide inputs need 16 bits.
inline QuantOutput output_of(const std::vector<UnetLayer>& layers, int layer) {
  if (layer + 1 == static_cast<int>(layers.size())) return QuantOutput::logits;
  int readers = 0;
  bool as_act = true;
  for (const UnetLayer& l : layers) {
    if (l.adds == layer) as_act = false;
    for (const UnetSource& s : l.sources)
      if (s.layer == layer) ++readers, as_act = as_act && s.copied() && l.kernel > 1;
  }
  return as_act && readers == 1 ? QuantOutput::act : QuantOutput::raw;
}

/// How raw values become acts on the way into a convolution: to_act(raw * scale[c] + shift[c], multiplier,
/// slope * multiplier). An enlarged source has no scale and shift: its sums of products with the resize
/// weights, which sum to 2^14, take their place.
struct QuantizedSource {
  std::vector<std::int16_t> scale;  ///< [channels], or empty
  std::vector<std::int32_t> shift;  ///< [channels], or empty
  float multiplier = 1.0f;
};

struct QuantizedConv {
  std::string name;                        ///< "en_1.conv0"
  std::vector<std::int64_t> weight_shape;  ///< [out][in][kernel...], PyTorch's
  std::vector<std::int16_t> weight;        ///< -127..127; with 16 bits -32767..32767
  int weight_bits = 8;                     ///< 16: of the first convolution, whose weights are few
  std::vector<float> weight_scale;         ///< [out]: real weight = weight * weight_scale; for people only
  std::vector<std::int32_t> bias;          ///< [out]: added to the sum
  std::vector<float> multiplier;           ///< [out]: turns the sum into the output
  QuantOutput output = QuantOutput::act;
  float output_scale = 1.0f;
  int output_zero_point = 0;  ///< acts only
  float input_scale = 1.0f;
  int input_zero_point = 0;              ///< also what padding is
  bool reads_raw = false;                ///< 16-bit input, as it is: us
  std::vector<QuantizedSource> sources;  ///< one per source that is raw and becomes an act; else empty
  std::vector<std::uint8_t> table;  ///< [channels][256], what a pixel becomes; the first convolution only

  int largest_weight() const { return (1 << (weight_bits - 1)) - 1; }
  std::size_t outputs() const { return bias.size(); }
  std::size_t taps() const { return weight.size() / std::max<std::size_t>(1, outputs()); }  ///< per output
};

/// Everything that must hold so that no sum of any image overflows and every value is defined. Throws
/// InputError naming `file` and the tensor.
inline void check_quantized(const QuantizedConv& c, const std::string& file) {
  const auto require = [&](bool good, const char* tensor, const char* why) {
    if (!good) throw InputError(file, c.name + "." + tensor, why);
  };
  const auto multiplier = [](float m) { return m > 0.0f && m < 65536.0f; };  // false for NaN
  const auto scale = [](float s) { return s > 0.0f && std::isfinite(s); };
  const auto zero_point = [](int z) { return z >= 0 && z <= 255; };
  constexpr std::int64_t kLargest = (std::int64_t{1} << 31) - 1, kBias = std::int64_t{1} << 30;
  require(scale(c.input_scale), "input_scale", "is not a positive number");
  require(zero_point(c.input_zero_point), "input_zero_point", "is outside 0..255");
  require(scale(c.output_scale), "output_scale", "is not a positive number");
  require(zero_point(c.output_zero_point), "output_zero_point", "is outside 0..255");
  require(std::all_of(c.weight_scale.begin(), c.weight_scale.end(), scale), "weight_scale",
          "holds something else than positive numbers");
  require(std::all_of(c.multiplier.begin(), c.multiplier.end(), multiplier), "multiplier",
          "holds a value outside (0, 65536)");
  const int most = c.largest_weight();
  require(std::all_of(c.weight.begin(), c.weight.end(), [&](int w) { return -most <= w && w <= most; }),
          "weight", c.weight_bits == 8 ? "holds -128" : "holds -32768");
  for (std::size_t o = 0; o < c.outputs(); ++o) {
    const std::int64_t bias = std::abs(std::int64_t{c.bias[o]});
    require(bias < kBias, "bias", "holds a value of 2^30 or more");
    require(largest_sum(c.weight.data() + o * c.taps(), c.taps(), c.reads_raw) + bias <= kLargest, "weight",
            "allows sums that do not fit into 32 bits");
  }
  for (std::size_t i = 0; i < c.sources.size(); ++i) {
    const std::string name = "source" + std::to_string(i);
    const QuantizedSource& s = c.sources[i];
    require(multiplier(s.multiplier), (name + ".multiplier").c_str(), "is outside (0, 65536)");
    // With |scale * raw| <= 2^30 their sum fits, too.
    require(std::all_of(s.shift.begin(), s.shift.end(), [&](std::int64_t b) { return std::abs(b) < kBias; }),
            (name + ".shift").c_str(), "holds a value of 2^30 or more");
  }
}

}  // namespace microtome
