// Writes a PNG row by row, so that the image never has to be in memory.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"

namespace microtome {

/// Streams an 8-bit grey (1 channel), RGB (3) or RGBA (4) PNG to `path`. Until finish() the data are in
/// os::part_path(path), which the destructor removes. Throws ResourceError when the disk is full, UsageError
/// on an impossible size. (PNG specification, third edition: sections 5, 9, 11.2.)
class PngWriter {
 public:
  PngWriter(std::string path, std::int64_t width, std::int64_t height, int channels, int level = 6)
      : path_(std::move(path)), part_(os::part_path(path_)), height_(height), channels_(channels) {
    if (width < 1 || height < 1 || width > 0x7fffffff || height > 0x7fffffff)
      throw UsageError("image size",
                       std::to_string(width) + " x " + std::to_string(height) + " cannot be a PNG");
    if (channels != 1 && channels != 3 && channels != 4)
      throw UsageError("image channels", std::to_string(channels) + " channels cannot be a PNG");
    row_bytes_ = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
    previous_.assign(row_bytes_, 0);
    filtered_.resize(row_bytes_ + 1);
    out_.resize(std::size_t{1} << 16);
    if (deflateInit(&z_, level) != Z_OK) throw ResourceError(path_, "", "cannot start zlib: out of memory");
    reset_output();
    try {
      file_ = os::File(part_, os::File::Mode::create);
      put("\x89PNG\r\n\x1a\n", 8);
      unsigned char header[13] = {};
      big_endian(header, static_cast<std::uint32_t>(width));
      big_endian(header + 4, static_cast<std::uint32_t>(height));
      header[8] = 8;  // bits per sample
      header[9] = static_cast<unsigned char>(channels == 1 ? 0 : channels == 3 ? 2 : 6);
      chunk("IHDR", header, sizeof header);
    } catch (...) {
      deflateEnd(&z_);
      discard();
      throw;
    }
  }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
  ~PngWriter() {
    deflateEnd(&z_);
    if (!finished_) discard();
  }

  /// Appends `count` rows of interleaved samples; row i begins at pixels + i * stride (bytes).
  void write_rows(const std::uint8_t* pixels, std::int64_t count, std::size_t stride) {
    if (count > height_ - rows_)
      throw UsageError("image rows", "more rows than the PNG was declared to have");
    for (std::int64_t r = 0; r < count; ++r) {
      const std::uint8_t* row = pixels + static_cast<std::size_t>(r) * stride;
      filter(row);
      compress(filtered_.data(), filtered_.size(), Z_NO_FLUSH);
      std::memcpy(previous_.data(), row, row_bytes_);
    }
    rows_ += count;
  }

  /// Completes the file and gives it its name. Every declared row must have been written.
  void finish() {
    if (rows_ != height_) throw UsageError("image rows", "the PNG was declared to have more rows");
    compress(nullptr, 0, Z_FINISH);
    flush();
    chunk("IEND", nullptr, 0);
    file_.sync();
    file_ = os::File();
    os::rename_file(part_, path_);
    finished_ = true;
  }

 private:
  static void big_endian(unsigned char* to, std::uint32_t v) {
    for (int i = 0; i < 4; ++i) to[i] = static_cast<unsigned char>(v >> (24 - 8 * i));
  }

  // Paeth prediction (filter 4) on every row: the best single choice for photographs.
  void filter(const std::uint8_t* row) {
    const std::size_t step = static_cast<std::size_t>(channels_);
    filtered_[0] = 4;
    for (std::size_t i = 0; i < row_bytes_; ++i) {
      const int a = i < step ? 0 : row[i - step], b = previous_[i], c = i < step ? 0 : previous_[i - step];
      const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
      const int predicted = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      filtered_[i + 1] = static_cast<unsigned char>(row[i] - predicted);
    }
  }

  void compress(const unsigned char* data, std::size_t n, int mode) {
    do {
      // zlib counts in 32 bits; a row can be longer.
      const std::size_t piece = n < (std::size_t{1} << 30) ? n : std::size_t{1} << 30;
      z_.next_in = const_cast<unsigned char*>(data);
      z_.avail_in = static_cast<unsigned>(piece);
      int state = Z_OK;
      do {
        state = deflate(&z_, mode);
        if (state == Z_STREAM_ERROR) throw ResourceError(path_, "", "zlib failed");
        if (z_.avail_out == 0) flush();
      } while (z_.avail_in > 0 || (mode == Z_FINISH && state != Z_STREAM_END));
      data += piece;
      n -= piece;
    } while (n > 0);
  }

  void flush() {
    const std::size_t n = out_.size() - z_.avail_out;
    if (n > 0) chunk("IDAT", out_.data(), n);
    reset_output();
  }

  void reset_output() {
    z_.next_out = out_.data();
    z_.avail_out = static_cast<unsigned>(out_.size());
  }

  void chunk(const char* type, const unsigned char* data, std::size_t n) {
    unsigned char word[4];
    big_endian(word, static_cast<std::uint32_t>(n));
    put(word, 4);
    put(type, 4);
    if (n > 0) put(data, n);
    uLong crc = crc32(0, reinterpret_cast<const unsigned char*>(type), 4);
    if (n > 0) crc = crc32(crc, data, static_cast<unsigned>(n));
    big_endian(word, static_cast<std::uint32_t>(crc));
    put(word, 4);
  }

  void put(const void* data, std::size_t n) {
    file_.write(offset_, data, n);
    offset_ += n;
  }

  void discard() noexcept {
    file_ = os::File();
    os::remove_file(part_);
  }

  std::string path_, part_;
  std::int64_t height_ = 0, rows_ = 0;
  int channels_ = 3;
  std::size_t row_bytes_ = 0;
  std::vector<std::uint8_t> previous_, filtered_, out_;
  os::File file_;
  std::uint64_t offset_ = 0;
  z_stream z_{};
  bool finished_ = false;
};

}  // namespace microtome
