#include <doctest.h>
#include <tiffio.h>
#include <zlib.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "../test_data.hpp"
#include "microtome/pipeline/evaluate.hpp"
#include "microtome/pipeline/open_labels.hpp"
#include "microtome/pipeline/pyramid_writer.hpp"

using namespace microtome;

namespace {

using LabelFn = std::function<std::uint8_t(std::int64_t, std::int64_t)>;

void write_tiff(const std::string& path, std::int64_t w, std::int64_t h, const LabelFn& f,
                std::int64_t tile = 64) {
  MaskPyramidOptions o;
  o.width = w;
  o.height = h;
  o.tile = tile;
  MaskPyramidWriter out(path, o);
  std::vector<std::uint8_t> t(static_cast<std::size_t>(tile * tile));
  for (std::int64_t ty = 0; ty < out.tiles_down(); ++ty)
    for (std::int64_t tx = 0; tx < out.tiles_across(); ++tx) {
      for (std::int64_t y = 0; y < tile; ++y)
        for (std::int64_t x = 0; x < tile; ++x) {
          const std::int64_t px = tx * tile + x, py = ty * tile + y;
          t[static_cast<std::size_t>(y * tile + x)] = px < w && py < h ? f(px, py) : std::uint8_t{0};
        }
      out.write_tile(tx, ty, t.data());
    }
  out.finish();
}

void put32(std::string& s, std::uint32_t v) {
  for (int i = 3; i >= 0; --i) s += static_cast<char>(v >> (8 * i));
}

void chunk(std::string& png, const std::string& type, const std::string& data) {
  put32(png, static_cast<std::uint32_t>(data.size()));
  const std::string body = type + data;
  png += body;
  put32(png, static_cast<std::uint32_t>(
                 crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()))));
}

// A PNG with every filter type in turn; rows are raw bytes before filtering.
std::string png_bytes(std::uint32_t w, std::uint32_t h, int depth, int color,
                      const std::vector<std::string>& rows) {
  const int channels = color == 2 ? 3 : color == 6 ? 4 : color == 4 ? 2 : 1;
  const std::size_t bpp = depth < 8 ? 1 : static_cast<std::size_t>(channels);
  std::string raw;
  std::string above(rows[0].size(), '\0');
  for (std::size_t y = 0; y < rows.size(); ++y) {
    const int filter = static_cast<int>(y % 5);
    raw += static_cast<char>(filter);
    for (std::size_t i = 0; i < rows[y].size(); ++i) {
      auto u = [](char c) { return static_cast<int>(static_cast<unsigned char>(c)); };
      const int a = i >= bpp ? u(rows[y][i - bpp]) : 0, b = u(above[i]), c = i >= bpp ? u(above[i - bpp]) : 0;
      const int p = a + b - c;
      const int paeth = std::abs(p - a) <= std::abs(p - b) && std::abs(p - a) <= std::abs(p - c) ? a
                        : std::abs(p - b) <= std::abs(p - c)                                     ? b
                                                                                                 : c;
      const int predicted[5] = {0, a, b, (a + b) / 2, paeth};
      raw += static_cast<char>(u(rows[y][i]) - predicted[filter]);
    }
    above = rows[y];
  }
  uLongf n = compressBound(raw.size());
  std::string z(n, '\0');
  compress(reinterpret_cast<Bytef*>(z.data()), &n, reinterpret_cast<const Bytef*>(raw.data()), raw.size());
  z.resize(n);
  std::string png = "\x89PNG\r\n\x1a\n", head;
  put32(head, w);
  put32(head, h);
  head += static_cast<char>(depth);
  head += static_cast<char>(color);
  head += std::string(3, '\0');
  chunk(png, "IHDR", head);
  chunk(png, "tEXt", "Comment");
  chunk(png, "IDAT", z.substr(0, z.size() / 2));
  chunk(png, "IDAT", z.substr(z.size() / 2));
  chunk(png, "IEND", "");
  return png;
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::vector<std::uint8_t> all_labels(LabelImage& m) {
  std::vector<std::uint8_t> v(static_cast<std::size_t>(m.width() * m.height()));
  m.read(0, 0, m.width(), m.height(), v.data());
  return v;
}

Confusion compare(const std::string& a, const std::string& b) {
  const auto p = open_labels(a), t = open_labels(b);
  return compare_masks(*p, *t);
}

}  // namespace

TEST_CASE("Dice, IoU, precision and recall follow from the counts") {
  Confusion c;
  c.add(1, 1, 30);
  c.add(1, 0, 10);
  c.add(0, 1, 20);
  c.add(0, 0, 40);
  const ClassScore s = score(c, 1);
  CHECK(s.dice() == doctest::Approx(60.0 / 90.0));
  CHECK(s.iou() == doctest::Approx(0.5));
  CHECK(s.precision() == doctest::Approx(0.75));
  CHECK(s.recall() == doctest::Approx(0.6));
  CHECK_FALSE(score(c, 2).present());
  CHECK(std::isnan(score(c, 2).dice()));
}

TEST_CASE("streamed counts equal a plain loop over both masks") {
  const microtome_test::TempDir dir;
  const auto p = [](std::int64_t x, std::int64_t y) {
    return static_cast<std::uint8_t>((x / 9 + y / 5) % 3);
  };
  const auto t = [](std::int64_t x, std::int64_t y) {
    return static_cast<std::uint8_t>((x / 8 + y / 7) % 4);
  };
  const std::int64_t w = 1301, h = 1097;
  write_tiff(dir / "p.tif", w, h, p, 64);
  write_tiff(dir / "t.tif", w, h, t, 256);
  const Confusion c = compare(dir / "p.tif", dir / "t.tif");
  Confusion plain;
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) plain.add(p(x, y), t(x, y), 1);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) CHECK(c.at(i, j) == plain.at(i, j));
  CHECK(c.total() == static_cast<std::uint64_t>(w * h));
}

TEST_CASE("a finer truth is sampled in the middle of each block, sizes rounded up") {
  const microtome_test::TempDir dir;
  const std::int64_t w = 700, h = 501, k = 3;
  const auto truth = [](std::int64_t x, std::int64_t y) {
    return static_cast<std::uint8_t>((x * 7 + y * 3) % 5);
  };
  write_tiff(dir / "t.tif", w * k - 2, h * k - 1, truth);
  write_tiff(dir / "p.tif", w, h, [&](std::int64_t x, std::int64_t y) {
    return truth(std::min(x * k + 1, w * k - 3), std::min(y * k + 1, h * k - 2));
  });
  const Confusion c = compare(dir / "p.tif", dir / "t.tif");
  std::uint64_t agree = 0;
  for (int i = 0; i < 5; ++i) agree += c.at(i, i);
  CHECK(agree == static_cast<std::uint64_t>(w * h));

  // Stored in rows: other blocks, of which only the middle rows are read.
  std::vector<std::string> rows;
  for (std::int64_t y = 0; y < h * k - 1; ++y) {
    rows.emplace_back();
    for (std::int64_t x = 0; x < w * k - 2; ++x) rows.back() += static_cast<char>(truth(x, y));
  }
  write(dir / "t.png", png_bytes(w * k - 2, h * k - 1, 8, 0, rows));
  const Confusion by_rows = compare(dir / "p.tif", dir / "t.png");
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 5; ++j) CHECK(by_rows.at(i, j) == c.at(i, j));

  write_tiff(dir / "other.tif", w * k, h * k + 9, truth);
  std::string message;
  try {
    compare(dir / "p.tif", dir / "other.tif");
  } catch (const InputError& e) {
    message = e.what();
  }
  CHECK(message.find("2100 x 1512") != std::string::npos);
  CHECK(message.find("700 x 501") != std::string::npos);
}

TEST_CASE("rows wider than a block are compared in pieces") {
  const microtome_test::TempDir dir;
  constexpr std::uint32_t k = 1024, w = 40000;  // a truth of 41 million pixels a row
  const auto label = [](std::uint32_t x) { return static_cast<char>(x / 100 % 3); };
  TIFF* t = TIFFOpen((dir / "t.tif").c_str(), "w");
  for (const auto& [tag, value] : {std::pair<std::uint32_t, std::uint32_t>{TIFFTAG_IMAGEWIDTH, w * k},
                                   {TIFFTAG_IMAGELENGTH, k + 1},
                                   {TIFFTAG_BITSPERSAMPLE, 8},
                                   {TIFFTAG_SAMPLESPERPIXEL, 1},
                                   {TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK},
                                   {TIFFTAG_COMPRESSION, COMPRESSION_PACKBITS},
                                   {TIFFTAG_ROWSPERSTRIP, 1}})
    TIFFSetField(t, tag, value);
  std::string row;
  for (std::uint32_t x = 0; x < w; ++x) row.append(k, label(x));
  for (const std::uint32_t y : {k / 2, k}) TIFFWriteEncodedStrip(t, y, row.data(), row.size());
  TIFFClose(t);
  std::string small;
  for (std::uint32_t x = 0; x < w; ++x) small += label(x);
  write(dir / "p.png", png_bytes(w, 2, 8, 0, {small, small}));
  const Confusion c = compare(dir / "p.png", dir / "t.tif");
  CHECK(c.total() == 2 * w);
  CHECK(c.at(0, 0) + c.at(1, 1) + c.at(2, 2) == 2 * w);
  CHECK(c.at(2, 2) > w / 2);
}

TEST_CASE("0 and 255 mean 0 and 1, unless other labels are there") {
  Confusion c;
  c.add(1, 255, 5);
  c.add(0, 0, 5);
  c.add(1, 0, 1);
  c.fold_binary();
  CHECK(c.at(1, 1) == 5);
  Confusion d;
  d.add(1, 255, 5);
  d.add(2, 2, 5);
  d.fold_binary();
  CHECK(d.at(1, 255) == 5);
}

TEST_CASE("PNG masks: grey, palette, packed bits, RGB, every filter") {
  const microtome_test::TempDir dir;
  const std::uint32_t w = 13, h = 11;
  const auto f = [](std::size_t x, std::size_t y) { return (x * 5 + y * 3) % 7 == 0; };
  std::vector<std::uint8_t> expected;
  for (std::size_t y = 0; y < h; ++y)
    for (std::size_t x = 0; x < w; ++x) expected.push_back(f(x, y));
  for (const int color : {0, 2, 3, 4, 6})
    for (const int depth : {1, 2, 4, 8}) {
      if (depth < 8 && color != 0 && color != 3) continue;
      const std::size_t channels = color == 2 ? 3 : color == 6 ? 4 : color == 4 ? 2 : 1;
      std::vector<std::string> rows;
      for (std::size_t y = 0; y < h; ++y) {
        std::string row((w * channels * static_cast<std::size_t>(depth) + 7) / 8, '\0');
        for (std::size_t x = 0; x < w; ++x)
          for (std::size_t ch = 0; ch < channels; ++ch) {
            const std::size_t bit = (x * channels + ch) * static_cast<std::size_t>(depth);
            const int value = (color == 6 && ch == 3) || (color == 4 && ch == 1) ? 99 : f(x, y);
            row[bit / 8] = static_cast<char>(row[bit / 8] | value << (8 - depth - static_cast<int>(bit % 8)));
          }
        rows.push_back(row);
      }
      CAPTURE(color);
      CAPTURE(depth);
      write(dir / "m.png", png_bytes(w, h, depth, color, rows));
      const auto m = open_labels(dir / "m.png");
      CHECK(all_labels(*m) == expected);
      CHECK(all_labels(*m) == expected);  // again from the top
    }
}

TEST_CASE("damaged PNG masks are refused, whatever byte is wrong") {
  const microtome_test::TempDir dir;
  const std::string good = png_bytes(40, 30, 8, 0, std::vector<std::string>(30, std::string(40, '\1')));
  const std::string path = dir / "m.png";
  std::size_t refused = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x41);
    write(path, bad);
    try {
      all_labels(*open_labels(path));
    } catch (const InputError& e) {
      CHECK(std::string(e.what()).find(path) != std::string::npos);
      ++refused;
    }
  }
  CHECK(refused > good.size() / 2);
  for (std::size_t n = 0; n + 20 < good.size(); ++n) {
    write(path, good.substr(0, n));
    CHECK_THROWS_AS(all_labels(*open_labels(path)), InputError);
  }
  write(path, png_bytes(2, 1, 8, 2, {std::string("\1\1\1\1\2\1", 6)}));
  CHECK_THROWS_AS(all_labels(*open_labels(path)), InputError);
}

TEST_CASE("stripped TIFF masks are read, other TIFFs are refused by name") {
  const microtome_test::TempDir dir;
  const std::string path = dir / "m.tif";
  auto make = [&](int samples, int bits, int photometric, int compression) {
    TIFF* t = TIFFOpen(path.c_str(), "w");
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, 50);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, 37);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, bits);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, samples);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, photometric);
    TIFFSetField(t, TIFFTAG_COMPRESSION, compression);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, 8);
    std::vector<std::uint8_t> row(50 * 4);
    for (std::uint32_t y = 0; y < 37; ++y) {
      for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::uint8_t>((i + y) % 3);
      TIFFWriteScanline(t, row.data(), y, 0);
    }
    TIFFClose(t);
  };
  make(1, 8, PHOTOMETRIC_MINISBLACK, COMPRESSION_LZW);
  const auto m = open_labels(path);
  CHECK(m->by_rows());
  const std::vector<std::uint8_t> v = all_labels(*m);
  bool same = true;
  for (std::size_t i = 0; i < v.size(); ++i) same = same && v[i] == (i % 50 + i / 50) % 3;
  CHECK(same);
  make(3, 8, PHOTOMETRIC_RGB, COMPRESSION_NONE);
  CHECK_THROWS_AS(open_labels(path), InputError);
  make(1, 16, PHOTOMETRIC_MINISBLACK, COMPRESSION_NONE);
  CHECK_THROWS_AS(open_labels(path), InputError);
  make(1, 8, PHOTOMETRIC_MINISWHITE, COMPRESSION_NONE);
  CHECK_THROWS_AS(open_labels(path), InputError);
  CHECK_THROWS_AS(open_labels(dir / "missing.tif"), InputError);
  CHECK_THROWS_AS(open_labels(dir.path()), InputError);
  write(path, "no mask");
  CHECK_THROWS_AS(open_labels(path), InputError);
}

TEST_CASE("malformed TIFFs never crash the mask reader") {
  const std::string data = microtome_test::test_data();
  if (data.empty()) {
    MESSAGE("skipped: no test data");
    return;
  }
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data + "/tiff_malformed")) {
    ++files;
    const std::string path = entry.path().string();
    CAPTURE(path);
    try {
      const auto m = open_labels(path);
      std::vector<std::uint8_t> v(64 * 64);
      for (std::int64_t y = 0; y < std::min<std::int64_t>(m->height(), 4096); y += 64)
        for (std::int64_t x = 0; x < std::min<std::int64_t>(m->width(), 4096); x += 64)
          m->read(x, y, std::min<std::int64_t>(64, m->width() - x),
                  std::min<std::int64_t>(64, m->height() - y), v.data());
    } catch (const Error& e) {
      CHECK(std::string(e.what()).find(path) != std::string::npos);
    }
  }
  CHECK(files > 0);
}
