"""Values to extract: names, places, things, dates, numbers.

They are very many and mostly invented or put together, so that a model has to copy them out of the
text and cannot learn them by heart. Which values the evaluation has and which training has is
decided by a hash of the value (`one_in_eight`). What is drawn for the evaluation (held_out) never
changes, so that figures stay comparable; training draws from more.
"""

import copying
from questions import capitalise, one_in_eight
from rephrase import SMALL_WORDS

FIRST_NAMES = """Anna Peter Maria John Laura Thomas Sofia Daniel Emma Lucas Julia Martin Nina Paul
Clara David Elena Simon Ruth Oliver Hannah Felix Alice Robert Eva George Lena Frank Grace Henry
Ida Jakob Karin Leo Marta Noah Olga Oscar Petra Ralph Sarah Tim Ursula Victor Wanda Adam Bella
Carl Dora Eric Fiona Gavin Helen Ivan Jane Kurt Linda Mark Nora Otto Paula Quentin Rosa Steven
Tanya Umar Vera Walter Xenia Yusuf Zoe Ahmed Aisha Akira Amir Ana Andre Anton Arjun Astrid Bruno
Carlos Chen Chloe Diego Dmitri Elif Emil Farah Fatima Gina Giulia Hassan Hiro Ines Ingrid Isabel
Jamal Javier Jin Jonas Kamal Katarina Kenji Lars Leila Li Lucia Magnus Mateo Mehmet Mei Mila
Mohammed Nadia Natasha Nikolai Omar Pablo Pavel Pierre Priya Rafael Raj Rania Ricardo Sana Sergei
Sven Tariq Tomas Valentina Wei Yara Yuki Zainab Zoltan Bridget Callum Declan Edith Fergus Gwen
Harriet Isla Keira Logan Megan Niall Owen Poppy Rhys Siobhan Trevor Agnes Boris Cedric Delia Edgar
Flora Gustav Hilda Igor Jolanda Klaus Lydia Milan Nadine Oskar Pia Rolf Selma Theo Ulf Viktor
Wilma Yvonne Zita""".split()
LAST_NAMES = """Smith Jones Taylor Brown Wilson Evans Thomas Roberts Walker Wright Green Hall Wood
Harris Lewis Clarke Jackson Turner Hill Cooper Ward Morris Moore Baker King Lee Allen Scott Young
Mueller Schmidt Schneider Fischer Weber Meyer Wagner Becker Hoffmann Koch Richter Klein Wolf
Neumann Schwarz Braun Zimmermann Krueger Hartmann Lange Krause Lehmann Huber Maier Keller Vogel
Frank Berger Garcia Lopez Martinez Sanchez Perez Gomez Fernandez Ruiz Alvarez Moreno Romero
Navarro Torres Ramos Silva Santos Oliveira Costa Pereira Rossi Russo Ferrari Bianchi Romano Ricci
Marino Greco Conti Dubois Durand Leroy Moreau Simon Laurent Lefebvre Michel Bertrand Roux Fournier
Girard Bonnet Jansen Bakker Visser Smit Meijer Mulder Bos Vos Peters Hendriks Jensen Nielsen
Hansen Larsen Olsen Johansson Andersson Karlsson Nilsson Eriksson Berg Dahl Lund Virtanen Korhonen
Nowak Kowalski Wisniewski Kaminski Novak Svoboda Horvath Kovacs Nagy Toth Popescu Ionescu Petrov
Ivanov Sokolov Kuznetsov Tanaka Suzuki Sato Yamamoto Watanabe Kim Park Choi Wang Zhang Liu Chen
Yang Singh Kumar Sharma Patel Gupta Khan Ali Hussain Yilmaz Kaya Demir Hassan Ibrahim Mensah
Okafor Adeyemi Mwangi Murphy Kelly Byrne Ryan Walsh Campbell Stewart Fraser Reid Murray Graham
Hamilton""".split()
CITIES = """Paris, London, Berlin, Madrid, Rome, Vienna, Prague, Warsaw, Budapest, Athens, Dublin,
Oslo, Stockholm, Helsinki, Copenhagen, Brussels, Amsterdam, Zurich, Geneva, Lisbon, Porto,
Barcelona, Valencia, Seville, Milan, Turin, Naples, Venice, Florence, Bologna, Lyon, Marseille,
Nice, Bordeaux, Nantes, Lille, Toulouse, Hamburg, Munich, Cologne, Frankfurt, Stuttgart, Leipzig,
Dresden, Bremen, Hanover, Nuremberg, Bonn, Salzburg, Graz, Linz, Basel, Bern, Lausanne, Antwerp,
Ghent, Rotterdam, Utrecht, Aarhus, Bergen, Gothenburg, Malmo, Tampere, Turku, Riga, Vilnius,
Tallinn, Krakow, Gdansk, Poznan, Brno, Bratislava, Ljubljana, Zagreb, Split, Belgrade, Sofia,
Bucharest, Istanbul, Ankara, Izmir, Cairo, Tunis, Rabat, Lagos, Accra, Nairobi, Dakar, Cape Town,
Durban, Dubai, Doha, Amman, Beirut, Tehran, Karachi, Lahore, Delhi, Mumbai, Chennai, Kolkata,
Dhaka, Colombo, Bangkok, Hanoi, Jakarta, Manila, Singapore, Hong Kong, Shanghai, Beijing, Seoul,
Busan, Tokyo, Osaka, Kyoto, Sydney, Melbourne, Brisbane, Perth, Auckland, Wellington, New York,
Boston, Chicago, Denver, Dallas, Houston, Seattle, Portland, Austin, Miami, Atlanta, Detroit,
Phoenix, Toronto, Montreal, Vancouver, Ottawa, Mexico City, Havana, Bogota, Lima, Quito, Santiago,
Buenos Aires, Rio de Janeiro, Recife, Leeds, York, Bath, Oxford, Cambridge, Bristol, Cardiff,
Glasgow, Edinburgh, Belfast, Cork, Galway"""
PRODUCTS = """desk lamp, office chair, coffee mug, water bottle, notebook, backpack, keyboard,
wireless mouse, USB cable, phone case, headphones, tripod, umbrella, raincoat, winter jacket,
running shoes, wool sock, bath towel, pillow, blanket, candle, picture frame, wall clock, flower
pot, garden hose, hammer, screwdriver set, paint brush, ladder, toolbox, bread knife, frying pan,
soup bowl, teapot, wine glass, lunch box, toaster, kettle, blender, vacuum cleaner, light bulb,
extension cord, battery pack, hard drive, memory card, router, webcam, monitor stand, tablet,
printer cartridge, paper ream, ballpoint pen, stapler, whiteboard, calendar, board game, jigsaw
puzzle, tennis ball, yoga mat, bicycle pump, helmet, bike lock, tent, sleeping bag, camping stove,
dog bed, cat toy, fish tank, baby bottle, teddy bear, bed sheet, bookshelf, coat rack, door mat,
shower curtain, mirror, soap bar, hair dryer, toothbrush, first aid kit, suitcase, travel adapter,
sunglasses, watch strap"""
EVENTS = """book club, summer party, project meeting, yoga class, board meeting, spring concert,
chess tournament, cooking course, open day, jazz night, poetry reading, wine tasting, charity run,
science fair, job fair, craft market, parents evening, budget review, film festival, dance class,
city walk, photo workshop, art exhibition, garden show, quiz night, team lunch, safety training,
press conference, school play, choir rehearsal, neighbourhood clean-up, book launch, flea market,
winter ball, product demo, planning session, first aid course, language exchange, pottery class,
annual meeting, repair cafe, music lesson, farewell dinner, welcome breakfast, swimming gala,
marathon, street fair"""
PLACES = """town hall, library, school gym, room 12, main hall, city park, community centre, old
theatre, conference room, lecture hall, art museum, sports club, church hall, cafe Luna, hotel
Astoria, meeting room 3, university, botanical garden, market square, harbour, station hotel,
cinema, concert hall, village pub, rooftop terrace, studio 5, headquarters, canteen, east wing,
tennis club"""
ROLES = """engineer, nurse, teacher, accountant, designer, sales manager, software developer,
driver, cook, electrician, project manager, lawyer, secretary, receptionist, data analyst,
plumber, editor, translator, pharmacist, architect, team leader, gardener, consultant, cashier,
mechanic, librarian, research assistant, marketing director, security guard, carpenter,
technician, product owner, trainer, baker, warehouse clerk, tax adviser, photographer, physicist,
office manager, head of finance"""
COMPANY_ENDINGS = """Ltd, Inc, GmbH, Group, Systems, Foods, Bank, Motors, Software, Logistics,
Media, Energy, Labs, Partners, Solutions, Textiles, Airlines, Books, Electronics, Consulting"""
MAIL_HOSTS = ["example.com", "mail.com", "example.org", "post.net", "inbox.org", "mymail.net"]
MONTHS = """January February March April May June July August September October November
December""".split()
ONSETS = "b br c ch d dr f g gr h j k kl l m n p pr r s st t tr v w z".split()
VOWELS = "a e i o u ai ea io".split()
CODAS = ["", "", "", "l", "n", "r", "s", "th", "m", "x", "nd", "rk"]

# For training only: what to put things, events, places and roles together from.
THING_KINDS = """big, small, old, new, red, blue, green, black, white, grey, yellow, wooden,
steel, glass, leather, cotton, silver, plastic, folding, electric, portable, digital, heavy,
light, double, spare, travel, kitchen, garden, office, winter, summer, sports, party, children's,
wireless, second-hand, waterproof, classic, deluxe, mini, giant, round, square, silent, organic,
handmade"""
THINGS = """table, stool, bench, shelf, cupboard, drawer, lamp shade, carpet, curtain, clock,
vase, bowl, plate, fork, spoon, pan, pot, jug, cup, tray, basket, bucket, broom, mop, saw, drill,
wrench, nail, screw, rope, chain, hook, hinge, lock, key ring, torch, radio, speaker, microphone,
camera lens, charger, cable, adapter, plug, battery, screen, printer, scanner, projector, mouse
pad, desk mat, folder, binder, envelope, stamp, marker, pencil, eraser, ruler, glue stick,
scissors, map, globe, atlas, diary, poster, puzzle, kite, doll, drum, flute, guitar string,
violin, football, racket, skateboard, scooter, saddle, trolley, wheel, tyre, mirror, towel,
sponge, comb, razor, scarf, glove, belt, hat, cap, boot, sandal, shirt, skirt, coat, apron,
wallet, purse, ring, necklace, tea, coffee, honey, olive oil, cheese, bread, chocolate, jam, rice,
pasta, apple juice, mineral water, cushion, mattress, hammock, fan, heater, filter, hose pipe,
seed tray, lawn mower, rake, spade, fence post, paint, brush set, tile, brick, door handle, window
blind, doorbell, alarm, sensor, keyboard cover, laptop sleeve, power strip, SD card, graphics
card"""
EVENT_KINDS = """summer, winter, spring, autumn, annual, monthly, evening, morning, open-air,
charity, youth, family, staff, student, jazz, rock, folk, opera, piano, guitar, chess, tennis,
football, cycling, hiking, cooking, baking, painting, sewing, reading, writing, Spanish, French,
German, history, maths, science, robotics, gaming, budget, sales, safety, health, first aid, tax,
election, welcome, farewell, birthday, harvest, wine, food, book, film, dance, theatre, pottery,
neighbourhood, planning"""
EVENTS_OF = """party, meeting, class, course, concert, festival, fair, market, tournament,
workshop, lecture, seminar, conference, dinner, lunch, breakfast, picnic, walk, tour, race, match,
game night, quiz, exhibition, show, screening, rehearsal, reading, debate, hearing, training,
interview, review, reunion, ceremony, ball, parade, camp, auction, sale, launch, opening, contest,
club, circle, trip, excursion"""
PLACE_KINDS = """old, new, small, large, upper, lower, north, south, east, west, central, royal,
city, town, village, school, church, harbour, river, lake, garden, market, station, railway,
museum, university, hospital, sports, summer, winter"""
PLACES_OF = """hall, park, theatre, library, museum, gallery, cinema, stadium, arena, gym, pool,
church, chapel, school, college, campus, cafe, restaurant, pub, bar, hotel, inn, castle, tower,
bridge, square, garden, market, mall, station, airport, pier, beach, field, barn, farm, club,
centre, office, studio, courtyard, basement, terrace, ballroom, auditorium, tent, pavilion, house,
lounge, canteen, zoo"""
ROLE_KINDS = """senior, junior, chief, deputy, assistant, head, trainee, lead, principal, acting,
regional, night, school, hospital, hotel, bank, sales, tax, legal, software, network, data,
quality, safety, field"""
ROLES_OF = """engineer, nurse, teacher, accountant, designer, manager, developer, driver, cook,
lawyer, secretary, analyst, editor, translator, architect, gardener, consultant, mechanic, clerk,
adviser, scientist, chemist, biologist, officer, inspector, planner, buyer, trader, broker,
auditor, tester, administrator, operator, technician, therapist, surgeon, dentist, midwife, pilot,
steward, captain, sailor, farmer, forester, butcher, tailor, painter, plumber, roofer, welder,
printer, bookkeeper, journalist, reporter, photographer, producer, director, actor, musician,
coach, referee, lecturer, professor, researcher, curator, guide, receptionist, porter, caretaker,
cleaner, guard, detective"""
COMPOUND_SHARE = 0.4  # of the things, events, places and roles of training
PHRASE_SHARE = 0.35


class Words:
    """The words of the corpus that training may put values together from."""

    all = ()
    telling = ()  # those that can stand at the edge of a value


def use_words(words):
    """Set the words of training; none of them may be a value of the evaluation."""
    Words.all = tuple(words)
    Words.telling = tuple(word for word in words if word not in SMALL_WORDS)


def words_of(text):
    """Split one of the comma-separated lists above."""
    return [" ".join(part.split()) for part in text.split(",")]


SPLIT_LISTS = {}


def pick(rng, items, held_out):
    """Choose a value from the evaluation's or from the training's share of a list."""
    while True:
        item = rng.choice(items)
        if one_in_eight(item) == held_out:
            return item


def listed(text):
    """Split a list once."""
    if text not in SPLIT_LISTS:
        SPLIT_LISTS[text] = words_of(text)
    return SPLIT_LISTS[text]


def phrase(rng, low, high):
    """Put some telling words of the corpus together."""
    while True:
        text = " ".join(rng.choice(Words.telling) for _ in range(rng.randint(low, high)))
        if not one_in_eight(text):
            return text


def compound(rng, kinds, heads):
    """Put a word for the kind before the word for the thing, sometimes two, sometimes none."""
    while True:
        parts = [rng.choice(listed(kinds)) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        text = " ".join(dict.fromkeys(parts + [rng.choice(listed(heads))]))
        if not one_in_eight(text):
            return text


def thing_named(rng, held_out, values, kinds, heads):
    """Choose from a list; training mostly puts a name together instead."""
    shape = 1 if held_out else rng.random()
    if shape < COMPOUND_SHARE:
        return compound(rng, kinds, heads)
    if shape < COMPOUND_SHARE + PHRASE_SHARE:
        return phrase(rng, 1, 3)
    return pick(rng, listed(values), held_out)


def is_made_up(rng, share, held_out):
    """Decide whether a name is invented instead of taken from a list: in training more often."""
    return rng.random() < (share if held_out else max(share, 0.65))


def invented_word(rng, held_out, low=2, high=3):
    """Make up a name from syllables; in training half of them otherwise."""
    if not held_out and rng.random() < 0.5:
        return copying.new_name(rng, Words.all)
    while True:
        syllables = rng.randint(low, high)
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(syllables))
        word = capitalise(word + rng.choice(CODAS))
        if one_in_eight(word) == held_out:
            return word


def make_name(rng, held_out):
    """Make a person's name, often an invented one, sometimes only a first name."""
    first = (invented_word(rng, held_out) if is_made_up(rng, 0.35, held_out)
             else pick(rng, FIRST_NAMES, held_out))
    last = (invented_word(rng, held_out) if is_made_up(rng, 0.45, held_out)
            else pick(rng, LAST_NAMES, held_out))
    shape = rng.random()
    if shape < 0.12:
        return first
    if shape < 0.18:
        return f"{first} {rng.choice('ABCDEFGHJKLMNPRST')}. {last}"
    return f"{first} {last}"


def make_city(rng, held_out):
    """Make the name of a town, often an invented one."""
    if not held_out and rng.random() < 0.2:
        return phrase(rng, 1, 2).title()
    if is_made_up(rng, 0.4, held_out):
        ending = rng.choice(["", "", "ville", "burg", "ton", "field", " Bay"])
        return invented_word(rng, held_out) + ending
    return pick(rng, listed(CITIES), held_out)


def make_date(rng, _held_out):
    """Make a date in one of the usual notations."""
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1995, 2035)
    return rng.choice([
        f"{day} {MONTHS[month - 1]} {year}", f"{MONTHS[month - 1]} {day}, {year}",
        f"{year}-{month:02}-{day:02}", f"{day:02}/{month:02}/{year}",
        f"{day} {MONTHS[month - 1]}", f"{MONTHS[month - 1]} {day}", f"{day}.{month}.{year}"])


def make_email(rng, held_out):
    """Make an e-mail address from a name."""
    first = make_name(rng, held_out).split()[0].lower()
    last = make_name(rng, held_out).split()[-1].lower()
    user = rng.choice([f"{first}.{last}", f"{first}{rng.randint(1, 99)}", f"{first[0]}{last}",
                       f"{first}_{last}", first])
    host = rng.choice(MAIL_HOSTS)
    if rng.random() < 0.4:
        host = invented_word(rng, held_out).lower() + rng.choice([".com", ".org", ".net", ".de"])
    return f"{user}@{host}"


def make_phone(rng, _held_out):
    """Make a telephone number in one of the usual notations."""
    part = [rng.randint(100, 999), rng.randint(100, 999), rng.randint(1000, 9999)]
    return rng.choice(["{0}-{2}", "0{0} {2}", "+49 {0} {2}", "+1 {0} {1} {2}", "{0} {1} {2}",
                       "0{0}/{1}{2}", "({0}) {1}-{2}"]).format(*part)


def make_money(rng, _held_out):
    """Make an amount; cents never end in 0, so that the JSON number is written as in the text."""
    whole = rng.choice([rng.randint(1, 99), rng.randint(1, 999), rng.randint(100, 9999)])
    if rng.random() < 0.4:
        return whole
    return float(f"{whole}.{rng.randint(0, 9)}{rng.randint(1, 9)}")


def make_product(rng, held_out):
    """Make the name of a thing to buy, often with a model name or a colour."""
    product = thing_named(rng, held_out, PRODUCTS, THING_KINDS, THINGS)
    shape = rng.random()
    if shape < 0.3:
        return f"{invented_word(rng, held_out, 1, 3)} {product}"
    if shape < 0.45:
        return f"{rng.choice(['red', 'blue', 'green', 'black', 'large', 'small'])} {product}"
    if shape < 0.6:
        return f"{product} {rng.choice('ABCKLMPRSTXZ')}{rng.randint(2, 990)}"
    return product


def make_event(rng, held_out):
    """Make the title of an event."""
    event = thing_named(rng, held_out, EVENTS, EVENT_KINDS, EVENTS_OF)
    return f"{invented_word(rng, held_out)} {event}" if rng.random() < 0.4 else event


def make_place(rng, held_out):
    """Make the place of an event."""
    if rng.random() < 0.35:
        kind = rng.choice(["hall", "park", "street", "hotel", "school", "centre", "square"])
        return f"{invented_word(rng, held_out)} {kind}"
    if not held_out and rng.random() < 0.15:
        return f"{rng.choice(['room', 'hall', 'studio', 'gate', 'floor'])} {rng.randint(1, 60)}"
    return thing_named(rng, held_out, PLACES, PLACE_KINDS, PLACES_OF)


def make_company(rng, held_out):
    """Make the name of a company."""
    stem = (phrase(rng, 1, 2).title() if not held_out and rng.random() < 0.2
            else invented_word(rng, held_out) if is_made_up(rng, 0.6, held_out)
            else pick(rng, LAST_NAMES, held_out))
    return f"{stem} {rng.choice(listed(COMPANY_ENDINGS))}" if rng.random() < 0.8 else stem


def make_role(rng, held_out):
    """Make the role of an employee."""
    return thing_named(rng, held_out, ROLES, ROLE_KINDS, ROLES_OF)


def make_number(rng, _held_out):
    """Make the number of an invoice."""
    return rng.choice(["INV-{0}", "{0}", "R{0}", "2025-{0}", "{1}{0}/25", "A-{0}", "{1}-{0}"]
                      ).format(rng.randint(100, 99999), rng.choice("BCDEFGKLMPRSTX"))


def make_age(rng, _held_out):
    """Make an age in years."""
    return rng.randint(3, 99)


def make_quantity(rng, _held_out):
    """Make a number of pieces."""
    return rng.choice([rng.randint(2, 20), rng.randint(2, 999)])
