#!/usr/bin/env python3
"""Real weights: stories260K imported from llama2.c says what llama2.c says, to the byte, and its
logits are those of a plain forward pass in double precision."""
import json
import unittest

import program


class Stories(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        path = program.MODELS / "stories260K-expected.json"
        if not path.is_file():
            raise unittest.SkipTest(f"there is no {path}; set LLLM_TEST_DATA")
        cls.expected = json.loads(path.read_text(encoding="utf-8"))
        cls.computed = cls.expected["computed"]
        cls.model = program.import_stories(cls.folder)

    def answer(self, *arguments):
        done = program.run("run", "--temp", "0", "--raw", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_greedy_story(self):
        done = self.answer("--max-tokens", "200", self.model, "")
        self.assertEqual(done.stdout, self.expected["greedy_200_steps_llama2c_test_all_py"])
        self.assertRegex(done.stderr,
                         r"^load [\d.]+ ms \| 1 prompt token at .* \| 200 tokens at .*/s\n$")

    def test_greedy_story_to_the_full_context(self):
        tokens = len(self.computed["greedy_full_tokens"])
        done = self.answer("--max-tokens", tokens, "--ignore-eos", self.model, "", "--quiet")
        self.assertEqual(done.stdout, self.computed["greedy_full"])
        self.assertEqual(done.stderr, "")

    def test_greedy_from_a_prompt(self):
        prompt = program.run("tokenize", self.model, "Zoo", "--ids", "--no-special").stdout.split()
        tokens = len(self.computed["greedy_zoo_tokens"]) - len(prompt)
        done = self.answer("--max-tokens", tokens, "-m", self.model, "-p", "Zoo", "--json")
        answer = json.loads(done.stdout)
        self.assertEqual("Zoo" + answer["content"], self.computed["greedy_zoo_60"])

    def test_each_rung_and_thread_count_tells_the_same_story(self):
        for mask in ("none", "avx2", "all"):
            for threads in (1, 3):
                done = self.answer("--max-tokens", "200", self.model, "", "--quiet", "--cpu-mask",
                                   mask, "--threads", threads)
                self.assertEqual(done.stdout, self.expected["greedy_200_steps_llama2c_test_all_py"],
                                 f"{mask}, {threads} threads")

    def test_tokens_of_the_text(self):
        done = program.run("tokenize", self.model, self.computed["text"], "--ids")
        self.assertEqual([int(i) for i in done.stdout.split()], self.computed["text_tokens"])
        back = program.run("tokenize", self.model, "--decode", *done.stdout.split())
        self.assertEqual(back.stdout, self.computed["text"])

    def check_logits(self, positions, bound):
        expected = {row["pos"]: row for row in self.computed["logits"]}
        self.assertEqual(sorted(expected), [p["position"] for p in positions])
        for p in positions:
            row = expected[p["position"]]
            self.assertEqual(p["token"], row["token"])
            got = {t["id"]: t["logit"] for t in p["top"]}
            self.assertEqual([t["id"] for t in p["top"]][0], row["top10"][0][0])
            for token, logit in row["top10"]:
                self.assertIn(token, got)
                self.assertAlmostEqual(got[token], logit, delta=bound)

    def test_logits(self):
        (self.folder / "text.txt").write_text(self.computed["text"], encoding="utf-8")
        ids = " ".join(map(str, self.computed["text_tokens"]))
        for source in (["-f", self.folder / "text.txt"], [self.computed["text"]], ["--ids", ids],
                       ["--ids", ids, "--cpu-mask", "none"], ["--ids", ids, "--cpu-mask", "avx2"]):
            done = program.run("logits", self.model, *source, "--top", "12", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.check_logits(json.loads(done.stdout)["positions"], 1e-3)

    def test_quantised_imports_stay_near(self):
        for kind, bound in (("f16", 0.05), ("bf16", 0.4), ("q8_0", 0.5)):
            model = program.import_stories(self.folder, "--type", kind, name=f"{kind}.gguf")
            ids = " ".join(map(str, self.computed["text_tokens"]))
            done = program.run("logits", model, "--ids", ids, "--top", "512", "--json")
            self.check_logits_near(json.loads(done.stdout)["positions"], bound, kind)

    def check_logits_near(self, positions, bound, kind):
        for p, row in zip(positions, self.computed["logits"]):
            got = {t["id"]: t["logit"] for t in p["top"]}
            for token, logit in row["top10"]:
                self.assertAlmostEqual(got[token], logit, delta=bound, msg=kind)


if __name__ == "__main__":
    unittest.main(verbosity=2)
