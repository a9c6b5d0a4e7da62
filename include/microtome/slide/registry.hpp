// Every slide format in one table: how its files begin, and which class reads them.
#pragma once
#include <memory>
#include <string>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "../io/image.hpp"
#include "image_slide.hpp"
#include "slide.hpp"
#include "tiff_slide.hpp"

namespace microtome {

namespace detail {

struct SlideFormat {
  bool (*recognise)(const unsigned char* head, std::size_t n);  // the first bytes of the file
  std::unique_ptr<Slide> (*open)(const std::string& path);
};

inline constexpr SlideFormat slide_formats[] = {
    {tiff::is_tiff,
     [](const std::string& p) -> std::unique_ptr<Slide> { return std::make_unique<TiffSlide>(p); }},
    {is_png,
     [](const std::string& p) -> std::unique_ptr<Slide> { return std::make_unique<ImageSlide>(p, "png"); }},
    {is_jpeg,
     [](const std::string& p) -> std::unique_ptr<Slide> { return std::make_unique<ImageSlide>(p, "jpeg"); }},
};

}  // namespace detail

inline std::unique_ptr<Slide> open_slide(const std::string& path) {
  unsigned char head[16] = {};
  const std::size_t n = os::File(path, os::File::Mode::read).read_some(0, head, sizeof head);
  for (const detail::SlideFormat& format : detail::slide_formats)
    if (format.recognise(head, n)) return format.open(path);
  throw InputError(path, "", n == 0 ? "the file is empty" : "not a slide: neither TIFF (SVS), PNG nor JPEG");
}

}  // namespace microtome
