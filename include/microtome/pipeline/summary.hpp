// summary.json: what was done to a slide, for people and for scripts. Written last, it marks a finished
// slide.
#pragma once
#include <cstdint>
#include <string>

#include "../core/json_writer.hpp"
#include "../core/text.hpp"
#include "../slide/slide.hpp"
#include "../version.hpp"
#include "segment.hpp"

namespace microtome {

/// A profile as an object: where a target is from, and its two vectors under the names of the method.
inline void write_stain(JsonWriter& j, const std::string& key, const StainProfile& p) {
  j.open_object(key);
  if (!p.origin.empty()) j.field("origin", p.origin);
  for (const bool first : {true, false}) {
    j.open_array(first ? p.first_name() : p.second_name());
    for (const double v : first ? p.first : p.second) j.item(v);
    j.close();
  }
  j.close();
}

/// The text of summary.json. Of the slide it holds the file's name and measures and nothing that a scanner or
/// a user wrote into it: descriptions, labels and barcodes may name a patient.
inline std::string summary_json(const Slide& slide, const PatchNetwork& network, const SegmentResult& r,
                                const std::string& isa, std::uint64_t peak_memory) {
  const PixelSize& mpp = slide.pixel_size();
  const double mask_mm2 = r.mask_mpp_x * r.mask_mpp_y * 1e-6;  // of one mask pixel
  const auto megapixels = [](std::int64_t w, std::int64_t h) {
    return 1e-6 * static_cast<double>(w) * static_cast<double>(h);
  };
  const auto rate = [&](double mp) { return r.seconds.total > 0.0 ? mp / r.seconds.total : 0.0; };
  JsonWriter j;
  j.open_object();
  j.field("microtome", MICROTOME_VERSION);

  j.open_object("slide");
  j.field("file", file_name(slide.path()));
  j.field("bytes", os::File(slide.path(), os::File::Mode::read).size());
  j.field("format", slide.format());
  j.field("width_px", slide.width());
  j.field("height_px", slide.height());
  j.field_or_null("mpp_x", mpp.x);
  j.field_or_null("mpp_y", mpp.y);
  j.field("mpp_source", mpp.source);
  j.close();

  j.open_object("model");
  j.field("file", file_name(network.info.path));
  j.field("sha256", network.sha256);
  j.field("architecture", network.info.architecture);
  j.open_array("class_names");
  for (const std::string& name : network.info.class_names) j.item(name);
  j.close();
  j.field_or_null("spacing_um_px", network.info.spacing_um_px);
  j.close();

  j.open_object("run");
  j.field("level", r.plane.level);
  j.field("resample_factor_x", r.plane.factor_x(slide));
  j.field("resample_factor_y", r.plane.factor_y(slide));
  j.field_or_null("mpp_x", r.plane.mpp_x);
  j.field_or_null("mpp_y", r.plane.mpp_y);
  j.field("width_px", r.plane.width);
  j.field("height_px", r.plane.height);
  j.field("patch_px", r.patch);
  j.field("stride_px", r.stride);
  j.field("patches_run", r.patches_run);
  j.field("patches_skipped", r.patches_skipped);
  j.field("tissue", r.tissue_fraction < 0.0 ? "none" : "auto");
  if (r.tissue_fraction >= 0.0) {
    j.field("tissue_fraction", r.tissue_fraction);
    j.field("tissue_saturation_threshold", r.tissue_threshold);
  }
  j.open_object("tuned_layers");
  for (const auto& [layer, algorithm] : network.tuned_layers) j.field(layer, algorithm);
  j.close();
  j.field("stain_norm", name_of(r.stain_target.method));
  if (r.stain_target.method != StainMethod::none) {
    write_stain(j, "stain_target", r.stain_target);
    if (r.stain.method != StainMethod::none) write_stain(j, "stain_fitted", r.stain);
  }
  j.field("bad_tile_reads", r.bad_tile_reads);
  j.close();

  j.open_object("mask");
  j.field("file", "mask.tif");
  j.field("width_px", r.mask_width);
  j.field("height_px", r.mask_height);
  j.field("downsample", r.plane.mask_downsample);
  j.field_or_null("mpp_x", r.mask_mpp_x);
  j.field_or_null("mpp_y", r.mask_mpp_y);
  j.close();

  j.open_array("labels");
  for (std::size_t l = 0; l < r.labels.size(); ++l) {
    const Label& label = r.labels[l];
    char color[8];
    std::snprintf(color, sizeof color, "#%02x%02x%02x", label.color[0], label.color[1], label.color[2]);
    j.open_object();
    j.field("label", l);
    j.field("name", label.name);
    j.field("color", color);
    j.field("pixels", r.label_pixels[l]);
    j.field("mm2", mask_mm2 > 0.0 ? static_cast<double>(r.label_pixels[l]) * mask_mm2 : std::nan(""));
    j.close();
  }
  j.close();

  j.open_object("performance");
  j.field("isa", isa);
  j.field("threads", r.threads);
  j.field("patches_at_a_time", r.memory.sessions);
  j.open_object("seconds");
  j.field("note",
          "total, open, tissue, overlay by the clock; read, stain, infer, stitch, write summed over threads");
  j.field("open", r.seconds.open);
  j.field("tissue", r.seconds.tissue);
  j.field("read", r.seconds.read);
  j.field("stain", r.seconds.stain);
  j.field("infer", r.seconds.infer);
  j.field("stitch", r.seconds.stitch);
  j.field("write", r.seconds.write);
  j.field("overlay", r.seconds.overlay);
  j.field("total", r.seconds.total);
  j.close();
  j.field("slide_megapixels_per_second", rate(megapixels(slide.width(), slide.height())));
  j.field("network_megapixels_per_second",
          rate(megapixels(r.patch, r.patch) * static_cast<double>(r.patches_run)));
  j.field("peak_memory_bytes", peak_memory);
  j.field("memory_budget_bytes", r.memory.budget);
  j.field("accumulators_spilled", r.spills);
  j.close();

  j.open_array("warnings");
  for (const std::string& w : r.warnings) j.item(w);
  j.close();
  j.close();
  return j.text();
}

}  // namespace microtome
