"""Inputs and requests made to hang, to exhaust memory, to overwrite files or to write to the terminal.

    test_hostile.py PROGRAM [unittest arguments]
"""
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
MEBI = 1 << 20


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-hostile-"))
        cls.model = cls.shared / "tiny.safetensors"
        tiny_files.write_model(cls.model)
        cls.image = cls.shared / "tissue.png"
        tiny_files.write_png(cls.image, 300, 210, tiny_files.stained)
        cls.sparse = cls.shared / "sparse.tif"  # 4 terapixels in a megabyte
        tiny_files.write_sparse_tiff(cls.sparse, 1 << 21, 1 << 21, 8192)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))

    def start(self, *args):
        run = subprocess.Popen([PROGRAM, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        self.addCleanup(run.stdout.close)
        self.addCleanup(run.stderr.close)
        return run

    def run_program(self, *args, code, timeout=60):
        run = self.start(*args)
        out, err = run.communicate(timeout=timeout)
        self.assertEqual(run.returncode, code, f"{args}\n{out}\n{err}")
        if code != 0:
            errors = [line for line in err.splitlines() if ": warning: " not in line]
            self.assertEqual((len(errors), err[:11]), (1, "microtome: "), err)
        return out + err

    def segment(self, slide, *args, code, out="out"):
        return self.run_program("segment", slide, "-m", self.model, "-o", self.dir / out, *args, code=code)

    # --- hangs -------------------------------------------------------------------------------------------

    def test_a_pipe_is_refused(self):
        pipe = self.dir / "pipe.tif"
        os.mkfifo(pipe)
        for args in (["info", pipe], ["region", pipe, "--hash"], ["evaluate", pipe, self.image],
                     ["evaluate", self.image, pipe], ["segment", pipe, "-m", self.model, "-o", self.dir / "out"],
                     ["segment", self.image, "-m", pipe, "-o", self.dir / "out"]):
            self.assertIn("not a regular file", self.run_program(*args, code=3, timeout=20))

    def interrupt(self, *flags):
        run = self.start("segment", self.sparse, "-m", self.model, "-o", self.dir / "out", "--slide-mpp", 0.25, *flags)
        while not (self.dir / "out" / "sparse").exists():
            self.assertIsNone(run.poll(), "the run ended before it could be interrupted")
            time.sleep(0.01)
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        _, err = run.communicate(timeout=60)
        self.assertLess(time.monotonic() - begin, 4.0)
        self.assertEqual(run.returncode, 143)
        self.assertIn("interrupted", err)
        self.assertFalse((self.dir / "out" / "sparse").exists())

    def test_a_huge_empty_slide_can_be_interrupted_while_tissue_is_sought(self):
        self.interrupt("-j", 1, "--patch", 256, "--stride", 256)

    def test_a_huge_empty_slide_can_be_interrupted_within_one_patch(self):
        self.interrupt("-j", 1, "--mpp", 256, "--patch", 256, "--tissue", "none")

    # --- memory ------------------------------------------------------------------------------------------

    def test_a_wrong_pixel_size_is_no_reason_to_plan_2_to_the_42_patches(self):
        message = self.segment(self.sparse, "--slide-mpp", 31, code=3)
        self.assertIn("sparse.tif: mpp: ", message)
        self.assertIn("31 um/px", message)
        self.assertFalse((self.dir / "out").exists())

    def test_wide_masks_are_compared_in_little_memory(self):
        wide = self.dir / "wide.tif"
        tiny_files.write_sparse_tiff(wide, 1 << 26, 8, samples=1)
        run = self.start("evaluate", wide, wide)
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(run.returncode, 0, run.stderr.read())
        self.assertIn(str(8 << 26), run.stdout.read())
        self.assertLess(used.ru_maxrss * 1024, 256 * MEBI)

    # --- requests ----------------------------------------------------------------------------------------

    def test_outputs_do_not_replace_inputs(self):
        mask = self.dir / "mask" / "mask.tif"
        mask.parent.mkdir()
        self.segment(self.image, "--slide-mpp", 0.5, code=0)
        shutil.copy(self.dir / "out" / "tissue" / "mask.tif", mask)
        image = self.dir / "image.png"
        shutil.copy(self.image, image)
        link = self.dir / "link.png"
        link.symlink_to(image)
        weights = self.dir / "image" / "overlay.png"
        weights.parent.mkdir()
        shutil.copy(self.model, weights)
        before = [f.read_bytes() for f in (mask, image, weights)]
        for args in (["segment", mask, "-m", self.model, "-o", self.dir, "--slide-mpp", 0.5, "--overwrite"],
                     ["segment", image, "-m", weights, "-o", self.dir, "--slide-mpp", 0.5],
                     ["region", image, "-o", image], ["region", image, "-o", link], ["region", link, "-o", image],
                     ["evaluate", mask, image, "--json", mask], ["evaluate", mask, image, "--json", link]):
            message = self.run_program(*args, code=2)
            self.assertRegex(message, "--output|--json")
        self.assertEqual([f.read_bytes() for f in (mask, image, weights)], before)
        self.assertEqual([p.name for p in mask.parent.iterdir()], ["mask.tif"])

    def test_a_synthetic_slide_replaces_nothing_unasked(self):
        slide, truth = self.dir / "new.tif", self.dir / "new.truth.tif"
        synth = ["synth", "-q", "--width", 64, "--height", 64, "-o", slide]
        for existing in (slide, truth):
            existing.write_bytes(b"mine")
            self.assertIn(f"'{existing}' exists", self.run_program(*synth, code=2))
            self.assertEqual([f.read_bytes() for f in (slide, truth) if f.exists()], [b"mine"])
            existing.unlink()
        self.run_program(*synth, code=0)
        first = slide.read_bytes()
        self.run_program(*synth, "--seed", 2, code=2)
        self.assertEqual(slide.read_bytes(), first)
        self.run_program(*synth, "--seed", 2, "--overwrite", code=0)
        self.assertNotEqual(slide.read_bytes(), first)

    def test_an_empty_output_is_not_the_root(self):
        for args in (["segment", self.image, "-m", self.model, "--slide-mpp", 0.5], ["region", self.image], ["synth"]):
            self.assertRegex(self.run_program(*args, "-o", "", code=2), "output|-o")

    def test_numbers_that_are_none(self):
        for value in ("nan", "inf", "-1", "0", "x"):
            for flag in ("--slide-mpp", "--mpp"):
                self.run_program("segment", self.image, "-m", self.model, "-o", self.dir / "out", f"{flag}={value}", code=2)
        self.assertFalse((self.dir / "out").exists())

    def test_names_write_no_control_characters(self):
        model = self.dir / "model\x1b[1m.safetensors"
        tiny_files.write_model(model, class_names='["background","nuc\\u001b[31mleus\\u009b1m"]')
        slide = self.dir / "a\x1b[31m\r\x9b1mb.png"
        tiny_files.write_png(slide, 640, 400, tiny_files.stained)
        args = ["segment", slide, "-m", model, "-o", self.dir / "out", "--slide-mpp", 0.5]
        printed = self.run_program(*args, code=0)
        self.assertIn("a?[31m???1mb.png", printed)
        self.assertIn("nuc?[31mleus", printed)
        printed += self.run_program(*args, code=0)  # finished earlier
        self.assertIn("left alone", printed)
        printed += self.run_program(*args, "--stride", 48, code=2)  # holds other results
        printed += self.run_program("info", slide, code=0) + self.run_program("info", model, code=0)
        folder = self.dir / "out" / slide.stem
        printed += self.run_program("evaluate", folder / "mask.tif", folder / "mask.tif", code=0)
        printed += self.run_program("region", slide, "-o", slide, code=2)
        for c in printed:
            self.assertTrue(c == "\n" or " " <= c < "\x7f" or c >= "\xa0", repr(printed))


if __name__ == "__main__":
    unittest.main()
