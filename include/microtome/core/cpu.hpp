// CPU feature detection, compiled with baseline flags only.
//
// Split so that it can be tested anywhere: read_cpuid() touches the hardware; decode() and best_isa() are
// pure functions of the words it returns (tests feed them the recorded words of many CPUs). Source: Intel SDM
// vol. 2A (CPUID) and vol. 1 section 13 (XCR0).
#pragma once
#include <cpuid.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace microtome {

/// A partial order, not a ladder: avxvnni and avx512bw are two branches above avx2.
enum class Isa { baseline, avx2, avxvnni, avx512bw, avx512vnni };

inline const char* to_string(Isa i) {
  switch (i) {
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512bw:
      return "avx512bw";
    case Isa::avx512vnni:
      return "avx512vnni";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

/// The CPUID and XCR0 words that decode() looks at.
struct RawCpuid {
  std::uint32_t l1_ecx = 0, l7_ebx = 0, l7_ecx = 0, l7s1_eax = 0;
  std::uint64_t xcr0 = 0;  ///< 0 when OSXSAVE is clear
};

inline RawCpuid read_cpuid() {
  RawCpuid r;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return r;
  r.l1_ecx = c;
  if (c & (1u << 27)) {  // OSXSAVE: XGETBV is allowed
    std::uint32_t lo = 0, hi = 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    r.xcr0 = (static_cast<std::uint64_t>(hi) << 32) | lo;
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    r.l7_ebx = b;
    r.l7_ecx = c;
    const unsigned last_subleaf = a;
    if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) r.l7s1_eax = a;
  }
  return r;
}

/// What this CPU *and this operating system* can execute.
struct CpuFeatures {
  bool avx2 = false;  ///< AVX2, FMA and F16C
  bool avxvnni = false, avx512bw = false, avx512vnni = false;

  bool runs(Isa i) const {
    switch (i) {
      case Isa::avx2:
        return avx2;
      case Isa::avxvnni:
        return avxvnni;
      case Isa::avx512bw:
        return avx512bw;
      case Isa::avx512vnni:
        return avx512vnni;
      case Isa::baseline:
        break;
    }
    return true;
  }
};

inline CpuFeatures decode(const RawCpuid& r) {
  const auto bit = [](std::uint32_t word, int i) { return ((word >> i) & 1u) != 0; };
  const bool os_ymm = (r.xcr0 & 0x06) == 0x06;  // the OS saves XMM and YMM
  const bool os_zmm = (r.xcr0 & 0xe6) == 0xe6;  // + opmask, ZMM_Hi256, Hi16_ZMM
  CpuFeatures f;
  f.avx2 = os_ymm && bit(r.l1_ecx, 28) /*AVX*/ && bit(r.l1_ecx, 12) /*FMA*/ && bit(r.l1_ecx, 29) /*F16C*/ &&
           bit(r.l7_ebx, 5);
  f.avxvnni = f.avx2 && bit(r.l7s1_eax, 4);
  f.avx512bw = f.avx2 && os_zmm && bit(r.l7_ebx, 16) /*F*/ && bit(r.l7_ebx, 17) /*DQ*/ &&
               bit(r.l7_ebx, 30) /*BW*/ && bit(r.l7_ebx, 31) /*VL*/;
  f.avx512vnni = f.avx512bw && bit(r.l7_ecx, 11);
  return f;
}

/// The CPU's marketing name, e.g. "11th Gen Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", or "".
inline std::string cpu_name() {
  unsigned words[12] = {};
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u) return "";
  for (unsigned i = 0; i < 3; ++i)
    __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
  char text[sizeof words + 1] = {};
  std::memcpy(text, words, sizeof words);
  std::string name(text);
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name.substr(name.find_first_not_of(' ') == std::string::npos ? name.size()
                                                                      : name.find_first_not_of(' '));
}

}  // namespace microtome
