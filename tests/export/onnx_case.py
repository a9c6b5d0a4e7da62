"""What the ONNX tests share: networks with known weights, and a folder to convert them in."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import export_onnx  # noqa: E402
import import_onnx  # noqa: E402
import safetensors_io  # noqa: E402
from gandlf_graph import state_dict_order, walk  # noqa: E402


class Shapes:
    """Collects the tensors' shapes from gandlf_graph.walk."""

    def __init__(self, architecture, topology, channels, classes, base, rank):
        self.base, self.classes, self.rank = base, classes, rank
        self.residual, self.new, self.found = architecture == "resunet", topology == "new", {}
        walk(self, channels)

    def conv(self, name, x, channels, kernel, stride):
        self.found[f"{name}.weight"] = [channels, x] + [kernel] * self.rank
        self.found[f"{name}.bias"] = [channels]
        return channels

    def norm(self, name, x):
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.found[f"{name}.{part}"] = [x]
        self.found[f"{name}.num_batches_tracked"] = []
        return x

    def up(self, name, x, channels):
        return self.conv(name, x, channels, 1, 1)

    def concat(self, x, y):
        return x + y

    def norm_before_down(self, x):
        return self.new

    def act(self, x):
        return x

    def add(self, x, y):
        return x

    final = act


def hash_uniform(number, count):
    """The numbers of tests/models/make_fixtures.py."""
    mask = 0xFFFFFFFF
    h = (np.arange(count, dtype=np.uint64) * 0x9E3779B1 + number * 0x85EBCA77) & mask
    h ^= h >> 15
    h = (h * 0x2C1B3C6D) & mask
    h ^= h >> 12
    h = (h * 0x297A2D39) & mask
    h ^= h >> 15
    return h / 2.0**32


def hash_tensors(*network):
    """{name: Stored}, in the order and with the values of tests/models/make_fixtures.py."""
    shapes, tensors = Shapes(*network).found, {}
    for number, name in enumerate(state_dict_order(shapes)):
        shape = shapes[name]
        if not shape:
            tensors[name] = safetensors_io.from_array(np.array(number), "I64")
            continue
        u = hash_uniform(number, int(np.prod(shape)))
        if name.endswith("running_var"):
            u = 0.5 + u
        elif name.endswith(("running_mean", "bias")):
            u = (u - 0.5) * 0.2
        elif len(shape) == 1:
            u = 0.5 + u
        else:
            u = (u - 0.5) * 2.0 * (3.0 / np.prod(shape[1:])) ** 0.5
        tensors[name] = safetensors_io.from_array(u.astype(np.float32).reshape(shape), "F32")
    return tensors


def seen_by_network(fixture, facts):
    """The network's input, and the stored result as the network lays it out."""
    result = safetensors_io.to_array(fixture["probabilities"])
    if "input" in fixture:
        return safetensors_io.to_array(fixture["input"])[None], result[None]
    image = np.frombuffer(fixture["image"].data, np.uint8).reshape(fixture["image"].shape).transpose(2, 0, 1)
    rule = json.loads(facts["normalization"])
    x = image.astype(np.float64)
    if rule["kind"] == "zscore_tile":
        x = (x - x.mean()) / x.std(ddof=1)
    elif rule["kind"] != "none":
        x = x / 255
    if rule["kind"] == "mean_std":
        x = (x - np.reshape(rule["mean"], (-1, 1, 1))) / np.reshape(rule["std"], (-1, 1, 1))
    if facts["axis_order"] == "wh":
        x, result = x.transpose(0, 2, 1), result.transpose(0, 2, 1)
    return x[None], result[None]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model, self.output = self.folder / "model.onnx", self.folder / "imported.safetensors"

    def run_tool(self, tool, source, output, *flags):
        """(exit code, stdout, stderr)"""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = tool.main([str(source), "-o", str(output), *flags])
            except SystemExit as stop:
                code = stop.code
        return code, out.getvalue(), err.getvalue()

    def done(self, *args):
        code, out, err = self.run_tool(*args)
        self.assertEqual((code, err), (0, ""))
        return out

    def exported(self, tensors, facts, *flags):
        """The ModelProto of a network; its safetensors file is original.safetensors."""
        original = self.folder / "original.safetensors"
        safetensors_io.save(original, tensors, facts)
        self.done(export_onnx, original, self.model, *flags)
        return onnx.load(str(self.model))

    def small(self, architecture="resunet", topology="new", final="softmax", opset=17, rank=2):
        """A small network as ModelProto, without the metadata that a foreign file lacks."""
        tensors = hash_tensors(architecture, topology, 3, 2, 2, rank)
        facts = {"architecture": architecture, "final_layer": final}
        if final == "sigmoid":
            facts["sigmoid_input_multiplier"] = "2.5"
        sides = ["16", "32"] if rank == 2 else ["16", "16", "32"]
        model = self.exported(tensors, facts, "--opset", str(opset), "--size", *sides)
        del model.metadata_props[:]
        return model

    def imported(self, model, *flags):
        self.model.write_bytes(model.SerializeToString())
        self.done(import_onnx, self.model, self.output, "--normalization", "div255", *flags)
        return safetensors_io.read(self.output)

    def same_tensors(self, tensors):
        expected, _ = safetensors_io.read(self.folder / "original.safetensors")
        for name, stored in expected.items():
            if not name.endswith("num_batches_tracked"):
                self.assertEqual(tensors[name], stored, name)
        self.assertEqual(list(tensors), list(expected))

    def refused(self, model, text, *flags):
        """`model`: a ModelProto or the bytes of a file."""
        self.model.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        code, _, err = self.run_tool(import_onnx, self.model, self.output, "--normalization", "div255", *flags)
        self.assertEqual(code, 3, err)
        self.assertIn(text, err)
        self.assertEqual(err.count("\n"), 1, "one line")
        self.assertFalse(self.output.exists())


def find(model, name):
    (node,) = (n for n in model.graph.node if n.name == name)
    return node


def attribute(node, name):
    (a,) = (a for a in node.attribute if a.name == name)
    return a


def weights(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def replace_nodes(model, nodes):
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def rewire(model, old, new, keep=()):
    for node in model.graph.node:
        if node.name not in keep:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new
