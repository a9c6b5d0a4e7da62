// Reference of probabilities_f32.
#pragma once
#include <cmath>

#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void probabilities_f32(const ProbabilityArgs& a) {
  for (int x = 0; x < a.width; ++x) {
    const auto logit = [&](int c) {
      return static_cast<Acc>(a.logits[c / 16 * a.block_stride + x * 16 + c % 16]);
    };
    Acc top = logit(0), sum = 0;
    for (int c = 1; c < a.classes; ++c) top = logit(c) > top ? logit(c) : top;
    for (int c = 0; c < a.classes; ++c) sum += std::exp(logit(c) - top);
    for (int c = 0; c < a.classes; ++c) {
      Acc p = logit(c);
      if (a.final_layer == FinalLayer::sigmoid) p = 1 / (1 + std::exp(-static_cast<Acc>(a.multiplier) * p));
      if (a.final_layer == FinalLayer::softmax) p = std::exp(p - top) / sum;
      a.out[c * a.plane_stride + x] = static_cast<float>(p);
    }
  }
}

}  // namespace microtome::scalar
