/* Options, masks, biases, random numbers, forks and log-probabilities of the samplers. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/sampling.h"

enum { N = 200, N_WORDS = (N + 31) / 32 };

static void random_logits(uint64_t seed, float *logits, size_t n)
{
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < n; i++) {
        logits[i] = (float)rng_normal(&r) * 2;
    }
}

/* ---- the mask -------------------------------------------------------------------------------- */

static void test_mask(void **state)
{
    (void)state;
    float logits[N];
    random_logits(1, logits, N);
    struct sampling how;
    struct sampler_room *room = sampler_room_new(N);
    for (int greedy = 0; greedy < 2; greedy++) {
        sampling_defaults(&how);
        how.temperature = greedy ? 0 : 1;
        struct sampler *s = sampler_new(&how, NULL, room);
        for (int32_t only = 0; only < N; only++) {
            uint32_t mask[N_WORDS] = {0};
            mask[only / 32] = (uint32_t)1 << (only % 32);
            assert_int_equal(sampler_next(s, logits, NULL, 0, mask), only);
            float p;
            struct token_logprob top[4];
            assert_int_equal(sampler_logprobs(s, only, &p, 4, top), 1);
            assert_true(p == 0 && top[0].id == only && top[0].logprob == 0);
        }
        /* Bits behind the vocabulary mean nothing. */
        uint32_t none[N_WORDS] = {0};
        none[N_WORDS - 1] = ~(uint32_t)0 << (N % 32);
        assert_int_equal(sampler_next(s, logits, NULL, 0, none), SAMPLER_NOTHING);
        /* Allowed, but nothing above -inf: the lowest that is allowed. */
        float low[N];
        for (int i = 0; i < N; i++) {
            low[i] = i % 2 ? -INFINITY : NAN;
        }
        uint32_t some[N_WORDS] = {0};
        some[3] = 0x50;
        assert_int_equal(sampler_next(s, low, NULL, 0, some), 3 * 32 + 4);
        assert_int_equal(sampler_next(s, low, NULL, 0, NULL), 0);
        float p;
        struct token_logprob top[1];
        assert_int_equal(sampler_logprobs(s, 0, &p, 1, top), 0);
        assert_true(isinf(p) && p < 0);
        sampler_free(s);
    }
    sampler_room_free(room);
}

/* -inf is never, also where nothing else is allowed; a number is a weight. The mask comes before
 * all cuts, so that none of them empties it. */
static void test_forbidden(void **state)
{
    (void)state;
    float logits[N], low[N];
    random_logits(7, logits, N);
    for (int i = 0; i < N; i++) {
        low[i] = NAN;
    }
    struct sampler_room *room = sampler_room_new(N);
    for (int kind = 0; kind < 5; kind++) {
        struct sampling how;
        sampling_defaults(&how);
        how.top_k = 1;
        how.top_p = 0.01f;
        how.min_p = 0.99f;
        how.temperature = kind ? 1 : 0;
        how.mirostat = kind == 2 ? 2 : 0;
        how.typical_p = kind == 3 ? 0.01f : 1;
        how.xtc_probability = kind == 4 ? 1 : 0;
        for (int32_t at = 0; at + 1 < N; at += 7) {
            uint32_t mask[N_WORDS] = {0};
            mask[at / 32] |= (uint32_t)1 << (at % 32);
            mask[(at + 1) / 32] |= (uint32_t)1 << ((at + 1) % 32);
            struct logit_bias bias[] = {{at, -INFINITY}, {at + 1, -100}, {at, 5}};
            how.bias = bias;
            how.n_bias = 3;
            struct sampler *s = sampler_new(&how, NULL, room);
            assert_int_equal(sampler_next(s, logits, NULL, 0, mask), at + 1);
            assert_int_equal(sampler_next(s, low, NULL, 0, mask), at + 1);
            mask[(at + 1) / 32] &= ~((uint32_t)1 << ((at + 1) % 32));
            assert_int_equal(sampler_next(s, logits, NULL, 0, mask), SAMPLER_NOTHING);
            assert_int_equal(sampler_next(s, low, NULL, 0, mask), SAMPLER_NOTHING);
            assert_int_equal(sampler_next(s, low, NULL, 0, NULL), at == 0 ? 1 : 0);
            sampler_free(s);
            /* As little as a number can be is not never. */
            struct logit_bias least = {at, -FLT_MAX};
            how.bias = &least;
            how.n_bias = 1;
            low[at] = -FLT_MAX;
            s = sampler_new(&how, NULL, room);
            assert_int_equal(sampler_next(s, low, NULL, 0, NULL), at);
            low[at] = NAN;
            sampler_free(s);
        }
    }
    sampler_room_free(room);
}

/* A mask is the same as -inf in the logits. */
static void test_mask_is_minus_infinity(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 3);
    struct sampler_room *room = sampler_room_new(N);
    for (int round = 0; round < 100; round++) {
        float logits[N], banned[N];
        uint32_t mask[N_WORDS];
        random_logits((uint64_t)round, logits, N);
        for (int i = 0; i < N_WORDS; i++) {
            mask[i] = (uint32_t)(round % 3 == 0   ? rng_next(&r) & rng_next(&r) & rng_next(&r)
                                 : round % 3 == 1 ? rng_next(&r)
                                                  : rng_next(&r) | rng_next(&r));
        }
        mask[2] = round % 2 ? 0 : UINT32_MAX;
        mask[1] = UINT32_MAX;
        for (int i = 0; i < N; i++) {
            banned[i] = mask[i / 32] >> (i % 32) & 1 ? logits[i] : -INFINITY;
        }
        struct sampling how;
        sampling_off(&how);
        how.seed = (uint64_t)round;
        how.top_p = round % 4 ? 0.9f : 1;
        struct sampler *a = sampler_new(&how, NULL, room), *b = sampler_new(&how, NULL, room);
        for (int i = 0; i < 20; i++) {
            int32_t x = sampler_next(a, logits, NULL, 0, mask);
            assert_int_equal(x, sampler_next(b, banned, NULL, 0, NULL));
        }
        sampler_free(a);
        sampler_free(b);
    }
    sampler_room_free(room);
}

/* ---- random numbers, forks ------------------------------------------------------------------- */

/* Everything that uses a random number, so that they could get out of step. */
static void lively(struct sampling *how)
{
    sampling_defaults(how);
    how->seed = UINT64_MAX - 5; /* all 64 bits count */
    how->temperature = 2;
    how->xtc_probability = 0.5f;
    how->repeat_penalty = 1.2f;
    how->dry_multiplier = 0.5f;
}

/* What is chosen now does not depend on what was chosen from before, but on how often. */
static void test_choices_depend_on_their_number(void **state)
{
    (void)state;
    enum { N_CHOICES = 40 };
    struct sampling how;
    lively(&how);
    struct sampler_room *room = sampler_room_new(N), *other = sampler_room_new(N);
    float a[N], b[N], narrow[N];
    int32_t recent[N_CHOICES], first[N_CHOICES];
    random_logits(5, a, N);
    random_logits(6, b, N);
    for (int i = 0; i < N; i++) {
        narrow[i] = i == 7 ? 50 : -50; /* one token is left */
    }
    struct sampler *s = sampler_new(&how, NULL, room);
    for (int i = 0; i < N_CHOICES; i++) {
        first[i] = sampler_next(s, a, recent, (size_t)i, NULL);
        recent[i] = first[i];
    }
    sampler_free(s);
    for (int from = 0; from < N_CHOICES; from += 7) {
        struct sampler *again = sampler_new(&how, NULL, other);
        for (int i = 0; i < from; i++) {
            sampler_next(again, i % 2 ? b : narrow, recent, (size_t)i / 2, NULL);
        }
        for (int i = from; i < N_CHOICES; i++) {
            assert_int_equal(sampler_next(again, a, recent, (size_t)i, NULL), first[i]);
        }
        sampler_free(again);
    }
    how.seed -= (uint64_t)1 << 63; /* another seed in its highest bit alone */
    struct sampler *changed = sampler_new(&how, NULL, other);
    int same = 0;
    for (int i = 0; i < N_CHOICES; i++) {
        same += sampler_next(changed, a, recent, (size_t)i, NULL) == first[i];
    }
    assert_true(same < N_CHOICES / 2);
    sampler_free(changed);
    sampler_room_free(room);
    sampler_room_free(other);
}

static void test_forks(void **state)
{
    (void)state;
    struct sampler_room *room = sampler_room_new(N), *other = sampler_room_new(N);
    for (uint32_t mirostat = 0; mirostat < 4; mirostat++) {
        struct sampling how;
        lively(&how);
        struct logit_bias bias = {3, -INFINITY};
        how.mirostat = mirostat % 3;
        how.mirostat_tau = 3;
        how.adaptive_target = mirostat == 3 ? 0.2f : 0;
        how.bias = &bias;
        how.n_bias = 1;
        struct sampler *s = sampler_new(&how, NULL, room);
        bias.id = 4; /* the sampler has its own */
        float logits[N];
        for (uint64_t i = 0; i < 10; i++) {
            random_logits(i, logits, N);
            sampler_next(s, logits, NULL, 0, NULL);
        }
        struct sampler *fork = sampler_copy(s, other);
        for (uint64_t i = 10; i < 60; i++) {
            random_logits(i, logits, N);
            logits[3] = 100;
            int32_t x = sampler_next(s, logits, NULL, 0, NULL);
            assert_int_equal(x, sampler_next(fork, logits, NULL, 0, NULL));
            assert_int_not_equal(x, 3);
        }
        sampler_free(s);
        sampler_free(fork);
    }
    sampler_room_free(room);
    sampler_room_free(other);
}

/* ---- mirostat and adaptive_p over several choices -------------------------------------------- */

/* The surprise of what is drawn comes to the target, on a distribution that allows it. */
static void test_mirostat_holds_its_target(void **state)
{
    (void)state;
    enum { N_TOKENS = 2000, N_DRAWS = 1500 };
    float *logits = mem_array(N_TOKENS, sizeof *logits);
    struct sampler_room *room = sampler_room_new(N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++) {
        logits[i] = -1.1f * logf((float)i + 1); /* Zipf */
    }
    for (uint32_t version = 1; version <= 2; version++) {
        for (float tau = 2; tau < 5; tau += 1) {
            struct sampling how;
            sampling_off(&how);
            how.mirostat = version;
            how.mirostat_tau = tau;
            how.mirostat_eta = 0.1f;
            struct sampler *s = sampler_new(&how, NULL, room);
            double mean = 0;
            for (int i = 0; i < N_DRAWS; i++) {
                float p;
                int32_t id = sampler_next(s, logits, NULL, 0, NULL);
                sampler_logprobs(s, id, &p, 0, NULL);
                mean += i < 100 ? 0 : -(double)p / log(2) / (N_DRAWS - 100);
            }
            if (fabs(mean - (double)tau) > 0.1) {
                fail_msg("mirostat %u has a surprise of %g, expected %g", (unsigned)version, mean,
                         (double)tau);
            }
            sampler_free(s);
        }
    }
    sampler_room_free(room);
    free(logits);
}

static void test_adaptive_holds_its_target(void **state)
{
    (void)state;
    enum { N_DRAWS = 2000 };
    struct sampler_room *room = sampler_room_new(N);
    for (float target = 0.2f; target < 0.7f; target += 0.2f) {
        struct sampling how;
        sampling_off(&how);
        how.min_p = 0.02f;
        how.adaptive_target = target;
        how.adaptive_decay = 0.9f;
        struct sampler *s = sampler_new(&how, NULL, room);
        double mean = 0;
        for (uint64_t i = 0; i < N_DRAWS; i++) {
            float logits[N], p;
            random_logits(i, logits, N);
            for (int k = 0; k < N; k++) { /* a few likely tokens, more or less sure */
                logits[k] = k < 6 ? logits[k] : -20;
            }
            int32_t id = sampler_next(s, logits, NULL, 0, NULL);
            logits_logprobs(logits, N, id, &p, 0, NULL);
            mean += exp((double)p) / N_DRAWS;
        }
        if (fabs(mean - (double)target) > 0.07) {
            fail_msg("the mean probability is %g, expected %g", mean, (double)target);
        }
        sampler_free(s);
    }
    sampler_room_free(room);
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

static void test_logprobs(void **state)
{
    (void)state;
    for (size_t n = 1; n <= N; n += 33) {
        float logits[N];
        random_logits(n, logits, n);
        if (n > 40) {
            logits[9] = NAN;
            logits[33] = -INFINITY;
            logits[35] = logits[36] = 9;
        }
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += isnan(logits[i]) ? 0 : exp((double)logits[i]);
        }
        float p;
        struct token_logprob top[N];
        assert_int_equal(logits_logprobs(logits, n, 0, &p, N, top), n);
        assert_true(fabs((double)p - ((double)logits[0] - log(sum))) < 1e-5);
        for (size_t i = 0; i < n; i++) {
            float x = logits[top[i].id];
            double want = isnan(x) ? -INFINITY : (double)x - log(sum);
            assert_true(want == (double)top[i].logprob ||
                        fabs(want - (double)top[i].logprob) < 1e-5);
            assert_true(i == 0 || top[i].logprob < top[i - 1].logprob ||
                        (top[i].logprob == top[i - 1].logprob && top[i].id > top[i - 1].id));
        }
        assert_int_equal(logits_logprobs(logits, n, (int32_t)n, &p, 3, top), n < 3 ? n : 3);
        assert_true(isinf(p) && p < 0);
    }
    const float infinite[] = {1, INFINITY, NAN, INFINITY};
    float p;
    struct token_logprob top[2];
    logits_logprobs(infinite, 4, 3, &p, 2, top);
    assert_true(fabs((double)p + log(2)) < 1e-6 && top[0].id == 1 && top[1].id == 3);
    const float nothing[] = {NAN, -INFINITY};
    logits_logprobs(nothing, 2, 1, &p, 2, top);
    assert_true(isinf(p) && p < 0);
}

/* Cut tokens have none, the others have what they were drawn with. */
static void test_logprobs_after(void **state)
{
    (void)state;
    const float logits[] = {2, 1, 0, 5, 3};
    struct sampling how;
    sampling_off(&how);
    how.top_k = 3;
    how.temperature = 0.5f;
    struct sampler_room *room = sampler_room_new(5);
    struct sampler *s = sampler_new(&how, NULL, room);
    sampler_next(s, logits, NULL, 0, NULL);
    float p;
    struct token_logprob top[5];
    assert_int_equal(sampler_logprobs(s, 1, &p, 5, top), 3);
    assert_true(isinf(p));
    double sum = exp(10) + exp(6) + exp(4);
    static const int32_t ids[] = {3, 4, 0};
    static const double doubled[] = {10, 6, 4};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(top[i].id, ids[i]);
        assert_true(fabs((double)top[i].logprob - (doubled[i] - log(sum))) < 1e-6);
    }
    assert_int_equal(sampler_logprobs(s, 4, &p, 0, NULL), 0);
    assert_true(p == top[1].logprob);
    sampler_free(s);
    sampler_room_free(room);
}

/* ---- options --------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    struct sampling s;
    struct error e = {0};
    struct buf text;
    buf_init(&text, 1000);
    sampling_defaults(&s);
    sampling_print_order(&s, &text);
    assert_string_equal(text.data, "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;"
                                   "temperature;adaptive_p");
    assert_true(sampling_parse_order("Temp, top-k;NUCLEUS;typical-p;;", &s, &e));
    buf_clear(&text);
    sampling_print_order(&s, &text);
    assert_string_equal(text.data, "temperature;top_k;top_p;typ_p");
    static const char *const wrong[][2] = {{"top_q", "no sampler \"top_q\""},
                                           {"top_k;top-k", "twice"},
                                           {" ; ", "no samplers"},
                                           {"adaptive_p;top_k", "last"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sampling before = s;
        assert_false(sampling_parse_order(wrong[i][0], &s, &e));
        assert_non_null(strstr(e.message, wrong[i][1]));
        assert_memory_equal(&before, &s, sizeof s);
    }
    buf_free(&text);
}

static bool from_json(const char *text, struct sampling *s, struct arena *arena, struct error *e)
{
    json_t *object = json_loads(text, JSON_ALLOW_NUL, NULL);
    assert_non_null(object);
    bool ok = sampling_from_json(object, s, arena, e);
    json_decref(object);
    return ok;
}

static void test_json(void **state)
{
    (void)state;
    struct sampling s;
    struct error e = {0};
    struct arena *arena = arena_new();
    sampling_defaults(&s);
    assert_true(from_json("{\"temperature\": 1, \"top_k\": 7.0, \"seed\": 9007199254740993, "
                          "\"repeat_last_n\": -1, \"min_p\": null, \"model\": \"x\", "
                          "\"logit_bias\": {\"15\": -1.5, \"7\": false}, "
                          "\"dry_sequence_breakers\": [\"a\", \"b\\n\"], "
                          "\"samplers\": [\"top_k\", \"temperature\"]}",
                          &s, arena, &e));
    assert_true(s.temperature == 1 && s.top_k == 7 && s.seed == 9007199254740993u);
    assert_true(s.repeat_last_n == SAMPLING_ALL && s.min_p == 0.05f);
    assert_true(s.n_bias == 2 && s.bias[0].id == 15 && s.bias[0].bias == -1.5f);
    assert_true(s.bias[1].id == 7 && isinf(s.bias[1].bias));
    assert_int_equal(s.n_dry_breakers, 2);
    assert_string_equal(s.dry_breakers[1], "b\n");
    assert_true(s.n_order == 2 && s.order[1] == SAMPLER_TEMPERATURE);
    assert_true(from_json("{\"logit_bias\": [[3, 2], [4, false]], \"samplers\": \"min_p\"}", &s,
                          arena, &e));
    assert_true(s.n_bias == 2 && s.bias[1].id == 4 && s.n_order == 1);
    static const char *const wrong[][2] = {
        {"{\"temperature\": \"hot\"}", "\"temperature\""},
        {"{\"temperature\": -1}", "between 0 and 100"},
        {"{\"top_k\": 1.5}", "whole"},
        {"{\"top_k\": -3}", "must be a whole number between 0 and 16777216"},
        {"{\"seed\": 1.5}", "\"seed\""},
        {"{\"logit_bias\": {\"x\": 1}}", "no token id"},
        {"{\"logit_bias\": {\"99999999999\": 1}}", "no token id"},
        {"{\"logit_bias\": {\"4000000000\": 1}}", "no token id"},
        {"{\"logit_bias\": {\"1\": \"a\"}}", "false for never"},
        {"{\"logit_bias\": [1]}", "pairs"},
        {"{\"logit_bias\": 1}", "object"},
        {"{\"dry_sequence_breakers\": [\"\"]}", "1 to 256"},
        {"{\"dry_sequence_breakers\": [\"a\\u0000b\"]}", "1 to 256"},
        {"{\"dry_sequence_breakers\": \"a\"}", "array"},
        {"{\"samplers\": [1]}", "names of samplers"},
        {"{\"samplers\": \"top_k;what\"}", "\"what\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sampling before = s;
        if (from_json(wrong[i][0], &s, arena, &e) || !strstr(e.message, wrong[i][1])) {
            fail_msg("%s: %s", wrong[i][0], e.message);
        }
        assert_memory_equal(&before, &s, sizeof s);
    }
    json_t *all = sampling_json(&s); /* and back */
    struct sampling again;
    sampling_off(&again);
    assert_true(sampling_from_json(all, &again, arena, &e));
    json_t *back = sampling_json(&again);
    assert_true(json_equal(all, back) && json_object_size(all) > 25);
    json_decref(all);
    json_decref(back);
    size_t n = 0;
    while (sampling_field(n)) {
        assert_true(sampling_knows(sampling_field(n++)));
    }
    assert_string_equal(sampling_field(n - 1), "samplers");
    assert_true(sampling_knows("top_p") && sampling_knows("samplers") && !sampling_knows("model"));
    arena_free(arena);
}

/* What a file recommends; out of range, or of another type, it is left alone. */
static void recommend(void (*fill)(struct gguf_writer *w), struct sampling *s)
{
    char path[] = "/tmp/lllm-sampling-XXXXXX";
    struct error e = {0};
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    fill(w);
    assert_true(gguf_writer_commit(w, path, &e));
    gguf_writer_free(w);
    struct gguf *g = gguf_open(path, &e);
    assert_non_null(g);
    sampling_recommended(g, s);
    gguf_close(g);
    unlink(path);
}

static void fill_good(struct gguf_writer *w)
{
    gguf_writer_f32(w, "general.sampling.temp", 0.6f);
    gguf_writer_i32(w, "general.sampling.top_k", 20);
    gguf_writer_f32(w, "general.sampling.xtc_probability", 0.5f);
    gguf_writer_i32(w, "general.sampling.penalty_last_n", -1);
    gguf_writer_i32(w, "general.sampling.mirostat", 2);
    gguf_writer_f32(w, "general.sampling.mirostat_tau", 4);
    gguf_writer_string(w, "general.sampling.sequence", "eikt", 4);
}

static void fill_bad(struct gguf_writer *w)
{
    gguf_writer_f32(w, "general.sampling.temp", NAN);
    gguf_writer_i32(w, "general.sampling.top_k", -3);
    gguf_writer_f32(w, "general.sampling.top_p", 1.5f);
    gguf_writer_string(w, "general.sampling.min_p", "0.3", 3);
    gguf_writer_u64(w, "general.sampling.penalty_last_n", UINT64_MAX);
    gguf_writer_string(w, "general.sampling.sequence", "ktk", 3);
}

static void test_recommended(void **state)
{
    (void)state;
    struct sampling s, before;
    sampling_defaults(&s);
    recommend(fill_good, &s);
    assert_true(s.temperature == 0.6f && s.top_k == 20 && s.top_p == 0.95f);
    assert_true(s.xtc_probability == 0.5f && s.repeat_last_n == SAMPLING_ALL);
    assert_true(s.mirostat == 2 && s.mirostat_tau == 4 && s.n_order == 3);
    assert_int_equal(s.order[0], SAMPLER_PENALTIES); /* the letter of infill is passed over */
    assert_int_equal(s.order[1], SAMPLER_TOP_K);
    sampling_defaults(&s);
    before = s;
    recommend(fill_bad, &s);
    assert_memory_equal(&before, &s, sizeof s);
}

static void test_checks(void **state)
{
    (void)state;
    struct sampling good, s;
    struct error e = {0};
    sampling_defaults(&good);
    struct logit_bias bias[] = {{10, 1}, {N, 1}, {-1, 1}, {1, NAN}, {1, INFINITY}};
    for (size_t i = 0; i < sizeof bias / sizeof *bias; i++) {
        s = good;
        s.bias = &bias[i];
        s.n_bias = 1;
        assert_int_equal(sampling_check(&s, N, &e), i == 0);
    }
    s = good;
    s.n_order = 2; /* the first sampler twice */
    assert_false(sampling_check(&s, N, &e));
    s.order[1] = N_SAMPLERS;
    assert_false(sampling_check(&s, N, &e));
    s = good;
    s.n_order = N_SAMPLERS + 1;
    assert_false(sampling_check(&s, N, &e));
    s = good;
    s.mirostat = 3;
    assert_false(sampling_check(&s, N, &e));
    assert_non_null(strstr(e.message, "mirostat"));
    s = good;
    s.adaptive_decay = 1;
    assert_false(sampling_check(&s, N, &e));
    s = (struct sampling){.temperature = 1, .top_p = 1, .repeat_penalty = 1}; /* zeros are off */
    assert_true(sampling_check(&s, N, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_mask_is_minus_infinity),
        cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_choices_depend_on_their_number),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_mirostat_holds_its_target),
        cmocka_unit_test(test_adaptive_holds_its_target),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_logprobs_after),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_recommended),
        cmocka_unit_test(test_checks),
    };
    return cmocka_run_group_tests_name("sampling", tests, NULL, NULL);
}
