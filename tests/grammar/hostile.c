#include "hostile.h"

#include <string.h>

#include "grammar/schema.h"

/* ---- regular expressions ---- */

#define FIXED(name, text)                                                                          \
    static void name(struct buf *to, int n)                                                        \
    {                                                                                              \
        (void)n;                                                                                   \
        buf_append_str(to, text);                                                                  \
    }

FIXED(optional_counts, "((a?){500}){500}")
FIXED(optional_then_counts, "(a?){500}a{500}")
FIXED(counts_of_counts, "((a{1,30}){1,30}b?){1,30}c")
FIXED(stars_of_stars, "((a*)*b*)*c")
FIXED(two_ways, "(a|aa|aaa|aaaa)+b")
FIXED(any_of_any, "(.{1,200}){1,200}x")
FIXED(far_behind, ".*[ab].{40}c")
FIXED(far_and_counted, "(.*a.{3,60}b){3,60}")
FIXED(words_of_words, "((\\w+ ?)+\\.? ?)+!")
FIXED(counts_four_deep, "(((a{0,1000}b?){0,1000}c?){0,1000}){0,1000}")
FIXED(categories, "((\\p{L}|\\p{N}|[^\\p{Lu}x])+\\p{P}?){2,99}(\\P{Ll}{3,77})+")

static void many_stars(struct buf *to, int n)
{
    for (int i = 0; i < n; i++) {
        buf_printf(to, "[a-z]*%c?", 'a' + i % 26);
    }
}

static void many_words(struct buf *to, int n)
{
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s.*w%d.*", i ? "|" : "", i);
    }
}

/* ---- GBNF ---- */

FIXED(nested_optional, "root ::= x{0,500} \"c\"\nx ::= (y | \"b\" x)?\ny ::= \"a\" (y \"c\")?\n")
FIXED(two_sides, "root ::= s\ns ::= \"a\" s \"a\" | \"a\" s \"aa\" | \"\" | \"a\" s s\n")
FIXED(open_brackets, "root ::= x\nx ::= (\"a\" x \"b\" | \"a\" x \"c\" | \"a\" x \"d\" | \"a\")+\n")

static void many_rules(struct buf *to, int n)
{
    buf_append_str(to, "root ::= r0\n");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "r%d ::= \"a\" r%d? \"b\"? | \"a\" r%d \"c\"\n", i, (i + 1) % n,
                   (i + 7) % n);
    }
}

static void many_stacks(struct buf *to, int n)
{
    buf_append_str(to, "root ::= ");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%sx%d", i ? " | " : "", i);
    }
    for (int i = 0; i < n; i++) {
        buf_printf(to, "\nx%d ::= [a-z ] x%d [a-z ] | [a-z ]{%d}", i, i, i + 1);
    }
    buf_append_char(to, '\n');
}

/* ---- schemas ---- */

static void some_required(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"object\", \"required\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"key %d\"", i ? ", " : "", i);
    }
    buf_append_str(to, "]}");
}

static void required_properties(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"object\", \"properties\": {");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"key %d\": {\"type\": \"integer\", \"minimum\": %d}", i ? ", " : "", i,
                   i % 50);
    }
    buf_append_str(to, "}, \"additionalProperties\": {\"type\": \"string\"}, \"required\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"key %d\"", i ? ", " : "", i);
    }
    buf_append_str(to, "]}");
}

static void few_of_many(struct buf *to, int n)
{
    required_properties(to, n);
    to->len--;
    buf_printf(to, ", \"maxProperties\": %d}", n);
}

static void chain_of_needs(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"object\", \"dependentRequired\": {");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"k%d\": [\"k%d\"]", i ? ", " : "", i, i + 1);
    }
    buf_append_str(to, "}}");
}

static void all_need_all(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"object\", \"dependentRequired\": {");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"k%d\": [", i ? ", " : "", i);
        for (int j = 0; j < n; j++) {
            buf_printf(to, "%s\"k%d\"", j ? ", " : "", j);
        }
        buf_append_str(to, "]");
    }
    buf_append_str(to, "}}");
}

static void enum_texts(struct buf *to, int n)
{
    buf_append_str(to, "{\"enum\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"%x of %d\"", i ? ", " : "", (unsigned)i * 2654435761u, i);
    }
    buf_append_str(to, "]}");
}

static void enum_numbers(struct buf *to, int n)
{
    buf_append_str(to, "{\"enum\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s%d.%d", i ? ", " : "", i, i % 7);
    }
    buf_append_str(to, "]}");
}

static void enum_objects(struct buf *to, int n)
{
    buf_append_str(to, "{\"enum\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s{\"a\": %d, \"b\": [%d]}", i ? ", " : "", i, i % 9);
    }
    buf_append_str(to, "]}");
}

static void not_enum(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"string\", \"not\": ");
    enum_texts(to, n);
    buf_append_str(to, "}");
}

static void counted_patterns(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"string\", \"allOf\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s{\"pattern\": \"^(a{%d,%d}|b[ac]{%d,%d})*$\"}", i ? ", " : "", i + 2,
                   500 - 7 * i, i + 3, 300 - 5 * i);
    }
    buf_append_str(to, "]}");
}

static void searched_patterns(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"string\", \"allOf\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s{\"pattern\": \"%c.{%d}%c\"}", i ? ", " : "", 'a' + i % 26, i + 3,
                   'b' + i % 25);
    }
    buf_append_str(to, "]}");
}

static void contradicting_counts(struct buf *to, int n)
{
    (void)n;
    buf_append_str(
        to, "{\"type\": \"string\", \"allOf\": [{\"pattern\": \"^(.{97})*$\"}, {\"pattern\": "
            "\"^(.{101})*.$\"}, {\"pattern\": \"^(.{103})*..$\"}]}");
}

static void any_of_objects(struct buf *to, int n)
{
    buf_append_str(to, "{\"anyOf\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to,
                   "%s{\"type\": \"object\", \"properties\": {\"kind\": {\"type\": \"string\", "
                   "\"pattern\": \"^k.*%d\"}, \"v%d\": {\"type\": \"integer\"}}, \"required\": "
                   "[\"kind\"]}",
                   i ? ", " : "", i, i);
    }
    buf_append_str(to, "]}");
}

static void one_of_patterns(struct buf *to, int n)
{
    buf_append_str(to, "{\"oneOf\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s{\"type\": \"string\", \"pattern\": \"x%d+y\"}", i ? ", " : "", i);
    }
    buf_append_str(to, "]}");
}

static void any_of_products(struct buf *to, int n)
{
    buf_append_str(to, "{\"allOf\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s{\"anyOf\": [{\"required\": [\"a%d\"]}, {\"required\": [\"b%d\"]}]}",
                   i ? ", " : "", i, i);
    }
    buf_append_str(to, "]}");
}

static void formats(struct buf *to, int n)
{
    (void)n;
    buf_append_str(to,
                   "{\"anyOf\": [{\"format\": \"date-time\"}, {\"format\": \"ipv6\"}, {\"format\": "
                   "\"uri\"}, {\"format\": \"email\"}, {\"format\": \"uuid\"}, {\"format\": "
                   "\"hostname\"}], \"type\": \"string\"}");
}

static void pattern_families(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"object\", \"patternProperties\": {");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s\"[a-%c].*%d\": {\"minimum\": %d}", i ? ", " : "", 'b' + i % 25, i, i);
    }
    buf_append_str(to, "}}");
}

static void remainders(struct buf *to, int n)
{
    (void)n;
    buf_append_str(to,
                   "{\"type\": \"number\", \"multipleOf\": 4093, \"minimum\": -1e15, \"maximum\": "
                   "123456789012345, \"not\": {\"multipleOf\": 4091}}");
}

static void unique_values(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"array\", \"uniqueItems\": true, \"items\": ");
    enum_texts(to, n);
    buf_append_str(to, "}");
}

static void counted_items(struct buf *to, int n)
{
    buf_printf(to,
               "{\"type\": \"array\", \"contains\": {\"type\": \"integer\"}, \"minContains\": %d, "
               "\"maxContains\": %d, \"items\": {\"anyOf\": [{\"type\": \"integer\"}, {\"type\": "
               "\"number\"}, {\"type\": \"array\", \"items\": {\"$ref\": \"#\"}}]}}",
               n, 2 * n);
}

static void prefix_items(struct buf *to, int n)
{
    buf_append_str(to, "{\"type\": \"array\", \"prefixItems\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "%s{\"minimum\": %d}", i ? ", " : "", i);
    }
    buf_append_str(to, "]}");
}

static void nested_any_of(struct buf *to, int n)
{
    for (int i = 0; i < n; i++) {
        buf_printf(to, "{\"anyOf\": [{\"type\": \"object\", \"properties\": {\"p%d\": ", i);
    }
    buf_append_str(to, "true");
    for (int i = 0; i < n; i++) {
        buf_append_str(to, "}}, {\"type\": [\"object\", \"array\"], \"maxProperties\": 3}]}");
    }
}

static void doubled_references(struct buf *to, int n)
{
    buf_append_str(to, "{\"$ref\": \"#/$defs/a0\", \"$defs\": {");
    for (int i = 0; i < n; i++) {
        buf_printf(to, "\"a%d\": {\"allOf\": [{\"$ref\": \"#/$defs/a%d\"}, ", i, i + 1);
        buf_printf(to, "{\"$ref\": \"#/$defs/a%d\"}]}, ", i + 1);
    }
    buf_printf(to, "\"a%d\": {\"type\": \"null\"}}}", n);
}

static void plain_objects(struct buf *to, int n)
{
    buf_append_str(to, "{\"anyOf\": [");
    for (int i = 0; i < n; i++) {
        buf_printf(
            to,
            "%s{\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"k%d\"}, \"a%d\": "
            "{\"type\": \"string\"}, \"b\": {}}, \"required\": [\"kind\", \"b\"], "
            "\"additionalProperties\": false}",
            i ? ", " : "", i, i);
    }
    buf_append_str(to, "]}");
}

static void anything(struct buf *to, int n)
{
    (void)n;
    buf_append_str(to, "{}");
}

/* clang-format off */
const struct hostile hostile_forms[] = {
    {"regex ((a?){500}){500}", HOSTILE_REGEX, optional_counts, 0, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"regex (a?){500}a{500}", HOSTILE_REGEX, optional_then_counts, 0, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"regex ((a{1,30}){1,30}b?){1,30}c", HOSTILE_REGEX, counts_of_counts, 0, "aaaaaaaaaaaaaaaaaaaaabaaaaaaaa"},
    {"regex ((a*)*b*)*c", HOSTILE_REGEX, stars_of_stars, 0, "aaaaaaabbbbbaaabbbaaa"},
    {"regex (a|aa|aaa|aaaa)+b", HOSTILE_REGEX, two_ways, 0, "aaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"regex (.{1,200}){1,200}x", HOSTILE_REGEX, any_of_any, 0, NULL},
    {"regex .*[ab].{40}c", HOSTILE_REGEX, far_behind, 0, "abcdababbbcbabadbabdbabddbaabbdbabdbabd"},
    {"regex (.*a.{3,60}b){3,60}", HOSTILE_REGEX, far_and_counted, 0, "abababaaabbabababaabababbabab"},
    {"regex ((\\w+ ?)+\\.? ?)+!", HOSTILE_REGEX, words_of_words, 0, "these are words. and these"},
    {"regex (((a{0,1000}b?){0,1000}c?)...", HOSTILE_REGEX, counts_four_deep, 0, "aabcabc"},
    {"regex of categories", HOSTILE_REGEX, categories, 0, NULL},
    {"regex [a-z]*a?[a-z]*b?... of 400", HOSTILE_REGEX, many_stars, 400, "abcabcabc"},
    {"regex .*w1.*|.*w2.*... of 1,000", HOSTILE_REGEX, many_words, 1000, "ww1w2w3w4w77"},
    {"GBNF optional in optional", HOSTILE_GBNF, nested_optional, 0, "aaaaaabbbbaa"},
    {"GBNF two sides", HOSTILE_GBNF, two_sides, 0, "aaaaaaaaaaaaaaaaaaa"},
    {"GBNF open brackets", HOSTILE_GBNF, open_brackets, 0, "aaaaaaaaaaaaaaaaaaaaaaa"},
    {"GBNF 2,000 rules in a ring", HOSTILE_GBNF, many_rules, 2000, "aaaaaaaaaaaa"},
    {"GBNF 300 stacks", HOSTILE_GBNF, many_stacks, 300, "and so on"},
    {"10,000 required keys", HOSTILE_SCHEMA, some_required, 10000, "{\"key 7\": 1, \"key 8\": 2, \""},
    {"60,000 required keys", HOSTILE_SCHEMA, some_required, 60000, "{\"key 7\": 1, \"key 8\": 2, \""},
    {"10,000 required properties", HOSTILE_SCHEMA, required_properties, 10000, "{\"key 7\": 9, \"key 8\": 9, \""},
    {"5,000 of them, and no more", HOSTILE_SCHEMA, few_of_many, 5000, "{\"key 7\": 9, \"key 8\": 9, \""},
    {"3,000 keys that need the next", HOSTILE_SCHEMA, chain_of_needs, 3000, "{\"k7\": 1, \"k8\": 2, \""},
    {"300 keys that need all", HOSTILE_SCHEMA, all_need_all, 300, "{\"k7\": 1, \"k8\": 2, \""},
    {"enum of 50,000 texts", HOSTILE_SCHEMA, enum_texts, 50000, "\"9e3"},
    {"enum of 50,000 numbers", HOSTILE_SCHEMA, enum_numbers, 50000, "12"},
    {"enum of 2,000 objects", HOSTILE_SCHEMA, enum_objects, 2000, "{\"a\": 1"},
    {"no text of 20,000", HOSTILE_SCHEMA, not_enum, 20000, "\"9e3"},
    {"8 patterns with counts", HOSTILE_SCHEMA, counted_patterns, 8, "\"aaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"40 patterns somewhere", HOSTILE_SCHEMA, searched_patterns, 40, "\"abcabdabcabcabcbabdbabdbabd"},
    {"lengths that hardly meet", HOSTILE_SCHEMA, contradicting_counts, 0, "\"abab"},
    {"anyOf 300 objects", HOSTILE_SCHEMA, any_of_objects, 300, "{\"kind\": \"k1"},
    {"oneOf 60 patterns", HOSTILE_SCHEMA, one_of_patterns, 60, "\"x1x2x3"},
    {"allOf 40 anyOf 2", HOSTILE_SCHEMA, any_of_products, 40, "{\"a1\": 1, \""},
    {"anyOf 6 formats", HOSTILE_SCHEMA, formats, 0, "\"2024-02-29T12:00:00"},
    {"200 families of keys", HOSTILE_SCHEMA, pattern_families, 200, "{\"abcd1\": 1, \"b"},
    {"two remainders", HOSTILE_SCHEMA, remainders, 0, "12"},
    {"2,000 values, each once", HOSTILE_SCHEMA, unique_values, 2000, "[\"9e3"},
    {"items counted to 1,000", HOSTILE_SCHEMA, counted_items, 1000, "[1, 1, 1, 1, [[1, "},
    {"3,000 items in front", HOSTILE_SCHEMA, prefix_items, 3000, "[1, 2, 3"},
    {"anyOf in anyOf, 40 deep", HOSTILE_SCHEMA, nested_any_of, 40, "{\"p0\": {\"p1\": "},
    {"allOf of one $ref twice, 40 deep", HOSTILE_SCHEMA, doubled_references, 40, "nul"},
    {"nothing bad: any value", HOSTILE_SCHEMA, anything, 0, "{\"a\": [1, {\"b\": \"text\"}, "},
    {"nothing bad: 100 properties", HOSTILE_SCHEMA, required_properties, 100, "{\"key 7\": 9, \"key 8\": 9, \""},
    {"nothing bad: anyOf 100 objects", HOSTILE_SCHEMA, plain_objects, 100, "{\"kind\": \"k9\", \"b\": {\""},
    {NULL, HOSTILE_REGEX, NULL, 0, NULL},
};
/* clang-format on */

struct grammar *hostile_compile(const struct hostile *h, struct error *e)
{
    struct buf form;
    buf_init(&form, 1 << 24);
    h->write(&form, h->n);
    struct grammar *g = NULL;
    if (h->kind == HOSTILE_SCHEMA) {
        json_t *schema = schema_read(form.data, form.len, e);
        g = schema ? grammar_json_schema(schema, NULL, e) : NULL;
        json_decref(schema);
    } else {
        g = h->kind == HOSTILE_REGEX ? grammar_parse_regex(form.data, form.len, e)
                                     : grammar_parse_gbnf(form.data, form.len, e);
    }
    buf_free(&form);
    return g;
}
