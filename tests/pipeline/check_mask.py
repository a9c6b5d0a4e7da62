"""Reads the mask of test_pyramid_writer.cpp with tifffile and OpenSlide 4; exit 77 when they are missing."""
import math
import sys

try:
    import numpy as np
    import openslide
    import tifffile
except ImportError as e:
    print(e)
    sys.exit(77)

path = sys.argv[1]
y, x = np.mgrid[0:1100, 0:1500]
v = np.sin(0.031 * x) * np.cos(0.027 * y)
labels = np.where(v > 0.5, 1, np.where(v < -0.6, 2, 0)).astype(np.uint8)
labels[:, 700:] = 0
labels[512:768, 1024:1280] = 2

with tifffile.TiffFile(path) as t:
    assert t.is_bigtiff and len(t.pages) == 3
    for k, page in enumerate(t.pages):
        assert page.subfiletype == (1 if k else 0)
        assert page.photometric.name == "PALETTE" and page.compression.name == "ADOBE_DEFLATE"
        assert np.array_equal(page.asarray(), labels[:: 2**k, :: 2**k]), f"level {k}"
        for tag, mpp in (("XResolution", 0.5), ("YResolution", 0.25)):
            n, d = page.tags[tag].value
            assert abs(d / n * 1e4 - mpp * 2**k) < 1e-6, (k, tag)
        assert page.tags["ResolutionUnit"].value == 3
        assert all(page.databytecounts), "a tile of no bytes"
    assert t.pages[0].description.startswith('{"class_names"')
    offsets = t.pages[0].dataoffsets
    assert len(set(offsets)) < len(offsets), "blank tiles are not shared"

s = openslide.OpenSlide(path)
assert s.level_dimensions == ((1500, 1100), (750, 550), (375, 275)), s.level_dimensions
assert not any("bounds" in p for p in s.properties)
if int(openslide.__library_version__.split(".")[0]) >= 4:
    assert math.isclose(float(s.properties["openslide.mpp-x"]), 0.5, rel_tol=1e-6)
    assert math.isclose(float(s.properties["openslide.mpp-y"]), 0.25, rel_tol=1e-6)
colors = np.array([[255, 255, 255], [255, 0, 0], [0, 0, 255]], np.uint8)
for k in range(3):
    rgb = np.asarray(s.read_region((0, 0), k, s.level_dimensions[k]).convert("RGB"))
    assert np.array_equal(rgb, colors[labels[:: 2**k, :: 2**k]]), f"OpenSlide level {k}"
