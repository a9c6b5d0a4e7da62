#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "fakes.hpp"
#include "microtome/pipeline/stitch.hpp"
#include "test_data.hpp"

using namespace microtome;
using namespace microtome_test;

namespace {

// Outputs of every patch of a grid, from a seed.
struct Outputs {
  Outputs(const PatchGrid& g, int classes, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> p(0.0f, 1.0f);
    patches.resize(static_cast<std::size_t>(g.count()));
    for (auto& o : patches) {
      o.resize(static_cast<std::size_t>(classes * g.patch() * g.patch()));
      for (float& v : o) v = p(random);
    }
  }
  std::vector<std::vector<float>> patches;  // row-major
};

// The whole mask at once, in double: mean of the covering patches at the plane pixel under each mask pixel.
std::vector<std::uint8_t> plain_stitch(const PatchGrid& g, MaskAxis ax, MaskAxis ay, int classes,
                                       bool softmax, const Outputs& o) {
  std::vector<std::uint8_t> labels(static_cast<std::size_t>(ax.size() * ay.size()));
  const std::int64_t side = g.patch();
  std::vector<double> sum(static_cast<std::size_t>(classes * g.x().size * g.y().size));
  std::vector<int> count(static_cast<std::size_t>(g.x().size * g.y().size));
  for (std::int64_t r = 0; r < g.rows(); ++r)
    for (std::int64_t c = 0; c < g.columns(); ++c)
      for (std::int64_t y = 0; y < side; ++y)
        for (std::int64_t x = 0; x < side; ++x) {
          const std::int64_t px = g.x().start(c) + x, py = g.y().start(r) + y;
          if (px >= g.x().size || py >= g.y().size) continue;
          const auto at = static_cast<std::size_t>(py * g.x().size + px);
          ++count[at];
          for (int k = 0; k < classes; ++k) {
            const float p = o.patches[static_cast<std::size_t>(r * g.columns() + c)]
                                     [static_cast<std::size_t>((k * side + y) * side + x)];
            sum[static_cast<std::size_t>(k) * count.size() + at] +=
                std::round(static_cast<double>(p) * 16777216.0) / 16777216.0;
          }
        }
  for (std::int64_t y = 0; y < ay.size(); ++y)
    for (std::int64_t x = 0; x < ax.size(); ++x) {
      const auto at = static_cast<std::size_t>(ay.plane_of(y) * g.x().size + ax.plane_of(x));
      int label = 0;
      double best = -1;
      for (int k = 0; k < classes; ++k) {
        const double mean = sum[static_cast<std::size_t>(k) * count.size() + at] / count[at];
        if (softmax ? mean > best : mean >= 0.5) label = classes == 1 ? 1 : k;
        best = std::max(best, mean);
      }
      labels[static_cast<std::size_t>(y * ax.size() + x)] = static_cast<std::uint8_t>(label);
    }
  return labels;
}

struct Stitched {
  std::vector<std::uint8_t> labels;
  std::vector<std::uint64_t> pixels;
  std::uint64_t spills = 0;
};

Stitched run(const PatchGrid& g, MaskAxis ax, MaskAxis ay, int classes, bool softmax, const Outputs& o,
             const std::vector<std::int64_t>& order, std::size_t accumulators, int threads = 1) {
  const TempDir dir;
  Stitched s;
  s.labels.assign(static_cast<std::size_t>(ax.size() * ay.size()), 99);
  const LabelRule rule(softmax ? FinalLayer::softmax : FinalLayer::sigmoid, classes, {}, "model");
  std::atomic<int> delivered{0};
  Stitcher stitcher(g, ax, ay, rule, accumulators, dir / "spill",
                    [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
                      ++delivered;
                      for (std::int64_t y = 0; y < kMaskTile; ++y)
                        for (std::int64_t x = 0; x < kMaskTile; ++x) {
                          const std::int64_t mx = tx * kMaskTile + x, my = ty * kMaskTile + y;
                          if (mx < ax.size() && my < ay.size())
                            s.labels[static_cast<std::size_t>(my * ax.size() + mx)] =
                                labels[y * kMaskTile + x];
                          else if (labels[y * kMaskTile + x] != 0)
                            delivered = -1000;
                        }
                    });
  for (const std::int64_t i : order) stitcher.expect(i % g.columns(), i / g.columns());
  DefaultExecutor ex(threads);
  parallel_for(ex, static_cast<int>(order.size()), [&](int i, int) {
    const std::int64_t k = order[static_cast<std::size_t>(i)];
    stitcher.add(k % g.columns(), k / g.columns(), o.patches[static_cast<std::size_t>(k)].data());
  });
  CHECK(delivered > 0);
  for (int l = 0; l < rule.labels(); ++l) s.pixels.push_back(stitcher.pixels(l));
  s.spills = stitcher.spills();
  return s;
}

std::vector<std::int64_t> all(const PatchGrid& g) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(g.count()));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

TEST_CASE("probabilities become fixed point, rounded to nearest") {
  CHECK(fixed_probability(0.0f) == 0);
  CHECK(fixed_probability(1.0f) == kProbabilityOne);
  CHECK(fixed_probability(0.5f) == kProbabilityOne / 2);
  CHECK(fixed_probability(-1.0f) == 0);
  CHECK(fixed_probability(7.0f) == kProbabilityOne);
  CHECK(fixed_probability(std::numeric_limits<float>::quiet_NaN()) == 0);
  CHECK(fixed_probability(std::nextafter(1.0f, 0.0f)) == kProbabilityOne - 1);
  for (float p = 1e-9f; p < 1.0f; p *= 1.0137f)
    CHECK(fixed_probability(p) ==
          static_cast<std::uint32_t>(std::floor(static_cast<double>(p) * 16777216.0 + 0.5)));
}

TEST_CASE("labels: argmax with the lowest of equals; thresholds, later classes overwrite") {
  const std::uint32_t one = kProbabilityOne;
  const auto label = [](const LabelRule& r, std::vector<std::uint32_t> sums, std::uint8_t count) {
    sums.resize(8);
    std::uint8_t out = 99;
    r.apply(sums.data(), &count, 1, &out);
    return static_cast<int>(out);
  };
  const LabelRule softmax(FinalLayer::softmax, 3, {}, "m");
  CHECK(label(softmax, {5, 9, 9}, 2) == 1);
  CHECK(label(softmax, {0, 0, 0}, 0) == 0);
  CHECK(label(softmax, {1, 2, 3}, 1) == 2);
  const LabelRule single(FinalLayer::sigmoid, 1, {0.25}, "m");
  CHECK(single.labels() == 2);
  CHECK(label(single, {one / 2}, 2) == 1);  // mean exactly at the threshold
  CHECK(label(single, {one / 2 - 1}, 2) == 0);
  CHECK(label(single, {0}, 0) == 0);
  const LabelRule several(FinalLayer::sigmoid, 3, {0.5, 0.5, 0.9}, "m");
  CHECK(several.labels() == 3);
  CHECK(label(several, {one, one / 2, one / 2}, 1) == 1);
  CHECK(label(several, {one, one, one}, 1) == 2);
  CHECK(label(several, {one, 0, 0}, 1) == 0);
  CHECK_THROWS_WITH_AS(LabelRule(FinalLayer::none, 2, {}, "m.safetensors"),
                       doctest::Contains("m.safetensors: final_layer"), InputError);
}

TEST_CASE("tile by tile equals all at once: overlaps, edges, scales, classes") {
  struct Case {
    std::int64_t width, height, level0_w, level0_h, d, patch, stride;
    int classes;
    bool softmax;
  };
  for (const Case& c :
       {Case{700, 600, 700, 600, 1, 128, 64, 2, true}, Case{530, 1100, 1060, 2200, 1, 128, 96, 3, true},
        Case{530, 400, 2123, 1601, 4, 64, 64, 2, false}, Case{900, 700, 450, 350, 1, 128, 100, 1, false},
        Case{50, 70, 50, 70, 1, 128, 64, 2, true}, Case{1, 1, 3, 2, 1, 16, 16, 1, false}}) {
    CAPTURE(c.width);
    const PatchGrid g(c.width, c.height, c.patch, c.stride);
    const MaskAxis ax{c.level0_w, c.width, c.d}, ay{c.level0_h, c.height, c.d};
    const Outputs o(g, c.classes, 5);
    const auto want = plain_stitch(g, ax, ay, c.classes, c.softmax, o);
    const Stitched got = run(g, ax, ay, c.classes, c.softmax, o, all(g), 64);
    CHECK(got.labels == want);
    for (std::size_t l = 0; l < got.pixels.size(); ++l)
      CHECK(got.pixels[l] ==
            static_cast<std::uint64_t>(std::count(want.begin(), want.end(), static_cast<std::uint8_t>(l))));
    CHECK(got.spills == 0);
  }
}

TEST_CASE("any order, any number of threads, any memory: the same bytes") {
  const PatchGrid g(1700, 1200, 128, 96);
  const MaskAxis ax{1700, 1700, 1}, ay{1200, 1200, 1};
  const Outputs o(g, 2, 11);
  const auto want = plain_stitch(g, ax, ay, 2, true, o);
  std::mt19937 random(3);
  for (const std::size_t accumulators : {1, 2, 3, 5, 100})
    for (const int threads : {1, 2, 4}) {
      std::vector<std::int64_t> order = all(g);
      std::shuffle(order.begin(), order.end(), random);
      const Stitched got = run(g, ax, ay, 2, true, o, order, accumulators, threads);
      CHECK(got.labels == want);
      CHECK((got.spills > 0) == (accumulators < 12));
    }
}

TEST_CASE("patches left out leave label 0, and their tiles are not delivered") {
  const PatchGrid g(1600, 600, 64, 64);
  const MaskAxis ax{1600, 1600, 1}, ay{600, 600, 1};
  const Outputs o(g, 1, 2);
  const Stitched got = run(g, ax, ay, 1, false, o, {0, 1}, 8);
  CHECK(got.labels[20 * 1600 + 600] == 99);  // its tile never came
  CHECK(got.labels[300 * 1600 + 20] == 0);   // same tile, no patch
  const auto want = plain_stitch(g, ax, ay, 1, false, o);
  for (std::size_t y = 0; y < 64; ++y)
    for (std::size_t x = 0; x < 128; ++x) REQUIRE(got.labels[y * 1600 + x] == want[y * 1600 + x]);
}

TEST_CASE("a spill that cannot be written is a clear error, not a hang") {
  AccumulatorStore store(4096, 1, "/nonexistent-folder/spill");
  { auto loan = store.borrow(1); }
  CHECK_THROWS_AS(store.borrow(2), ResourceError);
  CHECK_NOTHROW(store.borrow(1));
}

TEST_CASE("spilled blocks come back as they were; discarded ones come back zero") {
  const TempDir dir;
  AccumulatorStore store(1000, 2, dir / "spill");
  for (int round = 0; round < 3; ++round)
    for (std::int64_t k = 0; k < 20; ++k) {
      auto loan = store.borrow(k);
      for (std::size_t i = 0; i < 1000; ++i) {
        REQUIRE(loan.data()[i] ==
                static_cast<std::uint8_t>(round ? k + static_cast<std::int64_t>(i) + round - 1 : 0));
        loan.data()[i] = static_cast<std::uint8_t>(k + static_cast<std::int64_t>(i) + round);
      }
    }
  store.borrow(3).discard();
  CHECK(store.borrow(3).data()[500] == 0);
  CHECK(std::filesystem::is_empty(dir.path()));  // the file has no name
}
