// The file of an integer network: safetensors, with the names that docs/quantization.md lists.
#pragma once
#include <string>
#include <vector>

#include "../io/safetensors_writer.hpp"
#include "quantize.hpp"

namespace microtome {

/// The file's bytes: the same network gives the same bytes.
inline SafeTensorsWriter quantized_file(const QuantizedNet& net) {
  SafeTensorsWriter file;
  file.metadata = net.metadata;
  using Floats = std::vector<float>;
  using Integers = std::vector<std::int32_t>;
  for (const QuantizedConv& c : net.convs) {
    const auto count = [](const auto& v) {
      return std::vector<std::int64_t>{static_cast<std::int64_t>(v.size())};
    };
    if (c.weight_bits == 16)
      file.add(c.name + ".weight", c.weight_shape, c.weight);
    else
      file.add(c.name + ".weight", c.weight_shape,
               std::vector<std::int8_t>(c.weight.begin(), c.weight.end()));
    file.add(c.name + ".weight_scale", count(c.weight_scale), c.weight_scale);
    file.add(c.name + ".bias", count(c.bias), c.bias);
    file.add(c.name + ".multiplier", count(c.multiplier), c.multiplier);
    file.add(c.name + ".output_scale", {1}, Floats{c.output_scale});
    file.add(c.name + ".output_zero_point", {1}, Integers{c.output_zero_point});
    file.add(c.name + ".input_scale", {1}, Floats{c.input_scale});
    file.add(c.name + ".input_zero_point", {1}, Integers{c.input_zero_point});
    for (std::size_t i = 0; i < c.sources.size(); ++i) {
      const std::string name = c.name + ".source" + std::to_string(i);
      const QuantizedSource& s = c.sources[i];
      file.add(name + ".multiplier", {1}, Floats{s.multiplier});
      if (s.scale.empty()) continue;
      file.add(name + ".scale", count(s.scale), s.scale);
      file.add(name + ".shift", count(s.shift), s.shift);
    }
    if (!c.table.empty())
      file.add(c.name + ".table", {static_cast<std::int64_t>(c.table.size()) / 256, 256}, c.table);
  }
  return file;
}

/// Writes the file; it appears complete or not at all, and replaces an existing one. Throws ResourceError.
inline void write_quantized(const QuantizedNet& net, const std::string& path) {
  quantized_file(net).write(path);
}

}  // namespace microtome
