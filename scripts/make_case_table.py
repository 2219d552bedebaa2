#!/usr/bin/env python3
"""Prints src/chat/case_table.inc: the characters whose upper or title case is several characters, and
the digits and numbers that their category does not tell, as Python's Unicode data (UnicodeData.txt
and SpecialCasing.txt) have them.

  python3 scripts/make_case_table.py > src/chat/case_table.inc
"""
import unicodedata


def literal(text):
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def ranges(name, comment, wanted):
    """A C array of [first, last] pairs of the code points for which wanted(character) is true."""
    found = []
    for cp in range(0x110000):
        if not 0xd800 <= cp < 0xe000 and wanted(chr(cp)):
            if found and found[-1][1] == cp - 1:
                found[-1][1] = cp
            else:
                found.append([cp, cp])
    pairs = ", ".join(f"{{0x{a:04x}, 0x{b:04x}}}" for a, b in found)
    return f"/* {comment} */\nstatic const uint32_t {name}[][2] = {{{pairs}}};"


rows = []
for cp in range(0x110000):
    if not 0xd800 <= cp < 0xe000:
        c = chr(cp)
        if len(c.upper()) > 1 or len(c.title()) > 1:
            rows.append(f"    {{0x{cp:04x}, {literal(c.upper())}, {literal(c.title())}}},")
print(f"""/* case_table.inc: characters whose upper or title case is several characters, from Unicode
 * {unicodedata.unidata_version} by scripts/make_case_table.py. Sorted by code point. */
/* clang-format off */
static const struct case_row {{
    uint32_t c;
    const char *upper, *title; /* UTF-8 */
}} case_rows[] = {{""")
print("\n".join(rows))
print("};\n/* clang-format on */\n")
print(ranges("digit_ranges", "str.isdigit() and not str.isdecimal()",
             lambda c: c.isdigit() and not c.isdecimal()))
print(ranges("numeric_ranges", "str.isnumeric() without category N*",
             lambda c: c.isnumeric() and unicodedata.category(c)[0] != "N"))
