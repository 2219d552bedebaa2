#!/usr/bin/env python3
"""Start-up, memory and speed of the built-in model, measured from outside the program.

    bench/starter.py --lllm build/lllm [--reps 9] [--json]

first byte: from starting the process until the first byte of the answer can be read.
peak memory: the largest resident set, as the kernel accounts it when the process ends.
Speeds are the program's own figures. Medians, with minimum and maximum.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

PROMPT = "What is machine learning?"


def first_byte_and_peak(lllm):
    """One answer through a pipe: (seconds to the first byte, seconds in all, peak resident MB)."""
    start = time.perf_counter()
    process = subprocess.Popen([lllm, "run", PROMPT, "--temp", "0", "--quiet"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.read(process.stdout.fileno(), 1)
    first = time.perf_counter() - start
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    total = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{lllm} run failed with {process.returncode}")
    return first, total, usage.ru_maxrss / 1024


def own_figures(lllm):
    out = subprocess.run([lllm, "run", PROMPT, "--temp", "0", "--json"], check=True,
                         capture_output=True, text=True).stdout
    return json.loads(out)["timings"]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lllm", default="build/lllm")
    parser.add_argument("--reps", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    first_byte_and_peak(args.lllm)  # the page cache is warm from here on
    runs = [first_byte_and_peak(args.lllm) for _ in range(args.reps)]
    own = [own_figures(args.lllm) for _ in range(args.reps)]
    result = {
        "first_byte_ms": spread([1e3 * r[0] for r in runs]),
        "whole_answer_ms": spread([1e3 * r[1] for r in runs]),
        "peak_memory_mb": spread([r[2] for r in runs]),
        "prefill_tokens_per_second": spread([t["prefill_tokens_per_second"] for t in own]),
        "decode_tokens_per_second": spread([t["decode_tokens_per_second"] for t in own]),
    }
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name, s in result.items():
        print(f"{name:28} {s['median']:10.1f}   ({s['min']:.1f} to {s['max']:.1f}, n={args.reps})")


if __name__ == "__main__":
    main()
