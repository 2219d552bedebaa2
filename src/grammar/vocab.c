/* vocab.c: the tokens of a vocabulary as a tree of their bytes. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

enum { MAX_DEPTH = UINT16_MAX };

struct sorted {
    const uint8_t *bytes;
    const uint32_t *starts;
};

static int compare(const void *a, const void *b, void *context)
{
    const struct sorted *s = context;
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    uint32_t n_x = s->starts[x + 1] - s->starts[x], n_y = s->starts[y + 1] - s->starts[y];
    uint32_t n = n_x < n_y ? n_x : n_y;
    int order = n ? memcmp(s->bytes + s->starts[x], s->bytes + s->starts[y], n) : 0;
    return order ? order : n_x != n_y ? (n_x > n_y ? 1 : -1) : (x > y) - (x < y);
}

/* The nodes of tokens in the order of their bytes: each adds those that it does not share with the
 * one before. */
static void grow_tree(struct grammar_vocab *v, const uint32_t *order, size_t n)
{
    size_t capacity = 1024;
    v->nodes = mem_array(capacity, sizeof *v->nodes);
    uint32_t *path = mem_array((size_t)v->max_bytes + 1, sizeof *path); /* node at depth */
    uint32_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = order[i], length = v->starts[id + 1] - v->starts[id], common = 0;
        const uint8_t *bytes = v->bytes + v->starts[id];
        while (common < depth && common < length &&
               v->nodes[path[common + 1]].byte == bytes[common]) {
            common++;
        }
        while (depth > common) {
            v->nodes[path[depth--]].end = (uint32_t)v->n_nodes;
        }
        while (depth < length) {
            if (v->n_nodes == capacity) {
                capacity *= 2;
                v->nodes = mem_resize(v->nodes, capacity * sizeof *v->nodes);
            }
            path[depth + 1] = (uint32_t)v->n_nodes;
            v->nodes[v->n_nodes++] = (struct vocab_node){
                .token = -1, .depth = (uint16_t)(depth + 1), .byte = bytes[depth]};
            depth++;
        }
        struct vocab_node *node = &v->nodes[path[depth]];
        v->next_same[id] = node->token;
        node->token = (int32_t)id;
    }
    while (depth > 0) {
        v->nodes[path[depth--]].end = (uint32_t)v->n_nodes;
    }
    free(path);
}

/* Takes bytes and starts. */
static struct grammar_vocab *make(size_t n, size_t n_logits, struct buf *bytes, uint32_t *starts)
{
    struct grammar_vocab *v = mem_zalloc(sizeof *v);
    v->n = n_logits > n ? n_logits : n;
    v->n_words = (v->n + 31) / 32;
    v->bytes = (uint8_t *)buf_take(bytes, NULL);
    v->starts = mem_array(v->n + 1, sizeof *v->starts);
    memcpy(v->starts, starts, (n + 1) * sizeof *starts);
    for (size_t i = n; i < v->n; i++) {
        v->starts[i + 1] = v->starts[n];
    }
    free(starts);
    v->next_same = mem_array(v->n + 1, sizeof *v->next_same);
    uint32_t *order = mem_array(n + 1, sizeof *order);
    size_t n_order = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length = v->starts[i + 1] - v->starts[i];
        v->next_same[i] = -1;
        if (length > 0 && length <= MAX_DEPTH) {
            order[n_order++] = i;
            v->max_bytes = length > v->max_bytes ? length : v->max_bytes;
        }
    }
    struct sorted context = {v->bytes, v->starts};
    qsort_r(order, n_order, sizeof *order, compare, &context);
    grow_tree(v, order, n_order);
    free(order);
    return v;
}

static int compare_ids(const void *a, const void *b)
{
    int32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

bool vocab_is_end(const struct grammar_vocab *v, int32_t token)
{
    return v->n_ends && bsearch(&token, v->ends, v->n_ends, sizeof *v->ends, compare_ids);
}

struct grammar_vocab *grammar_vocab_new(const struct tokenizer *t, size_t n_logits)
{
    size_t n = tokenizer_count(t), n_ends = 0;
    struct buf bytes;
    buf_init(&bytes, UINT32_MAX - 1);
    uint32_t *starts = mem_array(n + 1, sizeof *starts);
    int32_t *ends = mem_array(n + 1, sizeof *ends);
    for (size_t i = 0; i < n; i++) {
        starts[i] = (uint32_t)bytes.len;
        if (tokenizer_is_end(t, (int32_t)i)) {
            ends[n_ends++] = (int32_t)i; /* whatever its bytes: it ends the answer */
        } else {
            tokenizer_append_piece(t, (int32_t)i, false, &bytes);
        }
    }
    starts[n] = (uint32_t)bytes.len;
    struct grammar_vocab *v = make(n, n_logits, &bytes, starts);
    v->tokenizer = t;
    v->ends = ends;
    v->n_ends = n_ends;
    return v;
}

struct grammar_vocab *grammar_vocab_from_pieces(const struct gguf_string *pieces, size_t n,
                                                const int32_t *ends, size_t n_ends)
{
    struct buf bytes;
    buf_init(&bytes, UINT32_MAX - 1);
    uint32_t *starts = mem_array(n + 1, sizeof *starts);
    for (size_t i = 0; i < n; i++) {
        starts[i] = (uint32_t)bytes.len;
        if (pieces[i].data) {
            buf_append(&bytes, pieces[i].data, pieces[i].len);
        }
    }
    starts[n] = (uint32_t)bytes.len;
    struct grammar_vocab *v = make(n, n, &bytes, starts);
    v->ends = mem_array(n_ends + 1, sizeof *v->ends);
    if (n_ends) {
        memcpy(v->ends, ends, n_ends * sizeof *ends);
        qsort(v->ends, n_ends, sizeof *v->ends, compare_ids);
    }
    v->n_ends = n_ends;
    return v;
}

void grammar_vocab_free(struct grammar_vocab *v)
{
    if (v) {
        free(v->nodes);
        free(v->next_same);
        free(v->bytes);
        free(v->starts);
        free(v->ends);
        free(v);
    }
}

size_t grammar_vocab_count(const struct grammar_vocab *v)
{
    return v->n;
}
