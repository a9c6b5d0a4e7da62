// The convolutions of an integer network's file, read by name and checked: nothing that could overflow, index
// out of range or be undefined gets past this.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "../io/safetensors.hpp"
#include "quantized_conv.hpp"
#include "state_dict.hpp"
#include "unet_layers.hpp"

namespace microtome {

template <int Rank>
class QuantizedReader {
 public:
  QuantizedReader(const SafeTensors& file, bool transposed) : file_(file), transposed_(transposed) {}

  /// Layer `at` of `layers`, its kernels in the orientation of the images that will be fed. Throws InputError
  /// naming file and tensor.
  QuantizedConv read(const std::vector<UnetLayer>& layers, std::size_t at) const {
    const UnetLayer& l = layers[at];
    QuantizedConv c;
    c.name = l.name;
    c.output = output_of(layers, static_cast<int>(at));
    c.reads_raw = l.kernel == 1;
    const auto stated = file_.metadata().find(l.name + ".output");
    if (stated == file_.metadata().end() || stated->second != to_string(c.output))
      throw InputError(file_.path(), l.name + ".output",
                       std::string("'") + to_string(c.output) + "' expected");
    c.weight_shape = {l.out, l.inputs()};
    for (int d = 0; d < Rank; ++d) c.weight_shape.push_back(l.kernel);
    const bool first = l.sources[0].layer == UnetSource::kImage;
    if (first && file_.entry(l.name + ".weight").dtype == "I16") {
      c.weight_bits = 16;
      values(l.name + ".weight", "I16", c.weight_shape, c.weight);
    } else {
      std::vector<std::int8_t> weight;
      values(l.name + ".weight", "I8", c.weight_shape, weight);
      c.weight.assign(weight.begin(), weight.end());
    }
    if (transposed_)
      reverse_axes<Rank>(c.weight.data(), c.weight.size() / kernel_volume<Rank>(l.kernel), l.kernel);
    values(l.name + ".weight_scale", "F32", {l.out}, c.weight_scale);
    values(l.name + ".bias", "I32", {l.out}, c.bias);
    values(l.name + ".multiplier", "F32", {l.out}, c.multiplier);
    c.output_scale = value<float>(l.name + ".output_scale", "F32");
    c.output_zero_point = value<std::int32_t>(l.name + ".output_zero_point", "I32");
    c.input_scale = value<float>(l.name + ".input_scale", "F32");
    c.input_zero_point = value<std::int32_t>(l.name + ".input_zero_point", "I32");
    if (first)
      values(l.name + ".table", "U8", {l.inputs(), 256}, c.table);
    else if (!c.reads_raw)
      read_sources(layers, l, c);
    check_quantized(c, file_.path());
    return c;
  }

 private:
  void read_sources(const std::vector<UnetLayer>& layers, const UnetLayer& l, QuantizedConv& c) const {
    for (std::size_t i = 0; i < l.sources.size(); ++i) {
      const UnetSource& s = l.sources[i];
      if (output_of(layers, s.layer) == QuantOutput::act) continue;
      const std::string name = l.name + ".source" + std::to_string(i);
      QuantizedSource& source = c.sources.emplace_back();
      source.multiplier = value<float>(name + ".multiplier", "F32");
      if (s.enlarged) continue;
      values(name + ".scale", "I16", {s.channels}, source.scale);
      values(name + ".shift", "I32", {s.channels}, source.shift);
    }
  }

  // Allocates what the header, checked against the file's size, says that the file holds.
  template <class T>
  void values(const std::string& name, const char* type, const std::vector<std::int64_t>& shape,
              std::vector<T>& to) const {
    const TensorEntry& t = file_.entry(name);
    if (t.dtype != type)
      throw InputError(file_.path(), name, "has type " + t.dtype + "; " + type + " expected");
    if (t.shape != shape)
      throw InputError(file_.path(), name,
                       "has shape " + shape_text(t.shape) + ", " + shape_text(shape) + " expected");
    to.resize(t.bytes / sizeof(T));
    std::memcpy(to.data(), t.data, t.bytes);
    file_.release(t);
  }
  template <class T>
  T value(const std::string& name, const char* type) const {
    std::vector<T> v;
    values(name, type, {1}, v);
    return v[0];
  }

  const SafeTensors& file_;
  bool transposed_;
};

}  // namespace microtome
