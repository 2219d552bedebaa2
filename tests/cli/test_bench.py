#!/usr/bin/env python3
"""`lllm bench` on the built-in model: what is reported, and what is refused."""
import json
import unittest

from program import run
from test_starter import WithStarter

SMALL = ("--prefill", "32", "--decode", "8", "--reps", "2")


class Bench(WithStarter):
    def spread(self, s, n=2):
        self.assertLessEqual(s["min"], s["median"])
        self.assertLessEqual(s["median"], s["max"])
        self.assertGreater(s["min"], 0)
        self.assertEqual(s["n"], n)

    def test_json(self):
        done = run("bench", "starter", *SMALL, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.spread(report["load_ms"])
        self.spread(report["first_token_ms"])
        self.assertEqual(report["prefill"]["tokens"], 32)
        self.spread(report["prefill"]["tokens_per_second"])
        self.assertEqual(report["decode"]["tokens"], 8)
        self.spread(report["decode"]["tokens_per_second"])
        self.assertGreater(report["weight_bytes_per_token"], 1e6)
        self.assertNotIn("machine", report)

    def test_against(self):
        done = run("bench", "starter", *SMALL, "--depth", "5", "--json", "--against",
                   "test {depth} = 5 && echo '{test}' | sed 's/pp32/100/; s/tg8/25/'")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        for test, rate in ("prefill", 100), ("decode", 25):
            self.assertEqual(report[test]["against"],
                             {"median": rate, "min": rate, "max": rate, "n": 2})
            self.assertAlmostEqual(report[test]["ratio"],
                                   report[test]["tokens_per_second"]["median"] / rate, places=5)

    def test_text(self):
        done = run("bench", "starter", *SMALL)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for part in "model ", "load ", "prefill 32 ", "decode 8 ", "peak memory ", "tokens/s":
            self.assertIn(part, done.stdout)

    def test_only_one_test(self):
        report = json.loads(run("bench", "starter", *SMALL[2:], "--prefill", "0", "--json").stdout)
        self.assertNotIn("prefill", report)
        self.assertIn("decode", report)

    def test_refusals(self):
        for status, words, arguments in (
                (2, "needs a model", []),
                (2, "one model", ["starter", "starter"]),
                (2, "nothing to measure", ["starter", "--prefill", "0", "--decode", "0"]),
                (1, "--context-size", ["starter", "--context-size", "64"]),
                (1, "--against", ["starter", *SMALL, "--against", "echo slow"])):
            with self.subTest(arguments=arguments):
                done = run("bench", *arguments)
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
