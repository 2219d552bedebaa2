#!/usr/bin/env python3
"""`lllm pretrain`: killed at random moments and resumed, it gives the bits of an undisturbed run.

Also: a recipe with a fault is one sentence, Ctrl-C leaves a checkpoint, a checkpoint of another
recipe or a damaged one is refused. LLLM names the program; LLLM_SOAK=1 kills 20 times instead
of 4.
"""
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import time
import unittest

LLLM = os.environ["LLLM"]
KILLS = 20 if os.environ.get("LLLM_SOAK") else 4
WORDS = ("the model reads a token and writes the next one while the cache keeps what it has seen "
         "so that nothing is computed twice").split()


def recipe(folder, **changes):
    """A recipe that takes a second or two."""
    rng = random.Random(5)
    with open(folder / "text.txt", "w", encoding="utf-8") as out:
        out.write(" ".join(rng.choice(WORDS) for _ in range(4000)))
    with open(folder / "chat.jsonl", "w", encoding="utf-8") as out:
        for _ in range(60):
            word = rng.choice(WORDS)
            out.write(json.dumps({"messages": [
                {"role": "user", "content": f"Say {word}."},
                {"role": "assistant", "content": word}]}) + "\n")
    value = {
        "seed": 3,
        "model": {"layers": 2, "embedding": 64, "heads": 4, "kv_heads": 2, "feed_forward": 128,
                  "context": 64},
        "tokenizer": {"pre": "smollm", "tokens": 400},
        "data": {"train": [str(folder / "text.txt"), str(folder / "chat.jsonl")],
                 "valid": [str(folder / "chat.jsonl")]},
        "batch": {"micro_tokens": 128, "lanes": 3},
        "optimizer": {"steps": 120, "warmup_steps": 10},
        "output": {"folder": str(folder / "out"), "type": "q8_0", "checkpoint_every": 7,
                   "validate_every": 50},
    }
    for key, change in changes.items():
        value.setdefault(key, {} if isinstance(change, dict) else change)
        if isinstance(change, dict):
            value[key].update(change)
        else:
            value[key] = change
    path = folder / "recipe.json"
    path.write_text(json.dumps(value))
    return path


def pretrain(path, *more, **options):
    return subprocess.run([LLLM, "pretrain", "--config", str(path), "--threads", "2", *more],
                          capture_output=True, text=True, **options)


def digest(folder):
    return {name: hashlib.sha256((folder / "out" / name).read_bytes()).hexdigest()
            for name in ("checkpoint.bin", "model.gguf")}


class Resume(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def test_killed_run_ends_in_the_same_bits(self):
        """The texts and folders of both runs are the same, so only the kills differ."""
        path = recipe(self.folder)
        started = time.monotonic()
        done = pretrain(path)
        self.assertEqual(done.returncode, 0, done.stderr)
        whole = time.monotonic() - started
        wanted = digest(self.folder)
        for name in wanted:
            (self.folder / "out" / name).unlink()
        rng = random.Random(int(os.environ.get("LLLM_SEED", "11")))
        killed = 0
        while killed < KILLS:
            process = subprocess.Popen([LLLM, "pretrain", "--config", str(path), "--threads", "2"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.02, 0.9 * whole))
            if process.poll() is not None:  # it finished first: start over
                for name in wanted:
                    (self.folder / "out" / name).unlink(missing_ok=True)
                continue
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        done = pretrain(path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(digest(self.folder), wanted)

    def test_killed_while_it_writes(self):
        """A checkpoint after every step: most kills hit the writing. Nothing is left behind."""
        path = recipe(self.folder, output={"checkpoint_every": 1},
                      optimizer={"steps": 40, "warmup_steps": 2})
        self.assertEqual(pretrain(path).returncode, 0)
        wanted = digest(self.folder)
        for name in wanted:
            (self.folder / "out" / name).unlink()
        rng = random.Random(13)
        for _ in range(KILLS):
            process = subprocess.Popen([LLLM, "pretrain", "--config", str(path), "--threads", "2",
                                        "--json"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
            for _ in range(rng.randrange(1, 5)):
                process.stdout.readline()
            time.sleep(rng.uniform(0, 0.01))
            process.kill()
            process.communicate()
        self.assertEqual(pretrain(path).returncode, 0)
        self.assertEqual(digest(self.folder), wanted)
        self.assertEqual(sorted(os.listdir(self.folder / "out")), sorted(wanted))

    def test_resume_with_bf16(self):
        path = recipe(self.folder, precision="bf16", optimizer={"steps": 30, "warmup_steps": 2})
        self.assertEqual(pretrain(path).returncode, 0)
        wanted = digest(self.folder)
        (self.folder / "out" / "checkpoint.bin").unlink()
        process = subprocess.Popen([LLLM, "pretrain", "--config", str(path), "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(17):
            process.stdout.readline()
        process.kill()
        process.communicate()
        self.assertEqual(pretrain(path).returncode, 0)
        self.assertEqual(digest(self.folder), wanted)

    def test_thread_count_does_not_change_the_weights(self):
        path = recipe(self.folder, optimizer={"steps": 12, "warmup_steps": 2})
        pretrain(path, "--threads", "1")
        wanted = digest(self.folder)
        (self.folder / "out" / "checkpoint.bin").unlink()
        pretrain(path, "--threads", "3")
        self.assertEqual(digest(self.folder), wanted)

    def test_loss_falls(self):
        done = pretrain(recipe(self.folder), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        *steps, last = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(os.path.exists(last["model"]))
        self.assertEqual([s["step"] for s in steps], list(range(1, 121)))
        # Random words out of a list of 23: nobody can do better than ln(number of distinct words).
        self.assertGreater(steps[0]["loss"], 5)
        self.assertLess(steps[-1]["loss"], 3.6)

    def template_of(self):
        done = subprocess.run([LLLM, "show", str(self.folder / "out" / "model.gguf"), "--template"],
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def test_chat_template(self):
        """ChatML where there are conversations, none for plain text, or the recipe's own."""
        short = {"steps": 3, "warmup_steps": 1}
        self.assertEqual(pretrain(recipe(self.folder, optimizer=short)).returncode, 0)
        self.assertIn("<|im_start|>", self.template_of())
        plain = recipe(self.folder, optimizer=short, data={"train": [str(self.folder / "text.txt")],
                                                           "valid": []})
        (self.folder / "out" / "checkpoint.bin").unlink()
        self.assertEqual(pretrain(plain).returncode, 0)
        self.assertIsNone(self.template_of())
        own = self.folder / "own.jinja"
        own.write_text("mine: {{ messages[0].content }}")
        given = recipe(self.folder, optimizer=short, output={"chat_template": str(own)})
        (self.folder / "out" / "checkpoint.bin").unlink()
        self.assertEqual(pretrain(given).returncode, 0)
        self.assertEqual(self.template_of().strip(), own.read_text())

    def documents(self, lines, **changes):
        """(documents, tokens) that a file of these lines comes to, or what is wrong with it."""
        (self.folder / "some.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        some = {"train": [str(self.folder / "some.jsonl")], "valid": []}
        path = recipe(self.folder, data=some, optimizer={"steps": 1, "warmup_steps": 0}, **changes)
        (self.folder / "out" / "checkpoint.bin").unlink(missing_ok=True)
        done = pretrain(path)
        found = re.search(r"(\d+) documents, (\d+) tokens", done.stderr)
        return tuple(map(int, found.groups())) if done.returncode == 0 else done.stderr

    def test_cut_answers(self):
        """A cut answer is learned without the token that ends it; only the last one can be cut."""
        self.assertEqual(pretrain(recipe(self.folder, optimizer={"steps": 1, "warmup_steps": 0})
                                  ).returncode, 0)
        vocabulary = self.folder / "vocabulary.gguf"
        (self.folder / "out" / "model.gguf").rename(vocabulary)
        same = {"tokenizer": {"gguf": str(vocabulary)}}
        asked, said = {"role": "user", "content": "Say it."}, {"role": "assistant",
                                                               "content": "the model reads"}
        cut = dict(said, cut=True)
        n, whole = self.documents([{"messages": [asked, said]}] * 9, **same)
        self.assertEqual(n, 9)
        # What ends a turn is one token and the line end, which no answer has, another.
        self.assertEqual(self.documents([{"messages": [asked, cut]}] * 9, **same), (9, whole - 18))
        self.assertIn("some.jsonl:1: only the last message can have \"cut\"",
                      self.documents([{"messages": [asked, cut, asked, said]}], **same))

    def logits_of(self, folder):
        done = subprocess.run([LLLM, "logits", str(self.folder / folder / "model.gguf"), "--json",
                               "--ids", "1 9 30 77 120", "--top", "20"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["positions"]

    def test_begin_with_the_weights_of_a_file(self):
        """With a learning rate of nothing the weights come out as they went in."""
        first = recipe(self.folder, optimizer={"steps": 3, "warmup_steps": 1},
                       output={"type": "f32"})
        self.assertEqual(pretrain(first).returncode, 0)
        begin = str(self.folder / "out" / "model.gguf")
        still = {"steps": 2, "warmup_steps": 0, "learning_rate": 0, "final_learning_rate": 0}
        second = recipe(self.folder, model={"init": begin}, tokenizer={"gguf": begin},
                        optimizer=still,
                        output={"type": "f32", "folder": str(self.folder / "out2")})
        done = pretrain(second)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.logits_of("out2"), self.logits_of("out"))
        other = recipe(self.folder, model={"init": begin, "layers": 3}, tokenizer={"gguf": begin},
                       output={"folder": str(self.folder / "out3")})
        done = pretrain(other, "-q")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        self.assertIn("blk.2.attn_norm.weight", done.stderr)

    def test_one_run_per_folder(self):
        path = recipe(self.folder, optimizer={"steps": 100000, "warmup_steps": 2})
        first = subprocess.Popen([LLLM, "pretrain", "--config", str(path), "--json"],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        first.stdout.readline()
        second = pretrain(path, "-q")
        self.assertEqual(second.returncode, 1)
        self.assertIn("another run", second.stderr)
        first.stdout.close()  # nobody reads any more: it stops by itself
        self.assertEqual(first.wait(timeout=600), 1)

    def test_interrupt_leaves_a_checkpoint(self):
        path = recipe(self.folder, optimizer={"steps": 100000, "warmup_steps": 2},
                      output={"checkpoint_every": 100000})
        process = subprocess.Popen([LLLM, "pretrain", "--config", str(path)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=600)
        self.assertEqual(process.returncode, 130)
        self.assertIn("goes on from", stderr.splitlines()[-1])
        self.assertTrue((self.folder / "out" / "checkpoint.bin").exists())

    def test_other_or_damaged_checkpoints_are_refused(self):
        path = recipe(self.folder, optimizer={"steps": 8, "warmup_steps": 2})
        self.assertEqual(pretrain(path).returncode, 0)
        again = recipe(self.folder, optimizer={"steps": 9, "warmup_steps": 2})
        done = pretrain(again, "-q")
        self.assertEqual(done.returncode, 1)
        self.assertIn("another recipe", done.stderr)
        path = recipe(self.folder, optimizer={"steps": 8, "warmup_steps": 2})
        file = self.folder / "out" / "checkpoint.bin"
        data = bytearray(file.read_bytes())
        data[1000] ^= 1
        file.write_bytes(data)
        done = pretrain(path, "-q")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        self.assertIn("damaged", done.stderr)
        file.write_bytes(data[:-100])
        self.assertIn("cut off", pretrain(path, "-q").stderr)
        file.write_bytes(data[:20])
        self.assertIn("not a training checkpoint", pretrain(path, "-q").stderr)

    def test_faults_of_a_recipe_are_one_sentence(self):
        cases = [
            ({"model": {"layer": 3}}, 'unknown key "model.layer"'),
            ({"modle": {"layers": 3}}, 'unknown section "modle"'),
            ({"model": {"layers": 0}}, "between 1 and 256"),
            ({"model": {"layers": "two"}}, "must be a whole number"),
            ({"model": {"heads": 5}}, "model.embedding"),
            ({"model": {"kv_heads": 3}}, "multiple of model.kv_heads"),
            ({"batch": {"micro_tokens": 32}}, "at least model.context"),
            ({"output": {"type": "q9_9"}}, "q9_9"),
            ({"data": {"train": ["/nonexistent.txt"]}}, "/nonexistent.txt"),
            ({"data": {"loss_on": "some"}}, "loss_on"),
            ({"precision": "f64"}, "precision"),
            ({"data": {"loss_on": "answers"}}, "has no answers"),
            ({"optimizer": {"warmup_steps": 500}}, "below optimizer.steps"),
            ({"output": {"chat_template": str(self.folder / "bad.jinja")}}, "bad.jinja"),
            ({"data": {"train": []}}, "names no file"),
            ({"tokenizer": {"pre": "no-such"}}, "no-such"),
        ]
        (self.folder / "bad.jinja").write_text("{% for %}")
        for change, words in cases:
            with self.subTest(words):
                done = pretrain(recipe(self.folder, **change), "-q")
                self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1),
                                 done.stderr)
                self.assertIn(words, done.stderr)
        path = self.folder / "broken.json"
        path.write_text('{"seed": ')
        self.assertIn("broken.json:1", pretrain(path, "-q").stderr)
        bad = self.folder / "bad.jsonl"
        bad.write_text('{"messages": []}\n{"nothing": 1}\n')
        done = pretrain(recipe(self.folder, data={"train": [str(bad)]}), "-q")
        self.assertIn("bad.jsonl:2", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
