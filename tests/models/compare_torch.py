"""Live comparison with PyTorch: random state_dicts and images through both, in FP32.

    python compare_torch.py MODEL_RUN [--seed N]

MODEL_RUN is the test program `model_run MODEL INPUT OUTPUT` (safetensors files). Passes when the largest
difference of the probabilities is <= 1e-4 (of the logits: relative to their largest magnitude) and no pixel
whose two best classes are more than 2e-4 apart changes class. Exit codes: 0 equal, 1 not, 77 no PyTorch.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
except ImportError:
    print("compare_torch: PyTorch is not installed")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import safetensors_io  # noqa: E402
from gandlf_net import UNet  # noqa: E402

LIMIT, MARGIN = 1e-4, 2e-4

# architecture, topology, base, input channels, classes, final layer, norm, (height, width), stored dtype
CASES = [
    ("resunet", "new", 8, 3, 2, "softmax", "batch", (48, 80), torch.float32),
    ("resunet", "new", 16, 3, 2, "softmax", "batch", (112, 144), torch.float32),
    ("resunet", "new", 16, 3, 2, "softmax", "batch", (80, 48), torch.float16),
    ("resunet", "new", 16, 3, 2, "softmax", "batch", (208, 112), torch.float32),  # several bands of rows
    ("unet", "old", 8, 3, 5, "softmax", "batch", (304, 64), torch.float32),
    ("resunet", "new", 32, 3, 2, "sigmoid", "instance", (48, 80), torch.float32),
    ("resunet", "new", 12, 1, 1, "sigmoid", "batch", (16, 112), torch.bfloat16),
    ("resunet", "new", 7, 5, 4, "none", "instance", (48, 48), torch.float32),
    ("resunet", "old", 16, 3, 2, "softmax", "batch", (80, 112), torch.float32),
    ("resunet", "old", 8, 3, 3, "sigmoid", "instance", (112, 16), torch.float16),
    ("unet", "new", 8, 3, 2, "softmax", "batch", (48, 48), torch.float32),
    ("unet", "new", 17, 3, 1, "sigmoid", "instance", (16, 48), torch.float32),
    ("unet", "old", 16, 3, 3, "softmax", "batch", (80, 48), torch.float32),
]


def randomize(net, generator):
    """He-scaled convolutions and norm statistics well away from the identity, so that no layer is trivial."""

    def uniform(shape, low, high):
        return torch.rand(shape, generator=generator) * (high - low) + low

    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if not tensor.is_floating_point():
                tensor.fill_(7)
            elif name.endswith("running_var"):
                tensor.copy_(uniform(tensor.shape, 0.3, 3.0))
            elif name.endswith("running_mean"):
                tensor.copy_(uniform(tensor.shape, -0.7, 0.7))
            elif name.endswith("bias"):
                tensor.copy_(uniform(tensor.shape, -0.3, 0.3))
            elif tensor.dim() == 1:
                tensor.copy_(uniform(tensor.shape, -0.2, 1.4))  # some scales are negative
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * (2.0 / tensor[0].numel()) ** 0.5)


def compare(case, model_run, folder, generator):
    architecture, topology, base, channels, classes, final, norm, size, dtype = case
    net = UNet(architecture, channels, classes, base, 2, norm, final, topology=topology).eval()
    randomize(net, generator)
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    metadata = {
        "microtome.version": "1",
        "architecture": architecture,
        "spatial_dims": "2",
        "final_layer": final,
        "normalization": '{"kind":"div255"}',
    }
    model, source, result = (str(folder / f"{part}.safetensors") for part in ("model", "input", "output"))
    safetensors_io.save(model, state, metadata)
    image = torch.randint(0, 256, (*size, channels), generator=generator, dtype=torch.uint8)
    x = image.permute(2, 0, 1).float() / 255.0
    planar = norm == "instance"  # both ways of feeding a session get their share
    safetensors_io.save(source, {"input": x.contiguous()} if planar else {"image": image})
    with torch.inference_mode():
        expected = net(x[None])[0]
    done = subprocess.run([model_run, model, source, result], capture_output=True, text=True, timeout=300)
    label = f"{architecture} {topology} base {base} {channels}->{classes} {final} {norm} {size[0]}x{size[1]} {dtype}"
    if done.returncode != 0:
        print(f"{label}: model_run failed: {done.stderr.strip()}")
        return False
    got = safetensors_io.load(result)[0]["probabilities"]
    if got.shape != expected.shape:
        print(f"{label}: shape {tuple(got.shape)}, {tuple(expected.shape)} expected")
        return False
    scale = max(1.0, expected.abs().max().item()) if final == "none" else 1.0
    worst = (got - expected).abs().max().item() / scale
    mismatched = close = 0
    if classes > 1:
        best = expected.topk(2, dim=0).values
        sure = best[0] - best[1] > MARGIN * scale
        mismatched = int(((got.argmax(0) != expected.argmax(0)) & sure).sum())
        close = int((~sure).sum())
    good = worst <= LIMIT and mismatched == 0  # NaN fails
    print(f"{label}: difference {worst:.1e}, {mismatched} pixels change class ({close} too close to tell)"
          f"{'' if good else '  FAILED'}")  # fmt: skip
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_run")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        good = [compare(case, args.model_run, Path(folder), generator) for case in CASES]
    print(f"{sum(good)} of {len(good)} agree")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
