// The most FP32 multiply-accumulates one core can do, measured: registers only, no memory.
#pragma once
#include <chrono>

#if defined(__x86_64__)
#include <microtome/core/cpu.hpp>
#endif

namespace microtome_bench {

/// GMAC/s of 12 independent chains of 8-wide FMA (4-wide multiply and add without AVX2), best of 20 short
/// runs.
inline double fma_peak_gmacs() {
  constexpr long kTurns = 200000;
  const bool avx2 = microtome::decode(microtome::read_cpuid()).avx2;
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    long n = kTurns;
    if (avx2)
      __asm__ volatile(
          "vxorps %%ymm14, %%ymm14, %%ymm14\n vxorps %%ymm15, %%ymm15, %%ymm15\n"
          "1:\n"
          "vfmadd231ps %%ymm14, %%ymm15, %%ymm0\n vfmadd231ps %%ymm14, %%ymm15, %%ymm1\n"
          "vfmadd231ps %%ymm14, %%ymm15, %%ymm2\n vfmadd231ps %%ymm14, %%ymm15, %%ymm3\n"
          "vfmadd231ps %%ymm14, %%ymm15, %%ymm4\n vfmadd231ps %%ymm14, %%ymm15, %%ymm5\n"
          "vfmadd231ps %%ymm14, %%ymm15, %%ymm6\n vfmadd231ps %%ymm14, %%ymm15, %%ymm7\n"
          "vfmadd231ps %%ymm14, %%ymm15, %%ymm8\n vfmadd231ps %%ymm14, %%ymm15, %%ymm9\n"
          "vfmadd231ps %%ymm14, %%ymm15, %%ymm10\n vfmadd231ps %%ymm14, %%ymm15, %%ymm11\n"
          "dec %0\n jnz 1b\n vzeroupper\n"
          : "+r"(n)
          :
          : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
            "xmm14", "xmm15", "cc");
    else
      __asm__ volatile(
          "xorps %%xmm14, %%xmm14\n xorps %%xmm15, %%xmm15\n"
          "1:\n"
          "mulps %%xmm14, %%xmm0\n addps %%xmm15, %%xmm6\n mulps %%xmm14, %%xmm1\n addps %%xmm15, %%xmm7\n"
          "mulps %%xmm14, %%xmm2\n addps %%xmm15, %%xmm8\n mulps %%xmm14, %%xmm3\n addps %%xmm15, %%xmm9\n"
          "mulps %%xmm14, %%xmm4\n addps %%xmm15, %%xmm10\n mulps %%xmm14, %%xmm5\n addps %%xmm15, %%xmm11\n"
          "dec %0\n jnz 1b\n"
          : "+r"(n)
          :
          : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
            "xmm14", "xmm15", "cc");
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const double macs = static_cast<double>(kTurns) * (avx2 ? 12 * 8 : 6 * 4);
    if (macs / s * 1e-9 > best) best = macs / s * 1e-9;
  }
  return best;
}

}  // namespace microtome_bench
