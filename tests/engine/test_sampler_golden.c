/* What llama.cpp's samplers leave of the same logits (golden/make_samplers.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

static const char *golden_path, *model_path;
static struct engine *engine;
static json_t *rows;

/* The rule of make_samplers.py. */
static void make_logits(uint32_t number, size_t n, float *logits)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t h = number * 1000003u + (uint32_t)i;
        for (int k = 0; k < 2; k++) {
            h = (h ^ h >> 16) * 0x45D9F3Bu;
        }
        h ^= h >> 16;
        double x = ((double)(h % 20001) - 10000) / 2000;
        logits[i] = (float)(h % 9 == 0 ? x * 2 : x);
    }
}

/* The logarithms that are expected, NAN for tokens that are cut. */
static void make_expected(const json_t *row, const float *logits, size_t n, double *expected)
{
    const json_t *shift = json_object_get(row, "shift");
    json_t *pair;
    size_t k;
    for (size_t i = 0; i < n; i++) {
        expected[i] = shift ? (double)logits[i] + json_number_value(shift) : (double)NAN;
    }
    json_array_foreach(json_object_get(row, "left"), k, pair)
    {
        expected[json_integer_value(json_array_get(pair, 0))] =
            json_number_value(json_array_get(pair, 1));
    }
}

static bool is_near(double a, double b)
{
    bool far = a < -1e30 && b < -1e30; /* DRY's penalty overflows: only so much is certain */
    return far || fabs(a - b) <= 2e-5 + 2e-5 * fabs(b);
}

static void check_row(const json_t *row)
{
    const json_t *options = json_object_get(row, "options"), *ids = json_object_get(row, "recent");
    size_t n = (size_t)json_integer_value(json_object_get(row, "n"));
    int number = (int)json_integer_value(json_object_get(row, "case"));
    size_t n_recent = json_array_size(ids);
    float *logits = mem_array(n, sizeof *logits);
    double *expected = mem_array(n, sizeof *expected);
    int32_t *recent = mem_array(n_recent + 1, sizeof *recent);
    struct token_logprob *top = mem_array(n, sizeof *top);
    for (size_t i = 0; i < n_recent; i++) {
        recent[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    }
    make_logits((uint32_t)number, n, logits);
    make_expected(row, logits, n, expected);

    struct sampling how;
    struct arena *arena = arena_new();
    struct error e = {0};
    sampling_off(&how);
    if (!sampling_from_json(options, &how, arena, &e) || !sampling_check(&how, n, &e)) {
        fail_msg("case %d: %s", number, e.message);
    }
    struct sampler_room *room = sampler_room_new(n);
    struct sampler *s = sampler_new(&how, engine_tokenizer(engine), room);
    int32_t id = sampler_next(s, logits, recent, n_recent, NULL);
    float of_id;
    size_t n_left = sampler_logprobs(s, id, &of_id, n, top), n_expected = 0;
    for (size_t i = 0; i < n; i++) {
        n_expected += !isnan(expected[i]);
    }
    if (n_left != n_expected) {
        fail_msg("case %d: %zu tokens are left, expected %zu", number, n_left, n_expected);
    }
    bool found = false;
    for (size_t i = 0; i < n_left; i++) {
        double want = expected[top[i].id], have = (double)top[i].logprob;
        if (isnan(want) || !is_near(have, want)) {
            fail_msg("case %d: token %d has %.7g, expected %.7g", number, (int)top[i].id, have,
                     want);
        }
        if (i > 0 && top[i].logprob > top[i - 1].logprob) {
            fail_msg("case %d: the tokens are not in order", number);
        }
        found = found || (top[i].id == id && top[i].logprob == of_id);
    }
    if (!found) { /* the choice is among what is left, and as likely */
        fail_msg("case %d: token %d was chosen, with %.9g", number, (int)id, (double)of_id);
    }
    sampler_free(s);
    sampler_room_free(room);
    arena_free(arena);
    free(top);
    free(recent);
    free(expected);
    free(logits);
}

static void test_llama_cpp(void **state)
{
    (void)state;
    json_t *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        check_row(row);
    }
    assert_true(json_array_size(rows) > 100);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s samplers.json starter.gguf\n", argv[0]);
        return 2;
    }
    struct error e = {0};
    json_error_t where;
    golden_path = argv[1];
    model_path = argv[2];
    rows = json_load_file(golden_path, 0, &where);
    engine = engine_open(model_path, &(struct engine_options){.n_threads = 1}, &e);
    if (!rows || !engine) {
        fprintf(stderr, "%s\n", rows ? e.message : where.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_llama_cpp)};
    int failed = cmocka_run_group_tests_name("sampler golden", tests, NULL, NULL);
    engine_close(engine);
    json_decref(rows);
    return failed;
}
