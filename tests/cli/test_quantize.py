"""The verb quantize, and what the other verbs make of its files.

    test_quantize.py PROGRAM [unittest arguments]
"""
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import tiny_files

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"


def header(path):
    """The header of a safetensors file: tensors, and metadata."""
    with open(path, "rb") as f:
        tensors = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    return tensors, tensors.pop("__metadata__")


class Quantize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="microtome-quantize-"))
        cls.floats, cls.image = cls.shared / "tiny.safetensors", cls.shared / "tissue.png"
        tiny_files.write_model(cls.floats, license="a licence")
        tiny_files.write_png(cls.image, 150, 100, tiny_files.stained)
        cls.integers = cls.shared / "tiny.int8.safetensors"
        subprocess.run([PROGRAM, "quantize", "-m", cls.floats, "--calibrate", cls.image, "-o", cls.integers, "-q"], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))
        self.output = self.dir / "out.safetensors"

    def run_program(self, *args, code=0, **options):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300,
                              env={**os.environ, "XDG_CACHE_HOME": str(self.dir / "cache")}, **options)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}\n{done.stderr}")
        if code:
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertTrue(done.stderr.startswith("microtome: "), done.stderr)
        return done

    def quantize(self, *args, code=0, model=None, images=None, **options):
        return self.run_program("quantize", "-m", model or self.floats, "--calibrate", images or self.image, "-o", self.output,
                                *args, code=code, **options)

    def refused(self, message, *args, code, **options):
        """Refused with this message, and nothing is left behind."""
        before = sorted(self.dir.rglob("*"))
        self.assertIn(message, self.quantize(*args, code=code, **options).stderr)
        self.assertEqual(sorted(self.dir.rglob("*")), before)

    # --- what is written ---------------------------------------------------------------------------------

    def test_round_trip(self):
        self.assertIn("6 patches of 1 images", self.quantize().stdout)
        self.assertEqual(self.output.read_bytes(), self.integers.read_bytes())
        tensors, facts = header(self.output)
        self.assertEqual(facts["source_sha256"], hashlib.sha256(self.floats.read_bytes()).hexdigest())
        self.assertEqual((facts["quantization"], facts["license"], facts["class_names"]),
                         ("int8", "a licence", '["background","nucleus"]'))
        self.assertEqual(json.loads(facts["calibration"])["patches"], 6)
        types = {name: t["dtype"] for name, t in tensors.items() if name.endswith(".weight")}
        self.assertEqual({t for n, t in types.items() if n != "ins.conv0.weight"}, {"I8"})
        self.assertEqual((types["ins.conv0.weight"], len(types)), ("I16", 32))
        info = json.loads(self.run_program("info", self.output, "--json").stdout)
        float_info = json.loads(self.run_program("info", self.floats, "--json").stdout)
        for key in ("architecture", "base_filters", "classes", "class_names", "class_colors", "gmacs", "spatial_dims"):
            self.assertEqual(info[key], float_info[key], key)
        self.assertTrue(all(l["kernel"].endswith(" i16") for l in info["layers"]))
        self.assertFalse(any(l["kernel"].endswith(" i16") for l in float_info["layers"]))
        self.assertIn("stored as I8", self.run_program("info", self.output).stdout)
        self.assertIn("direct i16", self.run_program("doctor", "-m", self.output).stdout)

    def test_threads_do_not_change_the_file(self):
        for threads in (1, 2):
            self.quantize("-j", threads, "--overwrite")
            self.assertEqual(self.output.read_bytes(), self.integers.read_bytes())

    def test_options_change_the_file(self):
        seen = {self.integers.read_bytes()}
        for args in (["--method", "minmax"], ["--method", "mse"], ["--method", "kl"], ["--percentile", 99], ["--equalize", 0],
                     ["--no-bias-correction"], ["--images", 1]):
            self.quantize(*args, "--overwrite", "-q")
            seen.add(self.output.read_bytes())
        self.assertEqual(len(seen), 8)
        self.assertEqual(json.loads(header(self.output)[1]["calibration"])["patches"], 1)

    def test_folders_of_images(self):
        folder = self.dir / "images"
        folder.mkdir()
        for i in range(3):
            tiny_files.write_png(folder / f"{i}.png", 30 + 16 * i, 33, lambda x, y: tiny_files.stained(x + 50 * i, y))
        (folder / "notes.txt").write_text("ignored")
        self.assertIn("3 patches of 3 images", self.quantize(images=folder).stdout)
        self.assertIn("2 patches of 2 images", self.quantize("--images", 2, "--overwrite", images=folder).stdout)
        self.assertEqual(self.quantize("--overwrite", "-q", images=folder).stdout, "")
        (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:200])
        self.refused("1.png", "--overwrite", images=folder, code=3)

    def test_a_json_file_beside_the_model_is_read_and_its_facts_are_kept(self):
        bare = self.dir / "bare.safetensors"
        tiny_files.write_model(bare, architecture=None, spacing_um_px=None)
        (self.dir / "bare.json").write_text('{"architecture": "resunet", "spacing_um_px": 0.25}')
        self.quantize(model=bare)
        facts = header(self.output)[1]
        self.assertEqual((facts["architecture"], float(facts["spacing_um_px"])), ("resunet", 0.25))

    # --- what is refused ---------------------------------------------------------------------------------

    def test_existing_files(self):
        self.output.write_text("precious")
        self.refused("exists; --overwrite replaces it", code=2)
        self.assertEqual(self.output.read_text(), "precious")
        self.quantize("--overwrite")
        self.assertEqual(self.output.read_bytes(), self.integers.read_bytes())

    def test_inputs_are_not_replaced(self):
        for kept, link in ((self.floats, "model"), (self.image, "image")):
            before = kept.read_bytes()
            self.output = kept
            self.refused("is an input and would be overwritten", "--overwrite", code=2)
            self.output = self.dir / link
            os.link(kept, self.output)
            self.refused("is an input and would be overwritten", "--overwrite", code=2)
            self.assertEqual(kept.read_bytes(), before)

    def test_outputs_that_cannot_be(self):
        folder = self.dir / "folder"
        folder.mkdir()
        for output, message, code in ((folder, "is a directory", 2), (self.dir / "none" / "x", "no such directory", 2),
                                      ("/dev/full", "not a regular file", 4)):
            self.output = output
            self.refused(message, code=code)

    def test_a_full_disk_leaves_no_file(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() then fails instead
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))

        self.refused("cannot write: File too large", code=4, preexec_fn=limit)

    def test_an_interrupted_run_leaves_no_file(self):
        big = self.dir / "big.tif"
        tiny_files.write_sparse_tiff(big, 16384, 16384, tile=256)
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            run = subprocess.Popen([PROGRAM, "quantize", "-m", self.floats, "--calibrate", big, "-o", self.output, "--images",
                                    "100000"], stderr=subprocess.PIPE, text=True)
            time.sleep(1.0)
            self.assertIsNone(run.poll(), "the run ended before it could be interrupted")
            run.send_signal(number)
            begin = time.monotonic()
            rest = run.stderr.read()
            self.assertEqual(run.wait(timeout=60), code)
            self.assertLess(time.monotonic() - begin, 4.0)
            run.stderr.close()
            self.assertIn("interrupted", rest)
            self.assertEqual(list(self.dir.iterdir()), [big])

    def test_models_that_cannot_be_quantized(self):
        model = self.dir / "model.safetensors"
        tiny_files.write_model(model, normalization='{"kind":"zscore_tile"}')
        self.refused("normalization: zscore_tile cannot be quantized", model=model, code=3)
        self.refused("quantization: it is quantized already", model=self.integers, code=3)
        old = tiny_files.resunet_shapes(4)
        for k in range(4):
            old.update({f"ds_{k}.in_0.{p}": [8 << k] for p in ("weight", "bias", "running_mean", "running_var")})
        tiny_files.write_model(model, shapes=old)
        self.run_program("info", model)
        self.refused("ds_0.in_0.weight: networks with the norm behind", model=model, code=3)
        tiny_files.write_model(model, shapes=tiny_files.resunet_shapes(4, channels=4))
        self.refused("input channels", model=model, code=3)
        self.refused("missing", model=self.dir / "missing", code=3)
        self.refused("tissue.png", model=self.image, code=3)
        data = bytearray(self.floats.read_bytes())
        data[-4:] = struct.pack("<f", float("inf"))
        model.write_bytes(data)
        self.assertIn("model.safetensors", self.quantize(model=model, code=3).stderr)
        self.assertFalse(self.output.exists())

    def test_networks_whose_numbers_overflow(self):
        model = self.dir / "model.safetensors"
        tiny_files.write_model(model)
        with open(model, "r+b") as f:
            start = 8 + struct.unpack("<Q", f.read(8))[0]
            begin, end = header(model)[0]["en_1.conv0.weight"]["data_offsets"]
            f.seek(start + begin)
            f.write(struct.pack("<f", 3e38) * ((end - begin) // 4))
        self.refused("the network gave a value that is not a number", model=model, code=3)

    def test_images_that_cannot_be_used(self):
        (self.dir / "empty").mkdir()
        broken = self.dir / "broken.png"
        broken.write_bytes(self.image.read_bytes()[:300])
        text = self.dir / "text.png"
        text.write_text("no image")
        for images, message in ((self.dir / "missing", "no such file"), (self.dir / "empty", "holds no file of a known kind"),
                                (broken, "broken.png"), (text, "text.png"), (self.floats, "not a slide")):
            self.refused(message, images=images, code=3)

    def test_numbers_that_are_none(self):
        for flag, values in (("--percentile", ("nan", "inf", 49, 101, "x")), ("--equalize", ("nan", -0.1, 1.1, "")),
                             ("--images", (0, -1, "x", 1e9)), ("--method", ("best", ""))):
            for value in values:
                self.refused(flag, f"{flag}={value}", code=2)
        for missing in (["-m", self.floats, "--calibrate", self.image], ["-m", self.floats, "-o", self.output],
                        ["--calibrate", self.image, "-o", self.output]):
            self.run_program("quantize", *missing, code=2)

    # --- the other verbs ---------------------------------------------------------------------------------

    def test_segment_and_evaluate(self):
        masks = {}
        for model, threads in ((self.integers, 1), (self.integers, 2), (self.floats, 2)):
            out = self.dir / f"{model.stem}-{threads}"
            self.run_program("segment", self.image, "-m", model, "-o", out, "--slide-mpp", 0.5, "-j", threads)
            masks[model, threads] = (out / "tissue" / "mask.tif").read_bytes()
        self.assertEqual(masks[self.integers, 1], masks[self.integers, 2])
        truth, report = self.dir / "tissue.png", self.dir / "report.json"
        tiny_files.write_png(truth, 150, 100, lambda x, y: (0, 0, 0))
        for model, precision in ((self.floats, "fp32"), (self.integers, "int8")):
            self.run_program("evaluate", "-m", model, "--images", self.image, "--masks", truth, "--json", report,
                             "--save-masks", self.dir / precision)
            truth = self.dir / "fp32" / "tissue.png"  # the second model is compared with the first
            result = json.loads(report.read_text())
            self.assertEqual(result["precision"], precision)
        self.assertGreater(result["pooled"]["nucleus"]["dice"], 0.9)

    def test_precision_must_be_the_files(self):
        segment = ["segment", self.image, "-o", self.dir / "out", "--slide-mpp", 0.5]
        evaluate = ["evaluate", "--images", self.image, "--masks", self.image]
        for verb in (segment, evaluate):
            for model, precision, message in ((self.integers, "fp32", "is an int8 file; give the one it was made from"),
                                              (self.floats, "int8", "holds floats: microtome quantize makes an int8 file")):
                done = self.run_program(*verb, "-m", model, "--precision", precision, code=2)
                self.assertIn(message, done.stderr)
        self.assertFalse((self.dir / "out").exists())
        self.run_program(*segment, "-m", self.integers, "--precision", "int8")

    def test_bench_and_tune(self):
        report = self.dir / "bench.json"
        self.run_program("bench", "-m", self.integers, "--size", 64, "--runs", 1, "--ablate", "--json", report)
        r = json.loads(report.read_text())
        self.assertEqual([row["without"] for row in r["ablation"]], ["winograd", "depth-first"])
        self.assertEqual({row["largest_difference"] for row in r["ablation"]}, {0})
        kernels = lambda *args: {l["name"]: l["kernel"] for l in json.loads(
            self.run_program("info", self.integers, "--json", *args).stdout)["layers"]}
        before = kernels()
        self.assertIn("written to", self.run_program("tune", "-m", self.integers, "--runs", 1).stdout)
        (file,) = (self.dir / "cache" / "microtome" / "tune").iterdir()
        content = json.loads(file.read_text())
        for layers, message in (({"ins.conv0": "winograd4"}, "winograd4"), ({"en_2.conv0": "winograd6"}, "winograd6"),
                                ({"out.conv0": "head"}, "head"), ({"out.conv0": "winograd4"}, "winograd4")):
            file.write_text(json.dumps({**content, "layers": layers}))
            done = self.run_program("info", self.integers, "--json")
            self.assertIn("warning: tuning ignored", done.stderr)
            self.assertIn(message, done.stderr)
        file.write_text(json.dumps({**content, "layers": {"en_2.conv0": "direct", "ins.conv1": "winograd4"}}))
        self.assertEqual(kernels(), {**before, "en_2.conv0": "direct i16", "ins.conv1": "winograd4 i16"})
        self.assertEqual(kernels("--no-tune"), before)

    def test_damaged_files_are_refused(self):
        whole = self.integers.read_bytes()
        damaged = self.dir / "damaged.safetensors"
        start = 8 + struct.unpack("<Q", whole[:8])[0]
        places = {name: start + t["data_offsets"][0] for name, t in header(self.integers)[0].items()}
        for name, value in (("en_1.conv0.multiplier", struct.pack("<f", float("nan"))), ("ds_0.conv0.weight", b"\x80"),
                            ("us_0.conv0.input_zero_point", b"\1"), ("de_0.conv0.source0.multiplier", bytes(4)),
                            ("out.conv0.bias", struct.pack("<i", 1 << 30))):
            at = places[name]
            damaged.write_bytes(whole[:at] + value + whole[at + len(value):])
            for verb in (["info", damaged], ["bench", "-m", damaged, "--size", 64, "--runs", 1],
                         ["segment", self.image, "-m", damaged, "-o", self.dir / "out", "--slide-mpp", 0.5]):
                self.assertIn(f"damaged.safetensors: {name}: ", self.run_program(*verb, code=3).stderr)
        damaged.write_bytes(whole[:-100])
        self.run_program("info", damaged, code=3)

    def test_converters_refuse_integers(self):
        for module in ("onnx", "numpy"):
            if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
                self.skipTest(f"{module} is not installed")
        done = subprocess.run([sys.executable, TOOLS / "export_onnx.py", self.integers, "-o", self.dir / "x.onnx"],
                              capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (3, 1), done.stderr)
        self.assertIn("it is quantized", done.stderr)
        self.assertFalse((self.dir / "x.onnx").exists())


if __name__ == "__main__":
    unittest.main()
