// Checks of upsample_row_f32.
#pragma once
#include <microtome/kernels/upsample_row_f32/scalar.hpp>

#include <algorithm>

#include "kernels/check.hpp"

namespace microtome_test {

inline void check_upsample_row_f32(const KernelTable& table) {
  for (const int rows : {2, 4})
    for (int n = 1; n <= 21; ++n) {
      Guarded<float> source(static_cast<std::size_t>(rows * n) * 16, n % 2 != 0);
      const int width = 2 * n;
      Guarded<std::int32_t> lo(static_cast<std::size_t>(width)), hi(lo.size());
      Guarded<float> fraction(lo.size()), got(lo.size() * 16), want(got.size());
      fill_random(source, static_cast<std::uint32_t>(n));
      for (int i = 0; i < width; ++i) {
        const double s = n == 1 ? 0 : static_cast<double>(i) * (n - 1) / (2 * n - 1);
        const std::size_t at = static_cast<std::size_t>(i);
        lo[at] = static_cast<std::int32_t>(s);
        hi[at] = std::min(lo[at] + 1, n - 1);
        fraction[at] = static_cast<float>(s - lo[at]);
      }
      UpsampleRowArgs a{};
      const float weights[4] = {0.5f, 0.25f, 0.2f, 0.05f};
      for (int r = 0; r < rows; ++r) {
        a.rows[r] = source.data() + static_cast<std::ptrdiff_t>(r) * n * 16;
        a.row_weight[r] = weights[r];
      }
      a.row_count = rows;
      a.lo = lo.data(), a.hi = hi.data(), a.fraction = fraction.data();
      a.slope = 0.01f;
      a.width = width;
      a.out = want.data();
      scalar::upsample_row_f32<double>(a);
      a.out = got.data();
      table.upsample_row_f32(a);
      INFO(std::string(table.isa), ": ", rows, " rows of ", n);
      CHECK(difference(got, want) <= 5e-7);
    }
}

}  // namespace microtome_test
