// TIFF slides: generic pyramids and flat images, tiled or in strips, Aperio SVS and OME-TIFF pyramids.
//
// Which directories are levels: the first one, and every tiled directory that is marked as a reduced version
// of it (NewSubfileType bit 0; in Aperio files every tiled one, since there only label and macro carry that
// mark; in OME-TIFF those in SubIFDs) and has its shape. Thumbnails, labels and macro images are never read.
#pragma once
#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "slide.hpp"
#include "tiff_decoder.hpp"
#include "tiff_file.hpp"
#include "tiff_level.hpp"
#include "tiff_pixel_size.hpp"
#include "tile_cache.hpp"

namespace microtome {
namespace tiff {

/// The name of a vendor format that is a TIFF but whose pixels cannot be had by TIFF's rules alone (stitched
/// or overlapping tiles, padded levels, 64-bit offsets in a classic file), or "".
inline std::string foreign_format(const TiffFile& f, const std::string& description) {
  const Directory& d = f.directories().front();
  auto says = [](const std::string& text, const char* word) { return text.find(word) != std::string::npos; };
  if (d.has(kNdpiFormat)) return "Hamamatsu NDPI";
  if (says(description, "DPUfsImport")) return "Philips TIFF";
  if (says(description, "leica-microsystems.com/scn")) return "Leica SCN";
  if (says(f.text(d, kXmlPacket, 65536), "iScan")) return "Ventana BIF";
  if (f.text(d, kSoftware, 256).rfind("MedScan", 0) == 0) return "Trestle TIFF";
  return "";
}

/// True when w x h can be a reduced version of w0 x h0: one scale for both axes, up to the rounding of sides.
inline bool same_shape(std::int64_t w0, std::int64_t h0, std::int64_t w, std::int64_t h) {
  const double sx = static_cast<double>(w0) / static_cast<double>(w);
  const double sy = static_cast<double>(h0) / static_cast<double>(h);
  // Half a pixel or a whole one more or less on the shorter side, and 1 % for encoders that crop to tiles.
  const double slack = 1.5 * std::max(sx / static_cast<double>(w), sy / static_cast<double>(h));
  return std::abs(sx - sy) <= slack + 0.01 * std::max(sx, sy);
}

/// What all readers of one slide share.
struct TiffPyramid {
  std::shared_ptr<const TiffFile> file;
  std::vector<TiffLevel> levels;
};

/// Reads pixels; see SlideReader.
class TiffReader final : public SlideReader {
 public:
  TiffReader(std::shared_ptr<const TiffPyramid> pyramid, BadTile policy)
      : pyramid_(std::move(pyramid)),
        policy_(policy),
        decoder_(pyramid_->file),
        cache_(cache_bytes(*pyramid_)) {}

  // Strips span the slide, so a patch touches many: 64 MiB keep those of a patch row of a usual width.
  static std::size_t cache_bytes(const TiffPyramid& p) {
    return std::size_t{p.levels.front().tiled ? 16u : 64u} << 20;
  }

  void read_level(int level, std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
                  std::uint8_t* rgb, std::size_t row_stride) override {
    detail::check_rectangle(level, static_cast<int>(pyramid_->levels.size()), x, y, width, height);
    const TiffLevel& v = pyramid_->levels[static_cast<std::size_t>(level)];
    const std::int64_t x0 = std::max<std::int64_t>(x, 0), x1 = std::min(x + width, v.width);
    const std::int64_t y0 = std::max<std::int64_t>(y, 0), y1 = std::min(y + height, v.height);
    if (x0 != x || y0 != y || x1 != x + width || y1 != y + height)
      for (std::int64_t r = 0; r < height; ++r)
        std::memset(rgb + static_cast<std::size_t>(r) * row_stride, 255, static_cast<std::size_t>(width) * 3);
    if (x0 >= x1 || y0 >= y1) return;
    for (std::int64_t ty = y0 / v.tile_height; ty <= (y1 - 1) / v.tile_height; ++ty)
      for (std::int64_t tx = x0 / v.tile_width; tx <= (x1 - 1) / v.tile_width; ++tx) {
        const std::int64_t left = tx * v.tile_width, top = ty * v.tile_height;
        const std::int64_t cx0 = std::max(x0, left), cx1 = std::min(x1, left + v.tile_width);
        const std::int64_t cy0 = std::max(y0, top), cy1 = std::min(y1, top + v.tile_height);
        const TileCache::Pixels* tile = find_tile(level, v, ty * v.across() + tx);
        const std::size_t bytes = static_cast<std::size_t>(cx1 - cx0) * 3;
        for (std::int64_t row = cy0; row < cy1; ++row) {
          std::uint8_t* to =
              rgb + static_cast<std::size_t>(row - y) * row_stride + static_cast<std::size_t>(cx0 - x) * 3;
          if (tile)
            std::memcpy(to,
                        tile->data() + static_cast<std::size_t>((row - top) * v.tile_width + cx0 - left) * 3,
                        bytes);
          else
            std::memset(to, 255, bytes);
        }
      }
  }

  std::uint64_t bad_tiles() const override { return bad_.size(); }

 private:
  // The decoded tile, or nullptr for one that is white: absent, or damaged under BadTile::fill.
  const TileCache::Pixels* find_tile(int level, const TiffLevel& v, std::int64_t index) {
    const std::size_t i = static_cast<std::size_t>(index);
    if (v.offsets[i] == 0) return nullptr;
    // Writers share one blank tile among all empty places: by its offset it is decoded once. Planes are
    // told apart by index, and so are strips, whose last may be shorter.
    const bool by_offset = v.tiled && !v.planar;
    const std::uint64_t place = static_cast<std::uint64_t>(level) << 1 | (by_offset ? 1 : 0);
    const std::uint64_t key = (by_offset ? v.offsets[i] : static_cast<std::uint64_t>(index)) << 8 | place;
    if (const TileCache::Pixels* hit = cache_.find(key)) return hit;
    if (!bad_.empty() && bad_.count(bad_key(level, index)) != 0) return nullptr;
    if (policy_ == BadTile::fail) return &cache_.insert(key, decoder_.decode(v, index));
    try {
      return &cache_.insert(key, decoder_.decode(v, index));
    } catch (const InputError&) {
      bad_.insert(bad_key(level, index));
      return nullptr;
    }
  }

  static std::uint64_t bad_key(int level, std::int64_t index) {
    return static_cast<std::uint64_t>(index) << 8 | static_cast<std::uint64_t>(level);
  }

  std::shared_ptr<const TiffPyramid> pyramid_;
  BadTile policy_;
  TiffDecoder decoder_;
  TileCache cache_;
  std::unordered_set<std::uint64_t> bad_;
};

}  // namespace tiff

/// A TIFF slide. Throws InputError on a damaged file and on a layout this reader does not decode.
class TiffSlide final : public Slide {
 public:
  explicit TiffSlide(const std::string& path) {
    using namespace tiff;
    path_ = path;
    auto file = std::make_shared<const TiffFile>(path);
    const TiffFile& f = *file;
    const Directory& first = f.directories().front();
    const std::string description = f.text(first, kImageDescription, std::uint64_t{1} << 20);
    const std::string foreign = foreign_format(f, description);
    if (!foreign.empty()) throw InputError(path, "", foreign + " is not supported");
    const bool aperio = first.has(kTileWidth) && description.rfind("Aperio", 0) == 0;
    const bool ome = description.find("<OME") != std::string::npos;

    auto pyramid = std::make_shared<TiffPyramid>();
    pyramid->file = file;
    pyramid->levels.push_back(load(f, first));
    if (!pyramid->levels[0].unsupported.empty())
      throw InputError(path, first.name, pyramid->levels[0].unsupported);
    if (ome) refuse_planes(description, pyramid->levels[0].samples);
    if (pyramid->levels[0].tiled) {
      for (const Directory& d : f.directories())
        if (&d != &first && is_level(f, d, aperio)) add_level(*pyramid, d);
      std::size_t n = 0;
      for (std::uint64_t offset : f.numbers(first, kSubIfds, 32)) {
        const Directory d = f.read_directory(offset, first.name + " SubIFD " + std::to_string(n++));
        if (is_level(f, d, false)) add_level(*pyramid, d);
      }
    }
    format_ = aperio                     ? "aperio"
              : ome                      ? "ome-tiff"
              : pyramid->levels[0].tiled ? "tiled-tiff"
                                         : "stripped-tiff";
    for (const TiffLevel& v : pyramid->levels) {
      SlideLevel level;
      level.width = v.width;
      level.height = v.height;
      level.downsample =
          0.5 * (static_cast<double>(pyramid->levels[0].width) / static_cast<double>(v.width) +
                 static_cast<double>(pyramid->levels[0].height) / static_cast<double>(v.height));
      level.tile_width = v.tile_width;
      level.tile_height = v.tile_height;
      level.compression = find_codec(v.compression)->name;
      levels_.push_back(level);
    }
    pixel_size_ = find_pixel_size(f, first, description, aperio, ome);
    if (aperio) objective_power_ = aperio_number(description, "AppMag").value_or(0.0);
    pyramid_ = std::move(pyramid);
  }

  std::unique_ptr<SlideReader> open_reader(BadTile policy = BadTile::fail) const override {
    return std::make_unique<tiff::TiffReader>(pyramid_, policy);
  }

  std::size_t shared_bytes() const override {
    std::size_t n = 0;
    for (const tiff::TiffLevel& v : pyramid_->levels)
      n += 16 * v.offsets.size();  // place and length of each tile
    return n;
  }
  // The tile being decoded and the newest one in the cache may be of any size.
  std::size_t reader_bytes() const override {
    std::size_t tile = 0;
    for (const SlideLevel& l : levels_) tile = std::max(tile, std::size_t{3} * l.tile_width * l.tile_height);
    return tiff::TiffReader::cache_bytes(*pyramid_) + 2 * tile;
  }

 private:
  static constexpr std::size_t kMaxLevels = 64;

  // OME-TIFF may spread channels, focal planes and times over directories; the first alone would be a
  // fluorescence channel shown as grey, or one depth of many.
  void refuse_planes(const std::string& xml, std::uint32_t samples) const {
    for (const char* axis : {"SizeC", "SizeZ", "SizeT"}) {
      const double n = tiff::parse_number(tiff::ome_attribute(xml, axis)).value_or(1.0);
      const double held = axis[4] == 'C' ? static_cast<double>(samples) : 1.0;
      if (n > held)
        throw InputError(path_, "directory 0",
                         std::string(axis) + " is " + std::to_string(static_cast<long long>(n)) +
                             ": OME-TIFF of several planes is not supported (one RGB plane is)");
    }
  }

  // Fields first: a directory that is not a level may be as odd as it likes.
  static tiff::TiffLevel load(const tiff::TiffFile& f, const tiff::Directory& d) {
    tiff::TiffLevel v = tiff::read_fields(f, d);
    if (v.unsupported.empty() && !TIFFIsCODECConfigured(static_cast<std::uint16_t>(v.compression)))
      v.unsupported = "Compression " + std::to_string(v.compression) + " (" +
                      tiff::find_codec(v.compression)->name + "): this libtiff was built without it";
    if (v.unsupported.empty()) tiff::read_tiles(f, d, v);
    return v;
  }

  static bool is_level(const tiff::TiffFile& f, const tiff::Directory& d, bool aperio) {
    if (!d.has(tiff::kTileWidth)) return false;
    if (!aperio) return (f.number(d, tiff::kNewSubfileType, 0) & 1) != 0;
    // A re-saved file may tile its label; Aperio names it on the second line of its description.
    const std::string text = f.text(d, tiff::kImageDescription, 4096);
    return text.find("\nlabel ") == std::string::npos && text.find("\nmacro ") == std::string::npos;
  }

  // Keeps `levels` sorted from fine to coarse; of two of one width the first in the file stays.
  static void add_level(tiff::TiffPyramid& p, const tiff::Directory& d) {
    const std::int64_t w0 = p.levels[0].width, h0 = p.levels[0].height;
    const auto w = static_cast<std::int64_t>(p.file->required(d, tiff::kImageWidth));
    const auto h = static_cast<std::int64_t>(p.file->required(d, tiff::kImageLength));
    if (w < 1 || h < 1 || w >= w0 || h > h0 || !tiff::same_shape(w0, h0, w, h)) return;
    const auto at =
        std::lower_bound(p.levels.begin(), p.levels.end(), w,
                         [](const tiff::TiffLevel& v, std::int64_t width) { return v.width > width; });
    if (at != p.levels.end() && at->width == w) return;
    if (p.levels.size() == kMaxLevels)
      p.file->fail(d.name, "more than " + std::to_string(kMaxLevels) + " levels");
    tiff::TiffLevel v = load(*p.file, d);
    if (v.unsupported.empty()) p.levels.insert(at, std::move(v));
  }

  std::shared_ptr<const tiff::TiffPyramid> pyramid_;
};

}  // namespace microtome
