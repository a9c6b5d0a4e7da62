// One engine of a side-by-side benchmark: a process that runs one inference per request on stdin.
//   PB_MODEL=path/resunet_b32 PB_TILE=512 PB_THREADS=1 build/bench/peer_worker
// Reads PB_MODEL.safetensors (a bare state_dict: resunet, softmax), the input PB_MODEL_PB_TILE_x.npy and, for
// the error, the reference output PB_MODEL_PB_TILE_y.npy (float32, [1, channels, tile, tile]). Prints
// {"ready": ...} after the first inference; then answers "run" with {"ms", "cpu_ms"} and "stats" with
// {"hwm_before_kb", "hwm_kb", "max_abs_err", "mismatch", "mismatch_clear"}; ends with its input. The peak of
// memory is read before anything of the model is mapped, and never reset.
#include <microtome/microtome.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
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

}  // namespace

int main() try {
  const std::uint64_t before = peak_kb();
  const std::string stem = variable("PB_MODEL");
  const std::int64_t tile = number("PB_TILE", 16384);
  const int threads = static_cast<int>(number("PB_THREADS", 1024));
  const std::string data = stem + "_" + std::to_string(tile);
  const std::size_t plane = static_cast<std::size_t>(tile * tile);

  const double start = os::now();
  const auto model = load_model(
      stem + ".safetensors",
      {{"architecture", "resunet"}, {"final_layer", "softmax"}, {"normalization", R"({"kind":"none"})"}});
  DefaultExecutor executor(threads);
  Session session(model, &executor);
  const double loaded = os::now();
  const std::size_t channels = static_cast<std::size_t>(model->info().input_channels);
  const std::size_t classes = static_cast<std::size_t>(model->info().classes);
  const std::vector<float> x = read_npy(data + "_x.npy", channels * plane);
  std::vector<float> y(classes * plane);
  const double first = os::now();
  session.run_planar(x.data(), tile, tile, y.data());
  std::printf(R"({"ready": "microtome", "version": "%s", "isa": "%s", "load_ms": %.2f, "first_ms": %.2f})"
              "\n",
              MICROTOME_VERSION, active_isa(), (loaded - start) * 1e3, (os::now() - first) * 1e3);
  std::fflush(stdout);

  char line[64];
  while (std::fgets(line, sizeof line, stdin)) {
    if (std::strncmp(line, "run", 3) == 0) {
      const double wall = os::now(), cpu = os::process_cpu_seconds();
      session.run_planar(x.data(), tile, tile, y.data());
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
