// Repeatable randomness for synthetic slides: everything is a function of a position and a seed, so any tile
// can be drawn alone, by any thread, in any order.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace microtome::synth {

/// Mixes two lattice coordinates and a stream number into 32 even bits (integer finaliser of the murmur
/// kind).
inline std::uint32_t hash(std::uint32_t x, std::uint32_t y, std::uint32_t stream) {
  std::uint32_t h = x * 0x8da6b343u ^ y * 0xd8163841u ^ stream * 0xcb1ab31fu;
  h ^= h >> 15;
  h *= 0x2c1b3c6du;
  h ^= h >> 12;
  h *= 0x297a2d39u;
  h ^= h >> 15;
  return h;
}

/// Random numbers of one lattice cell, drawn one after the other.
class CellRandom {
 public:
  CellRandom(std::int64_t cx, std::int64_t cy, std::uint32_t stream)
      : x_(static_cast<std::uint32_t>(cx)), y_(static_cast<std::uint32_t>(cy)), stream_(stream) {}
  float unit() {  // [0, 1)
    return static_cast<float>(hash(x_, y_, stream_ + 0x9e3779b9u * ++n_) >> 8) * (1.0f / 16777216.0f);
  }
  float between(float lo, float hi) { return lo + (hi - lo) * unit(); }

 private:
  std::uint32_t x_, y_, stream_, n_ = 0;
};

inline float saturate(float v) {
  return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
}
inline float smooth(float t) {
  return t * t * (3.0f - 2.0f * t);
}

/// Value noise in 0..1 with lattice spacing 1, from a table that repeats every 256 cells: repeats are hidden
/// by summing octaves. A table because four loads cost a third of four hashes.
class Noise {
 public:
  static constexpr std::uint32_t kMask = 255;

  explicit Noise(std::uint32_t seed) : values_(256 * 256) {
    for (std::uint32_t i = 0; i < values_.size(); ++i)
      values_[i] = static_cast<float>(hash(i & kMask, i >> 8, seed) >> 8) * (1.0f / 16777216.0f);
  }

  float lattice(std::uint32_t ix, std::uint32_t iy) const {
    return values_[(iy & kMask) << 8 | (ix & kMask)];
  }

  /// At lattice point (ix, iy) plus (x, y), which must not be negative.
  float at(std::uint32_t ix, std::uint32_t iy, float x, float y) const {
    const auto jx = static_cast<std::int32_t>(x), jy = static_cast<std::int32_t>(y);
    const float tx = smooth(x - static_cast<float>(jx)), ty = smooth(y - static_cast<float>(jy));
    const std::uint32_t x0 = (ix + static_cast<std::uint32_t>(jx)) & kMask, x1 = (x0 + 1) & kMask;
    const std::uint32_t y0 = ((iy + static_cast<std::uint32_t>(jy)) & kMask) << 8,
                        y1 = (y0 + 256) & (kMask << 8);
    const float a = values_[y0 | x0], b = values_[y0 | x1], c = values_[y1 | x0], d = values_[y1 | x1];
    const float top = a + (b - a) * tx, bottom = c + (d - c) * tx;
    return top + (bottom - top) * ty;
  }

  /// Anywhere. `stream` shifts the table so that fields do not resemble each other.
  float at(double x, double y, std::uint32_t stream) const {
    const double fx = std::floor(x), fy = std::floor(y);
    const std::uint32_t ox = stream * 71u, oy = stream * 29u + 13u;
    return at(static_cast<std::uint32_t>(static_cast<std::int64_t>(fx)) + ox,
              static_cast<std::uint32_t>(static_cast<std::int64_t>(fy)) + oy, static_cast<float>(x - fx),
              static_cast<float>(y - fy));
  }

  /// Octaves of halving wavelength and weight, 0..1, mean 0.5. Each octave is turned against the one before,
  /// or the square lattice would show.
  float fractal(double x, double y, std::uint32_t stream, int octaves) const {
    float sum = 0.0f, weight = 0.5f, total = 0.0f;
    for (int i = 0; i < octaves; ++i, weight *= 0.5f) {
      sum += weight * at(x, y, stream + static_cast<std::uint32_t>(i));
      total += weight;
      turn(x, y);
    }
    return sum / total;
  }

  /// No value of fractal() within the rectangle is greater than this.
  float fractal_bound(double x0, double y0, double x1, double y1, std::uint32_t stream, int octaves) const {
    double x[4] = {x0, x1, x0, x1}, y[4] = {y0, y0, y1, y1};
    float sum = 0.0f, weight = 0.5f, total = 0.0f;
    for (int i = 0; i < octaves; ++i, weight *= 0.5f) {
      sum += weight * lattice_bound(x, y, stream + static_cast<std::uint32_t>(i));
      total += weight;
      for (int k = 0; k < 4; ++k) turn(x[k], y[k]);
    }
    return sum / total;
  }

 private:
  // One octave to the next: twice the frequency, turned by atan(3/4).
  static void turn(double& x, double& y) {
    const double t = 1.6 * x - 1.2 * y;
    y = 1.2 * x + 1.6 * y;
    x = t;
  }

  // Two bounds over the corners' bounding box: interpolation never exceeds the lattice points around, and
  // from the middle it rises by at most 1.5 (the steepest slope of smooth()) times their range per cell and
  // axis.
  float lattice_bound(const double* x, const double* y, std::uint32_t stream) const {
    const double left = *std::min_element(x, x + 4), right = *std::max_element(x, x + 4);
    const double top = *std::min_element(y, y + 4), bottom = *std::max_element(y, y + 4);
    if (right - left > 12.0 || bottom - top > 12.0) return 1.0f;
    const std::uint32_t ox = stream * 71u, oy = stream * 29u + 13u;
    const auto floor_of = [](double v) { return static_cast<std::int64_t>(std::floor(v)); };
    float most = 0.0f, least = 1.0f;
    for (std::int64_t iy = floor_of(top); iy <= floor_of(bottom) + 1; ++iy)
      for (std::int64_t ix = floor_of(left); ix <= floor_of(right) + 1; ++ix) {
        const float v = lattice(static_cast<std::uint32_t>(ix) + ox, static_cast<std::uint32_t>(iy) + oy);
        most = std::max(most, v);
        least = std::min(least, v);
      }
    const float middle = at((left + right) / 2, (top + bottom) / 2, stream);
    const auto half_sides = static_cast<float>((right - left + bottom - top) / 2);
    return std::min(most, middle + 1.5f * (most - least) * half_sides + 1e-5f);
  }

  std::vector<float> values_;
};

}  // namespace microtome::synth
