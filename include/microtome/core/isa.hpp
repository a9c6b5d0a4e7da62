// Names the one instruction set this translation unit is compiled for.
//
// Derived from the compiler's own macros, so a header-only user gets the best code his flags allow. The
// per-ISA objects of the dispatching build pass -DMICROTOME_ISA_NAME=<isa> as a cross-check: a name that does
// not match the flags is a compile error, not a crash on somebody's old laptop.
#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#if defined(__AVX512VNNI__)
#define MICROTOME_ISA avx512vnni
#else
#define MICROTOME_ISA avx512bw
#endif
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#if defined(__AVXVNNI__)
#define MICROTOME_ISA avxvnni
#else
#define MICROTOME_ISA avx2
#endif
#else
#define MICROTOME_ISA baseline
#endif

#define MICROTOME_STR2(x) #x
#define MICROTOME_STR(x) MICROTOME_STR2(x)
#define MICROTOME_CAT2(a, b) a##b
#define MICROTOME_CAT(a, b) MICROTOME_CAT2(a, b)

// GCC at -O2 keeps loops over accumulator arrays rolled and the accumulators in memory, which costs a third
// of the speed. Header-only users choose their own -O level, so every register loop says it explicitly.
#define MICROTOME_UNROLL _Pragma("GCC unroll 32")
#define MICROTOME_NO_UNROLL _Pragma("GCC unroll 1")
// Make the compiler forget what it knows about the value of a pointer or of a vector (which must then be in a
// register).
#define MICROTOME_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define MICROTOME_OPAQUE_VECTOR(vector) __asm__("" : "+v"(vector))

namespace microtome::detail {
constexpr bool same_text(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}
}  // namespace microtome::detail

#ifdef MICROTOME_ISA_NAME
static_assert(microtome::detail::same_text(
    MICROTOME_STR(MICROTOME_ISA_NAME), MICROTOME_STR(MICROTOME_ISA)),
    "the instruction set named by the build does not match the -m flags of this translation unit");
#endif
