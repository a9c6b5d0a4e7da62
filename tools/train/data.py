"""The nucleus data set: reading, random crops with augmentation, whole-image evaluation sets.

Layout of the data folder (--data):
    he_nuclei_tnbc/{train,val}/{images,masks}/*.png       split by patient
    he_nuclei_dsb2018/{train,val}/{images,masks}/*.png    with classes.csv giving the stain class
Masks are 0 background, 255 nucleus. Fluorescence images of the second set are not used.
"""

import csv
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

# Ruifrok and Johnston 2001: optical densities of haematoxylin, eosin and DAB, one stain per row.
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)


def load_split(data, dataset, split):
    """List of (name, image uint8 [H,W,3], mask uint8 [H,W] of 0/1)."""
    folder = Path(data) / dataset / split
    fluorescent = set()
    classes = Path(data) / dataset / "classes.csv"
    if classes.exists():
        with open(classes, newline="") as stream:
            fluorescent = {Path(r["image"]).name for r in csv.DictReader(stream) if r["stain_class"] == "fluor"}
    samples = []
    for path in sorted((folder / "images").glob("*.png")):
        if path.name in fluorescent:
            continue
        image = np.asarray(Image.open(path).convert("RGB"))
        mask = np.asarray(Image.open(folder / "masks" / path.name).convert("L")) > 127
        samples.append((path.stem, image, mask.astype(np.uint8)))
    if not samples:
        raise FileNotFoundError(f"{folder}: no images")
    return samples


def gap_weights(mask, weight):
    """Pixel weights: `weight` in the narrow gaps between nuclei, which a segmentation likes to close, else 1."""
    closed = ndimage.binary_closing(np.pad(mask, 4), ndimage.generate_binary_structure(2, 1), iterations=3)[4:-4, 4:-4]
    return 1.0 + (weight - 1.0) * (closed & (mask == 0)).astype(np.float32)


def jitter_stain(rgb, rng, config):
    """Unmix into haematoxylin/eosin/DAB, rescale each, remix with a turned stain matrix. rgb in [0,1]."""
    density = -np.log(np.maximum(rgb, 1.0 / 255.0))
    matrix = HED / np.linalg.norm(HED, axis=1, keepdims=True)
    stains = density.reshape(-1, 3) @ np.linalg.inv(matrix)
    turned = np.maximum(matrix + rng.normal(0.0, config["stain_turn"], (3, 3)), 0.0)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    s = config["stain_scale"]
    gain = np.exp(rng.uniform(-s, s, 3))
    shift = rng.uniform(-config["stain_shift"], config["stain_shift"], 3)
    density = (stains * gain + shift).astype(np.float32) @ turned.astype(np.float32)
    return np.exp(-density).reshape(rgb.shape)


def jitter_colour(rgb, rng, config):
    """Hue, saturation, brightness, contrast and gamma, each by a small random amount."""
    if rng.random() < 0.5:
        angle = rng.uniform(-1.0, 1.0) * config["hue"] * 2.0 * np.pi
        # A turn about the grey axis (Rodrigues) is a hue change that needs no HSV conversion.
        c, s = np.cos(angle), np.sin(angle) / np.sqrt(3.0)
        turn = np.full((3, 3), (1.0 - c) / 3.0) + c * np.eye(3)
        turn += s * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
        rgb = rgb @ turn.T.astype(np.float32)
    if rng.random() < 0.5:
        grey = rgb.mean(axis=2, keepdims=True)
        saturation = rng.uniform(1.0 - config["saturation"], 1.0 + config["saturation"])
        rgb = grey + saturation * (rgb - grey)
    contrast = rng.uniform(1.0 - config["contrast"], 1.0 + config["contrast"])
    brightness = rng.uniform(-config["brightness"], config["brightness"])
    mean = rgb.mean()
    rgb = np.clip((rgb - mean) * contrast + mean + brightness, 0.0, 1.0)
    return rgb ** np.exp(rng.uniform(-config["gamma"], config["gamma"]))


def degrade(rgb, rng, config):
    """Blur, noise and JPEG artefacts, as scanners and slide files add them."""
    if rng.random() < config["p_blur"]:
        rgb = ndimage.gaussian_filter(rgb, (sigma := rng.uniform(0.3, 1.3), sigma, 0.0))
    if rng.random() < config["p_noise"]:
        rgb = rgb + rng.normal(0.0, rng.uniform(0.005, 0.03), rgb.shape).astype(np.float32)
    rgb = (np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if rng.random() < config["p_jpeg"]:
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, "JPEG", quality=int(rng.integers(40, 95)))
        rgb = np.asarray(Image.open(stream))
    return rgb


def random_crop(image, mask, weight, rng, config):
    """One augmented crop: rgb uint8 [S,S,3], mask int64 [S,S], weight float32 [S,S]."""
    size = config["crop"]
    low, high = config["zoom"] if rng.random() < config["p_wide_zoom"] else config["zoom_usual"]
    zoom = np.exp(rng.uniform(np.log(low), np.log(high)))
    aspect = np.exp(rng.uniform(-0.1, 0.1))
    side_y, side_x = int(round(size / zoom * aspect)), int(round(size / zoom / aspect))
    height, width = mask.shape
    pad_y, pad_x = max(0, side_y - height), max(0, side_x - width)
    if pad_y or pad_x:
        pads = ((pad_y // 2, pad_y - pad_y // 2), (pad_x // 2, pad_x - pad_x // 2))
        image = np.pad(image, (*pads, (0, 0)), mode="reflect")
        mask, weight = np.pad(mask, pads, mode="reflect"), np.pad(weight, pads, mode="reflect")
        height, width = mask.shape
    y, x = rng.integers(0, height - side_y + 1), rng.integers(0, width - side_x + 1)
    window = np.s_[y : y + side_y, x : x + side_x]
    planes = np.concatenate([image[window] / np.float32(255.0), mask[window][..., None], weight[window][..., None]], 2)
    planes = np.rot90(planes, rng.integers(4))
    if rng.random() < 0.5:
        planes = planes[:, ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32)).permute(2, 0, 1)[None]
    tensor = F.interpolate(tensor, (size, size), mode="bilinear", align_corners=False, antialias=True)
    rgb = np.clip(tensor[0, :3].permute(1, 2, 0).numpy(), 0.0, 1.0)
    if rng.random() < config["p_stain"]:
        rgb = np.clip(jitter_stain(rgb, rng, config), 0.0, 1.0)
    rgb = degrade(jitter_colour(rgb, rng, config), rng, config)
    return rgb, (tensor[0, 3] > 0.5).long().numpy(), tensor[0, 4].numpy()


class TrainingSet:
    """Batches by step number: the same (seed, step) gives the same batch, so a resumed run repeats nothing."""

    def __init__(self, data, config):
        self.config = config
        self.sets = []
        for name in ("he_nuclei_tnbc", "he_nuclei_dsb2018"):
            self.sets.append([(i, m, gap_weights(m, config["gap_weight"])) for _, i, m in load_split(data, name, "train")])

    def batch(self, step):
        rng = np.random.default_rng([self.config["seed"], step])
        crops = []
        for _ in range(self.config["batch"]):
            samples = self.sets[0 if rng.random() < self.config["tnbc_share"] else 1]
            crops.append(random_crop(*samples[rng.integers(len(samples))], rng, self.config))
        images, masks, weights = (np.stack(part) for part in zip(*crops))
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255.0
        return x, torch.from_numpy(masks), torch.from_numpy(weights)
