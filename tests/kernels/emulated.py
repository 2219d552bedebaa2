#!/usr/bin/env python3
"""The check of the kernels on processors that this machine is not, emulated by qemu.

usage: emulated.py x86 CPU EVERY CHECK [OPTION...]   features taken away (qemu -cpu CPU)
       emulated.py arm64 CPU EVERY SOURCE BUILD      built for 64-bit Arm in the folder BUILD and run

Prints the check's TAP. One case in EVERY is computed (check.c), with LLLM_SOAK=1 twenty times as
many. Where a tool is missing it skips, saying which.
"""
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys


def skip_without(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        print(f"# there is no {' and no '.join(missing)} here; scripts/packages.debian has the packages")
        print("ok 1 - kernels on another processor # SKIP")
        print("1..1")
        sys.exit(0)


def build_arm64(source, build):
    """Only what the check needs: some 50 files, once for all processors."""
    build.mkdir(parents=True, exist_ok=True)
    with open(build / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_locked(source, build)


def build_locked(source, build):
    if not (build / "build.ninja").exists():
        cross = source / "scripts" / "arm64.cross"
        subprocess.run(["meson", "setup", build, source, "--cross-file", cross, "-Dpart=kernels"],
                       check=True, stdout=sys.stderr)
    subprocess.run(["ninja", "-C", build, "--quiet"], check=True, stdout=sys.stderr)
    return build / "tests" / "kernels" / "kernels_check"


def main():
    kind, *rest = sys.argv[1:]
    if kind == "x86":
        skip_without("qemu-x86_64")
        cpu, every, check, *options = rest
        command = ["qemu-x86_64", "-cpu", cpu, check, *options]
    else:
        skip_without("aarch64-linux-gnu-gcc", "qemu-aarch64", "meson", "ninja")
        cpu, every, source, build = rest
        check = build_arm64(pathlib.Path(source), pathlib.Path(build))
        command = ["qemu-aarch64", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", check]
    every = max(1, int(every) // (20 if os.environ.get("LLLM_SOAK") else 1))
    done = subprocess.run([*command, "--every", str(every)], check=False)
    if done.returncode < 0:
        print(f"# ended by signal {-done.returncode}: 4 is an illegal instruction", flush=True)
    sys.exit(done.returncode != 0)


if __name__ == "__main__":
    main()
