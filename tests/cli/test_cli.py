#!/usr/bin/env python3
"""The command line's contract, by command: help, wrong usage, failures, JSON, interrupts."""
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time
import unittest

import program
from program import LLLM, PATIENCE, run

VERBS = re.findall(r"^  (\w+) {2,}\S", run().stdout.split("Commands\n")[1].split("\n\n")[0], re.M)

# What is missing or wrong: exit 2 and one sentence.
WRONG = [
    ["nonsense"], ["shwo"], ["--nonsense"], ["help", "nonsense"], ["help", "run", "show"],
    ["run", "a", "b", "c"], ["run", "-m"], ["run", "-p"], ["run", "--temp", "warm", "x"],
    ["run", "--temp", "-1", "x"], ["run", "--temp", "nan", "x"], ["run", "--temp=", "x"],
    ["run", "--top-p", "1.5", "x"], ["run", "--seed", "-1", "x"], ["run", "--seed", "9" * 30, "x"],
    ["run", "--max-tokens", "1e3", "x"], ["run", "--raw=yes", "x"], ["run", "--quite", "x"],
    ["run", "-p", "x", "-f", "y"], ["run", "--raw", "--system", "s", "x"],
    ["run", "-p", "x", "x y"], ["run", "-f", "x", "y"], ["run", "--repeat-penalty", "0", "x"],
    ["run", "--interactive", "--json", "x"], ["run", "--threads", "257", "x"],
    ["run", "--threads", " 1", "x"], ["run", "--cpu-mask", "fast", "x"], ["show"],
    ["show", "a", "b"], ["show", "--gpu-layers", "1", "a"], ["list", "a"], ["tokenize"],
    ["tokenize", "m", "t", "-f", "f"], ["tokenize", "m", "t", "u"],
    ["tokenize", "m", "t", "--no-special", "--parse-special"], ["logits"],
    ["logits", "m", "--top", "0", "t"], ["logits", "m", "t", "--ids", "1"], ["import"],
    ["import", "a.bin", "--tokenizer", "t.bin"],
    ["import", "a.bin", "--tokenizer", "t.bin", "-o", "x", "--type", "q9"],
    ["run", "-\x01\x1b[2J"], ["show", "--\xe9"], ["run", "--stop", "", "x"],
    ["batch", "--stop=", "starter"], ["run", "--lora", "", "x"],
]

# What users of other programs type, and what they are told.
FOREIGN = [
    ("--ctx-size", "--context-size"), ("--num-ctx", "--context-size"),
    ("--num_ctx", "--context-size"), ("--max-model-len", "--context-size"),
    ("-c", "--context-size"), ("-c4096", "--context-size"), ("--n-predict", "--max-tokens"),
    ("--num-predict=5", "--max-tokens"), ("--model-draft", "--draft"),
    ("--guided-json", "--json-schema"), ("--json-schema-file", "--json-schema"),
    ("--guided-regex", "--regex"), ("--guided-choice", "--choices"),
    ("--guided-grammar", "--grammar"), ("--grammar-file", "--grammar"),
    ("--format", "--json-format"), ("-t", "--threads"), ("--top-P", "--top-p"),
    ("--top_p", "--top-p"), ("--TOP-K", "--top-k"),
]


def wait_for_handler(pid):
    """Until the process catches SIGINT."""
    status = pathlib.Path(f"/proc/{pid}/status")
    for _ in range(200 if status.exists() else 20):
        caught = re.search(r"SigCgt:\s*(\w+)", status.read_text()) if status.exists() else None
        if caught and int(caught[1], 16) & 1 << (signal.SIGINT - 1):
            return
        time.sleep(0.05)


class Usage(unittest.TestCase):
    def one_line(self, done, status, arguments):
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stderr}")
        self.assertRegex(done.stderr, r"\Alllm: [^\x00-\x1f]+\n\Z", arguments)

    def test_overview(self):
        self.assertTrue({"run", "show", "list", "tokenize", "logits", "import"} <= set(VERBS))
        for arguments in ([], ["-h"], ["--help"], ["help"]):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for verb in VERBS:
                self.assertRegex(done.stdout, rf"(?m)^  {verb} ")

    def test_version(self):
        self.assertRegex(run("--version").stdout, r"\Alllm \d+\.\d+\.\d+\n\Z")

    def test_every_verb_has_help_with_an_example(self):
        for verb in VERBS:
            for arguments in ([verb, "-h"], [verb, "--help"], ["help", verb], [verb, "x", "-h"]):
                done = run(*arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
                self.assertIn(f"\nExamples\n  lllm {verb}", done.stdout)
                threads = "--threads LIST" if verb == "bench" else "--threads N"
                for option in ("--json", threads, "--cpu-mask", "--quiet", "-v, ", "-h, "):
                    self.assertIn(option, done.stdout)
                self.assertLessEqual(max(map(len, done.stdout.splitlines())), 90, arguments)

    def test_every_verb_refuses_an_unknown_option(self):
        for verb in VERBS:
            for option in ("--no-such-thing", "--jsn", "-Z"):
                self.one_line(run(verb, option), 2, [verb, option])
            self.assertIn("did you mean --json?", run(verb, "--jsn").stderr)

    def test_wrong_usage(self):
        for arguments in WRONG:
            done = run(*arguments)
            self.one_line(done, 2, arguments)
            self.assertEqual(done.stdout, "")

    def test_nearest_names(self):
        for typed, meant in (("shwo", "show"), ("tokenise", "tokenize"), ("logit", "logits"),
                              ("rnu", "run"), ("SHOW", "show")):
            self.assertIn(f"did you mean {meant}?", run(typed).stderr)
        self.assertNotIn("did you mean", run("qwertyuiop").stderr)

    def test_names_of_other_programs(self):
        for typed, meant in FOREIGN:
            done = run("run", typed, "8")
            self.one_line(done, 2, typed)
            self.assertIn(f"; did you mean {meant}? ", done.stderr, typed)
        for typed in ("-ngl", "--n-gpu-layers"):
            self.assertIn("no GPU layers to choose", run("run", typed, "99").stderr)
        # A command without ours proposes none that is something else.
        for verb, typed in (("embed", "--model-draft"), ("show", "--json-schema-file"),
                            ("list", "-c"), ("list", "--format")):
            done = run(verb, typed, "x")
            self.one_line(done, 2, [verb, typed])
            self.assertNotIn("did you mean", done.stderr)
        for verb in ("run", "batch", "infill"):
            self.assertIn('not "-1"; 0 is without end', run(verb, "-n", "-1").stderr)
        self.assertNotIn("without end", run("run", "-n", "-2").stderr)
        self.assertNotIn("without end", run("run", "--context-size", "-1").stderr)

    def test_missing_files(self):
        for arguments in (["run", "-m", "no-such.gguf", "-p", "x"], ["show", "no-such.gguf"],
                          ["show", "no-such-model"], ["run", "./no-such/m.gguf", "x"],
                          ["tokenize", "no-such.gguf", "x"], ["logits", "no-such.gguf", "x"],
                          ["show", "/dev/null"], ["show", "/"], ["show", ""],
                          ["run", "no-such.gguf"], ["run", "no/such"],
                          ["import", "no.bin", "--tokenizer", "no.bin", "-o", "/tmp/no.gguf"],
                          ["import", "no.bin", "-o", "/tmp/no.gguf"],
                          ["show", "new\nline\x1b[2J.gguf"],
                          ["run", "-f", "no-such.txt", "-m", "/"], ["show", "x" * 3000]):
            self.one_line(run(*arguments), 1, arguments)

    def test_where_models_are_looked_for(self):
        for environment, folder in (({"LLLM_HOME": "/a"}, "/a/models"),
                                    ({"LLLM_HOME": "", "XDG_CACHE_HOME": "/b"},
                                     "/b/lllm-lab/models"),
                                    ({"LLLM_HOME": "", "XDG_CACHE_HOME": "", "HOME": "/c"},
                                     "/c/.cache/lllm-lab/models")):
            self.assertIn(f" in {folder};", run("show", "nothing", environment=environment).stderr)

    def test_no_control_characters_reach_the_terminal(self):
        for name, shown in (("a\u009b31mb\u0085c.gguf", "a 31mb c.gguf"),
                            ("tab\tdel\x7f.gguf", "tab del .gguf"),
                            (os.fsdecode(b"a\xffb\xc3.gguf"), "a\\xFFb\\xC3.gguf"),
                            ("é\u00a0中.gguf", "é\u00a0中.gguf")):
            done = subprocess.run([LLLM, "show", name], capture_output=True, check=False)
            message = done.stderr.decode(errors="surrogateescape")
            self.assertIn(shown, message)
            self.assertRegex(message, r"\Alllm: [^\x00-\x1f\x7f-\x9f]+\n\Z")
        for n in range(4):  # a sentence that is cut ends with a whole character
            self.assertNotIn("\\x", run("x" * n + "\U0001f600" * 900).stderr)

    def test_more_threads_than_processors(self):
        done = run("list", "--threads", "256")
        if (os.cpu_count() or 1) < 256:
            self.assertRegex(done.stderr, r"\Alllm: 256 threads on \d+ processors?: ")
        self.assertEqual(run("list", "--threads", "256", "--quiet").stderr, "")
        self.assertEqual(run("list", "--threads", "1", "--quiet").stderr, "")

    def test_usage_has_single_spaces(self):
        for verb in VERBS:
            usage = run(verb, "-h").stdout.split("Usage\n")[1].split("\n")[0]
            self.assertRegex(usage, rf"\A  lllm {verb}( \S+)* \[OPTIONS\]\Z")

    def test_cpu_mask_of_the_environment(self):
        self.one_line(run("list", environment={"LLLM_CPU_MASK": "fast"}), 2, "LLLM_CPU_MASK")

    def test_malformed_files(self):
        files = [f for f in sorted(program.CORPUS.glob("*.gguf")) if not f.name.startswith("ok_")]
        self.assertGreater(len(files), 50)
        for f in files:
            self.one_line(run("show", f), 1, f.name)
        for f in files[::9]:
            for arguments in (["run", "-m", f, "-p", "x"], ["tokenize", f, "x"],
                              ["logits", f, "x"]):
                self.one_line(run(*arguments), 1, arguments)

    def test_files_that_are_no_models(self):
        for f in sorted(program.CORPUS.glob("ok_*.gguf")):
            self.assertEqual(run("show", f).returncode, 0, f.name)
            facts = run("show", f, "--json", "--tensors", "--metadata").stdout
            self.assertIsInstance(json.loads(facts), dict)
            self.one_line(run("run", "-m", f, "-p", "x"), 1, f.name)
            self.one_line(run("tokenize", f, "x"), 1, f.name)

    def test_output_that_cannot_be_written(self):
        for arguments in (["list", "--json"], ["-h"], ["run", "-h"]):
            if pathlib.Path("/dev/full").exists():
                with open("/dev/full", "w", encoding="utf-8") as full:
                    done = subprocess.run([LLLM, *arguments], stdout=full, stderr=subprocess.PIPE,
                                          text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"\Alllm: standard output [^\n]+\n\Z")
            read, write = os.pipe()
            os.close(read)
            done = subprocess.run([LLLM, *arguments], stdout=write, stderr=subprocess.PIPE,
                                  text=True, check=False)
            os.close(write)
            self.assertEqual((done.returncode, done.stderr), (1, ""))


class List(program.TemporaryFolder):
    def test_folder(self):
        models = self.folder / "models"
        models.mkdir()
        ok = (program.CORPUS / "ok_tensors.gguf").read_bytes()
        (models / "zeta.gguf").write_bytes(ok)
        (models / "alpha.gguf").write_bytes(b"not a model")
        (models / "notes.txt").write_text("x")
        rows = json.loads(run("list", "--json", home=self.folder).stdout)
        self.assertEqual(rows["folder"], str(models))
        here = {m["name"]: m for m in rows["models"]}
        self.assertEqual([m["name"] for m in rows["models"] if not m["built_in"]],
                         ["alpha", "zeta"])
        self.assertIn("GGUF", here["alpha"]["error"])
        self.assertEqual(here["zeta"]["size_bytes"], len(ok))
        text = run("list", home=self.folder)
        self.assertEqual(text.returncode, 0)
        self.assertRegex(text.stdout, r"(?m)^zeta .*Q8_0")
        for name in ("zeta", "zeta.gguf"):
            self.assertEqual(run("show", name, home=self.folder).returncode, 0)
        self.assertIn("did you mean zeta?", run("show", "zetta", home=self.folder).stderr)
        for arguments in (["run", "ZETA"], ["show", "ZETA"]):
            done = run(*arguments, home=self.folder)
            self.assertEqual(done.returncode, 1)
            self.assertIn("did you mean zeta?", done.stderr)
        for arguments, hint in ((["hello", "world"], True), (["hello.gguf", "world"], False),
                                (["-m", "hello", "world"], False)):
            done = run("run", *arguments, home=self.folder)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
            self.assertEqual("needs quotes" in done.stderr, hint, arguments)
        (models / "d.gguf").mkdir()
        done = run("show", "d", home=self.folder)
        self.assertIn('no model "d"', done.stderr)
        self.assertNotIn("did you mean", done.stderr)
        self.assertIn("is a folder; ", run("run", models, home=self.folder).stderr)

    def test_starter(self):
        models = json.loads(run("list", "--json").stdout)["models"]
        names = [m["name"] for m in models if m["built_in"]]
        done = run("show", "starter", "--json", home=self.folder / "empty")
        if not names:
            self.assertEqual(done.returncode, 1)
            self.assertIn("this build has no built-in model", done.stderr)
            self.skipTest("this build has no built-in model")
        self.assertEqual(names, ["starter"])
        facts = json.loads(done.stdout)
        self.assertTrue(facts["built_in"])
        self.assertIn("task", facts["description"])
        answer = json.loads(run("run", "--json", "--temp", "0", "--max-tokens", "8",
                                "What a fine film!").stdout)
        self.assertEqual(answer["model"], "starter")
        self.assertTrue(answer["content"])


class WithModel(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "models").mkdir()
        cls.model = program.import_stories(cls.folder / "models")

    def lllm(self, *arguments, **how):
        return run(*arguments, home=self.folder, **how)

    def test_run_json(self):
        done = self.lllm("run", self.model, "Once", "--raw", "--json", "--seed", "7",
                         "--max-tokens", "5")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        answer = json.loads(done.stdout)
        self.assertEqual(set(answer), {"model", "content", "reasoning", "tool_calls",
                                       "finish_reason", "stop_string", "usage", "timings", "seed"})
        self.assertEqual(answer["usage"], {"prompt_tokens": 2, "completion_tokens": 5})
        self.assertEqual((answer["finish_reason"], answer["seed"]), ("length", 7))
        self.assertEqual(set(answer["timings"]),
                         {"load_ms", "prefill_tokens_per_second", "decode_tokens_per_second",
                          "first_token_ms", "total_ms"})
        again = json.loads(self.lllm("run", self.model, "Once", "--raw", "--json", "--seed", "7",
                                     "--max-tokens", "5", "--threads", "2").stdout)
        self.assertEqual(again["content"], answer["content"])

    def test_what_the_arguments_mean(self):
        greedy = ["--raw", "--quiet", "--temp", "0", "--max-tokens", "4"]
        expected = self.lllm("run", self.model, "Once", *greedy).stdout
        self.assertTrue(expected)
        (self.folder / "prompt.txt").write_text("Once\n")
        for arguments, stdin in ((["stories", "Once"], ""), (["-m", "stories", "Once"], ""),
                                 (["-p", "Once", "stories.gguf"], ""), (["stories"], "Once\n"),
                                 (["-m", "stories"], "Once"), (["-mstories", "--prompt=Once"], ""),
                                 (["stories", "-f", self.folder / "prompt.txt"], ""),
                                 (["-m", "stories", "--", "Once"], "")):
            done = self.lllm("run", *greedy, *arguments, stdin=stdin)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, expected, ""),
                             arguments)

    def test_no_template(self):
        done = self.lllm("run", "stories", "Once", "--temp", "0", "--max-tokens", "4")
        self.assertEqual(done.returncode, 0)
        self.assertIn("has no chat template", done.stderr)
        done = self.lllm("run", "stories", "--interactive")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_empty_standard_input(self):
        done = self.lllm("run", "stories", "--raw")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("standard input is empty", done.stderr)

    def test_empty_prompts(self):
        (self.folder / "none.txt").write_text("\n")
        for arguments, status in ((["-f", "-"], 1), (["-p", ""], 1), (["-m", "stories", ""], 1),
                                  (["-f", self.folder / "none.txt"], 1), ([], 1),
                                  (["--raw", "-p", ""], 0), (["--raw", "-f", "-"], 0)):
            model = [] if "-m" in arguments else ["stories"]
            done = self.lllm("run", *model, *arguments, "--max-tokens", "1", "--quiet")
            self.assertEqual(done.returncode, status, arguments)
            self.assertEqual("there is no prompt: " in done.stderr, status == 1, arguments)
        (self.folder / "empty.gguf").touch()
        self.assertIn("file is empty", self.lllm("run", self.folder / "empty.gguf").stderr)

    def test_answer_that_fills_the_context(self):
        how = ["run", "stories", "Once", "--raw", "--temp", "0", "--ignore-eos", "--context-size",
               "16"]
        note = "because the context of 16 tokens is full"
        self.assertIn(note, self.lllm(*how).stderr)
        self.assertNotIn(note, self.lllm(*how, "--max-tokens", "4").stderr)
        self.assertEqual(self.lllm(*how, "--quiet").stderr, "")

    def test_answer_that_cannot_be_written(self):
        command = [LLLM, "run", self.model, "Once", "--raw", "--max-tokens", "4", "--quiet"]
        for target in (["/dev/full"] if pathlib.Path("/dev/full").exists() else []) + ["&-"]:
            done = subprocess.run(["sh", "-c", f'"$0" "$@" >{target}', *command],
                                  stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr,
                             r"\Alllm: standard output cannot be written: [^\n]+\n\Z")

    def test_standard_input_is_read_where_it_stands(self):
        how = ["tokenize", "stories", "--ids", "--no-special"]
        expected = self.lllm(*how, "the cat sat").stdout
        story = ["run", "stories", "--raw", "--quiet", "--temp", "0", "--max-tokens", "4"]
        told = self.lllm(*story, "the cat sat").stdout
        self.assertTrue(expected and told)
        env = dict(os.environ, LLLM_HOME=str(self.folder))
        text = self.folder / "lines.txt"
        text.write_text("first line\nthe cat sat")
        for arguments, output in ((how, expected), ([*how, "-f", "-"], expected), (story, told)):
            with open(text, "rb", buffering=0) as file:
                self.assertEqual(file.read(11), b"first line\n")
                done = subprocess.run([LLLM, *arguments], stdin=file, env=env, capture_output=True,
                                      text=True, check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, output, ""))
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.sendall(b"the cat sat")
                ours.shutdown(socket.SHUT_WR)
                done = subprocess.run([LLLM, *arguments], stdin=theirs, env=env, text=True,
                                      capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, output, ""))
            folder = os.open(self.folder, os.O_RDONLY)
            done = subprocess.run([LLLM, *arguments], stdin=folder, env=env, capture_output=True,
                                  text=True, check=False)
            os.close(folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"\Alllm: cannot read standard input: [^\n]+\n\Z")

    def test_architecture_of_many_bytes(self):
        data = self.model.read_bytes()
        for name, cut in (("x" + "é" * 34, "é\" is not supported"), ("x\u009b" + "y" * 66, "x y"),
                          ("\U0001f600" * 9 + "z" * 33, "z\" is not supported")):
            name = name.encode()
            self.assertEqual(len(name), 69)  # 64 more than "llama": the tensor data stays aligned
            before = b"general.architecture" + struct.pack("<IQ", 8, 5) + b"llama"
            after = b"general.architecture" + struct.pack("<IQ", 8, 69) + name
            self.assertEqual(data.count(before), 1)
            path = self.folder / "other.gguf"
            path.write_bytes(data.replace(before, after))
            done = self.lllm("run", path, "x")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(cut, done.stderr)
            self.assertRegex(done.stderr, r"\Alllm: [^\x00-\x1f\x7f-\x9f\\]+\n\Z")

    def test_stop(self):
        done = self.lllm("run", "stories", "", "--raw", "--temp", "0", "--quiet", "--stop", "park",
                         "--stop", "girl named")
        self.assertEqual(done.stdout, "Once upon a time, there was a little ")

    def test_prompt_that_is_too_long(self):
        done = self.lllm("run", "stories", "the cat " * 600, "--raw")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))

    def test_gpu_layers(self):
        how = ["run", "stories", "", "--raw", "--temp", "0", "--max-tokens", "2", "--quiet"]
        self.assertIn("no GPU", self.lllm(*how, "--gpu-layers", "3").stderr)
        self.assertEqual(self.lllm(*how, "--gpu-layers", "0").stderr, "")
        self.assertEqual(self.lllm(*how, "--gpu-layers", "-1", "--cpu-only").stderr, "")

    def test_context_and_batch_size(self):
        text = "One day, a little cat saw a big ball in the park and was happy. "
        answers = {self.lllm("run", "stories", text, "--raw", "--temp", "0", "--max-tokens", "9",
                             "--quiet", "--batch-size", n, "--context-size", c).stdout
                   for n in (1, 7, 256) for c in (64, 512)}
        self.assertEqual(len(answers), 1)

    def test_kv_type(self):
        """Numbers of every type, the same in any steps; f16 for answers, f32 for the windows."""
        text = "One day, a little cat saw a big ball in the park and was happy. "
        def answer(*options):
            return self.lllm("run", "stories", text, "--raw", "--temp", "0", "-n", "9", "-q",
                             *options).stdout
        def rows(*options):
            return self.lllm("logits", "stories", text, "--json", *options).stdout
        self.assertEqual(answer(), answer("--kv-type", "f16", "--batch-size", "3"))
        self.assertEqual(rows(), rows("--kv-type", "f32"))
        self.assertEqual(rows("--kv-type", "f16"), rows("--kv-type=f16", "--batch-size", "5"))
        self.assertNotEqual(rows(), rows("--kv-type", "f16"))
        wrong = self.lllm("run", "stories", text, "--kv-type", "q4_0")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("f32, f16, q8_0", wrong.stderr)
        narrow = self.lllm("run", "stories", text, "--kv-type", "q8_0")
        self.assertEqual(narrow.returncode, 1)
        self.assertIn("32 dimensions, and the model's have 8", narrow.stderr)

    def test_show(self):
        facts = json.loads(self.lllm("show", "stories", "--json", "--tensors", "--metadata").stdout)
        self.assertEqual(facts["parameters"], 260032)
        self.assertEqual(facts["quantization"], "F32")
        config = facts["config"]
        self.assertEqual([config[k] for k in ("context", "layers", "heads", "kv_heads", "embedding",
                                              "feed_forward")], [512, 5, 8, 4, 64, 172])
        memory = config["memory"][-1]
        self.assertEqual((memory["kv_type"], memory["kv_cache_bytes"]),
                         ("f16", 512 * 5 * 2 * 32 * 2))
        self.assertEqual(len(facts["tensors"]), 47)
        self.assertEqual(facts["tokenizer"]["tokens"], 512)
        self.assertIsNone(facts["chat_template"])
        text = self.lllm("show", "stories", "--tensors").stdout
        self.assertIn("blk.4.ffn_down.weight", text)
        self.assertEqual(self.lllm("show", "stories", "--template").returncode, 1)

    def test_tokenize(self):
        done = self.lllm("tokenize", "stories", "Zoo <s>é", "--json")
        tokens = json.loads(done.stdout)
        self.assertEqual(tokens["count"], len(tokens["ids"]))
        self.assertEqual(tokens["ids"][0], 1)
        self.assertEqual(tokens["ids"].count(1), 1)
        ends = [(t["start"], t["end"]) for t in tokens["tokens"]]
        self.assertEqual((ends[0], ends[-1][1]), ((0, 0), len("Zoo <s>é".encode())))
        self.assertTrue(all(a[1] == b[0] for a, b in zip(ends, ends[1:])), ends)
        plain = self.lllm("tokenize", "stories", "Zoo <s>é", "--ids", "--no-special").stdout
        self.assertEqual(plain, " ".join(map(str, tokens["ids"][1:])) + "\n")
        special = self.lllm("tokenize", "stories", "Zoo <s>é", "--ids", "--parse-special").stdout
        self.assertEqual(special.split().count("1"), 2)
        piped = self.lllm("tokenize", "stories", "--ids", "--no-special", stdin="Zoo <s>é").stdout
        self.assertEqual(piped, plain)
        back = self.lllm("tokenize", "stories", "--decode", stdin=plain.replace(" ", ", "))
        self.assertEqual(back.stdout, "Zoo <s>é")
        table = self.lllm("tokenize", "stories", "a\tb").stdout
        self.assertIn("\\t", table)
        for ids in ("512", "-1", "x", "99999999999999999999", "1.5"):
            done = self.lllm("tokenize", "stories", "--decode", "--", ids)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), ids)

    def test_tokenize_folder(self):
        """A folder with the files of a tokenizer is enough."""
        golden = pathlib.Path(__file__).resolve().parent.parent / "tokenizer" / "golden"
        for name in ("bpe-characters", "unigram-spm"):
            ids = self.lllm("tokenize", golden / name, "The king, café", "--ids").stdout
            back = self.lllm("tokenize", golden / name, "--decode", stdin=ids)
            self.assertEqual((back.returncode, back.stdout), (0, "The king, café"), name)
        done = self.lllm("tokenize", golden, "x")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("tokenizer.json", done.stderr)

    def test_logits(self):
        done = self.lllm("logits", "stories", "Zoo", "--top", "3", "--json")
        rows = json.loads(done.stdout)["positions"]
        self.assertEqual([r["position"] for r in rows], list(range(len(rows))))
        for r in rows:
            logits = [t["logit"] for t in r["top"]]
            self.assertEqual((len(logits), logits), (3, sorted(logits, reverse=True)))
        self.assertEqual(self.lllm("logits", "stories", "Zoo").returncode, 0)
        all_of_them = json.loads(self.lllm("logits", "stories", "--ids", "1", "--top", "4000000",
                                           "--json").stdout)["positions"][0]["top"]
        self.assertEqual(sorted(t["id"] for t in all_of_them), list(range(512)))
        for n in (1, 2, 3, 7, 100, 511):
            first = json.loads(self.lllm("logits", "stories", "--ids", "1", "--top", n, "--json")
                               .stdout)["positions"][0]["top"]
            self.assertEqual(first, all_of_them[:n])
        for arguments in (["--ids", "512"], ["--ids", ""], ["the cat " * 600]):
            done = self.lllm("logits", "stories", *arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), arguments)

    def test_equal_logits_go_by_id(self):
        facts = json.loads(self.lllm("show", "stories", "--json", "--tensors").stdout)
        embedding = next(t for t in facts["tensors"] if t["name"] == "token_embd.weight")
        data = bytearray(self.model.read_bytes())
        start, size = embedding["offset"], embedding["size_bytes"]
        data[start:start + size] = bytes(size)  # the output is tied to it: every logit is 0
        flat = self.folder / "flat.gguf"
        flat.write_bytes(data)
        for n in (1, 3, 512):
            top = json.loads(self.lllm("logits", flat, "--ids", "1", "--top", n, "--json")
                             .stdout)["positions"][0]["top"]
            self.assertEqual([t["id"] for t in top], list(range(n)))
            self.assertEqual({t["logit"] for t in top}, {0})

    def test_interrupt(self):
        for arguments, json_too in (([], False), (["--json"], True)):
            with subprocess.Popen([LLLM, "run", self.model, "", "--raw", "--ignore-eos", *arguments,
                                   "--temp", "0", "--context-size", "20000"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
                if json_too:
                    wait_for_handler(p.pid)
                else:
                    self.assertEqual(p.stdout.read(4), "Once")
                p.send_signal(signal.SIGINT)
                out, err = p.communicate(timeout=PATIENCE)
            self.assertEqual(p.returncode, 130)
            if json_too:
                self.assertEqual(json.loads(out)["finish_reason"], "cancelled")
            else:
                self.assertRegex(err, r"interrupted\n\Z")

    def test_reader_that_goes_away(self):
        with subprocess.Popen([LLLM, "run", self.model, "", "--raw", "--ignore-eos", "--temp", "0",
                               "--context-size", "20000", "--quiet"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
            p.stdout.read(4)
            p.stdout.close()
            self.assertEqual(p.wait(timeout=PATIENCE), 1)
            self.assertEqual(p.stderr.read(), "")


class Import(program.TemporaryFolder):
    """Damaged checkpoints: exit 1, one sentence, no file."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        checkpoint, tokenizer = program.stories_checkpoint()
        cls.checkpoint, cls.tokenizer = checkpoint.read_bytes(), tokenizer.read_bytes()

    def refuse(self, checkpoint, tokenizer, why):
        source, pieces, target = (self.folder / n for n in ("c.bin", "t.bin", "out.gguf"))
        source.write_bytes(checkpoint)
        pieces.write_bytes(tokenizer)
        done = run("import", source, "--tokenizer", pieces, "-o", target)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1),
                         f"{why}: {done.stderr}")
        self.assertRegex(done.stderr, r"[ct]\.bin: ", why)
        self.assertFalse(target.exists(), why)

    def test_headers(self):
        for field in range(7):
            for value in (0, -1, -2**31, 2**31 - 1, 7, 1, 0x616b3432):
                if (field, value) in ((5, -1),):
                    continue
                header = list(struct.unpack("<7i", self.checkpoint[:28]))
                if header[field] == value:
                    continue
                header[field] = value
                self.refuse(struct.pack("<7i", *header) + self.checkpoint[28:], self.tokenizer,
                            f"field {field} is {value}")

    def test_lengths(self):
        for n in (0, 1, 27, 28, 29, 1000, len(self.checkpoint) - 1):
            self.refuse(self.checkpoint[:n], self.tokenizer, f"{n} bytes")
        self.refuse(self.checkpoint + b"\0", self.tokenizer, "one byte more")
        for n in (0, 3, 4, 5, 11, 12, 6000, len(self.tokenizer) - 1):
            self.refuse(self.checkpoint, self.tokenizer[:n], f"tokenizer of {n} bytes")
        self.refuse(self.checkpoint, self.tokenizer + b"\0", "tokenizer with one byte more")

    def test_pieces(self):
        for at, value in ((0, 0), (0, -1), (8, -1), (8, 2**31 - 1), (8, 6000)):
            pieces = bytearray(self.tokenizer)
            struct.pack_into("<i", pieces, at, value)
            self.refuse(self.checkpoint, bytes(pieces), f"{value} at {at}")
        pieces = bytearray(self.tokenizer)
        pieces[12:17] = b"\xff\xfe\xfd\xfc\xfb"
        self.refuse(self.checkpoint, bytes(pieces), "no UTF-8")

    def test_wrong_places(self):
        checkpoint, tokenizer = program.stories_checkpoint()
        for source, pieces, target in ((checkpoint, tokenizer, "no/x.gguf"),
                                       (self.folder, tokenizer, "x.gguf"),
                                       (checkpoint, self.folder / "none", "x")):
            arguments = [source, "--tokenizer", pieces, "-o", self.folder / target]
            done = run("import", *arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), arguments)

    def test_untied_output_and_json(self):
        header = list(struct.unpack("<7i", self.checkpoint[:28]))
        header[5] = -header[5]
        source = self.folder / "untied.bin"
        source.write_bytes(struct.pack("<7i", *header) + self.checkpoint[28:] +
                           self.checkpoint[28:28 + 4 * 64 * 512])
        target = self.folder / "untied.gguf"
        _, tokenizer = program.stories_checkpoint()
        done = run("import", source, "--tokenizer", tokenizer, "-o", target, "--json", "--type",
                   "Q8_0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["tensors"], 48)
        self.assertEqual(json.loads(done.stdout)["fallbacks"], 5)
        facts = json.loads(run("show", target, "--json", "--tensors").stdout)
        self.assertFalse(facts["config"]["tied_output"])
        kinds = {t["name"]: t["type"] for t in facts["tensors"]}
        self.assertEqual([kinds[n] for n in ("output.weight", "blk.0.ffn_down.weight",
                                             "output_norm.weight")], ["Q8_0", "F16", "F32"])


class StandardInput(unittest.TestCase):
    def test_read_once(self):
        """Two things that would come from standard input are said, not one of them lost."""
        schema = '{"enum": ["a"]}'
        done = run("run", "starter", "x", "-q", "--json-schema", "-", stdin=schema)
        self.assertEqual((done.returncode, done.stdout), (0, '"a"'))
        for how, names in ((["run", "starter"], "the prompt and --json-schema"),
                           (["run", "starter", "-f", "-"], "the prompt and --json-schema"),
                           (["run", "starter", "-i"], "the chat and --json-schema"),
                           (["run", "starter", "x", "--tools", "-"], "--tools and --json-schema"),
                           (["batch", "starter"], "the prompts and --json-schema"),
                           (["batch", "starter", "--input", "-"], "the prompts and --json-schema")):
            done = run(*how, "--json-schema", "-", stdin=schema)
            self.assertEqual(done.returncode, 2, how)
            self.assertIn(f"{names} cannot both come from standard input", done.stderr)
        done = run("batch", "starter", "-q", "--json-schema", "-", "--prompts", "x", stdin=schema)
        self.assertEqual(done.returncode, 0, done.stderr)


class ShowMemory(unittest.TestCase):
    def test_options_of_memory(self):
        for option in (["--draft", "starter"], ["--sequences", "2"], ["--context-size", "64"]):
            done = run("show", "starter", *option)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f"{option[0]} is about --memory, which is not given", done.stderr)
        for verb in (["show", "starter", "--memory"], ["run", "starter", "x"],
                     ["run", "starter", "--plan"], ["batch", "starter", "--prompts", "x"]):
            done = run(*verb, "--draft", "no-such-model")
            self.assertEqual((done.returncode, done.stdout), (1, ""), verb)
            self.assertTrue(done.stderr.startswith('lllm: --draft: there is no model "no-such-model"'),
                            done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
