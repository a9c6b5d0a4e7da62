// A program that segments a whole slide: open_slide, segment_slide.
//   embed_slide MODEL.safetensors SLIDE FOLDER
// FOLDER gets mask.tif, overlay.png and summary.json, as those of `microtome segment`.
#include <microtome/microtome.hpp>
#include <microtome/pipeline/segment_slide.hpp>
#include <microtome/slide/registry.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: embed_slide MODEL.safetensors SLIDE FOLDER\n"), 2;
  try {
    const auto network = microtome::make_patch_network(microtome::load_model(argv[1]));
    const auto slide = microtome::open_slide(argv[2]);
    microtome::SegmentOptions
        options;  // scale, patch, memory, threads: as the model and the machine have them
    const microtome::SegmentResult result = microtome::segment_slide(
        *slide, network, argv[3], options,
        [](const microtome::Progress&) { return true; });  // called often; false stops the run (Cancelled)

    for (std::size_t label = 0; label < result.labels.size(); ++label)
      std::printf("%s %llu\n", result.labels[label].name.c_str(),
                  static_cast<unsigned long long>(result.label_pixels[label]));
    for (const std::string& warning : result.warnings) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
