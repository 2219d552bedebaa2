#!/usr/bin/env python3
"""batch: several models in one run, within the memory that is allowed, killed and gone on with."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import script_model
from program import LLLM, PATIENCE, run
from test_folder import make_folder

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}<begin>"
SAYS = {"one": ["aa", " ab", " ac"], "two": ["ba", " bb"], "three": ["ca", " cb", " cc", " cd"]}


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


class Models(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = pathlib.Path(held.name)
        self.paths = {name: script_model.write(self.folder / f"{name}.gguf",
                                               {"<begin>": pieces}, TEMPLATE)
                      for name, pieces in SAYS.items()}
        self.input = self.folder / "in.jsonl"
        self.output = self.folder / "out.json"

    def write(self, models, **more):
        self.input.write_text("\n".join(json.dumps(
            {"prompt": f"q{i}", **({"model": m} if m else {}), **more})
            for i, m in enumerate(models)))

    def batch(self, *options, models="two,three"):
        named = [f"{self.paths.get(m.split('=')[-1], m.split('=')[-1])}" for m in models.split(",")]
        named = [m.split("=")[0] + "=" + p if "=" in m else p
                 for m, p in zip(models.split(","), named)]
        return run("batch", self.paths["one"], "--models", ",".join(named), "--input", self.input,
                   *options)

    def needs(self, name):
        plan = json.loads(run("run", self.paths.get(name, name), "x", "--plan", "--json").stdout)
        return plan["plan"]["total_bytes"]

    def test_lines_choose(self):
        names = ["one", "two", "three.gguf", None, str(self.paths["two"]), "alias", "one"]
        said = ["one", "two", "three", "one", "two", "three", "one"]
        self.write(names)
        done = self.batch("--json", models="two,alias=three")
        self.assertEqual(done.returncode, 0, done.stderr)
        document = json.loads(done.stdout)
        self.assertEqual([r["content"] for r in document["results"]],
                         ["".join(SAYS[s]) for s in said])
        self.assertEqual([r.get("model") for r in document["results"]], names)
        self.assertEqual(document["figures"]["models"], 3)

    def test_a_folder(self):
        """By its path, or by its name alone."""
        folder = make_folder(self.folder / "Tiny")
        self.write(["Tiny", "one", str(folder)], max_tokens=3, seed=1)
        done = run("batch", self.paths["one"], "--models", folder, "--input", self.input)
        self.assertEqual(done.returncode, 0, done.stderr)
        first, _, third = rows(done.stdout)
        alone = run("run", folder, "q0", "-n", 3, "--seed", 1, "-q").stdout
        self.assertEqual(first["content"], alone)
        self.assertEqual(third["model"], str(folder))

    def test_only_the_models_of_the_command_line(self):
        self.write(["one", str(self.paths["three"]), "three", "starter", "two"])
        done = self.batch(models="two")
        self.assertEqual(done.returncode, 1)
        answers = rows(done.stdout)
        self.assertEqual(["error" in a for a in answers], [False, True, True, True, False])
        for a in answers[1:4]:
            self.assertIn("(there are: one.gguf, one, two.gguf, two)", a["error"])
        for models, status, words in (("nothing", 1, "no model"), ("", 2, "empty"),
                                      ("a=", 2, "empty"), ("=two", 2, "empty"),
                                      ("one=two", 2, "two models")):
            done = run("batch", self.paths["one"], "--models",
                       models.replace("two", str(self.paths["two"])), "--prompts", "x")
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(words, done.stderr)

    def test_memory(self):
        self.write([list(SAYS)[i % 3] for i in range(40)], temperature=1)
        free = self.batch("--seed", 1, "--json")
        self.assertEqual(free.returncode, 0, free.stderr)
        most = max(map(self.needs, SAYS))
        for room, at_once in ((int(1.2 * most), 1), (None, 3)):
            done = self.batch("--seed", 1, "--json", "--parallel", 4, "--memory",
                              f"{room}" if room else "none")
            self.assertEqual(done.returncode, 0, done.stderr)
            document = json.loads(done.stdout)
            self.assertEqual(document["results"], json.loads(free.stdout)["results"])
            self.assertEqual(document["figures"]["models_at_once"], at_once)
        done = self.batch("--memory", int(0.9 * most))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("--memory allows", done.stderr)

    def kill(self, *options, at_least):
        """A run that is killed when the journal has so many answers; the lines of that."""
        journal = self.folder / "out.json.journal"
        process = subprocess.Popen([LLLM, "batch", self.paths["one"], "--models", "big=starter",
                                    "--input", self.input, "--output", self.output,
                                    *map(str, options)], stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > at_least:
                process.kill()
            time.sleep(0.002)
        process.communicate()
        self.assertFalse(self.output.exists(), "the run was over before it could be killed")
        return rows(journal.read_text().rpartition("\n")[0])

    def test_what_was_no_fault_of_a_line_is_tried_again(self):
        """A model without room is the error of its lines, but not for the run that goes on."""
        lines = [{"prompt": "a", "model": "big", "max_tokens": 1}] * 2
        lines += [{"prompt": "a", "model": "big", "what": 1}]
        lines += [{"prompt": "a", "n": 8, "ignore_eos": True, "max_tokens": 100}] * 60
        self.input.write_text("\n".join(map(json.dumps, lines)))
        room = int(1.2 * self.needs("one"))
        journal = self.kill("--seed", 1, "--memory", room, at_least=3)
        self.assertEqual([line.get("again") for line in journal[1:4]], [True, True, None])
        done = run("batch", self.paths["one"], "--models", "big=starter", "--input", self.input,
                   "--output", self.output, "--seed", 1)
        self.assertEqual(done.returncode, 1)
        answers = json.loads(self.output.read_text())["results"]
        self.assertEqual(["error" in a for a in answers[:4]], [False, False, True, False])
        self.assertIn(f"going on after {len(journal) - 3} of", done.stderr)

    def test_one_that_cannot_answer_stops_no_other(self):
        """It does not fit, or its header is damaged: its lines have the sentence."""
        room = ["--memory", int(1.2 * self.needs("one")), "--parallel", 4]
        self.assertGreater(self.needs("starter"), room[1])
        lines = ["big", "one", "big", None]
        self.write(lines)
        done = self.batch(*room, models="two,big=starter")
        self.assertEqual(done.returncode, 1)
        answers = rows(done.stdout)
        self.assertEqual(["error" in a for a in answers], [m == "big" for m in lines], done.stderr)
        self.assertIn("--memory allows", answers[0]["error"])
        self.assertIn("line 1: starter", done.stderr)
        self.assertEqual(answers[3]["content"], "".join(SAYS["one"]))
        self.paths["two"].write_bytes(self.paths["two"].read_bytes()[:100])
        self.write(["two", "one"])
        done = self.batch(models="two")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(["error" in a for a in rows(done.stdout)], [True, False], done.stderr)
        # The first model, which no line asks for.
        self.paths["one"], self.paths["two"] = self.paths["two"], self.paths["one"]
        self.write(["one", "one"])
        self.assertEqual(self.batch(models="two").returncode, 0)
        # No line can be answered.
        self.write(["big", "two"])
        done = self.batch(*room, models="two,big=starter")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))

    def test_a_model_that_cannot_be_loaded(self):
        # Its header is right, and a tensor is missing: only loading finds that.
        data = bytearray(self.paths["two"].read_bytes())
        at = data.find(b"blk.0.ffn_up.weight")
        data[at:at + 5] = b"blk.7"
        self.paths["two"].write_bytes(data)
        self.write(["one", "two", "one", "two"])
        done = self.batch(models="two")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(["error" in a for a in rows(done.stdout)], [False, True, False, True])
        self.assertIn("2 of 4 prompts have no answer", done.stderr)

    def test_a_name_that_comes_to_mean_another(self):
        """All models stay what they are, and the journal's answers under that name do not count."""
        many = 300  # so that it is still at work when it is killed, on a busy machine too
        self.write(["one", "two", "three", "x"] * many)
        journal = pathlib.Path(f"{self.output}.journal")
        how = ["--output", self.output, "--seed", 1]
        process = subprocess.Popen(
            [LLLM, "batch", self.paths["one"], "--models",
             f"{self.paths['two']},{self.paths['three']},x={self.paths['two']}", "--input",
             self.input, "--parallel", "1", *map(str, how)], stderr=subprocess.DEVNULL)
        while process.poll() is None and not (journal.exists() and
                                              journal.read_bytes().count(b"\n") > 12):
            time.sleep(0.001)
        process.kill()
        process.wait()
        self.assertFalse(self.output.exists())
        done = self.batch(*how, models="three,two,x=three")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("going on after", done.stderr)
        results = json.loads(self.output.read_text())["results"]
        self.assertEqual([r["content"] for r in results],
                         ["".join(SAYS[n]) for n in ("one", "two", "three", "three")] * many)

    def interrupt(self, number, *options, at_least):
        journal = pathlib.Path(f"{self.output}.journal")
        process = subprocess.Popen(
            [LLLM, "batch", "starter", "--models", f"{self.paths['two']},other={self.other}",
             "--input", self.input, "--output", self.output, *map(str, options)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > at_least:
                process.send_signal(number)
                break
            time.sleep(0.002)
        self.assertIn(process.wait(), (130, -number))
        self.assertFalse(self.output.exists())
        return journal.read_bytes().count(b"\n")

    def test_killed_and_gone_on_with(self):
        starter = pathlib.Path(__file__).resolve().parents[2] / "models/starter/starter.gguf"
        self.other = self.folder / "other.gguf"
        shutil.copy(starter, self.other)
        models = ["starter", "other", "two", None]
        self.write([models[i % 4] for i in range(48)], temperature=1, max_tokens=40)
        how = ["--seed", 3, "--parallel", 4]

        def whole(path):
            return run("batch", "starter", "--models", f"{self.paths['two']},other={self.other}",
                       "--input", self.input, "--output", path, *how, "--json")
        want = self.folder / "want.json"
        done = whole(want)
        self.assertEqual(done.returncode, 0, done.stderr)
        n = self.interrupt(signal.SIGINT, *how, at_least=3)
        n = self.interrupt(signal.SIGKILL, *how, at_least=n + 2)
        # The same content by another name is the same model ...
        self.other = self.other.rename(self.folder / "renamed.gguf")
        done = whole(self.output)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreaterEqual(json.loads(done.stdout)["resumed"], n - 2)
        self.assertEqual(self.output.read_bytes(), want.read_bytes())
        # ... and another one of the same name and size is not.
        self.output.unlink()
        self.interrupt(signal.SIGKILL, *how, at_least=3)
        data = bytearray(self.other.read_bytes())
        data[-4:] = struct.pack("<f", 0.125)
        self.other.write_bytes(data)
        done = whole(self.output)
        self.assertEqual(done.returncode, 1)
        self.assertIn("holds answers of another run", done.stderr)


if __name__ == "__main__":
    unittest.main()
