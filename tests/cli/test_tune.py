"""The verb tune, its cache, and what other verbs make of it.

    test_tune.py PROGRAM [unittest arguments]
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
TUNED = {"en_1.conv0": "winograd4", "de_0.conv1": "winograd4"}  # of a model with 4 base filters: direct by default


class Tune(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-tune-"))
        cls.model = cls.shared / "tiny.safetensors"
        tiny_files.write_model(cls.model)
        cls.image = cls.shared / "tissue.png"
        tiny_files.write_png(cls.image, 150, 100, tiny_files.stained)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))
        self.folder = self.dir / "cache" / "microtome" / "tune"

    def run_program(self, *args, code=0, cache=None):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300,
                              env={**os.environ, "XDG_CACHE_HOME": str(cache or self.dir / "cache")})
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def tune(self):
        """Makes a tuning and returns its file and content."""
        self.run_program("tune", "-m", self.model, "--runs", 1)
        (file,) = self.folder.iterdir()
        return file, json.loads(file.read_text())

    def choose(self, layers=TUNED, **changes):
        """Makes a tuning that chooses these algorithms."""
        file, content = self.tune()
        file.write_text(json.dumps({**content, "layers": layers, **changes}))
        return file

    def kernels(self, *args, warning=None):
        done = self.run_program("info", self.model, "--json", *args)
        if warning is None:
            self.assertEqual(done.stderr, "")
        else:
            self.assertIn("warning: tuning ignored", done.stderr)
            self.assertIn(warning, done.stderr)
        return {l["name"]: l["kernel"] for l in json.loads(done.stdout)["layers"]}

    def test_round_trip(self):
        before = self.kernels()
        self.assertEqual(before["en_1.conv0"], "direct")
        file, content = self.tune()
        self.assertEqual(content["model_sha256"], hashlib.sha256(self.model.read_bytes()).hexdigest())
        self.assertEqual((content["size_px"], file.stat().st_mode & 0o111), (64, 0))
        self.assertLessEqual(set(content["layers"].values()), {"direct", "winograd4", "winograd6", "head"})
        self.assertEqual(self.kernels(), {**before, **content["layers"]})
        text = self.run_program("tune", "-m", self.model, "--runs", 1).stdout
        for name in before:
            self.assertIn(name, text)
        self.choose()
        self.assertEqual(self.kernels(), {**before, **TUNED})
        self.assertEqual(self.kernels("--no-tune"), before)
        self.assertEqual(self.kernels("--size", 128), self.kernels("--size", 128, "--no-tune"))  # tuned for 33 to 64 pixels
        self.assertEqual(self.kernels("--size", 48), {**self.kernels("--size", 48, "--no-tune"), **TUNED})
        other = self.dir / "other.safetensors"
        tiny_files.write_model(other, license="another")
        self.assertNotIn("(tuned)", self.run_program("info", other).stdout)
        self.assertIn("winograd4 (tuned)", self.run_program("info", self.model).stdout)
        self.assertIn("winograd4 (tuned)", self.run_program("doctor", "-m", self.model).stdout)
        self.assertIn("1 tuning forgotten", self.run_program("tune", "--clear").stdout)
        self.assertEqual((list(self.folder.iterdir()), self.kernels()), ([], before))
        self.assertIn("0 tunings forgotten", self.run_program("tune", "--clear", cache=self.dir / "none").stdout)

    def test_summary_names_tuned_layers_and_they_are_part_of_the_result(self):
        segment = lambda *args, code=0: self.run_program("segment", self.image, "-m", self.model, "-o", self.dir / "out",
                                                         "--slide-mpp", 0.5, *args, code=code)
        summary = lambda: json.loads((self.dir / "out" / "tissue" / "summary.json").read_text())["run"]["tuned_layers"]
        segment()
        self.assertEqual(summary(), {})
        self.choose()
        self.assertIn("another run (tuned_layers)", segment(code=2).stderr)
        self.assertIn("left alone", segment("--no-tune").stdout)
        segment("--overwrite")
        self.assertEqual(summary(), TUNED)
        self.assertIn("left alone", segment().stdout)
        self.choose({"en_1.conv0": "winograd6", "de_0.conv1": "winograd4"})
        self.assertIn("another run (tuned_layers)", segment(code=2).stderr)
        segment("--no-tune", "--overwrite")
        self.assertEqual(summary(), {})

    def test_bench_and_evaluate_use_it(self):
        self.choose()
        report = self.dir / "bench.json"
        self.run_program("bench", "-m", self.model, "--size", 64, "--runs", 1, "--ablate", "--json", report)
        r = json.loads(report.read_text())
        self.assertEqual({l["name"]: l["kernel"] for l in r["layers"] if l["tuned"]}, TUNED)
        self.assertLessEqual(max(row["largest_difference"] for row in r["ablation"]), 1e-4)
        self.run_program("bench", "-m", self.model, "--size", 64, "--runs", 1, "--no-tune", "--json", report)
        self.assertFalse(any(l["tuned"] for l in json.loads(report.read_text())["layers"]))
        tiny_files.write_png(self.dir / "truth.png", 150, 100, lambda x, y: (0, 0, 0))
        evaluate = ["evaluate", "-m", self.model, "--images", self.image, "--masks", self.dir / "truth.png"]
        self.assertEqual(self.run_program(*evaluate, "--json", report).stderr, "")
        self.assertEqual(json.loads(report.read_text())["tuned_layers"], TUNED)
        self.folder.joinpath(next(self.folder.iterdir())).write_text("{")
        self.assertIn("tuning ignored", self.run_program(*evaluate).stderr)

    def test_damaged_or_stale_caches_are_ignored_with_a_warning(self):
        before = self.kernels()
        file = self.choose()
        whole = file.read_bytes()
        for damage, warning in ((whole[:50], "invalid JSON"), (b"", "invalid JSON"), (b"\xff\0", "invalid JSON"),
                                (b"[]", "microtome"), (b" " * (1 << 21), "too large")):
            file.write_bytes(damage)
            self.assertEqual(self.kernels(warning=warning), before)
        for changes, warning in (({"microtome": "0.0.0"}, "microtome: is not"), ({"isa": "abacus"}, "isa: is not"),
                                 ({"cpu": "Z80"}, "cpu: is not"), ({"model_sha256": "0" * 64}, "model_sha256: is not"),
                                 ({"format": 0}, "format: is not"), ({"format": "1"}, "format: is not"),
                                 ({"size_px": 128}, "size_px: is not"),
                                 ({"layers": []}, "layers"), ({"layers": {"en_1.conv0": "fft"}}, "no known algorithm"),
                                 ({"layers": {"en_1.conv0": 4}}, "no known algorithm"),
                                 ({"layers": {"en_9.conv0": "direct"}}, "not a layer"),
                                 ({"layers": {"ds_0.conv0": "winograd4"}}, "cannot compute ds_0.conv0"),
                                 ({"layers": {"us_0.conv0": "head"}}, "cannot compute us_0.conv0"),
                                 ({"layers": {"out.conv0": "winograd6"}}, "cannot compute out.conv0")):
            self.choose(**{"layers": TUNED, **changes})
            self.assertEqual(self.kernels(warning=warning), before)
        file.unlink()
        file.mkdir()
        self.assertEqual(self.kernels(warning="not a regular file"), before)

    def test_wrong_use(self):
        self.run_program("tune", code=2)
        self.run_program("tune", "-m", self.model, "--clear", code=2)
        self.run_program("tune", "-m", self.dir / "missing", code=3)
        self.assertIn("image size", self.run_program("tune", "-m", self.model, "--size", 100, code=2).stderr)
        (self.dir / "file").write_text("")
        self.assertIn("cannot create the directory",
                      self.run_program("tune", "-m", self.model, "--runs", 1, code=4, cache=self.dir / "file").stderr)
        self.kernels()
        self.assertIn("--size", self.run_program("info", self.model, "--size", 100, code=2).stderr)
        self.assertIn("--size", self.run_program("info", self.image, "--size", 64, code=2).stderr)
        bare = subprocess.run([PROGRAM, "tune", "-m", str(self.model), "--runs", "1"], capture_output=True, text=True,
                              env={k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")})
        self.assertEqual(bare.returncode, 4)
        self.assertIn("XDG_CACHE_HOME", bare.stderr)

    def test_info_plans_for_a_size(self):
        small, large = (json.loads(self.run_program("info", self.model, "--json", "--size", n).stdout) for n in (64, 256))
        self.assertEqual((small["size_px"], large["size_px"]), (64, 256))
        self.assertAlmostEqual(large["gmacs"] / small["gmacs"], 16)
        self.assertGreater(large["session_memory_bytes"], 3 * small["session_memory_bytes"])
        self.assertEqual(large["layers"][0]["width_px"], 256)


if __name__ == "__main__":
    unittest.main()
