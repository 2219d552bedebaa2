/* hf.c: the vocabulary of a Hugging Face folder. */
#include "tokenizer/hf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* Of a small file that is made a tree. */
enum { MAX_TREE_BYTES = 4 << 20, MAX_TREE_VALUES = 1 << 16 };

/* ---- files ---- */

static bool find_file(const struct hf_reader *r, const char *name, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", r->folder, name);
    return n > 0 && n < PATH_MAX && file_exists(path);
}

bool hf_read(const struct hf_reader *r, const char *name, struct buf *text, bool *there)
{
    char path[PATH_MAX];
    *there = find_file(r, name, path);
    return !*there || file_read(path, HF_MAX_FILE_BYTES, text, r->e);
}

/* Integers over 64 bits, which jansson refuses and model_max_length often is (10^30, for "none"),
 * become the largest that fits, in place. */
static void cut_integers(char *text, size_t n)
{
    static const char largest[] = "9223372036854775807";
    size_t most = sizeof largest - 1;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            in_string = !in_string;
        } else if (!in_string && text[i] >= '0' && text[i] <= '9') {
            size_t length = 1;
            while (i + length < n && text[i + length] >= '0' && text[i + length] <= '9') {
                length++;
            }
            bool fraction = i > 0 && text[i - 1] == '.';
            bool real = i + length < n && strchr(".eE", text[i + length]);
            if (length >= most && !fraction && !real) {
                memset(text + i, ' ', length);
                memcpy(text + i, largest, most);
            }
            i += length - 1;
        }
    }
}

json_t *hf_parse(char *text, size_t n, json_error_t *problem)
{
    cut_integers(text, n);
    return json_loadb(text, n, JSON_ALLOW_NUL, problem);
}

static json_t *parse(const char *name, struct buf *text, struct error *e)
{
    json_error_t problem;
    buf_append(text, "", 0); /* so that data is not NULL */
    json_t *json = hf_parse(text->data, text->len, &problem);
    if (!json) {
        error_set(e, ERROR_INPUT, "%s is no valid JSON: %s (line %d)", name, problem.text,
                  problem.line);
    } else if (!json_is_object(json)) {
        error_set(e, ERROR_INPUT, "%s is no JSON object", name);
        json_decref(json);
        json = NULL;
    }
    return json;
}

/* As many values as the trees of a folder may have together; of the files seen so far Gemma's
 * tokenizer_config.json has the most, 45,000 in 1.2 MB. */
static bool count_values(struct hf_reader *r, const char *text, size_t n)
{
    struct json_scan s;
    if (!json_scan_begin(&s, text, n, 0, NULL, r->e) || !json_scan_skip(&s) || !json_scan_end(&s)) {
        return false;
    }
    r->n_values += s.n_skipped;
    return r->n_values <= MAX_TREE_VALUES ||
           error_set(r->e, ERROR_LIMIT,
                     "it has, with the small files beside it, more than %d values",
                     MAX_TREE_VALUES);
}

bool hf_read_json(struct hf_reader *r, const char *name, json_t **json)
{
    struct buf text;
    char path[PATH_MAX];
    *json = NULL;
    if (!find_file(r, name, path)) {
        return true;
    }
    buf_init(&text, (size_t)MAX_TREE_BYTES + 1);
    bool ok = file_read(path, MAX_TREE_BYTES, &text, r->e);
    if (ok) {
        ok = count_values(r, text.data ? text.data : "", text.len) ||
             error_prefix(r->e, "%s: ", name);
    }
    if (ok) {
        *json = parse(name, &text, r->e);
        ok = *json != NULL;
    }
    buf_free(&text);
    return ok;
}

/* ---- tokens ---- */

static void *grow(struct arena *a, const void *old, size_t n, size_t capacity, size_t element_bytes)
{
    void *larger = arena_alloc(a, capacity * element_bytes);
    if (n && old) {
        memcpy(larger, old, n * element_bytes);
    }
    return larger;
}

void hf_reserve(struct hf_reader *r, size_t n)
{
    struct tokenizer_spec *s = r->spec;
    size_t capacity = n;
    if (n <= r->capacity) {
        return;
    }
    s->tokens = grow(s->arena, s->tokens, s->n_tokens, capacity, sizeof *s->tokens);
    s->types = grow(s->arena, s->types, s->n_tokens, capacity, sizeof *s->types);
    s->scores = grow(s->arena, s->scores, s->n_tokens, capacity, sizeof *s->scores);
    s->exact_scores =
        grow(s->arena, s->exact_scores, s->n_tokens, capacity, sizeof *s->exact_scores);
    s->attributes = grow(s->arena, s->attributes, s->n_tokens, capacity, 1);
    r->capacity = capacity;
}

enum { ROOM_BYTES = 1 << 16, LARGE_ROOM_BYTES = 1 << 20, MAX_GAPS = 1 << 16 };

char *hf_copy_text(struct hf_reader *r, const char *text, size_t n)
{
    if (n + 1 > r->room_bytes) {
        size_t usual = r->room ? LARGE_ROOM_BYTES : ROOM_BYTES;
        r->room_bytes = n + 1 > usual ? n + 1 : usual;
        r->room = arena_alloc(r->spec->arena, r->room_bytes);
    }
    char *copy = r->room;
    if (n) {
        memcpy(copy, text, n);
    }
    r->room += n + 1;
    r->room_bytes -= n + 1;
    return copy;
}

bool hf_set_token(struct hf_reader *r, int64_t id, const char *text, size_t n, int32_t type,
                  double score)
{
    struct tokenizer_spec *s = r->spec;
    if (id < 0 || id >= TOKENIZER_MAX_TOKENS) {
        return error_set(r->e, ERROR_LIMIT, "a token has the id %lld; 0 to %d are allowed",
                         (long long)id, TOKENIZER_MAX_TOKENS - 1);
    }
    if (n > TOKENIZER_MAX_SPELLING_BYTES) {
        return error_set(r->e, ERROR_LIMIT, "token %lld is longer than %d bytes", (long long)id,
                         TOKENIZER_MAX_SPELLING_BYTES);
    }
    size_t larger = (size_t)id + 1 + (size_t)id / 2 + 256;
    if ((size_t)id >= r->capacity) {
        hf_reserve(r, larger < TOKENIZER_MAX_TOKENS ? larger : TOKENIZER_MAX_TOKENS);
    }
    strmap_free(r->index);
    r->index = NULL;
    if ((size_t)id >= s->n_tokens) {
        s->n_tokens = (size_t)id + 1;
    }
    s->tokens[id] = (struct gguf_string){hf_copy_text(r, text, n), n};
    s->types[id] = type;
    s->scores[id] = (float)score;
    s->exact_scores[id] = score;
    return true;
}

bool hf_add_special(struct hf_reader *r, int64_t id, const char *text, size_t n, bool control,
                    uint8_t attributes)
{
    struct tokenizer_spec *s = r->spec;
    bool known = id >= 0 && (uint64_t)id < s->n_tokens && s->types[id];
    int32_t type = control ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
    /* The unknown token stays one, and a token for a byte too. */
    if (known && (s->types[id] == TOKEN_UNKNOWN || s->types[id] == TOKEN_BYTE)) {
        type = s->types[id];
    }
    double score = known ? s->exact_scores[id] : HF_NO_SCORE;
    /* Marks in the spelling of an added word stand for the spaces of the text. */
    char *spaced = mem_strndup(text, n);
    for (char *mark; !control && (mark = strstr(spaced, WORD_START)) != NULL;) {
        *mark = ' ';
        memmove(mark + 1, mark + 3, strlen(mark + 3) + 1);
        n -= 2;
    }
    bool ok = hf_set_token(r, id, spaced, n, type, score);
    free(spaced);
    if (ok) {
        s->attributes[id] = attributes;
    }
    return ok;
}

bool hf_fill_gaps(struct hf_reader *r)
{
    struct tokenizer_spec *s = r->spec;
    size_t n_gaps = 0;
    for (size_t i = 0; i < s->n_tokens; i++) {
        n_gaps += s->types[i] == 0;
    }
    if (n_gaps > MAX_GAPS && n_gaps > s->n_tokens - n_gaps) {
        return error_set(
            r->e, ERROR_INPUT,
            "its %zu tokens have numbers up to %zu, which leaves more gaps than tokens",
            s->n_tokens - n_gaps, s->n_tokens - 1);
    }
    for (size_t i = 0; i < s->n_tokens; i++) {
        char text[32];
        if (s->types[i] == 0) {
            int n = snprintf(text, sizeof text, "[PAD%zu]", i);
            hf_set_token(r, (int64_t)i, text, (size_t)n, TOKEN_UNUSED, HF_NO_SCORE);
        }
    }
    return true;
}

int32_t hf_find(struct hf_reader *r, const char *text, size_t n)
{
    const struct tokenizer_spec *s = r->spec;
    uint32_t id;
    if (!r->index) {
        r->index = strmap_new(s->n_tokens);
        for (size_t i = 0; i < s->n_tokens; i++) {
            if (s->types[i]) {
                strmap_add(r->index, s->tokens[i].data, s->tokens[i].len, (uint32_t)i);
            }
        }
    }
    return strmap_get(r->index, text, n, &id) ? (int32_t)id : TOKENIZER_NO_TOKEN;
}

bool hf_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

uint8_t hf_attributes(const json_t *added)
{
    return (uint8_t)((hf_bool(added, "lstrip", false) ? TOKEN_STRIPS_LEFT : 0) |
                     (hf_bool(added, "rstrip", false) ? TOKEN_STRIPS_RIGHT : 0) |
                     (hf_bool(added, "single_word", false) ? TOKEN_WHOLE_WORD : 0));
}

/* ---- tokenizer_config.json and its neighbours ---- */

/* A token given by its spelling, or as an object that has it; NULL for others. */
static const char *spelling_of(const json_t *value, size_t *n)
{
    const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
    *n = json_string_length(text);
    return json_string_value(text);
}

static const struct {
    const char *key;
    enum token_role role;
} role_keys[] = {
    {"bos_token", ROLE_BOS},           {"eos_token", ROLE_EOS},
    {"unk_token", ROLE_UNKNOWN},       {"pad_token", ROLE_PADDING},
    {"sep_token", ROLE_SEPARATOR},     {"cls_token", ROLE_CLS},
    {"mask_token", ROLE_MASK},         {"eot_token", ROLE_EOT},
    {"prefix_token", ROLE_FIM_PREFIX}, {"suffix_token", ROLE_FIM_SUFFIX},
    {"middle_token", ROLE_FIM_MIDDLE},
};

/* Roles that the vocabulary itself did not fill. */
static void read_roles(struct hf_reader *r, const json_t *object, bool overrule)
{
    for (size_t i = 0; i < sizeof role_keys / sizeof *role_keys; i++) {
        size_t n;
        const char *text = spelling_of(json_object_get(object, role_keys[i].key), &n);
        int32_t *role = &r->spec->roles[role_keys[i].role];
        if (text && (overrule || *role == TOKENIZER_NO_TOKEN)) {
            int32_t id = hf_find(r, text, n);
            *role = id == TOKENIZER_NO_TOKEN ? *role : id;
        }
    }
}

/* {"32000": {"content": "<|end|>", "special": true, "rstrip": true}, ...} */
static bool read_added_decoder(struct hf_reader *r)
{
    const json_t *all = json_object_get(r->config, "added_tokens_decoder");
    const char *key;
    json_t *added;
    json_object_foreach((json_t *)all, key, added)
    {
        char *end;
        long long id = strtoll(key, &end, 10);
        size_t n;
        const char *text = spelling_of(added, &n);
        if (*end || end == key || !text || !json_is_object(added)) {
            return error_set(r->e, ERROR_INPUT,
                             "tokenizer_config.json: added_tokens_decoder has the entry \"%.40s\", "
                             "which is no token with a number",
                             key);
        }
        if (!hf_add_special(r, id, text, n, hf_bool(added, "special", false),
                            hf_attributes(added))) {
            return error_prefix(r->e, "tokenizer_config.json: ");
        }
    }
    return true;
}

/* {"<|end|>": 32000, ...} */
static bool read_added_tokens(struct hf_reader *r)
{
    json_t *all, *id;
    const char *text;
    if (!hf_read_json(r, "added_tokens.json", &all)) {
        return false;
    }
    bool ok = true;
    json_object_foreach(all, text, id)
    {
        bool is_id = json_is_integer(id);
        json_int_t number = json_integer_value(id);
        if (ok && !is_id) {
            ok = error_set(r->e, ERROR_INPUT, "added_tokens.json: \"%.40s\" has no number", text);
        }
        bool known =
            is_id && number >= 0 && (size_t)number < r->spec->n_tokens && r->spec->types[number];
        if (ok && !known) {
            ok = hf_add_special(r, number, text, strlen(text), false, 0) ||
                 error_prefix(r->e, "added_tokens.json: ");
        }
    }
    json_decref(all);
    return ok;
}

/* The tokens that a map of special tokens names are control tokens. */
static void mark_special(struct hf_reader *r, const json_t *value)
{
    size_t n;
    const char *text = spelling_of(value, &n);
    int32_t id = text ? hf_find(r, text, n) : TOKENIZER_NO_TOKEN;
    if (id != TOKENIZER_NO_TOKEN &&
        (r->spec->types[id] == TOKEN_NORMAL || r->spec->types[id] == TOKEN_USER_DEFINED)) {
        r->spec->types[id] = TOKEN_CONTROL;
    }
}

static void mark_specials(struct hf_reader *r, const json_t *object)
{
    const json_t *more = json_object_get(object, "additional_special_tokens");
    for (size_t i = 0; i < sizeof role_keys / sizeof *role_keys; i++) {
        mark_special(r, json_object_get(object, role_keys[i].key));
    }
    for (size_t i = 0; i < json_array_size(more); i++) {
        mark_special(r, json_array_get(more, i));
    }
}

/* What stands beside a vocabulary that is not tokenizer.json, which has it all. */
static bool read_neighbours(struct hf_reader *r)
{
    json_t *map;
    if (!read_added_decoder(r) || !read_added_tokens(r) ||
        !hf_read_json(r, "special_tokens_map.json", &map)) {
        return false;
    }
    mark_specials(r, r->config);
    mark_specials(r, map);
    read_roles(r, map, true);
    json_decref(map);
    return true;
}

/* ---- the folder ---- */

struct source {
    const char *name;
    bool (*read)(struct hf_reader *r, const char *name, bool *there);
};

/* Mapped: what is read of it is copied, and the rest never takes memory of its own. */
static bool map_file(struct hf_reader *r, const char *name, struct file_map *map, bool *there)
{
    char path[PATH_MAX];
    *there = find_file(r, name, path);
    if (!*there) {
        return true;
    }
    if (!file_map_open(path, map, r->e)) {
        return false;
    }
    if (map->size_bytes > HF_MAX_FILE_BYTES) {
        file_map_close(map);
        return error_set(r->e, ERROR_LIMIT, "%s: it is larger than %d bytes", name,
                         HF_MAX_FILE_BYTES);
    }
    return true;
}

static bool read_from_json(struct hf_reader *r, const char *name, bool *there)
{
    struct file_map map;
    if (!map_file(r, name, &map, there) || !*there) {
        return !*there;
    }
    bool ok = hf_read_tokenizer_json(r, (const char *)map.data, (size_t)map.size_bytes) ||
              error_prefix(r->e, "%s: ", name);
    file_map_close(&map);
    return ok;
}

static bool read_from_model(struct hf_reader *r, const char *name, bool *there)
{
    struct buf data;
    buf_init(&data, (size_t)HF_MAX_FILE_BYTES + 1);
    bool ok = hf_read(r, name, &data, there);
    ok = ok && (!*there || hf_read_tokenizer_model(r, data.data ? data.data : "", data.len) ||
                error_prefix(r->e, "%s: ", name));
    buf_free(&data);
    return ok && (!*there || read_neighbours(r));
}

static bool read_pair(struct hf_reader *r, const char *vocab_name, const char *merges_name,
                      bool *there)
{
    struct file_map vocab, merges;
    struct hf_parts parts;
    if (!map_file(r, merges_name, &merges, there) || !*there) {
        return !*there;
    }
    bool ok = map_file(r, vocab_name, &vocab, there);
    if (ok && *there) {
        ok = (hf_parts_open_vocab(&parts, (const char *)vocab.data, (size_t)vocab.size_bytes,
                                  r->e) &&
              hf_read_vocab_of_pair(r, &parts)) ||
             error_prefix(r->e, "%s: ", vocab_name);
        ok = ok && (hf_read_merge_lines(r, (const char *)merges.data, (size_t)merges.size_bytes) ||
                    error_prefix(r->e, "%s: ", merges_name));
        hf_parts_close(&parts);
        file_map_close(&vocab);
    }
    file_map_close(&merges);
    return ok && (!*there || read_neighbours(r));
}

static bool read_from_pair(struct hf_reader *r, const char *name, bool *there)
{
    return read_pair(r, name, "merges.txt", there);
}

/* As OpenAI named them. */
static bool read_from_old_pair(struct hf_reader *r, const char *name, bool *there)
{
    return read_pair(r, name, "vocab.bpe", there);
}

static bool read_from_text(struct hf_reader *r, const char *name, bool *there)
{
    struct buf text;
    buf_init(&text, (size_t)HF_MAX_FILE_BYTES + 1);
    bool ok = hf_read(r, name, &text, there);
    ok = ok && (!*there || hf_read_vocab_text(r, text.data ? text.data : "", text.len) ||
                error_prefix(r->e, "%s: ", name));
    buf_free(&text);
    return ok && (!*there || read_neighbours(r));
}

static const struct source sources[] = {
    {"tokenizer.json", read_from_json}, {"tokenizer.model", read_from_model},
    {"vocab.json", read_from_pair},     {"encoder.json", read_from_old_pair},
    {"vocab.txt", read_from_text},
};

/* What a vocabulary does not need is not kept: scores of byte-level BPE, attributes of none. */
static void tidy(struct tokenizer_spec *s)
{
    bool any = false, exact = true;
    for (size_t i = 0; i < s->n_tokens; i++) {
        any = any || s->attributes[i];
        exact = exact && (double)s->scores[i] == s->exact_scores[i];
    }
    s->exact_scores = exact || strcmp(s->model, "t5") != 0 ? NULL : s->exact_scores;
    s->attributes = any ? s->attributes : NULL;
    if (strcmp(s->model, "gpt2") == 0 || strcmp(s->model, "bert") == 0) {
        s->scores = NULL;
    }
}

static bool read_folder(struct hf_reader *r)
{
    bool there = false;
    if (!hf_read_json(r, "tokenizer_config.json", &r->config)) {
        return false;
    }
    for (size_t i = 0; i < sizeof sources / sizeof *sources && !there; i++) {
        if (!sources[i].read(r, sources[i].name, &there)) {
            return false;
        }
    }
    if (!there) {
        return error_set(r->e, ERROR_IO,
                         "the folder has no tokenizer: none of tokenizer.json, tokenizer.model, "
                         "vocab.json with merges.txt, vocab.txt is there");
    }
    if (r->spec->n_tokens == 0) {
        return error_set(r->e, ERROR_INPUT, "the vocabulary has no tokens");
    }
    if (!hf_fill_gaps(r)) {
        return false;
    }
    read_roles(r, r->config, true);
    r->spec->add_bos = hf_bool(r->config, "add_bos_token", r->spec->add_bos);
    r->spec->add_eos = hf_bool(r->config, "add_eos_token", r->spec->add_eos);
    tidy(r->spec);
    return true;
}

struct tokenizer_spec *tokenizer_spec_from_hf(const char *folder, struct error *e)
{
    struct hf_reader r = {.folder = folder, .spec = tokenizer_spec_new(), .e = e};
    bool ok = read_folder(&r);
    ok = ok && vocab_check(r.spec, e); /* what cannot be used is said now, not when it is */
    json_decref(r.config);
    strmap_free(r.index);
    if (!ok) {
        error_prefix(e, "%s: ", folder);
        tokenizer_spec_free(r.spec);
        return NULL;
    }
    return r.spec;
}
