// The facts a model file states about itself: safetensors metadata, a JSON file beside it, or the caller.
// Keys are described in docs/weights-format.md; names are WSInfer's where it has one.
#pragma once
#include <charconv>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../core/final_layer.hpp"
#include "../core/os.hpp"
#include "json.hpp"
#include "safetensors.hpp"

namespace microtome {

/// How 8-bit pixels become the network's input.
struct Normalization {
  enum class Kind {
    none,         ///< 0..255 as they are
    div255,       ///< x / 255                                   (GaNDLF normalize_div_by_255)
    zscore_tile,  ///< (x - mean) / std over the whole patch, unbiased   (GaNDLF normalize)
    mean_std,     ///< (x / 255 - mean[c]) / std[c]              (GaNDLF normalize_imagenet, _standardize,
                  ///< _by_val)
  };
  Kind kind = Kind::div255;
  std::vector<double> mean, std;  ///< [channels], mean_std only
};

struct ModelInfo {
  std::string path;
  std::string architecture;  ///< "resunet" or "unet"
  int spatial_dims = 2;
  int input_channels = 3, classes = 2, base_filters = 0;
  bool norm_before_down =
      true;  ///< GaNDLF >= 0.0.20: norm, activation, strided conv; before: conv, norm, activation
  FinalLayer final_layer = FinalLayer::softmax;
  double sigmoid_multiplier = 1.0;
  std::vector<std::string> class_names;         ///< [classes]
  std::vector<std::string> class_colors;        ///< [classes], "#rrggbb" or "" (not drawn)
  std::vector<double> thresholds;               ///< [classes], used by sigmoid models
  double spacing_um_px = 0.0;                   ///< um per pixel the model expects; 0: unknown
  std::int64_t patch_size = 512, stride = 256;  ///< pixels at that spacing
  Normalization normalization;
  bool transposed = false;  ///< axis_order "wh": trained on transposed tiles
  std::string license, source, training_data;
  std::int64_t parameters = 0;  ///< weights and biases, norms included
  std::string weight_type;      ///< storage type of the first convolution, e.g. "F16"
};

/// Facts given by the caller; they win over those in the file. Keys as in the metadata.
using ModelFacts = std::map<std::string, std::string>;

namespace detail {

/// Metadata of the file, completed by "<stem>.json" or "config.json" beside it, overridden by `given`.
inline ModelFacts gather_facts(const SafeTensors& file, const ModelFacts& given) {
  ModelFacts facts = file.metadata();
  const std::string& path = file.path();
  const std::size_t slash = path.find_last_of('/'), dot = path.find_last_of('.');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const std::string stem = dot != std::string::npos && dot > folder.size() ? path.substr(0, dot) : path;
  for (const std::string& name : {stem + ".json", folder + "config.json"}) {
    if (facts.count("spacing_um_px") && facts.count("architecture")) break;  // the file speaks for itself
    if (!os::exists(name)) continue;
    const os::MappedFile text(name);
    if (text.size() > (1u << 20)) throw InputError(name, "", "larger than a model description can be");
    const std::string_view view(reinterpret_cast<const char*>(text.data()), text.size());
    const JsonValue json = JsonReader::parse(view, name, "");
    if (json.kind != JsonValue::Kind::object) throw InputError(name, "", "is not a JSON object");
    for (const auto& [key, value] : json.object) {
      // Scalars become their text; arrays and objects keep theirs, found again by re-reading the source.
      if (value.kind == JsonValue::Kind::string) facts.emplace(key, value.string);
      if (value.kind == JsonValue::Kind::number)
        facts.emplace(key, value.is_integer ? std::to_string(value.integer) : std::to_string(value.number));
      if (value.kind == JsonValue::Kind::array &&
          (key == "class_names" || key == "class_colors" || key == "thresholds")) {
        std::string list;
        for (const JsonValue& v : value.array) {
          if (!list.empty()) list += ",";
          if (v.kind == JsonValue::Kind::string) {
            list += '"';
            for (const char c : v.string) {
              if (c == '"' || c == '\\') list += '\\';
              list += c;
            }
            list += '"';
          } else {
            list += std::to_string(v.number);
          }
        }
        facts.emplace(key, "[" + list + "]");
      }
    }
    break;
  }
  for (const auto& [key, value] : given) facts[key] = value;
  return facts;
}

/// Typed access to the facts, with errors that name file and key.
class FactReader {
 public:
  FactReader(const ModelFacts& facts, const std::string& file) : facts_(facts), file_(file) {}

  const std::string* find(const std::string& key) const {
    const auto it = facts_.find(key);
    return it == facts_.end() ? nullptr : &it->second;
  }
  std::string text(const std::string& key, const std::string& otherwise) const {
    const std::string* s = find(key);
    return s ? *s : otherwise;
  }
  double number(const std::string& key, double otherwise, double low, double high) const {
    const std::string* s = find(key);
    if (!s) return otherwise;
    double v = 0;
    const auto r = std::from_chars(s->data(), s->data() + s->size(), v);
    if (r.ec != std::errc() || r.ptr != s->data() + s->size() || !(v >= low && v <= high)) bad(key, *s);
    return v;
  }
  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t low,
                       std::int64_t high) const {
    const double v =
        number(key, static_cast<double>(otherwise), static_cast<double>(low), static_cast<double>(high));
    if (v != static_cast<double>(static_cast<std::int64_t>(v))) bad(key, text(key, ""));
    return static_cast<std::int64_t>(v);
  }
  /// A JSON array of `count` strings or numbers; `otherwise` when absent.
  std::vector<JsonValue> list(const std::string& key, JsonValue::Kind kind, std::size_t count) const {
    const std::string* s = find(key);
    if (!s) return {};
    JsonValue v = JsonReader::parse(*s, file_, key);
    if (v.kind != JsonValue::Kind::array || v.array.size() != count)
      throw InputError(file_, key, "is not an array of " + std::to_string(count));
    for (const JsonValue& e : v.array)
      if (e.kind != kind) throw InputError(file_, key, "holds a value of the wrong type");
    return std::move(v.array);
  }
  [[noreturn]] void bad(const std::string& key, const std::string& value) const {
    throw InputError(file_, key, "'" + value + "' is not a valid value");
  }

 private:
  const ModelFacts& facts_;
  const std::string& file_;
};

inline bool valid_color(const std::string& s) {
  if (s.empty()) return true;
  if (s.size() != 7 || s[0] != '#') return false;
  return s.find_first_not_of("0123456789abcdefABCDEF", 1) == std::string::npos;
}

inline Normalization read_normalization(const FactReader& facts, const std::string& file, int channels) {
  Normalization n;
  const std::string key = "normalization", text = facts.text(key, R"({"kind":"div255"})");
  // Both {"kind":"div255"} and the bare word are accepted.
  const JsonValue v = text.empty() || text[0] != '{' ? JsonValue() : JsonReader::parse(text, file, key);
  const JsonValue* kind = v.find("kind");
  const std::string name = kind && kind->kind == JsonValue::Kind::string ? kind->string : text;
  if (name == "none") {
    n.kind = Normalization::Kind::none;
  } else if (name == "div255") {
    n.kind = Normalization::Kind::div255;
  } else if (name == "zscore_tile") {
    n.kind = Normalization::Kind::zscore_tile;
  } else if (name == "mean_std") {
    n.kind = Normalization::Kind::mean_std;
    for (const char* part : {"mean", "std"}) {
      const JsonValue* a = v.find(part);
      if (!a || a->kind != JsonValue::Kind::array || a->array.size() != static_cast<std::size_t>(channels))
        throw InputError(file, key, std::string(part) + " is not an array of one number per input channel");
      for (const JsonValue& e : a->array) {
        if (e.kind != JsonValue::Kind::number || (part[0] == 's' && !(e.number > 0.0)))
          throw InputError(file, key, std::string(part) + " holds an unusable value");
        (part[0] == 'm' ? n.mean : n.std).push_back(e.number);
      }
    }
  } else {
    throw InputError(file, key, "'" + name + "' is unknown; div255, zscore_tile, mean_std or none expected");
  }
  return n;
}

}  // namespace detail

/// Reads the facts that are not visible in the tensor shapes. `info` already holds path, channels and
/// classes. Throws InputError naming the key.
inline void read_facts(ModelInfo& info, const ModelFacts& all) {
  const detail::FactReader facts(all, info.path);
  const std::string& file = info.path;
  const std::size_t n = static_cast<std::size_t>(info.classes);
  if (facts.text("microtome.version", "1") != "1")
    throw InputError(file, "microtome.version",
                     "'" + facts.text("microtome.version", "") + "' is newer than this program knows");

  const std::string final_layer =
      facts.text("final_layer", facts.text("final", n == 1 ? "sigmoid" : "softmax"));
  if (final_layer == "softmax" || final_layer == "soft")
    info.final_layer = FinalLayer::softmax;
  else if (final_layer == "sigmoid" || final_layer == "sig")
    info.final_layer = FinalLayer::sigmoid;
  else if (final_layer == "none" || final_layer == "None" || final_layer == "logits" ||
           final_layer == "regression")
    info.final_layer = FinalLayer::none;
  else
    facts.bad("final_layer", final_layer);
  info.sigmoid_multiplier = facts.number("sigmoid_input_multiplier", 1.0, -1e6, 1e6);

  for (const JsonValue& v : facts.list("class_names", JsonValue::Kind::string, n))
    info.class_names.push_back(v.string);
  if (info.class_names.empty())
    for (std::size_t c = 0; c < n; ++c)
      info.class_names.push_back(c == 0 && n > 1 && info.final_layer == FinalLayer::softmax
                                     ? "background"
                                     : "class" + std::to_string(c));
  for (const JsonValue& v : facts.list("class_colors", JsonValue::Kind::string, n)) {
    if (!detail::valid_color(v.string))
      throw InputError(file, "class_colors", "'" + v.string + "' is not #rrggbb");
    info.class_colors.push_back(v.string);
  }
  static const char* const kColors[] = {"#ff3b30", "#2bff3a", "#3478f6", "#ffd60a",
                                        "#af52de", "#00c7be", "#ff9500", "#ff2d92"};
  if (info.class_colors.empty())
    for (std::size_t c = 0; c < n; ++c)
      info.class_colors.emplace_back(c == 0 && info.final_layer == FinalLayer::softmax ? "" : kColors[c % 8]);
  for (const JsonValue& v : facts.list("thresholds", JsonValue::Kind::number, n)) {
    if (!(v.number >= 0.0 && v.number <= 1.0)) throw InputError(file, "thresholds", "outside 0..1");
    info.thresholds.push_back(v.number);
  }
  if (info.thresholds.empty()) info.thresholds.assign(n, 0.5);

  info.spacing_um_px = facts.number("spacing_um_px", 0.0, 0.0, 1000.0);
  info.patch_size = facts.integer("patch_size_pixels", 512, 16, 16384);
  if (info.patch_size % 16 != 0)
    throw InputError(file, "patch_size_pixels", std::to_string(info.patch_size) + " is not a multiple of 16");
  info.stride = facts.integer("stride_pixels", info.patch_size / 2, 1, info.patch_size);
  info.normalization = detail::read_normalization(facts, file, info.input_channels);
  const std::string order = facts.text("axis_order", "hw");
  if (order != "hw" && order != "wh") facts.bad("axis_order", order);
  info.transposed = order == "wh";
  info.license = facts.text("license", "");
  info.source = facts.text("source", "");
  info.training_data = facts.text("training_data", "");
}

}  // namespace microtome
