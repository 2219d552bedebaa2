/* How much a choice costs, for callgrind and for a stopwatch:
 *
 *   count_sampler VOCABULARY CHOICES WAY
 *
 * WAY: none (no choice is made), usual, greedy, plain (temperature alone), top_p, penalties, dry,
 * masked (a third is allowed), sparse (20 tokens are). Logits fall off like those of a model: a few
 * high ones and a broad rest. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/rng.h"
#include "engine/sampling.h"

enum { N_RECENT = 512, N_ROWS = 4 };

static void set_way(const char *way, struct sampling *how)
{
    sampling_defaults(how);
    if (strcmp(way, "greedy") == 0) {
        how->temperature = 0;
    } else if (strcmp(way, "plain") == 0) {
        sampling_off(how);
        how->temperature = 0.8f;
    } else if (strcmp(way, "top_p") == 0) {
        sampling_off(how);
        how->top_p = 0.95f;
    } else if (strcmp(way, "penalties") == 0) {
        how->repeat_penalty = 1.1f;
        how->frequency_penalty = 0.1f;
    } else if (strcmp(way, "dry") == 0) {
        how->dry_multiplier = 0.8f;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s VOCABULARY CHOICES WAY\n", argv[0]);
        return 2;
    }
    size_t n = strtoul(argv[1], NULL, 10), n_choices = strtoul(argv[2], NULL, 10);
    const char *way = argv[3];
    struct sampling how;
    struct rng r;
    rng_seed(&r, 1);
    float *logits = mem_array(N_ROWS * n, sizeof *logits);
    uint32_t *mask = mem_array((n + 31) / 32, sizeof *mask);
    int32_t recent[N_RECENT];
    for (size_t i = 0; i < N_ROWS * n; i++) {
        logits[i] = (float)(rng_normal(&r) * 2.5 - (rng_below(&r, 1000) ? 4 : -6));
    }
    for (size_t i = 0; i < N_RECENT; i++) {
        recent[i] = (int32_t)(rng_below(&r, n) % 300);
    }
    bool sparse = strcmp(way, "sparse") == 0, masked = sparse || strcmp(way, "masked") == 0;
    for (size_t i = 0; i < n; i++) {
        bool allowed = sparse ? i % (n / 20) == 7 : rng_below(&r, 3) == 0;
        mask[i / 32] |= (uint32_t)allowed << (i % 32);
    }
    set_way(way, &how);
    struct sampler_room *room = sampler_room_new(n);
    struct sampler *s = sampler_new(&how, NULL, room);
    int64_t sum = 0;
    double start_s = time_now_s();
    for (size_t i = 0; strcmp(way, "none") != 0 && i < n_choices; i++) {
        sum += sampler_next(s, logits + i % N_ROWS * n, recent, N_RECENT, masked ? mask : NULL);
    }
    printf("%zu tokens, %s: %.1f us a choice (sum of ids %lld)\n", n, way,
           (time_now_s() - start_s) * 1e6 / (double)n_choices, (long long)sum);
    sampler_free(s);
    sampler_room_free(room);
    free(mask);
    free(logits);
    return 0;
}
