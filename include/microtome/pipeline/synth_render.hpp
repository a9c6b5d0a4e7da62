// Draws one tile of a synthetic slide: optical densities of haematoxylin and eosin per pixel, then light
// (Beer-Lambert), then sensor noise; and the true label of every pixel.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "synth_noise.hpp"
#include "synth_tissue.hpp"

namespace microtome::synth {

/// Empty glass, exactly: blank tiles of a slide are all the same bytes.
constexpr std::array<std::uint8_t, 3> kGlass = {244, 243, 245};

/// Draws tiles of kTile x kTile pixels. Owns scratch memory: one per thread.
class Renderer {
 public:
  static constexpr int kTile = 512;

  /// `mpp` in um per pixel.
  Renderer(const Tissue& tissue, double mpp)
      : tissue_(tissue),
        mpp_(mpp),
        grain_(tissue.noise(), 0.75, 2),
        fine_(tissue.noise(), 1.6, 3),
        middle_(tissue.noise(), 5.3, 5),
        coarse_(tissue.noise(), 17.0, 9) {
    // The slow facts are computed on a grid of about 2 um and interpolated.
    step_ = 1;
    while (step_ < 16 && step_ * 2 * mpp <= 2.1) step_ *= 2;
    nodes_ = kTile / step_ + 1;
    grid_.resize(static_cast<std::size_t>(nodes_ * nodes_));
    for (auto& row : rows_) row.resize(kTile + 16);
    nuclear_.resize(kPixels);
    cover_.resize(kPixels);
    extra_.resize(kPixels);
    kind_.resize(kPixels);
    for (std::size_t i = 0; i < light_.size(); ++i) light_[i] = std::exp(-static_cast<float>(i) / 512.0f);
  }

  /// Tile (tx, ty): interleaved RGB (kTile * kTile * 3 bytes) and labels (1 = nucleus). False when it is
  /// empty glass: the buffers are then filled accordingly too.
  bool draw(std::int64_t tx, std::int64_t ty, std::uint8_t* rgb, std::uint8_t* labels) {
    px0_ = tx * kTile;
    py0_ = ty * kTile;
    x0_ = static_cast<double>(px0_) * mpp_;
    y0_ = static_cast<double>(py0_) * mpp_;
    const double x1 = x0_ + kTile * mpp_, y1 = y0_ + kTile * mpp_;
    std::fill(labels, labels + kPixels, std::uint8_t{0});
    const bool tissue = !tissue_.blank(x0_, y0_, x1, y1);
    dust_ = tissue_.dust(x0_, y0_, x1, y1);
    if (!tissue && dust_.empty()) return fill_glass(rgb);

    std::fill(nuclear_.begin(), nuclear_.end(), 0.0f);
    std::fill(cover_.begin(), cover_.end(), 0.0f);
    std::fill(extra_.begin(), extra_.end(), 0.0f);
    std::fill(kind_.begin(), kind_.end(), std::uint8_t{0});
    const std::vector<Ring> rings = tissue_.rings(x0_ - 20, y0_ - 20, x1 + 20, y1 + 20);
    for (int j = 0; j < nodes_; ++j)
      for (int i = 0; i < nodes_; ++i)
        grid_[static_cast<std::size_t>(j * nodes_ + i)] =
            tissue_.at(x0_ + i * step_ * mpp_, y0_ + j * step_ * mpp_, rings);
    const bool reached =
        std::any_of(grid_.begin(), grid_.end(), [](const Point& p) { return p.tissue > -kEdge; });
    if (!reached && dust_.empty()) return fill_glass(rgb);
    if (reached) {
      for (const Nucleus& n : tissue_.nuclei(x0_, y0_, x1, y1, rings)) draw_nucleus(n, labels);
      scatter_distractors(x1, y1, rings);
    }
    for (RowNoise* n : {&grain_, &fine_, &middle_, &coarse_}) n->start_tile(x0_, y0_, mpp_);
    bool any = false;
    for (int y = 0; y < kTile; ++y)
      any = draw_row(y, rgb + std::size_t{3} * kTile * static_cast<std::size_t>(y)) || any;
    return any;
  }

 private:
  static constexpr std::size_t kPixels = std::size_t{kTile} * kTile;
  static constexpr float kEdge = 17.0f;  // how far noise moves the tissue's edge, um
  enum Field { kTissue, kEpithelium, kWhite, kWall, kWarpX, kWarpY, kDensity, kHue, kFields };
  enum Kind : std::uint8_t { kNothing, kRedCell, kPigment, kSmear };

  bool fill_glass(std::uint8_t* rgb) const {
    for (std::size_t i = 0; i < kPixels; ++i)
      for (std::size_t c = 0; c < 3; ++c) rgb[3 * i + c] = kGlass[c];
    return false;
  }

  // Calls f(index, dx, dy) with um offsets for every pixel of the square of half side `r` around (x, y).
  template <class F>
  void around(double x, double y, float r, F&& f) {
    const auto fx = static_cast<float>((x - x0_) / mpp_ - 0.5),
               fy = static_cast<float>((y - y0_) / mpp_ - 0.5);
    const auto m = static_cast<float>(mpp_);
    const float reach = r / m + 1.0f;
    const int i0 = std::max(0, static_cast<int>(fx - reach)),
              i1 = std::min(kTile - 1, static_cast<int>(fx + reach));
    const int j0 = std::max(0, static_cast<int>(fy - reach)),
              j1 = std::min(kTile - 1, static_cast<int>(fy + reach));
    for (int j = j0; j <= j1; ++j)
      for (int i = i0; i <= i1; ++i)
        f(static_cast<std::size_t>(j * kTile + i), (static_cast<float>(i) - fx) * m,
          (static_cast<float>(j) - fy) * m);
  }

  void draw_nucleus(const Nucleus& n, std::uint8_t* labels) {
    const float soft = std::max(0.55f, static_cast<float>(mpp_));  // um: optics and section thickness
    const float size = std::sqrt(n.a * n.b);
    const float radius = n.a * 1.2f + soft;
    const auto ux = static_cast<float>(n.x - std::floor(n.x / 64.0) * 64.0),
               uy = static_cast<float>(n.y - std::floor(n.y / 64.0) * 64.0);
    around(n.x, n.y, radius, [&](std::size_t i, float dx, float dy) {
      const float p = (dx * n.c + dy * n.s) / n.a;
      float q = (dy * n.c - dx * n.s) / n.b;
      q += n.bend * (p * p - 0.4f);
      float r2 = p * p + q * q;
      if (r2 > 2.2f) return;
      // An outline of its own: noise fixed to the slide, not to the tile.
      r2 *= 0.80f + 0.4f * tissue_.noise().at(7, 3, (ux + dx + 32.0f) * 0.42f, (uy + dy + 32.0f) * 0.42f);
      const float inside = (1.0f - r2) * 0.5f * size;  // um from the outline, near it
      const float cover = saturate(0.5f + inside / soft);
      if (cover <= 0.0f) return;
      const float rim = saturate((r2 - 0.5f) * 2.2f);
      float dark = n.dark * (1.0f - 0.42f * n.vesicular * (1.0f - rim * rim));
      const float membrane = saturate(1.0f - std::fabs(inside - 0.45f) * 1.8f);
      dark *= 1.0f + 0.35f * n.vesicular * membrane;
      if (n.spot > 0.0f) {
        const float sx = dx - n.spot_x, sy = dy - n.spot_y;
        dark += 0.3f * saturate(1.6f - std::sqrt(sx * sx + sy * sy) / n.spot);
      }
      nuclear_[i] = std::max(nuclear_[i], cover * dark);
      cover_[i] = std::max(cover_[i], cover);
      if (r2 < 1.0f) labels[i] = 1;
    });
  }

  void blob(double x, double y, float radius, float soft, float amount, Kind kind) {
    around(x, y, radius + soft, [&](std::size_t i, float dx, float dy) {
      const float c = amount * saturate((radius - std::sqrt(dx * dx + dy * dy)) / soft + 0.5f);
      if (c > extra_[i]) {
        extra_[i] = c;
        kind_[i] = kind;
      }
    });
  }

  // What a careless network takes for nuclei: red cells, pigment, smears of free haematoxylin, dust.
  void scatter_distractors(double x1, double y1, const std::vector<Ring>& rings) {
    tissue_.scatter(x0_, y0_, x1, y1, 4.0, 6.3, 32u, [&](CellRandom& r, double x, double y) {
      if (x < x0_ - 4 || x > x1 + 4 || y < y0_ - 4 || y > y1 + 4) return;
      const Point p = tissue_.at(x, y, rings);
      if (p.tissue < 4.0f || p.blood < 2.5f || r.unit() > 0.8f) return;
      blob(x, y, r.between(2.6f, 3.4f), 0.8f, r.between(0.7f, 1.0f), kRedCell);
    });
    tissue_.scatter(x0_, y0_, x1, y1, 10.0, 110.0, 33u, [&](CellRandom& r, double x, double y) {
      if (r.unit() > 0.1f || tissue_.at(x, y, rings).tissue < 8.0f) return;
      for (int i = 0; i < 7; ++i) {
        const float dx = r.between(-5.0f, 5.0f), dy = r.between(-5.0f, 5.0f), radius = r.between(0.4f, 1.1f);
        blob(x + dx, y + dy, radius, 0.6f, r.between(0.5f, 1.0f), kPigment);
      }
    });
    tissue_.scatter(x0_, y0_, x1, y1, 16.0, 90.0, 34u, [&](CellRandom& r, double x, double y) {
      const Point p = tissue_.at(x, y, rings);
      if (r.unit() > 0.25f || p.tissue < 12.0f || p.white > -12.0f) return;
      blob(x, y, r.between(4.0f, 9.0f), 9.0f, r.between(0.4f, 0.9f), kSmear);
    });
  }

  // Interpolates the slow facts to the pixels of row y.
  void expand_row(int y) {
    const int j = std::min(y / step_, nodes_ - 2);
    const float t = static_cast<float>(y - j * step_) / static_cast<float>(step_);
    const Point* top = grid_.data() + j * nodes_;
    const Point* bottom = top + nodes_;
    auto expand = [&](Field f, float Point::*member) {
      float* row = rows_[f].data();
      float left = top[0].*member + (bottom[0].*member - top[0].*member) * t;
      for (int i = 0; i + 1 < nodes_; ++i) {
        const float right = top[i + 1].*member + (bottom[i + 1].*member - top[i + 1].*member) * t;
        const float slope = (right - left) / static_cast<float>(step_);
        for (int k = 0; k < step_; ++k) row[i * step_ + k] = left + slope * static_cast<float>(k);
        left = right;
      }
    };
    expand(kTissue, &Point::tissue);
    expand(kEpithelium, &Point::epithelium);
    expand(kWhite, &Point::white);
    expand(kWall, &Point::wall);
    expand(kWarpX, &Point::warp_x);
    expand(kWarpY, &Point::warp_y);
    expand(kDensity, &Point::density);
    expand(kHue, &Point::hue);
  }

  // Noise on the pixel lattice, a row at a time: cells and weights along x are the same for all rows.
  class RowNoise {
   public:
    RowNoise(const Noise& n, double wavelength, std::uint32_t stream)
        : noise_(n), wavelength_(wavelength), stream_(stream) {}
    void start_tile(double x0, double y0, double mpp) {
      y0_ = y0;
      mpp_ = mpp;
      const double first = std::floor(x0 / wavelength_);
      ix_ = static_cast<std::uint32_t>(static_cast<std::int64_t>(first)) + stream_ * 71u;
      for (int x = 0; x < kTile; ++x) {
        const double u = (x0 + (x + 0.5) * mpp) / wavelength_ - first;
        cell_[static_cast<std::size_t>(x)] = static_cast<std::uint16_t>(u);
        weight_[static_cast<std::size_t>(x)] = smooth(static_cast<float>(u - std::floor(u)));
      }
      columns_.resize(std::size_t{cell_.back()} + 2);
    }
    const float* row(int y) {
      const double v = (y0_ + (y + 0.5) * mpp_) / wavelength_, fv = std::floor(v);
      const std::uint32_t iy = static_cast<std::uint32_t>(static_cast<std::int64_t>(fv)) + stream_ * 29u;
      const float t = smooth(static_cast<float>(v - fv));
      for (std::uint32_t i = 0; i < columns_.size(); ++i) {
        const float a = noise_.lattice(ix_ + i, iy), b = noise_.lattice(ix_ + i, iy + 1);
        columns_[i] = a + (b - a) * t;
      }
      for (std::size_t x = 0; x < kTile; ++x) {
        const float a = columns_[cell_[x]], b = columns_[cell_[x] + 1u];
        row_[x] = a + (b - a) * weight_[x];
      }
      return row_.data();
    }

   private:
    const Noise& noise_;
    double wavelength_, y0_ = 0.0, mpp_ = 1.0;
    std::uint32_t stream_, ix_ = 0;
    std::array<std::uint16_t, kTile> cell_{};
    std::array<float, kTile> weight_{}, row_{};
    std::vector<float> columns_;
  };

  // A noise of wavelength (wx, wy) um in coordinates (u, v), um from the tile's origin, which is at (u0, v0).
  class Texture {
   public:
    Texture(const Noise& n, double u0, double v0, double wx, double wy, std::uint32_t stream) : noise_(n) {
      // Whole cells go to the integers, so that floats stay small on a slide of any size; 4096 keeps the
      // remainder positive when the pattern is displaced.
      const double cu = u0 / wx, cv = v0 / wy;
      ix_ = static_cast<std::uint32_t>(static_cast<std::int64_t>(std::floor(cu)) - 4096) + stream * 71u;
      iy_ = static_cast<std::uint32_t>(static_cast<std::int64_t>(std::floor(cv)) - 4096) + stream * 29u;
      x_ = static_cast<float>(cu - std::floor(cu)) + 4096.0f;
      y_ = static_cast<float>(cv - std::floor(cv)) + 4096.0f;
      sx_ = static_cast<float>(1.0 / wx);
      sy_ = static_cast<float>(1.0 / wy);
    }
    float operator()(float u, float v) const { return noise_.at(ix_, iy_, x_ + u * sx_, y_ + v * sy_); }

   private:
    const Noise& noise_;
    std::uint32_t ix_, iy_;
    float x_, y_, sx_, sy_;
  };

  // What the pixels of one row share.
  struct Row {
    const float *grain, *fine, *middle, *coarse;
    Texture fibril, fibre, bundle;
    float c, s;  // direction of the fibres
  };

  bool draw_row(int y, std::uint8_t* rgb) {
    expand_row(y);
    const Noise& n = tissue_.noise();
    const double c = tissue_.fibre_cos(), s = tissue_.fibre_sin();
    const double u0 = c * x0_ + s * y0_, v0 = c * y0_ - s * x0_;
    const Row row = {grain_.row(y),
                     fine_.row(y),
                     middle_.row(y),
                     coarse_.row(y),
                     Texture(n, u0, v0, 11.0, 0.9, 4),
                     Texture(n, u0, v0, 34.0, 2.7, 6),
                     Texture(n, u0, v0, 71.0, 8.3, 7),
                     static_cast<float>(c),
                     static_cast<float>(s)};
    const auto m = static_cast<float>(mpp_);
    const float py = (static_cast<float>(y) + 0.5f) * m;
    bool any = false;
    for (int x = 0; x < kTile; ++x) {
      const auto k = static_cast<std::size_t>(x);
      const std::size_t i = static_cast<std::size_t>(y) * kTile + k;
      const float px = (static_cast<float>(x) + 0.5f) * m;
      float od[3] = {0.0f, 0.0f, 0.0f};
      float depth = rows_[kTissue][k];
      if (depth > -kEdge || cover_[i] > 0.0f) {
        depth += (row.middle[k] - 0.5f) * 10.0f + (row.coarse[k] - 0.5f) * 22.0f;
        if (depth > -1.0f || cover_[i] > 0.0f) tissue_pixel(row, k, i, depth, px, py, od);
      }
      if (kind_[i] != kNothing) distract(kind_[i], extra_[i], od);
      for (const Speck& d : dust_) {
        const auto dx = static_cast<float>(d.x - x0_) - px, dy = static_cast<float>(d.y - y0_) - py;
        const float t = d.amount * saturate((d.radius - std::sqrt(dx * dx + dy * dy)) * 0.25f);
        for (float& v : od) v += t;
      }
      any = expose(x, y, od, rgb + 3 * x) || any;
    }
    return any;
  }

  // Optical densities to 8 bits; false where there is nothing but glass.
  bool expose(int x, int y, const float* od, std::uint8_t* out) const {
    const float total = od[0] + od[1] + od[2];
    if (total <= 0.0f) {
      for (std::size_t ch = 0; ch < 3; ++ch) out[ch] = kGlass[ch];
      return false;
    }
    // Sensor noise grows where there is something to see, so that glass stays exactly uniform.
    const std::uint32_t h =
        hash(static_cast<std::uint32_t>(px0_ + x), static_cast<std::uint32_t>(py0_ + y), tissue_.seed());
    const float strength = 0.02f * std::min(1.0f, 2.0f * total);
    for (std::size_t ch = 0; ch < 3; ++ch) {
      const auto at = static_cast<std::size_t>(std::min(static_cast<int>(od[ch] * 512.0f), 2047));
      const float grain = (static_cast<float>(static_cast<int>(h >> (8 * ch) & 255u)) - 127.5f) * strength;
      const int v = static_cast<int>(static_cast<float>(kGlass[ch]) * light_[at] + grain + 0.5f);
      out[ch] = static_cast<std::uint8_t>(std::clamp(v, 0, 255));
    }
    return true;
  }

  void tissue_pixel(const Row& row, std::size_t k, std::size_t i, float depth, float px, float py,
                    float* od) const {
    const float ng = row.grain[k], nf = row.fine[k], nm = row.middle[k], hue = rows_[kHue][k];
    const float epithelium = saturate(0.5f + (rows_[kEpithelium][k] + (nm - 0.5f) * 5.0f) * 0.9f);
    const float wall = saturate(0.5f + rows_[kWall][k] * 0.7f);
    float e = 0.0f, h = 0.0f;
    if (epithelium < 1.0f) {  // stroma: collagen where the fibre noise is high, thin where it is low
      const float u = row.c * px + row.s * py + rows_[kWarpX][k],
                  v = row.c * py - row.s * px + rows_[kWarpY][k];
      const float f0 = row.fibril(u, v), f1 = row.fibre(u, v), f2 = row.bundle(u, v);
      const float density = rows_[kDensity][k];
      const float collagen =
          smooth(saturate((0.42f * f1 + 0.36f * f2 + 0.22f * f0 - 0.50f + 0.42f * density) * 2.4f));
      e = 0.03f + 0.16f * f0 * (1.0f - collagen) + collagen * (0.28f + 0.22f * f1 + 0.26f * f0);
      h = 0.01f + 0.09f * (1.0f - density) * (0.3f + nf * f1 * 2.0f) + 0.05f * nm;
      e += wall * (0.45f + 0.3f * f1 - e);
    }
    if (epithelium > 0.0f) {  // granular cytoplasm of both stains
      // Contour lines of a noise stand for pale borders between cells.
      const float border = saturate(1.0f - std::fabs(row.coarse[k] + 0.45f * (nm - 0.5f) - 0.5f) * 20.0f);
      const float pale = 1.0f - 0.55f * border * (0.4f + nm);
      e +=
          epithelium * (pale * (0.42f + 0.32f * (nm - 0.5f) + 0.22f * (nf - 0.5f) + 0.24f * (ng - 0.5f)) - e);
      h += epithelium * (pale * (0.13f + 0.22f * (hue - 0.3f) + 0.12f * (nm - 0.5f)) - h);
    }
    const float solid = saturate(0.5f - rows_[kWhite][k] * 0.8f) * saturate(0.6f + depth * 0.35f);
    const float cover = cover_[i];
    e = std::max(e, 0.0f) * solid * (1.0f - 0.65f * cover);
    h = std::max(h, 0.0f) * solid * (1.0f - 0.5f * cover);
    if (cover > 0.0f)
      h +=
          std::max(0.0f, nuclear_[i] * (1.0f + 0.9f * (ng - 0.5f) + 0.8f * (nf - 0.5f) + 0.2f * (nm - 0.5f)));
    // Density of each stain per channel; eosin drifts from rose to orange over the slide.
    const float warm = saturate((hue - 0.35f) * 2.2f);
    od[0] = 0.72f * h + (0.17f - 0.07f * warm) * e;
    od[1] = 0.96f * h + (0.64f - 0.10f * warm) * e;
    od[2] = 0.42f * h + (0.34f + 0.12f * warm) * e;
  }

  static void distract(std::uint8_t kind, float amount, float* od) {
    switch (kind) {
      case kRedCell:
        for (int ch = 0; ch < 3; ++ch) od[ch] *= 1.0f - amount;
        od[0] += 0.10f * amount;
        od[1] += 0.78f * amount;
        od[2] += 0.62f * amount;
        break;
      case kPigment:
        od[0] += 0.7f * amount;
        od[1] += 1.0f * amount;
        od[2] += 1.3f * amount;
        break;
      default:  // kSmear
        od[0] += 0.20f * amount;
        od[1] += 0.20f * amount;
        od[2] += 0.07f * amount;
    }
  }

  const Tissue& tissue_;
  double mpp_;
  RowNoise grain_, fine_, middle_, coarse_;  // chromatin, granules, cells, ragged edges
  int step_ = 8, nodes_ = 65;
  std::int64_t px0_ = 0, py0_ = 0;
  double x0_ = 0.0, y0_ = 0.0;
  std::vector<Point> grid_;
  std::array<std::vector<float>, kFields> rows_;
  std::vector<float> nuclear_, cover_, extra_;
  std::vector<std::uint8_t> kind_;
  std::vector<Speck> dust_;
  std::array<float, 2049> light_{};
};

}  // namespace microtome::synth
