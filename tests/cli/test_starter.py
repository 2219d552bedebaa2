#!/usr/bin/env python3
"""The built-in model: damaged copies of its file, and the same answer however it is computed.

LLLM_STARTER names another file to test in its place. LLLM_SOAK=1 cuts at every byte of the header.
"""
import json
import os
import pathlib
import unittest

import program
from program import run

OWN = pathlib.Path(__file__).resolve().parents[2] / "models" / "starter" / "starter.gguf"
STARTER = pathlib.Path(os.environ.get("LLLM_STARTER") or OWN)
QUESTION = "What is machine learning?"
FIGURES = r"load [\d.]+ ms \| [\d,]+ prompt tokens? .*\| [\d,]+ tokens? at [\d.,]+/s\n\Z"


def built_in():
    models = json.loads(run("list", "--json").stdout)["models"]
    return any(m["built_in"] for m in models)


class WithStarter(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        if not STARTER.is_file():
            raise unittest.SkipTest(f"there is no {STARTER}; models/starter/build.sh makes it")
        super().setUpClass()


class Truncated(WithStarter):
    """A part of the file is refused with one sentence and no output, wherever it was cut."""

    def refuse(self, data, n):
        path = self.folder / "cut.gguf"
        path.write_bytes(data[:n])
        for arguments in (["show", path], ["run", path, "hello"]):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""), f"{n} bytes: {arguments}")
            self.assertRegex(done.stderr, r"\Alllm: [^\n]+\n\Z", f"{n} bytes: {arguments}")

    def test_header(self):
        data = STARTER.read_bytes()
        for n in range(0, 4096, 1 if os.environ.get("LLLM_SOAK") else 256):
            self.refuse(data, n)

    def test_tensor_edges(self):
        data = STARTER.read_bytes()
        tensors = json.loads(run("show", STARTER, "--tensors", "--json").stdout)["tensors"]
        tensors.sort(key=lambda t: t["offset"])
        n = len(tensors)
        edges = [tensors[i]["offset"] for i in (0, n // 3, 2 * n // 3, n - 1)]
        edges.append(tensors[-1]["offset"] + tensors[-1]["size_bytes"] - 1)
        for edge in edges:
            self.assertLess(edge, len(data))
            self.refuse(data, edge)


class Answers(WithStarter):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = ["-m", "starter" if STARTER == OWN else STARTER]

    def answer(self, *options, **how):
        arguments = [] if "stdin" in how else [QUESTION]
        done = run("run", *self.model, "--max-tokens", "100", *options, *arguments, **how)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout)
        return done

    @unittest.skipIf(STARTER != OWN, "LLLM_STARTER names a file that is not the built-in model")
    def test_what_it_knows(self):
        self.assertTrue(built_in(), f"{OWN} exists and is not in the program: configure it again")
        self.assertIn("data", self.answer("--temp", "0", "--quiet").stdout)

    def test_one_text_however_it_is_computed(self):
        expected = self.answer("--temp", "0", "--quiet").stdout
        for options in (["--threads", "1"], ["--threads", "2"], ["--cpu-mask", "none"],
                        ["--cpu-mask", "avx2"], ["--cpu-mask", "all"], ["--batch-size", "1"],
                        ["--batch-size", "64"]):
            self.assertEqual(self.answer("--temp", "0", "--quiet", *options).stdout, expected,
                             options)

    def test_a_seed_decides_the_text(self):
        how = ["--temp", "1", "--seed", "7", "--quiet"]
        first = self.answer(*how, stdin=QUESTION).stdout
        self.assertEqual(self.answer(*how, stdin=QUESTION).stdout, first)
        self.assertEqual(self.answer(*how).stdout, first)

    @unittest.skipIf(STARTER != OWN, "LLLM_STARTER names a file that is not the built-in model")
    def test_the_temperature_is_told(self):
        """The file recommends 0, with which nothing is drawn."""
        shown = run("show", "starter")
        self.assertRegex(shown.stdout, r"(?m)^sampling +temperature 0\b.*recommended by the file")
        self.assertEqual(json.loads(run("show", "starter", "--json").stdout)["sampling"]["temperature"], 0)
        note = "lllm: the temperature is 0"
        said = self.answer("--seed", "4", "--top-k", "3").stderr
        self.assertEqual(said.count(note), 1)
        self.assertIn("(which the file recommends; --temp sets another), so the likeliest token is taken "
                      "each time and --top-k, --seed change nothing\n", said)
        self.assertIn("and --mirostat changes nothing\n", self.answer("--temp", "0", "--mirostat", "2").stderr)
        for options in ([], ["--seed", "4", "-q"], ["--seed", "4", "--temp", "0.5"],
                        ["--seed", "4", "--xtc-probability", "0.5"], ["--repeat-penalty", "1.1"]):
            self.assertNotIn(note, self.answer(*options).stderr, options)

    def test_what_changes_nothing_is_told(self):
        """Samplers that --samplers leaves out, what mirostat replaces, and parts of what is off."""
        left_out = "because --samplers leaves its sampler out"
        cases = (
            ("--top-k 1 --samplers temperature", f"--top-k changes nothing, {left_out}"),
            ("--samplers top_k --min-p 0.1", f"--min-p changes nothing, {left_out}"),
            ("--samplers top_k --adaptive-target 0.3", f"--adaptive-target changes nothing, {left_out}"),
            ("--samplers top_k --repeat-penalty 2 --dry-multiplier 1",
             "--repeat-penalty, --dry-multiplier change nothing, because --samplers leaves their samplers out"),
            ("--mirostat 2 --top-k 5", "--top-k changes nothing, because mirostat stands in its place"),
            ("--xtc-threshold 0.2", "--xtc-threshold changes nothing without --xtc-probability"),
            ("--mirostat-ent 3 --mirostat-lr 0.2", "--mirostat-ent, --mirostat-lr change nothing without --mirostat"),
            ("--dry-base 2 --dry-allowed-length 3 --dry-sequence-breaker x", "--dry-base, --dry-allowed-length, "
             "--dry-sequence-breaker change nothing without --dry-multiplier"),
            ("--dynatemp-exp 2", "--dynatemp-exp changes nothing without --dynatemp-range"),
            ("--adaptive-decay 0.5", "--adaptive-decay changes nothing without --adaptive-target"),
            ("--repeat-last-n 3", "--repeat-last-n changes nothing without --repeat-penalty, "
             "--presence-penalty or --frequency-penalty"))
        for options, note in cases:
            said = self.answer("-n", "2", "--temp", "1", *options.split()).stderr
            self.assertEqual([line for line in said.splitlines() if "nothing" in line], [f"lllm: {note}"])
        note = f"lllm: --temp changes nothing, {left_out}\n"
        self.assertIn(note, self.answer("-n", "2", "--samplers", "top_k", "--temp", "1.5").stderr)
        both = self.answer("-n", "2", "--temp", "0", "--top-k", "3", "--repeat-last-n", "3").stderr
        self.assertIn("and --top-k changes nothing; --repeat-last-n changes nothing without", both)
        for options in ("--mirostat 2 --top-k 0", "--samplers temperature --min-p 0", "--samplers top_k --temp 0",
                        "--mirostat-ent 3 --mirostat 2", "--repeat-last-n 3 --presence-penalty 1",
                        "--samplers top_k --min-p 0.1 -q"):
            given = [] if "--temp 0" in options else ["--temp", "1"]
            self.assertNotIn("nothing", self.answer("-n", "2", *given, *options.split()).stderr, options)

    def test_temperature_0_is_greedy_in_any_order(self):
        texts = {self.answer("-n", "8", "-q", "--temp", "0", "--samplers", "top_k", "--seed", str(seed)).stdout
                 for seed in range(4)}
        self.assertEqual(texts, {self.answer("-n", "8", "-q", "--temp", "0").stdout})

    def test_a_search_has_no_seed(self):
        """It draws nothing."""
        for options, there in (([], True), (["--beams", "2"], False)):
            self.assertEqual("seed" in json.loads(self.answer("--json", "-n", "2", *options).stdout), there)

    def test_figures_are_on_standard_error(self):
        done = self.answer("--temp", "0")
        self.assertRegex(done.stderr, FIGURES)
        self.assertNotRegex(done.stdout, r"\d/s")
        self.assertEqual(self.answer("--temp", "0", "--quiet").stderr, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
