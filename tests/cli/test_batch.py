#!/usr/bin/env python3
"""batch: many prompts, answered together, in order, and from where an interrupted run stopped."""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time
import tempfile
import unittest

from program import LLLM, PATIENCE, nobody, run

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

    def test_throughput(self):
        how = ["--seed", "2", "--temp", "1", "-n", "20", "--logprobs", "0"]
        plain, *others = [batch(*how, *more, "--prompts", *PROMPTS) for more in (
            [], ["--throughput"], ["--throughput", "--parallel", "1", "--threads", "1"])]
        one, many = [rows(done.stdout) for done in others]
        self.assertEqual(one, many)
        for row in one:
            alone = run("run", "--throughput", "--json", *how[2:], "--seed", row["seed"],
                        row["prompt"])
            self.assertEqual(json.loads(alone.stdout)["logprobs"], row["logprobs"])
        told = run("run", "--throughput", "--verbose", "-n", "1", "x").stderr
        if "-many" in told:
            self.assertEqual(others[0].stderr.count("changes nothing"), 0)
            self.assertNotEqual(one, rows(plain.stdout))
        else:
            self.assertIn("--throughput changes nothing here", others[0].stderr)
            self.assertEqual(one, rows(plain.stdout))
        masked = [batch(*how, "--cpu-mask=-amx", *more, "--prompts", *PROMPTS)
                  for more in ([], ["--throughput"])]
        self.assertIn("--throughput changes nothing here", masked[1].stderr)
        self.assertEqual(masked[0].stdout, masked[1].stdout)

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

    def test_json_that_lines_cannot_hold(self):
        done = batch(stdin='{"prompt": "a", "prompt": "b"}\n{"prompt": "a", "json_schema": {"maximum": '
                     '18446744073709551615}}')
        self.assertEqual([("not JSON" in a["error"], words in a["error"]) for a, words in zip(
            rows(done.stdout), ('the key "prompt" comes twice (column', "beyond the numbers that"))],
            [(False, True)] * 2, done.stdout)

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

    def test_lines_that_end_with_a_comma(self):
        good = json.dumps({"prompt": PROMPTS[0], "temperature": 0, "max_tokens": 2})
        for text in (f"{good},\n{good},\n", f"{good}, \n", f"  {good},\n{good}\n"):
            done = batch(stdin=text)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("the first line ends with a comma", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        done = batch(stdin=f"{good}\n{good},\n")  # one bad line
        self.assertIn("1 of 2 prompts have no answer", done.stderr)
        self.assertIn("goes over several lines", batch(stdin='{"prompt":\n"x"}\n').stderr)
        self.assertIn("goes over several lines", batch(stdin='{"a": 1,\n"prompt": "x"}').stderr)

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
                self.assertIsNone(a["error"])
            else:
                self.assertEqual(a["line"], line)
                self.assertNotEqual("error" in a, "content" in a)
        self.assertGreater(sum("content" in a for a in answers), 30)
        codes = [a["response"]["status_code"] for a in answers if "response" in a]
        self.assertGreater(codes.count(200), 15)
        self.assertGreater(codes.count(400), 5)
        failed = codes.count(400) + sum("line" in a and "error" in a for a in answers)
        self.assertIn(f"{failed} of 300 prompts have no answer", done.stderr)

    def test_text_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prompts.txt"
            path.write_bytes(b"\n  \n{What is RAM?\r\nWhat is a GPU?\n")
            done = batch("--input", path, "--format", "text", "-n", 2, "--temp", 0)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([(a["line"], a["prompt"]) for a in rows(done.stdout)],
                             [(3, "{What is RAM?"), (4, "What is a GPU?")])
            said = batch("--input", path).stderr
            self.assertIn("line 3: not JSON", said)
            hint = "prompts have no answer; --format text takes the lines as prompts"
            self.assertIn(f"2 of 2 {hint}", said)
            path.write_bytes(b'{What is RAM?\n{"prompt": "a"}\n')
            self.assertIn("1 of 2 prompts have no answer\n", batch("--input", path, "-n", 1).stderr)
            path.write_bytes(b'{"no": "a"}\n')
            self.assertIn("1 of 1 prompts have no answer\n", batch("--input", path, "-n", 1).stderr)
            path.write_bytes(b"{What is RAM?\n")
            self.assertNotIn("--format text", batch("--input", path, "--format", "jsonl").stderr)
            path.write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\n')  # with a byte order mark
            self.assertEqual(rows(batch("--input", path, "-n", 1).stdout)[0]["prompt"], "a")
            path.write_text("\n\n")
            done = batch("--input", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("has no prompts", done.stderr)

    def test_texts_in_another_encoding(self):
        """Named with what to do, and never answered as if they said something else."""
        iconv = "iconv -f WINDOWS-1252 -t UTF-8"
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prompts.txt"
            path.write_bytes(b"What is RAM?\nWhat is a caf\xe9?\na\0b\nWhat is a GPU?\n")
            done = batch("--input", path, "-n", 1)
            answers = rows(done.stdout)
            self.assertEqual(done.returncode, 1)
            self.assertEqual([a["line"] for a in answers if "error" in a], [2, 3])
            self.assertIn(f"the line is not UTF-8 (byte 14): convert it first, for example with "
                          f"{iconv}", answers[1]["error"])
            self.assertEqual(answers[1]["prompt"], "What is a caf\ufffd?")
            self.assertIn("holds a zero byte (byte 2)", answers[2]["error"])
            lines = path.with_suffix(".jsonl")
            lines.write_bytes(b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n')
            done = batch("--input", lines, "-n", 1)
            self.assertEqual(done.returncode, 1)
            self.assertIn("line 2: the line is not UTF-8 (byte 16): ", done.stderr)
            path.write_bytes("What is RAM?\n".encode("utf-16"))
            for verb in ("batch", "embed"):
                done = run(verb, "starter", "--input" if verb == "batch" else "-f", path)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"{path} is UTF-16, and texts are read as UTF-8: convert it first, "
                              f"with iconv -f UTF-16 -t UTF-8 {path}", done.stderr)
            done = run("run", "starter", "-f", path)
            self.assertIn(f"{path} is UTF-16", done.stderr)
            path.write_bytes(b"one\ntwo caf\xe9\n")
            done = run("run", "starter", "-f", path)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"{path} is not UTF-8 (line 2, byte 8): convert it first, for example "
                          f"with {iconv} {path}", done.stderr)
            self.assertIn("the prompt is not UTF-8 (byte 4)",
                          run("run", "starter", os.fsdecode(b"caf\xe9")).stderr)
            self.assertIn("--system is not UTF-8 (byte 1)",
                          run("run", "starter", "x", "--system", os.fsdecode(b"\xe9")).stderr)
            path.write_bytes(b"one\ncaf\xe9\nt\0o\nthree\n")
            done = run("embed", "starter", "-f", path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("line 2: the text is not UTF-8 (byte 4)", done.stderr)
            self.assertIn("line 3: the text holds a zero byte (byte 2)", done.stderr)
            self.assertEqual(sum(map(bool, done.stdout.splitlines())), 2)
            with path.open("rb") as text:
                done = subprocess.run([LLLM, "run", "starter", "-i", "-n", "1"], stdin=text,
                                      capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("what was typed is not UTF-8 (byte 4)", done.stderr)

    def test_raw_and_system(self):
        raw = batch("--raw", "--temp", 0, "-n", 5, "--prompts", "The cat")
        alone = run("run", "-q", "--raw", "--temp", 0, "-n", 5, "The cat")
        self.assertEqual(rows(raw.stdout)[0]["content"], alone.stdout)
        refused = batch("--raw", stdin='{"messages": [{"role": "user", "content": "x"}]}')
        self.assertIn("need a chat template", refused.stderr)

    def test_an_empty_prompt_keeps_its_place(self):
        done = batch("-n", 1, "--prompts", "a", "", "b")
        self.assertEqual(done.returncode, 1)
        results = rows(done.stdout)
        self.assertEqual([r["prompt"] for r in results], ["a", "", "b"])
        self.assertEqual(["error" in r for r in results], [False, True, False])
        self.assertIn("prompt 2: the prompt is empty", done.stderr)

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
        for option in ("--output", "--input", "--grammar", "--chat-template", "--draft"):
            done = batch(option, "", "--prompts", "a")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"{option} needs a value that is not empty", done.stderr)
        for option in ("--session", "--text", "--model"):
            self.assertEqual(run("run", option, "", "x").returncode, 2)
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

    def test_a_file_that_may_grow_no_larger(self):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder) / "out.json"
            how = [LLLM, "batch", "starter", "-q", "-n", "1", "--temp", "0", "-o", output,
                   "--prompts", *[f"{p} {i}" for i in range(8) for p in PROMPTS]]

            def limited(size):
                return subprocess.run(how, capture_output=True, text=True, preexec_fn=lambda:
                                      resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
            done = limited(6000)
            self.assertEqual(done.returncode, 1)
            self.assertIn("out.json.journal: cannot write it: File too large", done.stderr)
            self.assertIn("the same command goes on from there", done.stderr)
            self.assertEqual(os.listdir(folder), ["out.json.journal"])
            done = subprocess.run(how, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(json.loads(output.read_text())["results"]), 48)

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
            out, said = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, said)
        self.assertIn("interrupted after 2 of 3 prompts", said)
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
        done = batch("--output", f"{self.folder}/none/", *how)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none/ is the name of a folder; name a file to write", done.stderr)
        self.assertEqual(batch("--output", self.output, "--force", *how).returncode, 0)

    def test_replaced_outputs_stay_private(self):
        how = ["--output", self.output, "--force", "-n", 1, "--prompts", "a"]
        self.output.write_text("old")
        self.output.chmod(0o600)
        self.assertEqual(batch(*how).returncode, 0)
        self.assertEqual(self.output.stat().st_mode & 0o777, 0o600)
        self.output.chmod(0o640)
        self.input.write_text("a\n" * 200)
        process = subprocess.Popen([LLLM, "batch", "starter", "--input", self.input, "--output",
                                    self.output, "--force", "-q", "--temp", "1"],
                                   stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self.journal.exists():
            time.sleep(0.002)
        self.assertEqual(self.journal.stat().st_mode & 0o007, 0)  # it has the answers too
        process.kill()
        process.communicate()
        user = nobody()
        self.output.chmod(0o444)
        self.folder.chmod(0o777)
        done = batch(*how, user=user)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("cannot replace", done.stderr)

    def interrupt(self, number, *how, at_least=3):
        """Starts a run and ends it when some answers are there; the lines of its journal."""
        process = subprocess.Popen([LLLM, "batch", "starter", "--input", self.input, "--output",
                                    self.output, *map(str, how)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + PATIENCE
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

    def test_damaged_journals(self):
        """A line that cannot be read costs its own answer alone, and is told of."""
        prompts = [f"{p} ({i})" for i in range(5) for p in PROMPTS]
        self.input.write_text("\n".join(prompts))
        how = ["--temp", 1, "--seed", 3, "-n", 40, "--parallel", 4]
        whole = self.folder / "whole.json"
        self.assertEqual(batch("--input", self.input, "--output", whole, *how).returncode, 0)
        self.interrupt(signal.SIGKILL, *how, at_least=8)
        lines = self.journal.read_bytes().split(b"\n")[:-1]
        lines[1] = b"\x01" + lines[1][1:]
        self.journal.write_bytes(b"\n".join(lines) + b"\n")
        done = batch("--input", self.input, "--output", self.output, "--json", "-q", *how)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, f"lllm: 1 answer in {self.journal} cannot be read and is "
                         "computed again\n")
        self.assertEqual(json.loads(done.stdout)["resumed"], len(lines) - 2)
        self.assertEqual(self.output.read_bytes(), whole.read_bytes())

    def test_files_that_are_no_journals_stay(self):
        how = ["--output", self.output, "-n", 1, "--prompts", "a"]
        for text in ("notes", "notes\n", '{"lllm": 1}', '{"lllm_batch"}', "\n"):
            self.journal.write_text(text)
            for force in ([], ["--force"]):
                done = batch(*how, *force)
                self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
                self.assertIn("is no journal of lllm batch", done.stderr)
                self.assertEqual(self.journal.read_text(), text)
                self.assertFalse(self.output.exists())
        for torn in ("", "{", '{"lllm_batch":5,"se'):
            self.journal.write_text(torn)
            done = batch(*how)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(os.listdir(self.folder), [self.output.name])
            self.output.unlink()

    def test_a_journal_that_is_an_input(self):
        text = '{"lllm_batch":5}\n'
        self.journal.write_text(text)
        link = self.folder / "link"
        link.hardlink_to(self.journal)
        for name in (self.journal, link):
            done = batch("--output", self.output, "--force", "--input", name)
            self.assertEqual((done.returncode, done.stderr), (1, f"lllm: {self.journal} is among "
                             "what is being read; give the output another name\n"))
            done = batch("--output", self.output, "--force", "--grammar", name, "--prompts", "a")
            self.assertEqual((done.returncode, self.journal.read_text()), (1, text), done.stderr)
        schema = self.folder / "schema.json"
        schema.write_text("{}")
        done = batch("--output", schema, "--force", "--json-schema", schema, "--prompts", "a")
        self.assertIn("is among what is being read", done.stderr)
        self.assertEqual(schema.read_text(), "{}")

    def test_a_journal_that_is_removed_before_it_is_locked(self):
        """By the run that had it: the lock must be on the file that has the name."""
        strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=flock",
                  "-e", "inject=flock:delay_enter=2000000:when=1"]
        if not shutil.which("strace") or subprocess.run([*strace, "true"],
                                                        capture_output=True).returncode:
            self.skipTest("needs strace")
        self.input.write_text("\n".join(PROMPTS * 20))
        process = subprocess.Popen([*strace, LLLM, "batch", "starter", "--input", self.input,
                                    "--output", self.output], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            while not self.journal.exists():
                time.sleep(0.002)
            self.journal.unlink()
            while not self.journal.exists() or not self.journal.stat().st_size:
                self.assertIsNone(process.poll(), "it went on in a file without a name")
                time.sleep(0.002)
            self.assertIn("in use", batch("--input", self.input, "--output", self.output).stderr)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def test_deep_lines(self):
        """What is echoed into a journal can be read back."""
        lines = [b'{"prompt": "a"}', b'{"id": "deep", "messages": %s%s}' % (b"[" * 2046, b"]" * 2046),
                 b'{"prompt": "a", "id": "%s"}' % (b'\\"[' * 2046)]
        self.input = self.folder / "prompts.jsonl"
        self.input.write_bytes(b"\n".join(lines))
        done = batch("--input", self.input, "-n", 1)
        first, deep, brackets = rows(done.stdout)
        self.assertEqual(deep, {"id": "deep", "line": 2, "error":
                                "the line nests 2047 levels deep; 1000 are the most"})
        self.assertIn("content", first)
        self.assertIn("content", brackets)

    def test_forms_that_were_cut_before_an_interrupt(self):
        lines = [{"prompt": "x", "regex": "[a-z]{9}", "max_tokens": 1, "priority": 1}] * 2
        self.input.write_text("\n".join(map(json.dumps, [*lines, {
            "prompt": "a", "n": 2, "ignore_eos": True}])))
        status, said = self.interrupt(signal.SIGINT, "--seed", 1, at_least=2)
        self.assertEqual(status, 130, said)
        done = batch("--input", self.input, "--output", self.output, "--seed", 1, "-q", "--json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("lllm: 2 answers were cut before their form was whole", done.stderr)
        figures = json.loads(done.stdout)
        self.assertEqual((figures["resumed"], figures["forms_cut"]), (2, 2))

    def test_a_journal_of_another_run(self):
        prompts = [f"{p} ({i})" for i in range(10) for p in PROMPTS]
        self.input.write_text("\n".join(prompts))
        how = ["--temp", 1, "-n", 60, "--parallel", 4]  # the seed is drawn, and kept
        self.interrupt(signal.SIGKILL, *how)
        done = batch("--input", self.input, "--output", self.output, *how, "--top-k", 5)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another run", done.stderr)
        if run("run", "-v", "-n", "1", "x", "--throughput").stderr.find("-many") >= 0:
            done = batch("--input", self.input, "--output", self.output, *how, "--throughput")
            self.assertEqual(done.returncode, 1)
            self.assertIn("another run", done.stderr)
        now = self.journal.read_text()
        self.journal.write_text(now.replace('{"lllm_batch":7,', '{"lllm_batch":2,', 1))
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
