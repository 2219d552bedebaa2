/* hf_json.c: tokenizer.json of Hugging Face's tokenizers library. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tokenizer/hf.h"

static bool unsupported(struct hf_reader *r, const char *what)
{
    return error_set(r->e, ERROR_UNSUPPORTED, "its model has %s, which this program does not know",
                     what);
}

static bool is_unset(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_number(value) && json_number_value(value) == 0);
}

static void mark_unknown(struct hf_reader *r, int32_t id)
{
    if (id != TOKENIZER_NO_TOKEN) {
        r->spec->types[id] = TOKEN_UNKNOWN;
        r->spec->roles[ROLE_UNKNOWN] = id;
    }
}

static void mark_unknown_text(struct hf_reader *r, const json_t *model)
{
    const char *text = json_string_value(json_object_get(model, "unk_token"));
    if (text) {
        mark_unknown(r, hf_find(r, text, strlen(text)));
    }
}

/* "<0x41>" is a byte. Returns how many there are. */
static size_t mark_bytes(struct hf_reader *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->spec->n_tokens; i++) {
        const struct gguf_string *s = &r->spec->tokens[i];
        if (s->len == 6 && memcmp(s->data, "<0x", 3) == 0 && s->data[5] == '>' &&
            strspn(s->data + 3, "0123456789ABCDEFabcdef") == 2) {
            r->spec->types[i] = TOKEN_BYTE;
            n++;
        }
    }
    return n;
}

/* ---- how text is cut ---- */

static void use_steps(struct hf_reader *r, const struct hf_steps *steps)
{
    struct tokenizer_spec *s = r->spec;
    s->add_space_prefix = steps->space_prefix;
    s->space_prefix_first_only = steps->space_prefix && steps->first_only;
    s->space_prefix_unless_space = steps->space_prefix && steps->unless_space;
    s->remove_extra_whitespaces = steps->drops_runs;
    s->changes = steps->changes ? steps->changes : CHANGE_NOTHING;
    s->charsmap = steps->charsmap;
    s->charsmap_bytes = steps->charsmap_bytes;
}

static bool use_patterns(struct hf_reader *r, const json_t *model, const struct hf_steps *steps)
{
    struct tokenizer_spec *s = r->spec;
    bool whole_words = hf_bool(model, "ignore_merges", false);
    s->pre = pre_recognise(steps->patterns, steps->n_patterns, whole_words,
                           steps->changes == CHANGE_NFC, s->arena, r->e);
    struct pre *pre = s->pre ? pre_new(s->pre, strlen(s->pre), r->e) : NULL;
    if (!pre) {
        return false;
    }
    if (pre_whole_words(pre) != whole_words) {
        s->whole_words = whole_words ? 1 : -1;
    }
    if (pre_changes(pre) == s->changes) {
        s->changes = 0;
    }
    pre_free(pre);
    return true;
}

/* Steps that the family of the model cannot take. */
static bool check_steps(struct hf_reader *r, const struct hf_steps *steps, bool marks)
{
    if (steps->n_patterns && marks) {
        return error_set(r->e, ERROR_UNSUPPORTED,
                         "it cuts text by the pattern \"%.100s\" and marks spaces with U+2581, "
                         "which this program does not know together",
                         steps->patterns[0].data);
    }
    if (marks && !steps->marks_spaces) {
        return unsupported(r, "a vocabulary of characters, but spaces are not marked with U+2581");
    }
    for (size_t i = 0; marks && steps->split_at_marks && i < r->spec->n_tokens; i++) {
        const struct gguf_string *s = &r->spec->tokens[i];
        if (s->len > 3 && r->spec->types[i] == TOKEN_NORMAL &&
            memmem(s->data + 1, s->len - 1, WORD_START, 3)) {
            return unsupported(r, "tokens across spaces, at which its text is cut");
        }
    }
    return true;
}

/* ---- BPE ---- */

static bool read_byte_level(struct hf_reader *r, const json_t *model, const struct hf_steps *steps)
{
    r->spec->model = "gpt2";
    if (steps->marks_spaces || steps->charsmap || steps->drops_runs || steps->bert) {
        return unsupported(r, "bytes as tokens, and steps that belong to others");
    }
    return use_patterns(r, model, steps);
}

/* Other programs need scores: the sooner a merge, the higher. */
static void score_by_merges(struct hf_reader *r)
{
    struct tokenizer_spec *s = r->spec;
    char *whole = mem_alloc(2 * TOKENIZER_MAX_SPELLING_BYTES + 1);
    for (size_t i = s->n_merges; i-- > 0;) { /* the first of several comes last */
        const struct gguf_string *m = &s->merges[i];
        const char *space = m->len > 2 ? memchr(m->data + 1, ' ', m->len - 2) : NULL;
        if (!space || m->len > 2 * TOKENIZER_MAX_SPELLING_BYTES) {
            continue;
        }
        size_t cut = (size_t)(space - m->data);
        memcpy(whole, m->data, cut);
        memcpy(whole + cut, space + 1, m->len - cut - 1);
        int32_t id = hf_find(r, whole, m->len - 1);
        if (id != TOKENIZER_NO_TOKEN) {
            s->scores[id] = -(float)i;
        }
    }
    free(whole);
}

/* Character vocabularies made from tokenizer.model are read from it where it is there: it is what
 * the model was trained with, and what other programs' files have. */
static bool read_original(struct hf_reader *r, bool *there)
{
    struct buf data;
    buf_init(&data, (size_t)HF_MAX_FILE_BYTES + 1);
    bool ok = hf_read(r, "tokenizer.model", &data, there);
    ok = ok && (!*there || hf_read_tokenizer_model(r, data.data ? data.data : "", data.len));
    buf_free(&data);
    return ok;
}

static bool read_characters(struct hf_reader *r, const json_t *model, const struct hf_steps *steps)
{
    bool fallback = hf_bool(model, "byte_fallback", false);
    size_t n_bytes = fallback ? mark_bytes(r) : 0;
    r->spec->model = "llama";
    if (!check_steps(r, steps, true)) {
        return false;
    }
    if (n_bytes < 256 && !hf_bool(model, "fuse_unk", false)) {
        return unsupported(r, "unknown characters that stay apart");
    }
    score_by_merges(r);
    return true;
}

static bool read_bpe(struct hf_reader *r, const struct hf_parts *parts, const json_t *model,
                     const struct hf_steps *steps)
{
    static const char *const unset[] = {"dropout", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) {
        if (!is_unset(model, unset[i])) {
            return unsupported(r, unset[i]);
        }
    }
    bool there = false;
    if (!steps->byte_level && (!read_original(r, &there) || there)) {
        return there && strcmp(r->spec->model, "llama") != 0
                   ? unsupported(r, "merges, but tokenizer.model has none")
                   : there;
    }
    if (!hf_read_vocab_object(r, parts, false) || !hf_read_merges(r, parts)) {
        return false;
    }
    mark_unknown_text(r, model);
    use_steps(r, steps);
    return steps->byte_level ? read_byte_level(r, model, steps) : read_characters(r, model, steps);
}

/* ---- unigram ---- */

/* A number as the tokenizers library reads it: all digits as an integer, then one multiplication or
 * division by a power of ten, which is often a bit off. Where two ways to cut a word are equally
 * probable, this bit decides, so it is kept. The shortest digits that mean the number are taken to
 * be those of the file. */
static double read_as_others(double exact)
{
    char text[40];
    double digits = 0, power;
    int precision = 0;
    do {
        snprintf(text, sizeof text, "%.*e", precision, fabs(exact));
    } while (strtod(text, NULL) != fabs(exact) && ++precision < 17);
    uint64_t significand = 0;
    for (const char *p = text; *p && *p != 'e'; p++) {
        if (*p != '.') {
            significand = significand * 10 + (uint64_t)(*p - '0');
        }
    }
    const char *e = strchr(text, 'e');
    int exponent = (e ? atoi(e + 1) : 0) - precision;
    digits = (double)significand;
    power = pow(10, abs(exponent));
    double value = exponent < 0 ? digits / power : digits * power;
    return exact < 0 ? -value : value;
}

static bool read_unigram(struct hf_reader *r, const struct hf_parts *parts, const json_t *model,
                         const struct hf_steps *steps)
{
    const json_t *unknown;
    r->spec->model = "t5";
    if (!hf_read_piece_list(r, parts, read_as_others)) {
        return false;
    }
    if (hf_bool(model, "byte_fallback", false)) {
        mark_bytes(r);
    }
    unknown = json_object_get(model, "unk_id");
    json_int_t id = json_integer_value(unknown);
    if (json_is_integer(unknown) && id >= 0 && (uint64_t)id < r->spec->n_tokens) {
        mark_unknown(r, (int32_t)id);
    } else if (unknown && !json_is_null(unknown)) {
        return error_set(r->e, ERROR_INPUT, "unk_id is no number of a piece");
    }
    use_steps(r, steps);
    return check_steps(r, steps, true);
}

/* ---- WordPiece ---- */

struct gguf_string hf_word_piece(struct buf *made, const char *text, size_t n)
{
    if (n > 2 && memcmp(text, "##", 2) == 0) {
        return (struct gguf_string){text + 2, n - 2};
    }
    if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
        return (struct gguf_string){text, n};
    }
    buf_clear(made);
    bool fits = buf_append_str(made, WORD_START) && buf_append(made, text, n);
    return fits ? (struct gguf_string){made->data, made->len} : (struct gguf_string){text, n};
}

static bool read_word_piece(struct hf_reader *r, const struct hf_parts *parts, const json_t *model,
                            const struct hf_steps *steps)
{
    const json_t *prefix = json_object_get(model, "continuing_subword_prefix");
    const json_t *longest = json_object_get(model, "max_input_chars_per_word");
    r->spec->model = "bert";
    if (prefix && (!json_is_string(prefix) || strcmp(json_string_value(prefix), "##") != 0)) {
        return unsupported(r, "a continuing_subword_prefix other than \"##\"");
    }
    if (longest && json_integer_value(longest) != 100) {
        return unsupported(r, "max_input_chars_per_word other than 100");
    }
    if (!steps->bert || steps->n_patterns || steps->marks_spaces || steps->byte_level) {
        return unsupported(r, "pieces of words, but not BERT's way of cutting words");
    }
    if (!hf_read_vocab_object(r, parts, true)) {
        return false;
    }
    mark_unknown_text(r, model);
    use_steps(r, steps);
    return true;
}

/* ---- the whole ---- */

static const struct {
    const char *type;
    bool (*read)(struct hf_reader *r, const struct hf_parts *parts, const json_t *model,
                 const struct hf_steps *steps);
} models[] = {
    {"BPE", read_bpe},
    {"Unigram", read_unigram},
    {"WordPiece", read_word_piece},
};

static bool read_parts(struct hf_reader *r, const struct hf_parts *parts)
{
    const json_t *root = parts->rest, *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    struct hf_steps steps;
    if (!json_is_object(model)) {
        return error_set(r->e, ERROR_INPUT, "it has no model");
    }
    if (!type) { /* older files leave it out */
        type = json_object_get(model, "merges")     ? "BPE"
               : hf_parts_begins(parts->vocab, '[') ? "Unigram"
                                                    : "WordPiece";
    }
    if (!hf_read_steps(r, json_object_get(root, "normalizer"),
                       json_object_get(root, "pre_tokenizer"), &steps)) {
        return false;
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (strcmp(models[i].type, type) == 0) {
            return models[i].read(r, parts, model, &steps) && hf_read_added(r, parts) &&
                   hf_read_post_processor(r, json_object_get(root, "post_processor"));
        }
    }
    return error_set(r->e, ERROR_UNSUPPORTED,
                     "its model is \"%.40s\"; BPE, Unigram and WordPiece are known", type);
}

bool hf_read_tokenizer_json(struct hf_reader *r, const char *text, size_t n)
{
    struct hf_parts parts;
    bool ok = hf_parts_open(&parts, text, n, r->e) && read_parts(r, &parts);
    hf_parts_close(&parts);
    return ok;
}
