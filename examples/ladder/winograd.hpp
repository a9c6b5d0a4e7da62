// Rungs 4 and 5: fewer multiplications. Rung 3 keeps the FMA units busy; only doing less goes faster.
//
// Neighbouring outputs share inputs, so their sums share work (mathematics: microtome/kernels/winograd.hpp).
// Winograd's F(4x4, 3x3) turns 6 x 6 inputs and the 3 x 3 kernel into 36 numbers each, multiplies those one
// by one, and turns the 36 products into 4 x 4 outputs: 36 multiplications instead of 144. F(6x6) needs 64
// instead of 324. The two transforms are additions and multiplications by constants, and are done once per
// input channel and once per output channel, not once per pair.
//
//   image --B^T d B-->  V [position][block][tile][16]
//                       U [position][channel][16 outputs]             weights, transformed once per network
//                       M [position][tile][16] = V U                  36 or 64 matrix products, by rung 3's
//                       kernel
//   M     --A^T M A-->  image
//
// Why it is not 4 and 5 times faster:
//  - The transforms take time in proportion to C, the products in proportion to C^2: with 64 channels about a
//    third of the time, with 256 a tenth.
//  - Tiles that hang over the edge compute pixels that do not exist: 128 is 32 x 4, but 22 x 6 is 132.
//  - V and M are as large as several copies of the image. They are made for a few dozen tiles at a time, so
//  that
//    they are still in the L2 cache when they are read.
// The price is accuracy: larger constants cancel each other, see the last column.
//
// The library's layer (microtome/layers/winograd_conv.hpp) adds borders, several sources, threads, bands and
// weights that are transformed while it runs.
#pragma once
#include <algorithm>
#include <vector>

#include "microtome/kernels/kernel_table.hpp"
#include "problem.hpp"

namespace ladder {

template <int TILE>  // outputs per side of a tile
class Winograd {
 public:
  static constexpr const char* kName = TILE == 4 ? "Winograd F(4x4)" : "Winograd F(6x6)";
  static constexpr const char* kChange =
      TILE == 4 ? "36 multiplications for 16 outputs, not 144" : "64 multiplications for 36 outputs, not 324";
  static constexpr double kTolerance = 3e-4;

  explicit Winograd(const Problem& p)
      : blocks_(p.channels / 16),
        side_(p.side),
        in_(p.channels, p.side, TILE),
        out_(p.channels, p.side, TILE) {
    in_.fill(p);
    transform_weights(pack(p));
    const int wide = (side_ + TILE - 1) / TILE;
    const int room = std::max(1, kCache / (kPositions * (blocks_ + 1) * 64));  // tiles
    const int groups = (wide + room - 1) / room;
    group_ = (wide + groups - 1) / groups;
    v_ = microtome::AlignedBuffer(static_cast<std::size_t>(kPositions * v_position()) * sizeof(float));
    m_ = microtome::AlignedBuffer(static_cast<std::size_t>(kPositions * line(group_)) * sizeof(float));
  }

  void run() {
    const int tiles = (side_ + TILE - 1) / TILE;
    for (int ty = 0; ty < tiles; ++ty)
      for (int tx = 0; tx < tiles; tx += group_)
        run_group(ty * TILE, tx * TILE, std::min(group_, tiles - tx));
  }

  float at(int o, int y, int x) const { return out_.pixel(o / 16, y, x)[o % 16]; }

 private:
  static constexpr int kPositions = (TILE + 2) * (TILE + 2);
  static constexpr int kCache = 384 * 1024;  // of 512 KiB: the weights pass through, too

  // n pixels of 16 floats, rounded up to an odd number: the 36 or 64 streams that a transform reads or writes
  // must not all fall into the same places of the L1 cache.
  static std::ptrdiff_t line(int n) { return (n | 1) * 16; }
  std::ptrdiff_t v_position() const { return line(blocks_ * (group_ | 1)); }
  std::ptrdiff_t u_position() const { return line(blocks_ * 16); }

  // `tiles` tiles side by side, the first one at output pixel (y, x).
  void run_group(int y, int x, int tiles) {
    const microtome::KernelTable& k = microtome::kernels();
    float *v = v_.as<float>(), *m = m_.as<float>();
    for (int b = 0; b < blocks_; ++b)
      k.winograd_input_f32(
          {in_.pixel(b, y - 1, x - 1), in_.row_stride(), TILE, tiles, v + b * line(group_), v_position()});

    for (int ob = 0; ob < blocks_; ++ob) {
      const float* u = u_.data() + static_cast<std::ptrdiff_t>(ob) * kPositions * u_position();
      for (int p = 0; p < kPositions; ++p)
        k.winograd_product_f32({v + p * v_position(), line(group_), channels_.data(), blocks_, tiles,
                                u + p * u_position(), 0, 1, m + p * line(group_), 0});

      microtome::WinogradOutputArgs a{};
      a.in = m, a.position_stride = line(group_), a.tile = TILE;
      a.bias = kZero, a.slope = 1.0f;
      a.out = out_.pixel(ob, y, x), a.out_stride = out_.row_stride();
      a.rows = std::min(TILE, side_ - y), a.width = std::min(tiles * TILE, side_ - x);
      k.winograd_output_f32(a);
    }
  }

  void transform_weights(const std::vector<float>& packed) {
    channels_.assign(static_cast<std::size_t>(blocks_), 16);
    u_.resize(static_cast<std::size_t>(blocks_ * kPositions * u_position()));
    for (int ob = 0; ob < blocks_; ++ob)
      for (int b = 0; b < blocks_; ++b)
        microtome::kernels().winograd_weights_f32({packed.data() + (ob * blocks_ + b) * 9 * 256, 16, TILE,
                                                   u_.data() + ob * kPositions * u_position() + b * 256,
                                                   u_position()});
  }

  alignas(64) static constexpr float kZero[16] = {};

  int blocks_, side_, group_ = 1;
  std::vector<int> channels_;  // of each block
  std::vector<float> u_;
  BlockedImage in_, out_;
  microtome::AlignedBuffer v_, m_;
};

}  // namespace ladder
