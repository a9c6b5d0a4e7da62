#include <doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fakes.hpp"
#include "microtome/pipeline/segment.hpp"
#include "microtome/pipeline/stain.hpp"

using namespace microtome;
using namespace microtome_test;

namespace {

using Vec = std::array<double, 3>;
using Pixels = std::vector<std::uint8_t>;  // interleaved RGB

constexpr Vec kHaematoxylin{0.6500, 0.7040, 0.2860}, kEosin{0.2681, 0.5703, 0.7765};  // unit vectors

double norm(const Vec& v) {
  return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

double degrees_between(const Vec& a, const Vec& b) {
  const double c = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / (norm(a) * norm(b));
  return std::acos(std::min(1.0, c)) * 180.0 / 3.14159265358979;
}

// Beer and Lambert, with glass at 240.
void add_pixel(Pixels& out, double haematoxylin, double eosin) {
  for (std::size_t c = 0; c < 3; ++c) {
    const double v = 240.0 * std::exp(-haematoxylin * kHaematoxylin[c] - eosin * kEosin[c]) - 1.0;
    out.push_back(static_cast<std::uint8_t>(std::lround(std::min(255.0, std::max(0.0, v)))));
  }
}

// 250 x 250 amounts of the two stains, from one alone to the other alone, so that the largest ones are known.
Pixels two_stains(double most_haematoxylin, double most_eosin) {
  Pixels p;
  for (int i = 0; i < 250; ++i)
    for (int j = 0; j < 250; ++j) {
      const double strength = 0.4 + 0.6 * i / 249.0, share = j / 249.0;
      add_pixel(p, most_haematoxylin * strength * share, most_eosin * strength * (1.0 - share));
    }
  return p;
}

StainFit fit(StainMethod m, const Pixels& p) {
  return fit_stain(m, p.data(), p.size() / 3);
}

Pixels normalised(const StainNormalizer& n, Pixels p) {
  n.apply(p.data(), p.size(), static_cast<std::int64_t>(p.size() / 3), 1);
  return p;
}

int largest_difference(const Pixels& a, const Pixels& b) {
  int d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d = std::max(d, std::abs(int{a[i]} - int{b[i]}));
  return d;
}

double mean_difference(const Pixels& a, const Pixels& b) {
  double d = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) d += std::abs(int{a[i]} - int{b[i]});
  return d / static_cast<double>(a.size());
}

constexpr StainMethod kMethods[] = {StainMethod::macenko, StainMethod::reinhard};

}  // namespace

TEST_CASE("Macenko finds the stain vectors and amounts an image was made of") {
  // Whichever stain is the stronger, haematoxylin is named first.
  for (const auto& [h, e] : {std::pair{2.0, 1.5}, std::pair{1.3, 2.2}}) {
    const StainFit f = fit(StainMethod::macenko, two_stains(h, e));
    REQUIRE(f.ok());
    // 1 % of the angles lies beyond either vector; and pixels of little stain lie below beta and are left
    // out.
    CHECK(degrees_between(f.profile.first, kHaematoxylin) < 1.0);
    CHECK(degrees_between(f.profile.second, kEosin) < 1.0);
    // The 99th percentile of share * strength, which is at most 1.
    CHECK(norm(f.profile.first) == doctest::Approx(0.93 * h).epsilon(0.05));
    CHECK(norm(f.profile.second) == doctest::Approx(0.93 * e).epsilon(0.05));
  }
}

TEST_CASE("Macenko brings two strengths of one stain to the same colours") {
  const Pixels strong = two_stains(2.0, 1.5), weak = two_stains(1.0, 0.9);
  REQUIRE(mean_difference(strong, weak) > 20.0);
  const StainFit from = fit(StainMethod::macenko, weak), to = fit(StainMethod::macenko, strong);
  REQUIRE((from.ok() && to.ok()));
  // Weak pixels are rounded to bytes before their density is doubled, and pale ones are kept on purpose.
  CHECK(mean_difference(normalised(StainNormalizer(from.profile, to.profile), weak), strong) < 3.0);
}

TEST_CASE("Reinhard measures what a plain computation in double does, and gives the target's statistics") {
  const Pixels image = two_stains(1.6, 1.2);
  const StainFit f = fit(StainMethod::reinhard, image);
  REQUIRE(f.ok());
  const auto lab_of = [](const std::uint8_t* p) {
    const double r = p[0], g = p[1], b = p[2];
    const double l = std::log10(0.3811 * r + 0.5783 * g + 0.0402 * b),
                 m = std::log10(0.1967 * r + 0.7244 * g + 0.0782 * b),
                 s = std::log10(0.0241 * r + 0.1288 * g + 0.8444 * b);
    return Vec{(l + m + s) / std::sqrt(3.0), (l + m - 2 * s) / std::sqrt(6.0), (l - m) / std::sqrt(2.0)};
  };
  const auto statistics = [&](const Pixels& p, const Pixels& counted) {
    std::array<Vec, 2> out{};
    double n = 0;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t i = 0; i < p.size(); i += 3) {
        if (std::min({counted[i], counted[i + 1], counted[i + 2]}) > 205) continue;
        const Vec v = lab_of(&p[i]);
        if (pass == 0) ++n;
        for (std::size_t c = 0; c < 3; ++c)
          out[static_cast<std::size_t>(pass)][c] +=
              pass == 0 ? v[c] : (v[c] - out[0][c]) * (v[c] - out[0][c]);
      }
      for (double& x : out[static_cast<std::size_t>(pass)]) x = pass == 0 ? x / n : std::sqrt(x / n);
    }
    return out;
  };
  const std::array<Vec, 2> own = statistics(image, image);
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(f.profile.first[c] == doctest::Approx(own[0][c]).epsilon(1e-4));
    CHECK(f.profile.second[c] == doctest::Approx(own[1][c]).epsilon(1e-3));
  }
  StainProfile target = f.profile;  // slightly lighter and less contrasted: nothing is clipped
  target.first = {3.85, -0.03, 0.008};
  target.second = {0.08, 0.02, 0.004};
  const std::array<Vec, 2> got = statistics(normalised(StainNormalizer(f.profile, target), image), image);
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(std::abs(got[0][c] - target.first[c]) < 5e-4);
    CHECK(std::abs(got[1][c] - target.second[c]) < 5e-4);
  }
}

TEST_CASE("an image that is its own target stays as it is") {
  const Pixels image = two_stains(1.8, 1.4);
  for (const StainMethod m : kMethods) {
    CAPTURE(std::string(name_of(m)));
    const StainFit f = fit(m, image);
    REQUIRE(f.ok());
    CHECK(largest_difference(normalised(StainNormalizer(f.profile, f.profile), image), image) <= 1);
  }
}

TEST_CASE("normalising again to the same target changes little") {
  const Pixels image = two_stains(1.1, 0.9);
  for (const StainMethod m : kMethods) {
    CAPTURE(std::string(name_of(m)));
    StainProfile target = fit(m, two_stains(1.5, 1.1)).profile;
    const Pixels once = normalised(StainNormalizer(fit(m, image).profile, target), image);
    const Pixels twice = normalised(StainNormalizer(fit(m, once).profile, target), once);
    CHECK(mean_difference(once, image) > 5.0);
    CHECK(mean_difference(twice, once) < 2.0);
  }
}

TEST_CASE("white and nearly white stay; the change fades in without a step") {
  for (const StainMethod m : kMethods) {
    CAPTURE(std::string(name_of(m)));
    const StainNormalizer n(fit(m, two_stains(0.8, 0.5)).profile, reference_stain(m));
    REQUIRE(n);
    for (int v = 230; v < 256; ++v) {
      const Pixels glass{static_cast<std::uint8_t>(v), 255, 240};
      CHECK(normalised(n, glass) == glass);
    }
    int last = 230;
    for (int v = 229; v > 150; --v) {
      const auto byte = static_cast<std::uint8_t>(v);
      const int now = normalised(n, {byte, byte, byte})[1];
      CHECK(std::abs(now - last) <= 14);  // grey falls by 1 a step; from strong stains to full gain in 25
      last = now;
    }
  }
}

TEST_CASE("what cannot be fitted says why, and no value is ever not a number") {
  const auto same = [](std::size_t n, Pixels rgb) {
    Pixels p;
    for (std::size_t i = 0; i < n; ++i) p.insert(p.end(), rgb.begin(), rgb.end());
    return p;
  };
  Pixels one_stain, grey, noise;
  std::uint32_t random = 1;
  for (int i = 0; i < 60000; ++i) {
    if (i % 3 == 0) add_pixel(one_stain, 0.5 + 1.5 * i / 60000.0, 0.0);
    random = random * 1664525u + 1013904223u;
    noise.push_back(static_cast<std::uint8_t>(150 + (random >> 24) % 3));
    grey.push_back(static_cast<std::uint8_t>(40 + i / 3 * 160 / 20000));
  }
  const struct {
    const char* what;
    Pixels pixels;
  } cases[] = {{"nothing", {}},
               {"white", same(10000, {255, 255, 255})},
               {"black", same(10000, {0, 0, 0})},
               {"one colour", same(10000, {120, 60, 130})},
               {"one stain", one_stain},
               {"grey", grey},
               {"noise around one grey", noise}};
  for (const auto& c : cases)
    for (const StainMethod m : kMethods) {
      CAPTURE(std::string(c.what));
      CAPTURE(std::string(name_of(m)));
      const StainFit f = fit(m, c.pixels);
      // Reinhard knows no stains: one that varies is enough for it.
      if (m == StainMethod::reinhard && std::string(c.what) == "one stain") continue;
      CHECK_FALSE(f.ok());
      CHECK_FALSE(f.failure.empty());
    }
  Pixels few = two_stains(2.0, 2.0);
  few.resize(3 * 499);
  for (const StainMethod m : kMethods) CHECK(fit(m, few).failure == "too few stained pixels");

  StainProfile bad = reference_stain(StainMethod::macenko);
  bad.first[1] = std::nan("");
  CHECK_THROWS_AS(StainNormalizer(bad, reference_stain(StainMethod::macenko)), UsageError);
  CHECK_THROWS_AS(
      StainNormalizer(reference_stain(StainMethod::reinhard), reference_stain(StainMethod::macenko)),
      UsageError);
  Pixels image = two_stains(1.0, 1.0);
  CHECK(normalised(StainNormalizer(), image) == image);
  CHECK(parse_stain_method("macenko") == StainMethod::macenko);
  CHECK_THROWS_AS(parse_stain_method("Macenko"), UsageError);
}

TEST_CASE("a row stride leaves the bytes between rows alone") {
  const StainMethod m = StainMethod::reinhard;
  const StainNormalizer n(fit(m, two_stains(0.8, 0.5)).profile, reference_stain(m));
  Pixels image(2 * 20, 100), expected = image;
  n.apply(image.data(), 20, 5, 2);
  n.apply(expected.data(), 15, 5, 1);
  CHECK(image[0] != 100);
  CHECK(std::equal(image.begin(), image.begin() + 15, expected.begin()));
  CHECK(std::equal(image.begin() + 20, image.begin() + 35, expected.begin()));
  for (const std::size_t i : {15u, 19u, 35u, 39u}) CHECK(image[i] == 100);
}

TEST_CASE("the fixed-point maps round what the formulas give in double") {
  const Pixels image = two_stains(1.7, 1.2);
  for (const StainMethod m : kMethods) {
    CAPTURE(std::string(name_of(m)));
    const StainProfile from = fit(m, image).profile, to = fit(m, two_stains(1.2, 1.5)).profile;
    const Pixels got = normalised(StainNormalizer(from, to), image);
    double worst = 0.0;
    for (std::size_t i = 0; i < image.size(); i += 3) {
      if (std::min({image[i], image[i + 1], image[i + 2]}) > 205) continue;
      Vec out{};
      if (m == StainMethod::macenko) {
        const Vec &h = from.first, &e = from.second;
        Vec d{};
        for (std::size_t c = 0; c < 3; ++c) d[c] = -std::log((image[i + c] + 1.0) / 240.0);
        const auto dot = [](const Vec& a, const Vec& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; };
        const double det = dot(h, h) * dot(e, e) - dot(h, e) * dot(h, e);
        const double ch = (dot(e, e) * dot(h, d) - dot(h, e) * dot(e, d)) / det;
        const double ce = (dot(h, h) * dot(e, d) - dot(h, e) * dot(h, d)) / det;
        for (std::size_t c = 0; c < 3; ++c)
          out[c] = 240.0 * std::exp(-ch * to.first[c] - ce * to.second[c]) - 1.0;
      } else {
        const double w[3][3] = {{0.3811, 0.5783, 0.0402}, {0.1967, 0.7244, 0.0782}, {0.0241, 0.1288, 0.8444}};
        const double q[3][3] = {{1 / std::sqrt(3.0), 1 / std::sqrt(3.0), 1 / std::sqrt(3.0)},
                                {1 / std::sqrt(6.0), 1 / std::sqrt(6.0), -2 / std::sqrt(6.0)},
                                {1 / std::sqrt(2.0), -1 / std::sqrt(2.0), 0.0}};
        Vec log{}, lab{}, lms{};
        for (std::size_t c = 0; c < 3; ++c)
          log[c] = std::log10(w[c][0] * image[i] + w[c][1] * image[i + 1] + w[c][2] * image[i + 2]);
        for (std::size_t c = 0; c < 3; ++c) {
          for (std::size_t k = 0; k < 3; ++k) lab[c] += q[c][k] * log[k];
          lab[c] = (lab[c] - from.first[c]) / from.second[c] * to.second[c] + to.first[c];
        }
        for (std::size_t c = 0; c < 3; ++c)
          lms[c] = std::pow(10.0, q[0][c] * lab[0] + q[1][c] * lab[1] + q[2][c] * lab[2]);
        // Cramer's rule: solves w * out = lms.
        const auto det3 = [](const auto& a) {
          return a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) -
                 a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0]) +
                 a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
        };
        for (std::size_t c = 0; c < 3; ++c) {
          double replaced[3][3];
          for (std::size_t r = 0; r < 3; ++r)
            for (std::size_t k = 0; k < 3; ++k) replaced[r][k] = k == c ? lms[r] : w[r][k];
          out[c] = det3(replaced) / det3(w);
        }
      }
      for (std::size_t c = 0; c < 3; ++c)
        worst = std::max(worst, std::abs(std::clamp(out[c], 0.0, 255.0) - got[i + c]));
    }
    CHECK(worst < 0.5 + 0.25);  // rounding, and the steps of the tables
  }
}

TEST_CASE("the fit does not depend on the order of the pixels") {
  const Pixels image = two_stains(1.4, 1.0);
  Pixels backwards;
  for (std::size_t i = image.size(); i >= 3; i -= 3)
    backwards.insert(backwards.end(), image.begin() + static_cast<std::ptrdiff_t>(i - 3),
                     image.begin() + static_cast<std::ptrdiff_t>(i));
  for (const StainMethod m : kMethods) {
    const StainProfile a = fit(m, image).profile, b = fit(m, backwards).profile;
    CHECK(a.first == b.first);  // to the last bit
    CHECK(a.second == b.second);
  }
}

namespace {

// Nuclei in a field of eosin, left of x = 3000; glass right of it. Scanner noise everywhere.
FakeSlide::Rgb section(int, std::int64_t x, std::int64_t y) {
  const auto noise = static_cast<double>((x * 7919 + y * 104729) % 13) / 13.0;
  if (x >= 3000) return {243, 241, 244};
  Pixels p;
  const bool nucleus = x % 64 < 20 && y % 48 < 20;
  add_pixel(p, nucleus ? 0.8 + 0.4 * noise : 0.02, nucleus ? 0.03 : 0.4 + 0.3 * noise);
  return {p[0], p[1], p[2]};
}

std::vector<std::uint8_t> mask_of(const Slide& slide, const SegmentOptions& options, SegmentResult* result) {
  const PatchNetwork network = fake_network(2, FinalLayer::softmax, 256, 256);
  std::vector<std::uint8_t> mask(4096 * 2048);
  std::mutex guard;
  *result = segment_to_sink(slide, network, options,
                            [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
                              const std::lock_guard<std::mutex> lock(guard);
                              for (std::int64_t j = 0; j < kMaskTile; ++j)
                                std::copy_n(labels + j * kMaskTile, kMaskTile,
                                            mask.begin() + ((ty * kMaskTile + j) * 4096 + tx * kMaskTile));
                            });
  return mask;
}

}  // namespace

TEST_CASE("segmentation sees the slide in the target's colours, whatever the threads") {
  const FakeSlide slide({{4096, 2048}}, 0.5, section);
  for (const StainMethod m : kMethods) {
    CAPTURE(std::string(name_of(m)));
    SegmentOptions options;
    options.stain_target = reference_stain(m);
    options.threads = 1;
    SegmentResult one, four, all, before;
    const auto mask = mask_of(slide, options, &one);
    REQUIRE(one.stain.method == m);
    CHECK(one.warnings.empty());
    if (m == StainMethod::macenko) {
      CHECK(degrees_between(one.stain.first, kHaematoxylin) < 3.0);
      CHECK(degrees_between(one.stain.second, kEosin) < 3.0);
    }
    options.threads = 4;
    options.max_memory = std::uint64_t{96} << 20;
    CHECK(mask_of(slide, options, &four) == mask);
    CHECK(four.stain.first == one.stain.first);
    CHECK(four.stain.second == one.stain.second);

    // The same as a slide that was normalised before; all patches run, for the tissue found may differ.
    options.find_tissue = false;
    const auto everywhere = mask_of(slide, options, &all);
    const StainNormalizer normalizer(all.stain, options.stain_target);
    const FakeSlide painted({{4096, 2048}}, 0.5, [&](int level, std::int64_t x, std::int64_t y) {
      FakeSlide::Rgb c = section(level, x, y);
      normalizer.apply(&c.r, 3, 1, 1);
      return c;
    });
    options.stain_target = {};
    CHECK(mask_of(painted, options, &before) == everywhere);
    CHECK(mask_of(slide, options, &before) != everywhere);
  }
}

TEST_CASE("a slide that cannot be fitted is segmented in its own colours, with a warning") {
  const FakeSlide slide({{1024, 768}}, 0.5, [](int, std::int64_t, std::int64_t) {
    return FakeSlide::Rgb{180, 90, 160};
  });
  const PatchNetwork network = fake_network(2, FinalLayer::softmax, 256, 256);
  for (const StainMethod m : kMethods) {
    std::vector<std::uint64_t> pixels[2];
    for (const bool normalise : {false, true}) {
      SegmentOptions options;
      if (normalise) options.stain_target = reference_stain(m);
      const SegmentResult r =
          segment_to_sink(slide, network, options, [](std::int64_t, std::int64_t, const std::uint8_t*) {});
      CHECK(r.stain.method == StainMethod::none);
      CHECK(r.warnings.size() == (normalise ? 1 : 0));
      pixels[normalise] = r.label_pixels;
    }
    CHECK(pixels[0] == pixels[1]);
  }
}
