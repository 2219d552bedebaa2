/* cmd_grammar.c: whether a text is what a grammar allows, and where it goes wrong. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/constrain.h"
#include "cli/input.h"
#include "cli/plain_numbers.h"
#include "cli/term.h"

struct grammar_options {
    struct common_options common;
    struct constrain_options form;
    const char *text, *file;
    bool exact;
};

#define FIELD(field) offsetof(struct grammar_options, field)

static const struct option table[] = {
    CONSTRAIN_ROWS(FIELD(form)),
    {"text", 0, OPTION_STRING, "TEXT", "the text to look at", FIELD(text), 0, 0, 0},
    {"file", 'f', OPTION_STRING, "FILE",
     "a file with it (-: standard input); a line end at its end is not part of it", FIELD(file), 0,
     0, 0},
    {"exact", 0, OPTION_FLAG, NULL, "with -f: every byte of the file is part of the text",
     FIELD(exact), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

enum { MAX_TEXT_BYTES = 1 << 28 };

/* "a-z", "\n", ...: the bytes of a set for people, ranges together. */
static void describe(const struct byte_set *set, struct buf *out)
{
    for (int b = 0; b < 256; b++) {
        int last = b;
        while (last < 256 && (set->bits[last / 64] >> last % 64 & 1)) {
            last++;
        }
        if (last == b) {
            continue;
        }
        buf_append_str(out, out->len ? " " : "");
        for (int i = 0; i < 2 && (i == 0 || last - 1 > b); i++) {
            int c = i == 0 ? b : last - 1;
            buf_append_str(out, i == 0 ? "" : last - 1 > b + 1 ? "-" : " ");
            if (c > 0x20 && c < 0x7F) {
                buf_append_char(out, (char)c);
            } else {
                const char *name = c == '\n'   ? "\\n"
                                   : c == '\t' ? "\\t"
                                   : c == '\r' ? "\\r"
                                   : c == ' '  ? "space"
                                               : NULL;
                if (name) {
                    buf_append_str(out, name);
                } else {
                    buf_printf(out, "\\x%02X", (unsigned)c);
                }
            }
        }
        b = last - 1;
    }
}

struct looked_at {
    const char *text;
    size_t n;
    struct grammar_verdict v;
    struct buf expected;
    bool json;
};

static const char *word_for(const struct looked_at *l)
{
    return l->v.n_good < l->n ? "refused" : l->v.complete ? "accepted" : "unfinished";
}

static void print_json(const struct looked_at *l, const struct grammar_size *size, double ms)
{
    json_t *all =
        json_pack("{s:f, s:I, s:I, s:I, s:I}", "compile_ms", ms, "rules", (json_int_t)size->n_rules,
                  "nodes", (json_int_t)size->n_nodes, "expressions", (json_int_t)size->n_langs,
                  "memory_bytes", (json_int_t)size->memory_bytes);
    if (l->text) {
        json_object_set_new(all, "verdict", json_string(word_for(l)));
        json_object_set_new(all, "good_bytes", json_integer((json_int_t)l->v.n_good));
        json_t *next = json_array();
        for (int b = 0; b < 256; b++) {
            if (l->v.next.bits[b / 64] >> b % 64 & 1) {
                json_array_append_new(next, json_integer(b));
            }
        }
        json_object_set_new(all, "next_bytes", next);
        json_object_set_new(all, "may_end", json_boolean(l->v.may_end));
    }
    term_print_json(all, false);
}

/* How many brackets are open behind n bytes of JSON. */
static size_t levels_open(const char *text, size_t n)
{
    size_t levels = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        i += quoted && text[i] == '\\';
        if (i < n && text[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && i < n && (text[i] == '[' || text[i] == '{')) {
            levels++;
        } else if (!quoted && i < n && (text[i] == ']' || text[i] == '}')) {
            levels -= levels > 0;
        }
    }
    return levels;
}

static void print_depth(const struct looked_at *l)
{
    char levels[80] = "";
    if (l->json) {
        snprintf(levels, sizeof levels, " (%zu brackets are open)",
                 levels_open(l->text, l->v.n_good));
    }
    printf("what nests is not followed deeper than here%s: a form's stack has %d places\n", levels,
           GRAMMAR_MAX_DEPTH);
}

static void print_verdict(const struct looked_at *l)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < l->v.n_good; i++) {
        bool end = l->text[i] == '\n';
        line += end;
        column = end ? 1 : column + (((unsigned char)l->text[i] & 0xC0) != 0x80);
    }
    bool bytes = l->expected.len > 0;
    const char *next = bytes ? l->expected.data : l->v.may_end ? "the end" : "no text";
    if (l->v.n_good < l->n) {
        printf("refused at byte %zu (line %zu, column %zu): \"", l->v.n_good, line, column);
        term_print_escaped(stdout, l->text + l->v.n_good, l->n - l->v.n_good, 40);
        printf("\"\nthere may come: %s%s\n", next, bytes && l->v.may_end ? ", or the end" : "");
        if (l->v.too_deep) {
            print_depth(l);
        }
    } else if (l->v.complete) {
        printf("accepted%s%s\n", l->expected.len ? "; it might go on with: " : "",
               l->expected.len ? l->expected.data : "");
    } else {
        printf("unfinished: there must come: %s\n", next);
    }
}

static bool read_text(const struct grammar_options *o, struct buf *room, struct looked_at *l,
                      struct error *e)
{
    l->text = o->text;
    l->n = o->text ? strlen(o->text) : 0;
    if (o->file) {
        if (!input_read(o->file, MAX_TEXT_BYTES, room, e)) {
            return false;
        }
        l->text = room->data ? room->data : "";
        l->n = room->len;
        if (!o->exact && l->n && l->text[l->n - 1] == '\n') { /* echo and editors put it there */
            l->n--;
            l->n -= l->n && l->text[l->n - 1] == '\r';
        }
    }
    return true;
}

/* A schema's grammar reads numbers that a keyword restricts by their figures alone, while who wrote
 * the text may have used an exponent: it is looked at as it reads without. */
static bool check_text(struct grammar *g, bool schema, struct looked_at *l, struct error *e)
{
    struct buf plain;
    buf_init(&plain, SIZE_MAX / 4);
    if (schema) {
        plain_numbers(l->text, l->n, &plain);
    }
    bool ok = grammar_check_text(g, schema && plain.data ? plain.data : l->text,
                                 schema ? plain.len : l->n, &l->v, e);
    if (ok && schema) {
        l->v.n_good = plain_numbers_origin(l->text, l->n, l->v.n_good);
    }
    buf_free(&plain);
    return ok;
}

/* Blanks may always follow JSON: not worth a word. */
static void leave_blanks(struct byte_set *set)
{
    for (const char *blank = " \t\n\r"; *blank; blank++) {
        set->bits[0] &= ~(UINT64_C(1) << *blank);
    }
}

static int run(const void *options, const struct string_list *arguments)
{
    struct grammar_options o = *(const struct grammar_options *)options;
    struct error e = {0};
    struct looked_at l = {0};
    if (arguments->n == 1 && !o.form.grammar) {
        o.form.grammar = arguments->items[0];
    } else if (arguments->n > 0) {
        return cli_usage("grammar", "one grammar is looked at, and \"%.100s\" is too much",
                         arguments->items[arguments->n - 1]);
    }
    if (o.text && o.file) {
        return cli_usage("grammar", "--text and -f both give the text; leave one away");
    }
    l.json = o.form.json_format || o.form.json_schema;
    o.form.judging = true; /* "\\u0061" is as good a key as "a" where somebody else wrote it */
    double start_s = time_now_s();
    struct grammar *g = constrain_grammar(&o.form, &e);
    double ms = (time_now_s() - start_s) * 1e3;
    if (!g && e.code == ERROR_NONE) {
        return cli_usage("grammar", "give a grammar: a FILE, --regex, --choices, --json-format "
                                    "or --json-schema");
    }
    if (!g) {
        return e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e);
    }
    struct buf room;
    struct grammar_size size;
    buf_init(&room, MAX_TEXT_BYTES);
    buf_init(&l.expected, 1 << 16);
    bool ok =
        read_text(&o, &room, &l, &e) && (!l.text || check_text(g, o.form.json_schema, &l, &e));
    int status = ok ? CLI_DONE : cli_fail(&e);
    if (ok) {
        grammar_size(g, &size);
        struct byte_set next = l.v.next;
        if (l.json && l.v.may_end) {
            leave_blanks(&next);
        }
        describe(&next, &l.expected);
        if (o.common.json) {
            print_json(&l, &size, ms);
        } else if (l.text) {
            print_verdict(&l);
        } else {
            printf("%zu rule%s, %zu expression%s, compiled in %.1f ms\n", size.n_rules,
                   size.n_rules == 1 ? "" : "s", size.n_langs, size.n_langs == 1 ? "" : "s", ms);
        }
        status = l.text && !(l.v.complete && l.v.n_good == l.n) ? CLI_FAILED : cli_flush();
    }
    buf_free(&l.expected);
    buf_free(&room);
    grammar_free(g);
    return status;
}

const struct command cmd_grammar = {
    .name = "grammar",
    .summary = "say whether a text is what a grammar allows, and where it goes wrong",
    .arguments = "[FILE.gbnf]",
    .description =
        "Reads a grammar as `lllm run` does and follows a text with it, byte by byte. Prints\n"
        "\"accepted\", \"unfinished\" with what must come, or \"refused\" with the place and what\n"
        "may come there; exit status 0 where the text is accepted, 1 where it is not. Without a\n"
        "text it says how large the grammar is. Tokens (<think>) match no text here. JSON may be\n"
        "spelled in every valid way; `lllm run` writes keys and integers plainly.",
    .examples = "  lllm grammar json.gbnf --text '{\"a\": 1}'\n"
                "  lllm grammar --regex '\\d{4}-\\d{2}' --text 2026-1\n"
                "  lllm grammar --json-schema person.json --text '{\"name\": \"Ada\"}'\n"
                "  echo '{\"a\": [1, 2' | lllm grammar --json-format -f - --json\n",
    .options = table,
    .options_bytes = sizeof(struct grammar_options),
    .run = run,
};
