"""Question templates, light variation of questions, and what counts as the same question.

Topics and off-topic subjects share these templates, so that the template alone says nothing
about whether the model knows the answer.
"""

import re
import zlib

# The grammar of each kind that a noun template needs.
GRAMMAR = {
    "concept": {"what": "what", "be": "is", "do": "does", "it": "it"},
    "plural": {"what": "what", "be": "are", "do": "do", "it": "they"},
    "person": {"what": "who", "be": "is", "do": "does", "it": "that"},
}

# {n} is the name as written, {bare} the name without its article.
NOUN_FAMILIES = {
    "definition": ["{what} {be} {n}?", "{what} exactly {be} {n}?", "define {n}.",
                   "can you tell me {what} {n} {be}?", "do you know {what} {n} {be}?"],
    "beginner": ["explain {n} to a beginner.", "explain {n} in simple terms.",
                 "how would you explain {n} to a child?", "explain {n} like I am five.",
                 "explain {n} to me."],
    "matters": ["why {do} {n} matter?", "why {be} {n} important?", "what {be} {n} good for?",
                "why should I care about {n}?"],
    "tell": ["tell me about {n}.", "tell me something about {n}.", "talk about {n}.",
             "give me a short overview of {n}.", "give me some information on {n}."],
    "keywords": ["{bare} meaning", "{bare} explained", "{bare} definition", "{bare} basics",
                 "{bare} short summary"],
    "exam": ["describe {n} in a few sentences.", "exam: {what} {be} {n}?",
             "in one or two sentences, {what} {be} {n}?", "summarise {n} briefly."],
    "polite": ["could you please explain {n}?", "would you kindly tell me {what} {n} {be}?",
               "please help me to understand {n}.", "may I ask {what} {n} {be}?"],
    "reason": ["I'm writing a report and need to know {what} {n} {be}.",
               "my teacher asked about {n}, {what} {be} {it}?",
               "for my homework I have to explain {n}.",
               "I have a meeting about {n} tomorrow, what should I know?"],
    "short": ["{n}?", "{bare}", "so {what} {be} {n}", "{n}, in short?"],
    "confusion": ["I don't understand {n}.", "I'm confused about {n}, can you help?",
                  "I have no idea {what} {n} {be}.", "what is the point of {n}?"],
    "curiosity": ["I keep hearing about {n}. {What} {be} {it}?",
                  "I have always wondered {what} {n} {be}.",
                  "I came across {n} today, {what} {be} {it}?",
                  "everybody seems to talk about {n}, {what} {be} {it}?"],
}
TASK_FAMILIES = {
    "definition": ["how do I {n}?", "how can I {n}?", "how do you {n}?",
                   "what is the best way to {n}?"],
    "beginner": ["explain to a beginner how to {n}.", "show me in simple steps how to {n}.",
                 "how would a beginner {n}?", "explain how to {n}."],
    "matters": ["what matters when I want to {n}?", "what do I have to think of to {n}?",
                "what is important if I want to {n}?"],
    "tell": ["tell me how to {n}.", "show me how to {n}.", "give me short instructions to {n}."],
    "keywords": ["how to {n}", "{n} how", "steps to {n}", "{n} tips"],
    "exam": ["describe how to {n}.", "name the steps to {n}.",
             "in one or two sentences, how do you {n}?"],
    "polite": ["please help me to {n}.", "could you please tell me how to {n}?",
               "would you kindly explain how to {n}?", "can you help me to {n}?"],
    "reason": ["I need to {n} for work, how do I start?",
               "my boss wants me to {n}, how do I do that?", "I have to {n} today, what do I do?"],
    "short": ["{n}?", "{n}", "quick way to {n}?"],
    "confusion": ["I'm not sure how to {n}.", "I'm stuck, I want to {n}.",
                  "I can't {n}, can you help?", "I have no idea how to {n}."],
    "curiosity": ["I keep hearing that I should {n}. How?", "I have always wondered how to {n}.",
                  "I came across people who {n}, how do they do that?"],
}
HELD_OUT_FAMILY = "curiosity"
LOWER_CASE_FAMILIES = ("keywords", "short")

PREFIXES = ("hey, ", "hi, ", "hello, ", "Hello! ", "Question: ", "question: ", "Q: ", "please, ",
            "Please: ", "ok, ", "hey ")
SUFFIXES = (" please", ", please", " thanks", " Thanks!", "  ", " ", "?", "!", " ...")
FILLER_WORDS = {"hey", "hi", "hello", "question", "q", "please", "ok", "thanks"}


def one_in_eight(key):
    """Choose about one key in eight, the same ones in every run and on every machine."""
    return zlib.crc32(key.encode()) % 8 == 0


def split_phrasings(items):
    """Split a list of phrasings into (training, held out): one in eight, at least one."""
    held_out = [item for index, item in enumerate(items) if index % 8 == 3]
    return [item for item in items if item not in held_out], held_out


def normalise(text):
    """Reduce a question to what makes it the same question: no case, punctuation or filler."""
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    return " ".join([word for word in words if word not in FILLER_WORDS] or words)


def capitalise(text):
    """Write the first letter as a capital without touching the others."""
    return text[:1].upper() + text[1:]


def bare_name(name):
    """Drop the article of a name, as people do in a search box."""
    return re.sub(r"^(a|an|the) ", "", name)


def families_of(kind):
    """Return the template families that fit a kind of name."""
    return TASK_FAMILIES if kind == "task" else NOUN_FAMILIES


def fill(template, kind, name, family):
    """Put a name into a template of its kind."""
    grammar = GRAMMAR.get(kind, {})
    words = dict(grammar, n=name, bare=bare_name(name), What=capitalise(grammar.get("what", "")))
    text = template.format(**words)
    return text if family in LOWER_CASE_FAMILIES else capitalise(text)


def training_templates(kind):
    """List the (family, template) pairs that may be used in training."""
    return [(family, template) for family, templates in families_of(kind).items()
            if family != HELD_OUT_FAMILY for template in templates]


def held_out_question(kind, name):
    """Ask for a name in the held-out family; which template is fixed by the name."""
    templates = families_of(kind)[HELD_OUT_FAMILY]
    template = templates[zlib.crc32(name.encode()) % len(templates)]
    return fill(template, kind, name, HELD_OUT_FAMILY)


def _held_out_pattern():
    """Build one expression that matches every question of the held-out family."""
    mark = "zznamezz"
    texts = {normalise(fill(template, kind, mark, HELD_OUT_FAMILY))
             for kind in list(GRAMMAR) + ["task"]
             for template in families_of(kind)[HELD_OUT_FAMILY]}
    return re.compile("|".join(sorted(text.replace(mark, ".+") for text in texts)))


HELD_OUT_PATTERN = _held_out_pattern()


def is_held_out_family(text):
    """Tell whether a question, hand-written or not, has the form of the held-out family."""
    return HELD_OUT_PATTERN.fullmatch(normalise(text)) is not None


def add_typo(rng, text):
    """Leave out one inner letter of a longer word, as fast typing does."""
    places = [match.start() + rng.randrange(1, 5) for match in re.finditer(r"[a-z]{6,}", text)]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + text[place + 1:]


# Words that a hurried question does without.
LOOSE_WORDS = set("""a an the is are do does did of to in for on with and or please can could you me
i my it its that this how what why when which would should tell explain describe about""".split())


def loosen(rng, text):
    """Now and then leave out small words, or mix up the words: what a question is about stays."""
    shape = rng.random()
    words = text.split()
    if shape < 0.15:
        kept = [word for word in words
                if word.lower().strip("?.,!") not in LOOSE_WORDS or rng.random() < 0.5]
        return " ".join(kept or words)
    if shape < 0.21 and len(words) > 3:
        words = [word.strip("?.,!") for word in words]
        rng.shuffle(words)
        return " ".join(word for word in words if word)
    return text


def vary(rng, text):
    """Change a question lightly, in the ways in which people's typing differs."""
    if rng.random() < 0.08:
        text = re.sub(r"\b([Ww]hat|[Ww]ho) is\b", r"\1's", text, count=1)
    if rng.random() < 0.25:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    if rng.random() < 0.03:
        text = add_typo(rng, text)
    if rng.random() < 0.15:
        prefix = rng.choice(PREFIXES)
        inner_case = text if text[:2] in ("I ", "I'") else text[:1].lower() + text[1:]
        text = prefix + (inner_case if prefix.endswith(", ") else text)
    if rng.random() < 0.12:
        text = text + rng.choice(SUFFIXES)
    return text
