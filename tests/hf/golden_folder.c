#include "golden_folder.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

enum { MAX_BYTES = 16 << 20 };

char *golden_path(const char *root, const char *name)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_true(buf_printf(&b, "%s/%s", root, name));
    return buf_take(&b, NULL);
}

static void read_file(const char *folder, const char *name, struct buf *b)
{
    struct error e = {0};
    char *path = golden_path(folder, name);
    buf_init(b, MAX_BYTES);
    if (!file_read(path, MAX_BYTES, b, &e)) {
        fail_msg("%s", e.message);
    }
    free(path);
}

/* Integers of a JSON list; NULL where there is no list. */
static int32_t *integers(const json_t *list, uint32_t n)
{
    if (!list) {
        return NULL;
    }
    assert_int_equal(json_array_size(list), n);
    int32_t *out = mem_array(n, sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return out;
}

static float f32_at(const uint8_t *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* f32 low, f32 high, u16 q[width] for each row. Returns what follows. */
static const uint8_t *unpack(const uint8_t *from, const uint8_t *end, size_t n_rows, size_t width,
                             double *rows)
{
    assert_true(n_rows * (8 + 2 * width) <= (size_t)(end - from));
    for (size_t r = 0; r < n_rows; r++) {
        double low = (double)f32_at(from), high = (double)f32_at(from + 4);
        from += 8;
        for (size_t i = 0; i < width; i++, from += 2) {
            rows[r * width + i] = low + (high - low) * (from[0] | from[1] << 8) / 65535;
        }
    }
    return from;
}

static enum golden_kind kind_of(const char *name)
{
    static const char *const names[] = {"logits", "hidden", "sequence", "tokens"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum golden_kind)i;
        }
    }
    fail_msg("golden.json has the kind \"%s\"", name);
    return GOLDEN_LOGITS;
}

static const uint8_t *read_prompt(struct golden *g, size_t index, const uint8_t *at,
                                  const uint8_t *end)
{
    struct golden_prompt *p = &g->prompts[index];
    const json_t *ids = json_array_get(json_object_get(g->json, "prompts"), index);
    const json_t *mean = json_array_get(json_object_get(g->json, "mean"), index);
    p->n = (uint32_t)json_array_size(ids);
    assert_true(p->n > 0);
    p->ids = integers(ids, p->n);
    p->types = integers(json_array_get(json_object_get(g->json, "types"), index), p->n);
    p->top1 = integers(json_array_get(json_object_get(g->json, "top1"), index), p->n);
    p->text = json_string_value(json_array_get(json_object_get(g->json, "texts"), index));
    p->n_rows = g->kind == GOLDEN_SEQUENCE ? 1 : p->n;
    p->rows = mem_array(p->n_rows * g->width, sizeof *p->rows);
    if (mean) {
        assert_int_equal(json_array_size(mean), g->width);
        p->mean = mem_array(g->width, sizeof *p->mean);
        for (size_t i = 0; i < g->width; i++) {
            p->mean[i] = json_number_value(json_array_get(mean, i));
        }
    }
    assert_true(g->kind != GOLDEN_LOGITS || p->top1);
    assert_true(g->kind != GOLDEN_HIDDEN || p->mean);
    return unpack(at, end, p->n_rows, g->width, p->rows);
}

struct golden *golden_open(const char *folder)
{
    enum { LONG_TOKENS = 64, LEAST_LONG = 4 }; /* what every model is compared on at least */
    struct golden *g = mem_zalloc(sizeof *g);
    struct buf text, rows;
    json_error_t why;
    read_file(folder, "golden.json", &text);
    read_file(folder, "golden.bin", &rows);
    g->json = json_loadb(text.data, text.len, 0, &why);
    if (!g->json) {
        fail_msg("%s/golden.json:%d: %s", folder, why.line, why.text);
    }
    g->kind = kind_of(json_string_value(json_object_get(g->json, "kind")));
    g->width = (size_t)json_integer_value(json_object_get(g->json, "width"));
    g->n_prompts = json_array_size(json_object_get(g->json, "prompts"));
    assert_true(g->width > 0);
    g->prompts = mem_zalloc(g->n_prompts * sizeof *g->prompts);
    const uint8_t *at = (const uint8_t *)rows.data, *end = at + rows.len;
    size_t n_long = 0;
    for (size_t i = 0; i < g->n_prompts; i++) {
        at = read_prompt(g, i, at, end);
        n_long += g->prompts[i].n >= LONG_TOKENS;
    }
    assert_ptr_equal(at, end);
    assert_true(n_long >= LEAST_LONG);
    buf_free(&text);
    buf_free(&rows);
    return g;
}

void golden_close(struct golden *g)
{
    for (size_t i = 0; i < g->n_prompts; i++) {
        struct golden_prompt *p = &g->prompts[i];
        free(p->ids);
        free(p->types);
        free(p->top1);
        free(p->rows);
        free(p->mean);
    }
    free(g->prompts);
    json_decref(g->json);
    free(g);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **golden_list(const char *root, size_t *n)
{
    enum { MAX_FOLDERS = 256 };
    char **names = mem_array(MAX_FOLDERS, sizeof *names);
    DIR *d = opendir(root);
    struct dirent *entry;
    *n = 0;
    while (d && (entry = readdir(d))) {
        char *folder = golden_path(root, entry->d_name), *file = golden_path(folder, "golden.json");
        if (entry->d_name[0] != '.' && file_exists(file) && *n < MAX_FOLDERS) {
            names[(*n)++] = mem_strdup(entry->d_name);
        }
        free(file);
        free(folder);
    }
    if (d) {
        closedir(d);
    }
    qsort(names, *n, sizeof *names, by_name);
    return names;
}
