"""GaNDLF's `unet` and `resunet` as a walk over their operations, for building and for recognising graphs.

Source: GANDLF/models/unet.py and GANDLF/models/seg_modules/; the same network as tools/gandlf_net.py.
"""

DEPTH = 4
SLOPE = 0.01
EPSILON = 1e-5


def walk(g, image):
    """Runs the network on the value `image`; `g` says what values are and what each operation does with them:

    g.base, g.classes                           channels; may be None until the first, the last convolution tells
    g.residual                                  whether blocks end with a sum
    g.norm_before_down(x)                       the order inside the down-sampling block that reads x
    g.conv(name, x, channels, kernel, stride)   padded by kernel // 2, with bias
    g.norm(name, x), g.act(x)                   batch norm at inference, leaky ReLU
    g.add(x, y), g.concat(x, y)                 sum; channels of x, then those of y
    g.up(name, x, channels)                     doubled sides (linear, corners aligned) and 1x1 convolution
    g.final(x)                                  softmax, sigmoid or nothing
    """

    def conv(name, x, channels, stride=1):
        return g.conv(name, x, channels, 3, stride)

    def norm_act(name, x):
        return g.act(g.norm(name, x))

    def add(x, y):
        return g.add(x, y) if g.residual else x

    first = conv("ins.conv0", image, g.base)
    f = g.base
    x = conv("ins.conv1", norm_act("ins.in_0", first), f)
    x = add(conv("ins.conv2", norm_act("ins.in_1", x), f), first)
    skips = []
    for k in range(DEPTH):
        ds, en, c = f"ds_{k}", f"en_{k + 1}", f << (k + 1)
        skips.append(x)
        if g.norm_before_down(x):
            x = conv(f"{ds}.conv0", norm_act(f"{ds}.in_0", x), c, stride=2)
        else:  # up to GaNDLF 0.0.19
            x = norm_act(f"{ds}.in_0", conv(f"{ds}.conv0", x, c, stride=2))
        y = conv(f"{en}.conv0", norm_act(f"{en}.in_0", x), c)
        x = add(conv(f"{en}.conv1", norm_act(f"{en}.in_1", y), c), x)
    for k in reversed(range(DEPTH)):
        us, de, c = f"us_{k}", f"de_{k}", f << max(k, 1)
        both = g.concat(g.up(f"{us}.conv0", x, f << k), skips[k])
        first = conv(f"{de}.conv0", norm_act(f"{de}.in_0", both), c)
        x = conv(f"{de}.conv1", norm_act(f"{de}.in_1", first), c)
        x = add(conv(f"{de}.conv2", norm_act(f"{de}.in_2", x), c), first)
    return g.final(conv("out.conv0", norm_act("out.in_0", x), g.classes))


def state_dict_order(names):
    """The tensor names in the order of GaNDLF's state_dict, the counters of the norms included or not."""
    blocks = ["ins", *(f"{b}_{k + i}" for k in range(DEPTH) for b, i in (("ds", 0), ("en", 1)))]
    blocks += [*(f"{b}_{k}" for k in reversed(range(DEPTH)) for b in ("us", "de")), "out"]
    parts = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    def key(name):
        block, module, part = name.split(".")
        norms_first = block[:2] in ("ds", "en")
        return blocks.index(block), module.startswith("in_") != norms_first, module, parts.index(part)

    return sorted(names, key=key)
