#!/usr/bin/env python3
"""Random schemas, and those of the test suite, against the jsonschema package.

    compare_jsonschema.py SCHEMA_LINES DATA [--count N] [--seed K]

For each schema: instances that it may or may not allow are accepted by the grammar exactly where
jsonschema finds them valid, and what a blind model says under the grammar's masks is valid. Half of
the schemas combine keywords, applicators beside unevaluated* above all. Skipped (exit code 77)
without the package. LLLM_SOAK=1: many more."""
import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
from fractions import Fraction

try:
    import jsonschema
    from jsonschema import Draft202012Validator
except ImportError:
    print("# no package jsonschema: skipped")
    sys.exit(77)



def multiple_of(validator, divisor, instance, schema):
    """Exact: the package divides doubles, by which 51372451372910195 is a multiple of 1.5."""
    if validator.is_type(instance, "number") and Fraction(repr(instance)) % Fraction(repr(divisor)):
        yield jsonschema.ValidationError("no multiple")


Validator = jsonschema.validators.extend(Draft202012Validator, {"multipleOf": multiple_of})
SOAK = bool(os.environ.get("LLLM_SOAK"))
NAMES = ["a", "b", "ab", "x-a", "kind"]
TEXTS = ["", "a", "b", "ab", "aab", "x-a", "kind", "é", "\U0001f4a9", "a\"b", "1"]
NUMBERS = [0, 1, -1, 2, 3, 5, 6, 10, 12, 0.5, -0.5, 1.5, 2.0, -3, 7, 100, 99.75, -12]
# What doubles and 64 bits would change; the package compares whole numbers exactly.
LONG = [9007199254740992, 9007199254740993, 18446744073709551615, 18446744073709551616, -9223372036854775809]
# More figures than are written of other numbers: as doubles have them.
FRACTIONS = [3.141592653589793, 0.30000000000000004, 1732255200.1234562, -2.718281828459045]
LONG_FRACTION = re.compile(r"[0-9.]{17}")
PATTERNS = ["^a", "b$", "^x-", "a+b", "^[ab]*$", "^.{2}$", "[^a]"]


class Schemas:
    """Schemas of a few keywords each, nested some levels."""

    def __init__(self, rng):
        self.rng = rng
        self.defs = 0

    def some(self, pool, most=3):
        return self.rng.sample(pool, self.rng.randint(1, min(most, len(pool))))

    def number(self):
        return self.rng.choice(LONG if self.rng.random() < 0.1 else NUMBERS)

    def value(self, depth):
        kind = self.rng.randint(0, 8 if depth else 6)
        if kind < 2:
            return self.rng.choice(TEXTS)
        if kind < 4:
            return self.rng.choice(FRACTIONS) if self.rng.random() < 0.1 else self.number()
        if kind < 7:
            return self.rng.choice([None, True, False])
        if kind == 7:
            return [self.value(depth - 1) for _ in range(self.rng.randint(0, 3))]
        return {name: self.value(depth - 1) for name in self.rng.sample(NAMES, self.rng.randint(0, 3))}

    def scalar_keywords(self, s):
        rng = self.rng
        kind = rng.randint(0, 8)
        if kind == 0:
            s["type"] = rng.choice(["string", "number", "integer", "null", "boolean", "object", "array"])
        elif kind == 1:
            s["type"] = self.some(["string", "number", "integer", "null", "boolean", "object", "array"])
        elif kind == 2:
            s["enum"] = [self.value(1) for _ in range(rng.randint(1, 4))]
        elif kind == 3:
            s["const"] = self.value(2)
        elif kind == 4:
            s[rng.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])] = self.number()
        elif kind == 5:
            s["multipleOf"] = rng.choice([1, 2, 3, 0.5, 7, 1.5])
        elif kind == 6:
            s[rng.choice(["minLength", "maxLength"])] = rng.randint(0, 3)
        elif kind == 7:
            s["pattern"] = rng.choice(PATTERNS)

    def part_keywords(self, s, depth):
        rng = self.rng
        kind = rng.randint(0, 12)
        if kind < 3:
            s["properties"] = {name: self.schema(depth - 1) for name in self.some(NAMES)}
        elif kind == 3:
            s["additionalProperties"] = rng.choice([False, self.schema(depth - 1)])
        elif kind == 4:
            s["patternProperties"] = {p: self.schema(depth - 1) for p in self.some(PATTERNS, 2)}
        elif kind == 5:
            s["required"] = self.some(NAMES, 2)
        elif kind == 6:
            s[rng.choice(["minProperties", "maxProperties"])] = rng.randint(0, 3)
        elif kind == 7:
            s["dependentRequired"] = {rng.choice(NAMES): self.some(NAMES, 2)}
        elif kind == 8:
            s["items"] = self.schema(depth - 1)
        elif kind == 9:
            s["prefixItems"] = [self.schema(depth - 1) for _ in range(rng.randint(1, 2))]
        elif kind == 10:
            s["contains"] = self.schema(depth - 1)
            if rng.random() < 0.5:
                s[rng.choice(["minContains", "maxContains"])] = rng.randint(0, 2)
        elif kind == 11:
            s[rng.choice(["minItems", "maxItems"])] = rng.randint(0, 3)
        else:
            s["propertyNames"] = {rng.choice(["pattern", "pattern"]): rng.choice(PATTERNS)}

    def schema(self, depth):
        rng = self.rng
        if rng.random() < 0.05:
            return rng.choice([True, True, False])
        s = {}
        for _ in range(rng.randint(1, 2)):
            if depth > 0 and rng.random() < 0.6:
                self.part_keywords(s, depth)
            else:
                self.scalar_keywords(s)
        if depth > 0 and rng.random() < 0.35:
            kind = rng.randint(0, 7)
            if kind < 3:
                s[["anyOf", "oneOf", "allOf"][kind]] = [self.schema(depth - 1) for _ in range(rng.randint(1, 3))]
            elif kind == 3:
                s["not"] = self.schema(depth - 1)
            elif kind == 4:
                s["if"], s["then"] = self.schema(depth - 1), self.schema(depth - 1)
                if rng.random() < 0.5:
                    s["else"] = self.schema(depth - 1)
            elif kind == 5:
                s["dependentSchemas"] = {rng.choice(NAMES): self.schema(depth - 1)}
            elif kind == 6:
                s["unevaluatedProperties"] = rng.choice([False, self.schema(depth - 1)])
            else:
                s["unevaluatedItems"] = rng.choice([False, self.schema(depth - 1)])
        if depth > 1 and rng.random() < 0.1:
            s["$defs"] = {"d": self.schema(depth - 1)}
            s.setdefault("properties", {})["a"] = {"$ref": "#/$defs/d" if depth == self.depth else "#"}
        return s

    def root(self, depth):
        self.depth = depth
        return self.schema(depth)


class Combined(Schemas):
    """Schemas of objects or of arrays in which several keywords stand side by side, applicators beside unevaluated*
    above all, over so few names and values that instances are as often valid as not."""
    NAMES = ["a", "b", "c"]
    VALUES = [1, 2, True]
    LEAVES = [True, False, {"const": 1}, {"const": 2}, {"enum": [1, True]}, {"type": "integer"}, {"type": "boolean"},
              {"minimum": 2}]
    PATTERNS = ["^a", "[bc]", "^[ab]$"]

    def __init__(self, rng):
        super().__init__(rng)
        self.of_objects = rng.random() < 0.5
        self.definitions = []

    def leaf(self):
        return self.rng.choice(self.LEAVES)

    def part(self, depth):
        """What an item or a member is: now and then a container itself."""
        return self.schema(depth - 2) if depth > 1 and self.rng.random() < 0.15 else self.leaf()

    def instance(self, deep=True):
        rng = self.rng
        one = lambda: self.instance(False) if deep and rng.random() < 0.1 else rng.choice(self.VALUES)
        if rng.random() < 0.03:
            return rng.choice(self.VALUES)
        if self.of_objects:
            return {name: one() for name in rng.sample(self.NAMES, rng.randint(0, 3))}
        return [one() for _ in range(rng.randint(0, 4))]

    def object_keyword(self, s, depth):
        rng = self.rng
        kind = rng.randint(0, 9)
        if kind < 3:
            s["properties"] = {name: self.part(depth) for name in self.some(self.NAMES, 2)}
        elif kind == 3:
            s["required"] = self.some(self.NAMES, 2)
        elif kind == 4:
            s["additionalProperties"] = self.part(depth)
        elif kind == 5:
            s["patternProperties"] = {rng.choice(self.PATTERNS): self.part(depth)}
        elif kind == 6:
            s["maxProperties"] = rng.randint(0, 3)
        elif kind == 7:
            s["minProperties"] = rng.randint(0, 3)
        elif kind == 8:
            s["propertyNames"] = rng.choice([{"enum": self.some(self.NAMES)}, {"pattern": rng.choice(self.PATTERNS)}])
        else:
            s["dependentRequired"] = {rng.choice(self.NAMES): self.some(self.NAMES, 1)}

    def array_keyword(self, s, depth):
        rng = self.rng
        kind = rng.randint(0, 8)
        if kind < 3:
            s["prefixItems"] = [self.part(depth) for _ in range(rng.randint(1, 2))]
        elif kind < 5:
            s["items"] = self.part(depth)
        elif kind == 5:
            s["contains"] = self.leaf()
            if rng.random() < 0.6:
                s[rng.choice(["minContains", "maxContains"])] = rng.randint(0, 2)
        else:
            s[rng.choice(["minItems", "maxItems"])] = rng.randint(0, 3)

    def applicator(self, s, depth):
        rng = self.rng
        kind = rng.randint(0, 6 if self.of_objects else 5)
        if kind < 3:
            s[["anyOf", "oneOf", "allOf"][kind]] = [self.schema(depth - 1) for _ in range(rng.randint(1, 3))]
        elif kind == 3:
            s["not"] = self.schema(depth - 1)
        elif kind == 4:
            s["if"] = self.schema(depth - 1)
            for keyword in rng.choice([[], ["then"], ["else"], ["then", "else"]]):
                s[keyword] = self.schema(depth - 1)
        elif kind == 5:
            s["$ref"] = f"#/$defs/{self.define(self.schema(depth - 1))}"
        else:
            s["dependentSchemas"] = {rng.choice(self.NAMES): self.schema(depth - 1)}

    def define(self, schema):
        self.definitions.append(schema)
        return len(self.definitions) - 1

    def schema(self, depth):
        rng = self.rng
        if rng.random() < 0.04:
            return rng.choice([True, False])
        s = {}
        for _ in range(rng.choice([0, 1, 1, 2] if depth > 0 else [1, 1, 2])):
            (self.object_keyword if self.of_objects else self.array_keyword)(s, depth)
        if depth > 0:
            for _ in range(rng.choice([0, 1, 1, 2])):
                self.applicator(s, depth)
        if rng.random() < 0.4:
            s["unevaluatedProperties" if self.of_objects else "unevaluatedItems"] = self.part(depth)
        return s

    def root(self, depth):
        s = self.schema(depth)
        if isinstance(s, dict) and self.definitions:
            s["$defs"] = {str(i): one for i, one in enumerate(self.definitions)}
        return s


def is_valid(schema, value):
    try:
        return Validator(schema).is_valid(value)
    except RecursionError:
        return None
    except Exception as e:  # a reference that the package cannot resolve
        return None


def spelled(rng, value):
    kind = rng.randint(0, 2)
    if kind == 0:
        return json.dumps(value, separators=(",", ":"))
    return json.dumps(value) if kind == 1 else json.dumps(value, ensure_ascii=False)


class Program:
    def __init__(self, path, vocabulary):
        self.process = subprocess.Popen([path] + ([vocabulary] if vocabulary else []), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def ask(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"schema_lines ended at {json.dumps(question['schema'])}")
        return json.loads(line)


def check(program, rng, schema, values, walks, figures, annotates=True):
    texts = [spelled(rng, v) for v in values]
    answer = program.ask({"schema": json.dumps(schema), "texts": texts, "walks": walks, "seed": rng.randint(1, 1 << 30),
                          "format_annotates": annotates})
    wrong = []
    if "error" in answer:
        nothing = "nothing satisfies" in answer["error"] or "no value satisfies" in answer["error"]
        figures["nothing" if nothing else "refused"] += 1
        figures["why"].setdefault(answer["error"].split(": ", 1)[-1][:60], schema)
        if nothing and re.match(r"#(/\w+)?:", answer["error"]) and any(is_valid(schema, v) for v in values):
            wrong.append(("nothing", answer["error"]))
        return wrong
    figures["held"] += 1
    for value, text, accepted, bounded in zip(values, texts, answer["accepted"], answer["bounded"]):
        if accepted is None or bounded is None:
            figures["complex"] += 1
            continue
        if bounded != accepted and (bounded or not LONG_FRACTION.search(text)):
            wrong.append((text, f"{'taken' if bounded else 'refused'} with bounds alone"))
        valid = is_valid(schema, value)
        figures["instances"] += valid is not None
        figures["valid"] += bool(valid)
        if valid is not None and valid != accepted:
            wrong.append((text, "valid" if valid else "invalid"))
    for text in answer["walks"]:
        if text is None:
            figures["unfinished"] += 1
        elif isinstance(text, dict) and "too ambiguous" in text.get("why", ""):
            figures["complex"] += 1
        elif isinstance(text, dict):
            wrong.append((json.dumps(text), "stuck"))
        else:
            value = json.loads(text)
            figures["walks"] += 1
            if is_valid(schema, value) is False:
                wrong.append((text, "said"))
    return wrong


def suite_groups(data):
    for path in sorted((data / "jsonschema/tests/draft2020-12").glob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            schema = group["schema"]
            if isinstance(schema, dict) and "localhost" in json.dumps(schema):
                continue
            yield path.stem, group


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("--count", type=int, default=20000 if SOAK else 200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--walks", type=int, default=3 if SOAK else 1, help="answers of a blind model for each schema")
    args = p.parse_args()
    data = pathlib.Path(os.environ.get("LLLM_TEST_DATA", args.data))
    vocabulary = data / "tokenizers/ggml-vocab-gpt-2.gguf"
    program = Program(args.program, str(vocabulary) if vocabulary.exists() else None)
    failures = 0
    rng = random.Random(args.seed)

    def report(name, schema, wrong):
        nonlocal failures
        failures += bool(wrong)
        for text, what in wrong[:3]:
            print(f"# {name}: {json.dumps(schema)}: {text} is {what}")

    def fresh():
        return {"held": 0, "nothing": 0, "refused": 0, "instances": 0, "valid": 0, "walks": 0,
                "unfinished": 0, "complex": 0, "why": {}}

    figures = fresh()
    for name, group in suite_groups(data):
        values = [t["data"] for t in group["tests"]]
        # The package's verdict counts here, so that walks are judged by it alone.
        wrong = check(program, rng, group["schema"], [], args.walks, figures)
        report(f"{name}: {group['description']}", group["schema"], wrong)
    print(f"# suite: {figures['held']} held, {figures['walks']} answers of a blind model valid, "
          f"{figures['unfinished']} not finished")
    for name in ["random", "combined"]:
        figures = fresh()
        for i in range(args.count):
            if name == "random":
                s = Schemas(rng)
                schema = s.root(rng.randint(0, 3))
                values = [s.value(3) for _ in range(12)]
            else:
                s = Combined(rng)
                schema = s.root(rng.randint(1, 2))
                values = [s.instance() for _ in range(16)]
            report(f"{name} {i}", schema, check(program, rng, schema, values, args.walks, figures))
            if failures > 10:
                break
        print(f"# {name}: {figures['held']} held, {figures['nothing']} empty, {figures['refused']} refused; "
              f"{figures['instances']} instances compared, {figures['valid']} of them valid; "
              f"{figures['walks']} answers valid, {figures['unfinished']} not finished; "
              f"{figures['complex']} instances and answers too ambiguous to follow")
        if os.environ.get("LLLM_VERBOSE"):
            for why, schema in figures["why"].items():
                print(f"#   {why}: {json.dumps(schema)[:300]}")
    program.process.stdin.close()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
