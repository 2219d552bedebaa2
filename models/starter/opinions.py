"""Judgements by domain, for the training of sentiment only.

`sentiment` has the grammar that the evaluation draws from too. Here are more sentences, of other
builds and with the words of a domain, so that a model cannot rely on a few patterns.
"""

import re

from questions import capitalise

# For each domain: things, what one says of good ones, of bad ones, and facts without a judgement.
DOMAINS = {
    "food": (
        """soup, salad, pasta, steak, burger, curry, sushi, pie, cake, bread, cheese, wine, beer,
        tea, sauce, rice, fish, chicken, starter, main course, buffet, sandwich, ice cream,
        omelette""",
        """melts in the mouth; is full of flavour; tastes like my grandmother's; is cooked to
        perfection; is always fresh; is crisp and hot; made me ask for more; is the best in town;
        smells heavenly; has just the right amount of spice; is rich and creamy; disappeared from
        our plates in seconds""",
        """tastes like cardboard; is burnt; was cold when it came; has no flavour; is far too
        salty; is soggy; made me sick; smells off; is dry as dust; has a hair in it; is raw in the
        middle; went straight into the bin; is greasy and heavy; leaves a nasty taste""",
        """is served from noon; comes with bread; is on page two of the menu; is made with milk;
        contains nuts; is sold by weight; is the third item on the list; comes in a bowl; is
        available without meat"""),
    "hotel": (
        """room, bed, shower, lobby, breakfast room, balcony, sauna, pool, reception, minibar,
        pillow, view, apartment, hostel, campsite, cabin, suite, terrace, lift, garden""",
        """is spotless; is quiet at night; overlooks the sea; felt like home; has everything we
        need; is warm and cosy; is worth every penny; made our holiday; is even nicer than in the
        photos; smells fresh; is a dream; is spacious and bright""",
        """is filthy; smells of smoke; is full of mould; has cockroaches; is as loud as a
        motorway; is tiny and dark; was not cleaned once; leaks; ruined our holiday; looks nothing
        like the photos; is freezing; is falling apart; kept us awake all night""",
        """is on the third floor; has two windows; faces north; opens at seven; was built in 1990;
        is next to the stairs; has room for four people; is included in the rate; is 20 square
        metres"""),
    "film": (
        """film, plot, script, cast, soundtrack, ending, dialogue, cinematography, sequel, series,
        episode, documentary, comedy, thriller, cartoon, play, musical, opera, concert,
        performance""",
        """kept me on the edge of my seat; moved me to tears; made me laugh out loud; is a work of
        genius; is unforgettable; deserves every award; grips you from the start; is beautifully
        shot; is worth seeing twice; left me speechless; is brilliantly played; gave me goose
        bumps""",
        """put me to sleep; makes no sense; drags on forever; insults the viewer; is full of
        holes; is wooden; is a waste of two hours; falls flat; is painfully predictable; made me
        leave early; bored me to tears; has no heart; is a cheap copy; is badly dubbed""",
        """lasts two hours; is set in Rome; was shot in black and white; came out in May; has
        three parts; is based on a novel; is shown on Friday; is in French with subtitles; was
        made for television"""),
    "app": (
        """app, program, update, interface, website, search function, installer, login, dashboard,
        plug-in, editor, player, backup tool, map, calendar, password manager, game, online shop,
        menu, dark mode""",
        """works flawlessly; is a breeze to use; saves me hours; runs smoothly; does exactly what
        it should; is lightning fast; is well thought out; just works; has made my life easier; is
        a pleasure to use; never lets me down; got even better""",
        """crashes all the time; freezes; is full of bugs; deleted my data; drains the battery; is
        slow as a snail; is full of ads; keeps logging me out; is a pain to use; never loads;
        broke everything; is cluttered and confusing; does not work""",
        """has a blue icon; needs 200 MB; asks for a password; runs on tablets; was updated in
        May; has five tabs; is available in German; opens in a new window; stores files in a
        folder; has version 3"""),
    "delivery": (
        """parcel, delivery, packaging, courier, order, shipment, tracking, letter, refund,
        exchange, return, invoice, box, driver, pick-up point""",
        """arrived a day early; came in perfect condition; is always on time; went without a
        hitch; was quick and easy; took only one day; was handled with care; beat my expectations;
        could not have gone better""",
        """never arrived; came damaged; is three weeks late; got lost; was left in the rain; took
        forever; was wrong again; is a total mess; was torn open; came empty; is a scandal""",
        """is on its way; comes on Thursday; was sent by post; has a number; weighs two kilos;
        needs a signature; is at the station; left the warehouse; is addressed to me"""),
    "service": (
        """staff, waiter, hotline, technician, salesman, nurse, doctor, support team,
        receptionist, plumber, hairdresser, bank clerk, driver, guide, teacher, instructor,
        manager, agent, cashier, mechanic""",
        """went out of the way to help; could not have been kinder; knows everything; always has a
        smile; answered at once; solved it in a minute; took the time to explain; treats you like
        a friend; did a wonderful job; is a star; made us feel welcome""",
        """ignored us; was rude to my mother; hung up on me; knows nothing; shouted at us; kept us
        waiting for an hour; lied to me; does not care; made it worse; could not be bothered;
        treated us like dirt; was never available""",
        """works on weekdays; wears a uniform; speaks English; came at ten; is new in town; has an
        office on the first floor; asked for my name; wrote down the number; called back on
        Monday"""),
    "book": (
        """book, novel, story, chapter, manual, guide, poem, magazine, article, blog, textbook,
        biography, translation, comic, dictionary, newspaper, column, cookbook""",
        """is a page-turner; is hard to put down; taught me a lot; is wonderfully written; opened
        my eyes; is full of wit; is a treasure; makes you think; is clear and to the point; made
        me smile; stays with you""",
        """is hard to follow; is full of mistakes; bored me; is badly translated; goes nowhere; is
        not worth the paper; reads like a phone book; is pretentious; gave me a headache; is
        outdated and shallow""",
        """has 300 pages; is in its second edition; was written in 1920; has a green cover; is
        about a journey; lies on the table; was printed in Italy; appears every month; has twelve
        chapters"""),
    "hardware": (
        """laptop, phone, keyboard, mouse, screen, camera, printer, router, headset, battery,
        charger, speaker, tablet, fan, hard drive, vacuum cleaner, washing machine, drill,
        toaster, bicycle, car""",
        """works like a charm; is built to last; is fast and quiet; has a brilliant picture; is
        rock solid; lasts all day; was easy to set up; feels great in the hand; is a bargain;
        sounds amazing; does the job perfectly; exceeded my hopes""",
        """broke after a week; overheats; makes a horrible noise; feels cheap; died on me; never
        worked; is useless; scratches easily; keeps disconnecting; is junk; lasts an hour at most;
        fell apart; arrived with a cracked screen""",
        """weighs one kilo; has four ports; is 30 cm wide; was made in China; comes with a cable;
        has a two-year guarantee; runs on batteries; is black; is on the desk; uses 40 watts; was
        sold in May"""),
    "course": (
        """course, lecture, lesson, workshop, seminar, exam, tutorial, training, webinar, class,
        talk, presentation, homework, teacher, professor""",
        """was inspiring; taught me more than school; is clear and well paced; is great fun; made
        it easy to understand; is worth the fee; kept everyone awake; was the highlight of my
        week; gave me confidence""",
        """was a waste of time; confused everybody; is boring beyond words; taught me nothing; is
        badly prepared; put half the class to sleep; costs far too much for what it is; was a
        mess; goes too fast""",
        """takes place on Tuesdays; starts at nine; has twenty students; is held in English; ends
        in June; is in room 4; covers three chapters; lasts ninety minutes; was moved to Friday"""),
    "weather": (
        """weather, climate, beach, walk, lake, park, summer, morning, sky, snow, trip, hike,
        picnic, view, holiday, weekend, town, neighbourhood""",
        """is glorious; was pure joy; did us good; is a paradise; was just what I needed; could
        not have been better; is breathtaking; is a delight; lifted my spirits; was
        unforgettable""",
        """was miserable; spoiled everything; is depressing; was a washout; is overcrowded and
        dirty; made us all ill; is dreadful; was a disaster; got on my nerves; was grey and bleak
        all week""",
        """is north of the town; began in June; lasts three days; is two miles long; is forecast
        for Sunday; has an average of ten degrees; is on the map; changes in May; was measured at
        noon"""),
}
GOOD = """good, great, excellent, lovely, perfect, superb, charming, brilliant, pleasant,
delightful, outstanding, wonderful, fantastic, impressive, splendid, nice, enjoyable, beautiful,
first-rate, satisfying, amazing, marvellous, helpful, reliable, convincing, fabulous, magical,
adorable, fun, neat, admirable, magnificent, excellent value, heaven, a triumph, a gem, a winner,
a success, a delight"""
BAD = """bad, awful, terrible, poor, horrible, dreadful, disappointing, boring, useless, annoying,
lousy, ugly, rotten, miserable, pathetic, disgusting, unpleasant, appalling, hideous, frustrating,
stupid, worthless, abysmal, unreliable, tiresome, nasty, horrid, laughable, a failure, a flop, a
fiasco, rubbish, garbage, a scam, a disappointment, a pain, trash, a catastrophe, an insult, a
torment"""
MIDDLE = """average, ordinary, standard, typical, unremarkable, as usual, as described,
medium-sized, neither cheap nor expensive, neither good nor bad, nothing out of the ordinary, like
the others, usual, in the middle, so-so, okay, the same as before, as announced, comparable to the
rest"""
PREAMBLES = """I must say that; to be honest,; honestly,; in my opinion,; I think; I find that; my
wife says; all in all,; I have to admit that; everyone agrees that; frankly,; we found that; as
far as I can tell,; it turns out that; my friends told me that; if you ask me,; believe me,; once
again,; yesterday I noticed that; on the whole,; today I learned that; let me say it clearly:; I
am writing to tell you that; my review:; to sum up,; I noticed that; for the record,; you should
know that; in short,; as a regular guest I know that; since we moved here,; on our second visit,;
compared with last year,; for the first time in years"""
NEUTRAL_PREAMBLES = """please note that; for your information,; according to the leaflet,; I read
that; the label says that; as planned,; it says here that; I was told that; they informed us that;
the page says that; for the record,; I noticed that; yesterday I noticed that; I think; as far as
I know,; it is written that; today I learned that; I can confirm that; we found that"""
LOVE = """love; adore; enjoyed; recommend; am delighted with; am happy with; am so glad I chose;
can only praise; fell in love with; am a big fan of; cannot live without; would gladly pay more
for; look forward to; am thankful for; was pleasantly surprised by; have only good things to say
about; miss"""
HATE = """hate; regret buying; dislike; am disappointed with; am fed up with; cannot recommend; am
furious about; cannot bear; would not wish on anyone; had nothing but trouble with; am ashamed of;
gave up on; am tired of; feel cheated by; have nothing good to say about; want to forget;
complained about"""
SAW = """saw; bought; ordered; looked at; read about; asked about; wrote down the name of; booked;
found the address of; compared; took a picture of; passed; counted; collected; paid for; rented"""
TIMES = """yesterday; on Monday; in May; last week; this morning; at noon; two years ago; in the
afternoon; on the fifth; before lunch; after work; together with my sister; for a colleague; with
the others"""
GOOD_ENDS = """will be back; would buy it again; thank you; thumbs up; five stars; highly
recommended; great job; more of that, please; what a joy; keep it up; love it; could not ask for
more; bravo; so happy; a must; 10/10; my new favourite; well worth it; perfect gift; go and see
for yourself"""
BAD_ENDS = """never again; avoid; one star; what a shame; I want a refund; not worth it; stay
away; such a waste; thumbs down; 0/10; so angry; do not buy; I sent it back; a total letdown;
hands off; I am done with them; shame on you; no thanks; money down the drain; we walked out"""
MIDDLE_ENDS = """it is on the list; that is all; see the second page; more details follow; it was
a Tuesday; the rest is the same; ask at the desk; I have the receipt; there were six of us; it
starts at nine; the next one is in June; it comes by post"""
TOGETHER_FORMS = ("{a} and {b}", "{a}, {b}", "{a}. {B}", "{a}; {b}", "not only that {a}, {b} too",
                  "{a}, and {b}")
BETTER_FORMS = ("the {t} is {w} than I thought", "there is no {w} {t}",
                "the {t} is even {w} than the {u}", "I have seldom seen a {w} {t}",
                "it used to be {o}, now the {t} is {w}", "the {t} is {w} every time",
                "the {t} got {w}", "a {w} {t} is hard to find")
SAME_FORMS = ("the {t} is as long as the last one", "this {t} is the same as the other one",
              "the {t} and the {u} have the same size", "this {t} replaces the old one")
DETERMINERS = ("the", "the", "the", "their", "our", "my", "your")
NOUNS = ("rubbish", "garbage", "trash", "heaven", "fun")
OPPOSITE = {"positive": "negative", "negative": "positive"}


def split(text, separator=","):
    """Split one of the lists above."""
    return [" ".join(part.split()) for part in re.split(separator, text) if part.strip()]


JUDGED = [tuple([split(parts[0])] + [split(part, ";") for part in parts[1:]])
          for parts in DOMAINS.values()]
WORDS = {"positive": split(GOOD), "negative": split(BAD), "neutral": split(MIDDLE)}
ENDS = {"positive": split(GOOD_ENDS, ";"), "negative": split(BAD_ENDS, ";"),
        "neutral": split(MIDDLE_ENDS, ";")}
VERBS = {"positive": split(LOVE, ";"), "negative": split(HATE, ";"), "neutral": split(SAW, ";")}
PREAMBLE_LIST, NEUTRAL_PREAMBLE_LIST = split(PREAMBLES, ";"), split(NEUTRAL_PREAMBLES, ";")
TIME_LIST = split(TIMES, ";")
CLAUSE = {"positive": 1, "negative": 2, "neutral": 3}


def single(label):
    """Return the judgements of one word: those that "not" and "very" fit."""
    return [word for word in WORDS[label] if " " not in word and word not in NOUNS]


SINGLE = {label: single(label) for label in WORDS}


def thing(rng, domain):
    """Name a thing of a domain."""
    return f"{rng.choice(DETERMINERS)} {rng.choice(domain[0])}"


def adjective_clause(rng, label, domain):
    """The soup is quite good."""
    word = rng.choice(WORDS[label])
    often = "" if label == "neutral" or word not in SINGLE[label] else rng.choice(
        ["", "", "very ", "really ", "quite ", "simply ", "just ", "rather ", "extremely ",
         "truly "])
    return f"{thing(rng, domain)} {rng.choice(['is', 'was', 'is', 'looks', 'seems'])} {often}{word}"


def clause(rng, label, domain):
    """Say one thing with the label; how it is negated is part of it."""
    shape = rng.random()
    if shape < 0.45:
        return f"{thing(rng, domain)} {rng.choice(domain[CLAUSE[label]])}"
    if shape < 0.7 or label == "neutral":
        return adjective_clause(rng, label, domain)
    if shape < 0.85:
        return f"I {rng.choice(VERBS[label])} {thing(rng, domain)}"
    word, item = rng.choice(SINGLE[OPPOSITE[label]]), thing(rng, domain)
    forms = ["{t} is far from {w}", "{t} is anything but {w}", "{t} was not {w} at all", "there is "
             "nothing {w} about {t}", "{t} is never {w}", "who would call {t} {w}?", "{t} is by no "
             "means {w}", "{t} could hardly be less {w}", "I can't call {t} {w}"]
    if label == "positive" and rng.random() < 0.4:
        forms, word = ["{t} is not {w}", "{t} is not {w} at all", "{t} was not half {w}",
                       "{t} is really not {w}"], "bad"
    return rng.choice(forms).format(t=item, w=word)


def contrast(rng, label, domain):
    """Two clauses of which the main one, or the last one, decides."""
    other = "neutral" if rng.random() < 0.2 and label != "neutral" else \
        OPPOSITE.get(label, "neutral")
    side, main = clause(rng, other, domain), clause(rng, label, domain)
    if label == "neutral":
        return rng.choice(["{s} and {m}", "{s}, and {m}", "{s}. {M}", "{s}; {m}", "{s}, while {m}"]
                          ).format(s=side, m=main, M=capitalise(main))
    return rng.choice([
        "although {s}, {m}", "even though {s}, {m}", "{m}, although {s}", "{m}, even though {s}",
        "{s}, but {m}", "{s} but {m}", "{s}, yet {m}", "{s}. However, {m}", "{s}. But {m}",
        "while {s}, {m}", "despite the fact that {s}, {m}", "{s}; nevertheless {m}",
        "{s}. Still, {m}", "granted, {s}, but {m}", "they said that {s}, but in fact {m}",
        "I expected that {s}, but {m}"]).format(s=side, m=main)


def together(rng, label, domain):
    """Two clauses that say the same."""
    one, two = clause(rng, label, domain), clause(rng, label, domain)
    return rng.choice(TOGETHER_FORMS).format(a=one, b=two, B=capitalise(two))


def with_preamble(rng, label, domain):
    """A clause after words that say nothing."""
    start = rng.choice(NEUTRAL_PREAMBLE_LIST if label == "neutral" else PREAMBLE_LIST)
    return f"{start} {clause(rng, label, domain)}"


def with_end(rng, label, domain):
    """A clause with a remark."""
    one, end = clause(rng, label, domain), rng.choice(ENDS[label])
    form = rng.choice(["{a}, {e}", "{a}. {E}", "{E}! {A}", "{E}. {A}", "{E}: {a}", "{a} - {e}"])
    return form.format(a=one, e=end, A=capitalise(one), E=capitalise(end))


def noun_phrase(rng, label, domain):
    """A judgement without a verb, or a plain action."""
    item = rng.choice(domain[0])
    if label == "neutral":
        who = rng.choice(["I", "we", "my sister", "they", "a colleague"])
        return f"{who} {rng.choice(VERBS[label])} the {item} {rng.choice(TIME_LIST)}"
    word = rng.choice(SINGLE[label])
    return rng.choice(["what a {w} {t}", "{w} {t}", "{t}: {w}", "{t} - {w}", "such {w} {t}, {e}",
                       "a {w} {t}, {e}", "{w} {t}, {w2} {t2}", "the most {w} {t} ever"]).format(
        w=word, t=item, e=rng.choice(ENDS[label]), w2=rng.choice(SINGLE[label]),
        t2=rng.choice(domain[0]))


def comparison(rng, label, domain):
    """Better or worse than something, or just the same."""
    item, second = rng.choice(domain[0]), rng.choice(domain[0])
    if label == "neutral":
        return rng.choice(SAME_FORMS).format(t=item, u=second)
    better, worse = ("better", "worse") if label == "positive" else ("worse", "better")
    return rng.choice(BETTER_FORMS).format(t=item, u=second, w=better, o=worse)


FAMILIES = (clause, clause, contrast, contrast, together, with_preamble, with_preamble, with_end,
            noun_phrase, comparison)


def sentence(rng, label):
    """Make a sentence with the label, now and then with words before it."""
    domain = rng.choice(JUDGED)
    text = rng.choice(FAMILIES)(rng, label, domain)
    return re.sub(r"\ba (?=[aeiou])", "an ", text)
