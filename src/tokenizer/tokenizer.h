/* tokenizer.h: text to token ids and back.
 *
 * Two families: SentencePiece BPE ("llama": merges chosen by score, byte fallback, spaces as
 * U+2581) and byte-level BPE ("gpt2": a pre-tokenizer pattern cuts the text, merges chosen by
 * rank). Which pre-tokenizer a file means is a row in tokenizer/pre.c. A tokenizer is immutable
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

/* A vocabulary as data: what the trainer and importers produce and GGUF files carry. All memory
 * belongs to the arena, the spec itself too; the lifetime is the caller's (tokenizer_spec_free). */
struct tokenizer_spec {
    struct arena *arena;
    const char *model; /* "llama" or "gpt2" */
    const char *pre;   /* "gpt-2", "smollm", "llama-bpe", ...; NULL for "llama" */
    size_t n_tokens;
    /* The file's spellings; in gpt2 each byte is a printable character (see bpe.c). */
    struct gguf_string *tokens;
    float *scores;   /* llama: the larger, the sooner; NULL for gpt2 */
    int32_t *types;  /* enum token_type; NULL: all are normal */
    size_t n_merges; /* gpt2: "left right", by rank */
    struct gguf_string *merges;
    int32_t bos, eos, unknown, padding; /* TOKENIZER_NO_TOKEN where there is none */
    bool add_bos, add_eos, add_space_prefix;
};

/* Both check what they are given: counts, ids, types, scores and merges that make no sense are
 * errors (ERROR_INPUT, ERROR_LIMIT), another tokenizer.ggml.model or an unknown tokenizer.ggml.pre
 * is ERROR_UNSUPPORTED. Of tokens with equal spellings the first counts. Merges whose parts or
 * whole are not normal tokens of the vocabulary are passed over. Process lifetime. */
struct tokenizer;
struct tokenizer *tokenizer_new(const struct tokenizer_spec *spec, struct error *e); /* copies */
struct tokenizer *tokenizer_from_gguf(const struct gguf *g, struct error *e);
void tokenizer_free(struct tokenizer *t);
/* The vocabulary of a file as data. Its strings point into the file: keep g open as long. */
struct tokenizer_spec *tokenizer_spec_from_gguf(const struct gguf *g, struct error *e);
void tokenizer_spec_write(const struct tokenizer_spec *spec, struct gguf_writer *w);

struct token_list {
    int32_t *ids;
    size_t n, capacity;
};
void token_list_add(struct token_list *l, int32_t id);
void token_list_free(struct token_list *l);

/* Appends the ids of text[0..n). First the spellings of special tokens are found, longer ones
 * before shorter ones: user-defined tokens in any text, control (and unknown) tokens only where
 * every byte of the spelling is trusted. `trusted` is NULL (nothing is: text from people) or one
 * byte per byte of text, nonzero for bytes that a template or program wrote; TOKENIZER_ALL_TRUSTED
 * trusts all. What is not trusted never becomes a control token. The text between is tokenized
 * whatever its trust; where the vocabulary asks for a space prefix (SPM), each such piece of text
 * gets it, as upstream does. No BOS or EOS is added: see tokenizer_add_bos. Text need not be valid
 * UTF-8. A byte for which the vocabulary has no token becomes the unknown token, or nothing where
 * there is none. Fails above TOKENIZER_MAX_TEXT_BYTES, or where memory is not to be had; out is
 * then as before. */
#define TOKENIZER_ALL_TRUSTED ((const uint8_t *)1)
enum { TOKENIZER_MAX_TEXT_BYTES = 1 << 28 };
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted,
                      struct token_list *out, struct error *e);

/* Appends the bytes that id stands for. Control tokens give nothing unless show_control.
 * Bytes of one character may be spread over several tokens. An SPM tokenizer's word-start mark
 * gives a space here, also at the start of a text; tokenizer_decode drops the space that encode
 * added: the first at the start and after each control or user-defined token. So decoding what
 * encoding gave yields the same bytes (but for U+2581 in an SPM text, which comes back as a space).
 */
void tokenizer_append_piece(const struct tokenizer *t, int32_t id, bool show_control,
                            struct buf *out);
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool show_control,
                      struct buf *out);

size_t tokenizer_count(const struct tokenizer *t);
int32_t tokenizer_bos(const struct tokenizer *t); /* TOKENIZER_NO_TOKEN where there is none */
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_add_bos(const struct tokenizer *t); /* whether a prompt begins with BOS */
bool tokenizer_add_eos(const struct tokenizer *t); /* whether a prompt ends with EOS */
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
void tokenizer_spec_free(struct tokenizer_spec *spec);

#endif
