/* tokenizer.h: text to token ids and back.
 *
 * Four families: SentencePiece BPE ("llama": merges chosen by score, byte fallback, spaces as
 * U+2581), byte-level BPE ("gpt2": patterns cut the text, merges chosen by rank), WordPiece
 * ("bert": longest match first) and SentencePiece unigram ("t5": the most probable segmentation).
 * Which patterns a file's pre-tokenizer means is a row in tokenizer/pre.c. A tokenizer is immutable
 * after creation and may be used by many threads at once; every call takes linear or n log n time
 * in the input.
 */
#ifndef LLLM_TOKENIZER_TOKENIZER_H
#define LLLM_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "gguf/gguf.h"

/* tokenizer.ggml.token_type */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

enum { TOKENIZER_NO_TOKEN = -1 };

/* What single tokens are for. The keys of GGUF files and the spellings by which tokens are
 * recognised where a file does not say are rows in tokenizer/roles.c. */
enum token_role {
    ROLE_BOS, /* a text begins with it */
    ROLE_EOS,
    ROLE_UNKNOWN,
    ROLE_PADDING,
    ROLE_EOT, /* end of a turn */
    ROLE_EOM, /* end of a message that a tool is to answer */
    ROLE_SEPARATOR,
    ROLE_CLS,
    ROLE_MASK,
    ROLE_FIM_PREFIX, /* fill in the middle: before the text before the hole, ... */
    ROLE_FIM_SUFFIX,
    ROLE_FIM_MIDDLE,
    ROLE_FIM_PAD,
    ROLE_FIM_REPO, /* before the name of a repository */
    ROLE_FIM_FILE, /* between files */
    N_TOKEN_ROLES,
};

/* What tokens are beside their types: how the spelling of a special one takes its surroundings, and
 * more that end an answer than there are roles for. Bits of tokenizer_spec.attributes. */
enum token_attribute {
    TOKEN_STRIPS_LEFT = 1,  /* white space before it belongs to it */
    TOKEN_STRIPS_RIGHT = 2, /* white space after it, likewise */
    TOKEN_WHOLE_WORD = 4,   /* counts only where no word goes on before or after it */
    TOKEN_ENDS_ANSWER = 8,  /* as EOS, EOT and EOM do */
};

/* What happens to text before it is cut, in this order: bits of tokenizer_spec.changes. The order
 * and the meaning of the first five are BERT's. */
enum text_change {
    CHANGE_NOTHING = 1 << 0, /* as opposed to 0: what the pre-tokenizer's row says */
    CHANGE_CLEAN = 1 << 1,   /* control characters go, white space becomes spaces */
    CHANGE_SPLIT_CJK = 1 << 2,
    CHANGE_STRIP_ACCENTS = 1 << 3, /* canonical decomposition without nonspacing marks */
    CHANGE_LOWERCASE = 1 << 4,
    CHANGE_NFC = 1 << 5, /* at most one of these four; before CHANGE_LOWERCASE */
    CHANGE_NFD = 1 << 6,
    CHANGE_NFKC = 1 << 7,
    CHANGE_NFKD = 1 << 8,
    CHANGE_SPACES = 1 << 9, /* after charsmap: all white space becomes spaces */
};

/* A vocabulary as data: what the trainer and importers produce and GGUF files carry. All memory
 * belongs to the arena, the spec itself too; the lifetime is the caller's (tokenizer_spec_free). */
struct tokenizer_spec {
    struct arena *arena;
    const char *model; /* "llama", "gpt2", "bert" or "t5" */
    const char *pre;   /* gpt2: "gpt-2", "smollm", "llama-bpe", ...; NULL where there is none */
    size_t n_tokens;
    /* The file's spellings; in gpt2 each byte is a printable character (see bpe.c). bert: a word's
     * first piece begins with U+2581, the further ones have nothing in front. */
    struct gguf_string *tokens;
    float *scores;        /* llama: the larger, the sooner; t5: log probabilities; else NULL */
    double *exact_scores; /* t5: where floats do not hold the scores; else NULL */
    int32_t *types;       /* enum token_type; NULL: all are normal */
    uint8_t *attributes;  /* enum token_attribute; NULL: none has any */
    size_t n_merges;      /* "left right", by rank; gpt2, and llama where scores do not decide */
    struct gguf_string *merges;
    int32_t roles[N_TOKEN_ROLES]; /* TOKENIZER_NO_TOKEN where there is none */
    bool add_bos, add_eos;
    bool add_separator;           /* a text ends with the separator (or EOS, where there is none) */
    bool add_space_prefix;        /* a space is put before each piece of text, ... */
    bool space_prefix_first_only; /* ... but not after a special token */
    bool space_prefix_unless_space; /* ... but not where there is one (gpt2: never then) */
    bool remove_extra_whitespaces;  /* t5, llama: runs of spaces become one, none at the ends */
    bool whitespace_suffix;         /* t5: the mark of a space stands behind words */
    /* t5: probabilities are added in single precision along the whole text, as by the sentencepiece
     * library; else in double precision, as by the tokenizers library and llama.cpp. */
    bool float_sums;
    int whole_words; /* gpt2: a word that is a token needs no merges: 1 yes, -1 no, 0 as pre says */
    uint32_t changes;        /* enum text_change; 0: as pre says */
    const uint8_t *charsmap; /* SentencePiece's compiled normalisation rules, or NULL */
    size_t charsmap_bytes;
};

/* An empty spec in an arena of its own, all roles unfilled. */
struct tokenizer_spec *tokenizer_spec_new(void);
void tokenizer_spec_free(struct tokenizer_spec *spec);

/* The vocabulary of a GGUF file as data. Its strings point into the file: keep g open as long. */
struct tokenizer_spec *tokenizer_spec_from_gguf(const struct gguf *g, struct error *e);
/* The vocabulary of a Hugging Face folder: tokenizer.json, or else tokenizer.model, vocab.json with
 * merges.txt, or vocab.txt; with tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json where they are there. What the files ask for and this program does not know is
 * ERROR_UNSUPPORTED and named; ERROR_IO where the folder has none of them. Independent of the
 * files after. */
struct tokenizer_spec *tokenizer_spec_from_hf(const char *folder, struct error *e);
/* Adds unused tokens "[PAD<id>]" up to n_tokens, as models have whose matrices are larger than
 * their vocabularies; where there are as many already, does nothing. */
bool tokenizer_spec_pad(struct tokenizer_spec *spec, size_t n_tokens, struct error *e);
/* Adds the pairs tokenizer.ggml.* (and lllm.tokenizer.* for what those cannot say). */
void tokenizer_spec_write(const struct tokenizer_spec *spec, struct gguf_writer *w);

/* Both check what they are given: counts, ids, types, scores and merges that make no sense are
 * errors (ERROR_INPUT, ERROR_LIMIT), another tokenizer.ggml.model or an unknown tokenizer.ggml.pre
 * is ERROR_UNSUPPORTED. Of tokens with equal spellings the first counts; they and empty ones are a
 * warning (base/log.h). Merges whose parts or whole are not normal tokens of the vocabulary are
 * passed over. Memory: under twice the file and 64 MB. Process lifetime. */
struct tokenizer;
struct tokenizer *tokenizer_new(const struct tokenizer_spec *spec, struct error *e); /* copies */
struct tokenizer *tokenizer_from_gguf(const struct gguf *g, struct error *e);
void tokenizer_free(struct tokenizer *t);

struct token_list {
    int32_t *ids;
    size_t n, capacity;
};
void token_list_add(struct token_list *l, int32_t id);
void token_list_free(struct token_list *l);

/* Appends the ids of text[0..n). First the spellings of special tokens are found, longer ones
 * before shorter ones: user-defined tokens in any text, control (and unknown) tokens, and
 * user-defined ones that look like them ("<|...|>"), only where every byte of the spelling is
 * trusted. `trusted` is NULL (nothing is: text from people) or one byte per byte of text, nonzero
 * for bytes that a template or program wrote (user-defined tags, "<tool_response>" or "[INST]",
 * then need trust too, for templates use them as marks); TOKENIZER_ALL_TRUSTED trusts all. What is
 * not trusted never becomes a control token. The text between is tokenized whatever its trust;
 * where the vocabulary asks for a space prefix (SPM), each such piece of text gets it, as upstream
 * does, unless the vocabulary says that only the first does. No BOS or EOS is added: see
 * tokenizer_first. Text need not be valid UTF-8. A byte for which the vocabulary has no token
 * becomes the unknown token, or nothing where there is none. Fails above TOKENIZER_MAX_TEXT_BYTES,
 * or where memory is not to be had; out is then as before. */
#define TOKENIZER_ALL_TRUSTED ((const uint8_t *)1)
enum { TOKENIZER_MAX_TEXT_BYTES = 1 << 28 };
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted,
                      struct token_list *out, struct error *e);

/* The same, with the bytes text[start..end) that each appended token stands for. Tokens for what
 * was not in the text (a space prefix) have start == end; where normalisation joins characters,
 * tokens may share bytes. spans must hold as many entries as out before the call. */
struct token_span {
    uint32_t start, end;
};
struct span_list {
    struct token_span *spans;
    size_t n, capacity;
};
void span_list_add(struct span_list *l, struct token_span span);
void span_list_free(struct span_list *l);
bool tokenizer_encode_spans(const struct tokenizer *t, const char *text, size_t n,
                            const uint8_t *trusted, struct token_list *out, struct span_list *spans,
                            struct error *e);

/* The prompt that asks a model to fill the hole between two texts (Bavarian et al., "Efficient
 * Training of Language Models to Fill in the Middle", 2022), from BOS, where the vocabulary wants
 * one, to the token after which the answer begins. The texts are untrusted. Prefix-suffix-middle
 * order is what models were trained on most; INFILL_SPM is: prefix and suffix token, suffix, middle
 * token, prefix. ERROR_UNSUPPORTED where the vocabulary has no such tokens. */
enum infill_order { INFILL_PSM, INFILL_SPM };
bool tokenizer_infill(const struct tokenizer *t, enum infill_order order, const char *prefix,
                      size_t n_prefix, const char *suffix, size_t n_suffix, struct token_list *out,
                      struct error *e);

/* Appends the bytes that id stands for. Control tokens give nothing unless show_control.
 * Bytes of one character may be spread over several tokens. An SPM tokenizer's word-start mark
 * gives a space here, also at the start of a text; tokenizer_decode drops the space that encode
 * added: the first at the start and after each control or user-defined token. So decoding what
 * encoding gave yields the same bytes, but for U+2581 in a text of a family that uses it, which
 * comes back as a space, and for what the vocabulary has changed before cutting (see text_change).
 */
void tokenizer_append_piece(const struct tokenizer *t, int32_t id, bool show_control,
                            struct buf *out);
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool show_control,
                      struct buf *out);

size_t tokenizer_count(const struct tokenizer *t);
int32_t tokenizer_role(const struct tokenizer *t, enum token_role role);
int32_t tokenizer_bos(const struct tokenizer *t); /* TOKENIZER_NO_TOKEN where there is none */
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_add_bos(const struct tokenizer *t); /* whether a prompt begins with BOS */
/* What a whole text begins and ends with: BOS or the class token, EOS or the separator, where the
 * vocabulary asks for them; else TOKENIZER_NO_TOKEN. */
int32_t tokenizer_first(const struct tokenizer *t);
int32_t tokenizer_last(const struct tokenizer *t);
bool tokenizer_is_control(const struct tokenizer *t, int32_t id);
/* True for EOS, EOT and the known end-of-turn spellings ("<|im_end|>", "<|eot_id|>", "</s>", ...).
 */
bool tokenizer_is_end(const struct tokenizer *t, int32_t id);
/* The token whose exact spelling in the file is text; TOKENIZER_NO_TOKEN where there is none. */
int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n);
/* The file's own spelling of a token. */
struct gguf_string tokenizer_spelling(const struct tokenizer *t, int32_t id);
const char *tokenizer_model_name(const struct tokenizer *t);

/* Trains byte-level BPE (Sennrich et al., 2016) on texts. Ids: the `specials` as control tokens
 * (0..n_specials-1), then the 256 bytes by value, then a token for each merge in the order of
 * merging: by count, of equal counts the pair with lower ids. n_tokens counts all; there are fewer
 * where no pair is left. Spellings of specials in the texts are cut out and teach nothing. A given
 * bos also sets add_bos. The result depends on nothing but the arguments. Errors: too few tokens
 * for specials and bytes, specials that are equal, bos or eos not among them (ERROR_USAGE), an
 * unknown pre (ERROR_UNSUPPORTED), a text above TOKENIZER_MAX_TEXT_BYTES (ERROR_LIMIT). */
struct bpe_training {
    const char *pre; /* NULL: "gpt-2" */
    size_t n_tokens;
    const char *const *specials;
    size_t n_specials;
    const char *bos, *eos; /* spellings among specials, or NULL */
    /* No merge joins the space before a word to the word: it has the same tokens wherever it
     * stands, which small models need to copy it. The encoder is the usual one, so other programs
     * agree. */
    bool space_alone;
    uint32_t min_count; /* a pair seen less often is not merged (at least 2) */
};
struct tokenizer_spec *bpe_train(const struct bpe_training *how, const char *const *texts,
                                 const size_t *lengths, size_t n_texts, struct error *e);

#endif
