#include <doctest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../test_data.hpp"
#include "microtome/pipeline/open_labels.hpp"
#include "microtome/pipeline/pyramid_writer.hpp"
#include "run_tool.hpp"

using namespace microtome;
using microtome_test::run_tool;

namespace {

constexpr std::int64_t kWidth = 1500, kHeight = 1100;

// Blobs of label 1 and 2; the right half is empty except for one tile that is all label 2.
std::uint8_t label_at(std::int64_t x, std::int64_t y) {
  if (x >= 1024 && x < 1280 && y >= 512 && y < 768) return 2;
  if (x >= 700) return 0;
  const double v = std::sin(0.031 * static_cast<double>(x)) * std::cos(0.027 * static_cast<double>(y));
  return v > 0.5 ? 1 : v < -0.6 ? 2 : 0;
}

MaskPyramidOptions options(std::int64_t tile) {
  MaskPyramidOptions o;
  o.width = kWidth;
  o.height = kHeight;
  o.tile = tile;
  o.mpp_x = 0.5;
  o.mpp_y = 0.25;
  o.colors = {{255, 255, 255}, {255, 0, 0}, {0, 0, 255}};
  o.description = describe_classes({"background", "nu\"cleus", "other"});
  o.software = "test";
  return o;
}

void write_tile(MaskPyramidWriter& w, std::int64_t tx, std::int64_t ty) {
  const std::int64_t t = w.tile();
  std::vector<std::uint8_t> labels(static_cast<std::size_t>(t * t), 0);
  for (std::int64_t y = 0; y < t && ty * t + y < kHeight; ++y)
    for (std::int64_t x = 0; x < t && tx * t + x < kWidth; ++x)
      labels[static_cast<std::size_t>(y * t + x)] = label_at(tx * t + x, ty * t + y);
  w.write_tile(tx, ty, labels.data());
}

void write_mask(const std::string& path, std::int64_t tile = 256) {
  MaskPyramidWriter w(path, options(tile));
  for (std::int64_t ty = 0; ty < w.tiles_down(); ++ty)
    for (std::int64_t tx = 0; tx < w.tiles_across(); ++tx) write_tile(w, tx, ty);
  w.finish();
}

std::string bytes_of(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("every level holds every second pixel of the finer one") {
  const microtome_test::TempDir dir;
  for (const std::int64_t tile :
       {std::int64_t{16}, std::int64_t{256}, std::int64_t{512}, std::int64_t{1024}}) {
    const std::string path = dir / ("m" + std::to_string(tile) + ".tif");
    write_mask(path, tile);
    const auto m = open_labels(path);
    REQUIRE(m->levels() == 3);
    CHECK(m->description() == "{\"class_names\": [\"background\", \"nu\\\"cleus\", \"other\"]}");
    for (int k = 0; k < 3; ++k) {
      const auto level = open_labels(path, k);
      const std::int64_t step = std::int64_t{1} << k;
      REQUIRE(level->width() == (kWidth + step - 1) / step);
      REQUIRE(level->height() == (kHeight + step - 1) / step);
      std::vector<std::uint8_t> got(static_cast<std::size_t>(level->width() * level->height()));
      level->read(0, 0, level->width(), level->height(), got.data());
      std::int64_t wrong = 0;
      for (std::int64_t y = 0; y < level->height(); ++y)
        for (std::int64_t x = 0; x < level->width(); ++x)
          wrong += got[static_cast<std::size_t>(y * level->width() + x)] != label_at(x * step, y * step);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("the bytes do not depend on the order of tiles, on threads or on blank tiles being written") {
  const microtome_test::TempDir dir;
  write_mask(dir / "ordered.tif");
  const std::string expected = bytes_of(dir / "ordered.tif");
  {
    MaskPyramidWriter w(dir / "shuffled.tif", options(256));
    std::vector<std::pair<std::int64_t, std::int64_t>> tiles;
    for (std::int64_t ty = 0; ty < w.tiles_down(); ++ty)
      for (std::int64_t tx = 0; tx < w.tiles_across(); ++tx)
        if (tx * 256 < 700 || (tx == 4 && ty == 2)) tiles.emplace_back(tx, ty);  // the others are blank
    std::mt19937 random(5);
    std::shuffle(tiles.begin(), tiles.end(), random);
    std::vector<std::thread> threads;
    for (std::size_t n = 0; n < 4; ++n)
      threads.emplace_back([&, n] {
        for (std::size_t i = n; i < tiles.size(); i += 4) write_tile(w, tiles[i].first, tiles[i].second);
      });
    for (auto& t : threads) t.join();
    DefaultExecutor executor(3);
    w.finish(&executor);
  }
  CHECK(bytes_of(dir / "shuffled.tif") == expected);
}

TEST_CASE("a blank canvas costs its tables, not its pixels") {
  const microtome_test::TempDir dir;
  MaskPyramidOptions o = options(512);
  o.width = o.height = 100000;
  MaskPyramidWriter w(dir / "blank.tif", o);
  w.finish();
  CHECK(w.levels() == 9);
  CHECK(bytes_of(dir / "blank.tif").size() < 800000);
  const auto m = open_labels(dir / "blank.tif");
  std::vector<std::uint8_t> got(100, 9);
  m->read(99990, 99990, 10, 10, got.data());
  CHECK(got == std::vector<std::uint8_t>(100, 0));
}

TEST_CASE("impossible options and a missing folder are refused, an abandoned mask leaves nothing") {
  const microtome_test::TempDir dir;
  MaskPyramidOptions o = options(100);
  CHECK_THROWS_AS(MaskPyramidWriter(dir / "m.tif", o), UsageError);
  o = options(256);
  o.width = 0;
  CHECK_THROWS_AS(MaskPyramidWriter(dir / "m.tif", o), UsageError);
  CHECK_THROWS_AS(MaskPyramidWriter("/nonexistent/m.tif", options(256)), ResourceError);
  {
    MaskPyramidWriter w(dir / "m.tif", options(256));
    write_tile(w, 0, 0);
    const std::vector<std::uint8_t> blank(256 * 256, 0);
    CHECK_THROWS_AS(w.write_tile(6, 0, blank.data()), UsageError);
  }
  CHECK(run_tool("ls -A " + dir.path()).text.empty());
}

TEST_CASE("OpenSlide 3.4 sees three levels") {
  const microtome_test::TempDir dir;
  write_mask(dir / "m.tif");
  const auto r = run_tool("openslide-show-properties " + (dir / "m.tif"));
  if (r.code == 127) {
    MESSAGE("skipped: openslide-show-properties is not installed");
    return;
  }
  CHECK(r.code == 0);
  for (const char* line : {"openslide.vendor: 'generic-tiff'", "openslide.level-count: '3'",
                           "openslide.level[0].width: '1500'", "openslide.level[0].height: '1100'",
                           "openslide.level[1].width: '750'", "openslide.level[2].height: '275'"})
    CHECK_MESSAGE(r.text.find(line) != std::string::npos, line);
  CHECK(r.text.find("bounds") == std::string::npos);
}

TEST_CASE("libvips sees the size, the resolution and the colours") {
  const microtome_test::TempDir dir;
  write_mask(dir / "m.tif");
  const std::string path = dir / "m.tif";
  const auto r = run_tool("vipsheader -a " + path);
  if (r.code == 127) {
    MESSAGE("skipped: vipsheader is not installed");
    return;
  }
  CHECK(r.code == 0);
  for (const char* line : {"width: 1500", "height: 1100", "xres: 2000", "yres: 4000", "n-pages: 3"})
    CHECK_MESSAGE(r.text.find(line) != std::string::npos, line);
  CHECK(run_tool("vips getpoint " + path + " 1100 600").text.substr(0, 7) == "0 0 255");
  CHECK(run_tool("vips getpoint " + path + "[page=1] 550 300").text.substr(0, 7) == "0 0 255");
}

TEST_CASE("tifffile and OpenSlide 4 read labels, colours and scale") {
  const microtome_test::TempDir dir;
  write_mask(dir / "m.tif");
  const auto r = run_tool(microtome_test::python() + " pipeline/check_mask.py " + (dir / "m.tif"));
  if (r.code == 77 || r.code == 127) {
    MESSAGE("skipped: ", r.text);
    return;
  }
  CHECK_MESSAGE(r.code == 0, r.text);
}
