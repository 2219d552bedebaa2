/* test_frames.c: objects and arrays against a plain model of what they mean: random frames, random
 * texts, and random walks over masks, whose end must please the model. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "checks.h"
#include "grammar/build.h"

/* ---- objects ---- */

enum { N_KEYS = 8, MAX_MEMBERS = 5, MAX_PAIRS = 6 };

static const char *const keys[N_KEYS] = {"a", "b", "ab", "abc", "q\"\\", "\xC3\xA9", "x1", "x2"};

struct model {
    int keys[MAX_MEMBERS]; /* member i has this key, and i as its value */
    bool required[MAX_MEMBERS], forbidden[MAX_MEMBERS];
    uint32_t needs[MAX_MEMBERS][2];
    size_t n_needs[MAX_MEMBERS], n;
    bool family, any, few; /* keys x[0-9]+, all others, or x[1-3]: their value is true */
    bool demand;           /* one of x1 and x2 must be there as false, which they may be, too */
    uint32_t min, max;
    bool in_order;
};

static void random_model(struct model *m, struct rng *r)
{
    int order[N_KEYS] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size_t i = N_KEYS; i-- > 1;) {
        size_t j = rng_below(r, i + 1);
        int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    *m = (struct model){.n = rng_below(r, MAX_MEMBERS + 1)};
    for (size_t i = 0; i < m->n; i++) {
        m->keys[i] = order[i];
        m->required[i] = rng_below(r, 4) == 0;
        m->forbidden[i] = !m->required[i] && rng_below(r, 6) == 0;
        m->n_needs[i] = rng_below(r, 4) == 0 ? 1 + rng_below(r, 2) : 0;
        for (size_t j = 0; j < m->n_needs[i]; j++) {
            m->needs[i][j] = (uint32_t)rng_below(r, m->n);
        }
    }
    m->family = rng_below(r, 2);
    m->any = m->family && rng_below(r, 2);
    m->few = m->family && !m->any && rng_below(r, 2);
    m->demand = m->family && rng_below(r, 3) == 0;
    m->min = (uint32_t)rng_below(r, 5);
    m->max = rng_below(r, 2) ? LANG_INFINITE : m->min + (uint32_t)rng_below(r, 3);
    m->in_order = rng_below(r, 4) == 0;
}

static struct grammar *object_of(const struct model *m, struct error *e)
{
    struct build *b = build_new();
    struct langs *s = build_langs(b);
    struct object_member members[MAX_MEMBERS];
    for (size_t i = 0; i < m->n; i++) {
        char digit = (char)('0' + i);
        members[i] = (struct object_member){
            .key = keys[m->keys[i]],
            .n = strlen(keys[m->keys[i]]),
            .value = m->forbidden[i] ? build_none() : build_text(b, &digit, 1),
            .required = m->required[i],
            .requires_members = m->needs[i],
            .n_requires = m->n_needs[i],
        };
    }
    struct json_bounds bounds = {.max_indent = 1, .every_spelling = true};
    struct json_space space;
    lang_json_space(s, &bounds, &space);
    struct lang digits = lang_repeat(s, lang_chars(s, &(struct char_range){'0', '9'}, 1, LANG_JSON),
                                     1, LANG_INFINITE);
    struct lang x = lang_spelled(s, "x", 1, LANG_JSON);
    struct lang figure = lang_chars(s, &(struct char_range){'1', '3'}, 1, LANG_JSON),
                one_or_two = lang_chars(s, &(struct char_range){'1', '2'}, 1, LANG_JSON);
    struct object_family families[] = {
        {.keys =
             m->any ? lang_json_content(s, LANG_JSON) : lang_concat(s, x, m->few ? figure : digits),
         .value = build_text(b, "true", 4)},
        {.keys = lang_concat(s, x, one_or_two), .value = build_text(b, "false", 5), .demand = 1},
    };
    struct object_options o = {.members = members,
                               .n_members = m->n,
                               .families = families,
                               .n_families = (size_t)m->family + m->demand,
                               .min_members = m->min,
                               .max_members = m->max,
                               .space = space,
                               .in_order = m->in_order};
    return build_finish(b, build_object(b, &o), e);
}

static bool is_family(const struct model *m, const char *key)
{
    size_t n = strlen(key);
    return m->family &&
           (m->any || (key[0] == 'x' && n > 1 && strspn(key + 1, "0123456789") == n - 1 &&
                       (!m->few || (n == 2 && key[1] >= '1' && key[1] <= '3'))));
}

static bool is_demanded(const struct model *m, const char *key)
{
    return m->demand && (strcmp(key, "x1") == 0 || strcmp(key, "x2") == 0);
}

/* values: i for the value of member i, -1 for true, -2 for false. */
static bool model_takes(const struct model *m, const char *const *said, const int *values, size_t n)
{
    bool there[MAX_MEMBERS] = {false}, met = !m->demand;
    int last = -1;
    for (size_t i = 0; i < n; i++) {
        size_t member = m->n;
        for (size_t j = 0; j < m->n; j++) {
            member = strcmp(said[i], keys[m->keys[j]]) == 0 ? j : member;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(said[i], said[j]) == 0) {
                return false;
            }
        }
        if (member < m->n) {
            if (m->forbidden[member] || values[i] != (int)member ||
                (m->in_order && (int)member < last)) {
                return false;
            }
            there[member] = true;
            last = (int)member;
        } else if (values[i] == -1 ? !is_family(m, said[i])
                                   : values[i] != -2 || !is_demanded(m, said[i])) {
            return false;
        } else {
            met = met || values[i] == -2;
            last = (int)m->n;
        }
    }
    for (size_t i = 0; i < m->n; i++) {
        if (m->required[i] && !there[i]) {
            return false;
        }
        for (size_t j = 0; there[i] && j < m->n_needs[i]; j++) {
            if (!there[m->needs[i][j]]) {
                return false;
            }
        }
    }
    return met && n >= m->min && n <= m->max;
}

static void write_key(struct buf *out, const char *key, struct rng *r)
{
    buf_append_char(out, '"');
    for (; *key; key++) {
        if (strcmp(key, "\xC3\xA9") == 0 && rng_below(r, 2)) {
            buf_append_str(out, rng_below(r, 2) ? "\\u00e9" : "\\u00E9");
            break;
        }
        if (*key == '"' || *key == '\\') {
            buf_append_char(out, '\\');
            buf_append_char(out, *key);
        } else if ((unsigned char)*key < 0x80 && rng_below(r, 5) == 0) {
            buf_printf(out, "\\u%04x", *key);
        } else {
            buf_append_char(out, *key);
        }
    }
    buf_append_char(out, '"');
}

static void blank(struct buf *out, struct rng *r)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\n "};
    buf_append_str(out, blanks[rng_below(r, 6)]);
}

static void objects_accept(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 31);
    size_t n_good = 0, n_bad = 0, n_refused = 0;
    for (size_t round = 0; round < rounds(400); round++) {
        struct model m;
        struct error e;
        random_model(&m, &r);
        struct grammar *g = object_of(&m, &e);
        n_refused += g == NULL;
        for (size_t t = 0; t < 200; t++) {
            const char *said[MAX_PAIRS];
            int values[MAX_PAIRS];
            struct buf text;
            buf_init(&text, 1 << 16);
            size_t n = rng_below(&r, MAX_PAIRS + 1);
            buf_append_char(&text, '{');
            blank(&text, &r);
            for (size_t i = 0; i < n; i++) {
                size_t member = rng_below(&r, m.n + 1);
                bool other = member == m.n;
                said[i] = other ? keys[rng_below(&r, N_KEYS)] : keys[m.keys[member]];
                values[i] =
                    other || rng_below(&r, 20) == 0 ? -1 - (rng_below(&r, 3) == 0) : (int)member;
                if (i) {
                    buf_append_char(&text, ',');
                    blank(&text, &r);
                }
                write_key(&text, said[i], &r);
                blank(&text, &r);
                buf_append_char(&text, ':');
                blank(&text, &r);
                if (values[i] < 0) {
                    buf_append_str(&text, values[i] == -1 ? "true" : "false");
                } else {
                    buf_printf(&text, "%d", values[i]);
                }
                blank(&text, &r);
            }
            buf_append_char(&text, '}');
            bool expected = model_takes(&m, said, values, n);
            if (g ? fits(g, text.data) != expected : expected) {
                fail_msg("round %zu: %s should be %d", round, text.data, expected);
            }
            n_good += expected;
            n_bad += !expected;
            buf_free(&text);
        }
        grammar_free(g);
    }
    print_message("%zu texts taken, %zu not; %zu frames have none\n", n_good, n_bad, n_refused);
    assert_true(n_good > 1000 && n_bad > 1000 && n_refused > 5);
}

/* Masks of objects, with the fewest allowed bytes, and what comes out in the end. */
static void objects_walk(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 32);
    size_t n_ended = 0;
    for (size_t round = 0; round < rounds(60); round++) {
        struct model m;
        struct error e;
        struct pieces p;
        int32_t end = 0;
        random_model(&m, &r);
        struct grammar *g = object_of(&m, &e);
        pieces_random(&p, &r, "{}\",:abcdefqls\\x0123456789tru \xC3\xA9", 60, 4);
        struct grammar_vocab *v = grammar_vocab_from_pieces(p.items, p.n, &end, 1);
        for (int walk = 0; g && walk < 4; walk++) {
            bool ended;
            struct buf out;
            buf_init(&out, 1 << 16);
            check_walk(g, v, p.items, &r, 60, &out, &ended);
            n_ended += ended;
            if (ended) {
                const char *said[100], *key;
                int values[100];
                size_t n = 0;
                json_t *value,
                    *object = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
                if (!object) {
                    fail_msg("no JSON: %s", out.data);
                }
                json_object_foreach(object, key, value)
                {
                    said[n] = key;
                    values[n++] = json_is_true(value)    ? -1
                                  : json_is_false(value) ? -2
                                                         : (int)json_integer_value(value);
                    assert_true(n < 100);
                }
                if (!model_takes(&m, said, values, n)) {
                    fail_msg("round %zu: %s", round, out.data);
                }
                json_decref(object);
            }
            buf_free(&out);
        }
        grammar_free(g);
        grammar_vocab_free(v);
        pieces_free(&p);
    }
    print_message("%zu walks came to an end\n", n_ended);
    assert_true(n_ended > 50);
}

/* ---- arrays ---- */

struct array_model {
    uint32_t plain[4], counted[4]; /* bits of digits; the last are those of the rest */
    size_t n_first;
    uint32_t min, max, min_counted, max_counted;
    size_t n_distinct; /* 0: not so */
};

static struct node digits(struct build *b, uint32_t bits)
{
    struct byte_set set = {{(uint64_t)bits << '0'}};
    return build_lang(b, lang_byte_set(build_langs(b), &set));
}

static struct grammar *array_of(const struct array_model *m, struct error *e)
{
    struct build *b = build_new();
    struct array_place first[3];
    struct node distinct[8];
    for (size_t i = 0; i < m->n_first; i++) {
        first[i] = (struct array_place){digits(b, m->plain[i]), digits(b, m->counted[i])};
    }
    for (size_t i = 0; i < m->n_distinct; i++) {
        distinct[i] = digits(b, 1u << i);
    }
    struct json_bounds bounds = {.max_indent = 1, .every_spelling = true};
    struct json_space space;
    lang_json_space(build_langs(b), &bounds, &space);
    struct array_options o = {.first = first,
                              .n_first = m->n_first,
                              .rest = {digits(b, m->plain[3]), digits(b, m->counted[3])},
                              .min_items = m->min,
                              .max_items = m->max,
                              .min_counted = m->min_counted,
                              .max_counted = m->max_counted,
                              .space = space,
                              .distinct = m->n_distinct ? distinct : NULL,
                              .n_distinct = m->n_distinct};
    return build_finish(b, build_array(b, &o), e);
}

static bool array_takes(const struct array_model *m, const uint32_t *items, size_t n)
{
    uint32_t forced = 0, possible = 0, seen = 0;
    for (size_t i = 0; i < n; i++) {
        size_t place = i < m->n_first ? i : 3;
        bool plain = m->plain[place] >> items[i] & 1, counted = m->counted[place] >> items[i] & 1;
        if (m->n_distinct) {
            plain = items[i] < m->n_distinct && !(seen >> items[i] & 1);
            counted = false;
            seen |= 1u << items[i];
        }
        if (!plain && !counted) {
            return false;
        }
        forced += !plain;
        possible += counted;
    }
    bool enough = m->n_distinct || (possible >= m->min_counted && forced <= m->max_counted);
    return n >= m->min && n <= m->max && enough;
}

static void random_array(struct array_model *m, struct rng *r)
{
    *m = (struct array_model){.n_first = rng_below(r, 4)};
    for (size_t i = 0; i < 4; i++) {
        m->plain[i] = (uint32_t)rng_below(r, 8);
        m->counted[i] = rng_below(r, 2) ? (uint32_t)rng_below(r, 8) : 0;
    }
    m->min = (uint32_t)rng_below(r, 4);
    m->max = rng_below(r, 2) ? LANG_INFINITE : m->min + (uint32_t)rng_below(r, 3);
    m->min_counted = rng_below(r, 2) ? (uint32_t)rng_below(r, 3) : 0;
    m->max_counted = rng_below(r, 2) ? LANG_INFINITE : m->min_counted + (uint32_t)rng_below(r, 2);
    if (rng_below(r, 4) == 0) {
        m->n_distinct = 1 + rng_below(r, 3);
        m->n_first = 0;
        m->min_counted = 0;
        m->max_counted = LANG_INFINITE;
    }
}

static void arrays(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 33);
    size_t n_good = 0, n_refused = 0, n_ended = 0;
    for (size_t round = 0; round < rounds(300); round++) {
        struct array_model m;
        struct error e;
        random_array(&m, &r);
        struct grammar *g = array_of(&m, &e);
        n_refused += g == NULL;
        for (size_t t = 0; t < 200; t++) {
            uint32_t items[7];
            size_t n = rng_below(&r, 8);
            struct buf text;
            buf_init(&text, 1000);
            buf_append_char(&text, '[');
            for (size_t i = 0; i < n; i++) {
                items[i] = (uint32_t)rng_below(&r, 3);
                buf_append_str(&text, i ? "," : "");
                blank(&text, &r);
                buf_printf(&text, "%u", items[i]);
                blank(&text, &r);
            }
            buf_append_char(&text, ']');
            bool expected = array_takes(&m, items, n);
            if (g ? fits(g, text.data) != expected : expected) {
                fail_msg("round %zu: %s should be %d", round, text.data, expected);
            }
            n_good += expected;
            buf_free(&text);
        }
        struct pieces p;
        int32_t end = 0;
        pieces_random(&p, &r, "[],012 ", 30, 4);
        struct grammar_vocab *v = grammar_vocab_from_pieces(p.items, p.n, &end, 1);
        for (int walk = 0; g && walk < 3; walk++) {
            bool ended;
            struct buf out;
            buf_init(&out, 1 << 16);
            check_walk(g, v, p.items, &r, 25, &out, &ended);
            n_ended += ended;
            if (ended) {
                uint32_t items[200];
                json_t *array = json_loadb(out.data, out.len, 0, NULL);
                size_t n = json_array_size(array);
                assert_non_null(array);
                for (size_t i = 0; i < n; i++) {
                    items[i] = (uint32_t)json_integer_value(json_array_get(array, i));
                }
                assert_true(array_takes(&m, items, n));
                json_decref(array);
            }
            buf_free(&out);
        }
        grammar_free(g);
        grammar_vocab_free(v);
        pieces_free(&p);
    }
    print_message("%zu texts taken; %zu frames have none; %zu walks came to an end\n", n_good,
                  n_refused, n_ended);
    assert_true(n_good > 1000 && n_refused > 5 && n_ended > 100);
}

/* An object with a hundred members: any order, and the last one missing is offered alone. */
static void many_members(void **state)
{
    (void)state;
    struct build *b = build_new();
    struct object_member members[100];
    char names[100][16];
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "key_%d", i);
        members[i] = (struct object_member){
            .key = names[i],
            .n = strlen(names[i]),
            .value = build_json_value(b, &(struct json_bounds){.unbounded = true}),
            .required = true};
    }
    struct lang none = lang_empty();
    struct object_options o = {.members = members,
                               .n_members = 100,
                               .max_members = LANG_INFINITE,
                               .space = {none, none, none, none, none}};
    struct error e = {.code = ERROR_NONE};
    struct grammar *g = build_finish(b, build_object(b, &o), &e);
    assert_non_null(g);
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 100; i++) {
        buf_printf(&text, "%c\"key_%d\":[%d]", i ? ',' : '{', i * 37 % 100, i);
        if (i == 98) {
            struct grammar_verdict v;
            assert_true(grammar_check_text(g, text.data, text.len, &v, &e));
            assert_true(v.n_good == text.len && !v.complete);
            assert_int_equal(v.next.bits[',' / 64], 1ull << ',');
            assert_int_equal(v.next.bits['}' / 64], 0);
        }
    }
    buf_append_char(&text, '}');
    assert_true(fits(g, text.data));
    buf_free(&text);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_accept),
        cmocka_unit_test(objects_walk),
        cmocka_unit_test(arrays),
        cmocka_unit_test(many_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
