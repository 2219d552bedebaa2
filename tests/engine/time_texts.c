/* What it brings to compute short texts side by side, for a stopwatch:
 *
 *   time_texts MODEL N_TEXTS N_TOKENS N_THREADS ROUNDS
 *
 * Random texts of N_TOKENS tokens become vectors, one after the other and all at once, in turn;
 * texts per second of either, the best of the rounds. */
#include <stdio.h>
#include <stdlib.h>

#include "base/progress.h"
#include "base/rng.h"
#include "engine/queue.h"

static bool count(void *context, const struct queue_event *event)
{
    *(size_t *)context += event->numbers != NULL;
    return true;
}

/* Seconds; 0 where something failed. */
static double run(struct queue *q, const struct engine *en, const int32_t *tokens, size_t n_texts,
                  size_t n_tokens, bool together)
{
    struct error e = {0};
    size_t n_done = 0;
    double start_s = time_now_s();
    for (size_t i = 0; i < n_texts; i++) {
        struct request_options r = {
            .prompt = tokens + i * n_tokens,
            .n_prompt = n_tokens,
            .kind = REQUEST_VECTOR,
            .vector = {.pooling = engine_pooling(en), .normalize = true},
            .event = count,
            .context = &n_done,
        };
        if (!queue_submit(q, &r, &e)) {
            fprintf(stderr, "%s\n", e.message);
            return 0;
        }
        while (!together && queue_step(q)) {
        }
    }
    while (queue_step(q)) {
    }
    return n_done == n_texts ? time_now_s() - start_s : 0;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "time_texts MODEL N_TEXTS N_TOKENS N_THREADS ROUNDS\n");
        return 2;
    }
    struct error e = {0};
    size_t n_texts = strtoul(argv[2], NULL, 10), n_tokens = strtoul(argv[3], NULL, 10);
    struct engine_options o = {.n_threads = atoi(argv[4])};
    struct engine *en = engine_open(argv[1], &o, &e);
    struct queue *q =
        en ? queue_new(en, &(struct queue_options){.max_running = 1, .no_reuse = true}, &e) : NULL;
    if (!q) {
        fprintf(stderr, "%s\n", e.message);
        engine_close(en);
        return 1;
    }
    int32_t *tokens = mem_array(n_texts * n_tokens, sizeof *tokens);
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < n_texts * n_tokens; i++) {
        tokens[i] = (int32_t)rng_below(&r, engine_config(en)->n_vocab);
    }
    double best[2] = {0};
    for (int round = 0; round < atoi(argv[5]); round++) {
        for (int together = 0; together < 2; together++) {
            double seconds = run(q, en, tokens, n_texts, n_tokens, together);
            double rate = seconds > 0 ? (double)n_texts / seconds : 0;
            best[together] = rate > best[together] ? rate : best[together];
        }
    }
    printf("%zu texts of %zu tokens: one by one %.1f/s, together %.1f/s, %.2f times\n", n_texts,
           n_tokens, best[0], best[1], best[1] / best[0]);
    free(tokens);
    queue_free(q);
    engine_close(en);
    return 0;
}
