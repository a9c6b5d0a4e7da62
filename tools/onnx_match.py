"""GaNDLF's network recognised in an ONNX graph, operation by operation; the tensors under GaNDLF's names."""

import numpy as np
from gandlf_graph import EPSILON, SLOPE, walk
from model_facts import Refused

# Attributes that change nothing in the operations they may appear on here.
IDLE = {
    "BatchNormalization": {"momentum"},
    "Resize": {
        *("cubic_coeff_a", "nearest_mode", "exclude_outside", "extrapolation_value"),  # other modes
        *("antialias", "keep_aspect_ratio_policy"),  # when sizes shrink; when proportions change
    },
}
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


class Value:
    """What flows between nodes: `names` are one value, renamed by reshapes that reshape nothing."""

    def __init__(self, name, channels, level, made_by=None):
        self.names, self.channels, self.level, self.made_by = [name], channels, level, made_by


class Matcher:
    """Follows the known network through the graph. Every node is used once; any left over is refused."""

    def __init__(self, file):
        self.file = file
        self.tensors, self.used = {}, set()
        self.base = self.classes = None
        self.folded_norms = 0
        self.old = None
        self.residual = any(node.op == "Add" for node in file.nodes)
        shape = file.input_shape
        if len(shape) not in (4, 5):
            raise Refused(f"input '{file.input}' has {len(shape)} dimensions, 4 or 5 expected (batch, channels, sides)")
        self.rank, self.batch, self.sides = len(shape) - 2, shape[0], shape[2:]
        self.final_layer, self.multiplier = "none", 1.0
        image = Value(file.input, shape[1], 0)
        result = walk(self, image)
        self.channels = image.channels
        for node in file.nodes:
            if node not in self.used:
                raise Refused(f"{node.label} is not part of GaNDLF's {self.architecture}")
        if file.output not in result.names:
            raise Refused(f"output '{file.output}' is not the result, which is '{result.names[-1]}'")

    @property
    def architecture(self):
        return "resunet" if self.residual else "unet"

    # -- nodes

    def readers(self, x):
        """Unused nodes that read x. A reshape to the shape that x has anyway is passed through."""
        found = []
        for name in x.names:
            for node in self.file.readers.get(name, ()):
                if node in self.used:
                    continue
                if node.op == "Reshape" and self.reshapes_nothing(node, x):
                    self.used.add(node)
                    x.names.append(node.outputs[0])
                else:
                    found.append(node)
        return found

    def reshapes_nothing(self, node, x):
        shape = [self.batch, x.channels, *(side and side >> x.level for side in self.sides)]
        target = self.file.array(node.inputs[1]) if len(node.inputs) == 2 else None
        if target is None or None in shape or node.attributes.get("allowzero", 0) or len(node.outputs) != 1:
            return False
        return node.inputs[0] in x.names and target.tolist() in (shape, [*shape[:1], -1, *shape[2:]])

    def take(self, x, op, what):
        """The one node of type `op` that reads x; marks it used."""
        readers = self.readers(x)
        found = [node for node in readers if node.op == op]
        if not found:
            if readers:
                reshaped = readers[0].op == "Reshape"
                hint = "; instance norm needs an export with batch 1 and fixed sides" if reshaped else ""
                raise Refused(f"{readers[0].label} does not match: {op} expected ({what}){hint}")
            raise Refused(f"nothing reads '{x.names[-1]}': {op} expected ({what})")
        if len(found) > 1:
            raise Refused(f"{found[1].label} does not match: it is a second {op} for {what}")
        self.used.add(found[0])
        if len(list(filter(None, found[0].outputs))) != 1:
            raise Refused(f"{found[0].label} has more than one output")
        return found[0]

    def operand(self, node, x, parameters, what):
        """Checks that input 0 is x and returns the constants behind it."""
        if not node.inputs or node.inputs[0] not in x.names or len(node.inputs) != 1 + parameters:
            raise Refused(f"{node.label} does not match: {what} reads other inputs")
        arrays = [self.file.array(name) for name in node.inputs[1:]]
        if any(array is None for array in arrays):
            raise Refused(f"{node.label} does not match: {what} has parameters that are not constant")
        return arrays

    def check(self, node, what, **wanted):
        """Every attribute is one of `wanted`: name=(default, expected value)."""
        for name, (default, expected) in wanted.items():
            value = node.attributes.get(name, default)
            numbers = isinstance(value, float) and isinstance(expected, float)
            if not (abs(value - expected) <= 1e-4 * expected if numbers else value == expected):
                text = value.decode(errors="replace") if isinstance(value, bytes) else value
                text = f"{text:.6g}" if isinstance(text, float) else text
                expected = expected.decode() if isinstance(expected, bytes) else expected
                raise Refused(f"{node.label} does not match: {name} is {text}, {expected} expected ({what})")
        strangers = set(node.attributes) - set(wanted) - IDLE.get(node.op, set())
        if strangers:
            raise Refused(f"{node.label} does not match: attribute {min(strangers)} is not expected ({what})")

    def axis(self, node, default, expected, what):
        value = node.attributes.get("axis", default)
        dims = self.rank + 2
        if not isinstance(value, int) or value not in (expected, expected - dims):
            raise Refused(f"{node.label} does not match: axis is {value}, {expected} expected ({what})")

    def keep(self, name, array, shape, node):
        if array.dtype != np.float32 or list(array.shape) != shape:
            raise Refused(f"{node.label}: {name} is {array.dtype} of shape {list(array.shape)}, {shape} expected")
        if not np.isfinite(array).all():
            raise Refused(f"{node.label}: {name} holds a value that is not finite")
        self.tensors[name] = array

    # -- the operations of gandlf_graph.walk

    def conv(self, name, x, channels, kernel, stride):
        node = self.take(x, "Conv", name)
        weight, bias = self.operand(node, x, 2, f"{name} with weight and bias")
        rank = self.rank
        if channels is None:  # the first or the last convolution
            channels = weight.shape[0] if weight.ndim else 0
            if not 1 <= channels <= 2**16:
                raise Refused(f"{node.label}: {name} has {channels} output channels")
        if name.startswith("us_") and list(weight.shape[2:]) == [3] * rank:
            raise Refused(f"{node.label}: {name} is a 3x3 convolution: an early GaNDLF that is not supported")
        if x.channels is None and weight.ndim > 1:
            x.channels = weight.shape[1]  # an input with an open number of channels
        shape = [channels, x.channels] + [kernel] * rank
        if list(weight.shape) != shape:
            raise Refused(f"{node.label}: {name} has weights of shape {list(weight.shape)}, {shape} expected")
        self.check(
            node,
            name,
            kernel_shape=([kernel] * rank, [kernel] * rank),
            strides=([1] * rank, [stride] * rank),
            pads=([0] * 2 * rank, [kernel // 2] * 2 * rank),
            dilations=([1] * rank, [1] * rank),
            group=(1, 1),
            auto_pad=(b"NOTSET", b"NOTSET"),
        )
        self.keep(f"{name}.weight", weight, shape, node)
        self.keep(f"{name}.bias", bias, [channels], node)
        if self.base is None:
            self.base = channels
        return Value(node.outputs[0], channels, x.level + (stride == 2), node)

    def norm(self, name, x):
        readers = self.readers(x)
        c = x.channels
        if x.made_by is not None and x.made_by.op == "Conv" and [node.op for node in readers] == ["LeakyRelu"]:
            # Exporters fold a norm into the convolution before it. What is left is the identity, as float32
            # arithmetic with GaNDLF's epsilon makes it.
            self.folded_norms += 1
            variance = np.float32(1.0 - EPSILON)
            for part, value in zip(NORM_PARTS, (1.0, 0.0, 0.0, variance)):
                self.tensors[f"{name}.{part}"] = np.full(c, value, np.float32)
            return x
        node = self.take(x, "BatchNormalization", name)
        arrays = self.operand(node, x, 4, name)
        self.check(node, name, epsilon=(EPSILON, EPSILON), training_mode=(0, 0))
        for part, array in zip(NORM_PARTS, arrays):
            self.keep(f"{name}.{part}", array, [c], node)
        if (arrays[3] < 0).any():
            raise Refused(f"{node.label}: {name}.running_var holds a negative variance")
        return Value(node.outputs[0], c, x.level, node)

    def act(self, x):
        node = self.take(x, "LeakyRelu", f"after '{x.names[0]}'")
        self.operand(node, x, 0, "the activation")
        self.check(node, "activation", alpha=(SLOPE, SLOPE))
        return Value(node.outputs[0], x.channels, x.level, node)

    def add(self, x, y):
        node = self.take(x, "Add", f"residual sum of '{x.names[0]}' and '{y.names[0]}'")
        self.readers(y)  # its names, through reshapes
        a, b = node.inputs if len(node.inputs) == 2 else ("", "")
        if not (a in x.names and b in y.names or b in x.names and a in y.names):
            raise Refused(f"{node.label} does not match: the sum of '{x.names[0]}' and '{y.names[0]}' expected")
        self.check(node, "residual sum")
        return Value(node.outputs[0], x.channels, x.level, node)

    def concat(self, x, y):
        what = f"'{x.names[0]}' first, '{y.names[0]}' second"
        node = self.take(x, "Concat", what)
        self.readers(y)
        if len(node.inputs) != 2 or node.inputs[0] not in x.names or node.inputs[1] not in y.names:
            raise Refused(f"{node.label} does not match: it joins {node.inputs}; expected {what}")
        self.axis(node, None, 1, "channels")
        if set(node.attributes) != {"axis"}:
            raise Refused(f"{node.label} does not match: attributes other than axis")
        return Value(node.outputs[0], x.channels + y.channels, x.level, node)

    def norm_before_down(self, x):
        if self.old is None:
            self.old = any(node.op == "Conv" for node in self.readers(x))
        return not self.old

    def up(self, name, x, channels):
        # GaNDLF enlarges, then convolves; with a 1x1 convolution the other order means the same.
        if any(node.op == "Conv" for node in self.readers(x)):
            return self.enlarge(name, self.conv(name, x, channels, 1, 1))
        return self.conv(name, self.enlarge(name, x), channels, 1, 1)

    def enlarge(self, name, x):
        node = self.take(x, "Resize", f"enlargement at {name}")
        inputs = node.inputs + [""] * (4 - len(node.inputs))
        if inputs[0] not in x.names or len(inputs) != 4:
            raise Refused(f"{node.label} does not match: it reads other inputs")
        self.check(
            node,
            name,
            mode=(b"nearest", b"linear"),
            coordinate_transformation_mode=(b"half_pixel", b"align_corners"),
        )
        scales, sizes = (self.file.array(name) if name else None for name in inputs[2:])
        if scales is not None and scales.size and not inputs[3]:
            given, expected = scales.tolist(), [1.0, 1.0] + [2.0] * self.rank
        else:
            given = sizes.tolist() if sizes is not None else "not constant"
            expected = [self.batch, x.channels, *(side and side >> x.level << 1 for side in self.sides)]
        if given != expected:
            raise Refused(f"{node.label} does not match: enlarges by {given}, {expected} expected ({name})")
        return Value(node.outputs[0], x.channels, x.level - 1, node)

    def final(self, x):
        self.classes = x.channels
        ops = [node.op for node in self.readers(x)]
        if ops == ["Mul"]:
            node = self.take(x, "Mul", "factor before the sigmoid")
            factors = [self.file.array(name) for name in node.inputs if name not in x.names]
            if len(node.inputs) != 2 or len(factors) != 1 or factors[0] is None or factors[0].size != 1:
                raise Refused(f"{node.label} does not match: a constant factor before the sigmoid expected")
            self.check(node, "factor before the sigmoid")
            factor = factors[0].reshape(())[()]
            if not np.isfinite(factor):
                raise Refused(f"{node.label}: the factor before the sigmoid is {factor}")
            self.multiplier = float(str(factor))  # the shortest text of a float32: 0.1, not 0.10000000149
            x = Value(node.outputs[0], x.channels, 0, node)
            return self.finish(x, "Sigmoid", "sigmoid")
        if ops == ["Sigmoid"]:
            return self.finish(x, "Sigmoid", "sigmoid")
        if ops == ["Softmax"]:
            if self.file.opset < 13:
                node = self.readers(x)[0]
                raise Refused(f"{node.label} does not match: before opset 13 it must be between transpositions")
            return self.finish(x, "Softmax", "softmax", 1)
        if ops == ["Transpose"]:  # channels last, as the Softmax of opset 11 needs them
            last = self.rank + 1
            x = self.transpose(x)
            return self.transpose(self.finish(x, "Softmax", "softmax", last))
        return x

    def finish(self, x, op, name, axis=None):
        node = self.take(x, op, "final layer")
        self.operand(node, x, 0, "the final layer")
        if axis is not None:
            self.axis(node, 1 if self.file.opset < 13 else -1, axis, "channels")
        if set(node.attributes) - ({"axis"} if axis is not None else set()):
            raise Refused(f"{node.label} does not match: attributes that are not expected")
        self.final_layer = name
        return Value(node.outputs[0], x.channels, 0, node)

    def transpose(self, x):
        node = self.take(x, "Transpose", "final layer")
        self.operand(node, x, 0, "the transposition of the final layer")
        order = list(range(self.rank + 2))
        order[1], order[-1] = order[-1], order[1]
        self.check(node, "channels and last axis exchanged", perm=(None, order))
        return Value(node.outputs[0], x.channels, 0, node)
