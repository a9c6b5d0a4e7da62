// What the rest of microtome knows of a slide: levels, pixel size, and a way to read RGB pixels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"

namespace microtome {

/// One level of the pyramid. Level 0 is the finest.
struct SlideLevel {
  std::int64_t width = 0, height = 0;  ///< pixels
  double downsample = 1.0;             ///< level-0 pixels per pixel of this level (mean of both axes)
  std::uint32_t tile_width = 0;        ///< storage tile (or strip) size, pixels
  std::uint32_t tile_height = 0;
  std::string compression;  ///< "jpeg", "deflate", "none" ...
};

/// Micrometres per level-0 pixel and where the number came from. x == 0: unknown.
struct PixelSize {
  double x = 0.0, y = 0.0;
  std::string source;  ///< "Aperio MPP", "TIFF resolution tags", "--slide-mpp", or why it is unknown
  bool known() const { return x > 0.0 && y > 0.0; }
  double mean() const { return 0.5 * (x + y); }
};

/// What to do with a tile that cannot be decoded.
enum class BadTile {
  fail,  ///< throw InputError naming directory and tile
  fill,  ///< paint it white, count it (SlideReader::bad_tiles) and go on
};

/// Reads pixels. Owns one decoder handle and belongs to one thread at a time.
class SlideReader {
 public:
  virtual ~SlideReader() = default;

  /// Reads the rectangle [x, x+width) x [y, y+height) of `level`, in pixels of that level, as interleaved
  /// 8-bit RGB: row i begins at rgb + i * row_stride (bytes). Parts outside the level, and tiles the file
  /// marks as absent, are white (255). Throws InputError on a damaged tile (BadTile::fail).
  virtual void read_level(int level, std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
                          std::uint8_t* rgb, std::size_t row_stride) = 0;

  /// Tiles that could not be decoded and were painted white so far.
  virtual std::uint64_t bad_tiles() const = 0;
};

/// An opened, validated slide: immutable, safe to share between threads.
class Slide {
 public:
  virtual ~Slide() = default;

  const std::string& path() const { return path_; }
  /// "aperio", "tiled-tiff", "stripped-tiff", "png", "jpeg" ...
  const std::string& format() const { return format_; }
  const std::vector<SlideLevel>& levels() const { return levels_; }
  std::int64_t width() const { return levels_.front().width; }    ///< level 0, pixels
  std::int64_t height() const { return levels_.front().height; }  ///< level 0, pixels
  const PixelSize& pixel_size() const { return pixel_size_; }
  void set_pixel_size(PixelSize p) { pixel_size_ = std::move(p); }
  double objective_power() const { return objective_power_; }  ///< 0 when unknown

  /// Upper bounds for planning memory: bytes held by the slide itself, and by each reader.
  virtual std::size_t shared_bytes() const { return 0; }
  virtual std::size_t reader_bytes() const { return 0; }

  /// A reader for one thread. Throws InputError if the file cannot be opened again.
  virtual std::unique_ptr<SlideReader> open_reader(BadTile policy = BadTile::fail) const = 0;

 protected:
  std::string path_, format_;
  std::vector<SlideLevel> levels_;
  PixelSize pixel_size_;
  double objective_power_ = 0.0;
};

/// Opens any supported slide or image, recognised by content, never by extension. Throws InputError.
/// Include slide/registry.hpp to call it.
std::unique_ptr<Slide> open_slide(const std::string& path);

namespace detail {

// Arguments of read_level(): a level that exists, and a rectangle whose arithmetic cannot overflow.
inline void check_rectangle(int level, int levels, std::int64_t x, std::int64_t y, std::int64_t width,
                            std::int64_t height) {
  constexpr std::int64_t far = std::int64_t{1} << 40;
  if (level < 0 || level >= levels)
    throw UsageError("level",
                     std::to_string(level) + ": the slide has levels 0 to " + std::to_string(levels - 1));
  if (width < 0 || height < 0 || width > far || height > far || x < -far || x > far || y < -far || y > far)
    throw UsageError("rectangle", "impossible position or size");
}

}  // namespace detail

}  // namespace microtome
