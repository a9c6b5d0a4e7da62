#!/usr/bin/env python3
"""The same headers from several compilers: kernels and a whole network, AVX2, one thread.

    python bench/compilers.py --docs docs/performance.md      # compiles for minutes, then measures for one or two

Every variant compiles bench_kernels.cpp and peer_worker.cpp as an embedding program does, headers only. The variants take
turns; each figure is the best of all rounds, in CPU time: ns of a kernel, ms of a network of base 32 on 512 x 512 pixels
(bench/peers.py makes it; left out without PyTorch). Needs Google Benchmark.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bench")]

VARIANTS = {
    "g++ 12 -O2": ["g++-12", "-O2"],
    "g++ 12 -O3": ["g++-12", "-O3"],
    "clang 14 -O2": ["clang++-14", "-O2"],
}
FLAGS = ["-std=c++17", "-mavx2", "-mfma", "-mf16c", "-ffp-contract=off", "-pthread", "-DMICROTOME_STD_THREADS"]
# A regular expression for Google Benchmark; of each kernel the shapes that say most.
KERNELS = "|".join(
    [
        "conv_row_f32/avx2/(64|256)x16/48px/s1",
        "conv_row_f32/avx2/256x16/48px/s2",
        "winograd_(input|output|product)_f32",
        "winograd_weights_f32/avx2/F6",
        "head_row_f32/avx2/64x2",
        "probabilities_f32/avx2/softmax2",
        "image_row_u8",
    ]
)


def build(variant, folder):
    """Programs of a variant: bench_kernels, peer_worker."""
    out = Path(folder) / variant.replace(" ", "_")
    out.mkdir()
    include = [f"-I{ROOT / 'include'}", f"-I{ROOT / 'bench'}", f"-I{ROOT / 'bench' / 'kernels'}"]
    for source, libraries in (("bench_kernels", ["-lbenchmark"]), ("peer_worker", [])):
        command = [*VARIANTS[variant], *FLAGS, *include, str(ROOT / "bench" / f"{source}.cpp"), "-o", str(out / source)]
        subprocess.run([*command, *libraries], check=True)
    return out


def time_kernels(program, pattern):
    """ns of CPU time by benchmark."""
    command = [program, f"--benchmark_filter={pattern}", "--benchmark_format=json", "--benchmark_min_time=0.05"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {b["name"]: b["cpu_time"] for b in json.loads(done.stdout)["benchmarks"]}


def time_network(workers):
    """ms of CPU time by variant."""
    return {variant: worker.ask("run")["cpu_ms"] for variant, worker in workers.items()}


def start_network(programs, folder):
    try:
        import peers

        stem, net = peers.make_model(Path(folder), 32)
        peers.make_case(stem, net, 512)
    except ImportError as e:
        print(f"compilers: no network: {e}", file=sys.stderr)
        return {}
    return {v: peers.Worker("microtome", out / "peer_worker", stem, 512, 1) for v, out in programs.items()}


def table(best):
    """`best`: figures by row and variant."""
    lines = ["| | " + " | ".join(VARIANTS) + " |", "|---|" + "---|" * len(VARIANTS)]
    for name, figures in best.items():
        lines.append(f"| {name} | " + " | ".join(f"{figures[v]:.0f}" for v in VARIANTS) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--kernels", default=KERNELS, help="regular expression of benchmarks")
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--docs", type=Path, help="page whose table to rewrite")
    args = parser.parse_args()
    best = {}

    def note(name, variant, figure):
        known = best.setdefault(name, {})
        known[variant] = min(figure, known.get(variant, figure))

    with tempfile.TemporaryDirectory() as folder:
        programs = {variant: build(variant, folder) for variant in VARIANTS}
        workers = {} if args.no_network else start_network(programs, folder)
        for _ in range(args.rounds):
            for variant, out in programs.items():
                for name, ns in time_kernels(out / "bench_kernels", args.kernels).items():
                    note(f"`{name}`, ns", variant, ns)
            for variant, ms in time_network(workers).items():
                note("network of base 32, 512 x 512 pixels, ms", variant, ms)
        for worker in workers.values():
            worker.close()
    print(table(best))
    if args.docs:
        from accuracy import replace_between_markers

        replace_between_markers(args.docs, table(best), "compilers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
