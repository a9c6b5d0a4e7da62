// The cost model: which algorithm computes a layer fastest on images of a size.
#pragma once
#include <cstdint>

#include "../layers/conv.hpp"

namespace microtome {

/// Whether a layer may use an algorithm; `last` as in choose_algorithm().
template <int Rank>
bool can_use(ConvAlgorithm a, const ConvShape& s, bool last) {
  if (a == ConvAlgorithm::head) return last && s.out <= kChannelBlock;
  return !is_winograd(a) || (Rank == 2 && s.kernel == 3 && s.stride == 1 && !last);
}

/// What a 3x3 layer with an output of `size` costs, in multiply-adds of a direct convolution. A tile of
/// Winograd has (tile + 2)^2 positions, and tiles that hang over the edge cost as much as others. The
/// constants are fitted to the times that `microtome tune` printed of networks of base 16 and 32 on 32 to 512
/// pixels (Zen 3, AVX2); half of the 594 are within 14 % below and 6 % above.
inline double conv_cost(ConvAlgorithm a, const ConvShape& s, const Index<2>& size) {
  constexpr double kProduct = 1.1;                   // a multiply-add of the matrix product
  constexpr double kInput = 12, kOutput = 6;         // transforms, per position and channel
  constexpr double kWeights = 6, kLateWeights = 12;  // reading U, per weight and position; making it, too
  const double in = s.inputs(), out = s.out;
  if (!is_winograd(a)) return static_cast<double>(volume<2>(size)) * 9 * in * out;
  const std::int64_t tile = a == ConvAlgorithm::winograd4 ? 4 : 6;
  const double tiles = static_cast<double>(((size[0] + tile - 1) / tile) * ((size[1] + tile - 1) / tile));
  const double positions = static_cast<double>((tile + 2) * (tile + 2));
  return positions * (tiles * (kProduct * in * out + kInput * in + kOutput * out) +
                      in * out * (transforms_weights_late(s) ? kLateWeights : kWeights));
}

/// The algorithm for a layer whose output usually has `size`; `last`: of the network. Below 16 input channels
/// Winograd's transforms, which compute 16 whatever is in use, cost more than they save.
template <int Rank>
ConvAlgorithm choose_algorithm(const ConvShape& s, bool last, [[maybe_unused]] const Index<Rank>& size) {
  if (last && s.out <= 4 && s.stride == 1 && s.slope == kNoActivation) return ConvAlgorithm::head;
  ConvAlgorithm best = ConvAlgorithm::direct;
  if constexpr (Rank == 2) {
    if (!can_use<2>(ConvAlgorithm::winograd6, s, last) || s.inputs() < kChannelBlock) return best;
    for (const ConvAlgorithm a : {ConvAlgorithm::winograd4, ConvAlgorithm::winograd6})
      if (conv_cost(a, s, size) < conv_cost(best, s, size)) best = a;
  }
  return best;
}

}  // namespace microtome
