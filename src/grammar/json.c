/* json.c: JSON (RFC 8259): its lexemes as regular languages, and any value as a rule. */
#include "grammar/build_internal.h"

void json_bounds_defaults(struct json_bounds *b)
{
    *b = (struct json_bounds){
        .max_blanks = 1, .max_indent = 32, .max_digits = 20, .max_exponent = 3};
}

static struct lang one_of(struct langs *s, const char *bytes)
{
    struct byte_set set = {{0}};
    for (; *bytes; bytes++) {
        uint8_t b = (uint8_t)*bytes;
        set.bits[b / 64] |= UINT64_C(1) << b % 64;
    }
    return lang_byte_set(s, &set);
}

/* Any blanks behind at most one line end. */
static struct lang anywhere(struct langs *s, const struct json_bounds *b, struct lang line)
{
    if (b->unbounded) {
        return lang_repeat(s, one_of(s, " \t\n\r"), 0, LANG_INFINITE);
    }
    return lang_concat(s, lang_optional(s, line),
                       lang_repeat(s, one_of(s, " \t"), 0, b->max_indent));
}

void lang_json_space(struct langs *s, const struct json_bounds *b, struct json_space *space)
{
    enum { SPACES_OF_TAB = 4 };
    struct lang line = lang_concat(s, lang_optional(s, lang_byte_range(s, '\r', '\r')),
                                   lang_byte_range(s, '\n', '\n'));
    if (b->unbounded || b->every_spelling) {
        struct lang blank = anywhere(s, b, line);
        *space = (struct json_space){blank, blank, blank, blank, lang_empty()};
        return;
    }
    struct lang spaces = lang_repeat(s, one_of(s, " "), 0, b->max_indent);
    struct lang tabs = lang_repeat(s, one_of(s, "\t"), 0, b->max_indent / SPACES_OF_TAB);
    struct lang few = lang_repeat(s, one_of(s, " "), 0, b->max_blanks);
    struct lang lines = lang_or(s, few, lang_concat(s, line, lang_or(s, spaces, tabs)));
    *space = (struct json_space){lang_concat(s, lang_optional(s, line), few), lines, few,
                                 lang_empty(), lines};
}

static struct lang digits(struct langs *s, uint32_t min, bool unbounded, uint32_t max)
{
    max = unbounded ? LANG_INFINITE : max > min ? max : min;
    return lang_repeat(s, lang_byte_range(s, '0', '9'), min, max);
}

struct lang lang_json_integer(struct langs *s, const struct json_bounds *b)
{
    uint32_t more = b->max_digits > 1 ? b->max_digits - 1 : 0;
    struct lang whole =
        lang_or(s, lang_byte_range(s, '0', '0'),
                lang_concat(s, lang_byte_range(s, '1', '9'), digits(s, 0, b->unbounded, more)));
    return lang_concat(s, lang_optional(s, lang_byte_range(s, '-', '-')), whole);
}

struct lang lang_json_number(struct langs *s, const struct json_bounds *b)
{
    struct lang fraction =
        lang_concat(s, lang_byte_range(s, '.', '.'), digits(s, 1, b->unbounded, b->max_digits));
    struct lang exponent = lang_concat_all(s,
                                           (const struct lang[]){
                                               one_of(s, "eE"),
                                               lang_optional(s, one_of(s, "+-")),
                                               digits(s, 1, b->unbounded, b->max_exponent),
                                           },
                                           3);
    return lang_concat_all(s,
                           (const struct lang[]){
                               lang_json_integer(s, b),
                               lang_optional(s, fraction),
                               lang_optional(s, exponent),
                           },
                           3);
}

struct lang lang_json_quoted(struct langs *s, struct lang content)
{
    struct lang quote = lang_byte_range(s, '"', '"');
    return lang_concat(s, quote, lang_concat(s, content, quote));
}

struct lang lang_json_content(struct langs *s, enum lang_spelling spelling)
{
    return lang_repeat(s, lang_any_char(s, spelling), 0, LANG_INFINITE);
}

/* ---- values ---- */

static struct node of_text(struct build *b, struct lang before, const char *text,
                           struct lang behind)
{
    struct langs *s = build_langs(b);
    struct lang l = lang_concat(s, lang_text(s, text, strlen(text)), behind);
    return build_lang(b, lang_concat(s, before, l));
}

/* open (part (, part)*)? close; parts have their space behind them. */
static struct node brackets(struct build *b, const char *open, struct node part, const char *close,
                            const struct json_space *space)
{
    struct node comma = of_text(b, lang_empty(), ",", space->open);
    struct node more = build_sequence(b, (const struct node[]){comma, part}, 2);
    struct node parts =
        build_sequence(b,
                       (const struct node[]){part, build_repeat(b, more, 0, LANG_INFINITE),
                                             of_text(b, space->close, close, lang_empty())},
                       3);
    struct node none = of_text(b, lang_empty(), close, lang_empty());
    return build_sequence(b,
                          (const struct node[]){
                              of_text(b, lang_empty(), open, space->open),
                              build_choice(b, (const struct node[]){none, parts}, 2),
                          },
                          2);
}

static struct json_nodes *nodes_of(struct build *b, const struct json_bounds *bounds)
{
    for (size_t i = 0; i < b->n_json; i++) {
        const struct json_bounds *have = &b->json[i].bounds;
        if (have->unbounded == bounds->unbounded &&
            (bounds->unbounded ||
             (have->every_spelling == bounds->every_spelling &&
              have->max_blanks == bounds->max_blanks && have->max_indent == bounds->max_indent &&
              have->max_digits == bounds->max_digits &&
              have->max_exponent == bounds->max_exponent))) {
            return &b->json[i];
        }
    }
    struct langs *s = b->langs;
    struct json_space space;
    lang_json_space(s, bounds, &space);
    struct node value = build_rule(b, "a JSON value"), behind = build_lang(b, space.behind);
    struct node item = build_sequence(b, (const struct node[]){value, behind}, 2);
    struct lang string = lang_json_quoted(s, lang_json_content(s, LANG_JSON));
    enum lang_spelling of_keys = json_bounds_plain(bounds) ? LANG_JSON_PLAIN : LANG_JSON;
    struct lang name = lang_json_quoted(s, lang_json_content(s, of_keys));
    struct lang key = lang_concat_all(
        s, (const struct lang[]){name, space.colon, lang_text(s, ":", 1), space.colon}, 4);
    struct node member = build_sequence(b, (const struct node[]){build_lang(b, key), item}, 2);
    struct json_nodes made = {.bounds = *bounds, .value = value};
    made.object = brackets(b, "{", member, "}", &space);
    made.array = brackets(b, "[", item, "]", &space);
    struct lang atoms = lang_or_all(s,
                                    (const struct lang[]){
                                        string,
                                        lang_json_number(s, bounds),
                                        lang_text(s, "true", 4),
                                        lang_text(s, "false", 5),
                                        lang_text(s, "null", 4),
                                    },
                                    5);
    build_define(
        b, value,
        build_choice(b, (const struct node[]){build_lang(b, atoms), made.object, made.array}, 3));
    if (b->n_json == b->json_capacity) {
        b->json_capacity = b->json_capacity ? 2 * b->json_capacity : 2;
        b->json = mem_resize(b->json, b->json_capacity * sizeof *b->json);
    }
    b->json[b->n_json] = made;
    return &b->json[b->n_json++];
}

struct node build_json_value(struct build *b, const struct json_bounds *bounds)
{
    return nodes_of(b, bounds)->value;
}

struct node build_json_object(struct build *b, const struct json_bounds *bounds)
{
    return nodes_of(b, bounds)->object;
}

struct node build_json_array(struct build *b, const struct json_bounds *bounds)
{
    return nodes_of(b, bounds)->array;
}
