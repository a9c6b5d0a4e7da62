// safetensors: whatever the header says, accepted tensors lie inside the file, do not overlap and can be
// read.
#include "fuzz.hpp"
#include "microtome/io/safetensors.hpp"

namespace {

std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string data;
  for (std::size_t i = 0; i < data_bytes; ++i) data.push_back(static_cast<char>(i * 37 % 61));
  return microtome_fuzz::little_endian(header.size(), 8) + header + data;
}

}  // namespace

std::vector<std::string> microtome_fuzz::seeds() {
  return {
      file_of("{}", 0),
      file_of(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", 24),
      file_of(
          R"({"__metadata__":{"architecture":"resunet","class_names":"[\"a\",\"b\"]"},)"
          R"("w":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},"n":{"dtype":"I64","shape":[],"data_offsets":[6,14]},)"
          R"("b":{"dtype":"BF16","shape":[2,2],"data_offsets":[14,22]}}    )",
          22),
      file_of(
          R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
          4),
  };
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using microtome_fuzz::require;
  try {
    const microtome::SafeTensors file(data, size, "input");
    std::size_t total = 0;
    for (const auto& [name, t] : file.tensors()) {
      require(t.data >= data && t.bytes <= size && t.data + t.bytes <= data + size,
              "tensors lie inside the file");
      total += t.bytes;
      try {
        const auto values = file.floats(name, t.shape);
        require(static_cast<std::int64_t>(values.size()) == t.elements(), "as many values as the shape says");
      } catch (const microtome::InputError& e) {
        require(e.field() == name, "errors name the tensor");
      }
    }
    require(total <= size, "tensors do not overlap");
  } catch (const microtome::InputError& e) {
    require(e.file() == "input", "errors name the file");
  }
  return 0;
}
