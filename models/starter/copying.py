"""Small tasks whose answer is copied from the request: what extraction and tool calls build on.

Every word is new to the model, so the only way to answer is to find a place in the request and to
go on as it goes on there. Almost each token of an answer can be told that way, which is why a model
learns it here many times faster than from texts in which a few words are to be copied.
"""

import json

from questions import capitalise, one_in_eight

# Short runs of letters to make words of: with the syllables of `extraction`, all pieces that the
# tokenizer may cut a foreign name into.
CONSONANTS = "bcdfghjklmnpqrstvwxz"
VOWELS = "aeiouy"
SIGNS = "-_./:#+"

REPEAT_REQUESTS = [
    "Repeat: {t}", "Say again: {t}", "Copy this text: {t}", "repeat {t}", "Write this again: {t}",
    "{t}\nRepeat the line.", "Echo: {t}", "Copy exactly: {t}"]
LIST_REQUESTS = [
    "Write these as a JSON list: {t}", "JSON list of {t}", "{t}\nMake a JSON array of these.",
    "Put these in a JSON array: {t}"]
FOLLOW_REQUESTS = [
    "{t}\nGo on from {w}:", "Text: {t}\nWhat follows {w}?", "What comes after {w} in this: {t}",
    "{t}\nContinue after {w}."]
LOOKUP_REQUESTS = [
    "{t}\nWhat is {k}?", "{t}\n{k}?", "Tell me {k}: {t}", "Look up {k} here: {t}", "{t}\nGive {k}."]
RECORD_REQUESTS = [
    "{t}\nAs JSON: {k}", "Write {k} as JSON. {t}", "{t}\nJSON with the keys {k}:",
    "Make JSON with {k} of this: {t}", "Keys: {k}\nText: {t}\nJSON:"]
PAIR_FORMS = [
    "{k}: {v}", "{k} = {v}", "{k} is {v}", "the {k} is {v}", "{v} ({k})", "{k} {v}",
    "{v} is the {k}", "{k} -> {v}", "with {k} {v}", "{k}, which is {v}", "has {v} as {k}"]
PAIR_ENDS = ["; ", ", ", ". ", "\n", " and ", " - "]
KEYS = """name, age, city, town, email, phone, product, item, quantity, price, title, date, place,
location, from, to, company, role, number, amount, total, due date, colour, size, country, street,
author, year, room, code, status, topic, owner, model, weight, start, end, unit, language, team,
score, subject, sender, receiver, reason, type, brand, floor, seat, gate, level, order number"""


def is_free(word):
    """Tell whether no value of the evaluation can be this word."""
    return not any(one_in_eight(form) for form in (word, word.lower(), word.title()))


def letters(rng):
    """Make a word of letters that hardly any language has."""
    shape = rng.random()
    if shape < 0.3:
        return "".join(rng.choice(CONSONANTS + VOWELS * 2) for _ in range(rng.randint(2, 9)))
    word = ""
    for _ in range(rng.randint(1, 4)):
        word += rng.choice(CONSONANTS) * (rng.random() < 0.9) + rng.choice(VOWELS)
        word += rng.choice(CONSONANTS) * (rng.random() < 0.45)
    return word


def joined(rng, words):
    """Put the beginning of one word before the end of another."""
    one, two = rng.choice(words), rng.choice(words)
    return one[:rng.randint(1, len(one))] + two[rng.randint(0, len(two) - 1):]


def new_word(rng, words):
    """Make one word without digits or signs."""
    while True:
        shape = rng.random()
        word = (letters(rng) if shape < 0.4 else joined(rng, words) if shape < 0.75
                else rng.choice(words))
        if is_free(word):
            return word


def new_name(rng, words):
    """Make a word that begins with a capital."""
    return capitalise(new_word(rng, words))


def digits(rng):
    """Make a number that no evaluation uses."""
    while True:
        number = str(rng.randrange(10 ** rng.randint(1, 6)))
        if not one_in_eight(number):
            return number


def code(rng):
    """Make something of letters, digits and signs, as a number plate or a date has."""
    parts = [digits(rng) if rng.random() < 0.7 else
             "".join(rng.choice(CONSONANTS.upper()) for _ in range(rng.randint(1, 3)))
             for _ in range(rng.randint(2, 4))]
    sign = rng.choice(SIGNS + " ")
    return sign.join(parts)


def value(rng, words):
    """Make something to copy: mostly words, also codes and addresses."""
    shape = rng.random()
    if shape < 0.3:
        return " ".join(new_name(rng, words) for _ in range(rng.choice([1, 1, 2, 2, 3])))
    if shape < 0.7:
        return " ".join(new_word(rng, words) for _ in range(rng.choice([1, 1, 2, 3])))
    if shape < 0.88:
        return code(rng)
    joint = rng.choice("._") if rng.random() < 0.6 else ""
    user = new_word(rng, words) + joint + (new_word(rng, words) if joint else digits(rng))
    return f"{user}@{new_word(rng, words)}.{rng.choice(['com', 'org', 'net', 'de', 'info'])}"


def short_text(rng, words):
    """Make a text of a few different words, pieces of words or single signs.

    What copies texts as short as this is found within half a million tokens from random weights;
    with texts of some ten words and more it was not found in three times as many.
    """
    items, count = [], rng.choice([1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 8])
    while len(items) < count:
        shape = rng.random()
        item = (rng.choice(words) if shape < 0.5 else new_word(rng, words) if shape < 0.8
                else rng.choice(CONSONANTS + VOWELS + "0123456789"))
        if rng.random() < 0.2:
            item = capitalise(item)
        if item not in items and is_free(item):
            items.append(item)
    return " ".join(items)


def short_item(rng, _words):
    """Say a few letters and figures again, joined in some way, or go on from one of them."""
    signs = CONSONANTS + VOWELS + CONSONANTS.upper() + "0123456789"
    items = rng.sample(sorted(set(signs)), rng.randint(2, 7))
    joint = rng.choice(["", " ", " ", ", ", "-"])
    if rng.random() < 0.7:
        text = joint.join(items)
        return rng.choice(REPEAT_REQUESTS).format(t=text), text
    place = rng.randrange(len(items) - 1)
    request = rng.choice(FOLLOW_REQUESTS).format(t=" ".join(items), w=items[place])
    return request, " ".join(items[place + 1:])


def repeat_item(rng, words):
    """Say the whole text again."""
    text = " ".join(value(rng, words) for _ in range(rng.randint(1, 7)))
    return rng.choice(REPEAT_REQUESTS).format(t=text), text


def list_item(rng, words):
    """Write values as a list."""
    values = [value(rng, words) for _ in range(rng.randint(2, 6))]
    text = rng.choice([", ", "; ", " | ", "\n"]).join(values)
    return rng.choice(LIST_REQUESTS).format(t=text), json.dumps(values)


def follow_item(rng, words):
    """Go on from a word, which occurs once."""
    text = []
    while len(text) < 9:
        word = new_word(rng, words) if rng.random() < 0.8 else digits(rng)
        if word not in text:
            text.append(word)
    place = rng.randint(0, 5)
    request = rng.choice(FOLLOW_REQUESTS).format(t=" ".join(text), w=text[place])
    return request, " ".join(text[place + 1:])


def record(rng, words):
    """Return (text, {key: value}) with pairs in one notation or another."""
    known = [" ".join(key.split()) for key in KEYS.split(",")]
    keys = []
    while len(keys) < rng.randint(2, 5):
        key = rng.choice(known) if rng.random() < 0.6 else new_word(rng, words)
        if key not in keys:
            keys.append(key)
    pairs = {key: value(rng, words) for key in keys}
    form, end = rng.choice(PAIR_FORMS), rng.choice(PAIR_ENDS)
    mixed = rng.random() < 0.4
    parts = [(rng.choice(PAIR_FORMS) if mixed else form).format(k=key, v=pairs[key])
             for key in keys]
    text = end.join(parts)
    return capitalise(text) if rng.random() < 0.3 else text, pairs


def lookup_item(rng, words):
    """Say the value of one key."""
    text, pairs = record(rng, words)
    key = rng.choice(sorted(pairs))
    return rng.choice(LOOKUP_REQUESTS).format(t=text, k=key), pairs[key]


def record_item(rng, words):
    """Write the values of some keys as an object, in the order asked for."""
    text, pairs = record(rng, words)
    keys = rng.sample(sorted(pairs), rng.randint(max(1, len(pairs) - 2), len(pairs)))
    asked = ", ".join(keys) if rng.random() < 0.6 else " and ".join(keys)
    request = rng.choice(RECORD_REQUESTS).format(t=text, k=asked)
    return request, json.dumps({key: pairs[key] for key in keys})


MAKERS = (short_item, repeat_item, follow_item, list_item, lookup_item, record_item, record_item,
          record_item, record_item)


def make_item(rng, words):
    """Return (request, answer) of one task; words are what new words are put together from."""
    return rng.choice(MAKERS)(rng, words)
