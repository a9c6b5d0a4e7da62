// Stain normalisation: measure how an image is stained, then give its pixels the colours of another.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "../core/error.hpp"
#include "stain_macenko.hpp"
#include "stain_profile.hpp"
#include "stain_reinhard.hpp"

namespace microtome {

/// Throws UsageError for an unknown name.
inline StainMethod parse_stain_method(const std::string& name) {
  for (const StainMethod m : {StainMethod::none, StainMethod::macenko, StainMethod::reinhard})
    if (name == name_of(m)) return m;
  throw UsageError("--stain-norm", "'" + name + "' is not none, macenko or reinhard");
}

/// The target that is used when no image is named.
inline StainProfile reference_stain(StainMethod method) {
  if (method == StainMethod::macenko) return macenko_reference();
  if (method == StainMethod::reinhard) return reinhard_reference();
  return {};
}

/// Measures interleaved 8-bit RGB pixels in any order; of more than 2^20, regularly spaced ones. Glass and
/// near-black (scanner padding, black marker) do not count. The result depends on the pixels only. Not
/// fitted: fewer than 500 stained pixels, one colour, one stain.
inline StainFit fit_stain(StainMethod method, const std::uint8_t* rgb, std::size_t pixels) {
  if (method == StainMethod::macenko) return detail::fit_macenko(rgb, pixels);
  if (method == StainMethod::reinhard) return detail::fit_reinhard(rgb, pixels);
  return {};
}

/// Gives pixels of an image with the colours `source` those of `target`. Immutable, shared by threads; does
/// nothing when it was made without profiles, or with those of no method.
class StainNormalizer {
 public:
  StainNormalizer() = default;
  /// Throws UsageError unless both are of one method and of numbers that fit_stain() can return.
  StainNormalizer(const StainProfile& source, const StainProfile& target) {
    if (source.method != target.method) throw UsageError("stain", "profiles of different methods");
    if (source.method == StainMethod::none) return;
    for (const StainProfile* p : {&source, &target})
      for (std::size_t c = 0; c < 3; ++c)
        if (!(std::abs(p->first[c]) < 100.0 && std::abs(p->second[c]) < 100.0))
          throw UsageError("stain", "a profile of impossible numbers");
    if (source.method == StainMethod::macenko)
      map_.emplace<detail::MacenkoMap>(source, target);
    else
      map_.emplace<detail::ReinhardMap>(source, target);
  }

  explicit operator bool() const { return map_.index() != 0; }

  /// Changes width x height interleaved RGB pixels in place; row i begins at rgb + i * row_stride (bytes).
  /// A pixel depends on itself only. Near-white ones (darkest channel 230 or more) are left as they are,
  /// those between 205 and 230 are mixed, so that no contour appears.
  void apply(std::uint8_t* rgb, std::size_t row_stride, std::int64_t width, std::int64_t height) const {
    for (std::int64_t y = 0; y < height; ++y, rgb += row_stride) {
      if (const auto* macenko = std::get_if<detail::MacenkoMap>(&map_)) apply_row(*macenko, rgb, width);
      if (const auto* reinhard = std::get_if<detail::ReinhardMap>(&map_)) apply_row(*reinhard, rgb, width);
    }
  }

 private:
  template <class Map>
  static void apply_row(const Map& map, std::uint8_t* p, std::int64_t width) {
    constexpr int kRange = detail::kGlass - detail::kStained;
    for (std::int64_t x = 0; x < width; ++x, p += 3) {
      const int low = std::min({p[0], p[1], p[2]});
      if (low >= detail::kGlass) continue;
      const std::array<std::uint8_t, 3> to = map(p);
      const int keep = std::max(0, low - detail::kStained);
      for (std::size_t c = 0; c < 3; ++c)
        p[c] = keep == 0
                   ? to[c]
                   : static_cast<std::uint8_t>((p[c] * keep + to[c] * (kRange - keep) + kRange / 2) / kRange);
    }
  }

  std::variant<std::monostate, detail::MacenkoMap, detail::ReinhardMap> map_;
};

}  // namespace microtome
