#!/usr/bin/env python3
"""microtome beside other inference engines: the same network, image and machine, in the same run.

    python bench/peers.py --docs docs/performance.md --json peers.json   # measures the page's tables, about 10 minutes
    python bench/peers.py --docs docs/performance.md --from peers.json   # writes them again
    python bench/peers.py --from peers.json --json peers.json --base 16  # measures one case again
    python bench/peers.py --base 16 --size 256 --threads 2 --engines openvino microtome

The network is GaNDLF's resunet with random weights and calibrated norms (3 channels in, 2 classes, softmax). Every engine
lives in a process of its own, loads the same weights (ONNX for OpenVINO, ONNX Runtime and, through pnnx, ncnn; the
state_dict for PyTorch; safetensors for microtome) and computes one image whenever it is asked: the engines take turns, so
that all of them meet the same noise. For one thread the ratio is that of the median CPU times, for more that of the
median wall times. Memory is what the peak of the process grew by from before the model was loaded. Errors are the
largest differences to PyTorch behind the final layer; of the pixels of another class, those are clear whose class has
in PyTorch's result 2e-4 more than the one that was found. The INT8 networks are calibrated with the same image mirrored,
OpenVINO's by NNCF (preset mixed); ratios of a table that has them are to microtome's INT8.

With --docs the goals of the page are compared with what was measured: base 32, 512 pixels, one thread; microtome with two
threads and with one in turn, nobody else beside them; the size of the stripped program.

Needs PyTorch, NumPy and onnx; openvino, onnxruntime, ncnn and pnnx are used if installed. Engines that do not start are
named and left out. Load no other work on the machine.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bench")]

NAMES = {
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "ncnn": "ncnn",
    "pytorch": "PyTorch",
    "pytorch-malloc": "PyTorch, glibc told to keep memory",
    "microtome": "**microtome**",
    "openvino-int8": "OpenVINO, INT8 by NNCF",
    "microtome-int8": "**microtome, INT8**",
}
FP32 = [name for name in NAMES if not name.endswith("-int8")]
INT8 = ["openvino-int8", "pytorch", "pytorch-malloc", "microtome", "microtome-int8"]
# What glibc must be told so that PyTorch does not give every tensor's memory back and fault it in again.
ENVIRONMENT = {"pytorch-malloc": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}}
# base filters, side, threads, rounds, engines
CASES = [
    (32, 512, 1, 9, FP32),
    (32, 512, 2, 5, FP32),
    (32, 256, 1, 5, FP32),
    (32, 1024, 1, 2, FP32),
    (16, 512, 1, 5, FP32),
    (32, 512, 1, 5, INT8),
    (16, 512, 1, 5, INT8),
]
HEAD = ["", "ms CPU", "ms wall", "Mpixel/s", "its time / ours", "added MB", "load ms", "error", "other class"]
HEAD.append("clear px")
PAUSE = 0.3  # seconds between turns, for threads of the engine before spin on: those of some OpenMP for 0.2
GOAL_CASE = (32, 512, 1)  # base filters, side, threads: what the goals are about


def peak_kb():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


# --- the model ---------------------------------------------------------------------------------------------


def image(side, seed):
    """[1,3,side,side] in 0..1: smooth blobs of two stains with noise, so that layers see structured input."""
    import numpy as np

    random = np.random.default_rng(seed)
    coarse = random.random((3, side // 16 + 2, side // 16 + 2))
    at = np.linspace(0, side // 16, side)
    low, part = at.astype(int), at % 1
    rows = coarse[:, low] * (1 - part)[:, None] + coarse[:, low + 1] * part[:, None]
    smooth = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return np.clip(smooth + random.normal(0, 0.05, smooth.shape), 0, 1).astype(np.float32)[None]


def make_model(folder, base):
    """base<N>.safetensors and .onnx in `folder`; the norms' statistics are those of a few images."""
    import safetensors_io
    import torch
    from gandlf_net import UNet

    torch.manual_seed(base)
    net = UNet(architecture="resunet", in_channels=3, classes=2, base_filters=base)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over what follows
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    net.train()
    with torch.inference_mode():
        for seed in range(4):
            net(torch.from_numpy(image(128, seed)))
    net.eval()
    stem = folder / f"base{base}"
    facts = {"architecture": "resunet", "final_layer": "softmax", "normalization": '{"kind": "none"}'}
    safetensors_io.save(f"{stem}.safetensors", {k: v.contiguous() for k, v in net.state_dict().items()}, facts)
    return stem, net


def make_case(stem, net, side):
    """The image, PyTorch's result and an ONNX file of fixed size: <stem>_<side>_{x,y}.npy, .onnx."""
    import export_onnx
    import numpy as np
    import torch

    x = image(side, 99)
    np.save(f"{stem}_{side}_x.npy", x)
    with torch.inference_mode():
        np.save(f"{stem}_{side}_y.npy", net(torch.from_numpy(x)).numpy())
    export_onnx.main([f"{stem}.safetensors", "-o", f"{stem}_{side}.onnx", "--size", str(side), str(side)])


def make_ncnn(stem, side):
    """<stem>_<side>.ncnn.param and .bin, if pnnx is installed."""
    pnnx = Path(sys.executable).parent / "pnnx"
    name = f"{stem}_{side}"
    if pnnx.exists():
        subprocess.run(
            [pnnx, f"{name}.onnx", f"inputshape=[1,3,{side},{side}]", "fp16=0", "optlevel=2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(stem).parent,
            check=False,
        )


def make_openvino_int8(stem, side):
    """<stem>_<side>_int8.xml, if openvino and nncf are installed; in a process of its own, as both are large."""
    try:
        import nncf
        import numpy as np
        import openvino
    except ImportError:
        return
    if os.fork():
        os.wait()
        return
    os.dup2(2, 1)  # progress bars
    x = np.ascontiguousarray(np.load(f"{stem}_{side}_x.npy")[..., ::-1])
    model = openvino.Core().read_model(f"{stem}_{side}.onnx")
    preset, device = nncf.QuantizationPreset.MIXED, nncf.TargetDevice.CPU
    data = nncf.Dataset([{model.inputs[0].any_name: x}])
    quantized = nncf.quantize(model, data, subset_size=1, preset=preset, target_device=device)
    openvino.save_model(quantized, f"{stem}_{side}_int8.xml", compress_to_fp16=False)
    os._exit(0)


# --- the engines: each yields when its libraries are loaded, then the function that runs the model ----------


def openvino_engine(stem, side, threads, suffix=".onnx"):
    import openvino

    yield
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
    }
    request = openvino.Core().compile_model(f"{stem}_{side}{suffix}", "CPU", settings).create_infer_request()
    yield lambda x: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]


def onnxruntime_engine(stem, side, threads):
    import onnxruntime

    yield
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(f"{stem}_{side}.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    yield lambda x: session.run(None, {name: x})[0]


def ncnn_engine(stem, side, threads):
    import ncnn
    import numpy as np

    yield
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = net.opt.use_bf16_storage = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(f"{stem}_{side}.ncnn.param") or net.load_model(f"{stem}_{side}.ncnn.bin"):
        raise RuntimeError("no ncnn files: is pnnx installed?")

    def run(x):
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(x[0]))
        return np.array(extractor.extract("out0")[1])[None]

    yield run


def pytorch_engine(stem, side, threads):
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    import safetensors_io
    from gandlf_net import UNet

    yield
    state = safetensors_io.load(f"{stem}.safetensors")[0]
    net = UNet(base_filters=state["ins.conv0.weight"].shape[0], classes=2).eval()
    net.load_state_dict(state)

    def run(x):
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy()

    yield run


ENGINES = {
    "openvino": openvino_engine,
    "openvino-int8": functools.partial(openvino_engine, suffix="_int8.xml"),
    "onnxruntime": onnxruntime_engine,
    "ncnn": ncnn_engine,
    "pytorch": pytorch_engine,
    "pytorch-malloc": pytorch_engine,
}


def worker(engine):
    """The protocol of peer_worker.cpp, for engines with a Python interface."""
    stem, side, threads = os.environ["PB_MODEL"], int(os.environ["PB_TILE"]), int(os.environ["PB_THREADS"])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an engine prints must not get between the answers
    import numpy as np

    x = np.load(f"{stem}_{side}_x.npy")
    steps = ENGINES[engine](stem, side, threads)
    next(steps)
    before, start = peak_kb(), time.perf_counter()
    run = next(steps)
    loaded = time.perf_counter()
    y = np.array(run(x))
    first = time.perf_counter()
    ready = {"ready": engine, "load_ms": (loaded - start) * 1e3, "first_ms": (first - loaded) * 1e3}
    answers.write(json.dumps(ready) + "\n")
    for line in sys.stdin:
        if line.strip() == "run":
            cpu, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            run(x)
            wall, end = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
            cpu = end.ru_utime + end.ru_stime - cpu.ru_utime - cpu.ru_stime
            answers.write(json.dumps({"ms": wall * 1e3, "cpu_ms": cpu * 1e3}) + "\n")
        else:
            peak, want = peak_kb(), np.load(f"{stem}_{side}_y.npy")
            found, expected = y.argmax(1)[:, None], want.argmax(1)[:, None]
            margin = np.take_along_axis(want, expected, 1) - np.take_along_axis(want, found, 1)
            facts = {
                "hwm_before_kb": before,
                "hwm_kb": peak,
                "max_abs_err": float(np.abs(y - want).max()),
                "mismatch": float((found != expected).mean()),
                "mismatch_clear": float((margin >= 2e-4).mean()),
            }
            answers.write(json.dumps(facts) + "\n")


# --- measuring ---------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, engine, program, stem, side, threads):
        command = [sys.executable, __file__, "--worker", engine]
        if engine.startswith("microtome"):
            command = [program, "--precision", "int8" if engine.endswith("-int8") else "fp32"]
        self.errors = tempfile.TemporaryFile("w+")  # not a pipe, which an engine that talks much would fill
        settings = {"PB_MODEL": str(stem), "PB_TILE": str(side), "PB_THREADS": str(threads)}
        self.engine = engine
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **settings, "OMP_NUM_THREADS": str(threads), **ENVIRONMENT.get(engine, {})},
        )
        self.ready = self.answer("did not start")

    def answer(self, failure):
        """Throws RuntimeError naming the engine and its last line on stderr if it has ended."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            reason = self.errors.read().strip().splitlines()[-1:] or [f"exit code {self.process.returncode}"]
            raise RuntimeError(f"{self.engine} {failure}: {reason[0]}")
        return json.loads(line)

    def ask(self, what):
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: so has its output
        return self.answer("ended while it was measured")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(stem, side, threads, rounds, engines, program):
    """One row of figures per engine."""
    workers, times = [], {}
    for engine in engines:
        try:
            workers.append(Worker(engine, program, stem, side, threads))
            times[engine] = []
        except RuntimeError as error:
            print(f"peers: {error}", file=sys.stderr)
    for turn in range(rounds + 1):
        for w in workers:
            time.sleep(PAUSE)
            answer = w.ask("run")
            if turn:  # the first one warms up
                times[w.engine].append(answer)
    rows = []
    for w in workers:
        facts = w.ask("stats")
        cpu = statistics.median(t["cpu_ms"] for t in times[w.engine])
        wall = statistics.median(t["ms"] for t in times[w.engine])
        rows.append({"engine": w.engine, "cpu": cpu, "wall": wall, **facts, **w.ready})
        w.close()
    ours = next((r for r in reversed(rows) if r["engine"].startswith("microtome")), None)
    for r in rows:
        key = "cpu" if threads == 1 else "wall"
        r["ratio"] = r[key] / ours[key] if ours else float("nan")
    return rows


def table(rows, side):
    cells = [HEAD, ["---"] * len(HEAD)]
    for r in rows:
        cells.append(
            [
                NAMES[r["engine"]],
                f"{r['cpu']:.0f}",
                f"{r['wall']:.0f}",
                f"{side * side / r['wall'] / 1e3:.2f}",
                f"{r['ratio']:.2f}",
                f"{(r['hwm_kb'] - r['hwm_before_kb']) / 1024:.0f}",
                f"{r['load_ms']:.0f}",
                f"{r['max_abs_err']:.1e}",
                f"{100 * r['mismatch']:.4f} %",
                f"{r['mismatch_clear'] * side * side:.0f}",
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def measure_two_threads(stem, side, rounds, program):
    """How many times as fast two threads of microtome are as one."""
    workers = [Worker("microtome", program, stem, side, threads) for threads in (1, 2)]
    times = [[], []]
    for _ in range(rounds + 1):
        for w, seconds in zip(workers, times):
            time.sleep(PAUSE)
            seconds.append(w.ask("run")["ms"])
    for w in workers:
        w.close()
    return statistics.median(times[0][1:]) / statistics.median(times[1][1:])


def stripped_bytes(program, folder):
    subprocess.run(["strip", "-o", Path(folder) / "stripped", program], check=True)
    return (Path(folder) / "stripped").stat().st_size


def goals_table(figures):
    """`figures`: "rows" and "int8" (if measured) of GOAL_CASE by engine, "two_threads", "stripped_bytes". Engines may
    be missing."""
    rows, int8 = figures["rows"], figures["int8"]
    ours = rows["microtome"]
    goals = []  # what, wanted, measured, how it is written, whether more is better
    for engine, least in (("openvino", 2.8), ("ncnn", 1.9), ("pytorch", 5.0), ("pytorch-malloc", 3.0)):
        if engine in rows:
            goals.append((f"time of {NAMES[engine]} / ours", least, rows[engine]["ratio"], "{:.2f}", True))
    added = (ours["hwm_kb"] - ours["hwm_before_kb"]) / 1024
    pixels = ours["mismatch_clear"] * GOAL_CASE[1] ** 2
    goals += [
        ("two threads, times as fast as one", 1.85, figures["two_threads"], "{:.2f}", True),
        ("memory added by model and inference, MB", 200, added, "{:.0f}", False),
        ("time before the first inference can start, ms", 60, ours["load_ms"], "{:.0f}", False),
        ("the program `microtome`, stripped, MB", 3.0, figures["stripped_bytes"] / 1e6, "{:.2f}", False),
        ("largest difference to PyTorch", 1e-4, ours["max_abs_err"], "{:.1e}", False),
        ("pixels of another class that are clear", 0, pixels, "{:.0f}", False),
    ]
    for engine, least in (("openvino-int8", 2.2), ("pytorch", 9.0)):
        if engine in int8:
            goals.append((f"time of {NAMES[engine]} / our INT8", least, int8[engine]["ratio"], "{:.2f}", True))
    if int8:
        added = (int8["microtome-int8"]["hwm_kb"] - int8["microtome-int8"]["hwm_before_kb"]) / 1024
        goals.append(("memory added by INT8 model and inference, MB", 70, added, "{:.0f}", False))
    lines = ["| | goal | measured | met |", "|---|---|---|---|"]
    for what, wanted, measured, form, more in goals:
        met = measured >= wanted if more else measured <= wanted
        sign = "at least" if more else "at most"
        cells = [what, f"{sign} {form.format(wanted)}", form.format(measured), "yes" if met else "**no**"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tables(measured):
    parts = []
    for case in measured["cases"]:
        base, side, threads, rounds = (case[key] for key in ("base", "side", "threads", "rounds"))
        title = f"**Base {base}, {side} x {side} pixels, {threads} thread{'s' if threads > 1 else ''}**"
        parts.append(f"{title} (median of {rounds})\n\n{table(case['rows'], side)}")
    return "\n\n".join([*parts, measured["provenance"]])


def write_page(path, measured):
    from accuracy import replace_between_markers

    figures = {**measured, "rows": {}, "int8": {}}
    for case in measured["cases"]:
        if (case["base"], case["side"], case["threads"]) == GOAL_CASE:
            by_engine = {r["engine"]: r for r in case["rows"]}
            figures["int8" if "microtome-int8" in by_engine else "rows"] = by_engine
    replace_between_markers(path, tables(measured), "peers")
    replace_between_markers(path, goals_table(figures), "goals")


def provenance(program):
    with open("/proc/cpuinfo", encoding="ascii") as lines:
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    versions = []
    for package in ("openvino", "onnxruntime", "ncnn", "torch"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package).split('+')[0]}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"Measured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} CPUs ({cpu}), Linux {platform.release().split('-')[0]}; "
        f"{', '.join(versions)}. Load average at the end: {os.getloadavg()[0]:.1f}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=int, help="base filters; with it, --size and --threads one case is measured")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--engines", nargs="+", choices=list(NAMES), default=list(NAMES), help="default: all")
    parser.add_argument("--program", default=ROOT / "build" / "bench" / "peer_worker")
    parser.add_argument("--tool", default=ROOT / "build" / "tools" / "microtome", help="program whose size is shown")
    parser.add_argument("--docs", type=Path, help="page whose tables to rewrite")
    parser.add_argument("--json", type=Path, help="where to keep what was measured")
    parser.add_argument("--from", dest="earlier", type=Path, help="do not measure: what --json kept")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker)
    if args.docs and not args.earlier and (args.base or "microtome" not in args.engines):
        parser.error("the page shows all cases: give --docs without --base, and with microtome")
    measured = json.loads(args.earlier.read_text(encoding="utf-8")) if args.earlier else {"cases": []}
    if args.base or not args.earlier:
        ours = [engine for engine in args.engines if engine.startswith("microtome")]
        if ours and not Path(args.program).exists():
            parser.error(f"{args.program} does not exist: build it, or name it with --program")
        new = measure_all(args)
        known = [key_of(case) for case in new["cases"]]
        new["cases"] = [case for case in measured["cases"] if key_of(case) not in known] + new["cases"]
        measured.update(new)
    else:
        print(tables(measured))
    if args.json:
        args.json.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    if args.docs:
        write_page(args.docs, measured)
    return 0


def key_of(case):
    return case["base"], case["side"], case["threads"], any(r["engine"].endswith("-int8") for r in case["rows"])


def measure_all(args):
    """All cases; for the page what its goals need, too."""
    cases = [(args.base, args.size, args.threads, args.rounds, args.engines)] if args.base else CASES
    measured = {"cases": []}
    with tempfile.TemporaryDirectory() as folder:
        stems, sides = {}, set()
        for base, side, threads, rounds, engines in cases:
            engines = [engine for engine in engines if engine in args.engines]
            if base not in stems:
                stems[base] = make_model(Path(folder), base)
            stem, net = stems[base]
            if (base, side) not in sides:
                sides.add((base, side))
                make_case(stem, net, side)
                if "ncnn" in args.engines:
                    make_ncnn(stem, side)
            if "openvino-int8" in engines and not Path(f"{stem}_{side}_int8.xml").exists():
                make_openvino_int8(stem, side)
            case = {"base": base, "side": side, "threads": threads, "rounds": rounds}
            case["rows"] = measure(stem, side, threads, rounds, engines, args.program)
            measured["cases"].append(case)
            print(f"\n{table(case['rows'], side)}", flush=True)
            if args.docs and (base, side, threads) == GOAL_CASE and "two_threads" not in measured:
                measured["two_threads"] = measure_two_threads(stem, side, rounds, args.program)
                measured["stripped_bytes"] = stripped_bytes(args.tool, folder)
                print(f"\ntwo threads are {measured['two_threads']:.2f} times as fast as one", flush=True)
        measured["provenance"] = provenance(args.program)
        print(f"\n{measured['provenance']}")
    return measured


if __name__ == "__main__":
    sys.exit(main())
