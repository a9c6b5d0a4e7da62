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

/// Largest side of an image or patch, pixels.
inline constexpr std::int64_t kMaxSide = 16384;

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
  /// Whether class 0 means "none of the others". Otherwise labels are class index + 1, and 0 stays free.
  bool first_is_background() const {
    std::string name = class_names.empty() ? "background" : class_names[0];
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return classes > 1 && name == "background";
  }
  std::int64_t parameters = 0;  ///< weights and biases, norms included
  std::string weight_type;      ///< storage type of the convolutions, e.g. "F16"
};

/// Facts given by the caller; they win over those in the file. Keys as in the metadata.
using ModelFacts = std::map<std::string, std::string>;

namespace detail {

/// A fact and the file that states it ("" = the caller).
struct Fact {
  std::string text, file;
};
using FactTable = std::map<std::string, Fact>;

/// WSInfer's list of image transforms as our `normalization`: ToTensor divides by 255, Normalize has mean and
/// std, Resize is what `patch_size_pixels` and `spacing_um_px` say already.
inline std::string normalization_of_transform(const JsonValue& list, const std::string& text,
                                              const std::string& file) {
  const auto refuse = [&](const std::string& why) { throw InputError(file, "transform", why); };
  if (list.kind != JsonValue::Kind::array) refuse("is not an array");
  std::string result = R"({"kind":"none"})";
  for (const JsonValue& step : list.array) {
    const JsonValue* name = step.find("name");
    if (!name || name->kind != JsonValue::Kind::string) refuse("a step has no name");
    if (name->string == "Resize") continue;
    if (name->string == "ToTensor") {
      result = R"({"kind":"div255"})";
    } else if (name->string == "Normalize" && result == R"({"kind":"div255"})") {
      const JsonValue* arguments = step.find("arguments");
      const JsonValue* mean = arguments ? arguments->find("mean") : nullptr;
      const JsonValue* std = arguments ? arguments->find("std") : nullptr;
      if (!mean || !std) refuse("Normalize lacks mean or std");
      const auto raw = [&](const JsonValue& v) { return text.substr(v.begin, v.end - v.begin); };
      result = R"({"kind":"mean_std","mean":)" + raw(*mean) + R"(,"std":)" + raw(*std) + "}";
    } else {
      refuse("'" + name->string + "' cannot be done here");
    }
  }
  return result;
}

/// Adds what a JSON file beside the weights states and the weights do not.
inline void add_json_facts(FactTable& facts, const std::string& name) {
  const os::MappedFile map(name);
  if (map.size() > (1u << 20)) throw InputError(name, "", "larger than a model description can be");
  const std::string text(reinterpret_cast<const char*>(map.data()), map.size());
  const JsonValue json = JsonReader::parse(text, name, "");
  if (json.kind != JsonValue::Kind::object) throw InputError(name, "", "is not a JSON object");
  for (const auto& [key, value] : json.object) {
    // Metadata are strings: a string is its own text, anything else the text it was written as.
    const bool plain = value.kind == JsonValue::Kind::string;
    facts.emplace(key, Fact{plain ? value.string : text.substr(value.begin, value.end - value.begin), name});
  }
  if (const JsonValue* transform = json.find("transform"))
    facts.emplace("normalization", Fact{normalization_of_transform(*transform, text, name), name});
}

/// Metadata of the file, completed by "<stem>.json" or "config.json" beside it, overridden by `given`.
inline FactTable gather_facts(const SafeTensors& file, const ModelFacts& given) {
  FactTable facts;
  const std::string& path = file.path();
  for (const auto& [key, text] : file.metadata()) facts[key] = {text, path};
  const std::size_t slash = path.find_last_of('/'), dot = path.find_last_of('.');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const std::string stem = dot != std::string::npos && dot > folder.size() ? path.substr(0, dot) : path;
  const bool complete = facts.count("spacing_um_px") && facts.count("architecture");  // speaks for itself
  for (const std::string& name : {stem + ".json", folder + "config.json"})
    if (!complete && os::exists(name)) {
      add_json_facts(facts, name);
      break;
    }
  for (const auto& [key, text] : given) facts[key] = {text, ""};
  return facts;
}

/// Typed access to the facts, with errors that name file and key.
class FactReader {
 public:
  explicit FactReader(const FactTable& facts) : facts_(facts) {}

  const std::string* find(const std::string& key) const {
    const auto it = facts_.find(key);
    return it == facts_.end() ? nullptr : &it->second.text;
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
    if (r.ec != std::errc() || r.ptr != s->data() + s->size() || !(v >= low && v <= high)) bad(key);
    return v;
  }
  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t low,
                       std::int64_t high) const {
    const double v =
        number(key, static_cast<double>(otherwise), static_cast<double>(low), static_cast<double>(high));
    if (v != static_cast<double>(static_cast<std::int64_t>(v))) bad(key);
    return static_cast<std::int64_t>(v);
  }
  /// A JSON array of `count` values of one kind; empty when absent.
  std::vector<JsonValue> list(const std::string& key, JsonValue::Kind kind, std::size_t count) const {
    const std::string* s = find(key);
    if (!s) return {};
    const std::string file = file_of(key);
    JsonValue v = JsonReader::parse(*s, file, key);
    if (v.kind != JsonValue::Kind::array || v.array.size() != count)
      fail(key, "is not an array of " + std::to_string(count));
    for (const JsonValue& e : v.array)
      if (e.kind != kind) fail(key, "holds a value of the wrong type");
    return std::move(v.array);
  }
  /// The file that states `key`.
  std::string file_of(const std::string& key) const {
    const auto it = facts_.find(key);
    return it == facts_.end() ? "" : it->second.file;
  }
  [[noreturn]] void fail(const std::string& key, const std::string& why) const {
    throw InputError(file_of(key), key, why);
  }
  [[noreturn]] void bad(const std::string& key) const {
    fail(key, "'" + text(key, "") + "' is not a valid value");
  }

 private:
  const FactTable& facts_;
};

inline bool valid_color(const std::string& s) {
  if (s.empty()) return true;
  if (s.size() != 7 || s[0] != '#') return false;
  return s.find_first_not_of("0123456789abcdefABCDEF", 1) == std::string::npos;
}

inline Normalization read_normalization(const FactReader& facts, int channels) {
  Normalization n;
  const std::string key = "normalization", text = facts.text(key, R"({"kind":"div255"})"),
                    file = facts.file_of(key);
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
        facts.fail(key, std::string(part) + " is not an array of one number per input channel");
      for (const JsonValue& e : a->array) {
        if (e.kind != JsonValue::Kind::number || (part[0] == 's' && !(e.number > 0.0)))
          facts.fail(key, std::string(part) + " holds an unusable value");
        (part[0] == 'm' ? n.mean : n.std).push_back(e.number);
      }
    }
  } else {
    facts.fail(key, "'" + name + "' is unknown; div255, zscore_tile, mean_std or none expected");
  }
  return n;
}

inline std::int64_t read_patch_size(const FactReader& facts) {
  const std::int64_t n = facts.integer("patch_size_pixels", 512, 16, kMaxSide);
  if (n % 16 != 0) facts.fail("patch_size_pixels", std::to_string(n) + " is not a multiple of 16");
  return n;
}

}  // namespace detail

/// The side of the patches that the model at `path` was made for, pixels. Reads no weights. Throws
/// InputError.
inline std::int64_t read_patch_size(const std::string& path) {
  const detail::FactTable all = detail::gather_facts(SafeTensors(path), {});
  return detail::read_patch_size(detail::FactReader(all));
}

/// Reads the facts that are not visible in the tensor shapes. `info` already holds path, channels and
/// classes. Throws InputError naming the file that states a fact, and its key.
inline void read_facts(ModelInfo& info, const detail::FactTable& all) {
  const detail::FactReader facts(all);
  const std::size_t n = static_cast<std::size_t>(info.classes);
  if (facts.text("microtome.version", "1") != "1")
    facts.fail("microtome.version",
               "'" + facts.text("microtome.version", "") + "' is newer than this program knows");

  // "final" is what other writers of the same networks call it.
  const std::string key = facts.find("final_layer") || !facts.find("final") ? "final_layer" : "final";
  const std::string final_layer = facts.text(key, n == 1 ? "sigmoid" : "softmax");
  if (final_layer == "softmax" || final_layer == "soft")
    info.final_layer = FinalLayer::softmax;
  else if (final_layer == "sigmoid" || final_layer == "sig")
    info.final_layer = FinalLayer::sigmoid;
  else if (final_layer == "none" || final_layer == "None" || final_layer == "logits" ||
           final_layer == "regression")
    info.final_layer = FinalLayer::none;
  else
    facts.bad(key);
  info.sigmoid_multiplier = facts.number("sigmoid_input_multiplier", 1.0, -1e6, 1e6);

  for (const JsonValue& v : facts.list("class_names", JsonValue::Kind::string, n))
    info.class_names.push_back(v.string);
  if (info.class_names.empty())  // GaNDLF's class lists begin with the background
    for (std::size_t c = 0; c < n; ++c)
      info.class_names.push_back(c == 0 && n > 1 ? "background" : "class" + std::to_string(c));
  for (const JsonValue& v : facts.list("class_colors", JsonValue::Kind::string, n)) {
    if (!detail::valid_color(v.string)) facts.fail("class_colors", "'" + v.string + "' is not #rrggbb");
    info.class_colors.push_back(v.string);
  }
  static const char* const kColors[] = {"#ff3b30", "#2bff3a", "#3478f6", "#ffd60a",
                                        "#af52de", "#00c7be", "#ff9500", "#ff2d92"};
  if (info.class_colors.empty())
    for (std::size_t c = 0; c < n; ++c)
      info.class_colors.emplace_back(c == 0 && info.first_is_background() ? "" : kColors[c % 8]);
  for (const JsonValue& v : facts.list("thresholds", JsonValue::Kind::number, n)) {
    if (!(v.number >= 0.0 && v.number <= 1.0)) facts.fail("thresholds", "outside 0..1");
    info.thresholds.push_back(v.number);
  }
  if (info.thresholds.empty()) info.thresholds.assign(n, 0.5);

  info.spacing_um_px = facts.number("spacing_um_px", 0.0, 0.0, 1000.0);
  info.patch_size = detail::read_patch_size(facts);
  info.stride = facts.integer("stride_pixels", info.patch_size / 2, 1, info.patch_size);
  info.normalization = detail::read_normalization(facts, info.input_channels);
  const std::string order = facts.text("axis_order", "hw");
  if (order != "hw" && order != "wh") facts.bad("axis_order");
  info.transposed = order == "wh";
  info.license = facts.text("license", "");
  info.source = facts.text("source", "");
  info.training_data = facts.text("training_data", "");
}

}  // namespace microtome
