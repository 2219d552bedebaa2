/* cmd_bench.c: speed of a model, of the machine, and of another program beside them. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/progress.h"
#include "bench/bench.h"
#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/models.h"
#include "cli/term.h"

struct bench_options {
    struct common_options common;
    uint32_t prefill, decode, depth, reps;
    bool machine;
    const char *against;
};

#define FIELD(field) offsetof(struct bench_options, field)

static const struct option table[] = {
    {"prefill", 0, OPTION_U32, "N", "prompt tokens to time (default 512; 0: none)", FIELD(prefill),
     0, 1 << 20, 0},
    {"decode", 0, OPTION_U32, "N", "tokens to time one by one (default 128; 0: none)",
     FIELD(decode), 0, 1 << 20, 0},
    {"depth", 0, OPTION_U32, "N", "tokens that are in the context before (default 0)", FIELD(depth),
     0, 1 << 22, 0},
    {"reps", 0, OPTION_U32, "N", "how often each is timed (default 5)", FIELD(reps), 1,
     BENCH_MAX_REPS, 0},
    {"machine", 0, OPTION_FLAG, NULL,
     "measure the machine's own limits too, and give the shares of them that the model reaches; "
     "without a MODEL, these alone",
     FIELD(machine), 0, 0, 0},
    {"against", 0, OPTION_STRING, "COMMAND",
     "run another program in turn; {model}, {threads}, {test} (pp512, tg128) and {depth} are "
     "filled in, its last line is tokens a second, or JSON with tokens_per_second",
     FIELD(against), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    struct bench_options *o = options;
    o->prefill = 512;
    o->decode = 128;
    o->reps = 5;
}

/* Speeds are tokens a second. */
struct figures {
    struct bench_samples load_ms, first_token_ms, prefill, decode, other_prefill, other_decode;
    struct bench_work work;
    double peak_memory_mb;
    bool has_machine;
    struct bench_machine machine;
};

static double peak_memory_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* Opening the model and computing one token, from nothing. */
static bool time_load(const struct model_source *source, const struct common_options *common,
                      struct figures *f, struct error *e)
{
    double start_s = time_now_s();
    struct engine *en = models_open_engine(source, common, e);
    if (!en) {
        return false;
    }
    double loaded_s = time_now_s();
    struct session *s = session_new(en, e);
    int32_t token;
    bench_tokens(en, &token, 1);
    bool ok = s && session_prefill(s, &token, 1, NULL, NULL, NULL, e);
    bench_add(&f->load_ms, 1e3 * (loaded_s - start_s));
    bench_add(&f->first_token_ms, 1e3 * (time_now_s() - start_s));
    session_free(s);
    engine_close(en);
    return ok;
}

static bool time_other(const struct bench_options *o, const struct engine *en,
                       const struct model_source *source, const char *letters, uint32_t n,
                       struct bench_samples *to, struct error *e)
{
    if (!o->against || n == 0) {
        return true;
    }
    struct bench_against a = {o->against, source->path ? source->path : source->name,
                              engine_threads(en)};
    char test[32];
    snprintf(test, sizeof test, "%s%u", letters, n);
    double rate = 0;
    if (!bench_against(&a, test, o->depth, &rate, e)) {
        return false;
    }
    bench_add(to, rate);
    return true;
}

/* One round: ours, then the other program, for each test. The first round warms up and counts for
 * nothing. */
static bool time_round(const struct bench_options *o, struct engine *en, struct session *s,
                       const struct model_source *source, const int32_t *tokens, bool counts,
                       struct figures *f, struct error *e)
{
    struct bench_plan plan = {o->prefill, o->decode, o->depth};
    double seconds;
    if (o->prefill) {
        if (!bench_prefill(s, &plan, tokens, &seconds, e)) {
            return false;
        }
        if (counts) {
            bench_add(&f->prefill, o->prefill / seconds);
        }
    }
    if (counts && !time_other(o, en, source, "pp", o->prefill, &f->other_prefill, e)) {
        return false;
    }
    if (!counts && plan.decode > 16) {
        plan.decode = 16;
    }
    if (o->decode) {
        if (!bench_decode(s, &plan, tokens, &seconds, e)) {
            return false;
        }
        if (counts) {
            bench_add(&f->decode, o->decode / seconds);
        }
    }
    return !counts || time_other(o, en, source, "tg", o->decode, &f->other_decode, e);
}

static bool time_model(const struct bench_options *o, struct engine *en,
                       const struct model_source *source, struct figures *f, struct error *e)
{
    uint32_t longest = o->prefill > o->decode ? o->prefill : o->decode;
    size_t n = (size_t)o->depth + longest;
    if (n > engine_context_size(en)) {
        return error_set(e, ERROR_USAGE,
                         "%zu tokens do not fit into the context of %u: choose a larger "
                         "--context-size, or less --depth, --prefill or --decode",
                         n, engine_context_size(en));
    }
    struct session *s = session_new(en, e);
    if (!s) {
        return false;
    }
    int32_t *tokens = mem_array(n + 1, sizeof *tokens);
    bench_tokens(en, tokens, n);
    struct progress bar;
    progress_begin(&bar, "bench", (uint64_t)o->reps + 1);
    bool ok = true;
    for (uint32_t r = 0; ok && r <= o->reps; r++) {
        ok = time_round(o, en, s, source, tokens, r > 0, f, e);
        progress_update(&bar, (uint64_t)r + 1, NULL);
    }
    progress_end(&bar);
    f->work = bench_work(en);
    f->peak_memory_mb = peak_memory_mb();
    free(tokens);
    session_free(s);
    return ok;
}

/* ---- printing ---- */

static json_t *spread_json(const struct bench_samples *samples)
{
    struct bench_spread s = bench_spread(samples);
    return json_pack("{s:f, s:f, s:f, s:I}", "median", s.median, "min", s.min, "max", s.max, "n",
                     (json_int_t)s.n);
}

/* Shares of the machine's limits, of medians. */
static double share_of_read(const struct figures *f)
{
    return bench_spread(&f->decode).median * (double)f->work.weight_bytes / 1e9 /
           f->machine.read_all;
}

static double share_of_peak(const struct figures *f)
{
    return bench_spread(&f->prefill).median * f->work.operations / 1e9 /
           f->machine.peaks[f->machine.n_peaks - 1].all;
}

static json_t *test_json(uint32_t tokens, const struct bench_samples *ours,
                         const struct bench_samples *other)
{
    json_t *t = json_pack("{s:I, s:o}", "tokens", (json_int_t)tokens, "tokens_per_second",
                          spread_json(ours));
    if (other->n) {
        double ratio = bench_spread(ours).median / bench_spread(other).median;
        json_object_set_new(t, "against", spread_json(other));
        json_object_set_new(t, "ratio", json_real(ratio));
    }
    return t;
}

static json_t *machine_json(const struct bench_machine *m)
{
    json_t *peaks = json_array();
    for (size_t i = 0; i < m->n_peaks; i++) {
        json_array_append_new(peaks, json_pack("{s:s, s:f, s:f}", "unit", m->peaks[i].name,
                                               "one_thread_gops", m->peaks[i].one, "gops",
                                               m->peaks[i].all));
    }
    return json_pack("{s:s, s:i, s:{s:f, s:f, s:f, s:b, s:I}, s:o}", "processor", cpu_model_name(),
                     "threads", m->n_threads, "read", "one_thread_gb_s", m->read_one, "gb_s",
                     m->read_all, "small_pages_gb_s", m->read_small_pages_all, "huge_pages",
                     m->huge_pages, "block_bytes", (json_int_t)m->read_bytes, "peaks", peaks);
}

static void print_json(const struct bench_options *o, const struct engine *en,
                       const struct model_source *source, const struct figures *f)
{
    json_t *out = json_object();
    if (en) {
        json_object_set_new(out, "model", term_json_text(source->name, strlen(source->name)));
        json_object_set_new(out, "threads", json_integer(engine_threads(en)));
        json_object_set_new(out, "kernels", json_string(engine_kernels_name(en)));
        json_object_set_new(out, "context_size", json_integer(engine_context_size(en)));
        json_object_set_new(out, "depth", json_integer(o->depth));
        json_object_set_new(out, "load_ms", spread_json(&f->load_ms));
        json_object_set_new(out, "first_token_ms", spread_json(&f->first_token_ms));
        if (o->prefill) {
            json_t *t = test_json(o->prefill, &f->prefill, &f->other_prefill);
            json_object_set_new(out, "prefill", t);
            if (f->has_machine) {
                json_object_set_new(t, "share_of_peak", json_real(share_of_peak(f)));
            }
        }
        if (o->decode) {
            json_t *t = test_json(o->decode, &f->decode, &f->other_decode);
            json_object_set_new(out, "decode", t);
            if (f->has_machine) {
                json_object_set_new(t, "share_of_read", json_real(share_of_read(f)));
            }
        }
        json_object_set_new(out, "weight_bytes_per_token",
                            json_integer((json_int_t)f->work.weight_bytes));
        json_object_set_new(out, "peak_memory_mb", json_real(f->peak_memory_mb));
    }
    if (f->has_machine) {
        json_object_set_new(out, "machine", machine_json(&f->machine));
    }
    term_print_json(out, true);
}

static void print_spread(const char *label, const struct bench_samples *samples, const char *unit)
{
    struct bench_spread s = bench_spread(samples);
    int digits = s.median < 100 ? 2 : 1;
    printf("%-14s%10.*f %s   (%.*f to %.*f, n=%zu)", label, digits, s.median, unit, digits, s.min,
           digits, s.max, s.n);
}

static void print_test(const char *name, uint32_t n, const struct bench_samples *ours,
                       const struct bench_samples *other, const char *share_of, double share)
{
    char label[32];
    snprintf(label, sizeof label, "%s %u", name, n);
    print_spread(label, ours, "tokens/s");
    if (share_of) {
        printf("   %.0f %% of %s", 100 * share, share_of);
    }
    putchar('\n');
    if (other->n) {
        print_spread("  against", other, "tokens/s");
        printf("   ratio %.2f\n", bench_spread(ours).median / bench_spread(other).median);
    }
}

static void print_machine(const struct bench_machine *m)
{
    printf("%-34s%12s%12s\n", "limits of the machine", "1 thread", "all");
    printf("%-34s%12.1f%12.1f GB/s%s\n", "read from memory", m->read_one, m->read_all,
           m->huge_pages ? " (2 MiB pages)" : "");
    printf("%-34s%12s%12.1f GB/s\n", "read from memory, 4 KiB pages", "", m->read_small_pages_all);
    for (size_t i = 0; i < m->n_peaks; i++) {
        printf("%-34s%12.1f%12.1f Gop/s\n", m->peaks[i].name, m->peaks[i].one, m->peaks[i].all);
    }
}

static void print_text(const struct bench_options *o, const struct engine *en,
                       const struct model_source *source, const struct figures *f)
{
    if (en) {
        char bytes[32];
        printf("%-14s", "model");
        term_print_escaped(stdout, source->name, strlen(source->name), 0);
        printf(" (%s of weights a token)\n", term_bytes(f->work.weight_bytes, bytes));
        printf("%-14s%s, %d thread%s, kernels %s\n", "machine", cpu_model_name(),
               engine_threads(en), engine_threads(en) == 1 ? "" : "s", engine_kernels_name(en));
        if (o->depth) {
            printf("%-14s%u tokens\n", "depth", o->depth);
        }
        print_spread("load", &f->load_ms, "ms");
        putchar('\n');
        print_spread("first token", &f->first_token_ms, "ms");
        putchar('\n');
        if (o->prefill) {
            print_test("prefill", o->prefill, &f->prefill, &f->other_prefill,
                       f->has_machine ? f->machine.peaks[f->machine.n_peaks - 1].name : NULL,
                       f->has_machine ? share_of_peak(f) : 0);
        }
        if (o->decode) {
            print_test("decode", o->decode, &f->decode, &f->other_decode,
                       f->has_machine ? "the read rate" : NULL,
                       f->has_machine ? share_of_read(f) : 0);
        }
        printf("%-14s%10.1f MB\n", "peak memory", f->peak_memory_mb);
    }
    if (f->has_machine) {
        if (en) {
            putchar('\n');
        }
        print_machine(&f->machine);
    }
}

/* ---- the command ---- */

static bool measure_machine(const struct bench_options *o, struct figures *f, struct error *e)
{
    struct pool *pool = pool_new(o->common.n_threads, e);
    f->has_machine = pool && bench_machine(pool, &f->machine, e);
    pool_free(pool);
    return f->has_machine;
}

/* Room for what is measured, unless a size was asked for. */
static struct common_options with_room(const struct bench_options *o)
{
    struct common_options common = o->common;
    uint64_t n = (uint64_t)o->depth + (o->prefill > o->decode ? o->prefill : o->decode);
    if (!common.context_size && n > 4096) {
        common.context_size = (uint32_t)n;
    }
    return common;
}

static bool measure(const struct bench_options *o, const struct model_source *source,
                    struct engine **en, struct figures *f, struct error *e)
{
    if (source->name) {
        struct common_options common = with_room(o);
        for (uint32_t r = 0; r <= o->reps; r++) {
            if (r == 1) { /* the first one read the file */
                f->load_ms.n = f->first_token_ms.n = 0;
                log_set_level(LOG_ERROR); /* what it had to say about the model has been said */
            }
            if (!time_load(source, &common, f, e)) {
                return false;
            }
        }
        *en = models_open_engine(source, &common, e);
        if (!*en || !time_model(o, *en, source, f, e)) {
            return false;
        }
    }
    return !o->machine || measure_machine(o, f, e);
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct bench_options *o = options;
    if (arguments->n > 1) {
        return cli_usage("bench", "bench takes one model");
    }
    if (arguments->n == 0 && !o->machine) {
        return cli_usage("bench", "bench needs a model, or --machine");
    }
    if (arguments->n == 1 && !o->prefill && !o->decode) {
        return cli_usage("bench", "--prefill 0 and --decode 0 leave nothing to measure");
    }
    struct error e = {0};
    struct model_source source = {0};
    if (arguments->n == 1 && !models_find(arguments->items[0], &source, &e)) {
        return cli_fail(&e);
    }
    struct figures *f = mem_zalloc(sizeof *f);
    struct engine *en = NULL;
    int status = CLI_DONE;
    if (!measure(o, &source, &en, f, &e)) {
        status = cli_fail(&e);
    } else if (o->common.json) {
        print_json(o, en, &source, f);
    } else {
        print_text(o, en, &source, f);
    }
    engine_close(en);
    models_release(&source);
    free(f);
    return status;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "how fast a model, this machine and other programs are",
    .arguments = "[MODEL] [--machine]",
    .description =
        "Times loading, the prompt (prefill) and the answer (decode) of a model on random\n"
        "tokens: medians with the lowest and the highest value, after one round of warming\n"
        "up. Loading is measured with the file in the page cache. --machine reads memory and\n"
        "drives the arithmetic units as fast as they go, in the same run, and says how much\n"
        "of that the model reaches. --against runs another program after each round of ours,\n"
        "so that both meet the same noise.",
    .examples = "  lllm bench starter\n"
                "  lllm bench tinyllama.gguf --prefill 512 --decode 128 --machine --json\n"
                "  lllm bench m.gguf --against 'node peer.mjs {model} --test {test}'\n"
                "  lllm bench --machine --threads 1\n",
    .options = table,
    .options_bytes = sizeof(struct bench_options),
    .init = init,
    .uses_engine = true,
    .run = run,
};
