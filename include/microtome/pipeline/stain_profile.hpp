// How an image is stained, in six numbers, and which of its pixels say so.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

namespace microtome {

enum class StainMethod { none, macenko, reinhard };

inline const char* name_of(StainMethod m) {
  return m == StainMethod::macenko ? "macenko" : m == StainMethod::reinhard ? "reinhard" : "none";
}

/// What one method measures of an image, and aims at in another. Channels in the order R, G, B.
struct StainProfile {
  StainMethod method = StainMethod::none;
  std::string origin;  ///< where it was measured: "reference values", or the name of a file
  /// Macenko: haematoxylin, optical density (natural logarithm) at the 99th percentile of its concentration;
  /// the direction is the stain vector, the length that concentration.
  /// Reinhard: means of l, alpha, beta (decadic logarithm of 8-bit values).
  std::array<double, 3> first{};
  /// Macenko: eosin likewise. Reinhard: standard deviations of l, alpha, beta.
  std::array<double, 3> second{};

  const char* first_name() const { return method == StainMethod::macenko ? "haematoxylin_od" : "lab_mean"; }
  const char* second_name() const { return method == StainMethod::macenko ? "eosin_od" : "lab_deviation"; }
};

/// A profile, or why the pixels have none (then profile.method is none).
struct StainFit {
  StainProfile profile;
  std::string failure;  ///< "too few stained pixels"; empty when fitted
  bool ok() const { return profile.method != StainMethod::none; }
};

namespace detail {

inline StainFit not_fitted(const char* why) {
  StainFit f;
  f.failure = why;
  return f;
}

inline StainProfile stain_profile(StainMethod method, const std::array<double, 3>& first,
                                  const std::array<double, 3>& second) {
  StainProfile p;
  p.method = method;
  p.first = first;
  p.second = second;
  return p;
}

constexpr int kStained = 205;  // 240 exp(-0.15) - 1: Macenko's smallest optical density, beta
constexpr int kGlass = 230;    // pixels whose darkest channel reaches it keep their colour
constexpr int kBlack = 30;     // scanner padding, black marker: never fitted; as in tissue.hpp
constexpr std::size_t kMinStainPixels = 500;
constexpr std::size_t kMaxStainPixels = std::size_t{1} << 20;  // bounds time and memory, and int64 sums

/// Every how many pixels one is looked at. Odd, so that columns of an image alternate.
inline std::size_t stain_step(std::size_t pixels) {
  return pixels <= kMaxStainPixels ? 1 : ((pixels + kMaxStainPixels - 1) / kMaxStainPixels) | 1;
}

/// Sums over pixels of three integer values below 2^20 and of their products: exact, whatever the order.
struct Moments {
  std::int64_t n = 0, sum[3] = {}, product[3][3] = {};

  void add(const std::array<std::int32_t, 3>& v) {
    ++n;
    for (std::size_t i = 0; i < 3; ++i) {
      sum[i] += v[i];
      for (std::size_t j = i; j < 3; ++j) product[i][j] += std::int64_t{v[i]} * v[j];
    }
  }
  double mean(std::size_t i) const { return static_cast<double>(sum[i]) / static_cast<double>(n); }
  double covariance(std::size_t i, std::size_t j) const {  // divided by n
    return static_cast<double>(product[std::min(i, j)][std::max(i, j)]) / static_cast<double>(n) -
           mean(i) * mean(j);
  }
};

/// `v`, kept within +-`limit` (0 if it is not a number), times 2^bits, rounded. Coefficients come from a few
/// operations in double and table entries from one call of libm; compilers (fused multiply-add) and C
/// libraries differ there by some 1e-16 relative. Rounding to these coarse steps removes that, and everything
/// done to a pixel is integer arithmetic: the bytes do not depend on instruction set, compiler or
/// optimisation.
inline std::int64_t fixed(double v, int bits, double limit = 1e4) {
  return std::isnan(v) ? 0 : std::llround(std::ldexp(std::clamp(v, -limit, limit), bits));
}

inline std::uint8_t to_byte(std::int64_t v) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(v, 0, 255));
}

}  // namespace detail

}  // namespace microtome
