"""Integer networks end to end: `microtome quantize`, then the engine's logits against the NumPy reference, equal.

    python compare_int8.py MODEL_RUN MICROTOME

Each case quantizes a network with pseudo-random weights and runs it on images of noise, on one and three threads. The
final layer is none, so that results are the logits: integers in units of 1/256. Exit codes: 0 equal, 1 not, 77 no NumPy.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("compare_int8: NumPy is not installed")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cli"), str(ROOT / "tools")]
import safetensors_io  # noqa: E402
import tiny_files  # noqa: E402
from int8_reference import Int8Network, to_array  # noqa: E402

# base filters, (height, width), further metadata
CASES = [
    (4, (64, 48), {}),
    (9, (48, 16), {"axis_order": "wh", "normalization": '{"kind":"none"}'}),
    (
        8,
        (112, 80),
        {"architecture": "unet", "normalization": '{"kind":"mean_std","mean":[0.5,0.6,0.7],"std":[0.2,0.1,0.3]}'},
    ),
    (16, (80, 96), {}),
]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"compare_int8: {' '.join(map(str, command))}\n{done.stderr}")


def main():
    model_run, microtome = sys.argv[1:]
    random, failed = np.random.default_rng(5), 0
    for base, (height, width), facts in CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            floats, quantized, result = (folder / f"{n}.safetensors" for n in ("floats", "int8", "result"))
            tiny_files.write_model(floats, base, final_layer="none", **facts)
            tiny_files.write_png(folder / "image.png", 64, 64, tiny_files.stained)
            run([microtome, "quantize", "-m", floats, "--calibrate", folder / "image.png", "-o", quantized, "-q"])
            image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            image[: height // 2] = 255 * (image[: height // 2] > 99)  # the ends of the range, too
            stored = safetensors_io.Stored("U8", list(image.shape), image.tobytes())
            safetensors_io.save(folder / "image.safetensors", {"image": stored})
            want = Int8Network(quantized).logits(image)
            for threads in (1, 3):
                run([model_run, quantized, folder / "image.safetensors", result, str(threads)])
                got = to_array(safetensors_io.read(result)[0]["probabilities"]) * 256
                wrong = int((got != want).sum())
                failed += wrong > 0
                print(
                    f"base {base}, {height} x {width}, {threads} threads, {facts}: {wrong} of {want.size} differ, "
                    f"{len(np.unique(want))} values"
                )
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
