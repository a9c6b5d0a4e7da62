"""Stain normalisation against reference implementations from PyPI.

    python compare_stain.py STAIN_RUN torchstain|histomicstk

torchstain (NumPy backend) is the reference for Macenko, HistomicsTK for Reinhard in the space of Ruderman
(torchstain's Reinhard works in CIELAB). On a synthetic image, and on H&E images where MICROTOME_TEST_DATA names
a folder that has them. microtome measures stained pixels only, so torchstain is given no others; and it leaves
near-white pixels alone, which is checked instead of compared. Exit codes: 0 agrees, 1 does not, 77 not installed.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    print(f"compare_stain: {error}")
    sys.exit(77)

GLASS, STAINED, BLACK = 230, 205, 30


def synthetic():
    """Nuclei in eosin with glass in one corner; noise as a camera has it."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:320, 0:400]
    nucleus = np.hypot((x % 40) - 20, (y % 40) - 20) < 8 + 4 * np.sin(x / 37)
    eosin = 0.55 + 0.35 * np.sin(x / 23) * np.cos(y / 31)
    haematoxylin = np.where(nucleus, 1.2 + 0.3 * np.cos((x + y) / 50), 0.05)
    tissue = x + y > 200
    stains = np.array([[0.65, 0.70, 0.29], [0.21, 0.80, 0.56]])
    density = (haematoxylin * tissue)[..., None] * stains[0] + (eosin * tissue * ~nucleus)[..., None] * stains[1]
    return np.clip(241 * np.exp(-density) + rng.normal(0, 1.5, (320, 400, 3)), 0, 255).astype(np.uint8)


def images():
    """(name, uint8 [H, W, 3])"""
    yield "synthetic", synthetic()
    named = os.environ.get("MICROTOME_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    found = sorted((folder / "he_nuclei_tnbc" / "val" / "images").glob("*.png"))
    found += sorted((folder / "he_nuclei_dsb2018" / "val" / "images").glob("*purple*.png"))[::3]
    for path in found:
        yield path.stem, np.asarray(Image.open(path).convert("RGB"))


def stain_run(program, method, image, target=None):
    """The profiles of image and target, each [2, 3], and the normalised image."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/in.png", f"{folder}/out.png"]
        Image.fromarray(image).save(names[0])
        if target is not None:
            names.append(f"{folder}/target.png")
            Image.fromarray(target).save(names[2])
        done = subprocess.run([program, method, *names], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        profiles = [np.array(line.split(), float).reshape(2, 3) for line in done.stdout.splitlines()]
        return *profiles, np.asarray(Image.open(names[1]))


def angle(a, b):
    return np.degrees(np.arccos(min(1.0, a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


class Torchstain:
    """Macenko: same constants (Io 240, alpha 1, beta 0.15), same definition of OD = -ln((v + 1) / Io)."""

    method = "macenko"
    # Mean and 99.9th percentile of the absolute difference in grey levels. torchstain truncates v + 1 where
    # microtome rounds v, which alone makes 0.5; the rest is the step of microtome's tables.
    limits = (0.6, 1.0)

    def __init__(self):
        self.normalizer = importlib.import_module("torchstain.numpy.normalizers.macenko").NumpyMacenkoNormalizer

    def compared(self, image):
        """Pixels that the profile is measured on; all others are left out here."""
        return (image.max(axis=2) <= STAINED) & (image.max(axis=2) >= BLACK)

    def fit(self, image):
        n = self.normalizer()
        n.fit(image[self.compared(image)][None])
        return n.HERef, n.maxCRef

    def check_profile(self, ours, reference):
        vectors, most = reference
        for s, name in enumerate(("haematoxylin", "eosin")):
            off = angle(ours[s], vectors[:, s])
            ratio = np.linalg.norm(ours[s]) / most[s]
            assert off < 0.05, f"{name}: {off:.3f} degrees apart"
            assert abs(ratio - 1) < 0.002, f"{name}: maximal concentration {ratio:.4f} times the reference's"

    def normalize(self, image, target):
        n = self.normalizer()
        n.HERef, n.maxCRef = target
        pixels = self.compared(image)
        out = image.copy()
        out[pixels] = n.normalize(image[pixels][None], stains=False)[0][0]
        whole = n.normalize(image, stains=False)[0]
        apart = np.abs(whole[pixels].astype(int) - out[pixels]).mean()
        print(f"  (torchstain on the whole image, glass included, differs from itself on tissue by {apart:.1f})")
        return out


class Histomicstk:
    """Reinhard: same matrices; natural instead of decadic logarithms, which cancels out."""

    method = "reinhard"
    # It truncates where microtome rounds: 0.5 on average. Saturated blues amplify the steps of the tables.
    limits = (0.6, 1.5)

    def __init__(self):
        # Three files of NumPy are wanted; importing the package would need a dozen others.
        spec = importlib.util.find_spec("histomicstk")
        root = Path(spec.submodule_search_locations[0])
        for name in ("histomicstk", "histomicstk.preprocessing", "histomicstk.preprocessing.color_conversion"):
            module = types.ModuleType(name)
            module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = module
        conversion = sys.modules["histomicstk.preprocessing.color_conversion"]
        sys.modules["histomicstk.preprocessing"].color_conversion = conversion
        for name in ("rgb_to_lab", "lab_to_rgb", "lab_mean_std"):
            module = importlib.import_module(f"histomicstk.preprocessing.color_conversion.{name}")
            setattr(conversion, name, getattr(module, name))
        path = root / "preprocessing" / "color_normalization" / "reinhard.py"
        spec = importlib.util.spec_from_file_location("histomicstk_reinhard", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.reinhard, self.mean_std = module.reinhard, conversion.lab_mean_std

    def compared(self, image):
        return image.min(axis=2) <= STAINED

    def fit(self, image):
        out = ~self.compared(image) | (image.max(axis=2) < BLACK)
        return np.array(self.mean_std(image.astype(float), out), float)

    def check_profile(self, ours, reference):
        apart = np.abs(ours * np.log(10) - reference).max()
        assert apart < 5e-4, f"statistics are {apart:.5f} apart"

    def normalize(self, image, target):
        return self.reinhard(image.astype(float), *target, *self.fit(image))


def compare(program, reference, name, image, target):
    source_profile, target_profile, ours = stain_run(program, reference.method, image, target)
    aim = reference.fit(target)
    reference.check_profile(source_profile, reference.fit(image))
    reference.check_profile(target_profile, aim)
    theirs = reference.normalize(image, aim)
    off = np.abs(ours.astype(int) - theirs)[reference.compared(image)]
    mean, high = off.mean(), np.percentile(off, 99.9)
    print(f"{reference.method} {name}: mean difference {mean:.3f}, 99.9 % below {high:.0f} of 255 grey levels")
    assert mean < reference.limits[0] and high <= reference.limits[1]
    glass = image.min(axis=2) >= GLASS
    assert (ours[glass] == image[glass]).all(), "near-white pixels were painted"


def main():
    program, wanted = sys.argv[1], sys.argv[2]
    if importlib.util.find_spec(wanted) is None:
        print(f"compare_stain: {wanted} is not installed")
        return 77
    reference = Torchstain() if wanted == "torchstain" else Histomicstk()
    failed, target = 0, synthetic() // 2 + 90  # paler, so that nothing is clipped
    for name, image in images():
        try:
            compare(program, reference, name, image, target)
        except (AssertionError, RuntimeError) as error:
            print(f"{reference.method} {name}: FAILED: {error}")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
