#include <doctest.h>

#include <cmath>
#include <vector>

#include "fakes.hpp"
#include "microtome/pipeline/plane.hpp"
#include "microtome/pipeline/resample.hpp"

using namespace microtome;
using namespace microtome_test;

namespace {

std::vector<std::uint8_t> read(const Slide& s, std::int64_t pw, std::int64_t ph, std::int64_t x,
                               std::int64_t y, std::int64_t w, std::int64_t h) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(w * h * 3), 7);
  PlaneReader(s, 0, pw, ph).read(x, y, w, h, rgb.data(), static_cast<std::size_t>(w) * 3);
  return rgb;
}

// Value of plane pixel p in double: area average when shrinking, bilinear with half-pixel centres when
// enlarging.
double along(std::int64_t level, std::int64_t plane, std::int64_t p,
             const std::function<double(std::int64_t)>& value) {
  const double f = static_cast<double>(level) / static_cast<double>(plane);
  if (plane <= level) {
    const double a = static_cast<double>(p) * f, b = a + f;
    double sum = 0;
    for (auto i = static_cast<std::int64_t>(a); static_cast<double>(i) < b && i < level; ++i)
      sum += value(i) *
             std::max(0.0, std::min(b, static_cast<double>(i + 1)) - std::max(a, static_cast<double>(i)));
    return sum / f;
  }
  const double c = (static_cast<double>(p) + 0.5) * f - 0.5, lo = std::floor(c);
  const auto at = [&](double i) {
    return value(std::min(level - 1, std::max<std::int64_t>(0, static_cast<std::int64_t>(i))));
  };
  return at(lo) * (1 - (c - lo)) + at(lo + 1) * (c - lo);
}

}  // namespace

TEST_CASE("resampling agrees with its definition in double") {
  const std::int64_t W = 201, H = 157;
  const FakeSlide s({{W, H}}, 0.5, tissue_color);
  for (const auto& size : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {100, 79}, {50, 157}, {201, 60}, {33, 7}, {1, 1}, {300, 211}, {402, 50}, {200, 158}}) {
    const std::int64_t pw = size.first, ph = size.second;
    CAPTURE(pw);
    CAPTURE(ph);
    const auto rgb = read(s, pw, ph, 0, 0, pw, ph);
    double worst = 0;
    for (std::int64_t y = 0; y < ph; y += 3)
      for (std::int64_t x = 0; x < pw; ++x) {
        const double want = along(H, ph, y, [&](std::int64_t j) {
          return along(W, pw, x,
                       [&](std::int64_t i) { return static_cast<double>(tissue_color(0, i, j).g); });
        });
        worst = std::max(worst, std::abs(want - rgb[static_cast<std::size_t>((y * pw + x) * 3 + 1)]));
      }
    CHECK(worst <= 0.52);  // rounding, and weights of 14 bits
  }
}

TEST_CASE("a pixel has one value, whatever rectangle it is read in; outside is white") {
  const FakeSlide s({{5000, 3000}}, 0.5, tissue_color);
  const std::int64_t pw = 1871, ph = 1123;
  const auto whole = read(s, pw, ph, 0, 0, pw, ph);
  for (const auto& [x, y] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, 0}, {-20, -9}, {700, 333}, {1800, 1100}, {401, 7}, {3000, 0}}) {
    const std::int64_t w = 131, h = 77;
    const auto part = read(s, pw, ph, x, y, w, h);
    bool same = true;
    for (std::int64_t j = 0; j < h; ++j)
      for (std::int64_t i = 0; i < w; ++i)
        for (std::int64_t c = 0; c < 3; ++c) {
          const bool inside = x + i >= 0 && x + i < pw && y + j >= 0 && y + j < ph;
          const int want = inside ? whole[static_cast<std::size_t>(((y + j) * pw + x + i) * 3 + c)] : 255;
          same = same && part[static_cast<std::size_t>((j * w + i) * 3 + c)] == want;
        }
    CHECK(same);
  }
}

TEST_CASE("a flat area stays flat at any factor") {
  for (const int v : {0, 1, 127, 254, 255}) {
    const FakeSlide s({{997, 613}}, 0.5, [v](int, std::int64_t, std::int64_t) {
      const auto b = static_cast<std::uint8_t>(v);
      return FakeSlide::Rgb{b, b, b};
    });
    for (const auto& [pw, ph] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{996, 612}, {123, 400}, {3, 2}, {1400, 700}}) {
      bool flat = true;
      for (const std::uint8_t p : read(s, pw, ph, 0, 0, pw, ph)) flat = flat && p == v;
      CHECK(flat);
    }
  }
}

TEST_CASE("the same size is the level itself") {
  const FakeSlide s({{64, 48}}, 0.5, tissue_color);
  const auto rgb = read(s, 64, 48, 0, 0, 64, 48);
  CHECK(rgb[3 * (5 * 64 + 9)] == tissue_color(0, 9, 5).r);
}

TEST_CASE("scale: a near level as it is, else the coarsest finer one, else level 0 enlarged") {
  const FakeSlide s({{40000, 32000}, {10000, 8000}, {2500, 2000}}, 0.25, tissue_color);
  const auto plane = [&](double mpp) { return choose_plane(s, {mpp, -1, 0.25}); };
  CHECK(plane(0.25).level == 0);
  CHECK(plane(0.26).width == 40000);  // 4 % off: as it is
  CHECK(plane(0.26).mpp_x == doctest::Approx(0.25));
  CHECK(plane(1.0).level == 1);
  CHECK(plane(1.0).width == 10000);
  CHECK(plane(1.0).mask_downsample == 4);
  const Plane p = plane(0.5);
  CHECK(p.level == 0);
  CHECK(p.width == 20000);
  CHECK(p.height == 16000);
  CHECK(p.mask_downsample == 2);
  CHECK(p.factor_x(s) == 2.0);
  CHECK(p.warnings.size() == 1);  // not the model's scale
  CHECK(plane(2.0).level == 1);
  CHECK(plane(8.0).level == 2);
  CHECK(plane(0.1).level == 0);
  CHECK(plane(0.1).width == 100000);
  CHECK(plane(0.1).mask_downsample == 1);
  CHECK(choose_plane(s, {0.05, -1, 0.05}).warnings.size() == 1);  // enlarged five times
  CHECK(choose_plane(s, {0, -1, 0.499}).mask_downsample == 1);
  CHECK(choose_plane(s, {0, -1, 0.75}).mask_downsample == 3);
}

TEST_CASE("scale: by level, and what is refused") {
  FakeSlide s({{4001, 3001}, {1000, 750}}, 0.0, tissue_color);
  const Plane p = choose_plane(s, {0, 1, 0.5});
  CHECK(p.width == 1000);
  CHECK(p.mask_downsample == 4);  // 4.001 is meant to be 4
  CHECK(p.mpp_x == 0.0);
  CHECK_THROWS_WITH_AS(choose_plane(s, {0, 2, 0.5}), doctest::Contains("levels 0 to 1"), UsageError);
  CHECK_THROWS_WITH_AS(choose_plane(s, {0, -1, 0.5}), doctest::Contains("give --slide-mpp X"), InputError);
  CHECK_THROWS_WITH_AS(choose_plane(s, {0, -1, 0.0}), doctest::Contains("give --mpp X (um/px) or --level N"),
                       UsageError);
  s.set_pixel_size({0.25, 0.25, "--slide-mpp"});
  CHECK_NOTHROW(choose_plane(s, {0, -1, 0.5}));
  CHECK_THROWS_WITH_AS(choose_plane(s, {1e-9, -1, 0.5}), doctest::Contains("out of range"), UsageError);
  CHECK_THROWS_AS(choose_plane(s, {1e9, -1, 0.5}), UsageError);
}

TEST_CASE("scale: pixels that are not square") {
  FakeSlide s({{4000, 4000}}, 0.25, tissue_color);
  s.set_pixel_size({0.25, 0.5, "test"});
  const Plane p = choose_plane(s, {0, -1, 1.0});
  CHECK(p.width == 1000);
  CHECK(p.height == 2000);
}

TEST_CASE("mask axis: the pixel under the centre, and its inverse") {
  for (const std::int64_t level0 : {1, 5, 37, 1000})
    for (const std::int64_t plane : {1, 4, 18, 37, 500, 999, 1000, 2301})
      for (const std::int64_t d : {1, 2, 3, 7}) {
        const MaskAxis a{level0, plane, d};
        CHECK(a.size() == (level0 + d - 1) / d);
        std::vector<std::int64_t> of;
        for (std::int64_t m = 0; m < a.size(); ++m) {
          of.push_back(a.plane_of(m));
          const double centre = std::min(
              (static_cast<double>(m) + 0.5) * static_cast<double>(d) / static_cast<double>(level0), 1.0);
          CHECK(of.back() ==
                std::min<std::int64_t>(
                    plane - 1, static_cast<std::int64_t>(centre * static_cast<double>(plane) + 1e-9)));
        }
        for (std::int64_t p = 0; p <= plane + 1; ++p) {
          std::int64_t first = 0;
          while (first < a.size() && of[static_cast<std::size_t>(first)] < p) ++first;
          CHECK(a.first_mask(p) == first);
        }
      }
}

TEST_CASE("a long read calls back between its blocks, and ends when that throws") {
  const FakeSlide s({{4096, 2048}}, 0.5, tissue_color);
  PlaneReader reader(s, 0, 512, 256);
  std::vector<std::uint8_t> rgb(512 * 256 * 3);
  int calls = 0;
  reader.between_blocks([&] { ++calls; });
  reader.read(0, 0, 512, 256, rgb.data(), 512 * 3);
  CHECK(calls == 4 * 4 - 1);
  reader.between_blocks([&] {
    if (++calls == 20) throw 20;
  });
  CHECK_THROWS_AS(reader.read(0, 0, 512, 256, rgb.data(), 512 * 3), int);
  CHECK(calls == 20);
}
