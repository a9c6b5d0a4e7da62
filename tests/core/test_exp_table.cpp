// The table of powers against the C library in long double, and what probabilities rely on.
#include <doctest.h>
#include <microtome/core/exp_table.hpp>

#include <cmath>

using microtome::ExpTable;
using microtome::kExpTable;

TEST_CASE("every entry is the nearest integer, and none is a near miss") {
  for (int d = 0; d < ExpTable::kSize; ++d) {
    const long double exact = std::ldexp(std::exp(static_cast<long double>(-d) / 256), 23);
    const long double distance = exact - static_cast<long double>(kExpTable.value[d]);
    CAPTURE(d);
    CHECK(static_cast<double>(std::fabs(distance)) < 0.5 - 1e-5);
  }
}

TEST_CASE("256 equal classes fit in 32 bits, and no entry is zero") {
  CHECK(kExpTable.value[0] == 1 << 23);
  CHECK(std::int64_t{256} * kExpTable.value[0] <= std::int64_t{1} << 31);
  for (int d = 1; d < ExpTable::kSize; ++d) {
    CAPTURE(d);
    CHECK(kExpTable.value[d] >= 1);
    CHECK(kExpTable.value[d] <= kExpTable.value[d - 1]);
  }
}
