#!/usr/bin/env python3
"""Turn a GaNDLF checkpoint, or a plain PyTorch state_dict, into a microtome model file (safetensors).

Needs PyTorch (CPU). What the checkpoint states (architecture, final layer, patch size, preprocessing ...)
is carried over; flags complete or override it. Nothing from the checkpoint is executed: Python objects it
refers to, other than tensors and plain containers, become inert placeholders.
"""

import argparse
import sys
from pathlib import Path

import safetensors_io
from model_facts import ARCHITECTURES, Refused, add_flags, gather_facts, read_config, settle
from output_file import Overwrites, refuse_inputs

try:
    from gandlf_checkpoint import convert, describe, find_state, read_checkpoint, strip_prefixes
except ImportError as missing:  # --help works without PyTorch
    if missing.name != "torch":
        raise
    read_checkpoint = None

EXAMPLES = """examples:
  a GaNDLF checkpoint (0.0.17 or later, which stores its parameters) for slides at 0.5 um per pixel:
    tools/export_gandlf.py resunet_best.pth.tar -o model.safetensors --spacing 0.5
  an older one, with the YAML it was trained from:
    tools/export_gandlf.py resunet_best.pth.tar --config config.yaml -o model.safetensors --spacing 0.5
  a bare state_dict, every fact given here, weights stored in half the space:
    tools/export_gandlf.py weights.pt -o model.safetensors --architecture resunet --final-layer softmax \\
        --normalization div255 --spacing 0.25 --class-names background nucleus --class-colors "" "#2bff3a" \\
        --dtype F16

exit codes: 0 written, 2 usage, or the output would overwrite an input, 3 the checkpoint or its configuration cannot
be used, 4 PyTorch is missing or the output cannot be written
"""


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="GaNDLF .pth.tar, or a state_dict saved with torch.save (.pt, .pth)")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the safetensors file to write")
    add("--architecture", choices=sorted(ARCHITECTURES), help="unet and resunet have the same tensors")
    add("--final-layer", choices=["sigmoid", "softmax", "none"])
    add("--sigmoid-multiplier", type=float, metavar="X", help="factor before the sigmoid (GaNDLF's default is 1)")
    add_flags(add)
    add("--dtype", choices=["F32", "F16", "BF16"], default="F32", help="of convolution weights; default F32")
    add(
        "--trust-pickle",
        action="store_true",
        help="load the file as Python pickles it, running any code it contains: only for files you made yourself",
    )
    return parser.parse_args(argv)


def export(args):
    refuse_inputs(args.output, args.checkpoint, args.config)
    state, parameters, version = find_state(read_checkpoint(args.checkpoint, args.trust_pickle))
    if args.config:
        parameters = {**parameters, **read_config(args.config)}
    settle(args, parameters)
    state = strip_prefixes(state)
    network = describe(state, args.architecture)
    facts, remarks = gather_facts(args, network, parameters, version)
    tensors = convert(state, network["names"], args.dtype)
    safetensors_io.save(args.output, tensors, facts)
    order = "norm before" if network["topology"] == "new" else "norm after"
    print(
        f"{args.output}: {args.architecture}, base {network['base']}, {network['channels']} channels, "
        f"{network['classes']} classes, {args.final_layer}, {order} down-sampling, {args.dtype}, "
        f"{args.output.stat().st_size / 1e6:.1f} MB"
    )
    for remark in remarks:
        print("note:", remark)


def main(argv=None):
    args = parse(argv)
    if read_checkpoint is None:
        print("export_gandlf: PyTorch is not installed", file=sys.stderr)
        return 4
    try:
        export(args)
    except Overwrites as error:
        print(f"export_gandlf: {error}", file=sys.stderr)
        return 2
    except Refused as error:
        print(f"export_gandlf: {args.checkpoint}: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"export_gandlf: {args.output}: {error.strerror or error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
