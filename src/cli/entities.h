/* entities.h: from the scores of tokens to named spans of a text. */
#ifndef LLLM_CLI_ENTITIES_H
#define LLLM_CLI_ENTITIES_H

#include <stdbool.h>
#include <stddef.h>

#include "model/model.h"
#include "tokenizer/tokenizer.h"

/* The labels of a model's classification head; "LABEL_3" where the file names none. */
struct label_names {
    char **items; /* [n] */
    size_t n, longest;
};
void label_names_init(struct label_names *names, const struct model *m);
void label_names_free(struct label_names *names);

/* Probabilities of scores[n]. */
void label_softmax(const float *scores, size_t n, double *probabilities);

struct entity {
    const char *label; /* a view of a label's name, without "B-" and "I-" in front */
    size_t label_bytes;
    size_t start, end; /* characters; bytes that are no UTF-8 count as one each */
    size_t start_byte, end_byte;
    double score; /* the mean of its tokens' probabilities */
};

struct entity_list {
    struct entity *items;
    size_t n, capacity;
};

/* Each token has its likeliest label. Neighbours whose labels have the same name after "B-" or "I-"
 * are one entity, unless the later one's begins with "B-" (Ramshaw and Marcus, "Text Chunking using
 * Transformation-Based Learning", 1995; as the "simple" strategy of Hugging Face pipelines); "O" is
 * none. Tokens that stand for no text are passed over. With every_token, each token is told, with
 * its whole label.
 * scores: [n_spans, names->n]. */
void entities_find(struct entity_list *found, const struct label_names *names, const char *text,
                   size_t n, const struct token_span *spans, size_t n_spans, const float *scores,
                   bool every_token);
void entity_list_free(struct entity_list *l);

#endif
