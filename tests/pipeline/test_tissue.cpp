#include <doctest.h>

#include "fakes.hpp"
#include "microtome/pipeline/tissue.hpp"

using namespace microtome;
using namespace microtome_test;

namespace {

constexpr FakeSlide::Rgb kGlass{244, 243, 245}, kPink{222, 160, 190}, kPale{236, 217, 226}, kBlack{0, 0, 0},
    kGrey{120, 118, 119};

// 6400 x 4800 px at 0.5 um/px: 400 x 300 thumbnail pixels of 16 px. `inside` has one colour, the rest is
// glass.
FakeSlide slide_with(FakeSlide::Rgb color, std::int64_t x0, std::int64_t y0, std::int64_t x1,
                     std::int64_t y1) {
  return FakeSlide({{6400, 4800}}, 0.5, [=](int, std::int64_t x, std::int64_t y) {
    return x >= x0 && x < x1 && y >= y0 && y < y1 ? color : kGlass;
  });
}

TissueMask detect(const Slide& s, int threads = 1) {
  DefaultExecutor ex(threads);
  return TissueMask::detect(s, ex);
}

}  // namespace

TEST_CASE("Otsu splits two heaps between them") {
  std::array<std::uint64_t, 256> h{};
  h[10] = 500;
  h[12] = 300;
  h[90] = 100;
  h[100] = 80;
  CHECK(otsu_threshold(h) >= 12);
  CHECK(otsu_threshold(h) < 90);
  CHECK(otsu_threshold({}) == 0);
}

TEST_CASE("a stained block is found, with one thumbnail pixel around it") {
  const FakeSlide s = slide_with(kPink, 1600, 1600, 3200, 2400);
  const TissueMask m = detect(s);
  CHECK(m.width() == 400);
  CHECK(m.height() == 300);
  CHECK(m.fraction() == doctest::Approx(100.0 * 50 / (400 * 300)));
  std::size_t grown = 0;
  for (const std::uint8_t v : m.pixels()) grown += v;
  CHECK(grown == 102 * 52);
  CHECK(m.touches(0, 0, 6400, 4800, 6400, 4800));
  CHECK(m.touches(1600, 1600, 16, 16, 6400, 4800));
  CHECK(m.touches(1072, 1600, 513, 16, 6400, 4800));  // reaches the grown ring at 1584
  CHECK_FALSE(m.touches(1072, 1600, 512, 16, 6400, 4800));
  CHECK_FALSE(m.touches(4000, 3000, 512, 512, 6400, 4800));
  CHECK(m.touches(400, 400, 1, 1, 1600, 1200));  // the same place on a plane four times coarser
  CHECK_FALSE(m.touches(1590, 1190, 512, 512, 1600, 1200));
}

TEST_CASE("pale tissue beside dark tissue is kept; grey ink runs; black padding and glass do not") {
  const FakeSlide s({{6400, 4800}}, 0.5, [](int, std::int64_t x, std::int64_t) {
    return x < 1600 ? kPink : x < 3200 ? kPale : x < 4000 ? kGrey : x < 4800 ? kBlack : kGlass;
  });
  const TissueMask m = detect(s);
  CHECK(m.touches(2000, 100, 64, 64, 6400, 4800));
  CHECK(m.touches(3500, 100, 64, 64, 6400, 4800));
  CHECK_FALSE(m.touches(4200, 100, 64, 64, 6400, 4800));
  CHECK_FALSE(m.touches(5000, 100, 64, 64, 6400, 4800));
  CHECK(m.fraction() == doctest::Approx(4000.0 / 6400));
}

TEST_CASE("empty glass and a slide full of tissue") {
  CHECK(detect(slide_with(kPink, 0, 0, 0, 0)).fraction() == 0.0);
  CHECK(detect(slide_with(kPink, 0, 0, 6400, 4800)).fraction() == 1.0);
  CHECK(detect(slide_with(kPale, 0, 0, 6400, 4800)).fraction() == 1.0);
}

TEST_CASE("the mask does not depend on threads, and huge slides stay small") {
  const FakeSlide s = slide_with(kPale, 900, 100, 1000, 4000);
  CHECK(detect(s, 1).pixels() == detect(s, 3).pixels());
  const FakeSlide wide({{100000, 50}}, 0.05, tissue_color);
  CHECK(detect(wide).width() <= 4096);
  const FakeSlide tiny({{3, 1}}, 0.5, tissue_color);
  CHECK(detect(tiny).width() == 3);
}

TEST_CASE("detection can be cancelled") {
  const FakeSlide s = slide_with(kPale, 0, 0, 100, 100);
  DefaultExecutor ex(2);
  int calls = 0;
  CHECK_THROWS_AS(TissueMask::detect(s, ex, [&](const Progress&) { return ++calls < 3; }), Cancelled);
  CHECK(calls < 6);
}
