#!/usr/bin/env python3
"""batch: many prompts, answered together, in order, and from where an interrupted run stopped."""
import json
import os
import pathlib
import random
import signal
import subprocess
import time
import tempfile
import unittest

from program import LLLM, run

PROMPTS = ["What is a GPU?", "What is RAM?", "What is machine learning?", "What is a compiler?",
           "Who won the world cup in 1998?", "What is quantization?"]


def batch(*arguments, **more):
    return run("batch", "starter", *arguments, **more)


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


class Answers(unittest.TestCase):
    def test_the_answers_are_those_of_run(self):
        how = ["--temp", "1.2", "--max-tokens", "30"]
        done = batch("--seed", "5", *how, "--prompts", *PROMPTS)
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = rows(done.stdout)
        self.assertEqual([a["prompt"] for a in answers], PROMPTS)
        for i, a in enumerate(answers):
            self.assertEqual(a["seed"], 5 + i)
            alone = run("run", "-q", "--seed", 5 + i, *how, PROMPTS[i])
            self.assertEqual(a["content"], alone.stdout)
        self.assertTrue(any(a["finish_reason"] == "length" for a in answers))

    def test_company_changes_nothing(self):
        prompts = [p + " Say it in other words." * (i % 3) for i, p in enumerate(PROMPTS * 3)]
        text = "\n".join(prompts)
        how = ["--seed", "1", "--temp", "1", "-n", "20", "--xtc-probability", "0.5"]
        one = batch(*how, "--parallel", "1", stdin=text)
        many = batch(*how, "--parallel", "16", "--threads", "1", stdin=text)
        self.assertEqual(one.returncode, 0, one.stderr)
        self.assertEqual(one.stdout, many.stdout)
        self.assertEqual(len(rows(one.stdout)), len(prompts))

    def test_fields_of_a_line(self):
        lines = [{"id": "first", "prompt": PROMPTS[0], "temperature": 0, "max_tokens": 3},
                 {"messages": [{"role": "user", "content": PROMPTS[1]}], "seed": 12, "stop": "RAM"},
                 {"custom_id": "third", "model": "starter", "temperature": 0,
                  "max_completion_tokens": 4,
                  "messages": [{"role": "user", "content": PROMPTS[2]}]},
                 {"prompt": PROMPTS[3], "max_tokens": 2, "logprobs": True, "top_logprobs": 3,
                  "top_k": 2, "min_p": 0, "temperature": 1}]
        done = batch(stdin="\n" + "\n\n".join(map(json.dumps, lines)))
        self.assertEqual(done.returncode, 0, done.stderr)
        first, second, third, fourth = rows(done.stdout)
        self.assertEqual((first["id"], first["line"]), ("first", 2))
        self.assertEqual(first["usage"]["completion_tokens"], 3)
        self.assertEqual(second["seed"], 12)
        self.assertNotIn("RAM", second["content"])
        self.assertEqual(second["messages"], lines[1]["messages"])
        self.assertEqual((third["id"], third["usage"]["completion_tokens"]), ("third", 4))
        self.assertEqual(len(fourth["logprobs"]), 2)
        for token in fourth["logprobs"]:
            self.assertEqual(len(token["top"]), 3)
            self.assertIn(len(token["sampled_top"]), (1, 2))
            self.assertIn(token["id"], [t["id"] for t in token["sampled_top"]])
            self.assertLessEqual(token["logprob"], token["sampled_logprob"])
            likely = [t["logprob"] for t in token["top"]]
            self.assertEqual(likely, sorted(likely, reverse=True))

    def test_forms_of_answers(self):
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
                                                   "age": {"type": "integer", "maximum": 99}},
                  "required": ["name", "age"], "additionalProperties": False}
        forms = [{"response_format": {"type": "json_schema",
                                      "json_schema": {"name": "p", "schema": schema}}},
                 {"json_schema": schema}, {"choices": ["yes", "no"]}, {"regex": "[a-c]{3}"},
                 {"grammar": 'root ::= "x" [0-9]'}, {"response_format": {"type": "text"}}] * 2
        lines = [{"prompt": f"Anna is 36. {i}", "max_tokens": 120, **form}
                 for i, form in enumerate(forms)]
        done = batch("--seed", 1, "--parallel", 3, stdin="\n".join(map(json.dumps, lines)))
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = rows(done.stdout)
        for i, a in enumerate(answers):
            kind = i % 6
            if kind < 2:
                person = json.loads(a["content"])
                self.assertEqual(sorted(person), ["age", "name"])
                self.assertIsInstance(person["age"], int)
            elif kind < 5:
                self.assertRegex(a["content"], ["^(yes|no)$", "^[a-c]{3}$", "^x[0-9]$"][kind - 2])
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump(schema, file)
            file.flush()
            held = batch("--json-schema", file.name, "-n", 120, stdin="a\nb")
        self.assertTrue(all("age" in json.loads(a["content"]) for a in rows(held.stdout)))
        option = batch("--choices", "yes,no", stdin='a\nb')
        self.assertTrue(all(a["content"] in ("yes", "no") for a in rows(option.stdout)))
        wrong = [{"regex": "("}, {"regex": 3}, {"choices": []}, {"grammar": "root"},
                 {"json_schema": {"type": "what"}}, {"choices": ["a"], "regex": "a"}]
        done = batch(stdin="\n".join(json.dumps({"prompt": "x", **w}) for w in wrong))
        self.assertEqual(done.returncode, 1)
        for w, a in zip(wrong, rows(done.stdout)):
            self.assertIn(f'"{list(w)[0]}"', a["error"])

    def test_bad_lines_are_named_and_the_rest_done(self):
        bad = {2: "not JSON", 3: '{"prompt": 3}', 4: '{"prompt": "x", "top_q": 1}',
               5: '{"prompt": "x", "temperature": -1}', 6: '{"temperature": 1}', 7: "[1]",
               8: '{"prompt": "x", "messages": []}', 9: '{"messages": [{"role": "user"}]}',
               10: '{"prompt": "x", "logit_bias": {"99999": 1}}', 11: '{"prompt": ""}',
               12: json.dumps({"prompt": "word " * 2000}), 13: '{"prompt": "x", "n": 0}',
               14: '{"prompt": "x", "id": []}', 15: '{"prompt": "x", "model": "any"}',
               16: '{"prompt": "a", "prompt": "b"}', 17: '{"prompt": "x", "stream": true}'}
        good = json.dumps({"prompt": PROMPTS[0], "temperature": 0})
        text = "\n".join([good, *bad.values(), good]) + "\n"
        done = batch(stdin=text)
        self.assertEqual(done.returncode, 1)
        answers = rows(done.stdout)
        self.assertEqual([a["line"] for a in answers], list(range(1, 19)))
        self.assertEqual(answers[0]["content"], answers[-1]["content"])
        for line in bad:
            self.assertIn("error", answers[line - 1], bad[line])
            self.assertIn(f"lllm: line {line}: {answers[line - 1]['error']}\n", done.stderr)
        self.assertIn("16 of 18 prompts have no answer", done.stderr)

    def test_a_bad_first_line(self):
        """The name says what the lines are; without one, the first line that has a brace."""
        good = json.dumps({"prompt": PROMPTS[0], "temperature": 0})
        with tempfile.TemporaryDirectory() as folder:
            for first, name in (('"prompt": "x"}', "a.jsonl"), ("# prompts", "a.ndjson")):
                path = pathlib.Path(folder) / name
                path.write_text(f"{first}\n{good}\n", encoding="utf-8")
                done = batch("--input", path)
                self.assertEqual(done.returncode, 1)
                self.assertIn("1 of 2 prompts have no answer", done.stderr)
                self.assertIn("error", rows(done.stdout)[0])
                self.assertIn("content", rows(done.stdout)[1])
        answers = rows(batch(stdin=f"  {good}\n{good}\n").stdout)
        self.assertEqual([a["prompt"] for a in answers], [PROMPTS[0]] * 2)

    def test_damaged_lines(self):
        chance = random.Random(4)
        seeds = [json.dumps(x).encode() for x in (
            {"id": "a", "prompt": "What is a GPU?", "temperature": 0, "stop": ["a", "b"],
             "logit_bias": {"5": 1, "6": False}, "samplers": ["top_k"], "regex": "a|b"},
            {"messages": [{"role": "user", "content": "x"}], "seed": 7, "top_logprobs": 2},
            {"custom_id": "z", "body": {"messages": [{"role": "user", "content": "2+2?"}],
                                        "tools": [{"type": "function", "function": {"name": "f"}}],
                                        "tool_choice": "none",
                                        "json_schema": {"enum": [1, "b"]}}})]
        lines = []
        for i in range(300):
            line = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(4)):
                at = chance.randrange(len(line))
                if chance.random() < 0.5:
                    line[at] = chance.randrange(256)
                else:
                    del line[at:at + chance.randint(1, 8)]
            line = bytes(line).replace(b'"z"', b'"z%d"' % i)  # each has an id of its own
            lines.append(line.replace(b"\n", b" ").replace(b"\r", b" "))
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\n".join(lines))
            file.flush()
            done = batch("--input", file.name, "--format", "jsonl", "-n", 1, "--parallel", 8)
        answers = rows(done.stdout)
        self.assertEqual(len(answers), 300)
        for line, a in enumerate(answers, 1):
            if "response" in a:
                self.assertEqual(a["error"] is None, a["response"]["status_code"] == 200)
            else:
                self.assertEqual(a["line"], line)
                self.assertNotEqual("error" in a, "content" in a)
        self.assertGreater(sum("content" in a for a in answers), 30)
        self.assertGreater(sum("response" in a and not a["error"] for a in answers), 15)

    def test_text_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prompts.txt"
            path.write_bytes(b"\n  \n{What is RAM?\r\nWhat is a GPU?\xff\n")
            done = batch("--input", path, "--format", "text", "-n", 2, "--temp", 0)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([(a["line"], a["prompt"]) for a in rows(done.stdout)],
                             [(3, "{What is RAM?"), (4, "What is a GPU?\ufffd")])
            self.assertIn("line 3: not JSON", batch("--input", path).stderr)
            path.write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\n')  # with a byte order mark
            self.assertEqual(rows(batch("--input", path, "-n", 1).stdout)[0]["prompt"], "a")
            path.write_text("\n\n")
            done = batch("--input", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("has no prompts", done.stderr)

    def test_raw_and_system(self):
        raw = batch("--raw", "--temp", 0, "-n", 5, "--prompts", "The cat")
        alone = run("run", "-q", "--raw", "--temp", 0, "-n", 5, "The cat")
        self.assertEqual(rows(raw.stdout)[0]["content"], alone.stdout)
        refused = batch("--raw", stdin='{"messages": [{"role": "user", "content": "x"}]}')
        self.assertIn("need a chat template", refused.stderr)

    def test_usage(self):
        for arguments, words in ((["--prompts"], "no prompts behind the model"),
                                 (["--input", "x", "--prompts", "a"], "both give prompts"),
                                 (["--format", "csv"], "text or jsonl"),
                                 (["--raw", "--system", "x"], "--raw"),
                                 (["--samplers", "what"], "no sampler"),
                                 (["--parallel", "1000"], "--parallel")):
            done = batch(*arguments)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, done.stderr)
        self.assertEqual(run("batch").returncode, 2)
        self.assertEqual(run("batch", "no-such-model", "--prompts", "a").returncode, 1)

    def test_output_that_fails(self):
        how = [LLLM, "batch", "starter", "-q", "-n", "1", "--prompts", *PROMPTS]
        with open("/dev/full", "w") as full:
            done = subprocess.run(how, stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("cannot be written", done.stderr)
        reader, writer = os.pipe()
        os.close(reader)  # who goes away need not be told
        done = subprocess.run(how, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        done = batch("--output", "/nonexistent/x.json", "--prompts", "a")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent/x.json", done.stderr)

    def interrupted(self, *how):
        """A run that is interrupted while its first line is answered, and the second is done."""
        lines = [{"id": "long", "prompt": "a", "n": 7, "ignore_eos": True},
                 {"id": "short", "prompt": "b", "max_tokens": 2, "priority": 1},
                 {"id": "wrong", "prompt": "c", "top_q": 1, "priority": -1}]
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("\n".join(map(json.dumps, lines)))
            file.flush()
            process = subprocess.Popen([LLLM, "batch", "starter", "--input", file.name,
                                        "--parallel", "4", *how], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            # With room for eight answers, the third line begins when one of them is over.
            self.assertIn("line 3:", process.stderr.readline())
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, said)
        self.assertIn("interrupted after 2 of 3 answers", said)
        return out

    def test_interrupted_answers_that_are_done_are_printed(self):
        def check(results):
            self.assertEqual([(r["id"], r["line"]) for r in results], [("short", 2), ("wrong", 3)])
            self.assertEqual(results[0]["usage"]["completion_tokens"], 2)
            self.assertIn("error", results[1])
        check(rows(self.interrupted()))
        document = json.loads(self.interrupted("--json"))
        check(document["results"])
        self.assertIs(document["interrupted"], True)
        self.assertEqual(document["figures"]["answers"], 1)

    def test_silent_when_piped(self):
        done = batch("-q", "-n", 2, "--prompts", "a")
        self.assertEqual(done.stderr, "")
        done = batch("-n", 2, "--prompts", "a")
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertNotIn("\r", done.stderr)


class Outputs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "out.json"
        self.journal = self.folder / "out.json.journal"
        self.input = self.folder / "prompts.txt"

    def test_documents(self):
        how = ["--temp", 0, "-n", 4, "--prompts", *PROMPTS]
        done = batch("--output", self.output, "--json", *how)
        self.assertEqual(done.returncode, 0, done.stderr)
        document = json.loads(self.output.read_text())
        self.assertEqual(document["model"], "starter")
        self.assertEqual([r["prompt"] for r in document["results"]], PROMPTS)
        figures = json.loads(done.stdout)
        self.assertEqual(figures["answers"], len(PROMPTS))
        self.assertEqual(figures["generated_tokens"], sum(
            r["usage"]["completion_tokens"] for r in document["results"]))
        self.assertGreater(figures["reused_tokens"], 0)  # all prompts begin alike
        self.assertEqual(os.listdir(self.folder), ["out.json"])

        lines = self.folder / "out.jsonl"
        self.assertEqual(batch("--output", lines, *how).returncode, 0)
        told = json.loads(batch("--json", *how).stdout)
        self.assertEqual(told["figures"]["answers"], len(PROMPTS))

        def content(results):
            return [(r["prompt"], r["content"]) for r in results]
        self.assertEqual(content(rows(lines.read_text())), content(document["results"]))
        self.assertEqual(content(told["results"]), content(document["results"]))

        done = batch("--output", self.output, *how)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there already", done.stderr)
        self.assertEqual(batch("--output", self.output, "--force", *how).returncode, 0)

    def interrupt(self, number, *how, at_least=3):
        """Starts a run and ends it when some answers are there; the lines of its journal."""
        process = subprocess.Popen([LLLM, "batch", "starter", "--input", self.input, "--output",
                                    self.output, *map(str, how)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if self.journal.exists() and self.journal.read_bytes().count(b"\n") > at_least:
                process.send_signal(number)
                break
            time.sleep(0.002)
        _, said = process.communicate()
        self.assertFalse(self.output.exists(), "the run was over before it could be interrupted")
        return process.returncode, said

    def test_resume(self):
        prompts = [f"{p} ({i})" for i in range(10) for p in PROMPTS]
        self.input.write_text("\n".join(prompts))
        how = ["--temp", 1, "--seed", 3, "-n", 60, "--parallel", 4]
        whole = self.folder / "whole.json"
        self.assertEqual(batch("--input", self.input, "--output", whole, *how).returncode, 0)

        status, said = self.interrupt(signal.SIGINT, *how)
        self.assertEqual(status, 130)
        self.assertIn("the same command goes on from there", said)
        status, _ = self.interrupt(signal.SIGKILL, *how,
                                   at_least=self.journal.read_bytes().count(b"\n") + 3)
        self.assertEqual(status, -signal.SIGKILL)
        with self.journal.open("ab") as f:
            f.write(b'{"index": 59, "result": {"prom')  # torn
        done = batch("--input", self.input, "--output", self.output, "--json", *how)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("going on after", done.stderr)
        self.assertGreaterEqual(json.loads(done.stdout)["resumed"], 6)
        self.assertEqual(self.output.read_bytes(), whole.read_bytes())
        self.assertFalse(self.journal.exists())

    def test_a_journal_of_another_run(self):
        prompts = [f"{p} ({i})" for i in range(10) for p in PROMPTS]
        self.input.write_text("\n".join(prompts))
        how = ["--temp", 1, "-n", 60, "--parallel", 4]  # the seed is drawn, and kept
        self.interrupt(signal.SIGKILL, *how)
        done = batch("--input", self.input, "--output", self.output, *how, "--top-k", 5)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another run", done.stderr)
        now = self.journal.read_text()
        self.journal.write_text(now.replace('{"lllm_batch":3,', '{"lllm_batch":2,', 1))
        done = batch("--input", self.input, "--output", self.output, *how)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another version of lllm; finish them with that one, or --force",
                      done.stderr)
        self.journal.write_text(now)
        prompts[0] += " And why?"  # one prompt is another one: the others' answers are taken
        self.input.write_text("\n".join(prompts))
        before = self.journal.read_text().splitlines()
        seed = json.loads(before[0])["seed"]
        done = batch("--input", self.input, "--output", self.output, *how)
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads(self.output.read_text())["results"]
        self.assertEqual([r["prompt"] for r in results], prompts)
        self.assertEqual([r["seed"] for r in results], [seed + i for i in range(len(prompts))])
        for line in map(json.loads, before[1:-1]):
            if line["index"]:
                self.assertEqual(results[line["index"]], line["result"])

        self.output.unlink()
        self.interrupt(signal.SIGKILL, *how)
        done = batch("--input", self.input, "--output", self.output, "-n", 2, "--force")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("going on", done.stderr)

    def test_two_at_once(self):
        self.input.write_text("\n".join(PROMPTS * 20))
        process = subprocess.Popen([LLLM, "batch", "starter", "--input", self.input, "--output",
                                    self.output], stderr=subprocess.DEVNULL)
        try:
            while not self.journal.exists() or not self.journal.stat().st_size:
                time.sleep(0.002)
            done = batch("--input", self.input, "--output", self.output)
            self.assertEqual(done.returncode, 1)
            self.assertIn("in use", done.stderr)
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    unittest.main()
