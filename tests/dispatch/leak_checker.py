#!/usr/bin/env python3
"""Mutation test of scripts/check_isa_leaks.py: compiles small leaking kernels and expects every leak to be named.

    leak_checker.py COMPILER CHECKER
"""
import os
import subprocess
import sys
import tempfile

CLEAN = """
#include <immintrin.h>
namespace microtome::avx2 { namespace {
__attribute__((noinline)) void add(float* to, const float* from) {
  _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), _mm256_loadu_ps(from)));
}
} }
extern "C" {
extern void (*const microtome_kernels_avx2)(float*, const float*);
void (*const microtome_kernels_avx2)(float*, const float*) = &microtome::avx2::add;
}
"""
AVX2 = ["-mavx2"]
# what leaks: (source, flags, ISA of the object or None for a program, words the report must contain)
MUTANTS = {
    "nothing": (CLEAN, AVX2, "avx2", None),
    "inline function shared with other files": (
        CLEAN + "inline float* shared(float* p) { _mm256_storeu_ps(p, _mm256_setzero_ps()); return p; }"
        "namespace { [[gnu::used]] float* user(float* p) { return shared(p); } }",
        AVX2 + ["-fno-inline"], "avx2", "weak symbol shared"),
    "C++ library container": (
        "#include <vector>\n" + CLEAN + "namespace microtome::avx2 { namespace {"
        "[[gnu::used]] void grow(std::vector<float>& v) { v.resize(v.size() + 9); } } }",
        AVX2, "avx2", "weak symbol std::vector"),
    "second visible function": (CLEAN + "void helper(int* p) { *p = 1; }", AVX2, "avx2", "external symbol helper"),
    "no table": ("namespace { [[gnu::used]] int x; }", AVX2, "avx2", "microtome_kernels_avx2 is missing"),
    "code before main": (CLEAN + "int now(); namespace { [[gnu::used]] int start = now(); }",
                         AVX2, "avx2", "static initialiser"),
    "AVX-512 in the AVX2 object": (
        CLEAN + "namespace microtome::avx2 { namespace { [[gnu::used]] void wide() {"
        "asm volatile(\"vaddps %zmm1,%zmm2,%zmm17\"); } } }",
        AVX2, "avx2", "evex instructions in avx2 function"),
    "AVX in a baseline function of a program": (
        "#include <immintrin.h>\n__attribute__((target(\"avx\"), noinline)) void clear(float* p)"
        "{ _mm256_storeu_ps(p, _mm256_setzero_ps()); } int main(int n, char**) {"
        "float a[8]; if (n > 99) clear(a); return n > 99 ? int(a[0]) : 0; }",
        [], None, "vex instructions in baseline function clear"),
    "SSE4.1 in a baseline function of a program": (
        "#include <immintrin.h>\n__attribute__((target(\"sse4.1\"), noinline)) int least(int* p)"
        "{ __m128i* v = (__m128i*)p; v[0] = _mm_min_epi32(v[0], v[1]); return p[3]; }"
        "int main(int n, char**) { alignas(16) int a[8] = {n}; return n > 99 ? least(a) : 0; }",
        [], None, "sse3+ instructions in baseline function least"),
    "AVX-512 in an AVX2 function of a program": (
        "#include <immintrin.h>\nnamespace microtome::avx2 { namespace {"
        "__attribute__((target(\"avx512f\"), noinline)) void clear(float* p)"
        "{ _mm512_storeu_ps(p, _mm512_setzero_ps()); asm volatile(\"vaddps %zmm1,%zmm2,%zmm17\"); } } }"
        "int main(int n, char**) { float a[16]; if (n > 99) microtome::avx2::clear(a); return 0; }",
        [], None, "evex instructions in avx2 function microtome::avx2"),
}


def main():
    compiler, checker = sys.argv[1:3]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (source, flags, isa, expected) in MUTANTS.items():
            cpp, binary = os.path.join(folder, "mutant.cpp"), os.path.join(folder, "mutant.o")
            with open(cpp, "w") as f:
                f.write(source)
            kind = ["-c"] if isa else []
            subprocess.run([compiler, "-std=c++17", "-O1", "-w", *flags, *kind, cpp, "-o", binary], check=True)
            what = ["--object", f"{isa}={binary}"] if isa else ["--program", binary]
            run = subprocess.run([sys.executable, checker, *what], capture_output=True, text=True)
            caught = run.returncode == 0 if expected is None else run.returncode == 1 and expected in run.stderr
            failures += not caught
            print(f"{'ok  ' if caught else 'FAIL'} {name}")
            if not caught:
                print(f"     expected {expected or 'no report'}; exit code {run.returncode}\n{run.stderr}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
