// Reads summary.json back: whether a folder already holds the results that a request asks for.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "../core/text.hpp"
#include "../io/json.hpp"
#include "segment.hpp"
#include "summary.hpp"

namespace microtome {

/// Whether `folder` holds the finished results of this slide, model and options: false when there is no
/// summary.json. Compares what decides the result, not how it was computed. Throws UsageError naming the
/// folder and the first difference when the results there are of another request, or when their summary.json
/// cannot be read; and what choose_plane() throws.
inline bool is_finished(const std::string& folder, const Slide& slide, const PatchNetwork& network,
                        const SegmentOptions& options) {
  const std::string path = folder + "/summary.json", field;
  if (!os::exists(path)) return false;
  JsonValue root;
  try {
    constexpr std::uint64_t kMaxBytes = 1 << 20;  // 255 labels take 40 KB
    const os::File file(path, os::File::Mode::read);
    if (file.size() > kMaxBytes) throw InputError(path, field, "too large");
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read(0, text.data(), text.size());
    root = JsonReader::parse(text, path, field);
  } catch (const InputError&) {
    throw UsageError(folder, "holds results whose summary.json is damaged; --overwrite replaces them");
  }

  const auto value = [&](std::string_view part, std::string_view key) {
    const JsonValue* object = root.find(part);
    const JsonValue* v = object ? object->find(key) : nullptr;
    return v ? *v : JsonValue();
  };
  const auto require = [&](bool same, const std::string& what) {
    if (!same) throw UsageError(folder, "holds results of another " + what + "; --overwrite replaces them");
  };
  const auto change = [](std::string_view key, const std::string& was, const std::string& is) {
    return " (" + std::string(key) + " " + was + ", now " + is + ")";
  };
  const auto text = [&](std::string_view part, std::string_view key, const std::string& wanted) {
    require(value(part, key).string == wanted, std::string(part) + " (" + std::string(key) + ")");
  };
  const auto integer = [&](std::string_view part, std::string_view key, std::int64_t wanted) {
    const JsonValue v = value(part, key);
    require(v.is_integer && v.integer == wanted,
            std::string(part) +
                change(key, v.is_integer ? std::to_string(v.integer) : "none", std::to_string(wanted)));
  };
  const auto scale = [&](std::string_view part, std::string_view key, double wanted) {  // written "%.9g"
    const auto shown = [](double v) {
      char number[32];
      std::snprintf(number, sizeof number, "%.9g", v);
      return v > 0.0 ? std::string(number) : "unknown";
    };
    const double was = value(part, key).number;
    require(std::abs(was - wanted) <= 1e-8 * wanted,
            "scale" + change(std::string(part) + " " + std::string(key), shown(was), shown(wanted)));
  };

  const Plane plane = choose_plane(slide, {options.mpp, options.level, network.info.spacing_um_px});
  const PatchGrid grid = detail::choose_grid(slide, plane, options, network.info);
  text("slide", "file", file_name(slide.path()));
  integer("slide", "bytes", static_cast<std::int64_t>(os::File(slide.path(), os::File::Mode::read).size()));
  scale("slide", "mpp_x", slide.pixel_size().x);
  scale("slide", "mpp_y", slide.pixel_size().y);
  scale("run", "mpp_x", plane.mpp_x);  // before the sizes, which follow from it
  scale("run", "mpp_y", plane.mpp_y);
  text("model", "sha256", network.sha256);
  integer("run", "level", plane.level);
  integer("run", "width_px", plane.width);
  integer("run", "height_px", plane.height);
  integer("run", "patch_px", grid.patch());
  integer("run", "stride_px", grid.x().stride);
  text("run", "tissue", options.find_tissue ? "auto" : "none");
  const JsonValue tuned = value("run", "tuned_layers");  // missing: written before there was a choice
  bool same_layers = tuned.object.size() == network.tuned_layers.size();
  for (const auto& [layer, algorithm] : tuned.object) {
    const auto own = network.tuned_layers.find(layer);
    same_layers = same_layers && own != network.tuned_layers.end() && own->second == algorithm.string;
  }
  require(same_layers, "run (tuned_layers)");
  const JsonValue method = value("run", "stain_norm");  // missing: written before there was a choice
  require(
      (method.kind == JsonValue::Kind::null ? "none" : method.string) == name_of(options.stain_target.method),
      "run (stain_norm)");
  if (options.stain_target.method != StainMethod::none) {
    const JsonValue target = value("run", "stain_target");
    const auto same = [&](const char* key, const std::array<double, 3>& wanted) {
      const JsonValue* v = target.find(key);
      bool equal = v && v->array.size() == wanted.size();
      for (std::size_t c = 0; equal && c < wanted.size(); ++c)  // written "%.9g"
        equal = std::abs(v->array[c].number - wanted[c]) <= 1e-8 * std::abs(wanted[c]);
      require(equal, "run (stain_target)");
    };
    same(options.stain_target.first_name(), options.stain_target.first);
    same(options.stain_target.second_name(), options.stain_target.second);
  }
  return true;
}

}  // namespace microtome
