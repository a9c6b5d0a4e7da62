#!/usr/bin/env python3
"""Measure a model on the validation images: Dice, IoU, precision, recall, bootstrap intervals.

    python tools/train/evaluate.py --data DATA weights/nuclei-b16.safetensors
    python tools/train/evaluate.py --data DATA runs/b16/ema.pt --json scores.json

Pooled over whole images, each padded to a multiple of 16 by reflection. `scale 0.5` is the same images
shrunk to half their size (0.5 um per pixel for the first set). The interval resamples images; with few
patients it is narrower than the truth, so the scores of every patient are printed too.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import safetensors_io  # noqa: E402
from data import load_split  # noqa: E402
from gandlf_net import UNet  # noqa: E402
from metrics import evaluate, summary  # noqa: E402

DATASETS = ("he_nuclei_tnbc", "he_nuclei_dsb2018")


def load_network(path):
    """An evaluating resunet (new topology) from ema.pt or from the exported safetensors file."""
    if path.suffix == ".safetensors":
        state, facts = safetensors_io.load(path)
        if "quantization" in facts:
            sys.exit(f"evaluate: {path} is quantized; PyTorch runs the model that it was made from")
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    else:
        state = torch.load(path, weights_only=True)["model_state_dict"]
    net = UNet(base_filters=state["ins.conv0.weight"].shape[0], classes=2).eval()
    net.load_state_dict(state)
    return net


def shrink(samples, scale):
    """The images and masks at another pixel size, by area averaging."""
    out = []
    for name, image, mask in samples:
        planes = torch.from_numpy(np.concatenate([image, 255 * mask[..., None]], axis=2)).permute(2, 0, 1)[None]
        size = [round(side * scale) for side in mask.shape]
        small = F.interpolate(planes.float(), size, mode="area")[0].permute(1, 2, 0).numpy()
        out.append((name, (small[..., :3] + 0.5).astype(np.uint8), (small[..., 3] > 127.5).astype(np.uint8)))
    return out


def group_of(name):
    """The patient of a TNBC image ("tnbc_p06_3" -> "p06"), "" elsewhere."""
    return name.split("_")[1] if name.startswith("tnbc_") else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 0.5])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    net = load_network(args.model)
    report = []
    print("| images | scale | n | Dice | 95 % | IoU | precision | recall |\n|---|---|---|---|---|---|---|---|")
    for dataset in DATASETS:
        samples = load_split(args.data, dataset, args.split)
        for scale in args.scales:
            chosen = samples if scale == 1.0 else shrink(samples, scale)
            rows = evaluate(net, chosen)
            groups = sorted({group_of(name) for name, _, _ in chosen} - {""})
            parts = [(dataset, np.ones(len(chosen), dtype=bool))]
            parts += [(f"{dataset} {g}", np.array([group_of(s[0]) == g for s in chosen])) for g in groups]
            for label, picked in parts:
                s = summary(rows[picked])
                report.append({"set": label, "split": args.split, "scale": scale, **s})
                print(
                    f"| {label} | {scale:g} | {s['images']} | {s['dice']:.4f} | {s['ci95'][0]:.3f} - {s['ci95'][1]:.3f} "
                    f"| {s['iou']:.4f} | {s['precision']:.3f} | {s['recall']:.3f} |",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
