#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../test_data.hpp"
#include "microtome/pipeline/open_labels.hpp"
#include "microtome/pipeline/synth_slide.hpp"
#include "microtome/slide/registry.hpp"
#include "run_tool.hpp"

using namespace microtome;
using microtome_test::run_tool;

namespace {

SynthOptions options(std::int64_t width, std::int64_t height, double tissue, std::uint64_t seed = 3) {
  SynthOptions o;
  o.width = width;
  o.height = height;
  o.tissue = tissue;
  o.seed = seed;
  return o;
}

void make(const std::string& path, const SynthOptions& o, int threads = 2) {
  DefaultExecutor executor(threads);
  write_synthetic_slide(path, o, executor);
}

std::string bytes_of(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), std::istreambuf_iterator<char>()};
}

std::vector<std::uint8_t> labels_of(const std::string& path) {
  const auto m = open_labels(path);
  std::vector<std::uint8_t> v(static_cast<std::size_t>(m->width() * m->height()));
  m->read(0, 0, m->width(), m->height(), v.data());
  return v;
}

std::vector<std::uint8_t> pixels_of(const Slide& slide, int level) {
  const SlideLevel& l = slide.levels()[static_cast<std::size_t>(level)];
  std::vector<std::uint8_t> v(static_cast<std::size_t>(3 * l.width * l.height));
  slide.open_reader()->read_level(level, 0, 0, l.width, l.height, v.data(),
                                  static_cast<std::size_t>(3 * l.width));
  return v;
}

}  // namespace

TEST_CASE("same seed, same bytes, whatever the threads; another seed, another slide") {
  const microtome_test::TempDir dir;
  make(dir / "a.tif", options(2600, 1100, 0.7), 1);
  make(dir / "b.tif", options(2600, 1100, 0.7), 3);
  make(dir / "c.tif", options(2600, 1100, 0.7, 4), 1);
  CHECK(bytes_of(dir / "a.tif") == bytes_of(dir / "b.tif"));
  CHECK(bytes_of(dir / "a.truth.tif") == bytes_of(dir / "b.truth.tif"));
  CHECK(bytes_of(dir / "a.tif") != bytes_of(dir / "c.tif"));
  CHECK(run_tool("ls -A " + dir.path()).text ==
        "a.tif\na.truth.tif\nb.tif\nb.truth.tif\nc.tif\nc.truth.tif\n");
}

TEST_CASE("the slide opens as a pyramid with its pixel size, each level the mean of the finer one") {
  const microtome_test::TempDir dir;
  SynthOptions o = options(1500, 1100, 0.9);
  o.mpp = 0.5;
  o.quality = 95;
  make(dir / "s.tif", o);
  const auto slide = open_slide(dir / "s.tif");
  REQUIRE(slide->levels().size() == 3);
  CHECK(slide->width() == 1500);
  CHECK(slide->height() == 1100);
  CHECK(slide->pixel_size().x == doctest::Approx(0.5));
  CHECK(slide->pixel_size().y == doctest::Approx(0.5));
  for (int k = 1; k < 3; ++k) {
    const SlideLevel fine = slide->levels()[static_cast<std::size_t>(k) - 1],
                     coarse = slide->levels()[static_cast<std::size_t>(k)];
    REQUIRE(coarse.width == (fine.width + 1) / 2);
    REQUIRE(coarse.height == (fine.height + 1) / 2);
    const std::vector<std::uint8_t> a = pixels_of(*slide, k - 1), b = pixels_of(*slide, k);
    double off = 0.0, shifted = 0.0;  // mean difference as stored, and one pixel astray
    for (std::int64_t y = 0; y < fine.height / 2; ++y)
      for (std::int64_t x = 0; x + 1 < fine.width / 2; ++x)
        for (std::int64_t c = 0; c < 3; ++c) {
          const auto at = [&](std::int64_t i, std::int64_t j) {
            return static_cast<int>(
                a[static_cast<std::size_t>(3 * ((2 * y + j) * fine.width + 2 * x + i) + c)]);
          };
          const int mean = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4;
          const std::size_t here = static_cast<std::size_t>(3 * (y * coarse.width + x) + c);
          off += std::abs(mean - static_cast<int>(b[here]));
          shifted += std::abs(mean - static_cast<int>(b[here + 3]));
        }
    CHECK(off < 0.4 * shifted);
  }
}

TEST_CASE("nuclei are where the truth says: dark, blue, of nuclear size, and nothing else is") {
  const microtome_test::TempDir dir;
  for (const std::uint64_t seed : {std::uint64_t{3}, std::uint64_t{8}}) {
    make(dir / "s.tif", options(2048, 2048, 1.0, seed));
    const auto slide = open_slide(dir / "s.tif");
    const std::vector<std::uint8_t> rgb = pixels_of(*slide, 0), truth = labels_of(dir / "s.truth.tif");
    REQUIRE(truth.size() * 3 == rgb.size());
    double nucleus[3] = {}, other[3] = {}, share = 0.0;
    std::uint64_t both = 0, either = 0, tissue = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const std::uint8_t* p = rgb.data() + 3 * i;
      tissue += p[1] < 235;
      share += truth[i];
      for (int c = 0; c < 3; ++c) (truth[i] ? nucleus : other)[c] += p[c];
      const bool dark =
          p[0] < 178 && p[2] + 12 > p[0];  // red light is what haematoxylin takes and eosin leaves
      both += 2u * (dark && truth[i]);
      either += static_cast<std::uint64_t>(dark) + truth[i];
    }
    const double n = share, m = static_cast<double>(truth.size()) - share;
    for (int c = 0; c < 3; ++c) {
      nucleus[c] /= n;
      other[c] /= m;
    }
    share /= static_cast<double>(truth.size());
    CHECK(share > 0.02);
    CHECK(share < 0.35);
    CHECK(static_cast<double>(tissue) / static_cast<double>(truth.size()) > 0.6);
    CHECK(nucleus[0] + 40.0 < other[0]);
    CHECK(nucleus[2] > nucleus[0]);
    CHECK(static_cast<double>(both) / static_cast<double>(either) > 0.8);  // Dice of a plain threshold
  }
}

TEST_CASE("tissue covers about the share asked for") {
  const microtome_test::TempDir dir;
  for (const double asked : {0.0, 0.3, 0.7}) {
    make(dir / "s.tif", options(3600, 3000, asked));
    const auto slide = open_slide(dir / "s.tif");
    const int top = static_cast<int>(slide->levels().size()) - 1;
    const std::vector<std::uint8_t> rgb = pixels_of(*slide, top);
    std::size_t covered = 0;
    for (std::size_t i = 1; i < rgb.size(); i += 3) covered += rgb[i] < 238;
    const double got = 3.0 * static_cast<double>(covered) / static_cast<double>(rgb.size());
    CAPTURE(asked);
    CHECK(got <= asked + 0.1);
    CHECK(got >= asked - 0.2);  // fat and lumina are glass within tissue
    const std::vector<std::uint8_t> truth = labels_of(dir / "s.truth.tif");
    CHECK((std::count(truth.begin(), truth.end(), std::uint8_t{1}) > 0) == (asked > 0.0));
  }
}

TEST_CASE("tiles fit together without a seam") {
  const synth::Tissue tissue(1024 * 0.25, 512 * 0.25, 1.0, 5);
  synth::Renderer renderer(tissue, 0.25);
  constexpr std::size_t t = synth::Renderer::kTile;
  std::vector<std::uint8_t> a(3 * t * t), b(3 * t * t), la(t * t), lb(t * t);
  REQUIRE(renderer.draw(0, 0, a.data(), la.data()));
  REQUIRE(renderer.draw(1, 0, b.data(), lb.data()));
  double seam = 0.0, inside = 0.0;
  std::size_t jumps = 0;
  for (std::size_t y = 0; y < t; ++y) {
    const std::size_t last = y * t + t - 1;
    seam += std::abs(a[3 * last] - b[3 * y * t]);
    inside += 0.5 * (std::abs(a[3 * last] - a[3 * (last - 1)]) + std::abs(b[3 * y * t] - b[3 * (y * t + 1)]));
    jumps += la[last] != lb[y * t];
  }
  CHECK(seam < 1.6 * inside);
  CHECK(jumps < 40);
  std::vector<std::uint8_t> again(3 * t * t);
  renderer.draw(0, 0, again.data(), la.data());  // the scratch memory of another tile leaves no trace
  CHECK(again == a);
}

TEST_CASE("what is called blank holds no tissue") {
  const synth::Tissue tissue(25000, 25000, 0.05, 9);
  synth::CellRandom random(1, 2, 3);
  int blank = 0;
  for (int i = 0; i < 3000; ++i) {
    const double side = random.between(50.0f, 1500.0f), x = random.unit() * 24000.0,
                 y = random.unit() * 24000.0;
    if (!tissue.blank(x, y, x + side, y + side)) continue;
    ++blank;
    float deepest = -1e9f;
    for (int k = 0; k < 200; ++k)
      deepest = std::max(deepest, tissue.at(x + random.unit() * side, y + random.unit() * side, {}).tissue);
    CHECK(deepest < -17.0f);
  }
  CHECK(blank > 300);
}

TEST_CASE("impossible requests are refused, a cancelled slide leaves nothing") {
  const microtome_test::TempDir dir;
  SynthOptions o = options(100, 100, 0.5);
  DefaultExecutor executor(1);
  o.mpp = 0.01;
  CHECK_THROWS_AS(write_synthetic_slide(dir / "s.tif", o, executor), UsageError);
  o = options(0, 100, 0.5);
  CHECK_THROWS_AS(write_synthetic_slide(dir / "s.tif", o, executor), UsageError);
  CHECK_THROWS_AS(write_synthetic_slide("/nonexistent/s.tif", options(100, 100, 0.5), executor),
                  ResourceError);
  CHECK_THROWS_AS(write_synthetic_slide(dir / "s.tif", options(100, 100, 1.0), executor,
                                        [](const Progress&) { return false; }),
                  Cancelled);
  CHECK(run_tool("ls -A " + dir.path()).text.empty());
  CHECK(truth_path("a.b/slide") == "a.b/slide.truth.tif");
  CHECK(truth_path("a/slide.x.tif") == "a/slide.x.truth.tif");
}

TEST_CASE("OpenSlide and libvips open the slide") {
  const microtome_test::TempDir dir;
  make(dir / "s.tif", options(1500, 1100, 0.9));
  const auto o = run_tool("openslide-show-properties " + (dir / "s.tif"));
  if (o.code == 127) {
    MESSAGE("skipped: openslide-show-properties is not installed");
  } else {
    CHECK(o.code == 0);
    CHECK(o.text.find("openslide.level-count: '3'") != std::string::npos);
    CHECK(o.text.find("openslide.level[2].width: '375'") != std::string::npos);
  }
  const auto v = run_tool("vips avg " + (dir / "s.tif"));
  if (v.code == 127) {
    MESSAGE("skipped: vips is not installed");
  } else {
    CHECK(v.code == 0);
    const std::vector<std::uint8_t> rgb = pixels_of(*open_slide(dir / "s.tif"), 0);
    double mean = 0.0;
    for (const auto p : rgb) mean += p;
    CHECK(std::strtod(v.text.c_str(), nullptr) ==
          doctest::Approx(mean / static_cast<double>(rgb.size())).epsilon(0.002));
  }
}
