#!/usr/bin/env python3
"""The kernels and whole networks on another CPU, under an emulator.

    on_cpu.py CPU TABLE PRINT_ISA TEST_KERNELS TEST_INT_RESUNET MODEL_RUN WEIGHTS

The CPU must pick the kernels of TABLE, these must match their scalar references, integer networks give the bytes
that they give everywhere, and a small image must come out of the float network as it does on this machine. Without an emulator everything runs here if this machine picks TABLE, too.
"""
import array
import json
import os
import re
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from emulator import find_emulator
from forced_isa import run

KERNELS = "every kernel in use matches its scalar reference"  # a test case of tests/kernels/test_kernels.cpp
INTEGERS = "integer networks give the same bytes in every build"  # of tests/models/test_int_resunet.cpp
LIMIT = 1e-4  # of docs/accuracy.md: largest difference of a probability
WIDTH, HEIGHT = 80, 48  # several tiles of each algorithm, the last ones cut off


def fail(what, result):
    sys.exit(f"FAIL {what}: exit code {result.returncode}\n{result.stdout}{result.stderr}")


def write_image(path):
    """Smooth colours and noise, the same every time."""
    pixels = bytes((x * 2 + y * 3 * c + (x * 7919 + y * 104729 + c * 31) % 61) % 256
                   for y in range(HEIGHT) for x in range(WIDTH) for c in range(3))  # fmt: skip
    header = json.dumps({"image": {"dtype": "U8", "shape": [HEIGHT, WIDTH, 3], "data_offsets": [0, len(pixels)]}})
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header.encode() + pixels)


def probabilities(command, isa, image, output):
    result = run([*command, image, output], isa)
    if result.returncode:
        fail(f"the network with {isa or 'the chosen'} kernels", result)
    with open(output, "rb") as f:
        f.seek(8 + struct.unpack("<Q", f.read(8))[0])
        return array.array("f", f.read())


def main():
    cpu, table, print_isa, test_kernels, test_int_resunet, model_run, weights = sys.argv[1:]
    here = run([print_isa]).stdout.split("\n")
    emulator = find_emulator()
    if not emulator and here[0] != table:
        print(f"SKIP no emulator, and this machine picks {here[0]}, not {table}")
        sys.exit(77)
    prefix = [emulator, "--emulate", "--timeout", "500", "--cpu", cpu] if emulator else []
    print(f"running {f'under the emulator as {cpu}' if emulator else 'on this machine'}", flush=True)

    picked = run([*prefix, print_isa])
    if picked.stdout.split("\n")[0] != table:
        fail(f"{cpu} does not pick {table}", picked)
    print(f"ok   picks {table}", flush=True)

    for what, program, case in (("the kernels", test_kernels, KERNELS), ("integer networks", test_int_resunet, INTEGERS)):
        done = run([*prefix, program, f"--test-case={case}"])
        if done.returncode or not re.search(r"test cases: +1 \| +1 passed", done.stdout):
            fail(what, done)
        print(f"ok   {what} match:", re.search(r"assertions:.*", done.stdout)[0], flush=True)

    reference = "avx2" if "avx2" in here[1].split() else here[0]
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "image.safetensors")
        write_image(image)
        want = probabilities([model_run, weights], reference, image, os.path.join(folder, "here"))
        got = probabilities([*prefix, model_run, weights], None, image, os.path.join(folder, "there"))
    worst = max(abs(a - b) for a, b in zip(want, got))
    apart = max(want) - min(want)
    print(f"     network: {len(got)} probabilities, largest difference to {reference} on this machine {worst:.1e}")
    if len(got) != len(want) or not all(abs(a - b) <= LIMIT for a, b in zip(want, got)) or apart < 0.5:
        sys.exit(f"FAIL the network: {len(want)} probabilities over a range of {apart:.2f} were expected")
    print("ok   the network agrees")


if __name__ == "__main__":
    main()
