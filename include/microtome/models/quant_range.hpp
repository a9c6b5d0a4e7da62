// Which range of values 8 bits shall stand for: four ways to choose it from a histogram. What lies outside is
// clipped, what lies inside is rounded to one of 256 steps; a narrower range clips more and rounds less.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "calibration.hpp"

namespace microtome {

enum class RangeMethod {
  minmax,      ///< everything seen
  percentile,  ///< all but a fixed share of the values at either end
  mse,         ///< the least mean squared error
  kl,          ///< the least information lost (Kullback-Leibler divergence)
};

inline constexpr std::pair<const char*, RangeMethod> kRangeMethods[] = {
    {"minmax", RangeMethod::minmax},
    {"percentile", RangeMethod::percentile},
    {"mse", RangeMethod::mse},
    {"kl", RangeMethod::kl}};

/// Throws UsageError for a name that is none.
inline RangeMethod range_method(const std::string& name) {
  for (const auto& [known, method] : kRangeMethods)
    if (name == known) return method;
  throw UsageError("--method", "'" + name + "' is none of minmax, percentile, mse, kl");
}

inline const char* to_string(RangeMethod method) {
  for (const auto& [name, known] : kRangeMethods)
    if (method == known) return name;
  return "?";
}

/// Values [low, high]; low <= 0 <= high, because padding is 0 and must be exact.
struct ValueRange {
  double low = 0.0, high = 0.0;
};

/// Unsigned 8 bits: value = scale * (q - zero_point).
struct ActScale {
  float scale = 1.0f;
  int zero_point = 0;

  /// The scale whose 256 steps cover `r`; any scale will do where that is 0 alone.
  static ActScale covering(const ValueRange& r) {
    const double width = r.high - r.low;
    if (!(width > 0.0)) return {};
    ActScale s;
    s.scale = static_cast<float>(width / 255.0);
    s.zero_point =
        std::clamp(static_cast<int>(std::nearbyint(-r.low / static_cast<double>(s.scale))), 0, 255);
    return s;
  }
  /// The number nearest to v among those that q can stand for.
  double nearest(double v) const {
    const double q = std::clamp(std::nearbyint(v / static_cast<double>(scale)),
                                static_cast<double>(-zero_point), static_cast<double>(255 - zero_point));
    return q * static_cast<double>(scale);
  }
};

namespace detail {

// Calls cost(range) for ranges between all values and a sixteenth of them, first with the upper end varied,
// then with the lower one, and returns the cheapest.
template <class Cost>
ValueRange cheapest_range(const ValueRange& all, Cost&& cost) {
  constexpr int kSteps = 64;
  ValueRange best = all;
  double least = cost(all);
  const auto vary = [&](double ValueRange::*end) {
    const double whole = all.*end;
    for (int i = 1; i < kSteps; ++i) {
      ValueRange r = best;
      r.*end = whole * std::exp2(-4.0 * i / kSteps);
      const double c = cost(r);
      if (c < least) least = c, best = r;
    }
  };
  vary(&ValueRange::high);
  if (all.low < 0.0) vary(&ValueRange::low);
  return best;
}

inline double squared_error(const std::vector<Histogram::Bin>& bins, const ValueRange& r) {
  const ActScale s = ActScale::covering(r);
  double sum = 0.0;
  for (const Histogram::Bin& b : bins) {
    const double e = b.middle() - s.nearest(b.middle());
    sum += b.count * e * e;
  }
  return sum;
}

// Kullback-Leibler divergence of the values from what is left of them, after the idea of TensorRT's
// calibration (S. Migacz, "8-bit Inference with TensorRT", GTC 2017): P has what is clipped on its outermost
// bins; Q spreads what each step holds, clipped values left out, evenly over the bins of the step that hold
// any.
inline double divergence(const std::vector<Histogram::Bin>& all, const ValueRange& r) {
  std::vector<Histogram::Bin> bins;
  double below = 0.0, above = 0.0, inside = 0.0;
  for (const Histogram::Bin& b : all) {
    const bool low = b.middle()<r.low, high = b.middle()> r.high;
    (low ? below : high ? above : inside) += b.count;
    if (!low && !high) bins.push_back(b);
  }
  if (bins.empty()) return std::numeric_limits<double>::infinity();
  const ActScale s = ActScale::covering(r);
  const auto step_of = [&](const Histogram::Bin& b) {
    const double q = std::nearbyint(b.middle() / static_cast<double>(s.scale)) + s.zero_point;
    return static_cast<std::size_t>(std::clamp(q, 0.0, 255.0));
  };
  const auto width_of = [](const Histogram::Bin& b) { return std::max(b.high - b.low, 1e-9); };
  std::vector<double> held(256), width(256);
  for (const Histogram::Bin& b : bins) {
    held[step_of(b)] += b.count;
    width[step_of(b)] += width_of(b);
  }
  double sum = 0.0;
  for (const Histogram::Bin& b : bins) {
    const double clipped = (&b == &bins.front() ? below : 0.0) + (&b == &bins.back() ? above : 0.0);
    const double p = (b.count + clipped) / (inside + below + above);
    const double q = held[step_of(b)] * width_of(b) / width[step_of(b)] / inside;
    sum += p * std::log(p / q);
  }
  return sum;
}

inline ValueRange percentile_range(const std::vector<Histogram::Bin>& bins, double total, double percentile) {
  const double outside = total * (1.0 - percentile / 100.0);
  ValueRange r;
  double n = 0.0;
  for (const Histogram::Bin& b : bins)
    if ((n += b.count) > outside) {
      r.low = std::min(0.0, b.low);
      break;
    }
  n = 0.0;
  for (auto b = bins.rbegin(); b != bins.rend(); ++b)
    if ((n += b->count) > outside) {
      r.high = std::max(0.0, b->high);
      break;
    }
  return r;
}

}  // namespace detail

/// The range for the values of `h`. `percentile`: per cent of the values that are not clipped at either end,
/// for that method only.
inline ValueRange choose_range(const Histogram& h, RangeMethod method, double percentile) {
  const ValueRange all{static_cast<double>(h.min()), static_cast<double>(h.max())};
  const std::vector<Histogram::Bin> bins = h.bins();
  switch (method) {
    case RangeMethod::minmax:
      break;
    case RangeMethod::percentile:
      return detail::percentile_range(bins, h.total(), percentile);
    case RangeMethod::mse:
      return detail::cheapest_range(all, [&](const ValueRange& r) { return detail::squared_error(bins, r); });
    case RangeMethod::kl:
      return detail::cheapest_range(all, [&](const ValueRange& r) { return detail::divergence(bins, r); });
  }
  return all;
}

}  // namespace microtome
