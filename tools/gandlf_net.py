"""GaNDLF's `unet` and `resunet` in plain PyTorch, for training, exporting and checking.

The parameter names, shapes and registration order are those of GaNDLF's
state_dict, so weights travel both ways. Only PyTorch is needed.

    net = UNet(architecture="resunet", in_channels=3, classes=2, base_filters=16)
    probabilities = net(x)          # x: [N, C, H, W] or [N, C, X, Y, Z], sides divisible by 16

Source: GANDLF/models/unet.py and GANDLF/models/seg_modules/ (GaNDLF 0.0.13 to 0.1.5).
"""

import torch
from torch import nn
from torch.nn import functional as F

DEPTH = 4
SLOPE = 0.01

SIGMOID_NAMES = {"sigmoid", "sig"}
SOFTMAX_NAMES = {"softmax", "soft"}


def _conv(rank, cin, cout, kernel, stride=1):
    cls = nn.Conv2d if rank == 2 else nn.Conv3d
    return cls(cin, cout, kernel, stride=stride, padding=kernel // 2, bias=True)


def _norm(rank, kind, channels):
    # GaNDLF builds InstanceNorm with running statistics: in eval mode it is the same affine as BatchNorm.
    table = {
        ("batch", 2): nn.BatchNorm2d,
        ("batch", 3): nn.BatchNorm3d,
        ("instance", 2): nn.InstanceNorm2d,
        ("instance", 3): nn.InstanceNorm3d,
    }
    return table[kind, rank](channels, eps=1e-5, affine=True, track_running_stats=True)


def _act(x):
    return F.leaky_relu(x, SLOPE, inplace=True)


class Block(nn.Module):
    """Base: remembers rank, norm kind, the residual switch and the dropout rate."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec

    def conv(self, *args, **kwargs):
        return _conv(self.spec["rank"], *args, **kwargs)

    def norm(self, channels):
        return _norm(self.spec["rank"], self.spec["norm"], channels)

    def add(self, x, residual):
        return x + residual if self.spec["residual"] else x

    def drop(self, x):
        p = self.spec["dropout"]
        if p == 0.0 or not self.training:
            return x
        return F.dropout2d(x, p) if self.spec["rank"] == 2 else F.dropout3d(x, p)


class InitialConv(Block):
    def __init__(self, spec, cin, cout):
        super().__init__(spec)
        self.conv0 = self.conv(cin, cout, 3)
        self.conv1 = self.conv(cout, cout, 3)
        self.conv2 = self.conv(cout, cout, 3)
        self.in_0 = self.norm(cout)
        self.in_1 = self.norm(cout)

    def forward(self, x):
        first = self.conv0(x)
        x = self.drop(self.conv1(_act(self.in_0(first))))
        return self.add(self.conv2(_act(self.in_1(x))), first)


class Down(Block):
    """GaNDLF 0.0.20 and later: norm, activation, strided convolution."""

    def __init__(self, spec, cin, cout):
        super().__init__(spec)
        self.in_0 = self.norm(cin)
        self.conv0 = self.conv(cin, cout, 3, stride=2)

    def forward(self, x):
        return self.conv0(_act(self.in_0(x)))


class DownOld(Block):
    """GaNDLF up to 0.0.19: strided convolution, norm, activation."""

    def __init__(self, spec, cin, cout):
        super().__init__(spec)
        self.in_0 = self.norm(cout)
        self.conv0 = self.conv(cin, cout, 3, stride=2)

    def forward(self, x):
        return _act(self.in_0(self.conv0(x)))


class Encode(Block):
    def __init__(self, spec, channels):
        super().__init__(spec)
        self.in_0 = self.norm(channels)
        self.in_1 = self.norm(channels)
        self.conv0 = self.conv(channels, channels, 3)
        self.conv1 = self.conv(channels, channels, 3)

    def forward(self, x):
        y = self.drop(self.conv0(_act(self.in_0(x))))
        return self.add(self.conv1(_act(self.in_1(y))), x)


class Up(Block):
    def __init__(self, spec, cin, cout):
        super().__init__(spec)
        self.conv0 = self.conv(cin, cout, 1)

    def forward(self, x):
        # GaNDLF resizes first and convolves after; a 1x1 convolution and a resize whose weights
        # sum to one commute, and this order does a quarter of the work.
        mode = "bilinear" if self.spec["rank"] == 2 else "trilinear"
        return F.interpolate(self.conv0(x), scale_factor=2, mode=mode, align_corners=True)


class Decode(Block):
    def __init__(self, spec, cin, cout):
        super().__init__(spec)
        self.conv0 = self.conv(cin, cout, 3)
        self.conv1 = self.conv(cout, cout, 3)
        self.conv2 = self.conv(cout, cout, 3)
        self.in_0 = self.norm(cin)
        self.in_1 = self.norm(cout)
        self.in_2 = self.norm(cout)

    def forward(self, up, skip):
        first = self.conv0(_act(self.in_0(torch.cat([up, skip], dim=1))))
        x = self.conv1(_act(self.in_1(first)))
        return self.add(self.conv2(_act(self.in_2(x))), first)


class Out(Block):
    def __init__(self, spec, cin, classes):
        super().__init__(spec)
        self.conv0 = self.conv(cin, classes, 3)
        self.in_0 = self.norm(cin)

    def forward(self, x):
        return self.conv0(_act(self.in_0(x)))


class UNet(nn.Module):
    """`unet` or `resunet`, both topologies. `forward` applies the final layer, `logits` does not."""

    def __init__(
        self,
        architecture="resunet",
        in_channels=3,
        classes=2,
        base_filters=32,
        rank=2,
        norm="batch",
        final_layer="softmax",
        sigmoid_multiplier=1.0,
        topology="new",
        dropout=0.0,
    ):
        super().__init__()
        self.final_layer = final_layer
        self.sigmoid_multiplier = sigmoid_multiplier
        spec = {"rank": rank, "norm": norm, "residual": architecture == "resunet", "dropout": dropout}
        down = Down if topology == "new" else DownOld
        width = [base_filters << level for level in range(DEPTH + 1)]
        self.ins = InitialConv(spec, in_channels, width[0])
        for k in range(DEPTH):
            self.add_module(f"ds_{k}", down(spec, width[k], width[k + 1]))
            self.add_module(f"en_{k + 1}", Encode(spec, width[k + 1]))
        for k in reversed(range(DEPTH)):
            self.add_module(f"us_{k}", Up(spec, width[k + 1], width[k]))
            self.add_module(f"de_{k}", Decode(spec, 2 * width[k], width[k] if k else 2 * width[0]))
        self.out = Out(spec, 2 * width[0], classes)

    def logits(self, x):
        skips = [self.ins(x)]
        for k in range(DEPTH):
            x = getattr(self, f"en_{k + 1}")(getattr(self, f"ds_{k}")(skips[-1]))
            skips.append(x)
        for k in reversed(range(DEPTH)):
            x = getattr(self, f"de_{k}")(getattr(self, f"us_{k}")(x), skips[k])
        return self.out(x)

    def forward(self, x):
        y = self.logits(x)
        if self.final_layer in SIGMOID_NAMES:
            return torch.sigmoid(self.sigmoid_multiplier * y)
        if self.final_layer in SOFTMAX_NAMES:
            return torch.softmax(y, dim=1)
        return y


def hash_uniform(tensor_number, count):
    """`count` numbers in [0, 1) that any language reproduces from 32-bit integer arithmetic.

    For flat element i: h = i * 0x9E3779B1 + tensor_number * 0x85EBCA77 (mod 2^32), then
    h ^= h >> 15; h *= 0x2C1B3C6D; h ^= h >> 12; h *= 0x297A2D39; h ^= h >> 15; result h / 2^32 (float64).
    """
    mask = 0xFFFFFFFF
    h = torch.arange(count, dtype=torch.int64)
    h = (h * 0x9E3779B1 + tensor_number * 0x85EBCA77) & mask
    h = h ^ (h >> 15)
    h = (h * 0x2C1B3C6D) & mask
    h = h ^ (h >> 12)
    h = (h * 0x297A2D39) & mask
    h = h ^ (h >> 15)
    return h.to(torch.float64) / 2.0**32


def fill_with_hash(net):
    """Overwrite every weight of `net` with hash numbers; see tests/models/make_fixtures.py for the rule."""
    with torch.no_grad():
        for number, (name, tensor) in enumerate(net.state_dict().items()):
            if not tensor.is_floating_point():
                tensor.zero_()
                continue
            u = hash_uniform(number, tensor.numel())
            if name.endswith("running_var"):
                u = 0.5 + u
            elif name.endswith(("running_mean", "bias")):
                u = (u - 0.5) * 0.2
            elif tensor.dim() == 1:
                u = 0.5 + u
            else:
                fan_in = tensor[0].numel()
                u = (u - 0.5) * 2.0 * (3.0 / fan_in) ** 0.5
            tensor.copy_(u.to(torch.float32).view_as(tensor))
    return net
