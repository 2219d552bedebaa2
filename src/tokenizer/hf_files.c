/* hf_files.c: vocab.json with merges.txt, and vocab.txt. */
#include <string.h>

#include "tokenizer/hf.h"

/* These files do not say how text is cut. The class of the tokenizer does, or else the number of
 * tokens, which is different for each of the well-known vocabularies. */
static const struct {
    const char *class_name; /* NULL: any */
    size_t n_tokens;        /* of vocab.json; 0: any */
    const char *pre;
} kinds[] = {
    {"Qwen2Tokenizer", 0, "qwen2"},
    {"Qwen2TokenizerFast", 0, "qwen2"},
    {"GPT2Tokenizer", 50257, "gpt-2"},
    {"GPT2TokenizerFast", 50257, "gpt-2"},
    {"CodeGenTokenizer", 0, "phi-2"},
    {"CodeGenTokenizerFast", 0, "phi-2"},
    {"RobertaTokenizer", 0, "roberta-bpe"},
    {"RobertaTokenizerFast", 0, "roberta-bpe"},
    {"GPTNeoXTokenizer", 0, "olmo"},
    {"GPTNeoXTokenizerFast", 0, "olmo"},
    {NULL, 50257, "gpt-2"},
    {NULL, 50265, "roberta-bpe"},
    {NULL, 100256, "dbrx"},
    {NULL, 128000, "llama-bpe"},
    {NULL, 151643, "qwen2"},
    {NULL, 199998, "gpt-4o"},
};

static const char *find_pre(const struct hf_reader *r, size_t n_tokens)
{
    const char *class_name = json_string_value(json_object_get(r->config, "tokenizer_class"));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bool same_class =
            !kinds[i].class_name || (class_name && strcmp(class_name, kinds[i].class_name) == 0);
        if (same_class && (kinds[i].n_tokens == 0 || kinds[i].n_tokens == n_tokens)) {
            return kinds[i].pre;
        }
    }
    return NULL;
}

/* One merge a line; a first line "#version: ..." is none. */
bool hf_read_merge_lines(struct hf_reader *r, const char *text, size_t n)
{
    static const char version[] = "#version";
    struct tokenizer_spec *s = r->spec;
    size_t n_lines = 1;
    for (size_t i = 0; i < n; i++) {
        n_lines += text[i] == '\n';
    }
    if (n_lines > TOKENIZER_MAX_MERGES) {
        return error_set(r->e, ERROR_LIMIT, "the merges have %zu lines; at most %d are allowed",
                         n_lines, TOKENIZER_MAX_MERGES);
    }
    s->merges = arena_alloc(s->arena, n_lines * sizeof *s->merges);
    for (size_t at = 0; at < n;) {
        const char *line = text + at, *end = memchr(line, '\n', n - at);
        size_t len = end ? (size_t)(end - line) : n - at;
        at += len + 1;
        len -= len > 0 && line[len - 1] == '\r';
        bool is_version = line == text && len >= sizeof version - 1 &&
                          memcmp(line, version, sizeof version - 1) == 0;
        if (len && !is_version) {
            s->merges[s->n_merges++] = (struct gguf_string){hf_copy_text(r, line, len), len};
        }
    }
    return true;
}

bool hf_read_vocab_of_pair(struct hf_reader *r, const struct hf_parts *vocab)
{
    struct tokenizer_spec *s = r->spec;
    size_t n_tokens = 0; /* without the gaps in their numbering */
    s->model = "gpt2";
    if (!hf_read_vocab_object(r, vocab, false)) {
        return false;
    }
    for (size_t i = 0; i < s->n_tokens; i++) {
        n_tokens += s->types[i] != 0;
    }
    s->pre = find_pre(r, n_tokens);
    if (!s->pre) {
        return error_set(r->e, ERROR_UNSUPPORTED,
                         "with its merges it does not say how text is cut, and neither its "
                         "%zu tokens nor tokenizer_config.json (tokenizer_class) are of a kind "
                         "that this program knows; tokenizer.json is needed",
                         n_tokens);
    }
    s->add_bos = pre_name_adds_bos(s->pre);
    s->add_separator = pre_name_adds_separator(s->pre);
    if (hf_bool(r->config, "add_prefix_space", false)) {
        s->add_space_prefix = s->space_prefix_unless_space = true;
    }
    return true;
}

/* One piece a line, of BERT. */
bool hf_read_vocab_text(struct hf_reader *r, const char *text, size_t n)
{
    static const struct {
        const char *spelling;
        enum token_role role;
    } specials[] = {
        {"[PAD]", ROLE_PADDING},   {"[UNK]", ROLE_UNKNOWN}, {"[CLS]", ROLE_CLS},
        {"[SEP]", ROLE_SEPARATOR}, {"[MASK]", ROLE_MASK},
    };
    struct tokenizer_spec *s = r->spec;
    s->model = "bert";
    struct buf made;
    bool ok = true;
    int64_t id = 0;
    buf_init(&made, TOKENIZER_MAX_SPELLING_BYTES + 4);
    for (size_t at = 0; ok && at < n; id++) {
        const char *line = text + at, *end = memchr(line, '\n', n - at);
        size_t len = end ? (size_t)(end - line) : n - at;
        at += len + 1;
        len -= len > 0 && line[len - 1] == '\r';
        struct gguf_string piece = hf_word_piece(&made, line, len);
        ok = hf_set_token(r, id, piece.data, piece.len, TOKEN_NORMAL, HF_NO_SCORE);
    }
    buf_free(&made);
    if (!ok) {
        return false;
    }
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        const char *spelling = specials[i].spelling;
        int32_t special = hf_find(r, spelling, strlen(spelling));
        s->roles[specials[i].role] = special;
        if (special != TOKENIZER_NO_TOKEN) {
            s->types[special] = specials[i].role == ROLE_UNKNOWN ? TOKEN_UNKNOWN : TOKEN_CONTROL;
        }
    }
    bool lower = hf_bool(r->config, "do_lower_case", true);
    bool cjk = hf_bool(r->config, "tokenize_chinese_chars", true);
    s->changes = CHANGE_CLEAN | (cjk ? CHANGE_SPLIT_CJK : 0) | (lower ? CHANGE_LOWERCASE : 0) |
                 (hf_bool(r->config, "strip_accents", lower) ? CHANGE_STRIP_ACCENTS : 0);
    return true;
}
