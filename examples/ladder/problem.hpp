// The convolution that every rung computes, its right answer, and the blocked image that most rungs work on.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "microtome/core/tensor.hpp"

namespace ladder {

/// out[o][y][x] = sum over c, ky, kx of in[c][y + ky - 1][x + kx - 1] * weight[o][c][ky][kx], zero outside
/// the image: 3x3, stride 1, as many channels out as in. Everything in the order that PyTorch uses (NCHW,
/// OIHW).
struct Problem {
  int channels, side;                ///< channels a multiple of 16; the image is side x side
  std::vector<float> in, weight;     ///< [c][y][x]; [o][c][3][3]
  std::vector<double> right_answer;  ///< [o][y][x]
  double rms = 0;                    ///< of the right answer

  Problem(int channels_, int side_) : channels(channels_), side(side_) {
    const std::size_t c = static_cast<std::size_t>(channels), plane = pixels();
    std::mt19937 rng(1);
    const auto fill = [&](std::vector<float>& v, std::size_t n, double scale) {
      v.resize(n);
      for (float& f : v) f = static_cast<float>(scale * (static_cast<double>(rng() >> 8) / 8388608.0 - 1.0));
    };
    fill(in, c * plane, 1.0);
    fill(weight, c * c * 9, 1.0 / std::sqrt(9.0 * channels));
    solve();
  }

  std::size_t pixels() const { return static_cast<std::size_t>(side) * static_cast<std::size_t>(side); }

  /// Multiply-accumulates of the definition. Every rung is judged by them, also one that does fewer.
  double macs() const { return 9.0 * channels * channels * static_cast<double>(pixels()); }

 private:
  // One weight at a time over a whole plane, in double.
  void solve() {
    right_answer.assign(static_cast<std::size_t>(channels) * pixels(), 0.0);
    for (int o = 0; o < channels; ++o)
      for (int c = 0; c < channels; ++c)
        for (int k = 0; k < 9; ++k) {
          const int dy = k / 3 - 1, dx = k % 3 - 1;
          const double w = weight[static_cast<std::size_t>((o * channels + c) * 9 + k)];
          for (int y = dy < 0 ? 1 : 0; y < side - (dy > 0 ? 1 : 0); ++y) {
            double* to = right_answer.data() + static_cast<std::ptrdiff_t>(o * side + y) * side;
            const float* from = in.data() + static_cast<std::ptrdiff_t>(c * side + y + dy) * side + dx;
            for (int x = dx < 0 ? 1 : 0; x < side - (dx > 0 ? 1 : 0); ++x) to[x] += w * from[x];
          }
        }
    for (const double v : right_answer) rms += v * v;
    rms = std::sqrt(rms / static_cast<double>(right_answer.size()));
  }
};

/// An image in blocks of 16 channels, [block][row][pixel][16], with a border of zeros around it: a pixel is
/// one cache line. Rows are an odd number of lines long: of rows 2^n lines apart only a few would find room
/// in L1.
class BlockedImage {
 public:
  /// `tile`: the border on the right and below fills up the last tile of this size.
  BlockedImage(int channels, int side, int tile)
      : rows_((side + tile - 1) / tile * tile + 2),
        row_(rows_ | 1),
        memory_(static_cast<std::size_t>(channels) / 16 * static_cast<std::size_t>(rows_ * row_) * 64) {
    std::memset(memory_.data(), 0, memory_.size());
  }

  /// The 16 channels of one pixel. -1 is the border.
  float* pixel(int block, int y, int x) const {
    return memory_.as<float>() + (static_cast<std::ptrdiff_t>(block * rows_ + y + 1) * row_ + x + 1) * 16;
  }
  std::ptrdiff_t row_stride() const { return static_cast<std::ptrdiff_t>(row_) * 16; }

  /// From NCHW. A network does this once, at its first layer, so no rung counts it.
  void fill(const Problem& p) const {
    for (int c = 0; c < p.channels; ++c)
      for (int y = 0; y < p.side; ++y)
        for (int x = 0; x < p.side; ++x)
          pixel(c / 16, y, x)[c % 16] =
              p.in[(static_cast<std::size_t>(c * p.side + y)) * static_cast<std::size_t>(p.side) +
                   static_cast<std::size_t>(x)];
  }

 private:
  int rows_, row_;
  microtome::AlignedBuffer memory_;
};

/// Weights in the order in which blocked rungs read them, front to back:
/// [out / 16][in / 16][ky][kx][channel of the block][16 outputs]. Done once per network.
inline std::vector<float> pack(const Problem& p) {
  std::vector<float> packed;
  packed.reserve(p.weight.size());
  for (int ob = 0; ob < p.channels; ob += 16)
    for (int cb = 0; cb < p.channels; cb += 16)
      for (int k = 0; k < 9; ++k)
        for (int c = cb; c < cb + 16; ++c)
          for (int o = ob; o < ob + 16; ++o)
            packed.push_back(p.weight[static_cast<std::size_t>((o * p.channels + c) * 9 + k)]);
  return packed;
}

}  // namespace ladder
