#!/usr/bin/env python3
"""lllm beside another program, cell by cell: models x formats x threads x processor levels x tests.

    python3 bench/side_by_side.py --lllm build/lllm --ledger side.jsonl \\
        --peer all='PEER=DIR node peer_llama.mjs {model} --threads {threads} --test {test} --depth {depth} --reps 1' \\
        --peer avx512='PEER=DIR-avx512 node ...' --peer avx2='PEER=DIR-avx2 node ...' \\
        MODEL.gguf ... [--threads 2,1] [--quiet-load 0.5] [--minutes 50]
    python3 bench/side_by_side.py --ledger side.jsonl            # the table alone

A cell is one `lllm bench --machine --stages --json --against COMMAND`: the two programs take turns
on the same file with the same threads, and the machine's limits are measured in the same run. Each
cell is appended to the ledger when it is done, so that a run can be stopped at any time (Ctrl-C) and
goes on where it was; --again measures cells that are there once more (the table takes the latest).
--quiet-load waits for a one-minute load below a number before each cell, --minutes begins no cell
after that time, --list shows what there is to do, --only takes the cells whose names contain a text.

--peer LEVEL=COMMAND: what to run beside lllm at this processor level, which is a --cpu-mask ("all",
"avx512", "avx2", ...). The placeholders are those of `lllm bench --against`. Prompts of 512 tokens
are measured at every level, everything else at the first.

A peer is held to a lower level fairly when it loads its own best build for that level. The packages
of node-llama-cpp carry one shared library for each level and take the best that the processor can
run, so a copy of its folder without the higher ones does it; --make-level makes such a copy of hard
links (no second copy of the data):

    python3 bench/side_by_side.py --make-level avx512 DIR DIR-avx512      # up to AVX-512 VNNI, no AMX
    python3 bench/side_by_side.py --make-level avx-vnni DIR DIR-avx-vnni  # AVX2 with 256-bit VNNI
    python3 bench/side_by_side.py --make-level avx2 DIR DIR-avx2          # AVX2 alone
"""
import argparse
import collections
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

# What the libraries' names stand for, as ggml's build names its variants: a level keeps its own and
# those before it.
LEVELS = [
    ("none", ["x64"]),
    ("avx", ["sse42", "sandybridge", "ivybridge", "piledriver"]),
    ("avx2", ["haswell"]),
    ("avx-vnni", ["alderlake"]),
    ("avx512", ["skylakex", "cannonlake", "cascadelake", "cooperlake", "icelake", "zen4"]),
    ("all", ["sapphirerapids"]),
]
VARIANT = "libggml-cpu-"

Cell = collections.namedtuple("Cell", "model threads level test depth")


def name_of(cell):
    depth = f" depth {cell.depth}" if cell.depth else ""
    return f"{cell.model} {cell.test}{depth} {cell.level} {cell.threads}t"


def variant_of(file_name):
    """"haswell" of "libggml-cpu-haswell.so"; None for other files and other architectures."""
    variant = file_name[len(VARIANT):].split(".")[0] if file_name.startswith(VARIANT) else ""
    return variant if variant and not variant.startswith("arm") else None


def make_level(level, source, target):
    """A copy of a folder, by hard links, without the libraries of higher levels."""
    names = [name for name, _ in LEVELS]
    if level not in names:
        sys.exit(f"there is no level \"{level}\"; there are {', '.join(names)}")
    if target.exists():
        sys.exit(f"{target} is there already; remove it first")
    kept = {v for _, variants in LEVELS[:names.index(level) + 1] for v in variants}
    known = {v for _, variants in LEVELS for v in variants}
    found = {variant_of(p.name) for p in source.rglob(VARIANT + "*")} - {None}
    if not found:
        sys.exit(f"{source} has no {VARIANT}*: it is no folder of such a package")
    if found - known:
        sys.exit(f"{source} has variants that are not known here: {', '.join(sorted(found - known))}")
    shutil.copytree(source, target, symlinks=True, copy_function=os.link,
                    ignore=lambda _, files: [f for f in files if variant_of(f) and
                                             variant_of(f) not in kept])
    print(f"{target}: {', '.join(sorted(found & kept))}")


def all_cells(options):
    """In an order that has the most telling ones first."""
    first = options.peer[0][0]
    tests = [("pp512", 0, level) for level, _ in options.peer]
    tests += [(f"tg{options.decode}", depth, first) for depth in [0] + options.depths]
    tests += [(f"pp{n}", 0, first) for n in options.prompts]
    return [Cell(path.stem, threads, level, test, depth)
            for test, depth, level in tests for threads in options.threads
            for path in options.models]


def read_ledger(path):
    """cell -> its latest entry"""
    done = {}
    if path.exists():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                entry = json.loads(line)
                done[Cell(**entry["cell"])] = entry
            except (ValueError, KeyError, TypeError):
                print(f"{path}:{number} is not a whole entry; it is left out", file=sys.stderr)
    return done


def wait_for_quiet(most):
    said = False
    while most is not None and os.getloadavg()[0] > most:
        if not said:
            print(f"waiting for a load below {most} (it is {os.getloadavg()[0]:.2f})",
                  file=sys.stderr)
            said = True
        time.sleep(10)


def measure(options, cell, path):
    count = int(cell.test[2:])
    decode = cell.test.startswith("tg")
    reps = options.reps if count + cell.depth <= 1024 else options.long_reps
    command = [options.lllm, "bench", str(path), "--prefill", str(0 if decode else count),
               "--decode", str(count if decode else 0), "--depth", str(cell.depth),
               "--threads", str(cell.threads), "--cpu-mask", cell.level, "--reps", str(reps),
               "--machine", "--stages", "--json", "--quiet",
               "--against", dict(options.peer)[cell.level]]
    before = os.getloadavg()[0]
    start = time.monotonic()
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        print(f"{name_of(cell)}: lllm bench failed with status {run.returncode}", file=sys.stderr)
        return None
    return {"cell": cell._asdict(), "load_before": before, "load_after": os.getloadavg()[0],
            "seconds": round(time.monotonic() - start, 1),
            "when": datetime.datetime.now().isoformat(timespec="seconds"),
            "report": json.loads(run.stdout)}


def run_cells(options):
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    paths = {path.stem: path for path in options.models}
    cells = [c for c in all_cells(options) if options.only in name_of(c)]
    done = {} if options.again else read_ledger(options.ledger)
    left = [c for c in cells if c not in done]
    if options.list:
        for cell in cells:
            print("done" if cell in done else "    ", name_of(cell))
        return
    for i, cell in enumerate(left, 1):
        wait_for_quiet(options.quiet_load)
        if end and time.monotonic() > end:
            print(f"the time is over; {len(left) - i + 1} cells are left", file=sys.stderr)
            return
        print(f"{i}/{len(left)} {name_of(cell)}", file=sys.stderr)
        entry = measure(options, cell, paths[cell.model])
        if entry:
            with open(options.ledger, "a", encoding="utf-8") as f:
                f.write(json.dumps(entry) + "\n")


# ---- the table ----

def rate(spread):
    digits = 1 if spread["median"] < 100 else 0
    return f"{spread['median']:.{digits}f} [{spread['min']:.{digits}f}..{spread['max']:.{digits}f}]"


def share_of(test):
    if "share_of_read" in test:
        return f"{100 * test['share_of_read']:.0f} % of read"
    return f"{100 * test['share_of_peak']:.0f} % of peak" if "share_of_peak" in test else ""


def print_table(done):
    """A section for each test; the spread of a ratio is from the worst pair to the best."""
    sections = {}
    for cell, entry in done.items():
        sections.setdefault((cell.test, cell.depth, cell.level), []).append((cell, entry))
    for (test, depth, level), rows in sections.items():
        what = ("prefill of " if test.startswith("pp") else "decode of ") + test[2:] + " tokens"
        print(f"\n### {what}{f' at depth {depth}' if depth else ''}, mask {level}\n")
        print("| model | threads | lllm tokens/s | peer tokens/s | ratio | of the limit | attention |")
        print("|---|---|---|---|---|---|---|")
        for cell, entry in sorted(rows, key=lambda r: (-r[0].threads, r[0].model)):
            t = entry["report"]["prefill" if test.startswith("pp") else "decode"]
            ours, peer = t["tokens_per_second"], t["against"]
            ratio = (f"**{t['ratio']:.2f}** [{ours['min'] / peer['max']:.2f}.."
                     f"{ours['max'] / peer['min']:.2f}]")
            attention = f"{100 * t['stages']['attention']:.0f} %" if "stages" in t else ""
            print(f"| {cell.model} | {cell.threads} | {rate(ours)} | {rate(peer)} | {ratio} | "
                  f"{share_of(t)} | {attention} |")
    print("\nMedians [slowest..fastest]; the spread of a ratio is our slowest by the peer's fastest, "
          "and the reverse.")


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def level_and_command(text):
    level, equals, command = text.partition("=")
    if not equals or not command:
        raise argparse.ArgumentTypeError(f"\"{text}\" is not LEVEL=COMMAND")
    return level, command


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", type=pathlib.Path, metavar="MODEL.gguf")
    p.add_argument("--lllm", default="build/lllm")
    p.add_argument("--peer", action="append", type=level_and_command, default=[],
                   metavar="LEVEL=COMMAND")
    p.add_argument("--ledger", type=pathlib.Path, default=pathlib.Path("side-by-side.jsonl"))
    p.add_argument("--threads", type=numbers, default=[2, 1], metavar="LIST")
    p.add_argument("--decode", type=int, default=128, metavar="N")
    p.add_argument("--depths", type=numbers, default=[512, 4096, 16384], metavar="LIST",
                   help="of decode, beside 0")
    p.add_argument("--prompts", type=numbers, default=[4096, 16384], metavar="LIST",
                   help="long prompts")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--long-reps", type=int, default=3, help="above 1,024 tokens")
    p.add_argument("--quiet-load", type=float, metavar="X")
    p.add_argument("--minutes", type=float, metavar="M")
    p.add_argument("--only", default="", metavar="TEXT")
    p.add_argument("--again", action="store_true")
    p.add_argument("--list", action="store_true")
    p.add_argument("--make-level", nargs=3, metavar=("LEVEL", "FROM", "TO"))
    options = p.parse_args()
    if options.make_level:
        level, source, target = options.make_level
        make_level(level, pathlib.Path(source), pathlib.Path(target))
        return
    if options.models and not options.peer:
        p.error("--peer says what to compare with")
    if options.models:
        try:
            run_cells(options)
        except KeyboardInterrupt:
            print("stopped; the same command goes on", file=sys.stderr)
        if options.list:
            return
    done = read_ledger(options.ledger)
    if not done:
        sys.exit(f"{options.ledger} has no entry: name models to measure")
    print_table(done)


if __name__ == "__main__":
    main()
