// What values flow through a network: a histogram of every input channel of every convolution, extremes of
// every result. Gathered while the FP32 engine runs (Session::observe), read by models/quantize.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../layers/observer.hpp"

namespace microtome {

/// Counts of floats in bins of equal relative width, 2^fraction_bits to an octave. The bits of a float are
/// its bin: no range has to be known in advance, and the order of the values does not matter. Magnitudes
/// below 2^-14 count as 0, those from 2^14 on as just below it; min() and max() are exact.
class Histogram {
 public:
  explicit Histogram(int fraction_bits = 6) : bits_(fraction_bits) {}

  void add(float v, double count = 1.0) {
    cover(v);
    total_ += count;
    std::uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    const std::uint32_t magnitude = (bits & 0x7fffffffu) >> (23 - bits_), first = (127u - kOctaves) << bits_;
    if (magnitude < first) {
      zeros_ += count;
      return;
    }
    std::vector<double>& side = bits >> 31 ? negative_ : positive_;
    if (side.empty()) side.resize(std::size_t{2 * kOctaves} << bits_);
    side[std::min<std::size_t>(magnitude - first, side.size() - 1)] += count;
  }
  /// Widens min() and max() to v without counting it.
  void cover(float v) {
    min_ = std::min(min_, v);
    max_ = std::max(max_, v);
  }

  double total() const { return total_; }
  float min() const { return min_; }  ///< at most 0: padding is among the values
  float max() const { return max_; }  ///< at least 0

  /// Neighbouring values: [low, high], `count` of them.
  struct Bin {
    double low, high, count;
    double middle() const { return 0.5 * (low + high); }
  };
  /// Those that hold any, from the smallest value to the largest.
  std::vector<Bin> bins() const {
    std::vector<Bin> list;
    const auto add_bin = [&](double low, double high, double count) {
      if (count == 0.0) return;
      low = std::max(low, static_cast<double>(min_)), high = std::min(high, static_cast<double>(max_));
      list.push_back({std::min(low, high), high, count});
    };
    for (std::size_t i = negative_.size(); i-- > 0;) add_bin(-edge(i + 1), -edge(i), negative_[i]);
    add_bin(0.0, 0.0, zeros_);
    for (std::size_t i = 0; i < positive_.size(); ++i) add_bin(edge(i), edge(i + 1), positive_[i]);
    return list;
  }

 private:
  static constexpr std::uint32_t kOctaves = 14;  // below 1 and above

  double edge(std::size_t i) const {
    const std::size_t n = std::size_t{1} << bits_;
    return std::ldexp(1.0 + static_cast<double>(i % n) / static_cast<double>(n),
                      static_cast<int>(i / n) - static_cast<int>(kOctaves));
  }

  int bits_;
  std::vector<double> positive_, negative_;  // none until the first value of that sign
  double zeros_ = 0.0, total_ = 0.0;
  float min_ = 0.0f, max_ = 0.0f;
};

/// Watches a session and remembers, per layer.
class Calibration final : public Observer {
 public:
  struct Input {
    std::vector<Histogram> values;  ///< per channel, through the sources of a concat
    std::vector<double> sums;       ///< per channel
    double pixels = 0.0;

    /// Mean of channel c over all pixels; 0 before any.
    double mean(std::size_t c) const { return pixels > 0.0 ? sums[c] / pixels : 0.0; }
  };
  using Output = std::vector<float>;  ///< largest absolute value, per channel

  explicit Calibration(std::size_t layers) : inputs_(layers), outputs_(layers) {}

  const Input& input_of(std::size_t layer) const { return inputs_[layer]; }
  const Output& output_of(std::size_t layer) const { return outputs_[layer]; }

  /// Whether every number seen was finite.
  bool finite() const { return finite_; }

  void input(std::size_t layer, int first_channel, int channels, const float* row, std::int64_t n) override {
    Input& in = inputs_[layer];
    const std::size_t first = static_cast<std::size_t>(first_channel);
    const std::size_t end = std::max(in.sums.size(), first + static_cast<std::size_t>(channels));
    in.sums.resize(end), in.values.resize(end);
    if (first == 0) in.pixels += static_cast<double>(n);
    for (int c = 0; c < channels; ++c) {
      Histogram& values = in.values[first + static_cast<std::size_t>(c)];
      double sum = 0.0;
      for (std::int64_t x = 0; x < n; ++x) {
        const float v = row[x * kChannelBlock + c];
        finite_ = finite_ && std::isfinite(v);
        values.add(v);
        sum += static_cast<double>(v);
      }
      in.sums[first + static_cast<std::size_t>(c)] += sum;
    }
  }

  void output(std::size_t layer, int first_channel, int channels, const float* row, std::int64_t n) override {
    Output& out = outputs_[layer];
    const std::size_t first = static_cast<std::size_t>(first_channel);
    out.resize(std::max(out.size(), first + static_cast<std::size_t>(channels)));
    for (int c = 0; c < channels; ++c) {
      float& largest = out[first + static_cast<std::size_t>(c)];
      for (std::int64_t x = 0; x < n; ++x) largest = std::max(largest, std::abs(row[x * kChannelBlock + c]));
    }
  }

 private:
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  bool finite_ = true;
};

/// All channels in one histogram, each divided by its `scale`. Bins are cut into eight, for they are wider
/// than the steps of 8 bits.
inline Histogram combined(const std::vector<Histogram>& channels, const std::vector<double>& scale) {
  constexpr int kParts = 8;
  Histogram all(9);
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const auto scaled = [&](double v) { return static_cast<float>(v / scale[c]); };
    for (const Histogram::Bin& b : channels[c].bins()) {
      const int parts = b.low == b.high ? 1 : kParts;
      for (int i = 0; i < parts; ++i)
        all.add(scaled(b.low + (b.high - b.low) * (i + 0.5) / parts), b.count / parts);
    }
    all.cover(scaled(static_cast<double>(channels[c].min())));
    all.cover(scaled(static_cast<double>(channels[c].max())));
  }
  return all;
}

}  // namespace microtome
