"""Write and read safetensors files; the safetensors package is not needed.

Format: 8 bytes little-endian header length N, N bytes of JSON, then the tensors' bytes back to back.
The header is padded with spaces so that the data begins at a multiple of 64 bytes.
`save` and `load` speak PyTorch tensors; `save`, `read` and the two conversions below do without PyTorch.
Source: the safetensors format description (huggingface/safetensors, README, "Format").
"""

import json
import math
import struct
import sys
from typing import NamedTuple

from output_file import whole_file

# Format name -> (bytes per element, the type's name in PyTorch and NumPy).
DTYPES = {
    "F64": (8, "float64"),
    "F32": (4, "float32"),
    "F16": (2, "float16"),
    "BF16": (2, "bfloat16"),
    "I64": (8, "int64"),
    "I32": (4, "int32"),
    "I16": (2, "int16"),
    "I8": (1, "int8"),
    "U8": (1, "uint8"),
    "BOOL": (1, "bool"),
}


class Stored(NamedTuple):
    """A tensor as the file holds it: little-endian, row-major."""

    dtype: str
    shape: list
    data: bytes


def _from_torch(tensor):
    import torch

    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    size = tensor.element_size()
    if sys.byteorder == "big" and size > 1:
        raw = raw.reshape(-1, size)[:, ::-1]
    names = {name: dtype for dtype, (_, name) in DTYPES.items()}
    return Stored(names[str(tensor.dtype).removeprefix("torch.")], list(tensor.shape), raw.tobytes())


def _to_torch(stored):
    import torch

    dtype = getattr(torch, DTYPES[stored.dtype][1])
    flat = torch.frombuffer(bytearray(stored.data), dtype=dtype) if stored.data else torch.empty(0, dtype=dtype)
    return flat.reshape(stored.shape)


def from_array(array, dtype):
    """Stored from a NumPy array of float32 (to F32, F16 or BF16, rounded to nearest even) or int64 (to I64)."""
    import numpy as np

    if dtype == "BF16":
        bits = np.asarray(array, np.float32).view(np.uint32).astype(np.uint64)
        data = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    else:
        with np.errstate(over="ignore"):
            data = np.asarray(array).astype({"F32": "<f4", "F16": "<f2", "I64": "<i8"}[dtype])
    return Stored(dtype, list(array.shape), data.tobytes())


def to_array(stored):
    """A NumPy array: float32 for F32, F16 and BF16, int64 for I64. KeyError for other types."""
    import numpy as np

    if stored.dtype == "BF16":
        array = (np.frombuffer(stored.data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        source, target = {"F32": ("<f4", "f4"), "F16": ("<f2", "f4"), "I64": ("<i8", "i8")}[stored.dtype]
        array = np.frombuffer(stored.data, source).astype(target)
    return array.reshape(stored.shape)


def save(path, tensors, metadata=None):
    """Write {name: tensor or Stored} and {str: str} to `path`, atomically. Wide types come first: all stay aligned."""
    stored = {name: t if isinstance(t, Stored) else _from_torch(t) for name, t in tensors.items()}
    order = sorted(stored, key=lambda name: -DTYPES[stored[name].dtype][0])  # stable: keeps the given order
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = dict(metadata)
    for name in order:
        dtype, shape, data = stored[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-(8 + len(text)) % 64)
    with whole_file(path) as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        for name in order:
            stream.write(stored[name].data)


def read(path):
    """({name: Stored}, metadata) of a safetensors file. ValueError when it is not one."""
    with open(path, "rb") as stream:
        data = stream.read()
    if len(data) < 8:
        raise ValueError(f"{path}: too short for a safetensors file")
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise ValueError(f"{path}: header of {length} bytes in a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata that is not text")
        "".join((*header, *metadata, *metadata.values())).encode("utf-8")  # half a surrogate pair cannot be stored
        spans = {}
        for name, entry in header.items():
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
                raise ValueError(f"tensor {name}: unusable shape or offsets")
            size = DTYPES[dtype][0] * math.prod(shape)
            if not 0 <= begin <= end <= len(data) - 8 - length or end - begin != size:
                raise ValueError(f"tensor {name} does not fit its shape or the file")
            spans[name] = begin, end
        filled = 0
        for name in sorted(spans, key=spans.get):  # before any copy: overlapping tensors could claim any amount
            if spans[name][0] != filled:
                raise ValueError(f"tensor {name} begins at {spans[name][0]}, {filled} expected: no holes, no overlap")
            filled = spans[name][1]
        if filled != len(data) - 8 - length:
            raise ValueError(f"{len(data) - 8 - length} bytes of data, {filled} of them in tensors")
        tensors = {
            name: Stored(header[name]["dtype"], header[name]["shape"], data[8 + length + begin : 8 + length + end])
            for name, (begin, end) in spans.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: is not a usable safetensors file ({type(error).__name__}: {error})") from error
    return tensors, metadata


def load(path):
    """({name: PyTorch tensor}, metadata) of a safetensors file. ValueError when it is not one."""
    tensors, metadata = read(path)
    return {name: _to_torch(stored) for name, stored in tensors.items()}, metadata
