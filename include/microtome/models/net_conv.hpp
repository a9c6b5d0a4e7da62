// One convolution of a network.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "../layers/conv.hpp"

namespace microtome {

/// Packed weights, and how the convolution is wired: the prologue of each source it reads.
template <int Rank>
struct NetConv {
  std::string name;  ///< "en_1.conv0"
  Conv<float, Rank> conv;
  std::vector<Prologue> prologues;  ///< one per source; an identity one copies
  int level;                        ///< output resolution: level 0 is the input's, each level halves it
  bool enlarges = false;  ///< its first source is enlarged x2, then activated: `slope` of its prologue
  bool adds = false;      ///< its result is added to the tensor it is written to: a residual
  std::vector<Prologue> passes{};  ///< over its result; none unless fusions are off (unfused.hpp)
  bool tuned = false;              ///< its algorithm is not the one that the cost model chooses

  /// Rows of its input (enlarged, if it enlarges) that rows of its output depend on.
  Rows input_rows(const Rows& out, std::int64_t height) const {
    const std::int64_t pad = conv.shape().kernel / 2, stride = conv.shape().stride;
    return {std::max<std::int64_t>(0, out.begin * stride - pad),
            std::min(height, (out.end - 1) * stride + pad + 1), 0};
  }
};

}  // namespace microtome
