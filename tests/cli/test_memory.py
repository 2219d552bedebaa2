#!/usr/bin/env python3
"""Hostile files cost no more memory than twice their size and 64 MB, taken or refused.

What vocabularies of GGUF files and tokenizers cost is in tests/tokenizer/test_memory.c.
"""
import json
import struct
import subprocess
import unittest

import program
from program import LLLM

ALLOWANCE = 64_000_000
MANY_VALUES = 4_000_000


def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf(n_tensors, n_pairs):
    """A file with so many tensors of one number and so many pairs of one byte."""
    pairs = b"".join(text(b"k%d" % i) + struct.pack("<IB", 0, 1) for i in range(n_pairs - 1))
    tensors = b"".join(text(b"t%d" % i) + struct.pack("<IQIQ", 1, 1, 0, 32 * i)
                       for i in range(n_tensors))
    head = (b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_pairs) +
            text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama") + pairs + tensors)
    return head + bytes(-len(head) % 32 + 32 * n_tensors)


def safetensors(n):
    header = json.dumps({f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                         for i in range(n)}, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header


class Memory(program.TemporaryFolder):
    def peak_of(self, *arguments, status):
        """The peak of a run in bytes, and what it said."""
        # A process of its own starts the program, so that the peak is not that of this one.
        script = ("import os, resource, subprocess, sys; "
                  "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
                  "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, "
                  "done.returncode)")
        out = subprocess.run(["python3", "-c", script, LLLM, *map(str, arguments)], check=True,
                             capture_output=True, text=True)
        peak, got = map(int, out.stdout.split())
        if status is not None:
            self.assertEqual(got, status, out.stderr)
        return peak, out

    def peak_is_small(self, path, *arguments, status):
        files = [path] if path.is_file() else list(path.iterdir())
        size = sum(f.stat().st_size for f in files)
        peak, out = self.peak_of(*arguments, status=status)
        if status:
            self.assertEqual(out.stderr.count("\n"), 1, out.stderr)
        self.assertLess(peak, 2 * size + ALLOWANCE, f"{arguments}: {size} bytes")
        return out.stderr

    def test_gguf(self):
        path = self.folder / "many.gguf"
        for n_tensors, n_pairs in ((1 << 15, 1), (1, 1 << 15), (1 << 15, 1 << 15)):
            path.write_bytes(gguf(n_tensors, n_pairs))
            self.peak_is_small(path, "show", path, "--tensors", "--metadata", "--json", status=0)
        for n_tensors, n_pairs in ((1 << 20, 1), (1, 1 << 20)):
            path.write_bytes(gguf(n_tensors, n_pairs))
            self.peak_is_small(path, "show", path, status=1)

    def test_long_texts(self):
        path = self.folder / "long.gguf"
        long = text(b"x" * 40_000_000)
        for key in (b"tokenizer.chat_template", b"general.description", b"other"):
            head = (b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + text(b"general.architecture") +
                    struct.pack("<I", 8) + text(b"llama") + text(key) + struct.pack("<I", 8) +
                    long + text(b"t") + struct.pack("<IQIQ", 1, 1, 0, 0))
            path.write_bytes(head + bytes(-len(head) % 32 + 32))
            self.peak_is_small(path, "show", path, "--metadata", "--json", status=0)
            self.peak_is_small(path, "show", path, "--metadata", status=0)

    def folder_of(self, name, **files):
        folder = self.folder / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file.replace("__", ".")).write_bytes(content)
        return folder

    def test_results_of_a_batch(self):
        """They wait in the journal, not in memory."""
        peaks, sizes = [], []
        for n in (8, 40):  # by eight all pages of keys and values are in use
            lines, out = self.folder / f"{n}.jsonl", self.folder / f"out{n}.jsonl"
            lines.write_text("\n".join(json.dumps({
                "prompt": f"{i}?", "max_tokens": 150, "top_logprobs": 100, "ignore_eos": True})
                for i in range(n)))
            peaks.append(self.peak_of("batch", "starter", "--input", lines, "-o", out, "-q",
                                      "--parallel", 2, "--memory", "28M", status=0)[0])
            sizes.append(out.stat().st_size)
        self.assertGreater(sizes[1], 12 << 20)
        self.assertLess(peaks[1] - peaks[0], (sizes[1] - sizes[0]) // 4)

    def batch_peak(self, name, lines, status=0):
        path, out = self.folder / f"{name}.jsonl", self.folder / f"{name}.out"
        path.write_text("\n".join(map(json.dumps, lines)))
        return self.peak_of("batch", "starter", "--input", path, "-o", out, "-q",
                            "--parallel", 24, status=status)[0]

    def test_requests_in_one_array(self):
        """It is cut into lines without a tree of all of them."""
        row = json.dumps({"messages": [{"role": "user", "content": "Is 1 even?"}], "max_tokens": 5,
                          "temperature": 0, "seed": 1})
        lines, array = self.folder / "rows.jsonl", self.folder / "rows.json"
        lines.write_text("\n".join([row] * 60_000))
        array.write_text("[" + ",\n".join([row] * 60_000) + "]")
        peaks = [self.peak_of("batch", "starter", "--plan", "--input", path, status=0)[0]
                 for path in (lines, array)]
        self.assertLess(peaks[1] - peaks[0], 4 << 20)

    def test_values_of_a_line(self):
        """What a line takes while it is read is planned for, and refused before it is read."""
        for unit, where in (("0", '{"prompt":"a","metadata":{"x":[%s]}}'),
                            ('""', '{"prompt":"a","tools":[%s]}'),
                            ("{}", '{"messages":[%s]}'), ('{"a":0}', '{"prompt":[%s]}'),
                            ("[[]]", '{"body":{"x":[%s]}}')):
            line = where % ",".join([unit] * (2_000_000 // (len(unit) + 1)))
            for name, content in (("one.jsonl", line), ("one.json", f"[{line}]")):
                path = self.folder / name
                path.write_text(content)
                with self.subTest(unit=unit, name=name):
                    said = self.peak_is_small(path, "batch", "starter", "--input", path,
                                              "--memory", "60M", "--parallel", 1, status=1)
                    self.assertRegex(said, r"^lllm: .*one\.jsonl?: up to .* are needed for the "
                                     r"prompts alone, .* to read line 1, and --memory allows 60.0 "
                                     r"MiB: take fewer or smaller ones at a time\n$")
            plan = subprocess.run([LLLM, "batch", "starter", "--input", path, "--parallel", "1",
                                   "--memory", "none", "--plan", "--json"], check=True,
                                  capture_output=True, text=True)
            peak, _ = self.peak_of("batch", "starter", "--input", path, "--parallel", 1, "-n", 2,
                                   "--memory", "none", status=None)
            self.assertLess(peak, json.loads(plan.stdout)["plan"]["total_bytes"])

    def test_log_probabilities_under_way(self):
        """They become JSON, which is large, when an answer is over."""
        lines = [{"prompt": f"{i}?", "max_tokens": 120, "ignore_eos": True} for i in range(24)]
        plain = self.batch_peak("plain", lines)
        top = self.batch_peak("top", [dict(line, top_logprobs=20) for line in lines])
        self.assertLess(top - plain, 12 << 20)

    def test_forms_of_a_batch(self):
        """Those of lines long ago are not kept."""
        def lines(n):
            for i in range(n):
                names = [f"k{i}_{k}" for k in range(12)]
                text = {"type": "string", "pattern": "^[a-z]{2,9}-[0-9]+$"}
                yield {"prompt": "Give me JSON", "max_tokens": 8, "json_schema": {
                    "type": "object", "properties": dict.fromkeys(names, text),
                    "required": names, "additionalProperties": False}}
        # More than may be kept and under way, 64 and 24. All answers are cut short.
        few = self.batch_peak("few", lines(96), status=1)
        self.assertLess(self.batch_peak("many", lines(300), status=1) - few, 16 << 20)

    def test_trees(self):
        """Files that are read as a whole."""
        values = b"[" + b",".join([b"0"] * MANY_VALUES) + b"]"
        members = b"{" + b",".join(b'"%x":0' % i for i in range(MANY_VALUES // 4)) + b"}"
        vocab = b'{"a": 0}'
        pair = {"vocab__json": vocab, "merges__txt": b""}
        for kind, content in (("list", values), ("object", members),
                              ("within", b'{"x": ' + values + b"}")):
            for file in ("vocab__json", "tokenizer_config__json", "added_tokens__json",
                         "special_tokens_map__json"):
                files = dict(pair, tokenizer_config__json=b'{"tokenizer_class": "Qwen2Tokenizer"}')
                files[file] = content
                folder = self.folder_of(f"{kind} {file}", **files)
                with self.subTest(kind=kind, file=file):
                    self.peak_is_small(folder, "tokenize", folder, "a", status=1)

    def test_safetensors(self):
        config = json.dumps({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 64,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "hidden_act": "silu"}).encode()
        for n in (1 << 17, 1 << 19):
            folder = self.folder_of(f"tensors {n}", config__json=config,
                                    model__safetensors=safetensors(n))
            self.peak_is_small(folder, "show", folder, status=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
