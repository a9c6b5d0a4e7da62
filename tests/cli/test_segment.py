"""The verbs segment, info and doctor as a user meets them: files, messages, exit codes, interruption.

    test_segment.py PROGRAM [unittest arguments]      MICROTOME_TEST_DATA: folder of external test data
"""
import fcntl
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

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""


def test_data():
    named = os.environ.get("MICROTOME_TEST_DATA")
    folder = pathlib.Path(named) if named else pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
    if named and not folder.is_dir():
        raise AssertionError(f"MICROTOME_TEST_DATA is not a folder: {named}")
    return folder if folder.is_dir() else None


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-cli-"))
        cls.model = cls.shared / "tiny.safetensors"
        tiny_files.write_model(cls.model)
        cls.image = cls.shared / "tissue.png"
        tiny_files.write_png(cls.image, 300, 210, tiny_files.stained)
        cls.broken = cls.shared / "broken.svs"
        cls.broken.write_bytes(b"II*\0 this is no slide")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))

    def run_program(self, *args, code=0, env=None):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300,
                              env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def segment(self, *args, out="out", slide=None, mpp=0.5, code=0):
        flags = ["--slide-mpp", mpp] if mpp else []
        return self.run_program("segment", slide or self.image, "-m", self.model, "-o", self.dir / out, *flags, *args,
                                code=code)

    def summary(self, out="out", stem="tissue"):
        return json.loads((self.dir / out / stem / "summary.json").read_text())

    def mask(self, out="out", stem="tissue"):
        return (self.dir / out / stem / "mask.tif").read_bytes()

    # --- results -----------------------------------------------------------------------------------------

    def test_results_are_complete_and_add_up(self):
        done = self.segment()
        self.assertEqual(sorted(p.name for p in (self.dir / "out" / "tissue").iterdir()),
                         ["mask.tif", "overlay.png", "summary.json"])
        s = self.summary()
        self.assertEqual((s["slide"]["file"], s["slide"]["width_px"], s["slide"]["mpp_source"]),
                         ("tissue.png", 300, "--slide-mpp"))
        self.assertEqual(s["model"]["sha256"], hashlib.sha256(self.model.read_bytes()).hexdigest())
        self.assertEqual(s["model"]["class_names"], ["background", "nucleus"])
        self.assertEqual((s["mask"]["width_px"], s["mask"]["height_px"], s["mask"]["downsample"]), (300, 210, 1))
        self.assertEqual(sum(l["pixels"] for l in s["labels"]), 300 * 210)
        self.assertGreater(min(l["pixels"] for l in s["labels"]), 0, "the test network should give both labels")
        for l in s["labels"]:
            self.assertAlmostEqual(l["mm2"], l["pixels"] * 0.25e-6, places=9)
        self.assertEqual(s["run"]["patches_run"] + s["run"]["patches_skipped"], 9 * 6)
        self.assertEqual(s["warnings"], [])
        self.assertGreater(s["performance"]["peak_memory_bytes"], 1 << 20)
        for stage in ("open", "tissue", "read", "infer", "stitch", "write", "overlay", "total"):
            self.assertGreaterEqual(s["performance"]["seconds"][stage], 0.0)
        self.assertIn("nucleus", done.stdout)
        self.assertEqual(done.stderr.count("tissue"), 0, "a stage of less than a second is not worth a line")

    def test_quiet_says_nothing(self):
        done = self.segment("-q")
        self.assertEqual(done.stdout + done.stderr, "")

    def test_mask_does_not_depend_on_threads_or_memory(self):
        big = self.dir / "big.png"
        tiny_files.write_png(big, 620, 2100, tiny_files.stained)  # seams of five tiles
        tight = None
        for out, flags in {"a": ["-j", 1], "b": ["-j", 2], "c": ["-j", 5], "d": None}.items():
            self.segment(*(flags or ["-j", 1, "--max-memory", tight]), out=out, slide=big)
            self.assertEqual(self.mask("a", "big"), self.mask(out, "big"))
            if tight is None:
                message = self.segment("--max-memory", "1M", "-j", 1, out="no", slide=big, code=4).stderr
                self.assertIn("--max-memory", message)
                self.assertFalse((self.dir / "no" / "big").exists())
                tight = message.split(": ")[-1].split()[0] + "M"  # "... : 104 MiB is the least"
        self.assertEqual(self.summary("a", "big")["performance"]["accumulators_spilled"], 0)
        self.assertGreater(self.summary("d", "big")["performance"]["accumulators_spilled"], 0)

    def test_scales(self):
        self.segment("--mpp", 1.0)
        s = self.summary()
        self.assertEqual((s["run"]["width_px"], s["run"]["height_px"], s["mask"]["downsample"]), (150, 105, 2))
        self.assertEqual(s["run"]["resample_factor_x"], 2)
        self.assertEqual(len(s["warnings"]), 1)
        self.segment("--level", 0, out="level", mpp=None)
        s = self.summary("level")
        self.assertIsNone(s["slide"]["mpp_x"])
        self.assertTrue(all(l["mm2"] is None for l in s["labels"]))

    def test_real_slide(self):
        data = test_data()
        if data is None:
            self.skipTest("no external test data")
        slide = data / "slides" / "CMU-1-Small-Region.svs"
        self.assertRegex(self.run_program("info", slide).stdout, r"mpp 0\.499\b")
        self.segment("--mpp", 2, "--patch", 128, slide=slide, mpp=None)
        s = self.summary(stem="CMU-1-Small-Region")
        self.assertEqual((s["mask"]["width_px"], s["mask"]["height_px"], s["mask"]["downsample"]), (555, 742, 4))
        self.assertEqual(s["slide"]["mpp_source"], "Aperio MPP")
        self.assertTrue(0.2 < s["run"]["tissue_fraction"] < 0.6)
        self.assertGreater(s["run"]["patches_skipped"], 0)
        # Nothing of the scanner's description reaches an output.
        description = slide.read_bytes().split(b"Aperio Image Library", 1)[1].split(b"\0", 1)[0].decode()
        for name in ("mask.tif", "overlay.png", "summary.json"):
            content = (self.dir / "out" / "CMU-1-Small-Region" / name).read_bytes()
            for entry in description.split("|")[1:]:
                value = entry.partition("=")[2].strip().encode()
                if len(value) >= 6:
                    self.assertNotIn(value, content, entry)

    # --- again, several, broken --------------------------------------------------------------------------

    def test_finished_slides_are_left_alone(self):
        self.segment()
        file = self.dir / "out" / "tissue" / "summary.json"
        before = file.stat().st_mtime_ns
        self.assertIn("left alone", self.segment("-j", 1).stdout)
        self.assertIn("left alone", self.segment("--mpp", 0.5, "--patch", 64, "--stride", 32).stdout)
        self.assertEqual(file.stat().st_mtime_ns, before)
        self.segment("--stride", 64, "--overwrite")
        self.assertEqual(self.summary()["run"]["stride_px"], 64)
        file.unlink()  # an unfinished run
        self.segment()
        self.assertEqual(self.summary()["run"]["stride_px"], 32)

    def test_results_from_before_the_stain_option_count_as_none(self):
        self.segment()
        file = self.dir / "out" / "tissue" / "summary.json"
        summary = json.loads(file.read_text())
        del summary["run"]["stain_norm"]
        file.write_text(json.dumps(summary))
        self.assertIn("left alone", self.segment().stdout)
        self.assertIn("stain_norm", self.segment("--stain-norm", "reinhard", code=2).stderr)

    def test_results_of_another_request_are_not_taken_for_these(self):
        self.segment()
        file = self.dir / "out" / "tissue" / "summary.json"
        before = file.read_bytes()
        other_model = self.dir / "other.safetensors"
        tiny_files.write_model(other_model, license="another")
        (self.dir / "sub").mkdir()
        same_name = self.dir / "sub" / "tissue.png"
        tiny_files.write_png(same_name, 300, 211, tiny_files.stained)
        shutil.copy(self.image, self.dir / "tissue.jpg")  # recognised by content
        cases = {
            "stride_px": ["--stride", 64], "patch_px": ["--patch", 128, "--stride", 32],
            "another scale (run mpp_x 0.5, now 1)": ["--mpp", 1.0],
            "tissue": ["--tissue", "none"], "sha256": ["-m", other_model],
        }
        for field, flags in cases.items():
            model = [] if "-m" in flags else ["-m", self.model]
            done = self.run_program("segment", self.image, *model, "-o", self.dir / "out", "--slide-mpp", 0.5, *flags,
                                    code=2)
            self.assertIn(field, done.stderr)
            self.assertIn("--overwrite", done.stderr)
            self.assertIn(str(self.dir / "out" / "tissue"), done.stderr)
        self.assertIn("another scale (slide mpp_x 0.5, now 0.51)", self.segment(mpp=0.51, code=2).stderr)
        self.assertIn("bytes", self.segment(slide=same_name, code=2).stderr)
        self.assertIn("file", self.segment(slide=self.dir / "tissue.jpg", code=2).stderr)
        other = self.dir / "other.png"
        shutil.copy(self.image, other)
        done = self.run_program("segment", self.image, other, "-m", self.model, "-o", self.dir / "out", "--slide-mpp", 0.5,
                                "--stride", 64, code=1)  # the other slide is done all the same
        self.assertIn("1 of 2 slides failed", done.stderr)
        self.assertEqual(self.summary(stem="other")["run"]["stride_px"], 64)
        self.assertEqual(file.read_bytes(), before)
        for damaged in (b"", before[:-20], b"[]", b"{}"):
            file.write_bytes(damaged)
            self.assertIn("--overwrite", self.segment(code=2).stderr)
        self.segment("--overwrite")
        self.assertEqual(self.summary()["run"]["stride_px"], 32)

    def test_one_run_at_a_time_writes_to_a_folder(self):
        folder = self.dir / "out" / "tissue"
        folder.mkdir(parents=True)
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        self.assertIn("another run is writing here", self.segment(code=4).stderr)
        self.assertEqual(list(folder.iterdir()), [])
        os.close(held)
        self.segment()
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["mask.tif", "overlay.png", "summary.json"])

    def test_one_bad_slide_does_not_stop_the_others(self):
        other = self.dir / "other.png"
        shutil.copy(self.image, other)
        done = self.run_program("segment", self.broken, other, self.dir / "missing.svs", "-m", self.model, "-o",
                                self.dir / "out", "--slide-mpp", 0.5, code=1)
        self.assertTrue((self.dir / "out" / "other" / "summary.json").exists())
        self.assertIn("2 of 3 slides failed", done.stderr)
        self.assertIn("broken.svs", done.stderr)
        self.assertIn("missing.svs", done.stderr)
        self.assertFalse((self.dir / "out" / "broken").exists())
        self.segment(slide=self.broken, code=3)

    def test_equal_stems_are_refused_before_work_starts(self):
        (self.dir / "sub").mkdir()
        twin = self.dir / "sub" / "tissue.png"
        shutil.copy(self.image, twin)
        done = self.run_program("segment", self.image, twin, "-m", self.model, "-o", self.dir / "out", "--slide-mpp", 0.5,
                                code=2)
        self.assertIn("would both write to", done.stderr)
        self.assertFalse((self.dir / "out").exists())

    def test_refusals_say_what_to_do(self):
        self.assertIn("--slide-mpp X", self.segment(mpp=None, code=3).stderr)
        self.assertIn("multiple of 16", self.segment("--patch", 100, code=2).stderr)
        self.assertIn("255", self.segment("--stride", 1, code=2).stderr)
        self.assertIn("levels 0 to 0", self.segment("--level", 3, code=2).stderr)
        self.assertIn("0.5", self.segment("--mpp", 1e-7, code=2).stderr)
        nameless = self.dir / "nameless.safetensors"
        tiny_files.write_model(nameless, spacing_um_px=None)
        done = self.run_program("segment", self.image, "-m", nameless, "-o", self.dir / "out", "--slide-mpp", 0.5, code=2)
        self.assertIn("give --mpp X", done.stderr)
        self.run_program("segment", self.image, "-m", self.image, "-o", self.dir / "out", code=3)
        blocked = self.dir / "file"
        blocked.write_text("")
        self.segment(out="file/below", code=4)
        for done in (self.segment(mpp=None, code=3), self.segment(slide=self.broken, code=3)):
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertTrue(done.stderr.startswith("microtome: "), done.stderr)

    def test_interruption_leaves_nothing_half_done(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            big = self.dir / "big.png"
            tiny_files.write_png(big, 900, 700, tiny_files.stained)
            run = subprocess.Popen([PROGRAM, "segment", big, "-m", self.model, "-o", self.dir / "out", "--slide-mpp", "0.5",
                                    "--stride", "8", "-j", "2"], stderr=subprocess.PIPE, text=True)
            while not (self.dir / "out" / "big").exists():
                self.assertIsNone(run.poll(), "the run ended before it could be interrupted")
                time.sleep(0.01)
            time.sleep(0.3)  # past the tissue, among the patches
            run.send_signal(number)
            rest = run.stderr.read()
            self.assertEqual(run.wait(timeout=60), code)
            self.assertIn("interrupted", rest)
            self.assertNotIn("segment 100 %", rest)
            run.stderr.close()
            self.assertFalse((self.dir / "out" / "big").exists())

    # --- info and doctor ---------------------------------------------------------------------------------

    def test_info(self):
        text = self.run_program("info", self.image).stdout
        self.assertIn("size 300 x 210 px", text)
        self.assertIn("--slide-mpp", text)
        slide = json.loads(self.run_program("info", self.image, "--json").stdout)
        self.assertEqual((slide["kind"], slide["width_px"], slide["mpp_x"], len(slide["levels"])), ("slide", 300, None, 1))
        model = json.loads(self.run_program("info", self.model, "--json").stdout)
        shapes = tiny_files.resunet_shapes(4)
        learned = [s for n, s in shapes.items() if not n.endswith(("running_mean", "running_var"))]
        self.assertEqual(model["parameters"], sum(s[0] * (s[1] * s[2] * s[3] if len(s) == 4 else 1) for s in learned))
        self.assertEqual(model["sha256"], hashlib.sha256(self.model.read_bytes()).hexdigest())
        self.assertEqual((model["architecture"], model["base_filters"], model["norm_before_down"]), ("resunet", 4, True))
        text = self.run_program("info", self.model).stdout
        self.assertIn("nucleus #ff0000", text)
        self.assertIn("spacing 0.5 um/px", text)
        self.run_program("info", self.broken, code=3)
        self.run_program("info", self.dir / "missing", code=3)
        self.run_program("info", self.dir, code=3)

    def test_info_prints_no_control_characters(self):
        model = self.dir / "escape.safetensors"
        tiny_files.write_model(model, license="\x1b[31mred\nline")
        self.assertNotIn("\x1b", self.run_program("info", model).stdout)
        self.assertEqual(json.loads(self.run_program("info", model, "--json").stdout)["license"], "\x1b[31mred\nline")

    def test_doctor(self):
        report = json.loads(self.run_program("doctor", "--json", "-m", self.model).stdout)
        self.assertIn(report["isa"], report["available_isas"])
        self.assertGreaterEqual(report["cpus"], 1)
        self.assertEqual(len(report["model"]["layers"]), 32)
        self.assertEqual(set(report["kernels"].values()), {report["isa"]})
        text = self.run_program("doctor").stdout
        self.assertIn("memory", text)
        forced = self.run_program("doctor", env={"MICROTOME_ISA": "baseline"}).stdout
        self.assertIn("chosen: baseline", forced)
        bad = self.run_program("doctor", env={"MICROTOME_ISA": "bogus"}, code=2).stdout
        self.assertIn("problem: ", bad)
        self.assertIn("unset MICROTOME_ISA", bad)
        self.run_program("doctor", "-m", self.broken, code=3)


if __name__ == "__main__":
    unittest.main()
