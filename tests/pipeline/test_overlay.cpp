#include <doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "../test_data.hpp"
#include "fakes.hpp"
#include "microtome/io/image.hpp"
#include "microtome/pipeline/overlay.hpp"
#include "microtome/pipeline/pyramid_writer.hpp"

using namespace microtome;
using microtome_test::FakeSlide;

namespace {

const std::vector<std::array<std::uint8_t, 3>> kColors = {{0, 0, 0}, {255, 0, 0}, {0, 0, 255}};

template <class F>
void write_mask(const std::string& path, std::int64_t w, std::int64_t h, F&& label) {
  MaskPyramidOptions o;
  o.width = w;
  o.height = h;
  MaskPyramidWriter out(path, o);
  std::vector<std::uint8_t> t(512 * 512);
  for (std::int64_t ty = 0; ty < out.tiles_down(); ++ty)
    for (std::int64_t tx = 0; tx < out.tiles_across(); ++tx) {
      for (std::int64_t y = 0; y < 512; ++y)
        for (std::int64_t x = 0; x < 512; ++x) {
          const std::int64_t px = tx * 512 + x, py = ty * 512 + y;
          t[static_cast<std::size_t>(y * 512 + x)] = px < w && py < h ? label(px, py) : std::uint8_t{0};
        }
      out.write_tile(tx, ty, t.data());
    }
  out.finish();
}

struct Rgb {
  int r, g, b;
  bool operator==(const Rgb& o) const { return r == o.r && g == o.g && b == o.b; }
};
std::ostream& operator<<(std::ostream& s, const Rgb& c) {
  return s << c.r << ' ' << c.g << ' ' << c.b;
}

Rgb pixel(const Image& i, std::int64_t x, std::int64_t y) {
  const std::uint8_t* p = i.pixels.data() + 3 * (y * i.width + x);
  return {p[0], p[1], p[2]};
}

}  // namespace

TEST_CASE("at full scale: outlines of one pixel, light tint inside, the rest untouched") {
  const microtome_test::TempDir dir;
  // A slide of twice the mask's size: the overlay averages 2 x 2 pixels.
  const FakeSlide slide({{1400, 1000}}, 0.25, [](int, std::int64_t x, std::int64_t y) {
    const auto v = static_cast<std::uint8_t>(100 + 40 * (x % 2) + 20 * (y % 2));
    return FakeSlide::Rgb{v, v, v};
  });
  write_mask(dir / "m.tif", 700, 500, [](std::int64_t x, std::int64_t y) -> std::uint8_t {
    if (x >= 100 && x < 200 && y >= 250 && y < 300) return 1;
    return x >= 200 && x < 220 && y >= 250 && y < 300 ? 2 : 0;
  });
  write_overlay(dir / "o.png", slide, dir / "m.tif", kColors);
  const Image o = read_image(dir / "o.png");
  REQUIRE(o.width == 700);
  REQUIRE(o.height == 500);
  const Rgb plain{130, 130, 130};
  CHECK(pixel(o, 0, 0) == plain);
  CHECK(pixel(o, 99, 260) == plain);
  CHECK(pixel(o, 150, 249) == plain);
  CHECK(pixel(o, 699, 499) == plain);
  const auto mixed = [](int from, int to, int alpha) {
    return (from * (255 - alpha) + to * alpha + 127) / 255;
  };
  const Rgb outline1{mixed(130, 255, 230), mixed(130, 0, 230), mixed(130, 0, 230)};
  const Rgb inside1{mixed(130, 255, 50), mixed(130, 0, 50), mixed(130, 0, 50)};
  for (const auto& at : {std::pair<int, int>{100, 250}, {100, 270}, {150, 250}, {150, 299}, {199, 270}})
    CHECK(pixel(o, at.first, at.second) == outline1);
  CHECK(pixel(o, 101, 251) == inside1);
  CHECK(pixel(o, 150, 255) == inside1);  // the band of 256 rows leaves no line
  CHECK(pixel(o, 150, 256) == inside1);
  CHECK(pixel(o, 200, 270) == Rgb{mixed(130, 0, 230), mixed(130, 0, 230), mixed(130, 255, 230)});
  DefaultExecutor executor(3);
  write_overlay(dir / "p.png", slide, dir / "m.tif", kColors, &executor);
  CHECK(read_image(dir / "p.png").pixels == o.pixels);
}

TEST_CASE("a large slide is shrunk and tinted by the share of each pixel") {
  const microtome_test::TempDir dir;
  const FakeSlide slide({{40000, 20000}, {10000, 5000}, {2500, 1250}, {625, 312}}, 0.25,
                        [](int level, std::int64_t, std::int64_t) {
                          const auto v = static_cast<std::uint8_t>(level == 2 ? 200 : 10);
                          return FakeSlide::Rgb{v, v, v};
                        });
  // Stripes of half the pixels on the left, full on the right, nothing in between.
  write_mask(dir / "m.tif", 10000, 5000, [](std::int64_t x, std::int64_t y) -> std::uint8_t {
    if (x < 3000) return y / 16 % 2 == 0 ? 1 : 0;
    return x >= 7000 ? 2 : 0;
  });
  write_overlay(dir / "o.png", slide, dir / "m.tif", kColors);
  const Image o = read_image(dir / "o.png");
  REQUIRE(o.width == 2048);
  REQUIRE(o.height == 1024);
  CHECK(pixel(o, 1024, 500) == Rgb{200, 200, 200});  // the coarsest level that is fine enough, no other
  CHECK(pixel(o, 1800, 500).b == (200 * 105 + 255 * 150 + 127) / 255);
  double red = 0.0;
  for (std::int64_t y = 0; y < 1024; ++y) red += pixel(o, 300, y).g;
  CHECK(red / 1024 < 170.0);
  CHECK(red / 1024 > 60.0);
}

TEST_CASE("a damaged mask is an error that leaves no picture") {
  const microtome_test::TempDir dir;
  const FakeSlide slide({{600, 600}}, 0.25, [](int, std::int64_t, std::int64_t) {
    return FakeSlide::Rgb{1, 2, 3};
  });
  write_mask(dir / "m.tif", 600, 600,
             [](std::int64_t x, std::int64_t y) { return static_cast<std::uint8_t>(x * y % 3); });
  {
    std::fstream f(dir / "m.tif", std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(16);
    f << "this is not what deflate wrote here, not at all";
  }
  CHECK_THROWS_AS(write_overlay(dir / "o.png", slide, dir / "m.tif", kColors), InputError);
  CHECK_FALSE(os::exists(dir / "o.png"));
  CHECK_FALSE(os::exists(os::part_path(dir / "o.png")));
}

TEST_CASE("a slide of one pixel has an overlay") {
  const microtome_test::TempDir dir;
  const FakeSlide slide({{1, 1}}, 0.25, [](int, std::int64_t, std::int64_t) {
    return FakeSlide::Rgb{9, 8, 7};
  });
  write_mask(dir / "m.tif", 1, 1, [](std::int64_t, std::int64_t) -> std::uint8_t { return 0; });
  write_overlay(dir / "o.png", slide, dir / "m.tif", kColors);
  CHECK(pixel(read_image(dir / "o.png"), 0, 0) == Rgb{9, 8, 7});
  CHECK(overlay_size(100000, 10) == std::pair<std::int64_t, std::int64_t>(2048, 1));
}
