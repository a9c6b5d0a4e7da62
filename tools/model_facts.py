"""The facts that go with a network's tensors into a model file: stated by GaNDLF's configuration or by flags.

Keys and meaning: docs/weights-format.md. Needs nothing but Python.
"""

import argparse
import json
import math
import re
from pathlib import Path


class Refused(Exception):
    """The input cannot be converted; the message is one line, whatever names the input holds."""

    def __str__(self):
        return "".join(c if c.isprintable() else "?" for c in super().__str__())


ARCHITECTURES = {"unet": "unet", "resunet": "resunet", "residualunet": "resunet"}
FINAL_LAYERS = {
    "sigmoid": "sigmoid",
    "sig": "sigmoid",
    "softmax": "softmax",
    "soft": "softmax",
    "none": "none",
    "logits": "none",
    "regression": "none",
    "classification_but_not_softmax": "none",
    "classification_without_softmax": "none",
}
IMAGENET = {"kind": "mean_std", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# What an ONNX file keeps beside the facts, so that it can be turned back: the type of the convolution weights, and
# the norms' num_batches_tracked as a JSON object.
WEIGHTS_DTYPE, NORM_COUNTERS = "microtome.weights_dtype", "microtome.norm_counters"
# GaNDLF preprocessing that changes nothing for an RGB tile at inference.
HARMLESS = {"rgba2rgb", "rgba_to_rgb", "to_canonical", "crop_external_zero_planes"}


def read_config(path):
    """A GaNDLF configuration: YAML or JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"--config {path}: {error}") from error
    try:
        config = json.loads(text)
    except json.JSONDecodeError:
        try:
            import yaml
        except ImportError:
            raise Refused(f"--config {path}: reading YAML needs PyYAML; install it or give the file as JSON") from None
        try:
            config = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise Refused(f"--config {path}: " + " ".join(str(error).split())) from error
    if not isinstance(config, dict):
        raise Refused(f"--config {path}: is not a mapping")
    return config


def normalization_from(preprocessing):
    """GaNDLF's data_preprocessing -> our rule. One normaliser at most; anything else is refused by name."""
    steps = preprocessing or {}
    if isinstance(steps, list):
        merged = {}
        for step in steps:
            merged.update(step if isinstance(step, dict) else {step: None})
        steps = merged
    if not isinstance(steps, dict):
        raise Refused(f"data_preprocessing is a {type(steps).__name__}; give --normalization")
    rules = []
    for name, value in steps.items():
        if name in HARMLESS:
            continue
        if name == "normalize_div_by_255":
            rules.append({"kind": "div255"})
        elif name == "normalize":
            rules.append({"kind": "zscore_tile"})
        elif name == "normalize_imagenet":
            rules.append(IMAGENET)
        elif name == "normalize_standardize":
            rules.append({"kind": "mean_std", "mean": [0.5] * 3, "std": [0.5] * 3})
        elif name == "normalize_by_val" and isinstance(value, dict) and {"mean", "std"} <= set(value):
            rules.append({"kind": "mean_std", "mean": value["mean"], "std": value["std"]})
        else:
            raise Refused(f"data_preprocessing: {name} is not supported; --normalization overrides it")
    if len(rules) > 1:
        raise Refused("data_preprocessing: more than one normalisation; choose with --normalization")
    return rules[0] if rules else {"kind": "none"}


def parse_normalization(text, channels):
    """The --normalization flag: a word or the JSON object of the metadata."""
    named = {
        "div255": {"kind": "div255"},
        "zscore": {"kind": "zscore_tile"},
        "zscore_tile": {"kind": "zscore_tile"},
        "none": {"kind": "none"},
        "imagenet": IMAGENET,
        "standardize": {"kind": "mean_std", "mean": [0.5] * channels, "std": [0.5] * channels},
    }
    if text in named:
        return named[text]
    try:
        rule = json.loads(text)
    except json.JSONDecodeError:
        rule = None
    if not isinstance(rule, dict) or rule.get("kind") not in ("div255", "zscore_tile", "mean_std", "none"):
        raise Refused(f"normalization '{text}' is unknown: div255, zscore, imagenet, standardize, none or JSON")
    return rule


def check_normalization(rule, channels):
    if rule["kind"] != "mean_std":
        return rule
    for part in ("mean", "std"):
        values = rule.get(part)
        values = [values] * channels if isinstance(values, (int, float)) else values
        if not isinstance(values, (list, tuple)) or len(values) != channels:
            raise Refused(f"normalization: {part} needs one number per input channel ({channels})")
        if not all(isinstance(v, (int, float)) and math.isfinite(v) and (part == "mean" or v > 0) for v in values):
            raise Refused(f"normalization: {part} holds an unusable value")
        rule = {**rule, part: [float(v) for v in values]}
    return rule


def pixels_from(value, key, flag, spacing):
    """GaNDLF's patch_size or stride_size: one number, or one per axis, in pixels or as microns ("128m")."""
    pixels = set()
    for side in value if isinstance(value, (list, tuple)) else [value]:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(mu?)?", str(side))
        if not match:
            raise Refused(f"{key} {value} is not a number of pixels; give {flag}")
        number = float(match[1])
        if match[2]:
            if not spacing:
                raise Refused(f"{key} {side} is in microns: give --spacing or {flag}")
            number = round(number / spacing)
        pixels.add(int(number))
    pixels.discard(1)  # the depth of a 2D patch
    if len(pixels) != 1:
        raise Refused(f"{key} {value} is not square; give {flag}")
    return pixels.pop()


def gather_facts(args, network, parameters, version):
    """The metadata of the file, and remarks for the person who exports."""
    model = parameters.get("model")
    model = model if isinstance(model, dict) else {}
    classes, channels = network["classes"], network["channels"]
    remarks = []
    facts = {
        "microtome.version": "1",
        "architecture": args.architecture,
        "spatial_dims": str(network["rank"]),
        "final_layer": args.final_layer,
    }
    multiplier = args.sigmoid_multiplier
    if multiplier is None:
        multiplier = model.get("sigmoid_input_multiplier", 1.0)
    if not isinstance(multiplier, (int, float)):
        raise Refused(f"sigmoid_input_multiplier {multiplier} is not a number")
    facts["sigmoid_input_multiplier"] = str(float(multiplier))

    listed = model.get("class_list")
    names = args.class_names
    if names is None and isinstance(listed, list) and len(listed) == classes:
        names = ["background" if str(c) == "0" and classes > 1 else f"class {c}" for c in listed]
    colors = args.class_colors
    if names is not None and colors is None and names[0] == "background":
        palette = ["#2bff3a", "#ff3b30", "#3478f6", "#ffd60a", "#af52de", "#00c7be", "#ff9500", "#ff2d92"]
        colors = [""] + [palette[c % len(palette)] for c in range(classes - 1)]
    for key, values in (("class_names", names), ("class_colors", colors), ("thresholds", args.thresholds)):
        if values is None:
            continue
        if len(values) != classes:
            raise Refused(f"{key}: {len(values)} given, the network has {classes} classes")
        facts[key] = json.dumps(values)
    for color in colors or []:
        if color and not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise Refused(f"class_colors: '{color}' is not #rrggbb")

    if args.spacing:
        facts["spacing_um_px"] = repr(args.spacing)
    else:
        remarks.append("no --spacing: segmenting a slide will need --mpp")
    level = parameters.get("slide_level")
    if isinstance(level, int) and level > 0:
        remarks.append(f"trained on slide level {level}: --spacing is the pixel size of that level")
    patch = args.patch_size
    if patch is None and parameters.get("patch_size") is not None:
        patch = pixels_from(parameters["patch_size"], "patch_size", "--patch-size", args.spacing)
    stride = args.stride
    if stride is None and parameters.get("stride_size") is not None:
        stride = pixels_from(parameters["stride_size"], "stride_size", "--stride", args.spacing)
    patch = 512 if patch is None else patch
    stride = patch // 2 if stride is None else stride
    if patch < 16 or patch % 16:
        raise Refused(f"patch size {patch} is not a multiple of 16; give --patch-size")
    if not 1 <= stride <= patch:
        raise Refused(f"stride {stride} is outside 1..{patch}; give --stride")
    facts["patch_size_pixels"], facts["stride_pixels"] = str(patch), str(stride)

    if args.normalization is not None:
        rule = parse_normalization(args.normalization, channels)
    else:
        rule = normalization_from(parameters.get("data_preprocessing"))
    facts["normalization"] = json.dumps(check_normalization(rule, channels))

    modality = parameters.get("modality")
    facts["axis_order"] = args.axis_order or ("wh" if modality == "rad" else "hw")
    facts["license"] = args.license or ""
    facts["source"] = args.source or (f"GaNDLF {version}" if version else "")
    facts["training_data"] = args.training_data or ""
    return {k: v for k, v in facts.items() if v != ""}, remarks


def settle(args, parameters):
    """Fills --architecture and --final-layer from the configuration; refuses what stays open."""
    model = parameters.get("model")
    model = model if isinstance(model, dict) else {}
    architecture = args.architecture or model.get("architecture")
    final_layer = args.final_layer or ("final_layer" in model and str(model["final_layer"]))
    missing = [flag for flag, value in (("--architecture", architecture), ("--final-layer", final_layer)) if not value]
    if args.normalization is None and "data_preprocessing" not in parameters and not model:
        missing.append("--normalization")
    if missing:
        raise Refused("the file does not say everything: give " + ", ".join(missing) + " or --config")
    args.architecture = ARCHITECTURES.get(str(architecture).lower())
    if args.architecture is None:
        raise Refused(f"architecture {architecture} is not supported; unet or resunet expected")
    args.final_layer = FINAL_LAYERS.get(str(final_layer).lower())
    if args.final_layer is None:
        raise Refused(f"final_layer {final_layer} is not supported; sigmoid, softmax or none expected")
    norm = str(model.get("norm_type", "batch")).lower()
    if norm not in ("batch", "instance"):
        raise Refused(f"norm_type {norm} is not supported; batch or instance expected")


def positive(text):
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def add_flags(add):
    """The flags that state facts; `add` is a parser's add_argument."""
    add("--config", type=Path, help="GaNDLF configuration (YAML or JSON) for what the input does not hold")
    add("--spacing", type=positive, metavar="UM", help="micrometres per pixel of the training images")
    add("--patch-size", type=int, metavar="PX", help="default: of the configuration, else 512")
    add("--stride", type=int, metavar="PX", help="default: of the configuration, else half a patch")
    add("--class-names", nargs="+", metavar="NAME")
    add("--class-colors", nargs="+", metavar="COLOR", help='"#rrggbb", or "" for a class that is not drawn')
    add("--thresholds", nargs="+", type=float, metavar="P", help="one per class, for sigmoid models")
    add("--normalization", metavar="RULE", help="div255, zscore, imagenet, standardize, none or the JSON object")
    add("--axis-order", choices=["hw", "wh"], help="wh: trained on transposed tiles (GaNDLF modality rad)")
    add("--license", metavar="TEXT")
    add("--source", metavar="TEXT")
    add("--training-data", metavar="TEXT")
