// The region verb: bands, levels and rectangles give the pixels that one read_level() call gives.
#include <doctest.h>

#include <string>
#include <vector>

#include "args.hpp"
#include "microtome/io/image.hpp"
#include "write_tiff.hpp"

using namespace microtome_test;
using microtome::tools::RegionArgs;
using microtome::tools::run_region;

namespace {

// What region writes for a rectangle, compared with the pixels of `s` at (x, y) of the level.
bool png_equals(const TempDir& dir, RegionArgs args, const TiffSpec& s, std::int64_t x, std::int64_t y,
                std::int64_t width, std::int64_t height) {
  args.output = dir / "out.png";
  REQUIRE(run_region(args) == 0);
  const microtome::Image image = microtome::read_image(args.output);
  if (image.width != width || image.height != height) return false;
  for (std::int64_t r = 0; r < height; ++r)
    for (std::int64_t c = 0; c < width; ++c) {
      std::uint8_t expected[3] = {255, 255, 255};
      if (x + c >= 0 && y + r >= 0 && x + c < s.width && y + r < s.height)
        expected_rgb(s, x + c, y + r, expected);
      if (std::memcmp(expected, image.pixels.data() + (r * width + c) * 3, 3) != 0) return false;
    }
  return true;
}

}  // namespace

TEST_CASE("region writes whole levels and rectangles, white outside") {
  const TempDir dir;
  TiffSpec base, level;
  base.width = 300;
  base.height = 200;
  base.compression = level.compression = COMPRESSION_LZW;
  level.width = 75;
  level.height = 50;
  level.subfile = 1;
  level.seed = 5;
  write_tiff(dir / "a.tif", {base, level});
  RegionArgs args;
  args.slide = dir / "a.tif";
  CHECK(png_equals(dir, args, base, 0, 0, 300, 200));
  args.rect = {-10, -20, 30, 50};
  CHECK(png_equals(dir, args, base, -10, -20, 30, 50));
  args.rect = {290, 190, 40, 40};
  CHECK(png_equals(dir, args, base, 290, 190, 40, 40));
  args.rect = {1000, 1000, 4, 4};
  CHECK(png_equals(dir, args, base, 1000, 1000, 4, 4));
  args.level = 1;
  args.rect.clear();
  CHECK(png_equals(dir, args, level, 0, 0, 75, 50));
  args.rect = {40, 60, 20, 30};  // corner in level-0 pixels, size in pixels of the level
  CHECK(png_equals(dir, args, level, 10, 15, 20, 30));
}

TEST_CASE("region refuses impossible requests and leaves no file") {
  const TempDir dir;
  write_tiff(dir / "a.tif", {TiffSpec()});
  RegionArgs args;
  args.slide = dir / "a.tif";
  args.output = dir / "out.png";
  args.level = 1;
  CHECK_THROWS_AS(run_region(args), microtome::UsageError);
  args.level = 0;
  for (const std::vector<std::int64_t>& rect :
       std::vector<std::vector<std::int64_t>>{{0, 0, 0, 5},
                                              {0, 0, 5, -1},
                                              {0, 0, 5},
                                              {0, 0, std::int64_t{1} << 40, 5},
                                              {INT64_MIN, 0, 5, 5},
                                              {0, INT64_MAX, 5, 5}}) {
    args.rect = rect;
    CHECK_THROWS_AS(run_region(args), microtome::UsageError);
  }
  args.rect.clear();
  args.output = dir / "missing/out.png";
  CHECK_THROWS_WITH_AS(run_region(args), doctest::Contains("no such directory"), microtome::UsageError);
  args.output = dir / "out.png";
  args.slide = dir / "missing.svs";
  CHECK_THROWS_AS(run_region(args), microtome::InputError);
  CHECK_FALSE(microtome::os::exists(dir / "out.png"));
  CHECK_FALSE(microtome::os::exists(dir / ".out.png.part"));
}
