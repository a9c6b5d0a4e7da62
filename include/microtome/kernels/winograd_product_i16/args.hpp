// Contract of winograd_product_i16: the matrix product of one position of the integer Winograd convolution.
// No intrinsics: safe everywhere.
#pragma once
#include <cstddef>
#include <cstdint>

namespace microtome {

/// out[o * out_stride + t * 16 + l] = sum over blocks b, pairs k of the block and i in {0, 1} of
///     in[b * block_stride + t * 16 + 2 * k + i] * weights[o * weight_stride + (p * 16 + l) * 2 + i]
/// modulo 2^32, for all tiles t, blocks of outputs o and lanes l, where p counts the pairs of all blocks.
/// Channels come in pairs, as vpmaddwd multiplies them: the partner that an odd number lacks has weight 0.
struct WinogradProductI16Args {
  const std::int16_t* in;        ///< V of one position: [blocks][tiles][16]
  std::ptrdiff_t block_stride;   ///< elements from one channel block to the next
  const int* block_pairs;        ///< [blocks]: channel pairs in use per block, 1..8
  int blocks;                    ///< at least 1
  int tiles;                     ///< at least 1
  const std::int16_t* weights;   ///< U of the position: [outputs][pairs][16][2]
  std::ptrdiff_t weight_stride;  ///< elements from one block of outputs to the next
  int outputs;                   ///< blocks of 16 outputs, at least 1
  std::int32_t* out;             ///< M of the position: [outputs][tiles][16]; may not overlap `in`
  std::ptrdiff_t out_stride;     ///< elements from one block of outputs to the next
};

}  // namespace microtome
