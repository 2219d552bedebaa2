#include "cli/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "cli/term.h"

const char *input_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

bool input_check_sources(const struct input_source *sources, size_t n, struct error *e)
{
    const char *first = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!sources[i].path || strcmp(sources[i].path, "-") != 0) {
            continue;
        }
        if (first) {
            return error_set(e, ERROR_USAGE,
                             "%s and %s cannot both come from standard input; give one of them as "
                             "a file",
                             first, sources[i].what);
        }
        first = sources[i].what;
    }
    return true;
}

static bool read_bytes(const char *path, size_t max_bytes, struct buf *b, struct error *e)
{
    struct error why = {0};
    if (file_read(path, max_bytes, b, &why)) {
        return true;
    }
    if (strcmp(path, "-") != 0) {
        *e = why;
        return false;
    }
    if (why.code == ERROR_LIMIT) {
        return error_set(e, ERROR_LIMIT,
                         "standard input is larger than %zu bytes, the most that is read here",
                         max_bytes);
    }
    const char *reason = strchr(why.message, ':');
    return error_set(e, why.code, "cannot read standard input%s", reason ? reason : "");
}

bool input_read(const char *path, size_t max_bytes, struct buf *b, struct error *e)
{
    if (strcmp(path, "-") == 0 && isatty(STDIN_FILENO)) {
        term_message("reading standard input from the terminal; Ctrl-D ends it");
    }
    return read_bytes(path, max_bytes, b, e);
}

bool input_read_form(const char *path, size_t max_bytes, struct buf *b, struct error *e)
{
    static const char mark[] = {'\xEF', '\xBB', '\xBF'};
    if (!input_read(path, max_bytes, b, e)) {
        return false;
    }
    if (b->len >= sizeof mark && memcmp(b->data, mark, sizeof mark) == 0) {
        b->len -= sizeof mark;
        memmove(b->data, b->data + sizeof mark, b->len);
        b->data[b->len] = 0;
    }
    return true;
}

bool input_json_error(const json_error_t *why, struct error *e)
{
    const char *near = strstr(why->text, " near '");
    int length = near ? (int)strlen(near += strlen(" near '")) - 1 : 0; /* the quote behind it */
    char place[64]; /* the only line of a text has no number: it may be one of a larger file */
    snprintf(place, sizeof place, why->line > 1 ? "column %d of line %d" : "column %d", why->column,
             why->line);
    switch (json_error_code(why)) {
    case json_error_duplicate_key:
        return error_set(e, ERROR_INPUT, "the key %.*s comes twice (%s)", length, near ? near : "",
                         place);
    case json_error_numeric_overflow:
        return error_set(e, ERROR_INPUT,
                         "%.*s is beyond the numbers that are read here, integers of 64 bits and "
                         "doubles (%s); a schema in a file of its own, with --json-schema, may "
                         "have it",
                         length, near ? near : "", place);
    default:
        return error_set(e, ERROR_INPUT, "not JSON: %s (%s)", why->text, place);
    }
}

bool input_scan_error(const char *text, const struct error *why, struct error *e)
{
    const char *place = strrchr(why->message, '('); /* "(at byte 70)" */
    size_t line = 1, column = 1;
    for (uint64_t i = 0; i < why->position; i++) {
        column = text[i] == '\n' ? 1 : column + ((text[i] & 0xc0) != 0x80);
        line += text[i] == '\n';
    }
    return error_set(e, ERROR_INPUT, "not JSON: %.*s(column %zu of line %zu)",
                     place ? (int)(place - why->message) : 0, why->message, column, line);
}

bool input_text(struct buf *b, const struct string_list *arguments, size_t first, const char *file,
                struct error *e)
{
    buf_init(b, INPUT_MAX_BYTES);
    if (!file && arguments->n > first) {
        for (size_t i = first; i < arguments->n; i++) {
            if ((i > first && !buf_append_char(b, ' ')) ||
                !buf_append_str(b, arguments->items[i])) {
                return error_set(e, ERROR_LIMIT, "the arguments are too long; use -f");
            }
        }
        return true;
    }
    if (!file && isatty(STDIN_FILENO)) {
        term_message("reading from the terminal; Ctrl-D ends the text");
    }
    return file ? input_read(file, INPUT_MAX_BYTES, b, e) : read_bytes("-", INPUT_MAX_BYTES, b, e);
}

static bool is_utf16(const char *text, size_t n)
{
    return n >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0);
}

static bool set_utf16(const char *file, struct error *e)
{
    return error_set(e, ERROR_INPUT,
                     "%s is UTF-16, and texts are read as UTF-8: convert it first, with iconv -f "
                     "UTF-16 -t UTF-8%s%s",
                     input_name(file), strcmp(file, "-") ? " " : "", strcmp(file, "-") ? file : "");
}

bool input_check_text(const char *what, const char *file, const char *text, size_t n,
                      struct error *e)
{
    size_t bad = n, line = 1, begin = 0;
    const char *zero = n ? memchr(text, 0, n) : NULL;
    bool named = file && strcmp(file, "-") != 0;
    char place[64];
    if (file && n && is_utf16(text, n)) {
        return set_utf16(file, e);
    }
    bool valid = n == 0 || utf8_valid(text, n, &bad);
    if (valid && !zero) {
        return true;
    }
    bool is_zero = zero && (valid || (size_t)(zero - text) < bad);
    bad = is_zero ? (size_t)(zero - text) : bad;
    for (size_t i = 0; file && i < bad; i++) {
        if (text[i] == '\n') {
            line++;
            begin = i + 1;
        }
    }
    int used = file ? snprintf(place, sizeof place, "line %zu, ", line) : 0;
    snprintf(place + used, sizeof place - (size_t)used, "byte %zu", bad - begin + 1);
    what = file ? input_name(file) : what;
    return is_zero ? error_set(e, ERROR_INPUT, "%s holds a zero byte (%s), so it is no text", what,
                               place)
                   : error_set(e, ERROR_INPUT,
                               "%s is not UTF-8 (%s): convert it first, for example with iconv -f "
                               "WINDOWS-1252 -t UTF-8%s%s",
                               what, place, named ? " " : "", named ? file : "");
}

static void split_lines(struct input_texts *t)
{
    size_t capacity = 0;
    const char *at = t->data.data, *end = at ? at + t->data.len : at;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        size_t n = (size_t)(stop - at);
        if (t->n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            t->items = mem_resize(t->items, capacity * sizeof *t->items);
        }
        t->items[t->n++] = (struct input_text){at, n && stop[-1] == '\r' ? n - 1 : n};
        at = newline ? newline + 1 : end;
    }
}

bool input_texts(struct input_texts *t, const struct string_list *arguments, size_t first,
                 const char *file, struct error *e)
{
    *t = (struct input_texts){0};
    buf_init(&t->data, INPUT_MAX_BYTES);
    if (!file && arguments->n > first) {
        t->items = mem_array(arguments->n - first, sizeof *t->items);
        for (size_t i = first; i < arguments->n; i++) {
            const char *text = arguments->items[i];
            t->items[t->n++] = (struct input_text){text, strlen(text)};
        }
        return true;
    }
    if ((!file || strcmp(file, "-") == 0) && isatty(STDIN_FILENO)) {
        term_message("reading texts from the terminal, one a line; Ctrl-D ends them");
    }
    t->lines = true;
    if (!read_bytes(file ? file : "-", INPUT_MAX_BYTES, &t->data, e)) {
        return false;
    }
    if (t->data.len && is_utf16(t->data.data, t->data.len)) {
        return set_utf16(file ? file : "-", e);
    }
    split_lines(t);
    return true;
}

void input_texts_free(struct input_texts *t)
{
    free(t->items);
    buf_free(&t->data);
    *t = (struct input_texts){0};
}

bool input_ids(const char *text, size_t n_vocab, struct token_list *ids, struct error *e)
{
    static const char separators[] = " ,[]\t\r\n";
    const char *c = text ? text : "";
    for (;;) {
        c += strspn(c, separators);
        size_t n = strcspn(c, separators);
        if (!n) {
            return true;
        }
        char word[24];
        uint64_t id;
        size_t shown = n < sizeof word ? n : sizeof word - 1;
        snprintf(word, sizeof word, "%.*s", (int)(shown - utf8_incomplete_tail(c, shown)), c);
        if (n >= sizeof word || !options_read_u64(word, &id) || id >= n_vocab) {
            return error_set(e, ERROR_INPUT,
                             "\"%s\" is no token id of this model: they are 0 to "
                             "%zu",
                             word, n_vocab ? n_vocab - 1 : 0);
        }
        token_list_add(ids, (int32_t)id);
        c += n;
    }
}
