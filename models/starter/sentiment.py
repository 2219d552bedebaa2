"""Sentences with a known sentiment, from a grammar, and instructions that ask for it.

Negation turns a judgement round and in a contrast the last clause decides, so that counting
good and bad words is not enough.
"""

import opinions
from questions import capitalise, split_phrasings

LABELS = ("positive", "negative", "neutral")

INSTRUCTIONS = [
    "What is the sentiment of this sentence: {s}",
    "Classify: {s}",
    "Is this review positive, negative or neutral? {s}",
    "Give the sentiment of the following review: {s}",
    "Classify the sentiment as positive, negative or neutral: {s}",
    "Sentiment: {s}",
    "{s}\nIs this positive, negative or neutral?",
    "Sentiment of \"{s}\"?",
    "Decide whether this text is positive, negative or neutral.\n{s}",
    "Is the following comment positive, negative or neutral: {s}",
    "What mood does this sentence have, positive, negative or neutral? {s}",
    "Judge this customer comment (positive, negative or neutral): {s}",
    "Label the sentiment: {s}",
    "Read this review and answer with positive, negative or neutral: {s}",
    "Positive, negative or neutral? {s}",
    "{s} - what is the sentiment?",
    "Do a sentiment analysis of this sentence: {s}",
    "Classify this review: \"{s}\"",
    "Tell me the sentiment of this text: {s}",
    "Rate the tone of this message as positive, negative or neutral: {s}",
    "Please classify the sentiment.\n\n{s}",
    "How does the writer feel, positive, negative or neutral? {s}",
    "sentiment analysis: {s}",
    "Determine the sentiment: {s}",
]
TRAIN_INSTRUCTIONS, HELD_OUT_INSTRUCTIONS = split_phrasings(INSTRUCTIONS)
# For training only, besides those above.
MORE_INSTRUCTIONS = [
    "Would you call this positive, negative or neutral? {s}",
    "Say in one word whether this is positive, negative or neutral: {s}",
    "Sentiment of this line, please: {s}",
    "{s}\n\nSentiment?",
    "Review: {s}\nSentiment:",
    "Opinion: {s} Positive, negative or neutral?",
    "Evaluate the feeling of this message: {s}",
    "A guest wrote: {s} Is that positive, negative or neutral?",
    "What is the attitude of the writer (positive, negative or neutral)? {s}",
    "Find out the sentiment of this feedback: {s}",
    "Positive or negative or neutral: {s}",
    "Text: {s}\nLabel (positive, negative, neutral):",
    "The following is a review. Is it positive, negative or neutral?\n{s}",
    "Mark this statement as positive, negative or neutral: {s}",
    "Which sentiment does this express? {s}",
    "Assess the sentiment of this remark: {s}",
    "classify sentiment: {s}",
    "Comment: \"{s}\" What is its sentiment?",
    "I got this feedback: {s} Is it positive, negative or neutral?",
    "Check the mood of this post, positive, negative or neutral: {s}",
    "Decide on the sentiment of this opinion: {s}",
    "Rate this opinion (positive, negative or neutral): {s}",
    "Give me the mood of this comment: {s}",
    "Tell me if this is positive, negative or neutral: {s}",
]
MORE_SHARE = 0.6  # of the sentences of training that `opinions` makes

# Things that are judged, by domain; every one fits "The THING was good".
THINGS = """film, movie, plot, acting, soundtrack, ending, book, story, novel, album, concert,
show, play, exhibition, game, food, soup, pizza, dinner, breakfast, dessert, coffee, menu,
restaurant, waiter, service, phone, camera, screen, battery, laptop, keyboard, mouse, printer,
headset, speaker, hotel, room, bed, view, pool, staff, reception, location, flight, train, bus
ride, crew, seat, trip, tour, guide, beach, museum, software, app, update, website, interface,
installer, manual, tutorial, course, teacher, lecture, lesson, workshop, exam, training, support,
hotline, delivery, packaging, order, product, price, quality, design, shop, salesman, car, engine,
bicycle, jacket, coat, dress, shirt, sofa, table, lamp, kettle, vacuum cleaner, washing machine,
doctor, dentist, clinic, gym, trainer, hairdresser, bank, insurance, garage, repair, meeting,
event, party, weather, neighbourhood, flat, kitchen, garden, toy, puzzle, backpack, tent, watch,
router, connection, translation, article, podcast, magazine, series, episode, actor, director,
band, singer, dancer, chef, driver"""

POSITIVE_WORDS = """good, great, excellent, wonderful, fantastic, superb, brilliant, amazing,
awesome, lovely, delightful, perfect, outstanding, marvellous, splendid, terrific, fabulous,
impressive, enjoyable, pleasant, charming, beautiful, stunning, gorgeous, magnificent,
exceptional, first-class, top-notch, reliable, helpful, friendly, fast, clean, comfortable,
delicious, tasty, fresh, clever, smart, funny, exciting, thrilling, touching, inspiring,
refreshing, remarkable, satisfying, solid, smooth, elegant, stylish, cosy, fair, generous, polite,
professional, competent, flawless, spotless, handy, useful, intuitive, well made, well organised,
easy to use, worth it, worth every cent, a real pleasure, a joy, a bargain, a hit, a masterpiece,
a treat, a dream, a pleasant surprise, beyond my expectations, better than expected, second to
none, simply the best, nice, cheerful, attentive, captivating, entertaining, rewarding"""
NEGATIVE_WORDS = """bad, awful, terrible, horrible, dreadful, poor, disappointing, boring, dull,
annoying, frustrating, useless, worthless, disgusting, dirty, filthy, rude, slow, unreliable,
broken, cheap and nasty, ugly, noisy, uncomfortable, bland, tasteless, stale, cold and unfriendly,
stupid, silly, tedious, tiresome, confusing, messy, chaotic, overpriced, a rip-off, unfair,
unhelpful, incompetent, unprofessional, careless, faulty, defective, flimsy, clumsy, shabby,
gloomy, depressing, sad, lousy, pathetic, ridiculous, embarrassing, mediocre, second-rate,
appalling, atrocious, dismal, miserable, painful, unbearable, unacceptable, inedible, unusable,
buggy, full of errors, badly made, badly organised, hard to use, a disaster, a waste of money, a
waste of time, a nightmare, a joke, a mess, a disgrace, a letdown, a shame, worse than expected,
below my expectations, the worst ever, nasty, hopeless, weak, sloppy, infuriating, outrageous"""
POSITIVE_VERBS = """love, like, enjoy, adore, really like, absolutely love, recommend, am happy
with, am delighted with, am very pleased with, am impressed by, am thrilled with, am satisfied
with, am grateful for, was amazed by, can recommend, would buy again, would choose again,
appreciate, can't complain about, never had a problem with, would not want to miss, have nothing
against"""
NEGATIVE_VERBS = """hate, dislike, regret, can't stand, despise, loathe, am unhappy with, am
disappointed by, am annoyed by, am fed up with, am angry about, am frustrated with, was shocked
by, complained about, would avoid, would never buy again, am sick of, had problems with, was let
down by, don't like, did not enjoy, would not recommend, can't recommend, was not happy with"""
POSITIVE_REMARKS = """I will come back; I would recommend it to everyone; Highly recommended; Five
stars; Ten out of ten; I had so much fun; We enjoyed every minute; It made my day; Well done;
Thank you so much; I could not be happier; It exceeded all my hopes; What a find; Money well
spent; I smiled all the way through; Everything worked right away; My children love it; I can't
wait to go again; It works like a charm; They solved my problem in minutes; I was laughing all
evening; Best decision of the year; We felt very welcome"""
NEGATIVE_REMARKS = """I will never come back; I want my money back; Stay away; One star; Zero out
of ten; I fell asleep halfway; We left early; It ruined my evening; Never again; I would not
recommend it to anyone; It broke after two days; Nobody answered my calls; I have rarely been so
angry; It crashed all the time; What a waste; Save your money; They ignored my complaint; I had to
wait for hours; I got sick afterwards; My children were in tears; It never worked; I am cancelling
my order; We felt cheated"""
NEUTRAL_REMARKS = """I bought it on Monday; It was delivered on Tuesday; I have had it for a
month; We were there in June; It comes in two colours; It starts at eight; There are two of them;
I paid by card; It is made in Italy; I use it at work; It weighs two kilos; We stayed for two
nights; My brother has the same one; The address is on the back; It was founded in 1987"""
NEUTRAL_WORDS = """average, okay, so-so, neither good nor bad, nothing special, as described, as
expected, standard, ordinary, the same as last year, about average, like any other"""
NEUTRAL_FACTS = """costs {n} euros; is in the {place}; was moved to {day}; starts at {hour}
o'clock; is open until {hour}; comes in {n} colours; was replaced in {month}; is {colour}; has
been here since {year}; was ordered on {day}; is on the {ordinal} page; has the number {n}; takes
{n} minutes; is near the station; will be checked in {month}; belongs to the second group; is
mentioned in the letter; can be booked online; was made in {year}; was sold to a new owner; is
available from {month}; is the {ordinal} on the list; was shown on {day}; is listed under {n}; was
paid by card; comes from {country}; has {n} parts; weighs {n} grams; is next to the {place}"""
SLOTS = {
    "place": ["city centre", "basement", "second floor", "main hall", "north wing", "old town",
              "entrance", "station", "car park", "library"],
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "month": ["January", "February", "March", "April", "May", "June", "July", "August",
              "September", "October", "November", "December"],
    "colour": ["red", "blue", "green", "black", "white", "grey", "brown", "yellow"],
    "ordinal": ["first", "second", "third", "fourth", "fifth", "last"],
    "country": ["Italy", "France", "Poland", "Japan", "Canada", "Spain", "Denmark", "India"],
    "hour": [str(hour) for hour in range(6, 13)],
    "year": [str(year) for year in range(1950, 2026)],
    "n": [str(number) for number in range(2, 400)],
}
INTENSIFIERS = ["", "", "", "very ", "really ", "truly ", "absolutely ", "quite ", "so "]
DETERMINERS = ["the", "the", "the", "this", "my new", "our", "their"]


def words_of(text, separator=","):
    """Split one of the word lists above."""
    return [" ".join(part.split()) for part in text.split(separator)]


THING_LIST = words_of(THINGS)
JUDGEMENTS = {"positive": words_of(POSITIVE_WORDS), "negative": words_of(NEGATIVE_WORDS),
              "neutral": words_of(NEUTRAL_WORDS)}
VERBS = {"positive": words_of(POSITIVE_VERBS), "negative": words_of(NEGATIVE_VERBS)}
REMARKS = {"positive": words_of(POSITIVE_REMARKS, ";"),
           "negative": words_of(NEGATIVE_REMARKS, ";"),
           "neutral": words_of(NEUTRAL_REMARKS, ";")}
FACTS = words_of(NEUTRAL_FACTS, ";")
OPPOSITE = {"positive": "negative", "negative": "positive"}
# Judgements of one word, the only ones that read well after "not" or "very".
PLAIN = {label: [word for word in words if " " not in word]
         for label, words in JUDGEMENTS.items()}


def thing(rng, place=None):
    """Name a judged thing with its determiner; a place in the list keeps to one domain."""
    if place is None:
        item = rng.choice(THING_LIST)
    else:
        item = rng.choice(THING_LIST[max(0, place - 4):place + 5])
    return f"{rng.choice(DETERMINERS)} {item}"


def judgement(rng, label):
    """Say what something is, with an intensifier where one fits."""
    word = rng.choice(JUDGEMENTS[label])
    if label != "neutral" and word in PLAIN[label]:
        return rng.choice(INTENSIFIERS) + word
    return word


def fact(rng):
    """State something about a thing without judging it."""
    slots = {name: rng.choice(values) for name, values in SLOTS.items()}
    return rng.choice(FACTS).format(**slots)


def be(rng):
    """Choose a form of "to be" that fits a single thing."""
    return rng.choice(["is", "was", "was", "has been"])


def plain_sentence(rng, label, place=None):
    """The film was great."""
    if label == "neutral" and rng.random() < 0.75:
        return f"{thing(rng, place)} {fact(rng)}"
    return f"{thing(rng, place)} {be(rng)} {judgement(rng, label)}"


def verb_sentence(rng, label):
    """I love the film."""
    if label == "neutral":
        action = rng.choice(["bought", "saw", "booked", "tried", "used", "ordered", "returned",
                             "looked at", "asked about", "read about"])
        when = rng.choice(["yesterday", "last week", "in " + rng.choice(SLOTS["month"]),
                           "on " + rng.choice(SLOTS["day"]), "this morning", "two days ago"])
        return f"{rng.choice(['I', 'we', 'my brother'])} {action} {thing(rng)} {when}"
    return f"I {rng.choice(VERBS[label])} {thing(rng)}"


def negated_sentence(rng, label):
    """The film was not good at all."""
    if label == "neutral":
        return f"{thing(rng)} {be(rng)} neither {rng.choice(PLAIN['positive'])} nor " \
               f"{rng.choice(PLAIN['negative'])}"
    word = rng.choice(PLAIN[OPPOSITE[label]])
    if label == "negative":
        return rng.choice(["{t} {b} not {w} at all", "{t} {b} not {w}", "{t} {b} anything but {w}",
                           "I did not find {t} {w}", "{t} {b} far from {w}",
                           "nobody would call {t} {w}", "I don't think {t} is {w}"
                           ]).format(t=thing(rng), b=be(rng), w=word)
    if rng.random() < 0.3:
        return f"{thing(rng)} {be(rng)} not bad" + rng.choice(["", " at all"])
    return rng.choice(["{t} {b} not {w} at all", "{t} {b} never {w}", "{t} {b} anything but {w}",
                       "I did not find {t} {w} for a moment", "{t} {b} far from {w}",
                       "nobody would call {t} {w}"]).format(t=thing(rng), b=be(rng), w=word)


def contrast_sentence(rng, label):
    """The food was fine but the service was awful: the last clause decides."""
    place = rng.randrange(len(THING_LIST))
    if label == "neutral":
        first, last = (f"{thing(rng, place)} {fact(rng)}" for _ in range(2))
        return f"{first} {rng.choice(['and', 'while', 'but'])} {last}"
    start = OPPOSITE[label] if rng.random() < 0.8 else "neutral"
    first, last = plain_sentence(rng, start, place), plain_sentence(rng, label, place)
    form = rng.choice(["{a} but {z}", "{a}, but {z}", "{a}. However, {z}", "although {a}, {z}",
                       "{a}, yet {z}", "even though {a}, {z}", "{a} and still {z}"])
    return form.format(a=first, z=last)


def remark_sentence(rng, label):
    """The film was great. Highly recommended."""
    remark = rng.choice(REMARKS[label])
    form = rng.choice(["{r}", "{p}. {r}", "{r}. {P}"])
    text = plain_sentence(rng, label)
    return form.format(r=remark, p=text, P=capitalise(text))


def exclamation_sentence(rng, label):
    """What a wonderful film!"""
    item = rng.choice(THING_LIST)
    if label == "neutral":
        return f"{rng.choice(SLOTS['colour'])} {item}, {rng.choice(SLOTS['n'])} euros"
    word = rng.choice(PLAIN[label])
    return rng.choice([f"what {article(word)} {word} {item}!", f"{word} {item}!",
                       f"such {article(word)} {word} {item}!", f"{word}, {word} {item}",
                       f"{item}: {word}"])


def comparison_sentence(rng, label):
    """The new film is much better than the old one."""
    item = rng.choice(THING_LIST)
    if label == "neutral":
        return f"the new {item} has the same number of parts as the old {rng.choice(THING_LIST)}"
    better = {"positive": "better", "negative": "worse"}[label]
    return rng.choice([f"the new {item} is much {better} than the old one",
                       f"I have never had a {better} {item}",
                       f"the {item} gets {better} every year",
                       f"I expected a {item} that is {OPPOSITE_BETTER[better]}, "
                       f"but it was {better} than that",
                       f"no other {item} here is {better}"])


def delay_sentence(rng, label):
    """After three weeks I find the film great (the family that is held out)."""
    start = rng.choice(["after {n} weeks with it", "after {n} days", "having tried it {n} times",
                        "now that I have had it for {n} months"]).format(n=rng.randrange(2, 12))
    if label == "neutral":
        return f"{start} I can report that {thing(rng)} {fact(rng)}"
    return f"{start} I can say that {thing(rng)} is {judgement(rng, label)}"


OPPOSITE_BETTER = {"better": "worse", "worse": "better"}
TRAIN_FAMILIES = [plain_sentence, plain_sentence, verb_sentence, negated_sentence,
                  negated_sentence, contrast_sentence, contrast_sentence, remark_sentence,
                  exclamation_sentence, comparison_sentence]
HELD_OUT_FAMILY = delay_sentence


def article(word):
    """Return "a" or "an", whichever goes before the word."""
    return "an" if word[0] in "aeiou" else "a"


def finish(rng, text):
    """Give a sentence its capital and its stop, or leave them out as people do."""
    text = text if text.endswith("!") else text + rng.choice([".", ".", ".", "!", ""])
    return capitalise(text) if rng.random() < 0.85 else text.lower()


def sentence(rng, label, families):
    """Make one sentence with the label."""
    return finish(rng, rng.choice(families)(rng, label))


def train_sample(rng):
    """Return (instruction with sentence, label, sentence) for training."""
    label = rng.choice(LABELS)
    if rng.random() < MORE_SHARE:
        text = finish(rng, opinions.sentence(rng, label))
    else:
        text = sentence(rng, label, TRAIN_FAMILIES)
    instruction = rng.choice(TRAIN_INSTRUCTIONS + MORE_INSTRUCTIONS)
    if rng.random() < 0.15:
        instruction = instruction.lower()
    return instruction.format(s=text), label, text


def eval_sample(rng, index):
    """Return (instruction with sentence, label, sentence) with the held-out instructions.

    Every other block of three has a sentence of the held-out family; labels take turns.
    """
    label = LABELS[index % 3]
    families = [HELD_OUT_FAMILY] if index // 3 % 2 else TRAIN_FAMILIES
    text = sentence(rng, label, families)
    return rng.choice(HELD_OUT_INSTRUCTIONS).format(s=text), label, text
