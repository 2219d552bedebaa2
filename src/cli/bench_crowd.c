/* bench_crowd.c: `lllm bench --crowd`: many requests at once. */
#include <stdlib.h>

#include "base/progress.h"
#include "cli/bench_report.h"
#include "cli/cli.h"
#include "cli/term.h"

static json_t *spread_json(const struct bench_samples *samples)
{
    struct bench_spread s = bench_spread(samples);
    return json_pack("{s:f, s:f, s:f, s:I}", "median", s.median, "min", s.min, "max", s.max, "n",
                     (json_int_t)s.n);
}

static double ratio(const struct bench_samples *a, const struct bench_samples *b)
{
    double under = bench_spread(b).median;
    return under > 0 ? bench_spread(a).median / under : 0;
}

static void print_json(const struct engine *en, const struct bench_crowd_plan *p,
                       const struct bench_crowd *c, const char *model)
{
    term_print_json(
        json_pack("{s:s, s:s, s:i, s:{s:I, s:I, s:o, s:o, s:f, s:o}, s:{s:I, s:I, s:o, s:o, s:f}}",
                  "model", model, "kernels", engine_kernels_name(en), "threads", engine_threads(en),
                  "arrival", "answers", (json_int_t)p->n_answers, "prompt", (json_int_t)p->prompt,
                  "gap_ms", spread_json(&c->gap_ms), "gap_beside_prompt_ms",
                  spread_json(&c->gap_beside_ms), "gap_ratio", ratio(&c->gap_beside_ms, &c->gap_ms),
                  "first_token_s", spread_json(&c->prompt_s), "prefix", "tokens",
                  (json_int_t)p->prefix, "own_tokens", (json_int_t)BENCH_CROWD_TAIL,
                  "first_token_ms", spread_json(&c->first_ms), "first_token_again_ms",
                  spread_json(&c->first_again_ms), "speed_up",
                  ratio(&c->first_ms, &c->first_again_ms)),
        true);
}

static void print_line(const char *what, const struct bench_samples *samples, const char *unit)
{
    struct bench_spread s = bench_spread(samples);
    printf("  %-44s %8.1f %s  (%.1f to %.1f, %zu)\n", what, s.median, unit, s.min, s.max, s.n);
}

static void print_text(const struct engine *en, const struct bench_crowd_plan *p,
                       const struct bench_crowd *c, const char *model)
{
    printf("%s, %d thread%s, kernels %s; medians (lowest to highest, how many)\n", model,
           engine_threads(en), engine_threads(en) == 1 ? "" : "s", engine_kernels_name(en));
    printf("\na prompt of %u tokens arrives among %u answers\n", p->prompt, p->n_answers);
    print_line("between two tokens of an answer", &c->gap_ms, "ms");
    print_line("the same while the prompt is computed", &c->gap_beside_ms, "ms");
    printf("  %-44s %8.2f\n", "ratio", ratio(&c->gap_beside_ms, &c->gap_ms));
    print_line("the prompt's first token after", &c->prompt_s, "s ");
    printf("\na prompt of %u tokens that others began with, and %d of its own\n", p->prefix,
           BENCH_CROWD_TAIL);
    print_line("first token, the first time", &c->first_ms, "ms");
    print_line("first token, from the second time on", &c->first_again_ms, "ms");
    printf("  %-44s %8.2f\n", "speed-up", ratio(&c->first_ms, &c->first_again_ms));
}

struct rounds {
    struct progress bar;
    uint64_t done;
};

static void tick(void *context)
{
    struct rounds *r = context;
    progress_update(&r->bar, ++r->done, NULL);
}

bool bench_crowd_run(const struct model_source *source, const struct common_options *common,
                     const struct bench_crowd_plan *p, struct error *e)
{
    struct common_options roomy = *common;
    struct rounds rounds = {0};
    if (!roomy.context_size) {
        roomy.context_size = bench_crowd_context(p);
    }
    struct engine *en = models_open_engine(source, &roomy, e);
    if (!en) {
        return false;
    }
    struct bench_crowd *c = mem_zalloc(sizeof *c);
    bool ok = engine_context_size(en) >= bench_crowd_context(p) ||
              error_set(e, ERROR_USAGE,
                        "a crowd with a prompt of %u tokens needs a context of %u, and it is %u: "
                        "choose a larger --context-size, or less --prefill",
                        p->prompt, bench_crowd_context(p), engine_context_size(en));
    progress_begin(&rounds.bar, "bench", 2 * ((uint64_t)p->reps + 1));
    ok = ok && bench_crowd(en, p, c, tick, &rounds, e);
    progress_end(&rounds.bar);
    if (ok) {
        (common->json ? print_json : print_text)(en, p, c, source->name);
    }
    free(c);
    engine_close(en);
    return ok;
}
