#!/usr/bin/env python3
"""batch: its command line: where prompts come from, what holds for all lines, and how a run ends."""
import json
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from program import LLLM, PATIENCE, run
from test_batch_requests import CALCULATOR, CLOCK, openai

BERT = str(pathlib.Path(__file__).resolve().parent.parent / "model" / "golden" / "bert")


def batch(*arguments, **more):
    return run("batch", "starter", *arguments, **more)


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


class Folder(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = pathlib.Path(held.name)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


class Prompts(Folder):
    def test_a_file_is_no_prompt(self):
        path = self.write("req.jsonl", '{"prompt": "x"}\n')
        for first in (["starter"], ["--model", "starter"]):
            done = run("batch", *first, path, "-n", 1)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f'"{path}" is a file: did you mean --input?', done.stderr)
        for more in (["--prompts", path], [path, "b"], [self.folder]):
            done = batch(*more, "-n", 1)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(rows(done.stdout)[0]["prompt"],
                             str(more[more[0] == "--prompts"]))

    def test_without_a_model(self):
        done = run("batch", "--prompts", "no-such-model", "B")
        self.assertEqual(done.returncode, 1)
        self.assertIn('no model "no-such-model"', done.stderr)
        self.assertIn("(the first argument is the model)", done.stderr)
        self.assertNotIn("(the first", run("batch", "-m", "no-such-model", "B").stderr)

    def test_an_array(self):
        elements = [{"prompt": "a", "max_tokens": 2}, "b\nc", 3]
        for text in (json.dumps(elements), "\n " + json.dumps(elements, indent=1) + "\n"):
            for name in ("in.json", "in.jsonl", "in"):
                done = batch("--input", self.write(name, text), "-n", 2)
                self.assertEqual(done.returncode, 1)
                one, two, three = rows(done.stdout)
                self.assertEqual([one["prompt"], two["prompt"]], ["a", "b\nc"])
                self.assertEqual([a["line"] for a in (one, two, three)], [1, 2, 3])
                self.assertIn("a line of JSON is an object", three["error"])
        done = batch("--input", self.write("in.json", '[\n {"prompt": "a",}\n]'))
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
        self.assertIn("in.json, read as an array (--format text: as lines of text): not JSON",
                      done.stderr)
        self.assertIn("(column 17 of line 2)", done.stderr)
        # What is JSON, but no request, is wrong by itself, as a line is.
        deep = '{"prompt": "c", "metadata": %s%s}' % ("[" * 500, "]" * 500)
        done = batch("-n", 1, stdin='[{"prompt": "a", "prompt": "b"}, {"prompt": 1e999},\n%s]' % deep)
        self.assertIn('line 1: the key "prompt" comes twice', done.stderr)
        self.assertIn("line 2: 1e999 is beyond the numbers", done.stderr)
        self.assertIn("content", rows(done.stdout)[2])
        for end in ('{"prompt": "a"}', '{"prompt": "a"},]', '{"prompt": "a"}] x', '"a'):
            done = batch("-n", 1, stdin=f'\n["é",\n{end}')
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
            self.assertRegex(done.stderr, r"^lllm: standard input, read as an array \(--format text: "
                             r"as lines of text\): not JSON: .* \(column \d+ of line 3\)\n$")
        done = batch("-n", 1, stdin="[INST] a\n[INST] b")  # no array
        self.assertEqual([a["prompt"] for a in rows(done.stdout)], ["[INST] a", "[INST] b"])
        done = batch("-n", 1, "--format", "text", stdin='["a"]')
        self.assertEqual([a["prompt"] for a in rows(done.stdout)], ['["a"]'])
        self.assertIn("has no prompts", batch(stdin="[]").stderr)

    def test_an_object_over_several_lines(self):
        text = json.dumps({"prompt": "a", "n": 2}, indent=1)
        for text in (text, text + "\n" + text):
            done = batch("--input", self.write("in.json", text))
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
            self.assertIn("the first object goes over several lines", done.stderr)
            self.assertIn("one object a line", done.stderr)

    def test_sentences(self):
        done = batch("--format", "jsonl", stdin='"hello"\n{"messages": []}\n{"messages": 1}\n'
                     '{"prompt": "a", "top_k": -3}')
        for a, words in zip(rows(done.stdout), (
                "--format text takes lines as prompts", '"messages" has no message',
                '"messages" must be an array', "between 0 and 16777216")):
            self.assertIn(words, a["error"])
        for option, more in (("--system", ["x"]), ("--thinking", []), ("--chat-template", ["x"]),
                             ("--tool-choice", ["none"])):
            done = batch("--raw", option, *more, "--prompts", "a")
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"so it does not go with {option} ", done.stderr)
        done = run("batch", BERT, "--prompts", "a", "b")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("is an encoder", done.stderr)

    def test_names_that_mean_two(self):
        for names in (["--lora-modules", "x=a.gguf", "--models", "x=starter"],
                      ["--lora-modules", "starter=a.gguf"]):
            done = batch(*names, "--prompts", "a")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("which is that of a model", done.stderr)


class ForAllLines(Folder):
    def answers(self, lines, *options, status=0):
        done = batch(*options, stdin="\n".join(map(json.dumps, lines)))
        self.assertEqual(done.returncode, status, done.stderr)
        return rows(done.stdout)

    def test_logprobs(self):
        ask = {"prompt": "a", "max_tokens": 3, "seed": 1}
        for n in (0, 2):
            wanted, = self.answers([{**ask, "logprobs": True, **({"top_logprobs": n} if n else {})}])
            mine, null, none, three = self.answers(
                [ask, {**ask, "logprobs": None, "top_logprobs": None}, {**ask, "logprobs": False},
                 {**ask, "top_logprobs": 3}], "--logprobs", n)
            self.assertEqual(mine["logprobs"], wanted["logprobs"])
            self.assertEqual(null["logprobs"], wanted["logprobs"])
            self.assertNotIn("logprobs", none)
            self.assertEqual({len(t["top"]) for t in three["logprobs"]}, {3})
        text = batch("--logprobs", 1, "-n", 2, "--prompts", "a")
        self.assertEqual(len(rows(text.stdout)[0]["logprobs"]), 2)

    def test_ignore_eos(self):
        ask = {"prompt": "What is RAM?", "temperature": 0}
        stops, = self.answers([ask])
        most = stops["usage"]["completion_tokens"] + 5
        mine, own, null = self.answers([ask, {**ask, "ignore_eos": False},
                                        {**ask, "ignore_eos": None}], "--ignore-eos", "-n", most)
        self.assertEqual([a["usage"]["completion_tokens"] for a in (mine, own, null)],
                         [most, most - 5, most])

    def test_tool_choice(self):
        ask = {"prompt": "Calculate 3+4", "max_tokens": 80}
        tools = self.write("tools.json", json.dumps([CALCULATOR, CLOCK]))
        own = {**ask, "tools": [CLOCK]}
        of_file, null, clock, none, form, text = self.answers(
            [ask, {**ask, "tool_choice": None}, own, {**ask, "tool_choice": "none"},
             {**ask, "choices": ["yes", "no"]}, {**ask, "tools": []}],
            "--tools", tools, "--tool-choice", "required", "--seed", 1)
        for a in (of_file, null, clock):
            self.assertEqual(a["finish_reason"], "tool_calls")
        self.assertEqual({c["function"]["name"] for c in clock["tool_calls"]}, {"clock"})
        self.assertNotIn("tool_calls", none)
        self.assertIn(form["content"], ("yes", "no"))
        self.assertNotIn("error", text)
        named, plain = self.answers([own, ask], "--tool-choice", "clock")
        self.assertEqual({c["function"]["name"] for c in named["tool_calls"]}, {"clock"})
        self.assertNotIn("tool_calls", plain)
        wrong, = self.answers([own], "--tool-choice", "nobody", status=1)
        self.assertRegex(wrong["error"], '^--tool-choice: .*nobody')
        done = batch("--tool-choice", "required", "--prompts", "a")
        self.assertIn("--tool-choice is about --tools", done.stderr)
        self.assertEqual(batch("--tools", tools, "--tool-choice", "auto", "--choices", "a,b",
                               "--prompts", "a").returncode, 2)

    def test_a_journal_knows_them(self):
        lines = self.write("in.txt", "a\nb\n")
        output = self.folder / "out.json"
        journal = self.folder / "out.json.journal"
        how = ["--input", lines, "--output", output]
        process = subprocess.Popen([LLLM, "batch", "starter", *map(str, how), "--ignore-eos"],
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.001)
        process.kill()
        process.wait()
        if output.exists():
            self.skipTest("the run was over before it could be killed")
        for more in ([], ["--ignore-eos", "--logprobs", "1"]):
            done = batch(*how, *more)
            self.assertEqual(done.returncode, 1)
            self.assertIn("another run", done.stderr)


class WhereWeightsLie(Folder):
    """Many answers have the weights moved for them, where strips are taken, and are the same."""
    MOVED = "laid out for answers together"

    def setUp(self):
        super().setUp()
        self.model = self.folder / "model.gguf"
        done = run("quantize", "starter", self.model, "q8_0", "-q")
        self.assertEqual(done.returncode, 0, done.stderr)

    def batch(self, *arguments, stdin=""):
        done = run("batch", self.model, "--seed", 1, "--context-size", 128, "-v", *arguments,
                   stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def answers(self, n, *options):
        return self.batch(*options, "--prompts", *[f"What is {i} + 2?" for i in range(n)])

    def lines(self, count, *options, **fields):
        text = "".join(json.dumps({"prompt": f"What is {i} + 2?", **fields}) + "\n" for i in range(count))
        return self.batch("--parallel", 8, *options, stdin=text)

    def moves(self):
        """Whether this processor and system take strips."""
        return self.MOVED in self.answers(1, "--huge-pages").stderr

    def test_many_answers_move_them(self):
        many = self.answers(16, "--parallel", 8)
        stays = self.answers(16, "--parallel", 8, "--no-huge-pages")
        for done in (stays, self.answers(15, "--parallel", 8), self.answers(14, "--parallel", 7),
                     self.answers(127), self.answers(16, "--parallel", 8, "-n", 63),
                     self.answers(16, "--parallel", 8, "--choices", "4,5")):
            self.assertNotIn(self.MOVED, done.stderr)
            self.assertNotIn("weights stay", done.stderr)
        self.assertEqual(many.stdout, stays.stdout)
        self.assertEqual(self.MOVED in many.stderr, self.moves(), many.stderr)

    def test_lines_say_how_long_answers_are(self):
        moves = self.moves()
        for long, options, fields in ((True, (), {}), (False, (), {"max_tokens": 63}),
                                      (True, ("-n", 8), {"max_completion_tokens": 64}),
                                      (True, ("-n", 8), {"max_completion_tokens": None,
                                                         "max_tokens": 64, "choices": None}),
                                      (False, (), {"choices": ["4", "5"]})):
            done = self.lines(16, *options, **fields)
            self.assertEqual(self.MOVED in done.stderr, long and moves, (options, fields))
        self.assertEqual(self.MOVED in self.lines(8, n=2).stderr, moves)

    def test_what_a_journal_has_is_not_to_come(self):
        out = self.folder / "out.jsonl"
        journal = self.folder / "out.jsonl.journal"
        journal.write_text("{}\n" * 2)
        done = run("batch", self.model, "-v", "--parallel", 8, "-o", out, "--prompts",
                   *[f"What is {i}?" for i in range(16)])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertNotIn(self.MOVED, done.stderr)
        self.assertEqual(journal.read_text(), "{}\n" * 2)

    def test_a_plan_says_so(self):
        for n, moves in ((128, self.moves()), (127, False)):
            plan = run("batch", self.model, "--input", "-", "--plan", "--context-size", 128,
                       stdin="What?\n" * n)
            self.assertEqual("in huge pages" in plan.stdout, moves, plan.stdout)
            told = run("batch", self.model, "--input", "-", "--plan", "--json", "--context-size",
                       128, stdin="What?\n" * n)
            self.assertEqual(json.loads(told.stdout)["plan"]["huge_pages"], moves)
        asked = run("run", self.model, "x", "--raw", "-n", 1, "-v", "--huge-pages").stderr
        plan = run("run", self.model, "--plan", "--huge-pages").stdout
        self.assertEqual("in huge pages" in plan, " were moved in " in asked, asked)

    def test_limits_keep_them_where_they_are(self):
        """Neither beside another model, nor where addresses are few."""
        text = "".join(json.dumps({"prompt": "x", "max_tokens": 64, "model": ("a", "b")[i % 2]}) + "\n"
                       for i in range(64))
        two = run("batch", self.model, "--models", f"a={self.model},b=starter", "-v", "--parallel", 8,
                  "--context-size", 128, stdin=text)
        self.assertEqual(two.returncode, 0, two.stderr)
        self.assertNotIn(self.MOVED, two.stderr)
        few = ("-v", "--parallel", "8", "--context-size", "128", "--prompts", *["x"] * 16)
        self.assertEqual(self.MOVED in run("batch", self.model, *few).stderr, self.moves())
        done = subprocess.run(["sh", "-c", 'ulimit -v 30000000; exec "$0" "$@"', LLLM, "batch",
                               str(self.model), *few], capture_output=True, text=True)
        if done.returncode:
            self.skipTest(f"the program cannot begin with so few addresses: {done.stderr[:200]}")
        self.assertNotIn(self.MOVED, done.stderr)

    def test_not_both(self):
        done = run("batch", self.model, "--huge-pages", "--no-huge-pages", "--prompts", "x")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("--huge-pages and --no-huge-pages contradict each other", done.stderr)


class Ends(Folder):
    def start(self, *options, **more):
        lines = [{"id": "long", "prompt": "a", "n": 7, "ignore_eos": True},
                 {"id": "short", "prompt": "b", "max_tokens": 2, "priority": 1, "n": 2},
                 {"id": "wrong", "prompt": "c", "top_q": 1, "priority": -1}]
        path = self.write("in.jsonl", "\n".join(map(json.dumps, lines)))
        process = subprocess.Popen([LLLM, "batch", "starter", "--input", path, "--parallel", "4",
                                    *map(str, options)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **more)
        while "line 3:" not in (said := process.stderr.readline()):
            self.assertTrue(said, "the run was over")
        return process

    def test_told_to_end(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            process = self.start()
            process.send_signal(number)
            out, said = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 128 + number, said)
            self.assertIn("interrupted after 2 of 3 prompts", said)
            self.assertEqual([r["id"] for r in rows(out)], ["short", "wrong"])
        output = self.folder / "out.json"
        process = self.start("--output", output, "--seed", 1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        self.assertIn("the same command goes on from there", said)
        # With --force too, which says how to begin anew.
        done = batch("--input", self.folder / "in.jsonl", "--output", output, "--seed", 1, "--force")
        self.assertIn(f"going on after 2 of 3 prompts; to begin anew, remove {output}.journal",
                      done.stderr)
        self.assertRegex(done.stderr, r"9 answers to 2 prompts \(2 of before\)")

    def test_nohup(self):
        process = self.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        out, said = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, said)
        self.assertEqual(len(rows(out)), 3)

    def test_answers_are_counted_one_by_one(self):
        ask = {"n": 3, "max_tokens": 1, "regex": "[a-z]{9}"}
        for line in ({"prompt": "a", **ask}, openai(ask)):
            lines = "\n".join(map(json.dumps, [line, {"prompt": "x", "max_tokens": 1}]))
            done = batch("--json", stdin=lines)
            figures = json.loads(done.stdout)["figures"]
            self.assertEqual([figures[k] for k in ("prompts", "answers", "forms_cut")], [2, 4, 3])
            self.assertIn("4 answers to 2 prompts |", done.stderr)
            self.assertIn("3 answers were cut", done.stderr)

    def test_names_in_upper_case(self):
        output = self.folder / "OUT.JSONL"
        lines = self.write("IN.JSONL", 'no JSON\n{"prompt": "a"}\n')
        done = batch("--input", lines, "--output", output, "-n", 1)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(["error" in r for r in rows(output.read_text())], [True, False])


if __name__ == "__main__":
    unittest.main()
