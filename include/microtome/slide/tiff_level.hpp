// One directory of a TIFF as a pyramid level: what its pixels are, where its tiles lie, and whether this
// reader can decode them.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tiff_file.hpp"

namespace microtome::tiff {

constexpr std::uint64_t kMaxSide = 0x7fffffff;                   ///< pixels, per axis
constexpr std::uint64_t kMaxArea = std::uint64_t{1} << 42;       ///< pixels per level
constexpr std::uint64_t kMaxTileSide = 8192;                     ///< pixels
constexpr std::uint64_t kMaxTileBytes = std::uint64_t{1} << 28;  ///< of a decoded tile or strip
constexpr std::uint64_t kMaxTiles = std::uint64_t{1} << 24;      ///< per level

enum class Color { grey, grey_inverted, rgb, palette, ycbcr };
enum class Alpha { none, associated, unassociated };

/// An immutable description of one level. A "tile" is a tile or a strip.
struct TiffLevel {
  std::string name;             ///< of the directory, for errors
  std::string unsupported;      ///< why it cannot be decoded, or empty
  std::uint64_t directory = 0;  ///< offset of the directory in the file
  std::int64_t width = 0, height = 0;
  std::uint32_t tile_width = 0, tile_height = 0;
  bool tiled = false;
  bool raw = false;     ///< bytes in the file are the samples: read without libtiff
  bool planar = false;  ///< one tile per sample and place instead of interleaved samples
  std::uint32_t compression = 1, bits = 8, samples = 1;
  std::uint16_t photometric = 1;
  Color color = Color::grey;
  Alpha alpha = Alpha::none;
  std::vector<std::uint8_t> palette;       ///< [256][3]
  std::vector<std::uint64_t> offsets;      ///< per tile, planes one after the other; 0: absent
  std::vector<std::uint64_t> byte_counts;  ///< per tile; 0: absent

  std::int64_t across() const { return (width + tile_width - 1) / tile_width; }
  std::int64_t down() const { return (height + tile_height - 1) / tile_height; }
  std::int64_t tiles() const { return across() * down(); }
  int planes() const { return planar ? static_cast<int>(samples) : 1; }
  /// Rows stored for tile `index`: the last strip is shorter, tiles are always whole.
  std::int64_t rows(std::int64_t index) const {
    const std::int64_t left = height - index / across() * tile_height;
    return tiled || left > tile_height ? tile_height : left;
  }
  /// Bytes of one plane of a decoded tile of that many rows.
  std::uint64_t plane_bytes(std::int64_t row_count) const {
    return std::uint64_t{tile_width} * static_cast<std::uint64_t>(row_count) * (bits / 8) *
           (planar ? 1 : samples);
  }
};

struct Codec {
  std::uint32_t number;
  const char* name;
  bool supported;
};

/// TIFF compressions by number; `supported` = this reader decodes it when libtiff has the codec.
inline const Codec* find_codec(std::uint32_t number) {
  static constexpr Codec codecs[] = {
      {1, "none", true},
      {2, "CCITT RLE", false},
      {3, "CCITT Group 3", false},
      {4, "CCITT Group 4", false},
      {5, "lzw", true},
      {6, "old-style JPEG", false},
      {7, "jpeg", true},
      {8, "deflate", true},
      {32773, "packbits", true},
      {32809, "ThunderScan", false},
      {32946, "deflate", true},
      {33003, "Aperio JPEG 2000, YCbCr", false},
      {33005, "Aperio JPEG 2000, RGB", false},
      {34661, "JBIG", false},
      {34676, "SGI LogLuv", false},
      {34712, "JPEG 2000", false},
      {34887, "LERC", false},
      {34925, "lzma", true},
      {50000, "zstd", true},
      {50001, "webp", true},
      {50002, "JPEG XL", false},
      {52546, "JPEG XL", false},
  };
  for (const Codec& c : codecs)
    if (c.number == number) return &c;
  return nullptr;
}

/// The tags that say what the pixels are. What is merely unsupported is written to `unsupported`, the first
/// reason wins; what is damaged throws InputError.
inline TiffLevel read_fields(const TiffFile& f, const Directory& d) {
  TiffLevel v;
  v.name = d.name;
  v.directory = d.offset;
  auto refuse = [&](const std::string& why) {
    if (v.unsupported.empty()) v.unsupported = why;
  };

  const std::uint64_t width = f.required(d, kImageWidth), height = f.required(d, kImageLength);
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide || width * height > kMaxArea)
    f.fail(d.name, "impossible image size " + std::to_string(width) + " x " + std::to_string(height));
  v.width = static_cast<std::int64_t>(width);
  v.height = static_cast<std::int64_t>(height);

  const std::uint64_t compression = f.number(d, kCompression, 1);
  v.compression = static_cast<std::uint32_t>(compression < 0xffffffff ? compression : 0xffffffff);
  const Codec* codec = find_codec(v.compression);
  if (!codec || !codec->supported)
    refuse("Compression " + std::to_string(compression) +
           (codec ? std::string(" (") + codec->name + ")" : "") + " is not supported");

  const std::uint64_t samples = f.number(d, kSamplesPerPixel, 1);
  if (samples < 1 || samples > 64)
    f.fail(d.name, "SamplesPerPixel is " + std::to_string(samples) + ", 1 to 64 expected");
  v.samples = static_cast<std::uint32_t>(samples);

  std::vector<std::uint64_t> bits = f.numbers(d, kBitsPerSample, samples);
  if (bits.empty()) bits.push_back(1);
  if (bits.size() != 1 && bits.size() != samples)
    f.fail(d.name, "BitsPerSample has " + std::to_string(bits.size()) + " entries, " +
                       std::to_string(samples) + " expected");
  for (std::uint64_t b : bits)
    if (b != bits[0]) refuse("samples of different depth are not supported");
  if (bits[0] != 8 && bits[0] != 16)
    refuse("BitsPerSample " + std::to_string(bits[0]) + " is not supported (8 and 16 are)");
  v.bits = bits[0] == 16 ? 16 : 8;
  for (std::uint64_t s : f.numbers(d, kSampleFormat, samples))
    if (s != 1) refuse("SampleFormat " + std::to_string(s) + " is not supported (unsigned integers are)");

  const std::uint64_t planar = f.number(d, kPlanarConfiguration, 1);
  if (planar != 1 && planar != 2) f.fail(d.name, "PlanarConfiguration is " + std::to_string(planar));
  v.planar = planar == 2 && samples > 1;
  const std::uint64_t orientation = f.number(d, kOrientation, 1);
  if (orientation != 1) refuse("Orientation " + std::to_string(orientation) + " is not supported");

  const std::uint64_t photometric = f.required(d, kPhotometric);
  v.photometric = static_cast<std::uint16_t>(photometric);
  std::uint64_t colors = 1;
  switch (photometric) {
    case 0:
      v.color = Color::grey_inverted;
      break;
    case 1:
      v.color = Color::grey;
      break;
    case 2:
      v.color = Color::rgb;
      colors = 3;
      break;
    case 3:
      v.color = Color::palette;
      break;
    case 6:
      v.color = Color::ycbcr;
      colors = 3;
      break;
    default:
      refuse("PhotometricInterpretation " + std::to_string(photometric) + " is not supported");
  }
  if (samples < colors)
    f.fail(d.name,
           "SamplesPerPixel is " + std::to_string(samples) + ", " + std::to_string(colors) + " expected");
  if (v.color == Color::ycbcr && (v.compression != 7 || v.planar || samples != 3))
    refuse("YCbCr pixels are supported in interleaved JPEG only");
  if (v.compression == 7 && v.bits != 8)
    refuse("JPEG of " + std::to_string(v.bits) + " bits is not supported");
  if (v.color == Color::palette && (v.bits != 8 || samples != 1)) refuse("only 8-bit palettes are supported");

  // Only the first extra sample can be alpha. Channels without a meaning beside grey are separate stains.
  const std::vector<std::uint64_t> extra = f.numbers(d, kExtraSamples, 1);
  if (samples > colors && !extra.empty() && extra[0] == 1) v.alpha = Alpha::associated;
  if (samples > colors && !extra.empty() && extra[0] == 2) v.alpha = Alpha::unassociated;
  if (colors == 1 && samples > 1 && (samples > 2 || v.alpha == Alpha::none))
    refuse(std::to_string(samples) + " channels that are neither grey nor RGB are not supported");

  if (v.color == Color::palette && v.unsupported.empty()) {
    const std::vector<std::uint64_t> map = f.numbers(d, kColorMap, 768);
    if (map.size() != 768)
      f.fail(d.name, "ColorMap has " + std::to_string(map.size()) + " entries, 768 expected");
    bool wide = false;  // Some writers store 8-bit values in the 16-bit map.
    for (std::uint64_t c : map) wide = wide || c > 255;
    v.palette.resize(768);
    for (std::size_t i = 0; i < 768; ++i)
      v.palette[i % 256 * 3 + i / 256] = static_cast<std::uint8_t>(wide ? map[i] >> 8 : map[i]);
  }

  const std::uint64_t fill_order = f.number(d, kFillOrder, 1);
  v.raw = v.compression == 1 && fill_order == 1;
  v.tiled = d.has(kTileWidth) || d.has(kTileLength);
  if (v.tiled) {
    const std::uint64_t tw = f.required(d, kTileWidth), th = f.required(d, kTileLength);
    if (tw < 1 || th < 1 || tw > kMaxTileSide || th > kMaxTileSide)
      f.fail(d.name, "tiles of " + std::to_string(tw) + " x " + std::to_string(th) + " pixels, 1 to " +
                         std::to_string(kMaxTileSide) + " per side expected");
    v.tile_width = static_cast<std::uint32_t>(tw);
    v.tile_height = static_cast<std::uint32_t>(th);
  } else {
    const std::uint64_t rows = f.number(d, kRowsPerStrip, height);
    if (rows < 1) f.fail(d.name, "RowsPerStrip is 0");
    v.tile_width = static_cast<std::uint32_t>(width);
    v.tile_height = static_cast<std::uint32_t>(rows < height ? rows : height);
  }
  return v;
}

// One uncompressed strip for the whole image is what simple writers produce, gigabytes at times. It is cut
// into strips of about a megabyte, so that a small region costs little to read.
inline void chop_single_strip(TiffLevel& v) {
  const std::uint64_t row = v.plane_bytes(1), megabyte = std::uint64_t{1} << 20;
  const std::uint64_t rows = row >= megabyte ? 1 : megabyte / row;
  if (!v.raw || v.tiled || v.tiles() != 1 || rows >= v.tile_height) return;
  const std::vector<std::uint64_t> starts = std::move(v.offsets);
  v.tile_height = static_cast<std::uint32_t>(rows);
  v.offsets.clear();
  v.byte_counts.clear();
  for (std::uint64_t start : starts)
    for (std::int64_t i = 0; i < v.down(); ++i) {
      v.offsets.push_back(start == 0 ? 0 : start + static_cast<std::uint64_t>(i) * rows * row);
      v.byte_counts.push_back(start == 0 ? 0 : v.plane_bytes(v.rows(i)));
    }
}

/// Reads and checks the places of all tiles. Throws InputError: every present tile lies inside the file and
/// has a size that its pixels can need, so that decoding a level costs time in proportion to its pixels.
inline void read_tiles(const TiffFile& f, const Directory& d, TiffLevel& v) {
  const std::uint64_t per_plane = static_cast<std::uint64_t>(v.tiles());
  const std::uint64_t expected = per_plane * static_cast<std::uint64_t>(v.planes());
  if (expected > kMaxTiles)
    f.fail(d.name, std::to_string(expected) + " tiles exceed the limit of " + std::to_string(kMaxTiles));
  auto load = [&](Tag tag) {
    const Entry* e = d.find(tag);
    if (!e) f.fail(d.name, std::string(tag_name(tag)) + " is missing");
    if (e->count < expected)
      f.fail(d.name, std::string(tag_name(tag)) + " has " + std::to_string(e->count) + " entries, " +
                         std::to_string(expected) + " expected");
    return f.numbers(d, tag, expected);
  };
  // Some old writers store the places of tiles under the tags of strips.
  const bool tile_tags = v.tiled && (d.has(kTileOffsets) || !d.has(kStripOffsets));
  v.offsets = load(tile_tags ? kTileOffsets : kStripOffsets);
  v.byte_counts = load(tile_tags ? kTileByteCounts : kStripByteCounts);

  const std::string kind = v.tiled ? "tile " : "strip ";
  for (std::size_t i = 0; i < v.offsets.size(); ++i) {
    std::uint64_t &offset = v.offsets[i], &bytes = v.byte_counts[i];
    if (offset == 0 || bytes == 0) {  // absent: never written, or a gap the encoder left
      offset = bytes = 0;
      continue;
    }
    if (offset > f.size() || bytes > f.size() - offset)
      f.fail(d.name, kind + std::to_string(i) + ": " + std::to_string(bytes) + " bytes at offset " +
                         std::to_string(offset) + " lie outside the file");
    const std::uint64_t pixels = v.plane_bytes(v.rows(static_cast<std::int64_t>(i % per_plane)));
    // No codec here needs four times the bytes of its pixels; more would only be read, never decoded.
    if (v.raw ? bytes < pixels : bytes > 4 * pixels + 65536)
      f.fail(d.name, kind + std::to_string(i) + " has " + std::to_string(bytes) + " bytes, its pixels are " +
                         std::to_string(pixels));
    if (v.raw) bytes = pixels;
  }
  chop_single_strip(v);
  const std::uint64_t stored = v.plane_bytes(v.tile_height) * static_cast<std::uint64_t>(v.planes());
  const std::uint64_t as_rgb = std::uint64_t{v.tile_width} * v.tile_height * 3;
  if (stored > kMaxTileBytes || as_rgb > kMaxTileBytes)
    f.fail(d.name, kind + "size " + std::to_string(v.tile_width) + " x " + std::to_string(v.tile_height) +
                       " exceeds the limit of " + std::to_string(kMaxTileBytes) +
                       " bytes decoded; convert the file to smaller tiles");
}

}  // namespace microtome::tiff
