/* pre.c: pre-tokenizers, the patterns that cut text into words before byte-level BPE merges.
 *
 * A row is a sequence of patterns: the first cuts the text, each further one cuts every piece that
 * the one before left, be it a match or a gap between matches. Patterns see only their piece, so
 * that its end is the end of text for them. Patterns must not match the empty string, and from any
 * position an attempt may look at most as far ahead as a bounded multiple of what is then consumed:
 * this keeps the whole linear.
 *
 * A vocabulary that names no pre-tokenizer, or "default", gets GPT-2's.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

/* White_Space of Unicode, for use inside a class. (PCRE2's \s has U+180E, which left it long ago.)
 */
#define WS                                                                                         \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define SPACE     "[" WS "]"
#define NOT_SPACE "[^" WS "]"
#define SPACES    SPACE "+(?!" NOT_SPACE ")|" SPACE "+"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" SPACES

/* The pattern of OpenAI's cl100k vocabulary, with digits in groups of DIGITS. */
#define CL100K(DIGITS)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS "| ?[^" WS                \
    "\\p{L}\\p{N}]+[\\r\\n]*|" SPACE "*[\\r\\n]+|" SPACES

/* Words that begin with capitals and go on without; SUFFIX is what may follow a word. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(SUFFIX, DIGITS)                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" SUFFIX "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER  \
    "*" SUFFIX "|" DIGITS "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" SPACE "*[\\r\\n]+|" SPACES

/* Words up to the punctuation of several scripts. */
#define UP_TO_PUNCTUATION                                                                          \
    " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

enum { PRE_MAX_PATTERNS = 6 };

static const struct pre_row {
    const char *names; /* separated by spaces */
    const char *patterns[PRE_MAX_PATTERNS];
    bool whole_words, add_bos;
} rows[] = {
    {"gpt-2 default phi-2 mpt olmo jais roberta-bpe jina-es jina-de jina-v1-en jina-v2-es "
     "jina-v2-de "
     "jina-v2-code gigachat a.x-4.0 mellum trillion granite-docling",
     {GPT2},
     false,
     false},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b",
     {"\\p{N}", GPT2},
     false,
     false},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
     {CL100K("\\p{N}{1,3}")},
     true,
     true},
    {"dbrx smaug-bpe chatglm-bpe glm4", {CL100K("\\p{N}{1,3}")}, false, false},
    {"qwen2 stablelm2 deepseek-r1-qwen kormo megrez hunyuan", {CL100K("\\p{N}")}, false, false},
    {"gpt-4o llama4 kanana2",
     {CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}")},
     false,
     false},
    {"tekken", {CASED("", "\\p{N}")}, true, true},
    {"falcon", {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}, false, false},
    {"deepseek-coder",
     {"[\\r\\n]", SPACE "?\\p{L}+", SPACE "?\\p{P}+",
      "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}"},
     false,
     false},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}"
      "\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACE "*[\\r\\n]+|" SPACES},
     false,
     false},
    {"bloom poro-chat gpt3-finnish", {UP_TO_PUNCTUATION}, false, false},
    {"viking", {UP_TO_PUNCTUATION, "\\p{N}"}, false, false},
};

struct pre {
    const struct pre_row *row;
    size_t n_patterns;
    pcre2_code *patterns[PRE_MAX_PATTERNS];
};

static bool names_contain(const char *names, const char *name, size_t n)
{
    while (*names) {
        size_t word = strcspn(names, " ");
        if (word == n && memcmp(names, name, n) == 0) {
            return true;
        }
        names += word;
        names += *names == ' ';
    }
    return false;
}

static const struct pre_row *find_row(const char *name, size_t n)
{
    if (n == 0) {
        return &rows[0];
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (names_contain(rows[i].names, name, n)) {
            return &rows[i];
        }
    }
    return NULL;
}

struct pre *pre_new(const char *name, size_t n, struct error *e)
{
    const struct pre_row *row = find_row(name, n);
    if (!row) {
        char shown[64];
        size_t kept = 0;
        for (; kept < n && kept < sizeof shown - 1; kept++) {
            shown[kept] = (char)(name[kept] >= ' ' && name[kept] <= '~' ? name[kept] : '?');
        }
        shown[kept] = 0;
        error_set(e, ERROR_UNSUPPORTED,
                  "the vocabulary wants the pre-tokenizer \"%s\" (tokenizer.ggml.pre), which this "
                  "program does not know; its text would be cut wrongly",
                  shown);
        return NULL;
    }
    struct pre *p = mem_zalloc(sizeof *p);
    p->row = row;
    for (size_t i = 0; i < PRE_MAX_PATTERNS && row->patterns[i]; i++) {
        int code;
        PCRE2_SIZE at;
        pcre2_code *compiled =
            pcre2_compile((PCRE2_SPTR)row->patterns[i], PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
        if (!compiled) {
            error_set(e, ERROR_UNSUPPORTED,
                      "PCRE2 refuses pattern %zu of pre-tokenizer \"%.*s\" (code %d at %zu)", i,
                      (int)strcspn(row->names, " "), row->names, code, (size_t)at);
            pre_free(p);
            return NULL;
        }
        /* Without JIT (a hardened system may forbid it) the interpreter does the same, slower. */
        pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
        p->patterns[p->n_patterns++] = compiled;
    }
    return p;
}

void pre_free(struct pre *p)
{
    if (p) {
        for (size_t i = 0; i < p->n_patterns; i++) {
            pcre2_code_free(p->patterns[i]);
        }
        free(p);
    }
}

bool pre_whole_words(const struct pre *p)
{
    return p->row->whole_words;
}

bool pre_name_adds_bos(const char *name_or_null)
{
    const char *name = name_or_null ? name_or_null : "";
    const struct pre_row *row = find_row(name, strlen(name));
    return row && row->add_bos;
}

struct pre_walk {
    const struct pre *pre;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pre_word_fn *fn;
    void *context;
};

/* One search in a piece of valid UTF-8. False: no match from here on. Where the JIT's stack does
 * not suffice the interpreter, which works on the heap, looks again. */
static bool find(struct pre_walk *w, const pcre2_code *code, const char *text, size_t n,
                 size_t from, size_t *start, size_t *end)
{
    int rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, w->match, w->limits);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         w->match, w->limits);
    }
    if (rc < 0) {
        return false;
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->match);
    *start = span[0];
    *end = span[1];
    return *end > *start;
}

static bool split_piece(struct pre_walk *w, const char *text, size_t n, size_t level)
{
    if (level == w->pre->n_patterns) {
        return w->fn(w->context, text, n);
    }
    size_t done = 0, start, end;
    while (done < n && find(w, w->pre->patterns[level], text, n, done, &start, &end)) {
        if (start > done && !split_piece(w, text + done, start - done, level + 1)) {
            return false;
        }
        if (!split_piece(w, text + start, end - start, level + 1)) {
            return false;
        }
        done = end;
    }
    return done == n || split_piece(w, text + done, n - done, level + 1);
}

bool pre_split(const struct pre *p, const char *text, size_t n, pre_word_fn *fn, void *context,
               struct error *e)
{
    struct pre_walk w = {p, pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL), fn,
                         context};
    bool ok = w.match && w.limits;
    if (!ok) {
        error_set(e, ERROR_MEMORY, "no memory for matching a pre-tokenizer pattern");
    } else {
        /* The attempts of these patterns are linear; the limits would only forbid long runs. */
        pcre2_set_match_limit(w.limits, UINT32_MAX);
        pcre2_set_depth_limit(w.limits, UINT32_MAX);
    }
    for (size_t at = 0; ok && at < n;) {
        uint32_t cp;
        size_t valid = 0, bad = 0;
        if (utf8_valid(text + at, n - at, &valid)) {
            valid = n - at;
        }
        if (valid) {
            ok = split_piece(&w, text + at, valid, 0);
            at += valid;
        }
        while (at + bad < n && !utf8_decode(text + at + bad, n - at - bad, &cp)) {
            bad++;
        }
        if (ok && bad) {
            ok = fn(context, text + at, bad);
            at += bad;
        }
    }
    pcre2_match_data_free(w.match);
    pcre2_match_context_free(w.limits);
    return ok;
}
