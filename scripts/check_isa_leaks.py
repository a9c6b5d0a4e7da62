#!/usr/bin/env python3
"""Proves that instructions beyond baseline x86-64 stay where the dispatcher put them.

    check_isa_leaks.py [--object ISA=FILE.o ...] [--program FILE ...]

A per-ISA object must define exactly one external symbol, microtome_kernels_<isa>. It must define no weak symbol
that another translation unit could define too (the linker keeps one of the copies, perhaps the AVX one, for
everybody), and it must run no code before main().

In objects and linked programs alike, a function may contain only the instructions of the instruction set that its
namespace names (microtome::<isa> or xsimd_<isa>); every other function is baseline.

Instructions are classified by their encoding: in 64-bit mode the byte after the legacy prefixes is C4 or C5 for
VEX (AVX, AVX2, FMA, BMI) and 62 for EVEX (AVX-512); the opcode maps 0F38 and 0F3A are SSSE3 and later.
"""
import argparse
import collections
import re
import subprocess
import sys

LEGACY_PREFIXES = {0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65}
ALLOWED = {
    "baseline": set(),
    "avx2": {"sse3+", "vex"},
    "avxvnni": {"sse3+", "vex", "vex-vnni"},
    "avx512bw": {"sse3+", "vex", "evex"},
    "avx512vnni": {"sse3+", "vex", "evex", "evex-vnni"},
}
ISA_IN_NAME = re.compile(r"\b(?:microtome::|xsimd_)(%s)\b" % "|".join(ALLOWED))
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*(.*)$")


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def instruction_class(code, text):
    """The class of one instruction from its bytes; None when baseline x86-64 has it."""
    prefixes = set()
    at = 0
    while at < len(code) and code[at] in LEGACY_PREFIXES:
        prefixes.add(code[at])
        at += 1
    if at < len(code) and 0x40 <= code[at] <= 0x4F:  # REX
        at += 1
    opcode = code[at : at + 3]
    if not opcode:
        return None
    if opcode[0] in (0xC4, 0xC5, 0x62):
        kind = "evex" if opcode[0] == 0x62 else "vex"
        return kind + "-vnni" if re.search(r"\bvpdp[bw]", text) else kind
    if opcode[0] != 0x0F or len(opcode) < 2:
        return None
    second = opcode[1]
    if second in (0x38, 0x3A) or (second == 0xB8 and 0xF3 in prefixes):  # 0F38, 0F3A; POPCNT
        return "sse3+"
    if second in (0x7C, 0x7D, 0xD0) or (second == 0x12 and prefixes & {0xF2, 0xF3}):  # HADD, HSUB, ADDSUB, MOVxDUP
        return "sse3+"
    if (second == 0x16 and 0xF3 in prefixes) or (second == 0xF0 and 0xF2 in prefixes):  # MOVSHDUP, LDDQU
        return "sse3+"
    return None


def functions(path):
    """Yields (demangled name, {class: (count, example)}) for every function."""
    name, found = None, {}
    # -w with a wide --insn-width keeps every instruction, up to 15 bytes, on one line.
    for line in output_of("objdump", "-d", "-C", "-w", "--insn-width=16", path).splitlines():
        header = FUNCTION.match(line)
        if header:
            if name is not None:
                yield name, found
            name, found = header.group(1), {}
            continue
        instruction = INSTRUCTION.match(line)
        if instruction:
            text = instruction.group(2)
            kind = instruction_class(bytes.fromhex(instruction.group(1)), text)
            if kind:
                count, example = found.get(kind, (0, text))
                found[kind] = (count + 1, example)
    if name is not None:
        yield name, found


def check_instructions(path, totals):
    for name, found in functions(path):
        match = ISA_IN_NAME.search(name)
        isa = match.group(1) if match else "baseline"
        for kind, (count, example) in sorted(found.items()):
            totals[isa, kind] += count
            if kind not in ALLOWED[isa]:
                yield f"{path}: {count} {kind} instructions in {isa} function {name}, e.g. {example}"


def check_symbols(isa, path):
    table = f"microtome_kernels_{isa}"
    seen = False
    for line in output_of("nm", "-C", "--defined-only", path).splitlines():
        _, kind, name = line.split(" ", 2)
        if kind in "WVuwv":
            # A name with the ISA in it can only be defined by this object.
            if f"xsimd_{isa}::" not in name and f"microtome::{isa}::" not in name:
                yield f"{path}: weak symbol {name}: another translation unit may use this copy"
        elif kind.isupper():
            seen = seen or name == table
            if name != table:
                yield f"{path}: external symbol {name}: only {table} may be visible"
    if not seen:
        yield f"{path}: external symbol {table} is missing"
    if re.search(r"\.(init_array|ctors|preinit_array)\b", output_of("readelf", "-SW", path)):
        yield f"{path}: static initialiser: it would run before the CPU is known"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--object", action="append", default=[], metavar="ISA=FILE")
    parser.add_argument("--program", action="append", default=[], metavar="FILE")
    arguments = parser.parse_args()
    if not arguments.object and not arguments.program:
        parser.error("nothing to check")

    problems = []
    totals = collections.Counter()
    for entry in arguments.object:
        isa, separator, path = entry.partition("=")
        if not separator or isa not in ALLOWED:
            parser.error(f"--object {entry}: expected ISA=FILE, ISA one of {', '.join(ALLOWED)}")
        problems += check_symbols(isa, path)
        problems += check_instructions(path, totals)
    for path in arguments.program:
        problems += check_instructions(path, totals)

    for (isa, kind), count in sorted(totals.items()):
        print(f"{isa:11} {kind:10} {count:7} instructions")
    for problem in problems:
        print(f"LEAK {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
