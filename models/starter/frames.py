"""Sentence forms for extraction that only training uses.

A form is written with its alternatives in square brackets ("{name} [lives|works] in {city}."), so
that each line stands for many sentences. The seven sets of fields of the evaluation get more forms
here, each without the held-out ones; the other sets make the keys and the kinds of values many, so
that the model has to look for what a key means instead of learning seven patterns.
"""

import re

import values

# More forms of the sets of `extraction`, by the name of the set.
MORE_FORMS = {
    "PERSON": (
        "{name}[, who is {age},| ({age})|, {age},] [lives|works|studies|grew up|was born] in "
        "{city}.",
        "[My friend|My aunt|My cousin|Our colleague|The artist|The driver|A witness] {name} "
        "[is|turned|has turned|just turned] {age} and [lives in|comes from|moved to|works in] "
        "{city}.",
        "[The winner|The patient|The author|The new student|The caller] [is|was] {name}, {age}, "
        "[from|of|out of] {city}.",
        "[Born|Raised|Trained] in {city}, {name} is [now|already|only] {age}[ years old|].",
        "{name} [comes|came|moved here] from {city} and is {age}[ years old|].",
        "[Town|City|Home]: {city}[;|,|.] [age|years]: {age}[;|,|.] [name|person]: {name}",
        "[Although|While] {name} is [only|just|already] {age}, all of {city} knows [her|him|the "
        "name].",
        "It was {name} who [left|found|visited] {city} at [{age}|the age of {age}].",
        "{name} [left|leaves|loves|misses] {city}[ very much| again|].",
        "[I met|We saw|They called|You know] {name} in {city}[ last week| yesterday|].",
        "[Is|Was] {name} really {age}[ years old|]?",
        "{city} [celebrates|remembers|honours|thanks] {name}[, aged {age}|, {age} years old|].",
        "[Dear Sir, my|Hello, my|My] name is {name}, I am {age} years old and I [live|work] in "
        "{city}.",
        "[The {age} year old|The {age}-year-old] {name} [runs|opened|owns] a shop in {city}.",
        "{name} | {age} | {city}",
        "{city} / {name} / {age}",
        "At the age of {age} {name} [came|moved|went] to {city}.",
        "[Since|After] the war {name} [has lived|stayed] in {city} and [is|will soon be] {age}.",
        "With {age} years, {name} [is the oldest|is the youngest] in {city}.",
        "A letter for {name}[, {city}| in {city}]."),
    "CONTACT": (
        "[Call|Phone|Ring] {name} [at|on|under] {phone}[ or mail {email}|, mail {email}|].",
        "[Mail|Email|Write to] {name} [at|under|using] {email}[ or call {phone}|].",
        "{name} [answers|picks up|is] at {phone} and [reads|writes from] {email}.",
        "[Name|Contact|Person]: {name}[;|,|\n][ phone| tel| mobile]: {phone}[;|,|\n][ email| "
        "mail]: {email}",
        "[email|mail|e-mail]: {email}[;|,|\n] [phone|tel]: {phone}[;|,|\n] [name|contact]: {name}",
        "The [mobile|phone|number] of {name} [is|has changed to|was] {phone}[ and the mail is "
        "{email}|].",
        "[Bills|Questions|Complaints|Orders] go to {email}[, attention {name}| for {name}].",
        "{phone} is [the number of|how you reach|the line of] {name}[; the mail is {email}|].",
        "[Ask for|Speak to] {name} when you [call|dial|ring] {phone}[, or use {email}|].",
        "[Sincerely|Yours|Cheers|Kind regards], {name} ({email}[, {phone}|])",
        "I am {name}[, phone {phone}| and my number is {phone}][, email {email}|; mail me at "
        "{email}].",
        "{name} prefers [mail|letters] to {email} over calls to {phone}.",
        "[In an emergency|At night|On weekends] {name} can be found under {phone}.",
        "{email} / {phone} / {name}",
        "{name} | {email} | {phone}",
        "[Our|The] [doctor|agent|partner] {name} has [a new address|moved], {email}[, and a new "
        "phone, "
        "{phone}|].",
        "Did {name} [leave|give] you the number {phone}[ and the mail {email}|]?",
        "[Reply|Answer] to {email}[ and not by phone ({phone})|]. {name}"),
    "ORDER": (
        "[I take|I need|We buy|We order|Send us|Please ship] {quantity} [of the|pieces of|x|units "
        "of] "
        "{product}[ at|, price] {price}[ euros| dollars|].",
        "[The|A|One] {product} [costs|is sold at|goes for|is] {price}[ euros| dollars| pounds|]"
        "[, and I want {quantity}|; we take {quantity}|].",
        "{quantity} [of|times] {product}[, {price} each| for {price} each|].",
        "[Product|Item|Article]: {product}[;|,|\n] [quantity|pieces|number]: {quantity}[;|,|\n] "
        "[price|cost]: {price}",
        "[Price|Cost]: {price}[;|,|\n] [pieces|quantity]: {quantity}[;|,|\n] [item|product]: "
        "{product}",
        "[At|For|With] {price} [euros|dollars] [each|a piece|per piece] the {product} is "
        "[cheap|expensive|fine], so [send|give me] {quantity}.",
        "[My|Our|The] order is for {quantity} [pieces|units] of the {product}[ ({price} each)|].",
        "[Do|Can] you [have|sell|send] {quantity} of the {product}[ for {price}| at {price} "
        "each|]?",
        "We [sold|returned|lost|found] {quantity} of the {product}[ at {price} euros|].",
        "{product} x {quantity}[ = {price}| at {price}|]",
        "[There are|We have|You get] {quantity} of the {product} [left|in stock|here][, {price} "
        "each|].",
        "{price} [euros|dollars|pounds] for [a|one] {product}? Then I [want|take] {quantity}.",
        "The [shop|store|seller] wants {price} [euros|dollars] for the {product}.",
        "The {product} [is|was] reduced to {price}[ euros|]; [order|buy] {quantity}.",
        "[Invoice|Receipt|Cart]: {quantity} {product}, {price} each",
        "She [bought|ordered] the {product} for {price}[ euros| dollars|][ and took {quantity} of "
        "them|].",
        "[Add|Put] the {product} [on|to] my list, {quantity} [pieces|of them][ for {price} "
        "each|]."),
    "EVENT": (
        "[The|Our|This year's] {title} [is|starts|begins|happens|will be] on {date} "
        "[at|in|inside] the {place}.",
        "[Come to|Visit|Don't miss|Join] the {title} [at|in] the {place}[ on {date}|, {date}].",
        "[At|In] the {place}[, on {date},|] there [is|will be] a {title}.",
        "[On|For] {date} [we plan|they planned|is] the {title}[ at the {place}|; it is in the "
        "{place}].",
        "[Event|What|Title]: {title}[;|,|\n] [date|when|day]: {date}[;|,|\n] [place|where]: "
        "{place}",
        "[Where|Place]: {place}[;|,|\n] [what|event]: {title}[;|,|\n] [when|date]: {date}",
        "The {title} [of|in|at] the {place} [was moved to|has been put off until|falls on] {date}.",
        "[We|They|You] [hold|have|organise] the {title} [in|at] the {place}[ on {date}|].",
        "The {place} is [closed|open|ready|full] on {date} [because of|for] the {title}.",
        "{date}, {place}, {title}",
        "{title} | {place} | {date}",
        "[Doors|Tickets] for the {title} [open|are sold] at the {place}[ from {date}| on {date}].",
        "The {title} [ends|was] on {date}[, as always in the {place}|].",
        "[Nobody|Everybody] went to the {title} [at|in] the {place}[ on {date}|].",
        "[Is|Was] the {title} [at|in] the {place} on {date}[ or later|]?",
        "[Meet|See] [me|us] at the {place}[ for the {title}|][ on {date}|].",
        "After the {title} on {date} [we clean|they close] the {place}.",
        "[Before|Until] {date} you can [sign up|register] for the {title}[ in the {place}|]."),
    "TICKET": (
        "[I want|I'd like|We need] to [go|travel|fly|drive] from {from} to {to}[ on {date}|].",
        "[A|One|Two] [seat|seats|ticket|tickets] [from {from} to {to}|to {to} from {from}][ for "
        "{date}|].",
        "[The|Our|My] [bus|train|flight|ferry|plane] [leaves|departs from|starts in] {from} [on "
        "{date}|] "
        "and [arrives in|goes to|ends in] {to}.",
        "[From|Start|Departure]: {from}[;|,|\n] [to|arrival|destination]: {to}[;|,|\n] "
        "[date|day]: {date}",
        "[To|Destination]: {to}[;|,|\n] [from|start]: {from}[;|,|\n] [date|when]: {date}",
        "{from} to {to}[ on {date}|, {date}| ({date})]",
        "{date}: {from} [to|-] {to}",
        "[How|When] do I get [from {from} to {to}|to {to} from {from}] on {date}?",
        "[On|It is on] {date} [that|] we [leave|left] {from}[ for {to}| and head for {to}].",
        "We are [going|flying|moving] to {to}[ on {date}|], [leaving|starting] from {from}.",
        "[Next stop|Destination]: {to}. [We left|Departed] {from}[ on {date}|].",
        "[Change|Book|Cancel] my [trip|flight|seat] from {from} to {to}[ on {date}|].",
        "The [road|way|journey] from {from} to {to} [is long|takes two days].",
        "[Leaving|Departing] {from} on {date}[, arriving in {to}|].",
        "[He|She] [flew|drove|walked] to {to} from {from}[ on {date}|].",
        "{to} is where I [want|have] to be on {date}[; I live in {from}|, coming from {from}].",
        "[After|From] {from} the train [continues|runs] to {to}[; it is {date}|]."),
    "JOB": (
        "{name} [is|was|became|works as|started as] [a|the|our] {role} [at|with|for|of] {company}.",
        "[Our|The|A] {role} [is called|is named|is] {name}[ and works for {company}|].",
        "{company} [hired|employs|trusts|dismissed|promoted] {name}[ as {role}| as a {role}|].",
        "[Company|Employer|Firm]: {company}[;|,|\n] [role|position|job]: {role}[;|,|\n] "
        "[name|person|employee]: {name}",
        "[Name|Employee]: {name}[;|,|\n] [job|role|title]: {role}[;|,|\n] [company|firm]: "
        "{company}",
        "{name} [left|joined|founded|owns|runs] {company}[ as {role}|].",
        "[Before|After] {company}, {name} [was|worked as] [a|the] {role}.",
        "[At|With|For] {company} {name} [is|was] [the|a] {role}.",
        "[Talk to|Speak with|Meet] {name}, [the|a] {role} [at|from|of] {company}.",
        "[Since March|Last year|Today] {name} [joined|started at|left] {company}[ as a {role}|].",
        "I am {name}[, {role}| and I work as a {role}][ at {company}| for {company}].",
        "{name} | {role} | {company}",
        "{company} - {name} - {role}",
        "{role} {name} [spoke for|represents|left] {company}.",
        "The [position|job] of {role} at {company} [went|goes] to {name}.",
        "[Congratulations to|Thanks to|A prize for] {name}, {role} [at|of] {company}.",
        "[Did|Does] {name} [work|sign] as {role} [with|for] {company}?",
        "{company} [needs|has found|introduces] a {role}[: {name}|, {name}]."),
    "INVOICE": (
        "[Invoice|Bill|Document] {number} [of|for|over|about] {amount}[ euros| dollars| EUR|] [is "
        "due|must be "
        "paid|is payable] [on|by|until] {due date}.",
        "[Pay|Transfer|Send] {amount}[ euros| dollars| pounds|] [for|quoting|with reference] "
        "{number}[ by "
        "{due date}| before {due date}| until {due date}].",
        "[Number|Invoice|Bill]: {number}[;|,|\n] [amount|total|sum]: {amount}[;|,|\n] [due|due "
        "date|pay by]: "
        "{due date}",
        "[Total|Amount|Sum]: {amount}[;|,|\n] [due|payable]: {due date}[;|,|\n] [number|invoice]: "
        "{number}",
        "[You|They|We] [owe|still owe] {amount}[ euros| dollars|] [on|for] [invoice|bill] "
        "{number}[, due "
        "{due date}|; pay by {due date}|].",
        "[Please note|Remember|Note] that {number} [is|becomes] due on {due date}[ ({amount} "
        "euros)|].",
        "The [sum|total|amount] [of|for|on] {number} is {amount}[ euros|][, due on {due date}|].",
        "{due date} is the [date|deadline|last day] for {number}[ ({amount}|, amount {amount}].",
        "[On|By|Until] {due date} [invoice|bill] {number}[ over {amount} euros|] [has "
        "to|must|should] be paid.",
        "{number} | {amount} | {due date}",
        "{due date} - {number} - {amount}",
        "[Was|Is] [invoice|bill] {number} [paid|settled][, it was {amount} euros|]?",
        "{amount}[ euros| dollars|] [are|is] [open|missing|due] [for|on] {number}[ since {due "
        "date}| until "
        "{due date}|].",
        "[Thank you for|We got|Here is] [invoice|bill] {number}[; it says {amount}|, {amount} in "
        "all][, due "
        "{due date}|].",
        "[Late|Open|Unpaid]: {number}, {amount}[, {due date}|]"),
}


# Kinds of values that only the other sets have.
def make_time(rng, _held_out=False):
    """Make a time of day."""
    hour, minute = rng.randint(0, 23), rng.choice([0, 15, 30, 45, rng.randint(0, 59)])
    return rng.choice([f"{hour:02}:{minute:02}", f"{hour}:{minute:02}", f"{hour % 12 + 1} am",
                       f"{hour % 12 + 1} pm", f"{hour % 12 + 1}:{minute:02} pm"])


def make_title(rng, held_out=False):
    """Make the title of a book, a film or a song."""
    title = values.phrase(rng, 1, 3)
    if rng.random() < 0.5:
        title = title.title() if rng.random() < 0.7 else title.capitalize()
    return rng.choice(["", "", "The ", "My "]) + title if title[0].isupper() else title


def make_words(rng, held_out=False):
    """Make a subject or a name of a thing of one to three words."""
    return values.make_product(rng, held_out) if rng.random() < 0.4 else values.phrase(rng, 1, 3)


def make_street(rng, held_out=False):
    """Make an address in a town."""
    name = values.invented_word(rng, held_out) if rng.random() < 0.5 else \
        values.phrase(rng, 1, 1).capitalize()
    end, number = rng.choice(["Street", "Road", "Lane", "Avenue", "Square"]), rng.randint(1, 240)
    return rng.choice([f"{number} {name} {end}", f"{name} {end} {number}", f"{name} {end}"])


def make_measure(rng, _held_out=False):
    """Make a number with a unit."""
    unit = rng.choice(["kg", "g", "km", "m", "cm", "hours", "minutes", "days", "litres", "GB",
                       "MB"])
    number = rng.choice([rng.randint(1, 20), rng.randint(1, 900), rng.randint(1, 99) / 10])
    return f"{number} {unit}"


def make_code(rng, _held_out=False):
    """Make a code of letters and digits."""
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTUVWXZ") for _ in range(rng.randint(1, 3)))
    return rng.choice([f"{letters}{rng.randint(1, 9999)}", f"{letters}-{rng.randint(1, 999)}",
                       f"{rng.randint(1, 99)}{letters}", f"{letters} {rng.randint(1, 999)}"])


def make_score(rng, _held_out=False):
    """Make the result of a game."""
    return f"{rng.randint(0, 9)}{rng.choice([':', '-'])}{rng.randint(0, 9)}"


def make_year(rng, _held_out=False):
    """Make a year."""
    return rng.randint(1900, 2030)


def make_small(rng, _held_out=False):
    """Make a small number."""
    return rng.randint(1, 60)


def make_colour(rng, _held_out=False):
    """Make a colour."""
    return rng.choice(["red", "blue", "green", "black", "white", "grey", "brown", "yellow",
                       "purple", "pink", "orange", "dark red", "light blue", "dark green",
                       "silver"])


# Sets of fields that the evaluation does not have: (keys with their makers, forms).
OTHER_SETS = (
    ({"author": values.make_name, "title": make_title, "year": make_year},
     ("[The book|The novel|The poem] {title} by {author} [came out|appeared|was printed] in "
      "{year}.",
      "{author} [wrote|published|finished] {title} in {year}.",
      "In {year} {author} [wrote|published] {title}.",
      "{title} ({author}, {year})", "{author}: {title}, {year}",
      "[I read|We discussed|She likes] {title} by {author}[ from {year}|].")),
    ({"sender": values.make_name, "receiver": values.make_name, "subject": make_words},
     ("{sender} [wrote|sent a letter] to {receiver} about {subject}.",
      "[From|Sender]: {sender}[;|,|\n] [to|receiver]: {receiver}[;|,|\n] [subject|about]: "
      "{subject}",
      "{receiver} [got|received] a message from {sender} [about|concerning] {subject}.",
      "[A letter|A parcel|Mail] for {receiver} [from|sent by] {sender}[, subject {subject}|].",
      "Dear {receiver}, [this is|I write] about {subject}. [Yours|Best wishes], {sender}")),
    ({"home": values.make_city, "guest": values.make_city, "score": make_score},
     ("{home} [beat|lost to|played against] {guest} {score}.",
      "{home} against {guest}[:| ended] {score}",
      "[It was|The result was] {score} between {home} and {guest}.",
      "{guest} [lost|won] at {home} with {score}.")),
    ({"street": make_street, "town": values.make_city, "name": values.make_name},
     ("{name} [lives|works] at {street} in {town}.", "{name}, {street}, {town}",
      "[Send it|Deliver] to {name}, {street}, {town}.",
      "The [address|home] of {name} is {street}[ in {town}|, {town}].",
      "[In|At] {town} you find {name} at {street}.")),
    ({"patient": values.make_name, "doctor": values.make_name, "time": make_time},
     ("{patient} [sees|visits|has to see] doctor {doctor} at {time}.",
      "[At|Around] {time} {doctor} [examines|expects|calls] {patient}.",
      "[Appointment|Visit]: {patient} with {doctor}, {time}",
      "Doctor {doctor} [treats|meets] {patient}[ at {time}|].")),
    ({"animal": make_words, "owner": values.make_name, "weight": make_measure},
     ("The {animal} of {owner} weighs {weight}.", "{owner} has a {animal} of {weight}.",
      "{weight}: that is what the {animal} of {owner} [weighs|brings].",
      "[Owner|Keeper]: {owner}[;|,] [animal|pet]: {animal}[;|,] [weight|mass]: {weight}")),
    ({"car": make_words, "plate": make_code, "colour": make_colour},
     ("[The|A] {colour} {car} with the plate {plate} [is parked outside|was stolen|blocks the "
      "way].",
      "[Plate|Number plate]: {plate}[;|,] [car|model]: {car}[;|,] colour: {colour}",
      "I drive a {car}, it is {colour} and has the plate {plate}.",
      "{plate} is a {colour} {car}.")),
    ({"room": make_code, "teacher": values.make_name, "subject": make_words},
     ("{teacher} teaches {subject} in room {room}.",
      "[Room|In room] {room}: {subject} with {teacher}",
      "The [course|lesson] on {subject} by {teacher} is [now|today] in {room}.",
      "{subject} ({teacher}, room {room})")),
    ({"flight": make_code, "gate": make_small, "time": make_time},
     ("Flight {flight} [leaves|boards|closes] at {time} from gate {gate}.",
      "[Go|Please go] to gate {gate} for {flight}[, it boards at {time}|].",
      "{flight} - gate {gate} - {time}", "At {time} flight {flight} leaves gate {gate}.")),
    ({"seller": values.make_company, "buyer": values.make_company, "price": values.make_money},
     ("{buyer} [buys|bought|takes over] {seller} for {price} [million|euros|dollars].",
      "{seller} [was sold|goes] to {buyer}[ for {price} euros| at {price} million].",
      "For {price} [euros|million] {buyer} [gets|bought] {seller}.")),
    ({"device": make_words, "error": make_code, "version": make_measure},
     ("The {device} [shows|reports|stops with] error {error}[ after {version}|].",
      "Error {error} on the {device}[, {version}|].",
      "[Device|Machine]: {device}[;|,] error: {error}",
      "{device} failed with {error}[ for {version}|].")),
    ({"dish": make_words, "time": make_measure, "cook": values.make_name},
     ("{cook} [cooked|made|served] {dish} in {time}.", "{dish} by {cook} takes {time}.",
      "[The|A] {dish} needs {time}[, says {cook}|].", "Cook: {cook}. Dish: {dish}. Time: {time}.")),
    ({"film": make_title, "director": values.make_name, "cinema": values.make_place},
     ("{film} by {director} [runs|is shown|plays] in the {cinema}.",
      "The {cinema} shows {film}[ by {director}|, directed by {director}].",
      "{director} [shot|directed] {film}[; see it in the {cinema}|].")),
    ({"task": make_words, "person": values.make_name, "deadline": values.make_date},
     ("{person} [does|finishes|has to finish] the {task} [by|until|before] {deadline}.",
      "[To do|Task]: {task} ({person}, {deadline})",
      "The {task} is due on {deadline}[, {person} does it|].",
      "{deadline} is the deadline for {person} and the {task}.")),
    ({"winner": values.make_name, "prize": make_words, "country": values.make_city},
     ("{winner} from {country} [wins|won|gets] the {prize}.",
      "The {prize} goes to {winner}[ of {country}|].",
      "[In|From] {country}: {winner} has won the {prize}.")),
    ({"flat": make_street, "rent": values.make_money, "size": make_measure},
     ("[The flat|A flat|The house] at {flat} costs {rent} [euros|dollars] and has {size}.",
      "{flat}, {size}, {rent} euros", "For {rent} [euros|dollars] you get {size} at {flat}.",
      "Rent: {rent}[;|,] size: {size}[;|,] address: {flat}")),
    ({"user": values.make_email, "code": make_code, "date": values.make_date},
     ("The code for {user} is {code}[, valid until {date}|].",
      "{user} [used|entered] {code} on {date}.",
      "On {date} we sent {code} to {user}.", "User: {user}, code: {code}, date: {date}")),
    ({"ship": make_title, "port": values.make_city, "captain": values.make_name},
     ("The ship {ship} under captain {captain} [reached|left] {port}.",
      "Captain {captain} [sails|brought] the {ship} to {port}.",
      "In {port} lies the {ship}[ of {captain}|].")),
    ({"product": values.make_product, "colour": make_colour, "size": make_measure},
     ("The {product} [comes|is sold] in {colour} with {size}.",
      "I want the {product} in {colour}[, {size}|].",
      "{colour} {size} {product}", "Product: {product}. Colour: {colour}. Size: {size}.")),
    ({"team": make_title, "coach": values.make_name, "place": make_small},
     ("{team} with coach {coach} [is|finished] in place {place}.",
      "Coach {coach} leads {team} to place {place}.", "[Place|Rank] {place}: {team} ({coach})")),
    ({"speaker": values.make_name, "topic": make_words, "time": make_time},
     ("At {time} {speaker} [talks|speaks] about {topic}.",
      "{speaker} [talks|speaks] about {topic}[ at {time}|].",
      "{time} - {topic} - {speaker}", "The talk on {topic} is given by {speaker}[ at {time}|].")),
)


def expand(rng, form):
    """Choose one of the alternatives in each pair of brackets."""
    return re.sub(r"\[([^\[\]]*)\]", lambda match: rng.choice(match[1].split("|")), form)


def fill(rng, form, makers):
    """Return (text, values by slot) for a form; a slot that is not in the form has no value."""
    form = expand(rng, form)
    made = {slot: makers[slot](rng, False) for slot in makers if "{" + slot + "}" in form}
    for slot, value in made.items():
        form = form.replace("{" + slot + "}", str(value))
    return form, made
