/* vocab_gguf.c: vocabularies in GGUF files (the keys tokenizer.ggml.*; what those cannot say, as
 * lllm.tokenizer.*). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

enum { MAX_NAME_BYTES = 256 };

/* ---- arrays ---- */

/* An array of strings or of numbers in *out; NULL and no error where the key is absent. */
static bool find_array(const struct gguf *g, const char *key, bool strings, uint64_t max_count,
                       const struct gguf_value **out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    *out = v;
    if (!v) {
        return true;
    }
    if (v->type != GGUF_ARRAY || (v->element_type == GGUF_STRING) != strings ||
        v->element_type == GGUF_ARRAY) {
        return error_set(e, ERROR_INPUT, "%s is not an array of %s", key,
                         strings ? "strings" : "numbers");
    }
    if (v->count > max_count) {
        return error_set(e, ERROR_LIMIT, "%s has %llu elements; at most %llu are allowed", key,
                         (unsigned long long)v->count, (unsigned long long)max_count);
    }
    return true;
}

static struct gguf_string *read_strings(struct arena *a, const struct gguf_value *v)
{
    struct gguf_string *list = arena_alloc(a, v->count * sizeof *list);
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < v->count && gguf_array_string(v, &cursor, &list[i]); i++) {
    }
    return list;
}

static bool same_count(const struct gguf_value *v, size_t n_tokens, const char *key,
                       struct error *e)
{
    if (v && v->count != n_tokens) {
        return error_set(e, ERROR_INPUT, "%s has %llu elements, but the vocabulary has %zu tokens",
                         key, (unsigned long long)v->count, n_tokens);
    }
    return true;
}

/* Ollama's files of these kinds name tokens for images that have no row in the embedding: they
 * come last, and are left out. */
static size_t count_with_rows(const struct gguf *g, const struct gguf_string *architecture,
                              size_t n_tokens)
{
    const struct gguf_tensor *embedding = gguf_tensor_find(g, "token_embd.weight");
    bool gemma3 = architecture->len == 6 && memcmp(architecture->data, "gemma3", 6) == 0;
    return gemma3 && embedding && embedding->dims[1] < n_tokens ? embedding->dims[1] : n_tokens;
}

static bool read_tokens(const struct gguf *g, const struct gguf_string *architecture,
                        struct tokenizer_spec *spec, struct error *e)
{
    const struct gguf_value *tokens, *scores, *types, *merges;
    if (!find_array(g, "tokenizer.ggml.tokens", true, TOKENIZER_MAX_TOKENS, &tokens, e) ||
        !find_array(g, "tokenizer.ggml.scores", false, TOKENIZER_MAX_TOKENS, &scores, e) ||
        !find_array(g, "tokenizer.ggml.token_type", false, TOKENIZER_MAX_TOKENS, &types, e) ||
        !find_array(g, "tokenizer.ggml.merges", true, TOKENIZER_MAX_MERGES, &merges, e)) {
        return false;
    }
    if (!tokens) {
        return error_set(e, ERROR_INPUT, "the file has no vocabulary (tokenizer.ggml.tokens)");
    }
    spec->n_tokens = tokens->count;
    if (!same_count(scores, spec->n_tokens, "tokenizer.ggml.scores", e) ||
        !same_count(types, spec->n_tokens, "tokenizer.ggml.token_type", e)) {
        return false;
    }
    spec->n_tokens = count_with_rows(g, architecture, spec->n_tokens);
    spec->tokens = read_strings(spec->arena, tokens);
    if (scores) {
        spec->scores = arena_alloc(spec->arena, spec->n_tokens * sizeof *spec->scores);
        for (size_t i = 0; i < spec->n_tokens; i++) {
            spec->scores[i] = (float)gguf_array_f64(scores, i);
        }
    }
    spec->types = arena_alloc(spec->arena, spec->n_tokens * sizeof *spec->types);
    for (size_t i = 0; i < spec->n_tokens; i++) {
        int64_t type = types ? gguf_array_i64(types, i) : TOKEN_NORMAL;
        spec->types[i] = type < -1 || type > INT32_MAX ? -1 : (int32_t)type;
    }
    if (merges) {
        spec->n_merges = merges->count;
        spec->merges = read_strings(spec->arena, merges);
    }
    return true;
}

/* Eight bytes for each token: doubles, little endian. */
static bool read_exact_scores(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    static const char key[] = "lllm.tokenizer.exact_scores";
    const struct gguf_value *v;
    if (!find_array(g, key, false, (uint64_t)8 * TOKENIZER_MAX_TOKENS, &v, e)) {
        return false;
    }
    if (v && (v->element_type != GGUF_U8 || v->count != 8 * (uint64_t)spec->n_tokens)) {
        return error_set(e, ERROR_INPUT, "%s does not have eight bytes for each token", key);
    }
    if (v) {
        spec->exact_scores = arena_alloc(spec->arena, spec->n_tokens * sizeof(double));
        memcpy(spec->exact_scores, v->data, v->count);
    }
    return true;
}

static bool read_charsmap(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_value *v;
    if (!find_array(g, key, false, TOKENIZER_MAX_CHARSMAP_BYTES, &v, e)) {
        return false;
    }
    if (v && v->element_type != GGUF_U8 && v->element_type != GGUF_I8) {
        return error_set(e, ERROR_INPUT, "%s is not an array of bytes", key);
    }
    if (v && v->count) {
        spec->charsmap = v->data;
        spec->charsmap_bytes = v->count;
    }
    return true;
}

/* ---- single values ---- */

/* An id of a token that exists. Absent: *id keeps the default; 0xFFFFFFFF means none. */
static bool read_id(const struct gguf *g, const char *role, size_t n_tokens, int32_t *id,
                    struct error *e)
{
    uint32_t value = 0;
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", role);
    if (!gguf_value_find(g, key)) {
        return true;
    }
    if (!gguf_get_u32(g, key, &value, e)) {
        return false;
    }
    if (value == UINT32_MAX) {
        *id = TOKENIZER_NO_TOKEN;
        return true;
    }
    if (value >= n_tokens) {
        return error_set(e, ERROR_INPUT, "%s is %lu, but the vocabulary has %zu tokens", key,
                         (unsigned long)value, n_tokens);
    }
    *id = (int32_t)value;
    return true;
}

static bool read_roles(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    for (enum token_role r = 0; r < N_TOKEN_ROLES; r++) {
        const char *old = role_old_key(r);
        if ((old && !read_id(g, old, spec->n_tokens, &spec->roles[r], e)) ||
            !read_id(g, role_key(r), spec->n_tokens, &spec->roles[r], e)) {
            return false;
        }
    }
    return true;
}

static bool read_name(const struct gguf *g, const char *key, struct arena *a, const char **name,
                      struct error *e)
{
    struct gguf_string s = {0};
    if (!gguf_value_find(g, key)) {
        return true;
    }
    if (!gguf_get_string(g, key, &s, e)) {
        return false;
    }
    if (s.len > MAX_NAME_BYTES || memchr(s.data, 0, s.len)) {
        return error_set(e, ERROR_INPUT, "%s is not a name", key);
    }
    *name = arena_strndup(a, s.data, s.len);
    return true;
}

/* ---- what goes without saying ---- */

/* As SentencePiece, BERT and T5 number them; enough tokens for all, or none. */
static int32_t default_role(const struct tokenizer_spec *spec, enum token_role role)
{
    static const struct {
        const char *model;
        size_t n_tokens;
        enum token_role role;
        int32_t id;
    } rows[] = {
        {"llama", 3, ROLE_UNKNOWN, 0},      {"llama", 3, ROLE_BOS, 1},
        {"llama", 3, ROLE_EOS, 2},          {"bert", 104, ROLE_PADDING, 0},
        {"bert", 104, ROLE_UNKNOWN, 100},   {"bert", 104, ROLE_CLS, 101},
        {"bert", 104, ROLE_SEPARATOR, 102}, {"bert", 104, ROLE_MASK, 103},
        {"t5", 3, ROLE_PADDING, 0},         {"t5", 3, ROLE_EOS, 1},
        {"t5", 3, ROLE_UNKNOWN, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].role == role && strcmp(rows[i].model, spec->model) == 0 &&
            spec->n_tokens >= rows[i].n_tokens) {
            return rows[i].id;
        }
    }
    return TOKENIZER_NO_TOKEN;
}

/* Special tokens that take white space with them, in the models of these kinds. */
static const struct strip_row {
    const char *architecture, *pre; /* either may be NULL: any */
    const char *spelling;           /* NULL: every special token but those of `exceptions` */
    uint8_t attribute;
} strip_rows[] = {
    {"phi3", "default", NULL, TOKEN_STRIPS_RIGHT},
    {"nomic-bert-moe", NULL, "<mask>", TOKEN_STRIPS_LEFT},
    {"jina-bert-v3", NULL, "<mask>", TOKEN_STRIPS_LEFT},
    {"modern-bert", NULL, "[MASK]", TOKEN_STRIPS_LEFT},
    {NULL, "jina-v2-de", "<mask>", TOKEN_STRIPS_LEFT},
    {NULL, "jina-v2-es", "<mask>", TOKEN_STRIPS_LEFT},
    {NULL, "jina-v2-code", "<mask>", TOKEN_STRIPS_LEFT},
};

static const char *const exceptions[] = {"<unk>", "<s>", "<|endoftext|>"};

static bool is_spelled(const struct gguf_string *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}

static bool strips(const struct strip_row *row, const struct tokenizer_spec *spec, size_t i)
{
    const struct gguf_string *s = &spec->tokens[i];
    if (row->spelling) {
        return is_spelled(s, row->spelling);
    }
    bool special = spec->types[i] == TOKEN_CONTROL || spec->types[i] == TOKEN_USER_DEFINED;
    for (size_t k = 0; k < sizeof exceptions / sizeof *exceptions; k++) {
        special = special && !is_spelled(s, exceptions[k]);
    }
    return special;
}

static void default_attributes(struct tokenizer_spec *spec, const struct gguf_string *architecture)
{
    for (size_t r = 0; r < sizeof strip_rows / sizeof *strip_rows; r++) {
        const struct strip_row *row = &strip_rows[r];
        const char *pre = spec->pre ? spec->pre : "default";
        if ((row->architecture && !is_spelled(architecture, row->architecture)) ||
            (row->pre && strcmp(pre, row->pre) != 0)) {
            continue;
        }
        if (!spec->attributes) {
            spec->attributes = arena_alloc(spec->arena, spec->n_tokens);
        }
        for (size_t i = 0; i < spec->n_tokens; i++) {
            spec->attributes[i] |= strips(row, spec, i) ? row->attribute : 0;
        }
    }
}

static void fill_defaults(struct tokenizer_spec *spec, const struct gguf_string *architecture)
{
    bool spm = strcmp(spec->model, "llama") == 0, bpe = strcmp(spec->model, "gpt2") == 0;
    const char *pre = pre_default_name(architecture->data, architecture->len);
    if (bpe && pre && (!spec->pre || strcmp(spec->pre, "default") == 0)) {
        spec->pre = pre;
    }
    for (enum token_role r = 0; r < N_TOKEN_ROLES; r++) {
        spec->roles[r] = default_role(spec, r);
    }
    spec->add_bos = spm || (bpe && pre_name_adds_bos(spec->pre));
    spec->add_eos = strcmp(spec->model, "t5") == 0;
    spec->add_separator = bpe && pre_name_adds_separator(spec->pre);
    spec->add_space_prefix = spm;
    if (strcmp(spec->model, "bert") == 0) {
        spec->changes = CHANGE_CLEAN | CHANGE_SPLIT_CJK | CHANGE_STRIP_ACCENTS | CHANGE_LOWERCASE;
    }
}

/* Vocabularies that merge by rules, but characters instead of bytes, have a model's name or a
 * pre-tokenizer's of their own. */
static void map_character_merges(struct tokenizer_spec *spec)
{
    static const char *const names[] = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"};
    bool ours = strcmp(spec->model, "gemma4") == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ours = ours ||
               (strcmp(spec->model, "gpt2") == 0 && spec->pre && strcmp(spec->pre, names[i]) == 0);
    }
    if (!ours) {
        return;
    }
    spec->model = "llama";
    spec->pre = NULL;
    if (!spec->scores) {
        spec->scores = arena_alloc(spec->arena, spec->n_tokens * sizeof *spec->scores);
    }
}

/* ---- reading ---- */

static const struct {
    const char *name;
    uint32_t change;
} change_names[] = {
    {"nothing", CHANGE_NOTHING},
    {"clean", CHANGE_CLEAN},
    {"split-cjk", CHANGE_SPLIT_CJK},
    {"nfc", CHANGE_NFC},
    {"nfd", CHANGE_NFD},
    {"nfkc", CHANGE_NFKC},
    {"nfkd", CHANGE_NFKD},
    {"lowercase", CHANGE_LOWERCASE},
    {"strip-accents", CHANGE_STRIP_ACCENTS},
    {"spaces", CHANGE_SPACES},
};

enum { N_CHANGES = sizeof change_names / sizeof *change_names };

static bool read_changes(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    const char *names = NULL;
    if (!read_name(g, "lllm.tokenizer.changes", spec->arena, &names, e)) {
        return false;
    }
    if (names) {
        spec->changes = 0;
    }
    while (names && *names) {
        size_t n = strcspn(names, " "), i = 0;
        while (i < N_CHANGES &&
               (strlen(change_names[i].name) != n || memcmp(change_names[i].name, names, n) != 0)) {
            i++;
        }
        if (i == N_CHANGES) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "lllm.tokenizer.changes has the unknown \"%.*s\"", (int)n, names);
        }
        spec->changes |= change_names[i].change;
        names += n + (names[n] == ' ');
    }
    bool lower = spec->changes & CHANGE_LOWERCASE, accents = spec->changes & CHANGE_STRIP_ACCENTS;
    if (strcmp(spec->model, "bert") != 0) {
        return true;
    }
    if (!gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", &lower, e)) {
        return false;
    }
    accents = accents && lower; /* unless the file has this as well */
    if (!gguf_get_bool(g, "tokenizer.ggml.normalizer.strip_accents", &accents, e)) {
        return false;
    }
    spec->changes &= ~(uint32_t)(CHANGE_LOWERCASE | CHANGE_STRIP_ACCENTS);
    spec->changes |= (lower ? CHANGE_LOWERCASE : 0) | (accents ? CHANGE_STRIP_ACCENTS : 0);
    return true;
}

static const struct {
    const char *key;
    uint8_t attribute;
} attribute_keys[] = {
    {"lllm.tokenizer.strips_left", TOKEN_STRIPS_LEFT},
    {"lllm.tokenizer.strips_right", TOKEN_STRIPS_RIGHT},
    {"lllm.tokenizer.stands_alone", TOKEN_WHOLE_WORD},
    {"lllm.tokenizer.ends_answer", TOKEN_ENDS_ANSWER},
};

enum { N_ATTRIBUTES = sizeof attribute_keys / sizeof *attribute_keys };

static bool read_attributes(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    for (size_t k = 0; k < N_ATTRIBUTES; k++) {
        const struct gguf_value *v;
        if (!find_array(g, attribute_keys[k].key, false, TOKENIZER_MAX_TOKENS, &v, e)) {
            return false;
        }
        if (v && !spec->attributes) {
            spec->attributes = arena_alloc(spec->arena, spec->n_tokens);
        }
        for (uint64_t i = 0; v && i < v->count; i++) {
            int64_t id = gguf_array_i64(v, i);
            if (id < 0 || (uint64_t)id >= spec->n_tokens) {
                return error_set(e, ERROR_INPUT, "%s has %lld, but the vocabulary has %zu tokens",
                                 attribute_keys[k].key, (long long)id, spec->n_tokens);
            }
            spec->attributes[id] |= attribute_keys[k].attribute;
        }
    }
    struct gguf_string architecture = {"", 0};
    if (gguf_value_find(g, "general.architecture") &&
        !gguf_get_string(g, "general.architecture", &architecture, e)) {
        return false;
    }
    if (!spec->attributes) {
        default_attributes(spec, &architecture);
    }
    return true;
}

static bool read_switches(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    bool word_is_token = false;
    static const char whole_words[] = "lllm.tokenizer.word_is_token";
    if (!gguf_get_bool(g, whole_words, &word_is_token, e)) {
        return false;
    }
    if (gguf_value_find(g, whole_words)) {
        spec->whole_words = word_is_token ? 1 : -1;
    }
    return gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &spec->add_bos, e) &&
           gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &spec->add_eos, e) &&
           gguf_get_bool(g, "tokenizer.ggml.add_sep_token", &spec->add_separator, e) &&
           gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &spec->add_space_prefix, e) &&
           gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces",
                         &spec->remove_extra_whitespaces, e) &&
           gguf_get_bool(g, "lllm.tokenizer.space_prefix_first_only",
                         &spec->space_prefix_first_only, e) &&
           gguf_get_bool(g, "lllm.tokenizer.space_prefix_unless_space",
                         &spec->space_prefix_unless_space, e) &&
           gguf_get_bool(g, "lllm.tokenizer.whitespace_suffix", &spec->whitespace_suffix, e) &&
           gguf_get_bool(g, "lllm.tokenizer.float_sums", &spec->float_sums, e);
}

static bool read_spec(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    struct gguf_string architecture = {"", 0};
    if (!read_name(g, "tokenizer.ggml.model", spec->arena, &spec->model, e)) {
        return false;
    }
    if (!spec->model) {
        return error_set(e, ERROR_INPUT, "the file has no vocabulary (tokenizer.ggml.model)");
    }
    if (gguf_value_find(g, "general.architecture") &&
        !gguf_get_string(g, "general.architecture", &architecture, e)) {
        return false;
    }
    if (!read_name(g, "tokenizer.ggml.pre", spec->arena, &spec->pre, e) ||
        !read_tokens(g, &architecture, spec, e)) {
        return false;
    }
    map_character_merges(spec);
    fill_defaults(spec, &architecture);
    return read_roles(g, spec, e) && read_switches(g, spec, e) && read_charsmap(g, spec, e) &&
           read_exact_scores(g, spec, e) && read_changes(g, spec, e) && read_attributes(g, spec, e);
}

struct tokenizer_spec *tokenizer_spec_from_gguf(const struct gguf *g, struct error *e)
{
    struct tokenizer_spec *spec = tokenizer_spec_new();
    if (!read_spec(g, spec, e)) {
        tokenizer_spec_free(spec);
        return NULL;
    }
    return spec;
}

struct tokenizer *tokenizer_from_gguf(const struct gguf *g, struct error *e)
{
    struct tokenizer_spec *spec = tokenizer_spec_from_gguf(g, e);
    struct tokenizer *t = spec ? tokenizer_new(spec, e) : NULL;
    tokenizer_spec_free(spec);
    return t;
}

/* ---- writing ---- */

/* A role without a token is written where readers would fill it. */
static void write_role(const struct tokenizer_spec *spec, enum token_role role,
                       struct gguf_writer *w)
{
    char key[64];
    int32_t id = spec->roles[role];
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", role_key(role));
    if (id != TOKENIZER_NO_TOKEN) {
        gguf_writer_u32(w, key, (uint32_t)id);
    } else if (default_role(spec, role) != TOKENIZER_NO_TOKEN) {
        gguf_writer_u32(w, key, UINT32_MAX);
    }
}

static void write_attributes(const struct tokenizer_spec *spec, struct gguf_writer *w)
{
    int32_t *ids = mem_array(spec->n_tokens, sizeof *ids);
    for (size_t k = 0; k < N_ATTRIBUTES; k++) {
        size_t n = 0;
        for (size_t i = 0; i < spec->n_tokens; i++) {
            if (spec->attributes[i] & attribute_keys[k].attribute) {
                ids[n++] = (int32_t)i;
            }
        }
        if (n) {
            gguf_writer_i32s(w, attribute_keys[k].key, ids, n);
        }
    }
    free(ids);
}

static void write_changes(const struct tokenizer_spec *spec, struct gguf_writer *w)
{
    char names[MAX_NAME_BYTES] = "";
    for (size_t i = 0; i < N_CHANGES; i++) {
        if (spec->changes & change_names[i].change) {
            size_t n = strlen(names);
            snprintf(names + n, sizeof names - n, "%s%s", n ? " " : "", change_names[i].name);
        }
    }
    gguf_writer_string(w, "lllm.tokenizer.changes", names, strlen(names));
    if (strcmp(spec->model, "bert") == 0) {
        gguf_writer_bool(w, "tokenizer.ggml.normalizer.lowercase",
                         spec->changes & CHANGE_LOWERCASE);
        gguf_writer_bool(w, "tokenizer.ggml.normalizer.strip_accents",
                         spec->changes & CHANGE_STRIP_ACCENTS);
    }
}

/* What tokenizer.ggml.* cannot say, where it has to be said. */
static void write_ours(const struct tokenizer_spec *spec, struct gguf_writer *w)
{
    if (spec->whole_words) {
        gguf_writer_bool(w, "lllm.tokenizer.word_is_token", spec->whole_words > 0);
    }
    if (spec->space_prefix_first_only) {
        gguf_writer_bool(w, "lllm.tokenizer.space_prefix_first_only", true);
    }
    if (spec->space_prefix_unless_space) {
        gguf_writer_bool(w, "lllm.tokenizer.space_prefix_unless_space", true);
    }
    if (spec->whitespace_suffix) {
        gguf_writer_bool(w, "lllm.tokenizer.whitespace_suffix", true);
    }
    if (spec->exact_scores) {
        gguf_writer_u8s(w, "lllm.tokenizer.exact_scores", (const uint8_t *)spec->exact_scores,
                        8 * spec->n_tokens);
    }
    if (spec->float_sums) {
        gguf_writer_bool(w, "lllm.tokenizer.float_sums", true);
    }
    if (spec->changes) {
        write_changes(spec, w);
    }
    if (spec->attributes) {
        write_attributes(spec, w);
    }
}

void tokenizer_spec_write(const struct tokenizer_spec *spec, struct gguf_writer *w)
{
    const char *pre = spec->pre ? spec->pre : "default";
    gguf_writer_string(w, "tokenizer.ggml.model", spec->model, strlen(spec->model));
    gguf_writer_string(w, "tokenizer.ggml.pre", pre, strlen(pre));
    gguf_writer_strings(w, "tokenizer.ggml.tokens", spec->tokens, spec->n_tokens);
    if (spec->scores) {
        gguf_writer_f32s(w, "tokenizer.ggml.scores", spec->scores, spec->n_tokens);
    }
    if (spec->types) {
        gguf_writer_i32s(w, "tokenizer.ggml.token_type", spec->types, spec->n_tokens);
    }
    if (spec->n_merges) {
        gguf_writer_strings(w, "tokenizer.ggml.merges", spec->merges, spec->n_merges);
    }
    for (enum token_role r = 0; r < N_TOKEN_ROLES; r++) {
        write_role(spec, r, w);
    }
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", spec->add_bos);
    gguf_writer_bool(w, "tokenizer.ggml.add_eos_token", spec->add_eos);
    if (spec->add_separator) {
        gguf_writer_bool(w, "tokenizer.ggml.add_sep_token", true);
    }
    gguf_writer_bool(w, "tokenizer.ggml.add_space_prefix", spec->add_space_prefix);
    if (spec->remove_extra_whitespaces) {
        gguf_writer_bool(w, "tokenizer.ggml.remove_extra_whitespaces", true);
    }
    if (spec->charsmap) {
        gguf_writer_u8s(w, "tokenizer.ggml.precompiled_charsmap", spec->charsmap,
                        spec->charsmap_bytes);
    }
    write_ours(spec, w);
}
