// Checks of winograd_output_i32.
#pragma once
#include <microtome/kernels/winograd_output_i32/scalar.hpp>

#include "kernels/check_int_tail.hpp"

namespace microtome_test {

inline void check_winograd_output_i32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int width = 1; width <= 21; ++width)
    for (int rows = 1; rows <= 4; ++rows)
      for (const Output kind : kOutputs) {
        const int tiles = (width + 3) / 4;
        const std::ptrdiff_t position = (tiles + width % 2) * 16, row = (width + 2) * 16;
        Guarded<std::int32_t> in(static_cast<std::size_t>(35 * position + tiles * 16), width % 2 != 0);
        fill_integers(in, seed++, INT32_MIN, INT32_MAX);  // any M is right: it counts modulo 2^32
        TailCase c(kind, static_cast<std::size_t>((rows - 1) * row + width * 16), 3e7, seed++);
        WinogradOutputI32Args a{};
        a.in = in.data(), a.position_stride = position;
        a.out_stride = a.residual_stride = row, a.rows = rows, a.width = width;
        a.tail = c.tail(true);
        scalar::winograd_output_i32(a);
        a.tail = c.tail(false);
        table.winograd_output_i32(a);
        INFO(std::string(table.isa), ": ", width, " x ", rows, ", output ", static_cast<int>(kind));
        c.check();
      }
}

}  // namespace microtome_test
