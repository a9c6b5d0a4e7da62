"""tools/import_onnx.py and tools/export_onnx.py against PyTorch: what torch.onnx writes is read back to weights that
compute the same, and what is exported computes the same in ONNX Runtime where that is installed."""

import contextlib
import io
import logging
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from unittest import mock

try:
    import onnx
    import torch
    from torch.nn import functional as F
except ImportError as missing:
    print(f"test_onnx_torch: {missing.name} is not installed")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import export_onnx  # noqa: E402
import gandlf_net  # noqa: E402
import import_onnx  # noqa: E402
import safetensors_io  # noqa: E402
from gandlf_net import UNet  # noqa: E402

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

LIMIT = 1e-5


def enlarge_first(self, x):
    """gandlf_net.Up.forward in the order of GaNDLF's own module."""
    mode = "bilinear" if self.spec["rank"] == 2 else "trilinear"
    return self.conv0(F.interpolate(x, scale_factor=2, mode=mode, align_corners=True))


def network(**kwargs):
    """Random weights; norms far from the identity, some scales negative; activations of order one."""
    generator = torch.Generator().manual_seed(7)
    net = UNet(**{"base_filters": 4, **kwargs}).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.3, 2.0, generator=generator)
            elif tensor.dim() > 1:
                tensor.normal_(0, (1 / tensor[0].numel()) ** 0.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.uniform_(-0.3, 1.2, generator=generator)
    return net


class Torch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model, self.output = self.folder / "model.onnx", self.folder / "model.safetensors"

    def run_tool(self, tool, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = tool.main([str(arg) for arg in args])
        return code, err.getvalue()

    def write(self, net, x, opset, **kwargs):
        kwargs.setdefault("dynamo", False)
        if "dynamo" not in torch.onnx.export.__code__.co_varnames:  # before PyTorch 2.5 there is only one exporter
            kwargs.pop("dynamo")
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net,
                (x,),
                str(self.model),
                opset_version=opset,
                input_names=["input"],
                output_names=["output"],
                **kwargs,
            )

    def check(self, net, x, opset, exact=False, **kwargs):
        """Exports `net`, imports the file, and compares PyTorch with PyTorch."""
        self.write(net, x, opset, **kwargs)
        code, err = self.run_tool(import_onnx, self.model, "-o", self.output, "--normalization", "div255")
        self.assertEqual((code, err), (0, ""))
        tensors, facts = safetensors_io.load(self.output)
        base, channels = tensors["ins.conv0.weight"].shape[:2]
        topology = "new" if len(tensors["ds_0.in_0.weight"]) == base else "old"
        again = UNet(
            facts["architecture"],
            channels,
            len(tensors["out.conv0.bias"]),
            base,
            int(facts["spatial_dims"]),
            final_layer=facts["final_layer"],
            sigmoid_multiplier=float(facts["sigmoid_input_multiplier"]),
            topology=topology,
        ).eval()
        again.load_state_dict(tensors)
        if exact:
            for name, tensor in net.state_dict().items():
                if tensor.is_floating_point():
                    self.assertTrue(torch.equal(tensors[name], tensor), name)
        with torch.inference_mode():
            expected, got = net(x), again(x)
        self.assertGreater(expected.std().item(), 0.01, "an output that tells something")
        self.assertLessEqual((expected - got).abs().max().item(), LIMIT)
        return facts

    def test_exports(self):
        cases = [  # architecture, topology, norm, final layer, opset, folding, GaNDLF's order of the up-sampling
            ("resunet", "new", "batch", "softmax", 11, True, True),
            ("resunet", "old", "batch", "sigmoid", 11, True, False),
            ("unet", "new", "batch", "sigmoid", 13, True, False),
            ("unet", "old", "batch", "softmax", 13, False, True),
            ("resunet", "new", "batch", "none", 17, False, False),
            ("unet", "new", "batch", "none", 17, True, True),
            ("resunet", "old", "instance", "softmax", 11, True, True),
            ("unet", "new", "instance", "sigmoid", 17, False, True),
        ]
        for architecture, topology, norm, final, opset, folding, theirs in cases:
            with self.subTest(architecture=architecture, topology=topology, norm=norm, opset=opset, folding=folding):
                options = {"final_layer": final, "topology": topology, "norm": norm, "sigmoid_multiplier": 2.5}
                net = network(architecture=architecture, **options)
                forward = enlarge_first if theirs else gandlf_net.Up.forward
                with mock.patch.object(gandlf_net.Up, "forward", forward):
                    facts = self.check(
                        net, torch.rand(1, 3, 32, 48), opset, exact=norm == "instance", do_constant_folding=folding
                    )
                self.assertEqual((facts["architecture"], facts["final_layer"]), (architecture, final))

    def test_3d(self):
        net = network(rank=3, in_channels=1, topology="old")
        self.assertEqual(self.check(net, torch.rand(1, 1, 16, 32, 16), 11)["spatial_dims"], "3")

    def test_unfolded_and_open_sizes(self):
        """Norms that are kept come back bit by bit, whatever the sizes of the example were."""
        axes = {"input": {0: "batch", 2: "height", 3: "width"}}
        keep = torch.onnx.TrainingMode.PRESERVE  # eval mode without the folding of norms
        self.check(network(), torch.rand(2, 3, 16, 32), 17, exact=True, training=keep, dynamic_axes=axes)

    def test_dynamo(self):
        try:
            import onnxscript  # noqa: F401
        except ImportError:
            self.skipTest("onnxscript is not installed")
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.check(network(), torch.rand(1, 3, 32, 48), 18, dynamo=True)
        self.assertTrue(Path(f"{self.model}.data").exists(), "weights beside the file")
        self.check(network(architecture="unet", norm="instance"), torch.rand(1, 3, 16, 32), 18, dynamo=True, exact=True)

    def test_other_networks_are_refused(self):
        """Networks that differ by one thing; the message names the node."""

        class Relu(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = network(final_layer="none")

            def forward(self, x):
                return F.relu(self.net(x))

        class Shallow(UNet):
            def logits(self, x):
                return self.out(self.de_0(self.us_0(self.en_1(self.ds_0(self.ins(x)))), self.ins(x)))

        x = torch.rand(1, 3, 32, 48)
        for net, text in (
            (Relu(), "(Relu) is not part of GaNDLF's resunet"),
            (Shallow(base_filters=4).eval(), "does not match"),
            (torch.nn.Conv2d(3, 4, 3, padding=1).eval(), "nothing reads"),
            (torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, padding=2)).eval(), "weights of shape"),
        ):
            with self.subTest(text):
                self.write(net, x, 17)
                code, err = self.run_tool(import_onnx, self.model, "-o", self.output, "--normalization", "div255")
                self.assertEqual(code, 3)
                self.assertIn(text, err)
        slope = mock.patch.object(gandlf_net, "SLOPE", 0.02)
        corners = mock.patch.object(
            gandlf_net.Up, "forward", lambda self, x: F.interpolate(self.conv0(x), scale_factor=2, mode="bilinear")
        )
        for change, text in ((slope, "alpha is 0.02,"), (corners, "half_pixel, align_corners expected")):
            with self.subTest(text), change:
                self.write(network(), x, 13)
                code, err = self.run_tool(import_onnx, self.model, "-o", self.output, "--normalization", "div255")
                self.assertEqual(code, 3)
                self.assertIn(text, err)

    @unittest.skipIf(onnxruntime is None, "onnxruntime is not installed")
    def test_export_in_onnx_runtime(self):
        for architecture, topology, final, opset, size in (
            ("resunet", "new", "softmax", 11, []),
            ("resunet", "old", "sigmoid", 13, ["--size", 32, 48]),
            ("unet", "new", "none", 17, []),
            ("unet", "old", "softmax", 17, []),
        ):
            with self.subTest(architecture=architecture, topology=topology, opset=opset):
                net = network(architecture=architecture, topology=topology, final_layer=final, sigmoid_multiplier=2.5)
                facts = {"architecture": architecture, "final_layer": final, "sigmoid_input_multiplier": "2.5"}
                safetensors_io.save(self.output, net.state_dict(), facts)
                code, err = self.run_tool(export_onnx, self.output, "-o", self.model, "--opset", opset, *size)
                self.assertEqual((code, err), (0, ""))
                onnx.checker.check_model(str(self.model))
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                session = onnxruntime.InferenceSession(str(self.model), options, ["CPUExecutionProvider"])
                for shape in [(1, 3, 32, 48)] + ([] if size else [(2, 3, 48, 16)]):
                    x = torch.rand(shape)
                    (got,) = session.run(["output"], {"input": x.numpy()})
                    with torch.inference_mode():
                        worst = (torch.from_numpy(got) - net(x)).abs().max().item()
                    self.assertLessEqual(worst, LIMIT)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
