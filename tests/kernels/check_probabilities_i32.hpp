// Checks of probabilities_i32.
#pragma once
#include <microtome/core/exp_table.hpp>
#include <microtome/kernels/probabilities_i32/scalar.hpp>

#include <algorithm>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_probabilities_i32(const KernelTable& table) {
  Guarded<std::int32_t> powers(ExpTable::kSize);
  std::copy(kExpTable.value, kExpTable.value + ExpTable::kSize, powers.data());
  for (const FinalLayer layer : {FinalLayer::none, FinalLayer::sigmoid, FinalLayer::softmax})
    for (const int classes : {1, 2, 3, 5, 16, 17, 33, 256})
      for (const int width : {1, 3, 63, 64, 65, 130})
        for (const int limit : {0, 1500, 5000, 1 << 23}) {  // 0: all classes alike, the largest sums
          const std::size_t pixels = static_cast<std::size_t>(width);
          Guarded<std::int32_t> logits(pixels * 16 * static_cast<std::size_t>((classes + 15) / 16));
          Guarded<float> got(pixels * static_cast<std::size_t>(classes)), want(got.size());
          fill_integers(logits, static_cast<std::uint32_t>(classes * width), -limit, limit);
          ProbabilityI32Args a{};
          a.logits = logits.data();
          a.block_stride = width * 16;
          a.classes = classes;
          a.final_layer = layer;
          a.exp_table = powers.data();
          a.plane_stride = width;
          a.width = width;
          a.out = want.data();
          scalar::probabilities_i32(a);
          a.out = got.data();
          table.probabilities_i32(a);
          INFO(std::string(table.isa), ": ", classes, " classes, width ", width, ", layer ",
               static_cast<int>(layer), ", logits up to ", limit);
          CHECK(first_difference(got, want) == -1);
        }
}

}  // namespace microtome_test
