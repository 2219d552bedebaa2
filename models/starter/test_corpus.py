#!/usr/bin/env python3
"""Tests of the corpus, its generator and the scoring: python3 -m unittest test_corpus."""

import dataclasses
import json
import os
import random
import re
import stat
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import corpus_files
import evaluate
import extraction
import frames
import make_corpus
import questions
import rephrase
import sentiment
import toolcalls
import values
from questions import normalise, one_in_eight, split_phrasings

HERE = Path(__file__).resolve().parent
SEED = 7
SHARE = 1 if os.environ.get("LLLM_SOAK") == "1" else 0.12  # of the samples of training
RECORD = """topic: sorting
kind: concept
name: sorting
facts: order
{questions}
a: Sorting puts things in order.
"""
NUMBERS = r"[0-9. ()*/+x-]+"


def setUpModule():
    """Build the corpus once for all tests."""
    corpus = make_corpus.build(make_corpus.CORPUS_DIR, SEED, SHARE)
    Made.corpus, Made.train, Made.evals = corpus, corpus.train, corpus.evals
    Made.topics, Made.offtopic = corpus_files.read_corpus(make_corpus.CORPUS_DIR)
    Made.all = corpus.warmup + corpus.train + corpus.valid
    Made.asked = [(sample.task, message["content"]) for sample in Made.all
                  for message in sample.messages if message["role"] == "user"]


class Made:
    """What setUpModule built; validation counts as seen, like training."""

    corpus = train = evals = topics = offtopic = asked = all = None


def phrasing_pattern(phrasing, slot, numbers=()):
    """Turn a phrasing into an expression that matches its questions, ignoring case."""
    parts = re.split(r"\{([\w ]+)\}", phrasing)
    texts = [re.escape(part) for part in parts[::2]]
    slots = [r"[0-9.]+" if name in numbers else slot for name in parts[1::2]] + [""]
    return re.compile("".join(text + gap for text, gap in zip(texts, slots)),
                      re.IGNORECASE | re.DOTALL)


class SplitTest(unittest.TestCase):
    """Nothing of the evaluation is in training."""

    def test_no_eval_question_in_train(self):
        """Case, punctuation, blanks and filler words do not make a question new."""
        asked = {normalise(content) for _, content in Made.asked}
        for name, records in Made.evals.items():
            for record in records:
                question = record["messages"][0]["content"]
                self.assertNotIn(normalise(question), asked, name)

    def test_no_held_out_family_in_train(self):
        """No question has the form of the held-out family, hand-written or not."""
        for task, content in Made.asked:
            self.assertFalse(questions.is_held_out_family(content), (task, content))

    def test_held_out_family_is_recognised(self):
        """Each question of the family evaluation matches, variations too."""
        for record in Made.evals["topics-family"]:
            content = record["messages"][0]["content"]
            self.assertTrue(questions.is_held_out_family(content), content)
            self.assertTrue(questions.is_held_out_family("hey, " + content.lower()), content)

    def test_no_held_out_sentiment(self):
        """Neither held-out instructions nor the held-out sentences are trained on."""
        patterns = [phrasing_pattern(p, ".*") for p in sentiment.HELD_OUT_INSTRUCTIONS]
        delayed = re.compile(r"after \d+ (weeks with it|days)|having tried it \d|"
                             r"now that i have had it for \d", re.IGNORECASE)
        for task, content in Made.asked:
            self.assertIsNone(delayed.search(content), content)
            if task == "sentiment":
                self.assertFalse(any(p.fullmatch(content) for p in patterns), content)
        seen = {normalise(content) for task, content in Made.asked if task == "sentiment"}
        for record in Made.evals["sentiment"]:
            content = record["messages"][0]["content"]
            pattern = next(p for p in sentiment.HELD_OUT_INSTRUCTIONS
                           if phrasing_pattern(p, ".*").fullmatch(content))
            text = content[pattern.index("{s}"):]
            for instruction in sentiment.TRAIN_INSTRUCTIONS:
                self.assertNotIn(normalise(instruction.format(s=text)), seen)

    def test_no_held_out_extraction(self):
        """No training text has a held-out sentence form, and no value of the lists is shared."""
        by_fields = []
        for field_set in extraction.FIELD_SETS:
            words = {word for ways, _ in field_set.fields.values() for word in ways}
            numbers = ("age", "quantity", "price", "amount")
            by_fields.append((words, [phrasing_pattern(form, "[^\n]+?", numbers)
                                      for form in field_set.held_out_forms]))
        for sample in Made.all:
            if sample.task != "extraction":
                continue
            content = sample.messages[0]["content"]
            keys = set(json.loads(sample.messages[1]["content"]))
            for words, patterns in by_fields:
                if keys <= words and len(keys) > 1:
                    hit = [p.pattern for p in patterns if p.search(content)]
                    self.assertEqual(hit, [], content)
        for listed in (values.FIRST_NAMES, values.LAST_NAMES,
                       *map(values.words_of, (values.CITIES, values.PRODUCTS,
                                                  values.EVENTS, values.PLACES,
                                                  values.ROLES))):
            self.assertEqual({one_in_eight(value) for value in listed}, {True, False})

    def test_no_held_out_tool_phrasing(self):
        """No training question has a held-out phrasing or a held-out number."""
        groups = [(toolcalls.EXPRESSION_PHRASINGS, NUMBERS),
                  (toolcalls.CITY_PHRASINGS, "[A-Za-z ]+"),
                  (toolcalls.PLAIN_TIME_PHRASINGS, "")]
        groups += [(p, NUMBERS) for p in toolcalls.TWO_NUMBER_PHRASINGS.values()]
        held_out = [phrasing_pattern(p, slot) for group, slot in groups
                    for p in split_phrasings(group)[1]]
        for sample in Made.all:
            for message in sample.messages:
                if message["role"] == "user":
                    self.assertFalse(any(p.fullmatch(message["content"]) for p in held_out),
                                     message["content"])
                call = evaluate.parse_call(message["content"])
                if message["role"] == "assistant" and call:
                    expression = call["arguments"].get("expression", "")
                    self.assertFalse(toolcalls.uses_held_out_number(expression), expression)

    def test_each_topic_is_held_out_and_trained(self):
        """One hand-written question in eight is held out, at least one a topic."""
        held_out = [record["topic"] for record in Made.evals["topics"]]
        self.assertEqual(set(held_out), {topic.slug for topic in Made.topics})
        answers = {sample.messages[1]["content"] for sample in Made.train
                   if sample.task == "topics"}
        self.assertEqual(answers, {topic.answer for topic in Made.topics})

    def test_offtopic_subjects_are_new(self):
        """The subjects of the off-topic test occur in no topic and no off-topic training."""
        self.assertEqual(len(Made.evals["offtopic"]), 100)
        texts = [f" {normalise(content)} " for task, content in Made.asked
                 if task in ("topics", "offtopic")]
        texts += [f" {normalise(topic.answer)} " for topic in Made.topics]
        text = "|".join(texts)
        for record in Made.evals["offtopic"]:
            self.assertNotIn(f" {normalise(record['subject'])} ", text)


    def test_held_out_questions_stay(self):
        """More questions, or later ones in another order, move none of those there are."""
        rng = random.Random(4)
        for topic in Made.topics[::9]:
            train, held_out = make_corpus.split_questions(topic)
            self.assertEqual(sorted(train + held_out), sorted(topic.questions))
            later = topic.questions[make_corpus.FIRST_QUESTIONS:]
            later += [f"Is question {index} new?" for index in range(16)]
            rng.shuffle(later)
            longer = dataclasses.replace(
                topic, questions=topic.questions[:make_corpus.FIRST_QUESTIONS] + later)
            more_train, more_held_out = make_corpus.split_questions(longer)
            self.assertLessEqual(set(train), set(more_train))
            self.assertLessEqual(set(held_out), set(more_held_out))

    def test_first_held_out(self):
        """The first evaluation, three questions a topic, is part of this one."""
        first = Counter(record["topic"] for record in Made.evals["topics"] if record["first"])
        self.assertEqual(set(first.values()), {3})
        later = sum(not record["first"] for record in Made.evals["topics"])
        written = sum(len(topic.questions) - make_corpus.FIRST_QUESTIONS for topic in Made.topics)
        self.assertAlmostEqual(later / written, 1 / 8, delta=0.015)


class CopyingTest(unittest.TestCase):
    """What has to be copied is new."""

    def test_values_to_copy(self):
        """No value of the evaluation is an answer of training."""
        answers = [json.loads(sample.messages[-1]["content"]) for sample in Made.all
                   if sample.task == "extraction"]
        held_out = {value for record in Made.evals["extraction"]
                  for value in record["expected"].values()
                  if isinstance(value, str) and value.isalpha()}
        self.assertGreater(len(held_out), 50)
        for answer in answers:
            for value in answer.values():
                self.assertNotIn(value, held_out)

    def test_copying(self):
        """Each word of an answer stands in its request, and most words come up hardly twice."""
        words = Counter()
        for sample in Made.all:
            if sample.task == "copying":
                request, answer = (message["content"] for message in sample.messages)
                parts = re.findall(r"[A-Za-z]+", answer)
                for part in parts:
                    self.assertIn(part.lower(), request.lower())
                words.update(parts)
        self.assertGreater(len(words), 2000)

    def test_warmup(self):
        """The first stage has short texts to repeat, and all the other tasks."""
        tasks = Counter(sample.task for sample in Made.corpus.warmup)
        self.assertEqual(set(tasks), {"warmup"} | {sample.task for sample in Made.train})
        for sample in Made.corpus.warmup:
            if sample.task == "warmup":
                text, answer = (message["content"] for message in sample.messages)
                self.assertEqual(text, answer)
                self.assertLessEqual(len(text.split()), 8)
                self.assertEqual(len(set(text.split())), len(text.split()))

    def test_frames(self):
        """Each form with alternatives gives text with its values and no bracket left."""
        rng = random.Random(5)
        self.assertEqual(set(frames.MORE_FORMS), set(extraction.SET_NAMES))
        for name, forms in frames.MORE_FORMS.items():
            fields = extraction.FIELD_SETS[extraction.SET_NAMES.index(name)].fields
            makers = {slot: maker for slot, (_, maker) in fields.items()}
            self.check_forms(rng, forms, makers)
        for makers, forms in frames.OTHER_SETS:
            self.check_forms(rng, forms, makers)

    def check_forms(self, rng, forms, makers):
        """Check what is made of each form."""
        for form in forms:
            for _ in range(8):
                text, made = frames.fill(rng, form, makers)
                self.assertNotRegex(text, r"[][{}]")
                self.assertTrue(made, form)
                for value in made.values():
                    self.assertIn(str(value), text)

    def test_cut_answers(self):
        """A cut answer is the beginning of the whole one, and there are enough whole ones too."""
        cut = [sample for sample in Made.all if sample.cut]
        self.assertEqual({sample.task for sample in cut}, {"topics", "offtopic"})
        for sample in cut:
            last = json.loads(sample.line())["messages"][-1]
            self.assertTrue(last["cut"])
            whole = sample.messages[-1]["content"]
            self.assertTrue(whole.startswith(last["content"]))
            self.assertFalse(whole[len(last["content"]):][:1].isalnum())
        whole = Counter(sample.messages[-1]["content"] for sample in Made.train
                        if sample.task == "topics" and not sample.cut)
        self.assertGreater(sum(whole.values()), 40 * SHARE * len(Made.topics))

    def test_conversations_are_whole(self):
        """What is chained has no cut answer in it."""
        for sample in Made.all:
            if sample.task == "conversations":
                self.assertNotIn('"cut"', sample.line())


class SampleTest(unittest.TestCase):
    """Samples have the form that the trainer and the program expect."""

    def test_sizes(self):
        """There are as many samples as asked for and enough off-topic subjects."""
        self.assertGreater(len(Made.train), 250000 * SHARE)
        self.assertLess(len(Made.train), 280000 * SHARE)
        self.assertGreaterEqual(len(Made.offtopic.subjects), 1200)
        self.assertGreaterEqual(len(Made.offtopic.questions), 250)
        for name, size in (("sentiment", 200), ("extraction", 200), ("tools", 200)):
            self.assertEqual(len(Made.evals[name]), size)

    def test_roles_and_ascii(self):
        """User and assistant take turns; a tool only speaks after a call."""
        after = {"user": {"assistant"}, "assistant": {"user", "tool"}, "tool": {"assistant"}}
        for sample in Made.all:
            roles = [message["role"] for message in sample.messages]
            self.assertEqual((roles[0], roles[-1]), ("user", "assistant"))
            for one, two in zip(roles, roles[1:]):
                self.assertIn(two, after[one])
            self.assertTrue(all(m["content"].strip() and m["content"].isascii()
                                for m in sample.messages))

    def test_extraction_answers_parse(self):
        """Each answer is one line of JSON whose values are in the text."""
        for sample in Made.all:
            if sample.task == "extraction":
                answer = sample.messages[1]["content"]
                value = json.loads(answer)
                self.assertEqual(json.dumps(value), answer)
                self.assertNotIn("\n", answer)
                for part in value.values():
                    if part is not None:
                        self.assertIn(str(part).lower(), sample.messages[0]["content"].lower())

    def test_tool_calls_parse(self):
        """Each call is in exact Hermes form, for an offered tool, and can be worked out."""
        calls = 0
        for sample in Made.all:
            offered = [tool["function"]["name"] for tool in sample.tools or []]
            for message in sample.messages:
                if message["role"] != "assistant" or "tool_call" not in message["content"]:
                    continue
                calls += 1
                call = evaluate.parse_call(message["content"])
                self.assertEqual(toolcalls.call_text(**call), message["content"])
                self.assertIn(call["name"], offered)
                if call["name"] == "calculator":
                    toolcalls.calculator_result(call["arguments"]["expression"])
        self.assertGreater(calls, 15000 * SHARE)

    def test_sentiment_labels_are_balanced(self):
        """Each label is about a third."""
        labels = [record["expected"] for record in Made.evals["sentiment"]]
        self.assertEqual(sorted(labels.count(label) for label in sentiment.LABELS), [66, 67, 67])
        for label in ("positive", "negative"):
            self.assertGreaterEqual(len(sentiment.JUDGEMENTS[label]) + len(sentiment.VERBS[label])
                                    + len(sentiment.REMARKS[label]), 120)

    def test_same_seed_same_files(self):
        """A second run in another process, with other hashing, writes the same."""
        program = ("import sys, pathlib, make_corpus as m; m.write_all(pathlib.Path(sys.argv[1]), "
                   f"m.build(m.CORPUS_DIR, {SEED}, {SHARE}))")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-c", program, folder], check=True, cwd=HERE,
                           env=dict(os.environ, PYTHONHASHSEED="123", PYTHONDONTWRITEBYTECODE="1"))
            for name in ("warmup", "train", "valid"):
                lines = Path(folder, f"{name}.jsonl").read_text(encoding="ascii").splitlines()
                self.assertEqual(lines,
                                 [sample.line() for sample in getattr(Made.corpus, name)])
            for name, records in Made.evals.items():
                path = Path(folder, "eval", f"{name}.jsonl")
                lines = path.read_text(encoding="ascii").splitlines()
                self.assertEqual(lines, [json.dumps(record) for record in records])


class ValidationTest(unittest.TestCase):
    """Faults in the corpus files are reported with the line."""

    def fault(self, text):
        """Return the message that a topic file with this text gets."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "topics-x.txt")
            path.write_bytes(text.encode("utf-8"))
            with self.assertRaises(corpus_files.CorpusError) as caught:
                corpus_files.read_topics([path])
        return str(caught.exception)

    @staticmethod
    def record(count=8, start=0):
        """Write a record with so many questions."""
        return RECORD.format(questions="\n".join(f"q: What is sorting {start + i}?"
                                                 for i in range(count)))

    def test_faults(self):
        """Each fault has its own sentence."""
        good = self.record()
        for text, sentence in (
                (self.record(7), "topics-x.txt:1: The topic has 7 questions"),
                (good.replace("facts: order", "facts: chaos"), ":4: The fact 'chaos'"),
                (good.replace("kind: concept", "kind: thing"), ":2: A kind is one of"),
                (good.replace("topic: sorting", "topic: Sorting It"), ":1: A topic is"),
                (good.replace("name: sorting\n", ""), "has no field 'name'"),
                (good.replace("sorting 3", "sorting \u00e9"), ":8: The line is not plain ASCII"),
                (good.replace("sorting 3", "SORTING 2"), ":8: The question"),
                (good + "\n" + self.record(8, 8), "The topic 'sorting' exists already"),
                (good.replace("name:", "title:"), ":3: There is no field 'title'"),
                (good + "what is this\n", "not of the form")):
            self.assertIn(sentence, self.fault(text))


class EvaluateTest(unittest.TestCase):
    """The scoring is right and failures are told."""

    def test_scores(self):
        """One right and one wrong answer for each kind of set."""
        facts = {"facts": [["order"], ["list", "row"]]}
        call = {"expected": {"name": "clock", "arguments": {"timezone": "UTC"}}}
        data = {"expected": {"age": 12, "city": None}}
        for name, record, right, wrong in (
                ("topics", facts, "A Row in ORDER.", "A list."),
                ("sentiment", {"expected": "neutral"}, "neutral\n", "neutral."),
                ("extraction", data, '{"city": null, "age": 12}', '{"age": "12", "city": null}'),
                ("tools", call, toolcalls.call_text("clock", {"timezone": "UTC"}),
                 toolcalls.call_text("clock", {"timezone": "Asia/Tokyo"})),
                ("offtopic", {}, "I don't know. Sorry.", "It is 12.")):
            self.assertTrue(evaluate.is_right(name, record, right), name)
            self.assertFalse(evaluate.is_right(name, record, wrong), name)

    def test_wilson(self):
        """Known values of the interval."""
        low, high = evaluate.wilson(8, 10)
        self.assertAlmostEqual(low, 0.4902, 4)
        self.assertAlmostEqual(high, 0.9433, 4)
        self.assertEqual(evaluate.wilson(0, 0), (0.0, 1.0))

    def run_with(self, script, *more):
        """Run evaluate.py with a fake program on one record."""
        with tempfile.TemporaryDirectory() as folder:
            fake = Path(folder, "lllm")
            fake.write_text(script, encoding="ascii")
            fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
            record = {"messages": [{"role": "user", "content": "Classify: fine"}],
                      "expected": "positive"}
            Path(folder, "sentiment.jsonl").write_text(json.dumps(record), encoding="ascii")
            command = [sys.executable, str(HERE / "evaluate.py"), "--lllm", str(fake), "--model",
                       "m", "--data", folder, "--set", "sentiment", *more]
            return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_run(self):
        """The table and the exit status with a program that works and with one that fails."""
        done = self.run_with("#!/bin/sh\necho positive\n", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)[0]["right"], 1)
        done = self.run_with("#!/bin/sh\necho no such model >&2\nexit 3\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such model", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)


class QuestionTest(unittest.TestCase):
    """Templates and variation."""

    def test_fill(self):
        """Grammar follows the kind."""
        self.assertEqual(questions.fill("why {do} {n} matter?", "plural", "qubits", "matters"),
                         "Why do qubits matter?")
        self.assertEqual(questions.fill("{bare} meaning", "concept", "a cache", "keywords"),
                         "cache meaning")

    def test_variation_keeps_the_question(self):
        """Normalising undoes variation, except for contractions and typing errors."""
        rng = random.Random(1)
        base = "Explain to me how a hash map grows."
        same = sum(normalise(questions.vary(rng, base)) == normalise(base) for _ in range(500))
        self.assertGreater(same, 450)

    def test_other_words(self):
        """Synonyms, spellings and slips change words and leave names of topics findable."""
        rng = random.Random(2)
        self.assertEqual(rephrase.swap_words(rng, "Why does my GPU overheat?", 0),
                         "Why does my GPU overheat?")
        made = {rephrase.swap_words(rng, "Why does my GPU overheat?", 1) for _ in range(60)}
        self.assertIn("How come does my Video card overheat?", made)
        spelled = {rephrase.respell(rng, "What is quantisation?") for _ in range(200)}
        self.assertIn("What is quantization?", spelled)
        for _ in range(300):
            word = rephrase.slip(rng, "tokenizer")
            self.assertEqual(word[0], "t")
            self.assertLessEqual(abs(len(word) - len("tokenizer")), 1)

    def test_telling_words(self):
        """Keywords come from the answer, and rare words weigh more."""
        answers = ["A cache keeps copies of data.", "A disk keeps data.", "A pixel is a dot."]
        weights = rephrase.word_weights(answers)
        self.assertEqual((weights["pixel"], weights["data"]), (1, 0.5))
        self.assertEqual(rephrase.content_words(answers[0]), ["cache", "keeps", "copies", "data"])
        asked = rephrase.keywords(random.Random(1), answers[2], weights)
        self.assertTrue({"pixel", "dot"} & set(re.findall(r"\w+", asked)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
