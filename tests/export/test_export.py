"""tools/export_gandlf.py on checkpoints written here: what it carries over and what it refuses."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from collections import OrderedDict
from pathlib import Path

try:
    import torch
except ImportError:
    print("test_export: PyTorch is not installed")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import export_gandlf  # noqa: E402
import model_facts  # noqa: E402
import safetensors_io  # noqa: E402
from gandlf_net import UNet, fill_with_hash  # noqa: E402


class DataFrameLike:
    """A class that exists only in this process, as pandas' may not exist where a checkpoint is exported."""

    def __init__(self):
        self.rows = [1, 2, 3]


class RowList(list):
    """Pickled with appends."""


EXPLODED = []


def explode(text):
    EXPLODED.append(text)


class Bomb:
    """Unpickling it the trusting way runs code."""

    def __reduce__(self):
        return (explode, ("boom",))


def network(**kwargs):
    return fill_with_hash(UNet(**{"base_filters": 4, **kwargs}).eval())


def gandlf_parameters(**changes):
    parameters = {
        "model": {
            "architecture": "resunet",
            "dimension": 2,
            "base_filters": 4,
            "norm_type": "batch",
            "class_list": [0, 1],
            "num_channels": 3,
            "final_layer": "softmax",
        },
        "modality": "histo",
        "patch_size": [256, 256, 1],
        "stride_size": [128, 128],
        "data_preprocessing": {"normalize_div_by_255": None},
        "version": {"minimum": "0.0.14", "maximum": "0.1.6"},
    }
    model = changes.pop("model", {})
    parameters.update(changes)
    parameters["model"].update(model)
    return parameters


def checkpoint(net, parameters=None, version="0.0.20"):
    file = {
        "epoch": 3,
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": {"state": {0: {"step": 1}}},
        "loss": 0.5,
        "version": version,
    }
    if parameters is not None:
        file["parameters"] = parameters
    return file


BARE = ["--architecture", "resunet", "--final-layer", "softmax", "--normalization", "div255"]


class Export(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.output = self.folder / "model.safetensors"

    def run_tool(self, content, *flags, **save_options):
        """(exit code, stdout, stderr) of exporting `content`."""
        path = self.folder / "checkpoint.pth.tar"
        torch.save(content, path, **save_options)
        return self.run_file(path, *flags)

    def run_file(self, path, *flags):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = export_gandlf.main([str(path), "-o", str(self.output), *flags])
            except SystemExit as stop:
                code = stop.code
        return code, out.getvalue(), err.getvalue()

    def exported(self, content, *flags, **save_options):
        code, _, err = self.run_tool(content, *flags, **save_options)
        self.assertEqual((code, err), (0, ""))
        return safetensors_io.load(self.output)

    def refused(self, content, text, *flags):
        code, _, err = self.run_tool(content, *flags)
        self.assertEqual(code, 3, err)
        self.assertIn(text, err)
        self.assertEqual(err.count("\n"), 1, "one line")
        self.assertFalse(self.output.exists())

    # -- what is carried over

    def test_gandlf_checkpoint(self):
        net = network()
        tensors, facts = self.exported(checkpoint(net, gandlf_parameters()), "--spacing", "0.5")
        self.assertEqual(set(tensors), set(net.state_dict()))
        for name, tensor in net.state_dict().items():
            self.assertTrue(torch.equal(tensors[name], tensor), name)
        expected = {
            "microtome.version": "1",
            "architecture": "resunet",
            "spatial_dims": "2",
            "final_layer": "softmax",
            "sigmoid_input_multiplier": "1.0",
            "spacing_um_px": "0.5",
            "patch_size_pixels": "256",
            "stride_pixels": "128",
            "axis_order": "hw",
            "source": "GaNDLF 0.0.20",
        }
        self.assertEqual({k: facts[k] for k in expected}, expected)
        self.assertEqual(json.loads(facts["normalization"]), {"kind": "div255"})
        self.assertEqual(json.loads(facts["class_names"]), ["background", "class 1"])
        self.assertEqual(json.loads(facts["class_colors"])[0], "")

    def test_exported_weights_compute_the_same(self):
        net = network(topology="old", norm="instance")
        tensors, _ = self.exported(checkpoint(net, gandlf_parameters()))
        again = UNet(base_filters=4, topology="old").eval()
        again.load_state_dict(tensors)
        x = torch.rand(1, 3, 16, 32)
        with torch.inference_mode():
            self.assertTrue(torch.equal(again(x), net(x)))

    def test_file_layout(self):
        self.exported(checkpoint(network(), gandlf_parameters()))
        data = self.output.read_bytes()
        length = int.from_bytes(data[:8], "little")
        self.assertEqual((8 + length) % 64, 0)
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__")
        spans = sorted(entry["data_offsets"] for entry in header.values())
        self.assertEqual(spans[0][0], 0)
        self.assertEqual(spans[-1][1], len(data) - 8 - length)
        for before, after in zip(spans, spans[1:]):
            self.assertEqual(before[1], after[0], "no holes, no overlap")

    def test_wrappers_and_old_format(self):
        net = network()
        for prefix in ("module.", "_module.", "module._module."):
            state = OrderedDict((prefix + k, v) for k, v in net.state_dict().items())
            for content in (state, {"model_state_dict": state}, {"state_dict": state}):
                tensors, _ = self.exported(content, *BARE)
                self.assertTrue(torch.equal(tensors["out.conv0.weight"], net.state_dict()["out.conv0.weight"]))
        tensors, _ = self.exported(checkpoint(net, gandlf_parameters()), _use_new_zipfile_serialization=False)
        self.assertTrue(torch.equal(tensors["ins.conv0.bias"], net.state_dict()["ins.conv0.bias"]))

    def test_half_precision_keeps_norms_and_biases(self):
        net = network()
        for dtype, kind in (("F16", torch.float16), ("BF16", torch.bfloat16)):
            tensors, _ = self.exported(checkpoint(net, gandlf_parameters()), "--dtype", dtype)
            for name, tensor in net.state_dict().items():
                stored = kind if tensor.dim() > 1 else tensor.dtype
                self.assertEqual(tensors[name].dtype, stored, name)
                self.assertTrue(torch.equal(tensors[name], tensor.to(stored)), name)

    def test_config_file_completes_and_flags_override(self):
        config = self.folder / "config.json"
        config.write_text(json.dumps(gandlf_parameters(model={"final_layer": "sigmoid"}, modality="rad")))
        _, facts = self.exported({"model_state_dict": network().state_dict()}, "--config", str(config))
        self.assertEqual((facts["final_layer"], facts["axis_order"]), ("sigmoid", "wh"))
        self.assertNotIn("spacing_um_px", facts)
        flags = [
            *("--config", str(config), "--final-layer", "none", "--axis-order", "hw", "--patch-size", "512"),
            *("--stride", "384", "--class-names", "a", "b", "--class-colors", "", "#00ff00"),
            *("--thresholds", "0.5", "0.25", "--normalization", "zscore", "--license", "CC-BY-4.0"),
            *("--source", "here", "--training-data", "there", "--sigmoid-multiplier", "2"),
        ]
        _, facts = self.exported({"model_state_dict": network().state_dict()}, *flags)
        expected = {
            "final_layer": "none",
            "axis_order": "hw",
            "patch_size_pixels": "512",
            "stride_pixels": "384",
            "class_names": '["a", "b"]',
            "class_colors": '["", "#00ff00"]',
            "thresholds": "[0.5, 0.25]",
            "normalization": '{"kind": "zscore_tile"}',
            "license": "CC-BY-4.0",
            "source": "here",
            "training_data": "there",
            "sigmoid_input_multiplier": "2.0",
        }
        self.assertEqual({k: facts[k] for k in expected}, expected)

    def test_yaml_config(self):
        try:
            import yaml  # noqa: F401
        except ImportError:
            self.skipTest("PyYAML is not installed")
        config = self.folder / "config.yaml"
        config.write_text(
            "model: {architecture: unet, final_layer: sigmoid, class_list: [0, 1]}\n"
            "patch_size: [128, 128]\nmodality: path\ndata_preprocessing:\n  - normalize\n"
        )
        _, facts = self.exported({"model_state_dict": network().state_dict()}, "--config", str(config))
        self.assertEqual((facts["architecture"], facts["patch_size_pixels"]), ("unet", "128"))
        self.assertEqual(facts["normalization"], '{"kind": "zscore_tile"}')

    def test_preprocessing(self):
        cases = [
            ({"normalize_div_by_255": None}, {"kind": "div255"}),
            ({"rgba2rgb": None, "normalize": None}, {"kind": "zscore_tile"}),
            (["rgba2rgb", "normalize_imagenet"], model_facts.IMAGENET),
            ({"normalize_standardize": None}, {"kind": "mean_std", "mean": [0.5] * 3, "std": [0.5] * 3}),
            ([{"normalize_by_val": {"mean": [0, 0.5, 1], "std": 2}}], {"kind": "mean_std", "mean": [0.0, 0.5, 1.0], "std": [2.0] * 3}),
            ({}, {"kind": "none"}),
            (None, {"kind": "none"}),
        ]
        for steps, rule in cases:
            _, facts = self.exported(checkpoint(network(), gandlf_parameters(data_preprocessing=steps)))
            self.assertEqual(json.loads(facts["normalization"]), rule)

    def test_final_layer_aliases_and_patches(self):
        for alias, name in (("sig", "sigmoid"), ("soft", "softmax"), ("None", "none"), (None, "none"), ("logits", "none")):
            _, facts = self.exported(checkpoint(network(), gandlf_parameters(model={"final_layer": alias})))
            self.assertEqual(facts["final_layer"], name)
        parameters = gandlf_parameters(patch_size=["128m", "128m"], stride_size=None)
        _, facts = self.exported(checkpoint(network(), parameters), "--spacing", "0.5")
        self.assertEqual((facts["patch_size_pixels"], facts["stride_pixels"]), ("256", "128"))

    # -- unpickling

    def test_unknown_objects_are_inert(self):
        rows = RowList([1, 2])
        rows.extra = 3
        parameters = gandlf_parameters(training_data=DataFrameLike(), rows=rows, kind=DataFrameLike, mixed={"a": [Bomb()]})
        _, facts = self.exported(checkpoint(network(), parameters))
        self.assertEqual(facts["architecture"], "resunet")
        self.assertEqual(EXPLODED, [])
        _, facts = self.exported(checkpoint(network(), parameters), "--trust-pickle")
        self.assertEqual(EXPLODED, ["boom"], "the control: trusted pickles do run code")
        EXPLODED.clear()

    def test_whole_module(self):
        self.refused(network(), "--trust-pickle", *BARE)
        tensors, _ = self.exported(network(), "--trust-pickle", *BARE)
        self.assertEqual(len(tensors), 199)

    # -- refusals

    def test_missing_facts(self):
        self.refused(network().state_dict(), "--architecture, --final-layer, --normalization")
        self.refused(network().state_dict(), "give --normalization or", *BARE[:4])

    def test_unsupported_networks(self):
        for change, text in (
            ({"architecture": "deep_resunet"}, "architecture deep_resunet"),
            ({"final_layer": "tanh"}, "final_layer tanh"),
            ({"norm_type": "none"}, "norm_type none"),
        ):
            self.refused(checkpoint(network(), gandlf_parameters(model=change)), text)
        self.refused(network(rank=3, in_channels=1).state_dict(), "3D", *BARE)

    def test_wrong_tensors(self):
        def changed(name, value):
            state = network().state_dict()
            if value is None:
                del state[name]
            else:
                state[name] = value
            return state

        nan = network().state_dict()["ins.conv0.weight"].clone()
        nan[0, 0, 0, 0] = float("nan")
        for name, value, text in (
            ("us_2.conv0.weight", torch.zeros(16, 32, 3, 3), "tensor us_2.conv0.weight has shape [16, 32, 3, 3]"),
            ("en_3.conv1.bias", None, "tensor en_3.conv1.bias is missing"),
            ("de_1.in_2.running_mean", None, "tensor de_1.in_2.running_mean is missing"),
            ("ins.conv0.weight", None, "tensor ins.conv0.weight is missing"),
            ("ds_0.in_0.weight", torch.zeros(7), "tensor ds_0.in_0.weight has shape [7], [4] expected"),
            ("ds_2.in_0.bias", torch.zeros(32), "tensor ds_2.in_0.bias has shape [32], [16] expected"),
            ("en_1.conv0.bias", torch.zeros(8, dtype=torch.int64), "not floating point"),
            ("ins.conv0.weight", nan, "ins.conv0.weight holds a value that is not finite"),
            ("en_2.in_1.running_var", -torch.ones(16), "negative variance"),
            ("out_1.conv0.weight", torch.zeros(1), "tensor out_1.conv0.weight is not part of"),
        ):
            with self.subTest(name=name):
                self.refused(changed(name, value), text, *BARE)
        state = network().state_dict()
        state["out.conv0.weight"] = state["out.conv0.weight"] * 1e6
        self.refused(state, "does not fit F16", *BARE, "--dtype", "F16")

    def test_unsupported_facts(self):
        for changes, flags, text in (
            ({"data_preprocessing": {"stain_normalizer": {}}}, [], "stain_normalizer is not supported"),
            ({"data_preprocessing": ["normalize", "normalize_imagenet"]}, [], "more than one normalisation"),
            ({"data_preprocessing": {"clip": {"min": 0}}}, [], "clip is not supported"),
            ({"patch_size": [256, 128, 1]}, [], "is not square"),
            ({"patch_size": [250, 250, 1]}, [], "not a multiple of 16"),
            ({"patch_size": "128m"}, [], "in microns"),
            ({"patch_size": "all"}, [], "is not a number of pixels"),
            ({"stride_size": [512, 512]}, [], "outside 1..256"),
            ({}, ["--class-names", "one"], "class_names: 1 given, the network has 2"),
            ({}, ["--class-colors", "red", "blue"], "'red' is not #rrggbb"),
            ({}, ["--normalization", "minmax"], "'minmax' is unknown"),
            ({}, ["--normalization", '{"kind":"mean_std","mean":[0],"std":[1]}'], "one number per input channel"),
            ({}, ["--normalization", '{"kind":"mean_std","mean":0,"std":0}'], "unusable value"),
        ):
            with self.subTest(text=text):
                self.refused(checkpoint(network(), gandlf_parameters(**changes)), text, *flags)
        _, facts = self.exported(
            checkpoint(network(), gandlf_parameters(data_preprocessing={"clip": {}})), "--normalization", "none"
        )
        self.assertEqual(facts["normalization"], '{"kind": "none"}')

    def test_files_that_are_no_checkpoints(self):
        for content, text in ((b"", "not a readable"), (b"PK\x03\x04 no zip", "not a readable"), (b"\x80\x02}q\x00.", "")):
            path = self.folder / "broken.pt"
            path.write_bytes(content)
            code, _, err = self.run_file(path, *BARE)
            self.assertEqual((code, err.count("\n")), (3, 1), err)
            self.assertIn(text, err)
        self.refused([1, 2], "holds a list", *BARE)
        self.refused({"model_state_dict": {}}, "holds no state_dict", *BARE)
        code, _, err = self.run_file(self.folder / "absent.pt", *BARE)
        self.assertEqual(code, 3)
        self.assertIn("no such file", err)

    def test_damaged_archive(self):
        path = self.folder / "whole.pt"
        torch.save(network().state_dict(), path)
        data = path.read_bytes()
        at = data.rindex(b"PK\1\2")  # an entry of the archive's directory
        path.write_bytes(data[:at] + b"XXXX" + data[at + 4 :])
        code, _, err = self.run_file(path, *BARE)
        self.assertEqual((code, err.count("\n")), (3, 1), err)

    def test_inputs_are_not_overwritten(self):
        path, config = self.folder / "model.pt", self.folder / "c.json"
        torch.save(checkpoint(network()), path)
        config.write_text(json.dumps(gandlf_parameters()))
        for output in (path, config):
            self.output, before = output, output.read_bytes()
            code, _, err = self.run_file(path, "--config", str(config))
            self.assertEqual((code, err.count("\n")), (2, 1), err)
            self.assertIn("would overwrite an input file", err)
            self.assertEqual(output.read_bytes(), before)
        self.output = self.folder / "inside"
        self.output.mkdir()
        self.assertEqual(self.run_file(path, "--config", str(config))[0], 4)
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"model.pt", "c.json", "inside"})

    def test_usage(self):
        code, _, err = self.run_file(self.folder / "x.pt", "--spacing", "-1")
        self.assertEqual(code, 2)
        self.assertIn("--spacing", err)
        code, out, _ = self.run_file(self.folder / "x.pt", "--help")
        self.assertEqual(code, 0)
        self.assertIn("examples:", out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
