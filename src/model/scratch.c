/* The working memory of a pass: one mapping, cut by one table. What a model does not use has no
 * size, and pages that no pass touches cost nothing. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/map.h"
#include "model/pass.h"

enum {
    MAX_PARTS = 40,
    /* Of what prompts do not write on_units, unless they have PREFILL_TOKENS or fewer; generated
     * tokens are no more than these, but where a queue computes them again. */
    FLOAT_ROWS = MODEL_MAX_JOINT,
};

_Static_assert((int)FLOAT_ROWS >= (int)PREFILL_TOKENS, "short prompts are written, too");

struct part {
    size_t place; /* of the pointer, in struct model_scratch */
    uint64_t size_bytes, offset;
};

static void add(struct part *parts, size_t *n, uint64_t *total, size_t place, uint64_t size_bytes)
{
    assert(*n < MAX_PARTS);
    parts[(*n)++] = (struct part){place, size_bytes, *total};
    *total += (size_bytes + 63) & ~(uint64_t)63;
}

/* For either unit; integer units want a row for every thread, and inputs of matrices of several
 * types in up to `n_bits` ways. */
static uint64_t packed_bytes(uint64_t n_rows, uint64_t n_threads, uint64_t n_in, uint64_t n_bits)
{
    uint64_t tiles = prefill_packed_bytes(n_rows, n_in, true);
    uint64_t integers = n_bits * fixed_packed_bytes(n_rows, n_in);
    uint64_t own = n_bits * n_threads * fixed_packed_bytes(1, n_in);
    integers = n_rows == 0 ? 0 : integers > own ? integers : own;
    return tiles > integers ? tiles : integers;
}

/* Of a thread, for either unit. */
static size_t tiles_bytes(const struct model_config *c)
{
    const size_t widths[] = {c->n_embd, (size_t)c->n_heads * c->head_dim, c->n_ff, c->n_ff_shared,
                             c->n_ff_expert};
    size_t widest = 0;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        widest = widths[i] > widest ? widths[i] : widest;
    }
    const size_t tiles = prefill_scratch_bytes(), integers = fixed_scratch_bytes(widest);
    return tiles > integers ? tiles : integers;
}

/* The most queries that a thread holds: of a call, or of all heads and a few tokens. */
static uint64_t queries_of(const struct model_config *c)
{
    uint64_t few = (uint64_t)c->n_heads * ATTEND_SPREAD_TOKENS;
    return few > ATTENTION_QUERIES ? few : ATTENTION_QUERIES;
}

/* No product exceeds 2^32 tokens * 2^6 experts each * 2^20 values * 2^3 bytes. */
static uint64_t plan(const struct model_config *c, uint32_t max_tokens, uint32_t capacity,
                     int n_threads, bool on_units, struct part parts[MAX_PARTS], size_t *n_parts)
{
    uint64_t t = max_tokens, float_rows = on_units && t > FLOAT_ROWS ? FLOAT_ROWS : t;
    uint64_t n = (uint64_t)n_threads, q = (uint64_t)c->n_heads * c->head_dim;
    uint64_t half = c->n_rot / 2, local = c->rope_base_local != 0 ? half : 0;
    uint64_t dense = c->n_experts ? c->n_ff_shared : c->n_ff;
    uint64_t pairs = c->n_experts ? t * c->n_experts_used : 0;
    uint64_t wide = c->n_ff_expert;
    uint64_t kv = (uint64_t)c->n_kv_heads * c->head_dim;
    uint64_t few = t < ATTEND_SPREAD_TOKENS ? t : ATTEND_SPREAD_TOKENS;
    uint64_t blocks = c->bidirectional ? 0 : capacity / ATTENTION_POSITIONS + 1;
    uint64_t total = 0;
    *n_parts = 0;
#define PART(member, count)                                                                        \
    add(parts, n_parts, &total, offsetof(struct model_scratch, member),                            \
        (count) * sizeof *((struct model_scratch *)0)->member)
    PART(x, t * c->n_embd);
    PART(normed, t * c->n_embd);
    PART(normed1, n * c->n_embd);
    PART(added, float_rows * c->n_embd);
    PART(queries, n * queries_of(c));
    PART(own_q, n * queries_of(c) * c->head_dim);
    PART(attend, n * kernels_attention_scratch_bytes(c->head_dim));
    PART(parts, blocks * c->n_heads * few * attention_part_floats(c->head_dim));
    PART(done, c->n_heads);
    PART(rope.frequencies, half);
    PART(rope.cosines, t * half);
    PART(rope.sines, t * half);
    PART(rope_local.frequencies, local);
    PART(rope_local.cosines, t * local);
    PART(rope_local.sines, t * local);
    PART(router, c->n_experts ? t * c->n_experts : 0);
    PART(shared_weight, c->n_ff_shared ? t : 0);
    PART(expert_weight, pairs);
    PART(chosen, pairs);
    PART(slot, pairs);
    PART(token, pairs);
    PART(expert_slot, (uint64_t)c->n_experts + 1);
    PART(expert_rows, pairs * c->n_embd);
    PART(expert_gate, pairs * c->n_ff_expert);
    PART(expert_up, pairs * c->n_ff_expert);
    PART(packed, packed_bytes(t, n, c->n_embd, N_FIXED_BITS));
    PART(packed_slots, packed_bytes(pairs, n, wide > c->n_embd ? wide : c->n_embd, 1));
    PART(tiles, n * tiles_bytes(c));
    uint64_t piece = capacity < PREFILL_CHUNK ? capacity : PREFILL_CHUNK;
    PART(packed_cache, n * (c->bidirectional ? 0 : prefill_cache_bytes(piece, c->head_dim)));
    PART(carry, c->bidirectional ? 0 : t * c->n_heads * 2);
    /* Attention and the feed-forward part take turns, with barriers between them: what was attended
     * to lies where `up` is later, and the packed inputs of the second matrix where new keys and
     * values, and `gate`, have been used up. */
    uint64_t begin = total, end;
    PART(gate, float_rows * dense);
    end = total;
    total = begin;
    PART(packed_inner, packed_bytes(t, n, q > dense ? q : dense, 1));
    end = total > end ? total : end;
    total = begin;
    PART(k, t * kv);
    PART(v, t * kv);
    total = total > end ? total : end;
    begin = total;
    PART(up, float_rows * dense);
    end = total;
    total = begin;
    PART(q, t * q);
    PART(attended, t * q);
    total = total > end ? total : end;
#undef PART
    return total;
}

uint64_t model_scratch_bytes(const struct model_config *config, uint32_t max_tokens,
                             uint32_t capacity, int n_threads, bool on_units)
{
    struct part parts[MAX_PARTS];
    size_t n_parts;
    return plan(config, max_tokens, capacity, n_threads, on_units, parts, &n_parts);
}

struct model_scratch *model_scratch_new(const struct model_config *config, uint32_t max_tokens,
                                        uint32_t capacity, int n_threads, struct error *e)
{
    if (max_tokens < 1 || capacity < 1 || n_threads < 1) {
        error_set(e, ERROR_USAGE, "the batch size, context size and threads must be at least 1");
        return NULL;
    }
    struct part parts[MAX_PARTS];
    size_t n_parts;
    uint64_t size_bytes = plan(config, max_tokens, capacity, n_threads, false, parts, &n_parts);
    char *block = map_zeroed(size_bytes);
    if (!block) {
        error_set(e, ERROR_MEMORY,
                  "no memory for steps of %u tokens (%.1f MiB): choose a lower --batch-size",
                  max_tokens, (double)size_bytes / (1 << 20));
        return NULL;
    }
    struct model_scratch *s = mem_zalloc(sizeof *s);
    *s = (struct model_scratch){.config = *config,
                                .max_tokens = max_tokens,
                                .capacity = capacity,
                                .n_threads = n_threads,
                                .tiles_bytes = tiles_bytes(config),
                                .n_queries = queries_of(config),
                                .block = block,
                                .block_bytes = size_bytes};
    for (size_t i = 0; i < n_parts; i++) {
        void *at = block + parts[i].offset;
        memcpy((char *)s + parts[i].place, &at, sizeof at);
    }
    return s;
}

void model_scratch_free(struct model_scratch *s)
{
    if (s) {
        map_release(s->block, s->block_bytes);
        free(s);
    }
}

void model_scratch_clock(struct model_scratch *s, struct model_clock *clock)
{
    s->clock = clock;
}

void model_scratch_observe(struct model_scratch *s, const struct model_observer *observer)
{
    s->observer = observer;
}
