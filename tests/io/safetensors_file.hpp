// Builds safetensors files in memory for tests.
#pragma once
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace microtome_test {

class SafeTensorsFile {
 public:
  std::string metadata;  ///< JSON object text, or ""

  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<float>& values) {
    add_raw(name, "F32", shape, values.data(), values.size() * sizeof(float));
  }
  void add_raw(const std::string& name, const std::string& dtype, const std::vector<std::int64_t>& shape,
               const void* data, std::size_t bytes) {
    if (!entries_.empty()) entries_ += ",";
    entries_ += "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < shape.size(); ++i) entries_ += (i ? "," : "") + std::to_string(shape[i]);
    entries_ += "],\"data_offsets\":[" + std::to_string(data_.size()) + "," +
                std::to_string(data_.size() + bytes) + "]}";
    data_.append(static_cast<const char*>(data), bytes);
  }
  std::string bytes() const {
    std::string header = "{";
    if (!metadata.empty()) header += "\"__metadata__\":" + metadata + (entries_.empty() ? "" : ",");
    return wrap(header + entries_ + "}", data_);
  }
  void write(const std::string& path) const {
    const std::string b = bytes();
    std::ofstream(path, std::ios::binary).write(b.data(), static_cast<std::streamsize>(b.size()));
  }
  /// A file of any header text and data.
  static std::string wrap(const std::string& header, const std::string& data) {
    const std::uint64_t n = header.size();
    std::string s(8, '\0');
    std::memcpy(s.data(), &n, 8);
    return s + header + data;
  }

 private:
  std::string entries_, data_;
};

}  // namespace microtome_test
