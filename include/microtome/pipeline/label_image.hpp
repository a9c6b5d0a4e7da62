// Masks as what they are, 8-bit class ids: slide readers turn a palette into RGB and lose them.
#pragma once
#include <cstdint>
#include <string>

namespace microtome {

/// A mask opened for reading. Belongs to one thread at a time.
class LabelImage {
 public:
  virtual ~LabelImage() = default;

  const std::string& path() const { return path_; }
  std::int64_t width() const { return width_; }    ///< pixels
  std::int64_t height() const { return height_; }  ///< pixels
  int levels() const { return levels_; }           ///< directories of a TIFF, else 1
  /// ImageDescription of a TIFF (whatever it holds), else empty.
  const std::string& description() const { return description_; }
  /// True when the storage is whole rows (strips, PNG): then read full-width bands from top to bottom.
  bool by_rows() const { return by_rows_; }

  /// Copies the labels of [x, x+width) x [y, y+height), which lies inside the image, to `out` (width * height
  /// bytes, row-major). Throws InputError naming the tile, strip or row that cannot be decoded.
  virtual void read(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
                    std::uint8_t* out) = 0;

 protected:
  std::string path_, description_;
  std::int64_t width_ = 0, height_ = 0;
  int levels_ = 1;
  bool by_rows_ = false;
};

}  // namespace microtome
