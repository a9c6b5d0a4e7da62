// Reference of probabilities_i32.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

inline void probabilities_i32(const ProbabilityI32Args& a) {
  for (int x = 0; x < a.width; ++x) {
    const auto logit = [&](int c) { return a.logits[c / 16 * a.block_stride + x * 16 + c % 16]; };
    const auto power = [&](std::int32_t d) { return a.exp_table[d < 4095 ? d : 4095]; };
    std::int32_t top = logit(0);
    for (int c = 1; c < a.classes; ++c) top = logit(c) > top ? logit(c) : top;
    std::int64_t sum = 0;
    for (int c = 0; c < a.classes; ++c) sum += power(top - logit(c));
    for (int c = 0; c < a.classes; ++c) {
      const std::int32_t l = logit(c);
      float& p = a.out[c * a.plane_stride + x];
      if (a.final_layer == FinalLayer::none) p = static_cast<float>(l) / 256;
      if (a.final_layer == FinalLayer::softmax)
        p = static_cast<float>(power(top - l)) / static_cast<float>(sum);
      if (a.final_layer == FinalLayer::sigmoid) {
        const std::int32_t mine = power(l < 0 ? -l : 0), other = power(l > 0 ? l : 0);
        p = static_cast<float>(mine) / static_cast<float>(mine + other);
      }
    }
  }
}

}  // namespace microtome::scalar
