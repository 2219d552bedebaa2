/* tokenizer_internal.h: what the files of this module share; not for others.
 *
 * Invariants of a `struct tokenizer` (vocab.c establishes them, nobody changes them after):
 *   T1 every id in a table here is in 0..n_tokens-1, or TOKENIZER_NO_TOKEN;
 *   T2 only normal and unused tokens are reached by cutting and merging, so that no text can become
 *      a control token but by its spelling in trusted bytes (special.c);
 *   T3 the bytes of a merged token are those of its two parts, in order, so that what encoding
 *      yields decodes to the same bytes.
 *
 * Encoding is a row of rooms: special.c finds the spellings of special tokens; rewrite.c changes
 * the text between them as the vocabulary wants (often not at all); the family (bpe.c, spm.c,
 * unigram.c, wordpiece.c) cuts it into words that have nothing to do with each other; words.c
 * remembers the words of this call; the family turns a word that is new into tokens.
 */
#ifndef LLLM_TOKENIZER_TOKENIZER_INTERNAL_H
#define LLLM_TOKENIZER_TOKENIZER_INTERNAL_H

#include "base/strmap.h"
#include "tokenizer/tokenizer.h"

enum {
    TOKENIZER_MAX_TOKENS = 1 << 19,
    TOKENIZER_MAX_MERGES = 1 << 20,
    TOKENIZER_MAX_SPELLING_BYTES = 1 << 14,
    TOKENIZER_MAX_CHARSMAP_BYTES = 1 << 26,
};

/* U+2581, which stands for a space in several families. */
#define WORD_START "\xE2\x96\x81"

/* The spellings of the tokens, one after the other: that of token i is text[at[i]..at[i + 1]). */
struct spellings {
    const char *text;
    const uint64_t *at;
};

static inline struct gguf_string spelling_at(const struct spellings *s, size_t id)
{
    return (struct gguf_string){s->text + s->at[id], s->at[id + 1] - s->at[id]};
}

/* ---- pre.c: cutting text into words ---- */

/* GPT-2's, which is also what "ByteLevel" means in a tokenizer.json. */
#define PRE_GPT2_PATTERN                                                                           \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

struct pre;
/* name[0..n) is a value of tokenizer.ggml.pre; n = 0 means the default. */
struct pre *pre_new(const char *name, size_t n, struct error *e);
void pre_free(struct pre *p);
bool pre_whole_words(const struct pre *p);        /* a word that is a token needs no merges */
uint32_t pre_changes(const struct pre *p);        /* enum text_change */
bool pre_name_adds_bos(const char *name_or_null); /* where the file does not say */
bool pre_name_adds_separator(const char *name_or_null);
/* The pre-tokenizer of a kind of model (general.architecture), or NULL. */
const char *pre_default_name(const char *architecture, size_t n);
/* The name of the row whose levels mean the same as these patterns; of several the one that agrees
 * about the two switches. ERROR_UNSUPPORTED where there is none. The name belongs to the arena. */
const char *pre_recognise(const struct gguf_string *patterns, size_t n, bool whole_words, bool nfc,
                          struct arena *a, struct error *e);
/* The name at this place of the list of all, or NULL after the last: for tests. */
const char *pre_name_at(size_t index, size_t *n);

/* Calls fn for each word of text, in order; together they are the text. Invalid UTF-8 makes words
 * of its own. Stops and returns false when fn does. The steps taken are added to *work. */
typedef bool pre_word_fn(void *context, const char *word, size_t n);
bool pre_split(const struct pre *p, const char *text, size_t n, pre_word_fn *fn, void *context,
               uint64_t *work);

/* ---- special.c: spellings that are looked for before anything else ---- */

struct special {
    const char *spelling; /* borrowed */
    int32_t id;
    uint16_t len;
    bool needs_trust;   /* control and unknown tokens, and what looks like them */
    uint8_t attributes; /* enum token_attribute */
};
struct specials;
/* Takes the list, which malloc made. */
struct specials *specials_new(struct special *list, size_t n);
void specials_free(struct specials *s);

struct special_match {
    uint32_t at, len; /* with the white space that belongs to it */
    int32_t id;
    uint8_t attributes;
};
/* All matches, not overlapping, by position; free(*matches). Longer spellings are placed first,
 * among equal lengths the leftmost. False only where memory is not to be had. The steps taken are
 * added to *work. */
bool specials_find(const struct specials *s, const char *text, size_t n, const uint8_t *trusted,
                   struct special_match **matches, size_t *n_matches, uint64_t *work,
                   struct error *e);

/* ---- scratch.c: the working memory of one call ---- */

#define SYMBOL_NONE UINT32_MAX

struct symbol {
    uint32_t id;  /* merging by rules: the token, SYMBOL_NONE: it has none */
    uint32_t at;  /* offset in the word */
    uint32_t len; /* bytes; 0 when it went into the symbol before it */
    uint32_t prev, next;
};

/* A candidate merge; the smallest key is done first. */
struct merge_candidate {
    uint64_t key;  /* order << 32 | index of the left symbol */
    uint32_t a, b; /* by which a stale candidate is known: spm: the joint length; rules: both ids */
};

struct word_cache;

/* Text that rewrite.c has changed, and where it came from. */
struct rewritten {
    char *text;
    size_t n, capacity;
    uint32_t *origins; /* per byte and for the end: offset in the caller's text; see track */
    size_t origins_capacity;
};

/* One call of tokenizer_encode. */
struct encoding {
    const struct tokenizer *t;
    struct token_list *out;
    struct span_list *spans; /* or NULL */
    struct error *e;
    /* The piece of text that is being cut: between special tokens, rewritten. */
    const char *text;
    const uint32_t *origins; /* NULL: byte i of text is byte base + i of the caller's */
    size_t base;
    bool first; /* it is the beginning of the caller's text */
    struct rewritten rewritten[2];
    uint32_t *code_points; /* rewrite.c: see there */
    size_t code_points_capacity;
    struct symbol *symbols;
    size_t symbol_capacity;
    struct merge_candidate *heap;
    size_t heap_count, heap_capacity;
    struct best_path *paths; /* unigram.c */
    size_t paths_capacity;
    double path_score;        /* unigram.c: of the text before the word at hand */
    struct word_cache *cache; /* NULL: text too short, or spans asked for */
    size_t n_before;          /* tokens that were there before this piece of text */
    bool unknown;             /* the unknown token was emitted since this was cleared */
    uint64_t work;            /* steps taken, for tests that count instead of measuring time */
};

/* Makes *array hold `need` elements; what it held is lost. */
bool scratch_reserve_array(void **array, size_t *capacity, size_t need, size_t element_bytes,
                           struct error *e);
/* Room for n symbols and all candidates that merging them can ever have at once. */
bool scratch_reserve(struct encoding *enc, size_t n_symbols);
void scratch_free(struct encoding *enc);
void candidate_push(struct encoding *enc, struct merge_candidate c);
bool candidate_pop(struct encoding *enc, struct merge_candidate *c);

/* ---- words.c: tokens go out, words are remembered ---- */

/* A token that stands for word[0..n), a part of enc->text. */
void encoding_emit(struct encoding *enc, int32_t id, const char *word, size_t n);

/* Prepares remembering words of a text of n bytes. */
void words_begin(struct encoding *enc, size_t n);
void words_free(struct encoding *enc);
/* The tokens of a word: as before, or by the family. */
bool encode_word(void *encoding, const char *word, size_t n);

/* ---- rewrite.c ---- */

/* Rewrites text[0..n), which begins at byte enc->base of the caller's, to enc->text; *len is its
 * length. */
bool rewrite_text(struct encoding *enc, const char *text, size_t n, size_t *len);
bool rewrite_check(const struct tokenizer_spec *spec, struct error *e);

/* ---- normal.c: Unicode normalisation ---- */

/* Appends text[0..n) in a normalisation form (one bit of enum text_change) to out. origins: as in
 * struct encoding, of text; base likewise. */
bool normalise(struct encoding *enc, struct rewritten *out, uint32_t form, const char *text,
               size_t n, const uint32_t *origins, size_t base);
bool rewritten_put(struct encoding *enc, struct rewritten *out, const char *bytes, size_t n,
                   uint32_t origin);
bool rewritten_put_char(struct encoding *enc, struct rewritten *out, uint32_t cp, uint32_t origin);

/* ---- trie.c: the tokens that begin at a place ---- */

struct trie;
/* Of the tokens ids[0..n), which are reordered; the spellings are borrowed as long as the trie
 * lives. Of equal spellings the lowest id counts; empty ones do not. Process lifetime. */
struct trie *trie_new(const struct spellings *spellings, uint32_t *ids, size_t n);
void trie_free(struct trie *t);

/* A walk along the spellings; {0} is before their first byte. */
struct trie_walk {
    uint32_t node, depth;
};
/* Along one byte: false where no spelling goes on so. *value is the token whose spelling ends
 * there, or -1. */
bool trie_step(const struct trie *t, struct trie_walk *w, uint8_t byte, int32_t *value);

/* ---- index.c: from a spelling to its token ---- */

struct token_index;
/* An empty index of up to n tokens; their spellings are borrowed. */
struct token_index *token_index_new(const struct spellings *spellings, size_t n);
void token_index_free(struct token_index *x);
/* Of tokens with equal spellings the first that is added counts; false for the others. */
bool token_index_add(struct token_index *x, uint32_t id);
bool token_index_find(const struct token_index *x, const char *text, size_t n, uint32_t *id);

/* ---- roles.c ---- */

const char *role_key(enum token_role role);     /* tokenizer.ggml.KEY_token_id */
const char *role_old_key(enum token_role role); /* or NULL */
/* Whether a token with this spelling is a control token, whatever its file says. */
bool role_is_control_spelling(const struct gguf_string *s);
/* Whether people would take it for one, so that nobody may forge it. */
bool role_looks_like_control(const struct gguf_string *s);
/* Fills the roles that the file left open, and TOKEN_IS_END. */
void roles_complete(struct tokenizer *t);

/* ---- families ---- */

struct family {
    const char *model;  /* tokenizer.ggml.model */
    bool needs_scores;  /* tokenizer.ggml.scores */
    bool spells_spaces; /* U+2581 in a spelling is a space */
    bool marks_spaces;  /* ... and spaces of the text become U+2581 */
    bool bytes_by_name; /* "<0x41>" is a byte where its type says so */
    bool joins_unknown; /* unknown tokens in a row are one */
    bool (*check)(const struct tokenizer_spec *spec, struct error *e); /* or NULL */
    void (*build)(struct tokenizer *t, const struct tokenizer_spec *spec);
    /* Cuts text, a part of enc->text, into words and encodes each with encode_word. */
    bool (*cut)(struct encoding *enc, const char *text, size_t n);
    /* The tokens of one word: encoding_emit. */
    bool (*word)(struct encoding *enc, const char *word, size_t n);
};

extern const struct family family_bpe, family_spm, family_unigram, family_wordpiece;
/* NULL where there is none of this name. */
const struct family *family_find(const char *model);

/* ---- vocab.c ---- */

enum {
    TOKEN_IS_CONTROL = 1,
    TOKEN_IS_END = 2,
    TOKEN_IS_HIDDEN = 4,  /* control or unknown: decodes to nothing unless asked */
    TOKEN_IS_SPECIAL = 8, /* found by its spelling, never by merging: hidden or user-defined */
    TOKEN_IS_BYTE = 16,
    TOKEN_IS_UNUSED = 32,
    TOKEN_IS_ODD = 64, /* its spelling is not valid UTF-8 */
};

/* Whether two characters may stand next to each other within a token. A place in a text where they
 * may not cuts it into words. Characters are known by their last and first byte; U+2581, by which
 * words begin, by a byte of its own. */
struct joints {
    uint8_t may[256][256 / 8];
};

struct tokenizer {
    struct arena *arena;
    const struct family *family;
    size_t n_tokens;
    struct spellings spellings;
    uint8_t *flags;
    int32_t roles[N_TOKEN_ROLES];
    bool add_bos, add_eos, add_separator;
    bool add_space_prefix, space_prefix_first_only, space_prefix_unless_space;
    bool remove_extra_whitespaces, whitespace_suffix, float_sums;
    uint32_t changes;
    uint8_t *charsmap;
    size_t charsmap_bytes;
    int32_t byte_ids[256];
    struct token_index *by_spelling;
    struct specials *specials;
    size_t max_mergeable_bytes;
    bool whole_words;            /* bpe: a word that is a token needs no merges */
    float *scores;               /* spm */
    double *probabilities;       /* unigram: their logarithms */
    double unknown_score;        /* unigram */
    bool sums_by_mark;           /* unigram: see cut in unigram.c */
    struct joints *joints;       /* spm, unigram */
    struct trie *trie;           /* unigram, wordpiece */
    struct trie_walk word_start; /* wordpiece: behind U+2581; node 0: no token begins with it */
    struct pre *pre;             /* bpe */
    /* Merging by rules: an entry is left << 43 | right << 22 | rank, hashed by the pair;
     * UINT64_MAX is empty. */
    uint64_t *rules;
    uint32_t rule_shift;   /* 64 - log2 of the number of entries */
    int32_t *rule_results; /* by rank */
};

/* All that tokenizer_new checks but for the pre-tokenizer's name; NULL with an error. */
const struct family *vocab_check(const struct tokenizer_spec *spec, struct error *e);
/* Whether text may become this token without its being looked for by its spelling (T2). */
static inline bool vocab_is_mergeable(const struct tokenizer *t, size_t id)
{
    return !(t->flags[id] & (TOKEN_IS_SPECIAL | TOKEN_IS_BYTE));
}
/* The mergeable token that is spelled so. */
static inline bool vocab_find(const struct tokenizer *t, const char *text, size_t n, uint32_t *id)
{
    return n <= t->max_mergeable_bytes && token_index_find(t->by_spelling, text, n, id) &&
           vocab_is_mergeable(t, *id);
}
/* The bytes that a token stands for, to out[0..TOKENIZER_MAX_SPELLING_BYTES): never more than its
 * spelling has. Worked out anew each time, since a copy for each token would double the memory of a
 * vocabulary. Returns their number. */
size_t vocab_piece(const struct tokenizer *t, size_t id, char *out);
/* A trie of the spellings of the mergeable tokens. */
void vocab_build_trie(struct tokenizer *t);
/* Fills t->byte_ids from the tokens that are bytes by name. */
void vocab_build_byte_ids(struct tokenizer *t);
void vocab_build_joints(struct tokenizer *t);
/* Where the word that begins at text ends: at the first place that no token goes across. */
size_t vocab_word_length(const struct tokenizer *t, const char *text, size_t n);
/* The tokens of a piece of text that no token covers: its bytes, or the unknown token. */
void vocab_emit_bytes(struct encoding *enc, const char *text, size_t n);

/* ---- rules.c: merges by rank ---- */

bool rules_check(const struct tokenizer_spec *spec, struct error *e);
void rules_build(struct tokenizer *t, const struct tokenizer_spec *spec);
/* Merges enc->symbols[0..n), filled but for prev and next, and emits what is left of word. */
bool rules_merge(struct encoding *enc, const char *word, uint32_t n);
/* The same for few symbols, given by their ids and by their offsets, offsets[n] being the end. */
enum { RULES_FEW = 64 };
void rules_merge_few(struct encoding *enc, const char *word, uint32_t *ids, uint32_t *offsets,
                     uint32_t n);

/* ---- bpe.c ---- */

/* The printable character that stands for a byte in byte-level vocabularies, as UTF-8 (1 or 2
 * bytes). */
size_t bpe_byte_spelling(uint8_t byte, char out[4]);
/* The byte a character stands for; -1 when it is none of those. */
int bpe_byte_of(uint32_t cp);

/* Encodes and counts the steps taken: for tests. */
bool tokenizer_encode_counted(const struct tokenizer *t, const char *text, size_t n,
                              struct token_list *out, uint64_t *work, struct error *e);

#endif
