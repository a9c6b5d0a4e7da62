// Where a synthetic slide has what: tissue islands, epithelium, glands, fat, vessels, and every nucleus in
// them. Lengths are micrometres from the slide's top left corner. Nothing here depends on tiles.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "synth_noise.hpp"

namespace microtome::synth {

/// A gland or a vessel: a wobbly ring round a lumen.
struct Ring {
  double x, y;
  float radius, lumen;  ///< outer wall and lumen; lumen <= 0: none
  float squash;         ///< height / width
  bool vessel;
  bool blood;  ///< red cells in the lumen
};

/// Slowly varying facts at one point; distances in um, positive inside.
struct Point {
  float tissue = 0.0f;                 ///< depth below the tissue's edge
  float epithelium = 0.0f;             ///< depth inside a nest or a gland's wall
  float white = 0.0f;                  ///< depth inside a lumen or fat droplet
  float wall = 0.0f;                   ///< depth inside a vessel's wall
  float blood = 0.0f;                  ///< depth inside a lumen that holds blood
  float warp_x = 0.0f, warp_y = 0.0f;  ///< displacement of the fibre pattern, um
  float density = 0.0f;                ///< 0 loose .. 1 dense stroma
  float hue = 0.0f;                    ///< 0..1, drift of the stain
};

/// Dust on the glass.
struct Speck {
  double x, y;
  float radius, amount;
};

/// An ellipse with a bend; angles as cosine and sine of the long axis.
struct Nucleus {
  double x, y;
  float a, b, c, s;  ///< half axes (um), direction
  float bend;
  float dark;            ///< haematoxylin, about 0.3..1.2
  float vesicular;       ///< 0 solid .. 1 pale inside with a dark rim
  float spot_x, spot_y;  ///< nucleolus, um from the centre
  float spot;            ///< its radius, um; 0: none
};

class Tissue {
 public:
  /// A slide of width x height um of which about `share` is tissue.
  Tissue(double width, double height, double share, std::uint64_t seed)
      : noise_(static_cast<std::uint32_t>(seed ^ seed >> 32) * 2654435761u + 1u),
        seed_(hash(static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32), 77u)) {
    wavelength_ = std::clamp(0.7 * std::min(width, height), 300.0, 3000.0);
    const float angle = CellRandom(0, 0, seed_ + 1).between(0.0f, 3.14159f);
    cos_ = std::cos(angle);
    sin_ = std::sin(angle);
    // The island field is not uniform: the level that leaves `share` above it is found by sampling.
    if (share <= 0.0) {
      threshold_ = 2.0f;
    } else if (share >= 1.0) {
      threshold_ = -100.0f;
    } else {
      constexpr int kSide = 512;
      std::vector<float> v;
      v.reserve(kSide * kSide);
      for (int j = 0; j < kSide; ++j)
        for (int i = 0; i < kSide; ++i)
          v.push_back(islands((i + 0.5) * width / kSide, (j + 0.5) * height / kSide));
      const auto k = static_cast<std::ptrdiff_t>((1.0 - share) * static_cast<double>(v.size() - 1));
      std::nth_element(v.begin(), v.begin() + k, v.end());
      threshold_ = v[static_cast<std::size_t>(k)];
    }
  }

  std::uint32_t seed() const { return seed_; }
  const Noise& noise() const { return noise_; }
  double fibre_cos() const { return cos_; }
  double fibre_sin() const { return sin_; }

  /// True only if no tissue reaches into the rectangle (ragged edges included).
  bool blank(double x0, double y0, double x1, double y1) const {
    const double w = wavelength_;
    const float most = noise_.fractal_bound(x0 / w, y0 / w, x1 / w, y1 / w, kIslands, kIslandOctaves);
    return (most - threshold_) * edge_scale() < -kRagged;
  }

  /// Specks of dust on the glass that may touch the rectangle.
  std::vector<Speck> dust(double x0, double y0, double x1, double y1) const {
    std::vector<Speck> found;
    constexpr double reach = 15.0;
    scatter(x0, y0, x1, y1, reach, 900.0, 31u, [&](CellRandom& r, double x, double y) {
      if (r.unit() > 0.25f) return;
      const Speck s{x, y, r.between(3.0f, 14.0f), r.between(0.05f, 0.3f)};
      if (x + reach > x0 && x - reach < x1 && y + reach > y0 && y - reach < y1) found.push_back(s);
    });
    return found;
  }
  /// False only if dust() is empty.
  bool dusty(double x0, double y0, double x1, double y1) const {
    return x1 - x0 > 8000.0 || !dust(x0, y0, x1, y1).empty();
  }

  /// All rings whose wall, lumen or surroundings reach into the rectangle.
  std::vector<Ring> rings(double x0, double y0, double x1, double y1) const {
    std::vector<Ring> found;
    for (const bool vessel : {false, true})  // glands first: at() needs them before vessels
    {
      const double pitch = vessel ? 210.0 : 165.0, reach = 110.0;
      for (std::int64_t cy = cell(y0 - reach, pitch); cy <= cell(y1 + reach, pitch); ++cy)
        for (std::int64_t cx = cell(x0 - reach, pitch); cx <= cell(x1 + reach, pitch); ++cx) {
          CellRandom r(cx, cy, seed_ + (vessel ? 11u : 12u));
          Ring g;
          g.x = (static_cast<double>(cx) + r.between(0.3f, 0.7f)) * pitch;
          g.y = (static_cast<double>(cy) + r.between(0.3f, 0.7f)) * pitch;
          g.squash = r.between(0.65f, 1.0f);
          g.vessel = vessel;
          g.radius = vessel ? r.between(9.0f, 24.0f) : r.between(22.0f, 58.0f);
          g.lumen = vessel ? g.radius - r.between(2.0f, 4.0f) : g.radius - r.between(13.0f, 20.0f);
          const float glandular = noise_.fractal(g.x / 600.0, g.y / 600.0, kGlandular, 2);
          const float chance = vessel ? 0.35f : saturate((glandular - 0.45f) * 6.0f) * 0.85f;
          g.blood = vessel && r.unit() < 0.6f;
          if (r.unit() < chance) found.push_back(g);
        }
    }
    return found;
  }

  Point at(double x, double y, const std::vector<Ring>& rings) const {
    Point p;
    p.tissue = (islands(x, y) - threshold_) * edge_scale();
    p.epithelium = p.white = p.wall = p.blood = -20.0f;
    if (p.tissue < -kRagged) return p;
    p.epithelium = (noise_.fractal(x / 280.0, y / 280.0, kNests, 4) - 0.575f) * 260.0f;
    const float wobble = (noise_.at(x / 28.0, y / 28.0, kWobble) - 0.5f) * 14.0f;
    for (const Ring& g : rings) {
      const auto dx = static_cast<float>(x - g.x), dy = static_cast<float>(y - g.y) / g.squash;
      const float d2 = dx * dx + dy * dy, far = g.radius + 24.0f;
      if (d2 > far * far) continue;
      const float d = std::sqrt(d2) + (g.vessel ? 0.4f : 1.0f) * wobble;
      if (g.vessel) {  // vessels end where epithelium begins
        const float room = -p.epithelium - 1.0f;
        p.wall = std::max(p.wall, std::min(g.radius - d, room));
        p.white = std::max(p.white, std::min(g.lumen - d, room - 2.0f));
        if (g.blood) p.blood = std::max(p.blood, std::min(g.lumen - d, room - 2.0f));
      } else {
        p.epithelium = std::max(p.epithelium, g.radius - d);
        p.white = std::max(p.white, g.lumen - d);
      }
    }
    const float fatty = (noise_.fractal(x / 520.0, y / 520.0, kFat, 2) - 0.62f) * 520.0f;
    const float room = std::min({fatty, -p.epithelium, -p.wall});
    if (room > -8.0f) p.white = std::max(p.white, std::min(droplet(x, y), room));
    p.warp_x = (noise_.fractal(x / 170.0, y / 170.0, kWarpX, 2) - 0.5f) * 190.0f;
    p.warp_y = (noise_.fractal(x / 170.0, y / 170.0, kWarpY, 3) - 0.5f) * 230.0f;
    p.density = saturate((noise_.fractal(x / 210.0, y / 210.0, kDensity, 3) - 0.5f) * 3.0f + 0.5f);
    p.hue = noise_.fractal(x / 420.0, y / 420.0, kHue, 3);
    return p;
  }

  /// All nuclei that may touch the rectangle; `rings` are those of the rectangle grown by 20 um.
  std::vector<Nucleus> nuclei(double x0, double y0, double x1, double y1,
                              const std::vector<Ring>& rings) const {
    std::vector<Nucleus> found;
    const double reach = 9.0;
    // A jittered grid where a point yields to any neighbour of higher rank that is too near (Matern's second
    // hard-core process): no lattice to see, few overlaps, and still decided locally.
    auto each = [&](double pitch, double apart, std::uint32_t stream, auto&& make) {
      struct Seed {
        double x, y;
        float rank;
      };
      auto seed = [&](std::int64_t cx, std::int64_t cy) {
        CellRandom r(cx, cy, seed_ + stream + 50u);
        Seed p{};
        p.x = (static_cast<double>(cx) + r.unit()) * pitch;
        p.y = (static_cast<double>(cy) + r.unit()) * pitch;
        p.rank = r.unit();
        return p;
      };
      for (std::int64_t cy = cell(y0 - reach, pitch); cy <= cell(y1 + reach, pitch); ++cy)
        for (std::int64_t cx = cell(x0 - reach, pitch); cx <= cell(x1 + reach, pitch); ++cx) {
          const Seed me = seed(cx, cy);
          if (me.x < x0 - reach || me.x > x1 + reach || me.y < y0 - reach || me.y > y1 + reach) continue;
          bool yields = false;
          for (int k = 0; k < 9 && !yields; ++k) {
            if (k == 4) continue;
            const Seed other = seed(cx + k % 3 - 1, cy + k / 3 - 1);
            const double dx = me.x - other.x, dy = me.y - other.y;
            yields = other.rank > me.rank && dx * dx + dy * dy < apart * apart;
          }
          if (yields) continue;
          const Point p = at(me.x, me.y, rings);
          CellRandom r(cx, cy, seed_ + stream);
          if (p.tissue > 4.0f) make(r, me.x, me.y, p);
        }
    };
    each(5.4, 5.9, 21u, [&](CellRandom& r, double x, double y, const Point& p) {  // epithelium
      if (p.epithelium < 3.0f || p.white > -3.2f || r.unit() > 0.97f) return;
      Nucleus n = shape(r, x, y, r.between(2.7f, 4.6f), r.between(0.62f, 0.96f));
      n.dark = r.between(0.42f, 0.95f);
      n.vesicular = r.between(0.2f, 1.0f);
      if (r.unit() < 0.6f) n.spot = r.between(0.5f, 0.9f);
      for (const Ring& g : rings) {  // columnar: the long axis points at the gland's lumen
        const double dx = x - g.x, dy = y - g.y, d = std::sqrt(dx * dx + dy * dy);
        if (!g.vessel && d > 1.0 && d < g.radius + 4.0f) {
          n.c = static_cast<float>(dx / d);
          n.s = static_cast<float>(dy / d);
        }
      }
      found.push_back(n);
    });
    each(11.0, 9.0, 22u, [&](CellRandom& r, double x, double y, const Point& p) {  // fibroblasts, endothelium
      const bool endothelium = p.wall > 0.0f && p.white < -0.5f;
      if (p.epithelium > -3.0f || p.white > -1.2f || r.unit() > (endothelium ? 0.95f : 0.45f)) return;
      Nucleus n = shape(r, x, y, r.between(3.0f, 6.2f), r.between(0.26f, 0.5f));
      n.dark = r.between(0.6f, 1.1f);
      n.vesicular = r.between(0.0f, 0.5f);
      along_fibre(n, rings, endothelium);
      found.push_back(n);
    });
    each(5.0, 4.8, 23u, [&](CellRandom& r, double x, double y, const Point& p) {  // lymphocytes
      const float many = saturate((noise_.fractal(x / 190.0, y / 190.0, kLymph, 3) - 0.55f) * 7.0f);
      if (p.epithelium > -2.0f || p.white > -3.0f || p.wall > -3.0f || r.unit() > 0.03f + 0.75f * many)
        return;
      Nucleus n = shape(r, x, y, r.between(2.3f, 3.1f), r.between(0.8f, 1.0f));
      n.dark = r.between(0.75f, 1.15f);
      n.vesicular = r.between(0.0f, 0.45f);
      found.push_back(n);
    });
    return found;
  }

  /// Calls f(random, x, y) for every cell of a jittered grid whose point may lie in the rectangle grown by
  /// `reach`.
  template <class F>
  void scatter(double x0, double y0, double x1, double y1, double reach, double pitch, std::uint32_t stream,
               F&& f) const {
    for (std::int64_t cy = cell(y0 - reach, pitch); cy <= cell(y1 + reach, pitch); ++cy)
      for (std::int64_t cx = cell(x0 - reach, pitch); cx <= cell(x1 + reach, pitch); ++cx) {
        CellRandom r(cx, cy, seed_ + stream);
        const double x = (static_cast<double>(cx) + r.unit()) * pitch,
                     y = (static_cast<double>(cy) + r.unit()) * pitch;
        f(r, x, y);
      }
  }

 private:
  enum Stream : std::uint32_t {
    kIslands = 100,
    kNests = 110,
    kGlandular = 120,
    kWobble = 130,
    kFat = 140,
    kWarpX = 150,
    kWarpY = 160,
    kDensity = 170,
    kHue = 180,
    kLymph = 190
  };
  static constexpr int kIslandOctaves = 5;
  static constexpr float kRagged = 20.0f;  // how far the ragged edge may leave the smooth one, um

  static std::int64_t cell(double v, double pitch) {
    return static_cast<std::int64_t>(std::floor(v / pitch));
  }
  float islands(double x, double y) const {
    return noise_.fractal(x / wavelength_, y / wavelength_, kIslands, kIslandOctaves);
  }
  float edge_scale() const { return static_cast<float>(wavelength_) * 0.4f; }  // field units to um, roughly

  // Half the way to the nearest membrane between two fat cells, less the membrane: a jittered Voronoi
  // diagram.
  float droplet(double x, double y) const {
    const double pitch = 46.0;
    const std::int64_t cx = cell(x, pitch), cy = cell(y, pitch);
    float first = 1e9f, second = 1e9f;
    for (std::int64_t j = cy - 1; j <= cy + 1; ++j)
      for (std::int64_t i = cx - 1; i <= cx + 1; ++i) {
        CellRandom r(i, j, seed_ + 13u);
        const auto dx = static_cast<float>((static_cast<double>(i) + r.between(0.15f, 0.85f)) * pitch - x);
        const auto dy = static_cast<float>((static_cast<double>(j) + r.between(0.15f, 0.85f)) * pitch - y);
        const float d = std::sqrt(dx * dx + dy * dy);
        second = std::min(second, std::max(first, d));
        first = std::min(first, d);
      }
    return 0.5f * (second - first) - 1.1f;
  }

  static Nucleus shape(CellRandom& r, double x, double y, float a, float ratio) {
    Nucleus n{};
    n.x = x;
    n.y = y;
    n.a = a;
    n.b = a * ratio;
    const float angle = r.between(0.0f, 3.14159f);
    n.c = std::cos(angle);
    n.s = std::sin(angle);
    n.bend = r.between(-0.25f, 0.25f);
    n.spot_x = r.between(-0.4f, 0.4f) * n.a;
    n.spot_y = r.between(-0.4f, 0.4f) * n.b;
    return n;
  }

  // Fibres run where the warped fibre coordinate is constant, endothelium along the vessel's wall.
  void along_fibre(Nucleus& n, const std::vector<Ring>& rings, bool endothelium) const {
    double gx = 0.0, gy = 0.0;
    if (endothelium) {
      for (const Ring& g : rings) {
        const double dx = n.x - g.x, dy = (n.y - g.y) / (g.squash * g.squash);
        if (!g.vessel || dx * dx + dy * dy * g.squash * g.squash > (g.radius + 8.0) * (g.radius + 8.0))
          continue;
        gx = dx;
        gy = dy;
      }
    } else {
      auto v = [&](double x, double y) {
        return -sin_ * x + cos_ * y +
               static_cast<double>((noise_.fractal(x / 170.0, y / 170.0, kWarpY, 3) - 0.5f) * 230.0f);
      };
      gx = v(n.x + 2.0, n.y) - v(n.x - 2.0, n.y);
      gy = v(n.x, n.y + 2.0) - v(n.x, n.y - 2.0);
    }
    const double d = std::sqrt(gx * gx + gy * gy);
    if (d < 1e-6) return;
    n.c = static_cast<float>(-gy / d);
    n.s = static_cast<float>(gx / d);
  }

  Noise noise_;
  std::uint32_t seed_;
  double wavelength_ = 1.0, cos_ = 1.0, sin_ = 0.0;
  float threshold_ = 0.0f;
};

}  // namespace microtome::synth
