// A strict, memory-mapped reader of safetensors files.
// Format: u64 little-endian header length N, N bytes of JSON, then the data; the header maps tensor names to
// {dtype, shape, data_offsets} relative to the data, and "__metadata__" to an object of strings.
// Source: the format section of the safetensors README.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "json.hpp"

namespace microtome {

/// One tensor as the header describes it; already checked against the file.
struct TensorEntry {
  std::string dtype;  ///< "F32", "F16", "BF16", "I8", "I64" ...
  std::vector<std::int64_t> shape;
  const unsigned char* data = nullptr;  ///< into the mapping, unaligned
  std::size_t bytes = 0;

  std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int64_t d : shape) n *= d;
    return n;
  }
};

/// "[32, 3, 3, 3]", for messages.
inline std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string s = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

/// IEEE binary16 to binary32, exact for every value.
inline float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  std::uint32_t exponent = h >> 10 & 31u, mantissa = h & 1023u, bits;
  if (exponent == 31) {
    bits = sign | 0x7f800000u | mantissa << 13;
  } else if (exponent != 0) {
    bits = sign | (exponent + 112u) << 23 | mantissa << 13;
  } else if (mantissa == 0) {
    bits = sign;
  } else {  // subnormal half: normal float
    exponent = 113;
    while (!(mantissa & 1024u)) mantissa <<= 1, --exponent;
    bits = sign | exponent << 23 | (mantissa & 1023u) << 13;
  }
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

class SafeTensors {
 public:
  /// Maps and checks the whole header: lengths, JSON, dtypes, shape products, and that the tensors tile the
  /// data exactly, without overlap or hole. Throws InputError naming file and tensor.
  explicit SafeTensors(const std::string& path) : path_(path), file_(path) {
    parse(file_.data(), file_.size());
  }

  /// The same checks on bytes in memory, which must outlive the object; `name` stands for the file in
  /// messages.
  SafeTensors(const unsigned char* data, std::size_t size, std::string name) : path_(std::move(name)) {
    parse(data, size);
  }

  const std::string& path() const { return path_; }
  const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }

  /// Throws InputError if there is no such tensor.
  const TensorEntry& entry(const std::string& name) const {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) throw InputError(path_, name, "the tensor is missing");
    return it->second;
  }

  /// The tensor `name`, to be read as floats. Throws InputError if it is missing, of another shape, or
  /// neither F32, F16 nor BF16.
  const TensorEntry& float_entry(const std::string& name, const std::vector<std::int64_t>& shape) const {
    const TensorEntry& t = entry(name);
    if (t.shape != shape)
      throw InputError(path_, name,
                       "has shape " + shape_text(t.shape) + ", " + shape_text(shape) + " expected");
    if (t.dtype != "F32" && t.dtype != "F16" && t.dtype != "BF16")
      throw InputError(path_, name, "has type " + t.dtype + "; F32, F16 or BF16 expected");
    return t;
  }

  /// Elements [first, first + n) of a float_entry() as floats. Throws InputError if one is not finite.
  void read(const std::string& name, const TensorEntry& t, std::size_t first, std::size_t n,
            float* out) const {
    if (n == 0) return;
    if (t.dtype == "F32") {
      std::memcpy(out, t.data + first * sizeof(float), n * sizeof(float));
    } else {
      const bool half = t.dtype == "F16";
      for (std::size_t i = 0; i < n; ++i) {
        std::uint16_t h;
        std::memcpy(&h, t.data + 2 * (first + i), sizeof h);
        if (half) {
          out[i] = half_to_float(h);
        } else {
          const std::uint32_t bits = static_cast<std::uint32_t>(h) << 16;
          std::memcpy(out + i, &bits, sizeof bits);
        }
      }
    }
    // Infinities and NaNs are what exponent bits all set mean; one OR over the integers vectorises.
    std::uint32_t bad = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, out + i, sizeof bits);
      bad |= static_cast<std::uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
    }
    if (bad) throw InputError(path_, name, "holds a value that is not finite");
  }

  /// All values of a tensor as floats; errors as float_entry() and read().
  std::vector<float> floats(const std::string& name, const std::vector<std::int64_t>& shape) const {
    const TensorEntry& t = float_entry(name, shape);
    std::vector<float> v(static_cast<std::size_t>(t.elements()));
    read(name, t, 0, v.size(), v.data());
    return v;
  }

  /// Gives back the memory of a tensor's mapped pages; it may be read again.
  void release(const TensorEntry& t) const noexcept {
    if (file_.data()) file_.release(t.data, t.bytes);
  }

 private:
  static constexpr std::uint64_t kMaxHeader = 100u << 20;

  static std::size_t bits_of(const std::string& dtype) {
    static constexpr std::pair<const char*, std::size_t> kTypes[] = {
        {"BOOL", 8}, {"U8", 8},   {"I8", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"U16", 16},
        {"I16", 16}, {"F16", 16}, {"BF16", 16}, {"U32", 32},    {"I32", 32},    {"F32", 32},
        {"U64", 64}, {"I64", 64}, {"F64", 64},  {"C64", 64}};
    for (const auto& [name, bits] : kTypes)
      if (dtype == name) return bits;
    return 0;
  }

  [[noreturn]] void fail(const std::string& field, const std::string& why) const {
    throw InputError(path_, field, why);
  }

  void parse(const unsigned char* file, std::size_t size) {
    if (size < 8) fail("", "not a safetensors file: " + std::to_string(size) + " bytes, at least 8 expected");
    std::uint64_t length = 0;
    for (int i = 0; i < 8; ++i) length |= static_cast<std::uint64_t>(file[i]) << (8 * i);
    if (length > size - 8 || length > kMaxHeader)
      fail("", "not a safetensors file or truncated: header length " + std::to_string(length) +
                   " in a file of " + std::to_string(size) + " bytes");
    const std::string_view text(reinterpret_cast<const char*>(file) + 8, static_cast<std::size_t>(length));
    if (text.empty() || text[0] != '{') fail("header", "does not begin with '{'");
    const JsonValue header = JsonReader::parse(text, path_, "header");
    const unsigned char* data = file + 8 + length;
    const std::size_t data_size = size - 8 - static_cast<std::size_t>(length);

    std::vector<std::pair<std::size_t, std::size_t>> ranges;
    for (const auto& [name, value] : header.object) {
      if (name == "__metadata__")
        read_metadata(value);
      else
        ranges.push_back(read_tensor(name, value, data, data_size));
    }
    std::sort(ranges.begin(), ranges.end());
    std::size_t end = 0;
    for (const auto& [from, to] : ranges) {
      if (from < end) fail("header", "tensors overlap at data byte " + std::to_string(from));
      if (from > end) fail("header", "a hole in the data at byte " + std::to_string(end));
      end = to;
    }
    if (end != data_size)
      fail("header", "tensors cover " + std::to_string(end) + " bytes of data, the file holds " +
                         std::to_string(data_size));
  }

  void read_metadata(const JsonValue& value) {
    if (value.kind != JsonValue::Kind::object) fail("__metadata__", "is not an object");
    for (const auto& [key, text] : value.object) {
      if (text.kind != JsonValue::Kind::string) fail("__metadata__", "'" + key + "' is not a string");
      metadata_[key] = text.string;
    }
  }

  std::pair<std::size_t, std::size_t> read_tensor(const std::string& name, const JsonValue& value,
                                                  const unsigned char* data, std::size_t data_size) {
    if (value.kind != JsonValue::Kind::object) fail(name, "is not an object");
    for (const auto& [key, unused] : value.object)
      if (key != "dtype" && key != "shape" && key != "data_offsets") fail(name, "unknown key '" + key + "'");
    const JsonValue* dtype = value.find("dtype");
    const JsonValue* shape = value.find("shape");
    const JsonValue* offsets = value.find("data_offsets");
    if (!dtype || dtype->kind != JsonValue::Kind::string) fail(name, "dtype is missing or not a string");
    if (!shape || shape->kind != JsonValue::Kind::array) fail(name, "shape is missing or not an array");
    if (!offsets || offsets->kind != JsonValue::Kind::array || offsets->array.size() != 2)
      fail(name, "data_offsets is missing or not an array of two");
    TensorEntry t;
    t.dtype = dtype->string;
    const std::size_t bits = bits_of(t.dtype);
    if (bits == 0) fail(name, "unknown dtype '" + t.dtype + "'");
    if (shape->array.size() > 8) fail(name, "has more than 8 dimensions");
    std::uint64_t bytes = bits / 8;
    for (const JsonValue& d : shape->array) {
      if (!d.is_integer || d.integer < 0)
        fail(name, "shape holds something else than a non-negative integer");
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(d.integer), &bytes))
        fail(name, "shape overflows");
      t.shape.push_back(d.integer);
    }
    std::uint64_t range[2];
    for (int i = 0; i < 2; ++i) {
      const JsonValue& o = offsets->array[static_cast<std::size_t>(i)];
      if (!o.is_integer || o.integer < 0)
        fail(name, "data_offsets holds something else than a non-negative integer");
      range[i] = static_cast<std::uint64_t>(o.integer);
    }
    if (range[0] > range[1] || range[1] > data_size)
      fail(name, "data_offsets [" + std::to_string(range[0]) + ", " + std::to_string(range[1]) +
                     "] outside the " + std::to_string(data_size) + " bytes of data");
    if (range[1] - range[0] != bytes)
      fail(name, "data_offsets span " + std::to_string(range[1] - range[0]) + " bytes, " + t.dtype + " " +
                     shape_text(t.shape) + " needs " + std::to_string(bytes));
    t.data = data + range[0];
    t.bytes = static_cast<std::size_t>(bytes);
    tensors_.emplace(name, std::move(t));
    return {static_cast<std::size_t>(range[0]), static_cast<std::size_t>(range[1])};
  }

  std::string path_;
  os::MappedFile file_;
  std::map<std::string, TensorEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace microtome
