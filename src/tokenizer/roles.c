/* roles.c: what single tokens are for: their keys in files, and the spellings by which they are
 * recognised where a file does not say. */
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

enum { MAX_SPELLINGS = 10 };

/* DeepSeek writes its control tokens with these instead of '|', space and '_'. */
#define BAR "\xEF\xBD\x9C"
#define LOW "\xE2\x96\x81"

static const struct role_row {
    const char *key;     /* tokenizer.ggml.KEY_token_id */
    const char *old_key; /* what files had before, or NULL */
    const char *spellings[MAX_SPELLINGS];
} rows[N_TOKEN_ROLES] = {
    [ROLE_BOS] = {"bos", NULL, {NULL}},
    [ROLE_EOS] = {"eos", NULL, {NULL}},
    [ROLE_UNKNOWN] = {"unknown", NULL, {NULL}},
    [ROLE_PADDING] = {"padding", NULL, {NULL}},
    [ROLE_EOT] = {"eot", NULL, {NULL}},
    [ROLE_EOM] = {"eom", NULL, {NULL}},
    [ROLE_SEPARATOR] = {"seperator", "separator", {NULL}}, /* the first is how upstream spells it */
    [ROLE_CLS] = {"cls", NULL, {NULL}},
    [ROLE_MASK] = {"mask", NULL, {NULL}},
    [ROLE_FIM_PREFIX] = {"fim_pre",
                         "prefix",
                         {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
                          "<" BAR "fim" LOW "begin" BAR ">", "<PRE>", LOW "<PRE>",
                          "<|code_prefix|>", "<|prefix|>", "[PREFIX]"}},
    [ROLE_FIM_SUFFIX] = {"fim_suf",
                         "suffix",
                         {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
                          "<" BAR "fim" LOW "hole" BAR ">", "<SUF>", LOW "<SUF>", "<|code_suffix|>",
                          "<|suffix|>", "[SUFFIX]"}},
    [ROLE_FIM_MIDDLE] = {"fim_mid",
                         "middle",
                         {"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
                          "<" BAR "fim" LOW "end" BAR ">", "<MID>", LOW "<MID>", "<|code_middle|>",
                          "<|middle|>", "[MIDDLE]"}},
    [ROLE_FIM_PAD] = {"fim_pad", NULL, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"}},
    [ROLE_FIM_REPO] = {"fim_rep",
                       NULL,
                       {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    [ROLE_FIM_FILE] = {"fim_sep", NULL, {"<|file_sep|>"}},
};

/* All spellings have three bytes or more. */
enum { LEAST_SPELLING = 3 };

/* Spellings of tokens that end an answer, whatever else the file says. */
static const char *const end_spellings[] = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    LOW "<EOT>",
    "[EOT]",
    "[EOS]",
    "<|EOT|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<|eot|>",
    "<|eom|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<eos>",
    "<turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|endofturn|>",
    "<end_of_utterance>",
    "<" BAR "end" LOW "of" LOW "sentence" BAR ">",
};

const char *role_key(enum token_role role)
{
    return rows[role].key;
}

const char *role_old_key(enum token_role role)
{
    return rows[role].old_key;
}

static bool is_among(const struct gguf_string *s, const char *const *list, size_t n)
{
    for (size_t i = 0; s->len >= LEAST_SPELLING && i < n && list[i]; i++) {
        if (memcmp(s->data, list[i], LEAST_SPELLING) == 0 && s->len == strlen(list[i]) &&
            memcmp(s->data, list[i], s->len) == 0) {
            return true;
        }
    }
    return false;
}

bool role_is_control_spelling(const struct gguf_string *s)
{
    /* Most tokens are none, and a vocabulary has hundreds of thousands: all end with one of
     * these. */
    if (s->len < LEAST_SPELLING || (s->data[s->len - 1] != '>' && s->data[s->len - 1] != ']')) {
        return false;
    }
    for (enum token_role r = ROLE_FIM_PREFIX; r < N_TOKEN_ROLES; r++) {
        if (is_among(s, rows[r].spellings, MAX_SPELLINGS)) {
            return true;
        }
    }
    return is_among(s, end_spellings, sizeof end_spellings / sizeof *end_spellings);
}

static bool is_framed(const struct gguf_string *s, const char *left, const char *right)
{
    size_t l = strlen(left), r = strlen(right);
    return s->len > l + r && memcmp(s->data, left, l) == 0 &&
           memcmp(s->data + s->len - r, right, r) == 0;
}

bool role_looks_like_control(const struct gguf_string *s)
{
    static const char *const others[] = {"<s>",    "<bos>",   "<pad>", "<start_of_turn>",
                                         "[INST]", "[/INST]", NULL};
    return is_framed(s, "<|", "|>") || is_framed(s, "<" BAR, BAR ">") ||
           is_among(s, others, sizeof others / sizeof *others);
}

static int32_t find_control(const struct tokenizer *t, const char *spelling)
{
    int32_t id = tokenizer_find(t, spelling, strlen(spelling));
    return tokenizer_is_control(t, id) ? id : TOKENIZER_NO_TOKEN;
}

static bool has_control(const struct tokenizer *t, const char *spelling)
{
    return find_control(t, spelling) != TOKENIZER_NO_TOKEN;
}

static void mark_end(struct tokenizer *t, int32_t id)
{
    if (id != TOKENIZER_NO_TOKEN) {
        t->flags[id] |= TOKEN_IS_END;
    }
}

void roles_complete(struct tokenizer *t)
{
    for (enum token_role r = 0; r < N_TOKEN_ROLES; r++) {
        for (size_t i = 0; i < MAX_SPELLINGS && rows[r].spellings[i]; i++) {
            if (t->roles[r] == TOKENIZER_NO_TOKEN) {
                t->roles[r] = find_control(t, rows[r].spellings[i]);
            }
        }
    }
    for (size_t i = 0; i < sizeof end_spellings / sizeof end_spellings[0]; i++) {
        mark_end(t, find_control(t, end_spellings[i]));
    }
    /* Where answers have several parts, "<|end|>" ends a part and others end the answer; where
     * tools' answers are a token of their own, "</s>" is not used. */
    if ((has_control(t, "<|return|>") && has_control(t, "<|call|>")) ||
        (has_control(t, "<|flush|>") && has_control(t, "<|calls|>"))) {
        int32_t part = find_control(t, "<|end|>");
        if (part != TOKENIZER_NO_TOKEN) {
            t->flags[part] &= (uint8_t)~TOKEN_IS_END;
        }
    }
    mark_end(t, t->roles[ROLE_EOS]);
    mark_end(t, t->roles[ROLE_EOT]);
    mark_end(t, t->roles[ROLE_EOM]);
    mark_end(t, t->roles[ROLE_FIM_PAD]);
    mark_end(t, t->roles[ROLE_FIM_REPO]);
    mark_end(t, t->roles[ROLE_FIM_FILE]);
}
