"""Texts with named fields, and requests to extract some of them as JSON.

The evaluation has sentence forms of its own (one in eight of each set) and values that training
never sees (`values`). Training has the other forms, those of `frames`, and texts in which each
field has a clause of its own.
"""

import json
import re
from dataclasses import dataclass

import frames
from questions import capitalise, split_phrasings
from values import (make_age, make_city, make_company, make_date, make_email, make_event,
                    make_money, make_name, make_number, make_phone, make_place, make_product,
                    make_quantity, make_role)

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


@dataclass(frozen=True)
class FieldSet:
    """Fields that go together: {slot: (ways to ask for it, maker)} and the sentence forms."""

    fields: dict
    forms: tuple
    more_forms: tuple = ()  # for training only
    clauses: dict = None  # {slot: half sentences that give one field}, for training only

    @property
    def train_forms(self):
        """The forms for training."""
        return split_phrasings(self.forms)[0] + list(self.more_forms)

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
SET_NAMES = ("PERSON", "CONTACT", "ORDER", "EVENT", "TICKET", "JOB", "INVOICE")
MISSING_FIELD_SHARE = 0.08
# Where the texts of training come from.
SOURCES = {"form": 0.25, "frame": 0.37, "clauses": 0.2, "other": 0.18}
ASIDES = ("as you know", "I hope this is right", "so I was told", "please check this", "thanks",
          "that was quick", "it rained", "the rest is in the letter", "by the way", "no hurry")


def _held_out_patterns():
    """Return (words for the keys, expressions of the held-out forms) of each set."""
    made = []
    for field_set in FIELD_SETS:
        words = {word for ways, _ in field_set.fields.values() for word in ways}
        patterns = []
        for form in field_set.held_out_forms:
            parts = [re.escape(part) for part in re.split(r"\{[\w ]+\}", form)]
            patterns.append(re.compile("[^\n]+?".join(parts), re.IGNORECASE))
        made.append((words, patterns))
    return made


HELD_OUT_PATTERNS = _held_out_patterns()


def is_held_out_form(keys, request):
    """Tell whether a request has the form of a held-out one of a set with these keys."""
    return any(pattern.search(request) for words, patterns in HELD_OUT_PATTERNS
               if words.issuperset(keys) for pattern in patterns)


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


def make_frame(rng, field_set):
    """Return (text, values by slot) for a form with alternatives."""
    name = SET_NAMES[FIELD_SETS.index(field_set)]
    makers = {slot: maker for slot, (_, maker) in field_set.fields.items()}
    return frames.fill(rng, rng.choice(frames.MORE_FORMS[name]), makers)


def make_form(rng, forms, fields, held_out):
    """Return (text, values by slot) for one of the sentence forms."""
    form = rng.choice(forms)
    values, text = {}, form
    for slot, (_, maker) in fields.items():
        if "{" + slot + "}" in form:
            values[slot] = maker(rng, held_out)
            text = text.replace("{" + slot + "}", str(values[slot]))
    if form[0] != "{" or form.startswith(("{quantity}", "{amount}")):
        text = capitalise(text)
    return text, values


def surround(rng, text):
    """Put something before or after a text now and then, as in a letter."""
    if rng.random() < 0.12:
        text = rng.choice(OPENINGS) + text
    if rng.random() < 0.12:
        text = text + rng.choice(CLOSINGS)
    return text


def ask(rng, fields, values, text):
    """Return (request, expected object); the order of the keys is the order asked for."""
    slots = list(fields)
    if rng.random() < 0.25:
        slots = rng.sample(slots, rng.randint(1, 2))
    elif rng.random() < 0.5:
        rng.shuffle(slots)
    wording = {slot: rng.choice(fields[slot][0]) for slot in slots}
    expected = {wording[slot]: values.get(slot) for slot in slots}
    if rng.random() < MISSING_FIELD_SHARE:
        other = rng.choice(FIELD_SETS)
        extra = rng.choice(list(other.fields))
        if extra not in fields and extra not in expected:
            expected[extra] = None
    request = rng.choice(REQUESTS)
    if rng.random() < 0.15:
        request = request.lower()
    return request.format(f=join_fields(rng, list(expected)), t=text), expected


def eval_sample(rng):
    """Return (request, expected object) with held-out forms and values."""
    field_set = rng.choice(FIELD_SETS)
    text, values = make_form(rng, field_set.held_out_forms, field_set.fields, True)
    return ask(rng, field_set.fields, values, surround(rng, text))


def train_sample(rng):
    """Return (request, expected object) of one of the sources for training."""
    while True:
        source = rng.choices(list(SOURCES), list(SOURCES.values()))[0]
        field_set = rng.choice(FIELD_SETS)
        fields = field_set.fields
        if source == "clauses":
            text, values = make_clauses(rng, field_set)
        elif source == "frame":
            text, values = make_frame(rng, field_set)
        elif source == "other":
            makers, forms = rng.choice(frames.OTHER_SETS)
            text, values = frames.fill(rng, rng.choice(forms), makers)
            fields = {slot: ((slot,), maker) for slot, maker in makers.items()}
        else:
            text, values = make_form(rng, field_set.train_forms, fields, False)
        request, expected = ask(rng, fields, values, surround(rng, text))
        if not is_held_out_form(expected, request):
            return request, expected


def answer_text(expected):
    """Write the answer exactly as the model has to write it."""
    return json.dumps(expected)
