/* hf_steps.c: how a tokenizer.json changes and cuts text, by the kinds of its steps.
 *
 * Normalizers and pre-tokenizers are small programs of steps. Each kind of step that is understood
 * is a row; what its members ask for and is not understood is named.
 */
#include <string.h>

#include "tokenizer/hf.h"

#define ASCII_SIGNS "!-/:-@\\[-`{-~"

enum { MAX_DEPTH = 8 };

struct step_row {
    const char *type;
    bool (*read)(struct hf_reader *r, const json_t *step, struct hf_steps *steps);
};

static bool fail(struct hf_reader *r, const char *type, const char *what)
{
    return error_set(r->e, ERROR_UNSUPPORTED,
                     "its step \"%s\" has %s, which this program does not know", type, what);
}

static bool is_text(const json_t *value, const char *text)
{
    const char *have = json_string_value(value);
    return have && strcmp(have, text) == 0;
}

/* pattern: {"String": ...} or {"Regex": ...}; older files have the string alone. */
static const char *pattern_of(const json_t *step, bool *is_regex)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    *is_regex = regex != NULL;
    if (regex) {
        return regex;
    }
    return json_string_value(json_is_string(pattern) ? pattern
                                                     : json_object_get(pattern, "String"));
}

static bool add_pattern(struct hf_reader *r, struct hf_steps *steps, const char *text)
{
    if (steps->n_patterns == HF_MAX_PATTERNS) {
        return error_set(r->e, ERROR_UNSUPPORTED, "its text is cut in more than %d steps",
                         HF_MAX_PATTERNS);
    }
    char *copy = arena_strndup(r->spec->arena, text, strlen(text));
    steps->patterns[steps->n_patterns++] = (struct gguf_string){copy, strlen(text)};
    return true;
}

/* ---- normalizers ---- */

static bool read_nfc(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    (void)r;
    const char *type = json_string_value(json_object_get(step, "type"));
    steps->changes |= strcmp(type, "NFC") == 0    ? CHANGE_NFC
                      : strcmp(type, "NFD") == 0  ? CHANGE_NFD
                      : strcmp(type, "NFKC") == 0 ? CHANGE_NFKC
                                                  : CHANGE_NFKD;
    return true;
}

static bool read_lowercase(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    (void)r;
    (void)step;
    steps->changes |= CHANGE_LOWERCASE;
    return true;
}

static bool read_bert_normalizer(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    (void)r;
    bool lower = hf_bool(step, "lowercase", true);
    steps->changes |= (hf_bool(step, "clean_text", true) ? CHANGE_CLEAN : 0) |
                      (hf_bool(step, "handle_chinese_chars", true) ? CHANGE_SPLIT_CJK : 0) |
                      (hf_bool(step, "strip_accents", lower) ? CHANGE_STRIP_ACCENTS : 0) |
                      (lower ? CHANGE_LOWERCASE : 0);
    return true;
}

static bool read_prepend(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    steps->space_prefix = true;
    return is_text(json_object_get(step, "prepend"), WORD_START) ||
           fail(r, "Prepend", "a text other than U+2581");
}

static bool read_replace(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    bool is_regex;
    const char *pattern = pattern_of(step, &is_regex);
    const json_t *content = json_object_get(step, "content");
    bool to_mark = is_text(content, WORD_START), to_space = is_text(content, " ");
    if (pattern && strcmp(pattern, " ") == 0 && to_mark) {
        steps->marks_spaces = true;
        return true;
    }
    if (pattern && is_regex && (to_mark || to_space) &&
        (strcmp(pattern, " {2,}") == 0 || strcmp(pattern, " +") == 0)) {
        steps->drops_runs = true;
        return true;
    }
    return fail(r, "Replace", "a pattern other than of spaces");
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool read_precompiled(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    const json_t *value = json_object_get(step, "precompiled_charsmap");
    const char *text = json_string_value(value);
    size_t n = json_string_length(value), bits = 0, len = 0;
    if (json_is_null(value) || n == 0) {
        return json_is_null(value) || text || fail(r, "Precompiled", "no rules");
    }
    uint8_t *bytes = arena_alloc(r->spec->arena, n / 4 * 3 + 3);
    uint32_t held = 0;
    while (n > 0 && text[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        int digit = base64_value(text[i]);
        if (digit < 0) {
            return fail(r, "Precompiled", "rules that are no base64");
        }
        held = held << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[len++] = (uint8_t)(held >> bits);
        }
    }
    steps->charsmap = bytes;
    steps->charsmap_bytes = len;
    return true;
}

static bool read_strip(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    /* Only where runs of spaces go as well does this program take them from the ends. */
    (void)r;
    (void)step;
    steps->drops_runs = true;
    return true;
}

static const struct step_row normalizers[] = {
    {"NFC", read_nfc},
    {"NFD", read_nfc},
    {"NFKC", read_nfc},
    {"NFKD", read_nfc},
    {"Lowercase", read_lowercase},
    {"BertNormalizer", read_bert_normalizer},
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"Precompiled", read_precompiled},
    {"Strip", read_strip},
    {NULL, NULL},
};

/* ---- pre-tokenizers ---- */

static bool read_byte_level(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    steps->byte_level = true;
    if (hf_bool(step, "add_prefix_space", true)) {
        if (steps->n_patterns) {
            return fail(r, "ByteLevel", "add_prefix_space for each of several words");
        }
        steps->space_prefix = steps->unless_space = true;
    }
    return !hf_bool(step, "use_regex", true) || add_pattern(r, steps, PRE_GPT2_PATTERN);
}

/* A pattern for a text that stands for itself. */
static void quote(const char *text, struct buf *out)
{
    for (; *text; text++) {
        if (strchr("\\.[]{}()*+?^$|-&#~", *text)) {
            buf_append_char(out, '\\');
        }
        buf_append_char(out, *text);
    }
}

static bool read_split(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    bool is_regex, invert = hf_bool(step, "invert", false);
    const char *pattern = pattern_of(step, &is_regex);
    const json_t *behavior = json_object_get(step, "behavior");
    if (!pattern || !*pattern) {
        return fail(r, "Split", "no pattern");
    }
    /* Where spaces have become marks there are none to split at. */
    if (steps->marks_spaces && strcmp(pattern, " ") == 0) {
        return true;
    }
    /* To keep what matches and nothing else is the same where all text matches, as in all the
     * patterns that this program knows. */
    bool isolated = is_text(behavior, "Isolated") && !invert;
    bool kept = is_text(behavior, "Removed") && invert;
    if (!isolated && !kept) {
        return fail(r, "Split", "a behavior other than Isolated");
    }
    struct buf text;
    buf_init(&text, 1 << 16);
    if (is_regex) {
        buf_append_str(&text, pattern);
    } else {
        quote(pattern, &text);
    }
    bool ok = !text.full ? add_pattern(r, steps, text.data ? text.data : "")
                         : fail(r, "Split", "too long a pattern");
    buf_free(&text);
    return ok;
}

static bool read_digits(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    return add_pattern(r, steps, hf_bool(step, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
}

static bool read_punctuation(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    const json_t *behavior = json_object_get(step, "behavior");
    if (is_text(behavior, "Contiguous")) {
        return add_pattern(r, steps, "[\\p{P}" ASCII_SIGNS "]+");
    }
    return !behavior || is_text(behavior, "Isolated")
               ? add_pattern(r, steps, "[\\p{P}" ASCII_SIGNS "]")
               : fail(r, "Punctuation", "a behavior other than Isolated and Contiguous");
}

static bool read_metaspace(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    const json_t *replacement = json_object_get(step, "replacement");
    const json_t *scheme = json_object_get(step, "prepend_scheme");
    steps->marks_spaces = true;
    steps->split_at_marks = hf_bool(step, "split", true);
    steps->unless_space = true;
    steps->first_only = is_text(scheme, "first");
    steps->space_prefix =
        scheme ? !is_text(scheme, "never") : hf_bool(step, "add_prefix_space", true);
    return !replacement || is_text(replacement, WORD_START) ||
           fail(r, "Metaspace", "a replacement other than U+2581");
}

static bool read_bert_cut(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    (void)r;
    (void)step;
    steps->bert = true;
    return true;
}

static bool read_words(struct hf_reader *r, const json_t *step, struct hf_steps *steps)
{
    (void)r;
    (void)step;
    steps->drops_runs = true;
    steps->changes |= CHANGE_SPACES;
    return true;
}

static const struct step_row pre_tokenizers[] = {
    {"ByteLevel", read_byte_level},  {"Split", read_split},
    {"Digits", read_digits},         {"Punctuation", read_punctuation},
    {"Metaspace", read_metaspace},   {"BertPreTokenizer", read_bert_cut},
    {"WhitespaceSplit", read_words}, {NULL, NULL},
};

/* ---- sequences ---- */

static bool read_step(struct hf_reader *r, const struct step_row *rows, const char *list_key,
                      const json_t *step, struct hf_steps *steps, int depth)
{
    const char *type = json_string_value(json_object_get(step, "type"));
    if (!type) {
        return error_set(r->e, ERROR_INPUT, "one of its steps (%s) has no type", list_key);
    }
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(step, list_key);
        if (!json_is_array(list) || depth == MAX_DEPTH) {
            return error_set(r->e, ERROR_INPUT, "its Sequence has no list of %s, or too deep a one",
                             list_key);
        }
        for (size_t i = 0; i < json_array_size(list); i++) {
            if (!read_step(r, rows, list_key, json_array_get(list, i), steps, depth + 1)) {
                return false;
            }
        }
        return true;
    }
    for (; rows->type; rows++) {
        if (strcmp(rows->type, type) == 0) {
            return rows->read(r, step, steps);
        }
    }
    return error_set(r->e, ERROR_UNSUPPORTED,
                     "it wants the step \"%.60s\" (%s), which this program does not know", type,
                     list_key);
}

bool hf_read_steps(struct hf_reader *r, const json_t *normalizer, const json_t *pre_tokenizer,
                   struct hf_steps *steps)
{
    *steps = (struct hf_steps){0};
    return (!normalizer || json_is_null(normalizer) ||
            read_step(r, normalizers, "normalizers", normalizer, steps, 0)) &&
           (!pre_tokenizer || json_is_null(pre_tokenizer) ||
            read_step(r, pre_tokenizers, "pretokenizers", pre_tokenizer, steps, 0));
}

/* ---- what a text begins and ends with ---- */

static void open_role(struct hf_reader *r, enum token_role role, int32_t id)
{
    if (r->spec->roles[role] == TOKENIZER_NO_TOKEN) {
        r->spec->roles[role] = id;
    }
}

static void frame(struct hf_reader *r, const char *text, bool at_end)
{
    bool bert = strcmp(r->spec->model, "bert") == 0;
    int32_t id = text ? hf_find(r, text, strlen(text)) : TOKENIZER_NO_TOKEN;
    if (id == TOKENIZER_NO_TOKEN) {
        return;
    }
    if (at_end) {
        open_role(r, bert ? ROLE_SEPARATOR : ROLE_EOS, id);
        r->spec->add_eos = r->spec->add_eos || !bert;
    } else {
        open_role(r, bert ? ROLE_CLS : ROLE_BOS, id);
        r->spec->add_bos = r->spec->add_bos || !bert;
    }
}

/* "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}] */
static void read_template(struct hf_reader *r, const json_t *single)
{
    bool after = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        const json_t *token = json_object_get(part, "SpecialToken");
        after = after || json_object_get(part, "Sequence");
        if (token) {
            frame(r, json_string_value(json_object_get(token, "id")), after);
        }
    }
}

bool hf_read_post_processor(struct hf_reader *r, const json_t *post)
{
    const char *type = json_string_value(json_object_get(post, "type"));
    if (!post || json_is_null(post)) {
        return true;
    }
    if (!type) {
        return error_set(r->e, ERROR_INPUT, "its post_processor has no type");
    }
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(post, "processors");
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *one = json_array_get(list, i);
            if (is_text(json_object_get(one, "type"), "Sequence")) {
                return fail(r, "Sequence", "a sequence within");
            }
            if (!hf_read_post_processor(r, one)) {
                return false;
            }
        }
    } else if (strcmp(type, "TemplateProcessing") == 0) {
        read_template(r, json_object_get(post, "single"));
    } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        frame(r, json_string_value(json_array_get(json_object_get(post, "cls"), 0)), false);
        frame(r, json_string_value(json_array_get(json_object_get(post, "sep"), 0)), true);
    } else if (strcmp(type, "ByteLevel") != 0) {
        return error_set(r->e, ERROR_UNSUPPORTED,
                         "it wants the post_processor \"%.60s\", which this program does not know",
                         type);
    }
    return true;
}
