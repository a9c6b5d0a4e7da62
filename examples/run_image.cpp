// Loads weights, runs one image, writes the probability of one class as a grey PNG.
//   run_image MODEL.safetensors IMAGE.png OUT.png [CLASS]
// Large images need slides' machinery (tiles, overlap, scale): see microtome/pipeline/ and `microtome
// segment`.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "microtome/core/os.hpp"
#include "microtome/io/image.hpp"
#include "microtome/microtome.hpp"

namespace {

// Networks take multiples of 16: the right and bottom edges are repeated.
std::vector<std::uint8_t> pad(const microtome::Image& image, std::int64_t width, std::int64_t height) {
  std::vector<std::uint8_t> padded;
  padded.reserve(static_cast<std::size_t>(width * height) * 3);
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t pixel = std::min(y, image.height - 1) * image.width + std::min(x, image.width - 1);
      const std::uint8_t* from = image.pixels.data() + pixel * 3;
      padded.insert(padded.end(), from, from + 3);
    }
  return padded;
}

int run(const std::string& model_path, const std::string& image_path, const std::string& out_path,
        int wanted) {
  const auto model = microtome::load_model(model_path);
  const microtome::ModelInfo& info = model->info();
  if (wanted < 0 || wanted >= info.classes)
    throw microtome::UsageError("CLASS",
                                std::to_string(wanted) + ": the model has " + std::to_string(info.classes));

  const microtome::Image image = microtome::read_image(image_path);
  const std::int64_t width = (image.width + 15) / 16 * 16, height = (image.height + 15) / 16 * 16;
  const std::vector<std::uint8_t> rgb = pad(image, width, height);

  microtome::DefaultExecutor threads(microtome::os::cpu_count());
  microtome::Session session(model, &threads);
  const double start = microtome::os::now();
  const microtome::ProbabilityMap map = session.run(rgb.data(), width, height);
  const double seconds = microtome::os::now() - start;

  microtome::PngWriter png(out_path, image.width, image.height, 1);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.width));
  double sum = 0.0;
  for (std::int64_t y = 0; y < image.height; ++y) {
    const float* p = map.data.data() + (wanted * height + y) * width;
    for (std::size_t x = 0; x < row.size(); ++x) {
      const float shown = std::min(1.0f, std::max(0.0f, p[x]));  // logits have no such range
      row[x] = static_cast<std::uint8_t>(shown * 255.0f + 0.5f);
      sum += static_cast<double>(shown);
    }
    png.write_rows(row.data(), 1, row.size());
  }
  png.finish();
  std::printf("%s, class %d (%s): mean %.4f over %lld x %lld pixels, %.3f s with %s kernels on %d threads\n",
              out_path.c_str(), wanted, info.class_names[static_cast<std::size_t>(wanted)].c_str(),
              sum / static_cast<double>(image.width * image.height), static_cast<long long>(image.width),
              static_cast<long long>(image.height), seconds, microtome::active_isa(), threads.workers());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::fprintf(stderr, "usage: run_image MODEL.safetensors IMAGE.png OUT.png [CLASS]\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2], argv[3], argc == 5 ? std::stoi(argv[4]) : 1);
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "run_image: %s\n", e.what());
    return static_cast<int>(e.kind());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "run_image: %s\n", e.what());
    return 2;
  }
}
