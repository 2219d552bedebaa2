"""`lllm run --lookup` and `--draft`: the text of plain decoding, and what is said of them."""
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
