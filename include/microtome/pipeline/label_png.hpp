// Labels from a PNG, decoded row by row. stb_image would expand a palette to colours and hold the whole
// image. PNG specification, 2nd edition, sections 5 (chunks), 9 (filters), 11.2 (critical chunks).
#pragma once
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "label_image.hpp"

namespace microtome {

/// Opened through open_labels().
class LabelPng final : public LabelImage {
 public:
  explicit LabelPng(const std::string& path) : file_(path, os::File::Mode::read), size_(file_.size()) {
    path_ = path;
    by_rows_ = true;
    std::uint8_t h[8 + 25];  // signature and IHDR
    file_.read(0, h, sizeof h);
    static const std::uint8_t kStart[16] = {0x89, 'P', 'N', 'G', 13,  10,  26,  10,
                                            0,    0,   0,   13,  'I', 'H', 'D', 'R'};
    if (std::memcmp(h, kStart, 16) != 0) throw InputError(path_, "IHDR", "not a PNG header");
    if (crc32(0, h + 12, 17) != be32(h + 29)) throw InputError(path_, "IHDR", "checksum is wrong");
    width_ = be32(h + 16);
    height_ = be32(h + 20);
    depth_ = h[24];
    if (width_ < 1 || height_ < 1 || width_ > kMaxSide || height_ > kMaxSide)
      throw InputError(path_, "IHDR", "image size not in 1..2^24");
    static const int kChannels[7] = {1, 0, 3, 1, 2, 0, 4};  // by colour type
    channels_ = h[25] <= 6 ? kChannels[h[25]] : 0;
    const bool small = channels_ == 1 && (depth_ == 1 || depth_ == 2 || depth_ == 4);
    if (channels_ == 0 || !(depth_ == 8 || small))
      throw InputError(path_, "IHDR", "not a mask: at most 8 bits per sample expected");
    if (h[26] != 0 || h[27] != 0 || h[28] != 0)
      throw InputError(path_, "IHDR", "interlaced PNG masks are not supported");
    row_bytes_ = static_cast<std::size_t>((width_ * channels_ * depth_ + 7) / 8);
    restart();
  }
  ~LabelPng() override { inflateEnd(&z_); }
  LabelPng(const LabelPng&) = delete;
  LabelPng& operator=(const LabelPng&) = delete;

  void read(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
            std::uint8_t* out) override {
    if (y + 1 < next_row_ || (y < next_row_ && height > 1)) restart();
    while (next_row_ < y) decode_row();
    for (std::int64_t r = 0; r < height; ++r) {
      if (y + r == next_row_) decode_row();  // else one row is read piece by piece
      for (std::int64_t i = 0; i < width; ++i) out[r * width + i] = label(x + i);
    }
  }

 private:
  static constexpr std::int64_t kMaxSide = std::int64_t{1} << 24;

  static std::uint32_t be32(const std::uint8_t* p) {
    return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
  }

  void restart() {
    inflateEnd(&z_);
    z_ = z_stream{};
    if (inflateInit(&z_) != Z_OK) throw ResourceError(path_, "", "no memory to decompress");
    row_.assign(row_bytes_, 0);
    above_.assign(row_bytes_, 0);
    at_ = 8;
    chunk_left_ = 0;
    in_idat_ = false;
    next_row_ = 0;
  }

  // Moves on to the next IDAT byte, or throws. Between IHDR and the first IDAT other chunks are stepped over.
  void next_idat() {
    while (chunk_left_ == 0) {
      if (in_idat_) {
        std::uint8_t crc[4];
        file_.read(at_, crc, 4);
        if (be32(crc) != crc_) throw InputError(path_, "IDAT", "checksum is wrong");
        at_ += 4;
        in_idat_ = false;
      }
      std::uint8_t h[8];
      file_.read(at_, h, 8);
      const std::uint64_t n = be32(h);
      if (n > size_ || at_ + 12 + n > size_)
        throw InputError(path_, "chunk", "runs past the end of the file");
      if (std::memcmp(h + 4, "IEND", 4) == 0)
        throw InputError(path_, "IDAT", "data end at row " + std::to_string(next_row_));
      if (std::memcmp(h + 4, "IDAT", 4) == 0) {
        in_idat_ = true;
        crc_ = crc32(0, h + 4, 4);
        chunk_left_ = n;
        at_ += 8;
      } else {
        at_ += 12 + n;
      }
    }
  }

  void inflate_to(std::uint8_t* to, std::size_t n) {
    z_.next_out = to;
    z_.avail_out = static_cast<uInt>(n);
    while (z_.avail_out > 0) {
      if (z_.avail_in == 0) {
        next_idat();
        const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, sizeof input_));
        file_.read(at_, input_, take);
        crc_ = crc32(crc_, input_, static_cast<uInt>(take));
        at_ += take;
        chunk_left_ -= take;
        z_.next_in = input_;
        z_.avail_in = static_cast<uInt>(take);
      }
      const int rc = inflate(&z_, Z_NO_FLUSH);
      if (rc == Z_STREAM_END && z_.avail_out > 0)
        throw InputError(path_, "IDAT", "data end at row " + std::to_string(next_row_));
      if (rc != Z_OK && rc != Z_STREAM_END)
        throw InputError(path_, "IDAT", "cannot be decompressed at row " + std::to_string(next_row_));
    }
  }

  void decode_row() {
    std::swap(row_, above_);
    std::uint8_t filter = 0;
    inflate_to(&filter, 1);
    inflate_to(row_.data(), row_bytes_);
    const std::size_t bpp = depth_ < 8 ? 1 : static_cast<std::size_t>(channels_);
    for (std::size_t i = 0; i < row_bytes_; ++i) {
      const int left = i >= bpp ? row_[i - bpp] : 0, up = above_[i], corner = i >= bpp ? above_[i - bpp] : 0;
      int predicted = 0;
      switch (filter) {
        case 0:
          break;
        case 1:
          predicted = left;
          break;
        case 2:
          predicted = up;
          break;
        case 3:
          predicted = (left + up) / 2;
          break;
        case 4: {  // Paeth
          const int p = left + up - corner;
          const int dl = std::abs(p - left), du = std::abs(p - up), dc = std::abs(p - corner);
          predicted = dl <= du && dl <= dc ? left : du <= dc ? up : corner;
          break;
        }
        default:
          throw InputError(path_, "IDAT", "unknown filter at row " + std::to_string(next_row_));
      }
      row_[i] = static_cast<std::uint8_t>(row_[i] + predicted);
    }
    ++next_row_;
  }

  std::uint8_t label(std::int64_t x) const {
    if (depth_ < 8) {
      const std::int64_t bit = x * depth_;
      const int shift = 8 - depth_ - static_cast<int>(bit % 8);
      return static_cast<std::uint8_t>((row_[static_cast<std::size_t>(bit / 8)] >> shift) &
                                       ((1 << depth_) - 1));
    }
    const std::uint8_t* p = row_.data() + x * channels_;
    if (channels_ >= 3 && (p[0] != p[1] || p[0] != p[2]))
      throw InputError(path_, "pixel",
                       "not a mask: coloured pixel at column " + std::to_string(x) + ", row " +
                           std::to_string(next_row_ - 1));
    return p[0];
  }

  os::File file_;
  std::uint64_t size_ = 0, at_ = 8, chunk_left_ = 0;
  bool in_idat_ = false;
  uLong crc_ = 0;
  int depth_ = 8, channels_ = 1;
  std::size_t row_bytes_ = 0;
  std::int64_t next_row_ = 0;
  std::vector<std::uint8_t> row_, above_;
  z_stream z_{};
  std::uint8_t input_[16384];
};

}  // namespace microtome
