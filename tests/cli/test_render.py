#!/usr/bin/env python3
"""`lllm render`: the reference renderings as the program prints them, prompts for models, trust,
tokens, and what is refused."""
import json
import os
import re
import subprocess
import unittest

import program
import script_model
from program import DATA, LLLM, run

TEMPLATES = DATA / "templates"
STRIDE = 1 if os.environ.get("LLLM_SOAK") == "1" else 25

TEMPLATE = """{{ bos_token }}{% for m in messages %}<mark>{{ m.role }}: {{ m.content }}
{% endfor %}{% if add_generation_prompt %}<mark>{{ strftime_now('%d %b %Y %H:%M') }}{% endif %}"""


class References(program.TemporaryFolder):
    def test_reference_renderings(self):
        """Some of the cases that tests/chat/test_renderings.c has all of; all in soak runs."""
        path = TEMPLATES / "jinja2-3.1.6-renderings.jsonl"
        if not path.is_file():
            self.skipTest(f"no {path.name} in {TEMPLATES}")
        cases = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for case in cases[::STRIDE]:
            with self.subTest(template=case["template"], case=case["case"]):
                variables = self.folder / "vars.json"
                variables.write_text(json.dumps(case["vars"]), "utf-8")
                done = subprocess.run([LLLM, "render", "--template", TEMPLATES / case["template"],
                                       "--vars", variables, "--now", "2025-01-02"],
                                      capture_output=True, check=False)
                if "error" in case:
                    self.assertEqual((done.returncode, done.stdout), (1, b""))
                    self.assertEqual(done.stderr.count(b"\n"), 1)
                else:
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(done.stdout.decode(), case["expected"])


class Render(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = script_model.write(cls.folder / "model.gguf", {"<mark>": ["x"]}, TEMPLATE)
        cls.bare = script_model.write(cls.folder / "bare.gguf", {"<mark>": ["x"]}, None)
        cls.template = cls.folder / "template.jinja"
        cls.template.write_text(TEMPLATE)

    def render(self, *arguments, **how):
        return run("render", *arguments, home=self.folder / "home", **how)

    def text(self, *arguments, **how):
        done = self.render(*arguments, **how)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def variables(self, value):
        path = self.folder / "vars.json"
        path.write_text(json.dumps(value))
        return path

    def test_variables_are_taken_as_they_are(self):
        given = {"messages": [{"role": "odd", "content": 7}, {"role": None}], "bos_token": "B"}
        path = self.variables(given)
        expected = "B<mark>odd: 7\n<mark>None: \n"
        self.assertEqual(self.text("--template", self.template, "--vars", path), expected)
        self.assertEqual(self.text("--template", self.template, "--vars", "-",
                                   stdin=json.dumps(given)), expected)
        given["add_generation_prompt"] = True
        path = self.variables(given)
        now = ["--now", "2024-02-29T23:59"]
        self.assertEqual(self.text("--template", self.template, "--vars", path, *now),
                         expected + "<mark>29 Feb 2024 23:59")
        self.assertEqual(self.text("--template", self.template, "--vars", path, *now,
                                   "--no-generation-prompt"), expected)
        path = self.variables(given["messages"])
        self.assertEqual(self.text("--template", self.template, "--vars", path), expected[1:])

    def test_tools_and_thinking_reach_the_template(self):
        template = self.folder / "tools.jinja"
        template.write_text("{{ tools | length }} {{ enable_thinking is defined }} "
                            "{{ enable_thinking }} {{ thinking }}")
        tools = self.folder / "tools.json"
        tools.write_text('{"tools": [{"name": "a"}, {"name": "b"}]}')
        how = ["--template", template, "--vars", self.variables({}), "--tools", tools]
        self.assertEqual(self.text(*how), "2 False  ")
        self.assertEqual(self.text(*how, "--thinking"), "2 True True True")
        self.assertEqual(self.text(*how, "--no-thinking"), "2 True False False")

    def test_a_conversation_for_a_model(self):
        expected = "<s><mark>system: S\n<mark>user: U\n<mark>01 Jan 1970 00:00"
        now = ["--now", "1970-01-01"]
        self.assertEqual(self.text(self.model, "--system", "S", "--user", "U", *now), expected)
        messages = [{"role": "system", "content": "S"},
                    {"role": "user", "content": [{"type": "text", "text": "U"}]}]
        for value in (messages, {"messages": messages}, {"messages": messages, "other": 1}):
            self.assertEqual(self.text(self.model, "--vars", self.variables(value), *now), expected)
        value = {"messages": messages, "add_generation_prompt": False}
        self.assertEqual(self.text(self.model, "--vars", self.variables(value)),
                         "<s><mark>system: S\n<mark>user: U\n")
        self.assertEqual(self.text(self.bare, "--user", "U", "--template", self.template, *now),
                         "<s><mark>user: U\n<mark>01 Jan 1970 00:00")
        self.assertEqual(self.text("--user", "U", "--template", self.template, *now),
                         "<mark>user: U\n<mark>01 Jan 1970 00:00")
        year = self.text(self.model, "--user", "U").split()[-2]
        self.assertGreaterEqual(int(year), 2026)

    def test_built_in_templates(self):
        self.assertEqual(self.text("--template", "llama3", "--user", "Hi"),
                         "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                         "<|start_header_id|>assistant<|end_header_id|>\n\n")
        self.assertEqual(self.text("--template", "Vicuna", "--user", "Hi", "--system", "S"),
                         "S USER: Hi ASSISTANT:")
        self.assertIn("tinyllama", self.render("-h").stdout)

    def test_built_in_templates_have_their_tokens(self):
        """The names in the list of -h, each without a model; given variables go before."""
        names = re.findall(r"^  ([a-z0-9-]+) {2,}\S", self.render("-h").stdout.split(
            "Built-in chat templates")[1], re.M)
        self.assertGreater(len(names), 15)
        messages = self.variables([{"role": "user", "content": "Hi"},
                                   {"role": "assistant", "content": "Yes"},
                                   {"role": "user", "content": "So"}])
        for name in names:
            for how in (["--user", "Hi"], ["--vars", messages]):
                self.assertIn("Hi", self.text("--template", name, *how), name)
        self.assertEqual(self.text("--template", "llama2", "--vars", messages),
                         "<s>[INST] Hi [/INST] Yes </s><s>[INST] So [/INST]")
        for name in ("codellama", "llama2"):
            self.assertEqual(self.text("--template", name, "--user", "Hi"), "<s>[INST] Hi [/INST]")
        for name in ("tinyllama", "zephyr"):
            self.assertEqual(self.text("--template", name, "--user", "Hi"),
                             "<|user|>\nHi</s>\n<|assistant|>\n")
        given = self.variables({"bos_token": "B", "messages": [{"role": "user", "content": "Hi"}]})
        self.assertEqual(self.text("--template", "llama2", "--vars", given), "B[INST] Hi [/INST]")

    def test_deepseek_calls_are_its_own(self):
        """The built-in template, in the form that DeepSeek V3 and R1 publish."""
        def mark(words):
            return "<\uff5c" + words.replace(" ", "\u2581") + "\uff5c>"

        call = {"id": "1", "type": "function",
                "function": {"name": "f", "arguments": '{"a": 1}'}}
        tools = self.folder / "f.json"
        tools.write_text('[{"name": "f"}]')
        messages = self.variables([
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": "W", "tool_calls": [call, {**call, "id": "2"}]},
            {"role": "tool", "tool_call_id": "1", "content": "R1"},
            {"role": "tool", "tool_call_id": "2", "content": "R2"}])
        one = (mark("tool call begin") + "function" + mark("tool sep") +
               'f\n```json\n{"a": 1}\n```' + mark("tool call end"))
        expected = (mark("User") + "U" + mark("Assistant") + "W" + mark("tool calls begin") + one +
                    "\n" + one + mark("tool calls end") + mark("end of sentence") +
                    mark("tool outputs begin") + mark("tool output begin") + "R1" +
                    mark("tool output end") + "\n" + mark("tool output begin") + "R2" +
                    mark("tool output end") + mark("tool outputs end"))
        out = json.loads(self.text(self.model, "--template", "deepseek", "--vars", messages,
                                   "--tools", tools, "--json", "--quiet"))
        self.assertEqual(out["tool_calls"], "deepseek")
        self.assertTrue(out["text"].startswith("<s>You can use these tools:"))
        self.assertTrue(out["text"].endswith("just answer." + expected), out["text"])

    def test_templates_of_other_models(self):
        done = self.render(self.model, "--template", "llama3", "--user", "x")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("<|start_header_id|>, which is no token of", done.stderr)
        self.text(self.model, "--template", "llama3", "--user", "x", "--quiet")
        self.text(self.model, "--template", "zephyr", "--user", "x")

    def test_trust(self):
        out = json.loads(self.text(self.model, "--user", "a<mark>é</s>", "--json",
                                   "--no-generation-prompt"))
        self.assertEqual(out["text"], "<s><mark>user: a<mark>é</s>\n")
        data = out["text"].encode()
        starts = [s["start"] for s in out["spans"]]
        self.assertEqual(starts, [0] + [s["end"] for s in out["spans"]][:-1])
        self.assertEqual(out["spans"][-1]["end"], len(data))
        for span in out["spans"]:
            self.assertEqual(data[span["start"]:span["end"]].decode(), span["text"])
        self.assertEqual([(s["trusted"], s["text"]) for s in out["spans"]],
                         [(True, "<s><mark>"), (False, "user"), (True, ": "),
                          (False, "a<mark>é</s>"), (True, "\n")])
        self.assertEqual([t["spelling"] for t in out["tokens"] if t["control"]], ["<s>", "<mark>"])
        self.assertEqual((out["template"], out["tool_calls"], out["reasoning"]),
                         ("file", "generic", "none"))
        without = json.loads(self.text("--template", "chatml", "--user", "a", "--json"))
        self.assertEqual((without["template"], without["tool_calls"], "tokens" in without),
                         ("chatml", "hermes", False))

    def test_tokens(self):
        lines = self.text(self.model, "--user", "<s>", "--tokens").splitlines()
        self.assertEqual([line for line in lines if "<s>" in line or "<mark>" in line],
                         ["      1  \"<s>\"", "    259  \"<mark>\"", "    259  \"<mark>\""])

    def test_vocabularies_are_enough(self):
        path = DATA / "tokenizers" / "ggml-vocab-phi-3.gguf"
        if not path.is_file():
            self.skipTest(f"no {path.name} in {path.parent}")
        out = json.loads(self.text(path, "--user", "Hi<|end|>", "--json"))
        self.assertEqual(out["text"], "<s><|user|>\nHi<|end|><|end|>\n<|assistant|>\n")
        self.assertEqual([t["id"] for t in out["tokens"] if t["control"]],
                         [1, 32010, 32007, 32001])

    def test_what_is_refused(self):
        messages = self.variables([{"role": "user", "content": "x"}])
        broken = self.folder / "broken.jinja"
        broken.write_text("{{ raise_exception('only on Mondays') }}")
        odd = self.folder / "odd.json"
        odd.write_text('{"a": 1}')
        begin = self.folder / "begin.jinja"
        begin.write_text("{{ bos_token + 'x' }}")
        empty = self.folder / "empty.json"
        empty.write_text('[{"role": "user"}]')
        image = self.folder / "image.json"
        image.write_text('[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]')
        cases = [
            (1, "name a MODEL that has one", ["--template", begin, "--vars", messages]),
            (1, "name a MODEL that has one", ["--template", begin, "--user", "x"]),
            (1, 'a message of role "user" has no "content"', [self.model, "--vars", empty]),
            (1, "takes no images", [self.model, "--vars", image]),
            (1, "takes no images", ["starter", "--vars", image]),
            (2, "a model or --template", []),
            (2, "--user", [self.model, "Hello there"]),
            (2, "no messages", [self.model]),
            (2, "no messages", ["--template", self.template, "--system", "x"]),
            (2, "already", [self.model, "--vars", messages, "--user", "x"]),
            (2, "needs a model", ["--template", self.template, "--vars", messages, "--tokens"]),
            (2, "contradict", [self.model, "--user", "x", "--thinking", "--no-thinking"]),
            (1, "--template chooses one", [self.bare, "--user", "x"]),
            (1, "no model", ["nomodel", "--user", "x"]),
            (1, "no file", ["--template", "nothing.jinja", "--vars", messages]),
            (1, "broken.jinja: template line 1: only on Mondays",
             ["--template", broken, "--vars", messages]),
            (1, "only on Mondays", [self.model, "--template", broken, "--user", "x"]),
            (1, "not JSON", [self.model, "--vars", broken]),
            (1, 'odd.json has no "messages"', [self.model, "--vars", odd]),
            (1, "array of tool definitions", [self.model, "--user", "x", "--tools", odd]),
            (1, "nothere.json", [self.model, "--vars", "nothere.json"]),
        ]
        cases += [(2, "is no date", [self.model, "--user", "x", "--now", date])
                  for date in ("", "today", "2025-1-2", "2025-02-29", "2025-01-02T", "2025-01-02T1",
                               "2025-01-02T24:00", "2025-01-02 10:30:00 ", "2025-13-01",
                               "2025-01-02T10:30Z1")]
        for status, words, arguments in cases:
            done = self.render(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")),
                             (status, "", 1), (arguments, done.stderr))
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
