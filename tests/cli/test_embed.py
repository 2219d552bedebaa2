#!/usr/bin/env python3
"""embed, classify and rerank: texts in, the reference's vectors, labels and entities out.

The models are those of tests/model/golden: tiny BERTs with random weights, and what Hugging Face
transformers (tokenizer, model and pipeline) makes of a few texts with them. LLLM_GOLDEN names the
folder."""
import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from program import LLLM, PATIENCE, TemporaryFolder, run

GOLDEN = pathlib.Path(os.environ.get("LLLM_GOLDEN") or
                      pathlib.Path(__file__).resolve().parents[1] / "model" / "golden")
EMBEDDERS = ["bert", "distilbert", "nomic-bert"]
CLASSIFIERS = ["bert-sequence", "distilbert-sequence"]
TAGGERS = ["bert-tokens", "distilbert-tokens"]
LABELS = ["NEGATIVE", "POSITIVE"]


class Golden:
    """What the reference says about the prompts of a folder that are texts."""

    def __init__(self, name):
        self.path = GOLDEN / name
        golden = json.loads((self.path / "golden.json").read_text())
        packed, at, width = (self.path / "golden.bin").read_bytes(), 0, golden["width"]
        self.texts, self.ids, self.rows = [], [], []
        self.mean, self.spans = golden.get("mean"), golden.get("spans")
        for text, ids in zip(golden["texts"], golden["prompts"]):
            rows = []
            for _ in range(1 if golden["kind"] == "sequence" else len(ids)):
                low, high, *q = struct.unpack_from(f"<ff{width}H", packed, at)
                at += 8 + 2 * width
                rows.append([low + (high - low) * x / 65535 for x in q])
            if text is not None:
                self.texts.append(text)
                self.ids.append(ids)
                self.rows.append(rows)


def unit(v):
    length = math.sqrt(sum(x * x for x in v))
    return [x / length for x in v]


def softmax(v):
    e = [math.exp(x - max(v)) for x in v]
    return [x / sum(e) for x in e]


def sigmoid(v):
    return [1 / (1 + math.exp(-x)) for x in v]


class Commands(TemporaryFolder):
    def do(self, *arguments, **more):
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout

    def lines(self, *arguments, **more):
        return [json.loads(l) for l in self.do(*arguments, "--json", **more).splitlines()]

    def near(self, got, expected, within=2e-4):
        self.assertEqual(len(got), len(expected))
        for a, b in zip(got, expected):
            self.assertLess(abs(a - b), within)

    def texts_file(self, golden):
        path = self.folder / f"{golden.path.name}.txt"
        path.write_text("\n".join(golden.texts) + "\n")
        return path


class Embed(Commands):
    def test_pooling(self):
        for name in EMBEDDERS:
            g = Golden(name)
            pooled = {"mean": g.mean, "cls": [r[0] for r in g.rows],
                      "last": [r[-1] for r in g.rows]}
            for way, expected in pooled.items():
                got = self.lines("embed", g.path, *g.texts, "--pooling", way)
                self.assertEqual([o["text"] for o in got], g.texts)
                for o, v, ids in zip(got, expected, g.ids):
                    self.assertEqual((o["pooling"], o["normalized"], o["tokens"]),
                                     (way, True, len(ids)))
                    self.near(o["embedding"], unit(v))
                got = self.lines("embed", g.path, g.texts[1], "--pooling", way, "--no-normalize")
                self.assertFalse(got[0]["normalized"])
                self.near(got[0]["embedding"], expected[1], 1e-3)
            # Mean is what is taken where nothing is said.
            self.assertEqual(self.lines("embed", g.path, g.texts[0])[0]["pooling"], "mean")

    def test_every_token(self):
        for name in EMBEDDERS:
            g = Golden(name)
            got, = self.lines("embed", g.path, g.texts[2], "--pooling", "none", "--no-normalize")
            self.assertEqual(len(got["embedding"]), len(g.ids[2]))
            for row, expected in zip(got["embedding"], g.rows[2]):
                self.near(row, expected, 1e-3)

    def test_plain_output(self):
        """A line of numbers per text, which are those of --json; the same from arguments, a file,
        and standard input with other line ends, on any number of threads."""
        g = Golden("bert")
        path = self.texts_file(g)
        plain = self.do("embed", g.path, *g.texts)
        rows = [[float(x) for x in l.split(" ")] for l in plain.splitlines()]
        self.assertEqual(rows, [o["embedding"] for o in self.lines("embed", g.path, *g.texts)])
        self.assertEqual(self.do("embed", g.path, "-f", path), plain)
        self.assertEqual(self.do("embed", g.path, stdin="\r\n".join(g.texts)), plain)
        self.assertEqual(self.do("embed", g.path, "-f", "-", "--threads", "3",
                                 stdin=path.read_text()), plain)
        none = self.do("embed", g.path, *g.texts[:2], "--pooling", "none").split("\n\n")
        self.assertEqual([len(t.splitlines()) for t in none], [len(i) for i in g.ids[:2]])

    def test_empty_texts(self):
        """An empty line has a vector of its own: lines of input and output keep together."""
        g = Golden("bert")
        got = self.lines("embed", g.path, stdin="good\n\nbad\n")
        self.assertEqual([o["text"] for o in got], ["good", "", "bad"])
        self.assertEqual(got[1]["tokens"], 2)
        for verb, model in ("embed", g), ("classify", Golden("bert-sequence")):
            done = run(verb, model.path, stdin="")
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, "", "lllm: standard input is empty: there are no texts\n"))
            self.assertEqual(run(verb, model.path, "-f", "/dev/null").returncode, 1)

    def test_many(self):
        """Short texts are computed together; what a text gives does not depend on the others."""
        g = Golden("distilbert")
        words = "the movie was good bad anna lives in paris and".split()
        texts = [" ".join(words[(i * k) % 10] for k in range(1 + i % 40)) for i in range(200)]
        forth = self.do("embed", g.path, stdin="\n".join(texts)).splitlines()
        back = self.do("embed", g.path, stdin="\n".join(reversed(texts))).splitlines()
        self.assertEqual(len(forth), len(texts))
        self.assertEqual(forth, list(reversed(back)))
        for i in (0, 39, 117):
            self.assertEqual(self.do("embed", g.path, texts[i]), forth[i] + "\n")
        # Bad lines are told, each in its place, and the others go on.
        bad = "x " * 200
        broken = "\n".join(texts[:3] + [bad] + texts[3:] + [bad])
        done = run("embed", g.path, stdin=broken)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.splitlines(), forth[:3] + [""] + forth[3:] + [""])
        self.assertEqual([l[:l.index(": the text has")] for l in done.stderr.splitlines()],
                         ["lllm: line 4", "lllm: line 202"])
        done = run("embed", g.path, "--json", stdin=broken)
        objects = [json.loads(l) for l in done.stdout.splitlines()]
        self.assertEqual((done.returncode, done.stderr, len(objects)), (1, "", 202))
        self.assertEqual([o["text"] for o in objects], texts[:3] + [bad] + texts[3:] + [bad])
        for at, o in enumerate(objects):
            self.assertEqual("error" in o, at in (3, 201))
            self.assertEqual("embedding" in o, at not in (3, 201))
        self.assertEqual((objects[3]["line"], objects[201]["line"]), (4, 202))
        self.assertIn("--truncate", objects[3]["error"])

    def test_too_long(self):
        g = Golden("bert")
        long = " ".join(["movie"] * 100)
        done = run("embed", g.path, stdin="good\n" + long + "\n")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"\A[^\n]+\n\n\Z")
        self.assertRegex(done.stderr, r"\Alllm: line 2: the text has 102 tokens and the model "
                                      r"takes 80: [^\n]*--truncate[^\n]*\n\Z")
        # With a vector for each token a text has a block, and this one none.
        none = run("embed", g.path, "good", long, "bad", "--pooling", "none").stdout
        self.assertEqual([len(t.splitlines()) for t in none.split("\n\n")], [3, 1 + 3])
        self.assertEqual(none.split("\n\n")[1][0], "\n")
        cut, = self.lines("embed", g.path, long, "--truncate")
        self.assertEqual(cut["tokens"], 80)
        same, = self.lines("embed", g.path, " ".join(["movie"] * 78))
        self.assertEqual(cut["embedding"], same["embedding"])

    def test_writing_models(self):
        """A model that writes text gives the state after its last token, computed in any steps."""
        if run("show", "starter").returncode:
            self.skipTest("this build has no starter model")
        texts = ["A lynx is a cat of the woods.", "Yes"]
        last = self.lines("embed", "starter", *texts)
        self.assertEqual([o["pooling"] for o in last], ["last", "last"])
        every = self.lines("embed", "starter", *texts, "--pooling", "none", "--batch-size", "3",
                           "--threads", "2")
        for one, all_ in zip(last, every):
            self.assertEqual(len(all_["embedding"]), one["tokens"])
            self.assertEqual(all_["embedding"][-1], one["embedding"])
            self.assertAlmostEqual(sum(x * x for x in one["embedding"]), 1, places=5)

    def test_wrong(self):
        bert = GOLDEN / "bert"
        for arguments in (["embed"], ["embed", bert, "x", "-f", "y"],
                          ["embed", bert, "x", "--pooling", "max"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertRegex(done.stderr, r"\Alllm: [^\n]+\n\Z")


class Classify(Commands):
    def test_labels(self):
        for name in CLASSIFIERS:
            g = Golden(name)
            for o, (logits,) in zip(self.lines("classify", g.path, *g.texts), g.rows):
                p = softmax(logits)
                best = p.index(max(p))
                self.assertEqual(o["label"], LABELS[best])
                self.near([o["score"]], [p[best]])
                self.assertEqual(sorted(l["label"] for l in o["labels"]), LABELS)
                for l in o["labels"]:
                    at = LABELS.index(l["label"])
                    self.near([l["score"], l["logit"]], [p[at], logits[at]], 1e-3)
                self.assertEqual(o["labels"][0]["label"], o["label"])
            o, = self.lines("classify", g.path, g.texts[0], "--independent", "--top", "1")
            self.assertEqual(len(o["labels"]), 1)
            self.near([o["score"]], [max(sigmoid(g.rows[0][0]))])

    def test_problem_types(self):
        """Labels that do not exclude each other, and numbers, as the folder has it; imported too."""
        g = Golden("bert-sequence")
        logits = g.rows[0][0]
        for problem, score in (("single_label_classification", softmax(logits)),
                               ("multi_label_classification", sigmoid(logits)),
                               ("regression", logits)):
            folder = self.folder / problem
            shutil.copytree(g.path, folder)
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(dict(config, problem_type=problem)))
            self.do("import", folder, "-o", self.folder / f"{problem}.gguf")
            for path in (folder, self.folder / f"{problem}.gguf"):
                o, = self.lines("classify", path, g.texts[0])
                for l in o["labels"]:
                    self.near([l["score"]], [score[LABELS.index(l["label"])]], 1e-3)
        line = self.do("classify", self.folder / "regression", g.texts[0]).splitlines()[0]
        self.assertRegex(line, r"^\w+ +-?\d+\.\d{4}$")

    def test_label_lines(self):
        g = Golden("distilbert-sequence")
        p = softmax(g.rows[0][0])
        table = self.do("classify", g.path, g.texts[0])
        best, other = sorted(range(2), key=lambda i: -p[i])
        self.assertEqual(table, f"{LABELS[best]}  {100 * p[best]:6.2f}%\n"
                                f"{LABELS[other]}  {100 * p[other]:6.2f}%\n")
        rows = self.do("classify", g.path, "-f", self.texts_file(g)).splitlines()
        for row, text, (logits,) in zip(rows, g.texts, g.rows):
            p = softmax(logits)
            best = p.index(max(p))
            self.assertEqual(row, f"{LABELS[best]}  {100 * p[best]:6.2f}%  {text}")

    def test_entities(self):
        found = 0
        for name in TAGGERS:
            g = Golden(name)
            for o, text, spans in zip(self.lines("classify", g.path, *g.texts), g.texts, g.spans):
                self.assertEqual([[s["label"], s["start"], s["end"]] for s in o["entities"]],
                                 [s[:3] for s in spans])
                self.near([s["score"] for s in o["entities"]], [s[3] for s in spans])
                for s in o["entities"]:
                    self.assertEqual(s["text"], text[s["start"]:s["end"]])
                found += len(spans)
        self.assertGreater(found, 20)

    def test_entity_lines(self):
        g = Golden("bert-tokens")
        spans, text = g.spans[1], g.texts[1]
        one = self.do("classify", g.path, text).splitlines()
        self.assertEqual(len(one), len(spans))
        for line, (label, start, end, score) in zip(one, spans):
            found = re.fullmatch(r"(\d+)-(\d+) +(\w+) +([\d.]+)%  \"(.*)\"", line)
            self.assertTrue(found, line)
            self.assertEqual((int(found[1]), int(found[2]), found[3], found[5]),
                             (start, end, label, text[start:end]))
            self.near([float(found[4])], [100 * score], 0.02)
        several = self.do("classify", g.path, *g.texts).splitlines()
        self.assertEqual([l for l in several if not l.startswith("  ")], g.texts)
        self.assertIn("  " + one[0], several)

    def test_every_token(self):
        g = Golden("bert-tokens")
        names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
        o, = self.lines("classify", g.path, g.texts[1], "--every-token")
        inner = g.rows[1][1:-1]  # without [CLS] and [SEP], which are no text
        self.assertEqual(len(o["labels"]), len(inner))
        for got, logits in zip(o["labels"], inner):
            p = softmax(logits)
            self.assertEqual(got["label"], names[p.index(max(p))])
            self.near([got["score"]], [max(p)])

    def test_wrong(self):
        for arguments, status in ((["classify"], 2), (["classify", GOLDEN / "bert", "x"], 1),
                                  (["classify", GOLDEN / "bert-sequence", "x", "--every-token"], 1),
                                  (["classify", GOLDEN / "bert-tokens", "x", "--independent"], 1)):
            done = run(*arguments)
            self.assertEqual(done.returncode, status, arguments)
            self.assertRegex(done.stderr, r"\Alllm: [^\n]+\n\Z")
        self.assertIn("lllm embed", run("classify", GOLDEN / "bert", "x").stderr)

    def test_imported(self):
        """A GGUF file made from the folder answers the same."""
        for name, command in (("distilbert-sequence", "classify"), ("bert-tokens", "classify"),
                              ("nomic-bert", "embed")):
            path = self.folder / f"{name}.gguf"
            self.do("import", GOLDEN / name, "-o", path)
            text = "Anna was good!"
            a, = self.lines(command, GOLDEN / name, text)
            b, = self.lines(command, path, text)
            a.pop("model")
            b.pop("model")
            self.assertEqual(a, b)

    def test_encoders_write_nothing(self):
        done = run("run", GOLDEN / "bert", "hello")
        self.assertEqual(done.returncode, 1)
        self.assertIn("lllm embed", done.stderr)


class Interrupted(TemporaryFolder):
    """Ctrl-C ends the work with what is done."""

    def catches_interrupt(self, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"^SigCgt:\s*(\w+)", status, re.M)[1], 16) & 1 << signal.SIGINT - 1

    def interrupt(self, *arguments):
        """Standard output and error of a run over 100,000 lines that is interrupted."""
        path = self.folder / "many.txt"
        path.write_text("".join(f"the movie {i} was good\n" for i in range(100000)))
        result = self.folder / "out"
        with open(result, "w") as out, subprocess.Popen(
                [LLLM, *map(str, arguments), "-f", path], text=True, stdout=out,
                stderr=subprocess.PIPE) as p:
            while p.poll() is None and not self.catches_interrupt(p.pid):
                time.sleep(0.02)
            while p.poll() is None and arguments[0] == "embed" and not result.stat().st_size:
                time.sleep(0.02)
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 130, err)
        self.assertRegex(err, r"\Alllm: interrupted: \d+ of 100000 (texts|documents) are done\n\Z")
        return result.read_text(), int(err.split()[2])

    def test_embed(self):
        out, n = self.interrupt("embed", GOLDEN / "bert")
        lines = out.splitlines()
        self.assertEqual(len(lines), n)
        self.assertLess(n, 100000)
        self.assertTrue(out.endswith("\n"))
        self.assertEqual(len({len(l.split()) for l in lines}), 1)

    def test_rerank(self):
        out, n = self.interrupt("rerank", GOLDEN / "bert-sequence", "--query", "x", "--json", "-q")
        said = json.loads(out)
        self.assertEqual((said["interrupted"], len(said["results"])), (True, n))


class Rerank(unittest.TestCase):
    """Scores of pairs as transformers gives them, and cosines as embed's vectors have them."""

    def setUp(self):
        self.golden = json.loads(
            (pathlib.Path(__file__).resolve().parent / "golden" / "rerank.json").read_text())
        self.query, self.documents = self.golden["query"], self.golden["documents"]

    def test_cross_encoders(self):
        for name, rows in self.golden["logits"].items():
            done = run("rerank", GOLDEN / name, "--query", self.query, *self.documents, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            self.assertEqual(said["scores"], "cross-encoder")
            results = said["results"]
            self.assertEqual([r["score"] for r in results],
                             sorted((r["score"] for r in results), reverse=True))
            self.assertEqual(sorted(r["index"] for r in results), list(range(len(rows))))
            for r in results:
                no, yes = rows[r["index"]]
                self.assertAlmostEqual(r["logit"], yes - no, delta=2e-3)
                self.assertAlmostEqual(r["score"], 1 / (1 + math.exp(no - yes)), delta=1e-3)
                self.assertEqual(r["document"], self.documents[r["index"]])
            spread = [yes - no for no, yes in rows]
            self.assertGreater(max(spread) - min(spread), 0.02)  # else it would tell little

    def test_numbers(self):
        """Lines have the number from 1 behind a #, JSON has the index from 0."""
        path = GOLDEN / "bert-sequence"
        done = run("rerank", path, "--query", self.query, *self.documents)
        said = json.loads(run("rerank", path, "--query", self.query, *self.documents,
                              "--json").stdout)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), len(self.documents))
        for line, r in zip(lines, said["results"]):
            score, number, text = line.split(maxsplit=2)
            self.assertEqual((number, text), (f"#{r['index'] + 1}", self.documents[r["index"]]))
            self.assertAlmostEqual(float(score), r["score"], delta=1e-4)
        self.assertGreater(said["tokens"], 0)

    def test_labels_of_something_else(self):
        """Whose labels are not of answers is told so, with what is taken for the score."""
        for source in ("bert-sequence", "distilbert-sequence"):
            done = run("rerank", GOLDEN / source, "--query", self.query, *self.documents)
            self.assertRegex(done.stderr, r'\Alllm: the labels of [^\n]+ are "NEGATIVE" and "POSITIVE", '
                                          r'[^\n]*the probability of "POSITIVE" is taken[^\n]*\n\Z')
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model"
            shutil.copytree(GOLDEN / "bert-sequence", path)
            config = json.loads((path / "config.json").read_text())
            for labels, told in ((["no", "yes"], False), (["Irrelevant", "Relevant"], False),
                                 (["LABEL_0", "LABEL_1"], False), (["yes", "no"], True)):
                config["id2label"] = {str(i): name for i, name in enumerate(labels)}
                config["label2id"] = {name: i for i, name in enumerate(labels)}
                (path / "config.json").write_text(json.dumps(config))
                done = run("rerank", path, "--query", self.query, *self.documents)
                self.assertEqual((done.returncode, bool(done.stderr)), (0, told), done.stderr)
        self.assertEqual(run("rerank", GOLDEN / "bert", "--query", "x", "y").stderr, "")

    def test_company_and_top(self):
        path = GOLDEN / "bert-sequence"
        many = "\n".join(self.documents * 30)
        done = run("rerank", path, "--query", self.query, "--json", "--top", 7, stdin=many)
        results = json.loads(done.stdout)["results"]
        alone = {}
        for d in self.documents:
            said = run("rerank", path, "--query", self.query, d, "--json").stdout
            alone[d] = json.loads(said)["results"][0]["score"]
        self.assertEqual(len(results), 7)
        best = max(alone, key=alone.get)
        place = self.documents.index(best)
        self.assertEqual([r["index"] for r in results],
                         [place + i * len(self.documents) for i in range(7)])
        self.assertTrue(all(r["score"] == alone[best] for r in results))

    def test_blank_lines(self):
        """They are no documents; the others keep the numbers of their lines."""
        path = GOLDEN / "bert-sequence"
        lines = ["", self.documents[0], " \t", self.documents[1], "", ""]
        plain = json.loads(run("rerank", path, "--query", self.query, "--json", "-q",
                               *self.documents[:2]).stdout)["results"]
        done = run("rerank", path, "--query", self.query, "--json", "-q", stdin="\n".join(lines) + "\r\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([(r["document"], r["score"], r["index"] // 2)
                          for r in json.loads(done.stdout)["results"]],
                         [(r["document"], r["score"], r["index"]) for r in plain])
        done = run("rerank", path, "--query", self.query, stdin="\n \n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("there are no documents", done.stderr)

    def test_vectors(self):
        for name in EMBEDDERS:
            path = GOLDEN / name
            for dimensions in (None, 8):
                how = ["--dimensions", dimensions] if dimensions else []
                vectors = [[float(x) for x in line.split()] for line in
                           run("embed", path, "Q " + self.query, *("D " + d for d in self.documents),
                               *how).stdout.splitlines()]
                self.assertTrue(all(abs(sum(x * x for x in v) - 1) < 1e-5 for v in vectors))
                self.assertTrue(dimensions is None or all(len(v) == 8 for v in vectors))
                want = [sum(a * b for a, b in zip(vectors[0], v)) for v in vectors[1:]]
                done = run("rerank", path, "--query", self.query, *self.documents, "--json",
                           "--query-prefix", "Q ", "--document-prefix", "D ", *how)
                said = json.loads(done.stdout)
                self.assertEqual(said["scores"], "cosine")
                for r in said["results"]:
                    self.assertAlmostEqual(r["score"], want[r["index"]], delta=1e-5)

    def test_dimensions_are_the_first_elements(self):
        path = GOLDEN / "bert"
        whole = [float(x) for x in run("embed", path, "x", "--no-normalize").stdout.split()]
        cut = [float(x) for x in
               run("embed", path, "x", "--no-normalize", "--dimensions", 5).stdout.split()]
        self.assertEqual(cut, whole[:5])
        for rows in ("none",):
            lines = run("embed", path, "x y", "--pooling", rows, "--dimensions", 5).stdout
            self.assertTrue(all(len(line.split()) == 5 for line in lines.splitlines()))
        refused = run("embed", path, "x", "--dimensions", 5000)
        self.assertIn("elements", refused.stderr)
        self.assertEqual(refused.returncode, 1)

    def test_refusals(self):
        path = GOLDEN / "bert-sequence"
        long = " ".join(["cat"] * 90)
        done = run("rerank", path, "--query", "x", "a cat", long)
        self.assertEqual(done.returncode, 1)
        self.assertIn("document 2: query and document have", done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        done = run("rerank", path, "--query", "x", "a cat", long, "a dog", "--json", "-q")
        said = json.loads(done.stdout)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertEqual(sorted(r["index"] for r in said["results"]), [0, 2])
        self.assertEqual([e["index"] for e in said["errors"]], [1])
        self.assertIn("--truncate", said["errors"][0]["error"])
        self.assertEqual(run("rerank", path, "--query", "x", "a", long, "--truncate").returncode, 0)
        self.assertIn("the query has", run("rerank", path, "--query", long, "a").stderr)
        self.assertIn("prefixes", run("rerank", path, "--query", "x", "a", "--query-prefix",
                                      "y").stderr)
        self.assertIn("labels texts", run("rerank", GOLDEN / "bert-tokens", "--query", "x",
                                          "a").stderr)
        self.assertEqual(run("rerank", path, "a").returncode, 2)
        self.assertEqual(run("rerank", path, "--query", "x", stdin="").returncode, 1)


if __name__ == "__main__":
    unittest.main()
