"""PyTorch checkpoints without running them: inert unpickling, and GaNDLF's network found in the tensors."""

import collections
import os
import pickle
import types
import zipfile

import torch
from gandlf_net import DEPTH, UNet
from model_facts import Refused


class Opaque:
    """Stands for any object of a class that the reader does not know. Takes whatever pickle does to it."""

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return Opaque()

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass

    add = append


def restricted_pickle():
    """A stand-in for the pickle module that torch.load accepts; it resolves only names known to be harmless."""
    known = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch", "Size"): torch.Size,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    }
    for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"):
        known["torch", name] = getattr(torch, name)

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) in known:
                return known[module, name]
            # Files in the old format name storage types here; torch.load resolves those of the new format.
            if module == "torch" and name.endswith("Storage") and isinstance(getattr(torch, name, None), type):
                return getattr(torch, name)
            return type(name, (Opaque,), {})

    module = types.ModuleType("restricted_pickle")
    module.Unpickler = Unpickler
    module.load = lambda stream, **kwargs: Unpickler(stream, **kwargs).load()
    module.UnpicklingError = pickle.UnpicklingError
    return module


def read_checkpoint(path, trust):
    """The object in the file."""
    if not os.path.isfile(path):
        raise Refused("no such file")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                    raise Refused("is a TorchScript archive; give the checkpoint or the state_dict it was made from")
        if trust:
            return torch.load(path, map_location="cpu", weights_only=False)
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=restricted_pickle())
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 a broken pickle can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Refused(f"is not a readable PyTorch file ({reason})") from error


def find_state(checkpoint):
    """(state_dict, parameters or {}, GaNDLF version or "") of a loaded object."""
    if isinstance(checkpoint, torch.nn.Module):  # only possible with --trust-pickle
        return checkpoint.state_dict(), {}, ""
    if isinstance(checkpoint, Opaque):
        raise Refused("holds a whole Python object, not a state_dict; save model.state_dict(), or see --trust-pickle")
    if not isinstance(checkpoint, dict):
        raise Refused(f"holds a {type(checkpoint).__name__}, not a state_dict")
    state = next((checkpoint[k] for k in ("model_state_dict", "state_dict", "model") if k in checkpoint), checkpoint)
    if not isinstance(state, dict) or not any(isinstance(v, torch.Tensor) for v in state.values()):
        raise Refused("holds no state_dict: neither model_state_dict nor a dictionary of tensors")
    parameters = checkpoint.get("parameters") if state is not checkpoint else {}
    version = checkpoint.get("version") if state is not checkpoint else ""
    return state, parameters if isinstance(parameters, dict) else {}, version if isinstance(version, str) else ""


def strip_prefixes(state):
    """Names as the bare network has them: without what DataParallel, Opacus or a wrapper put before them."""
    names = {str(k): v for k, v in state.items()}
    for _ in range(4):
        for prefix in ("module.", "_module.", "model."):
            if names and all(name.startswith(prefix) for name in names):
                names = {name[len(prefix) :]: value for name, value in names.items()}
    return names


def describe(state, architecture):
    """Checks every tensor against GaNDLF's network; returns its sizes and topology."""

    def shape(name):
        tensor = state.get(name)
        if not isinstance(tensor, torch.Tensor):
            raise Refused(f"tensor {name} is missing: not a GaNDLF unet or resunet")
        return list(tensor.shape)

    first, last = shape("ins.conv0.weight"), shape("out.conv0.weight")
    if len(first) not in (4, 5) or len(last) != len(first):
        raise Refused(f"tensor ins.conv0.weight has shape {first}: not a convolution")
    rank, base = len(first) - 2, first[0]
    if rank != 2:
        raise Refused("is a 3D network; only 2D networks can be run so far")
    for level in range(DEPTH):
        name = f"us_{level}.conv0.weight"
        if shape(name)[2:] != [1] * rank:
            raise Refused(f"tensor {name} has shape {shape(name)}: GaNDLF's up-sampling is a 1x1 convolution")
    topology = "old" if shape("ds_0.in_0.weight") == [2 * base] else "new"
    with torch.device("meta"):
        expected = UNet(architecture, first[1], last[0], base, rank, topology=topology).state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            continue
        if shape(name) != list(tensor.shape):
            raise Refused(f"tensor {name} has shape {shape(name)}, {list(tensor.shape)} expected")
        if not state[name].is_floating_point():
            raise Refused(f"tensor {name} is of type {state[name].dtype}, not floating point")
        if not torch.isfinite(state[name]).all():
            raise Refused(f"tensor {name} holds a value that is not finite")
        if name.endswith("running_var") and (state[name] < 0).any():
            raise Refused(f"tensor {name} holds a negative variance")
    strangers = [name for name in state if name not in expected]
    if strangers:
        raise Refused(f"tensor {strangers[0]} is not part of GaNDLF's {architecture}")
    return {
        "names": list(expected),
        "topology": topology,
        "base": base,
        "channels": first[1],
        "classes": last[0],
        "rank": rank,
    }


def convert(state, names, dtype):
    """Tensors to store. Only convolution weights shrink: norms and biases are few and sensitive."""
    target = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[dtype]
    out = {}
    for name in names:
        if name.endswith("num_batches_tracked"):
            if name in state:
                out[name] = state[name].to(torch.int64)
            continue
        tensor = state[name].to(torch.float32)
        if tensor.dim() > 1:
            tensor = tensor.to(target)
            if not torch.isfinite(tensor).all():
                raise Refused(f"tensor {name} does not fit {dtype}; choose --dtype F32 or BF16")
        out[name] = tensor
    return out
