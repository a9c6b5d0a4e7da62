// Stain normalisation by stain vectors: M. Macenko et al., "A method for normalizing histology slides for
// quantitative analysis", ISBI 2009. Optical density is linear in the amount of stain, so the two stains of a
// section span a plane; its extreme directions are the stains.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "stain_profile.hpp"

namespace microtome {

/// What a normalised image looks like unless another target is given: the reference values of M. Veta's
/// implementation (github.com/mitkovetta/staining-normalization), which others took over. There they are unit
/// vectors and maximal concentrations 1.9705 and 1.0308.
inline StainProfile macenko_reference() {
  StainProfile p =
      detail::stain_profile(StainMethod::macenko, {0.5626 * 1.9705, 0.7201 * 1.9705, 0.4062 * 1.9705},
                            {0.2159 * 1.0308, 0.8012 * 1.0308, 0.5581 * 1.0308});
  p.origin = "reference values";
  return p;
}

namespace detail {

using Vector3 = std::array<double, 3>;

inline double dot(const Vector3& a, const Vector3& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

constexpr double kIncident = 240.0;  // the light of empty glass, as in Veta's implementation
constexpr int kDensityBits = 16;

/// Optical density of an 8-bit value, -ln((v + 1) / 240), in 2^-16.
inline std::array<std::int32_t, 256> density_table() {
  std::array<std::int32_t, 256> t{};
  for (std::size_t v = 0; v < 256; ++v)
    t[v] =
        static_cast<std::int32_t>(fixed(-std::log((static_cast<double>(v) + 1.0) / kIncident), kDensityBits));
  return t;
}

/// Eigenvectors of a symmetric matrix by Jacobi's rotations, the largest eigenvalue first.
inline std::array<Vector3, 3> eigenvectors(std::array<Vector3, 3> a) {
  std::array<Vector3, 3> v{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};  // rows
  for (int sweep = 0; sweep < 20; ++sweep)                      // converges quadratically: 5 are enough
    for (std::size_t p = 0; p < 2; ++p)
      for (std::size_t q = p + 1; q < 3; ++q) {
        if (a[p][q] == 0.0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
        const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::hypot(theta, 1.0));
        const double c = 1.0 / std::hypot(t, 1.0), s = t * c;
        const auto turn = [&](double& x, double& y) {
          const double old = x;
          x = c * x - s * y;
          y = s * old + c * y;
        };
        for (std::size_t k = 0; k < 3; ++k) turn(a[k][p], a[k][q]);
        for (std::size_t k = 0; k < 3; ++k) turn(a[p][k], a[q][k]);
        for (std::size_t k = 0; k < 3; ++k) turn(v[p][k], v[q][k]);
      }
  std::array<std::size_t, 3> order{0, 1, 2};
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return a[i][i] > a[j][j]; });
  return {v[order[0]], v[order[1]], v[order[2]]};
}

/// The value below which `percent` % of `values` lie, interpolated between neighbours (Hyndman and Fan's
/// type 7, the default of NumPy). Reorders `values`, which must not be empty.
inline double percentile(std::vector<double>& values, double percent) {
  const double rank = percent / 100.0 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  if (at + 1 == values.end()) return *at;
  return *at + (rank - static_cast<double>(below)) * (*std::min_element(at + 1, values.end()) - *at);
}

/// Rows of the pseudo-inverse of the 3x2 matrix with the columns a and b: a density times them gives the
/// least-squares concentrations.
inline std::array<Vector3, 2> unmixing(const Vector3& a, const Vector3& b) {
  const double aa = dot(a, a), ab = dot(a, b), bb = dot(b, b), det = aa * bb - ab * ab;
  std::array<Vector3, 2> p{};
  for (std::size_t c = 0; c < 3; ++c) {
    p[0][c] = (bb * a[c] - ab * b[c]) / det;
    p[1][c] = (aa * b[c] - ab * a[c]) / det;
  }
  return p;
}

// Stained tissue is far from these limits; beyond them a gain would paint noise.
constexpr double kMinDeviation = 0.05;     // of density: tissue has 0.14 and more, JPEG noise 0.03
constexpr double kMinSine = 0.05;          // of the angle between the stains; tissue has 10 to 35 degrees
constexpr double kMinAbsorption = -0.1;    // components of stain vectors: no stain emits light
constexpr double kMinConcentration = 0.1;  // the 99th percentile; tissue has 0.3 and more

/// Fits `pixels` interleaved RGB pixels. beta 0.15 (all channels at least that dense), alpha 1 %, and the
/// maximal concentration is the 99th percentile over the same, stained pixels: over all of them, as in Veta's
/// code, it would depend on how much glass the image shows.
inline StainFit fit_macenko(const std::uint8_t* rgb, std::size_t pixels) {
  const std::array<std::int32_t, 256> density = density_table();
  std::vector<std::array<std::int32_t, 3>> od;
  Moments moments;
  const std::size_t step = stain_step(pixels);
  for (std::size_t i = 0; i < pixels; i += step) {
    const std::uint8_t* p = rgb + 3 * i;
    const int high = std::max({p[0], p[1], p[2]});
    if (high > kStained || high < kBlack) continue;
    od.push_back({density[p[0]], density[p[1]], density[p[2]]});
    moments.add(od.back());
  }
  if (od.size() < kMinStainPixels) return not_fitted("too few stained pixels");

  std::array<Vector3, 3> covariance{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      covariance[i][j] = std::ldexp(moments.covariance(i, j), -2 * kDensityBits);
  const std::array<Vector3, 3> axes = eigenvectors(covariance);
  Vector3 along = axes[0], across = axes[1];
  double variance = 0.0;
  for (std::size_t i = 0; i < 3; ++i) variance += along[i] * dot(covariance[i], along);
  if (!(variance > kMinDeviation * kMinDeviation)) return not_fitted("the colours hardly vary");
  if (dot(along, {moments.mean(0), moments.mean(1), moments.mean(2)}) < 0.0)
    for (double& x : along) x = -x;

  const auto project = [](const std::array<std::int32_t, 3>& d, const Vector3& on) {
    return std::ldexp(
        dot({static_cast<double>(d[0]), static_cast<double>(d[1]), static_cast<double>(d[2])}, on),
        -kDensityBits);
  };
  std::vector<double> values(od.size());
  const auto percentile_of = [&](double percent, const auto& value) {
    for (std::size_t i = 0; i < od.size(); ++i) values[i] = value(od[i]);
    return percentile(values, percent);
  };
  const auto angle = [&](const auto& d) { return std::atan2(project(d, across), project(d, along)); };
  const auto direction = [&](double a) {
    Vector3 v{};
    for (std::size_t c = 0; c < 3; ++c) v[c] = std::cos(a) * along[c] + std::sin(a) * across[c];
    return v;
  };
  Vector3 h = direction(percentile_of(1.0, angle)), e = direction(percentile_of(99.0, angle));
  if (h[0] < e[0]) std::swap(h, e);  // haematoxylin absorbs red, eosin hardly does

  const double cosine = dot(h, e);
  const double least = std::min(*std::min_element(h.begin(), h.end()), *std::min_element(e.begin(), e.end()));
  if (!(1.0 - cosine * cosine > kMinSine * kMinSine) || !(least > kMinAbsorption))
    return not_fitted("the colours do not show two stains");
  const std::array<Vector3, 2> unmix = unmixing(h, e);
  std::array<double, 2> most{};
  for (std::size_t s = 0; s < 2; ++s)
    most[s] = percentile_of(99.0, [&](const auto& d) { return project(d, unmix[s]); });
  if (!(std::min(most[0], most[1]) > kMinConcentration))
    return not_fitted("one of the two stains is missing");
  for (std::size_t c = 0; c < 3; ++c) {
    h[c] *= most[0];
    e[c] *= most[1];
  }
  StainFit fit;
  fit.profile = stain_profile(StainMethod::macenko, h, e);
  return fit;
}

/// One pixel from `source`'s stains to `target`'s. Concentrations times stains is one 3x3 matrix on
/// densities: nine table entries are added, and a table turns the sums back into bytes.
class MacenkoMap {
 public:
  MacenkoMap(const StainProfile& source, const StainProfile& target) {
    const std::array<std::int32_t, 256> density = density_table();
    const std::array<Vector3, 2> unmix = unmixing(source.first, source.second);
    for (std::size_t in = 0; in < 3; ++in)
      for (std::size_t v = 0; v < 256; ++v)
        for (std::size_t out = 0; out < 3; ++out) {
          const double gain = target.first[out] * unmix[0][in] + target.second[out] * unmix[1][in];
          const double d = std::ldexp(gain * density[v], -kDensityBits);
          parts_[in][v][out] = static_cast<std::int32_t>(fixed(d, kDensityBits, 8e3));
        }
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      const double d = std::ldexp(static_cast<double>(i) + 0.5, kStepBits - kDensityBits) - kBrightest;
      bytes_[i] = to_byte(std::llround(kIncident * std::exp(-d) - 1.0));
    }
  }

  std::array<std::uint8_t, 3> operator()(const std::uint8_t* rgb) const {
    const auto &r = parts_[0][rgb[0]], &g = parts_[1][rgb[1]], &b = parts_[2][rgb[2]];
    std::array<std::uint8_t, 3> out;
    for (std::size_t c = 0; c < 3; ++c) {
      const std::int32_t i = (r[c] + g[c] + b[c] + kOffset) >> kStepBits;
      out[c] = bytes_[static_cast<std::size_t>(std::clamp<std::int32_t>(i, 0, kSteps - 1))];
    }
    return out;
  }

 private:
  static constexpr int kStepBits = 5;                               // 2^-11 of density: 0.06 grey levels
  static constexpr double kBrightest = 0.125;                       // ln(256 / 240) and a little
  static constexpr std::int32_t kOffset = 1 << (kDensityBits - 3);  // the same, fixed point
  static constexpr std::int32_t kSteps = 6 << (kDensityBits - kStepBits);

  std::array<std::array<std::array<std::int32_t, 4>, 256>, 3> parts_{};  // [channel in][value][channel out]
  std::array<std::uint8_t, kSteps> bytes_{};
};

}  // namespace detail

}  // namespace microtome
