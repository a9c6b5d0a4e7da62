#!/usr/bin/env python3
"""Train the nucleus model (GaNDLF-compatible resunet) on a CPU or a GPU.

    python tools/train/train.py --data DATA --out runs/b16 --seed 1
    python tools/train/train.py --data DATA --out runs/b16 --resume

The first line is the shipped recipe; DEFAULTS below holds every setting, --config changes any of them. On a
CPU set MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 (glibc): PyTorch gets up to twice as fast,
because freed activations stay mapped.

Writes to --out: config.json, curve.csv (one row per epoch), checkpoint.pt (everything
needed to resume) and ema.pt (the averaged weights as {"model_state_dict", "parameters"},
which tools/export_gandlf.py turns into safetensors). Validation images are never trained on.
"""

import argparse
import copy
import csv
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from gandlf_net import UNet  # noqa: E402
from data import TrainingSet, load_split  # noqa: E402
from metrics import dice, evaluate  # noqa: E402

DEFAULTS = {
    "seed": 1,
    "base_filters": 16,
    "steps": 2904,
    "epoch_steps": 88,
    "batch": 4,
    "crop": 192,
    "tnbc_share": 0.55,
    "lr": 3e-3,
    "weight_decay": 1e-2,
    "warmup": 0.06,
    "clip": 5.0,
    "ema": 0.995,
    "tversky_fn": 0.5,
    "gap_weight": 1.0,
    "zoom_usual": [0.75, 1.33],
    "zoom": [0.5, 1.5],
    "p_wide_zoom": 0.2,
    "p_stain": 0.8,
    "stain_scale": 0.3,
    "stain_shift": 0.03,
    "stain_turn": 0.03,
    "hue": 0.03,
    "saturation": 0.25,
    "contrast": 0.15,
    "brightness": 0.08,
    "gamma": 0.2,
    "p_blur": 0.2,
    "p_noise": 0.2,
    "p_jpeg": 0.2,
}


def loss_of(logits, mask, weight, missed):
    """Weighted cross-entropy plus the batch Tversky loss; `missed` > 0.5 punishes lost nuclei more."""
    entropy = (F.cross_entropy(logits, mask, reduction="none") * weight).sum() / weight.sum()
    p = torch.softmax(logits, dim=1)[:, 1]
    t = mask.float()
    hit = (p * t).sum()
    tversky = hit / (hit + missed * ((1 - p) * t).sum() + (1 - missed) * (p * (1 - t)).sum() + 1.0)
    return entropy + 1.0 - tversky


def learning_rate(step, config):
    warm = max(1, int(config["warmup"] * config["steps"]))
    if step < warm:
        return config["lr"] * (step + 1) / warm
    return config["lr"] * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, config["steps"] - warm)))


def update_average(average, net, decay, step):
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for target, source in zip(average.state_dict().values(), net.state_dict().values()):
            if target.is_floating_point():
                target.lerp_(source, 1.0 - decay)
            else:
                target.copy_(source)


def save(path, value):
    partial = path.with_name("." + path.name + ".part")
    torch.save(value, partial)
    os.replace(partial, path)


def gandlf_parameters(config):
    """The part of a GaNDLF configuration that the exporter reads."""
    return {
        "model": {
            "dimension": 2,
            "architecture": "resunet",
            "base_filters": config["base_filters"],
            "num_channels": 3,
            "num_classes": 2,
            "class_list": [0, 1],
            "norm_type": "batch",
            "final_layer": "softmax",
        },
        "patch_size": [512, 512, 1],
        "stride_size": [384, 384],
        "modality": "histo",
        "data_preprocessing": {"normalize_div_by_255": None},
    }


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds he_nuclei_tnbc and he_nuclei_dsb2018")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    parser.add_argument("--config", type=Path, help="JSON object that changes DEFAULTS")
    parser.add_argument("--until", type=int, metavar="STEP", help="stop here, to be resumed; the schedule stays")
    parser.add_argument("--steps", type=int, help="length of the whole schedule; may be changed on resume")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--base", type=int, dest="base_filters")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves PyTorch's choice")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def settings(args, stored):
    """DEFAULTS or those of the checkpoint, changed by --config and the flags."""
    config = dict(stored or DEFAULTS)
    if args.config:
        changes = json.loads(args.config.read_text())
        unknown = sorted(set(changes) - set(DEFAULTS))
        if unknown:
            sys.exit(f"train: {args.config}: unknown settings {', '.join(unknown)}")
        config.update(changes)
    for key in ("steps", "seed", "base_filters"):
        if getattr(args, key) is not None:
            config[key] = getattr(args, key)
    return config


def main(argv=None):
    args = parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    state = torch.load(args.out / "checkpoint.pt", weights_only=True) if args.resume else None
    config = settings(args, state and state["config"])
    (args.out / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    torch.manual_seed(config["seed"])
    device = torch.device(args.device)
    net = UNet(base_filters=config["base_filters"], classes=2, final_layer="softmax").to(device)
    average = copy.deepcopy(net).cpu().eval()
    decayed = [p for p in net.parameters() if p.dim() > 1]
    plain = [p for p in net.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    )
    step = 0
    if state:
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    training = TrainingSet(args.data, config)
    validation = [load_split(args.data, name, "val") for name in ("he_nuclei_tnbc", "he_nuclei_dsb2018")]
    curve = args.out / "curve.csv"
    if step == 0:
        curve.write_text("step,lr,loss,dice_tnbc_val,dice_dsb_val,seconds\n")
    began, losses = time.time(), []
    end = min(config["steps"], args.until or config["steps"])
    while step < end:
        rate = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, mask, weight = (part.to(device) for part in training.batch(step))
        net.train()
        loss = loss_of(net.logits(x), mask, weight, config["tversky_fn"])
        if not torch.isfinite(loss):
            sys.exit(f"train: loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), config["clip"])
        optimizer.step()
        update_average(average, net, config["ema"], step)
        losses.append(loss.item())
        step += 1
        if step % config["epoch_steps"] and step != end:
            continue
        scores = [dice(evaluate(average, samples)) for samples in validation]
        seconds, mean_loss = time.time() - began, sum(losses) / len(losses)
        with open(curve, "a", newline="") as stream:
            csv.writer(stream).writerow(
                [step, f"{rate:.6f}", f"{mean_loss:.4f}", f"{scores[0]:.4f}", f"{scores[1]:.4f}", f"{seconds:.1f}"]
            )
        print(
            f"step {step}/{config['steps']} lr {rate:.5f} loss {mean_loss:.4f} "
            f"val Dice TNBC {scores[0]:.4f} DSB {scores[1]:.4f} ({seconds:.0f} s)",
            flush=True,
        )
        save(args.out / "ema.pt", {"model_state_dict": average.state_dict(), "parameters": gandlf_parameters(config)})
        save(
            args.out / "checkpoint.pt",
            {
                "config": config,
                "step": step,
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
            },
        )
        began, losses = time.time(), []


if __name__ == "__main__":
    main()
