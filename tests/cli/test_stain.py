"""Options --stain-norm and --stain-target as a user meets them.

    test_stain.py PROGRAM [unittest arguments]
"""
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.21, 0.80, 0.56)


def section(strength):
    """Nuclei in eosin, more or less strongly stained."""

    def pixel(x, y):
        nucleus = x % 40 < 16 and y % 40 < 16
        h = strength * (1.0 + 0.3 * math.sin(x + y) if nucleus else 0.02)
        e = strength * (0.02 if nucleus else 0.7 + 0.3 * math.cos(0.1 * x) * math.sin(0.07 * y))
        return [min(255, int(240 * math.exp(-h * a - e * b))) for a, b in zip(HAEMATOXYLIN, EOSIN)]

    return pixel


class Stain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-stain-"))
        cls.model = cls.shared / "tiny.safetensors"
        tiny_files.write_model(cls.model)
        cls.image, cls.strong = cls.shared / "tissue.png", cls.shared / "strong.png"
        tiny_files.write_png(cls.image, 200, 160, section(0.8))
        tiny_files.write_png(cls.strong, 200, 160, section(1.3))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))

    def segment(self, *args, code=0, slide=None):
        done = subprocess.run([PROGRAM, "segment", slide or self.image, "-m", self.model, "-o", self.dir,
                               "--slide-mpp", "0.5", *map(str, args)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def summary(self, stem="tissue"):
        return json.loads((self.dir / stem / "summary.json").read_text())

    def mask(self):
        return (self.dir / "tissue" / "mask.tif").read_bytes()

    def test_summary_states_method_fit_and_target(self):
        self.segment()
        run, plain = self.summary()["run"], self.mask()
        self.assertEqual(run["stain_norm"], "none")
        self.assertNotIn("stain_target", run)
        self.segment("--stain-norm", "macenko", "--overwrite", "-j1")
        run, normalised = self.summary()["run"], self.mask()
        self.assertEqual((run["stain_norm"], run["stain_target"]["origin"]), ("macenko", "reference values"))
        for name, vector in (("haematoxylin_od", HAEMATOXYLIN), ("eosin_od", EOSIN)):
            fitted = run["stain_fitted"][name]
            cosine = sum(map(math.prod, zip(fitted, vector))) / math.dist(fitted, [0] * 3) / math.dist(vector, [0] * 3)
            self.assertGreater(cosine, math.cos(math.radians(3)), name)
        self.assertNotEqual(plain, normalised)
        self.segment("--stain-norm", "macenko", "--overwrite", "-j3")
        self.assertEqual(self.mask(), normalised)

    def test_target_is_measured_like_the_slide(self):
        for method, names in (("macenko", ("haematoxylin_od", "eosin_od")), ("reinhard", ("lab_mean", "lab_deviation"))):
            self.segment("--stain-norm", method, "--stain-target", self.strong, "--overwrite")
            run = self.summary()["run"]
            self.assertEqual(run["stain_target"]["origin"], "strong.png")
            self.segment("--stain-norm", method, "--stain-target", self.image, "--overwrite", slide=self.strong)
            other = self.summary("strong")["run"]
            for name in names:
                self.assertEqual(run["stain_target"][name], other["stain_fitted"][name])
                self.assertEqual(run["stain_fitted"][name], other["stain_target"][name])

    def test_results_of_another_stain_option_are_not_finished(self):
        self.segment("--stain-norm", "reinhard")
        self.assertIn("left alone", self.segment("--stain-norm", "reinhard").stdout)
        for other in ((), ("--stain-norm", "macenko"), ("--stain-norm", "reinhard", "--stain-target", self.strong)):
            done = self.segment(*other, code=2)
            self.assertIn("results of another run (stain_", done.stderr)

    def test_what_cannot_be_fitted_is_a_warning_for_a_slide_and_an_error_for_a_target(self):
        glass = self.dir / "glass.png"
        tiny_files.write_png(glass, 200, 160, lambda x, y: (245, 244, 246))
        for method in ("macenko", "reinhard"):
            done = self.segment("--stain-norm", method, "--tissue", "none", "--overwrite", slide=glass)
            self.assertIn("warning: the stain is not normalised: too few stained pixels", done.stderr)
            self.assertNotIn("stain_fitted", self.summary("glass")["run"])
            done = self.segment("--stain-norm", method, "--stain-target", glass, "--overwrite", code=3)
            self.assertIn("glass.png: stain: too few stained pixels", done.stderr)

    def evaluate(self, *args, code=0):
        done = subprocess.run([PROGRAM, "evaluate", *map(str, args)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def test_evaluate_measures_every_image_as_segment_does(self):
        images, masks, report = self.dir / "images", self.dir / "masks", self.dir / "score.json"
        images.mkdir()
        masks.mkdir()
        for image in (self.image, self.strong):
            shutil.copy(image, images)
            tiny_files.write_png(masks / image.name, 200, 160, lambda x, y: (x % 40 < 16 and y % 40 < 16,) * 3)
        tiny_files.write_png(images / "glass.png", 200, 160, lambda x, y: (245, 244, 246))
        tiny_files.write_png(masks / "glass.png", 200, 160, lambda x, y: (0, 0, 0))
        judge = ["-m", self.model, "--images", images, "--masks", masks, "--json", report]
        done = self.evaluate(*judge, "--stain-norm", "reinhard", "--stain-target", self.strong)
        self.assertIn("glass.png: warning: the stain is not normalised", done.stderr)
        score = json.loads(report.read_text())
        self.assertEqual((score["stain_norm"], score["stain_target"]["origin"]), ("reinhard", "strong.png"))
        fitted = {os.path.basename(i["image"]): i["stain_fitted"] for i in score["images"]}
        self.assertIsNone(fitted["glass.png"])
        self.segment("--stain-norm", "reinhard", "--stain-target", self.strong)
        for key, values in self.summary()["run"]["stain_fitted"].items():
            for a, b in zip(values, fitted["tissue.png"][key]):
                self.assertAlmostEqual(a, b, 7)
        predicted = [i["classes"]["nucleus"]["predicted_pixels"] for i in score["images"] if "glass" not in i["image"]]
        self.evaluate(*judge)
        score = json.loads(report.read_text())
        self.assertEqual((score["stain_norm"], score["stain_target"]), ("none", None))
        plain = [i["classes"]["nucleus"]["predicted_pixels"] for i in score["images"] if "glass" not in i["image"]]
        self.assertNotEqual(predicted[1], plain[1])  # tissue.png
        self.assertAlmostEqual(predicted[0] / plain[0], 1.0, 1)  # strong.png, its own target
        mask = self.dir / "masks" / "tissue.png"
        self.assertIn("--stain-norm", self.evaluate(mask, mask, "--stain-norm", "macenko", code=2).stderr)

    def test_wrong_use(self):
        self.assertIn("--stain-norm", self.segment("--stain-norm", "vahadane", code=2).stderr)
        self.assertIn("--stain-target: needs --stain-norm", self.segment("--stain-target", self.strong, code=2).stderr)
        done = self.segment("--stain-norm", "macenko", "--stain-target", self.dir / "missing.png", code=3)
        self.assertIn("missing.png", done.stderr)
        (self.dir / "tissue").mkdir()
        target = self.dir / "tissue" / "overlay.png"
        shutil.copy(self.strong, target)
        done = self.segment("--stain-norm", "macenko", "--stain-target", target, "--overwrite", code=2)
        self.assertIn("would be overwritten", done.stderr)


if __name__ == "__main__":
    unittest.main()
