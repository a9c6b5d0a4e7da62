"""A 100,000 x 100,000 pixel slide within a memory budget; peak memory against that of a slide of 1/25 the area.

    huge_slide.py PROGRAM

Two minutes or more, so it carries the ctest label "full". The budget must hold by the process's own peak (VmHWM), and
the peak of the large slide may exceed that of the small one by the tile tables only.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
BUDGET = 512 << 20


class HugeSlide(unittest.TestCase):
    def peak_of(self, folder, side):
        slide = folder / f"s{side}.tif"
        size = ["--width", str(side), "--height", str(side)]
        subprocess.run([PROGRAM, "synth", "-q", "-o", slide, *size, "--tissue", "0.002", "--seed", "3"], check=True)
        subprocess.run([PROGRAM, "segment", "-q", slide, "-m", folder / "tiny.safetensors", "-o", folder / "out",
                        "--max-memory", "512M", "-j", "2"], check=True)
        summary = json.loads((folder / "out" / slide.stem / "summary.json").read_text())
        self.assertEqual(summary["mask"]["width_px"], side // 2)  # 0.25 um/px slide, 0.5 um/px model
        self.assertGreater(summary["run"]["patches_run"], 0)
        slide.unlink()
        return summary["performance"]["peak_memory_bytes"]

    def test_memory_does_not_follow_the_slide(self):
        with tempfile.TemporaryDirectory(prefix="microtome-huge-") as name:
            folder = pathlib.Path(name)
            tiny_files.write_model(folder / "tiny.safetensors", patch_size_pixels="512", stride_pixels="512")
            small, large = self.peak_of(folder, 20000), self.peak_of(folder, 100000)
            print(f"peak memory: {small >> 20} MiB at 20,000 px, {large >> 20} MiB at 100,000 px")
            self.assertLessEqual(large, BUDGET)
            self.assertLessEqual(large, small + (48 << 20))


if __name__ == "__main__":
    unittest.main()
