// microtome info: what a slide or a model file is.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "args.hpp"
#include "layer_report.hpp"
#include "microtome/core/json_writer.hpp"
#include "microtome/core/os.hpp"
#include "microtome/core/sha256.hpp"
#include "microtome/core/text.hpp"
#include "microtome/models/model.hpp"
#include "microtome/slide/registry.hpp"
#include "tuning.hpp"

namespace microtome::tools {
namespace {

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", v);
  return text;
}

double mebi(std::uint64_t bytes) {
  return static_cast<double>(bytes) / 1048576.0;
}

// safetensors: a 64-bit little-endian header length that fits the file, then the header's JSON object.
bool is_safetensors(const std::string& path) {
  const os::File file(path, os::File::Mode::read);
  unsigned char head[9] = {};
  if (file.read_some(0, head, sizeof head) != sizeof head || head[8] != '{') return false;
  std::uint64_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | head[i];
  return n >= 2 && n <= file.size() - 8;
}

void describe(const Slide& s, bool json) {
  const PixelSize& mpp = s.pixel_size();
  const std::uint64_t bytes = os::File(s.path(), os::File::Mode::read).size();
  const auto level_mpp = [&](const SlideLevel& l) { return mpp.known() ? mpp.mean() * l.downsample : 0.0; };
  if (json) {
    JsonWriter j;
    j.open_object();
    j.field("kind", "slide");
    j.field("file", s.path());
    j.field("bytes", bytes);
    j.field("format", s.format());
    j.field("width_px", s.width());
    j.field("height_px", s.height());
    j.field_or_null("mpp_x", mpp.x);
    j.field_or_null("mpp_y", mpp.y);
    j.field("mpp_source", mpp.source);
    j.field_or_null("objective_power", s.objective_power());
    j.open_array("levels");
    for (const SlideLevel& l : s.levels()) {
      j.open_object();
      j.field("width_px", l.width);
      j.field("height_px", l.height);
      j.field("downsample", l.downsample);
      j.field_or_null("mpp", level_mpp(l));
      j.field("tile_width_px", l.tile_width);
      j.field("tile_height_px", l.tile_height);
      j.field("compression", l.compression);
      j.close();
    }
    j.close();
    j.close();
    std::fputs(j.text().c_str(), stdout);
    return;
  }
  std::printf("slide %s\n", printable(s.path()).c_str());
  std::printf("format %s, %.1f MiB\n", s.format().c_str(), mebi(bytes));
  std::printf("size %lld x %lld px", static_cast<long long>(s.width()), static_cast<long long>(s.height()));
  if (mpp.known())
    std::printf(" (%.2f x %.2f mm)", 1e-3 * mpp.x * static_cast<double>(s.width()),
                1e-3 * mpp.y * static_cast<double>(s.height()));
  if (!mpp.known())
    std::printf("\nmpp unknown: %s; segment needs --slide-mpp X\n", printable(mpp.source).c_str());
  else if (mpp.x == mpp.y)
    std::printf("\nmpp %s um/px (%s)\n", number(mpp.x).c_str(), printable(mpp.source).c_str());
  else
    std::printf("\nmpp %s x %s um/px (%s)\n", number(mpp.x).c_str(), number(mpp.y).c_str(),
                printable(mpp.source).c_str());
  if (s.objective_power() > 0.0) std::printf("objective %sx\n", number(s.objective_power()).c_str());
  std::printf("levels %zu\n", s.levels().size());
  std::printf("  level     width    height  downsample  um/px    tile       compression\n");
  for (std::size_t i = 0; i < s.levels().size(); ++i) {
    const SlideLevel& l = s.levels()[i];
    const std::string tile = std::to_string(l.tile_width) + "x" + std::to_string(l.tile_height);
    std::printf("  %5zu  %8lld  %8lld  %10s  %-7s  %-9s  %s\n", i, static_cast<long long>(l.width),
                static_cast<long long>(l.height), number(l.downsample).c_str(),
                mpp.known() ? number(level_mpp(l)).c_str() : "?", tile.c_str(), l.compression.c_str());
  }
}

const char* name_of(FinalLayer f) {
  return f == FinalLayer::softmax ? "softmax" : f == FinalLayer::sigmoid ? "sigmoid" : "none";
}

const char* name_of(Normalization::Kind k) {
  switch (k) {
    case Normalization::Kind::none:
      return "none";
    case Normalization::Kind::zscore_tile:
      return "zscore_tile";
    case Normalization::Kind::mean_std:
      return "mean_std";
    case Normalization::Kind::div255:
      break;
  }
  return "div255";
}

void describe(const LoadedModel& loaded, std::int64_t side, bool json) {
  const Model& model = *loaded.model;
  const ModelInfo& m = model.info();
  const std::uint64_t bytes = os::File(m.path, os::File::Mode::read).size();
  const std::size_t session = Session::planned_bytes(model, side, side);
  std::size_t layers = 0,
              on_load = 0;  // norms that could not be folded are applied while the input is loaded
  double macs = 0.0;
  const std::vector<LayerReport> reports = model.layers(side, side);
  for (const LayerReport& l : reports) {
    ++layers;
    on_load += l.prologue.find("norm") != std::string::npos;
    macs += l.macs;
  }
  const double gmacs = 1e-9 * macs;
  const std::string sha256 = loaded.sha256.empty() ? sha256_of_file(m.path) : loaded.sha256;
  if (json) {
    JsonWriter j;
    j.open_object();
    j.field("kind", "model");
    j.field("file", m.path);
    j.field("bytes", bytes);
    j.field("sha256", sha256);
    j.field("architecture", m.architecture);
    j.field("spatial_dims", m.spatial_dims);
    j.field("norm_before_down", m.norm_before_down);
    j.field("base_filters", m.base_filters);
    j.field("input_channels", m.input_channels);
    j.field("classes", m.classes);
    j.open_array("class_names");
    for (const std::string& s : m.class_names) j.item(s);
    j.close();
    j.open_array("class_colors");
    for (const std::string& s : m.class_colors) j.item(s);
    j.close();
    j.open_array("thresholds");
    for (const double t : m.thresholds) j.item(t);
    j.close();
    j.field("final_layer", name_of(m.final_layer));
    j.field("normalization", name_of(m.normalization.kind));
    j.field("axis_order", m.transposed ? "wh" : "hw");
    j.field_or_null("spacing_um_px", m.spacing_um_px);
    j.field("patch_size_pixels", m.patch_size);
    j.field("stride_pixels", m.stride);
    j.field("parameters", m.parameters);
    j.field("weight_type", m.weight_type);
    j.field("convolutions", layers);
    j.field("convolutions_with_norm_on_load", on_load);
    j.field("size_px", side);
    j.field("gmacs", gmacs);
    j.field("weights_memory_bytes", model.weight_bytes());
    j.field("session_memory_bytes", session);
    j.open_array("layers");
    for (const LayerReport& l : reports) {
      j.open_object();
      write_layer(j, l);
      j.close();
    }
    j.close();
    j.field("license", m.license);
    j.field("source", m.source);
    j.field("training_data", m.training_data);
    j.close();
    std::fputs(j.text().c_str(), stdout);
    return;
  }
  std::printf("model %s\n", printable(m.path).c_str());
  std::printf("architecture %s, %dD, %d base filters, %s\n", m.architecture.c_str(), m.spatial_dims,
              m.base_filters,
              m.norm_before_down ? "norm before the strided convolution (GaNDLF 0.0.20 and later)"
                                 : "norm after the strided convolution (GaNDLF before 0.0.20)");
  std::printf("input %d channels, normalization %s\n", m.input_channels, name_of(m.normalization.kind));
  std::printf("classes %d, %s:", m.classes, name_of(m.final_layer));
  for (std::size_t c = 0; c < m.class_names.size(); ++c)
    std::printf("%s %s%s%s", c ? "," : "", printable(m.class_names[c]).c_str(),
                m.class_colors[c].empty() ? "" : " ", m.class_colors[c].c_str());
  if (m.spacing_um_px > 0.0)
    std::printf("\nspacing %s um/px\n", number(m.spacing_um_px).c_str());
  else
    std::printf("\nspacing unknown: segment needs --mpp X or --level N\n");
  std::printf("patch %lld px, stride %lld px\n", static_cast<long long>(m.patch_size),
              static_cast<long long>(m.stride));
  std::printf("parameters %lld, stored as %s, %.1f MiB\n", static_cast<long long>(m.parameters),
              m.weight_type.c_str(), mebi(bytes));
  std::printf("convolutions %zu; norms are folded into them, or applied on load in %zu\n", layers, on_load);
  std::printf("%lld x %lld px: %.1f billion multiply-adds, %.1f MiB weights, %.1f MiB per image in work\n",
              static_cast<long long>(side), static_cast<long long>(side), gmacs, mebi(model.weight_bytes()),
              mebi(session));
  std::printf("sha256 %s\n", sha256.c_str());
  if (!m.license.empty()) std::printf("license %s\n", printable(m.license).c_str());
  if (!m.source.empty()) std::printf("source %s\n", printable(m.source).c_str());
  if (!m.training_data.empty()) std::printf("training data %s\n", printable(m.training_data).c_str());
  print_layers(reports);
}

}  // namespace

int run_info(const InfoArgs& args) {
  if (!is_safetensors(args.path)) {
    if (args.size > 0) throw UsageError("--size", "belongs to models, and this is none");
    describe(*open_slide(args.path), args.json);
    return 0;
  }
  if (args.size % 16 != 0) throw UsageError("--size", "a multiple of 16 expected");
  const LoadedModel loaded = load_tuned(args.path, args.size, !args.no_tune);
  describe(loaded, args.size > 0 ? args.size : loaded.model->info().patch_size, args.json);
  return 0;
}

}  // namespace microtome::tools
