#include <doctest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "fakes.hpp"
#include "microtome/pipeline/segment.hpp"
#include "test_data.hpp"

using namespace microtome;
using namespace microtome_test;

namespace {

struct Run {
  SegmentResult result;
  std::vector<std::uint8_t> mask;
  int tiles = 0;
};

Run run(const Slide& slide, const PatchNetwork& network, SegmentOptions options,
        const ProgressFn& progress = {}) {
  const TempDir dir;
  options.spill_path = dir / "spill";
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::uint8_t>> tiles;
  std::mutex guard;
  Run r;
  r.result = segment_to_sink(
      slide, network, options,
      [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
        const std::lock_guard<std::mutex> lock(guard);
        CHECK(tiles
                  .emplace(std::make_pair(tx, ty),
                           std::vector<std::uint8_t>(labels, labels + kMaskTile * kMaskTile))
                  .second);
      },
      progress);
  r.tiles = static_cast<int>(tiles.size());
  const std::int64_t w = r.result.mask_width, h = r.result.mask_height;
  r.mask.resize(static_cast<std::size_t>(w * h));
  for (const auto& [at, labels] : tiles)
    for (std::int64_t y = 0; y < std::min(kMaskTile, h - at.second * kMaskTile); ++y)
      std::copy_n(labels.begin() + y * kMaskTile, std::min(kMaskTile, w - at.first * kMaskTile),
                  r.mask.begin() + (at.second * kMaskTile + y) * w + at.first * kMaskTile);
  return r;
}

// A budget that leaves room for one session and `blocks` accumulators; `r` ran with one session.
std::uint64_t budget_for(const Run& r, std::int64_t blocks) {
  const auto change =
      (blocks - r.result.memory.blocks) * static_cast<std::int64_t>(Stitcher::accumulator_bytes(2));
  return r.result.memory.planned + static_cast<std::uint64_t>(change);
}

}  // namespace

TEST_CASE("the same mask for any number of threads and any memory budget") {
  const FakeSlide slide({{1500, 1300}}, 0.5, tissue_color);
  const PatchNetwork network = fake_network(2, FinalLayer::softmax, 128, 96);
  SegmentOptions o;
  o.find_tissue = false;
  o.threads = 1;
  const Run first = run(slide, network, o);
  CHECK(first.result.mask_width == 1500);
  CHECK(first.result.mask_height == 1300);
  CHECK(first.result.patches_run == 16 * 14);
  CHECK(first.result.spills == 0);
  CHECK(first.tiles == 3 * 3);
  CHECK(std::count(first.mask.begin(), first.mask.end(), 1) > 1000);
  for (int threads = 2; threads <= 4; ++threads) {
    o.threads = threads;
    CHECK(run(slide, network, o).mask == first.mask);
  }
  for (const std::int64_t blocks : {4, 6}) {
    o.threads = 1;
    o.max_memory = budget_for(first, blocks);
    const Run small = run(slide, network, o);
    CHECK(small.result.memory.blocks <= blocks);
    CHECK(small.result.memory.planned <= o.max_memory);
    CHECK(small.mask == first.mask);
    o.threads = 4;
    CHECK(run(slide, network, o).mask == first.mask);
  }
  o.max_memory = budget_for(first, 4);
  CHECK(run(slide, network, o).result.spills > 0);
  CHECK(run(slide, network, o).result.label_pixels == first.result.label_pixels);
}

TEST_CASE("a caller's executor gives the same mask") {
  struct Backwards : Executor {  // one worker, tasks in reverse
    int workers() const override { return 3; }
    void run(int tasks, TaskRef task) override {
      for (int i = tasks - 1; i >= 0; --i) task(i, i % 3);
    }
  } executor;
  const FakeSlide slide({{900, 700}}, 0.5, tissue_color);
  const PatchNetwork network = fake_network(2, FinalLayer::softmax, 128, 64);
  SegmentOptions o;
  o.threads = 1;
  const Run plain = run(slide, network, o);
  o.executor = &executor;
  CHECK(run(slide, network, o).mask == plain.mask);
}

TEST_CASE("resampled planes: the mask covers level 0 divided by d") {
  const FakeSlide slide({{1501, 1003}, {375, 251}}, 0.25, tissue_color);
  SegmentOptions o;
  o.find_tissue = false;
  const Run half = run(slide, fake_network(2, FinalLayer::softmax, 128, 64, 0.5), o);
  CHECK(half.result.plane.level == 0);
  CHECK(half.result.plane.width == 751);
  CHECK(half.result.mask_width == 751);
  CHECK(half.result.mask_height == 502);
  CHECK(half.result.mask_mpp_x == doctest::Approx(0.5));
  const Run fine = run(slide, fake_network(2, FinalLayer::softmax, 128, 64, 0.125), o);
  CHECK(fine.result.plane.width == 3002);
  CHECK(fine.result.mask_width == 1501);
  o.level = 1;
  const Run level = run(slide, fake_network(2, FinalLayer::softmax, 128, 64, 0.125), o);
  CHECK(level.result.plane.width == 375);
  CHECK(level.result.mask_width == 376);
  CHECK(level.result.warnings.size() == 1);
}

TEST_CASE("only patches that touch tissue run, and they give what they would give without the mask") {
  const FakeSlide slide({{4096, 4096}}, 0.5, [](int l, std::int64_t x, std::int64_t y) {
    return x >= 512 && x < 1536 && y >= 512 && y < 1024 ? tissue_color(l, x, y)
                                                        : FakeSlide::Rgb{245, 244, 245};
  });
  const PatchNetwork network = fake_network(2, FinalLayer::softmax, 128, 128);
  SegmentOptions o;
  const Run some = run(slide, network, o);
  o.find_tissue = false;
  const Run every = run(slide, network, o);
  CHECK(every.result.patches_run == 32 * 32);
  CHECK(every.result.tissue_fraction == -1.0);
  CHECK(some.result.patches_run == 10 * 6);  // 8 x 4 with tissue and the ring around them
  CHECK(some.result.patches_skipped == 32 * 32 - 60);
  CHECK(some.result.tissue_fraction == doctest::Approx(1024.0 * 512 / (4096.0 * 4096)).epsilon(0.02));
  CHECK(some.tiles < every.tiles);
  for (std::int64_t y = 512; y < 1024; ++y)
    REQUIRE(std::equal(some.mask.begin() + y * 4096 + 512, some.mask.begin() + y * 4096 + 1536,
                       every.mask.begin() + y * 4096 + 512));
  CHECK(std::count(some.mask.begin() + 2048 * 4096, some.mask.end(), 0) == 2048 * 4096);
  std::uint64_t sum = 0;
  for (std::size_t l = 0; l < some.result.label_pixels.size(); ++l) {
    CHECK(some.result.label_pixels[l] ==
          static_cast<std::uint64_t>(
              std::count(some.mask.begin(), some.mask.end(), static_cast<std::uint8_t>(l))));
    sum += some.result.label_pixels[l];
  }
  CHECK(sum == 4096u * 4096u);
}

TEST_CASE("a slide without tissue gives an empty mask and a warning") {
  const FakeSlide slide({{1000, 1000}}, 0.5, [](int, std::int64_t, std::int64_t) {
    return FakeSlide::Rgb{245, 244, 245};
  });
  const Run r = run(slide, fake_network(2, FinalLayer::softmax, 128, 128), {});
  CHECK(r.result.patches_run == 0);
  CHECK(r.tiles == 0);
  CHECK(r.result.label_pixels[0] == 1000u * 1000u);
  REQUIRE(r.result.warnings.size() == 1);
  CHECK(r.result.warnings[0].find("--tissue none") != std::string::npos);
}

TEST_CASE("slides smaller than a patch are padded, and only they are labelled") {
  const FakeSlide slide({{40, 90}}, 0.5, tissue_color);
  SegmentOptions o;
  o.find_tissue = false;
  const Run r = run(slide, fake_network(1, FinalLayer::sigmoid, 128, 64), o);
  CHECK(r.result.patches_run == 1);
  CHECK(r.mask.size() == 40 * 90);
  CHECK(r.result.labels.size() == 2);
  CHECK(std::count(r.mask.begin(), r.mask.end(), 1) > 100);
}

TEST_CASE(
    "memory: few patches or a small budget mean one at a time with inner threads; too small is refused") {
  MemoryNeeds n;
  n.fixed = 100;
  n.per_session = 1000;
  n.per_block = 10;
  n.patches = 50;
  n.mask_tiles_across = 40;
  n.mask_tiles_down = 30;
  n.tile_rows_per_patch = 2;
  n.threads = 8;
  const auto plan = [&](std::uint64_t budget) { return plan_memory(n, budget); };
  CHECK(plan(100000).sessions == 8);
  CHECK_FALSE(plan(100000).inner_threads);
  CHECK(plan(100000).band_tiles == 40);
  CHECK(plan(6000).sessions == 5);
  CHECK_FALSE(plan(6000).inner_threads);
  CHECK(plan(4300).sessions == 1);  // four would leave half of the threads idle
  CHECK(plan(4300).inner_threads);
  CHECK(plan(1140).sessions == 1);
  CHECK(plan(1140).blocks == 4);
  CHECK(plan(1140).band_tiles == 1);
  CHECK_THROWS_WITH_AS(plan(1139), doctest::Contains("--max-memory"), ResourceError);
  for (std::uint64_t b = 1140; b < 20000; b += 77) CHECK(plan(b).planned <= b);
  n.patches = 2;
  CHECK(plan(100000).sessions == 1);
  CHECK(plan(100000).inner_threads);
  n.threads = 1;
  CHECK_FALSE(plan(100000).inner_threads);
  const FakeSlide slide({{900, 700}}, 0.5, tissue_color);
  SegmentOptions o;
  o.max_memory = 1 << 20;
  CHECK_THROWS_WITH_AS(run(slide, fake_network(2, FinalLayer::softmax, 128, 64), o),
                       doctest::Contains("is the least"), ResourceError);
}

TEST_CASE("the memory plan does not grow with the slide") {
  MemoryNeeds n;
  n.per_session = 100 << 20;
  n.per_block = 2 << 20;
  n.tile_rows_per_patch = 2;
  n.threads = 4;
  const std::uint64_t budget = 600u << 20;
  for (const std::int64_t side : {10, 100, 1000, 100000}) {
    n.mask_tiles_across = n.mask_tiles_down = side;
    n.patches = side * side;
    const MemoryPlan p = plan_memory(n, budget);
    CHECK(p.planned <= budget);
    CHECK(p.sessions == 4);
  }
}

TEST_CASE("progress counts patches and can cancel; failures inside a patch come out") {
  const FakeSlide slide({{900, 700}}, 0.5, tissue_color);
  PatchNetwork network = fake_network(2, FinalLayer::softmax, 128, 128);
  SegmentOptions o;
  o.threads = 2;
  std::uint64_t last = 0, total = 0;
  run(slide, network, o, [&](const Progress& p) {
    if (std::string(p.stage) != "segment") return true;
    CHECK((p.done == 0 || p.done == last + 1));
    last = p.done;
    total = p.total;
    return true;
  });
  CHECK(last == total);
  CHECK(total == 8 * 6);
  CHECK_THROWS_AS(run(slide, network, o, [](const Progress& p) { return p.done < 5; }), Cancelled);

  network.open = [](Executor*) -> PatchFn {
    return [](const std::uint8_t*, std::size_t, std::int64_t w, std::int64_t h, float* out) {
      std::fill_n(out, 2 * w * h, std::nanf(""));
    };
  };
  CHECK_THROWS_WITH_AS(run(slide, network, o), doctest::Contains("not a number"), InputError);
  network = fake_network(2, FinalLayer::none, 128, 128);
  CHECK_THROWS_AS(run(slide, network, o), InputError);
  network = fake_network(2, FinalLayer::softmax, 128, 128);
  network.info.input_channels = 4;
  CHECK_THROWS_WITH_AS(run(slide, network, o), doctest::Contains("takes 4"), InputError);
}
