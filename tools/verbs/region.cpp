// microtome region: a rectangle of a slide as PNG, or the MD5 of its pixels.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "args.hpp"
#include "microtome/core/error.hpp"
#include "microtome/core/md5.hpp"
#include "microtome/io/png_writer.hpp"
#include "microtome/slide/registry.hpp"
#include "outputs.hpp"

namespace microtome::tools {
namespace {

constexpr std::int64_t kMaxSide = std::int64_t{1} << 24;      // pixels
constexpr std::int64_t kBandBytes = std::int64_t{192} << 20;  // a row of 512-pixel tiles of a 100k slide

// Streams in horizontal bands that end where rows of tiles end, so that no tile is decoded twice and memory
// does not depend on the height.
template <class Sink>
void for_each_band(SlideReader& reader, int level, std::int64_t tile_height, std::int64_t x, std::int64_t y,
                   std::int64_t width, std::int64_t height, Sink&& sink) {
  const std::int64_t most = std::max<std::int64_t>(1, kBandBytes / (width * 3));
  std::vector<std::uint8_t> band;
  for (std::int64_t done = 0; done < height;) {
    const std::int64_t row = y + done;
    const std::int64_t to_tile_end = row < 0 ? -row : tile_height - row % tile_height;
    const std::int64_t rows = std::min({most, to_tile_end, height - done});
    band.resize(static_cast<std::size_t>(rows * width * 3));
    reader.read_level(level, x, row, width, rows, band.data(), static_cast<std::size_t>(width) * 3);
    sink(band.data(), rows);
    done += rows;
  }
}

}  // namespace

int run_region(const RegionArgs& args) {
  check_outputs({{"--output", args.output}}, {args.slide});
  const std::unique_ptr<Slide> slide = open_slide(args.slide);
  if (args.level < 0 || args.level >= static_cast<int>(slide->levels().size()))
    throw UsageError("--level", std::to_string(args.level) + ": the slide has levels 0 to " +
                                    std::to_string(slide->levels().size() - 1));
  const SlideLevel& level = slide->levels()[static_cast<std::size_t>(args.level)];
  std::int64_t x = 0, y = 0, width = level.width, height = level.height;
  if (!args.rect.empty()) {
    if (args.rect.size() != 4) throw UsageError("--rect", "X,Y,W,H expected");
    width = args.rect[2];
    height = args.rect[3];
    if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide)
      throw UsageError("--rect", "a size of " + std::to_string(width) + " x " + std::to_string(height) +
                                     " pixels; 1 to " + std::to_string(kMaxSide) + " per side expected");
    constexpr std::int64_t far = std::int64_t{1} << 32;
    if (args.rect[0] < -far || args.rect[0] > far || args.rect[1] < -far || args.rect[1] > far)
      throw UsageError("--rect", "the corner is far outside any slide");
    auto scale = [](std::int64_t v, std::int64_t to, std::int64_t from) {
      return static_cast<std::int64_t>(
          std::llround(static_cast<double>(v) * static_cast<double>(to) / static_cast<double>(from)));
    };
    x = scale(args.rect[0], level.width, slide->width());
    y = scale(args.rect[1], level.height, slide->height());
  }
  const std::unique_ptr<SlideReader> reader = slide->open_reader();
  std::unique_ptr<PngWriter> png;
  if (!args.output.empty()) png = std::make_unique<PngWriter>(args.output, width, height, 3);
  Md5 md5;
  for_each_band(*reader, args.level, level.tile_height, x, y, width, height,
                [&](const std::uint8_t* rgb, std::int64_t rows) {
                  const std::size_t stride = static_cast<std::size_t>(width) * 3;
                  if (args.hash) md5.update(rgb, stride * static_cast<std::size_t>(rows));
                  if (png) png->write_rows(rgb, rows, stride);
                });
  if (png) png->finish();
  if (args.hash) std::printf("%s\n", md5.hex().c_str());
  return 0;
}

}  // namespace microtome::tools
