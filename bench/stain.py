#!/usr/bin/env python3
"""Whether stain normalisation helps the shipped model: Dice on the validation images with and without it.

    python bench/stain.py --data DATA            # rewrites the table in docs/accuracy.md
    python bench/stain.py --data DATA --docs ''  # only prints it

DATA is the folder that tools/train/data.py describes. Every image is fitted by itself. Needs what
bench/accuracy.py needs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from accuracy import DATASETS, ROOT, load_split, need_modules, provenance, replace_between_markers, run_microtome

# One training image, of a patient near the mean of all, as another target than the reference values.
TARGET = Path("he_nuclei_tnbc") / "train" / "images" / "tnbc_p08_1.png"
HEAD = ["images", "n", "stain", "target", "Dice", "95 %", "difference", "images better", "worse"]


def variants(data):
    yield "none", "", []
    for method in ("macenko", "reinhard"):
        yield method, "reference values", ["--stain-norm", method]
        yield method, TARGET.name, ["--stain-norm", method, "--stain-target", str(Path(data) / TARGET)]


def measure(dataset, samples, args, folder):
    """Rows of the table for one set of images."""
    rows, plain = [], None
    for index, (method, target, options) in enumerate(variants(args.data)):
        print(f"{dataset}: {method} {target}", file=sys.stderr)
        place = folder / f"{dataset}{index}"
        _, report = run_microtome(args.program, args.model, options, args.threads, samples, place)
        pooled = report["pooled"]["nucleus"]
        # An image without a nucleus, true or predicted, has no Dice; 1 then: there is nothing to find.
        each = [i["classes"]["nucleus"]["dice"] if i["classes"]["nucleus"] else 1.0 for i in report["images"]]
        rows.append([dataset, len(samples), method, target, f"{pooled['dice']:.4f}"])
        rows[-1].append("{:.3f} - {:.3f}".format(*pooled["ci95"]))
        if plain is None:
            plain = (pooled["dice"], each)
            rows[-1] += ["", "", ""]
            continue
        rows[-1].append(f"{pooled['dice'] - plain[0]:+.4f}")
        rows[-1].append(sum(a > b for a, b in zip(each, plain[1])))
        rows[-1].append(sum(a < b for a, b in zip(each, plain[1])))
        unfitted = sum(image["stain_fitted"] is None for image in report["images"])
        if unfitted:
            print(f"{dataset}: {method}: {unfitted} images could not be fitted", file=sys.stderr)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "weights" / "nuclei-b16.safetensors")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tools" / "microtome")
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--docs", default=ROOT / "docs" / "accuracy.md", help="page to rewrite, '' for none")
    parser.add_argument("--threads", type=int, default=0, help="0: all CPUs")
    args = parser.parse_args()
    need_modules()
    if not args.program.exists():
        parser.error(f"{args.program} does not exist: build it, or name it with --program")
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for dataset in DATASETS:
            table += measure(dataset, load_split(args.data, dataset, args.split), args, Path(folder))
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in [HEAD, ["---"] * len(HEAD), *table]]
    text = "\n".join([*lines, "", provenance(args)])
    print(text)
    if args.docs:
        replace_between_markers(Path(args.docs), text, "stain")


if __name__ == "__main__":
    main()
