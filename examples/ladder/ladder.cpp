// One 3x3 convolution, from textbook loops to Winograd: what each step brings, and why (the comment of its
// file).
//   build/examples/ladder_avx2 [CHANNELS [SIDE]]      default 64 channels, 128 x 128 pixels
//   g++ -std=c++17 -O2 -march=native -fopenmp -Iinclude -Ibench examples/ladder/ladder.cpp -o ladder
// One thread, CPU time, the best of several runs. GMAC/s are multiply-accumulates of the definition per
// second, also for rungs that do fewer; the peak is what the FMA units of one core can do, measured in the
// same run. Every rung is compared with a result in double: the program ends with 1 if one is wrong.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "blocked.hpp"
#include "fma_peak.hpp"
#include "microtome/core/cpu.hpp"
#include "microtome/core/isa.hpp"
#include "naive.hpp"
#include "problem.hpp"
#include "register_tile.hpp"
#include "winograd.hpp"

namespace ladder {

inline double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

/// The largest difference to the right answer, relative to its rms.
template <class Rung>
double difference(const Rung& rung, const Problem& p) {
  double worst = 0;
  std::size_t i = 0;
  for (int o = 0; o < p.channels; ++o)
    for (int y = 0; y < p.side; ++y)
      for (int x = 0; x < p.side; ++x) {
        const double d = std::fabs(static_cast<double>(rung.at(o, y, x)) - p.right_answer[i++]);
        if (!(d <= worst)) worst = d;  // a NaN stays
      }
  return worst / p.rms;
}

/// Measures, checks and prints one rung; true if it is right.
template <class Rung>
bool climb(int number, const Problem& p) {
  Rung rung(p);
  const double peak = microtome_bench::fma_peak_gmacs();  // of this moment: clocks and neighbours change
  double best = 0, total = 0;
  for (int runs = 0; runs < 3 || (total < 0.3 && runs < 1000); ++runs) {
    const double begin = cpu_seconds();
    rung.run();
    const double seconds = std::max(1e-6, cpu_seconds() - begin);
    best = runs == 0 ? seconds : std::min(best, seconds);
    total += seconds;
  }
  const double worst = difference(rung, p), gmacs = p.macs() / best * 1e-9;
  const bool right = worst <= Rung::kTolerance;
  std::printf("%d  %-18s %9.2f %9.1f %9.1f %%    %.1e%s\n     %s\n", number, Rung::kName, best * 1e3, gmacs,
              100 * gmacs / peak, worst, right ? "" : "  WRONG", Rung::kChange);
  return right;
}

int main(int channels, int side) {
  const Problem p(channels, side);
  std::printf("3x3 convolution, %d -> %d channels, %d x %d pixels: %.0f million multiply-accumulates\n",
              channels, channels, side, side, p.macs() * 1e-6);
  std::printf("compiled for %s; FMA peak of one core, with the widest vectors the CPU has: %.1f GMAC/s\n\n",
              MICROTOME_STR(MICROTOME_ISA), microtome_bench::fma_peak_gmacs());
  std::printf("   rung                      ms    GMAC/s     of peak    largest error / rms\n");
  // A new rung is a class like these, and a line.
  int number = 0;
  bool right = climb<Naive>(++number, p);
  right &= climb<Blocked>(++number, p);
  right &= climb<RegisterTile>(++number, p);
  right &= climb<Winograd<4>>(++number, p);
  right &= climb<Winograd<6>>(++number, p);
  return right ? 0 : 1;
}

}  // namespace ladder

int main(int argc, char** argv) {
  const int channels = argc > 1 ? std::atoi(argv[1]) : 64, side = argc > 2 ? std::atoi(argv[2]) : 128;
  if (argc > 3 || channels < 16 || channels > 1024 || channels % 16 != 0 || side < 24 || side > 1024) {
    std::fprintf(stderr, "usage: ladder [CHANNELS [SIDE]]: 16 to 1024 in multiples of 16, 24 to 1024\n");
    return 2;
  }
  if (!microtome::decode(microtome::read_cpuid()).runs(microtome::Isa::MICROTOME_ISA)) {
    std::fprintf(stderr, "ladder: this CPU cannot run %s\n", MICROTOME_STR(MICROTOME_ISA));
    return 77;
  }
  return ladder::main(channels, side);
}
