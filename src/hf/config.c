#include "hf/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "hf/weights.h"

/* ---- the file -------------------------------------------------------------------------------- */

struct config *hf_config_open(const char *folder, const char *name, bool optional, struct error *e)
{
    char *path = hf_folder_path(folder, name);
    if (optional && !file_exists(path)) {
        free(path);
        return NULL;
    }
    struct buf text;
    json_error_t why;
    json_t *root = NULL;
    buf_init(&text, CONFIG_MAX_BYTES);
    if (file_read(path, CONFIG_MAX_BYTES, &text, e)) {
        root = json_loadb(text.data ? text.data : "", text.len,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
        if (!root) {
            char shown[UTF8_QUOTE_BYTES];
            error_set(e, ERROR_INPUT, "%s is not JSON: line %d: %s; download it again", path,
                      why.line, utf8_quote(shown, why.text, strlen(why.text)));
        } else if (!json_is_object(root) && !json_is_array(root)) {
            error_set(e, ERROR_INPUT, "%s is no JSON object; download it again", path);
            json_decref(root);
            root = NULL;
        }
    }
    buf_free(&text);
    if (!root) {
        free(path);
        return NULL;
    }
    struct config *c = mem_zalloc(sizeof *c);
    const json_t *inner = json_object_get(root, "text_config");
    *c = (struct config){root, json_is_object(inner) ? inner : NULL, path};
    return c;
}

void hf_config_close(struct config *c)
{
    if (c) {
        json_decref(c->root);
        free(c->path);
        free(c);
    }
}

/* ---- looking up ------------------------------------------------------------------------------ */

static const json_t *descend(const json_t *at, const char *path)
{
    while (at && *path) {
        char name[CONFIG_MAX_PATH_BYTES];
        size_t n = strcspn(path, ".");
        if (n >= sizeof name) {
            return NULL;
        }
        memcpy(name, path, n);
        name[n] = 0;
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(name, NULL, 10))
                               : json_object_get(at, name);
        path += n + (path[n] == '.');
    }
    return json_is_null(at) ? NULL : at;
}

const json_t *hf_config_get(const struct config *c, const char *path)
{
    const json_t *found = c->text ? descend(c->text, path) : NULL;
    return found ? found : descend(c->root, path);
}

bool hf_config_true(const struct config *c, const char *path)
{
    const json_t *v = hf_config_get(c, path);
    return v && !json_is_false(v) && !(json_is_number(v) && json_number_value(v) == 0) &&
           !(json_is_string(v) && json_string_length(v) == 0);
}

/* A value for a sentence. */
static void show_value(const json_t *value, char out[UTF8_QUOTE_BYTES])
{
    double x = json_number_value(value);
    if (json_is_real(value) && x == floor(x) && fabs(x) < 1e15) {
        snprintf(out, UTF8_QUOTE_BYTES, "%.0f", x);
        return;
    }
    if (json_is_string(value)) {
        utf8_quote(out, json_string_value(value), json_string_length(value));
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    utf8_quote(out, text ? text : "", text ? strlen(text) : 0); /* safe to show; the quotes go */
    size_t n = strlen(out) - 2;
    memmove(out, out + 1, n);
    out[n] = 0;
    free(text);
}

bool hf_config_wrong(const struct config *c, const char *what, const json_t *value,
                     const char *wanted, struct error *e)
{
    char shown[UTF8_QUOTE_BYTES];
    show_value(value, shown);
    return error_set(e, ERROR_INPUT, "%s: %s is %s where %s is needed", c->path, what, shown,
                     wanted);
}

bool hf_config_number(const struct config *c, const char *path, double *out, bool *there,
                      struct error *e)
{
    const json_t *v = hf_config_get(c, path);
    *there = v != NULL;
    if (v && !json_is_number(v)) {
        return hf_config_wrong(c, path, v, "a number", e);
    }
    *out = v ? json_number_value(v) : *out;
    return true;
}

const char *hf_config_class(const struct config *c)
{
    const json_t *list = json_object_get(c->root, "architectures");
    return json_is_array(list) ? json_string_value(json_array_get(list, 0)) : NULL;
}

/* ---- formulas -------------------------------------------------------------------------------- */

struct evaluation {
    const struct config *config;
    const char *formula, *p;
    bool failed; /* config.json has something that cannot be computed with; e says what */
    struct error *e;
};

static struct formula_value evaluate(struct evaluation *ev, bool wanted);
static struct formula_value part(struct evaluation *ev, bool wanted);

/* A row's formula is part of the program: a mistake in it is found by the test of the row. */
static void malformed(const struct evaluation *ev)
{
    fprintf(stderr, "formula \"%s\": cannot read \"%s\"\n", ev->formula, ev->p);
    abort();
}

static char next_char(struct evaluation *ev)
{
    ev->p += strspn(ev->p, " ");
    return *ev->p;
}

static struct formula_value number(double x)
{
    return (struct formula_value){.kind = FORMULA_NUMBER, .number = x};
}

static struct formula_value look_up(struct evaluation *ev, bool wanted)
{
    char path[CONFIG_MAX_PATH_BYTES];
    struct formula_value absent = {.kind = FORMULA_ABSENT};
    size_t n = strspn(ev->p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    if (n == 0 || n >= sizeof path) {
        malformed(ev);
    }
    memcpy(path, ev->p, n);
    path[n] = 0;
    ev->p += n;
    if (strcmp(path, "sqrt") == 0) {
        struct formula_value x = part(ev, wanted);
        x.number = x.kind == FORMULA_NUMBER ? sqrt(x.number) : x.number;
        return x;
    }
    bool yes = strcmp(path, "true") == 0;
    if (yes || strcmp(path, "false") == 0) {
        return (struct formula_value){.kind = FORMULA_BOOL, .number = yes};
    }
    const json_t *v = wanted ? hf_config_get(ev->config, path) : NULL;
    if (!v || ev->failed) {
        return absent;
    }
    if (json_is_number(v)) {
        return number(json_number_value(v));
    }
    if (json_is_boolean(v)) {
        return (struct formula_value){.kind = FORMULA_BOOL, .number = json_is_true(v)};
    }
    if (json_is_string(v)) {
        return (struct formula_value){
            .kind = FORMULA_TEXT, .text = json_string_value(v), .n = json_string_length(v)};
    }
    ev->failed = true;
    hf_config_wrong(ev->config, path, v, "a single value", ev->e);
    return absent;
}

static struct formula_value part(struct evaluation *ev, bool wanted)
{
    char c = next_char(ev);
    if (c == '(') {
        ev->p++;
        struct formula_value v = evaluate(ev, wanted);
        if (next_char(ev) != ')') {
            malformed(ev);
        }
        ev->p++;
        return v;
    }
    if (c >= '0' && c <= '9') {
        char *end;
        double x = strtod(ev->p, &end);
        ev->p = end;
        return number(x);
    }
    if (c == '\'') {
        const char *text = ev->p + 1, *end = strchr(text, '\'');
        if (!end) {
            malformed(ev);
            return number(0);
        }
        ev->p = end + 1;
        return (struct formula_value){
            .kind = FORMULA_TEXT, .text = text, .n = (size_t)(end - text)};
    }
    return look_up(ev, wanted);
}

/* Both sides of '*' and '/' must be numbers. */
static bool is_number(struct evaluation *ev, const struct formula_value *v)
{
    if (v->kind != FORMULA_NUMBER && !ev->failed) {
        ev->failed = true;
        error_set(ev->e, ERROR_INPUT,
                  "%s: a part of \"%s\" is a text or a bool where a number is needed",
                  ev->config->path, ev->formula);
    }
    return v->kind == FORMULA_NUMBER;
}

static struct formula_value product(struct evaluation *ev, bool wanted)
{
    struct formula_value v = part(ev, wanted);
    for (char c; (c = next_char(ev)) == '*' || c == '/';) {
        ev->p++;
        struct formula_value w = part(ev, wanted);
        if (v.kind == FORMULA_ABSENT || w.kind == FORMULA_ABSENT) {
            v = (struct formula_value){.kind = FORMULA_ABSENT};
        } else if (is_number(ev, &v) && is_number(ev, &w)) {
            v.number = c == '*' ? v.number * w.number : v.number / w.number;
        }
    }
    return v;
}

/* Alternatives behind the first that is there are read, and not looked up. */
static struct formula_value evaluate(struct evaluation *ev, bool wanted)
{
    struct formula_value v = product(ev, wanted);
    while (next_char(ev) == '|') {
        ev->p++;
        struct formula_value w = product(ev, wanted && v.kind == FORMULA_ABSENT);
        v = v.kind == FORMULA_ABSENT ? w : v;
    }
    return v;
}

bool hf_formula_evaluate(const struct config *c, const char *formula, struct formula_value *out,
                         struct error *e)
{
    struct evaluation ev = {.config = c, .formula = formula, .p = formula, .e = e};
    struct formula_value v = evaluate(&ev, true);
    if (next_char(&ev) != 0) {
        malformed(&ev);
    }
    if (!ev.failed) {
        *out = v;
    }
    return !ev.failed;
}
