// Checks of load_row_f32.
#pragma once
#include <microtome/kernels/load_row_f32/scalar.hpp>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_load_row_f32(const KernelTable& table) {
  for (int width = 1; width <= 40; ++width)
    for (const float slope : {1.0f, 0.01f, 0.0f}) {
      const std::size_t n = static_cast<std::size_t>(width) * 16;
      Guarded<float> in(n, width % 2 != 0), scale(16), shift(16), got(n), want(n);
      fill_random(in, 7, 4.0f);
      fill_random(scale, 8, 2.0f);
      fill_random(shift, 9);
      LoadRowArgs a{in.data(), scale.data(), shift.data(), slope, want.data(), width};
      scalar::load_row_f32<double>(a);
      a.out = got.data();
      table.load_row_f32(a);
      INFO(std::string(table.isa), ": width ", width, ", slope ", slope);
      CHECK(difference(got, want) <= 5e-7);
    }
}

}  // namespace microtome_test
