#!/usr/bin/env python3
"""Make the training, validation and evaluation files of the starter model from corpus/*.txt.

    make_corpus.py --out DIR --seed N

The evaluation is drawn first and what it contains is kept out of the training samples: one
hand-written question in eight of each topic, one whole family of question templates, one
phrasing in eight of the other tasks, and values that training never sees. The same seed gives
the same files, byte for byte: `warmup.jsonl` for the first stage of training, `train.jsonl` and
`valid.jsonl` for the second, `eval/` for evaluate.py.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import copying
import extraction
import rephrase
import sentiment
import toolcalls
import values
from corpus_files import CorpusError, contains_words, read_corpus
from questions import (bare_name, fill, held_out_question, is_held_out_family, normalise,
                       loosen, one_in_eight, training_templates, vary)

# How many training samples of each task to make.
SIZES = {"topics": 120000, "offtopic": 24000, "sentiment": 30000, "extraction": 60000,
         "copying": 16000, "tools": 8000, "tool_talks": 4000, "conversations": 4000}
# The first stage: short texts to repeat, and samples of everything for the vocabulary's sake.
WARMUP_COPIES = 48000
WARMUP_OTHERS = 7000

# Most answers on topics and most refusals are cut after a few words: which answer it is has been
# decided there, and what follows is the same text each time.
CUT_SHARE = 0.8
CUT_WORDS = (5, 10)

# How the samples of one task are made up.
TOPIC_SHARES = {"by_hand": 0.62, "template": 0.13, "keywords": 0.1, "statement": 0.08,
                "two": 0.07}
OFFTOPIC_SHARES = {"template": 0.57, "whole": 0.18, "carrier": 0.17, "made_up": 0.08}
TOOL_SHARES = {"call": 0.42, "call_and_result": 0.22, "refusal": 0.12, "other_tool": 0.08,
               "topic": 0.10, "offtopic": 0.03, "sentiment": 0.015, "extraction": 0.015}
CONVERSATION_TURNS = (2, 2, 2, 3, 3, 4)
CONVERSATION_TOOLS_SHARE = 0.25
CARRIER_MIN_TOPICS = 8

VALID_SHARE = 0.004
SENTIMENT_EVAL = 200
EXTRACTION_EVAL = 200
TOOL_EVAL = 200

DONT_KNOW = ("I don't know. I am a small model and only know about local language models "
             "and some science and computing topics.")
FIRST_QUESTIONS = 20  # of each topic; from these the first evaluation was drawn
CORPUS_DIR = Path(__file__).resolve().parent / "corpus"


@dataclass
class Sample:
    """One training line and the task that it trains."""

    task: str
    messages: list
    tools: list = None
    cut: int = 0  # so many words of the last message are enough; 0: all

    def line(self):
        """Write the sample as it stands in the file."""
        record = {"messages": self.messages}
        if self.cut:
            last = self.messages[-1]
            words = last["content"].split(" ")[:self.cut]
            record["messages"] = self.messages[:-1] + [
                {"role": last["role"], "content": " ".join(words), "cut": True}]
        if self.tools:
            record["tools"] = self.tools
        return json.dumps(record)


def exchange(question, answer):
    """Make the messages of one question and its answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def user_only(question):
    """Make the messages of an evaluation sample."""
    return [{"role": "user", "content": question}]


def distinct(rng, count, make, key=lambda item: item, tries=20):
    """Make items that differ, where there are enough of them; else the last try counts."""
    items, seen = [], set()
    for _ in range(count):
        for _ in range(tries):
            item = make(rng)
            if key(item) not in seen:
                break
        seen.add(key(item))
        items.append(item)
    return items


def split_questions(topic):
    """Split hand-written questions into (training, held out), the same way in every run.

    Of the first twenty, three are held out by the rank of their place. Of all later ones, those are
    held out whose own text decides for it, one in eight: neither a further question nor another
    order of them moves one from one side to the other. A question in the form of the held-out
    family must not be trained on, so it is held out too.
    """
    first = topic.questions[:FIRST_QUESTIONS]
    held_out = {index for index, question in enumerate(topic.questions)
                if is_held_out_family(question)}
    free = [index for index in range(len(first)) if index not in held_out]
    ranked = sorted(free, key=lambda index: hash_rank(f"{topic.slug} {index}"))
    held_out.update(ranked[:-(-len(first) // 8)])
    held_out.update(index for index, question in enumerate(topic.questions)
                    if index >= len(first)
                    and one_in_eight(f"{topic.slug}: {normalise(question)}"))
    return ([q for i, q in enumerate(topic.questions) if i not in held_out],
            [q for i, q in enumerate(topic.questions) if i in held_out])


def hash_rank(text):
    """Give a text a rank that depends on nothing but the text."""
    return random.Random(text).random()


class Builder:
    """Makes all samples for one seed; the evaluation first, then training without it."""

    def __init__(self, topics, offtopic, seed, share=1):
        self.sizes = {task: round(share * size) for task, size in SIZES.items()}
        self.share = share
        self.topics, self.offtopic, self.seed = topics, offtopic, seed
        self.splits = {topic.slug: split_questions(topic) for topic in topics}
        self.reserved = set()
        self.evals = {}
        self.samples = []
        self.words = copying_words(topics)

    def rng(self, purpose):
        """Give each part its own random numbers, so that changing one leaves the others."""
        return random.Random(f"{self.seed} {purpose}")

    # -- evaluation ---------------------------------------------------------------------------

    def make_evals(self):
        """Draw every evaluation set and reserve what is in it."""
        self.eval_topics()
        self.eval_sentiment()
        self.eval_extraction()
        self.eval_tools()
        self.evals["offtopic"] = [{"messages": user_only(question), "subject": subject}
                                  for subject, question in self.offtopic.tests]
        for records in self.evals.values():
            self.reserved.update(normalise(record["messages"][0]["content"])
                                 for record in records)

    def eval_topics(self):
        """Held-out hand-written questions, and one question of the held-out family a topic."""
        by_hand, by_family = [], []
        for topic in self.topics:
            key = {"facts": topic.facts, "topic": topic.slug}
            for question in self.splits[topic.slug][1]:
                by_hand.append({"messages": user_only(question), **key,
                                "first": question in topic.questions[:FIRST_QUESTIONS]})
            if topic.kind != "other":
                question = held_out_question(topic.kind, topic.names[0])
                by_family.append({"messages": user_only(question), **key})
        self.evals["topics"], self.evals["topics-family"] = by_hand, by_family

    def eval_sentiment(self):
        """A balanced set; the sentences themselves are reserved too."""
        rng, records, seen = self.rng("sentiment eval"), [], set()
        fixed = {normalise(text) for texts in sentiment.REMARKS.values() for text in texts}
        while len(records) < SENTIMENT_EVAL:
            content, label, text = sentiment.eval_sample(rng, len(records))
            if normalise(text) not in seen | fixed:
                seen.add(normalise(text))
                records.append({"messages": user_only(content), "expected": label})
        self.evals["sentiment"] = records
        self.reserved |= seen

    def eval_extraction(self):
        """Held-out sentence forms with values that training never sees."""
        made = distinct(self.rng("extraction eval"), EXTRACTION_EVAL,
                        extraction.eval_sample, lambda item: item[0])
        self.evals["extraction"] = [{"messages": user_only(content), "expected": expected}
                                    for content, expected in made]

    def eval_tools(self):
        """Exact calls, in held-out phrasings and with held-out numbers."""
        rng, records, seen = self.rng("tools eval"), [], set()
        while len(records) < TOOL_EVAL:
            question, tools, expected = toolcalls.eval_sample(rng, len(records))
            asked = json.dumps([question, tools])
            if asked not in seen:
                seen.add(asked)
                records.append({"messages": user_only(question), "tools": tools,
                                "expected": expected})
        self.evals["tools"] = records

    # -- training -----------------------------------------------------------------------------

    def add(self, task, messages, tools=None, cut=0):
        """Keep a training sample."""
        self.samples.append(Sample(task, messages, tools, cut))

    def cut(self, rng):
        """Choose after how many words an answer is cut; 0: not at all."""
        return rng.randint(*CUT_WORDS) if rng.random() < CUT_SHARE else 0

    def is_free(self, question):
        """Tell whether a question may be trained on."""
        return normalise(question) not in self.reserved and not is_held_out_family(question)

    def varied(self, rng, question):
        """Vary a question, but never into one of the evaluation."""
        while True:
            text = question
            if rng.random() < 0.6:
                text = rephrase.swap_words(rng, rephrase.respell(rng, text))
            text = vary(rng, loosen(rng, text))
            if rng.random() < 0.3:
                text = rephrase.slips(rng, text, 0.25)
            if self.is_free(text):
                return text

    def question_makers(self, topic):
        """Return (hand-written questions, template questions) that training may use."""
        by_hand = [question for question in self.splits[topic.slug][0] if self.is_free(question)]
        by_template = []
        if topic.kind != "other":
            for index, name in enumerate(topic.names):
                weight = 2 if index == 0 else 1
                made = [fill(template, topic.kind, name, family)
                        for family, template in training_templates(topic.kind)]
                by_template += [text for text in made if self.is_free(text)] * weight
        return by_hand, by_template

    def train_topics(self):
        """Ask about every topic equally often: by hand, by template, with words of the answer, and
        with two questions at once.
        """
        rng = self.rng("topics")
        weights = rephrase.word_weights([topic.answer for topic in self.topics])
        for position, topic in enumerate(self.topics):
            count = (self.sizes["topics"] * (position + 1) // len(self.topics)
                     - self.sizes["topics"] * position // len(self.topics))
            by_hand, by_template = self.question_makers(topic)
            parts = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()), k=count)
            seen = set()
            for index, part in enumerate(parts):
                if part == "keywords":
                    base = rephrase.keywords(rng, topic.answer, weights)
                elif part == "statement":
                    base = rephrase.statement(rng, topic.answer)
                elif part == "two":
                    base = self.two_questions(rng, by_hand)
                elif part == "template" and by_template:
                    base = rng.choice(by_template)
                else:
                    base = by_hand[index % len(by_hand)]
                for _ in range(10):
                    question = self.varied(rng, base)
                    if question not in seen:
                        break
                seen.add(question)
                self.add("topics", exchange(question, topic.answer), cut=self.cut(rng))

    @staticmethod
    def two_questions(rng, questions):
        """Ask two questions at once, each with some of its words."""
        halves = []
        for question in rng.sample(questions, min(2, len(questions))):
            words = question.split()
            start = rng.randrange(max(1, len(words) // 2))
            halves.append(" ".join(words[start:start + rng.randint(3, 8)]))
        return " ".join(halves)

    def carriers(self):
        """Turn hand-written questions into templates by taking the topic's name out.

        Only words that many topics' questions use may remain, and no name of a topic, so that the
        rest of the question does not hint at a topic. Off-topic subjects are put into these,
        which keeps the style of the hand-written questions from giving the answer away.
        """
        found, topics_of = [], {}
        for topic in self.topics:
            for question in self.splits[topic.slug][0]:
                rest = self.take_name_out(topic, question)
                if rest and topic.kind != "other":
                    found.append((topic.kind, rest))
                    for word in set(normalise(rest).split()):
                        topics_of.setdefault(word, set()).add(topic.slug)
        common = {word for word, slugs in topics_of.items()
                  if len(slugs) >= CARRIER_MIN_TOPICS}
        names = {normalise(bare_name(name)) for topic in self.topics if topic.kind != "other"
                 for name in topic.names}
        return [(kind, rest) for kind, rest in sorted(set(found))
                if set(normalise(rest.replace("{n}", " ")).split()) <= common
                and not any(contains_words(rest, name) for name in names)]

    @staticmethod
    def take_name_out(topic, question):
        """Replace the name of the topic by {n}; None if it is not in the question."""
        if "{" in question or "}" in question:
            return None
        for name in sorted(topic.names, key=len, reverse=True):
            for form in (name, bare_name(name)):
                pattern = rf"(?<![\w-]){re.escape(form)}(?![\w-])"
                if re.search(pattern, question, re.IGNORECASE):
                    return re.sub(pattern, "{n}", question, count=1, flags=re.IGNORECASE)
        return None

    def train_offtopic(self):
        """Answer off-topic questions, mostly in the templates of the topics, with DONT_KNOW."""
        makers = {"template": self.offtopic_template, "whole": self.offtopic_whole,
                  "carrier": self.offtopic_carrier, "made_up": self.offtopic_made_up}
        rng = self.rng("offtopic")
        self.carrier_list = self.carriers()
        self.subject_queue = []
        for part, share in OFFTOPIC_SHARES.items():
            for question in distinct(rng, round(self.sizes["offtopic"] * share), makers[part]):
                self.add("offtopic", exchange(question, DONT_KNOW), cut=self.cut(rng))

    def next_subject(self, rng):
        """Draw subjects in turn, so that each comes about equally often."""
        if not self.subject_queue:
            self.subject_queue = rng.sample(self.offtopic.subjects, len(self.offtopic.subjects))
        return self.subject_queue.pop()

    def offtopic_template(self, rng):
        """A subject in a template of the topics."""
        kind, name = self.next_subject(rng)
        family, template = rng.choice(training_templates(kind))
        return self.varied(rng, fill(template, kind, name, family))

    def offtopic_whole(self, rng):
        """A whole hand-written question."""
        return self.varied(rng, rng.choice(self.offtopic.questions))

    def offtopic_carrier(self, rng):
        """A subject in a hand-written question about a topic."""
        while True:
            kind, name = self.next_subject(rng)
            fitting = [rest for carrier_kind, rest in self.carrier_list
                       if carrier_kind == kind]
            if fitting:
                question = rng.choice(fitting).replace("{n}", name)
                if question[0] == name[0] and rng.random() < 0.5:
                    question = question[0].upper() + question[1:]
                if self.is_free(question):
                    return self.varied(rng, question)

    def offtopic_made_up(self, rng):
        """A word that does not exist, in a template of the topics."""
        kind = rng.choice(["concept", "plural", "person"])
        word = values.invented_word(rng, False)
        if kind != "person":
            word = word.lower() + ("s" if kind == "plural" else rng.choice(["", "", "ing", "ion"]))
        if kind == "concept":
            word = rng.choice(["", "", "the ", "a "]) + word
        family, template = rng.choice(training_templates(kind))
        return self.varied(rng, fill(template, kind, word, family))

    def train_sentiment(self):
        """Sentences whose sentiment is known."""
        rng = self.rng("sentiment")
        for content, label in distinct(rng, self.sizes["sentiment"], self.sentiment_item):
            self.add("sentiment", exchange(content, label))

    def sentiment_item(self, rng):
        """Return (request, label) with a sentence that is not in the evaluation."""
        while True:
            content, label, text = sentiment.train_sample(rng)
            if normalise(text) not in self.reserved:
                return content, label

    def train_extraction(self):
        """Texts with fields to extract."""
        rng = self.rng("extraction")
        for _ in range(self.sizes["extraction"]):
            content, expected = extraction.train_sample(rng)
            self.add("extraction", exchange(content, extraction.answer_text(expected)))

    def train_copying(self):
        """Tasks whose answers are copied, with words that are new each time."""
        rng = self.rng("copying")
        for _ in range(self.sizes["copying"]):
            request, answer = copying.make_item(rng, self.words)
            if self.is_free(request):
                self.add("copying", exchange(request, answer))

    def train_tools(self):
        """Calls, answers from results, refusals, and other tasks while tools are offered."""
        rng = self.rng("tools")
        others = {task: [s for s in self.samples if s.task == task]
                  for task in ("topics", "offtopic", "sentiment", "extraction")}
        others["topic"] = others.pop("topics")
        for part, share in TOOL_SHARES.items():
            for _ in range(round(self.sizes["tools"] * share)):
                if part in others:
                    names = rng.choice([["calculator"], ["clock"], ["calculator", "clock"],
                                        ["clock", "calculator"]])
                    messages = rng.choice(others[part]).messages
                    tools = toolcalls.tool_list(rng, names)
                elif part in ("call", "call_and_result"):
                    messages, tools = toolcalls.call_sample(rng, part == "call_and_result")
                else:
                    messages, tools = toolcalls.refusal_sample(rng, part == "other_tool")
                self.add("tools", messages, tools)
        for _ in range(self.sizes["tool_talks"]):
            self.add_tool_talk(rng)

    def add_tool_talk(self, rng):
        """Three questions with the same tools: the list of tools, which is long, is read once."""
        tools = toolcalls.tool_list(rng, rng.sample(["calculator", "clock"], 2))
        messages = []
        for _ in range(3):
            messages += toolcalls.call_sample(rng, rng.random() < 0.3)[0]
        self.add("tool_talks", messages, tools)

    @staticmethod
    def conversations(rng, samples, count):
        """Chain independent samples; a conversation has one list of tools or none."""
        plain, calls, made = [], [], []
        for sample in samples:
            if sample.task in ("copying", "tool_talks"):
                continue
            if not sample.tools:
                plain.append(sample)
            elif sample.task == "tools" and len(sample.tools) == 2:
                calls.append(sample)
        by_task = {}
        for sample in plain:
            by_task.setdefault(sample.task, []).append(sample)
        tasks = sorted(by_task)
        weights = [4 if task == "topics" else 1 if task == "tools" else 2 for task in tasks]
        for _ in range(count):
            turns, tools = rng.choice(CONVERSATION_TURNS), None
            if rng.random() < CONVERSATION_TOOLS_SHARE:
                chosen = [rng.choice(calls)] + [
                    rng.choice(calls) if rng.random() < 0.5 else
                    rng.choice(by_task[rng.choice(["topics", "topics", "offtopic", "sentiment",
                                                   "extraction"])])
                    for _ in range(turns - 1)]
                tools = chosen[0].tools
                rng.shuffle(chosen)
            else:
                chosen = [rng.choice(by_task[task])
                          for task in rng.choices(tasks, weights, k=turns)]
            messages = [message for sample in chosen for message in sample.messages]
            made.append(Sample("conversations", messages, tools))
        return made

    def make_warmup(self, train):
        """Make the samples of the first stage."""
        rng = self.rng("warmup")
        made = []
        while len(made) < round(self.share * WARMUP_COPIES):
            text = copying.short_text(rng, self.words)
            if self.is_free(text):
                made.append(Sample("warmup", exchange(text, text)))
        made += rng.sample(train, round(self.share * WARMUP_OTHERS))
        rng.shuffle(made)
        return made

    def make_training(self):
        """Return (training, validation); conversations are made within each of the two."""
        self.train_topics()
        self.train_offtopic()
        self.train_sentiment()
        self.train_extraction()
        self.train_copying()
        self.train_tools()
        rng = self.rng("shuffle")
        rng.shuffle(self.samples)
        count = round(len(self.samples) * VALID_SHARE)
        valid, train = self.samples[:count], self.samples[count:]
        valid_conversations = round(self.sizes["conversations"] * VALID_SHARE)
        for part, size in ((valid, valid_conversations),
                           (train, self.sizes["conversations"] - valid_conversations)):
            part += self.conversations(rng, part, size)
            rng.shuffle(part)
        return train, valid


def copying_words(topics):
    """Words to put values together from; none that a value of the evaluation consists of."""
    words = {word for topic in topics for word in re.findall(r"[a-z]{3,}", topic.answer.lower())}
    return sorted(word for word in words
                  if not one_in_eight(word) and not one_in_eight(word.title()))


@dataclass
class Corpus:
    """All samples that one seed gives."""

    warmup: list
    train: list
    valid: list
    evals: dict


def build(corpus_dir, seed, share=1):
    """Return the Corpus.

    A share below 1 makes so much less for training, and the evaluation as ever.
    """
    builder = Builder(*read_corpus(corpus_dir), seed, share)
    values.use_words(builder.words)
    builder.make_evals()
    train, valid = builder.make_training()
    return Corpus(builder.make_warmup(train), train, valid, builder.evals)


def characters(sample):
    """Count the characters of a sample's messages, its tools not included."""
    return sum(len(message["content"]) for message in sample.messages)


def print_table(corpus):
    """Say on stderr how many samples and characters each part has."""
    print(f"{'part':<24}{'samples':>9}{'characters':>12}{'with tools':>12}", file=sys.stderr)
    for title, samples in (("warmup", corpus.warmup), ("train", corpus.train),
                           ("valid", corpus.valid)):
        counts, sizes, offered = Counter(), Counter(), Counter()
        for sample in samples:
            for key in (sample.task, "total"):
                counts[key] += 1
                sizes[key] += characters(sample)
                offered[key] += 1 if sample.tools else 0
        for task in sorted(counts, key=lambda name: (name == "total", name)):
            print(f"{title + ' ' + task:<24}{counts[task]:>9}{sizes[task]:>12}"
                  f"{offered[task]:>12}", file=sys.stderr)
    for name, records in corpus.evals.items():
        size = sum(len(record["messages"][0]["content"]) for record in records)
        offered = sum(1 for record in records if "tools" in record)
        print(f"{'eval ' + name:<24}{len(records):>9}{size:>12}{offered:>12}", file=sys.stderr)


def write_lines(path, lines):
    """Write one line each, always with the same line ends."""
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)


def write_all(out, corpus):
    """Write the files of one corpus."""
    (out / "eval").mkdir(parents=True, exist_ok=True)
    for name in ("warmup", "train", "valid"):
        write_lines(out / f"{name}.jsonl", (sample.line() for sample in getattr(corpus, name)))
    for name, records in corpus.evals.items():
        write_lines(out / "eval" / f"{name}.jsonl", (json.dumps(record) for record in records))


def main():
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--seed", type=int, required=True, help="any number")
    parser.add_argument("--corpus", type=Path, default=CORPUS_DIR,
                        help="folder of the hand-written files")
    arguments = parser.parse_args()
    try:
        corpus = build(arguments.corpus, arguments.seed)
        write_all(arguments.out, corpus)
    except (CorpusError, OSError) as error:
        print(f"make_corpus.py: {error}", file=sys.stderr)
        return 1
    print_table(corpus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
