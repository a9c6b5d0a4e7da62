#!/usr/bin/env python3
"""Checks the rules that every header under include/microtome obeys; CONTRIBUTING.md states them.

    check_headers.py [INCLUDE_DIR]

- begins with a comment that says what it is for, then `#pragma once`
- includes nothing that makes a user's compile slow (streams, regex, filesystem, JSON or command-line libraries)
- includes only the layers below its own
"""
import os
import re
import sys

FORBIDDEN = re.compile(r"^(iostream|fstream|sstream|iomanip|regex|filesystem|nlohmann/.*|CLI/.*|doctest.*|omp\.h)$")
DOOR = "kernels/kernel_table.hpp"  # the one from ordinary code to the kernels
# Layer -> layers it may include. A longer prefix wins.
LAYERS = {
    "core": {"core"},
    "kernels": {"core", "kernels"},
    "layers": {"core", "layers", DOOR},
    "io": {"core", "io"},
    "slide": {"core", "io", "slide"},
    "models": {"core", "io", "layers", "models"},
    "pipeline": {"core", "io", "layers", "models", "slide", "pipeline", "version.hpp"},
    "microtome.hpp": {"core", DOOR, "io", "layers", "models", "version.hpp"},
    "version.hpp": set(),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def allowed_for(path):
    best = max((p for p in LAYERS if path == p or path.startswith(p + "/")), key=len, default=None)
    return LAYERS.get(best)


def check(root):
    for folder, _, files in sorted(os.walk(os.path.join(root, "microtome"))):
        for name in sorted(files):
            full = os.path.join(folder, name)
            path = os.path.relpath(full, os.path.join(root, "microtome"))
            if not name.endswith(".hpp"):
                continue
            with open(full, encoding="utf-8") as f:
                lines = f.read().split("\n")
            if not lines[0].startswith("// "):
                yield f"{path}:1: no comment that says what the header is for"
            code = [line for line in lines if line.strip() and not line.startswith("//")]
            if not code or code[0] != "#pragma once":
                yield f"{path}: the first line of code is not #pragma once"
            allowed = allowed_for(path)
            if allowed is None:
                yield f"{path}: belongs to no known layer"
                continue
            for number, line in enumerate(lines, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                quote, target = match.groups()
                if quote == "<" and FORBIDDEN.match(target):
                    yield f"{path}:{number}: <{target}> is not for headers"
                if quote == '"':
                    inner = os.path.normpath(os.path.join(os.path.dirname(path), target))
                    if inner.split("/")[0] not in allowed and inner not in allowed:
                        yield f"{path}:{number}: may not include {inner}"


def main():
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "include")
    problems = list(check(sys.argv[1] if len(sys.argv) > 1 else default))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
