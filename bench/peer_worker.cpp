// One engine of a side-by-side benchmark: a process that runs one inference per request on stdin.
//   PB_MODEL=path/resunet_b32 PB_TILE=512 PB_THREADS=1 build/bench/peer_worker [--precision fp32|int8]
// Reads PB_MODEL.safetensors (a bare state_dict: resunet, softmax), the input PB_MODEL_PB_TILE_x.npy and, for
// the error, the reference output PB_MODEL_PB_TILE_y.npy (float32, [1, channels, tile, tile]). Prints
// {"ready": ...} after the first inference; then answers "run" with {"ms", "cpu_ms"} and "stats" with
// {"hwm_before_kb", "hwm_kb", "max_abs_err", "mismatch", "mismatch_clear"}; ends with its input. The peak of
// memory is read before anything of the model is mapped, and never reset.
//
// int8: the input is rounded to pixels, x * 255, which the network reads as x. A process of its own quantizes
// the network, calibrated with the same image mirrored, to PB_MODEL_PB_TILE.int8.safetensors unless it is
// there; the measured one maps only that file.
#include <microtome/microtome.hpp>
#include <microtome/models/quantized_file.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace microtome;

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) throw UsageError(name, "the environment variable is not set");
  return value;
}

std::int64_t number(const char* name, long high) {
  char* end = nullptr;
  const long v = std::strtol(variable(name), &end, 10);
  if (*end || v < 1 || v > high) throw UsageError(name, "1 to " + std::to_string(high) + " expected");
  return v;
}

// A float32 array of numpy in C order. Source: the NPY format, version 1.0 to 3.0 (numpy.lib.format).
std::vector<float> read_npy(const std::string& path, std::size_t elements) {
  const os::MappedFile file(path);
  if (file.size() < 12 || std::memcmp(file.data(), "\x93NUMPY", 6) != 0)
    throw InputError(path, "", "not a .npy file");
  const bool wide = file.data()[6] > 1;  // version 2 on: four bytes of header length
  std::size_t header = 0;
  for (int i = wide ? 3 : 1; i >= 0; --i) header = header << 8 | file.data()[8 + i];
  const std::size_t begin = (wide ? 12 : 10) + header;
  if (header > file.size() || begin + elements * sizeof(float) != file.size())
    throw InputError(path, "shape", std::to_string(elements) + " floats expected");
  const std::string text(reinterpret_cast<const char*>(file.data()) + (wide ? 12 : 10), header);
  if (text.find("'<f4'") == std::string::npos || text.find("'fortran_order': False") == std::string::npos)
    throw InputError(path, "descr", "float32 in C order expected");
  std::vector<float> v(elements);
  std::memcpy(v.data(), file.data() + begin, elements * sizeof(float));
  return v;
}

std::uint64_t peak_kb() {
  return os::peak_memory() / 1024;
}

ModelFacts facts(const char* normalization) {
  ModelFacts f = {{"architecture", "resunet"}, {"final_layer", "softmax"}};
  f["normalization"] = std::string(R"({"kind":")") + normalization + "\"}";
  return f;
}

// Planar floats in 0..1 as interleaved pixels.
std::vector<std::uint8_t> to_pixels(const std::vector<float>& x, std::size_t channels) {
  std::vector<std::uint8_t> pixels(x.size());
  const std::size_t plane = x.size() / channels;
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t i = 0; i < plane; ++i)
      pixels[i * channels + c] =
          static_cast<std::uint8_t>(std::nearbyint(std::clamp(x[c * plane + i], 0.0f, 1.0f) * 255.0f));
  return pixels;
}

void quantize_to(const std::string& path, const std::string& model_path, const std::string& image,
                 std::int64_t side) {
  if (os::exists(path)) {
    const SafeTensors file(path);
    const auto digest = file.metadata().find("source_sha256");
    if (digest != file.metadata().end() && digest->second == sha256_of_file(model_path)) return;
  }
  const ModelFacts f = facts("div255");
  const auto model = load_model(model_path, f);
  const std::size_t channels = static_cast<std::size_t>(model->info().input_channels);
  std::vector<float> x = read_npy(image, channels * static_cast<std::size_t>(side * side));
  for (auto row = x.begin(); row != x.end(); row += side) std::reverse(row, row + side);
  const std::vector<std::uint8_t> pixels = to_pixels(x, channels);
  Calibration seen(model->network().convs().size());
  Session session(model);
  session.observe(&seen);
  session.run(pixels.data(), side, side);
  write_quantized(quantize(model->info(), seen, {}, f), path);
}

// Calls f in a process of its own, so that its memory is not this one's.
template <class F>
void in_a_child(F&& f) {
  const pid_t child = fork();
  if (child < 0) throw ResourceError("", "fork", "failed");
  if (child == 0) {
    int code = 1;
    try {
      f();
      code = 0;
    } catch (const std::exception& e) {
      std::fprintf(stderr, "peer_worker: %s\n", e.what());
    }
    _exit(code);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0)
    throw ResourceError("", "quantize", "the process that does it failed");
}

}  // namespace

int main(int argc, char** argv) try {
  const bool integers =
      argc == 3 && std::strcmp(argv[1], "--precision") == 0 && std::strcmp(argv[2], "int8") == 0;
  if (argc != 1 && !integers &&
      !(argc == 3 && std::strcmp(argv[1], "--precision") == 0 && std::strcmp(argv[2], "fp32") == 0))
    throw UsageError("--precision", "fp32 or int8 expected");
  const std::string stem = variable("PB_MODEL");
  const std::int64_t tile = number("PB_TILE", 16384);
  const int threads = static_cast<int>(number("PB_THREADS", 1024));
  const std::string data = stem + "_" + std::to_string(tile);
  const std::size_t plane = static_cast<std::size_t>(tile * tile);

  std::string path = stem + ".safetensors";
  if (integers) {
    const std::string from = std::exchange(path, data + ".int8.safetensors");
    in_a_child([&] { quantize_to(path, from, data + "_x.npy", tile); });
  }
  const std::uint64_t before = peak_kb();

  const double start = os::now();
  EngineOptions options;
  options.side = tile;
  const auto model = load_model(path, facts(integers ? "div255" : "none"), options);
  DefaultExecutor executor(threads);
  Session session(model, &executor);
  const double loaded = os::now();
  const std::size_t channels = static_cast<std::size_t>(model->info().input_channels);
  const std::size_t classes = static_cast<std::size_t>(model->info().classes);
  std::vector<float> x = read_npy(data + "_x.npy", channels * plane);
  std::vector<std::uint8_t> pixels;
  if (integers) pixels = to_pixels(std::exchange(x, {}), channels);
  std::vector<float> y(classes * plane);
  const auto run = [&] {
    if (integers)
      session.run(pixels.data(), channels * static_cast<std::size_t>(tile), tile, tile, y.data());
    else
      session.run_planar(x.data(), tile, tile, y.data());
  };
  const double first = os::now();
  run();
  std::printf(R"({"ready": "microtome", "version": "%s", "isa": "%s", "load_ms": %.2f, "first_ms": %.2f})"
              "\n",
              MICROTOME_VERSION, active_isa(), (loaded - start) * 1e3, (os::now() - first) * 1e3);
  std::fflush(stdout);

  char line[64];
  while (std::fgets(line, sizeof line, stdin)) {
    if (std::strncmp(line, "run", 3) == 0) {
      const double wall = os::now(), cpu = os::process_cpu_seconds();
      run();
      std::printf(R"({"ms": %.3f, "cpu_ms": %.3f})"
                  "\n",
                  (os::now() - wall) * 1e3, (os::process_cpu_seconds() - cpu) * 1e3);
    } else if (std::strncmp(line, "stats", 5) == 0) {
      const std::uint64_t peak = peak_kb();  // before the reference is read: it is no part of an inference
      const std::vector<float> reference = read_npy(data + "_y.npy", classes * plane);
      double error = 0;
      constexpr float kClear = 2e-4f;  // rounding may decide between classes that are closer
      std::size_t mismatch = 0, mismatch_clear = 0;
      for (std::size_t i = 0; i < plane; ++i) {
        std::size_t best = 0, expected = 0;
        for (std::size_t c = 0; c < classes; ++c) {
          const double e = static_cast<double>(std::fabs(y[c * plane + i] - reference[c * plane + i]));
          error = e <= error ? error : e;  // a NaN stays
          if (y[c * plane + i] > y[best * plane + i]) best = c;
          if (reference[c * plane + i] > reference[expected * plane + i]) expected = c;
        }
        mismatch += best != expected;
        mismatch_clear +=
            best != expected && reference[expected * plane + i] - reference[best * plane + i] >= kClear;
      }
      std::printf(
          R"({"hwm_before_kb": %llu, "hwm_kb": %llu, "max_abs_err": %.3e, "mismatch": %.7f, "mismatch_clear": %.7f})"
          "\n",
          static_cast<unsigned long long>(before), static_cast<unsigned long long>(peak), error,
          static_cast<double>(mismatch) / static_cast<double>(plane),
          static_cast<double>(mismatch_clear) / static_cast<double>(plane));
    }
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "peer_worker: %s\n", e.what());
  return 1;
}
