#!/usr/bin/env python3
"""Renders the same templates with Jinja2 and with ours, and tells where they differ.

Three sources of cases, all drawn from a seed:
  conversations  random chats through the templates of published models (DATA/templates/llama.cpp)
  expressions    random expressions over filters, tests, methods and operators
  statements     random nestings of loops, branches, macros and blocks

A case agrees when both give the same text, or both an error. A text of Jinja2 that names an address
in memory is passed over, and so is a case that meets one of our ceilings (64-bit integers, steps).

Ours is the program render_lines. Jinja2 is set up as the model hubs do: the immutable sandbox,
trim_blocks, lstrip_blocks, loop controls, their tojson, raise_exception, strftime_now and
{% generation %}. Where jinja2 cannot be imported the script starts itself anew with the interpreter
that LLLM_REFERENCE_PYTHON names, and otherwise ends with 77, which Meson counts as skipped.

  compare_jinja2.py RENDER_LINES DATA [--conversations N] [--expressions N] [--statements N]
                    [--seed S] [--each] [--show N] [--golden FILE]

--each: every conversation through every template, not one template each. --golden: writes a small
sample with Jinja2's results, which test_golden.c reads.
"""
import argparse
import collections
import copy
import datetime
import json
import os
import pathlib
import random
import re
import subprocess
import sys

try:
    import jinja2
    import jinja2.ext
    import jinja2.sandbox
except ImportError:
    other = os.environ.get("LLLM_REFERENCE_PYTHON")
    if other and os.path.realpath(other) != os.path.realpath(sys.executable):
        os.execv(other, [other, *sys.argv])
    print("jinja2 is not importable here; LLLM_REFERENCE_PYTHON may name a Python that has it")
    sys.exit(77)

NOW = 1735776000  # 2025-01-02
ERROR_LIMIT = 4   # base/error.h


class Generation(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %}: what is inside, unchanged."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("pass_on"), [], [], body).set_lineno(line)

    def pass_on(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    env.filters["tojson"] = to_json
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = (
        lambda how: datetime.datetime(2025, 1, 2).strftime(how))
    return env


class Reference:
    def __init__(self):
        self.env = environment()
        self.compiled = {}

    def render(self, source, variables):
        """("text", ...) or ("error", ...)"""
        try:
            if source not in self.compiled:
                self.compiled = {source: self.env.from_string(source)}
            # A copy: the indent filter adds to a list that it is given.
            return "text", self.compiled[source].render(**copy.deepcopy(variables))
        except RecursionError:
            return "error", "recursion"
        except Exception as e:  # whatever Python raises inside is an error of the template
            return "error", f"{type(e).__name__}: {e}"


# ---- conversations ----

WORDS = ["Hello", "world", "the", "cat", "sat", "on", "a", "mat", "42", "3.14", "é", "日本語", "😀",
         "<b>", "&amp;", "\"quoted\"", "it's", "a\\b", "{{ x }}", "{% y %}", "\t", "\n", "\n\n",
         "</think>", "<think>", "<tool_call>", "</tool_call>", "<|im_end|>", "[INST]", "{\"a\": 1}",
         "true", "null", "\u00a0", "\u2028", "ß", "İ", "\r\n", "  ", "://", "—", "'", "%", "$"]


def text(rng, most=8):
    if rng.random() < 0.08:
        return ""
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, most))]
    joined = rng.choice([" ", " ", "", "\n"]).join(words)
    return rng.choice(["", "", " ", "\n"]) + joined + rng.choice(["", "", " ", "\n", "  \n"])


def value(rng, depth=0):
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return rng.choice([0, 1, -7, 42, 123456789012345])
    if kind == 1:
        return rng.choice([0.5, 3.0, -2.25, 1e20, 1e-7])
    if kind == 2:
        return rng.choice([True, False, None])
    if kind <= 5:
        return text(rng, 4)
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["a", "b", "key", "x y", "é", "items", "name"]) + str(i):
            value(rng, depth + 1) for i in range(rng.randrange(4))}


def arguments(rng):
    return {rng.choice(["city", "n", "unit", "q", "path", "opt"]): value(rng)
            for _ in range(rng.randrange(4))}


def tool_call(rng, i):
    args = arguments(rng)
    function = {"name": rng.choice(["get_weather", "add", "f", "search_all"]),
                "arguments": args if rng.random() < 0.8 else json.dumps(args)}
    call = {"type": "function", "function": function}
    if rng.random() < 0.8:
        call["id"] = rng.choice([f"call_{i:05d}x"[:9].ljust(9, "0"), f"call{i}"])
    if rng.random() < 0.1:
        return function
    return call


def parameters(rng):
    kinds = ["string", "number", "integer", "boolean", "array", "object", ["string", "null"]]
    properties = {}
    for name in rng.sample(["city", "n", "unit", "q", "flags"], rng.randrange(5)):
        p = {"type": rng.choice(kinds)}
        if rng.random() < 0.8:
            p["description"] = text(rng, 4)
        if rng.random() < 0.2:
            p["enum"] = ["celsius", "kelvin"]
        if rng.random() < 0.2:
            p["default"] = value(rng, 2)
        if p["type"] == "array" and rng.random() < 0.8:
            p["items"] = {"type": rng.choice(["string", "number", "object"])}
        if p["type"] == "object" and rng.random() < 0.5:
            p["properties"] = {"inner": {"type": "string", "description": "inside"}}
        properties[name] = p
    schema = {"type": "object", "properties": properties}
    if rng.random() < 0.8:
        schema["required"] = rng.sample(list(properties), rng.randrange(len(properties) + 1))
    return schema


def tool(rng):
    function = {"name": rng.choice(["get_weather", "add", "f", "search_all"]),
                "description": text(rng, 5), "parameters": parameters(rng)}
    if rng.random() < 0.1:
        del function["description"]
    if rng.random() < 0.1:
        function["return"] = {"type": "string", "description": "what comes back"}
    return {"type": "function", "function": function} if rng.random() < 0.9 else function


def message(rng, role, i):
    m = {"role": role, "content": text(rng)}
    if rng.random() < 0.06:
        m["content"] = [{"type": "text", "text": text(rng)} for _ in range(rng.randint(1, 3))]
    if role == "assistant":
        if rng.random() < 0.3:
            m["tool_calls"] = [tool_call(rng, i * 4 + k) for k in range(rng.randint(1, 3))]
            if rng.random() < 0.5:
                m["content"] = rng.choice([None, ""])
        if rng.random() < 0.25:
            m[rng.choice(["reasoning_content", "reasoning", "thinking"])] = text(rng)
        if rng.random() < 0.1:
            m["content"] = "<think>\n" + text(rng) + "\n</think>\n\n" + text(rng)
    if role == "tool":
        m["tool_call_id"] = rng.choice([f"call_{i:05d}x"[:9].ljust(9, "0"), f"call{i - 1}"])
        if rng.random() < 0.5:
            m["name"] = "get_weather"
        if rng.random() < 0.2:
            m["content"] = json.dumps(value(rng))
    if rng.random() < 0.03:
        m.pop("content")
    return m


def conversation(rng):
    """The variables of one rendering."""
    messages = []
    if rng.random() < 0.5:
        messages.append(message(rng, "system", 0))
    orderly = rng.random() < 0.7
    for i in range(rng.randint(0 if rng.random() < 0.05 else 1, 6)):
        if orderly:
            role = ["user", "assistant"][i % 2]
        else:
            role = rng.choice(["user", "user", "assistant", "assistant", "tool", "tool", "system",
                               "developer", "ipython", "observation", "User"])
        messages.append(message(rng, role, i))
        if orderly and messages[-1].get("tool_calls"):
            for k in range(len(messages[-1]["tool_calls"])):
                messages.append(message(rng, "tool", i * 4 + k))
    v = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>",
         "add_generation_prompt": rng.random() < 0.7}
    if rng.random() < 0.4:
        v["tools"] = [tool(rng) for _ in range(rng.randint(1, 3))]
    elif rng.random() < 0.2:
        v["tools"] = rng.choice([None, []])
    for name, odds, choices in (
            ("enable_thinking", 0.3, [True, False]), ("thinking", 0.1, [True, False]),
            ("builtin_tools", 0.1, [["python"], ["browser", "code_interpreter"], []]),
            ("documents", 0.08, [[{"title": "t", "text": "x", "doc_id": 1}], []]),
            ("reasoning_effort", 0.1, ["low", "high"]), ("date_string", 0.1, ["1 Jan 2024"]),
            ("tools_in_user_message", 0.1, [True, False]), ("controls", 0.05, [{"length": "long"}]),
            ("custom_tools", 0.03, [[]]), ("thinking_budget", 0.05, [0, 512, 100000]),
            ("keep_past_thinking", 0.05, [True]), ("functions", 0.1, ["[]"]),
            ("datetime", 0.1, ["today"]), ("model_identity", 0.05, ["You are a test."])):
        if rng.random() < odds:
            v[name] = rng.choice(choices)
    return v


# ---- expressions ----

VARIABLES = {
    "s": "  Hello World-wide <b>text</b> & more ", "u": "hÉ日本語 ßŒ ǆ", "e": "", "w": "a b  c\td\ne",
    "long": "The quick brown fox-jumps over -- the lazy dog, and well-known e-mail----yes; " * 2,
    "url": "see https://example.com/a?b=c, (www.test.org) or me@mail.example.org <http://x.y>.",
    "n": 7, "z": 0, "neg": -3, "f": 2.5, "g": -0.125, "t": True, "no": False, "none_v": None,
    "l": [3, 1, 2, 2], "m": ["b", "A", "c", "a"], "mix": [1, "x", None, 2.5, [1], {"k": 1}],
    "d": {"b": 1, "a": [1, 2.0, None, True], "items": "x", "B": 2}, "el": [], "ed": {},
    "people": [{"name": "Zed", "age": 3, "at": {"x": [1, 2]}}, {"name": "amy", "age": 1},
               {"name": "Bob", "age": 3}],
    "pairs": [["a", 1], ["b", 2]], "num": "42", "fl": "3.75", "html": "<a href='x'>y</a> &lt; z",
}
STRINGS = ["s", "u", "e", "w", "num", "fl", "html", "url", "long", "'abc'", "'a,b,,c'", "'Éa'",
           "'%s-%05d'", "'{}|{}'", "'x' * 3", "'line\\nnext\\n'", "m[0]", "people[0].name"]
NUMBERS = ["n", "z", "neg", "f", "g", "t", "1", "0", "3.5", "100", "l[0]", "l|length", "2 ** 5"]
LISTS = ["l", "m", "mix", "el", "people", "pairs", "range(5)", "[1, 'a']", "(1, 2)", "d.values()",
         "d.items()", "s.split()", "l[1:]", "d|list", "m|sort", "people|map(attribute='age')|list"]
DICTS = ["d", "ed", "people[0]", "{'a': 1, 'b': {'c': 2}}", "dict(a=1, b='x')", "mix[5]"]
ANY = ["none_v", "nope", "no", "d.nope", "true", "none", "namespace(a=1).a", "[]", "mix"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true",
         "false", "mapping", "sequence", "iterable", "callable", "odd", "even", "lower", "upper",
         "divisibleby(2)", "eq(1)", "ne('a')", "lt(3)", "le(2)", "gt(1)", "ge(2.5)", "in([1, 'a'])",
         "sameas(none)", "equalto('b')", "escaped", "filter", "test", "greaterthan(2)"]
STRING_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "trim('ab ')", "length", "list",
                  "reverse", "first", "last", "join('-')", "wordcount", "int", "float", "int(5)",
                  "replace('a', 'X')", "replace('l', '', 1)", "default('q')", "default('q', true)",
                  "escape", "e", "forceescape", "safe", "striptags", "urlencode", "tojson",
                  "tojson(ensure_ascii=true)", "indent", "indent(2, true)", "indent('> ', blank=true)",
                  "truncate(9)", "truncate(9, true)", "truncate(8, false, '…', 0)", "center(30)",
                  "wordwrap(10)", "wordwrap(7, false)", "wordwrap(12, true, '|')",
                  "wordwrap(9, break_on_hyphens=false)", "urlize", "urlize(10, true)",
                  "urlize(target='_blank', rel='z a')", "string", "pprint", "unique|list",
                  "sort|join", "batch(3)|list", "slice(3)|list", "select('in', 'abc')|list",
                  "map('upper')|list", "min", "max", "groupby(0)|list", "filesizeformat", "attr('x')",
                  "format(1, 2)", "format(a=1)", "round", "abs", "count", "d(1)"]
STRING_METHODS = ["strip()", "lstrip()", "rstrip(' a')", "upper()", "lower()", "title()",
                  "capitalize()", "swapcase()", "casefold()", "split()", "split(',')",
                  "split(None, 1)", "split(' ', 1)", "rsplit(' ', 1)", "rsplit()", "splitlines()",
                  "splitlines(true)", "partition(' ')", "rpartition(' ')", "startswith('a')",
                  "startswith(('x', ' '))", "endswith('e ')", "endswith('')", "find('l')",
                  "rfind('l')", "find('o', 3)", "find('o', -4, -1)", "index('e')", "count('l')",
                  "count('')", "count('l', 2, 5)", "replace('l', 'LL')", "replace('l', 'L', 1)",
                  "replace('', '.')", "join(['a', 'b'])", "join(m)", "center(20)", "center(21, '*')",
                  "ljust(20, '.')", "rjust(20)", "zfill(12)", "isalpha()", "isdigit()", "isalnum()",
                  "isspace()", "isupper()", "islower()", "istitle()", "isascii()", "isnumeric()",
                  "isdecimal()", "isidentifier()", "isprintable()", "expandtabs()", "expandtabs(4)",
                  "removeprefix('ab')", "removesuffix('c')", "format(1, a=2)", "format('x', 'y')",
                  "encode", "nope", "format_map({'a': 1})"]
NUMBER_FILTERS = ["abs", "int", "float", "round", "round(1)", "round(1, 'floor')", "round(0, 'ceil')",
                  "round(-1)", "string", "tojson", "filesizeformat", "filesizeformat(true)", "pprint",
                  "default(1)", "list", "length", "upper", "e", "format(1)", "center(9)", "join",
                  "urlencode", "int(base=16)", "title", "trim", "indent"]
LIST_FILTERS = ["length", "count", "first", "last", "list", "reverse|list", "sort", "sort(true)",
                "sort(case_sensitive=true)", "sort(attribute='age')", "sort(attribute='age,name')",
                "unique|list", "unique(true)|list", "unique(attribute='age')|list", "join", "join(', ')",
                "join('|', attribute='name')", "sum", "sum(start=10)", "sum(attribute='age')", "min",
                "max", "min(attribute='age')", "max(true)", "map('upper')|list", "map('string')|list",
                "map(attribute='name')|list", "map(attribute='at.x.0', default='?')|list",
                "map('default', 'q')|list", "select|list", "reject|list", "select('string')|list",
                "select('odd')|list", "reject('none')|list", "select('gt', 1)|list",
                "selectattr('name')|list", "selectattr('age', 'gt', 1)|list",
                "rejectattr('age', 'eq', 3)|list", "selectattr('at', 'defined')|list", "batch(2)|list",
                "batch(3, 'x')|list", "slice(2)|list", "slice(3, 'f')|list", "groupby('age')|list",
                "groupby('name', case_sensitive=true)|list", "groupby('at', default='')|list",
                "tojson", "tojson(indent=2)", "string", "pprint", "items|list", "random is defined",
                "tojson(separators=(',', ':'))", "e", "first|default('none')", "dictsort", "xmlattr",
                "urlencode", "reverse|first", "map(attribute=0)|list", "map('int', 9)|list", "wordcount",
                "map('round', 1)|list", "replace('a', 'b')", "trim", "center(40)", "upper", "title"]
DICT_FILTERS = ["length", "list", "items|list", "dictsort", "dictsort(true)", "dictsort(false, 'value')",
                "dictsort(reverse=true)", "tojson", "tojson(indent=1)", "tojson(sort_keys=true)",
                "tojson(indent='--')", "string", "pprint", "xmlattr", "xmlattr(false)", "urlencode",
                "first", "last", "sort", "join('+')", "map('upper')|list", "max", "reverse|list",
                "attr('items') is callable", "default(0)", "unique|list", "e", "sum", "batch(2)|list"]
LIST_METHODS = ["index(2)", "count(2)", "copy()", "append(1)", "pop()", "nope", "index('q')"]
DICT_METHODS = ["get('a')", "get('q', 5)", "get('b')", "keys()", "values()", "items()", "keys()|list",
                "copy()", "pop('a')", "update({})", "nope", "a", "b"]
SUBSCRIPTS = ["[0]", "[-1]", "[9]", "[1:]", "[:2]", "[::-1]", "[1:3]", "[-2:]", "[::2]", "['a']", ".0",
              "[3:1:-1]", "[none]", "['length']", "[-9:2]", "[1.0]", "[true]"]
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in",
          "and", "or"]


def expression(rng, depth=0):
    roll = rng.random()
    if depth > 2 or roll < 0.08:
        return rng.choice(STRINGS + NUMBERS + LISTS + DICTS + ANY)
    if roll < 0.26:
        return f"{rng.choice(STRINGS)}|{rng.choice(STRING_FILTERS)}"
    if roll < 0.42:
        return f"{atom(rng.choice(STRINGS))}.{rng.choice(STRING_METHODS)}"
    if roll < 0.56:
        return f"{rng.choice(LISTS)}|{rng.choice(LIST_FILTERS)}"
    if roll < 0.62:
        return f"{rng.choice(NUMBERS)}|{rng.choice(NUMBER_FILTERS)}"
    if roll < 0.68:
        return f"{rng.choice(DICTS)}|{rng.choice(DICT_FILTERS)}"
    if roll < 0.71:
        return f"{atom(rng.choice(DICTS))}.{rng.choice(DICT_METHODS)}"
    if roll < 0.73:
        return f"{atom(rng.choice(LISTS))}.{rng.choice(LIST_METHODS)}"
    if roll < 0.78:
        return f"{atom(rng.choice(STRINGS + LISTS))}{rng.choice(SUBSCRIPTS)}"
    if roll < 0.79:
        return f"{atom(rng.choice(DICTS))}[{rng.choice(['0', repr('a'), repr('length'), 'none'])}]"
    if roll < 0.84:
        negated = rng.choice(["", "not "])
        return f"({expression(rng, depth + 1)}) is {negated}{rng.choice(TESTS)}"
    if roll < 0.86:
        return f"{rng.choice(['not ', '-', '+'])}({expression(rng, depth + 1)})"
    if roll < 0.89:
        return (f"({expression(rng, depth + 1)}) if ({expression(rng, depth + 1)}) "
                f"else ({expression(rng, depth + 1)})")
    if roll < 0.93:  # any filter on anything
        name = rng.choice(STRING_FILTERS + LIST_FILTERS + NUMBER_FILTERS + DICT_FILTERS)
        return f"({expression(rng, depth + 1)})|{name}"
    return f"({expression(rng, depth + 1)}) {rng.choice(BINARY)} ({expression(rng, depth + 1)})"


def atom(source):
    return f"({source})" if re.search(r"[ |]", source) else source


# ---- statements ----

def block(rng, depth, in_loop=False, names=("x", "y")):
    """A piece of a template with tags, and blanks and newlines around them."""
    parts = []
    for _ in range(rng.randint(1, 3)):
        parts.append(rng.choice(["", " ", "\n", "  \n ", "text ", "\n\n", "\t"]))
        parts.append(statement(rng, depth, in_loop, names))
    parts.append(rng.choice(["", "\n", " end\n", "\n  "]))
    return "".join(parts)


def tag(rng, words):
    return ("{%" + rng.choice(["", "", "-", "+"]) + " " + words + " " +
            rng.choice(["", "", "-", "+"]) + "%}")


def output(rng, words):
    return "{{" + rng.choice(["", "", "-", "+"]) + " " + words + " " + rng.choice(["", "-"]) + "}}"


LOOP_WORDS = ["loop.index", "loop.index0", "loop.first", "loop.last", "loop.length", "loop.revindex",
              "loop.revindex0", "loop.previtem", "loop.nextitem", "loop.cycle('a', 'b')",
              "loop.changed(x)", "loop.depth", "loop.depth0", "loop.nope", "loop is defined"]


def statement(rng, depth, in_loop, names):
    roll = rng.random()
    simple = rng.choice(names) if rng.random() < 0.5 else expression(rng, 2)
    if depth > 2 or roll < 0.25:
        if in_loop and rng.random() < 0.4:
            return output(rng, rng.choice(LOOP_WORDS))
        return output(rng, simple)
    inner = lambda loop=in_loop, more=(): block(rng, depth + 1, loop, tuple(names) + tuple(more))
    if roll < 0.33:
        return tag(rng, f"set {rng.choice(['x', 'y', 'q'])} = {simple}")
    if roll < 0.36:
        return tag(rng, "set x, y = 1, l")
    if roll < 0.40:
        filters = rng.choice(["", " | upper", " | trim | length"])
        return tag(rng, f"set {rng.choice(['x', 'q'])}{filters}") + inner() + tag(rng, "endset")
    if roll < 0.52:
        source = tag(rng, f"if {simple}") + inner()
        if rng.random() < 0.3:
            source += tag(rng, f"elif {expression(rng, 2)}") + inner()
        if rng.random() < 0.5:
            source += tag(rng, "else") + inner()
        return source + tag(rng, "endif")
    if roll < 0.72:
        over = rng.choice(["l", "m", "people", "range(3)", "d", "d.items()", "el", "nope", "s[:4]"])
        target = "k, x" if over == "d.items()" else "x"
        condition = rng.choice(["", "", " if x", " if loop is defined", " if x != 2"])
        source = tag(rng, f"for {target} in {over}{condition}") + inner(True, ("x", "loop.index"))
        if rng.random() < 0.15:
            source += tag(rng, f"if loop.index == 2") + tag(rng, rng.choice(["break", "continue"])) + \
                tag(rng, "endif") + inner(True)
        if rng.random() < 0.3:
            source += tag(rng, "else") + inner()
        return source + tag(rng, "endfor")
    if roll < 0.80:
        name = rng.choice(["m1", "m2"])
        params = rng.choice(["", "a", "a, b='B'", "a=x, b=2"])
        source = tag(rng, f"macro {name}({params})") + inner(False, ("a", "b", "varargs", "kwargs")) + \
            tag(rng, "endmacro")
        return source + output(rng, f"{name}({rng.choice(['', '1', '1, 2', 'b=3', 'a=x', '1, 2, 3'])})")
    if roll < 0.84:
        source = tag(rng, "macro w(t)") + "<" + output(rng, "t") + output(rng, "caller(t)") + ">" + \
            tag(rng, "endmacro")
        return source + tag(rng, "call(i) w('b')") + output(rng, "i") + inner() + tag(rng, "endcall")
    if roll < 0.88:
        return tag(rng, rng.choice(["filter upper", "filter trim | indent(2)", "filter e"])) + inner() + \
            tag(rng, "endfilter")
    if roll < 0.91:
        return tag(rng, "with x = 5, z2 = x") + inner(in_loop, ("z2",)) + tag(rng, "endwith")
    if roll < 0.94:
        return (tag(rng, "set ns = namespace(a=0, b='')") + tag(rng, "for i in l") +
                tag(rng, "set ns.a = ns.a + i") + tag(rng, "endfor") + output(rng, "ns.a"))
    if roll < 0.96:
        return (tag(rng, "for i in [1, [2, [3, 4]], 5] recursive") + output(rng, "loop.depth") +
                output(rng, "loop(i) if i is iterable else i") + tag(rng, "endfor"))
    if roll < 0.97:
        return (tag(rng, "generation") + block(rng, depth + 1, False, ("x", "y")) +
                tag(rng, "endgeneration"))
    if roll < 0.98:
        return tag(rng, "raw") + " {{ x }} {% if %} " + tag(rng, "endraw")
    return "{#" + rng.choice(["", "-"]) + " note {{ x }} " + rng.choice(["", "-"]) + "#}"


# ---- running ----

class Ours:
    """Both sides answer the same list of cases; a case is (label, source or path, variables)."""

    def __init__(self, program):
        self.program = program

    def render(self, cases):
        lines = "".join(json.dumps({key: where, "vars": variables, "now": NOW}) + "\n"
                        for _, key, where, variables in cases)
        done = subprocess.run([self.program], input=lines.encode(), stdout=subprocess.PIPE, check=True)
        return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


class Tally:
    def __init__(self, name, show):
        self.name, self.show = name, show
        self.limit_words = collections.Counter()
        self.same = self.errors = self.limits = self.passed_over = self.different = 0

    def add(self, label, reference, ours, variables):
        kind, expected = reference
        if kind == "text" and re.search(r"(?i)( |%20|\+)at( |%20|\+)0x[0-9a-f]{6,}", expected):
            self.passed_over += 1
        elif kind == "error" and "error" in ours:
            self.errors += 1
        elif "error" in ours and ours.get("code") == ERROR_LIMIT:
            self.limits += 1
            self.limit_words[re.sub(r"\d+", "#", ours["error"])] += 1
        elif kind == "text" and ours.get("text") == expected:
            self.same += 1
        else:
            self.different += 1
            if self.different <= self.show:
                print(f"differs: {label}\n  jinja2: {reference!r}\n  ours:   {ours!r}"[:3000])
                if self.name == "conversations" and os.environ.get("SHOW_VARS"):
                    print("  vars:  ", json.dumps(variables))

    def print(self):
        print(f"{self.name}: {self.same} texts equal, {self.errors} errors on both sides, "
              f"{self.different} different; {self.limits} met a ceiling of ours, "
              f"{self.passed_over} passed over")
        for words, n in self.limit_words.most_common(5):
            print(f"  ceiling, {n} times: {words}")


def run(name, cases, reference, ours, show):
    """cases: (label, "source" or "path", where, variables). Compares in portions."""
    tally = Tally(name, show)
    portion = []

    def flush():
        for case, answer in zip(portion, ours.render(portion)):
            label, key, where, variables = case
            source = where if key == "source" else pathlib.Path(where).read_text(encoding="utf-8")
            tally.add(label, reference.render(source, variables), answer, variables)
        portion.clear()

    for case in cases:
        portion.append(case)
        if len(portion) == 5000:
            flush()
    flush()
    tally.print()
    return tally


def template_files(data):
    return sorted((data / "templates" / "llama.cpp").glob("*.jinja")) + \
        sorted((data / "templates" / "ollama").glob("*.jinja2"))


def conversation_cases(rng, data, n, each):
    files = template_files(data)
    if not files:
        return []
    chats = [conversation(rng) for _ in range(n)]
    if each:
        return [(f"{f.name} #{i}", "path", str(f), chat)
                for f in files for i, chat in enumerate(chats)]
    return [(f"{files[i % len(files)].name} #{i}", "path", str(files[i % len(files)]), chat)
            for i, chat in sorted(enumerate(chats), key=lambda pair: pair[0] % len(files))]


def expression_cases(rng, n):
    for i in range(n):
        source = "{{ " + expression(rng) + " }}"
        if re.search(r"(keys|items)\(\).* - \(|\) - \(.*(keys|items)\(\)", source):
            continue  # sets, which templates have no other way to make
        yield source, "source", source, VARIABLES


def statement_cases(rng, n):
    for i in range(n):
        source = block(rng, 0)
        yield repr(source), "source", source, VARIABLES


def fnv(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return f"{h:016x}"


def write_golden(path, seed, data, reference):
    """Rows for test_golden.c: the text of ours alone, of published templates its length and hash."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as out:
        def row(**fields):
            out.write(json.dumps(fields, ensure_ascii=False) + "\n")
        row(**VARIABLES)
        for name, cases in (("expression", expression_cases(rng, 260)),
                            ("statement", statement_cases(rng, 60))):
            for label, _, source, variables in cases:
                kind, result = reference.render(source, variables)
                if kind == "text" and " at 0x" in result.lower():
                    continue
                row(**{"source": source, kind: result if kind == "text" else True})
        files = template_files(data)
        for i in range(2 * len(files)):
            f = files[i % len(files)]
            variables = conversation(rng)
            kind, result = reference.render(f.read_text(encoding="utf-8"), variables)
            name = str(f.relative_to(data / "templates"))
            if kind == "text":
                row(template=name, vars=variables, n=len(result.encode()), fnv=fnv(result.encode()))
            else:
                row(template=name, vars=variables, error=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("data", type=pathlib.Path)
    soak = bool(os.environ.get("LLLM_SOAK"))
    parser.add_argument("--conversations", type=int, default=2000 if soak else 100)
    parser.add_argument("--expressions", type=int, default=200000 if soak else 3000)
    parser.add_argument("--statements", type=int, default=20000 if soak else 500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", action="store_true", default=soak)
    parser.add_argument("--show", type=int, default=20)
    parser.add_argument("--golden")
    o = parser.parse_args()
    data = pathlib.Path(os.environ.get("LLLM_TEST_DATA") or o.data)
    reference, ours = Reference(), Ours(o.program)
    if o.golden:
        write_golden(o.golden, o.seed, data, reference)
        return 0
    print(f"jinja2 {jinja2.__version__}, seed {o.seed}")
    if not template_files(data):
        print(f"no templates in {data}: the conversations are left out")
    different = 0
    for name, cases in (
            ("conversations", conversation_cases(random.Random(o.seed), data, o.conversations, o.each)),
            ("expressions", expression_cases(random.Random(o.seed + 1), o.expressions)),
            ("statements", statement_cases(random.Random(o.seed + 2), o.statements))):
        different += run(name, cases, reference, ours, o.show).different
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
