#!/usr/bin/env python3
"""Write the PyTorch reference outputs in tests/models/fixtures/.

    python tests/models/make_fixtures.py            rewrites every fixture
    python tests/models/make_fixtures.py --check    compares with those on disk (largest difference <= 2e-6)

A fixture holds an input and what PyTorch makes of it. The weights are not stored: they follow from integer
arithmetic, so a test in any language regenerates them.

Weights. Tensors are numbered t = 0, 1, 2 ... in the order of the state_dict:
    ins:   conv0 conv1 conv2 in_0 in_1
    then for k = 0, 1, 2, 3     ds_k: in_0 conv0            en_(k+1): in_0 in_1 conv0 conv1
    then for k = 3, 2, 1, 0     us_k: conv0                 de_k: conv0 conv1 conv2 in_0 in_1 in_2
    out:   conv0 in_0
where convN is two tensors (weight [O,I,k,k], bias [O]) and in_N is five (weight, bias, running_mean,
running_var [C], num_batches_tracked, an int64 scalar that is 0 but takes a number).
With f = base_filters: ins f; ds_k f*2^k -> f*2^(k+1); en_k f*2^k; us_k f*2^(k+1) -> f*2^k (1x1);
de_k (k > 0) f*2^(k+1) -> f*2^k; de_0 2f -> 2f; out 2f -> classes. ds_k.in_0 has the block's input channels
in the `new` topology and its output channels in the `old` one. 3D tensors are [O,I,k,k,k].
Element i (row-major) of tensor t, unsigned 32-bit arithmetic:
    h = i*0x9E3779B1 + t*0x85EBCA77; h ^= h>>15; h *= 0x2C1B3C6D; h ^= h>>12; h *= 0x297A2D39; h ^= h>>15
    u = h / 2^32 as double
    running_var 0.5 + u     running_mean and every bias (u - 0.5) * 0.2     norm weight 0.5 + u
    conv weight (u - 0.5) * 2 * sqrt(3 / fan_in), fan_in = I*k*k(*k)        all rounded to float32

Fixture file: safetensors.
    image          U8  [H, W, C]        2D input; element i is floor(256 u) with t = 1000, smoothed (below)
    input          F32 [C, X, Y, Z]     3D input instead; element i is u with t = 1000
    probabilities  F32 [classes, H, W]  after the final layer (logits for `none`)
Metadata: those of a model file (architecture, spatial_dims, final_layer, sigmoid_input_multiplier,
normalization, axis_order), and base_filters, input_channels, classes, topology (`new`, `old`),
norm_type (`batch`, `instance`), all as strings. Half of the images are smooth instead of noise: each
pixel is then the rounded-down mean of its 5x5 neighbourhood, reflected at the border.
With axis_order `wh` the image and the probabilities are stored upright; the network saw the transposed image.
"""

import argparse
import json
import sys
from pathlib import Path

try:
    import torch
except ImportError:
    print("make_fixtures: PyTorch is not installed")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import safetensors_io  # noqa: E402
from gandlf_net import UNet, fill_with_hash, hash_uniform  # noqa: E402

FOLDER = Path(__file__).resolve().parent / "fixtures"
DIV255 = {"kind": "div255"}
IMAGENET = {"kind": "mean_std", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

# name: architecture, topology, base, input channels, classes, final layer, norm, size, extras
CASES = {
    "resunet_new_b8_c2_softmax": ("resunet", "new", 8, 3, 2, "softmax", "batch", (48, 80), {}),
    "resunet_new_b16_c2_softmax": ("resunet", "new", 16, 3, 2, "softmax", "batch", (112, 48), {"smooth": True}),
    "resunet_new_b16_c1_sigmoid": ("resunet", "new", 16, 3, 1, "sigmoid", "instance", (16, 16), {}),
    "resunet_new_b4_c3_softmax": ("resunet", "new", 4, 3, 3, "softmax", "instance", (48, 112), {"smooth": True}),
    "resunet_new_b4_c3_none": ("resunet", "new", 4, 3, 3, "none", "batch", (16, 80), {}),
    "resunet_old_b8_c2_softmax": ("resunet", "old", 8, 3, 2, "softmax", "batch", (80, 48), {"smooth": True}),
    "resunet_old_b16_c2_softmax": ("resunet", "old", 16, 3, 2, "softmax", "instance", (48, 48), {}),
    "resunet_old_b4_c1_sigmoid": ("resunet", "old", 4, 3, 1, "sigmoid", "batch", (112, 16), {}),
    "resunet_old_b8_c3_none": ("resunet", "old", 8, 3, 3, "none", "instance", (16, 48), {"smooth": True}),
    "unet_new_b8_c2_softmax": ("unet", "new", 8, 3, 2, "softmax", "batch", (48, 80), {"smooth": True}),
    "unet_new_b16_c1_sigmoid": ("unet", "new", 16, 3, 1, "sigmoid", "instance", (80, 16), {}),
    "unet_new_b4_c3_none": ("unet", "new", 4, 3, 3, "none", "batch", (48, 16), {}),
    "unet_old_b8_c2_sigmoid": ("unet", "old", 8, 3, 2, "sigmoid", "instance", (16, 112), {}),
    "unet_old_b16_c3_softmax": ("unet", "old", 16, 3, 3, "softmax", "batch", (48, 48), {"smooth": True}),
    # Base widths that are no power of two, other channel counts, the preprocessing of GaNDLF.
    "resunet_new_b12_in1_sigmoid": ("resunet", "new", 12, 1, 1, "sigmoid", "batch", (48, 48), {}),
    "resunet_new_b5_in4_softmax": ("resunet", "new", 5, 4, 2, "softmax", "batch", (48, 48), {}),
    "resunet_new_b8_multiplier": ("resunet", "new", 8, 3, 2, "sigmoid", "batch", (48, 48), {"multiplier": 2.5}),
    "resunet_new_b8_zscore": (
        *("resunet", "new", 8, 3, 2, "softmax", "batch", (48, 80)),
        {"normalization": {"kind": "zscore_tile"}, "smooth": True},
    ),
    "resunet_new_b8_imagenet": (
        *("resunet", "new", 8, 3, 2, "softmax", "batch", (80, 48)),
        {"normalization": IMAGENET, "smooth": True},
    ),
    "resunet_old_b8_raw_wh": (
        *("resunet", "old", 8, 3, 2, "softmax", "batch", (48, 80)),
        {"normalization": {"kind": "none"}, "axis_order": "wh", "smooth": True},
    ),
    "resunet_new_b8_wh": (
        *("resunet", "new", 8, 3, 2, "softmax", "batch", (80, 112)),
        {"axis_order": "wh", "smooth": True},
    ),
    "resunet_new_b4_3d": ("resunet", "new", 4, 1, 2, "softmax", "batch", (16, 48, 16), {}),
    "resunet_old_b4_3d": ("resunet", "old", 4, 1, 1, "sigmoid", "instance", (16, 16, 32), {}),
}


def hash_image(height, width, channels, smooth):
    """U8 [H, W, C]: floor(256 u), optionally the rounded-down 5x5 mean."""
    image = torch.floor(hash_uniform(1000, height * width * channels) * 256.0).view(height, width, channels)
    if smooth:
        planes = torch.nn.functional.pad(image.permute(2, 0, 1), (2, 2, 2, 2), mode="reflect")
        windows = planes.unfold(1, 5, 1).unfold(2, 5, 1)
        image = torch.floor(windows.sum((-1, -2)) / 25.0).permute(1, 2, 0)
    return image.to(torch.uint8).contiguous()


def normalize(image, rule):
    """U8 [H, W, C] to the network's F32 [C, H, W], by GaNDLF's arithmetic."""
    x = image.permute(2, 0, 1).to(torch.float32)
    if rule["kind"] == "div255":
        return x / 255.0
    if rule["kind"] == "zscore_tile":
        return (x - x.mean()) / x.std(unbiased=True)
    if rule["kind"] == "mean_std":
        mean, std = (torch.tensor(rule[part]).view(-1, 1, 1) for part in ("mean", "std"))
        return (x / 255.0 - mean) / std
    return x


def run(net, image, rule, axis_order):
    """Network output [classes, H, W] for a U8 image [H, W, C]."""
    x = normalize(image, rule)
    x = x.transpose(1, 2) if axis_order == "wh" else x
    with torch.inference_mode():
        y = net(x[None].contiguous())[0]
    return (y.transpose(1, 2) if axis_order == "wh" else y).contiguous()


def build(case):
    """(tensors, metadata) of one fixture."""
    architecture, topology, base, channels, classes, final, norm, size, extras = case
    multiplier = extras.get("multiplier", 1.0)
    rule = extras.get("normalization", DIV255)
    axis_order = extras.get("axis_order", "hw")
    net = UNet(architecture, channels, classes, base, len(size), norm, final, multiplier, topology).eval()
    fill_with_hash(net)
    metadata = {
        "microtome.version": "1",
        "architecture": architecture,
        "spatial_dims": str(len(size)),
        "final_layer": final,
        "sigmoid_input_multiplier": str(multiplier),
        "normalization": json.dumps(rule),
        "axis_order": axis_order,
        "base_filters": str(base),
        "input_channels": str(channels),
        "classes": str(classes),
        "topology": topology,
        "norm_type": norm,
    }
    if len(size) == 3:
        x = hash_uniform(1000, channels * size[0] * size[1] * size[2]).to(torch.float32).view(channels, *size)
        with torch.inference_mode():
            return {"input": x, "probabilities": net(x[None])[0].contiguous()}, metadata
    image = hash_image(*size, channels, extras.get("smooth", False))
    return {"image": image, "probabilities": run(net, image, rule, axis_order)}, metadata


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored fixtures, write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    failures = 0
    for name, case in CASES.items():
        tensors, metadata = build(case)
        path = FOLDER / f"{name}.safetensors"
        if not check:
            safetensors_io.save(path, tensors, metadata)
            continue
        stored, stored_metadata = safetensors_io.load(path)
        scale = max(1.0, tensors["probabilities"].abs().max().item())
        worst = (stored["probabilities"] - tensors["probabilities"]).abs().max().item() / scale
        same = stored_metadata == metadata and all(torch.equal(stored[k], tensors[k]) for k in tensors if k != "probabilities")
        if not same or not worst <= 2e-6:
            print(f"{name}: differs from the stored fixture (largest difference {worst:.2e}, input equal: {same})")
            failures += 1
    known = {f"{name}.safetensors" for name in CASES}
    strangers = sorted(p.name for p in FOLDER.iterdir() if p.name not in known)
    if strangers:
        print("not made by this script:", ", ".join(strangers))
    print(f"{len(CASES)} fixtures, {failures} differ" if check else f"{len(CASES)} fixtures written to {FOLDER}")
    return 1 if failures or strangers else 0


if __name__ == "__main__":
    sys.exit(main())
