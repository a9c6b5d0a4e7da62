// Stain normalisation of one image for the comparison with other implementations, and its cost:
//   stain_run METHOD IMAGE OUTPUT.png [TARGET]     prints the profile of IMAGE (second line: of the target)
//   stain_run --time METHOD IMAGE                  prints seconds of fitting and of a patch of 512 x 512
//   pixels
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "microtome/core/os.hpp"
#include "microtome/io/image.hpp"
#include "microtome/pipeline/stain.hpp"

namespace {

using namespace microtome;

StainFit fit_image(StainMethod method, const Image& image) {
  StainFit f = fit_stain(method, image.pixels.data(), image.pixels.size() / 3);
  if (!f.ok()) throw InputError("", "stain", f.failure);
  return f;
}

void print(const StainProfile& p) {
  std::printf("%.9g %.9g %.9g %.9g %.9g %.9g\n", p.first[0], p.first[1], p.first[2], p.second[0], p.second[1],
              p.second[2]);
}

void time_patch(StainMethod method, const Image& image) {
  constexpr int kRuns = 20;
  const double start = os::now();
  const StainProfile from = fit_image(method, image).profile;
  const double fitted = os::now();
  const StainNormalizer n(from, reference_stain(method));
  const double built = os::now();
  std::vector<std::uint8_t> patch;
  for (std::size_t i = 0; i < std::size_t{512} * 512 * 3; ++i)
    patch.push_back(image.pixels[i % image.pixels.size()]);
  double best = 1e9;
  for (int i = 0; i < kRuns; ++i) {
    std::vector<std::uint8_t> copy = patch;
    const double begin = os::now();
    n.apply(copy.data(), 512 * 3, 512, 512);
    best = std::min(best, os::now() - begin);
  }
  std::printf("fit %.4f s, tables %.5f s, patch %.5f s (best of %d)\n", fitted - start, built - fitted, best,
              kRuns);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) return std::fprintf(stderr, "usage: stain_run METHOD IMAGE OUTPUT.png [TARGET]\n"), 2;
  if (std::string(argv[1]) == "--time")
    return time_patch(parse_stain_method(argv[2]), read_image(argv[3])), 0;
  const StainMethod method = parse_stain_method(argv[1]);
  Image image = read_image(argv[2]);
  const StainProfile from = fit_image(method, image).profile;
  const StainProfile to = argc > 4 ? fit_image(method, read_image(argv[4])).profile : reference_stain(method);
  print(from);
  print(to);
  const std::size_t row = static_cast<std::size_t>(image.width) * 3;
  StainNormalizer(from, to).apply(image.pixels.data(), row, image.width, image.height);
  PngWriter out(argv[3], image.width, image.height, 3);
  out.write_rows(image.pixels.data(), image.height, row);
  out.finish();
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "stain_run: %s\n", e.what());
  return 1;
}
