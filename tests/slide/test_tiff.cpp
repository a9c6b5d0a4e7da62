// The TIFF reader returns exactly the pixels that libtiff was given to write, in every layout it accepts.
#include <doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "write_tiff.hpp"

using namespace microtome_test;
using microtome::open_slide;

TEST_CASE("every layout comes back exactly") {
  const TempDir dir;
  const std::string path = dir / "a.tif";
  for (const char* mode : {"w", "wb", "w8", "w8b"})
    for (int bits : {8, 16})
      for (int samples : {1, 3})
        for (bool planar : {false, true})
          for (std::uint32_t tile : {0u, 32u})
            for (int codec : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE,
                              COMPRESSION_PACKBITS, COMPRESSION_ZSTD}) {
              if (planar && samples == 1) continue;
              if (!TIFFIsCODECConfigured(static_cast<std::uint16_t>(codec))) continue;
              TiffSpec s;
              s.bits = bits;
              s.samples = samples;
              s.photometric = samples == 1 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB;
              s.planar = planar;
              s.tile_width = tile;
              s.compression = codec;
              if (codec == COMPRESSION_LZW) s.predictor = 2;
              write_tiff(path, {s}, mode);
              const auto slide = open_slide(path);
              CAPTURE(mode);
              CAPTURE(bits);
              CAPTURE(samples);
              CAPTURE(planar);
              CAPTURE(tile);
              CAPTURE(codec);
              CHECK(worst_difference(*slide, 0, s) == 0);
              CHECK(slide->format() == (tile ? "tiled-tiff" : "stripped-tiff"));
              CHECK(slide->levels()[0].tile_height == s.tile_height);
            }
}

TEST_CASE("palettes, inverted grey and alpha") {
  const TempDir dir;
  const std::string path = dir / "a.tif";
  for (std::uint32_t tile : {0u, 32u})
    for (int bits : {8, 16}) {
      TiffSpec s;
      s.tile_width = tile;
      s.bits = bits;
      s.samples = 1;
      s.photometric = PHOTOMETRIC_MINISWHITE;
      write_tiff(path, {s});
      CHECK(worst_difference(*open_slide(path), 0, s) == 0);
      for (int extra : {EXTRASAMPLE_UNSPECIFIED, EXTRASAMPLE_ASSOCALPHA, EXTRASAMPLE_UNASSALPHA})
        for (bool planar : {false, true})
          for (int samples : {2, 4}) {
            if (samples == 2 && extra == EXTRASAMPLE_UNSPECIFIED) continue;
            s.samples = samples;
            s.photometric = samples == 2 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB;
            s.extra = extra;
            s.planar = planar;
            write_tiff(path, {s});
            CAPTURE(extra);
            CAPTURE(planar);
            CAPTURE(samples);
            CHECK(worst_difference(*open_slide(path), 0, s) == 0);
          }
    }
  TiffSpec s;
  s.samples = 1;
  s.photometric = PHOTOMETRIC_PALETTE;
  write_tiff(path, {s});
  CHECK(worst_difference(*open_slide(path), 0, s) == 0);
}

TEST_CASE("the photometric tag, not the JPEG, says whether JPEG samples are RGB or YCbCr") {
  const TempDir dir;
  for (int photometric : {PHOTOMETRIC_RGB, PHOTOMETRIC_YCBCR, PHOTOMETRIC_MINISBLACK})
    for (std::uint32_t tile : {0u, 32u}) {
      TiffSpec s;
      s.width = 64;
      s.tile_width = tile;
      s.smooth = true;
      s.samples = photometric == PHOTOMETRIC_MINISBLACK ? 1 : 3;
      s.photometric = photometric;
      s.compression = COMPRESSION_JPEG;
      write_tiff(dir / "a.tif", {s});
      const auto slide = open_slide(dir / "a.tif");
      CAPTURE(photometric);
      CAPTURE(tile);
      const auto reader = slide->open_reader();
      CHECK(worst_difference(*reader, 0, s, 0, 0, s.width, s.height) <=
            (photometric == PHOTOMETRIC_YCBCR ? 9 : 3));
      CHECK(slide->levels()[0].compression == "jpeg");
    }
}

TEST_CASE("absent tiles are white, and the decoder never sees them") {
  const TempDir dir;
  for (int codec : {COMPRESSION_NONE, COMPRESSION_ADOBE_DEFLATE}) {
    TiffSpec s;
    s.compression = codec;
    s.missing = {0, 4, 11};
    write_tiff(dir / "a.tif", {s});
    CHECK(worst_difference(*open_slide(dir / "a.tif"), 0, s) == 0);
  }
}

TEST_CASE("places of an image may share one stored tile") {
  const TempDir dir;
  RawTiff file;
  std::string tile(768, '\0');
  for (std::size_t i = 0; i < tile.size(); ++i) tile[i] = static_cast<char>(i % 251);
  const std::uint32_t at = file.add_data(tile);
  RawTiff::Tags tags = RawTiff::tile_tags(at);
  tags[0].second = {40};
  tags[1].second = {24};
  tags[8].second.assign(6, at);
  tags[9].second.assign(6, 768);
  file.add_directory(tags);
  file.save(dir / "a.tif");
  const auto slide = open_slide(dir / "a.tif");
  std::vector<std::uint8_t> rgb(40 * 24 * 3);
  slide->open_reader()->read_level(0, 0, 0, 40, 24, rgb.data(), 120);
  bool equal = true;
  for (std::size_t y = 0; y < 24; ++y)
    for (std::size_t i = 0; i < 120; ++i)
      equal = equal && rgb[y * 120 + i] == static_cast<std::uint8_t>((y % 16 * 48 + i % 48) % 251);
  CHECK(equal);
}

TEST_CASE("strips that share their data may differ in height") {
  const TempDir dir;
  RawTiff file;
  std::string data(16 * 48, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i % 251);
  const std::uint32_t at = file.add_data(data);
  file.add_directory({{256, {16}},
                      {257, {20}},
                      {258, {8, 8, 8}},
                      {259, {1}},
                      {262, {2}},
                      {273, {at, at}},
                      {277, {3}},
                      {278, {16}},
                      {279, {768, 192}}});
  file.save(dir / "a.tif");
  const auto slide = open_slide(dir / "a.tif");
  const auto reader = slide->open_reader();
  std::vector<std::uint8_t> rgb(20 * 48);
  reader->read_level(0, 0, 16, 16, 4, rgb.data() + 16 * 48, 48);  // the short strip first
  reader->read_level(0, 0, 0, 16, 16, rgb.data(), 48);
  bool equal = true;
  for (std::size_t i = 0; i < rgb.size(); ++i) equal = equal && rgb[i] == i % 768 % 251;
  CHECK(equal);
}

TEST_CASE("one uncompressed strip for the whole image is read in pieces") {
  const TempDir dir;
  TiffSpec s;
  s.width = 1000;
  s.height = 1100;
  s.tile_width = 0;
  s.tile_height = 1100;
  for (bool planar : {false, true}) {
    s.planar = planar;
    write_tiff(dir / "a.tif", {s});
    const auto slide = open_slide(dir / "a.tif");
    CHECK(slide->levels()[0].tile_height < 1100);
    const auto reader = slide->open_reader();
    CHECK(worst_difference(*reader, 0, s, 0, 0, s.width, s.height) == 0);
    CHECK(worst_difference(*reader, 0, s, 990, 1090, 20, 20) == 0);
  }
}

TEST_CASE("rectangles beside the image are white, impossible requests are refused") {
  const TempDir dir;
  TiffSpec s;
  write_tiff(dir / "a.tif", {s});
  const auto slide = open_slide(dir / "a.tif");
  const auto reader = slide->open_reader();
  CHECK(worst_difference(*reader, 0, s, -500, 0, 20, 20) == 0);
  CHECK(worst_difference(*reader, 0, s, 1000, 1000, 20, 20) == 0);
  std::uint8_t rgb[3];
  CHECK_THROWS_AS(reader->read_level(1, 0, 0, 1, 1, rgb, 3), microtome::UsageError);
  CHECK_THROWS_AS(reader->read_level(-1, 0, 0, 1, 1, rgb, 3), microtome::UsageError);
  CHECK_THROWS_AS(reader->read_level(0, 0, 0, -1, 1, rgb, 3), microtome::UsageError);
  CHECK_THROWS_AS(reader->read_level(0, INT64_MAX, 0, 1, 1, rgb, 3), microtome::UsageError);
}

TEST_CASE("readers of several threads see the same pixels") {
  const TempDir dir;
  TiffSpec s;
  s.width = 300;
  s.height = 200;
  s.compression = COMPRESSION_LZW;
  write_tiff(dir / "a.tif", {s});
  const auto slide = open_slide(dir / "a.tif");
  std::vector<int> worst(4, -1);
  std::vector<std::thread> threads;
  for (int& w : worst) threads.emplace_back([&slide, &s, &w] { w = worst_difference(*slide, 0, s); });
  for (std::thread& t : threads) t.join();
  for (int w : worst) CHECK(w == 0);
}

TEST_CASE("a damaged tile is an error, or white and counted once") {
  const TempDir dir;
  TiffSpec s;
  s.compression = COMPRESSION_ADOBE_DEFLATE;
  write_tiff(dir / "a.tif", {s});
  {
    const microtome::tiff::TiffFile f(dir / "a.tif");
    const auto offset = f.numbers(f.directories()[0], microtome::tiff::kTileOffsets, 100)[4];
    std::fstream file(dir / "a.tif", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write("\xff\xff\xff\xff", 4);
  }
  const auto slide = open_slide(dir / "a.tif");
  std::vector<std::uint8_t> rgb(70 * 50 * 3);
  try {
    slide->open_reader()->read_level(0, 0, 0, 70, 50, rgb.data(), 210);
    FAIL("a damaged tile was read");
  } catch (const microtome::InputError& e) {
    CHECK(std::string(e.what()).find("a.tif: directory 0: tile 4: ") != std::string::npos);
  }
  const auto reader = slide->open_reader(microtome::BadTile::fill);
  s.missing = {4};
  CHECK(worst_difference(*reader, 0, s, 0, 0, 70, 50) == 0);
  CHECK(worst_difference(*reader, 0, s, 0, 0, 70, 50) == 0);
  CHECK(reader->bad_tiles() == 1);
}

TEST_CASE("a JPEG tile that ends early is damaged, not grey") {
  const TempDir dir;
  TiffSpec s;
  s.compression = COMPRESSION_JPEG;
  write_tiff(dir / "a.tif", {s});
  {
    const microtome::tiff::TiffFile f(dir / "a.tif");
    const auto& d = f.directories()[0];
    const auto offset = f.numbers(d, microtome::tiff::kTileOffsets, 100)[4];
    const auto bytes = f.numbers(d, microtome::tiff::kTileByteCounts, 100)[4];
    std::fstream file(dir / "a.tif", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset + bytes / 2));
    file.write("\xff\xd9", 2);
  }
  CHECK(error_of(dir / "a.tif").find("directory 0: tile 4: ") != std::string::npos);
}
