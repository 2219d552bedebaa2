/* tokenizer_internal.h: what the files of this module share; not for others.
 *
 * Invariants of a `struct tokenizer` (vocab.c establishes them, nobody changes them after):
 *   T1 every id in a table here is in 0..n_tokens-1, or TOKENIZER_NO_TOKEN;
 *   T2 only normal and unused tokens are reached by merging, so that no text can become a control
 *      token but by its spelling in trusted bytes (special.c);
 *   T3 the bytes of a merged token are those of its two parts, in order, so that what encoding
 *      yields decodes to the same bytes.
 */
#ifndef LLLM_TOKENIZER_TOKENIZER_INTERNAL_H
#define LLLM_TOKENIZER_TOKENIZER_INTERNAL_H

#include "base/strmap.h"
#include "tokenizer/tokenizer.h"

enum {
    TOKENIZER_MAX_TOKENS = 1 << 21,
    TOKENIZER_MAX_MERGES = 1 << 22,
    TOKENIZER_MAX_SPELLING_BYTES = 1 << 14,
};

/* ---- pre.c: cutting text into words ---- */

struct pre;
/* name[0..n) is a value of tokenizer.ggml.pre; n = 0 means the default. */
struct pre *pre_new(const char *name, size_t n, struct error *e);
void pre_free(struct pre *p);
bool pre_whole_words(const struct pre *p);        /* a word that is a token needs no merges */
bool pre_name_adds_bos(const char *name_or_null); /* where the file does not say */

/* Calls fn for each word of text, in order; together they are the text. Invalid UTF-8 makes words
 * of its own. Stops and returns false when fn does, or with an error where memory is not to be had.
 */
typedef bool pre_word_fn(void *context, const char *word, size_t n);
bool pre_split(const struct pre *p, const char *text, size_t n, pre_word_fn *fn, void *context,
               struct error *e);

/* ---- special.c: spellings that are looked for before anything else ---- */

struct special {
    const char *spelling; /* borrowed */
    uint32_t len;
    int32_t id;
    bool needs_trust; /* control and unknown tokens */
};
struct specials;
struct specials *specials_new(const struct special *list, size_t n);
void specials_free(struct specials *s);

struct special_match {
    uint32_t at, len;
    int32_t id;
};
/* All matches, not overlapping, by position; free(*matches). Longer spellings are placed first,
 * among equal lengths the leftmost. False only where memory is not to be had. */
bool specials_find(const struct specials *s, const char *text, size_t n, const uint8_t *trusted,
                   struct special_match **matches, size_t *n_matches, struct error *e);

/* ---- merging: what spm.c and bpe.c share ---- */

#define SYMBOL_NONE UINT32_MAX

struct symbol {
    uint32_t at;  /* spm: offset in the text; bpe: the id, as a bit pattern */
    uint32_t len; /* bytes; 0 when it went into the symbol before it */
    uint32_t prev, next;
};

/* A candidate merge; the smallest key is done first. */
struct merge_candidate {
    uint64_t key;  /* order << 32 | index of the left symbol */
    uint32_t a, b; /* by which a stale candidate is known: spm: the joint length; bpe: both ids */
};

/* Step scratch of one tokenizer_encode; grows to what the longest word needs. */
struct encode_scratch {
    struct symbol *symbols;
    size_t symbol_capacity;
    struct merge_candidate *heap;
    size_t heap_count, heap_capacity;
    char *text;
    size_t text_capacity;
};
/* Room for n symbols and all candidates that merging them can ever have at once. */
bool scratch_reserve(struct encode_scratch *s, size_t n_symbols, struct error *e);
bool scratch_reserve_text(struct encode_scratch *s, size_t n_bytes, struct error *e);
void scratch_free(struct encode_scratch *s);
void candidate_push(struct encode_scratch *s, struct merge_candidate c);
bool candidate_pop(struct encode_scratch *s, struct merge_candidate *c);

/* ---- vocab.c ---- */

struct merge_rule {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty */
    uint32_t rank;
    int32_t result;
};

enum {
    TOKEN_IS_CONTROL = 1,
    TOKEN_IS_END = 2,
    TOKEN_IS_HIDDEN = 4,  /* control or unknown: decodes to nothing unless asked */
    TOKEN_IS_SPECIAL = 8, /* found by its spelling, never by merging: hidden or user-defined */
};

struct tokenizer {
    struct arena *arena;
    bool spm;
    size_t n_tokens;
    struct gguf_string *spellings;
    struct gguf_string *pieces; /* the bytes each token stands for */
    uint8_t *flags;
    int32_t bos, eos, unknown;
    bool add_bos, add_eos, add_space_prefix;
    int32_t byte_ids[256];
    struct strmap *by_spelling;
    struct specials *specials;
    struct strmap *mergeable; /* spm: spelling -> id; bpe, where whole words count: bytes -> id */
    /* spm */
    float *scores;
    size_t max_mergeable_bytes;
    /* bpe */
    struct pre *pre;
    struct merge_rule *rules;
    size_t rule_mask;
};

bool vocab_check_model(const char *model, struct error *e);
void vocab_mark_end(struct tokenizer *t, int32_t id); /* TOKENIZER_NO_TOKEN does nothing */

bool spm_encode(const struct tokenizer *t, struct encode_scratch *s, const char *text, size_t n,
                bool prefix, struct token_list *out, struct error *e);

void bpe_build(struct tokenizer *t, const struct tokenizer_spec *spec);
bool bpe_check_merges(const struct tokenizer_spec *spec, struct error *e);
bool bpe_encode(const struct tokenizer *t, struct encode_scratch *s, const char *text, size_t n,
                struct token_list *out, struct error *e);
/* The printable character that stands for a byte in byte-level vocabularies, as UTF-8 (1 or 2
 * bytes). */
size_t bpe_byte_spelling(uint8_t byte, char out[4]);
/* The byte a character stands for; -1 when it is none of those. */
int bpe_byte_of(uint32_t cp);

#endif
