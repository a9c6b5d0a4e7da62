"""Whole-image evaluation: counts per image, pooled Dice, bootstrap intervals."""

import numpy as np
import torch
from torch.nn import functional as F


def predict(net, image):
    """Class map [H,W] of an RGB image uint8 [H,W,3]: padded to a multiple of 16 by reflection, cropped back."""
    height, width = image.shape[:2]
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255.0
    x = F.pad(x, (0, -width % 16, 0, -height % 16), mode="reflect")
    with torch.inference_mode():
        return net.logits(x)[0, :, :height, :width].argmax(0).numpy()


def counts(predicted, mask):
    """(true positives, false positives, false negatives) of the nucleus class."""
    predicted, mask = predicted > 0, mask > 0
    return np.array([(predicted & mask).sum(), (predicted & ~mask).sum(), (~predicted & mask).sum()], dtype=np.int64)


def dice(c):
    """Pooled Dice of counts [n,3]; NaN when there is no nucleus, true or predicted."""
    tp, fp, fn = np.asarray(c).reshape(-1, 3).sum(0)
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn > 0 else float("nan")


def summary(rows, seed=0, rounds=2000):
    """Pooled Dice, IoU, precision, recall over images, and the 95 % interval of Dice resampling images.

    A draw without a nucleus has no Dice and is left out of the interval.
    """
    rows = np.asarray(rows).reshape(-1, 3)
    tp, fp, fn = rows.sum(0)
    rng = np.random.default_rng(seed)
    draws = np.array([dice(rows[rng.integers(len(rows), size=len(rows))]) for _ in range(rounds)])
    draws = draws[~np.isnan(draws)]
    return {
        "dice": dice(rows),
        "iou": float(tp / max(1, tp + fp + fn)),
        "precision": float(tp / max(1, tp + fp)),
        "recall": float(tp / max(1, tp + fn)),
        "ci95": [float(v) for v in np.percentile(draws, [2.5, 97.5])] if len(draws) else [float("nan")] * 2,
        "images": len(rows),
    }


def evaluate(net, samples):
    """Counts per image, [n,3]."""
    return np.stack([counts(predict(net, image), mask) for _, image, mask in samples])
