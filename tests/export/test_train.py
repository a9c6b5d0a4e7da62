"""tools/train on a tiny made-up data set: it learns, a resumed run equals an uninterrupted one, metrics are right."""

import contextlib
import csv
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
    import torch
    from PIL import Image
    import scipy  # noqa: F401
except ImportError as missing:
    print(f"test_train: {missing.name} is not installed")
    sys.exit(77)

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[:0] = [str(TOOLS), str(TOOLS / "train")]
import data  # noqa: E402
import metrics  # noqa: E402
import train  # noqa: E402

SMALL = {"base_filters": 4, "batch": 2, "crop": 48, "epoch_steps": 4, "seed": 5}


def write_images(folder, count, rng, name="tnbc_p{:02}_1"):
    """Dark violet discs on pink."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows, columns = np.mgrid[0:80, 0:96]
    for n in range(count):
        mask = np.zeros((80, 96), dtype=bool)
        for _ in range(6):
            y, x, r = rng.integers(80), rng.integers(96), rng.integers(5, 12)
            mask |= (rows - y) ** 2 + (columns - x) ** 2 < r * r
        image = np.where(mask[..., None], [90, 50, 140], [235, 190, 215]) + rng.normal(0, 8, (80, 96, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{name.format(n)}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name.format(n)}.png")


class Train(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        rng = np.random.default_rng(1)
        for dataset in ("he_nuclei_tnbc", "he_nuclei_dsb2018"):
            for split in ("train", "val"):
                write_images(cls.folder / dataset / split, 3, rng)
        (cls.folder / "he_nuclei_dsb2018" / "classes.csv").write_text(
            "image,stain_class\nval/images/tnbc_p00_1.png,fluor\n"
        )

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def train(self, name, *flags):
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(["--data", str(self.folder), "--out", str(self.folder / name), "--threads", "1", *flags])
        return torch.load(self.folder / name / "ema.pt", weights_only=True)["model_state_dict"]

    def config(self, **changes):
        path = self.folder / "settings.json"
        path.write_text(json.dumps({**SMALL, **changes}))
        return str(path)

    def test_resumed_equals_uninterrupted(self):
        settings = self.config(steps=8)
        whole = self.train("whole", "--config", settings)
        self.train("parts", "--config", settings, "--until", "3")
        parts = self.train("parts", "--resume")
        for name, tensor in whole.items():
            self.assertTrue(torch.equal(tensor, parts[name]), name)
        other = self.train("other", "--config", settings, "--seed", "6")
        self.assertFalse(torch.equal(whole["ins.conv0.weight"], other["ins.conv0.weight"]))

    def test_learns_and_writes_the_curve(self):
        self.train("learns", "--config", self.config(steps=60, epoch_steps=30, ema=0.9))
        with open(self.folder / "learns" / "curve.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        self.assertEqual([int(r["step"]) for r in rows], [30, 60])
        self.assertGreater(float(rows[-1]["dice_tnbc_val"]), 0.8)
        self.assertLess(float(rows[-1]["loss"]), float(rows[0]["loss"]))

    def test_fluorescence_is_left_out(self):
        self.assertEqual(len(data.load_split(self.folder, "he_nuclei_dsb2018", "val")), 2)
        self.assertEqual(len(data.load_split(self.folder, "he_nuclei_tnbc", "val")), 3)

    def test_batches_depend_on_the_step_alone(self):
        training = data.TrainingSet(self.folder, {**train.DEFAULTS, **SMALL})
        first, again, other = training.batch(7), training.batch(7), training.batch(8)
        self.assertTrue(all(torch.equal(a, b) for a, b in zip(first, again)))
        self.assertFalse(torch.equal(first[0], other[0]))
        x, mask, weight = first
        self.assertEqual((x.shape, mask.shape, weight.shape), ((2, 3, 48, 48), (2, 48, 48), (2, 48, 48)))
        self.assertTrue(0 <= x.min() and x.max() <= 1 and set(mask.unique().tolist()) <= {0, 1})

    def test_metrics(self):
        truth = np.zeros((4, 4), np.uint8)
        truth[0] = 1
        predicted = np.zeros((4, 4), np.uint8)
        predicted[:2, :3] = 1
        row = metrics.counts(predicted, truth)
        self.assertEqual(row.tolist(), [3, 3, 1])
        self.assertAlmostEqual(metrics.dice(row), 6 / 10)
        s = metrics.summary([row, row])
        self.assertEqual((s["precision"], s["recall"], s["iou"]), (0.5, 0.75, 3 / 7))
        self.assertEqual(s["ci95"], [0.6, 0.6])
        empty = [0, 0, 0]  # no nucleus: no Dice, and no draw of nothing else in the interval
        self.assertTrue(np.isnan(metrics.dice(empty)))
        self.assertEqual(metrics.summary([row, empty])["ci95"], [0.6, 0.6])
        self.assertTrue(np.isnan(metrics.summary([empty])["ci95"]).all())


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
