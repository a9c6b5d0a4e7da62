#!/usr/bin/env python3
"""Compare with an independent definition of the same network: make_model.py of the folder MICROTOME_PEERS.

    python compare_peers.py MODEL_RUN

That script builds the resunet in PyTorch with calibrated random weights and writes the state_dict without any of our
metadata but the architecture. Passes when the largest difference after the final layer is <= 1e-4 and no pixel whose
two best classes are more than 2e-4 apart changes class. Exit codes: 0 equal, 1 not, 77 no PyTorch or no such folder.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

named = os.environ.get("MICROTOME_PEERS")
peers = Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared" / "peers"
if not named and not (peers / "make_model.py").exists():
    print("skipped: MICROTOME_PEERS is not set")
    sys.exit(77)
try:
    import torch
except ImportError:
    print("skipped: PyTorch is not installed")
    sys.exit(77)

sys.path.insert(0, str(peers))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import make_model  # noqa: E402
import safetensors_io  # noqa: E402

CASES = [(16, 2, "softmax", (48, 80)), (8, 3, "sigmoid", (112, 48)), (32, 2, "softmax", (128, 128))]


def main():
    failures = 0
    for base, classes, final, (height, width) in CASES:
        net = make_model.randomise(make_model.build(base, 3, classes, final), 7, tile=64, batches=2)
        image = torch.from_numpy(make_model.tissue(max(height, width), 3)[:, :, :height, :width].copy())
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder) / name) for name in ("model", "input", "output")]
            facts = {"architecture": "resunet", "final": final}
            safetensors_io.save(paths[0], {k: v.contiguous() for k, v in net.state_dict().items()}, facts)
            safetensors_io.save(paths[1], {"input": image[0].contiguous()}, {})
            subprocess.run([sys.argv[1], *paths], check=True)
            got = safetensors_io.load(paths[2])[0]["probabilities"]
        with torch.inference_mode():
            want = net(image)[0]
        difference = (got - want).abs().max().item()
        top = want.topk(2, dim=0).values
        clear = (top[0] - top[1]) > 2e-4
        changed = ((got.argmax(0) != want.argmax(0)) & clear).sum().item()
        good = difference <= 1e-4 and changed == 0
        failures += not good
        print(f"{'ok' if good else 'FAILED'}: base {base}, {classes} classes, {final}, {height}x{width}: "
              f"difference {difference:.1e}, {changed} pixels change class")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
