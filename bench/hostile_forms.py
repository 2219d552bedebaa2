#!/usr/bin/env python3
"""Forms that are made to keep a machine busy: what compiling them, a mask and a token take.

    python3 bench/hostile_forms.py --times build/tests/grammar/hostile_times --vocab ggml-vocab-gpt-2.gguf

Times are of the processor, in milliseconds, the longest of up to 60 tokens. Work is what the program
counts (units of some ten nanoseconds), the same on every machine; `tests/grammar/test_budget.c`
holds it to the budgets."""
import argparse
import json
import subprocess


def row(d):
    if d["refused"]:
        return f"| {d['name']} | {d['compile_ms']:.0f} | | | {d['refused'][:100]} |"
    return (f"| {d['name']} | {d['compile_ms']:.0f} | {d['mask_ms']:.1f} ({d['accept_ms']:.1f}) "
            f"| {d['work'] / 1e6:.1f} | {d['end'][:100]} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--times", required=True, help="the program hostile_times")
    p.add_argument("--vocab", required=True, help="a GGUF file with a vocabulary")
    p.add_argument("--json", action="store_true", help="one line of JSON for each form")
    a = p.parse_args()
    with subprocess.Popen([a.times, a.vocab], stdout=subprocess.PIPE, text=True) as run:
        if not a.json:
            print("| form | compile | mask (token) | work, millions | end |\n|---|---|---|---|---|")
        for line in run.stdout:
            print(line.strip() if a.json else row(json.loads(line)), flush=True)
    raise SystemExit(run.returncode)


if __name__ == "__main__":
    main()
