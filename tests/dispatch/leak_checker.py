#!/usr/bin/env python3
"""Mutation test of scripts/check_isa_leaks.py: compiles small leaking kernels and expects every leak to be named.

    leak_checker.py COMPILER CHECKER
"""
import os
import subprocess
import sys
import tempfile

CLEAN = """
typedef float Vec __attribute__((vector_size(32)));
namespace microtome::avx2 { namespace {
__attribute__((noinline)) void add(Vec* to, const Vec* from) { *to += *from; }
} }
extern "C" {
extern void (*const microtome_kernels_avx2)(Vec*, const Vec*);
void (*const microtome_kernels_avx2)(Vec*, const Vec*) = &microtome::avx2::add;
}
"""
AVX2 = ["-mavx2"]
# what leaks: (source, flags, ISA of the object or None for a program, words the report must contain)
MUTANTS = {
    "nothing": (CLEAN, AVX2, "avx2", None),
    "inline function shared with other files": (
        CLEAN + "inline Vec* shared(Vec* p) { *p += *p; return p; }"
        "namespace { [[gnu::used]] Vec* user(Vec* p) { return shared(p); } }",
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
    "VNNI in the AVX-512BW object": (
        CLEAN.replace("avx2", "avx512bw") + "namespace microtome::avx512bw { namespace { [[gnu::used]] void dot() {"
        "asm volatile(\"vaddps %zmm1,%zmm2,%zmm17\\nvpdpbusd %zmm1,%zmm2,%zmm17\"); } } }",
        AVX2, "avx512bw", "1 evex-vnni instructions in avx512bw function"),
    "AVX in a baseline function of a program": (
        "__attribute__((noinline)) void clear() { asm volatile(\"vxorps %ymm1,%ymm2,%ymm7\"); }"
        "int main(int n, char**) { if (n > 99) clear(); }",
        [], None, "vex instructions in baseline function clear"),
    "SSE4.1 in a baseline function of a program": (
        "__attribute__((noinline)) void least() { asm volatile(\"pminsd %xmm1,%xmm9\"); }"
        "int main(int n, char**) { if (n > 99) least(); }",
        [], None, "sse3+ instructions in baseline function least"),
    "AVX-512 in an AVX2 function of a program": (
        "namespace microtome::avx2 { namespace {"
        "__attribute__((noinline)) void clear() { asm volatile(\"vaddps %zmm1,%zmm2,%zmm17\"); } } }"
        "int main(int n, char**) { if (n > 99) microtome::avx2::clear(); }",
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
