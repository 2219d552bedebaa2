#!/usr/bin/env python3
"""Runs `meson test` and counts single checks: `N passed, N failed, N skipped` is the last line.

A program that speaks TAP counts by its lines, a Python unittest by its summary, any other as one.
Skipped checks are named with their reason, so that silence never hides one.
"""
import json
import os
import re
import subprocess
import sys


def count_tap(text):
    """(passed, failed, [skipped reasons]) of a TAP stream; cmocka marks a skip as "not ok"."""
    passed = failed = 0
    skipped = []
    remark = ""
    for line in text.splitlines():
        match = re.match(r"\s*(not )?ok\b[ \d-]*(.*)", line)
        if not match:
            remark = line.strip("# ")
            continue
        if re.search(r"#\s*SKIP", match[2], re.I):
            name = re.sub(r"#\s*SKIP", "", match[2], flags=re.I).strip()
            skipped.append(f"{name}: {remark or 'no reason printed'}")
        elif match[1]:
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped


def count_unittest(text):
    """The same of unittest's verbose output; None where it is not one."""
    ran = re.search(r"^Ran (\d+) tests? in", text, re.M)
    if not ran:
        return None
    last = re.search(r"^(OK|FAILED)(?: \((.*)\))?$", text, re.M)
    pairs = re.findall(r"([a-z ]+)=(\d+)", (last[2] or "") if last else "errors=1")
    numbers = {name.strip(): int(count) for name, count in pairs}
    failed = numbers.get("failures", 0) + numbers.get("errors", 0)
    reasons = re.findall(r"\.\.\. skipped ['\"](.*)['\"]$", text, re.M)
    # A class that skips as a whole is one skip and was not counted as run.
    whole = len(re.findall(r"^setUp(?:Class|Module) .*\.\.\. skipped", text, re.M))
    n_skipped = numbers.get("skipped", 0)
    skipped = (reasons + ["no reason printed"] * n_skipped)[:n_skipped]
    return max(0, int(ran[1]) - failed - (n_skipped - whole)), failed, skipped


def main():
    build = sys.argv[1]
    env = dict(os.environ)
    command = ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs"] + sys.argv[2:]
    if env.get("LLLM_SOAK"):
        command += ["--timeout-multiplier", "0"]
    results = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(results):
        os.remove(results)
    status = subprocess.run(command, env=env).returncode
    if not os.path.exists(results):
        print("meson test did not run\n0 passed, 1 failed, 0 skipped")
        return 1
    passed = failed = 0
    skipped = []
    with open(results, encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            output = test.get("stdout", "") + "\n" + test.get("stderr", "")
            tap = count_tap(test.get("stdout", ""))
            counts = count_unittest(output) or (tap if sum(map(bool, tap)) else None)
            bad = test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL")
            if counts is None:
                skip = [test["name"]] if test["result"] == "SKIP" else []
                counts = (int(not bad and not skip), 0, skip)
            passed += counts[0]
            # A crash or a timeout is a failure even when every check that ran passed.
            failed += max(counts[1], int(bad))
            skipped += [f"{test['name']}: {reason}" for reason in counts[2]]
    for reason in skipped:
        print(f"skipped  {reason}")
    print(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
    return 1 if failed or (status and not failed) else 0


if __name__ == "__main__":
    sys.exit(main())
