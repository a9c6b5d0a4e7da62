// A PNG or JPEG file as a slide of one level, decoded whole when it is opened.
#pragma once
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "../io/image.hpp"
#include "slide.hpp"

namespace microtome {

/// Throws InputError. PNG's pHYs chunk is ignored: it describes prints, not microscopes.
class ImageSlide final : public Slide {
 public:
  ImageSlide(const std::string& path, const std::string& format)
      : image_(std::make_shared<const Image>(read_image(path, 3))) {
    path_ = path;
    format_ = format;
    SlideLevel level;
    level.width = image_->width;
    level.height = image_->height;
    level.tile_width = static_cast<std::uint32_t>(image_->width);
    level.tile_height = static_cast<std::uint32_t>(image_->height);
    level.compression = format;
    levels_.push_back(level);
    pixel_size_.source = format + " files do not state it";
  }

  std::unique_ptr<SlideReader> open_reader(BadTile = BadTile::fail) const override {
    return std::make_unique<Reader>(image_);
  }
  std::size_t shared_bytes() const override { return image_->pixels.size(); }

 private:
  class Reader final : public SlideReader {
   public:
    explicit Reader(std::shared_ptr<const Image> image) : image_(std::move(image)) {}

    void read_level(int level, std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
                    std::uint8_t* rgb, std::size_t row_stride) override {
      detail::check_rectangle(level, 1, x, y, width, height);
      const std::int64_t x0 = std::max<std::int64_t>(x, 0), x1 = std::min(x + width, image_->width);
      for (std::int64_t row = y; row < y + height; ++row, rgb += row_stride) {
        const bool inside = row >= 0 && row < image_->height && x0 < x1;
        if (!inside || x1 - x0 != width) std::memset(rgb, 255, static_cast<std::size_t>(width) * 3);
        if (inside)
          std::memcpy(rgb + (x0 - x) * 3, image_->pixels.data() + (row * image_->width + x0) * 3,
                      static_cast<std::size_t>(x1 - x0) * 3);
      }
    }

    std::uint64_t bad_tiles() const override { return 0; }

   private:
    std::shared_ptr<const Image> image_;
  };

  std::shared_ptr<const Image> image_;
};

}  // namespace microtome
