#!/usr/bin/env python3
"""Whether microtome computes what PyTorch computes: the same weights on the same images, side by side.

    python bench/accuracy.py --data DATA            # rewrites the table in docs/accuracy.md
    python bench/accuracy.py --data DATA --docs ''  # only prints it

DATA is the folder that tools/train/data.py describes; its validation images are used, whole. The reference is
the network of tools/gandlf_net.py in PyTorch, float32 on the CPU. Needs PyTorch, NumPy, SciPy and Pillow, and
the program (`cmake --build build --target microtome_program`). Exit code 1: a variant is further from PyTorch
than it may be; 4: a Python module is missing.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "train")]
try:
    import numpy as np
    import torch
    from data import load_split
    from evaluate import DATASETS, load_network
    from metrics import counts, dice, predict, summary
    from PIL import Image
except ImportError as missing:  # --help works without them
    if (missing.name or "").split(".")[0] not in ("numpy", "torch", "scipy", "PIL"):
        raise
    np = load_split = DATASETS = None

# Name in the table, options of `microtome evaluate`, whether the weights are the quantized ones, and the limit: how
# far the Dice of any image may be from PyTorch's; of quantized weights how much pooled Dice may be lost.
VARIANTS = {
    "fp32": ("microtome FP32", ["--precision", "fp32", "--device", "cpu"], False, 0.5e-4),
    "int8": ("microtome INT8", ["--precision", "int8", "--device", "cpu"], True, 0.002),
    "nncf": ("OpenVINO INT8 by NNCF", None, True, float("inf")),
}
HEAD = ["images", "n", "computed by", "Dice", "95 %", "difference", "largest of one image", "pixels of another class"]


def need_modules():
    if np is None:
        needed = "the Python modules torch, numpy, scipy and pillow"
        print(f"{Path(sys.argv[0]).stem}: {sys.executable} needs {needed}", file=sys.stderr)
        sys.exit(4)


def run_pytorch(net, samples):
    """Class maps, and counts [n,3] against the masks."""
    maps = [predict(net, image) for _, image, _ in samples]
    return maps, np.stack([counts(m, mask) for m, (_, _, mask) in zip(maps, samples)])


def run_microtome(program, model, options, threads, samples, folder):
    """Class maps and the report of `microtome evaluate`."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name, image, mask in samples:
        Image.fromarray(image).save(folder / "images" / f"{name}.png", compress_level=1)
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png", compress_level=1)
    command = [program, "evaluate", "--model", model, "--images", folder / "images", "--masks", folder / "masks"]
    command += ["--json", folder / "score.json", "--save-masks", folder / "predicted", "--threads", threads, *options]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    maps = [np.asarray(Image.open(folder / "predicted" / f"{name}.png")) for name, _, _ in samples]
    return maps, json.loads((folder / "score.json").read_text())


def quantize_with_nncf(args, folder):
    """The same weights as OpenVINO's quantizer has them, calibrated with the same images: a compiled model."""
    import export_onnx
    import nncf
    import openvino

    path = folder / "model.onnx"
    export_onnx.main([str(args.model), "-o", str(path), "--size", "256", "256"])
    model = openvino.Core().read_model(path)
    model.reshape([1, 3, -1, -1])
    images = [image for dataset in DATASETS for _, image, _ in load_split(args.data, dataset, "train")]
    quantized = nncf.quantize(
        model,
        nncf.Dataset([padded(image) for image in images]),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
    )
    return openvino.Core().compile_model(quantized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def padded(image):
    """[1,3,H,W] in 0..1, sides rounded up to multiples of 16 by reflection."""
    height, width = image.shape[:2]
    image = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="reflect")
    return image.transpose(2, 0, 1)[None].astype(np.float32) / 255


def run_nncf(model, samples):
    """Class maps and a report like that of `microtome evaluate`."""
    maps = [model(padded(image))[0][0].argmax(0)[: image.shape[0], : image.shape[1]] for _, image, _ in samples]
    rows = [counts(m, mask) for m, (_, _, mask) in zip(maps, samples)]
    images = [{"image": s[0], "classes": {"nucleus": {"dice": dice(r)}}} for s, r in zip(samples, rows)]
    return maps, {"pooled": {"nucleus": summary(np.stack(rows))}, "images": images}


def figures(classes):
    """Those of the nucleus; NaN where the report has null: neither predicted nor true."""
    return classes["nucleus"] or {"dice": float("nan"), "ci95": [float("nan")] * 2}


def gap(a, b):
    """Between two figures of one image; none when neither exists, infinite when one does not."""
    if np.isnan(a) or np.isnan(b):
        return 0.0 if np.isnan(a) and np.isnan(b) else float("inf")
    return abs(a - b)


def small(value):
    return f"{value:.1e}" if value else "0"


def compare(label, samples, net, args, folder):
    """Rows of the table for one set of images, and what exceeds its limit."""
    print(f"{label}: {len(samples)} images, PyTorch", file=sys.stderr)
    expected, rows = run_pytorch(net, samples)
    reference = summary(rows)
    interval = "{:.3f} - {:.3f}".format
    table = [
        [label, len(samples), "PyTorch FP32", f"{reference['dice']:.4f}", interval(*reference["ci95"]), "", "", ""]
    ]
    excess = []
    for key in args.variants:
        name, options, quantized, limit = VARIANTS[key]
        print(f"{label}: {name}", file=sys.stderr)
        if key == "nncf":
            maps, report = run_nncf(args.nncf, samples)
        else:
            model = args.int8_model if quantized else args.model
            maps, report = run_microtome(args.program, model, options, args.threads, samples, folder / label / key)
        pooled = figures(report["pooled"])
        each = {Path(i["image"]).stem: figures(i["classes"])["dice"] for i in report["images"]}
        worst = max(gap(each[sample[0]], dice(row)) for sample, row in zip(samples, rows))
        different = sum(int((a != b).sum()) for a, b in zip(maps, expected))
        pixels = sum(m.size for m in expected)
        table.append([label, len(samples), name, f"{pooled['dice']:.4f}", interval(*pooled["ci95"])])
        table[-1] += [small(pooled["dice"] - reference["dice"]), small(worst)]
        table[-1] += [f"{different} of {pixels} ({small(100 * different / pixels)} %)"]
        lost = reference["dice"] - pooled["dice"] if quantized else worst
        if not lost < limit:
            what = "pooled Dice is less" if quantized else "the Dice of an image differs"
            excess.append(f"{label}, {name}: {what} by {lost:.1e}, {limit:.1e} allowed")
    return table, excess


def provenance(args):
    def ask(*arguments):
        return subprocess.run([str(args.program), *arguments], check=True, capture_output=True, text=True).stdout

    digest = hashlib.sha256(args.model.read_bytes()).hexdigest()
    int8 = hashlib.sha256(args.int8_model.read_bytes()).hexdigest()
    return (
        f"Model `{args.model.name}`, sha256 `{digest}`, and `{args.int8_model.name}`, `{int8}`; {ask('--version').strip()}, "
        f"`{json.loads(ask('doctor', '--json'))['isa']}` kernels; PyTorch {torch.__version__.split('+')[0]}."
    )


def replace_between_markers(path, text, name="accuracy"):
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = path.read_text(encoding="utf-8")
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        sys.exit(f"{path}: expected once each, in this order: {begin} {end}")
    before, after = page[: page.index(begin) + len(begin)], page[page.index(end) :]
    path.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "weights" / "nuclei-b16.safetensors")
    parser.add_argument("--int8-model", type=Path, default=ROOT / "weights" / "nuclei-b16.int8.safetensors")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tools" / "microtome")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--docs", default=ROOT / "docs" / "accuracy.md", help="page to rewrite, '' for none")
    parser.add_argument("--threads", type=int, default=0, help="0: all CPUs")
    args = parser.parse_args()
    need_modules()
    if not args.program.exists():
        parser.error(f"{args.program} does not exist: build it, or name it with --program")
    if args.docs and (args.split != "val" or set(args.variants) != set(VARIANTS)):
        parser.error("the page shows all variants on the validation images: give --docs '' with other ones")
    if args.threads:
        torch.set_num_threads(args.threads)
    net = load_network(args.model)
    table, excess = [], []
    with tempfile.TemporaryDirectory() as folder:
        if "nncf" in args.variants:
            args.nncf = quantize_with_nncf(args, Path(folder))
        for dataset in DATASETS:
            rows, beyond = compare(dataset, load_split(args.data, dataset, args.split), net, args, Path(folder))
            table += rows
            excess += beyond
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in [HEAD, ["---"] * len(HEAD), *table]]
    text = "\n".join([*lines, "", provenance(args)])
    print(text)
    if args.docs:
        replace_between_markers(Path(args.docs), text)
    for line in excess:
        print(f"accuracy: {line}", file=sys.stderr)
    return 1 if excess else 0


if __name__ == "__main__":
    sys.exit(main())
