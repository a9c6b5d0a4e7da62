// How large a pixel is, according to the places a TIFF may say it: Aperio's MPP, OME's PhysicalSize, the
// resolution tags.
#pragma once
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "slide.hpp"
#include "tiff_file.hpp"

namespace microtome::tiff {

/// A decimal number, whatever the locale; a decimal comma is accepted. Nothing if anything else follows.
inline std::optional<double> parse_number(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '+')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\n'))
    text.remove_suffix(1);
  std::string copy(text);
  const std::size_t comma = copy.find(',');
  if (comma != std::string::npos) copy[comma] = '.';
  double value = 0.0;
  const char* end = copy.data() + copy.size();
  const auto [stop, error] = std::from_chars(copy.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

/// The value of `key` in an Aperio ImageDescription: free text, then "|key = value" fields.
inline std::optional<double> aperio_number(std::string_view description, std::string_view key) {
  auto trim = [](std::string_view s) {
    while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
    while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
    return s;
  };
  for (std::size_t bar = description.find('|'); bar != std::string_view::npos;) {
    const std::size_t next = description.find('|', bar + 1);
    const std::string_view field =
        description.substr(bar + 1, next == std::string_view::npos ? next : next - bar - 1);
    const std::size_t equals = field.find('=');
    if (equals != std::string_view::npos && trim(field.substr(0, equals)) == key)
      return parse_number(trim(field.substr(equals + 1)));
    bar = next;
  }
  return std::nullopt;
}

/// An attribute of the first <Pixels> element of an OME-XML block, "" when absent.
inline std::string_view ome_attribute(std::string_view xml, std::string_view name) {
  const std::size_t element = xml.find("<Pixels ");
  if (element == std::string_view::npos) return "";
  std::string_view tag = xml.substr(element, xml.substr(element).find('>'));
  const std::size_t at = tag.find(" " + std::string(name) + "=\"");
  if (at == std::string_view::npos) return "";
  tag.remove_prefix(at + name.size() + 3);
  return tag.substr(0, tag.find('"'));
}

/// PhysicalSizeX or PhysicalSizeY in micrometres (the default unit of OME-XML), 0 when absent or in a unit
/// that is not one of length.
inline double ome_size(std::string_view xml, const std::string& axis) {
  const std::optional<double> value = parse_number(ome_attribute(xml, "PhysicalSize" + axis));
  const std::string_view unit = ome_attribute(xml, "PhysicalSize" + axis + "Unit");
  if (!value) return 0.0;
  if (unit.empty() || unit == "\xc2\xb5m" || unit == "\xce\xbcm" || unit == "um" || unit == "&#181;m")
    return *value;
  if (unit == "nm") return *value * 1e-3;
  if (unit == "mm") return *value * 1e3;
  return 0.0;
}

/// The pixel size of a file whose base image is `d`: of the places that speak, the first that is plausible
/// (0.05 to 20 um; a 72 dpi export would claim 353 um). Unknown: x == 0 and `source` says why.
inline PixelSize find_pixel_size(const TiffFile& f, const Directory& d, const std::string& description,
                                 bool aperio, bool ome) {
  PixelSize size;
  auto accept = [&](double x, double y, const std::string& source) {
    if (size.known() || !(x > 0.0)) return;
    if (!(y > 0.0)) y = x;
    if (x >= 0.05 && x <= 20.0 && y >= 0.05 && y <= 20.0) {
      size = {x, y, source};
    } else if (size.source.empty()) {
      size.source = source + " gives " + std::to_string(x) + " um, outside 0.05 to 20 um";
    }
  };
  if (aperio) {
    const double mpp = aperio_number(description, "MPP").value_or(0.0);
    accept(mpp, mpp, "Aperio MPP");
  }
  if (ome) accept(ome_size(description, "X"), ome_size(description, "Y"), "OME PhysicalSize");
  const std::uint64_t unit = f.number(d, kResolutionUnit, 2);  // absent means inch (TIFF 6.0)
  const double per_unit = unit == 2 ? 25400.0 : unit == 3 ? 10000.0 : 0.0;
  const double rx = f.real(d, kXResolution).value_or(0.0), ry = f.real(d, kYResolution).value_or(0.0);
  if (rx > 0.0 && per_unit > 0.0)
    accept(per_unit / rx, ry > 0.0 ? per_unit / ry : 0.0, "TIFF resolution tags");
  if (size.source.empty()) size.source = "the file does not state it";
  return size;
}

}  // namespace microtome::tiff
