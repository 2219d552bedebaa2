#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/edit_distance.h"
#include "base/size_text.h"
#include "base/utf8.h"

const char *options_nearest(const char *word, options_candidate *next, const void *context)
{
    const char *best = NULL;
    size_t n = strlen(word);
    size_t limit = n <= 3 ? 1 : n <= 6 ? 2 : 3;
    const char *candidate;
    for (size_t i = 0; (candidate = next(context, i)); i++) {
        if (strcmp(word, candidate) == 0) {
            continue;
        }
        size_t distance = edit_distance(word, candidate);
        size_t m = strlen(candidate);
        if (n >= 3 && m >= 3 && strncmp(candidate, word, n < m ? n : m) == 0) {
            distance = distance < limit ? distance : limit; /* one begins with the other */
        }
        if (distance <= limit) {
            limit = distance ? distance - 1 : 0;
            best = candidate;
        }
    }
    return best;
}

static const char *word_candidate(const void *words, size_t index)
{
    return ((const char *const *)words)[index];
}

bool options_one_of(const char *word, const char *const *words, const char **near)
{
    *near = NULL;
    for (size_t i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            return true;
        }
    }
    *near = options_nearest(word, word_candidate, words);
    return false;
}

static const char *option_candidate(const void *context, size_t index)
{
    const struct option *const *tables = context;
    for (; *tables; tables++) {
        for (const struct option *o = *tables; o->name; o++) {
            if (index-- == 0) {
                return o->name;
            }
        }
    }
    return NULL;
}

/* What users of llama.cpp, Ollama and vLLM type, and what it is here; NULL: there is none. */
static const struct {
    const char *theirs, *ours;
} foreign_names[] = {
    {"--ctx-size", "context-size"},
    {"--num-ctx", "context-size"},
    {"--max-model-len", "context-size"},
    {"-c", "context-size"},
    {"--n-predict", "max-tokens"},
    {"--num-predict", "max-tokens"},
    {"--model-draft", "draft"},
    {"--guided-json", "json-schema"},
    {"--json-schema-file", "json-schema"},
    {"--guided-regex", "regex"},
    {"--guided-choice", "choices"},
    {"--guided-grammar", "grammar"},
    {"--grammar-file", "grammar"},
    {"--format", "json-format"},
    {"-t", "threads"},
    {"-ngl", NULL},
    {"--n-gpu-layers", NULL},
};
enum { N_FOREIGN_NAMES = sizeof foreign_names / sizeof *foreign_names };

/* Equal but for the case, and for _ in the place of -. */
static bool same_name(const char *a, const char *b)
{
    while (*a && *b &&
           (*a == '_' ? '-' : tolower((unsigned char)*a)) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static int foreign_find(const char *typed)
{
    int i = 0;
    while (i < N_FOREIGN_NAMES && (typed[1] == '-' ? !same_name(typed, foreign_names[i].theirs)
                                                   : strcmp(typed, foreign_names[i].theirs) != 0)) {
        i++;
    }
    return i;
}

/* ERROR_USAGE about an option that there is not, with what may be meant. typed has its dashes: two,
 * or the one of a foreign name. */
static bool unknown_option(const struct option *const *tables, const char *typed, struct error *e)
{
    int foreign = foreign_find(typed);
    bool known = foreign < N_FOREIGN_NAMES;
    const char *ours = known ? foreign_names[foreign].ours : typed + 2, *meant;
    if (!ours) {
        return error_set(e, ERROR_USAGE,
                         "there is no option %s; leave it away, there are no GPU layers to choose "
                         "here",
                         typed);
    }
    size_t i = 0;
    while ((meant = option_candidate(tables, i)) && !same_name(ours, meant)) {
        i++;
    }
    if (!meant && !known) {
        meant = options_nearest(ours, option_candidate, tables);
    }
    return error_set(e, ERROR_USAGE, "there is no option %s%s%s%s", typed,
                     meant ? "; did you mean --" : "", meant ? meant : "", meant ? "?" : "");
}

bool options_read_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || isspace((unsigned char)*text) || value < min ||
        value > max) {
        return false;
    }
    *out = value;
    return true;
}

bool options_read_u64(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end) {
        return false;
    }
    *out = value;
    return true;
}

static bool store_integer(const struct option *o, const char *shown, void *field, const char *text,
                          struct error *e)
{
    int64_t low = o->type == OPTION_INT ? INT_MIN : 0;
    int64_t high = o->type == OPTION_INT ? INT_MAX : UINT32_MAX;
    if (o->min < o->max) {
        low = (int64_t)o->min;
        high = (int64_t)o->max;
    }
    int64_t value;
    if (!options_read_i64(text, low, high, &value)) {
        /* Elsewhere -1 is an answer without end. */
        bool endless = strcmp(o->name, "max-tokens") == 0 && strcmp(text, "-1") == 0;
        return error_set(e, ERROR_USAGE,
                         "%s takes a whole number from %" PRId64 " to %" PRId64 ", not \"%s\"%s",
                         shown, low, high, text, endless ? "; 0 is without end" : "");
    }
    if (o->type == OPTION_INT) {
        *(int *)field = (int)value;
    } else {
        *(uint32_t *)field = (uint32_t)value;
    }
    return true;
}

static bool store_u64(const struct option *o, const char *shown, uint64_t *field, const char *text,
                      struct error *e)
{
    uint64_t value;
    if (!options_read_u64(text, &value) || (o->max > 0 && value > (uint64_t)o->max)) {
        return error_set(e, ERROR_USAGE, "%s takes a whole number from 0 to %.0f, not \"%s\"",
                         shown, o->max > 0 ? o->max : 18446744073709551615.0, text);
    }
    *field = value;
    return true;
}

static bool store_float(const struct option *o, const char *shown, float *field, const char *text,
                        struct error *e)
{
    char *end;
    double value = strtod(text, &end);
    bool ranged = o->min < o->max;
    if (end == text || *end || isspace((unsigned char)*text) || !isfinite(value) ||
        (ranged && (value < o->min || value > o->max))) {
        if (ranged) {
            return error_set(e, ERROR_USAGE, "%s takes a number from %g to %g, not \"%s\"", shown,
                             o->min, o->max, text);
        }
        return error_set(e, ERROR_USAGE, "%s takes a number, not \"%s\"", shown, text);
    }
    *field = (float)value;
    return true;
}

static bool store_size(const char *shown, uint64_t *field, const char *text, struct error *e)
{
    if (strcmp(text, "none") == 0) {
        *field = UINT64_MAX;
        return true;
    }
    return (size_text_read(text, field) && *field) ||
           error_set(e, ERROR_USAGE, "%s takes a size such as 4G or 512M, or none, not \"%.60s\"",
                     shown, text);
}

static bool set_empty(const struct option *o, const char *shown, struct error *e)
{
    return error_set(e, ERROR_USAGE, "%s needs a value that is not empty: %s %s", shown, shown,
                     o->value);
}

/* Whether the value is the path of something: an empty one is a variable that was not set. */
static bool is_place(const struct option *o)
{
    return strstr(o->value, "FILE") || strstr(o->value, "FOLDER") || strstr(o->value, "MODEL");
}

static bool store(const struct option *o, const char *shown, char *into, const char *text,
                  int most_values, struct arena *arena, struct error *e)
{
    void *field = into + o->offset;
    if (o->given) {
        *(bool *)(into + o->given) = true;
    }
    switch (o->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_INT:
    case OPTION_U32:
        return store_integer(o, shown, field, text, e);
    case OPTION_U64:
        return store_u64(o, shown, field, text, e);
    case OPTION_FLOAT:
        return store_float(o, shown, field, text, e);
    case OPTION_SIZE:
        return store_size(shown, field, text, e);
    case OPTION_STRING:
        *(const char **)field = text;
        return *text || !is_place(o) || set_empty(o, shown, e);
    case OPTION_STRINGS: {
        struct string_list *list = field;
        if (!*text) {
            return set_empty(o, shown, e);
        }
        if (!list->items) {
            list->items = arena_alloc(arena, (size_t)most_values * sizeof *list->items);
        }
        list->items[list->n++] = text;
        return true;
    }
    }
    return true;
}

static const struct option *find(const struct option *const *tables, const char *name, size_t n,
                                 char letter)
{
    for (; *tables; tables++) {
        for (const struct option *o = *tables; o->name; o++) {
            if (letter ? o->letter == letter : strncmp(o->name, name, n) == 0 && o->name[n] == 0) {
                return o;
            }
        }
    }
    return NULL;
}

/* The state of one parse, so that the two spellings can share it. */
struct parse {
    const struct option *const *tables;
    char *into;
    int argc, at;
    char *const *argv;
    struct arena *arena;
};

static bool take_value(struct parse *p, const struct option *o, const char *shown,
                       const char *attached, struct error *e)
{
    const char *text = attached;
    if (o->type != OPTION_FLAG && !text) {
        if (p->at + 1 >= p->argc) {
            return error_set(e, ERROR_USAGE, "%s needs a value: %s %s", shown, shown, o->value);
        }
        text = p->argv[++p->at];
    }
    return store(o, shown, p->into, text, p->argc, p->arena, e);
}

static bool parse_long(struct parse *p, const char *argument, struct error *e)
{
    const char *name = argument + 2;
    const char *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *o = n ? find(p->tables, name, n, 0) : NULL;
    if (!o) {
        char typed[2 + EDIT_MAX_BYTES + 1];
        size_t cut = n > EDIT_MAX_BYTES ? EDIT_MAX_BYTES : n;
        snprintf(typed, sizeof typed, "--%.*s", (int)(cut - utf8_incomplete_tail(name, cut)), name);
        return unknown_option(p->tables, typed, e);
    }
    char shown[80];
    snprintf(shown, sizeof shown, "--%s", o->name);
    if (o->type == OPTION_FLAG && equals) {
        return error_set(e, ERROR_USAGE, "%s takes no value", shown);
    }
    return take_value(p, o, shown, equals ? equals + 1 : NULL, e);
}

static bool parse_letters(struct parse *p, const char *argument, struct error *e)
{
    if (argument[2] && foreign_find(argument) < N_FOREIGN_NAMES) {
        return unknown_option(p->tables, argument, e); /* no -n with the value "gl" */
    }
    for (const char *c = argument + 1; *c; c++) {
        const struct option *o = find(p->tables, NULL, 0, *c);
        const char letter[] = {'-', *c, 0};
        if (!o && foreign_find(letter) < N_FOREIGN_NAMES) {
            return unknown_option(p->tables, letter, e);
        }
        if (!o) {
            uint32_t cp;
            size_t len = utf8_decode(c, strlen(c), &cp);
            return error_set(e, ERROR_USAGE,
                             "there is no option -%.*s; put -- in front of an argument that begins "
                             "with a dash",
                             len ? (int)len : 1, c);
        }
        char shown[3] = {'-', *c, 0};
        if (o->type != OPTION_FLAG) {
            return take_value(p, o, shown, c[1] ? c + 1 : NULL, e);
        }
        if (!take_value(p, o, shown, NULL, e)) {
            return false;
        }
    }
    return true;
}

bool options_parse(const struct option *const *tables, void *into, size_t help_offset, int argc,
                   char *const *argv, struct arena *arena, struct string_list *arguments,
                   struct error *e)
{
    struct parse p = {tables, into, argc, 0, argv, arena};
    arguments->items = arena_alloc(arena, ((size_t)argc + 1) * sizeof *arguments->items);
    arguments->n = 0;
    bool ended = false;
    for (; p.at < argc; p.at++) {
        const char *a = argv[p.at];
        if (ended || a[0] != '-' || !a[1]) {
            arguments->items[arguments->n++] = a;
        } else if (strcmp(a, "--") == 0) {
            ended = true;
        } else if (!(a[1] == '-' ? parse_long(&p, a, e) : parse_letters(&p, a, e))) {
            return false;
        }
        if (*((const bool *)into + help_offset)) {
            return true;
        }
    }
    return true;
}

enum { HELP_COLUMN = 26, HELP_WIDTH = 80 };

void options_print_help(const struct option *table, const struct option *but, FILE *out)
{
    for (const struct option *o = table; o->name; o++) {
        const struct option *const tables[] = {but, NULL};
        if (find(tables, o->name, strlen(o->name), 0)) {
            continue;
        }
        char left[64];
        snprintf(left, sizeof left, "  %c%c%s--%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        int column = fprintf(out, "%s", left);
        if (column >= HELP_COLUMN) {
            fputc('\n', out);
            column = 0;
        }
        column += fprintf(out, "%*s", HELP_COLUMN - column, "");
        for (const char *word = o->help; *word;) {
            size_t n = strcspn(word, " ");
            if (column > HELP_COLUMN && column + 1 + (int)n > HELP_WIDTH) {
                column = fprintf(out, "\n%*s", HELP_COLUMN, "") - 1;
            } else if (column > HELP_COLUMN) {
                column += fprintf(out, " ");
            }
            column += fprintf(out, "%.*s", (int)n, word);
            word += n;
            word += *word == ' ';
        }
        fputc('\n', out);
    }
}
