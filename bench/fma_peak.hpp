// The most FP32 multiply-accumulates one core can do, measured: registers only, no memory.
#pragma once
#include <microtome/core/cpu.hpp>
#include <microtome/core/os.hpp>

// 12 independent chains: two units with a latency of four to six cycles are never idle. The namespaces tell
// scripts/check_isa_leaks.py where these instructions belong.
#define MICROTOME_FMA(r, i) "vfmadd231ps %%" r "14, %%" r "15, %%" r #i "\n"
#define MICROTOME_FMA_CHAINS(r)                                                                           \
  "vzeroall\n 1:\n" MICROTOME_FMA(r, 0) MICROTOME_FMA(r, 1) MICROTOME_FMA(r, 2) MICROTOME_FMA(r, 3)       \
      MICROTOME_FMA(r, 4) MICROTOME_FMA(r, 5) MICROTOME_FMA(r, 6) MICROTOME_FMA(r, 7) MICROTOME_FMA(r, 8) \
          MICROTOME_FMA(r, 9) MICROTOME_FMA(r, 10) MICROTOME_FMA(r, 11) "dec %0\n jnz 1b\n vzeroupper\n"
#define MICROTOME_FMA_CLOBBERS                                                                               \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15", "cc"  // vzeroall clears them all

namespace microtome::avx512bw {
[[gnu::noinline]] inline void fma_turns(long n) {
  __asm__ volatile(MICROTOME_FMA_CHAINS("zmm") : "+r"(n) : : MICROTOME_FMA_CLOBBERS);
}
}  // namespace microtome::avx512bw

namespace microtome::avx2 {
[[gnu::noinline]] inline void fma_turns(long n) {
  __asm__ volatile(MICROTOME_FMA_CHAINS("ymm") : "+r"(n) : : MICROTOME_FMA_CLOBBERS);
}
}  // namespace microtome::avx2

namespace microtome_bench {

inline void multiply_add_turns(long n) {
  __asm__ volatile(
      "xorps %%xmm14, %%xmm14\n xorps %%xmm15, %%xmm15\n"
      "1:\n"
      "mulps %%xmm14, %%xmm0\n addps %%xmm15, %%xmm6\n mulps %%xmm14, %%xmm1\n addps %%xmm15, %%xmm7\n"
      "mulps %%xmm14, %%xmm2\n addps %%xmm15, %%xmm8\n mulps %%xmm14, %%xmm3\n addps %%xmm15, %%xmm9\n"
      "mulps %%xmm14, %%xmm4\n addps %%xmm15, %%xmm10\n mulps %%xmm14, %%xmm5\n addps %%xmm15, %%xmm11\n"
      "dec %0\n jnz 1b\n"
      : "+r"(n)
      :
      : MICROTOME_FMA_CLOBBERS);
}

/// GMAC/s of the widest FMA this CPU has (AVX-512, AVX2; SSE multiplies and adds without either), best of 20
/// runs of about a millisecond.
inline double fma_peak_gmacs() {
  constexpr long kTurns = 200000;
  const microtome::CpuFeatures cpu = microtome::decode(microtome::read_cpuid());
  const double macs = static_cast<double>(kTurns) * (cpu.avx512bw ? 12 * 16 : cpu.avx2 ? 12 * 8 : 6 * 4);
  const auto turns = cpu.avx512bw ? &microtome::avx512bw::fma_turns
                     : cpu.avx2   ? &microtome::avx2::fma_turns
                                  : &multiply_add_turns;
  double best = 0.0;
  for (int round = 0; round < 20; ++round) {
    const double begin = microtome::os::now();
    turns(kTurns);
    const double rate = 1e-9 * macs / (microtome::os::now() - begin);
    if (rate > best) best = rate;
  }
  return best;
}

#undef MICROTOME_FMA
#undef MICROTOME_FMA_CHAINS
#undef MICROTOME_FMA_CLOBBERS

}  // namespace microtome_bench
