#!/usr/bin/env python3
"""The program on Hugging Face folders and on models in several GGUF files."""
import json
import math
import pathlib
import re
import shutil
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
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "model" / "golden"
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
        done = run("import", self.model, "-o", path, "--type", "q4_0", "--force")
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
        # What works on token ids works.
        for model in (path, bare):
            self.assertIn("none", re.search("tokenizer .*", self.do("show", model))[0])
            asked = ["--ids", "1 2 3", "--top", "2", "--json"]
            bare_logits, logits = (json.loads(self.do("logits", m, *asked))["positions"]
                                   for m in (model, self.model))
            for here, there in zip(bare_logits, logits, strict=True):
                self.assertEqual([(t["id"], t["logit"]) for t in here["top"]],
                                 [(t["id"], t["logit"]) for t in there["top"]])
                self.assertEqual({t["text"] for t in here["top"]}, {""})
            self.assertIn('1: 2 ""', self.do("logits", model, "--ids", "1 2"))
            report = json.loads(self.do("bench", model, "--prefill", "8", "--decode", "2", "--reps",
                                        "1", "--json"))
            self.assertGreater(report["decode"]["tokens_per_second"]["median"], 0)
            report = self.do("perplexity", model, "--ids", "-", "--context-size", "8", "--json",
                             stdin=" ".join(str(i % 40) for i in range(32)))
            self.assertEqual(json.loads(report)["scored_tokens"], 4 * 3)
        # What needs text says so.
        for arguments in (["run", path, "hello"], ["run", path, "--raw", "hello"],
                          ["logits", path, "hello"], ["embed", path, "hello"],
                          ["infill", path, "--prefix", "a"], ["tokenize", path, "hello"],
                          ["perplexity", path, "-f", bare / "config.json"],
                          ["imatrix", path, "-f", bare / "config.json", "-o", bare / "x"],
                          ["quantize", "--compare", path, "-f", bare / "config.json"]):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""), arguments)
            self.assertIn("has no vocabulary", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, arguments)

    def test_one_sentence_once(self):
        """A bench opens the model many times, and says what there is to say about it once."""
        done = run("bench", self.model, "--prefill", "4", "--decode", "2", "--reps", "3",
                   "--context-size", "100")
        self.assertEqual((done.returncode, done.stderr.count("was trained for")), (0, 1))

    def test_memory(self):
        facts = json.loads(self.do("show", self.model, "--json", "--threads", "1"))
        more = json.loads(self.do("show", self.model, "--json", "--threads", "64"))
        weights = sum(t["size_bytes"] for t in facts["types"])
        for one, other in zip(facts["config"]["memory"], more["config"]["memory"]):
            self.assertGreater(one["scratch_bytes"], 0)
            self.assertGreater(other["scratch_bytes"], one["scratch_bytes"])
            self.assertEqual(one["total_bytes"],
                             weights + one["kv_cache_bytes"] + one["scratch_bytes"] +
                             one["other_bytes"])
        self.assertRegex(self.do("show", self.model), r"\+ KV cache .* \+ scratch .* = ")
        encoder = json.loads(self.do("show", GOLDEN / "bert", "--json"))["config"]["memory"]
        self.assertEqual(encoder[-1]["kv_cache_bytes"], 0)
        self.assertGreater(encoder[-1]["scratch_bytes"], 0)

    def test_what_config_says(self):
        """A class by model_type, labels against the head, a rope's factor at its bounds."""
        def changed(name, golden=None, **values):
            folder = self.folder / name
            shutil.copytree(GOLDEN / golden if golden else self.model, folder)
            config = json.loads((folder / "config.json").read_text()) | values
            (folder / "config.json").write_text(
                json.dumps({k: v for k, v in config.items() if v is not None}))
            return folder

        typed = changed("Typed", architectures=None, model_type="llama")
        self.assertEqual(json.loads(self.do("show", typed, "--json"))["architecture"], "llama")
        open_ended = changed("Open", "bert-sequence", architectures=None)
        self.assertIn('nor does model_type "bert"', run("show", open_ended).stderr)
        labels = changed("Labels", "bert-sequence",
                         id2label={str(i): f"L{i}" for i in range(7)})
        self.assertIn("id2label names 7 classes and the head has rows for",
                      run("classify", labels, "x").stderr)
        for factor, words in ((1e-6, None), (1e6, None), (1e-7, "1e-07"), (1e7, "10000000")):
            rope = changed(f"Rope{factor}", "llama-linear", rope_parameters={
                "rope_type": "linear", "rope_theta": 10000.0, "factor": factor})
            done = run("logits", rope, "--ids", "1", "--top", "1")
            self.assertEqual(done.returncode, 1 if words else 0, done.stderr)
            if words:
                self.assertIn(f"rope.scaling.factor is {words}, and must be between 1e-06 and "
                              "1e+06", done.stderr)

    def test_what_does_not_fit(self):
        """A configuration that does not fit the weights: import writes nothing, run and quantize
        say the same, and show prints what is there."""
        folder = self.folder / "Unfit"
        shutil.copytree(GOLDEN / "llama", folder)
        before = json.loads((folder / "config.json").read_text())
        path, other = self.folder / "unfit.gguf", self.folder / "unfit-q.gguf"
        for changes, words in (
                ({"hidden_size": 64}, "token_embd.weight has the shape"),
                ({"num_hidden_layers": 3}, "blk.2.attn_norm.weight is missing"),
                ({"num_hidden_layers": 1}, "has no place in the architecture"),
                ({"num_attention_heads": 0}, "the number of heads"),
                ({"num_key_value_heads": 4}, "blk.0.attn_k.weight has the shape"),
                ({"vocab_size": 7200}, "token_embd.weight has the shape"),
                ({"intermediate_size": 49}, "blk.0.ffn_gate.weight has the shape")):
            (folder / "config.json").write_text(json.dumps(before | changes))
            sentences = set()
            for arguments in (["import", folder, "-o", path], ["logits", folder, "--ids", "1"],
                              ["import", folder, "-o", path, "--type", "q8_0"],
                              ["quantize", folder, other, "q8_0"]):
                done = run(*arguments)
                self.assertEqual((done.returncode, done.stdout), (1, ""), arguments)
                sentences.add(done.stderr.splitlines()[-1])
                self.assertFalse(path.exists() or other.exists())
            self.assertEqual(len(sentences), 1, sentences)
            self.assertIn(words, sentences.pop())
            shown = run("show", folder)
            self.assertEqual(shown.returncode, 0)
            self.assertIn("parameters", shown.stdout)
            self.assertIn("this program cannot run it: ", shown.stderr)
            self.assertIn(words, shown.stderr)
            self.assertIn(words, json.loads(self.do("show", folder, "--json"))["problem"])
        (folder / "config.json").write_text(json.dumps(before))
        self.do("import", folder, "-o", path)
        self.assertIsNone(json.loads(self.do("show", path, "--json"))["problem"])

    def test_unknown_architecture(self):
        """Quantized with a word: its tensors are as those of others."""
        source, out = self.folder / "known.gguf", self.folder / "unknown-q.gguf"
        self.do("import", self.model, "-o", source)
        strange = self.folder / "unknown.gguf"
        strange.write_bytes(source.read_bytes().replace(
            program.text_pair("general.architecture", "llama"),
            program.text_pair("general.architecture", "lynxy")))
        done = run("quantize", strange, out, "q8_0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('the architecture "lynxy" is not known here', done.stderr)
        self.assertEqual(json.loads(self.do("show", out, "--json"))["architecture"], "lynxy")

    def test_what_is_not_as_it_says(self):
        """Accepted, each with a sentence on standard error."""
        def changed(name, golden, **values):
            folder = self.folder / name
            shutil.copytree(GOLDEN / golden, folder)
            config = json.loads((folder / "config.json").read_text()) | values
            (folder / "config.json").write_text(json.dumps(config))
            return folder

        dynamic = changed("Dynamic", "llama", rope_parameters=None,
                          rope_scaling={"type": "dynamic", "factor": 2.0})
        untied = changed("Untied", "llama", tie_word_embeddings=False)
        short = changed("Short", "bert")
        lines = (short / "vocab.txt").read_text().splitlines()
        (short / "vocab.txt").write_text("\n".join(lines[:20]) + "\n")
        for number, (folder, words) in enumerate((
                (dynamic, 'is of the kind "dynamic", which is not applied'),
                (untied, "tie_word_embeddings is false and the weights have no lm_head.weight"),
                (short, "the tokenizer has 20 tokens and the embedding rows for 72"))):
            done = run("import", folder, "-o", self.folder / f"as-{number}.gguf")
            self.assertEqual((done.returncode, done.stderr.count(words)), (0, 1), done.stderr)
            self.assertEqual(run("show", folder).stderr.count(words), 1)
            self.assertNotIn(words, run("show", GOLDEN / "llama").stderr)

    def test_long_rope(self):
        """Which factors are taken is told where a context is above the original length."""
        longrope, words = GOLDEN / "phi3-longrope", "takes the rope factors for long texts"
        for size, times in (("32", 0), ("33", 1), ("128", 1)):
            done = run("logits", longrope, "--ids", "1", "--top", "1", "--context-size", size)
            self.assertEqual((done.returncode, done.stderr.count(words)), (0, times), done.stderr)
        for size, times in (("32", 0), ("33", 1)):  # said once, though the model is loaded often
            done = run("bench", longrope, "--prefill", "4", "--decode", "2", "--reps", "2",
                       "--context-size", size)
            self.assertEqual((done.returncode, done.stderr.count(words)), (0, times), done.stderr)
        self.assertRegex(self.do("show", longrope), r"rope +factors for long texts .* above 32\n")
        config = json.loads(self.do("show", longrope, "--json"))["config"]
        self.assertEqual(config["long_rope_above"], 32)
        self.assertNotIn("long_rope_above",
                         json.loads(self.do("show", GOLDEN / "phi3", "--json"))["config"])

    def test_kinds_of_fallback(self):
        path = self.folder / "kinds.gguf"
        done = run("import", GOLDEN / "llama", "-o", path, "--type", "q4_k")
        self.assertIn("15 matrices have rows that q4_k cannot hold; they are 2 F16 and 13 Q5_0\n",
                      done.stderr)
        mix = run("import", GOLDEN / "llama", "-o", path, "--type", "q4_k_m")
        self.assertEqual(mix.returncode, 2)
        self.assertIn("lllm quantize FILE.gguf OUT.gguf q4_k_m", mix.stderr)

    def test_many_end_tokens(self):
        """All of generation_config's end an answer, more than GGUF has places for, here and in the
        file that is made."""
        many = make_folder(self.folder / "Many")
        (many / "generation_config.json").write_text(
            json.dumps({"eos_token_id": list(range(28))}))
        path = self.folder / "many.gguf"
        self.do("import", many, "-o", path)
        for model in (many, path):
            for seed in ("1", "2", "3"):
                answer = json.loads(self.do("run", model, "abacus", "--raw", "--json", "--temp", "2",
                                            "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed",
                                            seed, "--max-tokens", "40"))
                # All tokens that can be drawn but the padding are ends.
                self.assertNotRegex(answer["content"], "[a-z]")
        freely = json.loads(self.do("run", self.model, "abacus", "--raw", "--json", "--temp", "2",
                                    "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed", "1",
                                    "--max-tokens", "40"))
        self.assertRegex(freely["content"], "[a-z]")

    def test_import_help_lists_types(self):
        text = self.do("import", "-h")
        for name, bits in (("Q4_K", "4.50"), ("Q8_0", "8.50"), ("IQ4_NL", "4.50"), ("F16", "16.00")):
            self.assertRegex(text, rf"\b{name} +{bits}")


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
