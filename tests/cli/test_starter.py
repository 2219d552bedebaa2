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

    def test_figures_are_on_standard_error(self):
        done = self.answer("--temp", "0")
        self.assertRegex(done.stderr, FIGURES)
        self.assertNotRegex(done.stdout, r"\d/s")
        self.assertEqual(self.answer("--temp", "0", "--quiet").stderr, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
