#!/usr/bin/env python3
"""Answers in a form: `lllm run` with --choices, --regex, --grammar and --json-format, and `lllm
grammar`."""
import json
import os
import pty
import re
import subprocess
import unittest
from pathlib import Path

import program
from program import PATIENCE, run

LISTS = 'root ::= item{2,3}\nitem ::= "- " [a-z ]{1,20} "\\n"\n'
# Stacks that read the same and are never told apart: their number doubles with each letter.
ENDLESS = ('root ::= "a" root "b" | "a" y "c" | "a"{100000}\n'
           'y ::= "a" root "d" | "a" y "e" | "a"{100000}\n')


class Answers(program.TemporaryFolder):
    def answer(self, *arguments, status=0):
        done = run("run", "--json", *arguments, home=self.folder / "home")
        answer = json.loads(done.stdout)
        whole = answer["finish_reason"] not in ("length", "constraint")
        self.assertEqual(done.returncode, status if whole else 1, done.stderr)
        return answer

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def test_forms(self):
        """Whatever the seed, the answer fits and ends by itself."""
        path = self.write("list.gbnf", LISTS)
        forms = [(("--choices", r"yes,no,may\,be"), r"yes|no|may,be"),
                 (("--regex", r"\d{4}-(0\d|1[0-2])"), r"\d{4}-(0\d|1[0-2])"),
                 (("--regex", "[é中]{3}😀"), "[é中]{3}😀"),
                 (("--grammar", path), r"(- [a-z ]{1,20}\n){2,3}")]
        for options, pattern in forms:
            for how in (("--temp", "2", "--seed", "1"), ("--temp", "2", "--seed", "2"),
                        ("--temp", "0"), ("--raw",)):
                with self.subTest(options=options, how=how):
                    a = self.answer("Write something.", *options, *how, "--max-tokens", "300")
                    self.assertEqual(a["finish_reason"], "stop")
                    self.assertTrue(re.fullmatch(pattern, a["content"]), a["content"])

    def test_json(self):
        text = "Extract the name, age and city as JSON: Anna Walker is 36 years old and lives in Cork."
        a = self.answer(text, "--json-format", "--temp", "0")
        self.assertEqual(json.loads(a["content"]), {"name": "Anna Walker", "age": 36, "city": "Cork"})
        for seed in range(4):
            a = self.answer("Hello", "--json-format", "--temp", "1.5", "--seed", seed, "--max-tokens", 150)
            if a["finish_reason"] == "stop":
                self.assertIsInstance(json.loads(a["content"]), dict)
            else:
                self.assertEqual(a["finish_reason"], "length")

    def test_first_space(self):
        """Where the answer begins the text, the space before its first word is no part of it."""
        model = program.import_stories(self.folder)
        for seed in range(3):
            a = self.answer(model, "", "--raw", "--regex", "[A-Z][a-z]{2,9} [a-z]{1,9}",
                            "--seed", seed)
            self.assertTrue(re.fullmatch("[A-Z][a-z]{2,9} [a-z]{1,9}", a["content"]), a["content"])

    def test_no_token_left(self):
        path = self.write("endless.gbnf", ENDLESS)
        done = run("run", "x", "--grammar", path, "--json", home=self.folder / "home")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(json.loads(done.stdout)["finish_reason"], "constraint")
        self.assertIn("too ambiguous", done.stderr)

    def test_tool_choice(self):
        """Calls that the tools' schemas allow, words, or the one tool that is named."""
        tools = [{"type": "function", "function": {"name": name, "parameters": {
                  "type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer",
                  "minimum": 1, "maximum": 9}}, "required": ["city", "days"], "additionalProperties": False}}}
                 for name in ("weather", "trains")]
        path = self.write("tools.json", json.dumps(tools))
        for choice, names in (("required", {"weather", "trains"}), ("trains", {"trains"})):
            for seed in range(3):
                a = self.answer("Tell me a story.", "--tools", path, "--tool-choice", choice, "--temp", "1.5",
                                "--seed", seed, "--max-tokens", "300", "--stop", "\n\n\n")
                self.assertTrue(a["tool_calls"], a)
                for call in a["tool_calls"]:
                    self.assertIn(call["function"]["name"], names)
                    arguments = json.loads(call["function"]["arguments"])
                    self.assertEqual(set(arguments), {"city", "days"})
                    self.assertIn(arguments["city"], ("Oslo", "Rome"))
                    self.assertIn(arguments["days"], range(1, 10))
        for choice in ("auto", "required", "calculator"):
            a = self.answer("What is 23 * 47?", "--tools", Path(__file__).resolve().parents[2] / "examples/tools.json",
                            "--tool-choice", choice, "--temp", "0")
            self.assertEqual([json.loads(c["function"]["arguments"]) for c in a["tool_calls"]],
                             [{"expression": "23 * 47"}])
        a = self.answer("What's the weather in Oslo?", "--tools", path, "--tool-choice", "none", "--max-tokens", "60")
        self.assertFalse(a.get("tool_calls"))
        for wrong, status in ((("--tool-choice", "auto"), 2), (("--tools", path, "--tool-choice", "nobody"), 1),
                              (("--tools", path, "--tool-choice", "auto", "--json-format"), 2)):
            done = run("run", "x", *wrong, home=self.folder / "home")
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_json_schema(self):
        schema = {"type": "object", "properties": {"name": {"type": "string", "pattern": "^[A-Z][a-z]{1,8}$"},
                  "age": {"type": "integer", "minimum": 0, "maximum": 130}, "likes": {"type": "array", "items":
                  {"enum": ["tea", "milk"]}, "uniqueItems": True}}, "required": ["name", "age"],
                  "additionalProperties": False}
        path = self.write("person.json", json.dumps(schema))
        for seed in range(3):
            a = self.answer("Hello", "--json-schema", path, "--temp", "1.5", "--seed", seed, "--max-tokens", 400)
            person = json.loads(a["content"])
            self.assertLessEqual({"name", "age"}, set(person))
            self.assertLessEqual(set(person), {"name", "age", "likes"})
            self.assertTrue(re.fullmatch("[A-Z][a-z]{1,8}", person["name"]))
            self.assertTrue(0 <= person["age"] <= 130 and person["age"] == int(person["age"]))
            self.assertEqual(len(set(person.get("likes", []))), len(person.get("likes", [])))

    def test_refusals(self):
        cases = [(2, ("--regex", "a", "--choices", "b"), "all but one"),
                 (1, ("--regex", "a(?=b)"), "(at byte 1)"),
                 (1, ("--grammar", self.write("bad.gbnf", "root ::= (")), "not closed"),
                 (1, ("--grammar", self.write("token.gbnf", "root ::= <nope>")), "<nope>"),
                 (1, ("--json-schema", self.write("bad.json", '{"items": {"minLength": -1}}')),
                  "bad.json: #/items/minLength: must be a whole number"),
                 (1, ("--json-schema", self.write("worse.json", '{"items": ')), "worse.json: the schema is no JSON"),
                 (2, ("--json-schema", "x", "--json-format"), "all but one"),
                 (1, ("--grammar", self.folder / "none"), "none")]
        for status, options, words in cases:
            with self.subTest(options=options):
                done = run("run", "x", *options, home=self.folder / "home")
                self.assertEqual(done.returncode, status)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stdout, "")


class Window(program.TemporaryFolder):
    def test_verdicts(self):
        path = self.folder / "list.gbnf"
        path.write_text(LISTS)
        cases = [(0, (path, "--text", "- a\n- b\n"), "accepted; it might go on with: -\n"),
                 (1, (path, "--text", "- a\n- B\n"),
                  'refused at byte 6 (line 2, column 3): "B\\n"\nthere may come: space a-z\n'),
                 (1, ("--regex", "a+", "--text", "ax"),
                  'refused at byte 1 (line 1, column 2): "x"\nthere may come: a, or the end\n'),
                 (1, ("--regex", "a", "--text", "aa"),
                  'refused at byte 1 (line 1, column 2): "a"\nthere may come: the end\n'),
                 (1, ("--choices", " yes , no", "--text", "yes "),
                  'refused at byte 3 (line 1, column 4): " "\nthere may come: the end\n'),
                 (0, ("--choices", "yes, no,new york", "--text", "new york"), "accepted\n"),
                 (1, (path, "--text", "- a\n"), "unfinished: there must come: -\n"),
                 (0, ("--regex", "é+", "--text", "éé"), None),
                 (0, ("--choices", "a,b", "--text", "b"), "accepted\n"),
                 (0, ("--json-format", "--text", '{"a": [1, 2]}'), "accepted\n")]
        for status, arguments, expected in cases:
            with self.subTest(arguments=arguments):
                done = run("grammar", *arguments)
                self.assertEqual(done.returncode, status, done.stderr)
                if expected is not None:
                    self.assertEqual(done.stdout, expected)

    def test_json_and_sizes(self):
        done = run("grammar", "--regex", "ab|ac", "--text", "ax", "--json")
        self.assertEqual(done.returncode, 1)
        verdict = json.loads(done.stdout)
        self.assertEqual((verdict["verdict"], verdict["good_bytes"]), ("refused", 1))
        self.assertEqual((verdict["next_bytes"], verdict["may_end"]), ([ord("b"), ord("c")], False))
        for text, may_end in (("", False), ("a", True), ("ax", True), ("x", False)):
            verdict = json.loads(run("grammar", "--regex", "a+", "--text", text, "--json").stdout)
            self.assertIs(verdict["may_end"], may_end, text)
        done = run("grammar", "--choices", "a,b")
        self.assertRegex(done.stdout, r"^0 rules, \d+ expressions, compiled in [\d.]+ ms\n$")
        self.assertRegex(run("grammar", "--json-format").stdout, r"^(1 rule|\d+ rules), (1 expression|\d+ expressions), ")
        example = re.search(r"echo '(.*)' \| lllm grammar --json-format", run("grammar", "-h").stdout)[1]
        done = run("grammar", "--json-format", "-f", "-", "--json", stdin=example + "\n")
        self.assertEqual(json.loads(done.stdout)["verdict"], "unfinished")
        # The line end that echo and editors put behind a text is not part of it.
        for text, status in (('[1, 2', 1), ('{"a": 1}\n', 0), ('{"a": 1}\r\n', 0), ('{"a": 1}\n\n', 0)):
            self.assertEqual(run("grammar", "--json-format", "-f", "-", stdin=text).returncode, status)
        self.assertEqual(run("grammar", "--regex", "a", "-f", "-", stdin="a\n").returncode, 0)
        self.assertEqual(run("grammar", "--regex", "a", "-f", "-", stdin="a\n\n").returncode, 1)
        self.assertEqual(run("grammar", "--regex", "a", "-f", "-", "--exact", stdin="a\n").returncode, 1)
        done = run("grammar", "--json-schema", "-", "--text", "5.0", stdin='{"type": "integer", "minimun": 3}')
        self.assertEqual(done.returncode, 0)
        self.assertIn('did you mean "minimum"?', done.stderr)
        done = run("grammar", "--json-format", "-f", "-", stdin='{"a": 1}')
        self.assertEqual(done.stdout, "accepted\n")
        done = run("grammar", "--json-schema", "-", "--text", '{"a": 1, "a": 2}', stdin='{"maxProperties": 2}')
        self.assertEqual(done.returncode, 1)
        self.assertIn("refused at byte 11", done.stdout)

    def test_json_of_others(self):
        """Bounds are for what is generated: here all of RFC 8259 is read, but keys that come twice."""
        figures = "3.14159265358979323846264338"
        cases = (("{}", " [1]"), ("{}", "[1]\t\r\n"), ("{}", "[" + "\n" * 9 + "1]"), ("{}", figures), ("{}", "7" * 30),
                 ("{}", "1e0005"), ('{"const": 1e400}', "1e400"), ('{"multipleOf": 0.1}', "1e-1"),
                 ('{"type": "integer"}', "[-12.5e+1"[1:]), ('{"type": "integer"}', "0e9"), ('{"enum": [5]}', "0.05E2"),
                 ('{"type": "integer"}', "1e-0"), ('{"minimum": 3}', figures), ('{"const": "1e2\\"3e4"}', '"1e2\\"3e4"'))
        for schema, text in cases:
            with self.subTest(schema=schema, text=text):
                done = run("grammar", "--json-schema", "-", "--text", text, stdin=schema)
                self.assertEqual((done.returncode, done.stdout[:8]), (0, "accepted"), done.stdout)
        for text in ('{"a": 1} ', '\n\n{"a": 1}', '{"a": %s}' % figures):
            self.assertEqual(run("grammar", "--json-format", "--text", text).stdout, "accepted\n")
        for schema, text, place in (('{"items": {"type": "integer"}}', "[1e1, 25e-1]", 6),
                                    ('{"items": {"maximum": 99}}', "[1e1, 1e2]", 6),
                                    ('{"items": {"type": "integer"}}', '[1e1, "1e1"]', 6),
                                    ("{}", "[1e1, 1e]", 8), ("{}", "[1e1, 01e1]", 7), ("{}", "[1e1, -]", 7)):
            with self.subTest(schema=schema, text=text):
                done = run("grammar", "--json-schema", "-", "--text", text, stdin=schema)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"refused at byte {place} ", done.stdout)

    def test_json_test_suite(self):
        folder = program.DATA / "json" / "test_parsing"
        if not folder.is_dir():
            self.skipTest(f"no {folder}")
        twice = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
        schema = self.folder / "any.json"
        schema.write_text("{}")
        files = list(folder.glob("y_*.json"))
        self.assertGreater(len(files), 90)
        for file in files:
            with self.subTest(file=file.name):
                done = run("grammar", "--json-schema", schema, "-f", file, "--exact")
                self.assertEqual(done.returncode, file.name in twice, done.stdout + done.stderr)

    def test_depth(self):
        for form, opened, levels in ((("--json-format",), '{"a":', 5000), (("--json-schema", "-"), "[", 9999),
                                     (("--json-schema", "-"), '{"a":', 9999)):
            with self.subTest(form=form, opened=opened):
                path = self.folder / "deep.json"
                path.write_text(opened * 12000)
                done = run("grammar", *form, "-f", path, stdin="{}")
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"not followed deeper than here ({levels} brackets are open)", done.stdout)
        self.assertNotIn("deeper", run("grammar", "--json-format", "--text", "[").stdout)

    def test_usage(self):
        for arguments in ((), ("a", "b"), ("--regex", "a", "--text", "x", "-f", "y")):
            self.assertEqual(run("grammar", *arguments).returncode, 2)
        for verb in ("grammar", "run"):
            for options, words in ((("--regex", ""), "--regex is empty"), (("--choices", ""), "no text"),
                                   (("--choices", " "), "no text"), (("--choices", "a,,b"), "an empty text"),
                                   (("--choices", "a, "), "an empty text")):
                with self.subTest(verb=verb, options=options):
                    done = run(verb, *options, *("x",) * (verb == "run"))
                    self.assertEqual((done.returncode, done.stdout), (2, ""))
                    self.assertIn(words, done.stderr)

    def test_json_that_is_no_form(self):
        for schema, words in (("null", "a schema is an object, true or false"), ('"x"', "a schema is an object"),
                              ('{"a": 1,\n"a": 2}', 'the key "a" comes twice'), ("{", "no JSON")):
            said = run("grammar", "--json-schema", "-", stdin=schema).stderr
            self.assertIn(words, said)
            self.assertEqual("no JSON" in said, words == "no JSON")

    def test_byte_order_marks(self):
        """Some editors begin a file with one: it says nothing, in forms and tools as in prompts."""
        schema, grammar, tools = (self.folder / name for name in ("s.json", "g.gbnf", "t.json"))
        schema.write_text('\ufeff{"type": "null"}', encoding="utf-8")
        grammar.write_text('\ufeffroot ::= "a"', encoding="utf-8")
        tools.write_text('\ufeff[{"name": "f"}]', encoding="utf-8")
        for arguments in (("--json-schema", schema, "--text", "null"), (grammar, "--text", "a")):
            self.assertEqual(run("grammar", *arguments).stdout, "accepted\n")
        self.assertNotIn("JSON", run("run", "starter", "x", "-n", "1", "--tools", tools).stderr)
        tools.write_bytes(b"\xEF\xBB\xBF")
        self.assertIn("t.json: not JSON", run("run", "starter", "x", "--tools", tools).stderr)
        self.assertEqual(run("grammar", "--json-schema", tools).returncode, 1)

    def test_schema_for_a_grammar(self):
        path = self.folder / "p.json"
        path.write_text('{"type": "object"}')
        self.assertIn("; a JSON Schema is given with --json-schema\n", run("grammar", path).stderr)
        path.write_text("root ::= (")
        self.assertNotIn("--json-schema", run("grammar", path).stderr)

    def test_terminal(self):
        """A person is told what is waited for, and a pipe nothing."""
        ours, theirs = pty.openpty()
        with subprocess.Popen([program.LLLM, "grammar", "--regex", "ab", "-f", "-"], stdin=theirs,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            os.write(ours, b"ab\n\x04")
            out, said = p.communicate(timeout=PATIENCE)
        os.close(ours)
        os.close(theirs)
        self.assertEqual((p.returncode, out), (0, "accepted\n"))
        self.assertEqual(said, "lllm: reading standard input from the terminal; Ctrl-D ends it\n")
        self.assertEqual(run("grammar", "--regex", "ab", "-f", "-", stdin="ab\n").stderr, "")


if __name__ == "__main__":
    unittest.main()
