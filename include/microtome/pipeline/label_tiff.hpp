// Labels from a TIFF through libtiff.
#pragma once
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "label_image.hpp"

namespace microtome {

/// Opened through open_labels().
class LabelTiff final : public LabelImage {
 public:
  LabelTiff(const std::string& path, int level) {
    path_ = path;
    TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
    if (!options) throw ResourceError(path, "", "out of memory");
    // Per handle, not global: the library prints nothing and leaves the host program's handlers alone.
    TIFFOpenOptionsSetErrorHandlerExtR(options, &LabelTiff::on_error, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options, &LabelTiff::on_warning, this);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, tmsize_t{1} << 28);
    tiff_.reset(TIFFOpenExt(path.c_str(), "rm", options));  // m: no mmap, a truncated file must not SIGBUS
    TIFFOpenOptionsFree(options);
    if (!tiff_) fail("", "cannot open as TIFF");
    levels_ = static_cast<int>(TIFFNumberOfDirectories(tiff_.get()));
    if (level < 0 || level >= levels_ || TIFFSetDirectory(tiff_.get(), static_cast<tdir_t>(level)) == 0)
      fail("directory " + std::to_string(level), "cannot be read");
    check_layout(level);
  }

  void read(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
            std::uint8_t* out) override {
    for (std::int64_t ty = y / tile_height_; ty * tile_height_ < y + height; ++ty)
      for (std::int64_t tx = x / tile_width_; tx * tile_width_ < x + width; ++tx) {
        const bool there = decode(ty * across_ + tx);
        const std::int64_t x0 = std::max(x, tx * tile_width_),
                           x1 = std::min(x + width, (tx + 1) * tile_width_);
        const std::int64_t y0 = std::max(y, ty * tile_height_),
                           y1 = std::min(y + height, (ty + 1) * tile_height_);
        for (std::int64_t r = y0; r < y1; ++r) {
          std::uint8_t* to = out + (r - y) * width + (x0 - x);
          const auto n = static_cast<std::size_t>(x1 - x0);
          if (there)
            std::memcpy(to, tile_.data() + (r - ty * tile_height_) * tile_width_ + (x0 - tx * tile_width_),
                        n);
          else
            std::memset(to, 0, n);
        }
      }
  }

 private:
  struct Close {
    void operator()(TIFF* t) const { TIFFClose(t); }
  };

  static int on_error(TIFF*, void* self, const char*, const char* format, va_list args) {
    char text[256];
    std::vsnprintf(text, sizeof text, format, args);
    static_cast<LabelTiff*>(self)->message_ = text;
    return 1;
  }
  static int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

  [[noreturn]] void fail(const std::string& field, std::string why) const {
    if (!message_.empty()) why += ": " + message_;
    throw InputError(path_, field, why);
  }

  std::uint16_t tag16(std::uint32_t tag, std::uint16_t otherwise) const {
    std::uint16_t v = otherwise;
    return TIFFGetField(tiff_.get(), tag, &v) == 1 ? v : otherwise;
  }

  void check_layout(int level) {
    const std::string where = "directory " + std::to_string(level);
    TIFF* t = tiff_.get();
    std::uint32_t w = 0, h = 0, tw = 0, th = 0;
    TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &w);
    TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h);
    if (w == 0 || h == 0 || w > (1u << 30) || h > (1u << 30)) fail(where, "image size not in 1..2^30");
    if (tag16(TIFFTAG_BITSPERSAMPLE, 1) != 8 || tag16(TIFFTAG_SAMPLESPERPIXEL, 1) != 1)
      fail(where, "not a mask: 8 bits and one sample per pixel expected");
    const std::uint16_t photometric = tag16(TIFFTAG_PHOTOMETRIC, 0xffff);
    if (photometric != PHOTOMETRIC_PALETTE && photometric != PHOTOMETRIC_MINISBLACK)
      fail(where,
           "not a mask: photometric " + std::to_string(photometric) + ", palette or min-is-black expected");
    const std::uint16_t compression = tag16(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    if (!TIFFIsCODECConfigured(compression))
      fail(where, "compression " + std::to_string(compression) + " is not supported");
    by_rows_ = TIFFIsTiled(t) == 0;
    if (by_rows_) {
      tw = w;
      TIFFGetFieldDefaulted(t, TIFFTAG_ROWSPERSTRIP, &th);
      th = std::min(th, h);
    } else {
      TIFFGetField(t, TIFFTAG_TILEWIDTH, &tw);
      TIFFGetField(t, TIFFTAG_TILELENGTH, &th);
    }
    // Decoders allocate a whole tile or strip, so that is what must be bounded.
    if (tw == 0 || th == 0 || std::uint64_t{tw} * th > (std::uint64_t{1} << 28))
      fail(where,
           "tile or strip of " + std::to_string(tw) + " x " + std::to_string(th) + " pixels, at most 2^28");
    width_ = w;
    height_ = h;
    tile_width_ = tw;
    tile_height_ = th;
    across_ = (width_ + tile_width_ - 1) / tile_width_;
    const char* text = nullptr;
    if (TIFFGetField(t, TIFFTAG_IMAGEDESCRIPTION, &text) == 1 && text) description_ = text;
  }

  // False for an absent tile: there is nothing, and nothing is allocated for it.
  bool decode(std::int64_t index) {
    if (index == decoded_) return true;
    message_.clear();
    TIFF* t = tiff_.get();
    const auto i = static_cast<std::uint32_t>(index);
    const std::string where = (by_rows_ ? "strip " : "tile ") + std::to_string(index);
    std::int64_t rows = tile_height_;
    if (by_rows_) rows = std::min(rows, height_ - index * tile_height_);
    const auto need = static_cast<tmsize_t>(tile_width_ * rows);
    int bad = 0;
    if (TIFFGetStrileByteCountWithErr(t, i, &bad) == 0 && !bad) return false;
    decoded_ = -1;
    tile_.resize(static_cast<std::size_t>(tile_width_ * tile_height_));
    const tmsize_t got = by_rows_ ? TIFFReadEncodedStrip(t, i, tile_.data(), need)
                                  : TIFFReadEncodedTile(t, i, tile_.data(), need);
    if (got != need) fail(where, "cannot be decoded");
    decoded_ = index;
    return true;
  }

  std::unique_ptr<TIFF, Close> tiff_;
  std::string message_;  // libtiff's last complaint
  std::int64_t tile_width_ = 0, tile_height_ = 0, across_ = 0, decoded_ = -1;
  std::vector<std::uint8_t> tile_;  // the decoded tile or strip
};

}  // namespace microtome
