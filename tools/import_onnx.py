#!/usr/bin/env python3
"""Turn a GaNDLF unet or resunet in ONNX into a microtome model file (safetensors).

Reads what torch.onnx.export writes (either exporter, opset 11 and later), and so what `gandlf optimize-model`
writes, and the files of tools/export_onnx.py. Architecture, sizes and final layer are read off the graph, which
must be GaNDLF's network to the last node: the first one that is not is named. ONNX says nothing about
preprocessing and scale: flags or GaNDLF's configuration do, except for files of tools/export_onnx.py, which carry
all facts. Needs the Python modules onnx and numpy.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import safetensors_io
from gandlf_graph import state_dict_order
from model_facts import (
    ARCHITECTURES,
    FINAL_LAYERS,
    NORM_COUNTERS,
    WEIGHTS_DTYPE,
    Refused,
    add_flags,
    gather_facts,
    read_config,
    settle,
)
from output_file import Overwrites, refuse_inputs

try:
    import numpy as np
    from onnx_file import OnnxFile
    from onnx_match import Matcher
except ImportError as missing:  # --help works without them
    if (missing.name or "").split(".")[0] not in ("numpy", "onnx", "google"):
        raise
    OnnxFile = None

EXAMPLES = """examples:
  the file that `gandlf optimize-model` wrote, with the YAML of its training, for slides at 0.5 um per pixel:
    tools/import_onnx.py resunet_best.onnx --config config.yaml -o model.safetensors --spacing 0.5
  any other export, every fact given here:
    tools/import_onnx.py model.onnx -o model.safetensors --normalization div255 --spacing 0.25 \\
        --class-names background nucleus --class-colors "" "#2bff3a"
  a file of tools/export_onnx.py:
    tools/import_onnx.py nuclei-b16.onnx -o nuclei-b16.safetensors

exit codes: 0 written, 2 usage, or the output would overwrite an input, 3 the file or the configuration cannot be
used, 4 a Python module is missing or the output cannot be written
"""

OWN_KEYS = (WEIGHTS_DTYPE, NORM_COUNTERS)
FACT_OF_FLAG = {
    "spacing": "spacing_um_px",
    "patch_size": "patch_size_pixels",
    "stride": "stride_pixels",
    **{name: name for name in ("class_names", "class_colors", "thresholds", "normalization", "axis_order")},
    **{name: name for name in ("license", "source", "training_data")},
}


# ---- facts --------------------------------------------------------------------------------------------


def same_factor(text, value):
    """Whether the text is the number, as float32 holds it."""
    try:
        return np.float32(text) == np.float32(value)
    except ValueError:
        return False


def facts_of(args, net, metadata):
    """The metadata of the file, and remarks. What tools/export_onnx.py stored returns unchanged; flags override."""
    parameters = read_config(args.config) if args.config else {}
    stored = {k: v for k, v in metadata.items() if k not in OWN_KEYS} if WEIGHTS_DTYPE in metadata else {}
    model = parameters.get("model")
    for whose, claim in (("--config", model if isinstance(model, dict) else {}), ("its metadata", stored)):
        for key, table, found in (
            ("architecture", ARCHITECTURES, net.architecture),
            ("final_layer", FINAL_LAYERS, net.final_layer),
        ):
            if key in claim and table.get(str(claim[key]).lower()) != found:
                raise Refused(f"{key} is {claim[key]} according to {whose}, {found} according to the graph")
        factor = str(claim.get("sigmoid_input_multiplier", net.multiplier))
        if net.final_layer == "sigmoid" and not same_factor(factor, net.multiplier):
            raise Refused(f"sigmoid_input_multiplier is {factor} according to {whose}, {net.multiplier} in the graph")

    given = [key for flag, key in FACT_OF_FLAG.items() if getattr(args, flag) is not None]
    args.architecture, args.final_layer, args.sigmoid_multiplier = net.architecture, net.final_layer, net.multiplier
    if stored:
        parameters.setdefault("data_preprocessing", None)
        patch = stored.get("patch_size_pixels", "")
        if args.patch_size is None and re.fullmatch("[0-9]{1,9}", patch):
            args.patch_size = int(patch)
        elif args.patch_size is not None:
            given.append("stride_pixels")
    settle(args, parameters)
    sizes = {"classes": net.classes, "channels": net.channels, "rank": net.rank}
    fresh, remarks = gather_facts(args, sizes, parameters, "")
    if stored:
        fresh, remarks = {**stored, **{key: fresh[key] for key in given if key in fresh}}, []
    if net.rank != 2:
        remarks.append("microtome runs 2D networks only so far")
    return fresh, remarks


def counters(norms, metadata):
    """num_batches_tracked, which no computation needs but PyTorch wants when it loads weights; 0 where unknown."""
    names = [f"{norm}.num_batches_tracked" for norm in norms]
    if NORM_COUNTERS not in metadata:
        return dict.fromkeys(names, 0)
    try:
        counts = json.loads(metadata[NORM_COUNTERS])
        if all(name in names and type(n) is int and 0 <= n < 2**63 for name, n in counts.items()):
            return counts
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise Refused(f"metadata {NORM_COUNTERS} is not an object of counts")


# ---- command line -------------------------------------------------------------------------------------


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.onnx")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the safetensors file to write")
    add_flags(add)
    add("--dtype", choices=["F32", "F16", "BF16"], help="of convolution weights; default F32, or as they were stored")
    return parser.parse_args(argv)


def run(args):
    refuse_inputs(args.output, args.model, args.config)
    file = OnnxFile(args.model)
    refuse_inputs(args.output, *file.external)
    net = Matcher(file)
    facts, remarks = facts_of(args, net, file.metadata)
    stored_as = file.metadata.get(WEIGHTS_DTYPE, "F32")
    dtype = args.dtype or (stored_as if stored_as in ("F16", "BF16") else "F32")
    tensors = {}
    for name, array in net.tensors.items():
        stored = safetensors_io.from_array(array, dtype if array.ndim > 1 else "F32")
        if not np.isfinite(safetensors_io.to_array(stored)).all():
            raise Refused(f"tensor {name} does not fit {dtype}; choose --dtype F32 or BF16")
        tensors[name] = stored
    norms = [name[: -len(".running_var")] for name in tensors if name.endswith(".running_var")]
    for name, count in counters(norms, file.metadata).items():
        tensors[name] = safetensors_io.from_array(np.array(count), "I64")
    safetensors_io.save(args.output, {name: tensors[name] for name in state_dict_order(tensors)}, facts)
    print(
        f"{args.output}: {net.architecture}, {net.rank}D, base {net.base}, {net.channels} channels, "
        f"{net.classes} classes, {net.final_layer}, {'norm after' if net.old else 'norm before'} down-sampling, "
        f"{dtype}, {args.output.stat().st_size / 1e6:.1f} MB"
    )
    if net.folded_norms:
        print(f"note: {net.folded_norms} norms were folded into convolutions when the ONNX file was made")
    for remark in remarks:
        print("note:", remark)


def main(argv=None):
    args = parse(argv)
    if OnnxFile is None:
        print(f"import_onnx: {sys.executable} needs the Python modules onnx and numpy", file=sys.stderr)
        return 4
    try:
        run(args)
    except Overwrites as error:
        print(f"import_onnx: {error}", file=sys.stderr)
        return 2
    except Refused as error:
        print(f"import_onnx: {args.model}: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"import_onnx: {args.output}: {error.strerror or error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
