// Prints the chosen instruction set, then those this CPU can run, then those built in: one line each.
// With the name of an instruction set: runs a kernel of its table whether the CPU can or not.
#include <cstdio>

#include "microtome/core/error.hpp"
#include "microtome/kernels/kernel_table.hpp"

namespace {

void run_regardless(const char* isa) {
  microtome::CpuFeatures every;
  every.avx2 = every.avxvnni = every.avx512bw = every.avx512vnni = true;
  const std::int16_t in[16] = {3, 5}, weights[32] = {7, 11};
  std::int32_t out[16] = {};
  const int pairs = 1;
  microtome::WinogradProductI16Args a{};
  a.in = in, a.block_pairs = &pairs, a.blocks = 1, a.tiles = 1;
  a.weights = weights, a.outputs = 1, a.out = out;
  microtome::choose_kernels(every, isa).winograd_product_i16(a);
  std::printf("%d\n", out[0]);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 1) {
      run_regardless(argv[1]);
      return 0;
    }
    std::printf("%s\n", microtome::active_isa());
    for (const auto& name : microtome::available_isas()) std::printf("%s ", name.c_str());
    std::printf("\n");
    for (const microtome::Isa isa : microtome::built_isas()) std::printf("%s ", to_string(isa));
    std::printf("\n");
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
