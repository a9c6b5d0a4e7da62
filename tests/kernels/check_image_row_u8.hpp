// Checks of image_row_u8.
#pragma once
#include <microtome/kernels/image_row_u8/scalar.hpp>

#include <algorithm>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_image_row_u8(const KernelTable& table) {
  for (int channels = 1; channels <= 16; ++channels)
    for (const int width : {1, 2, 15, 16, 17, 40}) {
      const std::size_t pixels = static_cast<std::size_t>(width);
      Guarded<std::uint8_t> in(pixels * static_cast<std::size_t>(channels));
      Guarded<float> scale(static_cast<std::size_t>(channels)), shift(scale.size());
      Guarded<float> got(pixels * 16), want(pixels * 16);
      for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint8_t>(i * 37 + 11);
      fill_random(scale, 3), fill_random(shift, 4), fill_random(got, 5);
      std::copy(got.data(), got.data() + got.size(), want.data());  // unused lanes stay as they were
      ImageRowArgs a{in.data(), channels, scale.data(), shift.data(), want.data(), width};
      scalar::image_row_u8<double>(a);
      a.out = got.data();
      table.image_row_u8(a);
      INFO(std::string(table.isa), ": ", channels, " channels, width ", width);
      CHECK(difference(got, want) <= 5e-7);
    }
}

}  // namespace microtome_test
