// A program that embeds microtome: load_model, Session, run.
//   embed MODEL.safetensors
#include <microtome/microtome.hpp>

#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: embed MODEL.safetensors\n"), 2;
  try {
    const auto model = microtome::load_model(argv[1]);  // read, folded, packed; may be shared by threads
    microtome::Session session(model);                  // owns the scratch memory; one per thread

    const int width = 256, height = 256;
    const std::vector<std::uint8_t> rgb(width * height * 3, 200);  // interleaved 8-bit RGB
    const microtome::ProbabilityMap map = session.run(rgb.data(), width, height);

    for (int c = 0; c < map.classes; ++c)  // planar: class c of pixel (x, y) at (c * height + y) * width + x
      std::printf("%s %.6f\n", model->info().class_names[static_cast<std::size_t>(c)].c_str(),
                  static_cast<double>(map.data[static_cast<std::size_t>((c * height + 100) * width + 100)]));
    std::printf("%s\n", microtome::active_isa());
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
