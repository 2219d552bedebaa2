#!/usr/bin/env python3
"""quantize, imatrix and perplexity through the program, on the stories model and the built-in one.
"""
import json
import math
import pathlib
import struct
import unittest

import program

TYPES = ("f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s "
         "q5_k_m q6_k iq4_nl iq4_xs mxfp4 tq1_0 tq2_0").split()
STORY = ("Once upon a time, there was a little girl named Lily. She loved to play outside in the "
         "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high. "
         "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. ")


def pairs(path):
    """The scalars and strings among a GGUF file's key/value pairs."""
    formats = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q",
               11: "<q", 12: "<d"}
    data, at, found = path.read_bytes(), 24, {}

    def string(at):
        n, = struct.unpack_from("<Q", data, at)
        return data[at + 8:at + 8 + n].decode(), at + 8 + n

    def value(kind, at):
        if kind == 8:
            return string(at)
        if kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(count):
                _, at = value(element, at)
            return None, at
        return struct.unpack_from(formats[kind], data, at)[0], at + struct.calcsize(formats[kind])

    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        key, at = string(at)
        found[key], at = value(struct.unpack_from("<I", data, at)[0], at + 4)
    return found


class Model(program.TemporaryFolder):
    """An F32 stories model and a text."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = program.import_stories(cls.folder, "--type", "f32")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(STORY * 8, encoding="utf-8")

    def ok(self, *arguments, **more):
        done = program.run(*arguments, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def quantize(self, out, kind, *options, source=None):
        return json.loads(self.ok("quantize", source or self.model, out, kind, "--json",
                                  "--force", *options).stdout)

    def refused(self, *arguments, code=1, words=""):
        """One sentence on standard error, nothing on standard output."""
        done = program.run(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("lllm: "), done.stderr)
        self.assertIn(words, done.stderr)


class Quantize(Model):
    def test_every_type_makes_a_model_that_runs(self):
        out = self.folder / "q.gguf"
        for kind in TYPES:
            report = self.quantize(out, kind)
            self.assertEqual(report["type"].lower(), kind)
            self.assertEqual(report["tensors"], 47)
            self.assertEqual(report["file_bytes"], out.stat().st_size)
            self.assertEqual(sum(report["formats"].values()), 47)
            self.assertAlmostEqual(report["bits_per_weight"],
                                   8 * report["tensor_bytes"] / report["parameters"], places=6)
            self.assertEqual(pairs(out)["general.file_type"], report["file_type"])
            self.assertEqual(pairs(out)["general.quantization_version"], 2)
            done = self.ok("run", out, "", "--raw", "--temp", "0", "--max-tokens", "8", "-q")
            self.assertTrue(done.stdout)

    def test_types_in_any_letter_case(self):
        out = self.folder / "case.gguf"
        self.assertEqual(self.quantize(out, "Q8_0")["file_type"], 7)
        self.assertEqual(self.quantize(out, "q4_K")["type"], "Q4_K_M")

    def test_threads_do_not_change_the_file(self):
        a, b = self.folder / "a.gguf", self.folder / "b.gguf"
        self.quantize(a, "q5_k_m", "--threads", "1")
        self.quantize(b, "q5_k_m", "--threads", "3")
        self.assertEqual(a.read_bytes(), b.read_bytes())

    def test_overrides(self):
        out = self.folder / "o.gguf"
        report = self.quantize(out, "q4_0", "--token-embedding-type", "f16")
        self.assertEqual(report["formats"]["F16"], 6)  # five feed-forward matrices fall back
        self.assertGreater(self.quantize(out, "q4_0")["formats"]["Q8_0"], 0)
        self.assertNotIn("Q8_0", self.quantize(out, "q4_0", "--pure")["formats"])

    def test_what_is_said(self):
        out = self.folder / "said.gguf"
        one = self.ok("imatrix", self.model, "-f", self.text, "-o", self.folder / "one.gguf",
                      "--context-size", "64", "--chunks", "1")
        self.assertIn("35 matrices over 1 window of 64 tokens", one.stdout)
        done = self.ok("quantize", self.model, out, "q4_k_m")
        self.assertRegex(done.stdout, r"^.*said\.gguf: Q4_K_M, [\d.]+ bits per weight, .* "
                                      r"\(from 1016 KiB\); .*\d+ Q5_0.*\n$")
        self.assertRegex(done.stderr, r"35 matrices have rows that are no multiple of the format's "
                                      r"block; they are (\d+ \w+(, | and )?)+\n")
        again = self.ok("quantize", out, self.folder / "again.gguf", "q8_0")
        self.assertIn("quantized already", again.stderr)
        quiet = self.ok("quantize", out, self.folder / "again.gguf", "q8_0", "-q", "--force")
        self.assertEqual((quiet.stdout, quiet.stderr), ("", ""))

    def test_help_lists_the_types(self):
        text = self.ok("quantize", "-h").stdout
        for kind in TYPES:
            self.assertRegex(text, rf"(?m)^  {kind.upper()} +\d+\.\d\d   \S")

    def test_wrong_usage(self):
        out = self.folder / "never.gguf"
        self.refused("quantize", self.model, out, "q4_k_l", code=2, words="did you mean Q4_K_M")
        self.refused("quantize", self.model, out, "q4", code=2, words="begin so: Q4_K_M, Q4_K_S")
        self.refused("quantize", "--compare", self.model, "-f", self.text, "--types", "q4", code=2,
                     words="begin so: Q4_K_M, Q4_K_S")
        # The place is looked at before the model: no notes about matrices come first.
        self.refused("quantize", self.model, self.folder / "no" / "x.gguf", "q4_k_m",
                     words="x.gguf: No such file or directory")
        self.refused("quantize", self.model, out, code=2,
                     words=f"the type is missing: lllm quantize {self.model} {out} q4_k_m")
        self.refused("quantize", self.model, code=2, words="a model, the file to write and a type")
        self.refused("quantize", self.model, "q8_0", code=2,
                     words=f"the file to write is missing: lllm quantize {self.model} OUT.gguf q8_0")
        self.refused("quantize", "q8_0", self.model, out, code=2,
                     words=f"the type comes last: lllm quantize {self.model} {out} q8_0")
        self.refused("quantize", out, self.model, "q8_0", words="the model comes first")
        self.refused("quantize", self.model, out, "q8_0", "--text", self.text, code=2,
                     words="--compare")
        self.refused("quantize", self.model, out, "q8_0", "--output-tensor-type", "iq1_s", code=2,
                     words="--output-tensor-type iq1_s is no number format that can be written: F32")
        self.refused("quantize", self.model, out, "q8_0", "--token-embedding-type", "zz", code=2,
                     words="--token-embedding-type zz is no number format")
        self.refused("quantize", "--compare", self.model, code=2, words="--text")
        self.refused("quantize", self.model, self.model, "q8_0", words="another name")
        self.refused("quantize", self.folder / "absent.gguf", out, "q8_0", words="absent.gguf")
        self.refused("quantize", self.text, out, "q8_0", words="text.txt")
        self.refused("quantize", self.model, self.folder / "no" / "x.gguf", "f16",
                     words="lllm: cannot create")
        self.assertFalse(out.exists())

    def test_the_starter_is_a_source_too(self):
        if program.run("show", "starter").returncode:
            self.skipTest("this build has no built-in model")
        report = self.quantize(self.folder / "s.gguf", "q4_k_m", source="starter")
        self.assertGreater(report["requantized"], 0)


class Imatrix(Model):
    def test_made_and_used(self):
        matrix, out = self.folder / "m.gguf", self.folder / "q.gguf"
        made = json.loads(self.ok("imatrix", self.model, "--text", self.text, "-o", matrix,
                                  "--context-size", "64", "--json").stdout)
        self.assertEqual((made["entries"], made["context"], made["unseen"]), (35, 64, 0))
        self.assertEqual(made["windows"], made["tokens"] // 64)
        plain = self.quantize(out, "q4_0")
        before = out.read_bytes()
        used = self.quantize(out, "q4_0", "--imatrix", matrix)
        self.assertEqual(used["without_importance"], 0)
        self.assertEqual(plain["without_importance"], 0)
        self.assertNotEqual(out.read_bytes(), before)
        metadata = pairs(out)
        self.assertEqual(metadata["quantize.imatrix.file"], "m.gguf")
        self.assertEqual(metadata["quantize.imatrix.dataset"], "text.txt")
        self.assertEqual(metadata["quantize.imatrix.entries_count"], 35)
        self.assertEqual(metadata["quantize.imatrix.chunks_count"], made["windows"])

    def test_it_helps(self):
        """At four bits the divergence on the text that was gathered from gets smaller."""
        matrix = self.folder / "h.gguf"
        self.ok("imatrix", self.model, "-f", self.text, "-o", matrix, "--context-size", "64")

        def divergence(*options):
            done = self.ok("quantize", "--compare", self.model, "--text", self.text, "--types",
                           "q4_0", "--context-size", "64", "--reps", "1", "--json", *options)
            return json.loads(done.stdout)["types"][0]["kl_divergence"]["mean"]

        self.assertLess(divergence("--imatrix", matrix), divergence())

    def test_older_files(self):
        names = [b"blk.0.attn_q.weight", b"blk.1.attn_q.weight"]
        data = struct.pack("<i", len(names))
        for name in names:
            data += struct.pack("<i", len(name)) + name + struct.pack("<ii64f", 3, 64, *range(64))
        data += struct.pack("<ii", 3, 5) + b"a.txt"
        path = self.folder / "old.dat"
        path.write_bytes(data)
        report = self.quantize(self.folder / "o.gguf", "q4_0", "--imatrix", path)
        self.assertEqual(report["without_importance"], 28)  # 35, less 2, less 5 that are F16
        for cut in (0, 3, 7, 20, 40, len(data) - 14):
            path.write_bytes(data[:cut])
            self.refused("quantize", self.model, self.folder / "never.gguf", "q4_0", "--imatrix",
                         path, words="old.dat")
        self.assertFalse((self.folder / "never.gguf").exists())

    def test_refused(self):
        out = self.folder / "never.gguf"
        self.refused("quantize", self.model, out, "q4_0", "--imatrix", self.model,
                     words="no importance matrix")
        self.refused("quantize", self.model, out, "q4_0", "--imatrix", self.folder / "absent",
                     words="absent")
        self.refused("quantize", self.model, out, "q4_0", "--imatrix", self.text, words="text.txt")
        wrong = struct.pack("<ii", 1, 19) + b"blk.0.attn_q.weight" + struct.pack("<ii32f", 1, 32,
                                                                                *range(32))
        (self.folder / "wrong.dat").write_bytes(wrong)
        self.refused("quantize", self.model, out, "q4_0", "--imatrix", self.folder / "wrong.dat",
                     words="of another model")
        self.refused("imatrix", self.model, "--text", self.text, code=2, words="-o FILE")
        self.refused("imatrix", self.model, "--text", self.text, "-o", self.text,
                     words="another name")
        (self.folder / "short.txt").write_text("Hi.", encoding="utf-8")
        self.refused("imatrix", self.model, "--text", self.folder / "short.txt", "-o", out,
                     words="longer text")
        self.assertFalse(out.exists())


class Perplexity(Model):
    def measure(self, *options, **more):
        return json.loads(self.ok("perplexity", self.model, "--json", *options, **more).stdout)

    def logits(self):
        """ln p of each token of the text's first window after those before it, from `logits`."""
        ids = self.ok("tokenize", self.model, "-f", self.text, "--ids").stdout.split()[:48]
        done = self.ok("logits", self.model, "--ids", " ".join(ids), "--top", "512", "--json")
        log_p = []
        for here, after in zip(json.loads(done.stdout)["positions"], ids[1:]):
            logits = {t["id"]: t["logit"] for t in here["top"]}
            self.assertEqual(len(logits), 512)
            total = math.log(sum(math.exp(v) for v in logits.values()))
            log_p.append(logits[int(after)] - total)
        return log_p

    def test_token_ids(self):
        """Ids in place of a text give what the text gives, in all that measure."""
        ids = self.folder / "text.ids"
        ids.write_text(self.ok("tokenize", self.model, "-f", self.text, "--ids").stdout)
        one, other = self.measure("-f", self.text), self.measure("--ids", ids)
        self.assertEqual((other["ids"], "text" in other), (str(ids), False))
        for key in ("perplexity", "tokens", "scored_tokens", "standard_error"):
            self.assertEqual(one[key], other[key])
        piped = self.measure("--ids", "-", stdin=ids.read_text())
        self.assertEqual(piped["perplexity"], one["perplexity"])
        matrices = []
        for n, source in enumerate((["-f", self.text], ["--ids", ids])):
            matrices.append(self.folder / f"ids{n}.gguf")
            self.ok("imatrix", self.model, *source, "-o", matrices[n])
        text, number = (pairs(m) for m in matrices)
        self.assertEqual(text["imatrix.chunk_count"], number["imatrix.chunk_count"])
        compare = ["quantize", "--compare", self.model, "--types", "q8_0", "--reps", "1", "--json"]
        by_text, by_ids = (json.loads(self.ok(*compare, *source).stdout)
                           for source in (["-f", self.text], ["--ids", ids]))
        self.assertEqual(by_text["types"][0]["kl_divergence"], by_ids["types"][0]["kl_divergence"])
        ids.write_text("1 2 512")
        self.refused("perplexity", self.model, "--ids", ids, words="\"512\" is no token id")
        self.refused("perplexity", self.model, "--ids", ids, "-f", self.text, code=2, words="one of")

    def test_side_by_side(self):
        log_p = self.logits()
        got = self.measure("--text", self.text, "--context-size", "48", "--chunks", "1")
        scored = log_p[24:]  # of the tokens 25 .. 47
        self.assertEqual((got["scored_tokens"], got["windows"], got["stride"]), (23, 1, 0))
        self.assertAlmostEqual(got["nll_mean"], -sum(scored) / 23, places=5)
        self.assertAlmostEqual(got["perplexity"], math.exp(got["nll_mean"]), places=5)
        self.assertAlmostEqual(got["standard_error"],
                               got["perplexity"] * got["nll_standard_error"], places=6)
        self.assertIn("context/2 + 1", got["definition"])

    def test_overlapping(self):
        log_p = self.logits()
        got = self.measure("-f", self.text, "--context-size", "48", "--stride", "16", "--chunks", "1")
        self.assertEqual(got["scored_tokens"], 47)
        self.assertAlmostEqual(got["nll_mean"], -sum(log_p) / 47, places=5)
        whole = self.measure("-f", self.text, "--context-size", "48", "--stride", "16")
        self.assertEqual(whole["scored_tokens"], whole["tokens"] - 1)

    def test_default_window_and_standard_input(self):
        piped = self.measure("--text", "-", stdin=self.text.read_text(encoding="utf-8"))
        named = self.measure("--text", self.text)
        self.assertEqual(named["context"], 512)
        self.assertEqual(piped["perplexity"], named["perplexity"])
        words = self.ok("perplexity", self.model, "--text", self.text)
        self.assertRegex(words.stdout, r"^\d+\.\d{4} \+- \d+\.\d{4}\n$")
        self.assertEqual(words.stderr.count("\n"), 1)
        quiet = self.ok("perplexity", self.model, "--text", self.text, "-q")
        self.assertEqual(quiet.stderr, "")
        self.assertEqual(quiet.stdout, words.stdout)

    def test_threads_and_batches_change_nothing(self):
        one = self.measure("--text", self.text, "--context-size", "64", "--threads", "1")
        other = self.measure("--text", self.text, "--context-size", "64", "--threads", "3",
                             "--batch-size", "7")
        for key in ("perplexity", "standard_error", "scored_tokens"):
            self.assertEqual(one[key], other[key])

    def test_wrong_usage(self):
        self.refused("perplexity", self.model, code=2, words="--text FILE")
        self.refused("perplexity", code=2, words="one model")
        self.refused("perplexity", self.model, "--text", self.text, "--context-size", "32", "--stride",
                     "33", code=2, words="--stride")
        (self.folder / "empty.txt").write_text("", encoding="utf-8")
        self.refused("perplexity", self.model, "--text", self.folder / "empty.txt", words="empty")
        (self.folder / "short.txt").write_text("Hi.", encoding="utf-8")
        self.refused("perplexity", self.model, "--text", self.folder / "short.txt",
                     words="longer text")
        self.refused("perplexity", self.model, "--text", self.folder / "absent", words="absent")


class Folder(program.TemporaryFolder):
    def test_norms_of_16_bits_become_f32(self):
        """Readers expect them so; only matrices take the type."""
        source = pathlib.Path(__file__).resolve().parents[1] / "model" / "golden" / "mixtral"
        target = self.folder / "mixtral.gguf"
        done = program.run("quantize", source, target, "q8_0")
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = program.run("show", target, "--tensors", "--json")
        types = {t["name"]: (len(t["dims"]), t["type"]) for t in json.loads(shown.stdout)["tensors"]}
        self.assertEqual({kind for n, kind in types.values() if n == 1}, {"F32"})
        self.assertEqual(types["blk.0.attn_q.weight"], (2, "Q8_0"))


class Outputs(Model):
    """What is there is replaced with --force only."""

    def test_force(self):
        out, text = self.folder / "there.gguf", self.folder / "text.txt"
        ids = self.folder / "few.ids"
        ids.write_text(" ".join(str(i % 400) for i in range(40)))
        checkpoint, tokenizer = program.stories_checkpoint()
        golden = pathlib.Path(__file__).resolve().parents[1] / "model" / "golden" / "llama"
        for arguments in (["quantize", self.model, out, "q8_0"],
                          ["imatrix", self.model, "--ids", ids, "--context-size", "16", "-o", out],
                          ["import", golden, "-o", out],
                          ["import", checkpoint, "--tokenizer", tokenizer, "-o", out]):
            out.write_text("mine")
            self.refused(*arguments, words=f"{out} is there already")
            self.assertEqual(out.read_text(), "mine")
            self.ok(*arguments, "--force")
            self.assertEqual(out.read_bytes()[:4], b"GGUF")
            out.unlink()
            self.ok(*arguments)
        self.refused("quantize", self.model, text, "q8_0", words="is there already")
        self.refused("quantize", self.model, self.folder, "q8_0", words="is a folder")

    def test_link_to_nothing(self):
        link = self.folder / "dangling.gguf"
        link.symlink_to(self.folder / "nowhere.gguf")
        self.refused("quantize", self.model, link, "q8_0", words="a link to a file that is not there")
        self.assertTrue(link.is_symlink())
        self.ok("quantize", self.model, link, "q8_0", "--force")
        self.assertFalse(link.is_symlink())
        self.assertFalse((self.folder / "nowhere.gguf").exists())


class Inputs(Model):
    """What a command reads is never replaced by what it writes."""

    def unharmed(self, victim, *arguments):
        before = victim.read_bytes()
        done = program.run(*arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("another name", done.stderr)
        self.assertEqual(victim.read_bytes(), before)

    def test_outputs_that_are_inputs(self):
        golden = pathlib.Path(__file__).resolve().parents[1] / "model" / "golden" / "llama"
        folder = self.folder / "hf"
        folder.mkdir()
        for f in golden.iterdir():
            (folder / f.name).write_bytes(f.read_bytes())
        weights = folder / "model.safetensors"
        self.unharmed(weights, "import", folder, "-o", weights)
        self.unharmed(weights, "quantize", folder, weights, "q8_0")
        self.unharmed(folder / "config.json", "import", f"{folder}/", "-o", folder / "config.json")
        link = self.folder / "link.gguf"
        link.symlink_to(self.model)
        self.unharmed(self.model, "quantize", self.model, link, "q8_0")
        text = self.folder / "own.txt"
        text.write_text(STORY * 20, encoding="utf-8")
        self.unharmed(text, "imatrix", self.model, "--text", text, "-o", text)
        matrix = self.folder / "own.imatrix"
        self.assertEqual(program.run("imatrix", self.model, "--text", text, "-o", matrix).returncode,
                         0)
        self.unharmed(matrix, "quantize", self.model, matrix, "q8_0", "--imatrix", matrix)

    def test_other_parts_of_a_model(self):
        parts = [self.folder / f"m-0000{i}-of-00002.gguf" for i in (1, 2)]
        for part in parts:
            part.write_bytes(self.model.read_bytes())
        self.unharmed(parts[1], "quantize", parts[0], parts[1], "q8_0")

    def test_pipe(self):
        done = program.run("quantize", self.model, "-", "q8_0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("pipe", done.stderr)


class Compare(Model):
    def test_table_and_json(self):
        options = ["--compare", self.model, "--text", self.text, "--types", "f32,q8_0,q4_0",
                   "--context-size", "64", "--chunks", "4", "--reps", "1"]
        report = json.loads(self.ok("quantize", *options, "--json").stdout)
        self.assertEqual([t["type"] for t in report["types"]], ["F32", "Q8_0", "Q4_0"])
        self.assertEqual((report["windows"], report["scored_tokens"]), (4, 4 * 31))
        same, q8, q4 = report["types"]
        self.assertEqual(same["perplexity"], report["source"]["perplexity"])
        self.assertEqual((same["kl_divergence"]["mean"], same["top1_agreement"]), (0, 1))
        self.assertLess(q8["kl_divergence"]["mean"], q4["kl_divergence"]["mean"])
        self.assertLessEqual(q4["kl_divergence"]["mean"], q4["kl_divergence"]["p99"])
        self.assertGreater(same["bits_per_weight"], q8["bits_per_weight"])
        for row in report["types"] + [report["source"]]:
            speed = row["decode_tokens_per_second"]
            self.assertTrue(0 < speed["min"] <= speed["median"] <= speed["max"])
        alone = json.loads(self.ok("perplexity", self.model, "--text", self.text, "--context-size", "64",
                                   "--chunks", "4", "--json").stdout)
        self.assertAlmostEqual(alone["perplexity"], report["source"]["perplexity"]["value"])
        table = self.ok("quantize", *options)
        lines = table.stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines[2:]],
                         ["type", "source", "F32", "Q8_0", "Q4_0"])
        self.assertEqual(table.stderr, "")

    def test_wrong_usage(self):
        self.refused("quantize", "--compare", self.model, "--text", self.text, "--types", "q9_9",
                     code=2, words="q9_9")
        self.refused("quantize", "--compare", self.model, "--text", self.text, "--types", ",",
                     code=2, words="no type")
        done = program.run("quantize", "--compare", self.model, "--text", self.text,
                           environment={"TMPDIR": str(self.folder / "absent")})
        self.assertEqual(done.returncode, 1)
        self.assertIn("temporary files", done.stderr)


if __name__ == "__main__":
    unittest.main()
