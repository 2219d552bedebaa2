#!/usr/bin/env python3
"""lllm-static (make static): one file without shared libraries that runs on any x86-64.

LLLM_STATIC names it; LLLM_EMULATOR, where it was built for another processor, what runs it.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import unittest

import program

STATIC = pathlib.Path(os.environ.get("LLLM_STATIC") or "/nowhere")
EMULATOR = os.environ.get("LLLM_EMULATOR", "").split()
STARTER = pathlib.Path(__file__).resolve().parents[2] / "models" / "starter" / "starter.gguf"
QUESTION = "What is machine learning?"
LARGEST_BYTES = 5_000_000


def run(*arguments, through=None, timeout=120, environment=None):
    through = EMULATOR if through is None else through
    env = dict(os.environ, NO_COLOR="1", **(environment or {}))
    return subprocess.run([*through, STATIC, *map(str, arguments)], env=env, timeout=timeout,
                          capture_output=True, text=True, encoding="utf-8", check=False)


def elf_parts(data):
    """Kinds of segments and of sections of a 64-bit ELF file."""
    segments_at, sections_at = struct.unpack_from("<QQ", data, 32)
    segment_size, n_segments, section_size, n_sections = struct.unpack_from("<4H", data, 54)
    return ([struct.unpack_from("<I", data, segments_at + i * segment_size)[0]
             for i in range(n_segments)],
            [struct.unpack_from("<I", data, sections_at + i * section_size + 4)[0]
             for i in range(n_sections)])


class WithStatic(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        if not STATIC.is_file():
            raise unittest.SkipTest("this build has no lllm-static: it needs libc.a, libjansson.a "
                                    "and libutf8proc.a, and no sanitizer")
        super().setUpClass()

    def done(self, *arguments, **how):
        done = run(*arguments, **how)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout


class Static(WithStatic):
    def test_stands_alone(self):
        data = STATIC.read_bytes()
        self.assertEqual(data[:4], b"\x7fELF")
        segments, sections = elf_parts(data)
        self.assertIn(1, segments)
        self.assertNotIn(3, segments, "it names a program interpreter, so it is not static")
        self.assertNotIn(2, sections, "it still has a table of symbols")
        self.assertLess(len(data), LARGEST_BYTES)

    def test_models_by_path(self):
        done = run("run", "hello", environment={"LLLM_HOME": str(self.folder)})
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Alllm: [^\n]+\.gguf[^\n]+\n\Z")

    def test_answers_as_the_whole_program(self):
        arguments = ["run", "-q", "--temp", "0", STARTER, QUESTION]
        if EMULATOR:
            self.assertIn("data", self.done(*arguments))
        else:
            self.assertEqual(self.done(*arguments), program.run(*arguments).stdout)

    def test_every_kind_of_work_in_portable_code(self):
        """--cpu-mask none: no part needs more than the baseline."""
        text = self.folder / "text.txt"
        text.write_text("Machine learning is a branch of artificial intelligence. " * 20)
        none = ["--cpu-mask", "none"]
        small = ["--context-size", "64"]
        self.assertIn("data", self.done("run", "-q", *none, "--temp", "0", STARTER, QUESTION))
        self.assertIn("GPU", self.done("render", *none, STARTER, "--user", "What is a GPU?"))
        self.done("tokenize", *none, STARTER, "GPU")
        self.done("logits", *none, STARTER, "GPU")
        self.done("show", *none, STARTER)
        matrix, q4 = self.folder / "imatrix.gguf", self.folder / "q4.gguf"
        self.done("imatrix", *none, *small, STARTER, "-f", text, "-o", matrix)
        self.done("quantize", *none, STARTER, q4, "q4_k_m", "--imatrix", matrix)
        found = json.loads(self.done("perplexity", "--json", *none, *small, q4, "-f", text))
        every = json.loads(self.done("perplexity", "--json", *small, q4, "-f", text))
        self.assertAlmostEqual(found["perplexity"] / every["perplexity"], 1, delta=0.02)


class Emulated(WithStatic):
    """The baseline of x86-64, without even SSE3, and a processor with AVX2 but no AVX-512."""

    def emulator(self, cpu):
        if EMULATOR:
            self.skipTest("built for another processor, which is emulated already")
        if not shutil.which("qemu-x86_64"):
            self.skipTest("there is no qemu-x86_64 here; the Debian package is qemu-user")
        return ["qemu-x86_64", "-cpu", cpu]

    def test_baseline(self):
        arguments = ["run", "-q", "--temp", "0", "--max-tokens", "6", STARTER, QUESTION]
        self.assertEqual(self.done(*arguments, through=self.emulator("qemu64,-pni")),
                         self.done(*arguments))

    def test_avx2(self):
        top = [json.loads(self.done("logits", "--json", "--top", "1", STARTER, "GPU", through=how))
               for how in (self.emulator("Haswell"), [])]
        self.assertEqual([p["top"][0]["id"] for p in top[0]["positions"]],
                         [p["top"][0]["id"] for p in top[1]["positions"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
