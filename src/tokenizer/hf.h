/* hf.h: what the readers of Hugging Face folders share (internal to this module).
 *
 * hf.c opens the folder and puts the parts together; hf_json.c reads tokenizer.json, hf_parts.c its
 * large parts, hf_steps.c what it says about how text is changed and cut, spm_model.c
 * tokenizer.model, hf_files.c the older files. All they read may be hostile: counts, ids and types
 * are checked, and each function leaves one sentence in r->e.
 */
#ifndef LLLM_TOKENIZER_HF_H
#define LLLM_TOKENIZER_HF_H

#include <jansson.h>

#include "base/json_scan.h"
#include "tokenizer/tokenizer_internal.h"

enum {
    HF_MAX_FILE_BYTES = 1 << 28,
    HF_MAX_PATTERNS = 8,
    HF_NO_SCORE = -1000, /* of tokens that no merge leads to, as converters have it */
};

struct hf_reader {
    const char *folder;
    struct tokenizer_spec *spec;
    size_t capacity;      /* of spec->tokens, types, scores, exact_scores, attributes */
    json_t *config;       /* tokenizer_config.json, or NULL */
    size_t n_values;      /* of all trees so far */
    struct strmap *index; /* spelling -> id; NULL: to be made */
    char *room;           /* for spellings, in the arena, one after the other */
    size_t room_bytes;
    struct error *e;
};

/* A file of the folder. Absent: *there is false and there is no error. */
bool hf_read(const struct hf_reader *r, const char *name, struct buf *text, bool *there);
/* The same as a tree, which has a ceiling; NULL and no error where it is absent. */
bool hf_read_json(struct hf_reader *r, const char *name, json_t **json);
/* A small text as a tree, NULL where it is no JSON; its largest numbers are changed in place. */
json_t *hf_parse(char *text, size_t n, json_error_t *problem);

/* Room for ids below n, exactly. */
void hf_reserve(struct hf_reader *r, size_t n);
/* A copy that lives as long as the spec, with a NUL behind it. */
char *hf_copy_text(struct hf_reader *r, const char *text, size_t n);

/* Sets the spelling, type and score of token id; spec->n_tokens grows to id + 1. The text is
 * copied. False where the id is out of range. */
bool hf_set_token(struct hf_reader *r, int64_t id, const char *text, size_t n, int32_t type,
                  double score);
/* A token that is looked for by its spelling. */
bool hf_add_special(struct hf_reader *r, int64_t id, const char *text, size_t n, bool control,
                    uint8_t attributes);
/* Tokens without a spelling, which files with gaps in their numbering have, become unused. False,
 * with a sentence, where they are many and more than the others. */
bool hf_fill_gaps(struct hf_reader *r);
int32_t hf_find(struct hf_reader *r, const char *text, size_t n);
/* A member that is a boolean; absent or null: the default. */
bool hf_bool(const json_t *object, const char *key, bool otherwise);
/* The lstrip, rstrip and single_word of an added token. */
uint8_t hf_attributes(const json_t *added);

/* How text is changed and cut, gathered from normalizer and pre_tokenizer. */
struct hf_steps {
    bool byte_level, bert;
    bool marks_spaces;   /* spaces become U+2581 */
    bool split_at_marks; /* each U+2581 begins a word */
    bool drops_runs;     /* runs of spaces are one */
    bool space_prefix, first_only, unless_space;
    uint32_t changes;
    const uint8_t *charsmap;
    size_t charsmap_bytes;
    struct gguf_string patterns[HF_MAX_PATTERNS];
    size_t n_patterns;
};
bool hf_read_steps(struct hf_reader *r, const json_t *normalizer, const json_t *pre_tokenizer,
                   struct hf_steps *steps);
/* What a text begins and ends with: sets add_bos, add_eos and the roles that are still open. */
bool hf_read_post_processor(struct hf_reader *r, const json_t *post);

/* tokenizer.json in parts: those that may be large are places in the text, which must outlive them,
 * where their values begin (NULL: not there); the rest is a tree, with null for them. */
struct hf_parts {
    json_t *rest;
    struct json_scan all;       /* the text, found to be valid JSON */
    const char *vocab, *merges; /* of the model */
    const char *added;          /* added_tokens */
};
bool hf_parts_open(struct hf_parts *parts, const char *text, size_t n, struct error *e);
/* A vocab.json: the vocabulary alone. */
bool hf_parts_open_vocab(struct hf_parts *parts, const char *text, size_t n, struct error *e);
void hf_parts_close(struct hf_parts *parts); /* also after one of these has failed */
bool hf_parts_begins(const char *part, char c);
/* {"piece": id, ...}; word_pieces: the spellings are hf_word_piece's. */
bool hf_read_vocab_object(struct hf_reader *r, const struct hf_parts *parts, bool word_pieces);
/* [["piece", score], ...] */
typedef double score_fn(double score);
bool hf_read_piece_list(struct hf_reader *r, const struct hf_parts *parts, score_fn *change);
/* ["l r", ...] or [["l", "r"], ...] */
bool hf_read_merges(struct hf_reader *r, const struct hf_parts *parts);
bool hf_read_added(struct hf_reader *r, const struct hf_parts *parts);

bool hf_read_tokenizer_json(struct hf_reader *r, const char *text, size_t n);
bool hf_read_tokenizer_model(struct hf_reader *r, const char *data, size_t n);
/* vocab.json, and the merges.txt beside it. */
bool hf_read_vocab_of_pair(struct hf_reader *r, const struct hf_parts *vocab);
bool hf_read_merge_lines(struct hf_reader *r, const char *text, size_t n);
/* A piece as vocab.txt spells it, as files of ours have it: borrowed from the text, or made in
 * `made`; longer than that allows, it is the text. */
struct gguf_string hf_word_piece(struct buf *made, const char *text, size_t n);
bool hf_read_vocab_text(struct hf_reader *r, const char *text, size_t n);

#endif
