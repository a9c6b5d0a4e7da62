"""The verb bench as a user meets it: figures that add up, files, messages, exit codes, interruption.

    test_bench.py PROGRAM [unittest arguments]
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-bench-"))
        cls.model = cls.shared / "tiny.safetensors"
        tiny_files.write_model(cls.model)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))

    def run_program(self, *args, code=0):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def bench(self, *args, size=256, code=0):
        return self.run_program("bench", "-m", self.model, "--size", size, *args, code=code)

    def test_figures_add_up(self):
        for threads in (1, 2):
            report = self.dir / "bench.json"
            done = self.bench("-j", threads, "--runs", 3, "--json", report)
            r = json.loads(report.read_text())
            self.assertEqual((r["size_px"], r["threads"], r["runs"]), (256, threads, 3))
            for kind in ("ms", "cpu_ms"):
                self.assertGreater(r["best_" + kind], 0)
                self.assertLessEqual(r["best_" + kind], r["median_" + kind])
            layers = r["layers"]
            self.assertEqual([layers[0]["name"], layers[-1]["name"], len(layers)], ["ins.conv0", "out.conv0", 32])
            cpu = sum(l["cpu_ms"] for l in layers)
            self.assertLessEqual(cpu, r["best_cpu_ms"] * (1 + 1e-6))
            self.assertGreater(min(l["ms"] for l in layers), 0)
            self.assertAlmostEqual(sum(l["percent_of_time"] for l in layers), 100 * cpu / r["best_cpu_ms"], 3)
            self.assertAlmostEqual(sum(l["macs"] for l in layers) / r["macs"], 1)
            self.assertAlmostEqual(r["gmacs_per_core_second"] * r["best_cpu_ms"] * 1e6 / r["macs"], 1, 5)
            self.assertAlmostEqual(r["megapixels_per_second"] * r["best_ms"] * 1e3 / 256**2, 1, 5)
            self.assertGreater(r["fma_peak_gmacs_per_second"], 0)
            self.assertGreater(r["session_bytes"], 256 * 256 * 16 * 4)
            for l in layers:
                self.assertIn(l["name"], done.stdout)

    def test_macs_and_bytes_of_layers_are_those_of_their_shapes(self):
        report = self.dir / "bench.json"
        self.bench("-j1", "--runs", 1, "--json", report)
        layers = {l["name"]: l for l in json.loads(report.read_text())["layers"]}
        tensor = lambda blocks, side: blocks * side * (side | 1) * 16 * 4  # rows of an odd number of pixels
        self.assertEqual(layers["ins.conv0"]["macs"], 256 * 256 * 3 * 4 * 9)
        self.assertEqual(layers["ins.conv0"]["bytes_written"], tensor(1, 256))
        self.assertEqual(layers["out.conv0"]["bytes_written"], 256 * 256 * 2 * 4)
        self.assertEqual(layers["us_3.conv0"]["macs"], 16 * 16 * 64 * 32)
        down = layers["ds_1.conv0"]
        self.assertEqual((down["stride"], down["macs"]), (2, 64 * 64 * 8 * 16 * 9))
        weights = down["bytes_read"] - tensor(1, 128)
        self.assertTrue(8 * 16 * 9 * 4 <= weights < 16 * 16 * 9 * 4 + 200, weights)
        decoder = layers["de_2.conv0"]  # 16 channels enlarged from 32 x 32, and 16 of 64 x 64
        self.assertGreater(decoder["bytes_read"], tensor(1, 32) + tensor(1, 64))
        residual = layers["de_2.conv2"]["bytes_read"] - layers["de_2.conv1"]["bytes_read"]
        self.assertEqual(residual, tensor(1, 64))

    def test_ablation(self):
        report = self.dir / "bench.json"
        self.bench("-j1", "--runs", 2, "--json", report)
        self.assertNotIn("ablation", json.loads(report.read_text()))
        text = self.bench("-j1", "--runs", 2, "--ablate", "--json", report, size=512).stdout  # memory is huge pages
        r = json.loads(report.read_text())
        rows = {row["without"]: row for row in r["ablation"]}
        self.assertEqual(list(rows), [
            "norm folding", "fused activation", "fused residual", "zero-copy concat", "fused prologue",
            "1x1 before upsampling", "blocked layout", "winograd", "depth-first"])
        for name, row in rows.items():
            self.assertIn(name, text)
            self.assertLessEqual(row["largest_difference"], 1e-4, name)
            self.assertAlmostEqual(row["ratio"] * row["full"]["best_cpu_ms"] / row["best_cpu_ms"], 1, 5)
        more = {name for name, row in rows.items() if row["session_bytes"] > r["session_bytes"]}
        self.assertLessEqual({"fused residual", "zero-copy concat", "blocked layout", "depth-first"}, more)
        self.assertGreater(rows["norm folding"]["largest_difference"], 0)
        self.assertLess(rows["winograd"]["weights_bytes"], r["weights_bytes"])

    def test_wrong_use(self):
        self.assertIn("--json", self.bench("--json", self.model, code=2).stderr)
        self.assertIn("--json", self.bench("--json", "", code=2).stderr)
        self.assertIn("no such directory", self.bench("--json", self.dir / "missing" / "b.json", code=2).stderr)
        self.assertIn("image size", self.run_program("bench", "-m", self.model, "--size", "100", code=2).stderr)
        self.bench("--runs", "0", code=2)
        self.run_program("bench", "-m", self.dir / "missing.safetensors", code=3)
        self.assertIn("--runs", self.run_program("bench", "--help").stdout)

    def test_interrupted(self):
        report = self.dir / "bench.json"
        run = subprocess.Popen([PROGRAM, "bench", "-m", self.model, "--runs", "1000000000", "--json", report],
                               stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while "bench" not in run.stderr.readline():  # progress appears after five seconds
            self.assertIsNone(run.poll(), "the run ended before it could be interrupted")
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
        self.assertEqual((run.returncode, out), (130, ""))
        self.assertIn("interrupted", err)
        self.assertFalse(report.exists())


if __name__ == "__main__":
    unittest.main()
