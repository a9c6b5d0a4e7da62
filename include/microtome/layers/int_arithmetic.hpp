// The convolution kernels for integers, as direct_conv.hpp and winograd_conv.hpp ask for them: what
// FloatArithmetic is for floats.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../core/tensor.hpp"
#include "../kernels/kernel_table.hpp"

namespace microtome {

struct IntArithmetic {
  using Value = std::int16_t;
  using Transformed = std::int16_t;
  using Sum = std::int32_t;
  using Logit = std::int32_t;
  using Weight = std::int16_t;
  using LateWeight = std::int8_t;
  static constexpr int kWeightLine = 2 * kChannelBlock;  ///< a pair of channels, 16 outputs

  using Tail = IntTail;

  using ConvRow = ConvRowI16Args;
  static void conv_row(const KernelTable& k, ConvRow& a, const int* block_depth, const Tail& tail) {
    a.block_pairs = block_depth;
    a.tail = tail;
    k.conv_row_i16(a);
  }

  static void winograd_input(const KernelTable& k, const std::int16_t* in, std::ptrdiff_t row, int, int tiles,
                             std::int16_t* out, std::ptrdiff_t position) {
    k.winograd_input_i16({in, row, tiles, out, position});
  }
  static void winograd_weights(const KernelTable& k, const std::int8_t* weights, int depth, int,
                               std::int16_t* out, std::ptrdiff_t position) {
    k.winograd_weights_i16({weights, depth, out, position});
  }
  using Product = WinogradProductI16Args;
  static void winograd_product(const KernelTable& k, const Product& a) { k.winograd_product_i16(a); }
  static void winograd_output(const KernelTable& k, const std::int32_t* in, std::ptrdiff_t position, int,
                              const Tail& tail, std::ptrdiff_t row, int rows, int width) {
    k.winograd_output_i32({in, position, tail, row, row, rows, width});
  }
};

}  // namespace microtome
