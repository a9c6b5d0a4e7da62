// Damaged, hostile and foreign files: one error that names the file and the field, never a crash, a hang or
// an allocation that the file's header decides.
#include <doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "microtome/core/os.hpp"
#include "write_tiff.hpp"

using namespace microtome_test;

namespace {

// The error of a one-tile image with some tags replaced (or, with no values, left out).
std::string error_with(const TempDir& dir, const RawTiff::Tags& changes) {
  RawTiff file;
  const std::uint32_t at = file.add_data(std::string(768, 'x'));
  RawTiff::Tags tags = RawTiff::tile_tags(at);
  for (const auto& change : changes) {
    auto place =
        std::find_if(tags.begin(), tags.end(), [&](const auto& t) { return t.first >= change.first; });
    if (place != tags.end() && place->first == change.first) place = tags.erase(place);
    if (!change.second.empty()) tags.insert(place, change);
  }
  file.add_directory(tags);
  file.save(dir / "a.svs");
  std::string error = error_of(dir / "a.svs");
  const std::string prefix = (dir / "a.svs") + ": ";
  if (!error.empty()) CHECK(error.rfind(prefix, 0) == 0);
  return error.empty() ? error : error.substr(prefix.size());
}

std::string bytes_of(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(f), {});
}

void save(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

TEST_CASE("the hand-made file is sound") {
  const TempDir dir;
  CHECK(error_with(dir, {}) == "");
}

TEST_CASE("errors name directory and field") {
  const TempDir dir;
  CHECK(error_with(dir, {{256, {144}}, {257, {144}}, {325, {768, 768, 768}}}) ==
        "directory 0: TileOffsets has 1 entries, 81 expected");
  CHECK(error_with(dir, {{256, {48}}, {324, {8, 8, 8}}, {325, {768, 768}}}) ==
        "directory 0: TileByteCounts has 2 entries, 3 expected");
  CHECK(error_with(dir, {{256, {}}}) == "directory 0: ImageWidth is missing");
  CHECK(error_with(dir, {{257, {0}}}) == "directory 0: impossible image size 16 x 0");
  CHECK(error_with(dir, {{256, {0xffffffff}}}) == "directory 0: impossible image size 4294967295 x 16");
  CHECK(error_with(dir, {{256, {0x7fffffff}}, {257, {0x7fffffff}}}) ==
        "directory 0: impossible image size 2147483647 x 2147483647");
  CHECK(error_with(dir, {{262, {}}}) == "directory 0: PhotometricInterpretation is missing");
  CHECK(error_with(dir, {{277, {0}}}) == "directory 0: SamplesPerPixel is 0, 1 to 64 expected");
  CHECK(error_with(dir, {{277, {2}}, {258, {8, 8}}}) == "directory 0: SamplesPerPixel is 2, 3 expected");
  CHECK(error_with(dir, {{258, {8, 8}}}) == "directory 0: BitsPerSample has 2 entries, 3 expected");
  CHECK(error_with(dir, {{322, {0}}}) == "directory 0: tiles of 0 x 16 pixels, 1 to 8192 per side expected");
  CHECK(error_with(dir, {{323, {8193}}}) ==
        "directory 0: tiles of 16 x 8193 pixels, 1 to 8192 per side expected");
  CHECK(error_with(dir, {{323, {}}}) == "directory 0: TileLength is missing");
  CHECK(error_with(dir, {{324, {}}}) == "directory 0: TileOffsets is missing");
  CHECK(error_with(dir, {{324, {500}}}).find("directory 0: tile 0: 768 bytes at offset 500 lie outside") ==
        0);
  CHECK(error_with(dir, {{325, {767}}}) == "directory 0: tile 0 has 767 bytes, its pixels are 768");
  CHECK(error_with(dir, {{284, {3}}}) == "directory 0: PlanarConfiguration is 3");
  CHECK(error_with(dir, {{262, {3}}, {277, {1}}, {258, {8}}, {320, {1, 2, 3}}}) ==
        "directory 0: ColorMap has 3 entries, 768 expected");
}

TEST_CASE("what is not supported is refused by name and number") {
  const TempDir dir;
  CHECK(error_with(dir, {{259, {33003}}}) ==
        "directory 0: Compression 33003 (Aperio JPEG 2000, YCbCr) is not supported");
  CHECK(error_with(dir, {{259, {33005}}}) ==
        "directory 0: Compression 33005 (Aperio JPEG 2000, RGB) is not supported");
  CHECK(error_with(dir, {{259, {6}}}) == "directory 0: Compression 6 (old-style JPEG) is not supported");
  CHECK(error_with(dir, {{259, {12345}}}) == "directory 0: Compression 12345 is not supported");
  CHECK(error_with(dir, {{274, {6}}}) == "directory 0: Orientation 6 is not supported");
  CHECK(error_with(dir, {{258, {1, 1, 1}}}) ==
        "directory 0: BitsPerSample 1 is not supported (8 and 16 are)");
  CHECK(error_with(dir, {{258, {8, 8, 16}}}) == "directory 0: samples of different depth are not supported");
  CHECK(error_with(dir, {{339, {2, 2, 2}}}) ==
        "directory 0: SampleFormat 2 is not supported (unsigned integers are)");
  CHECK(error_with(dir, {{262, {5}}}) == "directory 0: PhotometricInterpretation 5 is not supported");
  CHECK(error_with(dir, {{262, {6}}}) == "directory 0: YCbCr pixels are supported in interleaved JPEG only");
  CHECK(error_with(dir, {{262, {1}}}) ==
        "directory 0: 3 channels that are neither grey nor RGB are not supported");
  CHECK(error_with(dir, {{65420, {1}}}) == "Hamamatsu NDPI is not supported");
}

TEST_CASE("formats that are TIFFs with rules of their own are refused, not misread") {
  const TempDir dir;
  const std::pair<const char*, const char*> cases[] = {
      {"<?xml version=\"1.0\"?><DataObject ObjectType=\"DPUfsImport\">", "Philips TIFF is not supported"},
      {"<scn xmlns=\"http://www.leica-microsystems.com/scn/2010/10/01\">", "Leica SCN is not supported"}};
  for (const auto& [description, error] : cases) {
    TiffSpec s;
    s.description = description;
    write_tiff(dir / "a.tif", {s});
    CHECK(error_of(dir / "a.tif") == (dir / "a.tif") + ": " + error);
  }
}

TEST_CASE("headers and chains of directories") {
  const TempDir dir;
  const std::string path = dir / "a.tif";
  auto error = [&] { return error_of(path).substr(std::min(error_of(path).size(), path.size() + 2)); };
  save(path, "");
  CHECK(error() == "the file is empty");
  save(path, "not a slide at all");
  CHECK(error() == "not a slide: neither TIFF (SVS), PNG nor JPEG");
  save(path, "II*\0");
  CHECK(error() != "");
  save(path, std::string("II*\0\0\0\0\0", 8));
  CHECK(error() == "header: the file has no directory");
  save(path, std::string("II*\0\xff\xff\xff\x7f", 8));
  CHECK(error() == "directory 0: at offset 2147483647, outside the file");
  save(path, std::string("II+\0\x04\0\0\0\x10\0\0\0\0\0\0\0", 16));
  CHECK(error() == "header: BigTIFF with offsets of 4 bytes, 8 expected");
  // A BigTIFF directory that announces 2^63 entries.
  save(path, std::string("II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80", 24));
  CHECK(error() == "directory 0: has 9223372036854775808 tags");
  CHECK(error_of(dir / "missing.tif").find("cannot open") != std::string::npos);
  CHECK(error_of(dir.path()).find("not a regular file") != std::string::npos);

  RawTiff loop;
  const std::uint32_t data = loop.add_data(std::string(768, 'x'));
  const std::uint32_t first = loop.add_directory(RawTiff::tile_tags(data));
  loop.add_directory(RawTiff::tile_tags(data));
  loop.set_link(first);
  loop.save(path);
  CHECK(error() == "directory 2: the chain of directories is a loop");

  RawTiff chain;
  for (int i = 0; i < 5000; ++i) chain.add_directory({{256, {1}}});
  chain.save(path);
  CHECK(error() == "directory 4096: more than 4096 directories");
}

TEST_CASE("counts are checked against the file before memory is taken") {
  const TempDir dir;
  const std::uint64_t before = microtome::os::peak_memory();
  // 2^24 tiles announced in a file of a kilobyte; four thousand million values of a tag.
  CHECK(error_with(dir, {{256, {1u << 20}}, {257, {1u << 20}}}).find("exceed the limit") !=
        std::string::npos);
  CHECK(error_with(dir, {{256, {65536}}, {257, {65536}}}) ==
        "directory 0: TileOffsets has 1 entries, 16777216 expected");
  RawTiff file;
  RawTiff::Tags tags = RawTiff::tile_tags(8);
  file.add_directory(tags);
  file.save(dir / "b.tif");
  std::string bytes = bytes_of(dir / "b.tif");
  const std::size_t entry = bytes.find(std::string("\x44\x01\x04\0", 4));  // TileOffsets
  REQUIRE(entry != std::string::npos);
  bytes.replace(entry + 4, 4, "\xff\xff\xff\xff");
  save(dir / "b.tif", bytes);
  CHECK(error_of(dir / "b.tif") != "");
  // A strip of 2 GB whose data would inflate to it.
  CHECK(error_with(dir, {{256, {30000}},
                         {257, {30000}},
                         {259, {8}},
                         {322, {}},
                         {323, {}},
                         {324, {}},
                         {325, {}},
                         {273, {8}},
                         {278, {30000}},
                         {279, {768}}}) ==
        "directory 0: strip size 30000 x 30000 exceeds the limit of 268435456 bytes decoded; convert the "
        "file to "
        "smaller tiles");
  CHECK(microtome::os::peak_memory() - before < std::uint64_t{64} << 20);
}

TEST_CASE("damaged text and resolution do not hide the pixels") {
  const TempDir dir;
  CHECK(error_with(dir, {{282, {0xffffffff}}, {305, {0xfffffff0}}, {270, {1, 2, 3}}}) == "");
}

TEST_CASE("every truncation of a file is an error or leaves the pixels as they are") {
  const TempDir dir;
  TiffSpec s;
  s.width = 40;
  s.height = 20;
  for (int codec : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_JPEG}) {
    s.compression = codec;
    write_tiff(dir / "a.tif", {s});
    const std::string whole = bytes_of(dir / "a.tif");
    int read = 0;
    for (std::size_t n = 0; n < whole.size(); n += 1 + n / 200) {
      save(dir / "b.tif", whole.substr(0, n));
      if (error_of(dir / "b.tif").empty()) ++read;
    }
    CHECK(read == 0);  // libtiff writes the directory last
  }
}

TEST_CASE("changed bytes: an error or pixels, nothing else") {
  const TempDir dir;
  std::uint32_t random = 12345;
  auto next = [&random] { return random = random * 1664525u + 1013904223u; };
  for (int codec :
       {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_JPEG, COMPRESSION_PACKBITS})
    for (const char* mode : {"w", "w8b"}) {
      TiffSpec s;
      s.width = 40;
      s.height = 20;
      s.compression = codec;
      TiffSpec level = s;
      level.width = 20;
      level.height = 10;
      level.subfile = 1;
      write_tiff(dir / "a.tif", {s, level}, mode);
      const std::string whole = bytes_of(dir / "a.tif");
      const double start = microtome::os::now();
      for (int i = 0; i < 300; ++i) {
        std::string bytes = whole;
        for (std::uint32_t k = 0; k <= next() % 4; ++k) {
          static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
          bytes[(next() >> 8) % bytes.size()] = static_cast<char>(values[(next() >> 16) % 5]);
        }
        save(dir / "b.tif", bytes);
        try {
          const auto slide = microtome::open_slide(dir / "b.tif");
          const auto reader = slide->open_reader(microtome::BadTile::fill);
          std::vector<std::uint8_t> rgb(64 * 64 * 3);
          for (std::size_t l = 0; l < slide->levels().size(); ++l)
            reader->read_level(static_cast<int>(l), 0, 0, 64, 64, rgb.data(), 192);
        } catch (const microtome::Error&) {
        }
      }
      CHECK(microtome::os::now() - start < 60.0);
    }
}

TEST_CASE("every file of the corpora is decoded or refused in time") {
  const std::string data = test_data();
  if (data.empty()) {
    MESSAGE("skipped: no test data");
    return;
  }
  int read = 0, refused = 0;
  for (const char* folder : {"tiff_malformed", "tiff_valid", "slides", "slides_derived"}) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(data + "/" + folder))
      files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) {
      CAPTURE(file);
      const double start = microtome::os::now();
      try {
        const auto slide = microtome::open_slide(file);
        const auto reader = slide->open_reader();
        for (std::size_t l = 0; l < slide->levels().size(); ++l) {
          const microtome::SlideLevel& level = slide->levels()[l];
          const std::int64_t width = std::min<std::int64_t>(level.width, 20000);
          std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width) * 64 * 3);
          for (std::int64_t y = 0; y < std::min<std::int64_t>(level.height, 20000); y += 64)
            reader->read_level(static_cast<int>(l), 0, y, width, 64, rgb.data(),
                               static_cast<std::size_t>(width) * 3);
        }
        ++read;
      } catch (const microtome::Error& e) {
        CHECK(std::string(e.what()).find(file) == 0);  // names the file, on one line
        CHECK(std::string(e.what()).find('\n') == std::string::npos);
        ++refused;
      }
      CHECK(microtome::os::now() - start < 20.0);
    }
  }
  MESSAGE(read << " files read, " << refused << " refused");
  CHECK(read > 50);
  CHECK(refused > 100);
}
