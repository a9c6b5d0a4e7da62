// Decodes single tiles of a TIFF to RGB. libtiff's codecs do the work on bytes this reader fetched itself, so
// libtiff never sees a tile offset, never maps the file and never prints.
#pragma once
#include <tiffio.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tiff_level.hpp"

#if TIFFLIB_VERSION < 20221213
#error "libtiff 4.5 or newer is needed: older ones cannot report errors per handle"
#endif

namespace microtome::tiff {

/// Interleaved or planar 8-bit samples to RGB: `plane[c] + i * step` is sample c of pixel i. Transparent
/// pixels are laid over white, as parts outside the slide are white.
inline void to_rgb(const TiffLevel& v, const std::uint8_t* const* plane, std::size_t step, std::size_t pixels,
                   std::uint8_t* rgb) {
  const std::size_t colors = v.color == Color::rgb || v.color == Color::ycbcr ? 3 : 1;
  for (std::size_t i = 0; i < pixels; ++i, rgb += 3) {
    const std::uint8_t first = plane[0][i * step];
    switch (v.color) {
      case Color::grey:
        rgb[0] = rgb[1] = rgb[2] = first;
        break;
      case Color::grey_inverted:
        rgb[0] = rgb[1] = rgb[2] = static_cast<std::uint8_t>(255 - first);
        break;
      case Color::palette:
        std::memcpy(rgb, v.palette.data() + 3 * std::size_t{first}, 3);
        break;
      case Color::rgb:
      case Color::ycbcr:  // converted by the JPEG decoder
        for (std::size_t c = 0; c < 3; ++c) rgb[c] = plane[c][i * step];
    }
    if (v.alpha == Alpha::none) continue;
    const int a = plane[colors][i * step];
    for (std::size_t c = 0; c < 3; ++c) {
      const int visible = v.alpha == Alpha::associated ? rgb[c] : (rgb[c] * a + 127) / 255;
      rgb[c] = static_cast<std::uint8_t>(visible + 255 - a < 255 ? visible + 255 - a : 255);
    }
  }
}

/// One libtiff handle on a shared TiffFile. Belongs to one thread at a time.
class TiffDecoder {
 public:
  explicit TiffDecoder(std::shared_ptr<const TiffFile> file) : file_(std::move(file)) {}

  /// Decodes tile `index` of `v` to v.tile_width x v.rows(index) RGB pixels. The tile must not be absent
  /// (offset 0). Throws InputError naming directory and tile.
  std::vector<std::uint8_t> decode(const TiffLevel& v, std::int64_t index) {
    const std::int64_t rows = v.rows(index);
    const std::size_t pixels = std::size_t{v.tile_width} * static_cast<std::size_t>(rows);
    const std::size_t plane_bytes = static_cast<std::size_t>(v.plane_bytes(rows));
    std::vector<std::uint8_t> rgb(pixels * 3);
    if (v.color != Color::grey && v.color != Color::grey_inverted && v.color != Color::palette && !v.planar &&
        v.samples == 3 && v.bits == 8) {
      fetch(v, index, rgb.data(), plane_bytes);
      return rgb;
    }
    // Of planar data only the colours and the alpha channel are read.
    const bool rgb_planes = v.color == Color::rgb;
    std::size_t used = (rgb_planes ? 3u : 1u) + (v.alpha != Alpha::none ? 1u : 0u);
    if (!v.planar) used = 1;
    samples_.resize(used * plane_bytes);
    for (std::size_t p = 0; p < used; ++p)
      fetch(v, index + static_cast<std::int64_t>(p) * v.tiles(), samples_.data() + p * plane_bytes,
            plane_bytes);
    std::size_t size = plane_bytes;  // of a plane, in samples
    if (v.bits == 16) {
      size /= 2;
      narrow(used * size);
    }
    const std::uint8_t* plane[4];
    const std::size_t step = v.planar ? 1 : v.samples;
    for (std::size_t c = 0; c < 4; ++c)
      plane[c] = samples_.data() + (v.planar ? (c < used ? c * size : 0) : c);
    to_rgb(v, plane, step, pixels, rgb.data());
    return rgb;
  }

 private:
  // What libtiff needs of a file, and what it had to say.
  struct Session {
    const TiffFile* file = nullptr;
    std::uint64_t position = 0;
    std::string error, jpeg_warning;
  };
  struct Close {
    void operator()(TIFF* t) const { TIFFClose(t); }
  };

  [[noreturn]] void fail(const TiffLevel& v, std::int64_t index, const std::string& why) const {
    file_->fail(v.name, (v.tiled ? "tile " : "strip ") + std::to_string(index) + ": " + why);
  }

  // The stored samples of one tile and plane, in the byte order of this machine unless v.raw.
  void fetch(const TiffLevel& v, std::int64_t index, std::uint8_t* to, std::size_t bytes) {
    const std::size_t i = static_cast<std::size_t>(index);
    if (v.offsets[i] == 0) {  // one plane of a tile that is otherwise there
      std::memset(to, 0xff, bytes);
      return;
    }
    if (v.raw) {
      file_->file().read(v.offsets[i], to, bytes);
      if (v.bits == 16 && file_->big_endian() != host_is_big_endian())
        for (std::size_t k = 0; k + 1 < bytes; k += 2) std::swap(to[k], to[k + 1]);
      return;
    }
    select(v);
    stored_.resize(static_cast<std::size_t>(v.byte_counts[i]));
    file_->file().read(v.offsets[i], stored_.data(), stored_.size());
    session_.error.clear();
    session_.jpeg_warning.clear();
    const int ok =
        TIFFReadFromUserBuffer(tiff_.get(), static_cast<std::uint32_t>(index), stored_.data(),
                               static_cast<tmsize_t>(stored_.size()), to, static_cast<tmsize_t>(bytes));
    if (!ok) fail(v, index, session_.error.empty() ? "cannot be decoded" : session_.error);
    if (!session_.jpeg_warning.empty()) fail(v, index, session_.jpeg_warning);
  }

  // Makes `v` libtiff's current directory and checks that libtiff understood it as we did.
  void select(const TiffLevel& v) {
    if (current_ == &v) return;
    if (!tiff_) open();
    current_ = nullptr;
    session_.error.clear();
    TIFF* t = tiff_.get();
    auto refuse = [&](const std::string& why) {
      file_->fail(v.name, session_.error.empty() ? why : session_.error);
    };
    if (!TIFFSetSubDirectory(t, v.directory)) refuse("libtiff cannot read the directory");
    if (v.color == Color::ycbcr) TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    std::uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0;
    std::uint16_t compression = 0, bits = 0, samples = 0, planar = 0, photometric = 0;
    TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(t, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(t, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(t, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(t, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &photometric);
    const bool tiled = TIFFIsTiled(t) != 0;
    if (tiled) {
      TIFFGetField(t, TIFFTAG_TILEWIDTH, &tile_width);
      TIFFGetField(t, TIFFTAG_TILELENGTH, &tile_height);
    } else {
      TIFFGetFieldDefaulted(t, TIFFTAG_ROWSPERSTRIP, &tile_height);
      tile_width = width;
      if (tile_height > height) tile_height = height;
    }
    const std::uint64_t bytes = tiled ? TIFFTileSize64(t) : TIFFVStripSize64(t, tile_height);
    if (width != v.width || height != v.height || tiled != v.tiled || tile_width != v.tile_width ||
        tile_height != v.tile_height || compression != v.compression || bits != v.bits ||
        samples != v.samples || (samples > 1 && (planar == PLANARCONFIG_SEPARATE) != v.planar) ||
        photometric != v.photometric || bytes != v.plane_bytes(v.tile_height))
      refuse("its tags contradict each other");
    current_ = &v;
  }

  void open() {
    session_.file = file_.get();
    const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                               TIFFOpenOptionsFree);
    if (!options) throw ResourceError(file_->path(), "", "out of memory");
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), static_cast<tmsize_t>(2 * kMaxTileBytes));
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, &session_);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, &session_);
    // r: read; h: header only, directories are chosen by offset; m: no mapping (a truncated network file
    // would raise SIGBUS); c: leave strips as they are; D: do not load tile offsets.
    tiff_.reset(TIFFClientOpenExt(file_->path().c_str(), "rhmcD", &session_, on_read, on_write, on_seek,
                                  on_close, on_size, on_map, on_unmap, options.get()));
    if (!tiff_) file_->fail("", session_.error.empty() ? "libtiff cannot open the file" : session_.error);
  }

  // 16-bit samples to 8, in place: nearest of v * 255 / 65535, as libtiff's RGBA interface rounds.
  void narrow(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t s;
      std::memcpy(&s, samples_.data() + 2 * i, 2);
      samples_[i] = static_cast<std::uint8_t>((s + 128u) / 257u);
    }
  }

  static bool host_is_big_endian() {
    const std::uint16_t one = 1;
    unsigned char first;
    std::memcpy(&first, &one, 1);
    return first == 0;
  }

  // --- libtiff's callbacks: C code calls them, so nothing may be thrown ------------------------------------
  static Session& session(thandle_t handle) { return *static_cast<Session*>(handle); }
  static tmsize_t on_read(thandle_t handle, void* to, tmsize_t n) {
    Session& s = session(handle);
    try {
      const std::size_t got = s.file->file().read_some(s.position, to, static_cast<std::size_t>(n));
      s.position += got;
      return static_cast<tmsize_t>(got);
    } catch (const Error&) {
      return -1;
    }
  }
  static tmsize_t on_write(thandle_t, void*, tmsize_t) { return -1; }
  static toff_t on_seek(thandle_t handle, toff_t offset, int whence) {
    Session& s = session(handle);
    s.position = offset + (whence == SEEK_CUR ? s.position : whence == SEEK_END ? s.file->size() : 0);
    return s.position;
  }
  static int on_close(thandle_t) { return 0; }
  static toff_t on_size(thandle_t handle) { return session(handle).file->size(); }
  static int on_map(thandle_t, void**, toff_t*) { return 0; }
  static void on_unmap(thandle_t, void*, toff_t) {}

  static std::string format(const char* text, std::va_list arguments) {
    char line[256];
    std::vsnprintf(line, sizeof line, text, arguments);
    return line;
  }
  static int on_error(TIFF*, void* user, const char*, const char* text, std::va_list arguments) {
    Session& s = *static_cast<Session*>(user);
    if (s.error.empty()) s.error = format(text, arguments);
    return 1;  // handled: do not call the global handler, which prints
  }
  // libjpeg and libtiff fill what a damaged or too small JPEG lacks and only warn.
  static int on_warning(TIFF*, void* user, const char* module, const char* text, std::va_list arguments) {
    Session& s = *static_cast<Session*>(user);
    const std::string message = format(text, arguments);
    const bool from_jpeg = module && std::strcmp(module, "JPEGLib") == 0;
    // Stray bytes between markers cost no pixel.
    if (from_jpeg ? message.find("extraneous bytes") == std::string::npos
                  : message.rfind("Improper JPEG", 0) == 0)
      s.jpeg_warning = message;
    return 1;
  }

  std::shared_ptr<const TiffFile> file_;
  Session session_;
  std::unique_ptr<TIFF, Close> tiff_;  // opened by the first tile that needs a codec
  const TiffLevel* current_ = nullptr;
  std::vector<std::uint8_t> stored_, samples_;
};

}  // namespace microtome::tiff
