"""Texts with named fields, and requests to extract some of them as JSON.

The values are very many and often invented, so that the model has to copy them out of the text
and cannot learn them by heart. Values for the evaluation never occur in training.
"""

import json
from dataclasses import dataclass

import copying
from questions import capitalise, one_in_eight, split_phrasings

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

REQUESTS = [
    "Extract the {f} as JSON: {t}",
    "Extract {f} from this text as JSON: {t}",
    "{t}\nExtract the {f} as JSON.",
    "Give me the {f} from the following sentence as JSON: {t}",
    "Return a JSON object with the {f}: {t}",
    "Get the {f} out of this text, as JSON.\n\n{t}",
    "Read the text and answer with JSON containing {f}.\n{t}",
    "Turn this into JSON with the keys {f}: {t}",
    "JSON with {f}: {t}",
    "Please extract the {f} in JSON format: {t}",
    "Text: {t}\nFields: {f}\nJSON:",
    "Find the {f} in this message and write them as JSON: {t}",
    "{t}\n\nReturn the {f} as JSON",
    "Pull the {f} from the text below into JSON:\n{t}",
    "I need the {f} as JSON. The text is: {t}",
    "extract {f} json: {t}",
]
OPENINGS = ["Hello, ", "Hi, ", "Dear all, ", "Note: ", "FYI: ", "Good morning. ", "Reminder: "]
CLOSINGS = [" Thanks!", " Best wishes.", " See you soon.", " Please confirm.", " That is all.",
            " Have a nice day."]


class Variety:
    """How the values of training are drawn; those of the evaluation never change.

    From the second stage on most values are invented or put together from the words of the corpus,
    so that lists cannot be learned by heart and copying is what pays. In the third, words are also
    invented in other ways than by syllables, and texts are put together from clauses.
    """

    words = ()  # words to put together; none in the first stage
    wide = False


def use_words(words, wide):
    """Begin the second stage with these words, or the third (wide)."""
    Variety.words = tuple(words)
    Variety.wide = wide


def is_made_up(rng, share, held_out):
    """Decide whether a value is invented instead of taken from a list."""
    if Variety.words and not held_out:
        share = max(share, 0.75)
    return rng.random() < share


def phrase(rng, low, high):
    """Put some words of the corpus together."""
    return " ".join(rng.choice(Variety.words) for _ in range(rng.randint(low, high)))


def makes_phrase(rng, held_out):
    """Decide whether a value is put together from words, which only training does."""
    return bool(Variety.words) and not held_out and rng.random() < 0.7


def words_of(text):
    """Split one of the comma-separated lists above."""
    return [" ".join(part.split()) for part in text.split(",")]


def pick(rng, items, held_out):
    """Choose a value from the evaluation's or from the training's share of a list."""
    while True:
        item = rng.choice(items)
        if one_in_eight(item) == held_out:
            return item


def invented_word(rng, held_out, low=2, high=3):
    """Make up a name from syllables; in the third stage half of them otherwise."""
    if Variety.wide and not held_out and rng.random() < 0.5:
        return copying.new_name(rng, Variety.words)
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
    if makes_phrase(rng, held_out) and rng.random() < 0.3:
        return phrase(rng, 1, 2).title()
    if is_made_up(rng, 0.4, held_out):
        ending = rng.choice(["", "", "ville", "burg", "ton", "field", " Bay"])
        return invented_word(rng, held_out) + ending
    return pick(rng, words_of(CITIES), held_out)


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
    if makes_phrase(rng, held_out):
        product = phrase(rng, 1, 3)
    else:
        product = pick(rng, words_of(PRODUCTS), held_out)
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
    if makes_phrase(rng, held_out):
        event = phrase(rng, 1, 3)
    else:
        event = pick(rng, words_of(EVENTS), held_out)
    return f"{invented_word(rng, held_out)} {event}" if rng.random() < 0.4 else event


def make_place(rng, held_out):
    """Make the place of an event."""
    if makes_phrase(rng, held_out):
        return phrase(rng, 1, 2)
    if rng.random() < 0.35:
        kind = rng.choice(["hall", "park", "street", "hotel", "school", "centre", "square"])
        return f"{invented_word(rng, held_out)} {kind}"
    return pick(rng, words_of(PLACES), held_out)


def make_company(rng, held_out):
    """Make the name of a company."""
    stem = (phrase(rng, 1, 2).title() if makes_phrase(rng, held_out) and rng.random() < 0.4
            else invented_word(rng, held_out) if is_made_up(rng, 0.6, held_out)
            else pick(rng, LAST_NAMES, held_out))
    return f"{stem} {rng.choice(words_of(COMPANY_ENDINGS))}" if rng.random() < 0.8 else stem


def make_role(rng, held_out):
    """Make the role of an employee."""
    if makes_phrase(rng, held_out):
        return phrase(rng, 1, 2)
    return pick(rng, words_of(ROLES), held_out)


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


@dataclass(frozen=True)
class FieldSet:
    """Fields that go together: {slot: (ways to ask for it, maker)} and the sentence forms."""

    fields: dict
    forms: tuple
    more_forms: tuple = ()  # for the third stage of training only
    clauses: dict = None  # {slot: half sentences that give one field}, as well

    @property
    def train_forms(self):
        """The forms for training."""
        more = list(self.more_forms) if Variety.wide else []
        return split_phrasings(self.forms)[0] + more

    @property
    def held_out_forms(self):
        """The forms for the evaluation."""
        return split_phrasings(self.forms)[1]


PERSON = FieldSet({
    "name": (("name", "name", "full name"), make_name),
    "age": (("age",), make_age),
    "city": (("city", "city", "town"), make_city)},
    ("{name} is {age} years old and lives in {city}.",
     "{name}, {age}, from {city}, won the prize.",
     "My neighbour {name} moved to {city} at the age of {age}.",
     "The next guest comes from {city}, is {age} years old and is called {name}.",
     "At {age}, {name} still works in {city}.",
     "In {city} I met {name}, who is {age}.",
     "{name} ({age}) was born in {city}.",
     "Name: {name}, age: {age}, city: {city}",
     "{name} lives in {city}.",
     "{name} has just turned {age}.",
     "I am {name}, I am {age} and my home is {city}.",
     "A {age} year old from {city} named {name} called us.",
     "Police in {city} are looking for {name}, aged {age}.",
     "Our new member is {name} from {city}.",
     "For {age} years {name} has lived in {city}; {name} was born there."),
    ("{name}, aged {age}, has a flat in {city}.",
     "Aged {age}, {name} left {city} for good.",
     "The winner is {name} of {city}, {age} years old.",
     "{city}: {name} ({age}) opens a shop.",
     "Do you know {name}? Born in {city}, now {age}.",
     "{age} years, {city}, {name}",
     "We spoke with {name}, a {age}-year-old from {city}.",
     "Patient {name}, {age}, resident of {city}",
     "Last week {name} from {city} celebrated birthday number {age}.",
     "The oldest runner, {name}, is {age} and trains in {city}.",
     "{city} is home to {name}, who turns {age} today.",
     "Her name is {name}, she lives in {city} and she is {age}."),
    {"name": ("my name is {v}", "the name is {v}", "this is about {v}", "I am called {v}",
         "{v} is new here", "meet {v}", "we call the person {v}"),
     "age": ("aged {v}", "the age is {v}", "now {v} years old", "{v} years of age",
         "{v} years old", "just {v}"),
     "city": ("living in {v}", "from {v}", "the city is {v}", "at home in {v}", "born in {v}",
         "with a house in {v}", "the town is {v}", "moved here from {v}")})
CONTACT = FieldSet({
    "name": (("name", "name", "full name"), make_name),
    "email": (("email", "email", "email address"), make_email),
    "phone": (("phone", "phone", "phone number"), make_phone)},
    ("You can reach {name} at {email} or {phone}.",
     "{name}, {email}, {phone}",
     "Please call {name} on {phone} or write to {email}.",
     "My name is {name}. My email address is {email} and my number is {phone}.",
     "Write to {email} or dial {phone} and ask for {name}.",
     "Contact: {name}, phone {phone}, email {email}.",
     "For questions call {phone} ({name}) or mail {email}.",
     "{name} can be called at {phone}.",
     "Send the file to {name}, {email}.",
     "The phone number of {name} is {phone}, the email is {email}.",
     "This is {name}. I can be reached on {phone}, or by email: {email}.",
     "Tel. {phone} - {email} - {name}",
     "The new address of {name} is {email}; the old phone number {phone} still works."),
    ("{name} - {phone} - {email}",
     "If in doubt ask {name} ({email}, {phone}).",
     "{email} belongs to {name}; the phone is {phone}.",
     "New contact {name}: mobile {phone}, mail {email}",
     "Dial {phone} for {name} or use {email}.",
     "Please note my new number, {phone}, and my address {email}. Regards, {name}",
     "{name} <{email}> {phone}",
     "From: {name}. Mail: {email}. Phone: {phone}.",
     "{name} has changed the number to {phone}.",
     "Answers please to {email}, attention {name}, phone {phone}.",
     "Who is {name}? The number {phone} and the address {email} are in the list.",
     "Regards, {name}, {phone}"),
    {"name": ("ask for {v}", "the contact is {v}", "my name is {v}", "{v} will answer",
         "regards from {v}", "here is {v}"),
     "email": ("mail to {v}", "the email is {v}", "write to {v}", "email: {v}",
         "use {v} for letters", "answers go to {v}"),
     "phone": ("call {v}", "the phone number is {v}", "phone: {v}", "ring {v}", "tel {v}",
         "the mobile is {v}", "my number is {v}")})
ORDER = FieldSet({
    "product": (("product", "product", "item"), make_product),
    "quantity": (("quantity", "quantity", "number of pieces"), make_quantity),
    "price": (("price",), make_money)},
    ("I would like to order {quantity} pieces of the {product} at {price} euros each.",
     "Please send me {quantity} x {product} for {price} dollars.",
     "Order: {product}, quantity {quantity}, price {price}",
     "The {product} costs {price} euros and we need {quantity} of them.",
     "{quantity} units of {product} were sold at {price} euros.",
     "We want the {product}. Quantity: {quantity}. Price per piece: {price}.",
     "At a price of {price} we take {quantity} of the model {product}.",
     "One {product} is {price} pounds.",
     "Please reserve {quantity} pieces of {product}.",
     "Your cart: {product} ({quantity}), {price} EUR.",
     "Can you deliver {quantity} times {product}? The list price is {price}.",
     "{product}: {quantity} at {price}",
     "He paid {price} dollars for each {product} and bought {quantity}."),
    ("{quantity} {product} at {price} each, please.",
     "Item: {product}; pieces: {quantity}; unit price: {price}",
     "We ordered the {product}, {quantity} in all, for {price} euros apiece.",
     "For {price} dollars you get one {product}; I take {quantity}.",
     "Still in stock: {quantity} of the {product}, {price} euros each.",
     "Add {quantity} of the {product} to my cart, it costs {price}.",
     "The price of the {product} is {price} euros. Send {quantity}.",
     "{price} euros is what the {product} costs; the school needs {quantity}.",
     "Sold: {product}, {quantity} pieces, {price} pounds each.",
     "Offer for {quantity} pieces: {product}, {price} euros",
     "Could I get the {product}? I need {quantity} and pay {price} for each.",
     "With {quantity} bought, a {product} is only {price} dollars."),
    {"product": ("I want the {v}", "the item is the {v}", "it is about the {v}", "send the {v}",
         "product: {v}", "this is a {v}", "the {v} is what we need"),
     "quantity": ("{v} pieces", "we need {v}", "the quantity is {v}", "send {v} of them",
         "{v} units", "in all {v}"),
     "price": ("{v} euros each", "at {v} apiece", "the price is {v}", "it costs {v} dollars",
         "priced at {v} pounds", "for {v} euros")})
EVENT = FieldSet({
    "title": (("title", "title", "event"), make_event),
    "date": (("date",), make_date),
    "place": (("place", "place", "location"), make_place)},
    ("The {title} takes place on {date} in the {place}.",
     "On {date} there is a {title} at the {place}.",
     "Join us for the {title}: {date}, {place}.",
     "We meet at the {place} on {date} for the {title}.",
     "Event: {title}. When: {date}. Where: {place}.",
     "The {place} hosts the {title} on {date}.",
     "Save the date: {date}, {title}, {place}.",
     "The {title} is on {date}.",
     "This year the {title} will be at the {place}.",
     "{title}, {place}, {date}",
     "Come to the {place}! The {title} begins on {date}.",
     "The date of the {title} in the {place} is {date}.",
     "Because of rain the {title} moves to the {place}; the new date is {date}."),
    ("{date}: {title} ({place})",
     "Come to the {title} on {date}, it is at the {place}.",
     "The {place} is booked on {date} for the {title}.",
     "Our {title} has been set for {date}; we use the {place}.",
     "{title} at the {place} - {date}",
     "Where is the {title}? In the {place}, on {date}.",
     "You are invited to the {title}. It starts on {date} in the {place}.",
     "Tickets for the {title} ({place}, {date}) are sold out.",
     "See you at the {place} on {date}: {title}.",
     "On {date} the {title} opens its doors in the {place}.",
     "We moved the {title} from the {place} because of rain.",
     "Mark {date} for the {title}."),
    {"title": ("the {v} is near", "you are invited to the {v}", "it is the {v}", "event: {v}",
         "the next one is the {v}", "come to the {v}"),
     "date": ("on {v}", "the date is {v}", "it is planned for {v}", "when: {v}",
         "it starts on {v}", "set for {v}"),
     "place": ("in the {v}", "at the {v}", "where: {v}", "the place is the {v}",
         "it will be held at the {v}", "we go to the {v}")})
TICKET = FieldSet({
    "from": (("from",), make_city),
    "to": (("to",), make_city),
    "date": (("date",), make_date)},
    ("I need a ticket from {from} to {to} on {date}.",
     "Train from {from} to {to}, {date}.",
     "On {date} I fly from {from} to {to}.",
     "Please book a flight to {to} from {from} for {date}.",
     "Departure {from}, arrival {to}, date {date}",
     "We leave {from} on {date} and travel to {to}.",
     "Is there a bus to {to} on {date}? I start from {from}.",
     "One way from {from} to {to}, please.",
     "{from} - {to}, {date}, second class",
     "I want to go to {to} on {date}.",
     "My trip starts in {from} on {date} and ends in {to}.",
     "The train leaves {from} for {to} on {date}.",
     "Two seats on {date}: {from} to {to}."),
    ("{from} to {to}, {date}",
     "Going from {from} to {to} on {date}.",
     "My flight to {to} starts in {from} on {date}.",
     "On {date} there is a ferry from {from} to {to}.",
     "Destination {to}, start {from}, day {date}",
     "How do I get from {from} to {to} on {date}?",
     "We travel on {date}: first {from}, then {to}.",
     "Arriving in {to} on {date}, having left {from}.",
     "Is a seat free from {from} to {to}?",
     "{date}: {from} -> {to}",
     "Coming from {from}, I must be in {to} by {date}.",
     "Return trip: {to} and back to {from} on {date}.",
     "A coach takes us to {to} on {date}, starting at {from}."),
    {"from": ("starting in {v}", "from {v}", "we leave {v}", "departure: {v}", "the start is {v}",
         "out of {v}", "leaving {v}"),
     "to": ("to {v}", "the destination is {v}", "going to {v}", "arrival: {v}", "heading for {v}",
         "bound for {v}"),
     "date": ("on {v}", "the day is {v}", "date: {v}", "we travel on {v}", "it is for {v}")})
JOB = FieldSet({
    "name": (("name", "name", "employee"), make_name),
    "company": (("company", "company", "employer"), make_company),
    "role": (("role", "role", "job title"), make_role)},
    ("{name} works as a {role} at {company}.",
     "{company} has hired {name} as {role}.",
     "The new {role} of {company} is {name}.",
     "{name} is {role} at {company}.",
     "My name is {name} and I am a {role} with {company}.",
     "{name}, {role}, {company}",
     "At {company}, {name} started as {role}.",
     "After ten years as {role}, {name} left {company}.",
     "{name} now works for {company}.",
     "We welcome {name}, our new {role}.",
     "{company}: {name} ({role})",
     "As {role} at {company}, {name} travels a lot.",
     "The {role} {name} joined {company} last year."),
    ("{company} pays {name} for the work of a {role}.",
     "Since May {name} has been the {role} of {company}.",
     "{role} wanted: {company} is looking for somebody like {name}.",
     "As a {role}, {name} joined {company}.",
     "{name} left {company}, where the title was {role}.",
     "Ask {name}, the {role} of {company}.",
     "{name} ({company}, {role})",
     "Employer: {company}. Employee: {name}. Position: {role}.",
     "The team of {company} has a new {role}: {name}.",
     "At {company} the {role} is called {name}.",
     "{company} made {name} its {role}.",
     "{name} signed for {company}, job title {role}.",
     "Working as a {role}, {name} likes {company}."),
    {"name": ("the employee is {v}", "{v} is the person", "this is {v}", "her name is {v}",
         "we hired {v}", "meet {v}"),
     "company": ("works for {v}", "the employer is {v}", "the company is {v}", "paid by {v}",
         "on the staff of {v}", "with {v}"),
     "role": ("as a {v}", "the role is {v}", "job title: {v}", "employed as {v}", "hired as {v}",
         "in the position of {v}")})
INVOICE = FieldSet({
    "number": (("number", "number", "invoice number"), make_number),
    "amount": (("amount", "amount", "total"), make_money),
    "due date": (("due date",), make_date)},
    ("Invoice {number} over {amount} euros is due on {due date}.",
     "Please pay {amount} euros for invoice {number} by {due date}.",
     "Invoice no. {number}, amount {amount}, due {due date}",
     "The amount of {amount} dollars (invoice {number}) must be paid before {due date}.",
     "By {due date} we expect {amount} euros for bill {number}.",
     "Your invoice {number} has a total of {amount}. Due date: {due date}.",
     "Reminder: invoice {number} was due on {due date}. Open amount: {amount} euros.",
     "We have sent you invoice {number} for {amount} pounds.",
     "Invoice {number} has to be paid by {due date}.",
     "Total {amount} EUR, payable until {due date}, reference {number}.",
     "Number {number}: {amount} euros, {due date}",
     "Attached is bill {number}. It comes to {amount} euros and is payable by {due date}.",
     "Bill {number} is open. Transfer {amount} by {due date}."),
    ("{number}, {amount} euros, due {due date}",
     "We are waiting for {amount} euros (invoice {number}) since {due date}.",
     "Bill no. {number} of {amount} dollars: pay until {due date}.",
     "Invoice: {number}. Due date: {due date}. Amount: {amount}.",
     "Until {due date} please settle {number} with {amount} euros.",
     "For {number} you owe us {amount}, payable on {due date}.",
     "{due date} is the last day to pay the {amount} euros of {number}.",
     "The sum for bill {number} is {amount}. Pay by {due date}.",
     "Here is {number}. Total {amount} pounds. Due {due date}.",
     "Your bill {number} is due on {due date}.",
     "{amount} euros for {number}, to be paid before {due date}",
     "Open: {number}, {amount} EUR, since {due date}"),
    {"number": ("invoice {v}", "bill {v}", "the number is {v}", "reference {v}",
         "invoice number: {v}", "for the bill {v}"),
     "amount": ("{v} euros", "the amount is {v}", "total {v}", "it comes to {v} dollars",
         "you owe {v}", "a sum of {v} pounds"),
     "due date": ("due on {v}", "pay by {v}", "the due date is {v}", "payable until {v}",
         "not later than {v}", "before {v}")})
FIELD_SETS = (PERSON, CONTACT, ORDER, EVENT, TICKET, JOB, INVOICE)
MISSING_FIELD_SHARE = 0.08
CLAUSES_SHARE = 0.4
ASIDES = ("as you know", "I hope this is right", "so I was told", "please check this", "thanks",
          "that was quick", "it rained", "the rest is in the letter", "by the way", "no hurry")


def join_fields(rng, names):
    """Write a list of fields as people do."""
    if len(names) == 1:
        return names[0]
    if rng.random() < 0.25:
        return ", ".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def make_clauses(rng, field_set):
    """Return (text, values by slot) for a text in which each field has a clause of its own."""
    slots = rng.sample(list(field_set.fields), len(field_set.fields))
    if rng.random() < 0.2:
        slots.pop()
    values = {slot: field_set.fields[slot][1](rng, False) for slot in slots}
    parts = [rng.choice(field_set.clauses[slot]).format(v=values[slot]) for slot in slots]
    if rng.random() < 0.3:
        parts.insert(rng.randint(0, len(parts)), rng.choice(ASIDES))
    joint = rng.choice([", ", ". ", "; ", " and ", " - ", "\n", ", and "])
    if joint in (". ", "\n"):
        parts = [part if part.startswith(tuple(map(str, values.values()))) else capitalise(part)
                 for part in parts]
    return joint.join(parts) + rng.choice([".", ".", ""]), values


def make_text(rng, field_set, held_out):
    """Return (text, values by slot) for one sentence form."""
    if Variety.wide and not held_out and rng.random() < CLAUSES_SHARE:
        return make_clauses(rng, field_set)
    form = rng.choice(field_set.held_out_forms if held_out else field_set.train_forms)
    values, text = {}, form
    for slot, (_, maker) in field_set.fields.items():
        if "{" + slot + "}" in form:
            values[slot] = maker(rng, held_out)
            text = text.replace("{" + slot + "}", str(values[slot]))
    if form[0] != "{" or form.startswith(("{quantity}", "{amount}")):
        text = capitalise(text)
    if rng.random() < 0.12:
        text = rng.choice(OPENINGS) + text
    if rng.random() < 0.12:
        text = text + rng.choice(CLOSINGS)
    return text, values


def make_sample(rng, held_out):
    """Return (request, expected object); the order of the keys is the order asked for."""
    field_set = rng.choice(FIELD_SETS)
    text, values = make_text(rng, field_set, held_out)
    slots = list(field_set.fields)
    if rng.random() < 0.25:
        slots = rng.sample(slots, rng.randint(1, 2))
    elif rng.random() < 0.5:
        rng.shuffle(slots)
    wording = {slot: rng.choice(field_set.fields[slot][0]) for slot in slots}
    expected = {wording[slot]: values.get(slot) for slot in slots}
    if rng.random() < MISSING_FIELD_SHARE:
        other = rng.choice(FIELD_SETS)
        extra = rng.choice(list(other.fields))
        if extra not in field_set.fields and extra not in expected:
            expected[extra] = None
    request = rng.choice(REQUESTS)
    if rng.random() < 0.15:
        request = request.lower()
    return request.format(f=join_fields(rng, list(expected)), t=text), expected


def answer_text(expected):
    """Write the answer exactly as the model has to write it."""
    return json.dumps(expected)
