/* pre.c: pre-tokenizers, the patterns that cut text into words before byte-level BPE merges.
 *
 * A row is a sequence of patterns: the first cuts the text, each further one cuts every piece that
 * the one before left, be it a match or a gap between matches. Patterns see only their piece, so
 * that its end is the end of text for them. From any position an attempt may look at most as far
 * ahead as a bounded multiple of what is then consumed: this keeps the whole linear. What cannot be
 * said so is a function below (see `cutters`).
 *
 * Sources: the patterns of the models' own tokenizer.json files; the names are those that
 * converters write to tokenizer.ggml.pre. A vocabulary that names none, or "default", gets GPT-2's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/pattern.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"

#define SPACES      "\\s+(?!\\S)|\\s+"
#define SHORT_FORMS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

#define GPT2 PRE_GPT2_PATTERN

/* The pattern of OpenAI's cl100k vocabulary: BEGIN are short forms, DIGITS how numbers are cut. */
#define CL100K(BEGIN, DIGITS)                                                                      \
    BEGIN "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS                                                  \
          "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|" SPACES

/* Words that begin with capitals and go on without (o200k); SUFFIX is what may follow a word,
 * WITHOUT what the letters leave out. */
#define CASED_WORDS(SUFFIX, WITHOUT)                                                               \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}" WITHOUT                            \
    "]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}" WITHOUT "]+" SUFFIX                                           \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}" WITHOUT                           \
    "]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}" WITHOUT "]*" SUFFIX
#define CASED(SUFFIX, DIGITS)                                                                      \
    CASED_WORDS(SUFFIX, "") "|" DIGITS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|" SPACES

/* Words, also with a sign of punctuation in front, and runs of signs. */
#define MARKED_WORDS                                                                               \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"           \
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"

/* Words up to the punctuation of several scripts. */
#define UP_TO_PUNCTUATION                                                                          \
    " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

/* Letters of scripts that have capitals, as DeepSeek's first vocabulary lists them. */
#define LISTED_LETTERS                                                                             \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"         \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"                  \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                       \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"                 \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"                 \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}"        \
    "\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}"         \
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"                 \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"                  \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{"     \
    "212d}"                                                                                        \
    "\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}"         \
    "\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}"         \
    "\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}"                 \
    "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"                 \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"             \
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"         \
    "\\x{1e900}-\\x{1e943}"

/* The patterns that are functions. */
#define THREES_BEFORE_WORD_END "\\d{1,3}(?=(?:\\d{3})*\\b)"
#define THREES_FROM_THE_RIGHT  "(?=(\\d{3})+(?!\\d))"
#define SPACES_AT_END          "\\s+$"

enum { PRE_MAX_LEVELS = 7 };

enum pre_flag {
    PRE_WHOLE_WORDS = 1, /* a word that is a token needs no merges */
    PRE_ADD_BOS = 2,
    PRE_NFC = 4,       /* the models' own tokenizers normalise first */
    PRE_SEPARATED = 8, /* a text ends with the separator */
};

static const struct pre_row {
    const char *names; /* separated by spaces; the first is the one to write */
    const char *levels[PRE_MAX_LEVELS];
    unsigned flags; /* enum pre_flag */
} rows[] = {
    {"gpt-2 default phi-2 jais trillion granite-docling exaone4 jina-es jina-de jina-v2-es "
     "jina-v2-de gigachat a.x-4.0 mellum modern-bert",
     {GPT2},
     0},
    {"roberta-bpe jina-v1-en jina-v2-code", {GPT2}, PRE_SEPARATED},
    {"olmo mpt", {GPT2}, PRE_NFC},
    {"smollm starcoder refact codeshell exaone minerva-7b mellum2", {"\\p{N}", GPT2}, 0},
    {"command-r", {"\\p{N}", GPT2}, PRE_NFC},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {CL100K(SHORT_FORMS "|", "\\p{N}{1,3}")},
     PRE_WHOLE_WORDS | PRE_ADD_BOS},
    {"dbrx smaug-bpe chatglm-bpe glm4", {CL100K(SHORT_FORMS "|", "\\p{N}{1,3}")}, 0},
    {"qwen2 f2llmv2", {CL100K(SHORT_FORMS "|", "\\p{N}")}, PRE_NFC},
    {"stablelm2 deepseek-r1-qwen kormo megrez hunyuan solar-open grok-2",
     {CL100K(SHORT_FORMS "|", "\\p{N}")},
     0},
    {"qwen35",
     {SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+"
                  "[\\r\\n]*|\\s*[\\r\\n]+|" SPACES},
     PRE_NFC},
    {"ufakzeka", {CL100K("", "\\p{N}")}, 0},
    {"minicpm5", {"\\p{N}{1,3}", CL100K(SHORT_FORMS "|", "\\p{N}+")}, PRE_WHOLE_WORDS},
    {"laguna", {"[^\\n]+|[\\n]+", CL100K(SHORT_FORMS "|", "\\p{N}")}, 0},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", {CASED(SHORT_FORMS "?", "\\p{N}{1,3}")}, 0},
    {"granite-embed-multi-97m", {CASED(SHORT_FORMS "?", "\\p{N}{1,3}")}, PRE_WHOLE_WORDS},
    {"tekken", {CASED("", "\\p{N}")}, PRE_WHOLE_WORDS | PRE_ADD_BOS},
    {"tiny_aya cohere2moe", {THREES_BEFORE_WORD_END, CASED(SHORT_FORMS "?", "\\p{N}{1,3}")}, 0},
    {"kimi-k2",
     {"\\p{Han}+|" CASED_WORDS(SHORT_FORMS "?",
                               "&&[^\\p{Han}]") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
                                                "[\\r\\n]*|\\s*[\\r\\n]+|" SPACES},
     0},
    {"falcon", {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}, 0},
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?[" LISTED_LETTERS "]+",
      "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
      SPACES_AT_END, "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}+"},
     0},
    {"deepseek-coder",
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
      "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}"},
     0},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
      MARKED_WORDS "[\\r\\n]*|\\s*[\\r\\n]+|" SPACES},
     0},
    {"spark2_5",
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
      MARKED_WORDS "|[\\r\\n]|" SPACES, "\\p{N}"},
     0},
    {"afmoe",
     {"\\p{N}+", THREES_FROM_THE_RIGHT,
      "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-"
      "\\x{30ff}\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-"
      "\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}"
      "\\x{1100}-\\x{11ff}]+",
      MARKED_WORDS "[\\r\\n]*|\\s*[\\r\\n]+|" SPACES},
     0},
    {"youtu",
     {"[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}"
      "\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|"
      "[\\x{3105}-\\x{312f}]+|[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
      CASED(SHORT_FORMS "?", "\\p{N}")},
     PRE_WHOLE_WORDS},
    {"jais-2",
     {SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
                  "\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|"
                  "\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|"
                  "\\s{1}"},
     0},
    {"chameleon",
     {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     PRE_ADD_BOS},
    {"bailingmoe bailingmoe2 llada-moe",
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
      "\\s*[\\r\\n]|" SPACES},
     0},
    {"seed-coder",
     {SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|"
                  "\\s*[\\r\\n]+|" SPACES},
     0},
    {"exaone-moe",
     {SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?"
                  "[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|" SPACES},
     0},
    {"superbpe", {"\\p{N}+", THREES_FROM_THE_RIGHT}, 0},
    {"bloom poro-chat gpt3-finnish", {UP_TO_PUNCTUATION}, 0},
    {"viking", {UP_TO_PUNCTUATION, "\\p{N}"}, 0},
};

/* A vocabulary that names no pre-tokenizer, but whose model's kind leaves no choice. */
static const struct {
    const char *architecture, *name;
} defaults[] = {
    {"qwen2", "qwen2"},          {"qwen2moe", "qwen2"}, {"qwen3", "qwen2"},
    {"qwen3moe", "qwen2"},       {"falcon", "falcon"},  {"starcoder", "starcoder"},
    {"starcoder2", "starcoder"}, {"refact", "refact"},  {"codeshell", "codeshell"},
    {"command-r", "command-r"},  {"mpt", "mpt"},        {"olmo", "olmo"},
    {"gptneox", "olmo"},         {"bloom", "bloom"},    {"dbrx", "dbrx"},
    {"gpt-oss", "gpt-4o"},       {"gptoss", "gpt-4o"},
};

/* ---- levels that are functions ---- */

/* Where the next match at or behind text[from] begins and how long it is; false when there is none.
 * `from` is the start of the text or the end of the last match. All calls together take linear
 * time; the steps are added to *work. */
typedef bool cut_fn(const char *text, size_t n, size_t from, size_t *start, size_t *len,
                    uint64_t *work);

struct cutter {
    const char *pattern; /* as it stands in the rows and in others' files */
    cut_fn *fn;
};

/* The character at text[at], and its length; what is not valid UTF-8 is a character of one byte,
 * and no known one. */
static size_t char_at(const char *text, size_t n, size_t at, uint32_t *cp)
{
    size_t step = utf8_decode(text + at, n - at, cp);
    *cp = step ? *cp : UNICODE_MAX;
    return step ? step : 1;
}

static bool is_digit(uint32_t cp)
{
    return memcmp(unicode_classes[unicode_class(cp)].category, "Nd", 2) == 0;
}

/* A number, or what is left of it. */
struct digits {
    size_t start, end, count;
};

/* The next run of digits from `from` on. */
static bool find_digits(const char *text, size_t n, size_t from, struct digits *d, uint64_t *work)
{
    uint32_t cp;
    d->count = 0;
    for (size_t at = from; at < n; ++*work) {
        size_t step = char_at(text, n, at, &cp);
        if (is_digit(cp)) {
            d->start = d->count ? d->start : at;
            d->end = at + step;
            d->count++;
        } else if (d->count) {
            break;
        }
        at += step;
    }
    return d->count > 0;
}

/* The length of the first `count` digits. */
static size_t skip_digits(const char *text, size_t n, size_t at, size_t count)
{
    size_t start = at;
    uint32_t cp;
    for (; count > 0; count--) {
        at += char_at(text, n, at, &cp);
    }
    return at - start;
}

/* Within a number that has been cut before, what is left is threes. */
static bool is_within(const char *text, size_t n, size_t from)
{
    size_t before = from;
    uint32_t cp = UNICODE_MAX;
    while (before > 0 && ((uint8_t)text[--before] & 0xC0) == 0x80) {
    }
    bool digit_before = from > 0 && char_at(text, n, before, &cp) && is_digit(cp);
    return digit_before && from < n && char_at(text, n, from, &cp) && is_digit(cp);
}

/* THREES_FROM_THE_RIGHT is a place, not a text: it cuts a number into threes from its end. */
static bool cut_threes(const char *text, size_t n, size_t from, size_t *start, size_t *len,
                       uint64_t *work)
{
    struct digits d = {from, n, 3};
    if (!is_within(text, n, from) && !find_digits(text, n, from, &d, work)) {
        return false;
    }
    *start = d.start;
    *len = skip_digits(text, n, d.start, d.count % 3 ? d.count % 3 : 3);
    return true;
}

/* THREES_BEFORE_WORD_END does the same to a number that no word goes on after. */
static bool cut_threes_before_end(const char *text, size_t n, size_t from, size_t *start,
                                  size_t *len, uint64_t *work)
{
    struct digits d = {from, n, 3};
    uint32_t after = UNICODE_MAX;
    bool found = is_within(text, n, from);
    while (!found && find_digits(text, n, from, &d, work)) {
        found = d.end == n || (char_at(text, n, d.end, &after) && !unicode_is_word(after));
        from = d.end;
    }
    *start = d.start;
    *len = found ? skip_digits(text, n, d.start, d.count % 3 ? d.count % 3 : 3) : 0;
    return found;
}

static bool cut_spaces_at_end(const char *text, size_t n, size_t from, size_t *start, size_t *len,
                              uint64_t *work)
{
    size_t at = n;
    for (; at > from; ++*work) {
        size_t before = at - 1;
        while (before > from && ((uint8_t)text[before] & 0xC0) == 0x80) {
            before--;
        }
        uint32_t cp;
        if (char_at(text, n, before, &cp) != at - before || !unicode_is_space(cp)) {
            break;
        }
        at = before;
    }
    *start = at;
    *len = n - at;
    return *len > 0;
}

static const struct cutter cutters[] = {
    {THREES_BEFORE_WORD_END, cut_threes_before_end},
    {THREES_FROM_THE_RIGHT, cut_threes},
    {SPACES_AT_END, cut_spaces_at_end},
};

/* ---- making one ---- */

struct level {
    const char *text;        /* borrowed while levels are compared */
    struct pattern *pattern; /* or */
    cut_fn *cut;
};

struct pre {
    const struct pre_row *row;
    size_t n_levels;
    struct level levels[PRE_MAX_LEVELS];
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

static bool level_init(struct level *l, const char *text, size_t n, struct error *e)
{
    *l = (struct level){.text = text};
    for (size_t i = 0; i < sizeof cutters / sizeof cutters[0]; i++) {
        if (n == strlen(cutters[i].pattern) && memcmp(text, cutters[i].pattern, n) == 0) {
            l->cut = cutters[i].fn;
            return true;
        }
    }
    l->pattern = pattern_new(text, n, e);
    return l->pattern != NULL;
}

static bool level_equal(const struct level *a, const struct level *b)
{
    return a->pattern && b->pattern ? pattern_equal(a->pattern, b->pattern)
                                    : a->cut && a->cut == b->cut;
}

static size_t count_levels(const struct pre_row *row)
{
    size_t n = 0;
    while (n < PRE_MAX_LEVELS && row->levels[n]) {
        n++;
    }
    return n;
}

static struct pre *pre_of_row(const struct pre_row *row, struct error *e)
{
    struct pre *p = mem_zalloc(sizeof *p);
    p->row = row;
    for (size_t n = count_levels(row); p->n_levels < n; p->n_levels++) {
        const char *text = row->levels[p->n_levels];
        if (!level_init(&p->levels[p->n_levels], text, strlen(text), e)) {
            pre_free(p);
            return NULL;
        }
    }
    return p;
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
    return pre_of_row(row, e);
}

void pre_free(struct pre *p)
{
    if (p) {
        for (size_t i = 0; i < p->n_levels; i++) {
            pattern_free(p->levels[i].pattern);
        }
        free(p);
    }
}

bool pre_whole_words(const struct pre *p)
{
    return p->row->flags & PRE_WHOLE_WORDS;
}

uint32_t pre_changes(const struct pre *p)
{
    return p->row->flags & PRE_NFC ? CHANGE_NFC : CHANGE_NOTHING;
}

bool pre_name_adds_bos(const char *name_or_null)
{
    const char *name = name_or_null ? name_or_null : "";
    const struct pre_row *row = find_row(name, strlen(name));
    return row && row->flags & PRE_ADD_BOS;
}

bool pre_name_adds_separator(const char *name_or_null)
{
    const char *name = name_or_null ? name_or_null : "";
    const struct pre_row *row = find_row(name, strlen(name));
    return row && row->flags & PRE_SEPARATED;
}

const char *pre_default_name(const char *architecture, size_t n)
{
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (strlen(defaults[i].architecture) == n &&
            memcmp(defaults[i].architecture, architecture, n) == 0) {
            return defaults[i].name;
        }
    }
    return NULL;
}

const char *pre_name_at(size_t index, size_t *n)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (const char *name = rows[i].names; *name; index--) {
            *n = strcspn(name, " ");
            if (index == 0) {
                return name;
            }
            name += *n + (name[*n] == ' ');
        }
    }
    return NULL;
}

/* ---- recognising one ---- */

/* How much a row fits: the flags that agree; -1 where its levels are others. */
static int row_fit(const struct pre_row *row, const struct level *levels, size_t n,
                   bool whole_words, bool nfc)
{
    if (count_levels(row) != n) {
        return -1;
    }
    struct pre *p = pre_of_row(row, NULL);
    bool equal = p != NULL;
    for (size_t i = 0; i < n && equal; i++) {
        equal = level_equal(&p->levels[i], &levels[i]);
    }
    pre_free(p);
    return equal ? 2 * (!(row->flags & PRE_WHOLE_WORDS) == !whole_words) +
                       (!(row->flags & PRE_NFC) == !nfc)
                 : -1;
}

const char *pre_recognise(const struct gguf_string *patterns, size_t n, bool whole_words, bool nfc,
                          struct arena *a, struct error *e)
{
    struct level levels[PRE_MAX_LEVELS] = {{0}};
    const struct pre_row *best = NULL;
    int best_fit = -1;
    bool ok = n <= PRE_MAX_LEVELS;
    if (!ok) {
        error_set(e, ERROR_UNSUPPORTED, "its text is cut in %zu steps; at most %d are known", n,
                  PRE_MAX_LEVELS);
    }
    for (size_t i = 0; i < n && ok; i++) {
        ok = level_init(&levels[i], patterns[i].data, patterns[i].len, e);
    }
    for (size_t i = 0; ok && i < sizeof rows / sizeof rows[0]; i++) {
        int fit = row_fit(&rows[i], levels, n, whole_words, nfc);
        if (fit > best_fit) {
            best = &rows[i];
            best_fit = fit;
        }
    }
    for (size_t i = 0; i < n && i < PRE_MAX_LEVELS; i++) {
        pattern_free(levels[i].pattern);
    }
    if (ok && !best) {
        const struct gguf_string *last = &patterns[n - (n > 0)];
        error_set(e, ERROR_UNSUPPORTED,
                  "its text is cut by the %zu pattern%s ending with \"%.*s\", which is none of "
                  "those that this program knows the name of (src/tokenizer/pre.c)",
                  n, n == 1 ? "" : "s", n ? (int)(last->len < 160 ? last->len : 160) : 0,
                  n ? last->data : "");
    }
    return best ? arena_strndup(a, best->names, strcspn(best->names, " ")) : NULL;
}

/* ---- cutting ---- */

struct walk {
    const struct pre *pre;
    pre_word_fn *fn;
    void *context;
    uint64_t *work;
};

static bool cut_piece(const struct walk *w, const char *text, size_t n, size_t level)
{
    if (level == w->pre->n_levels) {
        return w->fn(w->context, text, n);
    }
    const struct level *l = &w->pre->levels[level];
    struct pattern_scan scan = {l->pattern, text, n, w->work, NULL, 0, 0, 0};
    bool ok = true;
    for (size_t done = 0; done < n && ok;) {
        size_t start = n, len = 0;
        if (l->pattern) {
            start = pattern_next(&scan, done, &len);
        } else if (!l->cut(text, n, done, &start, &len, w->work)) {
            start = n;
        }
        ok = (start == done || cut_piece(w, text + done, start - done, level + 1)) &&
             (len == 0 || cut_piece(w, text + start, len, level + 1));
        done = start + len;
    }
    pattern_scan_end(&scan);
    return ok;
}

bool pre_split(const struct pre *p, const char *text, size_t n, pre_word_fn *fn, void *context,
               uint64_t *work)
{
    struct walk w = {p, fn, context, work};
    for (size_t at = 0; at < n;) {
        size_t valid = 0, bad = 0;
        uint32_t cp;
        if (utf8_valid(text + at, n - at, &valid)) {
            valid = n - at;
        }
        if (valid && !cut_piece(&w, text + at, valid, 0)) {
            return false;
        }
        at += valid;
        while (at + bad < n && !utf8_decode(text + at + bad, n - at - bad, &cp)) {
            bad++;
        }
        if (bad && !fn(context, text + at, bad)) {
            return false;
        }
        at += bad;
    }
    return true;
}
