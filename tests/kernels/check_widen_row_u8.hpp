// Checks of widen_row_u8.
#pragma once
#include <microtome/kernels/widen_row_u8/scalar.hpp>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_widen_row_u8(const KernelTable& table) {
  for (int width = 1; width <= 40; ++width) {
    const std::size_t n = static_cast<std::size_t>(width) * 16;
    Guarded<std::uint8_t> in(n, width % 2 != 0);
    Guarded<std::int16_t> got(n), want(n);
    fill_integers(in, static_cast<std::uint32_t>(width), 0, 255);
    scalar::widen_row_u8({in.data(), want.data(), width});
    table.widen_row_u8({in.data(), got.data(), width});
    INFO(std::string(table.isa), ": width ", width);
    CHECK(first_difference(got, want) == -1);
  }
}

}  // namespace microtome_test
