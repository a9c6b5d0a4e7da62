"""Write and read safetensors files with PyTorch tensors; the safetensors package is not needed.

Format: 8 bytes little-endian header length N, N bytes of JSON, then the tensors' bytes back to back.
The header is padded with spaces so that the data begins at a multiple of 64 bytes.
Source: the safetensors format description (huggingface/safetensors, README, "Format").
"""

import json
import os
import struct
import sys

import torch

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def _bytes(tensor):
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    size = tensor.element_size()
    if sys.byteorder == "big" and size > 1:
        raw = raw.reshape(-1, size)[:, ::-1]
    return raw.tobytes()


def save(path, tensors, metadata=None):
    """Write {name: tensor} and {str: str} to `path`, atomically. Wide types come first, so all stay aligned."""
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())  # stable: keeps the given order
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = dict(metadata)
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-(8 + len(text)) % 64)
    folder, name = os.path.split(os.fspath(path))
    partial = os.path.join(folder, "." + name + ".part")
    with open(partial, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        for name in order:
            stream.write(_bytes(tensors[name]))
    os.replace(partial, path)


def load(path):
    """(tensors, metadata) of a safetensors file. ValueError when it is not one."""
    with open(path, "rb") as stream:
        data = stream.read()
    if len(data) < 8:
        raise ValueError(f"{path}: too short for a safetensors file")
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise ValueError(f"{path}: header of {length} bytes in a file of {len(data)}")
    header = json.loads(data[8 : 8 + length].decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        part = bytearray(data[begin:end])
        dtype = DTYPES[entry["dtype"]]
        flat = torch.frombuffer(part, dtype=dtype) if part else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(entry["shape"]).clone()
    return tensors, metadata
