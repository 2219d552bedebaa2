/* Texts that become numbers in a queue: what each is given are the bits that the model computes for
 * it alone, whatever else is in the queue, and whoever goes. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../model/row_model.h"
#include "base/rng.h"
#include "engine_models.h"
#include "queue_client.h"
#include "tiny_model.h"

enum { PAGE = MODEL_PAGE_POSITIONS, CONTEXT = 3 * PAGE, MOST_NUMBERS = 1 << 15 };

/* A text that was submitted, and what came of it. */
struct wish {
    struct queue *queue;
    int32_t tokens[CONTEXT], types[CONTEXT];
    struct request_options r;
    uint64_t id;
    size_t n_events, order, *counter;
    float *numbers; /* [n], NULL: none came */
    size_t n;
    enum finish_reason reason;
    struct answer_figures figures;
    char error[ERROR_MESSAGE_BYTES];
};

static bool on_event(void *context, const struct queue_event *event)
{
    struct wish *w = context;
    w->n_events++;
    assert_non_null(event->finish);
    assert_int_equal(event->token, -1);
    assert_int_equal(event->answer, 0);
    w->id = w->id ? w->id : event->request;
    assert_true(event->request == w->id);
    w->reason = event->finish->stats.reason;
    w->figures = *event->finish;
    w->order = w->counter ? ++*w->counter : 0;
    snprintf(w->error, sizeof w->error, "%s", event->error ? event->error->message : "");
    assert_int_equal(event->numbers != NULL, w->reason == FINISH_STOP);
    if (event->numbers) {
        w->n = (size_t)event->n_rows * event->n_columns;
        w->numbers = mem_array(w->n, sizeof *w->numbers);
        memcpy(w->numbers, event->numbers, w->n * sizeof *w->numbers);
    }
    return w->n_events % 2; /* it makes no difference */
}

/* ---- models ---------------------------------------------------------------------------------- */

enum model_kind { WRITES, WRITES_F16, READS };

/* A model that writes, or one that sees a text at once and has a head of three labels, for each
 * token where label_tokens says so. */
static struct engine *open_model(enum model_kind kind, bool label_tokens, int n_threads,
                                 uint32_t batch_size)
{
    struct engine_options o = {.n_threads = n_threads,
                               .context_size = CONTEXT,
                               .batch_size = batch_size,
                               .kv_type = kind == WRITES_F16 ? MODEL_KV_F16 : MODEL_KV_F32};
    if (kind != READS) {
        return engine_model_open(&(struct engine_model){.n_context = CONTEXT}, &o);
    }
    struct arena *a = arena_new();
    struct row_model row = row_model_of(model_arch_find("bert", 4), false);
    row.config.n_vocab = N_ROWS;
    row.config.n_context = CONTEXT;
    row.config.label_tokens = label_tokens;
    struct engine *en = engine_model_from(row_writer(&row, a), &o);
    arena_free(a);
    return en;
}

/* A random text of n tokens, and what it is to become. */
static void make_wish(struct wish *w, const struct engine *en, size_t n, uint64_t seed)
{
    const struct model_config *c = engine_config(en);
    struct rng r;
    *w = (struct wish){0};
    rng_seed(&r, seed % 5); /* many begin alike */
    for (size_t i = 0; i < n; i++) {
        w->tokens[i] = (int32_t)rng_below(&r, N_TOKENS);
        w->types[i] = c->n_token_types ? (int32_t)rng_below(&r, c->n_token_types) : 0;
    }
    rng_seed(&r, seed);
    w->tokens[rng_below(&r, n)] = (int32_t)rng_below(&r, N_TOKENS);
    w->r = (struct request_options){
        .prompt = w->tokens,
        .n_prompt = n,
        .kind = REQUEST_VECTOR,
        .vector = {.pooling = (enum model_pooling)rng_below(&r, 4), .normalize = rng_below(&r, 2)},
        .types = rng_below(&r, 2) ? w->types : NULL,
        .event = on_event,
        .context = w};
    w->r.vector.dimensions = rng_below(&r, 2) ? 1 + (uint32_t)rng_below(&r, c->n_embd) : 0;
    if (c->n_labels && rng_below(&r, 3) == 0) {
        w->r.kind = REQUEST_SCORES;
    }
}

static void submit(struct queue *q, struct wish *w)
{
    struct error e = {0};
    w->queue = q;
    uint64_t id = queue_submit(q, &w->r, &e);
    if (!id) {
        fail_msg("%s", e.message);
    }
    w->id = id;
}

static void forget(struct wish *w)
{
    free(w->numbers);
    w->numbers = NULL;
    w->n = w->n_events = 0;
    w->id = 0;
}

/* ---- what is right --------------------------------------------------------------------------- */

/* The model alone, with memory of its own and one thread. */
struct truth {
    const struct engine *engine;
    struct pool *pool;
    struct model_scratch *scratch;
    struct model_cache cache;
    float *hidden, *out;
    double *sums;
};

static void truth_open(struct truth *t, const struct engine *en)
{
    struct error e = {0};
    const struct model_config *c = engine_config(en);
    *t = (struct truth){.engine = en, .pool = pool_new(1, &e)};
    t->scratch = model_scratch_new(c, CONTEXT, CONTEXT, 1, &e);
    t->hidden = mem_array((size_t)CONTEXT * c->n_embd, sizeof *t->hidden);
    t->out = mem_array(MOST_NUMBERS, sizeof *t->out);
    t->sums = mem_array(c->n_embd, sizeof *t->sums);
    assert_true(t->pool && t->scratch);
    assert_true(c->bidirectional ||
                model_cache_init(&t->cache, c, engine_kv_type(en), CONTEXT, &e));
}

static void truth_close(struct truth *t)
{
    model_cache_free(&t->cache);
    model_scratch_free(t->scratch);
    pool_free(t->pool);
    free(t->hidden);
    free(t->out);
    free(t->sums);
}

static size_t truth_of(struct truth *t, const struct wish *w)
{
    struct error e = {0};
    const struct model_config *c = engine_config(t->engine);
    uint32_t n = (uint32_t)w->r.n_prompt;
    bool scores = w->r.kind == REQUEST_SCORES;
    enum model_pooling way = scores ? MODEL_POOLING_RANK : w->r.vector.pooling;
    size_t n_embd = c->n_embd, n_rows = 1;
    if (!model_encode(engine_model(t->engine), &t->cache, t->scratch, t->pool, kernels_select(),
                      w->tokens, w->r.types, n, t->hidden, &e)) {
        fail_msg("%s", e.message);
    }
    if (scores ? c->label_tokens : way == MODEL_POOLING_NONE) {
        n_rows = n;
    } else {
        float *pooled = mem_array(n_embd, sizeof *pooled);
        model_pool_rows(c, way, t->hidden, 0, n, n, t->sums, pooled);
        memcpy(t->hidden, pooled, n_embd * sizeof *pooled);
        free(pooled);
    }
    if (scores) {
        model_classify(engine_model(t->engine), t->scratch, kernels_select(), t->hidden,
                       (uint32_t)n_rows, t->out);
        return n_rows * c->n_labels;
    }
    size_t width = w->r.vector.dimensions ? w->r.vector.dimensions : n_embd;
    for (size_t i = 0; i < n_rows; i++) {
        float *out = t->out + i * width;
        double sum = 0;
        for (size_t j = 0; j < width; j++) {
            out[j] = t->hidden[i * n_embd + j];
            sum += (double)out[j] * (double)out[j];
        }
        for (size_t j = 0; w->r.vector.normalize && j < width; j++) {
            out[j] = (float)((double)out[j] / sqrt(sum));
        }
    }
    return n_rows * width;
}

static void check(struct truth *t, const struct wish *w)
{
    assert_int_equal(w->n_events, 1);
    assert_int_equal(w->reason, FINISH_STOP);
    assert_int_equal(w->figures.stats.n_prompt, w->r.n_prompt);
    size_t n = truth_of(t, w);
    assert_int_equal(w->n, n);
    assert_memory_equal(w->numbers, t->out, n * sizeof *t->out);
}

/* ---- alone and in company -------------------------------------------------------------------- */

/* Lengths that meet, miss and cross pages. */
static size_t length_of(uint64_t i)
{
    static const size_t lengths[] = {1, 2, 5, 9, 17, 31, PAGE - 1, PAGE, PAGE + 1, CONTEXT};
    return lengths[i % (sizeof lengths / sizeof *lengths)];
}

static void test_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        enum model_kind kind = i < 3 ? (enum model_kind)i : READS;
        struct engine *en = open_model(kind, i == 3, 1, 48);
        struct queue *q = client_queue(en, NULL);
        struct truth truth;
        struct wish *w = mem_alloc(sizeof *w);
        truth_open(&truth, en);
        for (uint64_t j = 0; j < 40; j++) {
            make_wish(w, en, length_of(j), 100 * (uint64_t)i + j);
            submit(q, w);
            client_run(q);
            check(&truth, w);
            forget(w);
        }
        struct queue_figures f;
        queue_figures(q, &f);
        assert_int_equal(f.n_texts, 40);
        assert_int_equal(f.n_finished, 40);
        assert_int_equal(f.n_free + f.n_cached, f.n_pages);
        free(w);
        truth_close(&truth);
        queue_free(q);
        engine_close(en);
    }
}

/* Texts and answers of one queue, some of them cancelled on their way. */
struct crowd {
    size_t n_wishes, n_answers;
    struct wish *wishes;
    struct client *clients;
    int32_t (*prompts)[CONTEXT];
};

static void crowd_make(struct crowd *x, const struct engine *en, size_t n_wishes, size_t n_answers)
{
    *x = (struct crowd){.n_wishes = n_wishes, .n_answers = n_answers};
    x->wishes = mem_array(n_wishes, sizeof *x->wishes);
    x->clients = mem_array(n_answers + 1, sizeof *x->clients);
    x->prompts = mem_array(n_answers + 1, sizeof *x->prompts);
    for (size_t i = 0; i < n_wishes; i++) {
        make_wish(&x->wishes[i], en, length_of(i * 7 + i / 3), i);
    }
}

static void submit_answer(struct queue *q, struct crowd *x, size_t i)
{
    struct rng r;
    rng_seed(&r, 1000 + i);
    size_t n = 1 + (size_t)rng_below(&r, 2 * PAGE);
    for (size_t t = 0; t < n; t++) {
        x->prompts[i][t] = (int32_t)rng_below(&r, N_TOKENS);
    }
    memset(&x->clients[i], 0, sizeof x->clients[i]);
    struct request_options o = client_request(&x->clients[i], x->prompts[i], n);
    o.how.max_tokens = 20;
    o.how.ignore_end = o.how.show_control = true;
    o.how.sampling.seed = i;
    o.priority = (int32_t)rng_below(&r, 3);
    client_submit(q, &o);
}

static void crowd_free(struct crowd *x)
{
    for (size_t i = 0; i < x->n_wishes; i++) {
        forget(&x->wishes[i]);
    }
    free(x->wishes);
    free(x->clients);
    free(x->prompts);
}

/* Everybody in one queue; each third text is cancelled after some steps. */
static void run_crowd(struct crowd *x, const struct engine *en, struct queue *q, bool cancels)
{
    struct rng r;
    rng_seed(&r, x->n_wishes);
    for (size_t i = 0; i < x->n_wishes || i < x->n_answers; i++) {
        if (i < x->n_answers) {
            submit_answer(q, x, i);
        }
        if (i < x->n_wishes) {
            forget(&x->wishes[i]);
            x->wishes[i].r.priority = (int32_t)rng_below(&r, 3);
            submit(q, &x->wishes[i]);
        }
        for (uint64_t n = rng_below(&r, 5); n > 0; n--) {
            queue_step(q);
        }
    }
    for (size_t i = 0; cancels && i < x->n_wishes; i += 3) {
        for (uint64_t n = rng_below(&r, 3); n > 0; n--) {
            queue_step(q);
        }
        bool there = queue_cancel(q, x->wishes[i].id);
        assert_int_equal(there, x->wishes[i].n_events == 0);
    }
    client_run(q);
    struct queue_figures f;
    struct truth truth;
    queue_figures(q, &f);
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    truth_open(&truth, en);
    for (size_t i = 0; i < x->n_wishes; i++) {
        const struct wish *w = &x->wishes[i];
        assert_int_equal(w->n_events, 1);
        if (!cancels || w->reason != FINISH_CANCELLED) {
            check(&truth, w);
        }
    }
    truth_close(&truth);
}

static void test_company(void **state)
{
    (void)state;
    static const struct way {
        int n_threads;
        uint32_t batch, chunk_tokens, chunk_layers, n_pages;
        bool no_reuse, cancels;
    } ways[] = {
        {1, 0, 0, 0, 0, false, false},  {2, 0, 16, 1, 0, false, true},
        {1, 40, 0, 1, 4, false, false}, {3, 96, 96, 0, 5, true, true},
        {2, 0, 0, 1, 0, false, true},
    };
    size_t n = getenv("LLLM_SOAK") ? 300 : 60, n_preempted = 0, n_reused = 0;
    for (int kind = WRITES; kind <= READS; kind++) {
        struct crowd alone, x;
        struct engine *en = open_model((enum model_kind)kind, false, 1, 0);
        size_t n_answers = kind == READS ? 0 : n / 6;
        struct queue *q = client_queue(en, NULL);
        crowd_make(&alone, en, 0, n_answers);
        for (size_t i = 0; i < n_answers; i++) {
            submit_answer(q, &alone, i);
            client_run(q);
        }
        queue_free(q);
        crowd_make(&x, en, n, n_answers);
        engine_close(en);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            const struct way *way = &ways[i];
            en = open_model((enum model_kind)kind, false, way->n_threads, way->batch);
            q = client_queue(en, &(struct queue_options){.n_pages = way->n_pages,
                                                         .chunk_tokens = way->chunk_tokens,
                                                         .chunk_layers = way->chunk_layers,
                                                         .no_reuse = way->no_reuse});
            run_crowd(&x, en, q, way->cancels);
            for (size_t j = 0; j < n_answers; j++) {
                assert_true(client_same(&x.clients[j], &alone.clients[j]));
            }
            struct queue_figures f;
            queue_figures(q, &f);
            n_preempted += f.n_preempted;
            n_reused += f.n_reused;
            queue_free(q);
            engine_close(en);
        }
        crowd_free(&x);
        crowd_free(&alone);
    }
    print_message("# %zu preempted, %zu tokens reused\n", n_preempted, n_reused);
    assert_true(n_reused > 0);
}

/* ---- how they are computed ------------------------------------------------------------------- */

/* Short texts share passes: far fewer steps than texts. */
static void test_side_by_side(void **state)
{
    (void)state;
    for (int kind = WRITES; kind <= READS; kind += READS - WRITES) {
        enum { N = 100 };
        struct engine *en = open_model((enum model_kind)kind, false, 1, 0);
        struct queue *q =
            client_queue(en, &(struct queue_options){.max_running = 1, .chunk_layers = 1000});
        struct wish *w = mem_array(N, sizeof *w);
        for (size_t i = 0; i < N; i++) {
            make_wish(&w[i], en, 5, i);
            submit(q, &w[i]);
        }
        client_run(q);
        struct queue_figures f;
        queue_figures(q, &f);
        assert_true(f.n_steps <= 4);
        assert_int_equal(f.n_texts, N);
        assert_int_equal(f.n_text_tokens, kind == READS ? 5 * N : f.n_text_tokens);
        for (size_t i = 0; i < N; i++) {
            forget(&w[i]);
        }
        free(w);
        queue_free(q);
        engine_close(en);
    }
}

/* A beginning that another text had is not computed again where the last token alone is looked
 * at. */
static void test_beginnings_are_shared(void **state)
{
    (void)state;
    struct engine *en = open_model(WRITES, false, 1, 0);
    struct queue *q = client_queue(en, NULL);
    struct truth truth;
    struct wish *w = mem_array(2, sizeof *w);
    truth_open(&truth, en);
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < 2; i++) {
            make_wish(&w[i], en, 2 * PAGE + 9, 50 + (uint64_t)last);
            w[i].r.vector.pooling = last ? MODEL_POOLING_LAST : MODEL_POOLING_MEAN;
            w[i].tokens[2 * PAGE + 4] = (int32_t)i;
            submit(q, &w[i]);
            client_run(q);
            check(&truth, &w[i]);
        }
        assert_int_equal(w[0].figures.stats.n_reused, 0);
        assert_int_equal(w[1].figures.stats.n_reused, last ? 2 * PAGE + 4 : 0);
        forget(&w[0]);
        forget(&w[1]);
    }
    free(w);
    truth_close(&truth);
    queue_free(q);
    engine_close(en);
}

/* While a long text is computed, in parts, whoever answers gets a token with every step. */
static void test_nobody_is_held_up(void **state)
{
    (void)state;
    struct engine *en = open_model(WRITES, false, 1, 0);
    struct queue *q =
        client_queue(en, &(struct queue_options){.chunk_tokens = 16, .chunk_layers = 1});
    struct crowd x;
    crowd_make(&x, en, 0, 1);
    struct wish *w = mem_array(2, sizeof *w);
    submit_answer(q, &x, 0);
    struct client *c = &x.clients[0];
    while (c->n == 0) {
        queue_step(q);
    }
    make_wish(&w[0], en, CONTEXT, 1);
    submit(q, &w[0]);
    for (size_t n; !c->over && w[0].n_events == 0;) {
        n = c->n;
        queue_step(q);
        assert_true(c->over || c->n == n + 1);
    }
    assert_true(c->over && w[0].n_events == 0); /* 20 tokens, and 24 chunks of some layers each */
    /* One that is more urgent does not wait for it. */
    make_wish(&w[1], en, 3, 2);
    w[1].r.priority = 1;
    submit(q, &w[1]);
    while (w[1].n_events == 0) {
        assert_int_equal(w[0].n_events, 0);
        queue_step(q);
    }
    client_run(q);
    assert_int_equal(w[0].reason, FINISH_STOP);
    forget(&w[0]);
    forget(&w[1]);
    free(w);
    crowd_free(&x);
    queue_free(q);
    engine_close(en);
}

/* Where there are pages for one long text, it gives them to one that is more urgent, in the middle
 * of a pass, and is computed again. */
static void test_giving_way(void **state)
{
    (void)state;
    struct engine *en = open_model(WRITES_F16, false, 1, 0);
    struct queue *q = client_queue(
        en, &(struct queue_options){.n_pages = 3, .chunk_tokens = 100, .chunk_layers = 1});
    struct truth truth;
    struct wish *w = mem_array(2, sizeof *w);
    size_t counter = 0;
    truth_open(&truth, en);
    for (uint64_t i = 0; i < 2; i++) {
        make_wish(&w[i], en, CONTEXT, i);
        w[i].r.vector.pooling = i ? MODEL_POOLING_NONE : MODEL_POOLING_MEAN;
        w[i].counter = &counter;
        w[i].r.priority = (int32_t)i;
        submit(q, &w[i]);
        for (int step = 0; step < 3; step++) { /* a chunk of two layers, and half of one */
            queue_step(q);
        }
    }
    client_run(q);
    for (size_t i = 0; i < 2; i++) {
        check(&truth, &w[i]);
        assert_int_equal(w[i].order, 2 - i);
        assert_int_equal(w[i].figures.n_preempted, 1 - i);
        assert_int_equal(w[i].figures.n_recomputed, i ? 0 : 100);
        forget(&w[i]);
    }
    free(w);
    truth_close(&truth);
    queue_free(q);
    engine_close(en);
}

/* In order of priority, then of arrival, texts and answers alike; but nobody waits for ever. */
static void test_order(void **state)
{
    (void)state;
    struct engine *en = open_model(READS, false, 1, 0);
    struct queue *q = client_queue(en, &(struct queue_options){.chunk_tokens = 1});
    struct wish *w = mem_array(2 * QUEUE_PATIENCE, sizeof *w);
    size_t counter = 0;
    for (size_t i = 0; i < 2 * QUEUE_PATIENCE; i++) { /* the first one is the least urgent */
        make_wish(&w[i], en, 4, i);
        w[i].counter = &counter;
        w[i].r.priority = i > 0;
        submit(q, &w[i]);
    }
    client_run(q);
    assert_int_equal(w[0].order, QUEUE_PATIENCE);
    for (size_t i = 1; i < 2 * QUEUE_PATIENCE; i++) {
        assert_int_equal(w[i].order, i < QUEUE_PATIENCE ? i : i + 1);
        forget(&w[i]);
    }
    forget(&w[0]);
    free(w);
    queue_free(q);
    engine_close(en);
}

/* ---- what cannot be -------------------------------------------------------------------------- */

static void refused(struct queue *q, const struct wish *w, const struct request_options *r,
                    const char *why)
{
    struct error e = {0};
    assert_int_equal(queue_submit(q, r, &e), 0);
    if (!strstr(e.message, why)) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(w->n_events, 0);
}

/* A damaged model: its texts end with a sentence, not with what is no number. */
static void test_no_numbers(void **state)
{
    (void)state;
    struct engine_options o = {.n_threads = 1, .context_size = CONTEXT};
    struct arena *a = arena_new();
    struct row_model row = row_model_of(model_arch_find("bert", 4), false);
    row.config.n_vocab = N_ROWS;
    row.config.n_context = CONTEXT;
    row.poison = "blk.0.attn_output_norm.weight";
    struct engine *en = engine_model_from(row_writer(&row, a), &o);
    arena_free(a);
    struct queue *q = client_queue(en, NULL);
    struct wish *w = mem_array(4, sizeof *w);
    for (size_t i = 0; i < 4; i++) {
        make_wish(&w[i], en, 3 + 40 * i, i);
        w[i].r.kind = i == 3 ? REQUEST_SCORES : REQUEST_VECTOR;
        submit(q, &w[i]);
    }
    client_run(q);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(w[i].n_events, 1);
        assert_int_equal(w[i].reason, FINISH_ERROR);
        assert_non_null(strstr(w[i].error, "computed no numbers (NaN): its file is damaged"));
    }
    free(w);
    queue_free(q);
    engine_close(en);
}

static void test_refusals(void **state)
{
    (void)state;
    for (int kind = WRITES; kind <= READS; kind += READS - WRITES) {
        struct engine *en = open_model((enum model_kind)kind, false, 1, 0);
        struct queue *q = client_queue(en, NULL);
        struct wish *w = mem_alloc(sizeof *w);
        make_wish(w, en, 10, 1);
        struct request_options r = w->r;
        r.kind = REQUEST_VECTOR;
        r.vector.pooling = MODEL_POOLING_RANK;
        refused(q, w, &r, "the pooling of a vector");
        r.vector = (struct vector_options){.dimensions = engine_config(en)->n_embd + 1};
        refused(q, w, &r, "vectors of ");
        int32_t *longer = mem_array(CONTEXT + 1, sizeof *longer);
        r = w->r;
        r.prompt = longer;
        r.n_prompt = CONTEXT + 1;
        refused(q, w, &r, "the text has 385 tokens and the model takes 384");
        free(longer);
        r = w->r;
        r.beams.width = 2;
        refused(q, w, &r, "a beam search");
        r = w->r;
        r.n_prompt = 0;
        refused(q, w, &r, "empty");
        r = w->r;
        w->tokens[3] = N_ROWS;
        refused(q, w, &r, "token 3 of the prompt is 288");
        w->tokens[3] = 0;
        w->types[4] = -1;
        r.types = w->types;
        if (kind == READS) {
            refused(q, w, &r, "token 4 of the text has the type -1");
            r = w->r;
            r.kind = REQUEST_ANSWER;
            refused(q, w, &r, "writes no text");
            struct error e = {0};
            assert_false(queue_save(q, 0, w->tokens, 10, "/nowhere/x", NULL, &e));
            assert_non_null(strstr(e.message, "keeps nothing"));
            assert_false(queue_restore(q, 0, "/nowhere/x", NULL, &e));
            queue_trim(q);
        } else {
            r = w->r;
            r.kind = REQUEST_SCORES;
            refused(q, w, &r, "no classification head");
        }
        /* Nobody else is harmed. */
        w->types[4] = 0;
        submit(q, w);
        client_run(q);
        assert_int_equal(w->reason, FINISH_STOP);
        forget(w);
        /* What is left when a queue ends is told. */
        submit(q, w);
        queue_step(q);
        queue_free(q);
        assert_int_equal(w->n_events, 1);
        forget(w);
        free(w);
        engine_close(en);
    }
}

/* ---- at random ------------------------------------------------------------------------------- */

static void one_random_run(enum model_kind kind, uint64_t seed, size_t n_operations)
{
    enum { MOST = 80 };
    struct rng r;
    rng_seed(&r, seed);
    struct engine *en = open_model(kind, rng_below(&r, 2), 1 + (int)rng_below(&r, 2),
                                   16 + (uint32_t)rng_below(&r, 100));
    struct queue *q = client_queue(
        en, &(struct queue_options){.n_pages = kind == READS ? 0 : 3 + (uint32_t)rng_below(&r, 8),
                                    .max_running = 1 + (uint32_t)rng_below(&r, 8),
                                    .chunk_tokens = (uint32_t)rng_below(&r, 40),
                                    .chunk_layers = (uint32_t)rng_below(&r, 3),
                                    .no_reuse = rng_below(&r, 2)});
    struct truth truth;
    struct wish *w = mem_array(MOST, sizeof *w);
    struct client *c = mem_array(MOST, sizeof *c);
    bool *open = mem_array(MOST, sizeof *open), *answers = mem_array(MOST, sizeof *answers);
    truth_open(&truth, en);
    for (size_t i = 0; i < n_operations; i++) {
        size_t at = (size_t)rng_below(&r, MOST);
        bool over = answers[at] ? c[at].over : w[at].n_events > 0;
        if (open[at] && over) { /* what came is right */
            if (!answers[at] && w[at].reason != FINISH_CANCELLED) {
                check(&truth, &w[at]);
            }
            open[at] = false;
            forget(&w[at]);
        } else if (open[at] && rng_below(&r, 4) == 0) {
            assert_true(queue_cancel(q, answers[at] ? c[at].id : w[at].id));
        } else if (!open[at] && rng_below(&r, 3)) {
            open[at] = true;
            answers[at] = kind != READS && rng_below(&r, 4) == 0;
            make_wish(&w[at], en, length_of(rng_below(&r, 10)), rng_next(&r));
            w[at].r.priority = (int32_t)rng_below(&r, 3);
            if (answers[at]) {
                memset(&c[at], 0, sizeof c[at]);
                struct request_options o = client_request(&c[at], w[at].tokens, w[at].r.n_prompt);
                o.how.max_tokens = 1 + (uint32_t)rng_below(&r, 30);
                o.n_answers = 1;
                client_submit(q, &o);
            } else {
                submit(q, &w[at]);
            }
        }
        for (uint64_t n = rng_below(&r, 3); n > 0; n--) {
            queue_step(q);
        }
    }
    if (rng_below(&r, 2)) {
        client_run(q);
        struct queue_figures f;
        queue_figures(q, &f);
        assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    }
    queue_free(q);
    for (size_t i = 0; i < MOST; i++) {
        assert_true(!open[i] || (answers[i] ? c[i].over : w[i].n_events == 1));
        forget(&w[i]);
    }
    truth_close(&truth);
    free(w);
    free(c);
    free(open);
    free(answers);
    engine_close(en);
}

static void test_random_operations(void **state)
{
    (void)state;
    bool soak = getenv("LLLM_SOAK");
    for (uint64_t seed = 0; seed < (soak ? 100 : 6); seed++) {
        one_random_run((enum model_kind)(seed % 3), seed, soak ? 2000 : 250);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { N_SENDERS = 3, N_SENT = 25 };

struct sender {
    struct queue *queue;
    const struct engine *engine;
    uint64_t seed;
    struct wish wishes[N_SENT];
    atomic_int *n_left;
};

static void *send_all(void *context)
{
    struct sender *s = context;
    struct error e = {0};
    for (size_t i = 0; i < N_SENT; i++) {
        struct wish *w = &s->wishes[i];
        make_wish(w, s->engine, length_of(i), s->seed + i);
        uint64_t id = queue_submit(s->queue, &w->r, &e);
        if (id && i % 5 == 0) {
            queue_cancel(s->queue, id);
        }
    }
    atomic_fetch_sub(s->n_left, 1);
    queue_wake(s->queue);
    return NULL;
}

static void test_any_thread(void **state)
{
    (void)state;
    struct engine *en = open_model(READS, false, 1, 0);
    struct queue *q = client_queue(en, NULL);
    struct sender *senders = mem_array(N_SENDERS, sizeof *senders);
    pthread_t threads[N_SENDERS];
    atomic_int n_left = N_SENDERS;
    for (size_t i = 0; i < N_SENDERS; i++) {
        senders[i].queue = q;
        senders[i].engine = en;
        senders[i].seed = 1000 * i;
        senders[i].n_left = &n_left;
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    while (queue_step(q) || atomic_load(&n_left) > 0) {
        queue_wait(q, atomic_load(&n_left) > 0 ? 0.01 : 0);
    }
    client_run(q);
    struct truth truth;
    truth_open(&truth, en);
    for (size_t i = 0; i < N_SENDERS; i++) {
        pthread_join(threads[i], NULL);
        for (size_t j = 0; j < N_SENT; j++) {
            struct wish *w = &senders[i].wishes[j];
            assert_int_equal(w->n_events, 1);
            assert_true(w->reason == FINISH_STOP || (w->reason == FINISH_CANCELLED && j % 5 == 0));
            if (w->reason == FINISH_STOP) {
                check(&truth, w);
            }
            forget(w);
        }
    }
    truth_close(&truth);
    free(senders);
    queue_free(q);
    engine_close(en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_company),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_beginnings_are_shared),
        cmocka_unit_test(test_nobody_is_held_up),
        cmocka_unit_test(test_giving_way),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_any_thread),
    };
    tiny_in_memory();
    return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
