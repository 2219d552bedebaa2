/* batch_lines.c: what the lines of a batch are before any is read: the elements of an array, cut
 * without a tree, which takes thirty times as much memory as a text of small values; and how much
 * memory all of them take. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/size_text.h"
#include "cli/batch_input.h"
#include "engine/plan.h"

enum { MAX_DEPTH = 2048 }; /* jansson's, which reads the elements */

/* ---- cutting --------------------------------------------------------------------------------- */

static struct json_scan scan_of(const struct batch_lines *b, const char *text, size_t n, bool *ok,
                                struct error *e)
{
    struct json_scan s;
    *ok = json_scan_begin(&s, text, n, (uint64_t)(text - b->texts.data.data), NULL, e);
    s.max_depth = MAX_DEPTH;
    return s;
}

/* All elements into items (room for as many as there are), or NULL: they are counted. */
static bool scan_elements(struct json_scan s, struct batch_line *items, size_t *n)
{
    bool more, ok = json_scan_array(&s);
    *n = 0;
    while (ok && (ok = json_scan_element(&s, &more)) && more) {
        json_scan_peek(&s); /* past blanks */
        const char *text = s.p;
        ok = json_scan_skip(&s);
        if (ok && items) {
            items[*n] = (struct batch_line){text, (size_t)(s.p - text), *n + 1};
        }
        ++*n;
    }
    return ok && json_scan_end(&s);
}

/* A text among the elements is a prompt. */
static void wrap_text(struct batch_lines *b, struct batch_line *line)
{
    static const char before[] = "{\"prompt\":", behind[] = "}";
    enum { N_BEFORE = sizeof before - 1, N_BEHIND = sizeof behind - 1 };
    size_t n = N_BEFORE + line->n + N_BEHIND;
    char *text = arena_alloc(b->parts, n);
    memcpy(text, before, N_BEFORE);
    memcpy(text + N_BEFORE, line->text, line->n);
    memcpy(text + N_BEFORE + line->n, behind, N_BEHIND);
    *line = (struct batch_line){text, n, line->number};
    b->parts_bytes += n;
}

bool batch_lines_cut(struct batch_lines *b, const char *text, size_t n, struct error *e)
{
    bool ok;
    size_t n_elements = 0;
    struct json_scan s = scan_of(b, text, n, &ok, e);
    if (!ok || !scan_elements(s, NULL, &n_elements)) {
        return false;
    }
    b->items = mem_resize(b->items, (n_elements + 1) * sizeof *b->items);
    scan_elements(s, b->items, &b->n);
    b->parts = arena_new();
    for (size_t i = 0; i < b->n; i++) {
        if (*b->items[i].text == '"') {
            wrap_text(b, &b->items[i]);
        }
    }
    return true;
}

bool batch_lines_is_value(const struct batch_lines *b, const char *text, size_t n)
{
    bool ok;
    struct json_scan s = scan_of(b, text, n, &ok, NULL);
    return ok && json_scan_skip(&s) && json_scan_end(&s);
}

bool batch_lines_begins(const struct batch_lines *b, const char *text, size_t n)
{
    bool ok;
    struct json_scan s = scan_of(b, text, n, &ok, NULL);
    return ok && json_scan_skip(&s);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The most that a line takes as a tree of jansson's, by its marks: the chunks that malloc gives for
 * a value, for its place in what it is in, and for that with its first table. */
static uint64_t tree_bytes(const struct batch_line *line)
{
    enum { OBJECT = 256, ARRAY = 160, ELEMENT = 64, MEMBER = 128, TEXT = 64 };
    uint64_t n_bytes = line->n;
    bool quoted = false;
    for (size_t i = 0; i < line->n; i++) {
        char c = line->text[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
            n_bytes += quoted ? TEXT : 0;
        } else if (!quoted) {
            n_bytes += c == ','   ? ELEMENT
                       : c == ':' ? MEMBER
                       : c == '{' ? OBJECT
                       : c == '[' ? ARRAY
                                  : 0;
        }
    }
    return n_bytes;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* Of those that are read, a copy stays while they are answered. */
static uint64_t trees_bytes(const struct batch_lines *b, size_t n_under_way, size_t *largest,
                            uint64_t *largest_bytes)
{
    uint64_t *sizes = mem_array(b->n + 1, sizeof *sizes);
    *largest = 0;
    for (size_t i = 0; i < b->n; i++) {
        sizes[i] = tree_bytes(&b->items[i]);
        *largest = sizes[i] > sizes[*largest] ? i : *largest;
    }
    *largest_bytes = 2 * sizes[*largest];
    qsort(sizes, b->n, sizeof *sizes, by_size);
    uint64_t sum = sizes[0];
    for (size_t i = 0; i < b->n && i < n_under_way; i++) {
        sum += sizes[i];
    }
    free(sizes);
    return sum;
}

bool batch_lines_measure(const struct batch_lines *b, size_t n_under_way,
                         const struct engine_options *how, uint64_t *bytes, struct error *e)
{
    enum { BESIDES = 160 }; /* its turn, its model, its identity, where its result stands */
    size_t n_lines = b->texts.n > b->n ? b->texts.n : b->n, largest = 0;
    uint64_t tree = 0;
    struct sysmem machine;
    sysmem_read("", &machine);
    uint64_t room = memory_plan_room(how, &machine);
    *bytes = b->texts.data.len + n_lines * (sizeof *b->items + sizeof *b->texts.items) +
             b->parts_bytes + b->n * BESIDES;
    *bytes += b->json ? trees_bytes(b, n_under_way, &largest, &tree) : 0;
    if (room == SYSMEM_UNKNOWN || *bytes <= room) {
        return true;
    }
    char all[SIZE_TEXT_BYTES], one[SIZE_TEXT_BYTES], whose[MEMORY_WHOSE_BYTES], of_one[96] = "";
    if (tree > *bytes / 2) {
        snprintf(of_one, sizeof of_one, ", %s of it to read line %zu", size_text_write(tree, one),
                 b->items[largest].number);
    }
    return error_set(
        e, ERROR_MEMORY,
        "%s: up to %s of memory are needed for the prompts alone%s, and %s: take fewer "
        "or smaller ones at a time%s",
        b->name, size_text_write(*bytes, all), of_one, memory_plan_whose(how, &machine, whose),
        room == how->memory_bytes ? "" : " (--memory none tries it all the same)");
}
