"""A small evaluator of ONNX graphs in NumPy, written from the operators' definitions: the tests' own referee.

Knows the operators of GaNDLF's networks and of what exporters leave around them; one input, one output.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper, numpy_helper


def conv(x, weight, bias, strides, pads, **_):
    rank = weight.ndim - 2
    before, after = pads[:rank], pads[rank:]
    x = np.pad(x, [(0, 0), (0, 0), *zip(before, after)])
    axes = tuple(range(2, rank + 2))
    windows = sliding_window_view(x, weight.shape[2:], axis=axes)
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
    kernel_axes = [1, *range(rank + 2, 2 * rank + 2)]
    y = np.moveaxis(np.tensordot(windows, weight, (kernel_axes, [1, *axes])), -1, 1)
    return y + bias.reshape(-1, *[1] * rank)


def batch_normalization(x, weight, bias, mean, var, epsilon=1e-5, **_):
    scale = weight / np.sqrt(var + epsilon)
    shape = (-1, *[1] * (x.ndim - 2))
    return x * scale.reshape(shape) + (bias - mean * scale).reshape(shape)


def resize(x, roi=None, scales=None, sizes=None, mode=b"nearest", coordinate_transformation_mode=b"half_pixel", **_):
    assert (mode, coordinate_transformation_mode) == (b"linear", b"align_corners")
    factors = np.asarray(sizes) / x.shape if sizes is not None else scales
    for axis, factor in enumerate(factors):
        n = x.shape[axis]
        m = int(n * factor)
        if m == n:
            continue
        at = np.arange(m) * (n - 1) / (m - 1)
        low = np.minimum(at.astype(int), n - 1)
        high = np.minimum(low + 1, n - 1)
        weight = (at - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight
    return x


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


OPERATORS = {
    "Add": lambda a, b: a + b,
    "Mul": lambda a, b: a * b,
    "Identity": lambda x: x,
    "Constant": lambda value: numpy_helper.to_array(value),
    "Shape": lambda x: np.array(x.shape),
    "ConstantOfShape": lambda shape, value: np.full(shape, numpy_helper.to_array(value).item()),
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
    "Tile": np.tile,
    "Reshape": lambda x, shape: x.reshape(shape),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Transpose": lambda x, perm: x.transpose(perm),
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softmax": softmax,
    "Conv": conv,
    "BatchNormalization": batch_normalization,
    "Resize": resize,
}


def evaluate(model, x):
    """The output of `model` for the input `x`, in double precision."""
    graph = model.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    values = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in values.items()}
    (image,) = (i.name for i in graph.input if i.name not in values)
    values[image] = x.astype(np.float64)
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [values[name] if name else None for name in node.input]
        values[node.output[0]] = OPERATORS[node.op_type](*inputs, **attributes)
    return values[graph.output[0].name]
