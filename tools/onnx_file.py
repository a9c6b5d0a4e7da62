"""An ONNX file as a plain graph: nodes that compute, and constants. Nothing is trusted, nothing is run.

Source: the ONNX intermediate representation (onnx/onnx, docs/IR.md, docs/Operators.md, docs/ExternalData.md).
"""

import math
import os
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from model_facts import Refused
from onnx import AttributeProto, ModelProto, TensorProto

FILE_LIMIT = 2**31 - 1  # bytes; what protobuf can hold
FOLD_LIMIT, FOLD_TOTAL = 2**16, 2**22  # elements per constant expression and in all; real files are far below
DIMENSIONS = 8
TYPES = {TensorProto.FLOAT: ("<f4", "float_data"), TensorProto.INT64: ("<i8", "int64_data")}


class Node:
    """op is the type, "domain::type" outside the standard domain; inputs are value names, "" where left out."""

    def __init__(self, proto, inputs):
        standard = proto.domain in ("", "ai.onnx")
        self.op = proto.op_type if standard else f"{proto.domain}::{proto.op_type}"
        self.inputs = inputs
        self.outputs = list(proto.output)
        self.label = f"node '{(proto.name or (self.outputs or ['?'])[0])[:100]}' ({self.op[:50]})"
        self.attributes = {a.name: _attribute(a) for a in proto.attribute}


def _attribute(a):
    if a.ref_attr_name:
        return a
    plain = {AttributeProto.INT: "i", AttributeProto.FLOAT: "f", AttributeProto.STRING: "s", AttributeProto.TENSOR: "t"}
    if a.type in plain:
        return getattr(a, plain[a.type])
    if a.type == AttributeProto.INTS:
        return list(a.ints)
    return a  # equal to nothing that is ever expected


class OnnxFile:
    """Checked on the way in: one input, one output, every value made once. `nodes` lack what is constant."""

    def __init__(self, path):
        self.folder = Path(path).parent
        model = _parse(path)
        graph = model.graph
        self.metadata = {p.key: p.value for p in model.metadata_props}
        tensors = (*graph.initializer, *(a.t for node in graph.node for a in node.attribute))
        named = {e.value for tensor in tensors for e in tensor.external_data if e.key == "location"}
        self.external = [self.folder / location for location in named]  # read or not
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        self.opset = versions[0] if len(versions) == 1 else 0
        if self.opset < 11:
            raise Refused(f"is of ONNX opset {self.opset}: 11 or later expected (export with opset_version=11)")
        if graph.sparse_initializer:
            raise Refused("holds sparse tensors")

        self._constants = {}  # name -> TensorProto or array
        for tensor in graph.initializer:
            if tensor.name in self._constants:
                raise Refused(f"tensor '{tensor.name}' is there twice")
            self._constants[tensor.name] = tensor
        inputs = [i for i in graph.input if i.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise Refused(f"has {len(inputs)} inputs and {len(graph.output)} outputs: one image in, one result out")
        self.input = inputs[0].name
        if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
            raise Refused(f"input '{self.input}' is not of type FLOAT")
        # None for a size that is open.
        self.input_shape = [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim]

        self._folded = 0
        self.nodes, alias = [], {}
        made = {*self._constants, self.input}
        for proto in graph.node:
            node = Node(proto, [alias.get(name, name) for name in proto.input])
            for name in filter(None, node.outputs):
                if name in made:
                    raise Refused(f"{node.label}: value '{name}' is made twice")
                made.add(name)
            if node.op == "Identity" and len(node.inputs) == len(node.outputs) == 1:
                alias[node.outputs[0]] = node.inputs[0]
            elif not self._fold(node):
                self.nodes.append(node)
        self.output = alias.get(graph.output[0].name, graph.output[0].name)
        self.readers = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers[name].append(node)

    def array(self, name):
        """The constant of that name; None where it is none. Refuses types other than FLOAT and INT64."""
        constant = self._constants.get(name)
        if isinstance(constant, TensorProto):
            constant = self._constants[name] = self._decode(constant)
        return constant

    def _fold(self, node):
        """Keeps the result of a node whose inputs are all constant, of the few kinds that exporters leave."""
        if node.op == "Constant" and list(node.attributes) == ["value"]:
            result = node.attributes["value"]
        elif node.op in FOLDS and all(name in self._constants for name in node.inputs):
            try:
                attributes = {
                    k: self._decode(v) if isinstance(v, TensorProto) else v for k, v in node.attributes.items()
                }
                result = FOLDS[node.op](*(self.array(name) for name in node.inputs), **attributes)
            except (ValueError, TypeError, IndexError, OverflowError):
                return False  # stays a node; nothing will match it
        else:
            return False
        if len(node.outputs) != 1 or not isinstance(result, (TensorProto, np.ndarray)):
            return False
        self._folded += getattr(result, "size", 0)
        if self._folded > FOLD_TOTAL:
            raise Refused(f"{node.label}: the constant expressions of the file are too large")
        self._constants[node.outputs[0]] = result
        return True

    def _decode(self, tensor):
        name = f"tensor '{tensor.name}'"
        if tensor.data_type not in TYPES:
            known = dict((v, k) for k, v in TensorProto.DataType.items())
            raise Refused(f"{name} is of type {known.get(tensor.data_type, tensor.data_type)}, FLOAT expected")
        kind, field = TYPES[tensor.data_type]
        shape = list(tensor.dims)
        if len(shape) > DIMENSIONS or any(d < 0 for d in shape):
            raise Refused(f"{name} has shape {shape[:DIMENSIONS]}")
        count = math.prod(shape)
        if tensor.data_location == TensorProto.EXTERNAL:
            data = np.frombuffer(self._external(tensor, count * np.dtype(kind).itemsize), kind)
        elif tensor.HasField("raw_data"):
            if len(tensor.raw_data) != count * np.dtype(kind).itemsize:
                raise Refused(f"{name} of shape {shape} holds {len(tensor.raw_data)} bytes")
            data = np.frombuffer(tensor.raw_data, kind)
        else:
            values = getattr(tensor, field)
            if len(values) != count:
                raise Refused(f"{name} of shape {shape} holds {len(values)} values")
            data = np.array(values, kind)
        try:
            return data.reshape(shape)
        except ValueError:  # no elements, yet sides that no array can have
            raise Refused(f"{name} has shape {shape}") from None

    def _external(self, tensor, size):
        """`size` bytes of a file in the model's own folder; links that lead out of it are not followed."""
        name = f"tensor '{tensor.name}'"
        entry = {e.key: e.value for e in tensor.external_data}
        location = entry.get("location", "")
        folder = self.folder.resolve()
        try:
            path = (folder / location).resolve()
            direct = not Path(location).is_absolute() and ".." not in Path(location).parts
            inside = direct and path != folder and folder in path.parents
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise Refused(f"{name}: external data '{location}' is outside the model's folder")
        offset, length = entry.get("offset", "0"), entry.get("length", str(size))
        if not (offset.isdecimal() and length == str(size)):
            raise Refused(f"{name}: external data of {length} bytes at {offset}, {size} bytes expected")
        try:
            if path.stat().st_size < int(offset) + size:
                raise Refused(f"{name}: external data '{location}' is too short")
            with open(path, "rb") as stream:
                stream.seek(int(offset))
                return stream.read(size)
        except (OSError, ValueError) as error:
            raise Refused(f"{name}: external data '{location}': {error}") from error


def _parse(path):
    if not os.path.isfile(path):
        raise Refused("no such file")
    try:
        if os.stat(path).st_size > FILE_LIMIT:
            raise Refused("is larger than an ONNX file can be")
        model, data = ModelProto(), Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some versions of protobuf only warn about data left over
            parsed = model.ParseFromString(data)
    except DecodeError as error:
        raise Refused("is not an ONNX file, or is truncated") from error
    if parsed != len(data):
        raise Refused("is not an ONNX file, or is truncated")
    if not model.graph.node or not model.opset_import:
        raise Refused("is not an ONNX model: it has no nodes or states no opset")
    return model


# ---- constant expressions: what is left of InstanceNorm's repeated statistics, and of shapes -----------


def _bounded(shape):
    if len(shape) > DIMENSIONS:
        raise ValueError("too many dimensions")
    shape = [int(n) for n in shape]
    if any(n < 0 for n in shape) or math.prod(shape) > FOLD_LIMIT:
        raise ValueError("too large")
    return shape


def _tile(x, repeats):
    _bounded([n * int(r) for n, r in zip(x.shape, repeats, strict=True)])
    return np.tile(x, repeats)


def _expand(x, shape):
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_bounded(shape))))


def _fill(shape, value):
    if not isinstance(value, np.ndarray):
        raise TypeError("not a tensor")
    return np.full(_bounded(shape), value.item(), value.dtype)


def _join(*parts, axis):
    _bounded([sum(part.size for part in parts)])
    return np.concatenate(parts, axis=axis)


FOLDS = {
    "Shape": lambda x: np.array(x.shape, np.int64),
    "ConstantOfShape": _fill,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": _join,
}
