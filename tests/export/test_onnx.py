"""tools/export_onnx.py and tools/import_onnx.py without PyTorch: round trips, the fixtures of tests/models, and the
forms that exporters give a graph."""

import json
import os
import sys
import tempfile
import unittest

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, checker, helper, numpy_helper
except ImportError as missing:
    print(f"test_onnx: {missing.name} is not installed")
    sys.exit(77)

from onnx_case import (
    ROOT,
    Case,
    export_onnx,
    find,
    hash_tensors,
    import_onnx,
    replace_nodes,
    rewire,
    safetensors_io,
    seen_by_network,
    weights,
)
from onnx_eval import evaluate

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
        for architecture, topology, folded in (
            ("resunet", "new", 9),
            ("resunet", "old", 13),
            ("unet", "new", 19),
            ("unet", "old", 19),
        ):
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
            self.refused(changed("location", location), "is outside the model's folder")
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


if __name__ == "__main__":
    unittest.main()
