#!/usr/bin/env python3
"""Measure how images are stained: the constants of include/microtome/pipeline/stain_reinhard.hpp.

    python tools/train/stain_target.py DATA/he_nuclei_tnbc/train/images/*.png

Pooled over the stained pixels of all images (darkest channel not above 205, brightest not below 30): mean and
standard deviation of l, alpha, beta, the space of Ruderman et al. 1998 as Reinhard et al. 2001 use it.
"""

import sys

import numpy as np
from PIL import Image

RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LOG_LMS_TO_LAB = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])


def stained(rgb):
    """The pixels of uint8 [..., 3] that count, as [N, 3]."""
    rgb = rgb.reshape(-1, 3)
    return rgb[(rgb.min(axis=1) <= 205) & (rgb.max(axis=1) >= 30)]


def ruderman_lab(rgb):
    """uint8 [N, 3] to l, alpha, beta [N, 3]; cone values below one grey level count as one."""
    lms = np.maximum(rgb.astype(np.float64) @ RGB_TO_LMS.T, 1.0)
    return np.log10(lms) @ LOG_LMS_TO_LAB.T


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[1:]]
    lab = ruderman_lab(np.concatenate([stained(image) for image in images]))
    print("mean      ", *(f"{v:.4f}" for v in lab.mean(axis=0)))
    print("deviation ", *(f"{v:.4f}" for v in lab.std(axis=0)))


if __name__ == "__main__":
    main()
