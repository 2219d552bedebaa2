#!/usr/bin/env python3
"""Measure a model on the evaluation sets that make_corpus.py writes.

    evaluate.py --lllm PATH --model MODEL --data DIR/eval [--limit N] [--json] [--jobs 2]

Each sample is one run of `lllm run` at temperature 0. The answers are scored mechanically: a
topic needs all its facts, a sentiment the exact word, an extraction the expected JSON object, a
tool call the expected name and arguments, and an off-topic question an answer that begins with
"I don't know". Intervals are Wilson's at 95%. The row "topics-first" counts those of the topics
alone that were held out of the first twenty questions, the whole set of earlier measurements.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corpus_files import facts_missing

MAX_TOKENS = 160
RUN_SECONDS = 300
SETS = ("topics", "topics-family", "sentiment", "extraction", "tools", "offtopic")
Z_95 = 1.959964


class RunError(Exception):
    """A run that could not be scored, because the program failed."""


def parse_object(text):
    """Read the text as one JSON object; None if it is none."""
    try:
        value = json.loads(text.strip())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def parse_call(text):
    """Read a tool call in Hermes form, with or without its tags; None if it is none."""
    tagged = re.search(r"<tool_call>(.*?)(</tool_call>|$)", text, re.DOTALL)
    call = parse_object(tagged.group(1) if tagged else text)
    if call is None or set(call) != {"name", "arguments"}:
        return None
    return call


def answer_of(result):
    """The text of what `lllm run --json` prints: its one call, or else its content."""
    if len(result["tool_calls"]) != 1:
        return result["content"]
    function = result["tool_calls"][0]["function"]
    call = {"name": function["name"], "arguments": json.loads(function["arguments"])}
    return f"<tool_call>{json.dumps(call)}</tool_call>"


def same_json(one, other):
    """Compare JSON values, where 1 is not true and "12" is not 12."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def is_right(name, record, answer):
    """Score one answer."""
    answer = answer.strip()
    if name in ("topics", "topics-family"):
        return not facts_missing(record["facts"], answer)
    if name == "sentiment":
        return answer == record["expected"]
    if name == "extraction":
        return same_json(parse_object(answer), record["expected"])
    if name == "tools":
        return same_json(parse_call(answer), record["expected"])
    if name == "offtopic":
        return answer.startswith("I don't know")
    raise ValueError(f"There is no evaluation set '{name}'.")


def wanted(name, record):
    """Say in one line what a right answer is."""
    if name in ("topics", "topics-family"):
        return "; ".join("|".join(words) for words in record["facts"])
    return json.dumps(record.get("expected", "I don't know"))


def wilson(right, n):
    """Return the 95% interval of a share, which holds for small n and near 0 and 1 too."""
    if n == 0:
        return 0.0, 1.0
    share = right / n
    centre = share + Z_95 ** 2 / (2 * n)
    spread = Z_95 * math.sqrt(share * (1 - share) / n + Z_95 ** 2 / (4 * n * n))
    scale = 1 + Z_95 ** 2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def read_set(folder, name, limit):
    """Read the records of one set, at most limit of them."""
    with open(folder / f"{name}.jsonl", encoding="utf-8") as file:
        records = [json.loads(line) for line in file if line.strip()]
    return records if limit is None else records[:limit]


class Runner:
    """Runs lllm, with one temporary file for each distinct list of tools."""

    def __init__(self, lllm, model, folder):
        self.lllm, self.model, self.folder = lllm, model, Path(folder)
        self.files = {}

    def prepare(self, records):
        """Write the tool files before any run, because runs go on in parallel."""
        for record in records:
            key = json.dumps(record.get("tools"))
            if record.get("tools") and key not in self.files:
                path = self.folder / f"tools-{len(self.files)}.json"
                path.write_text(key, encoding="utf-8")
                self.files[key] = path

    def run(self, record):
        """Return what the model answers; a tool call in Hermes form."""
        prompt = record["messages"][-1]["content"]
        command = [self.lllm, "run", "-m", self.model, "-p", prompt, "--temp", "0",
                   "--max-tokens", str(MAX_TOKENS), "--quiet"]
        if record.get("tools"):
            command += ["--json", "--tools", str(self.files[json.dumps(record["tools"])])]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=RUN_SECONDS, check=False)
        except OSError as error:
            raise RunError(f"{self.lllm} could not be started: {error.strerror}.") from error
        except subprocess.TimeoutExpired as error:
            raise RunError(f"A run took more than {RUN_SECONDS} seconds: {prompt!r}.") from error
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise RunError(f"lllm failed with exit status {done.returncode} on {prompt!r}: "
                           f"{lines[-1]}")
        text = done.stdout.decode("utf-8", "replace")
        return answer_of(json.loads(text)) if record.get("tools") else text


def show_progress(name, done, total):
    """Keep one line up to date, only where a person looks."""
    if sys.stderr.isatty():
        end = "\r" if done < total else "\n"
        print(f"{name}: {done}/{total}   ", end=end, file=sys.stderr, flush=True)


def evaluate_set(runner, pool, name, records):
    """Return the figures of one set and its wrong answers, and those of a part of it if marked."""
    runner.prepare(records)
    first = [bool(record.get("first")) for record in records]
    futures = [pool.submit(runner.run, record) for record in records]
    right, wrong = [], []
    try:
        for position, (record, future) in enumerate(zip(records, futures), 1):
            answer = future.result()
            right.append(is_right(name, record, answer))
            if not right[-1]:
                wrong.append({"question": record["messages"][-1]["content"],
                              "wanted": wanted(name, record), "answer": answer.strip()})
            show_progress(name, position, len(records))
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    results = [figures(name, right, wrong)]
    if any(first):
        results.append(figures(f"{name}-first", [is_one for is_one, counts in zip(right, first)
                                                 if counts], []))
    return results


def figures(name, right, wrong):
    """Sum up which answers of a set are right."""
    low, high = wilson(sum(right), len(right))
    percent = 100 * sum(right) / len(right) if right else 0.0
    return {"set": name, "n": len(right), "right": sum(right), "percent": round(percent, 1),
            "low": round(100 * low, 1), "high": round(100 * high, 1), "wrong": wrong}


def print_results(results, verbose):
    """Print the table and, if asked, the wrong answers."""
    print(f"{'set':<15}{'n':>6}{'right':>7}{'percent':>9}  95% interval")
    for result in results:
        print(f"{result['set']:<15}{result['n']:>6}{result['right']:>7}"
              f"{result['percent']:>9.1f}  {result['low']:.1f} to {result['high']:.1f}")
    if verbose:
        for result in results:
            for item in result["wrong"]:
                print(f"\n{result['set']}: {item['question']!r}\n  wanted: {item['wanted']}"
                      f"\n  answer: {item['answer']!r}")


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lllm", required=True, help="the lllm program")
    parser.add_argument("--model", required=True, help="name or file of the model")
    parser.add_argument("--data", type=Path, required=True, help="folder of the *.jsonl sets")
    parser.add_argument("--limit", type=int, help="at most so many samples of each set")
    parser.add_argument("--set", action="append", choices=SETS, help="only this set; repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--verbose", action="store_true", help="list the wrong answers")
    return parser.parse_args()


def evaluate(arguments):
    """Return the results of all sets that were asked for."""
    lllm = shutil.which(arguments.lllm)
    if lllm is None:
        raise RunError(f"The program {arguments.lllm} is missing.")
    with tempfile.TemporaryDirectory() as folder, \
            ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        runner = Runner(lllm, arguments.model, folder)
        return [result for name in arguments.set or SETS for result in
                evaluate_set(runner, pool, name,
                             read_set(arguments.data, name, arguments.limit))]


def main():
    """Run the program."""
    arguments = parse_arguments()
    try:
        results = evaluate(arguments)
    except OSError as error:
        print(f"evaluate.py: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 1
    except (RunError, ValueError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        if not arguments.verbose:
            for result in results:
                del result["wrong"]
        print(json.dumps(results, indent=2))
    else:
        print_results(results, arguments.verbose)
    return 0


if __name__ == "__main__":
    sys.exit(main())
