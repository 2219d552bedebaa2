"""`--lookup` and `--draft` of `lllm run` and `lllm batch`: the text of plain decoding, what is said
of them, and the memory that a draft model takes."""
import json
import pathlib
import tempfile
import unittest

import script_model
from program import TEMPLATE, run

PROMPTS = [
    "What is machine learning?",
    "Extract the name, age and city as JSON: Anna Walker is 36 years old and lives in Cork.",
    "Who won the world cup in 1998?",
]


class Drafts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if run("show", "starter").returncode:
            raise unittest.SkipTest("this build has no built-in model")

    def answer(self, *options):
        done = run("run", "-m", "starter", "--json", "--max-tokens", "40", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_same_text(self):
        for prompt in PROMPTS:
            for how in (("--temp", "0"), ("--temp", "0.9", "--seed", "5", "--threads", "1")):
                plain = self.answer("-p", prompt, *how)
                self.assertNotIn("drafts", plain)
                for ways in (("--lookup",), ("--draft", "starter"),
                             ("--draft", "starter", "--lookup")):
                    fast = self.answer("-p", prompt, *how, *ways)
                    for key in ("content", "tool_calls", "finish_reason", "usage"):
                        self.assertEqual(fast[key], plain[key], (prompt, how, ways))
                    drafts = fast["drafts"]
                    self.assertLessEqual(0, drafts["kept"])
                    self.assertLessEqual(drafts["kept"], drafts["proposed"])

    def test_batch(self):
        prompts = [p for p in PROMPTS for _ in range(3)]
        how = ("--seed", "3", "--temp", "0.7", "-n", "40", "--json", "--prompts", *prompts)
        plain = run("batch", "starter", *how)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        plain = json.loads(plain.stdout)
        self.assertEqual(plain["figures"]["drafts"], 0)
        for ways in (("--lookup",), ("--draft", "starter", "--parallel", "2"),
                     ("--draft", "starter", "--lookup")):
            done = run("batch", "starter", *ways, *how)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = json.loads(done.stdout)
            figures = done["figures"]
            self.assertEqual(done["results"], plain["results"], ways)
            self.assertLessEqual(figures["drafts_kept"], figures["drafts"])

    def test_memory(self):
        def plan(*options):
            done = run("run", "starter", "--plan", "--json", *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)["plan"]
        alone, pair = plan(), plan("--draft", "starter")
        self.assertEqual(alone["draft_bytes"], 0)
        self.assertGreater(pair["draft_bytes"], pair["weights_bytes"])
        self.assertGreater(pair["total_bytes"], alone["total_bytes"] + pair["weights_bytes"])
        self.assertIn("draft model ", run("run", "starter", "--plan", "--draft", "starter").stdout)
        self.assertIn("draft model ",
                      run("show", "starter", "--memory", "--draft", "starter").stdout)
        few = str(alone["total_bytes"] + pair["weights_bytes"])
        for command in (("run", "starter", "Hello"), ("batch", "starter", "--prompts", "Hello")):
            done = run(*command, "--draft", "starter", "--memory", few)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(", draft model ", done.stderr)
            self.assertIn("--memory allows ", done.stderr)
        done = run("run", "starter", "Hello", "-n", "2", "--draft", "starter", "--memory",
                   str(pair["total_bytes"]))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_figures(self):
        done = run("run", "starter", "a b c d e f a b c d e f a b c", "--raw", "--draft", "starter",
                   "--temp", "0", "--max-tokens", "60", "--ignore-eos")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"\d+ of \d+ drafts kept \(\d+ %\)")

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            other = pathlib.Path(folder) / "other.gguf"
            script_model.write(other, {"<|a|>": ["Hello"]}, TEMPLATE)
            done = run("run", "starter", "Hello", "--draft", other)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stdout, "")
            self.assertIn("other.gguf", done.stderr)
            self.assertIn("vocabulary", done.stderr)
        done = run("run", "starter", "Hello", "--draft", "/nowhere/small.gguf")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/small.gguf", done.stderr)


if __name__ == "__main__":
    unittest.main()
