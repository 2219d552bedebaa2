"""Reading and checking the hand-written files in corpus/ (see corpus/FORMAT.md).

Everything that is wrong with a file is reported as one sentence with the file's name and the
line, because the files are written by hand and by several people.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from questions import normalise

TOPIC_KINDS = ("concept", "plural", "task", "other")
SUBJECT_KINDS = ("concept", "plural", "person", "task")
REQUIRED_FIELDS = ("topic", "kind", "name", "facts", "a")
OPTIONAL_FIELDS = ("aliases",)
MIN_QUESTIONS = 8
MAX_ANSWER_CHARS = 420
OFFTOPIC_TEST_SIZE = 100


class CorpusError(ValueError):
    """A fault in a corpus file; the message names the file and the line."""

    def __init__(self, path, line, sentence):
        super().__init__(f"{Path(path).name}:{line}: {sentence}")


@dataclass
class Topic:
    """One thing that the model knows, with the questions that ask for it."""

    slug: str
    kind: str
    names: list
    facts: list
    questions: list
    answer: str
    path: str = ""
    line: int = 0


@dataclass
class Offtopic:
    """Subjects and whole questions that the model must say it does not know."""

    subjects: list = field(default_factory=list)   # (kind, name)
    questions: list = field(default_factory=list)
    tests: list = field(default_factory=list)      # (subject, question)


def facts_missing(facts, answer):
    """Return the facts of which no alternative occurs in the answer, ignoring case."""
    lowered = answer.lower()
    return [alternatives for alternatives in facts
            if not any(word.lower() in lowered for word in alternatives)]


def contains_words(text, words):
    """Tell whether the words occur in the text as whole words, in order, ignoring case."""
    return f" {normalise(words)} " in f" {normalise(text)} "


def ascii_lines(path):
    """Yield (line number, text without the line end), refusing anything that is not ASCII."""
    for number, raw in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        try:
            yield number, raw.decode("ascii").rstrip()
        except UnicodeDecodeError:
            raise CorpusError(path, number, "The line is not plain ASCII.") from None


def split_list(text, separator):
    """Split a field at a separator and drop the blanks around the parts."""
    return [part.strip() for part in text.split(separator) if part.strip()]


def read_records(path):
    """Yield each record of a topic file as a list of (line number, field, value)."""
    record = []
    for number, text in ascii_lines(path):
        if not text:
            if record:
                yield record
            record = []
            continue
        if text.startswith("#"):
            continue
        name, colon, value = text.partition(":")
        if not colon or not value.strip():
            raise CorpusError(path, number, "The line is not of the form 'field: value'.")
        record.append((number, name.strip(), value.strip()))
    if record:
        yield record


def topic_from_record(path, record):
    """Turn one record into a Topic after checking all that can be checked alone."""
    first_line = record[0][0]
    values, questions, lines = {}, [], {}
    for line, name, value in record:
        if name == "q":
            questions.append((line, value))
        elif name not in REQUIRED_FIELDS + OPTIONAL_FIELDS:
            raise CorpusError(path, line, f"There is no field '{name}'.")
        elif name in values:
            raise CorpusError(path, line, f"The field '{name}' occurs twice in one record.")
        else:
            values[name], lines[name] = value, line
    for name in REQUIRED_FIELDS:
        if name not in values:
            raise CorpusError(path, first_line, f"The record has no field '{name}'.")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", values["topic"]):
        raise CorpusError(path, lines["topic"], "A topic is lower-case words joined by hyphens.")
    if values["kind"] not in TOPIC_KINDS:
        raise CorpusError(path, lines["kind"], f"A kind is one of {', '.join(TOPIC_KINDS)}.")
    if len(questions) < MIN_QUESTIONS:
        raise CorpusError(path, first_line, f"The topic has {len(questions)} questions, "
                          f"at least {MIN_QUESTIONS} are needed.")
    if len(values["a"]) > MAX_ANSWER_CHARS:
        raise CorpusError(path, lines["a"], f"The answer has {len(values['a'])} characters, "
                          f"at most {MAX_ANSWER_CHARS} are allowed.")
    facts = [split_list(fact, "|") for fact in split_list(values["facts"], ";")]
    missing = facts_missing(facts, values["a"])
    if missing:
        raise CorpusError(path, lines["facts"],
                          f"The fact '{'|'.join(missing[0])}' is not in the answer.")
    names = [values["name"]] + split_list(values.get("aliases", ""), ",")
    return Topic(values["topic"], values["kind"], names, facts, questions, values["a"],
                 str(path), first_line)


def read_topics(paths):
    """Read all topic files; slugs and questions must be unique over all of them."""
    topics, slugs, seen = [], {}, {}
    for path in paths:
        for record in read_records(path):
            topic = topic_from_record(path, record)
            if topic.slug in slugs:
                raise CorpusError(path, topic.line, f"The topic '{topic.slug}' exists already "
                                  f"in {slugs[topic.slug]}.")
            slugs[topic.slug] = f"{Path(path).name}:{topic.line}"
            for line, question in topic.questions:
                key = normalise(question)
                if key in seen:
                    raise CorpusError(path, line, f"The question '{question}' exists already "
                                      f"in {seen[key]}.")
                seen[key] = f"{Path(path).name}:{line}"
            topic.questions = [question for _, question in topic.questions]
            topics.append(topic)
    return topics


def read_offtopic(train_path, test_path, topics):
    """Read the off-topic files and check that neither overlaps the other or a topic."""
    offtopic = Offtopic()
    known_names = {normalise(name): topic.slug for topic in topics for name in topic.names}
    known_questions = {normalise(question): topic.slug
                       for topic in topics for question in topic.questions}
    seen = set()
    for line, text in ascii_lines(train_path):
        if not text or text.startswith("#") or re.fullmatch(r"\[[^\]]+\]", text):
            continue
        kind, _, value = text.partition(":")
        if kind == "q":
            items = [value.strip()]
            offtopic.questions += items
        elif kind in SUBJECT_KINDS:
            items = split_list(value, ";")
            offtopic.subjects += [(kind, item) for item in items]
        else:
            raise CorpusError(train_path, line, f"There is no kind '{kind}'.")
        for item in items:
            key = normalise(item)
            if key in seen:
                raise CorpusError(train_path, line, f"'{item}' occurs twice.")
            seen.add(key)
            if key in known_names or key in known_questions:
                slug = known_names.get(key) or known_questions[key]
                raise CorpusError(train_path, line, f"'{item}' is the topic '{slug}'.")
    read_offtopic_test(test_path, offtopic, topics)
    return offtopic


def read_offtopic_test(path, offtopic, topics):
    """Read the off-topic test questions; their subjects must be new everywhere."""
    others = [(name, "the off-topic train file") for _, name in offtopic.subjects]
    others += [(question, "the off-topic train file") for question in offtopic.questions]
    for topic in topics:
        texts = topic.names + topic.questions + [topic.answer]
        others += [(text, f"the topic '{topic.slug}'") for text in texts]
    seen = set()
    for line, text in ascii_lines(path):
        if not text or text.startswith("#"):
            continue
        subject, bar, question = (part.strip() for part in text.partition("|"))
        if not bar or not question:
            raise CorpusError(path, line, "The line is not of the form 'subject | question'.")
        if not contains_words(question, subject):
            raise CorpusError(path, line, f"The question does not contain '{subject}'.")
        for key in (normalise(subject), normalise(question)):
            if key in seen:
                raise CorpusError(path, line, f"'{text}' occurs twice.")
            seen.add(key)
        for other, where in others:
            if contains_words(other, subject):
                raise CorpusError(path, line, f"'{subject}' occurs in {where}.")
        offtopic.tests.append((subject, question))
    if len(offtopic.tests) != OFFTOPIC_TEST_SIZE:
        raise CorpusError(path, 1, f"The file has {len(offtopic.tests)} questions, "
                          f"{OFFTOPIC_TEST_SIZE} are needed.")


def read_corpus(folder):
    """Read every text file of the corpus folder; an unknown file is a fault, not ignored."""
    folder = Path(folder)
    train_path, test_path = folder / "offtopic-train.txt", folder / "offtopic-test.txt"
    topic_paths = sorted(folder.glob("topics-*.txt"))
    for path in sorted(folder.glob("*.txt")):
        if path not in topic_paths + [train_path, test_path]:
            raise CorpusError(path, 1, "The file is neither topics-*.txt nor offtopic-*.txt.")
    for path in (train_path, test_path):
        if not path.exists():
            raise CorpusError(path, 1, "The file is missing.")
    topics = read_topics(topic_paths)
    if not topics:
        raise CorpusError(folder, 1, "The folder has no topics.")
    return topics, read_offtopic(train_path, test_path, topics)
