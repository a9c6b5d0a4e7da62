"""What tools/export_onnx.py refuses, and how it and tools/import_onnx.py treat their inputs and outputs."""

import json
import os
import resource
import sys
import tracemalloc
import unittest
from unittest import mock

try:
    import numpy as np
    import onnx
    from google.protobuf.message import EncodeError
    from onnx import TensorProto, numpy_helper
except ImportError as missing:
    print(f"test_onnx_files: {missing.name} is not installed")
    sys.exit(77)

from onnx_case import Case, export_onnx, hash_tensors, import_onnx, safetensors_io


class ExportRefusals(Case):
    def refused(self, tensors, facts, text, *flags):
        source = self.folder / "bad.safetensors"
        if isinstance(tensors, bytes):
            source.write_bytes(tensors)
        else:
            safetensors_io.save(source, tensors, facts)
        code, _, err = self.run_tool(export_onnx, source, self.model, *flags)
        self.assertEqual((code, err.count("\n")), (3, 1), err)
        self.assertIn(text, err)
        self.assertFalse(self.model.exists())

    def test_models(self):
        tensors = hash_tensors("resunet", "new", 3, 2, 2, 2)
        facts = {"architecture": "resunet"}

        def array(value, dtype="F32"):
            return safetensors_io.from_array(np.array(value), dtype)

        for name, value, text in (
            ("ins.conv0.weight", None, "tensor ins.conv0.weight is missing"),
            ("de_2.in_1.bias", None, "tensor de_2.in_1.bias is missing"),
            ("de_2.in_1.bias", array(np.zeros(5, np.float32)), "tensor de_2.in_1.bias has shape [5], [8] expected"),
            ("de_2.in_1.bias", array(np.full(8, np.inf, np.float32)), "tensor de_2.in_1.bias holds a value"),
            ("de_2.in_1.bias", array(np.zeros(8, np.int64), "I64"), "is of type I64; F32, F16 or BF16"),
            ("ins.conv0.weight", array(np.zeros(8, np.float32)), "not a convolution"),
            ("more.conv0.bias", array(np.zeros(8, np.float32)), "tensor more.conv0.bias is not part of"),
            ("more.num_batches_tracked", array(np.zeros((), np.int64), "I64"), "is not part of"),
        ):
            with self.subTest(text):
                changed = {k: v for k, v in {**tensors, name: value}.items() if v is not None}
                self.refused(changed, facts, text)
        for change, text in (
            ({"architecture": "vgg"}, "states no architecture"),
            ({"final_layer": "tanh"}, "final_layer 'tanh'"),
            ({"sigmoid_input_multiplier": "x"}, "sigmoid_input_multiplier is not a number"),
            ({"normalization": "[]"}, "normalization is not a rule"),
            ({"normalization": "[" * 100000}, "normalization is not a rule"),
            ({"normalization": '{"kind":"odd"}'}, "normalization is not a rule"),
        ):
            with self.subTest(text):
                self.refused(tensors, {**facts, **change}, text)
        self.refused(tensors, {}, "states no architecture")
        self.refused(tensors, facts, "--size takes 2 numbers", "--size", "32")

    def test_files(self):
        source = self.folder / "good.safetensors"
        safetensors_io.save(source, hash_tensors("resunet", "new", 3, 2, 2, 2), {"architecture": "resunet"})
        data = source.read_bytes()
        for size in (0, 7, 8, 100, 5000, len(data) - 1):
            self.refused(data[:size], {}, "")
        for before, after in (
            (b'"F32"', b'"F33"'),
            (b'"shape":[2,3,3,3]', b'"shape":[2,3,3,9]'),
            (b'"resunet"', b'"\\ud800e"'),
        ):
            self.assertIn(before, data)
            self.refused(data.replace(before, after, 1), {}, "is not a usable safetensors file")
        self.refused(b"\xff" * 8 + data[8:], {}, "header of 18446744073709551615 bytes")

    def test_overlap_and_holes(self):
        def file(size, *spans):
            header = {
                f"t{i}": {"dtype": "U8", "shape": [e - b], "data_offsets": [b, e]} for i, (b, e) in enumerate(spans)
            }
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + b"\1" * size

        for spans, text in (
            ([(0, 8), (0, 8)], "tensor t1 begins at 0, 8 expected"),
            ([(0, 5), (4, 8)], "tensor t1 begins at 4, 5 expected"),
            ([(5, 8), (0, 4)], "tensor t0 begins at 5, 4 expected"),
            ([(1, 8)], "tensor t0 begins at 1, 0 expected"),
            ([(0, 7)], "8 bytes of data, 7 of them in tensors"),
            ([], "8 bytes of data, 0 of them in tensors"),
        ):
            with self.subTest(text):
                self.refused(file(8, *spans), {}, text)
        good = self.folder / "any.safetensors"
        good.write_bytes(file(8, (4, 8), (4, 4), (0, 4)))
        self.assertEqual([len(t.data) for t in safetensors_io.read(good)[0].values()], [4, 0, 4])
        size = 2**20
        good.write_bytes(file(size, *[(0, size)] * 300))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with self.assertRaisesRegex(ValueError, "no overlap"):
            safetensors_io.read(good)
        self.assertLess(tracemalloc.get_traced_memory()[1], 4 * size)

    def test_usage(self):
        for tool in (export_onnx, import_onnx):
            code, out, _ = self.run_tool(tool, "x", "y", "--help")
            self.assertEqual(code, 0)
            self.assertIn("examples:", out)
            self.assertIn("exit codes:", out)
        for flags in (["--opset", "10"], ["--size", "100", "100"], ["--size", "0", "16"]):
            self.assertEqual(self.run_tool(export_onnx, "x", "y", *flags)[0], 2)
        for source in (self.folder / "absent", self.folder):
            for tool in (export_onnx, import_onnx):
                code, _, err = self.run_tool(tool, source, self.folder / "result")
                self.assertEqual((code, err.count("\n")), (3, 1), err)


class Outputs(Case):
    def setUp(self):
        super().setUp()
        self.original = self.folder / "original.safetensors"
        self.net = self.small()  # leaves original.safetensors and model.onnx behind
        self.config = self.folder / "c.json"
        self.config.write_text('{"data_preprocessing": {}}')

    def kept(self, code, text, tool, source, output, *flags):
        """Refused, and no file of the folder is changed, made or lost."""
        before = {path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        got, _, err = self.run_tool(tool, source, output, *flags)
        self.assertEqual((got, err.count("\n")), (code, 1), err)
        self.assertIn(text, err)
        self.assertEqual({path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}, before)

    def test_inputs_are_not_overwritten(self):
        os.symlink(self.model, self.folder / "link")
        os.link(self.original, self.folder / "twin")
        text = "would overwrite an input file"
        (self.folder / "inside").mkdir()
        for output in (self.model, self.folder / "inside" / ".." / "model.onnx", self.folder / "link"):
            self.kept(2, text, import_onnx, self.model, output)
        self.kept(2, text, import_onnx, self.folder / "link", self.model)
        self.kept(2, text, import_onnx, self.model, self.config, "--config", str(self.config))
        for output in (self.original, self.folder / "twin"):
            self.kept(2, text, export_onnx, self.original, output)
        partial = self.folder / ".x.part"
        partial.write_bytes(self.original.read_bytes())
        self.kept(2, text, export_onnx, partial, self.folder / "x")

    def test_external_data_is_not_overwritten(self):
        data = self.folder / "weights.bin"
        for name in ("ins.conv0.bias", "unused"):  # whether anything reads it or not
            with self.subTest(name):
                model = onnx.ModelProto()
                model.CopyFrom(self.net)
                model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float32), "unused"))
                (tensor,) = (t for t in model.graph.initializer if t.name == name)
                data.write_bytes(tensor.raw_data)
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value=data.name)
                self.model.write_bytes(model.SerializeToString())
                flags = ["--normalization", "div255"]
                self.kept(2, "would overwrite an input file", import_onnx, self.model, data, *flags)
                self.done(import_onnx, self.model, self.output, *flags)

    def test_failed_writes_leave_nothing(self):
        def limit(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(limit, soft)
        target = self.folder / "result"
        for tool, source in ((export_onnx, self.original), (import_onnx, self.model)):
            flags = ["--normalization", "div255"] if tool is import_onnx else []
            limit(4096)  # what a full disk does, more or less
            self.kept(4, f"{target}: ", tool, source, target, *flags)
            limit(soft)
            self.kept(4, "No such file", tool, source, self.folder / "absent" / "result", *flags)
            self.kept(4, "", tool, source, self.folder, *flags)
            self.done(tool, source, target, *flags)

    def test_too_large_for_onnx(self):
        size = self.model.stat().st_size
        weights = sum(len(t.raw_data) for t in self.net.graph.initializer)
        flags = ["--size", "16", "32"]
        for most in (weights - 1, weights, size - 1):
            with self.subTest(most=most), mock.patch.object(export_onnx, "FILE_LIMIT", most):
                self.kept(3, "is too large for ONNX", export_onnx, self.original, self.folder / "result", *flags)
        with mock.patch.object(export_onnx, "FILE_LIMIT", size):
            self.done(export_onnx, self.original, self.folder / "result", *flags)
        for error in (ValueError, EncodeError):
            model = mock.Mock()
            model.SerializeToString.side_effect = error("too large")
            with self.assertRaisesRegex(export_onnx.Refused, "is too large for ONNX"):
                export_onnx.serialize(model)


if __name__ == "__main__":
    unittest.main()
