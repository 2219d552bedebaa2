#!/usr/bin/env python3
"""`lllm bench` on the built-in model: what is reported, and what is refused."""
import json
import signal
import subprocess
import time
import unittest

from program import LLLM, PATIENCE, run
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

    def test_throughput(self):
        names = [json.loads(run("bench", "starter", *SMALL, *more, "--joint", "3", "--json").stdout)
                 ["kernels"] for more in ([], ["--throughput"], ["--throughput", "--cpu-mask=-amx"])]
        self.assertIn(names[1], (names[0], names[0] + "-many"))
        self.assertEqual(names[1] == "amx-many", names[0] == "amx")
        self.assertNotIn("many", names[2])

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

    def test_sweep(self):
        """A row for each number of threads, depth and test, in that order."""
        done = run("bench", "starter", "--prefill", "4,16", "--decode", "3", "--depth", "0,9",
                   "--threads", "1,2", "--reps", "1", "--stages", "--quiet", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        found = [(r["threads"], r["depth"], r["test"], r["tokens"]) for r in report["rows"]]
        self.assertEqual(found, [(t, d, *test) for t in (1, 2) for d in (0, 9) for test in
                                 (("prefill", 4), ("prefill", 16), ("decode", 3))])
        for row in report["rows"]:
            self.spread(row["tokens_per_second"], 1)
            self.assertAlmostEqual(sum(row["stages"].values()), 1)
            self.assertGreater(row["stages"]["attention"], 0)
        for test in "prefill", "decode":
            first = next(r for r in report["rows"] if r["test"] == test)
            self.assertEqual(report[test], {k: first[k] for k in report[test]})

    def test_crowd(self):
        """A prompt among answers, and one whose beginning is known."""
        done = run("bench", "starter", "--crowd", "3", "--prefill", "128", "--reps", "1",
                   "--threads", "1", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        arrival, prefix = report["arrival"], report["prefix"]
        self.assertEqual((arrival["answers"], arrival["prompt"], prefix["tokens"]), (3, 128, 32))
        self.spread(arrival["gap_ms"], 64)
        self.spread(arrival["gap_beside_prompt_ms"], arrival["gap_beside_prompt_ms"]["n"])
        self.assertAlmostEqual(arrival["gap_ratio"], arrival["gap_beside_prompt_ms"]["median"] /
                               arrival["gap_ms"]["median"], places=5)
        self.spread(arrival["first_token_s"], 1)
        self.spread(prefix["first_token_ms"], 1)
        self.spread(prefix["first_token_again_ms"], 1)
        for option in ("--decode=4", "--joint=2", "--depth=5", "--stages", "--machine",
                       "--against=true", "--prefill=64,128", "--threads=1,2"):
            refused = run("bench", "starter", "--crowd", "3", option)
            self.assertEqual((refused.returncode, refused.stdout), (2, ""))
            self.assertIn(option.split("=")[0], refused.stderr)
        done = run("bench", "starter", "--crowd", "3", "--prefill", "63")
        self.assertEqual(done.returncode, 2)
        self.assertIn("at least 64", done.stderr)
        done = run("bench", "starter", "--crowd", "3", "--prefill", "600", "--context-size", "512")
        self.assertEqual(done.returncode, 1)
        self.assertIn("needs a context of", done.stderr)

    def test_stages_only_on_demand(self):
        report = json.loads(run("bench", "starter", *SMALL, "--json").stdout)
        self.assertNotIn("stages", report["prefill"])
        text = run("bench", "starter", *SMALL, "--stages").stdout
        self.assertEqual(text.count("  stages "), 2)
        self.assertIn("attention ", text)

    def test_memory_adds_up(self):
        memory = json.loads(run("bench", "starter", *SMALL, "--json").stdout)["memory"]
        self.assertGreater(memory["weights_mb"], 1)
        self.assertAlmostEqual(memory["peak_mb"], memory["weights_mb"] + memory["cache_mb"] +
                               memory["beside_mb"], places=3)
        self.assertLess(memory["beside_mb"], 64)
        if "own_pages_mb" in memory:
            self.assertGreater(memory["file_pages_mb"], 0)
            self.assertLess(memory["file_pages_mb"] + memory["own_pages_mb"],
                            1.01 * memory["peak_mb"])

    def test_memory_is_of_all_that_is_measured(self):
        """A context as long as it has to be, and joint sequences beside the first."""
        one = ("bench", "starter", "--prefill", "0", "--decode", "4", "--depth", "200", "--reps", "1")
        report = json.loads(run(*one, "--json").stdout)
        self.assertEqual(report["context_size"], 204)
        plan = json.loads(run("run", "starter", "--plan", "--json", "--context-size", "204").stdout)
        more = 63 * 256 * report["cache_bytes_per_token"]
        limit = ("--memory", str(plan["plan"]["total_bytes"] + more // 2))
        self.assertEqual(run(*one, *limit, "--joint", "2").returncode, 0)
        done = run(*one, *limit, "--joint", "64")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(": less --prefill, --decode, --depth or --joint fits", done.stderr)

    def test_share_is_of_the_unit_that_computes(self):
        for mask, unit in (("none", "f32 multiply-add, portable C"), ("all", None)):
            report = json.loads(run("bench", "starter", *SMALL, "--machine", "--json", "--cpu-mask",
                                    mask).stdout)
            named = report["prefill"]["peak_unit"]
            peak = next(p for p in report["machine"]["peaks"] if p["unit"] == named)
            share = (report["prefill"]["tokens_per_second"]["median"] *
                     report["operations_per_token"] / 1e9 / peak["gops"])
            self.assertAlmostEqual(report["prefill"]["share_of_peak"], share, places=6)
            self.assertEqual(named, unit or named)
            kinds = {"gfni": "products of bytes, AVX-512", "vnni": "products of bytes, AVX-512",
                     "avx2": "products of bytes, AVX2", "vnni256": "products of bytes, AVX-VNNI",
                     "amx": "bf16 tiles, AMX"}
            self.assertTrue(named.startswith(kinds.get(report["kernels"], "")), (report["kernels"], named))

    def test_interrupted(self):
        """What was measured until then is told."""
        for more in ([], ["--json"]):
            for seconds in (3, 12, 48):  # on slow machines the first row takes its time
                started = subprocess.Popen([LLLM, "bench", "starter", "--prefill", "8,65536",
                                            "--decode", "0", "--reps", "1", "--threads", "1", *more],
                                           text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                time.sleep(seconds)
                started.send_signal(signal.SIGINT)
                out, said = started.communicate(timeout=PATIENCE)
                self.assertEqual(started.returncode, 130, said)
                if "after 0 of 2" not in said:
                    break
            self.assertIn("interrupted after 1 of 2 rows", said)
            if more:
                report = json.loads(out)
                self.assertTrue(report["interrupted"])
                self.assertEqual([r["tokens"] for r in report["rows"]], [8])
            else:
                self.assertEqual(out.count("prefill 8 "), 1)
                self.assertNotIn("prefill 65536", out)
                self.assertNotIn("peak memory", out)

    def test_more_sequences_than_tokens(self):
        report = json.loads(run("bench", "starter", "--prefill", "0", "--decode", "4", "--joint", "8",
                                "--reps", "1", "--json").stdout)
        self.assertEqual([r["test"] for r in report["rows"]], ["decode", "joint"])
        self.assertEqual(report["context_size"], 8)

    def test_kv_types(self):
        """Bytes of a token's keys and values are those of the type: 32 numbers in 34 bytes."""
        found = {kv: json.loads(run("bench", "starter", *SMALL, "--json", "--kv-type", kv).stdout)
                 for kv in ("f32", "f16", "q8_0")}
        per_token = [found[kv]["cache_bytes_per_token"] for kv in found]
        self.assertEqual([n * 34 for n in per_token],
                         [per_token[0] * n for n in (34, 17, 34 * 34 / 128)])
        for kv, report in found.items():
            self.assertEqual(report["kv_type"], kv)
            self.assertAlmostEqual(report["memory"]["cache_mb"] / found["f32"]["memory"]["cache_mb"],
                                   report["cache_bytes_per_token"] / per_token[0])
        default = json.loads(run("bench", "starter", *SMALL, "--json").stdout)
        self.assertEqual(default["kv_type"], "f16")

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
                (2, "nothing to measure", ["starter", "--prefill", "0,0", "--decode", "0"]),
                (2, "--decode is 0", ["starter", "--decode", "0", "--joint", "4"]),
                (2, "it is empty", ["starter", *SMALL, "--against", " "]),
                (2, "--prefill", ["starter", "--prefill", "1,,2"]),
                (2, "--prefill", ["starter", "--prefill", "1,x"]),
                (2, "--depth", ["starter", "--depth", "-1"]),
                (2, "--threads", ["starter", "--threads", "1,99999"]),
                (2, "--prefill", ["starter", "--prefill", ",".join(["1"] * 33)]),
                (1, "--context-size", ["starter", "--context-size", "64"]),
                (1, "--against", ["starter", *SMALL, "--against", "echo slow"])):
            with self.subTest(arguments=arguments):
                done = run("bench", *arguments)
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
