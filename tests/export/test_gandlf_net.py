"""tools/gandlf_net.py against numbers printed by GaNDLF's own modules, on hash-generated weights.

base_filters 4, 2 classes, batch norm; 2D input [1,3,32,48], 3D input [1,1,16,32,16]; input and weights
by the hash rule of tests/models/make_fixtures.py. Each row: first six and last three outputs, mean, min, max.
"""

import sys
import unittest
from pathlib import Path

try:
    import torch
except ImportError:
    print("test_gandlf_net: PyTorch is not installed")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from gandlf_net import UNet, fill_with_hash, hash_uniform  # noqa: E402

GOLDEN = [
    # architecture, topology, rank, final layer, first six, last three, (mean, min, max)
    ("unet", "new", 2, "sigmoid", [0.514768, 0.511519, 0.501044, 0.502215, 0.50051, 0.499153], [0.521821, 0.514789, 0.51974], (0.5431546, 0.493319, 0.590639)),
    ("unet", "new", 3, "sigmoid", [0.499732, 0.493117, 0.484043, 0.48377, 0.478335, 0.476348], [0.501498, 0.498189, 0.503778], (0.5003917, 0.460687, 0.537075)),
    ("resunet", "new", 2, "sigmoid", [0.532812, 0.50578, 0.515578, 0.520965, 0.507399, 0.502982], [0.516742, 0.505054, 0.521147], (0.5379235, 0.435619, 0.634488)),
    ("resunet", "new", 2, "softmax", [0.533917, 0.462767, 0.48776, 0.481446, 0.478178, 0.458906], [0.491981, 0.495587, 0.536468], (0.5, 0.325511, 0.674489)),
    ("resunet", "new", 3, "sigmoid", [0.493913, 0.483987, 0.49971, 0.502717, 0.495939, 0.505326], [0.494729, 0.488239, 0.499063], (0.4990330, 0.371747, 0.644119)),
    ("resunet", "new", 3, "softmax", [0.502479, 0.461916, 0.510433, 0.4774, 0.477016, 0.48132], [0.485297, 0.47872, 0.505783], (0.5, 0.322330, 0.677670)),
    ("unet", "old", 2, "sigmoid", [0.514745, 0.511377, 0.500901, 0.502052, 0.50046, 0.499216], [0.521762, 0.514701, 0.519772], (0.5430697, 0.493366, 0.591660)),
    ("unet", "old", 3, "sigmoid", [0.499991, 0.492703, 0.48353, 0.482822, 0.477455, 0.475553], [0.501581, 0.498341, 0.503691], (0.5002772, 0.459460, 0.538270)),
    ("resunet", "old", 2, "sigmoid", [0.531848, 0.503929, 0.505806, 0.512671, 0.510841, 0.510811], [0.515514, 0.500143, 0.521701], (0.5372528, 0.436397, 0.634421)),
    ("resunet", "old", 3, "sigmoid", [0.488348, 0.496216, 0.513497, 0.512183, 0.500357, 0.508827], [0.513857, 0.492845, 0.504405], (0.5026324, 0.320499, 0.701007)),
]  # fmt: skip


class GandlfNet(unittest.TestCase):
    def test_generator(self):
        for t, expected in ((0, [0, 0.12644984, 0.24954471, 0.93336958]), (7, [0.99974398, 0.01064351, 0.86613736, 0.1613746])):
            for got, want in zip(hash_uniform(t, 4).tolist(), expected):
                self.assertAlmostEqual(got, want, delta=5e-9)

    def test_golden_outputs(self):
        for norm in ("batch", "instance"):
            for architecture, topology, rank, final, first, last, (mean, low, high) in GOLDEN:
                with self.subTest(architecture=architecture, topology=topology, rank=rank, final=final, norm=norm):
                    channels, size = (3, (32, 48)) if rank == 2 else (1, (16, 32, 16))
                    net = UNet(architecture, channels, 2, 4, rank, norm, final, topology=topology).eval()
                    fill_with_hash(net)
                    x = hash_uniform(1000, channels * torch.Size(size).numel()).to(torch.float32)
                    with torch.inference_mode():
                        y = net(x.view(1, channels, *size)).flatten()
                    for got, want in zip(y[:6].tolist() + y[-3:].tolist(), first + last):
                        self.assertAlmostEqual(got, want, delta=2e-6)
                    self.assertAlmostEqual(y.mean().item(), mean, delta=1e-6)
                    self.assertAlmostEqual(y.min().item(), low, delta=2e-6)
                    self.assertAlmostEqual(y.max().item(), high, delta=2e-6)

    def test_sizes(self):
        def parameters(**kwargs):
            return sum(p.numel() for p in UNet(**kwargs).parameters())

        self.assertEqual(parameters(base_filters=32), 11249314)
        self.assertEqual(parameters(base_filters=32, topology="old"), 11250274)
        self.assertEqual(parameters(base_filters=16, rank=3, in_channels=1), 8347090)
        self.assertEqual(len(UNet(base_filters=4).state_dict()), 199)

    def test_residual_matters_and_dropout_only_trains(self):
        x = torch.rand(1, 3, 16, 32)
        plain, residual = (fill_with_hash(UNet(a, base_filters=4).eval()) for a in ("unet", "resunet"))
        self.assertGreater((plain(x) - residual(x)).abs().max().item(), 1e-3)
        dropping = fill_with_hash(UNet("unet", base_filters=4, dropout=0.5).eval())
        self.assertTrue(torch.equal(dropping(x), plain(x)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
