// The layers of a model as several verbs show them.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "microtome/core/json_writer.hpp"
#include "microtome/models/model.hpp"

namespace microtome::tools {

/// "64->32".
inline std::string channels_text(const LayerReport& l) {
  return std::to_string(l.in_channels) + "->" + std::to_string(l.out_channels);
}

/// Kernel size and, behind a slash, the stride: "3", "3/2".
inline std::string kernel_text(const LayerReport& l) {
  return std::to_string(l.kernel_size) + (l.stride > 1 ? "/" + std::to_string(l.stride) : "");
}

/// Width x height of the result: "512x512".
inline std::string size_text(const LayerReport& l) {
  return std::to_string(l.size[1]) + "x" + std::to_string(l.size[0]);
}

/// The fields of an open object.
inline void write_layer(JsonWriter& j, const LayerReport& l) {
  j.field("name", l.name);
  j.field("kernel", l.kernel);
  j.field("tuned", l.tuned);
  j.field("input", l.prologue);
  j.field("in_channels", l.in_channels);
  j.field("out_channels", l.out_channels);
  j.field("kernel_size", l.kernel_size);
  j.field("stride", l.stride);
  j.field("height_px", l.size[0]);
  j.field("width_px", l.size[1]);
  j.field("macs", l.macs);
  j.field("bytes_read", l.bytes_read);
  j.field("bytes_written", l.bytes_written);
}

/// One line per layer: what runs.
inline void print_layers(const std::vector<LayerReport>& layers) {
  std::printf("  %-12s %-17s %-22s %9s  %6s  %11s  %8s\n", "layer", "kernel", "input", "channels", "kernel",
              "output px", "GMAC");
  for (const LayerReport& l : layers)
    std::printf("  %-12s %-17s %-22s %9s  %6s  %11s  %8.3f\n", l.name.c_str(),
                (l.kernel + (l.tuned ? " (tuned)" : "")).c_str(), l.prologue.c_str(),
                channels_text(l).c_str(), kernel_text(l).c_str(), size_text(l).c_str(), 1e-9 * l.macs);
}

}  // namespace microtome::tools
