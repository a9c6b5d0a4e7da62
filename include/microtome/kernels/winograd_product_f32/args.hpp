// Contract of winograd_product_f32: the matrix product of one Winograd position. No intrinsics: safe
// everywhere.
#pragma once
#include <cstddef>

namespace microtome {

/// out[o * out_stride + t * 16 + l] =
///     sum over blocks b and channels c of in[b * block_stride + t * 16 + c] * weights[o * weight_stride + k
///     * 16 + l]
/// for all tiles t, blocks of outputs o and lanes l, where k counts the channels of all blocks.
struct WinogradProductArgs {
  const float* in;               ///< V of one position: [blocks][tiles][16]
  std::ptrdiff_t block_stride;   ///< floats from one channel block to the next
  const int* block_channels;     ///< [blocks]: channels in use per block, 1..16
  int blocks;                    ///< at least 1
  int tiles;                     ///< at least 1
  const float* weights;          ///< U of the position: [outputs][channels][16]
  std::ptrdiff_t weight_stride;  ///< floats from one block of outputs to the next
  int outputs;                   ///< blocks of 16 outputs, at least 1
  float* out;                    ///< M of the position: [outputs][tiles][16]; may not overlap `in`
  std::ptrdiff_t out_stride;     ///< floats from one block of outputs to the next
};

}  // namespace microtome
