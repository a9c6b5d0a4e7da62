// MD5 (RFC 1321), streaming. It names pixels in tests and in `microtome region --hash`; it protects nothing.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace microtome {

class Md5 {
 public:
  void update(const void* data, std::size_t n) {
    auto p = static_cast<const unsigned char*>(data);
    std::size_t used = static_cast<std::size_t>(length_ % 64);
    length_ += n;
    while (n > 0) {
      const std::size_t take = n < 64 - used ? n : 64 - used;
      std::memcpy(block_.data() + used, p, take);
      p += take;
      n -= take;
      used += take;
      if (used == 64) {
        compress();
        used = 0;
      }
    }
  }

  /// The digest of everything so far, as 32 lower-case hex digits; the object can go on being updated.
  std::string hex() const {
    Md5 end = *this;
    static const unsigned char pad[64] = {0x80};
    const std::size_t used = static_cast<std::size_t>(length_ % 64);
    end.update(pad, used < 56 ? 56 - used : 120 - used);
    unsigned char bits[8];
    for (int i = 0; i < 8; ++i) bits[i] = static_cast<unsigned char>((length_ * 8) >> (8 * i));
    end.update(bits, 8);
    std::string s;
    for (std::uint32_t word : end.state_)
      for (int i = 0; i < 4; ++i) {
        const unsigned byte = (word >> (8 * i)) & 0xff;
        s += "0123456789abcdef"[byte >> 4];
        s += "0123456789abcdef"[byte & 15];
      }
    return s;
  }

 private:
  void compress() {
    // floor(2^32 * |sin(i + 1)|), RFC 1321 section 3.4.
    static constexpr std::uint32_t k[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
        0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
        0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
        0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
        0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
        0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
        0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
        0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
    static constexpr int shift[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    std::uint32_t m[16];
    for (int i = 0; i < 16; ++i)
      m[i] = static_cast<std::uint32_t>(block_[4 * i]) | static_cast<std::uint32_t>(block_[4 * i + 1]) << 8 |
             static_cast<std::uint32_t>(block_[4 * i + 2]) << 16 |
             static_cast<std::uint32_t>(block_[4 * i + 3]) << 24;
    std::uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3];
    for (int i = 0; i < 64; ++i) {
      std::uint32_t f;
      int word;
      if (i < 16) {
        f = (b & c) | (~b & d);
        word = i;
      } else if (i < 32) {
        f = (d & b) | (~d & c);
        word = (5 * i + 1) % 16;
      } else if (i < 48) {
        f = b ^ c ^ d;
        word = (3 * i + 5) % 16;
      } else {
        f = c ^ (b | ~d);
        word = (7 * i) % 16;
      }
      const std::uint32_t sum = a + f + k[i] + m[word];
      const int r = shift[i / 16][i % 4];
      a = d;
      d = c;
      c = b;
      b += (sum << r) | (sum >> (32 - r));
    }
    state_[0] += a;
    state_[1] += b;
    state_[2] += c;
    state_[3] += d;
  }

  std::array<std::uint32_t, 4> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  std::array<unsigned char, 64> block_{};
  std::uint64_t length_ = 0;  // bytes
};

}  // namespace microtome
