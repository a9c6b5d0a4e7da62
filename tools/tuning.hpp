// The algorithms that `microtome tune` found fastest, kept per model, machine and size of the image in
// $XDG_CACHE_HOME/microtome/tune or ~/.cache/microtome/tune.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "microtome/core/cpu.hpp"
#include "microtome/core/json_writer.hpp"
#include "microtome/core/os.hpp"
#include "microtome/core/sha256.hpp"
#include "microtome/io/json.hpp"
#include "microtome/kernels/kernel_table.hpp"
#include "microtome/models/model.hpp"
#include "microtome/version.hpp"

namespace microtome::tools {

/// Raised with every change of kernels, or of the algorithms chosen without a tuning, after which another
/// choice may be the fastest: tunings of other builds are then ignored.
inline constexpr int kTuningFormat = 2;

using Algorithms = std::map<std::string, ConvAlgorithm>;  ///< by layer name

/// The folder of the cache, whether it exists or not; empty when the environment names none.
inline std::string tuning_folder() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && cache[0] == '/')
    return std::string(cache) + "/microtome/tune";  // relative ones are to be ignored
  return home && home[0] == '/' ? std::string(home) + "/.cache/microtome/tune" : "";
}

/// What a tuning is valid for. Not for a number of threads: results must not depend on it.
struct TuningKey {
  std::string sha256;  ///< of the weights file
  std::string isa = active_isa(), cpu = cpu_name();
  std::int64_t size = 64;  ///< pixels; images up to this side, and larger than half of it

  TuningKey(std::string digest, std::int64_t side) : sha256(std::move(digest)) {
    while (size < side) size *= 2;
  }
  /// What the file's name ends in, whatever the model.
  std::string ending() const {
    Sha256 digest;
    digest.update(cpu.data(), cpu.size());
    return "-" + isa + "-" + digest.hex().substr(0, 8) + "-" + std::to_string(size) + ".json";
  }
  std::string path() const { return tuning_folder() + "/" + sha256.substr(0, 16) + ending(); }
};

/// Files of the cache whose names end in `ending`.
inline std::vector<std::string> tuning_files(const std::string& ending = ".json") {
  std::vector<std::string> list;
  const std::string folder = tuning_folder();
  if (folder.empty() || !os::is_directory(folder)) return list;
  for (const std::string& name : os::list_directory(folder))
    if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
      list.push_back(folder + "/" + name);
  return list;
}

/// Creates the folder. Throws ResourceError.
inline void make_tuning_folder() {
  const std::string folder = tuning_folder();
  if (folder.empty())
    throw ResourceError("", "HOME", "neither it nor XDG_CACHE_HOME names a folder to write to");
  os::make_directories(folder);
}

/// Throws ResourceError.
inline void write_tuning(const TuningKey& key, const Algorithms& algorithms) {
  JsonWriter j;
  j.open_object();
  j.field("microtome", MICROTOME_VERSION);
  j.field("format", kTuningFormat);
  j.field("model_sha256", key.sha256);
  j.field("isa", key.isa);
  j.field("cpu", key.cpu);
  j.field("size_px", key.size);
  j.open_object("layers");
  for (const auto& [layer, algorithm] : algorithms) j.field(layer, to_string(algorithm));
  j.close();
  j.close();
  const std::string text = j.text();
  os::write_file_atomically(key.path(), text.data(), text.size());
}

/// Throws InputError for a file that is damaged or of another key.
inline Algorithms read_tuning(const TuningKey& key) {
  const std::string path = key.path();
  constexpr std::uint64_t kMaxBytes = 1 << 20;
  const os::File file(path, os::File::Mode::read);
  if (file.size() > kMaxBytes) throw InputError(path, "", "too large");
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, text.data(), text.size());
  const JsonValue root = JsonReader::parse(text, path, "");
  const auto require = [&](const char* field, const std::string& wanted) {
    const JsonValue* v = root.find(field);
    if (!v || v->string != wanted) throw InputError(path, field, "is not '" + wanted + "'");
  };
  const auto require_number = [&](const char* field, std::int64_t wanted) {
    const JsonValue* v = root.find(field);
    if (!v || !v->is_integer || v->integer != wanted)
      throw InputError(path, field, "is not " + std::to_string(wanted));
  };
  require("microtome", MICROTOME_VERSION);
  require_number("format", kTuningFormat);
  require("model_sha256", key.sha256);
  require("isa", key.isa);
  require("cpu", key.cpu);
  require_number("size_px", key.size);
  const JsonValue* layers = root.find("layers");
  if (!layers || layers->kind != JsonValue::Kind::object)
    throw InputError(path, "layers", "is not an object");
  Algorithms list;
  for (const auto& [layer, value] : layers->object) {
    bool known = false;
    for (const ConvAlgorithm a : kConvAlgorithms)
      if (value.string == to_string(a)) list[layer] = a, known = true;
    if (!known) throw InputError(path, layer, "is no known algorithm");
  }
  return list;
}

/// A model, and the digest of its file if it had to be computed.
struct LoadedModel {
  std::shared_ptr<const Model> model;
  std::string sha256;
};

/// Loads a model as `microtome tune` left it for images of `side` pixels (0: the model's patch); as the cost
/// model has it when it was not tuned or `tuned` is false. A tuning that cannot be used is a warning on
/// stderr.
inline LoadedModel load_tuned(const std::string& path, std::int64_t side, bool tuned) {
  LoadedModel loaded;
  EngineOptions options;
  options.side = side;
  if (tuned) {
    TuningKey key("", side > 0 ? side : read_patch_size(path));
    try {
      if (!tuning_files(key.ending()).empty()) key.sha256 = loaded.sha256 = sha256_of_file(path);
      if (!key.sha256.empty() && os::exists(key.path())) options.algorithms = read_tuning(key);
      if (!options.algorithms.empty()) loaded.model = load_model(path, {}, options);
    } catch (const Error& e) {
      std::fprintf(stderr, "microtome: warning: tuning ignored: %s; 'microtome tune' writes it anew\n",
                   e.what());
    }
  }
  if (!loaded.model) {
    options.algorithms.clear();
    loaded.model = load_model(path, {}, options);
  }
  return loaded;
}

}  // namespace microtome::tools
