#!/usr/bin/env python3
"""The program on Hugging Face folders and on models in several GGUF files."""
import json
import math
import pathlib
import struct
import unittest

import program
from program import run

WIDTH, FEED, VOCAB, LAYERS = 32, 48, 40, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "vocab_size": VOCAB, "hidden_size": WIDTH,
    "intermediate_size": FEED, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "hidden_act": "silu", "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHAT = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}"


def tensors():
    """Names, shapes and numbers (as a function of the name) of a small model."""
    shapes = {"model.embed_tokens.weight": (VOCAB, WIDTH), "lm_head.weight": (VOCAB, WIDTH),
              "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes |= {at + "input_layernorm.weight": (WIDTH,),
                   at + "self_attn.q_proj.weight": (WIDTH, WIDTH),
                   at + "self_attn.k_proj.weight": (WIDTH // 2, WIDTH),
                   at + "self_attn.v_proj.weight": (WIDTH // 2, WIDTH),
                   at + "self_attn.o_proj.weight": (WIDTH, WIDTH),
                   at + "post_attention_layernorm.weight": (WIDTH,),
                   at + "mlp.gate_proj.weight": (FEED, WIDTH),
                   at + "mlp.up_proj.weight": (FEED, WIDTH),
                   at + "mlp.down_proj.weight": (WIDTH, FEED)}
    return shapes


def write_safetensors(path, shapes):
    header, data = {}, b""
    for name, shape in shapes.items():
        n, seed = math.prod(shape), sum(map(ord, name))
        values = [math.sin(seed + 1.7 * i * (seed % 7 + 1)) for i in range(n)]
        raw = struct.pack(f"<{n}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_tokenizer(folder):
    vocab = {"<s>": 0, "</s>": 1} | {c: i + 2 for i, c in enumerate(LETTERS)}
    special = [{"id": i, "content": c, "special": True, "normalized": False, "lstrip": False,
                "rstrip": False, "single_word": False} for i, c in enumerate(["<s>", "</s>"])]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": special, "normalizer": None, "pre_tokenizer": level,
        "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 10**30}))
    (folder / "chat_template.jinja").write_text(CHAT)


def make_folder(folder):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_safetensors(folder / "model.safetensors", tensors())
    write_tokenizer(folder)
    return folder


class Folder(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = make_folder(cls.folder / "Tiny")

    def do(self, *arguments, **how):
        done = run(*arguments, **how)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_show(self):
        text = self.do("show", self.model)
        self.assertIn("a Hugging Face folder", text)
        self.assertIn("40 tokens", text)
        facts = json.loads(self.do("show", self.model, "--json", "--tensors"))
        self.assertEqual(facts["architecture"], "llama")
        self.assertEqual(facts["gguf_files"], 0)
        self.assertEqual(facts["chat_template"], CHAT)
        self.assertIn("blk.1.ffn_down.weight", [t["name"] for t in facts["tensors"]])

    def test_used_as_it_is(self):
        """A folder gives what the file gives that it was imported to."""
        path = self.folder / "tiny.gguf"
        self.assertIn("F32", self.do("import", self.model, "-o", path))
        for verb in [["tokenize", "--ids"], ["logits", "--top", "5", "--json"],
                     ["run", "--temp", "0", "--max-tokens", "12", "--raw", "--quiet"]]:
            here = self.do(verb[0], self.model, "abacus", *verb[1:])
            there = self.do(verb[0], path, "abacus", *verb[1:])
            self.assertEqual(here.replace(str(self.model), ""), there.replace(str(path), ""))
            self.assertTrue(here.strip())
        self.do("run", self.model, "cab", "--temp", "0", "--max-tokens", "4", "--quiet")

    def test_import_reports(self):
        path = self.folder / "small.gguf"
        done = run("import", self.model, "-o", path, "--type", "q4_0", "--json", "--name", "Small")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["type"], "Q4_0")
        self.assertEqual(report["tensors"], 21)
        self.assertEqual(report["fallbacks"], LAYERS)
        self.assertTrue(report["vocabulary"])
        self.assertEqual(json.loads(self.do("show", path, "--json"))["name"], "Small")
        done = run("import", self.model, "-o", path, "--type", "q4_0")
        self.assertIn("2 matrices have rows that q4_0 cannot hold; they are F16", done.stderr)

    def test_usage(self):
        for arguments, words in [
                ([self.model], "-o FILE.gguf is missing"),
                ([self.model, "-o", "x.gguf", "--tokenizer", "t"], "--tokenizer is for llama2.c"),
                ([self.model, "-o", "x.gguf", "--type", "q9"], "--type q9"),
                ([self.model, self.model, "-o", "x.gguf"], "takes one folder or file")]:
            done = run("import", *arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)

    def test_failures(self):
        """One sentence, exit status 1, and no file."""
        broken = make_folder(self.folder / "Broken")
        path = self.folder / "broken.gguf"
        cases = []

        def case(name, content, words):
            cases.append((broken / name, content, words))

        case("config.json", b"{", "config.json is not JSON")
        case("config.json", json.dumps(CONFIG | {"num_hidden_layers": -1}).encode(),
             "num_hidden_layers (which becomes llama.block_count) is -1")
        case("config.json", json.dumps(CONFIG | {"hidden_act": "relu"}).encode(),
             "hidden_act is relu, which is not supported")
        case("model.safetensors", struct.pack("<Q", 1 << 31) + bytes(100),
             "the header has 2147483648 bytes; at most 100000000")
        case("model.safetensors", b"", "too few for a .safetensors file")
        case("tokenizer.json", b"[]", "tokenizer.json")
        for file, content, words in cases:
            before = file.read_bytes()
            file.write_bytes(content)
            for arguments in (["import", broken, "-o", path], ["run", broken, "hello"], ["show", broken]):
                done = run(*arguments)
                self.assertEqual(done.returncode, 1, arguments)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertEqual(done.stdout, "")
            self.assertFalse(path.exists())
            file.write_bytes(before)
        (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
        self.assertIn("download the .safetensors files", run("show", broken).stderr)

    def test_without_vocabulary(self):
        bare = make_folder(self.folder / "Bare")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (bare / name).unlink()
        path = self.folder / "bare.gguf"
        done = run("import", bare, "-o", path, "--json")
        self.assertEqual(done.returncode, 0)
        self.assertIn("has no tokenizer files", done.stderr)
        self.assertFalse(json.loads(done.stdout)["vocabulary"])


def gguf_part(number, count, names, more=()):
    """A GGUF file with one F32 tensor of 8 numbers for each name."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    pairs = [text(key) + struct.pack("<II", 4, value) for key, value in
             [("split.no", number), ("split.count", count), *more]]
    out = struct.pack("<4sIQQ", b"GGUF", 3, len(names), len(pairs)) + b"".join(pairs)
    for i, name in enumerate(names):
        out += text(name) + struct.pack("<IQIQ", 1, 8, 0, 32 * i)
    return out + bytes(-len(out) % 32) + bytes(32 * len(names))


class Parts(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = cls.folder / "models"
        cls.models.mkdir()
        for number, names in enumerate([["a", "b"], [], ["c"]]):
            path = cls.models / f"big-{number + 1:05}-of-00003.gguf"
            path.write_bytes(gguf_part(number, 3, names, [("x.y", 5)] if number == 0 else []))

    def test_list_and_show(self):
        listed = json.loads(run("list", "--json", home=self.folder).stdout)["models"]
        self.assertEqual([m["name"] for m in listed if not m["built_in"]], ["big"])
        for name in ("big", self.models / "big-00001-of-00003.gguf",
                     self.models / "big-00003-of-00003.gguf"):
            done = run("show", name, "--json", "--tensors", "--metadata", home=self.folder)
            facts = json.loads(done.stdout)
            self.assertEqual([t["name"] for t in facts["tensors"]], ["a", "b", "c"])
            self.assertEqual(facts["gguf_files"], 3)
            self.assertEqual(facts["metadata"], {"x.y": 5})
        self.assertIn("in 3 files", run("show", "big", home=self.folder).stdout)

    def test_missing_part(self):
        alone = self.folder / "big-00001-of-00003.gguf"
        alone.write_bytes((self.models / alone.name).read_bytes())
        done = run("show", alone)
        self.assertEqual(done.returncode, 1)
        self.assertIn("part 2 is not beside it: put", done.stderr)


if __name__ == "__main__":
    unittest.main()
