"""What an integer network computes, slowly and exactly, in NumPy: the reference for every other implementation.

    net = Int8Network("nuclei.int8.safetensors")
    logits = net.logits(image)       # uint8 [H, W, channels], sides multiples of 16 -> int32 [classes, H, W]
    classes = logits.argmax(0)

    python int8_reference.py MODEL IMAGE.safetensors OUTPUT.safetensors     `image` U8 in, `logits` I32 out

docs/quantization.md describes the file and the arithmetic. All values are integers; the one float operation is
the product of a float32 and a float32, rounded to float32. Matrix products run in float32 or float64 for speed
where every partial sum is an integer that the type represents exactly.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import safetensors_io  # noqa: E402

SLOPE = np.float32(0.01)
ONE = np.float32(1.0)


def to_array(stored):
    kind = np.dtype(safetensors_io.DTYPES[stored.dtype][1]).newbyteorder("<")
    return np.frombuffer(stored.data, kind).astype(kind.newbyteorder("=")).reshape(stored.shape)


def requantize(v, m_pos, m_neg, low, high):
    """v: integers below 2^31 in magnitude. One conversion, one multiplication, a clamp, one rounding to even."""
    assert np.abs(v).max() < 2**31
    v = v.astype(np.int32)
    product = v.astype(np.float32) * np.where(v < 0, m_neg, m_pos)
    assert product.dtype == np.float32
    return np.rint(np.clip(product, np.float32(low), np.float32(high))).astype(np.int32)


def to_act(v, m_pos, m_neg, z):
    return requantize(v, m_pos, m_neg, -z, 255 - z) + z


def exact_product(a, b, largest):
    """a @ b for integers; `largest` bounds the magnitude of every partial sum."""
    assert largest < 2**53
    kind = np.float32 if largest <= 2**24 else np.float64
    return a.astype(kind) @ b.astype(kind)


def resize_axis(n):
    """Neighbours and the upper one's weight in 128ths for each of 2n outputs, corners aligned."""
    product = np.arange(2 * n, dtype=np.int64) * (n - 1)
    lo, rest = np.divmod(product, 2 * n - 1)
    return lo, np.minimum(lo + 1, n - 1), (256 * rest + 2 * n - 1) // (2 * (2 * n - 1))


def enlarge(raw):
    """Twice as high and wide, times 2^14."""
    lo, hi, weight = resize_axis(raw.shape[0])
    weight = weight[:, None, None]
    rows = raw[lo] * (128 - weight) + raw[hi] * weight
    lo, hi, weight = resize_axis(raw.shape[1])
    weight = weight[None, :, None]
    return rows[:, lo] * (128 - weight) + rows[:, hi] * weight


class Int8Network:
    """Tensors between layers are int64 arrays [H, W, channels]: acts 0..255, raws -32768..32767."""

    def __init__(self, path):
        stored, self.metadata = safetensors_io.read(path)
        if self.metadata.get("quantization") != "int8" or self.metadata.get("quantization_version") != "1":
            raise ValueError(f"{path}: not an INT8 model of version 1")
        self.tensors = {name: to_array(t) for name, t in stored.items()}
        self.residual = self.metadata["architecture"] == "resunet"
        self.transposed = self.metadata.get("axis_order", "hw") == "wh"

    def scalar(self, name):
        return self.tensors[name].item()

    def kind(self, layer):
        return self.metadata[f"{layer}.output"]

    def source(self, layer, index, tensor, maker, slope, enlarged):
        """A source of `layer` as it multiplies it."""
        if self.kind(maker) == "act":
            assert slope == ONE and not enlarged and f"{layer}.source{index}.multiplier" not in self.tensors
            assert self.scalar(f"{maker}.output_scale") == self.scalar(f"{layer}.input_scale")
            assert self.scalar(f"{maker}.output_zero_point") == self.scalar(f"{layer}.input_zero_point")
            return tensor
        name = f"{layer}.source{index}"
        if enlarged:
            v = enlarge(tensor)
        else:
            v = tensor * self.tensors[f"{name}.scale"].astype(np.int64) + self.tensors[f"{name}.shift"]
        m_pos = self.tensors[f"{name}.multiplier"][0]
        return to_act(v, m_pos, slope * m_pos, self.scalar(f"{layer}.input_zero_point")).astype(np.int64)

    def sums(self, layer, x, stride):
        """The convolution itself with its bias, int64."""
        weight = self.tensors[f"{layer}.weight"].astype(np.int64)
        outputs, channels, k, _ = weight.shape
        height, width = x.shape[0] // stride, x.shape[1] // stride
        z, pad = self.scalar(f"{layer}.input_zero_point"), k // 2
        x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), constant_values=z)
        largest = int(np.abs(x).max()) * int(np.abs(weight).max()) * channels
        acc = np.zeros((height * width, outputs))
        for ky in range(k):
            for kx in range(k):
                window = x[ky : ky + height * stride : stride, kx : kx + width * stride : stride]
                acc += exact_product(window.reshape(-1, channels), weight[:, :, ky, kx].T, largest)
        acc = acc.astype(np.int64) + self.tensors[f"{layer}.bias"]
        assert np.abs(acc).max() < 2**31
        return acc.reshape(height, width, outputs)

    def conv(self, layer, x, stride=1, residual=None):
        """One layer on the integers that it multiplies."""
        acc = self.sums(layer, x, stride)
        kind = self.kind(layer)
        m_pos = self.tensors[f"{layer}.multiplier"]
        if kind == "logits":
            return requantize(acc, m_pos, m_pos, -(2**23), 2**23)
        if kind == "act":
            assert residual is None
            return to_act(acc, m_pos, SLOPE * m_pos, self.scalar(f"{layer}.output_zero_point")).astype(np.int64)
        v = requantize(acc, m_pos, m_pos, -32768, 32767).astype(np.int64)
        return v if residual is None else np.clip(v + residual, -32768, 32767)

    def logits(self, image):
        """int32 [classes, H, W] in units of 1/256."""
        if self.transposed:
            image = image.transpose(1, 0, 2)

        def read(layer, tensor, maker):
            return self.source(layer, 0, tensor, maker, ONE if self.kind(maker) == "act" else SLOPE, False)

        table = self.tensors["ins.conv0.table"]
        x = np.stack([table[c][image[:, :, c]] for c in range(image.shape[2])], -1).astype(np.int64)
        first = self.conv("ins.conv0", x)
        x = self.conv("ins.conv1", read("ins.conv1", first, "ins.conv0"))
        x = self.conv("ins.conv2", x, residual=first if self.residual else None)
        maker, skips = "ins.conv2", []
        for k in range(4):
            skips.append((x, maker))
            ds, en = f"ds_{k}.conv0", f"en_{k + 1}.conv"
            down = self.conv(ds, read(ds, x, maker), stride=2)
            x = self.conv(en + "0", read(en + "0", down, ds))
            x = self.conv(en + "1", x, residual=down if self.residual else None)
            maker = en + "1"
        for k in (3, 2, 1, 0):
            us, de = f"us_{k}.conv0", f"de_{k}.conv"
            assert self.scalar(f"{us}.input_scale") == self.scalar(f"{maker}.output_scale")
            up = self.conv(us, x)
            skip, skip_maker = skips[k]
            halves = [
                self.source(de + "0", 0, up, us, SLOPE, True),
                self.source(de + "0", 1, skip, skip_maker, SLOPE, False),
            ]
            first = self.conv(de + "0", np.concatenate(halves, -1))
            x = self.conv(de + "1", read(de + "1", first, de + "0"))
            x = self.conv(de + "2", x, residual=first if self.residual else None)
            maker = de + "2"
        y = self.conv("out.conv0", read("out.conv0", x, maker)).transpose(2, 0, 1)
        return np.ascontiguousarray(y.transpose(0, 2, 1) if self.transposed else y)


def main():
    model, source, output = sys.argv[1:]
    image = to_array(safetensors_io.read(source)[0]["image"])
    logits = Int8Network(model).logits(image)
    stored = safetensors_io.Stored("I32", list(logits.shape), logits.astype("<i4").tobytes())
    safetensors_io.save(output, {"logits": stored})


if __name__ == "__main__":
    main()
