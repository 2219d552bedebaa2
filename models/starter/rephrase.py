"""Other words for the same question: synonyms, spellings, slips of the keyboard, and keywords.

Only training questions pass through here. A model that is trained from nothing cannot know that a
graphics card is a GPU or that "how come" is "why": these lists tell it, for all topics alike.
"""

import re
from collections import Counter

# Words that may stand for each other in a question, whatever it is about.
SYNONYMS = """
explain | describe | clarify | tell me about | walk me through
why | how come | for what reason
what is the reason | why
what does | what would
mean | stand for | signify
meaning | definition | sense
difference | distinction | contrast
purpose | point | use | goal
good for | useful for | used for | worth
beginner | novice | newcomer | layman | rookie | starter
simple | plain | easy | basic
briefly | shortly | in short | in brief
short | brief | quick
in a sentence | in one sentence | in one line | in a line | in a few words
how does | in what way does
how do I | how can I | how would I | how should I | what do I do to
how to | way to | steps to | howto
can I | may I | could I | am I able to | is it possible to
should I | do I have to | ought I to | must I
do I need | do I require | is there a need for
I want to | I would like to | I need to | I'd like to | I have to
my boss | my colleague | my friend | a colleague | my teacher | someone
heard | read | was told | saw
language model | LLM | language AI | model
language models | LLMs | models
local | at home | on my own machine | offline
GPU | graphics card | video card | graphics processor
GPUs | graphics cards | video cards
VRAM | video memory | GPU memory | video RAM | memory of the graphics card
RAM | main memory | system memory | working memory
CPU | processor
computer | machine | PC | box
laptop | notebook
smartphone | phone | mobile
disk | drive | storage
fast | quick | speedy | rapid
faster | quicker | speedier
slow | sluggish
slower | more sluggish
speed | pace | rate
big | large | huge
bigger | larger
small | little | tiny
smaller | shrunk | reduced
shrink | reduce | compress | make smaller
increase | raise | grow
decrease | lower | cut | reduce
limit | cap | maximum
size | footprint
cost | price | expense
expensive | costly | pricey
cheap | inexpensive | low-cost
free | without cost
run | execute | operate
running | executing | operating
start | begin | launch
stop | end | quit | halt
create | make | build | set up
write | compose | draft
change | modify | alter | adjust
delete | remove | erase
choose | pick | select
set | configure | adjust
setting | option | parameter | knob
fix | repair | solve | cure
error | fault | problem | issue
mistake | error | slip
wrong | incorrect | mistaken
check | verify | test
find | locate | look up
search | look for
download | fetch | get
install | set up
store | keep | save
save | store | keep
share | divide | split
split | cut | divide | break
join | combine | merge | put together
compare | contrast
convert | turn | translate | transform
count | number
number | amount | figure
kinds | types | sorts
kind | type | sort
part | piece | component
parts | pieces | components
rule | law | principle
method | technique | approach | way
example | sample | case
answer | reply | response
answers | replies | responses
question | query
text | words | writing
sentence | phrase
file | document
files | documents
list | sequence | array
function | routine | procedure
code | program | script
software | program | application | app
data | information | records
user | person
need | require | want
needs | requires | wants
help | assist | aid
important | essential | crucial | vital
matter | count
work | function | operate
works | functions | operates
happens | goes on | occurs
happen | occur | take place
cause | lead to | produce
causes | leads to | produces
know | understand | learn
learn | understand | study
show | display | demonstrate
use | apply | employ
uses | applies | employs
used | applied | employed
keep | hold | retain
safe | secure
private | confidential
allowed | permitted
better | superior
best | ideal | optimal
worse | inferior
bad | poor
quality | accuracy
same | identical | equal
different | other | distinct
new | recent | fresh
old | dated | former
again | once more | anew
always | every time
often | frequently
sometimes | now and then
without | with no
between | among
about | roughly | around
energy | power
earth | our planet | the planet
sun | our star
plants | green plants | vegetation
animals | living beings
body | organism
heat | warmth
light | rays
water | H2O
air | atmosphere
"""
SYNONYM_SHARE = 0.3

SPELLINGS = [
    (r"\b(\w*(?:quanti|token|normali|optimi|regulari|organi|summari|generali|initiali|minimi|"
     r"maximi|randomi|polari|ioni|locali|centrali|memori|virtuali|visuali|speciali|recogni|"
     r"seriali|vectori|paralleli|synchroni|reali|customi|categori|finali|standardi|crystalli))"
     r"([sz])(e|es|ed|er|ers|ing|ation|ations|able)\b", "sz"),
    (r"\b(\w*token)(is|iz)(e|es|ed|er|ers|ing|ation)\b", "iz"),
    (r"\b(col|neighb|behavi|fav|lab)(ou|o)(r|rs|red|ring)\b", "ou")]
NUMBER_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
                "seven": "7", "eight": "8", "ten": "10", "sixteen": "16", "thirty-two": "32"}
SHORT_FORMS = [("what is", "what's"), ("who is", "who's"), ("how is", "how's"), ("I am", "I'm"),
               ("it is", "it's"), ("do not", "don't"), ("does not", "doesn't"), ("cannot", "can't"),
               ("is not", "isn't"), ("are not", "aren't"), ("I have", "I've"), ("I would", "I'd"),
               ("will not", "won't"), ("that is", "that's"), ("where is", "where's")]

# Words that say little about what a text is about.
SMALL_WORDS = set("""a about after all also an and any are as at back be because been before being
between both but by can cannot could did do does each else even every few for from get gets give
given gives go goes had has have how i if in instead into is it its itself just keep kept large less
like made make makes many may me might more most much must my need needs new no not of off often on
once one only or other our out over own part parts people per same several should small so some such
take takes than that the their them then there these they thing things this those through to too two
under up use used uses using usually very was way well were what when where which while who why will
with within without would you your first last long since still rather both three good""".split())


def _synonym_table():
    """Map each phrase to the others of its lines."""
    table = {}
    for line in SYNONYMS.strip().splitlines():
        group = [part.strip() for part in line.split("|")]
        table.setdefault(group[0].lower(), []).extend(group[1:])
    return table


SYNONYM_TABLE = _synonym_table()
SYNONYM_PATTERN = re.compile(
    r"(?<![\w-])(" + "|".join(sorted(map(re.escape, SYNONYM_TABLE), key=len, reverse=True))
    + r")(?![\w-])", re.IGNORECASE)


def swap_words(rng, text, share=SYNONYM_SHARE):
    """Put other words for some; a capital stays a capital."""
    def other(match):
        if rng.random() >= share:
            return match.group(0)
        word = rng.choice(SYNONYM_TABLE[match.group(1).lower()])
        return word[:1].upper() + word[1:] if match.group(1)[0].isupper() else word
    return SYNONYM_PATTERN.sub(other, text)


def respell(rng, text):
    """Change between the ways in which the same is written."""
    for pattern, how in SPELLINGS:
        if rng.random() < 0.4:
            if how == "sz":
                text = re.sub(pattern, lambda m: m[1] + rng.choice("sz") + m[3], text)
            elif how == "iz":
                text = re.sub(pattern, lambda m: m[1] + rng.choice(["is", "iz"]) + m[3], text)
            else:
                text = re.sub(pattern, lambda m: m[1] + rng.choice(["ou", "o"]) + m[3], text)
    if rng.random() < 0.15:
        text = re.sub(r"\b\w+-\w+\b", lambda m: m[0].replace("-", rng.choice([" ", "", "-"])), text)
    if rng.random() < 0.15:
        for word, digit in NUMBER_WORDS.items():
            text = re.sub(rf"\b{word}\b", digit, text)
    elif rng.random() < 0.1:
        for word, digit in NUMBER_WORDS.items():
            text = re.sub(rf"(?<![\w.]){digit}(?![\w.])", word, text)
    if rng.random() < 0.15:
        for long, short in SHORT_FORMS:
            one, two = (long, short) if rng.random() < 0.5 else (short, long)
            text = re.sub(rf"\b{re.escape(one)}\b", two, text, flags=re.IGNORECASE)
    return text


def slip(rng, word):
    """Type a word wrongly: a letter too few, twice, in the wrong place or another."""
    at = rng.randrange(1, len(word) - 1)
    shape = rng.randrange(4)
    if shape == 0:
        return word[:at] + word[at + 1:]
    if shape == 1:
        return word[:at] + word[at] + word[at:]
    if shape == 2:
        return word[:at] + word[at + 1] + word[at] + word[at + 2:]
    return word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1:]


def slips(rng, text, share):
    """Type each longer word wrongly now and then."""
    return re.sub(r"[A-Za-z]{5,}",
                  lambda m: slip(rng, m[0]) if rng.random() < share else m[0], text)


def content_words(text):
    """List the words that say what a text is about, in their order."""
    return [word for word in re.findall(r"[A-Za-z0-9][\w.+#/-]*[\w+#]|[A-Za-z]", text)
            if word.lower() not in SMALL_WORDS]


def word_weights(answers):
    """Weigh each word by how few answers it is in: one over their number."""
    found = Counter(word for answer in answers
                    for word in {word.lower() for word in content_words(answer)})
    return {word: 1 / count for word, count in found.items()}


KEYWORD_FORMS = ["{w}", "{w}", "{w}?", "{w} explained", "{w} meaning", "how do {w} go together?",
                 "what about {w}?", "tell me about {w}", "{w} please", "something with {w}",
                 "what has {w} to do with it?", "I read about {w}", "why {w}?", "question on {w}"]
STATEMENT_FORMS = ["{s}", "{s}", "Is it right that {l}?", "is it true that {l}?",
                   "Explain this: {s}", "Someone said: {s}", "I read that {l}",
                   "What is meant by this: {s}", "why is it that {l}?"]


def keywords(rng, answer, weights):
    """Ask with some telling words of the answer."""
    words = content_words(answer)
    count = min(len(words), rng.randint(2, 5))
    chosen = set()
    pull = [weights.get(word.lower(), 1) for word in words]
    while len(chosen) < count:
        chosen.add(rng.choices(range(len(words)), pull)[0])
    joint = rng.choice([" ", " ", ", ", " and "])
    return rng.choice(KEYWORD_FORMS).format(w=joint.join(words[i] for i in sorted(chosen)))


def statement(rng, answer):
    """Ask about one sentence of the answer, or about one clause of it."""
    sentence = rng.choice(re.split(r"(?<=[.?!]) ", answer)).rstrip(".")
    clauses = [part for part in re.split(r"[,;:] ", sentence) if len(part.split()) >= 4]
    if clauses and rng.random() < 0.6:
        sentence = rng.choice(clauses)
    lowered = sentence if sentence[:2].isupper() else sentence[:1].lower() + sentence[1:]
    return rng.choice(STATEMENT_FORMS).format(s=sentence, l=lowered)
