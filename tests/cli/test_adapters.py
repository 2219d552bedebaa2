"""Adapters on the command line: `lllm run --lora`, `lllm show`."""
import json
import math
import pathlib
import random
import struct
import tempfile
import unittest

import program
from program import run

ADAPTERS = pathlib.Path(__file__).resolve().parents[1] / "model" / "adapters"
PROMPT = ("run", "starter", "The weather today is", "--raw", "--temp", "0", "--max-tokens", "12", "-q")


def write_folder(folder, modules, rank=2, alpha=4, seed=1, scale=0.2):
    """modules: {name: (n_in, n_rows)}"""
    rng = random.Random(seed)
    header, data = {}, b""
    for name, (n_in, n_rows) in modules.items():
        for half, (rows, columns) in (("A", (rank, n_in)), ("B", (n_rows, rank))):
            values = [rng.gauss(0, scale) for _ in range(rows * columns)]
            begin = len(data)
            data += struct.pack(f"<{len(values)}f", *values)
            header[f"base_model.model.{name}.lora_{half}.weight"] = {
                "dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none",
        "base_model_name_or_path": "the/starter"}))
    return folder


class Adapters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shown = run("show", "starter", "--json", "--tensors")
        if shown.returncode:
            raise unittest.SkipTest("this build has no built-in model")
        facts = json.loads(shown.stdout)
        dims = {t["name"]: t["dims"] for t in facts["tensors"]}
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        modules = {}
        for layer in range(facts["config"]["layers"]):
            for hf, name in (("self_attn.q_proj", "attn_q"), ("mlp.down_proj", "ffn_down")):
                modules[f"model.layers.{layer}.{hf}"] = dims[f"blk.{layer}.{name}.weight"]
        cls.first = write_folder(cls.folder / "first", modules)
        cls.nan = write_folder(cls.folder / "nan", modules, scale=math.nan)
        cls.huge = write_folder(cls.folder / "huge", modules, scale=1e20)
        cls.second = write_folder(cls.folder / "with=sign", modules, rank=3, seed=2)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def answer(self, *options):
        done = run(*PROMPT, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refused(self, *options, status=1):
        done = run(*PROMPT, *options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def test_answers(self):
        plain = self.answer()
        self.assertEqual(self.answer("--lora", f"{self.first}=0"), plain)
        first = self.answer("--lora", self.first)
        self.assertNotEqual(first, plain)
        self.assertEqual(self.answer("--lora", f"{self.first}=1.0"), first)
        self.assertEqual(self.answer("--lora", self.first, "--threads", "1"), first)
        both = self.answer("--lora", self.first, "--lora", self.second)
        self.assertNotEqual(both, first)
        self.assertEqual(self.answer("--lora", self.first, "--lora", f"{self.second}=0"), first)

    def test_batch(self):
        how = ["--temp", "0", "--max-tokens", "12"]
        question = "What is a GPU?"
        for lora in ([], ["--lora", self.first], ["--lora", f"{self.first}=2"]):
            alone = run("run", "starter", question, "-q", *how, *lora)
            done = run("batch", "starter", *how, *lora, "--prompts", question, "x", question)
            self.assertEqual(done.returncode, 0, done.stderr)
            answers = [json.loads(line)["content"] for line in done.stdout.splitlines()]
            self.assertEqual([answers[0], answers[2]], [alone.stdout] * 2)

    def test_what_is_no_number_is_no_answer(self):
        modules = ["--lora-modules", f"nan={self.nan}", "--lora-modules", f"huge={self.huge}"]
        for bad in (self.nan, self.huge):
            for how in ([], ["--choices", "a,b"], ["--beams", 3], ["--lookup"], ["--temp", 1]):
                self.assertIn("computed no numbers (NaN): its adapter",
                              self.refused("--lora", bad, *how))
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for lora in ("nan", [], "huge", []):
                file.write(json.dumps({"prompt": "What is a GPU?", "lora": lora, "n": 2}) + "\n")
            file.flush()
            done = run("batch", "starter", "--input", file.name, "--temp", 0, "-n", 8, *modules)
        self.assertEqual(done.returncode, 1)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(["error" in r for r in results], [True, False] * 2)
        self.assertIn("computed no numbers", results[0]["error"])
        alone = run("run", "starter", "What is a GPU?", "-q", "--temp", 0, "-n", 8)
        self.assertEqual(results[3]["choices"][0]["content"], alone.stdout)

    def test_refusals(self):
        self.assertIn("there is no adapter", self.refused("--lora", "/nowhere/x.gguf"))
        self.assertIn("must be a number", self.refused("--lora", f"{self.first}=strong", status=2))
        self.assertIn("must be a number", self.refused("--lora", f"{self.first}=nan", status=2))
        self.assertIn("adapter_config.json", self.refused("--lora", self.folder))
        self.assertIn("belongs to another model", self.refused("--lora", ADAPTERS / "gpt2"))
        self.assertIn("another model", self.refused("--lora", ADAPTERS / "llama-attention"))
        self.assertIn("at most 8", self.refused(*["--lora", self.first] * 9))
        part = self.first / "adapter_model.safetensors"
        self.assertIn(f"with its adapter_config.json ({self.first})", self.refused("--lora", part))
        done = run("import", self.first, "-o", self.folder / "new.gguf")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"is an adapter, not a model.* with --lora\n\Z")
        done = run("batch", "starter", "--lora-modules", f"p={self.first},q={self.first}",
                   "--prompts", "x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--lora-modules once for each", done.stderr)
        broken = self.folder / "broken.gguf"
        broken.write_bytes(b"GGUF\3\0\0\0")
        self.assertIn("broken.gguf", self.refused("--lora", broken))

    def test_show(self):
        shown = run("show", self.first)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("LoRA", shown.stdout)
        self.assertIn("rank          2, alpha 4", shown.stdout)
        self.assertIn("down_proj q_proj", " ".join(sorted(
            w for w in shown.stdout.split() if w.endswith("_proj"))))
        facts = json.loads(run("show", ADAPTERS / "llama-all", "--json", "--tensors").stdout)
        self.assertEqual(facts["ranks"], [2, 6])
        self.assertEqual(facts["base_model"], "llama")
        self.assertEqual(facts["matrices"], 11)
        self.assertEqual(len(facts["tensors"]), 22)
        (self.second / "adapter_config.json").rename(self.folder / "kept")
        try:
            (self.second / "adapter_config.json").write_text("{}")
            done = run("show", self.second)
            self.assertEqual(done.returncode, 1)
            self.assertIn("peft_type", done.stderr)
        finally:
            (self.folder / "kept").rename(self.second / "adapter_config.json")

    def test_is_no_model(self):
        path = self.folder / "adapter.gguf"
        pairs = [program.text_pair("general.architecture", "llama"),
                 program.text_pair("general.type", "adapter"),
                 program.text_pair("adapter.type", "lora")]
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
        done = run("run", path, "Hello")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--lora", done.stderr)


if __name__ == "__main__":
    unittest.main()
