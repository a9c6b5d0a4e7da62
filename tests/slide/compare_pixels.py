#!/usr/bin/env python3
"""Compares the pixels `microtome region` reads with those of other readers.

  compare_pixels.py MICROTOME manifest    MD5 of RGB pixels that the data's MANIFEST.csv records (from Pillow)
  compare_pixels.py MICROTOME openslide   every level OpenSlide reads, pixel by pixel

Data: MICROTOME_TEST_DATA, else shared/data beside the checkout. MICROTOME_PYTHON names an interpreter that
has openslide and Pillow. Exit code 0 equal, 1 different, 77 skipped (no data, or no openslide module).
"""

import csv
import hashlib
import os
import subprocess
import sys

FOLDERS = ("slides/", "slides_derived/", "tiff_valid/", "tiff_malformed/")

# Formats that are refused on purpose: file name -> what the message must say.
REFUSED = {
    "hamamatsu_test3-TRITC.ndpi": "Hamamatsu NDPI",
    "cmu1_crop_jp2k33003.svs": "Compression 33003",
    "cmu1_crop_jp2k33005.svs": "Compression 33005",
    "tiled-gray-i1.tif": "BitsPerSample 1",
    "unreadable.svs": "tile 0",
}


def region(program, path, *options):
    """Exit code, standard output, standard error of `microtome region`."""
    run = subprocess.run([program, "region", path, *options], capture_output=True, text=True, timeout=300)
    return run.returncode, run.stdout.strip(), run.stderr.strip()


def expected_refusal(name):
    return next((text for file, text in REFUSED.items() if name.endswith(file)), None)


def check_manifest(program, data, rows):
    """Equal MD5 or a refusal; other exit codes and other pixels are failures."""
    equal = refused = 0
    failures = []
    for row in rows:
        code, out, err = region(program, os.path.join(data, row["file"]), "--hash")
        if code == 3 and err.startswith("microtome: "):
            refused += 1
            # Ordinary 8-bit RGB must open: a refusal there would be a lack, not caution.
            if row["file"].startswith("slides") and not expected_refusal(row["file"]) and row["bits"] == "8" \
                    and row["photometric"].startswith(("RGB", "YCbCr")):
                failures.append(f"{row['file']}: refused: {err}")
            continue
        if code != 0:
            failures.append(f"{row['file']}: exit code {code}: {err}")
            continue
        verdict = row["pillow"].split()
        # Pillow keeps 16-bit grey as it is and takes the high byte of 16-bit colours; alpha it drops.
        if len(verdict) == 5 and verdict[3] in ("RGB", "L", "P") and row["bits"] == "8":
            if verdict[4] == out:
                equal += 1
            else:
                failures.append(f"{row['file']}: MD5 {out}, {verdict[4]} expected")
    print(f"{equal} files equal, {refused} refused")
    if equal < 50:
        failures.append("fewer than 50 files compared")
    return failures


def check_openslide(program, data, rows):
    import openslide
    from PIL import Image, ImageChops

    failures = []
    levels = 0
    for row in rows:
        path = os.path.join(data, row["file"])
        try:
            slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError:
            continue
        refusal = expected_refusal(row["file"])
        if refusal:
            code, _, err = region(program, path, "--hash")
            if code != 3 or refusal not in err:
                failures.append(f"{row['file']}: should be refused with '{refusal}', got {code}: {err}")
            continue
        for level, (width, height) in enumerate(slide.level_dimensions):
            # OpenSlide 3 decodes through libtiff's RGBA interface, which misplaces rows of tiles larger than the image.
            tile = [int(slide.properties.get(f"openslide.level[{level}].tile-{side}", 0)) for side in ("width", "height")]
            if openslide.__library_version__.startswith("3.") and (width < tile[0] or height < tile[1]):
                continue
            try:
                theirs = slide.read_region((0, 0), level, (width, height))
            except openslide.OpenSlideError:
                break  # refused by OpenSlide: the manifest test covers the file
            opaque = theirs.getextrema()[3] == (255, 255)
            if opaque:
                code, out, err = region(program, path, "--level", str(level), "--hash")
                same = code == 0 and out == hashlib.md5(theirs.convert("RGB").tobytes()).hexdigest()
            else:  # laid over white; OpenSlide's own rounding of premultiplied alpha may cost 2 grey values
                white = Image.new("RGBA", theirs.size, "white")
                expected = Image.alpha_composite(white, theirs).convert("RGB")
                png = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"microtome-compare-{os.getpid()}.png")
                code, out, err = region(program, path, "--level", str(level), "-o", png)
                same = False
                if code == 0:
                    difference = ImageChops.difference(Image.open(png), expected)
                    same = max(high for _, high in difference.getextrema()) <= 2
                    os.remove(png)
            levels += 1
            if not same:
                failures.append(f"{row['file']} level {level}: pixels differ ({code} {out} {err})")
        slide.close()
    print(f"{levels} levels compared with OpenSlide {openslide.__library_version__}")
    if levels < 20:
        failures.append("fewer than 20 levels compared")
    return failures


def main():
    program, what = sys.argv[1:3]
    python = os.environ.get("MICROTOME_PYTHON")
    if python and os.environ.get("MICROTOME_PYTHON_RUNS") != python:
        os.execve(python, [python, *sys.argv], {**os.environ, "MICROTOME_PYTHON_RUNS": python})
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/data")
    data = os.path.normpath(os.environ.get("MICROTOME_TEST_DATA", beside))
    manifest = os.path.join(data, "MANIFEST.csv")
    if not os.path.exists(manifest):
        if "MICROTOME_TEST_DATA" in os.environ:
            sys.exit(f"MICROTOME_TEST_DATA: {manifest} is missing")
        print("skipped: no test data")
        return 77
    if what == "openslide":
        try:
            import openslide  # noqa: F401
            import PIL  # noqa: F401
        except (ImportError, OSError) as error:
            print(f"skipped: {error}")
            return 77
    with open(manifest, newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["file"].startswith(FOLDERS)]
    check = check_openslide if what == "openslide" else check_manifest
    failures = check(program, data, rows)
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
