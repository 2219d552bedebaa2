#!/usr/bin/env python3
"""What drafts bring (`lllm run --lookup`, `--draft`), on the built-in model's own kind of prompts.

    models/starter/make_corpus.py --out DIR --seed 7      writes DIR/eval/*.jsonl
    bench/drafts.py --lllm build/lllm --eval DIR/eval [--model M] [--limit 200] [--threads N]
                    [--ways ",--lookup"] [--temp 0] [--json]

Each prompt is answered in all ways, one after the other, and the texts must be the same. A way is a
list of options ("--lookup --draft small.gguf"); the first is what the others are compared with.
Printed for each set of prompts: the share of drafts that were kept, and generated tokens by the
time that all answers took to decode, by the program's own figures.
"""
import argparse
import json
import pathlib
import subprocess
import sys

SETS = ("topics", "sentiment", "extraction", "tools", "offtopic")


def answer(arguments, prompt, way):
    command = [arguments.lllm, "run", "-m", arguments.model, "-p", prompt, "--json", "--temp",
               str(arguments.temp), "--seed", "1", "--max-tokens", "160", *way.split()]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def measure(arguments, name):
    path = pathlib.Path(arguments.eval) / f"{name}.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    step = max(1, len(records) // arguments.limit)
    totals = [dict(way=way, tokens=0, seconds=0.0, proposed=0, kept=0) for way in arguments.ways]
    for record in records[::step][:arguments.limit]:
        first = None
        for way, total in zip(arguments.ways, totals):
            result = answer(arguments, prompt_of(record), way)
            text = (result["content"], result["tool_calls"], result["usage"])
            if first is None:
                first = text
            if text != first:
                sys.exit(f"{name}: {way!r} changes the answer to {prompt_of(record)!r}")
            rate = result["timings"]["decode_tokens_per_second"]
            n = result["usage"]["completion_tokens"] - 1
            if rate > 0 and n > 0:
                total["tokens"] += n
                total["seconds"] += n / rate
            drafts = result.get("drafts", {"proposed": 0, "kept": 0})
            total["proposed"] += drafts["proposed"]
            total["kept"] += drafts["kept"]
    base = totals[0]["tokens"] / totals[0]["seconds"]
    for total in totals:
        total["tokens_per_second"] = total["tokens"] / total["seconds"]
        total["times"] = total["tokens_per_second"] / base
        total["kept_share"] = total["kept"] / total["proposed"] if total["proposed"] else None
    return totals


def prompt_of(record):
    return record["messages"][-1]["content"] if "messages" in record else record["prompt"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lllm", default="build/lllm")
    parser.add_argument("--eval", required=True)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--temp", type=float, default=0)
    parser.add_argument("--ways", default=",--lookup")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.ways = arguments.ways.split(",")
    results = {}
    for name in arguments.sets.split(","):
        results[name] = measure(arguments, name)
        for total in results[name] if not arguments.json else []:
            share = "" if total["kept_share"] is None else \
                f"{total['kept']} of {total['proposed']} drafts kept ({total['kept_share']:.0%})"
            print(f"{name:12} {total['way'] or 'plain':32} {total['tokens_per_second']:8.0f} "
                  f"tokens/s  {total['times']:5.2f} times  {share}", flush=True)
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
