/* template.c: chat templates, from where transformers looks for them: chat_template.jinja (and more
 * in additional_chat_templates/), chat_template.json, tokenizer_config.json; the first that is
 * there counts. One has no name and is what a chat uses ("default" in lists); the others are kept
 * under theirs, as upstream keeps them. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "hf/folder.h"
#include "base/json_scan.h"

enum {
    MAX_TEMPLATE_BYTES = 1 << 20,
    MAX_CONFIG_BYTES = 64 << 20,
    MAX_TEMPLATES = 64,
    MAX_NAME = 64
};

struct templates {
    struct gguf_writer *w;
    struct gguf_string names[MAX_TEMPLATES]; /* of those that are not the default */
    char texts[MAX_TEMPLATES][MAX_NAME + 1];
    size_t n;
    bool found;
};

/* Letters, digits, '_' and '-' alone are kept in a key. */
static bool is_name(const char *name, size_t n)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return n > 0 && n <= MAX_NAME && strspn(name, allowed) >= n;
}

/* name: NULL or "default": the one that a chat uses. Names that are none are passed over. */
static void add(struct templates *t, const char *name, size_t name_bytes, const char *text,
                size_t n)
{
    t->found = true;
    if (!name || (name_bytes == 7 && memcmp(name, "default", 7) == 0)) {
        gguf_writer_string(t->w, "tokenizer.chat_template", text, n);
        return;
    }
    if (t->n == MAX_TEMPLATES || !is_name(name, name_bytes)) {
        return;
    }
    struct buf key;
    buf_init(&key, 256);
    buf_append_str(&key, "tokenizer.chat_template.");
    buf_append(&key, name, name_bytes);
    gguf_writer_string(t->w, key.data, text, n);
    buf_free(&key);
    memcpy(t->texts[t->n], name, name_bytes);
    t->names[t->n] = (struct gguf_string){t->texts[t->n], name_bytes};
    t->n++;
}

/* ---- .jinja files ---------------------------------------------------------------------------- */

static bool read_jinja(struct templates *t, const char *path, const char *name, size_t name_bytes,
                       struct error *e)
{
    struct buf text;
    buf_init(&text, MAX_TEMPLATE_BYTES);
    bool ok = file_read(path, MAX_TEMPLATE_BYTES, &text, e);
    size_t bad;
    if (ok && !utf8_valid(text.data ? text.data : "", text.len, &bad)) {
        ok = error_set_at(e, ERROR_INPUT, bad, "%s is not valid UTF-8", path);
    }
    if (ok) {
        add(t, name, name_bytes, text.data ? text.data : "", text.len);
    }
    buf_free(&text);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The files of additional_chat_templates/, by name. */
static bool read_additional(struct templates *t, const char *folder, struct error *e)
{
    char *inner = hf_folder_path(folder, "additional_chat_templates");
    char *names[MAX_TEMPLATES];
    size_t n = 0;
    bool ok = true;
    DIR *d = opendir(inner);
    for (struct dirent *entry; d && n < MAX_TEMPLATES && (entry = readdir(d));) {
        size_t length = strlen(entry->d_name);
        if (length > 6 && strcmp(entry->d_name + length - 6, ".jinja") == 0) {
            names[n++] = mem_strdup(entry->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        char *path = hf_folder_path(inner, names[i]);
        ok = ok && read_jinja(t, path, names[i], strlen(names[i]) - 6, e);
        free(path);
        free(names[i]);
    }
    free(inner);
    return ok;
}

/* ---- JSON files ------------------------------------------------------------------------------ */

/* One entry of a list: {"name": .., "template": ..} */
static bool read_entry(struct templates *t, struct json_scan *s)
{
    struct buf key, name, text;
    bool more = true, has_text = false;
    buf_init(&key, 1 << 16);
    buf_init(&name, 1 << 10);
    buf_init(&text, MAX_TEMPLATE_BYTES);
    bool ok = json_scan_object(s);
    while (ok && (ok = json_scan_key(s, &key, &more)) && more) {
        if (strcmp(key.data, "name") == 0) {
            ok = json_scan_string(s, &name);
        } else if (strcmp(key.data, "template") == 0) {
            ok = has_text = json_scan_string(s, &text);
        } else {
            ok = json_scan_skip(s);
        }
    }
    if (ok && has_text && name.len) {
        add(t, name.data, name.len, text.data, text.len);
    }
    buf_free(&key);
    buf_free(&name);
    buf_free(&text);
    return ok;
}

/* A text, or a list of texts with names. */
static bool read_value(struct templates *t, struct json_scan *s)
{
    bool more = true, ok;
    if (json_scan_peek(s) == '"') {
        struct buf text;
        buf_init(&text, MAX_TEMPLATE_BYTES);
        ok = json_scan_string(s, &text);
        if (ok) {
            add(t, NULL, 0, text.data, text.len);
        }
        buf_free(&text);
        return ok;
    }
    if (json_scan_peek(s) != '[') {
        return json_scan_skip(s); /* null */
    }
    ok = json_scan_array(s);
    while (ok && (ok = json_scan_element(s, &more)) && more) {
        ok = read_entry(t, s);
    }
    return ok;
}

static bool read_json(struct templates *t, const char *path, struct error *e)
{
    struct file_map map;
    struct json_scan s;
    struct buf key;
    bool more = true;
    if (!file_map_open(path, &map, e)) {
        return false;
    }
    bool ok = map.size_bytes <= MAX_CONFIG_BYTES ||
              error_set(e, ERROR_LIMIT, "%s has more than %d bytes", path, MAX_CONFIG_BYTES);
    ok = ok && json_scan_begin(&s, (const char *)map.data, (size_t)map.size_bytes, 0, path, e) &&
         json_scan_object(&s);
    buf_init(&key, 1 << 16);
    while (ok && (ok = json_scan_key(&s, &key, &more)) && more) {
        ok = strcmp(key.data, "chat_template") == 0 ? read_value(t, &s) : json_scan_skip(&s);
    }
    ok = ok && json_scan_end(&s);
    buf_free(&key);
    file_map_close(&map);
    return ok;
}

static bool read_one(struct templates *t, const char *folder, const char *name, struct error *e)
{
    char *path = hf_folder_path(folder, name);
    bool is_json = strcmp(strrchr(name, '.'), ".json") == 0, ok = true;
    if (!t->found && file_exists(path)) {
        ok = is_json ? read_json(t, path, e)
                     : read_jinja(t, path, NULL, 0, e) && read_additional(t, folder, e);
    }
    free(path);
    return ok;
}

bool hf_template_write(const char *folder, struct gguf_writer *w, struct error *e)
{
    static const char *const files[] = {"chat_template.jinja", "chat_template.json",
                                        "tokenizer_config.json"};
    struct templates *t = mem_zalloc(sizeof *t);
    bool ok = true;
    t->w = w;
    for (size_t i = 0; ok && i < sizeof files / sizeof *files; i++) {
        ok = read_one(t, folder, files[i], e);
    }
    if (ok && t->n > 0) {
        gguf_writer_strings(w, "tokenizer.chat_templates", t->names, t->n);
    }
    free(t);
    return ok;
}
