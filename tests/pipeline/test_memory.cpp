// Peak memory of a whole process, so this file holds nothing but its one test.
#include <doctest.h>

#include "fakes.hpp"
#include "microtome/core/os.hpp"
#include "microtome/pipeline/pyramid_writer.hpp"
#include "microtome/pipeline/segment.hpp"
#include "test_data.hpp"

using namespace microtome;
using namespace microtome_test;

TEST_CASE("peak memory keeps to the budget, whatever the width and height of the slide") {
  PatchNetwork network = fake_network(2, FinalLayer::softmax, 512, 448);
  network.info.class_names[0] = "background";  // labels 0 and 1
  network.open = [](Executor*) -> PatchFn {
    return [](const std::uint8_t* rgb, std::size_t, std::int64_t w, std::int64_t h, float* out) {
      std::fill_n(out, w * h, rgb[0] % 2 ? 0.2f : 0.8f);
      std::fill_n(out + w * h, w * h, 0.5f);
    };
  };
  network.run_bytes = [](std::int64_t, std::int64_t, int) { return std::size_t{0}; };
  SegmentOptions options;
  options.find_tissue = false;
  options.threads = 2;
  options.max_memory = std::uint64_t{112} << 20;
  for (const auto& size :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{30000, 1500}, {1500, 30000}, {6000, 6000}}) {
    const std::int64_t width = size.first, height = size.second;  // clang 14 captures no structured bindings
    CAPTURE(width);
    const TempDir dir;
    options.spill_path = dir / "spill";
    const FakeSlide slide({{width, height}}, 0.5, [](int, std::int64_t x, std::int64_t y) {
      const auto v = static_cast<std::uint8_t>(x / 100 + y / 300);
      return FakeSlide::Rgb{v, v, v};
    });
    MaskPyramidOptions mask;
    mask.width = width;
    mask.height = height;
    MaskPyramidWriter writer(dir / "mask.tif", mask);
    const SegmentResult r = segment_to_sink(
        slide, network, options, [&](std::int64_t tx, std::int64_t ty, const std::uint8_t* labels) {
          writer.write_tile(tx, ty, labels);
        });
    writer.finish();
    CHECK(r.memory.planned <= options.max_memory);
    CHECK(r.label_pixels[0] > 1000);
    CHECK(r.label_pixels[1] > 1000);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(os::peak_memory() <= options.max_memory);
#endif
    MESSAGE(width << " x " << height << ": peak " << os::peak_memory() / 1048576 << " MiB, planned "
                  << r.memory.planned / 1048576 << " MiB, " << r.spills << " spills");
  }
}
