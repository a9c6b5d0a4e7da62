#include <doctest.h>
#include <sys/resource.h>
#include <tiffio.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "../test_data.hpp"
#include "microtome/pipeline/tiff_writer.hpp"

using namespace microtome;

namespace {

TiffDirectory grey(std::uint32_t w, std::uint32_t h, std::uint32_t tile) {
  TiffDirectory d;
  d.add_long(256, w);
  d.add_long(257, h);
  d.add_short(258, {8});
  d.add_short(259, {1});
  d.add_short(262, {1});
  d.add_short(277, {1});
  d.add_rational(282, 40000.0);
  d.add_ascii(305, "test");
  d.add_long(322, tile);
  d.add_long(323, tile);
  return d;
}

// The whole process may not write past `bytes` while this lives: what a full disk looks like.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit r = old_;
    r.rlim_cur = bytes;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &r) == 0);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &old_); }

 private:
  rlimit old_{};
};

}  // namespace

TEST_CASE("libtiff reads back tiles, shared tiles and several directories") {
  const microtome_test::TempDir dir;
  const std::string path = dir / "t.tif";
  std::vector<std::uint8_t> a(256), b(256, 7);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<std::uint8_t>(i);
  {
    TiffWriter w(path);
    const TileRef second = w.append(b.data(), b.size());
    const TileRef first = w.append(a.data(), a.size());
    TiffDirectory d0 = grey(48, 32, 16), d1 = grey(16, 16, 16), d2 = grey(32, 16, 16);
    d0.tiles = {first, second, second, second, first, second};
    d1.tiles = {first};
    d2.tiles = {second, first};
    CHECK_FALSE(os::exists(path));
    CHECK(os::exists(os::part_path(path)));
    w.finish({d0, d1, d2});
  }
  CHECK(os::exists(path));
  CHECK_FALSE(os::exists(os::part_path(path)));
  TIFF* t = TIFFOpen(path.c_str(), "r");
  REQUIRE(t);
  REQUIRE(TIFFNumberOfDirectories(t) == 3);
  const std::vector<std::vector<int>> expected = {{0, 1, 1, 1, 0, 1}, {0}, {1, 0}};
  std::vector<std::uint8_t> got(256);
  for (std::size_t k = 0; k < expected.size(); ++k) {
    TIFFSetDirectory(t, static_cast<tdir_t>(k));
    REQUIRE(TIFFNumberOfTiles(t) == expected[k].size());
    for (std::size_t i = 0; i < expected[k].size(); ++i) {
      REQUIRE(TIFFReadEncodedTile(t, static_cast<std::uint32_t>(i), got.data(), 256) == 256);
      CHECK(got == (expected[k][i] ? b : a));
    }
    float res = 0;
    CHECK(TIFFGetField(t, TIFFTAG_XRESOLUTION, &res) == 1);
    CHECK(res == 40000.0f);
  }
  TIFFClose(t);
}

TEST_CASE("an abandoned writer leaves nothing and keeps the old file") {
  const microtome_test::TempDir dir;
  const std::string path = dir / "t.tif";
  std::ofstream(path) << "old";
  {
    TiffWriter w(path);
    w.append("x", 1);
  }
  CHECK_FALSE(os::exists(os::part_path(path)));
  std::string text;
  std::ifstream(path) >> text;
  CHECK(text == "old");
}

TEST_CASE("a full disk is one error that names the file, and leaves nothing") {
  const microtome_test::TempDir dir;
  const std::string path = dir / "t.tif";
  const std::vector<std::uint8_t> tile(40000, 1);
  std::string message;
  {
    TiffWriter w(path);
    const FileSizeLimit limit(100000);
    try {
      for (int i = 0; i < 3; ++i) w.append(tile.data(), tile.size());
    } catch (const ResourceError& e) {
      message = e.what();
    }
  }
  CHECK(message.find(os::part_path(path)) != std::string::npos);
  CHECK_FALSE(os::exists(path));
  CHECK_FALSE(os::exists(os::part_path(path)));
  CHECK_THROWS_AS(TiffWriter("/nonexistent/folder/t.tif"), ResourceError);
}
