"""Input files for command-line tests, written without any package: a small network and PNG images."""
import array
import json
import math
import struct
import zlib


def resunet_shapes(base, channels=3, classes=2):
    """Names and shapes of a GaNDLF resunet's state_dict (strided convolution after its norm)."""
    shapes = {}

    def conv(name, out, inputs, k):
        shapes[name + ".weight"] = [out, inputs, k, k]
        shapes[name + ".bias"] = [out]

    def norm(name, c):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = [c]

    f = base
    conv("ins.conv0", f, channels, 3)
    for i in (1, 2):
        conv(f"ins.conv{i}", f, f, 3)
        norm(f"ins.in_{i - 1}", f)
    for k in range(4):
        c = f << k
        norm(f"ds_{k}.in_0", c)
        conv(f"ds_{k}.conv0", 2 * c, c, 3)
        for i in (0, 1):
            norm(f"en_{k + 1}.in_{i}", 2 * c)
            conv(f"en_{k + 1}.conv{i}", 2 * c, 2 * c, 3)
    for k in (3, 2, 1, 0):
        c = f << k
        out = 2 * f if k == 0 else c
        conv(f"us_{k}.conv0", c, 2 * c, 1)
        norm(f"de_{k}.in_0", 2 * c)
        conv(f"de_{k}.conv0", out, 2 * c, 3)
        for i in (1, 2):
            norm(f"de_{k}.in_{i}", out)
            conv(f"de_{k}.conv{i}", out, out, 3)
    norm("out.in_0", 2 * f)
    conv("out.conv0", classes, 2 * f, 3)
    return shapes


def write_model(path, base=4, shapes=None, **metadata):
    """Pseudo-random weights of sane size; `metadata` overrides the defaults, None leaves a key out."""
    facts = {
        "microtome.version": "1", "architecture": "resunet", "final_layer": "softmax",
        "class_names": '["background","nucleus"]', "class_colors": '["","#ff0000"]',
        "spacing_um_px": "0.5", "patch_size_pixels": "64", "stride_pixels": "32",
    }
    facts.update(metadata)
    header = {"__metadata__": {k: v for k, v in facts.items() if v is not None}}
    data = array.array("f")
    state = 1
    for name, shape in (shapes or resunet_shapes(base)).items():
        count = math.prod(shape)
        scale = math.sqrt(3.0 / math.prod(shape[1:])) if len(shape) == 4 else 0.2
        offset = 1.0 if name.endswith(("running_var", "in_0.weight", "in_1.weight", "in_2.weight")) else 0.0
        begin = 4 * len(data)
        for _ in range(count):
            state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
            data.append(offset + scale * (state / 2**31 - 1.0))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, 4 * len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data.tobytes())


def write_png(path, width, height, pixel):
    """RGB image whose pixel (x, y) is pixel(x, y)."""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def stained(x, y):
    """Pink tissue with violet spots."""
    return (110, 60, 140) if (x // 9 + y // 7) % 3 == 0 else (220, 150 + (x * 7 + y * 3) % 30, 190)


def write_sparse_tiff(path, width, height, tile=None, samples=3):
    """BigTIFF whose tiles (or one-row strips, tile=None) are all absent: a small file of any size in pixels."""
    count = -(-width // tile) * -(-height // tile) if tile else height
    zeros = bytes(8 * count)
    tags = [(256, 4, width), (257, 4, height), (258, 3, [8] * samples), (259, 3, 1), (262, 3, 2 if samples == 3 else 1),
            (277, 3, samples), (284, 3, 1)]
    if tile:
        tags += [(322, 4, tile), (323, 4, tile), (324, 16, zeros), (325, 16, zeros)]
    else:
        tags += [(273, 16, zeros), (278, 4, 1), (279, 16, zeros)]
    tags.sort()
    size = {3: 2, 4: 4, 16: 8}
    entries, behind = b"", b""
    first_behind = 16 + 8 + 20 * len(tags) + 8
    for tag, kind, value in tags:
        if not isinstance(value, bytes):
            values = value if isinstance(value, list) else [value]
            value = b"".join(v.to_bytes(size[kind], "little") for v in values)
        n = len(value) // size[kind]
        if len(value) > 8:
            behind, value = behind + value, struct.pack("<Q", first_behind + len(behind))
        entries += struct.pack("<HHQ", tag, kind, n) + value.ljust(8, b"\0")
    with open(path, "wb") as f:
        f.write(b"II\x2b\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)) + entries + bytes(8) + behind)
