#!/usr/bin/env python3
"""Which kernel table is chosen: by default, through MICROTOME_ISA, and on other CPUs under an emulator.

    forced_isa.py PRINT_ISA
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from emulator import find_emulator

# CPU models of the emulator -> the instruction sets they run, in the dispatcher's order of preference.
EMULATED = {
    "haswell": ["baseline", "avx2"],
    "skylake-x": ["baseline", "avx2", "avx512bw"],
    "icelake": ["baseline", "avx2", "avx512bw", "avx512vnni"],
    "arrow-lake": ["baseline", "avx2", "avxvnni"],
    "sapphire-rapids": ["baseline", "avx2", "avxvnni", "avx512bw", "avx512vnni"],
}
ILLEGAL_INSTRUCTION = (-signal.SIGILL, 128 + signal.SIGILL)  # as Python and as the emulator report it
failures = 0


def run(command, isa=None):
    environment = {k: v for k, v in os.environ.items() if k != "MICROTOME_ISA"}
    if isa is not None:
        environment["MICROTOME_ISA"] = isa
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def check(what, condition, result):
    global failures
    failures += not condition
    print(f"{'ok  ' if condition else 'FAIL'} {what}")
    if not condition:
        print(f"     exit code {result.returncode}\n{result.stdout}{result.stderr}")


def check_machine(command, name, can_run):
    """`can_run`: names, or None to believe the program (this machine)."""
    free = run(command)
    lines = free.stdout.split("\n")
    check(f"{name}: chooses without being told", free.returncode == 0 and len(lines) >= 3, free)
    if free.returncode != 0:
        return
    active, available, built = lines[0], lines[1].split(), lines[2].split()
    if can_run is not None:
        check(f"{name}: runs {' '.join(can_run)} of what is built in",
              available == [isa for isa in built if isa in can_run], free)
    check(f"{name}: takes the best, {available[-1]}", active == available[-1], free)
    for isa in built:
        forced = run(command, isa)
        if isa in available:
            check(f"{name}: obeys MICROTOME_ISA={isa}", forced.stdout.split("\n")[0] == isa, forced)
            executed = run([*command, isa])
            check(f"{name}: executes {isa}", executed.returncode == 0 and executed.stdout == "76\n", executed)
        else:
            check(f"{name}: refuses MICROTOME_ISA={isa}",
                  forced.returncode == 2 and "MICROTOME_ISA" in forced.stderr and isa in forced.stderr, forced)
            # So an instruction of it that ran unnoticed would have ended every other test here.
            executed = run([*command, isa])
            check(f"{name}: would die of {isa}", executed.returncode in ILLEGAL_INSTRUCTION, executed)
    unknown = run(command, "avx9")
    check(f"{name}: refuses an unknown name and lists the known ones",
          unknown.returncode == 2 and "avx9" in unknown.stderr and all(isa in unknown.stderr for isa in built), unknown)


def main():
    program = sys.argv[1]
    check_machine([program], "this machine", None)
    emulator = find_emulator()
    for cpu, can_run in EMULATED.items() if emulator else ():
        check_machine([emulator, "--emulate", "--timeout", "120", "--cpu", cpu, program], cpu, can_run)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
