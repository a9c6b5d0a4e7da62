// PNG and JPEG: what PngWriter writes, stb_image reads back; damaged and oversized files are refused first.
#include <doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "microtome/io/image.hpp"
#include "test_data.hpp"

namespace {

using microtome::Image;
using microtome_test::TempDir;

std::vector<std::uint8_t> noise(std::size_t n, std::uint32_t seed = 1) {
  std::vector<std::uint8_t> v(n);
  for (auto& b : v) b = static_cast<std::uint8_t>((seed = seed * 1664525u + 1013904223u) >> 24);
  return v;
}

std::string bytes_of(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(f), {});
}

void save(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

void write_jpeg(const std::string& path, int width, int height, const std::vector<std::uint8_t>& rgb) {
  std::FILE* f = std::fopen(path.c_str(), "wb");
  REQUIRE(f != nullptr);
  jpeg_compress_struct c{};
  jpeg_error_mgr e{};
  c.err = jpeg_std_error(&e);
  jpeg_create_compress(&c);
  jpeg_stdio_dest(&c, f);
  c.image_width = static_cast<JDIMENSION>(width);
  c.image_height = static_cast<JDIMENSION>(height);
  c.input_components = 3;
  c.in_color_space = JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, 95, TRUE);
  jpeg_start_compress(&c, TRUE);
  while (c.next_scanline < c.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(&rgb[c.next_scanline * static_cast<unsigned>(width) * 3u]);
    jpeg_write_scanlines(&c, &row, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  std::fclose(f);
}

}  // namespace

TEST_CASE("a PNG comes back byte for byte, whatever its size, channels and row batches") {
  const TempDir dir;
  for (int channels : {1, 3, 4})
    for (int width : {1, 2, 17, 300})
      for (int height : {1, 3, 129}) {
        const auto stride = static_cast<std::size_t>(width * channels + 5);  // padded rows
        const auto pixels = noise(stride * static_cast<std::size_t>(height));
        const std::string path = dir / "a.png";
        microtome::PngWriter png(path, width, height, channels);
        png.write_rows(pixels.data(), 1, stride);
        if (height > 1) png.write_rows(pixels.data() + stride, height - 1, stride);
        png.finish();
        const Image back = microtome::read_image(path, channels);
        CHECK(back.width == width);
        CHECK(back.height == height);
        bool equal = true;
        for (int y = 0; y < height; ++y)
          for (int i = 0; i < width * channels; ++i)
            equal = equal && back.pixels[static_cast<std::size_t>(y * width * channels + i)] ==
                                 pixels[static_cast<std::size_t>(y) * stride + static_cast<std::size_t>(i)];
        CHECK(equal);
      }
}

TEST_CASE("an unfinished PNG leaves nothing behind, and a wrong number of rows is refused") {
  const TempDir dir;
  const std::vector<std::uint8_t> row(30, 7);
  {
    microtome::PngWriter png(dir / "a.png", 10, 2, 3);
    CHECK(microtome::os::exists(dir / ".a.png.part"));
    CHECK_FALSE(microtome::os::exists(dir / "a.png"));
    png.write_rows(row.data(), 1, 30);
    CHECK_THROWS_AS(png.finish(), microtome::UsageError);
    CHECK_THROWS_AS(png.write_rows(row.data(), 2, 0), microtome::UsageError);
  }
  CHECK(std::filesystem::is_empty(dir.path()));
  CHECK_THROWS_AS(microtome::PngWriter(dir / "b.png", 0, 1, 3), microtome::UsageError);
  CHECK_THROWS_AS(microtome::PngWriter(dir / "no/such/folder.png", 1, 1, 3), microtome::ResourceError);
}

TEST_CASE("a JPEG decodes to nearly the pixels that went in, a truncated one is refused") {
  const TempDir dir;
  const int width = 61, height = 47;
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int v : {2 * x, 3 * y, x + y}) rgb.push_back(static_cast<std::uint8_t>(v));
  write_jpeg(dir / "a.jpg", width, height, rgb);
  const Image image = microtome::read_image(dir / "a.jpg");
  REQUIRE(image.pixels.size() == rgb.size());
  int worst = 0;
  for (std::size_t i = 0; i < rgb.size(); ++i) worst = std::max(worst, std::abs(image.pixels[i] - rgb[i]));
  CHECK(worst <= 12);
  const std::string whole = bytes_of(dir / "a.jpg");
  for (std::size_t n : {whole.size() - 2, whole.size() / 2, std::size_t{40}, std::size_t{4}}) {
    save(dir / "b.jpg", whole.substr(0, n));
    CHECK_THROWS_AS(microtome::read_image(dir / "b.jpg"), microtome::InputError);
  }
}

TEST_CASE("damaged PNGs are refused") {
  const TempDir dir;
  const auto pixels = noise(40 * 30 * 3);
  microtome::PngWriter png(dir / "a.png", 40, 30, 3);
  png.write_rows(pixels.data(), 30, 120);
  png.finish();
  const std::string whole = bytes_of(dir / "a.png");
  for (std::size_t n : {std::size_t{0}, std::size_t{7}, std::size_t{20}, std::size_t{33}, whole.size() / 2}) {
    save(dir / "b.png", whole.substr(0, n));
    CHECK_THROWS_AS(microtome::read_image(dir / "b.png"), microtome::InputError);
  }
  // Announces 2^31-1 x 2^31-1 pixels: must be refused by the header, not by the allocator.
  std::string huge = whole;
  huge.replace(16, 8, "\x7f\xff\xff\xff\x7f\xff\xff\xff");
  save(dir / "c.png", huge);
  CHECK_THROWS_AS(microtome::read_image(dir / "c.png"), microtome::InputError);
  CHECK_THROWS_AS(microtome::read_image(dir / "missing.png"), microtome::InputError);
  CHECK_THROWS_AS(microtome::read_image(dir.path()), microtome::InputError);
}

TEST_CASE("limits apply before decoding") {
  const TempDir dir;
  const std::vector<std::uint8_t> row(300, 1);
  microtome::PngWriter png(dir / "a.png", 100, 100, 3);
  for (int i = 0; i < 100; ++i) png.write_rows(row.data(), 1, 300);
  png.finish();
  microtome::ImageLimits limits;
  limits.pixels = 10000;
  CHECK(microtome::read_image(dir / "a.png", 3, limits).width == 100);
  limits.pixels = 9999;
  CHECK_THROWS_AS(microtome::read_image(dir / "a.png", 3, limits), microtome::InputError);
  limits = {};
  limits.file_bytes = 50;
  CHECK_THROWS_AS(microtome::read_image(dir / "a.png", 3, limits), microtome::InputError);
}

TEST_CASE("transparent pixels are white in RGB") {
  const TempDir dir;
  const std::vector<std::uint8_t> rgba = {10, 20, 30, 255, 10, 20, 30, 0, 100, 0, 255, 51};
  microtome::PngWriter png(dir / "a.png", 3, 1, 4);
  png.write_rows(rgba.data(), 1, 12);
  png.finish();
  CHECK(microtome::read_image(dir / "a.png").pixels ==
        std::vector<std::uint8_t>{10, 20, 30, 255, 255, 255, 224, 204, 255});
}
