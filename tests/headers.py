#!/usr/bin/env python3
"""Each header compiles on its own: it includes what it uses."""
import pathlib
import subprocess
import sys


COMPILE = ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-x", "c"]


def main():
    root = pathlib.Path(__file__).resolve().parent.parent / "src"
    wrong = []
    for path in sorted(root.rglob("*.h")):
        # Bodies that several files include, and headers for instruction sets, are parts of others.
        if path.name.endswith("_body.h") or path.parent.name in ("x86", "arm", "vec"):
            continue
        run = subprocess.run(
            COMPILE + ["-I", str(root), "-"],
            input=f'#include "{path.relative_to(root)}"\n', text=True, capture_output=True)
        if run.returncode:
            wrong.append(f"{path.relative_to(root)}: {run.stderr.splitlines()[0]}")
    print("\n".join(wrong) if wrong else "headers hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
