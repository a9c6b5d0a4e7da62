// How far a pooled Dice can be trusted: the percentile bootstrap.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "label_counts.hpp"

namespace microtome {

constexpr int kBootstrapRounds = 2000;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the
/// same numbers with every compiler, which the distributions of <random> do not promise.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// 0 .. n - 1, 0 < n < 2^32; no value is favoured by more than n / 2^32.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(((next() >> 32) * n) >> 32); }

 private:
  std::uint64_t state_;
};

/// A range of values; NaN when there is none.
struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN(), high = std::numeric_limits<double>::quiet_NaN();
};

/// The q-quantile (0..1) of sorted values, interpolated linearly between neighbours (type 7 of Hyndman and
/// Fan, The American Statistician 50(4), 1996). NaN for no values.
inline double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto i = static_cast<std::size_t>(at);
  const double next = sorted[std::min(i + 1, sorted.size() - 1)];
  return sorted[i] + (at - static_cast<double>(i)) * (next - sorted[i]);
}

/// 95 % interval of the Dice of all `parts` together (Efron and Tibshirani, "An introduction to the
/// bootstrap", 1993, chapter 13): draws as many parts as there are with replacement, `rounds` times, and
/// takes the 2.5 and 97.5 percentiles. A draw in which the class does not occur has no Dice and is left out.
/// The parts must be independent for the interval to mean what it says: images of one patient are not, and a
/// single part gives its own Dice twice. The same arguments give the same interval.
inline Interval bootstrap_dice(const std::vector<ClassScore>& parts, int rounds = kBootstrapRounds,
                               std::uint64_t seed = 1) {
  SplitMix64 random(seed);
  std::vector<double> draws;
  draws.reserve(static_cast<std::size_t>(rounds));
  for (int r = 0; r < rounds; ++r) {
    ClassScore sum;
    for (std::size_t i = 0; i < parts.size(); ++i) sum += parts[random.below(parts.size())];
    if (sum.present()) draws.push_back(sum.dice());
  }
  std::sort(draws.begin(), draws.end());
  return {quantile(draws, 0.025), quantile(draws, 0.975)};
}

}  // namespace microtome
