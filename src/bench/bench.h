/* bench.h: how fast the machine is, how fast a model runs on it, and how fast another program is
 * beside it. Every figure is a median with its spread; what belongs together is measured in turn,
 * in one run, because machines are shared and clocks move.
 */
#ifndef LLLM_BENCH_BENCH_H
#define LLLM_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "engine/engine.h"
#include "engine/queue.h"
#include "kernels/peak.h"

enum { BENCH_MAX_REPS = 1000 };

/* Samples of one figure. */
struct bench_samples {
    double values[BENCH_MAX_REPS];
    size_t n;
};
struct bench_spread {
    double median, min, max;
    size_t n;
};
void bench_add(struct bench_samples *s, double value); /* above BENCH_MAX_REPS: left out */
struct bench_spread bench_spread(const struct bench_samples *s); /* zeros where there are none */

/* ---- the machine ---- */

enum { BENCH_MAX_PEAKS = 10 };

struct bench_machine {
    int n_threads;
    uint64_t read_bytes;         /* size of the block that was read */
    bool huge_pages;             /* the kernel was asked for them in the better of the two reads */
    double read_one, read_all;   /* GB/s (1e9) from memory, with one thread and with n_threads */
    double read_small_pages_all; /* the same from 4 KiB pages, n_threads */
    struct bench_peak {
        const char *name;
        enum kernel_unit unit;
        double one, all; /* 1e9 operations a second */
    } peaks[BENCH_MAX_PEAKS];
    size_t n_peaks; /* of each unit the slowest first */
};

/* Takes some seconds and at most a quarter of the free memory. */
bool bench_machine(struct pool *pool, struct bench_machine *m, struct error *e);

/* ---- a model ---- */

struct bench_plan {
    uint32_t prefill, decode;       /* tokens; 0: not measured */
    uint32_t depth;                 /* tokens that are in the context before */
    struct model_clock *clock;      /* may be NULL: is told the stages of what is timed */
    engine_cancelled_fn *cancelled; /* may be NULL: polled; true ends with ERROR_CANCELLED */
    void *cancelled_context;
};

/* Ids for a benchmark: normal tokens (any, without a vocabulary), the same for the same file. out:
 * [n]. */
void bench_tokens(const struct engine *en, int32_t *out, size_t n);
/* Seconds for one prefill or decode of the plan, after depth tokens of a context that is there
 * already. The context has room for depth + prefill and depth + decode tokens. */
bool bench_prefill(struct session *s, const struct bench_plan *p, const int32_t *tokens,
                   double *seconds, struct error *e);
bool bench_decode(struct session *s, const struct bench_plan *p, const int32_t *tokens,
                  double *seconds, struct error *e);
/* The same for n sessions that decode together. */
bool bench_joint(struct session *const *sessions, size_t n, const struct bench_plan *p,
                 const int32_t *tokens, double *seconds, struct error *e);

/* ---- many at once ---- */

struct bench_crowd_plan {
    uint32_t n_answers; /* under way at once */
    uint32_t prompt;    /* tokens of the prompt that arrives among them */
    uint32_t prefix;    /* tokens that prompts have in common */
    uint32_t reps;      /* of either measurement; a warming one comes before */
};
struct bench_crowd {
    struct bench_samples gap_ms;         /* between an answer's tokens */
    struct bench_samples gap_beside_ms;  /* the same while the prompt is computed */
    struct bench_samples prompt_s;       /* from its arrival to its first token */
    struct bench_samples first_ms;       /* first token behind the prefix and some tokens more */
    struct bench_samples first_again_ms; /* the same where the prefix is there */
};
enum { BENCH_CROWD_TAIL = 16, BENCH_CROWD_CALM = 64 }; /* tokens behind the prefix; calm gaps */
/* How long the context must be. */
uint32_t bench_crowd_context(const struct bench_crowd_plan *p);
/* Works on random tokens. tick (may be NULL) is called after each of 2 (reps + 1) rounds. */
bool bench_crowd(struct engine *en, const struct bench_crowd_plan *p, struct bench_crowd *out,
                 void (*tick)(void *context), void *context, struct error *e);

/* What one token needs: bytes of weights that a decode step reads (of a mixture, those of the
 * experts in use), multiplies and adds with them. */
struct bench_work {
    uint64_t weight_bytes;
    uint64_t cache_bytes;  /* of keys and values that it leaves, and that each later one reads */
    double operations;     /* of a token, attention left out */
    enum kernel_unit unit; /* that prompts take for most of them */
};
struct bench_work bench_work(const struct engine *en);

/* Memory of this process, in MB (1e6 bytes). Weights are those of the file, which stay in its
 * mapping; what is neither they nor keys and values is working memory. */
struct bench_memory {
    double peak_mb;         /* resident at most, since the process began */
    double weights_mb;      /* of the model's tensors */
    double cache_mb;        /* keys and values of the longest context that was filled */
    double beside_mb;       /* of the peak, what is neither */
    bool has_parts;         /* the system tells these: */
    double file_mb, own_mb; /* resident now: pages of files, clean and shared; all others */
};
/* n_tokens: of the longest context that was filled. */
struct bench_memory bench_memory(const struct engine *en, uint32_t n_tokens);

/* ---- another program ---- */

/* Runs a shell command in which {model}, {threads}, {test} ("pp512", "tg128") and {depth} are
 * replaced, and reads tokens per second from the last line that it prints: a number, or a JSON
 * object with "tokens_per_second" (a number, or an object with "median"). */
struct bench_against {
    const char *command;
    const char *model;
    int n_threads;
};
bool bench_against(const struct bench_against *a, const char *test, uint32_t depth,
                   double *tokens_per_second, struct error *e);

#endif
