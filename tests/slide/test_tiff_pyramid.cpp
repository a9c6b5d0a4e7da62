// Which directories are levels, and how large a pixel is.
#include <doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "write_tiff.hpp"

using namespace microtome_test;
using microtome::open_slide;

namespace {

TiffSpec reduced(const TiffSpec& base, std::int64_t width, std::int64_t height, std::uint32_t subfile = 1) {
  TiffSpec s = base;
  s.width = width;
  s.height = height;
  s.subfile = subfile;
  s.seed = static_cast<std::uint32_t>(width);
  s.description.clear();
  return s;
}

const char* const kAperio =
    "Aperio Image Library v11.2.1 \r\n46000x32914 [0,0 300x200] (32x16) JPEG/RGB Q=30|AppMag = 20|"
    "Filename = secret|MPP = 0.4990|Left = 25.7";

microtome::PixelSize pixel_size(const TempDir& dir, float resolution, int unit,
                                const std::string& description = "") {
  TiffSpec s;
  s.x_resolution = resolution;
  s.resolution_unit = unit;
  s.description = description;
  write_tiff(dir / "p.tif", {s});
  return open_slide(dir / "p.tif")->pixel_size();
}

}  // namespace

TEST_CASE("a generic pyramid: reduced tiled directories, sorted; other directories are no levels") {
  const TempDir dir;
  TiffSpec base;
  base.width = 300;
  base.height = 200;
  TiffSpec strips = reduced(base, 100, 67);
  strips.tile_width = 0;
  const std::vector<TiffSpec> all = {base,
                                     reduced(base, 75, 50),       // out of order
                                     strips,                      // a thumbnail: not tiled
                                     reduced(base, 140, 100, 0),  // not marked as reduced
                                     reduced(base, 90, 90),       // another shape
                                     reduced(base, 150, 100),
                                     reduced(base, 150, 100),  // a second one of the same width
                                     reduced(base, 1, 1),
                                     reduced(base, 400, 267)};
  write_tiff(dir / "a.tif", all, "w8");
  const auto slide = open_slide(dir / "a.tif");
  REQUIRE(slide->levels().size() == 4);
  CHECK(slide->width() == 300);
  CHECK(slide->height() == 200);
  const std::size_t order[] = {0, 5, 1, 7};
  for (int i = 0; i < 4; ++i) CHECK(worst_difference(*slide, i, all[order[i]]) == 0);
  CHECK(slide->levels()[1].downsample == 2.0);
  CHECK(slide->levels()[2].downsample == 4.0);
}

TEST_CASE("downsample comes from the level's size") {
  const TempDir dir;
  TiffSpec base;
  base.width = 301;
  base.height = 203;
  write_tiff(dir / "a.tif", {base, reduced(base, 75, 51)});
  CHECK(open_slide(dir / "a.tif")->levels()[1].downsample ==
        doctest::Approx(0.5 * (301.0 / 75.0 + 203.0 / 51.0)));
}

TEST_CASE("a level this reader cannot decode is left out") {
  const TempDir dir;
  TiffSpec base;
  base.width = 300;
  base.height = 200;
  TiffSpec turned = reduced(base, 150, 100);
  turned.orientation = 3;
  write_tiff(dir / "a.tif", {base, turned, reduced(base, 75, 50)});
  CHECK(open_slide(dir / "a.tif")->levels().size() == 2);
}

TEST_CASE("Aperio: tiled directories are levels; thumbnail, label and macro are not") {
  const TempDir dir;
  TiffSpec base;
  base.width = 300;
  base.height = 200;
  base.description = kAperio;
  TiffSpec thumbnail = reduced(base, 100, 67, 0);
  thumbnail.tile_width = 0;
  thumbnail.description = "Aperio Image Library v11.2.1 \r\n300x200 -> 100x67 - |AppMag = 20|MPP = 21.3";
  const TiffSpec level = reduced(base, 75, 50, 0);
  TiffSpec label = reduced(base, 40, 60, 1);
  label.tile_width = 0;
  TiffSpec tiled_label = reduced(base, 150, 100, 1);
  tiled_label.description = "Aperio Image Library v11.2.1\r\nlabel 150x100";
  write_tiff(dir / "a.svs", {base, thumbnail, level, tiled_label, label});
  const auto slide = open_slide(dir / "a.svs");
  CHECK(slide->format() == "aperio");
  REQUIRE(slide->levels().size() == 2);
  CHECK(worst_difference(*slide, 0, base) == 0);
  CHECK(worst_difference(*slide, 1, level) == 0);
  CHECK(slide->pixel_size().x == 0.499);
  CHECK(slide->pixel_size().y == 0.499);
  CHECK(slide->pixel_size().source == "Aperio MPP");
  CHECK(slide->objective_power() == 20.0);
}

TEST_CASE("OME-TIFF: the pyramid in SubIFDs, the pixel size in the XML") {
  const TempDir dir;
  TiffSpec base;
  base.width = 300;
  base.height = 200;
  base.description =
      "<?xml version=\"1.0\"?><OME><Image><Pixels ID=\"Pixels:0\" PhysicalSizeX=\"250\" "
      "PhysicalSizeXUnit=\"nm\" "
      "PhysicalSizeY=\"0.26\" SizeX=\"300\"></Pixels></Image></OME>";
  base.sub_ifds = {0, 0};
  TiffSpec first = reduced(base, 150, 100), second = reduced(base, 75, 50);
  first.sub_ifds.clear();
  second.sub_ifds.clear();
  write_tiff(dir / "a.ome.tif", {base, first, second});
  const auto slide = open_slide(dir / "a.ome.tif");
  CHECK(slide->format() == "ome-tiff");
  REQUIRE(slide->levels().size() == 3);
  CHECK(worst_difference(*slide, 0, base) == 0);
  CHECK(worst_difference(*slide, 1, first) == 0);
  CHECK(worst_difference(*slide, 2, second) == 0);
  CHECK(slide->pixel_size().x == 0.25);
  CHECK(slide->pixel_size().y == 0.26);
  CHECK(slide->pixel_size().source == "OME PhysicalSize");
}

TEST_CASE("OME-TIFF with one directory per channel, depth or time is refused, not read as its first plane") {
  const TempDir dir;
  for (const char* axis : {"SizeC", "SizeZ", "SizeT"}) {
    TiffSpec grey;
    grey.samples = 1;
    grey.photometric = PHOTOMETRIC_MINISBLACK;
    grey.description =
        "<OME><Image><Pixels ID=\"Pixels:0\" " + std::string(axis) + "=\"3\"></Pixels></Image></OME>";
    write_tiff(dir / "a.ome.tif", {grey, grey, grey});
    CHECK_THROWS_WITH_AS(open_slide(dir / "a.ome.tif"), doctest::Contains(axis), microtome::InputError);
  }
  TiffSpec rgb;  // three interleaved samples are SizeC 3
  rgb.description =
      "<OME><Image><Pixels ID=\"Pixels:0\" SizeC=\"3\" SizeZ=\"1\" SizeT=\"1\"></Pixels></Image></OME>";
  write_tiff(dir / "b.ome.tif", {rgb});
  CHECK_NOTHROW(open_slide(dir / "b.ome.tif"));
}

TEST_CASE("pixel size from the resolution tags") {
  const TempDir dir;
  CHECK(pixel_size(dir, 40000, RESUNIT_CENTIMETER).x == doctest::Approx(0.25));
  CHECK(pixel_size(dir, 40000, RESUNIT_CENTIMETER).source == "TIFF resolution tags");
  CHECK(pixel_size(dir, 50800, RESUNIT_INCH).x == doctest::Approx(0.5));
  CHECK(pixel_size(dir, 50800, 0).x == doctest::Approx(0.5));  // no unit: inch
  CHECK_FALSE(pixel_size(dir, 40000, RESUNIT_NONE).known());
  CHECK_FALSE(pixel_size(dir, 0, 0).known());
  CHECK(pixel_size(dir, 0, 0).source == "the file does not state it");
  const microtome::PixelSize screen = pixel_size(dir, 72, RESUNIT_INCH);
  CHECK_FALSE(screen.known());
  CHECK(screen.source.find("352.7") != std::string::npos);
}

TEST_CASE("Aperio MPP: decimal comma, nonsense, and what stands in for it") {
  const TempDir dir;
  CHECK(pixel_size(dir, 0, 0, "Aperio x|MPP = 0,2528|AppMag = 40").x == 0.2528);
  CHECK(pixel_size(dir, 0, 0, "Aperio x|MPP=0.5").x == 0.5);
  CHECK_FALSE(pixel_size(dir, 0, 0, "Aperio x|MPP = abc").known());
  CHECK_FALSE(pixel_size(dir, 0, 0, "Aperio x|MPP = 0.25 um").known());
  CHECK_FALSE(pixel_size(dir, 0, 0, "Aperio x|MPP = 1e400").known());
  CHECK_FALSE(pixel_size(dir, 0, 0, "Aperio x|MPP = nan").known());
  CHECK_FALSE(pixel_size(dir, 0, 0, "Aperio x|MPP = -1").known());
  CHECK(pixel_size(dir, 0, 0, "Aperio x|MPP = 21.3").source.find("Aperio MPP gives 21.3") !=
        std::string::npos);
  CHECK(pixel_size(dir, 40000, RESUNIT_CENTIMETER, "Aperio x|MPP = 21.3").x == doctest::Approx(0.25));
  // Only Aperio's own files say MPP in Aperio's way.
  CHECK_FALSE(pixel_size(dir, 0, 0, "Someone else|MPP = 0.5").known());
}

TEST_CASE("PNG and JPEG are slides of one level without a pixel size") {
  const TempDir dir;
  microtome::PngWriter png(dir / "a.png", 5, 4, 3);
  std::vector<std::uint8_t> pixels(60);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i);
  png.write_rows(pixels.data(), 4, 15);
  png.finish();
  microtome::os::rename_file(dir / "a.png", dir / "a.tif");  // recognised by content
  const auto slide = open_slide(dir / "a.tif");
  CHECK(slide->format() == "png");
  CHECK(slide->levels().size() == 1);
  CHECK_FALSE(slide->pixel_size().known());
  std::vector<std::uint8_t> got(7 * 6 * 3, 1);
  slide->open_reader()->read_level(0, -1, -1, 7, 6, got.data(), 21);
  bool equal = true;
  for (int y = 0; y < 6; ++y)
    for (int i = 0; i < 21; ++i) {
      const bool inside = y >= 1 && y < 5 && i >= 3 && i < 18;
      const int expected = inside ? (y - 1) * 15 + i - 3 : 255;
      equal = equal && got[static_cast<std::size_t>(y * 21 + i)] == expected;
    }
  CHECK(equal);
  std::uint8_t one[3];
  CHECK_THROWS_AS(slide->open_reader()->read_level(1, 0, 0, 1, 1, one, 3), microtome::UsageError);
}
