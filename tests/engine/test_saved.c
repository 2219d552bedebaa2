/* Keys and values to a file and back: in another process, into queues and sessions; and files that
 * are damaged or were made for something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "engine_models.h"
#include "queue_client.h"
#include "tiny_model.h"

enum { PAGE = MODEL_PAGE_POSITIONS, CONTEXT = 4 * PAGE, N_PROMPT = 2 * PAGE + 30 };

static char folder[4096];

static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

static const char *file_in_folder(const char *name, char out[4096])
{
    snprintf(out, 4096, "%.4000s/%s", folder, name);
    return out;
}

static struct engine *open_model(uint64_t seed, enum model_kv_type kv, uint32_t context_size)
{
    struct arena *a = arena_new();
    struct tiny t = tiny_even(TENSOR_F32);
    t.head_dim = t.n_rot = 32;
    t.n_vocab = N_ROWS;
    t.n_context = CONTEXT;
    t.seed = seed;
    struct engine *en = engine_model_from(
        tiny_writer(&t, a),
        &(struct engine_options){.n_threads = 1, .kv_type = kv, .context_size = context_size});
    arena_free(a);
    return en;
}

static void make_prompt(int32_t ids[N_PROMPT])
{
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < N_PROMPT; i++) {
        ids[i] = (int32_t)rng_below(&r, N_TOKENS);
    }
}

static void answer(struct queue *q, struct client *c, const int32_t *prompt)
{
    struct request_options r = client_request(c, prompt, N_PROMPT);
    r.how.max_tokens = 12;
    r.how.ignore_end = true;
    client_submit(q, &r);
    client_run(q);
    assert_int_equal(c->n, 12);
}

/* Runs in another process. */
static void in_child(void (*what)(const char *path), const char *path)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        what(path);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void save_a_prefix(const char *path)
{
    struct error e = {0};
    int32_t prompt[N_PROMPT];
    uint32_t n_saved = 0;
    make_prompt(prompt);
    struct engine *en = open_model(1, MODEL_KV_F16, 0);
    struct queue *q = queue_new(en, NULL, &e);
    struct client *c = mem_zalloc(sizeof *c);
    answer(q, c, prompt);
    if (!queue_save(q, 0, prompt, N_PROMPT, path, &n_saved, &e) || n_saved != N_PROMPT) {
        fprintf(stderr, "%s\n", e.message);
        _exit(1);
    }
    free(c);
    queue_free(q);
    engine_close(en);
}

static void test_a_prefix(void **state)
{
    (void)state;
    char path[4096], other[4096];
    struct error e = {0};
    int32_t prompt[N_PROMPT];
    uint32_t n = 0;
    make_prompt(prompt);
    in_child(save_a_prefix, file_in_folder("prefix", path));
    struct engine *en = open_model(1, MODEL_KV_F16, 0);
    struct client *c = mem_zalloc(3 * sizeof *c);
    struct queue *q = queue_new(en, NULL, &e);
    answer(q, &c[0], prompt);
    queue_free(q);
    q = queue_new(en, NULL, &e);
    must(queue_restore(q, 0, path, &n, &e), &e);
    assert_int_equal(n, N_PROMPT);
    answer(q, &c[1], prompt);
    assert_int_equal(c[1].figures.stats.n_reused, N_PROMPT - 1);
    assert_true(client_same(&c[0], &c[1]));
    /* Once more changes nothing; a part of it can be saved; what is not there cannot. */
    must(queue_restore(q, 0, path, &n, &e), &e);
    answer(q, &c[2], prompt);
    assert_true(client_same(&c[0], &c[2]));
    must(queue_save(q, 0, prompt, PAGE + 7, file_in_folder("part", other), &n, &e), &e);
    assert_int_equal(n, PAGE + 7);
    assert_false(queue_save(q, 5, prompt, N_PROMPT, other, &n, &e));
    assert_int_equal(e.code, ERROR_INPUT);
    assert_false(queue_save(q, 0, prompt, N_PROMPT, "/no/such/folder/x", &n, &e));
    assert_int_equal(e.code, ERROR_IO);
    queue_free(q);
    /* The same prefix gives the same file, whoever computed it. */
    struct file_map a, b;
    q = queue_new(en, NULL, &e);
    must(queue_restore(q, 0, path, &n, &e), &e);
    must(queue_save(q, 0, prompt, N_PROMPT, file_in_folder("again", other), &n, &e), &e);
    assert_true(file_map_open(path, &a, &e) && file_map_open(other, &b, &e));
    assert_int_equal(a.size_bytes, b.size_bytes);
    assert_memory_equal(a.data, b.data, a.size_bytes);
    file_map_close(&a);
    file_map_close(&b);
    queue_free(q);
    free(c);
    engine_close(en);
}

/* A session goes on as if it had never left, generated tokens and all. */
static void test_a_session(void **state)
{
    (void)state;
    char path[4096];
    struct error e = {0};
    int32_t prompt[N_PROMPT];
    make_prompt(prompt);
    struct engine *en = open_model(1, MODEL_KV_Q8_0, 0);
    struct session *s = session_new(en, &e), *back = session_new(en, &e);
    assert_false(session_save(s, NULL, 0, file_in_folder("session", path), &e));
    must(session_prefill(s, prompt, 100, NULL, NULL, NULL, &e), &e);
    for (size_t i = 0; i < 60; i++) {
        must(session_decode(s, prompt[100 + i], &e), &e);
    }
    static const char note[] = "what was said, \0 and more";
    struct buf found;
    buf_init(&found, 1 << 10);
    must(session_save(s, note, sizeof note, path, &e), &e);
    must(session_prefill(back, prompt + 5, 20, NULL, NULL, NULL, &e), &e);
    must(session_restore(back, path, &found, &e), &e);
    assert_int_equal(found.len, sizeof note);
    assert_memory_equal(found.data, note, sizeof note);
    buf_free(&found);
    assert_int_equal(session_count(back), 160);
    for (size_t i = 160; i < 170; i++) {
        must(session_decode(s, prompt[i], &e), &e);
        must(session_decode(back, prompt[i], &e), &e);
        assert_memory_equal(session_logits(s), session_logits(back), N_ROWS * sizeof(float));
    }
    uint32_t reused[2];
    must(session_prefill(s, prompt, N_PROMPT, &reused[0], NULL, NULL, &e), &e);
    must(session_prefill(back, prompt, N_PROMPT, &reused[1], NULL, NULL, &e), &e);
    assert_int_equal(reused[0], reused[1]);
    assert_memory_equal(session_logits(s), session_logits(back), N_ROWS * sizeof(float));
    /* A queue takes of it what was given. */
    struct queue *q = queue_new(en, NULL, &e);
    uint32_t n = 0;
    must(queue_restore(q, 0, path, &n, &e), &e);
    assert_int_equal(n, model_phases_differ(kernels_select()) ? 100 : 160);
    queue_free(q);
    session_free(s);
    session_free(back);
    engine_close(en);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void expect_refusal(struct queue *q, uint64_t key, const char *path, enum error_code code,
                           const char *words)
{
    struct error e = {0};
    struct queue_figures before, after;
    uint32_t n = 77;
    queue_step(q);
    queue_figures(q, &before);
    assert_false(queue_restore(q, key, path, &n, &e));
    if (e.code != code || !strstr(e.message, words) || !strstr(e.message, path) ||
        strchr(e.message, '\n')) {
        fail_msg("expected \"%s\", got code %d: %s", words, e.code, e.message);
    }
    assert_int_equal(n, 77);
    queue_step(q);
    queue_figures(q, &after);
    assert_int_equal(before.n_free, after.n_free);
    assert_int_equal(before.n_cached, after.n_cached);
}

static void test_damaged_files(void **state)
{
    (void)state;
    char path[4096], damaged[4096];
    struct error e = {0};
    struct file_map whole;
    struct rng r;
    rng_seed(&r, 3);
    in_child(save_a_prefix, file_in_folder("whole", path));
    file_in_folder("damaged", damaged);
    assert_true(file_map_open(path, &whole, &e));
    struct engine *en = open_model(1, MODEL_KV_F16, 0);
    struct queue *q = queue_new(en, NULL, &e);
    uint8_t *copy = mem_alloc(whole.size_bytes + 64);
    size_t n_tries = getenv("LLLM_SOAK") ? 3000 : 200;
    for (size_t i = 0; i < n_tries; i++) {
        size_t n = whole.size_bytes, at = i < 128 ? i : rng_below(&r, n);
        memcpy(copy, whole.data, n);
        memset(copy + n, 0, 64);
        if (i % 5 == 4) {
            n = i < 128 ? i : i % 2 ? at : n + 32; /* cut, or longer */
        } else {
            copy[at] ^= (uint8_t)(1u << rng_below(&r, 8));
        }
        assert_true(file_write_atomic(damaged, copy, n, &e));
        bool header = n < 160 || at < 8, version = i % 5 != 4 && at >= 8 && at < 12;
        expect_refusal(q, 0, damaged, ERROR_INPUT,
                       header    ? "is not a saved session"
                       : version ? "of version"
                                 : "is damaged");
    }
    expect_refusal(q, 0, "no-such-file", ERROR_IO, "no-such-file");
    expect_refusal(q, 0, folder, ERROR_IO, "is a folder");
    uint32_t n = 0;
    must(queue_restore(q, 0, path, &n, &e), &e);
    free(copy);
    file_map_close(&whole);
    queue_free(q);
    engine_close(en);
}

static void refuse_with(struct engine *en, uint64_t key, const char *path, enum error_code code,
                        const char *words)
{
    struct error e = {0};
    struct queue *q = queue_new(en, NULL, &e);
    assert_non_null(q);
    expect_refusal(q, key, path, code, words);
    queue_free(q);
    engine_close(en);
}

static void test_foreign_files(void **state)
{
    (void)state;
    char path[4096];
    in_child(save_a_prefix, file_in_folder("foreign", path));
    refuse_with(open_model(2, MODEL_KV_F16, 0), 0, path, ERROR_INPUT, "another model");
    refuse_with(open_model(1, MODEL_KV_F16, 0), 3, path, ERROR_INPUT, "another adapter");
    refuse_with(open_model(1, MODEL_KV_F32, 0), 0, path, ERROR_INPUT,
                "keys and values in f16, and here they are in f32");
    refuse_with(open_model(1, MODEL_KV_F16, PAGE), 0, path, ERROR_LIMIT,
                "has 286 tokens and the context holds 128");
    const char *usual = kernels_select()->name;
    assert_true(cpu_set_mask("none", NULL));
    if (strcmp(kernels_select()->name, usual) != 0) {
        refuse_with(open_model(1, MODEL_KV_F16, 0), 0, path, ERROR_INPUT, "has \"ref\"");
    }
    assert_true(cpu_set_mask("all", NULL));
}

int main(void)
{
    tiny_in_memory();
    const char *where = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/lllm-saved-XXXXXX", where && *where ? where : "/tmp");
    if (!mkdtemp(folder)) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_prefix),
        cmocka_unit_test(test_a_session),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_foreign_files),
    };
    int failed = cmocka_run_group_tests_name("saved", tests, NULL, NULL);
    static const char *const names[] = {"prefix",  "part",  "again",  "session",
                                        "damaged", "whole", "foreign"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4096];
        unlink(file_in_folder(names[i], path));
    }
    rmdir(folder);
    return failed;
}
