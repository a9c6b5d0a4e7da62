// Feature detection against the CPUID and XCR0 words of real CPU models: pure functions, so any machine tests
// all.
#include <doctest.h>

#include <set>
#include <string>

#include "microtome/core/cpu.hpp"

using namespace microtome;

namespace {

const Isa kAll[] = {Isa::baseline, Isa::avx2, Isa::avxvnni, Isa::avx512bw, Isa::avx512vnni};

std::set<std::string> runnable(const RawCpuid& words) {
  const CpuFeatures features = decode(words);
  std::set<std::string> names;
  for (const Isa i : kAll)
    if (features.runs(i)) names.insert(to_string(i));
  return names;
}

// Leaf 1 ECX, leaf 7 EBX, leaf 7 ECX, leaf 7.1 EAX, XCR0.
const RawCpuid kHaswell = {0x7ffaf3bf, 0x000027ab, 0x00000000, 0x00000000, 0x07};   // i7-4770
const RawCpuid kZen1 = {0x7ed8320b, 0x209c01a9, 0x00000000, 0x00000000, 0x07};      // Ryzen 7 1700
const RawCpuid kZen3 = {0xfffa3203, 0x219c07ab, 0x00400684, 0x00000000, 0x07};      // EPYC, virtual machine
const RawCpuid kSkylakeX = {0x7ffaf3bf, 0xd19f27eb, 0x00000000, 0x00000000, 0xe7};  // i7-7800X
const RawCpuid kIceLake = {0x7ffaf3bf, 0xf0bf27eb, 0x00405f46, 0x00000000, 0xe7};   // i7-1065G7
const RawCpuid kSapphireRapids = {0x7ffef3bf, 0xf1bf27eb, 0x18415f66, 0x00001c30, 0xe7};  // w9-3475X
const RawCpuid kArrowLake = {0x7ffaf3bf, 0x219c27eb, 0x18400724, 0x008008d7, 0x07};       // Ultra 5 245K

RawCpuid without_l1(RawCpuid r, int bit) {
  return r.l1_ecx &= ~(1u << bit), r;
}
RawCpuid without_l7(RawCpuid r, int bit) {
  return r.l7_ebx &= ~(1u << bit), r;
}
RawCpuid with_xcr0(RawCpuid r, std::uint64_t xcr0) {
  return r.xcr0 = xcr0, r;
}

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("every CPU model runs what it has") {
  CHECK(runnable(kHaswell) == Names{"baseline", "avx2"});
  CHECK(runnable(kZen1) == Names{"baseline", "avx2"});
  CHECK(runnable(kZen3) == Names{"baseline", "avx2"});
  CHECK(runnable(kSkylakeX) == Names{"baseline", "avx2", "avx512bw"});
  CHECK(runnable(kIceLake) == Names{"baseline", "avx2", "avx512bw", "avx512vnni"});
  CHECK(runnable(kSapphireRapids) == Names{"baseline", "avx2", "avxvnni", "avx512bw", "avx512vnni"});
  CHECK(runnable(kArrowLake) == Names{"baseline", "avx2", "avxvnni"});
}

TEST_CASE("a feature counts only if the operating system saves its registers") {
  CHECK(runnable(with_xcr0(kSapphireRapids, 0x07)) == Names{"baseline", "avx2", "avxvnni"});  // no ZMM state
  CHECK(runnable(with_xcr0(kSapphireRapids, 0x67)) == Names{"baseline", "avx2", "avxvnni"});  // part of it
  CHECK(runnable(with_xcr0(kSapphireRapids, 0x03)) == Names{"baseline"});                     // no YMM state
  CHECK(runnable(with_xcr0(kHaswell, 0)) == Names{"baseline"});  // no XSAVE at all
}

TEST_CASE("a level needs every feature that its compiler flags use") {
  CHECK(runnable(RawCpuid{}) == Names{"baseline"});
  for (const int bit : {12 /*FMA*/, 28 /*AVX*/, 29 /*F16C*/})
    CHECK(runnable(without_l1(kSapphireRapids, bit)) == Names{"baseline"});
  CHECK(runnable(without_l7(kSapphireRapids, 5 /*AVX2*/)) == Names{"baseline"});
  for (const int bit : {16 /*F*/, 17 /*DQ*/, 30 /*BW*/, 31 /*VL*/})
    CHECK(runnable(without_l7(kSapphireRapids, bit)) == Names{"baseline", "avx2", "avxvnni"});
}

TEST_CASE("the words of this machine decode to what the compiler's own detection says") {
  const CpuFeatures f = decode(read_cpuid());
  __builtin_cpu_init();
  CHECK(f.avx2 == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f.runs(Isa::avx2)));
  CHECK(f.avx512vnni == (__builtin_cpu_supports("avx512vnni") && f.avx512bw));
  CHECK((f.avx2 || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")));
}
