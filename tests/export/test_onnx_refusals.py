"""What tools/import_onnx.py refuses: other networks, damaged and hostile files."""

import sys
import unittest

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    print(f"test_onnx_refusals: {missing.name} is not installed")
    sys.exit(77)

from onnx_case import ROOT, Case, attribute, find, hash_tensors, import_onnx, replace_nodes, rewire


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

    def test_attribute_types(self):
        """Any attribute can be of any type; none of these is the one expected."""
        tensor = helper.make_tensor("", TensorProto.FLOAT, [2], [1.0, 2.0])
        for final, names in (
            ("softmax", ("ds_1.conv0", "en_1.in_0", "en_1.in_0.act", "us_1.conv0.up", "us_1.conv0.up.cat", "output")),
            ("sigmoid", ("scaled", "output")),
        ):
            model = self.small(final=final)
            for name in names:
                node = find(model, name)
                kept = list(node.attribute)
                keys = {a.name for a in kept} | (
                    {"auto_pad", "group", "dilations"} if node.op_type == "Conv" else {"odd"}
                )
                for key in sorted(keys):
                    for value in (1.5, float("inf"), 7, "text", [3.5], [5], ["text"], tensor, [tensor], model.graph):
                        with self.subTest(node=name, attribute=key, type=type(value)):
                            del node.attribute[:]
                            node.attribute.extend(a for a in kept if a.name != key)
                            node.attribute.append(helper.make_attribute(key, value))
                            self.refused(model, f"node '{name}'")
                del node.attribute[:]
                node.attribute.extend(kept)

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

        @tensor
        def empty_and_vast(t):
            t.dims[:], t.raw_data = [0, 2**62], b""

        @tensor
        def empty_and_vast_list(t):
            t.dims[:] = [0, 2**62]
            t.ClearField("raw_data")

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
            (tensor(lambda t: t.dims.extend([2**40] * 10000)), "has shape"),
            (empty_and_vast, "has shape [0, 4611686018427387904]"),
            (empty_and_vast_list, "has shape [0, 4611686018427387904]"),
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
        small, empty = constants(("small", [2, 2])), constants(("empty", [0, 2**62]))
        one = helper.make_tensor("", TensorProto.FLOAT, [1], [1.0])

        def doubling(model):
            model.graph.initializer.append(numpy_helper.from_array(np.zeros(1024, np.int64), "d0"))
            for i in range(60):
                model.graph.node.insert(
                    i, helper.make_node("Concat", [f"d{i}"] * 2, [f"d{i + 1}"], name="twice", axis=0)
                )

        def many(model):
            model.graph.initializer.append(numpy_helper.from_array(np.array([2**16], np.int64), "n"))
            for i in range(100):
                node = helper.make_node("ConstantOfShape", ["n"], [f"many{i}"], name=f"many{i}", value=one)
                model.graph.node.insert(0, node)

        for edit, text in (
            (doubling, "node 'twice' (Concat) is not part of"),
            (many, "the constant expressions of the file are too large"),
            (cycle, "does not match"),
            (identity_cycle, "does not match"),
            (both(huge, node("ConstantOfShape", ["huge"], ["x"], name="big", value=one)), "node 'big'"),
            (both(small, node("ConstantOfShape", ["small"], ["x"], name="odd", value=5)), "node 'odd'"),
            (both(small, node("ConstantOfShape", ["small"], ["x"], name="odd", value=5.5)), "node 'odd'"),
            (both(small, node("ConstantOfShape", ["small"], ["x"], name="odd", value="5")), "node 'odd'"),
            (both(empty, node("ConstantOfShape", ["empty"], ["x"], name="odd", value=one)), "node 'odd'"),
            (both(small, node("Concat", ["small"], ["x"], name="odd", axis=0.5)), "node 'odd'"),
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
        facts = {"architecture": "resunet", "final_layer": "sigmoid", "sigmoid_input_multiplier": "2.1"}
        model = self.exported(hash_tensors("resunet", "new", 3, 2, 2, 2), facts)
        for key, value, text in (
            ("architecture", "unet", "architecture is unet according to its metadata, resunet according to the graph"),
            ("final_layer", "softmax", "final_layer is softmax according to its metadata"),
            (
                "sigmoid_input_multiplier",
                "2",
                "sigmoid_input_multiplier is 2 according to its metadata, 2.1 in the graph",
            ),
            ("sigmoid_input_multiplier", "two", "sigmoid_input_multiplier is two according to"),
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


if __name__ == "__main__":
    unittest.main()
