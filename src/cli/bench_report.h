/* bench_report.h: what `lllm bench` found, and how it is printed. Private to cmd_bench.c and
 * bench_report.c. */
#ifndef LLLM_CLI_BENCH_REPORT_H
#define LLLM_CLI_BENCH_REPORT_H

#include "bench/bench.h"
#include "cli/models.h"

/* One figure of a sweep. Speeds are tokens a second. */
struct bench_row {
    int n_threads;
    uint32_t depth;
    bool decode; /* else prefill */
    uint32_t n_tokens;
    uint32_t n_joint; /* sequences that decode together, n_tokens each; 0: one alone */
    struct bench_samples speed, other;
    struct model_clock clock; /* of all rounds that count */
};

struct bench_report {
    const struct model_source *source; /* name NULL: the machine alone */
    const char *cpu_mask;              /* as it was given, or NULL */
    const char *kernels;
    uint32_t context_size;
    enum model_kv_type kv_type;
    bool stages; /* clocks were running */
    struct bench_samples load_ms, first_token_ms;
    struct bench_work work;
    struct bench_memory memory;
    bool interrupted; /* rows may have no samples */
    bool moves;       /* --huge-pages */
    bool strips;      /* what was moved was laid out anew */
    struct gguf_move move;
    struct bench_row *rows;
    size_t n_rows;
    bool has_machine;
    struct bench_machine machine;
};

void bench_report_json(const struct bench_report *r);
void bench_report_text(const struct bench_report *r);

/* bench_crowd.c: measures and prints. */
bool bench_crowd_run(const struct model_source *source, const struct common_options *common,
                     const struct bench_crowd_plan *p, struct error *e);

#endif
