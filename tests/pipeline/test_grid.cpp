#include <doctest.h>

#include <set>
#include <vector>

#include "microtome/pipeline/grid.hpp"

using microtome::BandOrder;
using microtome::GridAxis;
using microtome::PatchGrid;

TEST_CASE("every pixel of an axis is covered, patches stay inside, starts rise") {
  for (std::int64_t size = 1; size <= 150; ++size)
    for (const std::int64_t patch : {16, 32, 48})
      for (std::int64_t stride = 5; stride <= patch; stride += 3) {
        const GridAxis a{size, patch, stride};
        std::vector<int> covered(static_cast<std::size_t>(size));
        for (std::int64_t i = 0; i < a.count(); ++i) {
          CHECK(a.start(i) >= 0);
          if (i > 0) CHECK(a.start(i) > a.start(i - 1));
          if (size >= patch) CHECK(a.start(i) + patch <= size);
          if (i + 1 < a.count()) CHECK(a.start(i) == i * stride);
          for (std::int64_t x = a.start(i); x < std::min(size, a.start(i) + patch); ++x)
            ++covered[static_cast<std::size_t>(x)];
        }
        for (const int c : covered) {
          CHECK(c >= 1);
          CHECK(c <= a.max_overlap());
        }
      }
}

TEST_CASE("the last patch ends with the axis") {
  const GridAxis a{5000, 512, 256};
  CHECK(a.count() == 19);
  CHECK(a.start(a.count() - 1) + 512 == 5000);
  CHECK(GridAxis{512, 512, 256}.count() == 1);
  CHECK(GridAxis{513, 512, 256}.count() == 2);
  CHECK(GridAxis{768, 512, 256}.count() == 2);
  CHECK(GridAxis{7, 512, 256}.count() == 1);
}

TEST_CASE("impossible grids are refused") {
  CHECK_NOTHROW(PatchGrid(1000, 1000, 512, 64));
  CHECK_THROWS_WITH_AS(PatchGrid(1000, 1000, 500, 250), doctest::Contains("multiple of 16"),
                       microtome::UsageError);
  CHECK_THROWS_AS(PatchGrid(1000, 1000, 0, 1), microtome::UsageError);
  CHECK_THROWS_WITH_AS(PatchGrid(1000, 1000, 512, 513), doctest::Contains("--stride"), microtome::UsageError);
  CHECK_THROWS_AS(PatchGrid(1000, 1000, 512, 0), microtome::UsageError);
  CHECK_THROWS_WITH_AS(PatchGrid(1 << 20, 1 << 20, 512, 16), doctest::Contains("255 at most"),
                       microtome::UsageError);
  CHECK_NOTHROW(PatchGrid(520, 1 << 20, 512, 16));  // two columns only
}

TEST_CASE("the band order visits every patch once and keeps to its band") {
  for (const std::int64_t columns : {1, 5, 12})
    for (const std::int64_t rows : {1, 4, 7})
      for (const std::int64_t band : {1, 3, 5, 100}) {
        const BandOrder order(columns, rows, band);
        std::set<std::pair<std::int64_t, std::int64_t>> seen;
        std::int64_t last_band = 0;
        for (std::int64_t i = 0; i < columns * rows; ++i) {
          const BandOrder::Cell c = order.cell(i);
          REQUIRE(c.column >= 0);
          REQUIRE(c.column < columns);
          REQUIRE(c.row >= 0);
          REQUIRE(c.row < rows);
          seen.insert({c.column, c.row});
          CHECK(c.column / std::min(band, columns) >= last_band);
          last_band = c.column / std::min(band, columns);
        }
        CHECK(seen.size() == static_cast<std::size_t>(columns * rows));
      }
}
