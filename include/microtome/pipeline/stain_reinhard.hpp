// Stain normalisation by colour statistics: E. Reinhard et al., "Color transfer between images", IEEE
// Computer Graphics and Applications 21(5), 2001. Mean and standard deviation of each channel are made those
// of the target, in the l-alpha-beta space of Ruderman et al. (J. Opt. Soc. Am. A 15, 1998), whose channels
// are nearly independent in natural images.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "stain_profile.hpp"

namespace microtome {

/// What a normalised image looks like unless another target is given: the 31 training images of the shipped
/// model (TNBC, weights/README.md), as `tools/train/stain_target.py` prints them.
inline StainProfile reinhard_reference() {
  StainProfile p =
      detail::stain_profile(StainMethod::reinhard, {3.9088, -0.0267, 0.0061}, {0.1036, 0.0300, 0.0040});
  p.origin = "reference values";
  return p;
}

namespace detail {

using Matrix3 = std::array<std::array<double, 3>, 3>;

// RGB to the cones' L, M, S (Reinhard et al., equation 4).
inline constexpr Matrix3 kRgbToLms{
    {{0.3811, 0.5783, 0.0402}, {0.1967, 0.7244, 0.0782}, {0.0241, 0.1288, 0.8444}}};

/// Rows: l, alpha, beta of the logarithms of L, M, S (equation 6); orthonormal, so transposing inverts it.
inline Matrix3 log_lms_to_lab() {
  const double l = 1.0 / std::sqrt(3.0), a = 1.0 / std::sqrt(6.0), b = 1.0 / std::sqrt(2.0);
  return {{{l, l, l}, {a, a, -2.0 * a}, {b, -b, 0.0}}};
}

/// Inverse by cofactors: the one printed in the paper is rounded to four digits.
inline Matrix3 inverse(const Matrix3& m) {
  Matrix3 cofactor{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) {
      const std::size_t i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
      cofactor[i][j] = m[i1][j1] * m[i2][j2] - m[i1][j2] * m[i2][j1];
    }
  const double det = m[0][0] * cofactor[0][0] + m[0][1] * cofactor[0][1] + m[0][2] * cofactor[0][2];
  Matrix3 out{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) out[i][j] = cofactor[j][i] / det;
  return out;
}

constexpr int kLogBits = 16;

/// Binary logarithms of L, M and S in 2^-16, by tables; values below one grey level count as one.
class LogLms {
 public:
  LogLms() : log_(std::size_t{256} << kConeBits) {
    for (std::size_t in = 0; in < 3; ++in)
      for (std::size_t v = 0; v < 256; ++v)
        for (std::size_t out = 0; out < 3; ++out)
          parts_[in][v][out] =
              static_cast<std::int32_t>(fixed(kRgbToLms[out][in] * static_cast<double>(v), kPartBits));
    for (std::size_t i = std::size_t{1} << kConeBits; i < log_.size(); ++i)
      log_[i] = static_cast<std::int32_t>(
          fixed(std::log2(std::ldexp(static_cast<double>(i), -kConeBits)), kLogBits));
  }

  std::array<std::int32_t, 3> operator()(const std::uint8_t* rgb) const {
    const auto &r = parts_[0][rgb[0]], &g = parts_[1][rgb[1]], &b = parts_[2][rgb[2]];
    std::array<std::int32_t, 3> out;
    for (std::size_t c = 0; c < 3; ++c) {
      const std::int32_t half = 1 << (kPartBits - kConeBits - 1);
      out[c] = log_[static_cast<std::size_t>((r[c] + g[c] + b[c] + half) >> (kPartBits - kConeBits))];
    }
    return out;
  }

 private:
  static constexpr int kPartBits = 16, kConeBits = 6;  // 1/64 grey level

  std::array<std::array<std::array<std::int32_t, 4>, 256>, 3> parts_{};  // [channel in][value][cone]
  std::vector<std::int32_t> log_;                                        // by cone value
};

constexpr double kLog10Of2 = 0.30102999566398119521;

/// Fits `pixels` interleaved RGB pixels: statistics over stained ones (darkest channel not above 205).
inline StainFit fit_reinhard(const std::uint8_t* rgb, std::size_t pixels) {
  const LogLms log_lms;
  Moments m;
  const std::size_t step = stain_step(pixels);
  for (std::size_t i = 0; i < pixels; i += step) {
    const std::uint8_t* p = rgb + 3 * i;
    if (std::min({p[0], p[1], p[2]}) <= kStained && std::max({p[0], p[1], p[2]}) >= kBlack) m.add(log_lms(p));
  }
  if (m.n < static_cast<std::int64_t>(kMinStainPixels)) return not_fitted("too few stained pixels");
  const Matrix3 lab = log_lms_to_lab();
  const double unit = std::ldexp(kLog10Of2, -kLogBits);
  StainFit fit;
  fit.profile.method = StainMethod::reinhard;
  for (std::size_t c = 0; c < 3; ++c) {
    double variance = 0.0;
    for (std::size_t i = 0; i < 3; ++i) {
      fit.profile.first[c] += unit * lab[c][i] * m.mean(i);
      for (std::size_t j = 0; j < 3; ++j)
        variance += unit * unit * lab[c][i] * lab[c][j] * m.covariance(i, j);
    }
    fit.profile.second[c] = std::sqrt(std::max(0.0, variance));
  }
  // Stained tissue has 0.06 to 0.25, 0.01 to 0.13, 0.0015 to 0.013. Less is noise, not to be amplified.
  const auto& s = fit.profile.second;
  if (!(s[0] > 0.01 && s[1] > 0.001 && s[2] > 0.0005)) return not_fitted("the colours hardly vary");
  return fit;
}

/// One pixel from `source`'s statistics to `target`'s. Scaling l, alpha, beta is one 3x3 matrix on the
/// logarithms of L, M, S.
class ReinhardMap {
 public:
  ReinhardMap(const StainProfile& source, const StainProfile& target) {
    const Matrix3 lab = log_lms_to_lab(), to_rgb = inverse(kRgbToLms);
    for (std::size_t out = 0; out < 3; ++out) {
      double offset = 0.0;
      std::array<double, 3> gain{};
      for (std::size_t c = 0; c < 3; ++c) {
        const double scale = target.second[c] / source.second[c];
        offset += lab[c][out] * (target.first[c] - scale * source.first[c]);
        for (std::size_t in = 0; in < 3; ++in) gain[in] += lab[c][out] * scale * lab[c][in];
      }
      offset_[out] = fixed(offset / kLog10Of2, kGainBits + kLogBits);
      for (std::size_t in = 0; in < 3; ++in) {
        gain_[out][in] = fixed(gain[in], kGainBits);
        to_rgb_[out][in] = fixed(to_rgb[out][in], kGainBits);
      }
    }
    for (std::size_t i = 0; i < power_.size(); ++i)
      power_[i] = static_cast<std::int32_t>(
          fixed(std::exp2((static_cast<double>(i) + 0.5) / static_cast<double>(power_.size())), kPowerBits));
  }

  std::array<std::uint8_t, 3> operator()(const std::uint8_t* rgb) const {
    const std::array<std::int32_t, 3> log = log_lms_(rgb);
    std::array<std::int64_t, 3> lms;
    for (std::size_t c = 0; c < 3; ++c) {
      const auto& g = gain_[c];
      lms[c] = power((g[0] * log[0] + g[1] * log[1] + g[2] * log[2] + offset_[c]) >> kGainBits);
    }
    std::array<std::uint8_t, 3> out;
    for (std::size_t c = 0; c < 3; ++c) {
      const auto& m = to_rgb_[c];
      constexpr int bits = kGainBits + kConeBits;
      out[c] =
          to_byte((m[0] * lms[0] + m[1] * lms[1] + m[2] * lms[2] + (std::int64_t{1} << (bits - 1))) >> bits);
    }
    return out;
  }

 private:
  static constexpr int kGainBits = 16, kPowerBits = 24, kStepBits = 12, kConeBits = 12;

  // 2^y in 2^-12; y in 2^-16, kept between 2^-4 and 2^12 grey levels.
  std::int64_t power(std::int64_t y) const {
    y = std::clamp<std::int64_t>(y, -(std::int64_t{4} << kLogBits), (std::int64_t{12} << kLogBits) - 1);
    const std::int64_t whole = y >> kLogBits, fraction = y & ((1 << kLogBits) - 1);
    return power_[static_cast<std::size_t>(fraction >> (kLogBits - kStepBits))] >>
           (kPowerBits - kConeBits - whole);
  }

  LogLms log_lms_;
  std::array<std::array<std::int64_t, 3>, 3> gain_{}, to_rgb_{};  // [out][in]
  std::array<std::int64_t, 3> offset_{};
  std::array<std::int32_t, 1 << kStepBits> power_{};  // 2^x for x in [0, 1)
};

}  // namespace detail

}  // namespace microtome
