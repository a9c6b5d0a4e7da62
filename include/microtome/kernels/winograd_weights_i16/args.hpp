// Contract of winograd_weights_i16: 3x3 kernels into the integer Winograd domain. No intrinsics: safe
// everywhere.
#pragma once
#include <cstddef>
#include <cstdint>

namespace microtome {

/// U = G g G^T for the channel pairs of one input block and one block of 16 output channels
/// (kernels/winograd_int.hpp); element by element, so pairs and outputs keep their places. `weights` are
/// those of conv_row_i16 as bytes: a layer can keep these and make U while it runs.
struct WinogradWeightsI16Args {
  const std::int8_t* weights;      ///< [3][3][pairs][16][2], within +-127
  int pairs;                       ///< of channels, at least 1
  std::int16_t* out;               ///< [36 positions][pairs][16][2], within +-6223
  std::ptrdiff_t position_stride;  ///< elements from one position to the next
};

}  // namespace microtome
