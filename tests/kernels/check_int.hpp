// What the checks of the integer kernels share. Nothing is rounded differently anywhere: a kernel is right
// when every byte equals its scalar reference's.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/check.hpp"

namespace microtome_test {

/// Integers in [low, high], the same for the same seed. Every third is one of the two ends: sums come as near
/// to overflow as they can.
template <class Array>
void fill_integers(Array& a, std::uint32_t seed, std::int64_t low, std::int64_t high) {
  std::mt19937 rng(seed);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::int64_t any =
        low + static_cast<std::int64_t>(rng() % static_cast<std::uint64_t>(high - low + 1));
    const std::int64_t value = rng() % 3 != 0 ? any : rng() % 2 != 0 ? high : low;
    a[i] = static_cast<std::remove_reference_t<decltype(a[i])>>(value);
  }
}

/// Index of the first element that differs, -1 if none does.
template <class A, class B>
std::ptrdiff_t first_difference(A& got, B& want) {
  for (std::size_t i = 0; i < want.size(); ++i)
    if (got[i] != want[i]) return static_cast<std::ptrdiff_t>(i);
  return -1;
}

/// How sums become 8 bits: multipliers and zero point.
struct Step {
  float m_pos, m_neg;
  int zero_point;
};

/// Steps for sums of `bits` bits: into the range of 8 bits; with many ties; ReLU; to almost nothing; far
/// beyond.
inline std::vector<Step> steps(int bits) {
  const float unit = std::ldexp(1.0f, 9 - bits);
  return {{unit * 0.73f, unit * 0.0073f, 77},
          {unit, unit, 128},
          {unit / 2, 0.0f, 0},
          {unit * 1e-3f, unit * 1e-5f, 3},
          {unit * 3e4f, unit * 3e4f, 255},
          {1e38f, 1e36f, 254}};
}

/// `channels` in blocks of 16: the pairs in use of each.
inline std::vector<int> pairs_of_blocks(int channels) {
  std::vector<int> pairs;
  for (int c = channels; c > 0; c -= 16) pairs.push_back(c < 16 ? (c + 1) / 2 : 8);
  return pairs;
}

}  // namespace microtome_test
