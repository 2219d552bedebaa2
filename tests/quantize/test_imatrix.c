/* test_imatrix.c: importance matrices: files of both kinds, hostile ones, and gathering. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "quantize/quantize.h"
#include "tiny_model.h"

static char path[4200];

/* ---- files ----------------------------------------------------------------------------------- */

static struct imatrix *sample(void)
{
    struct error e = {0};
    struct imatrix *im = imatrix_new();
    float sums[6] = {1, 2, 3, 4, 5, 6}, counts[2] = {2, 0};
    assert_true(imatrix_add(im, "blk.1.ffn_down_exps.weight", 3, 2, sums, counts, 2, &e));
    assert_true(imatrix_add(im, "blk.0.attn_q.weight", 6, 1, sums, (float[]){10}, 1, &e));
    imatrix_describe(im, "text.txt", 7, 512);
    return im;
}

static void there_and_back(void **state)
{
    (void)state;
    struct error e = {0};
    struct imatrix *im = sample();
    assert_true(imatrix_save(im, path, &e));
    imatrix_free(im);
    im = imatrix_open(path, &e);
    if (!im) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(imatrix_count(im), 2);
    assert_string_equal(imatrix_at(im, 0)->name, "blk.0.attn_q.weight"); /* by name */
    assert_null(imatrix_at(im, 2));
    assert_string_equal(imatrix_dataset(im), "text.txt");
    assert_int_equal(imatrix_chunks(im), 7);
    assert_string_equal(imatrix_file(im), strrchr(path, '/') + 1);
    const struct imatrix_entry *t = imatrix_find(im, "blk.1.ffn_down_exps.weight");
    assert_true(t && t->n_in == 3 && t->n_matrices == 2);
    assert_true(t->sums[5] == 6 && t->counts[0] == 2 && t->counts[1] == 0);
    assert_true(t->means[0] == 0.5f && t->means[2] == 1.5f);
    assert_true(t->means[3] == 1 && t->means[5] == 1); /* no token: all alike */
    assert_true(imatrix_find(im, "blk.0.attn_q.weight")->means[5] == 0.6f);
    assert_null(imatrix_find(im, "blk.0.attn_k.weight"));
    imatrix_free(im);
    /* The layout that other programs read. */
    struct gguf *g = gguf_open(path, &e);
    struct gguf_string s;
    const struct gguf_tensor *sums = gguf_tensor_find(g, "blk.1.ffn_down_exps.weight.in_sum2");
    const struct gguf_tensor *counts = gguf_tensor_find(g, "blk.1.ffn_down_exps.weight.counts");
    assert_true(gguf_require_string(g, "general.type", &s, &e));
    assert_true(s.len == 7 && memcmp(s.data, "imatrix", 7) == 0);
    assert_true(sums->dims[0] == 3 && sums->dims[1] == 2 && sums->type == TENSOR_F32);
    assert_true(counts->dims[0] == 1 && counts->dims[1] == 2 && counts->type == TENSOR_F32);
    gguf_close(g);
}

static void put_i32(struct buf *b, int32_t v)
{
    buf_append(b, &v, sizeof v);
}

static void put_entry(struct buf *b, const char *name, int32_t n_calls, int32_t n, float first)
{
    put_i32(b, (int32_t)strlen(name));
    buf_append_str(b, name);
    put_i32(b, n_calls);
    put_i32(b, n);
    for (int32_t i = 0; i < n; i++) {
        float v = first + (float)i;
        buf_append(b, &v, sizeof v);
    }
}

static void older_files(void **state)
{
    (void)state;
    struct error e = {0};
    for (int with_tail = 0; with_tail < 2; with_tail++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        put_i32(&b, 2);
        put_entry(&b, "blk.0.attn_q.weight", 4, 3, 8);
        put_entry(&b, "blk.0.ffn_up_exps.weight", 0, 4, 1);
        if (with_tail) {
            put_i32(&b, 9);
            put_i32(&b, 5);
            buf_append_str(&b, "a.txt");
        }
        assert_true(file_write_atomic(path, b.data, b.len, &e));
        buf_free(&b);
        struct imatrix *im = imatrix_open(path, &e);
        if (!im) {
            fail_msg("%s", e.message);
        }
        assert_int_equal(imatrix_count(im), 2);
        const struct imatrix_entry *q = imatrix_find(im, "blk.0.attn_q.weight");
        assert_true(q->means[0] == 2 && q->means[1] == 2.25f && q->means[2] == 2.5f);
        assert_true(imatrix_find(im, "blk.0.ffn_up_exps.weight")->means[3] == 4); /* 0 calls */
        assert_int_equal(imatrix_chunks(im), with_tail ? 9 : 0);
        assert_string_equal(imatrix_dataset(im), with_tail ? "a.txt" : "");
        imatrix_free(im);
    }
}

static void expect_refusal(const char *words)
{
    struct error e = {0};
    struct imatrix *im = imatrix_open(path, &e);
    assert_null(im);
    if (!strstr(e.message, words) || !strstr(e.message, path) || strchr(e.message, '\n')) {
        fail_msg("\"%s\" does not have \"%s\"", e.message, words);
    }
}

/* Every prefix of an older file is refused or, behind its entries, read. */
static void older_files_cut_off(void **state)
{
    (void)state;
    struct error e = {0};
    struct buf b;
    buf_init(&b, 1 << 20);
    put_i32(&b, 2);
    put_entry(&b, "a", 4, 3, 8);
    put_entry(&b, "b", 4, 2, 1);
    size_t whole = b.len;
    put_i32(&b, 9);
    put_i32(&b, 5);
    buf_append_str(&b, "a.txt");
    for (size_t n = 0; n <= b.len; n++) {
        assert_true(file_write_atomic(path, b.data, n, &e));
        if (n < whole) {
            expect_refusal("");
        } else {
            struct imatrix *im = imatrix_open(path, &e);
            assert_non_null(im);
            imatrix_free(im);
        }
    }
    buf_free(&b);
}

static void hostile_older_files(void **state)
{
    (void)state;
    static const int32_t numbers[] = {0, -1, INT32_MAX, INT32_MIN, 1 << 30, 5000};
    struct error e = {0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        for (int place = 0; place < 4; place++) {
            struct buf b;
            buf_init(&b, 1 << 20);
            int32_t fields[4] = {1, 1, 4, 2}; /* entries, name bytes, calls, values */
            fields[place] = numbers[i];
            put_i32(&b, fields[0]);
            put_i32(&b, fields[1]);
            buf_append_char(&b, 'a');
            put_i32(&b, fields[2]);
            put_i32(&b, fields[3]);
            buf_append(&b, (float[]){1, 2}, 8);
            assert_true(file_write_atomic(path, b.data, b.len, &e));
            bool fine = place == 2 && numbers[i] >= 0; /* any number of calls will do */
            if (fine) {
                struct imatrix *im = imatrix_open(path, &e);
                assert_non_null(im);
                imatrix_free(im);
            } else {
                expect_refusal("");
            }
            buf_free(&b);
        }
    }
    static const float bad[] = {NAN, INFINITY, -1};
    for (size_t i = 0; i < 3; i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        put_i32(&b, 1);
        put_entry(&b, "a", 1, 1, bad[i]);
        assert_true(file_write_atomic(path, b.data, b.len, &e));
        expect_refusal("negative or not finite");
        buf_free(&b);
    }
    struct buf b;
    buf_init(&b, 1 << 20);
    put_i32(&b, 2);
    put_entry(&b, "a", 1, 1, 1);
    put_entry(&b, "a", 1, 1, 1);
    assert_true(file_write_atomic(path, b.data, b.len, &e));
    expect_refusal("two entries");
    buf_free(&b);
}

static void save_tensors(const char *type, const char *const names[2], uint32_t format,
                         const uint64_t dims[2][2], float value)
{
    struct error e = {0};
    float x[64];
    for (size_t i = 0; i < 64; i++) {
        x[i] = value;
    }
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_string(w, "general.type", type, strlen(type));
    for (size_t i = 0; i < 2 && names[i]; i++) {
        assert_true(gguf_writer_tensor(w, names[i], format, 2, dims[i], x, &e));
    }
    assert_true(gguf_writer_commit(w, path, &e));
    gguf_writer_free(w);
}

static void hostile_gguf_files(void **state)
{
    (void)state;
    static const char *const pair[2] = {"a.in_sum2", "a.counts"};
    static const char *const alone[2] = {"a.in_sum2", NULL};
    static const char *const others[2] = {"a.weight", "a.counts"};
    static const char *const nameless[2] = {".in_sum2", ".counts"};
    static const uint64_t right[2][2] = {{4, 2}, {1, 2}}, wrong[2][2] = {{4, 2}, {1, 3}};
    save_tensors("imatrix", pair, TENSOR_F32, right, 1);
    struct error e = {0};
    struct imatrix *im = imatrix_open(path, &e);
    assert_non_null(im);
    imatrix_free(im);
    save_tensors("model", pair, TENSOR_F32, right, 1);
    expect_refusal("no importance matrix");
    save_tensors("imatrix", pair, TENSOR_F32, wrong, 1);
    expect_refusal("do not belong together");
    save_tensors("imatrix", pair, TENSOR_F16, right, 1);
    expect_refusal("not F32");
    save_tensors("imatrix", pair, TENSOR_F32, right, NAN);
    expect_refusal("negative or not finite");
    save_tensors("imatrix", pair, TENSOR_F32, right, -2);
    expect_refusal("negative or not finite");
    save_tensors("imatrix", alone, TENSOR_F32, right, 1);
    expect_refusal("no counts");
    save_tensors("imatrix", others, TENSOR_F32, right, 1);
    expect_refusal("no entries");
    save_tensors("imatrix", nameless, TENSOR_F32, right, 1);
    expect_refusal("no entries");
    assert_true(file_write_atomic(path, "GGUF\3\0\0\0", 8, &e));
    expect_refusal("");
    assert_true(file_write_atomic(path, "", 0, &e));
    expect_refusal("");
    unlink(path);
    expect_refusal("No such file");
}

/* Damaged copies of good files, in bytes, numbers and length: read or refused in a sentence. */
static void damaged_copies(void **state)
{
    (void)state;
    struct error e = {0};
    struct buf files[2];
    struct imatrix *im = sample();
    struct rng r;
    rng_seed(&r, 11);
    assert_true(imatrix_save(im, path, &e));
    imatrix_free(im);
    buf_init(&files[0], 1 << 20);
    assert_true(file_read(path, 1 << 20, &files[0], &e));
    buf_init(&files[1], 1 << 20);
    put_i32(&files[1], 2);
    put_entry(&files[1], "blk.0.attn_q.weight", 4, 30, 8);
    put_entry(&files[1], "blk.0.attn_k.weight", 4, 20, 1);
    put_i32(&files[1], 9);
    put_i32(&files[1], 5);
    buf_append_str(&files[1], "a.txt");
    size_t n_copies = getenv("LLLM_SOAK") ? 100000 : 1000, n_read = 0;
    for (size_t i = 0; i < n_copies; i++) {
        const struct buf *file = &files[i % 2];
        char *copy = mem_alloc(file->len);
        memcpy(copy, file->data, file->len);
        size_t n = rng_below(&r, 4) == 0 ? rng_below(&r, (uint32_t)file->len) : file->len;
        for (uint32_t k = 1 + (uint32_t)rng_below(&r, 4); k > 0; k--) {
            static const char bytes[] = {0, 1, 0x7f, (char)0x80, (char)0xff};
            size_t at = rng_below(&r, (uint32_t)file->len);
            copy[at] = rng_below(&r, 2) ? bytes[rng_below(&r, 5)] : (char)rng_below(&r, 256);
        }
        assert_true(file_write_atomic(path, copy, n, &e));
        e = (struct error){0};
        im = imatrix_open(path, &e);
        n_read += im != NULL;
        assert_true((im == NULL) == (e.message[0] != 0));
        imatrix_free(im);
        free(copy);
    }
    assert_true(n_read > 0 && n_read < n_copies);
    buf_free(&files[0]);
    buf_free(&files[1]);
}

/* ---- gathering ------------------------------------------------------------------------------- */

/* The sums for the first layer's attention follow from the embedding and the norm alone. */
static void first_layer(const struct gguf *g, const int32_t *tokens, size_t n, uint64_t n_embd,
                        double *sums)
{
    const float *embedding = gguf_tensor_find(g, "token_embd.weight")->data;
    const float *norm = gguf_tensor_find(g, "blk.0.attn_norm.weight")->data;
    for (size_t t = 0; t < n; t++) {
        const float *x = embedding + (uint64_t)tokens[t] * n_embd;
        double squares = 0;
        for (uint64_t i = 0; i < n_embd; i++) {
            squares += (double)x[i] * (double)x[i];
        }
        for (uint64_t i = 0; i < n_embd; i++) {
            double y = (double)x[i] * (double)norm[i] / sqrt(squares / (double)n_embd + 1e-5);
            sums[i] += y * y;
        }
    }
}

enum { N_TOKENS = 100, WINDOW = 24 };

static struct imatrix *gather(const struct gguf *g, const int32_t *tokens, int n_threads,
                              uint32_t n_batch, bool with_output)
{
    struct error e = {0};
    struct pool *pool = pool_new(n_threads, &e);
    struct model *m = model_load(g, &e);
    struct measure_model *mm =
        m ? measure_model_new(m, pool, MODEL_KV_F32, WINDOW, n_batch, &e) : NULL;
    struct imatrix_collector *c = imatrix_collector_new(g);
    struct model_observer observer = imatrix_collector_observer(c);
    struct measure_options o = {.n_context = WINDOW, .bos = 3};
    struct imatrix *im = NULL;
    if (mm) {
        measure_model_observe(mm, &observer);
        if (measure_run(mm, &o, tokens, N_TOKENS, NULL, NULL, &e)) {
            im = imatrix_collector_take(c, with_output, NULL, &e);
        }
    }
    if (!im) {
        fail_msg("%s", e.message);
    }
    imatrix_collector_free(c);
    measure_model_free(mm);
    model_free(m);
    pool_free(pool);
    return im;
}

static void gathered(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct tiny t = tiny_odd(TENSOR_F32);
    struct gguf *g = tiny_open(tiny_writer(&t, a));
    int32_t tokens[N_TOKENS], used[WINDOW * (N_TOKENS / WINDOW)];
    for (int i = 0; i < N_TOKENS; i++) {
        tokens[i] = (i * 37 + i * i) % (int)t.n_vocab;
    }
    memcpy(used, tokens, sizeof used);
    for (int i = 0; i < N_TOKENS / WINDOW; i++) {
        used[i * WINDOW] = 3; /* the beginning of each window */
    }
    struct imatrix *im = gather(g, tokens, 1, 64, false);
    /* Every matrix of every layer, with its own number of columns; no head. */
    assert_int_equal(imatrix_count(im), 7 * t.n_layers);
    for (size_t i = 0; i < imatrix_count(im); i++) {
        const struct imatrix_entry *entry = imatrix_at(im, i);
        const struct gguf_tensor *tensor = gguf_tensor_find(g, entry->name);
        assert_non_null(tensor);
        assert_int_equal(entry->n_in, tensor->dims[0]);
        assert_true(entry->counts[0] == WINDOW * (N_TOKENS / WINDOW));
        double sum = 0;
        for (uint64_t j = 0; j < entry->n_in; j++) {
            sum += (double)entry->sums[j];
        }
        assert_true(sum > 0);
    }
    double expected[64] = {0};
    first_layer(g, used, WINDOW * (N_TOKENS / WINDOW), t.n_embd, expected);
    static const char *const names[] = {"blk.0.attn_q.weight", "blk.0.attn_k.weight",
                                        "blk.0.attn_v.weight"};
    for (size_t k = 0; k < 3; k++) {
        const struct imatrix_entry *entry = imatrix_find(im, names[k]);
        for (uint64_t i = 0; i < t.n_embd; i++) {
            assert_true(fabs((double)entry->sums[i] - expected[i]) <= 1e-4 * expected[i] + 1e-6);
        }
    }
    /* The same bits whatever the threads and steps. */
    struct imatrix *again = gather(g, tokens, 3, 5, false);
    for (size_t i = 0; i < imatrix_count(im); i++) {
        const struct imatrix_entry *x = imatrix_at(im, i), *y = imatrix_find(again, x->name);
        assert_memory_equal(x->sums, y->sums, x->n_in * sizeof *x->sums);
    }
    imatrix_free(again);
    again = gather(g, tokens, 1, 64, true);
    assert_int_equal(imatrix_count(again), 7 * t.n_layers + 1);
    assert_non_null(imatrix_find(again, "output.weight"));
    imatrix_free(again);
    imatrix_free(im);
    gguf_close(g);
    arena_free(a);
}

/* The collector by itself: experts, strides, inputs that are no numbers, names nobody knows. */
static void observed(void **state)
{
    (void)state;
    struct error e = {0};
    float zeros[24] = {0};
    struct gguf_writer *w = gguf_writer_new();
    uint64_t dims[3] = {2, 4, 3};
    gguf_writer_tensor(w, "blk.0.ffn_up_exps.weight", TENSOR_F32, 3, dims, zeros, &e);
    gguf_writer_tensor(w, "blk.0.attn_q.weight", TENSOR_F32, 2, dims, zeros, &e);
    struct gguf *g = tiny_open(w);
    struct imatrix_collector *c = imatrix_collector_new(g);
    struct model_observer o = imatrix_collector_observer(c);
    assert_null(imatrix_collector_take(c, true, NULL, &e)); /* nothing was told */
    float x[6] = {1, 2, 99, 3, 4, 99};
    o.matrix_input(o.context, "blk.0.ffn_up_exps.weight", 2, x, 3, 2, 2);
    o.matrix_input(o.context, "blk.0.ffn_up_exps.weight", 0, x, 3, 1, 2);
    o.matrix_input(o.context, "blk.0.ffn_up_exps.weight", 1, x, 3, 0, 2);
    size_t n_unseen = 99;
    struct imatrix *im = imatrix_collector_take(c, true, &n_unseen, &e);
    assert_non_null(im);
    assert_int_equal(imatrix_count(im), 1);
    assert_int_equal(n_unseen, 1);
    const struct imatrix_entry *t = imatrix_at(im, 0);
    static const float sums[6] = {1, 4, 0, 0, 10, 20}, counts[3] = {1, 0, 2};
    static const float means[6] = {1, 4, 1, 1, 5, 10};
    assert_memory_equal(t->sums, sums, sizeof sums);
    assert_memory_equal(t->counts, counts, sizeof counts);
    assert_memory_equal(t->means, means, sizeof means);
    imatrix_free(im);
    x[0] = NAN;
    o.matrix_input(o.context, "blk.0.attn_q.weight", -1, x, 3, 1, 2);
    assert_null(imatrix_collector_take(c, true, NULL, &e));
    assert_non_null(strstr(e.message, "blk.0.attn_q.weight"));
    imatrix_collector_free(c);
    c = imatrix_collector_new(g);
    o = imatrix_collector_observer(c);
    o.matrix_input(o.context, "blk.7.attn_q.weight", -1, x, 3, 1, 2);
    assert_null(imatrix_collector_take(c, true, NULL, &e));
    assert_non_null(strstr(e.message, "blk.7.attn_q.weight"));
    imatrix_collector_free(c);
    gguf_close(g);
}

int main(void)
{
    tiny_in_memory();
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/lllm-test-imatrix-%ld", folder && *folder ? folder : "/tmp",
             (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(older_files),
        cmocka_unit_test(older_files_cut_off),
        cmocka_unit_test(hostile_older_files),
        cmocka_unit_test(hostile_gguf_files),
        cmocka_unit_test(damaged_copies),
        cmocka_unit_test(gathered),
        cmocka_unit_test(observed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
