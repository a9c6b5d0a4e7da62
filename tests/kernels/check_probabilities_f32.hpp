// Checks of probabilities_f32.
#pragma once
#include <microtome/kernels/probabilities_f32/scalar.hpp>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_probabilities_f32(const KernelTable& table) {
  for (const FinalLayer layer : {FinalLayer::none, FinalLayer::sigmoid, FinalLayer::softmax})
    for (const int classes : {1, 2, 3, 5, 16, 17, 33, 256})
      for (const int width : {1, 3, 63, 64, 65, 130}) {
        const std::size_t pixels = static_cast<std::size_t>(width);
        Guarded<float> logits(pixels * 16 * static_cast<std::size_t>((classes + 15) / 16));
        Guarded<float> got(pixels * static_cast<std::size_t>(classes)), want(got.size());
        fill_random(logits, static_cast<std::uint32_t>(classes * width), width == 65 ? 120.0f : 8.0f);
        ProbabilityArgs a{};
        a.logits = logits.data();
        a.block_stride = width * 16;
        a.classes = classes;
        a.final_layer = layer;
        a.multiplier = 1.5f;
        a.plane_stride = width;
        a.width = width;
        a.out = want.data();
        scalar::probabilities_f32<double>(a);
        a.out = got.data();
        table.probabilities_f32(a);
        INFO(std::string(table.isa), ": ", classes, " classes, width ", width, ", layer ",
             static_cast<int>(layer));
        CHECK(difference(got, want) <= 2e-6);
      }
}

}  // namespace microtome_test
