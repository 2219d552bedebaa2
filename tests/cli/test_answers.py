#!/usr/bin/env python3
"""Reasoning and tool calls in `lllm run`: one answer, JSON, and the chat. The model says what
script_model.py has it say."""
import json
import os
import pty
import select
import subprocess
import sys
import time
import unittest

import program
import script_model
from program import LLLM, PATIENCE, run

TEMPLATE = """{%- set marks = '<think> </think>' -%}
{%- if tools %}{{ '<tools>' + (tools | tojson) + '</tools>\\n' }}{% endif %}
{%- for m in messages %}
    {{- m.role + ': ' + (m.content or '') }}
    {%- for c in m.tool_calls or [] %}{{ '<tool_call>' + (c.function | tojson) + '</tool_call>' }}
    {%- endfor %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {%- if enable_thinking is defined and not enable_thinking %}<quick>
    {%- elif messages[-1].role == 'tool' %}<after>
    {%- elif tools %}<call>
    {%- else %}<go>
    {%- endif %}
{%- endif %}"""

CHAINS = {
    "<go>": ["<think>", "Let me", " see.", "</think>", "\n\n", "Hello", " wor", "ld"],
    "<quick>": ["Short", " answer"],
    "<call>": ["Wait. ", "<tool_call>", '{"name": "get_weather", "argu', 'ments": {"city":\n"Par',
               'is"}}', "</tool_call>"],
    "<after>": ["It rains in", " Paris"],
}
CONTROLS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}]


class WithModels(program.TemporaryFolder):
    """One whose marks are control tokens, one where they are text, and one without template."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = [script_model.write(cls.folder / "control.gguf", CHAINS, TEMPLATE, CONTROLS),
                      script_model.write(cls.folder / "text.gguf", CHAINS, TEMPLATE)]
        cls.bare = script_model.write(cls.folder / "bare.gguf", CHAINS, None, CONTROLS)
        cls.tools = cls.folder / "tools.json"
        cls.tools.write_text(json.dumps(TOOLS))
        cls.template = cls.folder / "other.jinja"
        cls.template.write_text("{{ messages[-1].content }}<quick>")


class Answers(WithModels):
    def lllm(self, model, *arguments, **how):
        return run("run", model, "--temp", "0", *arguments, home=self.folder / "home", **how)

    def answer(self, model, *arguments):
        done = self.lllm(model, "Hi", "--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def test_pipes_get_the_answer_alone(self):
        for model in self.models:
            for options in ((), ("--quiet",)):
                done = self.lllm(model, "Hi", *options)
                self.assertEqual((done.returncode, done.stdout), (0, "Hello world"))
            self.assertEqual(self.lllm(model, "Hi", "--no-thinking").stdout, "Short answer")

    def test_json_has_reasoning(self):
        for model in self.models:
            answer = self.answer(model)
            self.assertEqual(answer["content"], "Hello world")
            self.assertEqual(answer["reasoning"], "Let me see.")
            self.assertEqual((answer["tool_calls"], answer["finish_reason"],
                              answer["stop_string"]), ([], "stop", None))
            answer = self.answer(model, "--no-thinking")
            self.assertEqual((answer["content"], answer["reasoning"]), ("Short answer", None))
            answer = self.answer(model, "--thinking", "--max-tokens", "3")
            self.assertEqual((answer["content"], answer["reasoning"], answer["finish_reason"]),
                             ("", "Let me see.", "length"))

    def test_reasoning_that_nobody_asked_for(self):
        """A template that does not know --no-thinking: the model thinks, and it is not shown."""
        stubborn = self.folder / "stubborn.jinja"
        stubborn.write_text("{# <think> </think> #}{{ messages[-1].content }}<go>")
        for model in self.models:
            answer = self.answer(model, "--chat-template", stubborn)
            self.assertEqual((answer["content"], answer["reasoning"]),
                             ("Hello world", "Let me see."))
            answer = self.answer(model, "--chat-template", stubborn, "--no-thinking")
            self.assertEqual((answer["content"], answer["reasoning"]), ("Hello world", None))

    def test_thinking_that_changes_nothing_is_told(self):
        deaf = self.folder / "deaf.jinja"
        deaf.write_text("{{ messages[-1].content }}<quick>")
        note = "--thinking changes nothing: the chat template of "
        model = self.models[0]
        options = ("--chat-template", deaf, "--thinking")
        done = self.lllm(model, "Hi", *options)
        self.assertEqual((done.stdout, done.stderr.count(note)), ("Short answer", 1))
        self.assertEqual(self.lllm(model, "Hi", *options, "-q").stderr, "")
        self.assertNotIn(note, self.lllm(model, "Hi", "--thinking").stderr)
        for more, count in ((options, 1), ((*options, "-q"), 0), (["--thinking"], 0)):
            done = run("batch", model, *more, "--temp", "0", "-n", "2", "--prompts", "a", "b",
                       home=self.folder / "home")
            self.assertEqual((done.returncode, done.stderr.count(note)), (0, count), done.stderr)

    def test_templates_of_other_models(self):
        for name, mark in (("llama3", "<|start_header_id|>"), ("deepseek", "<\uff5cUser\uff5c>"),
                           ("gemma", "<start_of_turn>")):
            done = self.lllm(self.models[0], "Hi", "--chat-template", name, "-n", "1")
            self.assertEqual(done.returncode, 0)
            self.assertEqual(done.stderr.count("the chat template writes " + mark), 1, done.stderr)
            done = self.lllm(self.models[0], "Hi", "--chat-template", name, "-n", "1", "--quiet")
            self.assertEqual(done.stderr, "")
        for name in ("zephyr", "llama2", self.template):
            done = self.lllm(self.models[0], "Hi", "--chat-template", name, "-n", "1")
            self.assertNotIn("template", done.stderr)

    def test_what_ended_an_answer(self):
        answer = self.answer(self.models[0], "--stop", "never", "--stop", "wor")
        self.assertEqual((answer["content"], answer["finish_reason"], answer["stop_string"]),
                         ("Hello ", "stop", "wor"))

    def test_calls(self):
        for model in self.models:
            answer = self.answer(model, "--tools", self.tools)
            self.assertEqual((answer["content"].strip(), answer["finish_reason"]),
                             ("Wait.", "tool_calls"))
            call, = answer["tool_calls"]
            self.assertEqual(call["type"], "function")
            self.assertTrue(call["id"])
            self.assertEqual(call["function"]["name"], "get_weather")
            self.assertEqual(json.loads(call["function"]["arguments"]), {"city": "Paris"})
            done = self.lllm(model, "Hi", "--tools", self.tools, "--quiet")
            self.assertRegex(done.stdout, r'\AWait\. ?\ncall get_weather \{"city": "Paris"\}\n\Z')
        # The same bytes mean nothing where no tools were offered.
        unasked = self.folder / "unasked.jinja"
        unasked.write_text("{{ messages[0].content }}<call>")
        answer = self.answer(self.models[1], "--chat-template", unasked)
        self.assertEqual((answer["tool_calls"], answer["finish_reason"]), ([], "stop"))
        self.assertIn('<tool_call>{"name": "get_weather"', answer["content"])

    def test_calls_that_are_cut_are_content(self):
        answer = self.answer(self.models[0], "--tools", self.tools, "--max-tokens", "4")
        self.assertEqual((answer["tool_calls"], answer["finish_reason"]), ([], "length"))
        self.assertIn('"get_weather", "arguments": {"city":', answer["content"])

    def test_chat_template(self):
        for model in (self.models[0], self.bare):
            done = self.lllm(model, "Hi", "--chat-template", self.template, "--quiet")
            self.assertEqual((done.returncode, done.stdout), (0, "Short answer"))
        done = self.lllm(self.bare, "Hi", "--system", "x")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("--chat-template", done.stderr)
        self.assertEqual(self.lllm(self.bare, "Hi", "--system", "x", "--chat-template", "alpaca",
                                   "--max-tokens", "1").returncode, 0)
        broken = self.folder / "broken.jinja"
        broken.write_text("a\n{% if %}")
        for name, words in (("llama22", ["did you mean llama2?", "vicuna"]),
                            (broken, ["broken.jinja: template line 2"]),
                            (self.folder, ["directory"]), ("zzzz", ["built in: alpaca"])):
            done = self.lllm(self.bare, "Hi", "--chat-template", name)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
            for word in words:
                self.assertIn(word, done.stderr)
        for options in (["--raw", "--chat-template", "chatml"], ["--raw", "--no-thinking"],
                        ["--thinking", "--no-thinking"]):
            done = self.lllm(self.bare, "Hi", *options)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), options)

    def test_tools_files(self):
        for content, words in (("{", "not JSON"), ("{}", "array of tool definitions"),
                               ("3", "array of tool definitions"), ("null", "array of tool definitions"),
                               ('[{"name": "f", "name": "g"}]', 'the key "name" comes twice (column 21)'),
                               ("[18446744073709551615]", "18446744073709551615 is beyond the numbers"),
                               ('[{"name": 3}]', "name")):
            path = self.folder / "bad.json"
            path.write_text(content)
            done = self.lllm(self.models[0], "Hi", "--tools", path)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
            self.assertIn(words, done.stderr)

    def test_chat_goes_on_after_a_result(self):
        saved, text = self.folder / "talk.json", self.folder / "talk.txt"
        lines = ["What weather?", '{"rain": true}', f"/save {saved}", f"/save {text}"]
        done = self.lllm(self.models[0], "--interactive", "--tools", self.tools,
                         stdin="".join(line + "\n" for line in lines))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'\AWait\. ?\ncall get_weather \{"city": "Paris"\}\n'
                                      r'It rains in Paris\n\Z')
        messages = json.loads(saved.read_text())["messages"]
        self.assertEqual([m["role"] for m in messages], ["user", "assistant", "tool", "assistant"])
        self.assertEqual(messages[2]["tool_call_id"], messages[1]["tool_calls"][0]["id"])
        self.assertEqual((messages[2]["name"], messages[2]["content"]),
                         ("get_weather", '{"rain": true}'))
        self.assertIn("call get_weather {", text.read_text())
        # A new conversation waits for no result.
        done = self.lllm(self.models[0], "--interactive", "--tools", self.tools,
                         stdin=f"Hi\n/clear\nHi\n/save -f {saved}\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([m["role"] for m in json.loads(saved.read_text())["messages"]],
                         ["user", "assistant"])

    def test_chat_keeps_reasoning(self):
        saved = self.folder / "thoughts.json"
        done = self.lllm(self.models[0], "--interactive", stdin=f"Hi\n/save {saved}\n")
        self.assertEqual((done.returncode, done.stdout), (0, "Hello world\n"))
        self.assertEqual(json.loads(saved.read_text())["messages"][1],
                         {"role": "assistant", "content": "Hello world",
                          "reasoning_content": "Let me see."})


class Terminal(WithModels):
    """Standard output is a pseudo-terminal."""

    def shown(self, *arguments, colour):
        parent, child = pty.openpty()
        env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        env.update(TERM="xterm", LLLM_HOME=str(self.folder / "home"),
                   **({} if colour else {"NO_COLOR": "1"}))
        with subprocess.Popen([LLLM, "run", *map(str, arguments), "--temp", "0"], stdin=child,
                              stdout=child, stderr=subprocess.DEVNULL, env=env) as process:
            os.close(child)
            output, end = b"", time.monotonic() + PATIENCE
            while time.monotonic() < end:
                if select.select([parent], [], [], 0.1)[0]:
                    try:
                        chunk = os.read(parent, 4096)
                    except OSError:
                        break
                    if not chunk:
                        break
                    output += chunk
                elif process.poll() is not None:
                    break
            self.assertEqual(process.wait(10), 0)
        os.close(parent)
        return output.decode().replace("\r\n", "\n")

    def test_reasoning_is_dim(self):
        dim, plain = "\033[2m", "\033[0m"
        shown = self.shown(self.models[0], "Hi", colour=True)
        self.assertEqual(shown.replace(plain + dim, ""),
                         f"{dim}Let me see.{plain}\n\nHello world\n")
        self.assertEqual(self.shown(self.models[0], "Hi", colour=False),
                         "[thinking]\nLet me see.\n\n[answer]\nHello world\n")
        for options, text in ((["--quiet"], "Hello world"), (["--no-thinking"], "Short answer")):
            self.assertEqual(self.shown(self.models[0], "Hi", *options, colour=True), text + "\n")

    def test_calls_are_shown(self):
        shown = self.shown(self.models[0], "Hi", "--tools", self.tools, colour=True)
        self.assertRegex(shown, r'\AWait\. ?\ncall get_weather \{"city": "Paris"\}\n\Z')


if __name__ == "__main__":
    unittest.main(verbosity=2)
