/* data.h: texts and conversations as token sequences with a loss mask, and their order.
 *
 * A document is one conversation (a line of a .jsonl file: {"messages": [...], "tools": [...]}),
 * one text (a line with
 * {"text": ...}), or a stretch of at most `context` tokens of a plain text file. Conversations are
 * rendered by the chat template; with LOSS_ON_ANSWERS only the tokens of assistant messages and the
 * token that ends them are predicted. A last assistant message with "cut": true is the beginning of
 * an answer: the document ends in its midst, and no end is learned. Documents longer than the
 * context are left out and counted.
 */
#ifndef LLLM_TRAIN_DATA_H
#define LLLM_TRAIN_DATA_H

#include "base/error.h"
#include "tokenizer/tokenizer.h"
#include "train/net.h"
#include "train/train.h"

struct dataset {
    int32_t *tokens;  /* all documents end to end */
    uint8_t *predict; /* [n_tokens]: nonzero where the token is a target */
    size_t n_tokens, token_capacity;
    size_t *starts; /* [n_documents + 1] */
    size_t n_documents, document_capacity;
    size_t n_too_long;
    bool has_conversations;
};

/* Trains the recipe's tokenizer on its training files, or reads it from its GGUF file. */
struct tokenizer_spec *data_train_tokenizer(const struct train_config *c, struct error *e);

bool dataset_read(struct dataset *d, const char *const *files, size_t n_files,
                  const struct tokenizer *t, const char *chat_template, enum loss_on loss_on,
                  uint32_t context, struct error *e);
void dataset_free(struct dataset *d);

/* The order of the documents in an epoch: a permutation that seed and epoch decide. */
void dataset_order(const struct dataset *d, uint64_t seed, uint64_t epoch, uint32_t *order);

/* Where a run stands in its data. */
struct data_cursor {
    uint64_t epoch, next; /* next: index into the epoch's order */
};

/* A micro-batch with memory of its own. */
struct packed_batch {
    struct net_batch batch;
    int32_t *tokens, *targets;
    struct document_span *spans;
    size_t n_targets;
};
bool packed_batch_init(struct packed_batch *p, size_t max_tokens);
void packed_batch_free(struct packed_batch *p);

/* Fills p with the next documents (in `order`, which is redrawn when an epoch ends) as long as they
 * fit. With order NULL: documents in file order, no wrapping; false after the last. */
bool dataset_next(const struct dataset *d, uint64_t seed, uint32_t *order,
                  struct data_cursor *cursor, size_t max_tokens, struct packed_batch *p);

#endif
