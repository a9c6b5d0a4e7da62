#!/usr/bin/env python3
"""Turn a microtome model file (safetensors) into ONNX, for other inference engines.

The graph has one input `input` [batch, channels, height, width] and one output `output` [batch, classes, height,
width], both float32; sides are multiples of 16. The final layer is part of the graph. Normalisation is not: the
input is what the network sees after the model's `normalization` rule, which the file states in words (doc_string of
the input) and, with all other facts of the model, as metadata. tools/import_onnx.py restores the model file from
it. Needs the Python modules onnx and numpy.
"""

import argparse
import json
import sys
from pathlib import Path

import safetensors_io
from gandlf_graph import EPSILON, SLOPE, state_dict_order, walk
from model_facts import ARCHITECTURES, FINAL_LAYERS, NORM_COUNTERS, WEIGHTS_DTYPE, Refused
from output_file import Overwrites, refuse_inputs, whole_file

try:
    import numpy as np
    from google.protobuf.message import EncodeError
    from onnx import TensorProto, helper, numpy_helper
    from onnx_file import FILE_LIMIT
except ImportError as missing:  # --help works without them
    if (missing.name or "").split(".")[0] not in ("numpy", "onnx", "google"):
        raise
    np = None

EXAMPLES = """examples:
  for any image size:
    tools/export_onnx.py weights/nuclei-b16.safetensors -o nuclei-b16.onnx
  for an engine that wants to know the size:
    tools/export_onnx.py weights/nuclei-b16.safetensors -o nuclei-b16.onnx --size 512 512
  and back:
    tools/import_onnx.py nuclei-b16.onnx -o nuclei-b16.safetensors

exit codes: 0 written, 2 usage, or the output would overwrite an input, 3 the model file cannot be used, 4 a Python
module is missing or the output cannot be written
"""

TOO_LARGE = "is too large for ONNX, which holds 2 GB at most and the weights as float32"
IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8}  # the oldest that knows the opset


class Builder:
    """Writes down the nodes of gandlf_graph.walk. A value is (name, channels)."""

    def __init__(self, stored, facts, opset):
        self.stored, self.opset = stored, opset
        self.nodes, self.initializers, self.bound, self.size = [], [], set(), 0
        if "quantization" in facts:
            raise Refused("it is quantized; convert the model that it was made from")
        architecture = ARCHITECTURES.get(facts.get("architecture", "").lower())
        if architecture is None:
            raise Refused("its metadata states no architecture (unet or resunet)")
        self.residual = architecture == "resunet"
        first, last = self.shape("ins.conv0.weight"), self.shape("out.conv0.weight")
        if len(first) not in (4, 5) or len(last) != len(first):
            raise Refused(f"tensor ins.conv0.weight has shape {first}: not a convolution")
        self.rank, self.base, self.channels, self.classes = len(first) - 2, first[0], first[1], last[0]
        self.new = self.shape("ds_0.in_0.weight") == [self.base]
        self.final_layer = facts.get("final_layer", "sigmoid" if self.classes == 1 else "softmax")
        if self.final_layer not in set(FINAL_LAYERS.values()):
            raise Refused(f"metadata final_layer '{self.final_layer}' is unknown")
        try:
            self.multiplier = float(facts.get("sigmoid_input_multiplier", "1"))
        except ValueError:
            raise Refused("metadata sigmoid_input_multiplier is not a number") from None
        walk(self, ("input", self.channels))
        for name in stored:
            norm, _, part = name.rpartition(".")
            counter = part == "num_batches_tracked" and f"{norm}.running_var" in self.bound
            if name not in self.bound and not counter:
                raise Refused(f"tensor {name} is not part of GaNDLF's {architecture}")

    def shape(self, name):
        if name not in self.stored:
            raise Refused(f"tensor {name} is missing: not a GaNDLF unet or resunet")
        return list(self.stored[name].shape)

    def weights(self, name, shape):
        if self.shape(name) != shape:
            raise Refused(f"tensor {name} has shape {self.shape(name)}, {shape} expected")
        if self.stored[name].dtype not in ("F32", "F16", "BF16"):
            raise Refused(f"tensor {name} is of type {self.stored[name].dtype}; F32, F16 or BF16 expected")
        array = safetensors_io.to_array(self.stored[name])
        if not np.isfinite(array).all():
            raise Refused(f"tensor {name} holds a value that is not finite")
        self.bound.add(name)
        return self.constant(name, array)

    def constant(self, name, array):
        if all(initializer.name != name for initializer in self.initializers):
            self.size += array.nbytes
            if self.size > FILE_LIMIT:
                raise Refused(TOO_LARGE)
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(self, name, x, channels, kernel, stride):
        rank = self.rank
        parameters = [
            self.weights(f"{name}.weight", [channels, x[1]] + [kernel] * rank),
            self.weights(f"{name}.bias", [channels]),
        ]
        attributes = {
            "kernel_shape": [kernel] * rank,
            "strides": [stride] * rank,
            "pads": [kernel // 2] * 2 * rank,
        }
        return self.node("Conv", [x[0], *parameters], name, **attributes), channels

    def norm(self, name, x):
        parts = [self.weights(f"{name}.{part}", [x[1]]) for part in ("weight", "bias", "running_mean", "running_var")]
        return self.node("BatchNormalization", [x[0], *parts], name, epsilon=EPSILON), x[1]

    def act(self, x):
        return self.node("LeakyRelu", [x[0]], f"{x[0]}.act", alpha=SLOPE), x[1]

    def add(self, x, y):
        return self.node("Add", [x[0], y[0]], f"{x[0]}.sum"), x[1]

    def concat(self, x, y):
        return self.node("Concat", [x[0], y[0]], f"{x[0]}.cat", axis=1), x[1] + y[1]

    def norm_before_down(self, x):
        return self.new

    def up(self, name, x, channels):
        # GaNDLF enlarges before the 1x1 convolution; they commute, and this order does a quarter of the work.
        small = self.conv(name, x, channels, 1, 1)
        roi = "" if self.opset >= 13 else self.constant("no_roi", np.zeros(0, np.float32))
        scales = self.constant("twice", np.array([1, 1] + [2] * self.rank, np.float32))
        attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        return self.node("Resize", [small[0], roi, scales], f"{name}.up", **attributes), channels

    def final(self, x):
        logits, last = x[0], self.rank + 1
        if self.final_layer == "softmax" and self.opset >= 13:
            self.node("Softmax", [logits], "output", axis=1)
        elif self.final_layer == "softmax":  # which flattens from its axis on, before opset 13
            order = list(range(self.rank + 2))
            order[1], order[-1] = order[-1], order[1]
            turned = self.node("Transpose", [logits], "channels_last", perm=order)
            self.node("Transpose", [self.node("Softmax", [turned], "softmax", axis=last)], "output", perm=order)
        elif self.final_layer == "sigmoid":
            if self.multiplier != 1.0:
                factor = self.constant("sigmoid_input_multiplier", np.array(self.multiplier, np.float32))
                logits = self.node("Mul", [logits, factor], "scaled")
            self.node("Sigmoid", [logits], "output")
        else:
            self.nodes[-1].output[0] = "output"


def input_rule(facts):
    """The normalisation in words."""
    rule = json.loads(facts.get("normalization", '{"kind": "div255"}'))
    kind = rule["kind"]
    if kind == "mean_std":
        return f"(v / 255 - mean) / std per channel, mean {rule['mean']}, std {rule['std']}"
    words = {
        "div255": "v / 255",
        "none": "v as it is",
        "zscore_tile": "(v - mean) / std, mean and sample standard deviation over all channels of the image",
    }
    return words[kind]


def build(stored, facts, opset, size):
    """The ModelProto."""
    net = Builder(stored, facts, opset)
    try:
        rule = input_rule(facts)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("metadata normalization is not a rule this tool knows") from None
    if size and len(size) != net.rank:
        raise Refused(f"--size takes {net.rank} numbers for this {net.rank}D network")
    axes = ["depth", "height", "width"][-net.rank :]
    if facts.get("axis_order") == "wh":
        axes.reverse()
    sides = size or axes
    kinds = {3: "RGB", 1: "grey"}
    value = helper.make_tensor_value_info
    image = value("input", TensorProto.FLOAT, ["batch", net.channels, *sides])
    image.doc_string = (
        f"[batch, channels, {', '.join(axes)}], sides multiples of 16; {kinds.get(net.channels, 'image')} values v "
        f"of 0 to 255 become {rule}"
    )
    result = value("output", TensorProto.FLOAT, ["batch", net.classes, *sides])
    result.doc_string = {"none": "logits"}.get(net.final_layer, f"probabilities ({net.final_layer})") + " per class"
    graph = helper.make_graph(net.nodes, facts["architecture"], [image], [result], net.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="microtome")
    model.ir_version = IR_VERSIONS[opset]
    kernels = {t.dtype for t in stored.values() if len(t.shape) > 1}
    counts = {
        name: int(safetensors_io.to_array(stored[name]))
        for name in state_dict_order(n for n in stored if n not in net.bound)
        if stored[name].dtype == "I64" and stored[name].shape == []
    }
    kept = {WEIGHTS_DTYPE: kernels.pop() if len(kernels) == 1 else "F32", NORM_COUNTERS: json.dumps(counts)}
    helper.set_model_props(model, {**facts, **kept})
    return model, net


def serialize(model):
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:  # which of them depends on the protobuf in use
        raise Refused(TOO_LARGE) from error
    if len(data) > FILE_LIMIT:
        raise Refused(TOO_LARGE)
    return data


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.safetensors")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    add("--opset", type=int, choices=sorted(IR_VERSIONS), default=17, metavar="N", help="11 to 17; default 17")
    add("--size", type=int, nargs="+", metavar="PX", help="fixed height and width; default: any")
    args = parser.parse_args(argv)
    if args.size and any(side < 16 or side % 16 or side > 2**16 for side in args.size):
        parser.error("argument --size: sides are multiples of 16")
    return args


def run(args):
    refuse_inputs(args.output, args.model)
    try:
        stored, facts = safetensors_io.read(args.model)
    except ValueError as error:
        raise Refused(str(error).removeprefix(f"{args.model}: ")) from error
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error
    model, net = build(stored, facts, args.opset, args.size)
    data = serialize(model)
    with whole_file(args.output) as stream:
        stream.write(data)
    print(
        f"{args.output}: {facts['architecture']}, base {net.base}, {net.channels} channels, {net.classes} classes, "
        f"{net.final_layer}, opset {args.opset}, {args.output.stat().st_size / 1e6:.1f} MB"
    )
    print(f"input: {model.graph.input[0].doc_string}")


def main(argv=None):
    args = parse(argv)
    if np is None:
        print(f"export_onnx: {sys.executable} needs the Python modules onnx and numpy", file=sys.stderr)
        return 4
    try:
        run(args)
    except Overwrites as error:
        print(f"export_onnx: {error}", file=sys.stderr)
        return 2
    except Refused as error:
        print(f"export_onnx: {args.model}: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"export_onnx: {args.output}: {error.strerror or error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
