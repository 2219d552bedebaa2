#!/usr/bin/env python3
"""batch: what a line may ask for, in our shape and in that of OpenAI's batch files."""
import itertools
import json
import os
import pathlib
import pty
import re
import subprocess
import tempfile
import threading
import unittest

import script_model
from program import LLLM, run
from test_adapters import write_folder
from test_grammar import ENDLESS

PROMPT = "What is RAM?"
CALCULATOR = {"type": "function", "function": {
    "name": "calculator", "description": "computes", "parameters": {
        "type": "object", "properties": {"expression": {"type": "string", "maxLength": 20}},
        "required": ["expression"], "additionalProperties": False}}}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {
    "type": "object", "properties": {}, "additionalProperties": False}}}


def lines(requests, *options, model="starter"):
    """Runs them; the exit status, a result for each, and standard error."""
    done = run("batch", model, *options, stdin="\n".join(map(json.dumps, requests)))
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


numbers = itertools.count()


def openai(body, custom_id=None, **more):
    custom_id = f"a-{next(numbers)}" if custom_id is None else custom_id
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": PROMPT}], **body}, **more}


def all_of(terminal):
    """What comes from a terminal until its other end is closed."""
    seen = b""
    try:
        while part := os.read(terminal, 1 << 16):
            seen += part
    except OSError:
        pass
    return seen


class OpenAI(unittest.TestCase):
    def test_shape(self):
        status, (plain, bare), said = lines(
            [openai({"model": "starter", "temperature": 0, "store": False, "user": "me"}, "x-1"),
             {"prompt": PROMPT, "temperature": 0}], "-n", 20)
        self.assertEqual(status, 0, said)
        self.assertEqual((plain["custom_id"], plain["error"]), ("x-1", None))
        self.assertTrue(plain["id"] and plain["response"]["request_id"])
        self.assertEqual(plain["response"]["status_code"], 200)
        body = plain["response"]["body"]
        self.assertEqual((body["object"], body["model"]), ("chat.completion", "starter"))
        self.assertIsInstance(body["created"], int)
        self.assertEqual(body["seed"], bare["seed"] - 1)
        choice, = body["choices"]
        self.assertEqual(choice["message"], {"role": "assistant", "content": bare["content"],
                                             "refusal": None})
        self.assertEqual((choice["index"], choice["finish_reason"], choice["logprobs"]),
                         (0, bare["finish_reason"], None))
        usage = body["usage"]
        self.assertEqual({k: usage[k] for k in bare["usage"]}, bare["usage"])
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_several_answers_and_logprobs(self):
        wild = {"temperature": 5, "min_p": 0, "top_p": 1}
        three = {**wild, "n": 3, "seed": 7, "logprobs": True}
        status, (many, ours, *alone), said = lines(
            [openai({**three, "top_logprobs": 2}), {"prompt": PROMPT, **three},
             *({"prompt": PROMPT, "seed": 7 + i, **wild} for i in range(3))], "-n", 12)
        self.assertEqual(status, 0, said)
        texts = [a["content"] for a in alone]
        self.assertEqual(len(set(texts)), 3)
        choices = many["response"]["body"]["choices"]
        self.assertEqual([c["index"] for c in choices], [0, 1, 2])
        self.assertEqual([c["message"]["content"] for c in choices], texts)
        self.assertEqual([c["content"] for c in ours["choices"]], texts)
        self.assertEqual([c["seed"] for c in ours["choices"]], [7, 8, 9])
        self.assertEqual(ours["usage"]["completion_tokens"],
                         sum(a["usage"]["completion_tokens"] for a in alone))
        for theirs, own in zip(choices, ours["choices"]):
            tokens = theirs["logprobs"]["content"]
            self.assertEqual([t["logprob"] for t in tokens],
                             [t["logprob"] for t in own["logprobs"]])
            for field in ("token", "bytes"):  # what it adds to the text, in both shapes
                self.assertEqual([t[field] for t in tokens], [t[field] for t in own["logprobs"]])
            data = b"".join(bytes(t["bytes"]) for t in tokens)
            self.assertTrue(data.decode().startswith(theirs["message"]["content"]))
            for t in tokens:
                self.assertEqual(len(t["top_logprobs"]), 2)
                self.assertGreaterEqual(t["top_logprobs"][0]["logprob"],
                                        t["top_logprobs"][1]["logprob"])

    def test_temperature_0_is_greedy_in_any_order(self):
        ask = {"prompt": PROMPT, "temperature": 0, "max_tokens": 8}
        for shape in (dict, lambda fields: openai(dict(fields, prompt=None))):
            results = lines([shape({**ask, "samplers": ["top_k"], "seed": seed}) for seed in range(4)])[1]
            texts = {r["content"] if "content" in r
                     else r["response"]["body"]["choices"][0]["message"]["content"] for r in results}
            self.assertEqual(texts, {lines([ask])[1][0]["content"]})

    def test_sampling_that_changes_nothing_is_told_once(self):
        short = {"prompt": PROMPT, "max_tokens": 1}
        asked = [{**short, "temperature": 0, "seed": 1, "samplers": ["top_k"], "min_p": 0.1}] * 2 + [
            {**short, "xtc_threshold": 0.2, "dry_sequence_breakers": ["x"]},
            {**short, "xtc_threshold": 0.2, "xtc_probability": 0.5, "repeat_penalty": 1.1}]
        status, _, said = lines(asked, "--repeat-last-n", 3)
        self.assertEqual(status, 0)
        self.assertEqual([line for line in said.splitlines() if "nothing" in line], [
            'lllm: line 1: "min_p", --repeat-last-n change nothing, because "samplers" leaves their samplers out',
            'lllm: line 3: "xtc_threshold" changes nothing without "xtc_probability"; --repeat-last-n changes nothing '
            'without --repeat-penalty, --presence-penalty or --frequency-penalty; "dry_sequence_breakers" changes '
            'nothing without "dry_multiplier"'])
        self.assertNotIn("nothing", lines(asked, "--repeat-last-n", 3, "-q")[2])
        said = lines([{**short, "min_p": 0.1, "temperature": 0.5}], "--samplers", "temperature")[2]
        self.assertIn('line 1: "min_p" changes nothing, because --samplers leaves its sampler out', said)

    def test_logprobs_are_those_of_run(self):
        for how in (["--temp", 0], ["--temp", 1.5, "--top-k", 5], ["--temp", 1, "--lookup"],
                    ["--temp", 0, "--choices", "yes,no"]):
            for n in (0, 3):
                done = run("run", "starter", PROMPT, "--seed", 3, "-n", 12, "--json", "--logprobs",
                           n, *how)
                self.assertEqual(done.returncode, 0, done.stderr)
                told = json.loads(done.stdout)
                request = {"prompt": PROMPT, "logprobs": True, "seed": 3, "max_tokens": 12}
                other = lines([{**request, "top_logprobs": n} if n else request], *how)[1][0]
                self.assertEqual(told["content"], other["content"])
                self.assertEqual(told["logprobs"], other["logprobs"])  # digit by digit
                self.assertEqual(len(told["logprobs"]), told["usage"]["completion_tokens"])
                self.assertEqual("top" in told["logprobs"][0], n > 0)
                for t in told["logprobs"]:
                    for each in (t, *t.get("top", []), *t.get("sampled_top", [])):
                        self.assertEqual(bytes(each["bytes"]).decode(errors="replace"), each["token"])
                text = b"".join(bytes(t["bytes"]) for t in told["logprobs"]).decode(errors="replace")
                self.assertTrue(text.startswith(told["content"]), text)
        self.assertNotIn("logprobs", json.loads(run("run", "starter", "x", "-n", 1,
                                                    "--json").stdout))
        for how, words in ((["--logprobs", 1], "--logprobs is about --json"),
                           (["--logprobs", 1, "--json", "--beams", 2], "does not go with"),
                           (["--logprobs", 1000, "--json"], "--logprobs")):
            done = run("run", "starter", "x", *how)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)

    def test_completions(self):
        prompt = "The capital of France"
        ask = {"method": "POST", "url": "/v1/completions"}
        requests = [{**ask, "custom_id": i, "body": {"prompt": prompt, "max_tokens": 8,
                                                     "temperature": 0, **more}}
                    for i, more in enumerate(({}, {"logprobs": 2, "n": 2, "echo": False}))]
        status, (plain, many), said = lines(requests)
        self.assertEqual(status, 0, said)
        alone = run("run", "starter", prompt, "--raw", "-q", "-n", 8, "--temp", 0).stdout
        body = plain["response"]["body"]
        self.assertEqual((body["object"], body["choices"]),
                         ("text_completion", [{"index": 0, "text": alone, "logprobs": None,
                                               "finish_reason": "length"}]))
        for choice in many["response"]["body"]["choices"]:
            self.assertEqual(choice["text"], alone)
            found = choice["logprobs"]
            self.assertEqual("".join(found["tokens"]), alone)
            self.assertEqual(found["text_offset"],
                             [len("".join(found["tokens"][:i])) for i in range(8)])
            for token, number, top in zip(found["tokens"], found["token_logprobs"],
                                          found["top_logprobs"]):
                self.assertEqual(len(top), 2)
                self.assertEqual(top[token], number)
                self.assertEqual(max(top.values()), number)
        wrong = [{"messages": [{"role": "user", "content": "x"}]}, {"prompt": "x", "echo": True},
                 {"prompt": "x", "suffix": "y"}, {"prompt": ["x"]}, {"prompt": "x", "tools": [{}]},
                 {"prompt": "x", "logprobs": True}]
        status, answers, said = lines([{**ask, "custom_id": str(i), "body": w}
                                       for i, w in enumerate(wrong)])
        for w, a in zip(wrong, answers):
            self.assertIn(f'"{list(w)[-1]}"', a["response"]["body"]["error"]["message"])

    def test_errors(self):
        wrong = [openai({"model": "gpt-9"}), openai({}, url="/v1/embeddings"),
                 openai({}, method="GET"), openai({"messages": []}), openai({}, more=1),
                 {"custom_id": "a", "body": 3}, openai({"n": 999}), openai({}, metod="POST"),
                 {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions"},
                 {"custom_id": None, "body": {"prompt": "x"}},
                 {"custom_id": "c", "body": None, "method": "POST"}]
        status, answers, said = lines(wrong)
        self.assertEqual(status, 1)
        for w, a, word in zip(wrong, answers, ["gpt-9", '"url"', '"method"', '"messages"', '"more"',
                                               '"body"', '"n"', 'did you mean "method"?',
                                               'there is no "body"', '"custom_id" is missing',
                                               'there is no "body"']):
            self.assertEqual((a["custom_id"], a["response"]["status_code"]), (w["custom_id"], 400))
            message = a["response"]["body"]["error"]["message"]
            self.assertIn(word, message)
            self.assertIsNone(a["error"])  # which is of what has no response
            self.assertIn(message, said)
        self.assertIn("11 of 11 prompts have no answer", said)

    def test_lines_that_are_no_requests(self):
        """All results of a file of OpenAI's have its shape."""
        good = openai({"temperature": 0}, "a")
        for bad in (b'{"custom_id": "b', b"[1]", b'{"custom_id": "\xff"}',
                    b'{"body": {}, "body": {}}'):
            with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
                file.write(json.dumps(good).encode() + b"\n" + bad + b"\n")
                file.flush()
                done = run("batch", "starter", "--input", file.name, "-n", 1)
                self.assertEqual(done.returncode, 1, done.stderr)
                fine, wrong = map(json.loads, done.stdout.splitlines())
                self.assertEqual(set(wrong), set(fine))
                self.assertEqual((wrong["custom_id"], wrong["response"], fine["error"]), (None,) * 3)
                self.assertEqual(wrong["error"]["line"], 2)
                self.assertIn(f"line 2: {wrong['error']['message']}\n", done.stderr)
                file.write(b'{"prompt": "x"}\n')  # and so it is no file of OpenAI's
                file.flush()
                done = run("batch", "starter", "--input", file.name, "-n", 1)
                self.assertEqual(json.loads(done.stdout.splitlines()[1])["line"], 2)

    def test_an_id_that_is_none(self):
        status, answers, _ = lines([openai({}, custom_id=[1]), {"prompt": "x", "custom_id": {}}])
        self.assertEqual(status, 1)
        sentence = '"custom_id" must be a text or a number'
        self.assertEqual(answers[0]["response"]["body"]["error"]["message"], sentence)
        self.assertEqual(answers[1]["error"], sentence)

    def test_fields_of_other_programs(self):
        """Each with what takes its place."""
        for field, words in (("n_predict", '"max_tokens" takes'), ("num_predict", '"max_tokens"'),
                             ("cache_prompt", "share that without being told"),
                             ("lora-modules", "the option --lora-modules names adapters"),
                             ("lora_modules", '"lora" chooses'), ("adapter", '"lora" chooses'),
                             ("options", "fields of the line"), ("n_probs", '"top_logprobs"')):
            status, (answer,), said = lines([{"prompt": "x", field: 1}])
            self.assertEqual(status, 1)
            self.assertIn(f'the field "{field}" is not supported: ', answer["error"])
            self.assertIn(words, answer["error"])
        for field, near in (("max_token", "max_tokens"), ("loras", "lora"), ("stopp", "stop")):
            self.assertIn(f'did you mean "{near}"?', lines([{"prompt": "x", field: 1}])[2])

    def test_parts_of_fields(self):
        """What is within a field is not passed over either."""
        form = {"schema": {"enum": ["a"]}}
        for wrong, words in (
                ({"type": "json_object", "schem": 1}, '"schem" is no part of a response format; '
                                                      'did you mean "schema"?'),
                ({"type": "json_schema", "json_schema": {**form, "strikt": True}},
                 '"strikt" is no part of "json_schema"; did you mean "strict"?'),
                ({"type": "json_schema", **form}, '"schema" goes with the type json_object')):
            status, (answer,), _ = lines([{"prompt": "x", "response_format": wrong}])
            self.assertEqual(status, 1)
            self.assertIn(words, answer["error"])
        # As llama.cpp's server has it.
        status, (answer,), said = lines([{"prompt": "x", "response_format": {
            "type": "json_object", **form}}])
        self.assertEqual((status, answer["content"]), (0, '"a"'), said)
        tools = [{"type": "function", "function": {"name": "f", "paramters": {}}},
                 {"name": "g", "input_schema": {}, "annotations": {}}]
        said = lines([{"prompt": "x", "tools": tools}], "-n", 1)[2]
        self.assertIn('line 1: tool "f": "paramters" is not read; did you mean "parameters"?', said)
        self.assertIn('line 1: tool "g": "input_schema" is not read; did you mean "parameters"?',
                      said)
        self.assertEqual(said.count("is not read"), 2)

    def test_errors_of_tools_name_their_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tools.json"
            bad = {"type": "function", "function": {"name": "f", "parameters": {"type": "wat"}}}
            for tools, words in (([CLOCK, {"x": 1}], f"{path}: tool 2 has no name"),
                                 (["clock"], f"{path}: tool 1 has no name"),
                                 ({"clock": 1}, f"{path}: expected an array"),
                                 ([bad], f'{path}: tools/0 (f): #/type: "wat" is none of')):
                path.write_text(json.dumps(tools))
                done = run("run", "starter", "x", "--tools", path, "--tool-choice", "required")
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
            said = lines([{"prompt": "x", "tool_choice": "required"}], "--tools", path)[2]
            self.assertIn(words, said)

    def test_strict_tools(self):
        """Parameters that strict mode does not take are refused; what is not held is told."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tools.json"
            members = {"type": "object", "properties": {"a": {"type": "integer"}}}
            for parameters, words in (
                    (members, "#/additionalProperties: must be there and false in strict mode"),
                    ({**members, "additionalProperties": False}, '#/required: must name "a" too')):
                tools = [CLOCK, {"type": "function", "function": {
                    "name": "f", "parameters": parameters, "strict": True}}]
                self.assertIn(f"tools/1 (f): {words}", lines([{"prompt": "x", "tools": tools}])[2])
                path.write_text(json.dumps(tools))
                for choice in ((), ("--tool-choice", "auto")):
                    done = run("run", "starter", "x", "--tools", path, *choice)
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(f"{path}: tools/1 (f): {words}", done.stderr)
            self.assertIn('tools/0 (f): "strict" is true or false', lines(
                [{"prompt": "x", "tools": [{"name": "f", "strict": "yes"}]}])[2])
            path.write_text(json.dumps([{"name": "f", "strict": True, "parameters": {
                **members, "additionalProperties": False, "required": ["a"]}}]))
            told = 'tool "f" is strict, but calls are held'
            self.assertIn(told, run("run", "starter", "x", "-n", "1", "--tools", path).stderr)
            self.assertNotIn(told, run("run", "starter", "x", "-n", "1", "--tools", path,
                                       "--tool-choice", "auto").stderr)

    def test_roles(self):
        user, other = {"role": "user", "content": PROMPT}, {"role": "usr", "content": "x"}
        fine = [{"role": "developer", "content": "a"}, user, {"role": "assistant", "content": "b"},
                {"role": "tool", "content": "c", "tool_call_id": "d"}, user]
        wrong = [[user, other], [{**other, "role": "function"}], [{**other, "role": ""}],
                 [{**other, "role": "User"}]]
        status, answers, said = lines([{"messages": m} for m in [fine, *wrong, fine]], "-n", 1)
        self.assertEqual(status, 1)
        self.assertEqual([i for i, a in enumerate(answers) if "error" in a], [1, 2, 3, 4])
        for a, words in zip(answers[1:], ('message 2 of "messages" has the role "usr" (did you '
                                          'mean "user"?); there are system, developer, user, '
                                          'assistant and tool',
                                          'message 1 of "messages" has the role "function"; there',
                                          'the role "";', 'the role "User" (did you mean "user"?')):
            self.assertIn(words, a["error"])
            self.assertIn(a["error"], said)
        status, answers, _ = lines([openai({"messages": wrong[0]}), openai({})])
        self.assertEqual([a["response"]["status_code"] for a in answers], [400, 200])

    def test_repeated_ids(self):
        """Whichever begins first, the later line is the one that is refused."""
        requests = [openai({}, "x"), openai({}, 1), openai({"priority": 5}, "x"), openai({}, "1"),
                    {"prompt": PROMPT, "custom_id": "x"}, {"prompt": PROMPT, "id": "x"},
                    {"prompt": PROMPT, "id": "x"}, openai({"no": 1}, 1)]
        status, answers, said = lines(requests, "-n", 1, "--parallel", 1)
        self.assertEqual(status, 1)
        sentence = '"custom_id" is that of line 1 already'
        self.assertIn(sentence, answers[2]["response"]["body"]["error"]["message"])
        self.assertEqual(answers[2]["custom_id"], "x")
        self.assertIn(sentence, answers[4]["error"])
        self.assertIn('"no"', answers[7]["response"]["body"]["error"]["message"])
        for i in (0, 1, 3):
            self.assertIsNone(answers[i]["error"], said)
        for i in (5, 6):
            self.assertIn("content", answers[i])


class Fields(unittest.TestCase):
    def test_every_refused_field_has_its_sentence(self):
        wrong = {
            "functions": [], "function_call": "auto", "audio": {}, "web_search_options": {},
            "verbosity": "low", "stream": True, "stream_options": {}, "modalities": ["audio"],
            "repetition_penalty": 1.1, "guided_json": {}, "guided_regex": "a", "best_of": 2,
            "guided_choice": ["a"], "guided_grammar": "", "structured_outputs": {}, "n": 129,
            "top_logprobs": 101, "logprobs": 3, "max_tokens": -1, "max_completion_tokens": "many",
            "stop": [""], "seed": "x", "temperature": 101, "priority": 1 << 40, "model": "x",
            "lora": "x", "tools": {}, "tool_choice": "required", "parallel_tool_calls": 1,
            "system": 3, "ignore_eos": 1, "reasoning_effort": 3, "chat_template_kwargs": [],
            "response_format": {"type": "yaml"}, "nonsense": 1, "max_token": 3}
        status, answers, said = lines([{"prompt": PROMPT, k: v} for k, v in wrong.items()] +
                                      [{"prompt": PROMPT, "max_tokens": 1}])
        self.assertEqual(status, 1)
        for field, a in zip(wrong, answers):
            self.assertIn("error", a, field)
            self.assertIn(f'"{field}"' if field not in ("seed", "temperature") else field,
                          a["error"], a)
        self.assertEqual(len(said.splitlines()), len(wrong) + 2)
        self.assertIn("content", answers[-1])
        self.assertIn("max_tokens", answers[-2]["error"])  # was meant

    def test_null_is_nothing(self):
        nothing = dict.fromkeys(
            ("stream_options", "audio", "functions", "function_call", "web_search_options",
             "verbosity", "logprobs", "top_logprobs", "stop", "seed", "temperature", "max_tokens",
             "tools", "tool_choice", "response_format", "model", "n", "id", "logit_bias", "user"))
        for more in ({}, {"max_completion_tokens": 2, "max_tokens": 2}):
            status, (answer,), said = lines([{"prompt": PROMPT, **nothing, **more}], "-n", 2)
            self.assertEqual(status, 0, said)
            self.assertNotIn("logprobs", answer)
        self.assertIn("not known", lines([{"prompt": PROMPT, "nonsense": None}])[2])

    def test_fields_that_say_two_things(self):
        status, answers, _ = lines([
            {"prompt": "x", "max_tokens": 1, "max_completion_tokens": 2},
            {"prompt": "x", "logprobs": False, "top_logprobs": 2},
            {"prompt": "x", "top_logprobs": 0, "logprobs": False, "max_tokens": 1}])
        self.assertEqual(status, 1)
        self.assertIn('"max_tokens" and "max_completion_tokens"', answers[0]["error"])
        self.assertIn('"top_logprobs" needs "logprobs": true', answers[1]["error"])
        self.assertNotIn("error", answers[2])
        self.assertNotIn("logprobs", answers[2])

    def test_what_is_wanted_instead(self):
        table = [({"stop": [1]}, '"stop" must be a text or an array of texts'),
                 ({"stop": 1}, '"stop" must be a text or an array of texts'),
                 ({"stop": "a\0"}, '"stop" must be a text without zero bytes'),
                 ({"system": 7}, '"system" must be a text'),
                 ({"prompt": ["a", "b"]}, '"prompt" must be a text: arrays'),
                 ({"prompt": [1, 2]}, "give each text a line of its own"),
                 ({"choices": []}, '"choices" must be an array of texts, at least one'),
                 ({"choices": ["a", 1]}, '"choices" must be an array of texts, at least one'),
                 ({"choices": ["a\0"]}, '"choices": a text has a zero byte'),
                 ({"regex": 3}, '"regex" must be a text'), ({"grammar": {}}, '"grammar" must be'),
                 ({"json_schema": 3}, '"json_schema" must be a JSON Schema'),
                 ({"response_format": "json"}, '"response_format" must be an object'),
                 ({"response_format": {"type": "yaml"}}, '"response_format": "type" is text'),
                 ({"response_format": {"type": "json_schema", "json_schema": {"schema": {
                     "type": "what"}}}}, '"response_format": #/type'),
                 ({"tool_choice": 3}, '"tool_choice" must be "none", "auto"'),
                 ({"temprature": 1}, 'did you mean "temperature"?'),
                 ({"topp": 1}, 'did you mean "top_p"?'), ({"sed": 1}, 'did you mean "seed"?'),
                 ({"repeat_penlty": 1}, 'did you mean "repeat_penalty"?'),
                 ({"maxtokens": 1}, 'did you mean "max_tokens"?'),
                 ({"unrelated": 1}, '"unrelated" is not known')]
        status, answers, _ = lines([{"prompt": PROMPT, **w} for w, _ in table])
        self.assertEqual(status, 1)
        for (w, words), a in zip(table, answers):
            self.assertIn(words, a["error"], w)
            self.assertEqual("zero byte" in a["error"], "\\u0000" in json.dumps(w), a["error"])

    def test_efforts_that_are_none_are_told_once(self):
        """Clients send those of other models: they are passed over, not written into the prompt."""
        with tempfile.TemporaryDirectory() as folder:
            template = pathlib.Path(folder) / "effort.jinja"
            template.write_text("{{ messages[-1].content }}{{ reasoning_effort | default('usual') }}")
            ask = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0}
            efforts = ["huge", None, "low", "huge", "xhigh"]
            requests = [{**ask, "reasoning_effort": e} if e else ask for e in efforts]
            status, (huge, none, low, again, _), said = lines(requests, "--chat-template", template)
            self.assertEqual(status, 0, said)
            self.assertEqual(huge["content"], none["content"])
            self.assertEqual(huge["usage"], again["usage"])
            self.assertEqual(huge["usage"], none["usage"])
            self.assertNotEqual(low["usage"], none["usage"])
            self.assertEqual(said.count("reasoning_effort"), 1)
            self.assertIn('line 1: "reasoning_effort" is none, minimal, low, medium, high or xhigh, and "huge" is '
                          'passed over\n', said)
            self.assertNotIn("effort", lines(requests, "--chat-template", template, "-q")[2])

    def test_slips_in_schemas_are_told_once(self):
        schema = {"type": "object", "properties": {"a": {"type": "string", "maxLenght": 3}},
                  "requried": ["a"]}
        other = {"enum": ["a"], "nothing": 1}
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        forms = [{"json_schema": schema}, {"json_schema": schema}, {"response_format": {
            "type": "json_schema", "json_schema": {"schema": other}}}, {"tools": [tool]},
            {"tools": [tool]}, {"tools": [tool, CLOCK], "tool_choice": "none"},
            {"json_schema": {"enum": ["a"]}}, {"regex": "a"}]
        status, _, said = lines([{"prompt": PROMPT, **f} for f in forms], "-n", 1, "--parallel", 1)
        self.assertEqual(status, 1, said)  # forms that a token does not fill
        found = re.findall(r"lllm: (.*) is no keyword of JSON Schema and says nothing(.*)\n", said)
        slips = [("#/requried", '; did you mean "required"?'),
                 ("#/properties/a/maxLenght", '; did you mean "maxLength"?')]
        want = [(f'{place}: "{pointer}"', meant) for place in (
            "line 1", *(f'line {i}: the parameters of tool "f"' for i in (4, 6)))
            for pointer, meant in slips] + [('line 3: "#/nothing"', "")]
        self.assertEqual(sorted(found), sorted(want))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tools.json"
            path.write_text(json.dumps([tool]))
            for how in (["run", "starter", "x"], ["batch", "starter", "--prompts", "a", "b"]):
                done = run(how[0], how[1], "--tools", path, "-n", 1, *how[2:])
                self.assertEqual(done.returncode, 0, done.stderr)
                for pointer, meant in slips:
                    self.assertEqual(done.stderr.count(
                        f'{path}: the parameters of tool "f": "{pointer}" is no keyword of JSON '
                        f"Schema and says nothing{meant}\n"), 1, done.stderr)

    def test_without_a_template_nothing_is_dropped(self):
        fields = {"system": "Be brief.", "tools": [CALCULATOR], "reasoning_effort": "low",
                  "chat_template_kwargs": {"a": 1}}
        requests = [{"prompt": "The cat", k: v} for k, v in fields.items()] + [{"prompt": "The"}]
        with tempfile.TemporaryDirectory() as folder:
            bare = script_model.write(pathlib.Path(folder) / "bare.gguf", {"<begin>": ["a"]}, None)
            for model, options, words in (("starter", ["--raw"], "--raw uses none"),
                                          (bare, [], "--chat-template names one")):
                status, answers, said = lines(requests, *options, "-n", 2, model=model)
                self.assertEqual(status, 1)
                for field, a in zip(fields, answers):
                    self.assertIn(f'"{field}" needs a chat template', a["error"])
                    self.assertIn(words, a["error"])
                self.assertIn("content", answers[-1])
        messages = [{"role": "system", "content": "a"}, {"role": "user", "content": PROMPT}]
        status, answers, _ = lines([{"messages": messages, "system": "b"}])
        self.assertIn("both", answers[0]["error"])

    def test_a_line_has_its_own_system_message(self):
        user = {"role": "user", "content": PROMPT}
        own = {"role": "system", "content": "Own."}
        status, answers, said = lines([{"messages": [own, user]}, {"messages": [user]}], "-n", 1,
                                      "--system", "General.")
        self.assertEqual(status, 0, said)
        self.assertEqual([a["messages"][0]["content"] for a in answers], ["Own.", "General."])
        self.assertEqual([len(a["messages"]) for a in answers], [2, 2])

    def test_tool_choice(self):
        ask = {"prompt": "Calculate 3+4", "tools": [CALCULATOR, CLOCK], "max_tokens": 80}
        named = {"type": "function", "function": {"name": "clock"}}
        requests = [{**ask, "tool_choice": "required"}, {**ask, "tool_choice": named},
                    {**ask, "tool_choice": "none"}, {**ask, "tool_choice": "auto"},
                    {**ask, "tool_choice": "required", "parallel_tool_calls": False, "n": 2,
                     "temperature": 2},
                    {"prompt": "Is 3 odd?", "tools": [CALCULATOR], "tool_choice": "none",
                     "choices": ["yes", "no"]},
                    openai({**ask, "tool_choice": "required"})]
        requests[-1]["body"].pop("prompt")
        status, answers, said = lines(requests, "--seed", 2)
        self.assertEqual(status, 0, said)
        required, clock, none, _, two, form, body = answers
        call = required["tool_calls"][0]["function"]
        self.assertIn(call["name"], ("calculator", "clock"))
        self.assertIsInstance(json.loads(call["arguments"]), dict)
        self.assertEqual(required["finish_reason"], "tool_calls")
        self.assertEqual({c["function"]["name"] for c in clock["tool_calls"]}, {"clock"})
        self.assertNotIn("tool_calls", none)
        for choice in two["choices"]:
            self.assertEqual(len(choice["tool_calls"]), 1)
        self.assertIn(form["content"], ("yes", "no"))
        message = body["response"]["body"]["choices"][0]["message"]
        self.assertTrue(message["tool_calls"])
        self.assertIn(message["content"], (None, ""))
        wrong = [{**ask, "tool_choice": {"type": "function", "function": {"name": "nobody"}}},
                 {**ask, "tool_choice": "whatever"}, {**ask, "choices": ["a"]},
                 {**ask, "tool_choice": "auto", "json_schema": {}},
                 {"prompt": "x", "tool_choice": "required"}]
        status, answers, _ = lines(wrong)
        self.assertEqual(status, 1)
        for a in answers:
            self.assertRegex(a["error"], '"tool_choice"|"tools"')

    def test_priority(self):
        # What cannot be answered is said when its turn comes.
        far = "word " * 2000
        requests = [{"prompt": far, "priority": p} for p in (0, 5, -3, 5, 1)] + [{"prompt": PROMPT}]
        status, answers, said = lines(requests, "-n", 1, "--parallel", 1)
        self.assertEqual([int(n) for n in re.findall(r"line (\d+):", said)], [2, 4, 5, 1, 3])
        self.assertIn("content", answers[-1])

    def test_cut_forms_are_counted(self):
        schema = {"type": "array", "minItems": 50, "items": {"type": "integer"}}
        requests = [{"prompt": "x", "json_schema": schema, "max_tokens": 4}] * 2 + [
            {"prompt": "x", "choices": ["a"]}, {"prompt": "x", "max_tokens": 1}]
        status, answers, said = lines(requests)
        self.assertEqual(status, 1)
        self.assertEqual([a["finish_reason"] for a in answers], ["length", "length", "stop",
                                                                  "length"])
        self.assertEqual([a.get("form_complete") for a in answers], [False, False, None, None])
        self.assertEqual([a.get("why") for a in answers[:3]],
                         ["it had 4 tokens, the most allowed, before the form was whole"] * 2 +
                         [None])
        self.assertIn("lllm: 2 answers were cut before their form was whole", said)
        self.assertEqual(len(said.splitlines()), 2)
        # It is a failure, which --quiet does not hide; in OpenAI's shape, and after a resumption.
        status, answers, said = lines([openai({"json_schema": schema, "max_tokens": 4, "n": 2})],
                                      "-q")
        self.assertEqual((status, len(said.splitlines())), (1, 1))
        self.assertIn("lllm: 2 answers were cut", said)
        for choice in answers[0]["response"]["body"]["choices"]:
            self.assertEqual((choice["finish_reason"], choice["form_complete"]), ("length", False))
        self.assertIn("the context was full", lines([{"prompt": "x", "json_schema": schema}],
                                                    "--context-size", 64)[1][0]["why"])
        self.assertEqual(lines(requests[2:])[2].count("cut before"), 0)
        done = run("run", "starter", "x", "--json-format", "-n", 2)
        self.assertIn("lllm: the answer was cut before its form was whole", done.stderr)
        self.assertNotIn("cut", run("run", "starter", "x", "-n", 2).stderr)
        self.assertNotIn("cut", run("run", "starter", "x", "--choices", "a,b").stderr)

    def test_answers_that_end_too_early_are_counted(self):
        status, answers, said = lines([{"prompt": "x", "grammar": ENDLESS},
                                       {"prompt": "x", "max_tokens": 9}])
        self.assertEqual(status, 1, said)
        self.assertEqual(answers[0]["finish_reason"], "constraint")
        self.assertIs(answers[0]["form_complete"], False)
        self.assertIn('lllm: 1 answer ended before its form was whole ("finish_reason" is '
                      '"constraint")', said)
        self.assertEqual(len(said.splitlines()), 2)
        requests = [{"prompt": "a", "ignore_eos": True}] * 2 + [
            {"prompt": "a", "max_tokens": 3, "ignore_eos": True}]
        done = run("batch", "starter", "--context-size", 64, "--json",
                   stdin="\n".join(map(json.dumps, requests)))
        self.assertIn("lllm: 2 answers stop because the context of 64 tokens is full", done.stderr)
        figures = json.loads(done.stdout)["figures"]
        self.assertEqual((figures["context_full"], figures["forms_stuck"]), (2, 0))
        self.assertNotIn("context", lines(requests[2:], "--context-size", 64)[2])

    def test_stop_strings_within_a_form(self):
        """JSON that a stop string cuts is no JSON: said, and a failure, as by the token limit."""
        form = {"regex": '\\{"a":"[b-d]{3}"\\}\n?'}
        requests = [{"prompt": "x", **form, "stop": stop} for stop in ('"}', "\n", "zz")]
        status, answers, said = lines(requests, "-q")
        self.assertEqual(status, 1)
        self.assertEqual([a["finish_reason"] for a in answers], ["stop"] * 3)
        self.assertEqual([a.get("form_complete") for a in answers], [False, None, None])
        self.assertEqual(answers[0]["why"],
                         'the stop string ""}" ended it before the form was whole')
        self.assertEqual(said.count("\n"), 1)
        self.assertIn("lllm: 1 answer was ended by a stop string before its form was whole", said)
        how = ("run", "starter", "x", "-q", "--regex", form["regex"], "--stop", '"}')
        done = run(*how)
        self.assertEqual(done.returncode, 1)
        self.assertIn('the answer has not its form: the stop string', done.stderr)
        told = json.loads(run(*how, "--json").stdout)
        self.assertEqual((told["form_complete"], told["stop_string"]), (False, '"}'))
        self.assertEqual(run(*how[:-1], "zz").returncode, 0)

    def test_seeds(self):
        """Equal lines have answers of their own, those of a seed of their own the same ones."""
        wild = {"prompt": PROMPT, "temperature": 5, "min_p": 0, "top_p": 1, "max_tokens": 8}
        three, own = {**wild, "n": 3}, {**wild, "n": 2, "seed": 40}
        status, answers, _ = lines([three, three, wild, own, own, {"n": 0}, wild], "--seed", 5)
        self.assertEqual(status, 1)
        seeds = [[c["seed"] for c in a.get("choices", [a])] for a in answers if "error" not in a]
        self.assertEqual(seeds, [[5, 6, 7], [8, 9, 10], [11], [40, 41], [40, 41], [17]])
        texts = [[c["content"] for c in a.get("choices", [a])] for a in answers
                 if "error" not in a]
        self.assertEqual(len({t for group in texts[:3] for t in group}), 7)
        self.assertEqual(texts[3], texts[4])
        self.assertNotEqual(texts[3][0], texts[3][1])
        alone = lines([{**wild, "seed": 9}])[1][0]
        self.assertEqual(alone["content"], texts[1][1])

    def test_seeds_are_those_of_run(self):
        most = 1 << 53
        wild = {"prompt": PROMPT, "temperature": 5, "min_p": 0, "top_p": 1, "max_tokens": 4}
        status, answers, _ = lines([{**wild, "seed": s, "n": n} for s, n in (
            (most, 1), (0, 1), (most + 1, 1), (-1, 1), (most, 2), (most - 1, 2))])
        self.assertEqual(status, 1)
        self.assertEqual(["error" in a for a in answers], [False, False, True, True, True, False])
        self.assertTrue(all('"seed"' in a["error"] for a in answers if "error" in a))
        for a in (answers[0], answers[1], answers[5]["choices"][1]):
            alone = run("run", "starter", PROMPT, "-q", "--seed", a["seed"], "--temp", 5, "--min-p",
                        0, "--top-p", 1, "-n", 4)
            self.assertEqual((alone.returncode, alone.stdout), (0, a["content"]), alone.stderr)
        self.assertEqual(run("run", "starter", "x", "--seed", most + 1).returncode, 2)
        self.assertEqual(["error" in a for a in lines([wild] * 2, "--seed", most)[1]],
                         [False, True])

    def test_refused_lines_say_what_was_asked(self):
        user = [{"role": "usr", "content": "x"}]
        requests = [{"id": "a", "top_q": 1, "prompt": "why?"}, {"id": "b", "messages": user},
                    {"messages": user[:0], "id": 3}, {"custom_id": "c", "n": 0, "messages": user}]
        _, answers, _ = lines(requests)
        self.assertTrue(all("error" in a for a in answers))
        self.assertEqual([a["id"] for a in answers], ["a", "b", 3, "c"])
        self.assertEqual(answers[0]["prompt"], "why?")
        self.assertEqual([a["messages"] for a in answers[1:]], [user, [], user])

    def test_results_do_not_run_into_the_bar(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "in.jsonl"
            path.write_text("\n".join(json.dumps({"prompt": PROMPT, "max_tokens": 30} if i % 4 else
                                                 {"prompt": PROMPT, "top": 1}) for i in range(40)))
            ours, theirs = pty.openpty()
            process = subprocess.Popen([LLLM, "batch", "starter", "--input", path, "--parallel",
                                        "2"], stdin=theirs, stdout=theirs, stderr=theirs,
                                       env=dict(os.environ, TERM="xterm"))
            os.close(theirs)
            seen = all_of(ours)
            os.close(ours)
            self.assertEqual(process.wait(), 1)
        self.assertIn(b"prompts [", seen)
        results = 0
        for line in seen.replace(b"\r\n", b"\n").split(b"\n"):
            left = line.split(b"\x1b[K")[-1]  # what stands there when the line ends
            self.assertNotIn(b"prompts [", left)
            if left.startswith(b"{"):
                json.loads(left)
                results += 1
        self.assertEqual(results, 40)

    def test_the_bar_gives_way_to_a_pipe(self):
        """Which may end on the same terminal."""
        request = json.dumps({"prompt": PROMPT, "max_tokens": 300, "ignore_eos": True})
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(f"{request}\n" * 8)
            file.flush()
            ours, theirs = pty.openpty()
            process = subprocess.Popen([LLLM, "batch", "starter", "--input", file.name, "--parallel",
                                        "1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=theirs, env=dict(os.environ, TERM="xterm"))
            os.close(theirs)
            results = []  # read meanwhile: a terminal takes a few kilobytes
            reader = threading.Thread(target=lambda: results.append(process.stdout.read()))
            reader.start()
            seen = all_of(ours)
            reader.join()
            self.assertEqual(results[0].count(b"\n"), 8)
            process.stdout.close()
            os.close(ours)
            self.assertEqual(process.wait(), 0)
        self.assertGreater(seen.count(b"\x1b[K\r\x1b[K"), 3)  # drawn, and cleared


class Adapters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        facts = json.loads(run("show", "starter", "--json", "--tensors").stdout)
        dims = {t["name"]: t["dims"] for t in facts["tensors"]}
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        modules = {f"model.layers.{i}.mlp.down_proj": dims[f"blk.{i}.ffn_down.weight"]
                   for i in range(facts["config"]["layers"])}
        cls.first = write_folder(cls.folder / "first", modules)
        cls.second = write_folder(cls.folder / "second", modules, seed=2)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_an_output_in_their_place(self):
        weights = self.first / "adapter_model.safetensors"
        before = weights.read_bytes()
        for options in (["--lora", f"{self.first}=2"], ["--lora-modules", f"a={self.first}"]):
            done = run("batch", "starter", *options, "-o", weights, "--force", "--prompts", "a")
            self.assertEqual((done.returncode, done.stderr), (
                1, f"lllm: {weights} is among what is being read; give the output another name\n"))
            self.assertEqual(weights.read_bytes(), before)

    def test_of_a_line(self):
        how = ["--temp", 0, "-n", 12]

        def alone(*lora):
            return run("run", "starter", PROMPT, "-q", *how, *lora).stdout
        one, two = ["--lora", self.first], ["--lora", f"{self.second}=2"]
        want = [alone(), alone(*one), alone(*one, *two), alone(*one), alone(*two)]
        self.assertEqual(len(set(want)), 4)
        loras = [[], "a", ["a", {"name": "b", "scale": 2}], {"name": "a"},
                 {"name": "b", "scale": 2}]
        modules = ["--lora-modules", f"a={self.first}", "--lora-modules", f"b={self.second}"]
        requests = [{"prompt": PROMPT, "lora": lora} for lora in loras]
        status, answers, said = lines(requests, *how, *modules)
        self.assertEqual(status, 0, said)
        self.assertEqual([a["content"] for a in answers], want)
        # By vLLM's way: the name of an adapter as the model; and in place of --lora.
        status, answers, said = lines([{"prompt": PROMPT, "model": "a"}, {"prompt": PROMPT},
                                       {"prompt": PROMPT, "lora": []}], *how, *modules, *two)
        self.assertEqual([a["content"] for a in answers], [want[1], want[4], want[0]], said)
        wrong = [{"lora": "c"}, {"lora": 3}, {"lora": {"scale": 1}}, {"lora": ["a"] * 9},
                 {"lora": {"name": "a", "scale": 1e9}}, {"lora": {"name": "a", "x": 1}}]
        status, answers, said = lines([{"prompt": PROMPT, **w} for w in wrong], *modules)
        self.assertTrue(all('"lora"' in a["error"] for a in answers), said)
        for option, words in ((f"{self.first}", "NAME=FILE"), (f"a={self.first}=x", "number"),
                              ("=x", "NAME=FILE")):
            status, _, said = lines([{"prompt": PROMPT}], "--lora-modules", option)
            self.assertEqual(status, 2)
            self.assertIn(words, said)
        status, _, said = lines([{"prompt": PROMPT}], "--lora-modules", "a=/nowhere")
        self.assertEqual(status, 1)
        self.assertIn("there is no adapter", said)


if __name__ == "__main__":
    unittest.main()
