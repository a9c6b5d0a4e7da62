// A slide made of formulas and a network made of arithmetic, so that the pipeline is tested without files.
#pragma once
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "microtome/pipeline/network.hpp"
#include "microtome/slide/slide.hpp"

namespace microtome_test {

using microtome::SlideLevel;

/// Pixel (x, y) of a level is color(level, x, y); nothing is stored, so it can be of any size.
class FakeSlide : public microtome::Slide {
 public:
  struct Rgb {
    std::uint8_t r, g, b;
  };
  using Color = std::function<Rgb(int level, std::int64_t x, std::int64_t y)>;

  FakeSlide(std::vector<std::pair<std::int64_t, std::int64_t>> sizes, double mpp, Color color)
      : color_(std::move(color)) {
    path_ = "fake.svs";
    format_ = "fake";
    for (const auto& s : sizes) {
      SlideLevel l;
      l.width = s.first;
      l.height = s.second;
      l.downsample = 0.5 * (static_cast<double>(sizes[0].first) / static_cast<double>(s.first) +
                            static_cast<double>(sizes[0].second) / static_cast<double>(s.second));
      levels_.push_back(l);
    }
    pixel_size_ = {mpp, mpp, mpp > 0 ? "test" : "no tag states it"};
  }

  std::unique_ptr<microtome::SlideReader> open_reader(microtome::BadTile) const override {
    return std::make_unique<Reader>(*this);
  }

 private:
  class Reader : public microtome::SlideReader {
   public:
    explicit Reader(const FakeSlide& s) : slide_(s) {}
    void read_level(int level, std::int64_t x, std::int64_t y, std::int64_t w, std::int64_t h,
                    std::uint8_t* rgb, std::size_t row_stride) override {
      const SlideLevel& l = slide_.levels()[static_cast<std::size_t>(level)];
      for (std::int64_t j = 0; j < h; ++j)
        for (std::int64_t i = 0; i < w; ++i) {
          Rgb c{255, 255, 255};
          if (x + i >= 0 && y + j >= 0 && x + i < l.width && y + j < l.height)
            c = slide_.color_(level, x + i, y + j);
          std::memcpy(rgb + static_cast<std::size_t>(j) * row_stride + static_cast<std::size_t>(i) * 3, &c,
                      3);
        }
    }
    std::uint64_t bad_tiles() const override { return 0; }

   private:
    const FakeSlide& slide_;
  };

  Color color_;
};

/// Pink and violet waves: different at every pixel, saturated everywhere.
inline FakeSlide::Rgb tissue_color(int, std::int64_t x, std::int64_t y) {
  const double v = std::sin(0.05 * static_cast<double>(x)) +
                   std::cos(0.031 * static_cast<double>(y) + 0.01 * static_cast<double>(x));
  return {static_cast<std::uint8_t>(190 + 20 * v), static_cast<std::uint8_t>(90 + 40 * v),
          static_cast<std::uint8_t>((x * 7 + y * 13) % 61 + 130)};
}

/// Probabilities that depend on the pixel and on its place in the patch, so that overlapping patches disagree
/// and only correct blending gives the right answer. Softmax-like: classes sum to about 1.
inline microtome::PatchNetwork fake_network(int classes, microtome::FinalLayer final_layer,
                                            std::int64_t patch, std::int64_t stride, double mpp = 0.5) {
  microtome::PatchNetwork n;
  n.info.path = "fake.safetensors";
  n.info.classes = classes;
  n.info.final_layer = final_layer;
  n.info.patch_size = patch;
  n.info.stride = stride;
  n.info.spacing_um_px = mpp;
  n.info.thresholds.assign(static_cast<std::size_t>(classes), 0.5);
  for (int c = 0; c < classes; ++c) {
    n.info.class_names.push_back("class" + std::to_string(c));
    n.info.class_colors.push_back(c == 0 && classes > 1 ? "" : "#ff0000");
  }
  n.run_bytes = [](std::int64_t w, std::int64_t h, int) { return static_cast<std::size_t>(w * h * 64); };
  n.open = [classes](microtome::Executor*) -> microtome::PatchFn {
    return [classes](const std::uint8_t* rgb, std::size_t row_stride, std::int64_t w, std::int64_t h,
                     float* out) {
      for (std::int64_t y = 0; y < h; ++y)
        for (std::int64_t x = 0; x < w; ++x) {
          const std::uint8_t* p =
              rgb + static_cast<std::size_t>(y) * row_stride + static_cast<std::size_t>(x) * 3;
          for (int c = 0; c < classes; ++c) {
            const auto mix = static_cast<std::uint32_t>(p[c % 3] * 2654435761u +
                                                        static_cast<std::uint32_t>(x * 97 + y * 31 + c * 7));
            out[(c * h + y) * w + x] = static_cast<float>((mix >> 8) % 100003u) / 100003.0f;
          }
        }
    };
  };
  return n;
}

}  // namespace microtome_test
