/* test_plan.c: plans of memory against what processes take, and what is refused.
 *
 *   test_plan GOLDEN STARTER                                  the tests
 *   test_plan peak MODEL CONTEXT TYPE SEQUENCES THREADS HUGE  what they start: fills the contexts
 *                                                             and prints planned and peak bytes
 *   test_plan pair MODEL CONTEXT TYPE ANSWERS THREADS DRAFT   the same with a draft model beside
 *                                                             it, which writes ahead for each
 * answer test_plan crowd MODEL CONTEXT TYPE ANSWERS THREADS -      the same with a queue, by its
 * plan */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../sanitized.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/plan.h"
#include "engine/queue.h"
#include "hf/hf.h"
#include "tiny_model.h"

/* A plan is an upper bound, and no more than this above what a full context takes: what a pass
 * never touches of its working memory, and what other models' vocabularies and programs take. */
static const double BOUND_SHARE = 0.2;
static const uint64_t BOUND_BYTES = 8 << 20;

static const char *own_path, *golden_folder, *starter_path;

static uint64_t peak_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kib = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1) {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return (uint64_t)kib * 1024;
}

/* ---- what is started ---- */

static struct engine *open_model(const char *path, const struct engine_options *o, struct error *e)
{
    if (!hf_is_folder(path)) {
        return engine_open(path, o, e);
    }
    struct gguf *g = hf_open(path, e);
    return g ? engine_open_gguf(g, path, o, e) : NULL;
}

static int32_t *make_tokens(const struct engine *en, uint32_t n)
{
    int32_t *tokens = mem_array(n, sizeof *tokens);
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)(i * 7 % engine_config(en)->n_vocab);
    }
    return tokens;
}

static bool fill_sessions(struct engine *en, uint32_t n_sessions, struct error *e)
{
    struct session *sessions[8] = {NULL};
    struct sampler *samplers[8] = {NULL};
    struct sampling how;
    uint32_t n = engine_context_size(en) - 2;
    int32_t *tokens = make_tokens(en, n), next[8] = {0};
    bool ok = true;
    struct sampler_room *room = sampler_room_new(engine_config(en)->n_vocab);
    sampling_defaults(&how);
    for (uint32_t i = 0; ok && i < n_sessions; i++) {
        samplers[i] = sampler_new(&how, NULL, room);
        sessions[i] = session_new(en, e);
        ok = sessions[i] && session_prefill(sessions[i], tokens, n, NULL, NULL, NULL, e);
        next[i] = ok ? sampler_next(samplers[i], session_logits(sessions[i]), tokens, n, NULL) : 0;
    }
    ok = ok && session_decode(sessions[0], next[0], e);
    ok = ok && (n_sessions == 1 || sessions_decode(sessions, n_sessions, next, e));
    for (uint32_t i = 0; i < n_sessions; i++) {
        session_free(sessions[i]);
        sampler_free(samplers[i]);
    }
    sampler_room_free(room);
    free(tokens);
    return ok;
}

static bool note_numbers(void *context, const struct queue_event *event)
{
    *(bool *)context = *(bool *)context && event->numbers;
    return true;
}

/* Passes as full as can be, and a vector for each token. */
static bool fill_encoder(struct engine *en, struct error *e)
{
    struct queue *q = queue_new(en, NULL, e);
    uint32_t n = engine_context_size(en), count = n < ENCODER_BATCH ? ENCODER_BATCH / n : 1;
    int32_t *tokens = make_tokens(en, n);
    bool ok = true;
    struct request_options r = {.prompt = tokens,
                                .n_prompt = n,
                                .kind = REQUEST_VECTOR,
                                .vector = {.pooling = MODEL_POOLING_NONE},
                                .event = note_numbers,
                                .context = &ok};
    for (uint32_t i = 0; q && i < count; i++) {
        ok = queue_submit(q, &r, e) && ok;
    }
    while (q && queue_step(q)) {
    }
    queue_free(q);
    free(tokens);
    return q && ok;
}

static int peak(char **argv)
{
    struct error e = {0};
    struct engine_options o = {.context_size = (uint32_t)atoi(argv[1]),
                               .n_sequences = (uint32_t)atoi(argv[3]),
                               .n_threads = atoi(argv[4]),
                               .huge_pages = atoi(argv[5]) != 0};
    log_set_level(LOG_ERROR);
    model_kv_by_name(argv[2], &o.kv_type);
    struct engine *en = open_model(argv[0], &o, &e);
    bool ok = en && (engine_config(en)->bidirectional ? fill_encoder(en, &e)
                                                      : fill_sessions(en, o.n_sequences, &e));
    if (!ok) {
        printf("%s\n", e.message);
        return 1;
    }
    printf("%llu %llu %d\n", (unsigned long long)engine_plan(en)->total_bytes,
           (unsigned long long)peak_bytes(), engine_move(en) && engine_move(en)->size_bytes > 0);
    engine_close(en);
    return 0;
}

static bool on_event(void *context, const struct queue_event *event)
{
    uint32_t *n_kept = context;
    *n_kept += event->finish ? event->finish->stats.n_drafts_kept : 0;
    return true;
}

/* Answers that fill their contexts, with all rows and all sessions of the draft model in use, if
 * there is one; else the pages are those of the plan. */
static bool fill_queue(struct engine *en, struct engine *draft, uint32_t n_answers, struct error *e)
{
    uint32_t context = engine_context_size(en), n = context - 40, n_kept = 0;
    struct queue_options how = {.n_pages = draft ? n_answers * model_pages_for(context) : 0,
                                .max_running = n_answers,
                                .draft_model = draft,
                                .drafts_always = draft != NULL};
    struct queue *q = queue_new(en, &how, e);
    int32_t *tokens = make_tokens(en, n + n_answers);
    bool ok = q != NULL;
    for (uint32_t i = 0; ok && i < n_answers; i++) {
        struct request_options r = {.prompt = tokens + i,
                                    .n_prompt = n,
                                    .how = {.ignore_end = true, .show_control = true},
                                    .draft_model = draft != NULL,
                                    .event = on_event,
                                    .context = &n_kept};
        sampling_defaults(&r.how.sampling);
        r.how.sampling.temperature = 0;
        ok = queue_submit(q, &r, e) != 0;
    }
    while (ok && queue_step(q)) {
    }
    if (ok && draft && n_kept == 0) {
        ok = error_set(e, ERROR_USAGE, "no draft was kept");
    }
    queue_free(q);
    free(tokens);
    return ok;
}

/* Names of tokens: whoever writes text needs some. */
static void name_tokens(struct gguf_writer *w, uint32_t n_vocab, struct arena *a)
{
    struct gguf_string *names = arena_alloc(a, n_vocab * sizeof *names);
    float *scores = arena_alloc(a, n_vocab * sizeof *scores);
    int32_t *types = arena_alloc(a, n_vocab * sizeof *types);
    for (uint32_t i = 0; i < n_vocab; i++) {
        char *name = arena_alloc(a, 16);
        snprintf(name, 16, i ? "t%u" : "<unk>", i);
        names[i] = (struct gguf_string){name, strlen(name)};
        types[i] = i ? TOKEN_NORMAL : TOKEN_UNKNOWN;
    }
    struct tokenizer_spec *spec = tokenizer_spec_new();
    spec->model = "llama";
    spec->n_tokens = n_vocab;
    spec->tokens = names;
    spec->scores = scores;
    spec->types = types;
    spec->roles[ROLE_UNKNOWN] = 0;
    tokenizer_spec_write(spec, w);
    tokenizer_spec_free(spec);
}

/* crowd: without a draft model, and planned as a queue. */
static int pair(char **argv, bool crowd)
{
    struct error e = {0};
    uint32_t n = (uint32_t)atoi(argv[3]);
    struct engine_options o = {.context_size = (uint32_t)atoi(argv[1]),
                               .n_sequences = crowd ? 1 : n,
                               .n_threads = atoi(argv[4]),
                               .n_drafts = crowd ? 0 : MODEL_MAX_JOINT - 1,
                               .n_draft_sessions = crowd ? 0 : n,
                               .n_running = crowd ? n : 0};
    log_set_level(LOG_ERROR);
    model_kv_by_name(argv[2], &o.kv_type);
    struct gguf *header = crowd ? NULL : gguf_open(argv[5], &e);
    o.draft = header;
    struct engine *en = header || crowd ? engine_open(argv[0], &o, &e) : NULL, *draft = NULL;
    gguf_close(header);
    if (en && !crowd) {
        o.pool = engine_pool(en);
        struct engine_options beside = engine_draft_options(&o, engine_context_size(en));
        draft = engine_open(argv[5], &beside, &e);
    }
    if (!en || (!draft && !crowd) || !fill_queue(en, draft, n, &e)) {
        printf("%s\n", e.message);
        return 1;
    }
    printf("%llu %llu 0\n", (unsigned long long)engine_plan(en)->total_bytes,
           (unsigned long long)peak_bytes());
    engine_close(draft);
    engine_close(en);
    return 0;
}

/* ---- planned and measured ---- */

struct start {
    const char *model;
    uint32_t context;
    const char *kv_type;
    uint32_t n_sequences;
    int n_threads;
    bool huge_pages;
};

/* draft: NULL: none; "-": a queue instead. */
static void compare_beside(const struct start *s, const char *draft)
{
    char command[8192], line[600] = "";
    unsigned long long planned = 0, measured = 0;
    int moved = 0;
    int n = snprintf(command, sizeof command, "'%s' %s '%s' %u %s %u %d ", own_path,
                     !draft                    ? "peak"
                     : strcmp(draft, "-") == 0 ? "crowd"
                                               : "pair",
                     s->model, s->context, s->kv_type, s->n_sequences, s->n_threads);
    snprintf(command + n, sizeof command - (size_t)n, draft ? "'%s'" : "%s",
             draft           ? draft
             : s->huge_pages ? "1"
                             : "0");
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    if (pclose(f) != 0 || sscanf(line, "%llu %llu %d", &planned, &measured, &moved) != 3) {
        fail_msg("%s: %s", command, line);
    }
    const char *name = strrchr(s->model, '/') + 1;
    print_message("%-16s context %5u %-4s x %u, %d threads%s: planned %6.1f, peak %6.1f MiB\n",
                  name, s->context, s->kv_type, s->n_sequences, s->n_threads,
                  moved           ? ", moved"
                  : !draft        ? ""
                  : *draft == '-' ? ", queue"
                                  : ", draft",
                  (double)planned / (1 << 20), (double)measured / (1 << 20));
    if (measured > planned ||
        (double)planned > (double)measured * (1 + BOUND_SHARE) + (double)BOUND_BYTES) {
        fail_msg("the plan of %llu bytes is out of bounds of the peak of %llu", planned, measured);
    }
}

static void compare(const struct start *s)
{
    compare_beside(s, NULL);
}

static void skip_where_it_cannot_be_measured(void)
{
    if (SANITIZED || peak_bytes() == 0) {
        print_message("peaks of memory say nothing here\n");
        skip();
    }
}

static void test_golden_models(void **state)
{
    (void)state;
    skip_where_it_cannot_be_measured();
    static const struct start starts[] = {
        {"llama", 16384, "f32", 1, 2, false},    {"llama", 16384, "f16", 2, 1, false},
        {"gemma2", 8192, "f16", 1, 2, false},    {"gemma3", 8192, "f32", 1, 3, false},
        {"qwen2moe", 4096, "f32", 1, 2, false},  {"gpt-oss-mxfp4", 4096, "f32", 1, 2, false},
        {"phi3", 4096, "f16", 3, 2, false},      {"bert", 80, "f32", 1, 2, false},
        {"nomic-bert", 256, "f32", 1, 2, false},
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        char path[4096];
        struct start s = starts[i];
        snprintf(path, sizeof path, "%s/%s", golden_folder, s.model);
        s.model = path;
        compare(&s);
    }
}

static void test_starter(void **state)
{
    (void)state;
    skip_where_it_cannot_be_measured();
    compare(&(struct start){starter_path, 768, "f32", 1, 2, false});
    compare(&(struct start){starter_path, 768, "f16", 4, 1, false});
    compare(&(struct start){starter_path, 256, "q8_0", 1, 2, false});
    compare(&(struct start){starter_path, 768, "f16", 1, 2, true});
}

/* Of some 20 MB, with a vocabulary of 8,192 rows. */
static void save_model(uint32_t n_layers, char path[4096])
{
    struct tiny t = tiny_even(TENSOR_Q8_0);
    t.n_layers = n_layers;
    t.n_embd = 512;
    t.n_heads = 8;
    t.n_kv_heads = 4;
    t.head_dim = t.n_rot = 64;
    t.n_ff = 1408;
    t.n_vocab = 8192;
    t.n_context = 8192;
    struct arena *a = arena_new();
    struct gguf_writer *w = tiny_writer(&t, a);
    name_tokens(w, t.n_vocab, a);
    tiny_save(w, path);
    arena_free(a);
}

static void save_larger(char path[4096])
{
    save_model(4, path);
}

static void test_larger_model(void **state)
{
    (void)state;
    skip_where_it_cannot_be_measured();
    char path[4096];
    save_larger(path);
    compare(&(struct start){path, 2048, "f32", 1, 2, false});
    compare(&(struct start){path, 2048, "q8_0", 2, 1, false});
    compare(&(struct start){path, 1024, "f16", 1, 2, true});
    unlink(path);
}

/* A draft model with weights of its own, and the starter beside itself, which is always right. */
static void test_with_a_draft_model(void **state)
{
    (void)state;
    skip_where_it_cannot_be_measured();
    char path[4096];
    save_larger(path);
    compare_beside(&(struct start){path, 1024, "f16", 1, 2, false}, path);
    compare_beside(&(struct start){path, 512, "f16", 4, 1, false}, path);
    compare_beside(&(struct start){starter_path, 768, "f16", 2, 1, false}, starter_path);
    unlink(path);
}

/* Pages and logits of all answers at once are in the plan. */
static void test_a_queue(void **state)
{
    (void)state;
    skip_where_it_cannot_be_measured();
    char path[4096];
    save_larger(path);
    compare_beside(&(struct start){path, 1024, "f16", 8, 2, false}, "-");
    compare_beside(&(struct start){path, 512, "q8_0", 16, 1, false}, "-");
    unlink(path);
}

/* ---- the header alone ---- */

/* Weights that cannot be read at all: a plan does not look at them. */
static void test_no_weights_are_touched(void **state)
{
    (void)state;
    char path[4096];
    struct file_map map;
    struct error e = {0};
    struct memory_plan from_file, p;
    save_larger(path);
    assert_true(file_map_open(path, &map, &e));
    struct gguf *g = gguf_open_memory(map.data, map.size_bytes, &e);
    assert_non_null(g);
    uint64_t begin = map.size_bytes;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        uint64_t offset = gguf_tensor_at(g, i)->offset;
        begin = offset < begin ? offset : begin;
    }
    begin = (begin + 65535) / 65536 * 65536;
    assert_true(begin < map.size_bytes / 2);
    assert_int_equal(mprotect((void *)(map.data + begin), map.size_bytes - begin, PROT_NONE), 0);
    struct engine_options o = {.context_size = 4096, .kv_type = MODEL_KV_F16};
    assert_true(memory_plan_make(g, &o, &p, &e));
    assert_int_equal(memory_plan_fit(g, &o, 4096, p.total_bytes), 4096);
    gguf_close(g);
    file_map_close(&map);
    g = gguf_open(path, &e);
    assert_true(memory_plan_make(g, &o, &from_file, &e));
    assert_int_equal(p.total_bytes, from_file.total_bytes);
    gguf_close(g);
    unlink(path);
}

static struct sysmem machine_of(uint64_t available_mib)
{
    return (struct sysmem){.total_bytes = (uint64_t)64 << 30,
                           .available_bytes = available_mib << 20,
                           .group_limit_bytes = SYSMEM_UNKNOWN,
                           .group_free_bytes = SYSMEM_UNKNOWN};
}

static void expect_refused(const struct gguf *g, const struct engine_options *o,
                           const struct sysmem *machine, const char *words)
{
    struct error e = {0};
    assert_false(memory_plan_check(g, o, machine, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    if (!strstr(e.message, words)) {
        fail_msg("\"%s\" lacks \"%s\"", e.message, words);
    }
}

static void test_parts_add_up(void **state)
{
    (void)state;
    char path[4096], text[MEMORY_PLAN_TEXT_BYTES];
    struct error e = {0};
    struct memory_plan p, q;
    save_larger(path);
    struct gguf *g = gguf_open(path, &e);
    struct engine_options o = {.context_size = 4096, .n_threads = 2, .batch_size = 64};
    assert_true(memory_plan_make(g, &o, &p, &e));
    assert_int_equal(p.total_bytes, p.weights_bytes + p.kv_bytes + p.scratch_bytes +
                                        p.logits_bytes + p.vocabulary_bytes + p.program_bytes);
    /* 4 layers, keys and values, 4 heads of 64 */
    assert_int_equal(p.kv_bytes, 4096 * 4 * 2 * 256 * 4);
    assert_int_equal(p.batch_size, 64);
    uint64_t weights = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        weights += gguf_tensor_at(g, i)->size_bytes;
    }
    assert_int_equal(p.weights_bytes, weights);
    const char *begin = "weights 20.5 MiB, keys and values of 4096 tokens (f32) 32.0 MiB, working "
                        "memory ";
    assert_int_equal(strncmp(memory_plan_text(&p, text), begin, strlen(begin)), 0);
    assert_non_null(strstr(text, " MiB, program and vocabulary "));
    o.kv_type = MODEL_KV_F16;
    o.n_sequences = 3;
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_int_equal(q.kv_bytes, p.kv_bytes / 2 * 3);
    assert_int_equal(q.scratch_bytes, p.scratch_bytes);
    /* A context of 0 is the model's own, at most 4096; one of a few tokens takes a page. */
    o = (struct engine_options){.context_size = 0};
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_int_equal(q.context_size, 4096);
    o.context_size = 3;
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_int_equal(q.kv_bytes, p.kv_bytes / 32);
    assert_int_equal(q.batch_size, 3);
    /* Nothing that can be asked for overflows. */
    o = (struct engine_options){.context_size = MODEL_MAX_CONTEXT, .n_sequences = UINT32_MAX};
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_true(q.total_bytes > (uint64_t)1 << 60);
    o.context_size++;
    assert_false(memory_plan_make(g, &o, &q, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    o = (struct engine_options){.batch_size = ENGINE_MAX_BATCH + 1};
    assert_false(memory_plan_make(g, &o, &q, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    gguf_close(g);
    unlink(path);
}

static void test_a_draft_model_is_counted(void **state)
{
    (void)state;
    char path[4096], small_path[4096], text[MEMORY_PLAN_TEXT_BYTES];
    struct error e = {0};
    struct memory_plan p, q, own;
    save_larger(path);
    save_model(1, small_path);
    struct gguf *g = gguf_open(path, &e), *small = gguf_open(small_path, &e);
    struct engine_options o = {.context_size = 2048, .n_threads = 2, .kv_type = MODEL_KV_F16};
    assert_true(memory_plan_make(g, &o, &p, &e));
    assert_int_equal(p.draft_bytes, 0);
    assert_null(strstr(memory_plan_text(&p, text), "draft"));
    o.draft = small;
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_non_null(strstr(memory_plan_text(&q, text), "draft model"));
    struct engine_options beside = engine_draft_options(&o, 2048);
    assert_true(memory_plan_make(small, &beside, &own, &e));
    assert_int_equal(own.context_size, 2048);
    assert_int_equal(q.draft_bytes, own.total_bytes - own.program_bytes);
    assert_int_equal(q.total_bytes, p.total_bytes + q.draft_bytes);
    /* A session more of it is its keys and values more, and its logits. */
    o.n_draft_sessions = 4;
    uint64_t one = q.draft_bytes;
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_true(q.draft_bytes > one + 3 * own.kv_bytes);
    /* Smaller contexts of the model are smaller ones of the draft model. */
    uint64_t room = q.total_bytes - 1;
    uint32_t fits = memory_plan_fit(g, &o, 2048, room);
    assert_in_range(fits, 1, 2047);
    o.context_size = fits;
    assert_true(memory_plan_make(g, &o, &q, &e));
    assert_true(q.total_bytes <= room);
    gguf_close(g);
    gguf_close(small);
    unlink(path);
    unlink(small_path);
}

/* As many whole contexts as are answered at once, as far as there is room; one in any case. */
static void test_pages_of_a_queue(void **state)
{
    (void)state;
    char path[4096], text[MEMORY_PLAN_TEXT_BYTES];
    struct error e = {0};
    struct memory_plan p, q;
    save_larger(path);
    struct gguf *g = gguf_open(path, &e);
    struct engine_options o = {.context_size = 1024,
                               .n_threads = 2,
                               .batch_size = 64,
                               .kv_type = MODEL_KV_F16,
                               .n_running = 64};
    struct sysmem machine = machine_of(4096);
    assert_true(memory_plan_make(g, &o, &p, &e));
    assert_int_equal(p.n_pages, 8);
    assert_int_equal(p.kv_bytes, 9 * p.page_bytes);
    q = p;
    memory_plan_fill(&q, SYSMEM_UNKNOWN, &machine);
    assert_int_equal(q.n_pages, 64 * 8);
    assert_int_equal(q.total_bytes, p.total_bytes + (64 * 8 - 8) * p.page_bytes);
    assert_non_null(strstr(memory_plan_text(&q, text), "of 65536 tokens for 64 answers at once"));
    for (uint64_t room = p.total_bytes; room < q.total_bytes; room += 3 * p.page_bytes - 1) {
        struct memory_plan r = p;
        memory_plan_fill(&r, room, &machine);
        assert_true(r.total_bytes <= room && room - r.total_bytes < p.page_bytes);
    }
    machine.total_bytes = 400 * p.page_bytes; /* a quarter of it */
    memory_plan_fill(&q, SYSMEM_UNKNOWN, &machine);
    assert_int_equal(q.n_pages, 100);
    memory_plan_fill(&p, 1 << 20, &machine);
    assert_int_equal(p.n_pages, 8);
    /* The least that is too much is less with fewer answers, which the advice says. */
    o.memory_bytes = p.total_bytes - 1;
    machine = machine_of(4096);
    assert_false(memory_plan_check(g, &o, &machine, &e));
    const char *advice = strstr(e.message, "--parallel ");
    assert_non_null(advice);
    o.n_running = (uint32_t)atoi(advice + strlen("--parallel "));
    assert_in_range(o.n_running, 1, 63);
    assert_true(memory_plan_check(g, &o, &machine, &e));
    o.n_running++;
    assert_false(memory_plan_check(g, &o, &machine, &e));
    gguf_close(g);
    unlink(path);
}

static void test_adapters_are_counted(void **state)
{
    (void)state;
    char path[4096], text[MEMORY_PLAN_TEXT_BYTES];
    struct error e = {0};
    struct memory_plan p, q;
    save_larger(path);
    struct gguf *g = gguf_open(path, &e);
    struct engine_options o = {.context_size = 512, .n_threads = 2};
    struct sysmem large = machine_of(4096);
    assert_true(memory_plan_make(g, &o, &p, &e));
    assert_null(strstr(memory_plan_text(&p, text), "adapters"));
    o.adapters_bytes = 12 << 20;
    assert_true(memory_plan_make(g, &o, &q, &e));
    /* With them tile units have no feed-forward part to themselves. */
    assert_true(q.scratch_bytes >= p.scratch_bytes);
    assert_int_equal(q.total_bytes - q.scratch_bytes, p.total_bytes - p.scratch_bytes + (12 << 20));
    assert_non_null(strstr(memory_plan_text(&q, text), ", adapters 12.0 MiB, "));
    o.memory_bytes = q.total_bytes;
    assert_true(memory_plan_check(g, &o, &large, &e));
    o.memory_bytes = 30 << 20;
    expect_refused(g, &o, &large, "weights and adapters alone are more");
    gguf_close(g);
    unlink(path);
}

static void test_the_largest_that_fits(void **state)
{
    (void)state;
    char path[4096];
    struct error e = {0};
    struct memory_plan p;
    save_larger(path);
    struct gguf *g = gguf_open(path, &e);
    struct engine_options o = {.n_threads = 2};
    for (uint64_t mib = 20; mib < 120; mib += 7) {
        uint32_t n = memory_plan_fit(g, &o, 8000, mib << 20);
        struct engine_options with = o;
        assert_true(n == 8000 || n % MODEL_PAGE_POSITIONS == 0);
        if (n) {
            with.context_size = n;
            assert_true(memory_plan_make(g, &with, &p, &e));
            assert_true(p.total_bytes <= mib << 20);
        }
        if (n < 8000) {
            with.context_size = n + MODEL_PAGE_POSITIONS < 8000 ? n + MODEL_PAGE_POSITIONS : 8000;
            assert_true(memory_plan_make(g, &with, &p, &e));
            assert_true(p.total_bytes > mib << 20);
        }
    }
    assert_int_equal(memory_plan_fit(g, &o, 8000, 1 << 20), 0);
    assert_int_equal(memory_plan_fit(g, &o, 8000, UINT64_MAX), 8000);
    gguf_close(g);
    unlink(path);
}

static void test_refusals(void **state)
{
    (void)state;
    char path[4096];
    struct error e = {0};
    save_larger(path);
    struct gguf *g = gguf_open(path, &e);
    /* 20.5 MiB of weights, 64 MiB of keys and values as f32 */
    struct engine_options o = {.context_size = 8192, .n_threads = 2, .batch_size = 64};
    struct sysmem large = machine_of(4096), m = machine_of(60);
    assert_true(memory_plan_check(g, &o, &large, &e));
    expect_refused(g, &o, &m, "the machine has 60.0 MiB available: --kv-type q8_0 fits, or");
    expect_refused(g, &o, &m, "(--memory none tries it all the same)");
    expect_refused(g, &o, &m, "keys and values of 8192 tokens (f32) 64.0 MiB");
    o.memory_bytes = ENGINE_MEMORY_ANY;
    assert_true(memory_plan_check(g, &o, &m, &e));
    o.memory_bytes = 70 << 20;
    expect_refused(g, &o, &large,
                   "--memory allows 70.0 MiB: --kv-type f16 fits, or --context-size ");
    expect_refused(g, &o, &m, "the machine has 60.0 MiB"); /* the less of both */
    o.memory_bytes = 42 << 20;
    expect_refused(g, &o, &large, "fits, or --context-size ");
    expect_refused(g, &o, &large, "with --kv-type q8_0");
    o.kv_type = MODEL_KV_Q8_0;
    expect_refused(g, &o, &large, "MiB: --context-size ");
    o.memory_bytes = 25 << 20;
    expect_refused(g, &o, &large, "not even a context of 128 tokens fits");
    o.memory_bytes = 20 << 20;
    expect_refused(g, &o, &large, "the weights alone are more");
    o.memory_bytes = 0;
    large.group_limit_bytes = 100 << 20;
    large.group_free_bytes = 30 << 20;
    expect_refused(g, &o, &large, "its control group has 30.0 MiB left of 100 MiB");
    m = (struct sysmem){SYSMEM_UNKNOWN, SYSMEM_UNKNOWN, SYSMEM_UNKNOWN, SYSMEM_UNKNOWN};
    assert_true(memory_plan_check(g, &o, &m, &e)); /* a system that tells nothing */
    /* What the advice says does fit. */
    o = (struct engine_options){.context_size = 8192, .n_threads = 2, .memory_bytes = 60 << 20};
    assert_false(memory_plan_check(g, &o, &large, &e));
    /* With a draft model there is less room. */
    large = machine_of(4096);
    o = (struct engine_options){
        .context_size = 128, .n_threads = 1, .batch_size = 32, .memory_bytes = 40 << 20};
    if (!memory_plan_check(g, &o, &large, &e)) {
        fail_msg("%s", e.message);
    }
    o.draft = g;
    expect_refused(g, &o, &large, "the weights of both models alone are more");
    o.memory_bytes = 60 << 20;
    o.context_size = 8192;
    expect_refused(g, &o, &large, ", draft model ");
    expect_refused(g, &o, &large, "--context-size ");
    o = (struct engine_options){.context_size = 8192, .n_threads = 2, .memory_bytes = 60 << 20};
    gguf_close(g);
    /* The engine says it before it loads, and names the file. */
    assert_null(engine_open(path, &o, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_int_equal(strncmp(e.message, path, strlen(path)), 0);
    unlink(path);
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "peak") == 0) {
        return peak(argv + 2);
    }
    if (argc == 8 && strcmp(argv[1], "pair") == 0) {
        return pair(argv + 2, false);
    }
    if (argc == 8 && strcmp(argv[1], "crowd") == 0) {
        return pair(argv + 2, true);
    }
    if (argc != 3) {
        fprintf(stderr, "usage: test_plan GOLDEN STARTER\n");
        return 2;
    }
    own_path = argv[0];
    golden_folder = argv[1];
    starter_path = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_weights_are_touched),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_the_largest_that_fits),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_golden_models),
        cmocka_unit_test(test_starter),
        cmocka_unit_test(test_larger_model),
        cmocka_unit_test(test_with_a_draft_model),
        cmocka_unit_test(test_a_draft_model_is_counted),
        cmocka_unit_test(test_a_queue),
        cmocka_unit_test(test_pages_of_a_queue),
        cmocka_unit_test(test_adapters_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
