// Writes small TIFFs for the tests of the reader: valid ones through libtiff, odd and damaged ones by hand.
#pragma once
#include <doctest.h>
#include <tiffio.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "microtome/slide/registry.hpp"
#include "test_data.hpp"

namespace microtome_test {

/// One directory to write; the pixels are sample(x, y, channel).
struct TiffSpec {
  std::int64_t width = 70, height = 50;
  std::uint32_t tile_width = 32, tile_height = 16;  ///< tile_width 0: strips of tile_height rows
  int bits = 8, samples = 3, photometric = PHOTOMETRIC_RGB, compression = COMPRESSION_NONE;
  int predictor = 0, orientation = 0;
  bool planar = false;
  int extra = -1;  ///< ExtraSamples of the last channel
  std::uint32_t subfile = 0;
  std::string description;
  float x_resolution = 0.0f;
  int resolution_unit = 0;
  std::vector<std::uint32_t> missing;  ///< tiles not written
  std::uint32_t seed = 0;
  bool smooth = false;  ///< for lossy codecs
  std::vector<std::uint64_t> sub_ifds;
};

/// The stored value of one sample, full range of its depth.
inline std::uint32_t sample(const TiffSpec& s, std::int64_t x, std::int64_t y, int c) {
  if (s.smooth) return static_cast<std::uint32_t>((c == 0 ? 2 * x : c == 1 ? 3 * y : 200 - x - y) & 0xff);
  std::uint32_t v =
      static_cast<std::uint32_t>(x * 73856093 + y * 19349663 + c * 83492791) + s.seed * 2654435761u;
  v ^= v >> 15;
  v *= 2246822519u;
  v ^= v >> 13;
  return s.bits == 16 ? v & 0xffff : v & 0xff;
}

inline void write_directory(TIFF* t, const TiffSpec& s) {
  TIFFSetField(t, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(s.width));
  TIFFSetField(t, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(s.height));
  TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, s.bits);
  TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, s.samples);
  TIFFSetField(t, TIFFTAG_PHOTOMETRIC, s.photometric);
  TIFFSetField(t, TIFFTAG_COMPRESSION, s.compression);
  TIFFSetField(t, TIFFTAG_PLANARCONFIG, s.planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  if (s.subfile) TIFFSetField(t, TIFFTAG_SUBFILETYPE, s.subfile);
  if (s.predictor) TIFFSetField(t, TIFFTAG_PREDICTOR, s.predictor);
  if (s.orientation) TIFFSetField(t, TIFFTAG_ORIENTATION, s.orientation);
  if (!s.description.empty()) TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, s.description.c_str());
  if (s.x_resolution > 0.0f) {
    TIFFSetField(t, TIFFTAG_XRESOLUTION, static_cast<double>(s.x_resolution));
    TIFFSetField(t, TIFFTAG_YRESOLUTION, static_cast<double>(s.x_resolution));
  }
  if (s.resolution_unit) TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, s.resolution_unit);
  if (s.extra >= 0) {
    const std::uint16_t extra = static_cast<std::uint16_t>(s.extra);
    TIFFSetField(t, TIFFTAG_EXTRASAMPLES, 1, &extra);
  }
  if (!s.sub_ifds.empty())
    TIFFSetField(t, TIFFTAG_SUBIFD, static_cast<std::uint16_t>(s.sub_ifds.size()), s.sub_ifds.data());
  if (s.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  if (s.compression == COMPRESSION_JPEG) TIFFSetField(t, TIFFTAG_JPEGQUALITY, 98);
  if (s.photometric == PHOTOMETRIC_PALETTE) {
    std::uint16_t map[3][256];
    for (int i = 0; i < 256; ++i) {
      map[0][i] = static_cast<std::uint16_t>(i * 257);
      map[1][i] = static_cast<std::uint16_t>((255 - i) * 257);
      map[2][i] = static_cast<std::uint16_t>((i ^ 0x55) * 257);
    }
    TIFFSetField(t, TIFFTAG_COLORMAP, map[0], map[1], map[2]);
  }
  const bool tiled = s.tile_width != 0;
  const std::int64_t tw = tiled ? s.tile_width : s.width, th = s.tile_height;
  if (tiled) {
    TIFFSetField(t, TIFFTAG_TILEWIDTH, s.tile_width);
    TIFFSetField(t, TIFFTAG_TILELENGTH, s.tile_height);
  } else {
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, s.tile_height);
  }
  const std::int64_t across = (s.width + tw - 1) / tw, down = (s.height + th - 1) / th;
  std::uint32_t index = 0;
  for (int plane = 0; plane < (s.planar ? s.samples : 1); ++plane)
    for (std::int64_t ty = 0; ty < down; ++ty)
      for (std::int64_t tx = 0; tx < across; ++tx, ++index) {
        bool skip = false;
        for (std::uint32_t m : s.missing) skip = skip || m == index;
        if (skip) continue;
        const std::int64_t rows = tiled ? th : std::min(th, s.height - ty * th);
        std::vector<std::uint8_t> data;
        for (std::int64_t y = ty * th; y < ty * th + rows; ++y)
          for (std::int64_t x = tx * tw; x < tx * tw + tw; ++x)
            for (int c = s.planar ? plane : 0; c < (s.planar ? plane + 1 : s.samples); ++c) {
              const std::uint32_t v = sample(s, x, y, c);
              data.push_back(static_cast<std::uint8_t>(v));  // host order: little-endian machines
              if (s.bits == 16) data.push_back(static_cast<std::uint8_t>(v >> 8));
            }
        const auto n = static_cast<tmsize_t>(data.size());
        if (tiled)
          REQUIRE(TIFFWriteEncodedTile(t, index, data.data(), n) == n);
        else
          REQUIRE(TIFFWriteEncodedStrip(t, index, data.data(), n) == n);
      }
  REQUIRE(TIFFWriteDirectory(t) == 1);
}

/// Writes the directories in order. Modes of libtiff: "w" classic, "w8" BigTIFF, "wb" big-endian.
inline void write_tiff(const std::string& path, const std::vector<TiffSpec>& directories,
                       const char* mode = "w") {
  TIFF* t = TIFFOpen(path.c_str(), mode);
  REQUIRE(t != nullptr);
  for (const TiffSpec& s : directories) write_directory(t, s);
  TIFFClose(t);
}

/// The RGB value a reader must return for a pixel of `s`.
inline void expected_rgb(const TiffSpec& s, std::int64_t x, std::int64_t y, std::uint8_t* rgb) {
  const std::int64_t tw = s.tile_width ? s.tile_width : s.width;
  const std::int64_t tile = y / s.tile_height * ((s.width + tw - 1) / tw) + x / tw;
  for (std::uint32_t m : s.missing)
    if (m == tile) {
      rgb[0] = rgb[1] = rgb[2] = 255;
      return;
    }
  int v[4] = {};
  for (int c = 0; c < s.samples && c < 4; ++c) {
    const std::uint32_t stored = sample(s, x, y, c);
    v[c] = static_cast<int>(s.bits == 16 ? (stored + 128) / 257 : stored);
  }
  const bool color = s.photometric == PHOTOMETRIC_RGB || s.photometric == PHOTOMETRIC_YCBCR;
  for (int c = 0; c < 3; ++c) {
    int value = color ? v[c] : v[0];
    if (s.photometric == PHOTOMETRIC_MINISWHITE) value = 255 - value;
    if (s.photometric == PHOTOMETRIC_PALETTE) value = c == 0 ? v[0] : c == 1 ? 255 - v[0] : v[0] ^ 0x55;
    const int alpha = v[color ? 3 : 1];
    if (s.extra == EXTRASAMPLE_UNASSALPHA) value = (value * alpha + 127) / 255 + 255 - alpha;
    if (s.extra == EXTRASAMPLE_ASSOCALPHA) value = std::min(255, value + 255 - alpha);
    rgb[c] = static_cast<std::uint8_t>(value);
  }
}

/// Reads a rectangle and returns the largest difference to what `s` says; outside it must be white.
inline int worst_difference(microtome::SlideReader& reader, int level, const TiffSpec& s, std::int64_t x0,
                            std::int64_t y0, std::int64_t w, std::int64_t h) {
  const std::size_t stride = static_cast<std::size_t>(w) * 3 + 7;
  std::vector<std::uint8_t> rgb(stride * static_cast<std::size_t>(h), 99);
  reader.read_level(level, x0, y0, w, h, rgb.data(), stride);
  int worst = 0;
  for (std::int64_t y = 0; y < h; ++y) {
    const std::uint8_t* row = rgb.data() + static_cast<std::size_t>(y) * stride;
    for (std::int64_t x = 0; x < w; ++x) {
      std::uint8_t expected[3] = {255, 255, 255};
      const std::int64_t sx = x0 + x, sy = y0 + y;
      if (sx >= 0 && sy >= 0 && sx < s.width && sy < s.height) expected_rgb(s, sx, sy, expected);
      for (int c = 0; c < 3; ++c) worst = std::max(worst, std::abs(row[3 * x + c] - expected[c]));
    }
    for (std::size_t i = static_cast<std::size_t>(w) * 3; i < stride; ++i)
      if (row[i] != 99) worst = 1000;  // wrote into the padding
  }
  return worst;
}

/// The same over the whole level, and over rectangles that straddle tiles and edges.
inline int worst_difference(const microtome::Slide& slide, int level, const TiffSpec& s) {
  const auto reader = slide.open_reader();
  int worst = worst_difference(*reader, level, s, 0, 0, s.width, s.height);
  worst = std::max(worst, worst_difference(*reader, level, s, -5, -3, s.width + 11, s.height + 9));
  worst = std::max(worst, worst_difference(*reader, level, s, 17, 9, 33, 21));
  worst = std::max(worst, worst_difference(*reader, level, s, s.width - 1, s.height - 1, 1, 1));
  return worst;
}

/// A little-endian TIFF put together by hand: values may contradict the data, the file and each other.
class RawTiff {
 public:
  using Tags = std::vector<std::pair<std::uint16_t, std::vector<std::uint32_t>>>;

  /// An 8-bit RGB image of one 16 x 16 tile, uncompressed, whose data lie at `offset`.
  static Tags tile_tags(std::uint32_t offset) {
    return {{256, {16}}, {257, {16}}, {258, {8, 8, 8}}, {259, {1}},      {262, {2}},
            {277, {3}},  {322, {16}}, {323, {16}},      {324, {offset}}, {325, {768}}};
  }

  RawTiff() : bytes_("II*\0\0\0\0\0", 8), link_(4) {}

  std::uint32_t size() const { return static_cast<std::uint32_t>(bytes_.size()); }
  std::uint32_t add_data(const std::string& data) {
    const std::uint32_t at = size();
    bytes_ += data;
    return at;
  }
  /// Appends a directory of LONG values and links it to the one before; returns its offset.
  std::uint32_t add_directory(const Tags& tags) {
    std::string table;
    for (const auto& [tag, values] : tags) {
      std::uint32_t field = values.empty() ? 0 : values[0];
      if (values.size() > 1) {
        field = size();
        for (std::uint32_t v : values) put(bytes_, v, 4);
      }
      put(table, tag, 2);
      put(table, 4, 2);
      put(table, static_cast<std::uint32_t>(values.size()), 4);
      put(table, field, 4);
    }
    const std::uint32_t at = size();
    set_link(at);
    put(bytes_, static_cast<std::uint32_t>(tags.size()), 2);
    bytes_ += table;
    link_ = size();
    put(bytes_, 0, 4);
    return at;
  }
  /// Where the last directory says the next one is.
  void set_link(std::uint32_t at) {
    std::string word;
    put(word, at, 4);
    bytes_.replace(link_, 4, word);
  }
  void save(const std::string& path) const {
    std::ofstream(path, std::ios::binary).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  }

 private:
  static void put(std::string& to, std::uint32_t v, int n) {
    for (int i = 0; i < n; ++i) to += static_cast<char>(v >> (8 * i));
  }
  std::string bytes_;
  std::size_t link_;
};

/// What opening and reading `path` throws, "" when it succeeds.
inline std::string error_of(const std::string& path) {
  try {
    const auto slide = microtome::open_slide(path);
    const auto reader = slide->open_reader();
    for (std::size_t i = 0; i < slide->levels().size(); ++i) {
      const microtome::SlideLevel& level = slide->levels()[i];
      std::vector<std::uint8_t> rgb(static_cast<std::size_t>(level.width * level.height * 3));
      reader->read_level(static_cast<int>(i), 0, 0, level.width, level.height, rgb.data(),
                         static_cast<std::size_t>(level.width) * 3);
    }
  } catch (const microtome::Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace microtome_test
