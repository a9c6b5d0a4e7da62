// Writes safetensors files; safetensors.hpp has the format.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../core/json_writer.hpp"
#include "../core/os.hpp"

namespace microtome {

/// Collects tensors and writes them at once. Wide types come first and the data begin at a multiple of 64
/// bytes, so that every element is aligned; tensors of equal width stay in the order in which they came. The
/// same content gives the same bytes.
class SafeTensorsWriter {
 public:
  std::map<std::string, std::string> metadata;

  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<std::int8_t>& values) {
    add(name, "I8", shape, values.data(), values.size() * sizeof(std::int8_t), 1);
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<std::uint8_t>& values) {
    add(name, "U8", shape, values.data(), values.size() * sizeof(std::uint8_t), 1);
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<std::int16_t>& values) {
    add(name, "I16", shape, values.data(), values.size() * sizeof(std::int16_t), 2);
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<std::int32_t>& values) {
    add(name, "I32", shape, values.data(), values.size() * sizeof(std::int32_t), 4);
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<float>& values) {
    add(name, "F32", shape, values.data(), values.size() * sizeof(float), 4);
  }

  /// The whole file.
  std::string bytes() const {
    std::vector<const Entry*> order;
    for (const Entry& e : entries_) order.push_back(&e);
    std::stable_sort(order.begin(), order.end(),
                     [](const Entry* a, const Entry* b) { return a->width > b->width; });
    std::string header = "{\"__metadata__\":{", data;
    for (const auto& [key, text] : metadata)
      header += (header.back() == '{' ? "" : ",") + json_string(key) + ":" + json_string(text);
    header += "}";
    for (const Entry* e : order) {
      header += "," + json_string(e->name) + ":{\"dtype\":\"" + e->dtype + "\",\"shape\":[" + e->shape +
                "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
      data += e->data;
      header += std::to_string(data.size()) + "]}";
    }
    header += "}";
    header.append((64 - (8 + header.size()) % 64) % 64, ' ');
    std::string length;
    for (int i = 0; i < 8; ++i) length += static_cast<char>(header.size() >> (8 * i) & 255u);
    return length + header + data;
  }

  /// Appears complete or not at all; an existing file is replaced. Throws ResourceError.
  void write(const std::string& path) const {
    const std::string all = bytes();
    os::write_file_atomically(path, all.data(), all.size());
  }

 private:
  struct Entry {
    std::string name, dtype, shape, data;
    int width;
  };

  void add(const std::string& name, const char* dtype, const std::vector<std::int64_t>& shape,
           const void* data, std::size_t bytes, int width) {
    std::string text;
    for (const std::int64_t d : shape) text += (text.empty() ? "" : ",") + std::to_string(d);
    entries_.push_back({name, dtype, text, std::string(static_cast<const char*>(data), bytes), width});
  }

  std::vector<Entry> entries_;
};

}  // namespace microtome
