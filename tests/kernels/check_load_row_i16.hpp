// Checks of load_row_i16.
#pragma once
#include <microtome/kernels/load_row_i16/scalar.hpp>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_load_row_i16(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int width = 1; width <= 40; ++width)
    for (const bool full : {false, true})  // sums up to 2^31 - 1, or small ones, which meet more ties
      for (const Step& step : steps(full ? 31 : 12)) {
        const std::size_t n = static_cast<std::size_t>(width) * 16;
        Guarded<std::int16_t> in(n, width % 2 != 0), factor(16), got(n), want(n);
        Guarded<std::int32_t> term(16);
        fill_integers(in, seed++, full ? -32768 : -600, full ? 32767 : 600);
        fill_integers(factor, seed++, full ? -32768 : -3, full ? 32767 : 3);
        fill_integers(term, seed++, full ? 1 - (1 << 30) : -9, full ? (1 << 30) - 1 : 9);
        LoadRowI16Args a{};
        a.in = in.data(), a.factor = factor.data(), a.term = term.data();
        a.m_pos = step.m_pos, a.m_neg = step.m_neg, a.zero_point = step.zero_point;
        a.out = want.data(), a.width = width;
        scalar::load_row_i16(a);
        a.out = got.data();
        table.load_row_i16(a);
        INFO(std::string(table.isa), ": width ", width, ", multiplier ", step.m_pos);
        CHECK(first_difference(got, want) == -1);
      }
}

}  // namespace microtome_test
