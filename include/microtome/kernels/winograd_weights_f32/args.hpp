// Contract of winograd_weights_f32: 3x3 kernels into the Winograd domain. No intrinsics: safe everywhere.
#pragma once
#include <cstddef>

namespace microtome {

/// U = G g G^T for `channels` input channels and one block of 16 output channels (kernels/winograd.hpp).
/// `weights` is one input block as conv_row_f32 reads it, so a layer can keep the packing of the direct
/// kernel and make U while it runs.
struct WinogradWeightsArgs {
  const float* weights;            ///< [3][3][channels][16]
  int channels;                    ///< at least 1
  int tile;                        ///< 4 or 6
  float* out;                      ///< [(tile + 2)^2 positions][channels][16]
  std::ptrdiff_t position_stride;  ///< floats from one position to the next
};

}  // namespace microtome
