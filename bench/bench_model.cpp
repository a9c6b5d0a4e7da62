// The whole network on one image, side by side over instruction sets and thread counts:
//   build/bench/bench_model MODEL.safetensors [SIDE=512] [THREADS=1] [RUNS=7]
// Prints per run the wall and CPU time (for one thread CPU time is the steadier figure), the best of them,
// GMAC/s and its share of the FMA peak measured in the same process, and the memory added by model and
// session.
#include <microtome/microtome.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "fma_peak.hpp"

int main(int argc, char** argv) try {
  if (argc < 2)
    return std::fprintf(stderr, "usage: bench_model MODEL.safetensors [SIDE] [THREADS] [RUNS]\n"), 2;
  const std::int64_t side = argc > 2 ? std::atoi(argv[2]) : 512;
  const int threads = argc > 3 ? std::atoi(argv[3]) : 1, runs = argc > 4 ? std::atoi(argv[4]) : 7;
  using namespace microtome;
  const std::uint64_t before = os::peak_memory();
  const double start = os::now();
  const auto model = load_model(argv[1], {{"architecture", "resunet"}});
  const double loaded = os::now();
  DefaultExecutor executor(threads);
  Session session(model, &executor);
  const std::size_t pixels = static_cast<std::size_t>(side * side);
  std::vector<float> input(pixels * static_cast<std::size_t>(model->info().input_channels), 0.5f);
  std::vector<float> out(pixels * static_cast<std::size_t>(model->info().classes));
  double macs = 0, best_wall = 1e30, best_cpu = 1e30;
  for (const LayerReport& l : model->layers(side, side)) macs += l.macs;
  for (int i = 0; i < runs; ++i) {
    const double wall = os::now(), cpu = os::process_cpu_seconds();
    session.run_planar(input.data(), side, side, out.data());
    const double w = os::now() - wall, c = os::process_cpu_seconds() - cpu;
    std::printf("run %d: wall %.1f ms, CPU %.1f ms\n", i + 1, w * 1e3, c * 1e3);
    best_wall = std::min(best_wall, w), best_cpu = std::min(best_cpu, c);
  }
  const double peak = microtome_bench::fma_peak_gmacs(), rate = macs / best_cpu * 1e-9;
  std::printf("%s, %d thread(s), %lld px, base %d: load %.1f ms, best wall %.1f ms, best CPU %.1f ms\n",
              active_isa(), threads, static_cast<long long>(side), model->info().base_filters,
              (loaded - start) * 1e3, best_wall * 1e3, best_cpu * 1e3);
  std::printf(
      "%.2f GMAC, %.1f GMAC/s of CPU time (%.0f %% of the measured FMA peak of %.1f), %.2f Mpixel/s wall\n",
      macs * 1e-9, rate, 100 * rate / peak, peak, static_cast<double>(pixels) / best_wall * 1e-6);
  std::printf("memory: planned %.1f MB per session, weights %.1f MB, peak grew by %.1f MB\n",
              static_cast<double>(Session::planned_bytes(*model, side, side, threads)) * 1e-6,
              static_cast<double>(model->weight_bytes()) * 1e-6,
              static_cast<double>(os::peak_memory() - before) * 1e-6);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "bench_model: %s\n", e.what());
  return 1;
}
