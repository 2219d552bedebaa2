#!/usr/bin/env python3
"""The scripts of bench/ that run `lllm bench` many times, with a program in its place that answers
at once."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"

# Answers any sweep; counts its calls in the file beside it.
STAND_IN = '''#!%s
import json, pathlib, sys
a = sys.argv
with open(pathlib.Path(a[0]).parent / "calls", "a") as f:
    f.write(" ".join(a[1:]) + "\\n")
if "broken" in a[2]:
    sys.exit(1)
def option(name, default):
    return a[a.index(name) + 1] if name in a else default
def spread(x):
    return {"median": x, "min": x / 2, "max": x * 2, "n": 3}
rows = []
for threads in option("--threads", "1").split(","):
    for depth in option("--depth", "0").split(","):
        for test, counts in (("prefill", option("--prefill", "512")), ("decode", option("--decode", "128"))):
            for n in counts.split(","):
                if n != "0":
                    rows.append({"test": test, "threads": int(threads), "depth": int(depth), "tokens": int(n),
                                 "tokens_per_second": spread(100.0 * int(threads)), "against": spread(40.0),
                                 "ratio": 2.5, "stages": {"attention": 0.25}})
machine = {"processor": "a processor", "threads": 2, "read": {"one_thread_gb_s": 10.0, "gb_s": 20.0},
           "peaks": [{"unit": "f32", "one_thread_gops": 100.0, "gops": 200.0},
                     {"unit": "tiles", "one_thread_gops": 2000.0, "gops": 4000.0}]}
out = {"rows": rows, "machine": machine, "weight_bytes_per_token": 75e6, "operations_per_token": 2.7e8,
       "cache_bytes_per_token": 46080}
for row in reversed(rows):
    out[row["test"]] = row
print(json.dumps(out))
'''


class Scripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.lllm = self.folder / "lllm"
        self.lllm.write_text(STAND_IN % sys.executable)
        self.lllm.chmod(0o755)

    def run_script(self, name, *arguments):
        return subprocess.run([sys.executable, BENCH / name, *map(str, arguments)], text=True,
                              capture_output=True, timeout=600, check=False)

    def calls(self):
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def side_by_side(self, *arguments):
        return self.run_script("side_by_side.py", "--lllm", self.lllm, "--ledger",
                               self.folder / "ledger", "--peer", "all=peer {model}", "--peer",
                               "avx2=old-peer {model}", *arguments)

    def test_side_by_side_goes_on(self):
        few = ("--threads", "2,1", "--depths", "512", "--prompts", "4096")
        done = self.side_by_side("m-q4_0.gguf", "broken.gguf", *few)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.calls()), 20)  # 5 tests, 2 models, 2 numbers of threads
        self.assertEqual(done.stdout.count("| m-q4_0 | 2 | 200 [100..400] | 40.0 [20.0..80.0] | "
                                           "**2.50** [1.25..20.00] |"), 5)
        self.assertNotIn("broken", done.stdout)
        self.assertIn("broken pp512 all 2t: lllm bench failed", done.stderr)
        self.assertIn("### decode of 128 tokens at depth 512, mask all", done.stdout)
        masks = [re.search("--cpu-mask (.*?) .*--against (.*)", c).groups() for c in self.calls()]
        self.assertEqual(set(masks), {("all", "peer {model}"), ("avx2", "old-peer {model}")})
        # A ledger that was cut off in a line: that cell, and those that failed, are measured again.
        ledger = self.folder / "ledger"
        ledger.write_text(ledger.read_text()[:-20])
        self.side_by_side("m-q4_0.gguf", "broken.gguf", *few)
        self.assertEqual(len(self.calls()), 20 + 11)

    def test_levels(self):
        source = self.folder / "peer" / "bins"
        source.mkdir(parents=True)
        for name in "x64", "haswell", "alderlake", "icelake", "sapphirerapids", "armv8":
            (source / f"libggml-cpu-{name}.so").write_text(name)
        (source / "libggml.so").write_text("")
        for level, names in (("avx2", ["haswell", "x64"]),
                             ("avx-vnni", ["alderlake", "haswell", "x64"]),
                             ("avx512", ["alderlake", "haswell", "icelake", "x64"])):
            target = self.folder / level
            done = self.run_script("side_by_side.py", "--make-level", level, source.parent, target)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = sorted(p.name for p in target.rglob("*.so"))
            self.assertEqual(found, sorted(["libggml.so", "libggml-cpu-armv8.so"] +
                                           [f"libggml-cpu-{n}.so" for n in names]))
        self.assertEqual(len(list(source.iterdir())), 7)
        again = self.run_script("side_by_side.py", "--make-level", "avx2", source.parent, target)
        self.assertEqual(again.returncode, 1)

    def test_plots(self):
        out = self.folder / "plots"
        done = self.run_script("plots.py", "--lllm", self.lllm, "--out", out, "m-q4_0.gguf",
                               "b<1>.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in "batch", "depth", "size", "threads":
            picture = xml.parse(out / f"{name}.svg").getroot()
            texts = [t.text for t in picture.iter("{http://www.w3.org/2000/svg}text")]
            self.assertIn("tokens/s", texts)
            self.assertIn("b<1>", texts)
            for element in picture.iter("{http://www.w3.org/2000/svg}circle"):
                self.assertTrue(0 < float(element.get("cy")) < 400)
        # A model that is measured again takes the place of its own rows alone.
        self.run_script("plots.py", "--lllm", self.lllm, "--out", out, "m-q4_0.gguf")
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
        self.assertEqual([(r["model"], r["sweep"]) for r in rows],
                         [("b<1>", "batch"), ("b<1>", "depth"), ("m-q4_0", "batch"),
                          ("m-q4_0", "depth")])
        before = len(self.calls())
        self.assertEqual(self.run_script("plots.py", "--out", out).returncode, 0)
        self.assertEqual(len(self.calls()), before)


if __name__ == "__main__":
    unittest.main()
