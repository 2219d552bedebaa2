#!/usr/bin/env python3
"""`lllm infill`: the prompt around a hole, what is printed, and what is refused."""
import json
import unittest

import program
from program import run

PREFIX, SUFFIX = "Once upon a time, ", " and they were happy."


class Infill(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = program.import_stories(cls.folder)
        cls.model = cls.folder / "fim.gguf"
        program.add_pairs(cls.plain, cls.model, *(
            program.number_pair(f"tokenizer.ggml.fim_{part}_token_id", 500 + i)
            for i, part in enumerate(("pre", "suf", "mid"))))
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(f"{PREFIX}<FILL>{SUFFIX}")

    def answer(self, *arguments):
        done = run("infill", self.model, "-n", "20", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_file_and_parts_are_the_same_prompt(self):
        parts = self.answer("--prefix", PREFIX, "--suffix", SUFFIX, "-q").stdout
        self.assertEqual(self.answer("-f", self.text, "-q").stdout, parts)
        self.assertTrue(parts)
        whole = self.answer("-f", self.text, "--whole", "-q").stdout
        self.assertEqual(whole, PREFIX + parts + SUFFIX)
        other = self.folder / "other.txt"
        other.write_text(f"{PREFIX}HERE{SUFFIX}")
        self.assertEqual(self.answer("-f", other, "--hole", "HERE", "-q").stdout, parts)

    def test_both_sides_count(self):
        def logits_of(*arguments):
            report = json.loads(self.answer("--json", *arguments).stdout)
            self.assertEqual(report["finish_reason"], "length")
            self.assertEqual(report["usage"]["completion_tokens"], 20)
            return report["content"]

        usual = logits_of("--prefix", PREFIX, "--suffix", SUFFIX)
        self.assertEqual(usual, self.answer("-f", self.text, "-q").stdout)
        self.assertNotEqual(usual, logits_of("--prefix", PREFIX, "--suffix", " The sun is red."))
        self.assertNotEqual(usual, logits_of("--prefix", PREFIX, "--suffix", SUFFIX,
                                             "--suffix-first"))

    def test_refusals(self):
        none, two = self.folder / "none.txt", self.folder / "two.txt"
        none.write_text("no hole")
        two.write_text("<FILL> and <FILL>")
        for status, words, arguments in (
                (1, "not trained to fill", [self.plain, "--prefix", "a"]),
                (1, "has no hole", [self.model, "-f", none]),
                (1, "more than one hole", [self.model, "-f", two]),
                (1, "missing.txt", [self.model, "-f", self.folder / "missing.txt"]),
                (2, "--prefix", [self.model]),
                (2, "--prefix", [self.model, "-f", none, "--suffix", "b"]),
                (2, "is empty", [self.model, "-f", none, "--hole", ""])):
            with self.subTest(words=words):
                done = run("infill", *arguments)
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
