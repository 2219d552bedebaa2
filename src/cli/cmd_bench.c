/* cmd_bench.c: speed of a model, of the machine, and of another program beside them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/answer.h"
#include "cli/bench_report.h"
#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/term.h"

enum { MAX_LIST = 32, WARM_PREFILL = 512, WARM_DECODE = 16 };

struct bench_options {
    struct common_options common;
    const char *prefill, *joint, *depth, *threads; /* lists */
    uint32_t decode, reps, crowd;
    bool machine, stages, decode_given;
    const char *against;
};

#define FIELD(field) offsetof(struct bench_options, field)

static const struct option table[] = {
    {"prefill", 0, OPTION_STRING, "LIST",
     "prompt tokens to time, such as 512 or 1,8,64,512 (default 512; 0: none)", FIELD(prefill), 0,
     0, 0},
    {"decode", 0, OPTION_U32, "N", "tokens to time one by one (default 128; 0: none)",
     FIELD(decode), 0, 1 << 20, FIELD(decode_given)},
    {"joint", 0, OPTION_STRING, "LIST",
     "sequences that decode --decode tokens together, such as 4,8,16; figures are their sum "
     "(default "
     "0: none)",
     FIELD(joint), 0, 0, 0},
    {"crowd", 0, OPTION_U32, "N",
     "instead: how a prompt of --prefill tokens (4000) that arrives among N answers slows them, "
     "and "
     "what a beginning that prompts share (a quarter of that) saves",
     FIELD(crowd), 1, QUEUE_MAX_RUNNING - 1, 0},
    {"depth", 0, OPTION_STRING, "LIST",
     "tokens that are in the context before, such as 0,512,4096 (default 0)", FIELD(depth), 0, 0,
     0},
    {"threads", 0, OPTION_STRING, "LIST",
     "threads to compute with, such as 1,2 (0, the default: one per processor)", FIELD(threads), 0,
     0, 0},
    {"reps", 0, OPTION_U32, "N", "how often each is timed (default 5)", FIELD(reps), 1,
     BENCH_MAX_REPS, 0},
    {"stages", 0, OPTION_FLAG, NULL,
     "time the stages of each pass too: what shares attention, the feed-forward part, ... take",
     FIELD(stages), 0, 0, 0},
    {"machine", 0, OPTION_FLAG, NULL,
     "measure the machine's own limits too, and give the shares of them that the model reaches; "
     "without a MODEL, these alone",
     FIELD(machine), 0, 0, 0},
    {"against", 0, OPTION_STRING, "COMMAND",
     "run another program in turn; {model}, {threads}, {test} (pp512, tg128, batch8) and {depth} "
     "are "
     "filled in, its last line is tokens a second, or JSON with tokens_per_second",
     FIELD(against), 0, 0, 0},
    KV_TYPE_OPTION("f16"),
    THROUGHPUT_OPTION,
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static const char usual_prefill[] = "512", usual_list[] = "0";

static void init(void *options)
{
    struct bench_options *o = options;
    o->prefill = usual_prefill;
    o->joint = usual_list;
    o->decode = 128;
    o->depth = usual_list;
    o->threads = usual_list;
    o->reps = 5;
    o->common.kv_type = MODEL_KV_F16;
}

/* ---- what to measure ---- */

struct list {
    uint32_t items[MAX_LIST];
    size_t n;
};

/* The lists of the options, in their order. */
struct plan {
    struct list prefill, joint, depth, threads;
    uint32_t longest; /* tokens in the context at most */
};

/* "1,8,64": whole numbers up to max. */
static bool read_list(const char *option, const char *text, uint32_t max, struct list *out,
                      struct error *e)
{
    out->n = 0;
    for (const char *p = text;; p++) {
        char number[16];
        size_t n = strcspn(p, ",");
        int64_t value;
        snprintf(number, sizeof number, "%.*s", n < sizeof number ? (int)n : 0, p);
        if (!options_read_i64(number, 0, max, &value)) {
            return error_set(e, ERROR_USAGE,
                             "--%s takes whole numbers from 0 to %u with commas between them, not "
                             "\"%.60s\"",
                             option, max, text);
        }
        if (out->n == MAX_LIST) {
            return error_set(e, ERROR_USAGE, "--%s has more than %d numbers", option, MAX_LIST);
        }
        out->items[out->n++] = (uint32_t)value;
        p += n;
        if (!*p) {
            return true;
        }
    }
}

static uint32_t most_of(const struct list *l)
{
    uint32_t most = 0;
    for (size_t i = 0; i < l->n; i++) {
        most = l->items[i] > most ? l->items[i] : most;
    }
    return most;
}

static bool make_plan(const struct bench_options *o, struct plan *p, struct error *e)
{
    if (!read_list("prefill", o->prefill, 1 << 20, &p->prefill, e) ||
        !read_list("joint", o->joint, MODEL_MAX_JOINT, &p->joint, e) ||
        !read_list("depth", o->depth, 1 << 22, &p->depth, e) ||
        !read_list("threads", o->threads, POOL_MAX_THREADS, &p->threads, e)) {
        return false;
    }
    for (size_t i = 0; i < p->threads.n; i++) {
        if (p->threads.items[i] == 0) {
            uint32_t all = (uint32_t)cpu_count();
            p->threads.items[i] = all < POOL_MAX_THREADS ? all : POOL_MAX_THREADS;
        }
    }
    uint32_t most = most_of(&p->prefill);
    p->longest = most_of(&p->depth) + (most > o->decode ? most : o->decode);
    return true;
}

static size_t rows_of_depth(const struct plan *p, const struct bench_options *o)
{
    size_t n = o->decode != 0;
    for (size_t i = 0; i < p->prefill.n; i++) {
        n += p->prefill.items[i] != 0;
    }
    for (size_t i = 0; o->decode && i < p->joint.n; i++) {
        n += p->joint.items[i] != 0;
    }
    return n;
}

/* ---- measuring ---- */

struct measuring {
    const struct bench_options *o;
    const struct plan *plan;
    struct engine_options how; /* with room for what is measured, and these threads */
    struct bench_report *report;
    int32_t *tokens; /* [plan->longest] */
    struct progress bar;
    uint64_t done;
};

/* The engine's advice is about its options; here context and sequences are what is measured. */
static bool needs_less(struct error *e)
{
    char *advice = strstr(e->message, ": --");
    struct error was = *e;
    return advice &&
           error_set(e, was.code, "%.*s: less --prefill, --decode, --depth or --joint fits",
                     (int)(advice - e->message), was.message);
}

/* Opening the model and computing one token, from nothing. */
static bool time_load(struct measuring *m, struct error *e)
{
    double start_s = time_now_s();
    struct engine *en = models_open_engine_as(m->report->source, &m->how, e);
    if (!en) {
        return e->code == ERROR_MEMORY && needs_less(e);
    }
    double loaded_s = time_now_s();
    struct session *s = session_new(en, e);
    int32_t token;
    bench_tokens(en, &token, 1);
    bool ok = s && session_prefill(s, &token, 1, NULL, NULL, NULL, e);
    bench_add(&m->report->load_ms, 1e3 * (loaded_s - start_s));
    bench_add(&m->report->first_token_ms, 1e3 * (time_now_s() - start_s));
    session_free(s);
    engine_close(en);
    return ok;
}

static bool time_other(const struct measuring *m, struct bench_row *row, struct error *e)
{
    const struct model_source *source = m->report->source;
    struct bench_against a = {m->o->against, source->path ? source->path : source->name,
                              row->n_threads};
    char test[32];
    snprintf(test, sizeof test, "%s%u",
             row->n_joint  ? "batch"
             : row->decode ? "tg"
                           : "pp",
             row->n_joint ? row->n_joint : row->n_tokens);
    double rate = 0;
    if (!bench_against(&a, test, row->depth, &rate, e)) {
        e->code = answer_interrupted() ? ERROR_CANCELLED : e->code; /* it was, too */
        return false;
    }
    bench_add(&row->other, rate);
    return true;
}

static uint32_t at_most(uint32_t n, uint32_t most)
{
    return n < most ? n : most;
}

/* Ours, then the other program. What only warms up is cut short and counts for nothing. */
static bool time_row(const struct measuring *m, struct session **s, struct bench_row *row,
                     bool counts, struct error *e)
{
    struct bench_plan plan = {.depth = row->depth,
                              .clock = counts && m->o->stages ? &row->clock : NULL,
                              .cancelled = answer_was_interrupted};
    uint32_t n = row->n_tokens;
    double seconds;
    if (row->decode) {
        plan.decode = counts ? n : at_most(n, WARM_DECODE);
    } else {
        plan.prefill = counts ? n : at_most(n, WARM_PREFILL);
    }
    if (!(row->n_joint  ? bench_joint(s, row->n_joint, &plan, m->tokens, &seconds, e)
          : row->decode ? bench_decode(s[0], &plan, m->tokens, &seconds, e)
                        : bench_prefill(s[0], &plan, m->tokens, &seconds, e))) {
        return false;
    }
    if (!counts) {
        return true;
    }
    bench_add(&row->speed, (row->n_joint ? row->n_joint : 1) * n / seconds);
    return !m->o->against || time_other(m, row, e);
}

/* Rows of one depth are timed in turn, so that all meet the same noise. */
static bool time_depth(struct measuring *m, struct session **s, struct bench_row *rows, size_t n,
                       struct error *e)
{
    bool ok = true;
    for (uint32_t r = 0; ok && r <= m->o->reps; r++) {
        for (size_t i = 0; ok && i < n; i++) {
            ok = time_row(m, s, &rows[i], r > 0, e);
        }
        progress_update(&m->bar, ++m->done, NULL);
    }
    return ok;
}

static bool time_engine(struct measuring *m, struct engine *en, struct bench_row *rows,
                        struct error *e)
{
    struct session *s[MODEL_MAX_JOINT] = {NULL};
    struct bench_report *r = m->report;
    size_t n = rows_of_depth(m->plan, m->o), n_sessions = most_of(&m->plan->joint);
    bool ok = true;
    for (size_t i = 0; ok && (i == 0 || i < n_sessions); i++) {
        s[i] = session_new(en, e);
        ok = s[i] != NULL;
    }
    bench_tokens(en, m->tokens, m->plan->longest);
    for (size_t d = 0; ok && d < m->plan->depth.n; d++) {
        ok = time_depth(m, s, rows + d * n, n, e);
    }
    if (engine_move(en)) {
        r->moves = true;
        r->move = *engine_move(en);
        r->strips = engine_in_strips(en);
    }
    r->kernels = engine_kernels_name(en);
    r->context_size = engine_context_size(en);
    r->kv_type = engine_kv_type(en);
    r->work = bench_work(en);
    uint64_t joint =
        n_sessions > 1 ? (n_sessions - 1) * (most_of(&m->plan->depth) + m->o->decode) : 0;
    r->memory = bench_memory(en, m->plan->longest + (uint32_t)joint);
    for (size_t i = 0; i < MODEL_MAX_JOINT; i++) {
        session_free(s[i]);
    }
    return ok;
}

static void name_rows(const struct measuring *m)
{
    const struct plan *p = m->plan;
    struct bench_row *row = m->report->rows;
    for (size_t t = 0; t < p->threads.n; t++) {
        for (size_t d = 0; d < p->depth.n; d++) {
            struct bench_row at = {.n_threads = (int)p->threads.items[t],
                                   .depth = p->depth.items[d]};
            for (size_t i = 0; i < p->prefill.n; i++) {
                if (p->prefill.items[i]) {
                    *row = at;
                    (row++)->n_tokens = p->prefill.items[i];
                }
            }
            at.decode = true;
            at.n_tokens = m->o->decode;
            if (m->o->decode) {
                *row++ = at;
            }
            for (size_t i = 0; m->o->decode && i < p->joint.n; i++) {
                if (p->joint.items[i]) {
                    *row = at;
                    (row++)->n_joint = p->joint.items[i];
                }
            }
        }
    }
}

static bool measure_model(struct measuring *m, struct error *e)
{
    const struct plan *p = m->plan;
    struct bench_report *report = m->report;
    size_t n = rows_of_depth(p, m->o) * p->depth.n;
    report->n_rows = n * p->threads.n;
    report->rows = mem_zalloc(report->n_rows * sizeof *report->rows);
    m->tokens = mem_array((size_t)p->longest + 1, sizeof *m->tokens);
    name_rows(m);
    m->how.n_threads = (int)p->threads.items[0];
    for (uint32_t r = 0; r <= m->o->reps; r++) {
        if (r == 1) { /* the first one read the file */
            report->load_ms.n = report->first_token_ms.n = 0;
            log_set_level(LOG_ERROR); /* what it had to say about the model has been said */
        }
        if (!time_load(m, e)) {
            return false;
        }
        if (answer_interrupted()) {
            return error_set(e, ERROR_CANCELLED, "the measurement was interrupted");
        }
    }
    progress_begin(&m->bar, "bench", ((uint64_t)m->o->reps + 1) * p->depth.n * p->threads.n);
    bool ok = true;
    for (size_t t = 0; ok && t < p->threads.n; t++) {
        m->how.n_threads = (int)p->threads.items[t];
        struct engine *en = models_open_engine_as(report->source, &m->how, e);
        ok = en && time_engine(m, en, report->rows + t * n, e);
        engine_close(en);
    }
    progress_end(&m->bar);
    return ok;
}

static bool measure_machine(const struct plan *p, struct bench_report *r, struct error *e)
{
    struct pool *pool = pool_new((int)most_of(&p->threads), e);
    r->has_machine = pool && bench_machine(pool, &r->machine, e);
    pool_free(pool);
    return r->has_machine;
}

/* Whole contexts: that of one sequence, and as many as those beside it fill. */
static uint32_t sequences_of(const struct bench_options *o, const struct plan *p, uint32_t context)
{
    const uint64_t pages = model_pages_for(most_of(&p->depth) + o->decode);
    const uint64_t n = most_of(&p->joint), whole = model_pages_for(context);
    return 1 + (n > 1 ? (uint32_t)(((n - 1) * pages + whole - 1) / whole) : 0);
}

static bool measure(const struct bench_options *o, const struct plan *p, struct bench_report *r,
                    struct error *e)
{
    struct measuring m = {.o = o, .plan = p, .how = models_engine_options(&o->common), .report = r};
    uint32_t context = o->common.context_size, joint = most_of(&p->joint);
    if (r->source->name && context && p->longest > context) {
        return error_set(e, ERROR_USAGE,
                         "%u tokens do not fit into the context of %u: choose a larger "
                         "--context-size, or less --depth, --prefill or --decode",
                         p->longest, context);
    }
    if (!context) { /* what is measured, a row of a pass for each sequence, and loading's token */
        context = p->longest > joint ? p->longest : joint;
        m.how.context_size = context ? context : 1;
    }
    m.how.n_sequences = sequences_of(o, p, m.how.context_size);
    bool ok = !r->source->name || measure_model(&m, e);
    free(m.tokens);
    if (ok && answer_interrupted()) {
        ok = error_set(e, ERROR_CANCELLED, "the measurement was interrupted");
    }
    signal(SIGINT, SIG_DFL); /* the machine's limits take seconds, without a look at it */
    return ok && (!o->machine || measure_machine(p, r, e));
}

static int measure_crowd(const struct bench_options *o, const struct plan *plan,
                         struct model_source *source)
{
    struct error e = {0};
    struct common_options common = o->common;
    uint32_t prompt = o->prefill == usual_prefill ? 4000 : plan->prefill.items[0];
    struct bench_crowd_plan p = {
        .n_answers = o->crowd, .prompt = prompt, .prefix = prompt / 4, .reps = o->reps};
    common.n_threads = (int)plan->threads.items[0];
    int status = bench_crowd_run(source, &common, &p, &e) ? CLI_DONE : cli_fail(&e);
    models_release(source);
    return status;
}

/* What --crowd, which measures something of its own, has no use for; NULL: nothing was given. */
static const char *beside_crowd(const struct bench_options *o, const struct plan *plan)
{
    return o->decode_given          ? "--decode"
           : o->joint != usual_list ? "--joint"
           : o->depth != usual_list ? "--depth"
           : o->stages              ? "--stages"
           : o->machine             ? "--machine"
           : o->against             ? "--against"
           : plan->prefill.n > 1    ? "several lengths of --prefill"
           : plan->threads.n > 1    ? "several numbers of --threads"
                                    : NULL;
}

/* What was measured until then is reported. */
static int tell_interrupted(const struct bench_report *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_rows; i++) {
        n += r->rows[i].speed.n > 0;
    }
    term_message("interrupted after %zu of %zu rows", n, r->n_rows);
    return CLI_INTERRUPTED;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct bench_options *o = options;
    struct error e = {0};
    struct plan plan;
    if (arguments->n > 1) {
        return cli_usage("bench", "bench takes one model");
    }
    if (arguments->n == 0 && (o->crowd || !o->machine)) {
        return cli_usage("bench", "bench needs a model, or --machine");
    }
    if (!make_plan(o, &plan, &e)) {
        return cli_usage("bench", "%s", e.message);
    }
    if (o->crowd && beside_crowd(o, &plan)) {
        return cli_usage("bench", "--crowd does not go with %s", beside_crowd(o, &plan));
    }
    if (o->crowd && plan.prefill.items[0] < 64) {
        return cli_usage("bench", "--crowd needs a prompt of at least 64 tokens (--prefill)");
    }
    if (o->against && !o->against[strspn(o->against, " \t\n")]) {
        return cli_usage("bench", "--against takes a command, and it is empty");
    }
    if (most_of(&plan.joint) && !o->decode) {
        return cli_usage("bench",
                         "--joint times --decode tokens of each sequence, and --decode is 0");
    }
    if (arguments->n == 1 && !rows_of_depth(&plan, o)) {
        return cli_usage("bench", "--prefill 0 and --decode 0 leave nothing to measure");
    }
    cli_note_threads((int)most_of(&plan.threads), o->common.quiet);
    struct model_source source = {0};
    if (arguments->n == 1 && !models_find(arguments->items[0], &source, &e)) {
        return cli_fail(&e);
    }
    if (o->crowd) {
        return measure_crowd(o, &plan, &source);
    }
    struct bench_report *r = mem_zalloc(sizeof *r);
    r->source = &source;
    r->cpu_mask = o->common.cpu_mask ? o->common.cpu_mask : getenv("LLLM_CPU_MASK");
    r->stages = o->stages;
    int status = CLI_DONE;
    if (source.name) {
        answer_catch_interrupt(true);
    }
    bool ok = measure(o, &plan, r, &e);
    r->interrupted = !ok && e.code == ERROR_CANCELLED;
    if (!ok && !r->interrupted) {
        status = cli_fail(&e);
    } else {
        status = r->interrupted ? tell_interrupted(r) : CLI_DONE;
        (o->common.json ? bench_report_json : bench_report_text)(r);
    }
    models_release(&source);
    free(r->rows);
    free(r);
    return status;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "how fast a model, this machine and other programs are",
    .arguments = "[MODEL] [--machine]",
    .description =
        "Times loading, the prompt (prefill) and the answer (decode) of a model on random\n"
        "tokens: medians with the lowest and the highest value, after one round of warming\n"
        "up. Loading is measured with the file in the page cache. Lists make a sweep: every\n"
        "prompt length at every depth with every number of threads; --json has a row for\n"
        "each (bench/plots.py draws them). --machine reads memory and drives the arithmetic\n"
        "units as fast as they go, in the same run, and says how much of that the model\n"
        "reaches: decode of the rate of reading, prompts of the products of the unit that\n"
        "computes most of them (weights of more than four bits meet two bytes, and so need\n"
        "two products of bytes for one). The first token is that of one token's prompt,\n"
        "loading included. The context is as long as what is measured. --against runs\n"
        "another program after each round of ours, so that both meet the same noise. Peak\n"
        "memory is compared with the weights and the keys and values of the longest context\n"
        "that was measured; what is beside them is working memory.",
    .examples = "  lllm bench starter\n"
                "  lllm bench tinyllama.gguf --prefill 512 --decode 128 --machine --json\n"
                "  lllm bench m.gguf --prefill 1,8,64,512 --depth 0,4096 --threads 1,2 --json\n"
                "  lllm bench m.gguf --prefill 0 --decode 32 --depth 64 --joint 4,8,16,32\n"
                "  lllm bench m.gguf --prefill 4096,16384 --decode 0 --reps 1 --stages\n"
                "  lllm bench m.gguf --prefill 0 --depth 0,4096,16384 --kv-type q8_0\n"
                "  lllm bench m.gguf --crowd 8 --prefill 4000\n"
                "  lllm bench m.gguf --against 'node peer.mjs {model} --test {test}'\n"
                "  lllm bench --machine --threads 1\n",
    .options = table,
    .options_bytes = sizeof(struct bench_options),
    .init = init,
    .uses_engine = true,
    .run = run,
};
