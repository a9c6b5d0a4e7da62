// Winograd's F(4x4, 3x3) in integers, exactly: its matrices, and why nothing is lost.
//
//   R = A^T [ sum over channels of (G g G^T) * (B^T d B) ] A          Y = R / 576
// B is that of kernels/winograd.hpp, integers already. The rows of G there are multiplied by 4, -6, -6, 24,
// 24 and 1, which makes them integers; the columns of A^T by 24 over these numbers, which makes up for it but
// for a factor of 24 per axis, 24^2 = 576.
//
// - d in 0..255, 8 bits without sign: B^T d B lies in +-68 * 255 = +-17340 and fits 16 bits. So does G g G^T
// of
//   weights in +-127, at most 49 * 127 = 6223.
// - Their products summed over channels, and R, are numbers modulo 2^32: they may wrap as often as they like.
// - R = 576 Y modulo 2^32 = 9 * 64 Y. The inverse of 9 modulo 2^32 is 0x38E38E39; multiplied by it R becomes
//   64 Y modulo 2^32, which a shift by 6 that keeps the sign turns into Y if -2^25 <= Y < 2^25
//   (core/winograd_bound.hpp).
#pragma once
#include <cstdint>

namespace microtome {

struct WinogradIntMatrices {
  static constexpr int kInput[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                       {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  static constexpr int kWeights[6][3] = {{1, 0, 0}, {1, 1, 1}, {1, -1, 1}, {1, 2, 4}, {1, -2, 4}, {0, 0, 1}};
  static constexpr int kOutput[4][6] = {
      {6, -4, -4, 1, 1, 0}, {0, -4, 4, 2, -2, 0}, {0, -4, -4, 4, 4, 0}, {0, -4, 4, 8, -8, 24}};
  static constexpr std::int32_t kInverseOf9 = 0x38E38E39;
  static constexpr int kShift = 6;
};
static_assert(9u * static_cast<std::uint32_t>(WinogradIntMatrices::kInverseOf9) == 1u);

}  // namespace microtome
