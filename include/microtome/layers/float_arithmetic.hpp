// The convolution kernels for floats, as direct_conv.hpp and winograd_conv.hpp ask for them. For integers:
// int_arithmetic.hpp.
#pragma once
#include <cstddef>

#include "../core/tensor.hpp"
#include "../kernels/kernel_table.hpp"

namespace microtome {

/// What a convolution computes with: the types of what lies in memory, and the kernels.
struct FloatArithmetic {
  using Value = float;        ///< strips: what sources write
  using Transformed = float;  ///< Winograd's V and U
  using Sum = float;          ///< Winograd's M
  using Logit = float;        ///< rows of run_to()
  using Weight = float;       ///< of the direct kernel
  using LateWeight = float;   ///< what Winograd's weights are transformed from while the layer runs
  static constexpr int kWeightLine = kChannelBlock;  ///< weights per step of depth: one channel, 16 outputs

  /// What becomes of the sums of a row: leaky(sum + bias) + residual.
  struct Tail {
    const float* bias;      ///< [16]
    float slope;            ///< of LeakyReLU; kNoActivation: none
    const float* residual;  ///< row of the residual, or null
    float* out;             ///< row of the result
  };

  using ConvRow = ConvRowArgs;
  static void conv_row(const KernelTable& k, ConvRow& a, const int* block_depth, const Tail& tail) {
    a.block_channels = block_depth;
    a.bias = tail.bias;
    a.slope = tail.slope;
    a.residual = tail.residual;
    a.out = tail.out;
    k.conv_row_f32(a);
  }

  static void winograd_input(const KernelTable& k, const float* in, std::ptrdiff_t row, int tile, int tiles,
                             float* out, std::ptrdiff_t position) {
    k.winograd_input_f32({in, row, tile, tiles, out, position});
  }
  static void winograd_weights(const KernelTable& k, const float* weights, int depth, int tile, float* out,
                               std::ptrdiff_t position) {
    k.winograd_weights_f32({weights, depth, tile, out, position});
  }
  using Product = WinogradProductArgs;
  static void winograd_product(const KernelTable& k, const Product& a) { k.winograd_product_f32(a); }
  static void winograd_output(const KernelTable& k, const float* in, std::ptrdiff_t position, int tile,
                              const Tail& tail, std::ptrdiff_t row, int rows, int width) {
    k.winograd_output_f32(
        {in, position, tile, tail.bias, tail.slope, tail.residual, row, tail.out, row, rows, width});
  }
};

}  // namespace microtome
