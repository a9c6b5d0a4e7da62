"""tools/export_onnx.py and tools/import_onnx.py without PyTorch: round trips, the fixtures of tests/models, the
forms that exporters give a graph, refusals and hostile files."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, checker, helper, numpy_helper
except ImportError as missing:
    print(f"test_onnx: {missing.name} is not installed")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).resolve().parent)]
import export_onnx  # noqa: E402
import import_onnx  # noqa: E402
import safetensors_io  # noqa: E402
from gandlf_graph import state_dict_order, walk  # noqa: E402
from onnx_eval import evaluate  # noqa: E402


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

    def same_tensors(self, tensors, but=()):
        expected, _ = safetensors_io.read(self.folder / "original.safetensors")
        for name, stored in expected.items():
            if not name.endswith("num_batches_tracked") and name not in but:
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


# ---- the forms that exporters give a graph -------------------------------------------------------------


def fold_norms(model):
    """As torch.onnx does: a norm whose input is a convolution that nobody else reads goes into it."""
    arrays, nodes = weights(model), list(model.graph.node)
    for norm in [n for n in nodes if n.op_type == "BatchNormalization"]:
        makers = [n for n in nodes if norm.input[0] in n.output and n.op_type == "Conv"]
        readers = [n for n in nodes if norm.input[0] in n.input]
        if not makers or len(readers) != 1:
            continue
        (conv,) = makers
        weight, bias, mean, var = (arrays[name] for name in norm.input[1:])
        scale = weight / np.sqrt(var + 1e-5)
        kernel = arrays[conv.input[1]]
        arrays[conv.input[1]] = (kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))).astype(np.float32)
        arrays[conv.input[2]] = ((arrays[conv.input[2]] - mean) * scale + bias).astype(np.float32)
        conv.output[0] = norm.output[0]
        nodes.remove(norm)
        for name in norm.input[1:]:
            del arrays[name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in arrays.items())
    replace_nodes(model, nodes)


def enlarge_first(model):
    """GaNDLF's own order: resize, then 1x1 convolution."""
    nodes = list(model.graph.node)
    for i, (conv, resize) in enumerate(zip(nodes, nodes[1:])):
        if resize.op_type == "Resize":
            source, middle, end = conv.input[0], conv.output[0], resize.output[0]
            resize.input[0], resize.output[0] = source, middle
            conv.input[0], conv.output[0] = middle, end
            nodes[i], nodes[i + 1] = resize, conv
    replace_nodes(model, nodes)


def anonymous_constants(model):
    """Every initializer becomes a Constant node with a number for a name; every other one through an Identity."""
    head = []
    for number, tensor in enumerate(model.graph.initializer):
        old, tensor.name = tensor.name, ""
        head.append(helper.make_node("Constant", [], [f"c{number}"], value=tensor))
        if number % 2:
            head.append(helper.make_node("Identity", [f"c{number}"], [f"onnx::Conv_{number}"]))
        rewire(model, old, f"onnx::Conv_{number}" if number % 2 else f"c{number}")
    del model.graph.initializer[:]
    replace_nodes(model, head + list(model.graph.node))


def instance_norms(model):
    """What torch.onnx makes of InstanceNorm with running statistics: reshapes, and statistics repeated batch times."""
    nodes = []
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    model.graph.initializer.append(one)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        shape = helper.make_tensor("", TensorProto.INT64, [4], shapes[node.input[0]])
        name, source, end = node.name, node.input[0], node.output[0]
        for i in range(1, 5):
            part = f"{name}.{i}"
            nodes += [
                helper.make_node("Shape", ["one"], [f"{part}.shape"]),
                helper.make_node(
                    "ConstantOfShape", [f"{part}.shape"], [f"{part}.ones"],
                    value=helper.make_tensor("", TensorProto.INT64, [1], [1]),
                ),
                helper.make_node("Expand", ["one", f"{part}.ones"], [f"{part}.repeats"]),
                helper.make_node("Tile", [node.input[i], f"{part}.repeats"], [f"{part}.tiled"]),
            ]  # fmt: skip
            node.input[i] = f"{part}.tiled"
        node.input[0], node.output[0] = f"{name}.in", f"{name}.out"
        nodes += [
            helper.make_node("Constant", [], [f"{name}.as"], value=shape),
            helper.make_node("Reshape", [source, f"{name}.as"], [f"{name}.in"]),
            node,
            helper.make_node("Reshape", [f"{name}.out", f"{name}.as"], [end]),
        ]
    replace_nodes(model, nodes)


class RoundTrip(Case):
    def test_fixtures(self):
        """The exported graph computes what PyTorch computed, and turns back into the same file."""
        paths = sorted((ROOT / "tests" / "models" / "fixtures").glob("*.safetensors"))
        self.assertGreater(len(paths), 10)
        for number, path in enumerate(paths):
            fixture, facts = safetensors_io.read(path)
            base, channels, classes = (int(facts.pop(k)) for k in ("base_filters", "input_channels", "classes"))
            topology = facts.pop("topology")
            rank = int(facts["spatial_dims"])
            with self.subTest(path.stem):
                tensors = hash_tensors(facts["architecture"], topology, channels, classes, base, rank)
                model = self.exported(tensors, facts, "--opset", str([11, 13, 17][number % 3]))
                checker.check_model(model, full_check=True)
                x, expected = seen_by_network(fixture, facts)
                got = evaluate(model, x)
                scale = max(1.0, np.abs(expected).max())
                self.assertLess(np.abs(got - expected).max() / scale, 2e-5)
                self.done(import_onnx, self.model, self.output)
                self.assertEqual(self.output.read_bytes(), (self.folder / "original.safetensors").read_bytes())

    def test_shipped_model(self):
        shipped = ROOT / "weights" / "nuclei-b16.safetensors"
        out = self.done(export_onnx, shipped, self.model, "--size", "64", "96")
        self.assertIn("v / 255", out)
        model = onnx.load(str(self.model))
        sides = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        self.assertEqual(sides[1:], [3, 64, 96])
        self.assertEqual(model.graph.input[0].name, "input")
        self.assertEqual(model.graph.output[0].name, "output")
        facts = safetensors_io.read(shipped)[1]
        props = {p.key: p.value for p in model.metadata_props}
        self.assertEqual({k: props[k] for k in facts}, facts)
        self.assertIn("F16", self.done(import_onnx, self.model, self.output))
        self.assertEqual(self.output.read_bytes(), shipped.read_bytes())

    def test_stored_types(self):
        tensors = hash_tensors("unet", "old", 3, 2, 2, 2)
        for dtype in ("F16", "BF16"):
            kept = {
                name: safetensors_io.from_array(safetensors_io.to_array(t), dtype) if len(t.shape) > 1 else t
                for name, t in tensors.items()
                if "tracked" not in name
            }
            self.exported(kept, {"architecture": "unet"})
            self.done(import_onnx, self.model, self.output)
            self.assertEqual(self.output.read_bytes(), (self.folder / "original.safetensors").read_bytes())
            self.done(import_onnx, self.model, self.output, "--dtype", "F32")
            self.assertEqual(safetensors_io.read(self.output)[0]["ins.conv0.weight"].dtype, "F32")

    def test_flags_override_stored_facts(self):
        facts = {
            "architecture": "resunet",
            "final_layer": "softmax",
            "spacing_um_px": "0.50",
            "patch_size_pixels": "1024",
            "stride_pixels": "800",
            "normalization": '{"kind":"div255"}',
            "own_key": "kept",
        }
        self.exported(hash_tensors("resunet", "new", 3, 2, 2, 2), facts)
        self.done(import_onnx, self.model, self.output, "--stride", "1000", "--license", "CC0")
        self.assertEqual(safetensors_io.read(self.output)[1], {**facts, "stride_pixels": "1000", "license": "CC0"})
        self.done(import_onnx, self.model, self.output, "--patch-size", "256", "--normalization", "none")
        changed = {"patch_size_pixels": "256", "stride_pixels": "128", "normalization": '{"kind": "none"}'}
        self.assertEqual(safetensors_io.read(self.output)[1], {**facts, **changed})


class Forms(Case):
    def compare(self, model, *flags):
        """What `model` computes, the imported file computes."""
        x = np.random.default_rng(5).random([d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim])
        before = evaluate(model, x)
        tensors, facts = self.imported(model, *flags)
        again = self.folder / "again.onnx"
        self.done(export_onnx, self.output, again)
        self.assertLess(np.abs(evaluate(onnx.load(str(again)), x) - before).max(), 1e-5)
        return tensors, facts

    def test_gandlf_order_and_anonymous_constants(self):
        for architecture, topology, final, opset, rank in (
            ("resunet", "new", "softmax", 11, 2),
            ("unet", "old", "sigmoid", 13, 2),
            ("resunet", "old", "none", 17, 2),
            ("unet", "new", "softmax", 11, 3),
        ):
            with self.subTest(architecture=architecture, topology=topology, final=final, rank=rank):
                model = self.small(architecture, topology, final, opset, rank)
                enlarge_first(model)
                anonymous_constants(model)
                tensors, facts = self.compare(model)
                self.same_tensors(tensors)
                stated = (facts["architecture"], facts["final_layer"], facts["spatial_dims"])
                self.assertEqual(stated, (architecture, final, str(rank)))
                self.assertEqual(facts["sigmoid_input_multiplier"], "2.5" if final == "sigmoid" else "1.0")

    def test_folded_norms(self):
        for architecture, topology, folded in (("resunet", "new", 9), ("resunet", "old", 13), ("unet", "new", 19), ("unet", "old", 19)):  # fmt: skip
            with self.subTest(architecture=architecture, topology=topology):
                model = self.small(architecture, topology)
                fold_norms(model)
                self.assertEqual(sum(n.op_type == "BatchNormalization" for n in model.graph.node), 27 - folded)
                tensors, _ = self.compare(model)
                identity = [safetensors_io.to_array(tensors[f"en_1.in_1.{part}"]) for part in ("weight", "running_var")]
                scale = identity[0] / np.sqrt(identity[1] + np.float32(1e-5))
                self.assertTrue((scale == 1).all(), "exactly the identity")

    def test_instance_norms(self):
        model = onnx.shape_inference.infer_shapes(self.small("resunet", "new"))
        for value in model.graph.value_info:
            value.type.tensor_type.shape.dim[0].dim_value = 1
        model.graph.value_info.append(model.graph.input[0])
        instance_norms(model)
        self.refused(model, "instance norm needs an export with batch 1")
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        tensors, _ = self.compare(model)
        self.same_tensors(tensors)

    def test_sizes_instead_of_scales_and_swapped_sum(self):
        model = self.small()
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        for k in range(4):
            node = find(model, f"us_{k}.conv0.up")
            sizes = np.array([1, 2 << k, 16 >> k, 32 >> k], np.int64)
            model.graph.initializer.append(numpy_helper.from_array(sizes, f"sizes{k}"))
            node.input[2:] = ["", f"sizes{k}"]
        node = find(model, "en_2.conv1.sum")
        node.input[:] = reversed(node.input)
        tensors, _ = self.compare(model)
        self.same_tensors(tensors)

    def test_external_data(self):
        model = self.small()
        data = self.folder / "model.onnx.data"
        with open(data, "wb") as stream:
            for tensor in model.graph.initializer:
                raw, offset = tensor.raw_data, stream.tell()
                stream.write(raw)
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", data.name), ("offset", offset), ("length", len(raw))):
                    tensor.external_data.add(key=key, value=str(value))
        self.same_tensors(self.imported(model)[0])

        def changed(key, value):
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            (entry,) = (e for e in copy.graph.initializer[0].external_data if e.key == key)
            entry.value = value
            return copy

        self.output.unlink()
        (self.folder / "inside").mkdir()
        outside = tempfile.NamedTemporaryFile()
        self.addCleanup(outside.close)
        os.symlink(outside.name, self.folder / "link")
        for location in ("../" + data.name, str(data), "inside/../" + data.name, outside.name, "link", "", ".", "a\0b"):
            expected = "external data" if location == str(data) else "is outside the model's folder"
            if location != str(data):  # an absolute path into the folder leads nowhere else
                self.refused(changed("location", location), expected)
        self.refused(changed("location", "absent"), "external data 'absent'")
        self.refused(changed("location", "inside"), "external data 'inside'")
        self.refused(changed("offset", str(2**70)), "is too short")
        self.refused(changed("offset", "-8"), "at -8")
        self.refused(changed("length", "99"), "99 bytes")
        copy = changed("length", str(2**62))
        copy.graph.initializer[0].dims[0] = 2**60
        self.refused(copy, "external data of")

    def test_facts(self):
        model = self.small("resunet", "new", "softmax")
        _, facts = self.imported(model, "--spacing", "0.5", "--class-names", "background", "nucleus")
        self.assertEqual(facts["spacing_um_px"], "0.5")
        self.assertEqual(facts["class_names"], '["background", "nucleus"]')
        config = self.folder / "config.json"
        parameters = {
            "model": {"architecture": "residualunet", "final_layer": "soft"},
            "patch_size": [256, 256],
            "data_preprocessing": {"normalize": None},
        }
        config.write_text(json.dumps(parameters))
        self.done(import_onnx, self.model, self.output, "--config", str(config))
        facts = safetensors_io.read(self.output)[1]
        self.assertEqual((facts["patch_size_pixels"], facts["normalization"]), ("256", '{"kind": "zscore_tile"}'))
        self.output.unlink()
        parameters["model"]["architecture"] = "unet"
        config.write_text(json.dumps(parameters))
        self.refused(model, "architecture is unet according to --config, resunet according to", "--config", str(config))
        code, _, err = self.run_tool(import_onnx, self.model, self.output)
        self.assertEqual(code, 3)
        self.assertIn("give --normalization", err)
        self.refused(model, "1 given, the network has 2", "--class-names", "one")
        large = weights(model)["out.conv0.weight"] * np.float32(1e6)
        for tensor in model.graph.initializer:
            if tensor.name == "out.conv0.weight":
                tensor.CopyFrom(numpy_helper.from_array(large, tensor.name))
        self.refused(model, "out.conv0.weight does not fit F16", "--dtype", "F16")


class Refusals(Case):
    def change(self, edit, text, **kwargs):
        with self.subTest(text):
            model = self.small(**kwargs)
            edit(model)
            self.refused(model, text)

    def test_attributes(self):
        def setting(name, key, value):
            def edit(model):
                node = find(model, name)
                for a in [a for a in node.attribute if a.name == key]:
                    node.attribute.remove(a)
                node.attribute.append(helper.make_attribute(key, value))

            return edit

        for name, key, value, text in (
            ("en_1.in_0.act", "alpha", 0.2, "node 'en_1.in_0.act' (LeakyRelu) does not match: alpha is 0.2"),
            ("en_1.in_0.act", "alpha", float("nan"), "alpha is nan"),
            ("ds_1.conv0", "strides", [1, 1], "node 'ds_1.conv0' (Conv) does not match: strides is [1, 1]"),
            ("de_2.conv1", "pads", [0, 0, 0, 0], "pads is [0, 0, 0, 0], [1, 1, 1, 1] expected (de_2.conv1)"),
            ("de_2.conv1", "dilations", [2, 2], "dilations is [2, 2]"),
            ("de_2.conv1", "group", 2, "group is 2"),
            ("de_2.conv1", "auto_pad", "SAME_UPPER", "auto_pad is SAME_UPPER"),
            ("de_2.conv1", "strange", 1, "attribute strange is not expected"),
            ("out.in_0", "epsilon", 1e-3, "epsilon is 0.001"),
            ("out.in_0", "training_mode", 1, "training_mode is 1"),
            ("us_1.conv0.up", "mode", "nearest", "mode is nearest, linear expected (us_1.conv0)"),
            ("us_1.conv0.up", "coordinate_transformation_mode", "half_pixel", "is half_pixel, align_corners"),
            ("us_1.conv0.up.cat", "axis", 2, "axis is 2, 1 expected"),
            ("output", "axis", 3, "axis is 3, 1 expected"),
        ):
            self.change(setting(name, key, value), text)

    def test_changed_graphs(self):
        def extra_node(model):
            rewire(model, "en_3.conv0", "extra", keep=("en_3.conv0",))
            model.graph.node.insert(0, helper.make_node("Relu", ["en_3.conv0"], ["extra"], name="extra"))

        def side_branch(model):
            model.graph.node.append(helper.make_node("Relu", ["en_3.conv0"], ["side"], name="side"))

        def second_conv(model):
            node = onnx.NodeProto()
            node.CopyFrom(find(model, "en_3.conv0"))
            node.name, node.output[0] = "twin", "twin"
            model.graph.node.append(node)

        def no_sum(model):
            replace_nodes(model, [n for n in model.graph.node if n.name != "en_2.conv1.sum"])
            rewire(model, "en_2.conv1.sum", "en_2.conv1")

        def other_sum(model):
            find(model, "en_2.conv1.sum").input[1] = "ins.conv0"

        def doubled_sum(model):
            find(model, "en_2.conv1.sum").input[1] = "en_2.conv1"

        def swapped(model):
            node = find(model, "us_2.conv0.up.cat")
            node.input[:] = reversed(node.input)

        def other_skip(model):
            find(model, "us_2.conv0.up.cat").input[1] = "ds_1.conv0"

        def other_activation(model):
            find(model, "de_1.in_2.act").op_type = "Elu"

        def other_domain(model):
            find(model, "de_1.in_2.act").domain = "com.example"

        def no_norm(model):
            replace_nodes(model, [n for n in model.graph.node if n.name != "de_1.in_0"])
            rewire(model, "de_1.in_0", "us_1.conv0.up.cat")

        def shortened(model):
            replace_nodes(model, list(model.graph.node)[:40])

        def other_output(model):
            model.graph.output[0].name = "out.conv0"

        def two_outputs(model):
            model.graph.output.add(name="out.conv0")

        def two_inputs(model):
            model.graph.input.add(name="more")

        def variable_weights(model):
            find(model, "ins.conv1").input[1] = "ins.conv0"

        def no_bias(model):
            del find(model, "ins.conv1").input[2]

        def old_up(model):
            wide = np.zeros((4, 8, 3, 3), np.float32)
            for tensor in model.graph.initializer:
                if tensor.name == "us_1.conv0.weight":
                    tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))

        def threefold(model):
            (scales,) = (t for t in model.graph.initializer if t.name == "twice")
            scales.CopyFrom(numpy_helper.from_array(np.array([1, 1, 3, 3], np.float32), "twice"))

        def log_softmax(model):
            find(model, "output").op_type = "LogSoftmax"

        def in_subgraph(model):
            find(model, "output").attribute.append(helper.make_attribute("body", model.graph))

        for edit, text in (
            (extra_node, "node 'extra' (Relu) does not match: BatchNormalization expected (en_3.in_1)"),
            (side_branch, "node 'side' (Relu) is not part of GaNDLF's resunet"),
            (second_conv, "node 'twin' (Conv) does not match: it is a second Conv for en_3.conv0"),
            (no_sum, "does not match: Add expected (residual sum of 'en_2.conv1' and 'ds_1.conv0')"),
            (other_sum, "node 'en_2.conv1.sum' (Add) does not match: the sum of"),
            (doubled_sum, "node 'en_2.conv1.sum' (Add) does not match: the sum of"),
            (swapped, "node 'us_2.conv0.up.cat' (Concat) does not match: it joins"),
            (other_skip, "node 'us_2.conv0.up.cat' (Concat) does not match: it joins"),
            (other_activation, "node 'de_1.in_2.act' (Elu) does not match: LeakyRelu expected"),
            (other_domain, "(com.example::LeakyRelu) does not match"),
            (no_norm, "node 'de_1.in_0.act' (LeakyRelu) does not match: BatchNormalization expected (de_1.in_0)"),
            (shortened, "nothing reads"),
            (other_output, "output 'out.conv0' is not the result"),
            (two_outputs, "has 1 inputs and 2 outputs"),
            (two_inputs, "has 2 inputs and 1 outputs"),
            (variable_weights, "parameters that are not constant"),
            (no_bias, "ins.conv1 with weight and bias"),
            (old_up, "us_1.conv0 is a 3x3 convolution: an early GaNDLF that is not supported"),
            (threefold, "enlarges by [1.0, 1.0, 3.0, 3.0], [1.0, 1.0, 2.0, 2.0] expected"),
            (log_softmax, "node 'output' (LogSoftmax) is not part of GaNDLF's resunet"),
            (in_subgraph, "attributes that are not expected"),
        ):
            self.change(edit, text)

        def sum_in_unet(model):
            model.graph.node.append(helper.make_node("Add", ["ins.conv0", "ins.conv0"], ["sum"], name="sum"))

        self.change(sum_in_unet, "Add", architecture="unet")

        def old_softmax(model):
            model.opset_import[0].version = 12

        self.change(old_softmax, "before opset 13 it must be between transpositions")

        def wrong_order(model):
            attribute(find(model, "output"), "perm").ints[:] = [0, 2, 3, 1]

        self.change(wrong_order, "perm is [0, 2, 3, 1], [0, 3, 2, 1] expected", opset=11)

        def unknown_factor(model):
            find(model, "scaled").input[1] = "out.conv0"

        self.change(unknown_factor, "a constant factor before the sigmoid", final="sigmoid")

    def test_weights(self):
        def tensor(edit_tensor, name="en_2.conv0.bias"):
            def edit(model):
                (found,) = (t for t in model.graph.initializer if t.name == name)
                edit_tensor(found)

            return edit

        def array(value, name="en_2.conv0.bias"):
            return tensor(lambda t: t.CopyFrom(numpy_helper.from_array(value, t.name)), name)

        bias = np.zeros(8, np.float32)
        for edit, text in (
            (array(bias + np.float32("nan")), "en_2.conv0.bias holds a value that is not finite"),
            (array(np.zeros(7, np.float32)), "en_2.conv0.bias is float32 of shape [7], [8] expected"),
            (array(bias.astype(np.float16)), "is of type FLOAT16, FLOAT expected"),
            (array(bias.astype(np.int64)), "en_2.conv0.bias is int64"),
            (array(bias - 1, "en_2.in_0.running_var"), "en_2.in_0.running_var holds a negative variance"),
            (array(np.zeros((3, 3, 3, 3), np.float32), "ins.conv1.weight"), "ins.conv1 has weights of shape"),
            (tensor(lambda t: t.dims.__setitem__(0, 2**62)), "holds 32 bytes"),
            (tensor(lambda t: t.dims.__setitem__(0, -8)), "has shape [-8]"),
            (tensor(lambda t: t.dims.extend([2**40, 2**40])), "holds 32 bytes"),
            (tensor(lambda t: setattr(t, "raw_data", t.raw_data[:-1])), "holds 31 bytes"),
            (tensor(lambda t: t.ClearField("raw_data")), "holds 0 values"),
            (tensor(lambda t: setattr(t, "data_type", 99)), "is of type 99"),
        ):
            self.change(edit, text)

    def test_hostile_files(self):
        model = self.small()
        data = model.SerializeToString()
        rng = np.random.default_rng(1)
        for size in [0, 1, 10, 100, *rng.integers(0, len(data) - 1, 40)]:
            self.refused(data[:size], "")
        for _ in range(60):  # any error is fine as long as it is one line; so is a file whose weights changed
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 3):
                broken[at] = rng.integers(0, 256)
            self.model.write_bytes(broken)
            code, _, err = self.run_tool(import_onnx, self.model, self.output, "--normalization", "div255")
            self.assertIn((code, err.count("\n")), ((0, 0), (3, 1)), err)
        self.output.unlink(missing_ok=True)
        self.refused(b"\x08" * 100000, "")
        self.refused((ROOT / "weights" / "nuclei-b16.safetensors").read_bytes(), "is not an ONNX")
        code, _, err = self.run_tool(import_onnx, self.folder / "absent.onnx", self.output)
        self.assertEqual((code, "no such file" in err), (3, True))
        code, _, err = self.run_tool(import_onnx, self.folder, self.output)
        self.assertEqual(code, 3)

    def test_hostile_graphs(self):
        def node(*args, **kwargs):
            return lambda model: model.graph.node.insert(0, helper.make_node(*args, **kwargs))

        def cycle(model):
            find(model, "en_2.in_0").input[0] = "en_2.conv1"

        def identity_cycle(model):
            find(model, "en_2.in_0").input[0] = "a"
            for a, b in (("a", "b"), ("b", "a")):
                model.graph.node.insert(0, helper.make_node("Identity", [a], [b]))

        def constants(*parts):
            def edit(model):
                for name, value in parts:
                    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))

            return edit

        def both(*edits):
            def edit(model):
                for e in edits:
                    e(model)

            return edit

        huge = constants(("huge", [2**20, 2**40]))
        one = helper.make_tensor("", TensorProto.FLOAT, [1], [1.0])
        for edit, text in (
            (cycle, "does not match"),
            (identity_cycle, "does not match"),
            (both(huge, node("ConstantOfShape", ["huge"], ["x"], name="big", value=one)), "node 'big'"),
            (both(huge, node("Tile", ["huge", "huge"], ["x"], name="big")), "node 'big'"),
            (both(huge, node("Expand", ["huge", "huge"], ["x"], name="big")), "node 'big'"),
            (both(huge, node("Concat", ["huge", "huge"], ["x"], name="big", axis=7)), "node 'big'"),
            (node("Constant", [], ["x"], name="odd", value_int=3), "node 'odd'"),
            (node("Constant", [], ["x"], name="odd", value=3), "node 'odd'"),
            (node("Shape", [], ["x"], name="odd"), "node 'odd'"),
            (node("Relu", ["input"], ["ins.conv0"], name="again"), "value 'ins.conv0' is made twice"),
            (node("Relu", ["input"], ["input"], name="again"), "value 'input' is made twice"),
            (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "is there twice"),
            (lambda m: m.graph.sparse_initializer.add(), "sparse"),
            (lambda m: setattr(m.opset_import[0], "version", 9), "opset 9: 11 or later"),
            (lambda m: m.opset_import.pop(), "states no opset"),
            (lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), "has 3 dimensions, 4 or 5 expected"),
            (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 2), "is not of type FLOAT"),
        ):
            self.change(edit, text)

    def test_stored_metadata(self):
        facts = {"architecture": "resunet", "final_layer": "softmax"}
        model = self.exported(hash_tensors("resunet", "new", 3, 2, 2, 2), facts)
        for key, value, text in (
            ("architecture", "unet", "architecture is unet according to its metadata, resunet according to the graph"),
            ("final_layer", "sigmoid", "final_layer is sigmoid according to its metadata"),
            ("microtome.norm_counters", "[1]", "norm_counters is not an object of counts"),
            ("microtome.norm_counters", '{"x": 1}', "norm_counters is not an object of counts"),
            ("microtome.norm_counters", '{"ins.in_0.num_batches_tracked": -1}', "norm_counters is not an object"),
            ("microtome.norm_counters", "[" * 100000, "norm_counters is not an object of counts"),
        ):
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            (entry,) = (p for p in copy.metadata_props if p.key == key)
            entry.value = value
            self.refused(copy, text)


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
        for before, after in ((b'"F32"', b'"F33"'), (b'"shape":[2,3,3,3]', b'"shape":[2,3,3,9]')):
            self.assertIn(before, data)
            self.refused(data.replace(before, after, 1), {}, "is not a usable safetensors file")
        self.refused(b"\xff" * 8 + data[8:], {}, "header of 18446744073709551615 bytes")

    def test_usage(self):
        for tool in (export_onnx, import_onnx):
            code, out, _ = self.run_tool(tool, "x", "y", "--help")
            self.assertEqual(code, 0)
            self.assertIn("examples:", out)
            self.assertIn("exit codes:", out)
        for flags in (["--opset", "10"], ["--size", "100", "100"], ["--size", "0", "16"]):
            self.assertEqual(self.run_tool(export_onnx, "x", "y", *flags)[0], 2)
        code, _, err = self.run_tool(export_onnx, self.folder / "absent", self.model)
        self.assertEqual(code, 4)


if __name__ == "__main__":
    unittest.main()
