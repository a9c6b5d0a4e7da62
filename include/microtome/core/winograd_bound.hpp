// Which convolutions the integer Winograd kernels compute exactly (mathematics: kernels/winograd_int.hpp).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace microtome {

/// Sums of smaller magnitude come out of the integer Winograd kernels exactly; larger ones lose their high
/// bits.
inline constexpr std::int64_t kWinogradSumLimit = std::int64_t{1} << 25;

/// The largest magnitude that any partial sum of input * weight can have, in any order, for inputs in 0..255
/// (acts, padding included, as a padded pixel is a zero point in the same range) or, of `raw` ones, in
/// -32768..32767. `weights`: the `count` weights of one output channel.
template <class W>
std::int64_t largest_sum(const W* weights, std::size_t count, bool raw = false) {
  std::int64_t positive = 0, negative = 0;
  for (std::size_t i = 0; i < count; ++i) (weights[i] > 0 ? positive : negative) += weights[i];
  return raw ? 32768 * (positive - negative) : 255 * std::max(positive, -negative);
}

/// Whether the integer Winograd kernels are exact for an output channel with these weights, whatever the
/// input is. Layers with a channel for which they are not take the direct kernel.
template <class W>
bool winograd_is_exact(const W* weights, std::size_t count) {
  return largest_sum(weights, count) < kWinogradSumLimit;
}

}  // namespace microtome
