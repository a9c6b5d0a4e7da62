// Label masks as pyramidal BigTIFFs that OpenSlide 3.4 and 4, libvips, libtiff and QuPath-style readers open.
//
// Why it looks as it does: OpenSlide takes only directories with NewSubfileType 1 as levels (no SubIFDs),
// renders palette images in colour, and stumbles over zero-byte "sparse" tiles, so blank tiles all point to
// one stored blank tile. TIFF 6.0; Adobe Photoshop TIFF technical note for deflate (compression 8).
#pragma once
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../core/parallel.hpp"
#include "tiff_writer.hpp"

namespace microtome {

struct MaskPyramidOptions {
  std::int64_t width = 0, height = 0;               ///< pixels of level 0
  std::int64_t tile = 512;                          ///< tile side, pixels, a multiple of 16
  double mpp_x = 0.0, mpp_y = 0.0;                  ///< um per level-0 pixel; 0: unknown, no resolution tags
  std::vector<std::array<std::uint8_t, 3>> colors;  ///< RGB of label 0, 1 ...; labels beyond them are black
  std::string description;                          ///< ImageDescription: ASCII, JSON or plain text
  std::string software;                             ///< e.g. "microtome 0.1.0"
};

/// Writes a mask of 8-bit labels. Tiles of level 0 arrive in any order and from any thread; the file's bytes
/// depend on the labels alone. Memory: 16 bytes per tile and a few tiles per thread, whatever the canvas.
///
/// Tiles are compressed into a nameless spool file beside the target; finish() adds the coarser levels
/// (factor 2, pixel (x, y) of a level is pixel (2x, 2y) of the finer one: labels must not be averaged) until
/// both sides are at most 512, then copies everything to the final file level by level, row by row.
class MaskPyramidWriter {
 public:
  /// Throws UsageError on impossible options, ResourceError when the folder is not writable.
  MaskPyramidWriter(const std::string& path, MaskPyramidOptions options)
      : path_(path), opt_(std::move(options)) {
    if (opt_.width < 1 || opt_.height < 1 || opt_.width > kMaxSide || opt_.height > kMaxSide)
      throw UsageError("mask size", "must be 1 to 2^30 pixels");
    if (opt_.tile < 16 || opt_.tile > 4096 || opt_.tile % 16 != 0)
      throw UsageError("mask tile", "must be a multiple of 16, at most 4096");
    for (const double mpp : {opt_.mpp_x, opt_.mpp_y})
      if (mpp != 0.0 && !(mpp > 1e-4 && mpp < 1e4))
        throw UsageError("mask mpp", "must be 0 or 1e-4 to 1e4 um/px");
    if (opt_.colors.size() > 256) throw UsageError("mask colours", "at most 256");
    for (std::int64_t w = opt_.width, h = opt_.height;; w = (w + 1) / 2, h = (h + 1) / 2) {
      Level l;
      l.width = w;
      l.height = h;
      l.across = (w + opt_.tile - 1) / opt_.tile;
      l.down = (h + opt_.tile - 1) / opt_.tile;
      l.tiles.resize(static_cast<std::size_t>(l.across * l.down));
      levels_.push_back(std::move(l));
      if (w <= kTop && h <= kTop) break;
    }
    spool_ = os::File(os::part_path(path), os::File::Mode::temporary);
  }

  std::int64_t width() const { return opt_.width; }
  std::int64_t height() const { return opt_.height; }
  std::int64_t tile() const { return opt_.tile; }
  std::int64_t tiles_across() const { return levels_[0].across; }
  std::int64_t tiles_down() const { return levels_[0].down; }
  int levels() const { return static_cast<int>(levels_.size()); }

  /// Stores tile (tx, ty) of level 0: tile*tile labels, row-major, 0 outside the canvas. Each tile at most
  /// once; those never written are label 0. Safe to call from several threads. Throws ResourceError.
  void write_tile(std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
    if (tx < 0 || ty < 0 || tx >= levels_[0].across || ty >= levels_[0].down)
      throw UsageError("mask tile", "outside the canvas");
    store(levels_[0], tx, ty, labels);
  }

  /// Completes the file and gives it its name. Call once, after all tiles. Throws ResourceError.
  void finish(Executor* executor = nullptr) {
    DefaultExecutor serial(1);
    Executor& ex = executor ? *executor : serial;
    for (std::size_t k = 1; k < levels_.size(); ++k)
      parallel_for(ex, static_cast<int>(levels_[k].down), [&](int ty, int) { reduce_row(k, ty); });

    TiffWriter out(path_);
    std::array<TileRef, 256> uniform{};
    std::vector<std::uint8_t> buffer;
    std::vector<TiffDirectory> directories;
    for (std::size_t k = 0; k < levels_.size(); ++k) {
      TiffDirectory d = describe(k);
      d.tiles = std::move(levels_[k].tiles);
      for (TileRef& t : d.tiles) {
        if (t.bytes == 0) {
          TileRef& u = uniform[static_cast<std::size_t>(t.offset)];
          if (u.bytes == 0) {
            buffer.assign(tile_pixels(), static_cast<std::uint8_t>(t.offset));
            const std::vector<std::uint8_t> z = deflate(buffer.data());
            u = out.append(z.data(), z.size());
          }
          t = u;
        } else {
          buffer.resize(t.bytes);
          spool_.read(t.offset, buffer.data(), t.bytes);
          t = out.append(buffer.data(), t.bytes);
        }
      }
      directories.push_back(std::move(d));
    }
    out.finish(directories);
  }

 private:
  static constexpr std::int64_t kTop = 512;  // the coarsest level is at most this wide and high
  static constexpr std::int64_t kMaxSide = std::int64_t{1} << 30;

  struct Level {
    std::int64_t width = 0, height = 0, across = 0, down = 0;
    // In the spool file; a tile of one label v is not stored but noted as {v, 0 bytes}.
    std::vector<TileRef> tiles;
  };

  std::size_t tile_pixels() const { return static_cast<std::size_t>(opt_.tile * opt_.tile); }

  std::vector<std::uint8_t> deflate(const std::uint8_t* labels) const {
    uLongf n = compressBound(static_cast<uLong>(tile_pixels()));
    std::vector<std::uint8_t> z(n);
    if (compress2(z.data(), &n, labels, static_cast<uLong>(tile_pixels()), 6) != Z_OK)
      throw ResourceError(path_, "", "no memory to compress a tile");
    z.resize(n);
    return z;
  }

  void store(Level& level, std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
    TileRef& ref = level.tiles[static_cast<std::size_t>(ty * level.across + tx)];
    if (std::memcmp(labels, labels + 1, tile_pixels() - 1) == 0) {  // every pixel equals its neighbour
      ref = {labels[0], 0};
      return;
    }
    const std::vector<std::uint8_t> z = deflate(labels);
    const std::uint64_t at = spool_end_.fetch_add(z.size());
    spool_.write(at, z.data(), z.size());
    ref = {at, static_cast<std::uint32_t>(z.size())};
  }

  void load(const TileRef& ref, std::vector<std::uint8_t>& z, std::uint8_t* labels) {
    z.resize(ref.bytes);
    spool_.read(ref.offset, z.data(), z.size());
    uLongf n = static_cast<uLongf>(tile_pixels());
    if (uncompress(labels, &n, z.data(), static_cast<uLong>(z.size())) != Z_OK || n != tile_pixels())
      throw ResourceError(spool_.path(), "", "the spool file changed while it was in use");
  }

  void reduce_row(std::size_t k, std::int64_t ty) {
    const std::int64_t t = opt_.tile, half = t / 2;
    std::vector<std::uint8_t> out(tile_pixels()), in(tile_pixels()), z;
    for (std::int64_t tx = 0; tx < levels_[k].across; ++tx) {
      std::fill(out.begin(), out.end(), std::uint8_t{0});
      bool blank = true;
      for (int child = 0; child < 4; ++child) {
        const std::int64_t cx = 2 * tx + child % 2, cy = 2 * ty + child / 2;
        const Level& fine = levels_[k - 1];
        if (cx >= fine.across || cy >= fine.down) continue;
        const TileRef& ref = fine.tiles[static_cast<std::size_t>(cy * fine.across + cx)];
        if (ref.bytes == 0 && ref.offset == 0) continue;
        blank = false;
        if (ref.bytes != 0)
          load(ref, z, in.data());
        else
          std::fill(in.begin(), in.end(), static_cast<std::uint8_t>(ref.offset));
        for (std::int64_t y = 0; y < half; ++y) {
          std::uint8_t* to = out.data() + (y + (child / 2) * half) * t + (child % 2) * half;
          const std::uint8_t* from = in.data() + 2 * y * t;
          for (std::int64_t x = 0; x < half; ++x) to[x] = from[2 * x];
        }
      }
      if (!blank) store(levels_[k], tx, ty, out.data());
    }
  }

  TiffDirectory describe(std::size_t k) const {
    const Level& l = levels_[k];
    TiffDirectory d;
    d.add_long(254, k == 0 ? 0 : 1);  // NewSubfileType: reduced resolution
    d.add_long(256, static_cast<std::uint32_t>(l.width));
    d.add_long(257, static_cast<std::uint32_t>(l.height));
    d.add_short(258, {8});  // BitsPerSample
    d.add_short(259, {8});  // Compression: deflate
    d.add_short(262, {3});  // PhotometricInterpretation: palette
    if (k == 0 && !opt_.description.empty()) d.add_ascii(270, opt_.description);
    d.add_short(277, {1});  // SamplesPerPixel
    const bool known = opt_.mpp_x > 0.0 && opt_.mpp_y > 0.0;
    if (known) {  // pixels per centimetre
      d.add_rational(282, std::ldexp(1e4 / opt_.mpp_x, -static_cast<int>(k)));
      d.add_rational(283, std::ldexp(1e4 / opt_.mpp_y, -static_cast<int>(k)));
    }
    d.add_short(284, {1});  // PlanarConfiguration
    if (known) d.add_short(296, {3});
    if (!opt_.software.empty()) d.add_ascii(305, opt_.software);
    std::vector<std::uint16_t> map(768, 0);  // 256 reds, greens, blues, 16 bits each
    for (std::size_t i = 0; i < opt_.colors.size(); ++i)
      for (std::size_t c = 0; c < 3; ++c)
        map[256 * c + i] = static_cast<std::uint16_t>(257 * opt_.colors[i][c]);
    d.add_short(320, map);
    d.add_long(322, static_cast<std::uint32_t>(opt_.tile));
    d.add_long(323, static_cast<std::uint32_t>(opt_.tile));
    return d;
  }

  std::string path_;
  MaskPyramidOptions opt_;
  std::vector<Level> levels_;
  os::File spool_;
  std::atomic<std::uint64_t> spool_end_{0};
};

/// `{"class_names": [...]}`: a description from which `evaluate` learns the names of the labels.
inline std::string describe_classes(const std::vector<std::string>& names) {
  std::string s = "{\"class_names\": [";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i) s += ", ";
    s += '"';
    for (const char c : names[i]) {
      const auto u = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') s += '\\';
      s += u < 0x20 || u > 0x7e ? '?' : c;  // TIFF text is 7-bit ASCII
    }
    s += '"';
  }
  return s + "]}";
}

}  // namespace microtome
