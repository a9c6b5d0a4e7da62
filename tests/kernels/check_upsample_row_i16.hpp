// Checks of upsample_row_i16.
#pragma once
#include <microtome/kernels/upsample_row_i16/scalar.hpp>

#include <algorithm>

#include "kernels/check_int.hpp"

namespace microtome_test {

inline void check_upsample_row_i16(const KernelTable& table) {
  const std::int16_t weights[][4] = {{91, 37, 0, 0},  {128, 0, 0, 0}, {0, 128, 0, 0}, {1, 127, 0, 0},
                                     {50, 40, 30, 8}, {0, 0, 128, 0}, {1, 2, 3, 122}};
  std::uint32_t seed = 1;
  for (int w = 0; w < 7; ++w)
    for (int n = 1; n <= 21; ++n)
      for (const bool full : {false, true})
        for (const Step& step : steps(full ? 30 : 20)) {
          const int rows = w < 4 ? 2 : 4, width = 2 * n;
          Guarded<std::int16_t> source(static_cast<std::size_t>(rows * n) * 16, n % 2 != 0);
          Guarded<std::int32_t> lo(static_cast<std::size_t>(width)), hi(lo.size());
          Guarded<std::int16_t> fraction(lo.size()), got(lo.size() * 16), want(got.size());
          fill_integers(source, seed++, full ? -32768 : -60, full ? 32767 : 60);
          fill_integers(fraction, seed++, 0, 128);
          for (int i = 0; i < width; ++i) {
            const std::size_t at = static_cast<std::size_t>(i);
            lo[at] = n == 1 ? 0 : i * (n - 1) / (2 * n - 1);
            hi[at] = std::min(lo[at] + 1, n - 1);
          }
          UpsampleRowI16Args a{};
          for (int r = 0; r < rows; ++r) {
            a.rows[r] = source.data() + static_cast<std::ptrdiff_t>(r) * n * 16;
            a.row_weight[r] = weights[w][r];
          }
          a.row_count = rows;
          a.lo = lo.data(), a.hi = hi.data(), a.fraction = fraction.data();
          a.m_pos = step.m_pos, a.m_neg = step.m_neg, a.zero_point = step.zero_point;
          a.width = width;
          a.out = want.data();
          scalar::upsample_row_i16(a);
          a.out = got.data();
          table.upsample_row_i16(a);
          INFO(std::string(table.isa), ": ", rows, " rows of ", n, ", multiplier ", step.m_pos);
          CHECK(first_difference(got, want) == -1);
        }
}

}  // namespace microtome_test
