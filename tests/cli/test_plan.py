#!/usr/bin/env python3
"""Memory planned before a model is loaded: what is printed, and what is refused."""
import json
import pathlib
import re
import tempfile
import unittest

from program import run
from test_adapters import write_folder

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "model" / "golden"
LLAMA, BERT = str(GOLDEN / "llama"), str(GOLDEN / "bert")


class Plan(unittest.TestCase):
    def ok(self, *arguments):
        done = run(*arguments, "-q")
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def refused(self, *arguments):
        done = run(*arguments, "-q")
        self.assertEqual(done.returncode, 1, arguments)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def plan(self, *arguments):
        return json.loads(self.ok("run", "starter", "--plan", "--json", *arguments))["plan"]

    def test_parts_and_their_sum(self):
        plan = self.plan("--context-size", "1024", "--threads", "1")
        parts = [plan[k] for k in plan if k.endswith("_bytes") and k != "total_bytes"]
        self.assertEqual(len(parts), 9)
        self.assertEqual(plan["total_bytes"], sum(parts))
        self.assertEqual([plan[k] for k in ("context", "kv_type", "sequences", "threads", "fits")],
                         [1024, "f16", 1, 1, True])
        f32 = self.plan("--context-size", "1024", "--threads", "1", "--kv-type", "f32")
        self.assertEqual(f32["kv_cache_bytes"], 2 * plan["kv_cache_bytes"])
        self.assertEqual(f32["scratch_bytes"], plan["scratch_bytes"])
        more = self.plan("--context-size", "1024", "--threads", "5")
        self.assertGreater(more["scratch_bytes"], plan["scratch_bytes"])
        smaller = self.plan("--context-size", "1024", "--threads", "1", "--batch-size", "32")
        self.assertLess(smaller["scratch_bytes"], plan["scratch_bytes"])

    def test_text(self):
        text = self.ok("run", "starter", "--plan", "--context-size", "512")
        for words in ("weights ", "keys and values ", "512 tokens as f16", "scratch ", "together "):
            self.assertIn(words, text)
        self.assertNotIn("keys and values", self.ok("run", BERT, "--plan"))
        self.assertIn("pages of the file", self.ok("run", "starter", "--plan", "--huge-pages"))
        done = run("run", "starter", "hi", "--max-tokens", "1", "-v")
        self.assertIn("of memory: weights", done.stderr)

    def test_limit(self):
        big = ("--context-size", "16384", "--threads", "1")
        need = self.plan(*big)["total_bytes"]
        self.assertTrue(self.plan(*big, "--memory", str(need))["fits"])
        self.ok("run", "starter", "hi", "--max-tokens", "1", *big, "--memory", str(need))
        said = self.refused("run", "starter", "hi", *big, "--memory", str(need - 1))
        self.assertIn("starter: ", said)
        self.assertIn("--memory allows ", said)
        # What is advised fits.
        self.assertIn("--kv-type q8_0 fits, or --context-size ", said)
        self.plan(*big, "--kv-type", "q8_0", "--memory", str(need - 1))
        context = said.split("--context-size ")[1].split()[0]
        self.plan("--context-size", context, "--threads", "1", "--memory", str(need - 1))
        self.assertIn("the weights alone", self.refused("run", "starter", "hi", "--memory", "10K"))
        dry = run("run", "starter", "--plan", *big, "--memory", "8M", "--json")
        self.assertEqual(dry.returncode, 1)
        self.assertFalse(json.loads(dry.stdout)["plan"]["fits"])

    def test_advice_is_of_options_that_there_are(self):
        one = ("--threads", "1", "--context-size", "512")
        need = self.plan(*one)["total_bytes"]
        self.assertIn("--kv-type", self.refused("run", "starter", "hi", *one, "--memory",
                                                str(need - (1 << 19))))
        said = self.refused("embed", "starter", "hi", *one, "--memory", str(need - (1 << 19)))
        self.assertIn("--context-size ", said)
        self.assertNotIn("--kv-type", said)
        # Where no context fits with such steps, smaller ones come before a smaller model.
        least = self.plan("--threads", "1", "--context-size", "128")["total_bytes"]
        said = self.refused("run", "starter", "hi", *one, "--memory", str(least - (1 << 19)))
        advice = said.rsplit(": ", 1)[1]
        self.assertTrue(advice.startswith("--batch-size "), said)
        options = [word for word in advice.split() if word[0] == "-" or word[0].isdigit() or
                   word == "q8_0"]
        self.plan("--threads", "1", *options, "--memory", str(least - (1 << 19)))

    def test_fewer_beams(self):
        how = ("--threads", "1", "--batch-size", "32", "--kv-type", "q8_0", "--memory",
               str(self.plan("--threads", "1", "--batch-size", "32", "--kv-type", "q8_0", "--beams", "5",
                             "--context-size", "128")["total_bytes"]))
        for asked in (("--context-size", "128"), ()):
            said = self.refused("run", "starter", "hi", *how, *asked, "--beams", "64")
            self.assertNotIn("fewer bits", said)
            found = re.search(r": --beams (\d+)( with --context-size (\d+))? fits", said)
            self.assertTrue(found, said)
            self.assertEqual(int(found[1]) == 5, bool(asked or found[2]))
            self.plan(*how, *(asked or (("--context-size", found[3]) if found[3] else ())), "--beams", found[1])

    def test_adapters(self):
        """Their bytes are a line of the plan, and are refused before they are read."""
        shapes = {t["name"]: t["dims"] for t in
                  json.loads(self.ok("show", "starter", "--json", "--tensors"))["tensors"]}
        with tempfile.TemporaryDirectory() as folder:
            modules = {f"model.layers.{i}.mlp.down_proj": shapes[f"blk.{i}.ffn_down.weight"]
                       for i in range(8)}
            lora = write_folder(pathlib.Path(folder) / "lora", modules, rank=64)
            data = (lora / "adapter_model.safetensors").stat().st_size
            one = ("--threads", "1")
            plain = self.plan(*one)
            plan = self.plan(*one, "--lora", f"{lora}=0.5")
            self.assertGreater(plan["adapters_bytes"], data - 4096)
            self.assertLess(plan["adapters_bytes"], 2 * data)
            # With them tile units do not have the blocks of prompts to themselves.
            more = plan["scratch_bytes"] - plain["scratch_bytes"]
            self.assertGreaterEqual(more, 0)
            self.assertEqual(plan["total_bytes"],
                             plain["total_bytes"] + plan["adapters_bytes"] + more)
            self.assertIn("adapters ", self.ok("run", "starter", "--plan", "--lora", lora))
            need = plan["total_bytes"]
            how = ("run", "starter", "hi", "-n", "1", *one, "--lora", lora)
            self.ok(*how, "--memory", str(need))
            self.assertIn(", adapters ", self.refused(*how, "--memory", str(need - 1)))
            self.assertIn(", adapters ", self.refused(*how, "--lookup", "--memory", str(need - 1)))
            # Of a batch, those of --lora-modules that lines ask for.
            batch = ("batch", "starter", *one, "--context-size", "256", "--lora-modules",
                     f"a={lora}")
            lines = pathlib.Path(folder) / "lines.jsonl"
            for line, counts in (('{"prompt": "x"}', 0), ('{"prompt": "x", "lora": "a"}', 1),
                                 ('{"prompt": "x", "lora": [{"name": "a", "scale": 2}]}', 1),
                                 ('{"prompt": "x", "model": "a"}', 1)):
                lines.write_text(line)
                got = json.loads(self.ok(*batch, "--plan", "--json", "--input", lines))["plan"]
                self.assertEqual(got["adapters_bytes"], counts * plan["adapters_bytes"], line)
            least = json.loads(self.ok(*batch, "--plan", "--json", "--parallel", "1", "--memory",
                                       "60M"))["plan"]
            self.assertEqual(least["adapters_bytes"], plan["adapters_bytes"])  # no lines: all
            self.assertIn(", adapters ", self.refused(*batch, "--input", lines, "--memory", "20M"))

    def test_batch(self):
        """What is printed, what -v tells and what is taken is one plan."""
        how = ("batch", "starter", "--threads", "1", "--prompts", "a", "b")
        plan = json.loads(self.ok(*how, "--plan", "--json", "--parallel", "4"))["plan"]
        self.assertEqual((plan["context"], plan["parallel"], plan["kv_cache_tokens"]),
                         (768, 4, 64 * 128))
        text = self.ok(*how, "--plan", "--parallel", "16")
        self.assertIn("12,288 tokens as f16, 16 answers of up to 768 at once", text)
        said = run(*how, "--parallel", "16", "-v", "-n", "1").stderr
        self.assertIn("keys and values of 12288 tokens for 16 answers at once (f16) ", said)
        size = text.split("together")[1].split(" at most")[0].strip()
        self.assertIn(f"takes up to {size} of memory", said)
        # Within a limit there are fewer pages; what not even one context fits is refused.
        small = json.loads(self.ok(*how, "--plan", "--json", "--memory", "40M"))["plan"]
        self.assertTrue(small["fits"])
        self.assertLessEqual(small["total_bytes"], 40 << 20)
        self.assertLess(small["kv_cache_tokens"], 64 * 768)
        shared = self.ok(*how, "--plan", "--memory", "40M")
        n_tokens = f"{small['kv_cache_tokens']:,}"
        self.assertIn(f"{n_tokens} tokens as f16 that up to {small['parallel']} answers share, each "
                      "of up to 768\n", shared)
        said = run(*how, "--memory", "40M", "-v", "-n", "1").stderr
        self.assertIn(f"of {small['kv_cache_tokens']} tokens that up to {small['parallel']} answers "
                      "share (f16) ", said)
        done = run(*how, "--plan", "--json", "--memory", "16M")
        self.assertEqual(done.returncode, 1)
        least = json.loads(done.stdout)["plan"]
        self.assertFalse(least["fits"])
        limit = f"{(least['total_bytes'] >> 20) - 2}M"
        said = self.refused(*how, "--memory", limit)
        advice = said.rsplit(": ", 1)[1].split(" fits")[0].split()
        self.ok(*how, "-n", "1", "--memory", limit, *advice)
        # Of several models each has a plan.
        with tempfile.TemporaryDirectory() as folder:
            lines = pathlib.Path(folder) / "lines.jsonl"
            lines.write_text('{"prompt": "x"}\n{"prompt": "x", "model": "other"}')
            two = ("batch", "starter", "--models", f"other={LLAMA}", "--plan", "--input", lines)
            told = json.loads(self.ok(*two, "--json"))
            plans = told["models"]
            self.assertEqual([p["model"] for p in plans], ["starter", LLAMA])
            self.assertIn(f"\n{LLAMA}\nweights ", self.ok(*two))
            sizes = [p["plan"]["total_bytes"] for p in plans]
            self.assertEqual([told[k] for k in ("together_bytes", "largest_bytes", "side_by_side")],
                             [sum(sizes), max(sizes), True])
            self.assertIn("side by side, all 2 models take at most ", self.ok(*two))
            less = ("--memory", str(max(sizes)))
            self.assertIs(json.loads(self.ok(*two, "--json", *less))["side_by_side"], False)
            self.assertRegex(self.ok(*two, *less), "all 2 models would take .* and there is room for")
            lines.write_text('{"prompt": "x"}')
            self.assertIn("plan", json.loads(self.ok(*two, "--json")))

    def test_the_prompts_of_a_batch(self):
        """They are all in memory before the first is answered."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        few, many = (pathlib.Path(folder.name, name) for name in ("few", "many"))
        few.write_text("hi\n")
        many.write_text("".join(f"{i} {'x' * 200}\n" for i in range(20000)))

        def plan(file):
            done = run("batch", "starter", "--plan", "--json", "--threads", "1", "--input", file)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)["plan"]
        one, all_of_them = plan(few), plan(many)
        self.assertLess(one["prompts_bytes"], 1000)
        self.assertGreater(all_of_them["prompts_bytes"], many.stat().st_size)
        self.assertEqual(all_of_them["total_bytes"] - one["total_bytes"],
                         all_of_them["prompts_bytes"] - one["prompts_bytes"])
        self.assertIn("\nprompts  ", run("batch", "starter", "--plan", "--input", many).stdout)
        room = str(all_of_them["weights_bytes"] + all_of_them["prompts_bytes"] - 1)
        done = run("batch", "starter", "--memory", room, "--input", many)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
        self.assertIn("take fewer prompts at a time", done.stderr)

    def test_more_answers_than_a_step_had_tokens(self):
        how = ("batch", "starter", "--temp", "1", "--seed", "1", "-n", "9", "--json")
        prompts = ("--prompts", *(f"What is {i}?" for i in range(40)))
        usual = json.loads(self.ok(*how, *prompts))
        for more in (("--parallel", "32", "--batch-size", "16"), ("--batch-size", "16")):
            plan = json.loads(self.ok(*how, *more, "--plan"))["plan"]
            n = 32 if "--parallel" in more else 16
            self.assertEqual((plan["batch"], plan["parallel"]), (n, n))
            got = json.loads(self.ok(*how, *more, *prompts))
            self.assertEqual(got["figures"]["parallel"], n)
            self.assertEqual(got["results"], usual["results"])

    def test_as_many_answers_as_fit(self):
        how = ("batch", "starter", "--threads", "1", "--temp", "0", "--seed", "1", "-n",
               "4", "--prompts", "a", "b")
        low, need = 1 << 20, 64 << 20  # of 64 answers at once
        while need - low > 1:
            middle = (low + need) // 2
            plan = run(*how, "--plan", "--parallel", "64", "--memory", str(middle))
            low, need = (low, middle) if plan.returncode == 0 else (middle, need)
        limit = ("--memory", str(need - 1))
        said = self.refused(*how, "--parallel", "64", *limit)
        self.assertRegex(said, "--parallel [0-9]+ fits")
        n = int(said.split("--parallel ")[1].split()[0])
        self.assertEqual(json.loads(self.ok(*how, "--plan", "--json", *limit))["plan"]["parallel"],
                         n)
        done = run(*how, "--json", "-v", *limit)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"memory has room for {n} answers at once", done.stderr)
        document = json.loads(done.stdout)
        self.assertEqual(document["figures"]["parallel"], n)
        self.assertEqual(document["results"], json.loads(self.ok(*how, "--json"))["results"])

    def test_more_than_the_machine_has(self):
        huge = ("--context-size", str(1 << 24), "--threads", "1")
        dry = json.loads(run("run", "starter", "--plan", "--json", *huge).stdout)
        room = dry["machine"]["room_bytes"]
        if room is None or dry["plan"]["total_bytes"] <= room:
            self.skipTest("this machine has room for everything, or does not tell")
        said = self.refused("run", "starter", "hi", *huge)
        self.assertRegex(said, "the machine has|its control group has")
        self.assertIn("--memory none", said)

    def test_more_than_it_was_trained_for(self):
        """The warning of the run itself comes with its plan."""
        words = "was trained for a context of 768 tokens, and 2048 were asked for"
        big = ("starter", "--context-size", "2048")
        for verb in (("run", *big, "hi", "-n", "1"), ("run", *big, "--plan"),
                     ("run", *big, "--plan", "--json"), ("show", *big, "--memory"),
                     ("show", *big, "--memory", "--json")):
            done = run(*verb)
            self.assertEqual((done.returncode, done.stderr.count(words)), (0, 1), verb)
        self.assertEqual(run("run", "starter", "--context-size", "768", "--plan").stderr, "")
        self.assertEqual(run("run", *big, "--plan", "-q").stderr, "")

    def test_spellings(self):
        for size in ("4G", "4GiB", "4.5GB", "900 MB", "none", "4294967296"):
            self.plan("--memory", size)
        for size in ("4X", "", "-1G", "lots", "0"):
            done = run("run", "starter", "--plan", f"--memory={size}")
            self.assertEqual(done.returncode, 2, size)
            self.assertIn("--memory takes a size such as 4G", done.stderr)

    def table(self, *arguments):
        return json.loads(self.ok("show", *arguments, "--memory", "--json", "--threads", "1"))

    def test_table(self):
        table = self.table("starter")
        types = ["f32", "f16", "q8_0"]
        self.assertEqual([(p["context"], p["kv_type"]) for p in table["plans"]],
                         [(c, t) for c in (512, 768) for t in types])
        self.assertEqual(table["largest_context"], {t: 768 for t in types})
        self.assertEqual(table["plans"][4], self.plan("--threads", "1"))
        many = self.table("starter", "--sequences", "8", "--context-size", "512")["plans"]
        self.assertEqual(len(many), 3)
        self.assertEqual(many[0]["kv_cache_bytes"], 8 * table["plans"][0]["kv_cache_bytes"])
        self.assertEqual(many[0]["scratch_bytes"], table["plans"][0]["scratch_bytes"])
        # Heads of 8 cannot be q8_0, and an encoder keeps nothing.
        self.assertEqual([p["kv_type"] for p in self.table(LLAMA)["plans"]], ["f32", "f16"])
        encoder = self.table(BERT)["plans"]
        self.assertEqual([(p["kv_type"], p["kv_cache_bytes"]) for p in encoder], [(None, 0)])
        text = self.ok("show", "starter", "--memory")
        for words in ("weights ", "f32", "f16", "q8_0", "fits"):
            self.assertIn(words, text)
        self.refused("show", str(GOLDEN), "--memory")

    def test_one_of_a_thing_has_no_plural(self):
        text = self.ok("batch", "starter", "--parallel", "1", "--plan", "--batch-size", "1")
        self.assertIn(", 1 answer of up to ", text)
        self.assertIn("  1 token at a time", text)
        self.assertIn("| 1 token at ", run("batch", "starter", "-n", "1", "--prompts", "x").stderr)

    def test_huge_pages_change_no_answer(self):
        arguments = ("run", "starter", "-q", "What is 2 + 3?", "--temp", "0")
        plain, huge = run(*arguments), run(*arguments, "--huge-pages")
        self.assertEqual((huge.returncode, huge.stdout), (0, plain.stdout))
        said = run(*arguments[:2], *arguments[3:], "--huge-pages").stderr
        self.assertIn("the weights stay where they are: they are part of the program", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
