// A network's convolutions as reports show them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "int_resunet.hpp"
#include "resunet.hpp"

namespace microtome {

/// One convolution as the program runs it, for reports.
struct LayerReport {
  std::string name;    ///< "en_1.conv0"
  std::string kernel;  ///< algorithm, e.g. "winograd6", of integer networks with "i16"
  ConvAlgorithm algorithm = ConvAlgorithm::direct;
  std::vector<ConvAlgorithm> usable;  ///< algorithms that EngineOptions may name for it
  bool tuned = false;  ///< it was chosen by hand or by `microtome tune`, against the cost model
  std::string
      prologue;  ///< what happens while the input is loaded: "copy", "norm+act", "resize", "pixels" ...
  int in_channels = 0, out_channels = 0, kernel_size = 0, stride = 1;
  Index<2> size{};    ///< output height and width, pixels
  double macs = 0.0;  ///< multiply-accumulates of the definition, a direct convolution
  /// What has to move at least: sources, residual and weights; the result. Bytes as they lie in memory.
  std::size_t bytes_read = 0, bytes_written = 0;
};

namespace detail {

inline std::string prologue_of(const NetConv<2>& c, std::size_t source) {
  const Prologue& p = c.prologues[source];
  if (c.enlarges && source == 0) return p.slope == kNoActivation ? "resize" : "resize+act";
  return p.identity() ? "copy" : "norm+act";
}
inline std::string prologue_of(const IntNetConv<2>& c, std::size_t source) {
  if (c.enlarges && source == 0) return "resize+act";
  return c.sources[source].prologue ? "norm+act" : "copy";
}

inline std::string kernel_of(const NetConv<2>& c) {
  return to_string(c.conv.algorithm());
}
inline std::string kernel_of(const IntNetConv<2>& c) {
  return std::string(to_string(c.conv.algorithm())) + " i16";
}

inline bool usable_for(ConvAlgorithm a, const NetConv<2>& c, bool last) {
  return can_use<2>(a, c.conv.shape(), last);
}
inline bool usable_for(ConvAlgorithm a, const IntNetConv<2>& c, bool last) {
  if (a == ConvAlgorithm::direct) return true;
  return a == ConvAlgorithm::winograd4 && c.winograd_is_exact && can_use<2>(a, c.conv.shape(), last);
}

// Bytes per value of a source and of the result.
inline std::size_t source_bytes(const NetConv<2>&, std::size_t) {
  return sizeof(float);
}
inline std::size_t source_bytes(const IntNetConv<2>& c, std::size_t source) {
  return c.sources[source].raw ? sizeof(std::int16_t) : sizeof(std::uint8_t);
}
inline std::size_t result_bytes(const NetConv<2>&) {
  return sizeof(float);
}
inline std::size_t result_bytes(const IntNetConv<2>& c) {
  return c.output == QuantOutput::raw ? sizeof(std::int16_t) : sizeof(std::uint8_t);
}

}  // namespace detail

/// What runs, layer by layer, for an image of `size`.
template <class Net>
std::vector<LayerReport> report_layers(const Net& net, const Index<2>& size) {
  std::vector<LayerReport> list;
  const auto elements = [](int channels, const Index<2>& s) {
    return Tensor<float, 2>::elements(channels, s);
  };
  for (const auto& c : net.convs()) {
    const bool first = list.empty(), last = &c == &net.convs().back();
    const ConvShape& shape = c.conv.shape();
    LayerReport r;
    r.name = c.name;
    r.kernel = detail::kernel_of(c);
    r.algorithm = c.conv.algorithm();
    r.tuned = c.tuned;
    for (const ConvAlgorithm a : kConvAlgorithms)
      if (detail::usable_for(a, c, last)) r.usable.push_back(a);
    r.in_channels = shape.inputs();
    r.out_channels = shape.out;
    r.kernel_size = shape.kernel;
    r.stride = shape.stride;
    r.size = {size[0] >> c.level, size[1] >> c.level};
    r.macs = c.conv.macs(r.size);
    const std::size_t pixels = static_cast<std::size_t>(volume<2>(r.size));
    r.bytes_written = last ? pixels * static_cast<std::size_t>(shape.out) * sizeof(float)
                           : elements(shape.out, r.size) * detail::result_bytes(c);
    r.bytes_read = c.conv.weight_bytes() + (c.adds ? r.bytes_written : 0);
    if (first) {
      r.prologue = "pixels";
      r.bytes_read += pixels * static_cast<std::size_t>(r.in_channels);
    }
    for (std::size_t i = 0; i < shape.in.size() && !first; ++i) {
      r.prologue += (i ? " | " : "") + detail::prologue_of(c, i);
      Index<2> from = {r.size[0] * r.stride, r.size[1] * r.stride};
      if (c.enlarges && i == 0) from = {from[0] / 2, from[1] / 2};
      r.bytes_read += elements(shape.in[i], from) * detail::source_bytes(c, i);
    }
    list.push_back(std::move(r));
  }
  return list;
}

}  // namespace microtome
