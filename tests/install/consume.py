#!/usr/bin/env python3
"""Installs the build tree, builds examples/embed against it (or against the source tree) and runs what was built.

    consume.py installed|source BUILD_DIR SOURCE_DIR MODEL COMPILER [CXX_FLAGS]
"""
import json
import os
import re
import subprocess
import sys
import tempfile


def run(*command, env=None):
    print("+", *command, flush=True)
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=env).stdout


def main():
    how, build, source, model, compiler = sys.argv[1:6]
    flags = sys.argv[6] if len(sys.argv) > 6 else ""
    with tempfile.TemporaryDirectory() as folder:
        prefix, embed = os.path.join(folder, "prefix"), os.path.join(folder, "embed")
        if how == "installed":
            run("cmake", "--install", build, "--prefix", prefix)
            where = [f"-DCMAKE_PREFIX_PATH={prefix}"]
        else:
            where = [f"-DMICROTOME_SOURCE={source}"]
        run("cmake", "-S", os.path.join(source, "examples/embed"), "-B", embed, f"-DCMAKE_CXX_COMPILER={compiler}",
            f"-DCMAKE_CXX_FLAGS={flags} -Wall -Wextra -Werror", *where)
        run("cmake", "--build", embed, "-j2")

        environment = {k: v for k, v in os.environ.items() if k != "MICROTOME_ISA"}
        answers = {}
        for program in ("embed_anywhere", "embed_here"):
            answers[program] = run(os.path.join(embed, program), model, env=environment).split("\n")
            print(*answers[program], sep="\n")
        # A line per class "name probability", then the instruction set. The probabilities add up to one, and
        # both ways of using the library agree up to the rounding of fused multiply-add.
        values = {p: [float(re.fullmatch(r".* ([0-9.]+)", line).group(1)) for line in lines[:-2]]
                  for p, lines in answers.items()}
        for program, numbers in values.items():
            assert len(numbers) == 2 and abs(sum(numbers) - 1) < 1e-5, (program, numbers)
        assert all(abs(a - b) < 1e-4 for a, b in zip(*values.values())), values

        baseline = run(os.path.join(embed, "embed_anywhere"), model, env={**environment, "MICROTOME_ISA": "baseline"})
        assert baseline.split("\n")[-2] == "baseline", baseline

        program = os.path.join(build, "tools", "microtome")
        if os.path.exists(program):  # a slide to segment
            slide, out = os.path.join(folder, "slide.tif"), os.path.join(folder, "out")
            run(program, "synth", "-q", "-o", slide, "--width", "300", "--height", "200", "--tissue", "1")
            labels = run(os.path.join(embed, "embed_slide"), model, slide, out).split("\n")
            with open(os.path.join(out, "summary.json")) as stream:
                summary = json.load(stream)
            assert labels[:-1] == [f"{l['name']} {l['pixels']}" for l in summary["labels"]], labels
            assert sorted(os.listdir(out)) == ["mask.tif", "overlay.png", "summary.json"], os.listdir(out)


if __name__ == "__main__":
    main()
