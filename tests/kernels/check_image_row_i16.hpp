// Checks of image_row_i16.
#pragma once
#include <microtome/kernels/image_row_i16/scalar.hpp>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_image_row_i16(const KernelTable& table) {
  for (int channels = 1; channels <= 16; ++channels)
    for (const int width : {1, 2, 15, 16, 17, 40}) {
      const std::size_t pixels = static_cast<std::size_t>(width);
      Guarded<std::uint8_t> in(pixels * static_cast<std::size_t>(channels), width % 2 != 0);
      Guarded<std::uint8_t> values(static_cast<std::size_t>(channels) * 256);
      Guarded<std::int16_t> got(pixels * 16), want(pixels * 16);
      fill_integers(in, 1, 0, 255);
      fill_integers(values, 2, 0, 255);
      fill_integers(got, 3, -32768, 32767);  // every lane is written
      scalar::image_row_i16({in.data(), channels, values.data(), want.data(), width});
      table.image_row_i16({in.data(), channels, values.data(), got.data(), width});
      INFO(std::string(table.isa), ": ", channels, " channels, width ", width);
      CHECK(first_difference(got, want) == -1);
    }
}

}  // namespace microtome_test
