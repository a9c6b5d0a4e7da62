"""The program that runs a test binary on another CPU: MICROTOME_EMULATOR, else run-avx512 beside the checkout."""
import os
import subprocess
import sys


def find_emulator():
    """Path of a working emulator, or "" (with a message) when there is none. One that is named must work."""
    named = os.environ.get("MICROTOME_EMULATOR")
    beside = os.path.join(os.path.dirname(__file__), "../../shared/tools/avx512/run-avx512")
    path = named or (os.path.normpath(beside) if os.path.exists(beside) else "")
    if not path:
        print("MICROTOME_EMULATOR is not set: other CPUs are not tried")
        return ""
    try:
        probe = subprocess.run([path, "--emulate", "--cpu", "haswell", "/bin/true"], capture_output=True, text=True)
        problem = probe.stderr.strip() if probe.returncode else ""
    except OSError as e:
        problem = str(e)
    if problem and named:
        sys.exit(f"MICROTOME_EMULATOR={named} does not work: {problem}")
    if problem:
        print(f"the emulator does not work, other CPUs are not tried: {problem}")
        return ""
    return path
