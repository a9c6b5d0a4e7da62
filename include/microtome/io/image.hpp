// PNG and JPEG files: decoded by stb_image after our own limits, written by PngWriter (png_writer.hpp).
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "png_writer.hpp"  // IWYU pragma: export

namespace microtome::detail {

// A compressed stream may inflate to far more than its header announces; stb_image would follow it, doubling
// its buffer. No single block of a legal image within the limits below is larger.
constexpr std::size_t kStbLargestBlock = std::size_t{1} << 31;
inline void* stb_malloc(std::size_t n) {
  return n <= kStbLargestBlock ? std::malloc(n) : nullptr;
}
inline void* stb_realloc(void* p, std::size_t n) {
  return n <= kStbLargestBlock ? std::realloc(p, n) : nullptr;
}

}  // namespace microtome::detail

// Internal linkage: no clash with a program that has its own stb_image.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_MALLOC(n) microtome::detail::stb_malloc(n)
#define STBI_REALLOC(p, n) microtome::detail::stb_realloc(p, n)
#define STBI_FREE(p) std::free(p)
#include <stb_image.h>

namespace microtome {

/// An image in memory, interleaved 8-bit samples, no padding.
struct Image {
  std::int64_t width = 0, height = 0;  ///< pixels
  int channels = 0;
  std::vector<std::uint8_t> pixels;  ///< [height][width][channels]
};

/// What read_image() accepts before it decodes anything.
struct ImageLimits {
  std::uint64_t file_bytes = std::uint64_t{1} << 30;
  std::uint64_t pixels = std::uint64_t{1} << 28;
};

/// True when the file begins like a PNG or a JPEG.
inline bool is_png(const unsigned char* head, std::size_t n) {
  return n >= 8 && std::memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0;
}
inline bool is_jpeg(const unsigned char* head, std::size_t n) {
  return n >= 3 && head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff;
}

namespace detail {

// stb_image paints what a truncated JPEG lacks grey and reports success, and decodes any number of scans.
// Inside entropy-coded data 0xff is never followed by these two codes, so counting them is safe.
inline const char* jpeg_defect(const std::vector<unsigned char>& bytes) {
  int scans = 0;
  bool ended = false;
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    if (bytes[i] != 0xff) continue;
    if (bytes[i + 1] == 0xda) {
      ++scans;
      ended = false;
    }
    if (bytes[i + 1] == 0xd9) ended = true;
  }
  if (!ended) return "truncated JPEG: no end-of-image marker";
  return scans > 1000 ? "JPEG with more than 1000 scans" : nullptr;
}

}  // namespace detail

/// Decodes a PNG or JPEG file to `channels` (1 grey, 3 RGB, 4 RGBA) 8-bit samples. 16-bit PNG samples keep
/// their high byte, palettes are expanded, EXIF orientation is ignored. Alpha is kept for RGBA, laid over
/// white for RGB (transparent parts are white, as parts outside a slide), dropped for grey. Size and
/// dimensions are checked against `limits` first. Throws InputError naming the file.
inline Image read_image(const std::string& path, int channels = 3, const ImageLimits& limits = {}) {
  const os::File file(path, os::File::Mode::read);
  const std::uint64_t size = file.size();
  if (size > limits.file_bytes || size > 0x7fffffff)
    throw InputError(path, "", "an image file of " + std::to_string(size) + " bytes exceeds the limit");
  unsigned char head[8] = {};
  const std::size_t got = file.read_some(0, head, sizeof head);
  if (!is_png(head, got) && !is_jpeg(head, got)) throw InputError(path, "", "neither PNG nor JPEG");
  std::vector<unsigned char> bytes(static_cast<std::size_t>(size));
  file.read(0, bytes.data(), bytes.size());
  if (const char* defect = is_jpeg(head, got) ? detail::jpeg_defect(bytes) : nullptr)
    throw InputError(path, "", defect);

  const int n = static_cast<int>(bytes.size());
  int width = 0, height = 0, stored = 0;
  auto fail = [&] {
    const char* why = stbi_failure_reason();
    return InputError(path, "", std::string("cannot decode the image: ") + (why ? why : "unknown reason"));
  };
  if (!stbi_info_from_memory(bytes.data(), n, &width, &height, &stored)) throw fail();
  const std::uint64_t pixels = static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height);
  if (width < 1 || height < 1 || pixels > limits.pixels)
    throw InputError(path, "image size",
                     std::to_string(width) + " x " + std::to_string(height) + " pixels, the limit is " +
                         std::to_string(limits.pixels) + " pixels in all; convert it to a tiled TIFF");
  const bool blend = channels == 3 && (stored == 2 || stored == 4);
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(bytes.data(), n, &width, &height, &stored, blend ? 4 : channels), std::free);
  if (!decoded) throw fail();
  Image image;
  image.width = width;
  image.height = height;
  image.channels = channels;
  const stbi_uc* p = decoded.get();
  if (!blend) {
    image.pixels.assign(p, p + pixels * static_cast<std::uint64_t>(channels));
    return image;
  }
  image.pixels.resize(static_cast<std::size_t>(pixels) * 3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const int alpha = p[i / 3 * 4 + 3];
    image.pixels[i] = static_cast<std::uint8_t>((p[i / 3 * 4 + i % 3] * alpha + 127) / 255 + 255 - alpha);
  }
  return image;
}

}  // namespace microtome
