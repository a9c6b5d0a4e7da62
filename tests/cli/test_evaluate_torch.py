"""The Dice of `evaluate` against PyTorch's: the shipped weights, whole images, odd sizes, padding.

    test_evaluate_torch.py PROGRAM        MICROTOME_TEST_DATA: folder of external test data
Exit codes: 0 equal to 4 decimals, 1 not, 77 no PyTorch or no test data.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import torch
    from PIL import Image
except ImportError as missing:
    print(f"test_evaluate_torch: {missing}")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "train")]
import metrics  # noqa: E402
import safetensors_io  # noqa: E402
from gandlf_net import UNet  # noqa: E402

MODEL = ROOT / "weights" / "nuclei-b16.safetensors"
# Image, and the window of it that is used (left, top, right, bottom): sides that are and are not multiples of 16.
CASES = [
    ("he_nuclei_tnbc/val", "tnbc_p06_1", (0, 0, 320, 256)),
    ("he_nuclei_tnbc/val", "tnbc_p06_3", (11, 5, 312, 250)),
    ("he_nuclei_tnbc/val", "tnbc_p07_2", (100, 200, 433, 401)),
    ("he_nuclei_tnbc/val", "tnbc_p07_3", (0, 0, 17, 209)),
]


def main():
    named = os.environ.get("MICROTOME_TEST_DATA")
    data = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (data / CASES[0][0]).is_dir():
        print(f"test_evaluate_torch: no {data / CASES[0][0]}")
        return 77
    torch.set_num_threads(2)
    state = safetensors_io.load(MODEL)[0]
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    net = UNet(base_filters=state["ins.conv0.weight"].shape[0], classes=2).eval()
    net.load_state_dict(state)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        expected, rows = {}, []
        for kind in ("images", "masks"):
            (folder / kind).mkdir()
        for number, (dataset, name, window) in enumerate(CASES):
            image = Image.open(data / dataset / "images" / f"{name}.png").convert("RGB").crop(window)
            mask = Image.open(data / dataset / "masks" / f"{name}.png").convert("L").crop(window)
            image.save(folder / "images" / f"{number}.png")
            mask.save(folder / "masks" / f"{number}.png")
            rows.append(metrics.counts(metrics.predict(net, np.asarray(image)), np.asarray(mask) > 127))
            expected[str(number)] = metrics.dice(rows[-1])
        result = folder / "score.json"
        subprocess.run([sys.argv[1], "evaluate", "-q", "-m", MODEL, "--images", folder / "images", "--masks",
                        folder / "masks", "--json", result], check=True, timeout=600)  # fmt: skip
        report = json.loads(result.read_text())
        got = {Path(i["image"]).stem: i["classes"]["nucleus"]["dice"] for i in report["images"]}
        expected["pooled"], got["pooled"] = metrics.dice(rows), report["pooled"]["nucleus"]["dice"]
        low, high = metrics.summary(rows)["ci95"]  # another generator: only about the same
        for value, wanted in zip(report["pooled"]["nucleus"]["ci95"], (low, high)):
            good = good and abs(value - wanted) < 0.02
        print(f"interval {report['pooled']['nucleus']['ci95']}, numpy's generator {low:.4f}, {high:.4f}")
    for name, wanted in expected.items():
        same = name in got and abs(got[name] - wanted) < 0.5e-4
        good = good and same
        print(f"{name}: Dice {got.get(name)}, PyTorch {wanted:.6f}{'' if same else '  FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
