#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_table.c: the class of every Unicode character, as the pre-tokenizers'
patterns see them.

    python3 scripts/make_unicode_classes.py UNICODE_DATA SCRIPTS AGES > src/tokenizer/unicode_table.c

These are UnicodeData.txt, Scripts.txt and DerivedAge.txt of the Unicode Character Database (Debian's
package unicode-data has them), any version from 10 on. "-" for the first takes the table of Python's
unicodedata2 package (or, failing that, of Python itself), which may be newer; "-" for the second the
ranges below.

A class is a general category, with marks: white space among the control characters, Han among the
others, and, for marks, punctuation and format characters, that they came in Unicode 9 or later: the
libraries with which models prepare text know those as unassigned. The vocabularies were made with
the categories of their time. Where a later version has moved a character, the table keeps it where
it was.
"""
import sys

CATEGORIES = ("Cn Cc Cf Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl "
              "Zp Zs").split()
SPACE_CONTROLS = set(range(9, 14)) | {0x85}
MOVED = {0x295: "Ll", 0x1171E: "Mc"}
HAN = [(0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007),
       (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D),
       (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3), (0x16FF0, 0x16FF6), (0x20000, 0x33479)]
BLOCK = 128
TAGS = 0xE0000, 0xE0200  # the one plane with few characters


def categories_of_file(path):
    table, first = ["Cn"] * 0x110000, None
    for line in open(path, encoding="ascii"):
        fields = line.split(";")
        code, name, category = int(fields[0], 16), fields[1], fields[2]
        if name.endswith(", First>"):
            first = code
        elif name.endswith(", Last>"):
            table[first:code + 1] = [category] * (code + 1 - first)
        else:
            table[code] = category
    return table


def categories_of_python():
    try:
        import unicodedata2 as unicodedata
    except ImportError:
        import unicodedata
    print(f"categories of Unicode {unicodedata.unidata_version}", file=sys.stderr)
    return [unicodedata.category(chr(code)) for code in range(0x110000)]


def han_of_file(path):
    ranges = []
    for line in open(path, encoding="utf-8"):
        fields = line.split("#")[0].split(";")
        if len(fields) == 2 and fields[1].strip() == "Han":
            ends = [int(end, 16) for end in fields[0].strip().split("..")]
            ranges.append((ends[0], ends[-1]))
    return ranges


def ages_of_file(path):
    """1 for what came in Unicode 9, 0 before, 2 after (and for what the file does not know)."""
    late = [2] * 0x110000
    for line in open(path, encoding="utf-8"):
        fields = line.split("#")[0].split(";")
        if len(fields) == 2:
            ends = [int(end, 16) for end in fields[0].strip().split("..")]
            major = int(fields[1].strip().split(".")[0])
            for code in range(ends[0], ends[-1] + 1):
                late[code] = 0 if major < 9 else 1 if major == 9 else 2
    return late


def main():
    table = categories_of_python() if sys.argv[1] == "-" else categories_of_file(sys.argv[1])
    han = HAN if sys.argv[2] == "-" else han_of_file(sys.argv[2])
    for code, category in MOVED.items():
        table[code] = category
    for code in SPACE_CONTROLS:
        table[code] += "+space"
    for start, end in han:
        for code in range(start, end + 1):
            if table[code] != "Cn":
                table[code] += "+Han"
    late = ages_of_file(sys.argv[3])
    for code, category in enumerate(table):
        if (category[0] in "MP" or category[:2] == "Cf") and late[code]:
            table[code] += "+" + str(late[code])

    # A class is a letter: 'A' is 0, ..., 'Z' 25, then (so that none needs an escape) 'a' 32, ...
    names = CATEGORIES + sorted(set(table) - set(CATEGORIES))
    letters = [chr(ord("A") + i if i < 26 else ord("a") + i - 26) for i in range(len(names))]
    letter_of = dict(zip(names, letters))

    limit = max(code for code in range(TAGS[0]) if table[code] != "Cn") // BLOCK * BLOCK + BLOCK
    for code in range(0x110000):
        if not (code < limit or TAGS[0] <= code < TAGS[1]):
            private = code >= 0xF0000 and code & 0xFFFE != 0xFFFE
            assert table[code] == ("Co" if private else "Cn"), hex(code)
    starts = list(range(0, limit, BLOCK)) + list(range(*TAGS, BLOCK))
    blocks, numbers = {}, []
    for start in starts:
        text = "".join(letter_of[name] for name in table[start:start + BLOCK])
        numbers.append(blocks.setdefault(text, len(blocks)))
    assert len(blocks) <= 65536 and len(names) <= 26 + 32

    out = sys.stdout
    out.write("/* unicode_table.c: written by scripts/make_unicode_classes.py; see there. */\n")
    out.write("// clang-format off\n")
    out.write('#include "tokenizer/unicode.h"\n\n')
    out.write("const struct unicode_class_row unicode_classes[UNICODE_N_CLASSES] = {\n")
    for name, letter in zip(names, letters):
        category, *marks = name.split("+")
        space = "space" in marks or category.startswith("Z")
        age = 2 if "2" in marks else 1 if "1" in marks else 0
        out.write(f'    [\'{letter}\' - \'A\'] = {{"{category}", {str(space).lower()}, '
                  f'{str("Han" in marks).lower()}, {age}}},\n')
    out.write("};\n\n")
    out.write(f"const uint32_t unicode_limit = {limit:#x};\n\n")
    out.write(f"const uint16_t unicode_blocks[{len(numbers)}] = {{\n")
    for i in range(0, len(numbers), 24):
        out.write("    " + " ".join(f"{n}," for n in numbers[i:i + 24]) + "\n")
    out.write("};\n\n")
    out.write(f"const char unicode_block_classes[{len(blocks)}][{BLOCK} + 1] = {{\n")
    for text in blocks:
        out.write(f'    "{text}",\n')
    out.write("};\n")


if __name__ == "__main__":
    main()
