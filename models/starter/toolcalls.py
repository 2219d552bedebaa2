"""Questions that need a tool, and the exact calls in Hermes form.

The mapping from the words to the call is mechanical: numbers are copied as written, operators
get one blank on each side, "15% of 80" is always "15 / 100 * 80".
"""

import ast
import json
import operator

from questions import one_in_eight, split_phrasings, vary

CALCULATOR_DESCRIPTIONS = (
    "Evaluate an arithmetic expression.",
    "Work out an arithmetic expression and return the result.",
    "Calculate the value of a mathematical expression, such as 2 * (3 + 4).",
    "A calculator for arithmetic.")
CLOCK_DESCRIPTIONS = (
    "Tell the current time in a time zone.",
    "Get the current date and time.",
    "Return the current time in a time zone, such as Europe/Berlin.",
    "A clock that knows all time zones.")
NEEDS_CALCULATOR = "I need the calculator tool for that."
NEEDS_CLOCK = "I need the clock tool for that."
MAX_PLAIN_NUMBER = 20

EXPRESSION_PHRASINGS = [
    "What is {e}?", "Calculate {e}", "Compute {e}.", "How much is {e}?", "{e} =", "{e}",
    "Work out {e}", "What is the result of {e}?", "Can you calculate {e}?", "Solve {e}",
    "Tell me what {e} is.", "What does {e} give?", "Evaluate {e}", "Please compute {e}",
    "I need the value of {e}.", "What's {e}?", "What would {e} make?", "Use the calculator: {e}",
    "What do I get for {e}?", "Do the sum {e}", "Find {e}", "how much would {e} be",
    "My homework says {e}, what is the answer?", "calc {e}"]
TWO_NUMBER_PHRASINGS = {
    "{a} + {b}": ["What is {a} plus {b}?", "Add {a} and {b}", "Add {b} to {a}", "{a} plus {b}",
                  "What is the sum of {a} and {b}?", "How much is {a} and {b} together?",
                  "I have {a} euros and get {b} more. How much do I have?",
                  "Give me {a} plus {b}.", "{a} added to {b}",
                  "sum of {a} and {b}", "If I add {a} and {b}, what do I get?",
                  "What do {a} and {b} add up to?", "Please add up {a} and {b}.",
                  "What does {a} plus {b} come to?", "the total of {a} and {b}",
                  "Calculate {a} plus {b}."],
    "{a} - {b}": ["What is {a} minus {b}?", "Subtract {b} from {a}", "{a} minus {b}",
                  "Take {b} away from {a}", "What is the difference between {a} and {b}?",
                  "How much is left of {a} after I spend {b}?", "{a} less {b}",
                  "Give me {a} minus {b}.", "Take {b} from {a}", "Remove {b} from {a}.",
                  "What is left when I take {b} away from {a}?", "Deduct {b} from {a}",
                  "difference between {a} and {b}", "{a} take away {b}",
                  "What do I get when I subtract {b} from {a}?", "Calculate {a} minus {b}."],
    "{a} * {b}": ["What is {a} times {b}?", "Multiply {a} by {b}", "{a} times {b}",
                  "What is {a} multiplied by {b}?", "How much do {a} tickets cost at {b} each?",
                  "What is the product of {a} and {b}?", "{a} boxes with {b} pens each, how many?",
                  "Give me {a} times {b}.", "{a} multiplied by {b}", "multiply {a} with {b}",
                  "How much is {a} multiplied by {b}?", "product of {a} and {b}",
                  "What do I get when I multiply {a} by {b}?", "Please multiply {a} and {b}.",
                  "What does {a} times {b} come to?", "Calculate {a} multiplied by {b}."],
    "{a} / {b}": ["What is {a} divided by {b}?", "Divide {a} by {b}", "{a} divided by {b}",
                  "What is {a} over {b}?", "Split {a} evenly between {b} people",
                  "How often does {b} go into {a}?", "Share {a} euros among {b} friends.",
                  "Give me {a} divided by {b}.", "{a} over {b}", "How much is {a} over {b}?",
                  "What do I get when I divide {a} by {b}?", "divide {a} through {b}",
                  "Please divide {a} by {b}.", "What does {a} divided by {b} come to?",
                  "the quotient of {a} and {b}", "Calculate {a} over {b}."],
    "{a} / 100 * {b}": ["What is {a}% of {b}?", "How much is {a} percent of {b}?", "{a}% of {b}",
                        "What do {a}% of {b} come to?", "Calculate {a} percent of {b}",
                        "Give me {a}% of {b}.", "Work out {a}% of {b}",
                        "I get {a} percent off {b} euros, how much is that?",
                        "{a} percent of {b}", "What does {a}% of {b} come to?",
                        "Please work out {a} percent of {b}.", "Find {a}% of {b}",
                        "How many is {a} percent of {b}?", "What do {a} percent of {b} make?",
                        "Compute {a}% of {b}.", "How much do {a}% of {b} come to?"],
    "{a} * {a}": ["What is {a} squared?", "What is the square of {a}?", "{a} squared",
                  "Square {a}", "How much is {a} to the power of 2?", "Calculate {a} squared",
                  "Give me the square of {a}.", "What do I get when I square {a}?",
                  "square {a} please", "Find the square of {a}", "Compute {a} squared.",
                  "What does {a} squared give?", "the square of {a}", "Please square {a}.",
                  "How much is {a} squared?", "Work out the square of {a}"],
}
CITY_PHRASINGS = [
    "What time is it in {c}?", "What's the time in {c}?", "time in {c}",
    "Tell me the current time in {c}.", "What is the time in {c} now?",
    "How late is it in {c}?", "Can you tell me what time it is in {c}?", "Current time in {c}?",
    "Do you know the time in {c}?", "What does the clock say in {c}?",
    "I want to call a friend in {c}, what time is it there?", "Show me the local time in {c}.",
    "{c} time now", "What hour is it in {c} right now?", "Is it late in {c}? Give me the time.",
    "Please look up the time in {c}."]
PLAIN_TIME_PHRASINGS = [
    "What time is it?", "What's the time?", "Tell me the time.",
    "Do you know how late it is?", "What time is it now?", "current time",
    "Can you tell me the time?", "What is the current time?", "time please", "How late is it?",
    "What time is it in UTC?"]
CITY_ZONES = {
    "London": "Europe/London", "Dublin": "Europe/Dublin", "Lisbon": "Europe/Lisbon",
    "Paris": "Europe/Paris", "Madrid": "Europe/Madrid", "Rome": "Europe/Rome",
    "Berlin": "Europe/Berlin", "Vienna": "Europe/Vienna", "Zurich": "Europe/Zurich",
    "Amsterdam": "Europe/Amsterdam", "Brussels": "Europe/Brussels", "Prague": "Europe/Prague",
    "Warsaw": "Europe/Warsaw", "Budapest": "Europe/Budapest", "Athens": "Europe/Athens",
    "Stockholm": "Europe/Stockholm", "Oslo": "Europe/Oslo", "Copenhagen": "Europe/Copenhagen",
    "Helsinki": "Europe/Helsinki", "Istanbul": "Europe/Istanbul", "Moscow": "Europe/Moscow",
    "Cairo": "Africa/Cairo", "Lagos": "Africa/Lagos", "Nairobi": "Africa/Nairobi",
    "Johannesburg": "Africa/Johannesburg", "Dubai": "Asia/Dubai", "Tehran": "Asia/Tehran",
    "Karachi": "Asia/Karachi", "Delhi": "Asia/Kolkata", "Mumbai": "Asia/Kolkata",
    "Bangkok": "Asia/Bangkok", "Jakarta": "Asia/Jakarta", "Singapore": "Asia/Singapore",
    "Hong Kong": "Asia/Hong_Kong", "Shanghai": "Asia/Shanghai", "Beijing": "Asia/Shanghai",
    "Manila": "Asia/Manila", "Seoul": "Asia/Seoul", "Tokyo": "Asia/Tokyo",
    "Osaka": "Asia/Tokyo", "Sydney": "Australia/Sydney", "Melbourne": "Australia/Melbourne",
    "Auckland": "Pacific/Auckland", "Honolulu": "Pacific/Honolulu",
    "Los Angeles": "America/Los_Angeles", "San Francisco": "America/Los_Angeles",
    "Denver": "America/Denver", "Chicago": "America/Chicago", "New York": "America/New_York",
    "Boston": "America/New_York", "Toronto": "America/Toronto",
    "Mexico City": "America/Mexico_City", "Bogota": "America/Bogota", "Lima": "America/Lima",
    "Sao Paulo": "America/Sao_Paulo", "Buenos Aires": "America/Argentina/Buenos_Aires"}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv}


def function_tool(name, description, parameter, parameter_description):
    """Write one tool with one text parameter in the OpenAI function format."""
    return {"type": "function", "function": {
        "name": name, "description": description, "parameters": {
            "type": "object",
            "properties": {parameter: {"type": "string", "description": parameter_description}},
            "required": [parameter]}}}


def calculator_tool(description=CALCULATOR_DESCRIPTIONS[0]):
    """The calculator as offered to the model."""
    return function_tool("calculator", description, "expression",
                         "The expression, such as 23 * 47")


def clock_tool(description=CLOCK_DESCRIPTIONS[0]):
    """The clock as offered to the model."""
    return function_tool("clock", description, "timezone", "The time zone, such as Asia/Tokyo")


def tool_list(rng, names):
    """Offer the named tools, described in one of several ways."""
    makers = {"calculator": (calculator_tool, CALCULATOR_DESCRIPTIONS),
              "clock": (clock_tool, CLOCK_DESCRIPTIONS)}
    tools = []
    for name in names:
        maker, descriptions = makers[name]
        tools.append(maker(rng.choice(descriptions + descriptions[:1] * 3)))
    return tools


def tool_names(rng, needed):
    """Choose which tools to offer, the needed one among them, in any order."""
    other = "clock" if needed == "calculator" else "calculator"
    return rng.choice([[needed], [needed, other], [needed, other], [other, needed],
                       [other, needed]])


def call_text(name, arguments):
    """Write a call exactly as the model has to write it."""
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{call}\n</tool_call>"


def make_operand(rng, held_out, decimals=True):
    """Make a number; those above a limit are either the training's or the evaluation's."""
    while True:
        number = str(rng.choice([rng.randint(2, 20), rng.randint(10, 99), rng.randint(10, 99),
                                 rng.randint(100, 999), rng.randint(1000, 99999)]))
        if decimals and rng.random() < 0.15:
            number += "." + rng.choice(["", str(rng.randint(0, 9))]) + str(rng.randint(1, 9))
        if float(number) <= MAX_PLAIN_NUMBER or one_in_eight(number) == held_out:
            return number


def make_expression(rng, held_out):
    """Make an expression with two or three operands, sometimes with brackets."""
    a, b, c = (make_operand(rng, held_out) for _ in range(3))
    first, second = rng.choice("+-*/*"), rng.choice("+-*/")
    shape = rng.random()
    if shape < 0.45:
        return f"{a} {first} {b}"
    if shape < 0.72:
        return f"{a} {first} {b} {second} {c}"
    first = rng.choice("+-")
    if shape < 0.86:
        return f"({a} {first} {b}) {rng.choice('*/')} {c}"
    return f"{a} {rng.choice('*/+-')} ({b} {first} {c})"


def written_expression(rng, expression):
    """Write an expression as people type it: some leave out the blanks or write x for *."""
    shape = rng.random()
    if shape < 0.2:
        return expression.replace(" ", "")
    if shape < 0.3:
        return expression.replace("*", "x")
    return expression


def uses_held_out_number(expression):
    """Tell whether a number in the expression is kept for the evaluation."""
    words = expression.replace("(", "").replace(")", "").split()
    return any(word[0].isdigit() and float(word) > MAX_PLAIN_NUMBER and word != "100"
               and one_in_eight(word) for word in words)


def calculator_question(rng, held_out):
    """Return (question, expression); the evaluation has its own phrasings and numbers."""
    part = 1 if held_out else 0
    while True:
        if rng.random() < 0.5:
            expression = make_expression(rng, held_out)
            phrasing = rng.choice(split_phrasings(EXPRESSION_PHRASINGS)[part])
            question = phrasing.format(e=written_expression(rng, expression))
        else:
            template, phrasings = rng.choice(sorted(TWO_NUMBER_PHRASINGS.items()))
            phrasing = rng.choice(split_phrasings(phrasings)[part])
            numbers = {"a": make_operand(rng, held_out), "b": make_operand(rng, held_out)}
            if "{a}%" in phrasing or "percent" in phrasing:
                numbers["a"] = str(rng.randint(1, 20)) if rng.random() < 0.6 else \
                    make_operand(rng, held_out)
            expression = template.format(**numbers)
            question = phrasing.format(**numbers)
        if uses_held_out_number(expression) == held_out:
            return question, expression


def clock_question(rng, held_out):
    """Return (question, city or None, time zone)."""
    part = 1 if held_out else 0
    if rng.random() < 0.15:
        return rng.choice(split_phrasings(PLAIN_TIME_PHRASINGS)[part]), None, "UTC"
    city = rng.choice(sorted(CITY_ZONES))
    phrasing = rng.choice(split_phrasings(CITY_PHRASINGS)[part])
    return phrasing.format(c=city), city, CITY_ZONES[city]


def evaluate_expression(expression):
    """Work out an expression; ZeroDivisionError comes through."""
    def value(node):
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        return node.value
    return value(ast.parse(expression, mode="eval").body)


def calculator_result(expression):
    """Return (what the tool says, what the model answers)."""
    try:
        result = format(evaluate_expression(expression), ".10g")
    except ZeroDivisionError:
        return "error: division by zero", "The calculator reports an error: division by zero."
    return result, f"{expression} = {result}."


def clock_result(rng, city):
    """Return (what the tool says, what the model answers)."""
    time = f"{rng.randrange(24):02}:{rng.randrange(60):02}"
    date = f"{rng.randint(2024, 2032)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    said = rng.choice([time, f"{date} {time}", f"{date} {time}:{rng.randrange(60):02}",
                       f"{date}T{time}:{rng.randrange(60):02}+00:00"])
    return said, f"It is {time} in {city}." if city else f"It is {time} UTC."


def call_sample(rng, with_result):
    """Return (messages, tools) of a training sample that calls a tool."""
    if rng.random() < 0.66:
        name = "calculator"
        question, expression = calculator_question(rng, False)
        question = vary(rng, question)
        arguments = {"expression": expression}
        said, answer = calculator_result(expression)
    else:
        name = "clock"
        question, city, zone = clock_question(rng, False)
        question = vary(rng, question)
        arguments = {"timezone": zone}
        said, answer = clock_result(rng, city)
    messages = [{"role": "user", "content": question},
                {"role": "assistant", "content": call_text(name, arguments)}]
    if with_result:
        messages += [{"role": "tool", "content": said}, {"role": "assistant", "content": answer}]
    return messages, tool_list(rng, tool_names(rng, name))


def refusal_sample(rng, with_other_tool):
    """Return (messages, tools) of a question whose tool is not offered."""
    if rng.random() < 0.6:
        question = vary(rng, calculator_question(rng, False)[0])
        answer, other = NEEDS_CALCULATOR, "clock"
    else:
        question = vary(rng, clock_question(rng, False)[0])
        answer, other = NEEDS_CLOCK, "calculator"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages, tool_list(rng, [other]) if with_other_tool else None


def eval_sample(rng, index):
    """Return (question, tools, expected call) with held-out phrasings and numbers."""
    if index % 10 < 7:
        name = "calculator"
        question, expression = calculator_question(rng, True)
        arguments = {"expression": expression}
    else:
        name = "clock"
        question, _, zone = clock_question(rng, True)
        arguments = {"timezone": zone}
    makers = {"calculator": calculator_tool, "clock": clock_tool}
    tools = [makers[offered]() for offered in tool_names(rng, name)]
    return question, tools, {"name": name, "arguments": arguments}
