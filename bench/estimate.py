#!/usr/bin/env python3
"""What llvm-mca expects of the inner loops of the convolutions, on CPUs that are not there.

    estimate.py BUILD [--mca llvm-mca-14]

Reads the object files of a dispatching build and prints a Markdown table: multiplications per cycle of the largest
register tile of each kernel. Caches, the ends of loops and the rest of the kernel are not part of it.
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile

# Instruction set -> models of llvm-mca that stand for CPUs with it.
CPUS = {
    "avx2": ["znver3"],
    "avx512bw": ["skylake-avx512"],
    "avx512vnni": ["icelake-server", "tigerlake", "sapphirerapids"],
}
# Kernel -> the functions that its loops are inlined into.
KERNELS = {
    "conv_row_f32": r"::conv_(row|tile)\w*_f32|::conv_tile(_of)?<|::conv_row<",
    "conv_row_i16": r"::conv_(row|tile)_i16",
    "winograd_product_f32": r"::product_tile(_of)?<|::winograd_product_f32",
    "winograd_product_i16": r"::product_tile_i16|::winograd_product_i16",
}
PRODUCT = re.compile(r"^(?:\{vex\} )?(?:vfmadd\d+ps|vpmaddwd|vpdpwssd) ")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s+([0-9a-f]+):\t(.*)$")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)")


def functions(path):
    """Yields (demangled name, [(address, instruction)]) for every function."""
    name, code = None, []
    command = ["objdump", "-d", "-C", "-w", "--no-show-raw-insn", path]
    for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        if header := FUNCTION.match(line):
            if name is not None:
                yield name, code
            name, code = header.group(1), []
        elif instruction := INSTRUCTION.match(line):
            code.append((int(instruction.group(1), 16), instruction.group(2).strip()))
    if name is not None:
        yield name, code


def innermost_loops(code):
    """Yields the instructions of every loop that holds no other jump or call."""
    index = {address: i for i, (address, _) in enumerate(code)}
    for i, (address, text) in enumerate(code):
        jump = JUMP.match(text)
        begin = index.get(int(jump.group(1), 16), i + 1) if jump else i + 1
        if begin <= i:
            body = [text for _, text in code[begin : i + 1]]
            if not any(re.match(r"j|call", text) for text in body[:-1]):
                yield body


def widest_loop(loops):
    """The loop with the most products; of equals the shortest."""
    return max(loops, key=lambda body: (sum(bool(PRODUCT.match(text)) for text in body), -len(body)), default=[])


def multiplications(body):
    total = 0
    for text in filter(PRODUCT.match, body):
        bits = 512 if "%zmm" in text else 256
        total += bits // (32 if "fmadd" in text else 16)
    return total


def cycles(body, mca, cpu):
    turns = 300
    lines = [re.sub(r"\s*#.*| <.*>", "", text) for text in body]
    lines[-1] = lines[-1].split()[0] + " .Lloop"
    with tempfile.NamedTemporaryFile("w", suffix=".s") as f:
        f.write(".Lloop:\n" + "\n".join(lines) + "\n")
        f.flush()
        command = [mca, "-mtriple=x86_64", f"-mcpu={cpu}", f"-iterations={turns}", f.name]
        result = subprocess.run(command, capture_output=True, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", result.stdout)
    if result.returncode or not total:
        sys.exit(f"{mca} -mcpu={cpu}: {result.stderr.strip()[:500]}")
    return int(total.group(1)) / turns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="build folder of a dispatching build")
    parser.add_argument("--mca", default="llvm-mca-14", help="the program (default: %(default)s)")
    arguments = parser.parse_args()

    columns = [(isa, cpu) for isa, cpus in CPUS.items() for cpu in cpus]
    print("| kernel |" + "".join(f" `{cpu}` (`{isa}`) |" for isa, cpu in columns))
    print("|---|" + "---|" * len(columns))
    loops = {kernel: {} for kernel in KERNELS}
    for isa in CPUS:
        pattern = f"CMakeFiles/microtome_kernels_{isa}.dir/kernels/cpu/kernels.cpp.o"
        if not (found := glob.glob(os.path.join(arguments.build, pattern))):
            parser.error(f"{arguments.build}: no {pattern}; is it a dispatching build?")
        code = list(functions(found[0]))
        for kernel, where in KERNELS.items():
            loops[kernel][isa] = widest_loop(
                body for name, lines in code if re.search(where, name) for body in innermost_loops(lines)
            )
    # VNNI changes the integer kernels only: the table without it has the others.
    for kernel in KERNELS:
        if not multiplications(loops[kernel]["avx512vnni"]):
            loops[kernel]["avx512vnni"] = loops[kernel]["avx512bw"]
    for kernel, by_isa in loops.items():
        row = []
        for isa, cpu in columns:
            body = by_isa[isa]
            if not multiplications(body):
                sys.exit(f"{kernel}: no loop with products found in {isa}")
            row.append(f"{multiplications(body) / cycles(body, arguments.mca, cpu):.1f}")
        print(f"| `{kernel}` | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
