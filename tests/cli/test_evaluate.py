"""The verb evaluate as a user meets it: a mask against the truth, a model against images; files, messages, exit codes.

    test_evaluate.py PROGRAM [unittest arguments]
"""
import csv
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
SIZES = {"a": (70, 45), "b": (64, 48), "c": (33, 50)}


def read_grey_png(path):
    """Rows of an 8-bit grey PNG whose rows use the Paeth filter, as the program writes them."""
    data = path.read_bytes()
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    packed, at = b"", 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += 12 + size
    raw, rows, above = zlib.decompress(packed), [], [0] * (width + 1)
    for y in range(height):
        line = raw[y * (width + 1) : (y + 1) * (width + 1)]
        assert line[0] == 4
        row = [0]
        for x in range(1, width + 1):
            a, b, c = row[x - 1], above[x], above[x - 1]
            pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            row.append((line[x] + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255)
        rows.append(row[1:])
        above = row
    return rows


def true_label(x, y):
    return (x // 9 + y // 7) % 3 == 0


class Evaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-cli-"))
        cls.model = cls.shared / "tiny.safetensors"
        tiny_files.write_model(cls.model)
        for folder in ("images", "masks"):
            (cls.shared / folder).mkdir()
        for name, size in SIZES.items():
            cls.write_pair(cls.shared, name, size)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    @staticmethod
    def write_pair(folder, name, size, label=true_label, high=255):
        tiny_files.write_png(folder / "images" / f"{name}.png", *size, tiny_files.stained)
        tiny_files.write_png(folder / "masks" / f"{name}.png", *size, lambda x, y: (high * label(x, y),) * 3)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))
        for folder in ("images", "masks"):
            shutil.copytree(self.shared / folder, self.dir / folder)

    def run_program(self, *args, code=0):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def evaluate(self, *args, code=0, images="images", masks="masks", model=None):
        return self.run_program("evaluate", "--model", model or self.model, "--images", self.dir / images, "--masks",
                                self.dir / masks, *args, code=code)

    def report(self, *args, code=0, **paths):
        self.evaluate("--json", self.dir / "score.json", *args, code=code, **paths)
        return json.loads((self.dir / "score.json").read_text())

    # --- figures -----------------------------------------------------------------------------------------

    def test_figures_follow_from_the_saved_masks(self):
        report = self.report("--save-masks", self.dir / "out" / "predicted", "--csv", self.dir / "score.csv")
        saved = self.dir / "out" / "predicted"
        self.assertEqual(sorted(p.name for p in saved.iterdir()), ["a.png", "b.png", "c.png"])
        total = {label: [0, 0, 0] for label in (0, 1)}
        self.assertEqual([pathlib.Path(i["image"]).stem for i in report["images"]], ["a", "b", "c"])
        for image in report["images"]:
            name = pathlib.Path(image["image"]).stem
            rows = read_grey_png(saved / f"{name}.png")
            self.assertEqual((len(rows[0]), len(rows)), SIZES[name])
            self.assertEqual((image["width"], image["height"]), SIZES[name])
            self.assertEqual((image["mpp"], image["one_pass"]), (None, True))
            for label, key in ((0, "background"), (1, "nucleus")):
                pairs = [(p == label, true_label(x, y) == label) for y, r in enumerate(rows) for x, p in enumerate(r)]
                counts = [sum(p and t for p, t in pairs), sum(p for p, _ in pairs), sum(t for _, t in pairs)]
                self.check_figures(image["classes"][key], *counts)
                total[label] = [a + b for a, b in zip(total[label], counts)]
        for label, key in ((0, "background"), (1, "nucleus")):
            figures = report["pooled"][key]
            self.check_figures(figures, *total[label])
            self.assertGreater(min(total[label]), 0, "the test network should give both labels")
            self.assertEqual((figures["label"], figures["background"]), (label, label == 0))
            each = [i["classes"][key]["dice"] for i in report["images"]]
            self.assertLess(min(each) - 1e-9, figures["ci95"][0])
            self.assertLess(figures["ci95"][0], figures["dice"])
            self.assertLess(figures["dice"], figures["ci95"][1])
            self.assertLess(figures["ci95"][1], max(each) + 1e-9)
        self.assertEqual(report["model_sha256"], hashlib.sha256(self.model.read_bytes()).hexdigest())
        self.assertEqual(report["mask_pixels"], sum(w * h for w, h in SIZES.values()))
        self.assertEqual((report["image_count"], report["failed"]), (3, []))
        self.assertEqual((report["ci95_unit"], report["ci95_units"], report["ci95_rounds"]), ("image", 3, 2000))
        self.assertEqual((report["precision"], report["device"], report["threshold"]), ("fp32", "cpu", None))
        self.assertGreater(report["seconds"], 0)

        text = (self.dir / "score.csv").read_bytes()
        self.assertEqual(text.count(b"\r\n"), 1 + 2 + 3 * 2)
        rows = list(csv.DictReader(text.decode().splitlines()))
        for row in rows:
            image = next((i for i in report["images"] if i["image"] == row["image"]), None)
            figures = (image["classes"] if image else report["pooled"])[row["class"]]
            self.assertEqual(row["scope"], "image" if image else "pooled")
            for key in ("label", "dice", "iou", "precision", "recall", "predicted_pixels", "truth_pixels",
                        "common_pixels"):
                self.assertAlmostEqual(float(row[key]), figures[key], places=8)
            self.assertEqual(row["ci95_low"] == "", image is not None)

    def check_figures(self, figures, common, predicted, truth):
        self.assertEqual((figures["common_pixels"], figures["predicted_pixels"], figures["truth_pixels"]),
                         (common, predicted, truth))
        for key, value in {"dice": (2 * common, predicted + truth), "iou": (common, predicted + truth - common),
                           "precision": (common, predicted), "recall": (common, truth)}.items():
            self.assertAlmostEqual(figures[key], value[0] / value[1])

    def test_one_image_has_no_spread(self):
        report = self.report(images="images/a.png", masks="masks/a.png")
        nucleus = report["pooled"]["nucleus"]
        self.assertEqual(nucleus["ci95"], [nucleus["dice"]] * 2)
        self.assertNotIn("interval", self.evaluate(images="images/a.png").stdout)

    def test_masks_may_be_0_and_1_and_tiff(self):
        expected = self.report()["pooled"]
        for name, size in SIZES.items():
            self.write_pair(self.dir, name, size, high=1)
        self.assertEqual(self.report()["pooled"], expected)
        self.run_program("segment", self.dir / "images" / "a.png", "-m", self.model, "-o", self.dir / "out",
                         "--slide-mpp", 0.5, "--tissue", "none")
        (self.dir / "masks" / "a.png").unlink()
        shutil.copy(self.dir / "out" / "a" / "mask.tif", self.dir / "masks" / "a.TIF")
        self.assertGreater(self.report()["images"][0]["classes"]["nucleus"]["truth_pixels"], 0)

    def test_masks_without_foreground(self):
        self.write_pair(self.dir, "b", SIZES["b"], lambda x, y: False)
        some = self.report()
        self.assertEqual(some["images"][1]["classes"]["nucleus"]["truth_pixels"], 0)
        self.assertNotIn("255", some["pooled"])
        for name, size in SIZES.items():
            self.write_pair(self.dir, name, size, lambda x, y: False)
        none = self.report("--threshold", 1)
        self.assertIsNone(none["pooled"]["nucleus"])
        self.assertEqual(none["pooled"]["background"]["dice"], 1.0)
        self.assertIsNone(none["images"][0]["classes"]["nucleus"])

    def test_threshold(self):
        predicted = [self.report("--threshold", t)["pooled"]["nucleus"]["predicted_pixels"] for t in (0, 0.3, 0.5, 0.9)]
        self.assertEqual(predicted[0], sum(w * h for w, h in SIZES.values()))
        self.assertEqual(predicted, sorted(predicted, reverse=True))
        self.assertEqual(predicted[2], self.report()["pooled"]["nucleus"]["predicted_pixels"])
        self.assertEqual(self.report("--threshold", 0.3)["threshold"], 0.3)
        for bad in ("-0.1", "1.5", "nan", "x"):
            self.assertIn("threshold", self.evaluate(f"--threshold={bad}", code=2).stderr)

    def test_result_does_not_depend_on_threads(self):
        reports = [self.report("-j", n) for n in (1, 3)]
        for r in reports:
            for part in [r, *r["images"]]:
                part.pop("seconds")
        self.assertEqual(*reports)

    def test_a_large_image_runs_in_patches(self):
        self.write_pair(self.dir, "b", (73800, 32))  # 73808 x 32 when padded: more than 1536 x 1536
        self.write_pair(self.dir, "c", (2100, 40))
        report = self.report()
        self.assertEqual([i["one_pass"] for i in report["images"]], [True, False, True])
        self.assertEqual(report["images"][1]["mask_pixels"], 73800 * 32)

    def test_a_model_of_tile_statistics_runs_in_patches(self):
        model = self.dir / "zscore.safetensors"
        tiny_files.write_model(model, normalization="zscore_tile")
        report = self.report(model=model)
        self.assertEqual([i["one_pass"] for i in report["images"]], [False] * 3)

    def test_labels_the_model_does_not_have(self):
        tiny_files.write_png(self.dir / "masks" / "b.png", *SIZES["b"], lambda x, y: ((x // 10) * 3,) * 3)
        done = self.evaluate("--json", self.dir / "score.json")
        self.assertIn("does not have (3 and perhaps more)", done.stderr)
        self.assertEqual(json.loads((self.dir / "score.json").read_text())["pooled"]["18"]["recall"], 0.0)

    def test_a_number_is_no_key_of_two_labels(self):
        model = self.dir / "named.safetensors"
        tiny_files.write_model(model, class_names='["background","10"]')
        label = {0: 0, 1: 1, 2: 10, 3: 7}
        tiny_files.write_png(self.dir / "masks" / "b.png", *SIZES["b"], lambda x, y: (label[x // 10 % 4],) * 3)
        pooled = self.report(model=model, images="images/b.png", masks="masks/b.png")["pooled"]
        self.assertEqual({key: row["label"] for key, row in pooled.items()},
                         {"background": 0, "10": 1, "label 10": 10, "7": 7})

    # --- masks -------------------------------------------------------------------------------------------

    def test_the_slide_form_writes_the_same_object(self):
        size = (2500, 1100)
        self.write_pair(self.dir, "p", size, lambda x, y: x < 1200)
        self.write_pair(self.dir, "t", size, lambda x, y: 600 <= x < 1800)
        done = self.run_program("evaluate", self.dir / "masks" / "p.png", self.dir / "masks" / "t.png", "--json",
                                self.dir / "score.json", "--csv", self.dir / "score.csv")
        report = json.loads((self.dir / "score.json").read_text())
        self.check_figures(report["pooled"]["1"], 600 * 1100, 1200 * 1100, 1200 * 1100)
        low, high = report["pooled"]["1"]["ci95"]
        self.assertLess(low, 0.5)
        self.assertGreater(high, 0.5)
        self.assertEqual((report["ci95_unit"], report["ci95_units"], report["ci95_block_pixels"]), ("block", 6, 1024))
        self.assertEqual((report["width"], report["height"], report["pixels"]), (*size, 2500 * 1100))
        self.assertIn("interval", done.stdout)
        rows = list(csv.DictReader((self.dir / "score.csv").read_text().splitlines()))
        self.assertEqual([(r["scope"], r["image"], r["class"]) for r in rows],
                         [("pooled", "", "0"), ("pooled", "", "1")])

    # --- requests ----------------------------------------------------------------------------------------

    def test_wrong_usage(self):
        a = self.dir / "masks" / "a.png"
        for args in ([], [a], [a, a, "-m", self.model], ["-m", self.model], ["-m", self.model, "--images", self.dir],
                     ["--images", self.dir, "--masks", self.dir], [a, a, "--threshold", 0.5],
                     [a, a, "--precision", "fp32"], [a, a, "--save-masks", self.dir]):
            self.run_program("evaluate", *args, code=2)
        self.assertIn("there is: fp32", self.evaluate("--precision", "fp8", code=2).stderr)
        self.assertIn("microtome quantize makes", self.evaluate("--precision", "int8", code=2).stderr)
        self.assertIn("there is: cpu", self.evaluate("--device", "abacus", code=2).stderr)
        self.assertIn("no such directory", self.evaluate("--json", self.dir / "no" / "score.json", code=2).stderr)

    def test_missing_partners_are_listed(self):
        (self.dir / "masks" / "b.png").unlink()
        (self.dir / "masks" / "notes.txt").write_text("not a mask")
        (self.dir / "images" / ".hidden.png").write_text("not an image")
        self.assertIn("no mask of the same name for b.png", self.evaluate(code=3).stderr)
        (self.dir / "images" / "b.png").unlink()
        self.evaluate()
        (self.dir / "images" / "a.png").unlink()
        self.assertIn("for the mask a.png", self.evaluate(code=3).stderr)
        self.evaluate(images="missing", code=3)
        self.evaluate(masks="masks/notes.txt", images="images/c.png", code=3)

    def test_bad_images_are_reported_and_the_others_counted(self):
        good = self.report(images="images/b.png", masks="masks/b.png")
        tiny_files.write_png(self.dir / "masks" / "a.png", 71, 45, lambda x, y: (0, 0, 0))
        (self.dir / "images" / "c.png").write_bytes((self.dir / "images" / "c.png").read_bytes()[:-40])
        done = self.evaluate("--json", self.dir / "bad.json", "--csv", self.dir / "bad.csv", code=1)
        self.assertIn("masks/a.png: size: 71 x 45 pixels", done.stderr)
        self.assertIn("70 x 45 pixels", done.stderr)
        self.assertIn("2 of 3 images failed", done.stderr)
        bad = json.loads((self.dir / "bad.json").read_text())
        self.assertEqual(bad["pooled"], good["pooled"])
        self.assertEqual([pathlib.Path(f["image"]).name for f in bad["failed"]], ["a.png", "c.png"])
        self.assertEqual((self.dir / "bad.csv").read_text().count("\n"), 1 + 2 + 2)
        self.evaluate(images="images/a.png", code=3)

    def test_a_mask_that_cannot_be_saved_ends_the_run(self):
        saved = self.dir / "saved"
        (saved / ".b.png.part").mkdir(parents=True)
        good = self.report(images="images/a.png", masks="masks/a.png")
        done = self.evaluate("--save-masks", saved, "--json", self.dir / "bad.json", "--csv", self.dir / "bad.csv",
                             code=4)
        self.assertIn("saved/.b.png.part: cannot open", done.stderr)
        bad = json.loads((self.dir / "bad.json").read_text())
        self.assertEqual(bad["pooled"], good["pooled"])
        self.assertEqual([pathlib.Path(i["image"]).name for i in bad["images"]], ["a.png"])
        self.assertEqual([pathlib.Path(f["image"]).name for f in bad["failed"]], ["b.png", "c.png"])
        self.assertIn("cannot open", bad["failed"][0]["error"])
        self.assertEqual(bad["failed"][1]["error"], "not run")
        self.assertEqual((self.dir / "bad.csv").read_text().count("\n"), 1 + 2 + 2)
        self.assertEqual([p.name for p in saved.glob("[a-z]*.png")], ["a.png"])
        self.evaluate("--save-masks", saved, images="images/b.png", code=4)

    def test_outputs_are_checked_before_the_work(self):
        (self.dir / "here").mkdir()
        (self.dir / "link").symlink_to(self.dir / "here")
        os.mkfifo(self.dir / "pipe")
        for option in ("--json", "--csv", "--save-masks"):
            self.assertIn(f"{option}: is empty", self.evaluate(option, "", code=2).stderr)
        for option in ("--json", "--csv"):
            for name in ("here", "here/", "new/"):
                self.assertIn("is a directory", self.evaluate(option, f"{self.dir}/{name}", code=2).stderr)
            self.assertIn("not a regular file", self.evaluate(option, self.dir / "pipe", code=4).stderr)
        for args in (["--json", f"{self.dir}/s", "--csv", f"{self.dir}/./s"],
                     ["--json", f"{self.dir}/here/s", "--csv", f"{self.dir}/link/s"],
                     ["--save-masks", f"{self.dir}/new/", "--json", f"{self.dir}/new/a.png"],
                     ["--save-masks", f"{self.dir}/here", "--json", f"{self.dir}/link/a.png"]):
            self.assertIn("is also what", self.evaluate(*args, code=2).stderr)
        masks = [self.dir / "masks" / "a.png"] * 2
        self.run_program("evaluate", *masks, "--json", f"{self.dir}/s", "--csv", f"{self.dir}/./s", code=2)
        self.run_program("evaluate", *masks, "--json", "", code=2)
        self.evaluate("--save-masks", self.dir / "new", "--json", self.dir / "masks" / "a.png", code=2)
        self.assertFalse((self.dir / "new").exists())
        self.assertEqual(list((self.dir / "here").iterdir()), [])
        self.evaluate("--save-masks", f"{self.dir}/new/", "--json", f"{self.dir}/new/score.json")
        self.assertEqual(sorted(p.name for p in (self.dir / "new").iterdir()),
                         ["a.png", "b.png", "c.png", "score.json"])

    def test_outputs_do_not_replace_inputs_or_each_other(self):
        before = {p: p.read_bytes() for p in self.dir.rglob("*.png")}
        link = self.dir / "link.json"
        link.symlink_to(self.dir / "images" / "a.png")
        for args in (["--json", self.dir / "masks" / "a.png"], ["--csv", self.dir / "images" / "c.png"],
                     ["--json", link], ["--csv", self.model], ["--save-masks", self.dir / "masks"],
                     ["--save-masks", self.dir / "images"],
                     ["--json", self.dir / "x", "--csv", self.dir / "x"],
                     ["--save-masks", self.dir / "y", "--json", f"{self.dir}/y/a.png"]):
            self.assertRegex(self.evaluate(*args, code=2).stderr, "--json|--csv|--save-masks")
        self.assertEqual({p: p.read_bytes() for p in self.dir.rglob("*.png")}, before)

    def test_names_are_quoted(self):
        for folder in ("images", "masks"):
            (self.dir / folder / "a.png").rename(self.dir / folder / 'x,"y\nz.png')
        self.evaluate("--csv", self.dir / "score.csv")
        with open(self.dir / "score.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        self.assertEqual([pathlib.Path(r["image"]).name for r in rows[2::2]], ["b.png", "c.png", 'x,"y\nz.png'])

    def test_quiet(self):
        done = self.evaluate("-q")
        self.assertEqual(done.stderr, "")
        self.assertNotIn("Mpixel", done.stdout)
        self.assertIn("nucleus", done.stdout)

    def test_interruption_leaves_nothing(self):
        self.write_pair(self.dir, "z", (2100, 600))
        first = self.dir / "predicted" / "a.png"
        run = subprocess.Popen([PROGRAM, "evaluate", "-m", self.model, "--images", self.dir / "images", "--masks",
                                self.dir / "masks", "--json", self.dir / "score.json", "--save-masks", first.parent,
                                "-j", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not first.exists():
            self.assertIsNone(run.poll(), "the run ended before it could be interrupted")
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 143)
        self.assertIn("interrupted", err)
        self.assertFalse((self.dir / "score.json").exists())
        self.assertFalse((first.parent / "z.png").exists())


if __name__ == "__main__":
    unittest.main()
