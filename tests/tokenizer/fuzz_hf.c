/* fuzz_hf.c: what the readers of Hugging Face files and the compiler of patterns make of any bytes:
 * a vocabulary that can be used and written, or a sentence. The first byte of the input says which
 * reader gets the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/hf.h"
#include "tokenizer/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 18 };

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void use(struct hf_reader *r)
{
    static const char text[] = " The king<unk>\xC3\xA9\xFF e\xCC\x81 12345\n\n";
    struct error e = {.code = ERROR_NONE};
    hf_fill_gaps(r);
    struct tokenizer *t = vocab_check(r->spec, &e) ? tokenizer_new(r->spec, &e) : NULL;
    require(t || e.code != ERROR_NONE, "no tokenizer and no error");
    if (t) {
        struct token_list ids = {0};
        struct buf back;
        buf_init(&back, 1 << 24);
        require(tokenizer_encode(t, text, sizeof text - 1, TOKENIZER_ALL_TRUSTED, &ids, &e),
                e.message);
        tokenizer_decode(t, ids.ids, ids.n, true, &back);
        token_list_free(&ids);
        buf_free(&back);
        struct gguf_writer *w = gguf_writer_new();
        tokenizer_spec_write(r->spec, w);
        gguf_writer_free(w);
    }
    tokenizer_free(t);
}

static void read_pattern(const char *text, size_t n)
{
    struct error e = {.code = ERROR_NONE};
    struct pattern *p = pattern_new(text, n, &e);
    require(p || e.code == ERROR_UNSUPPORTED, "no pattern and no error");
    if (p) {
        uint64_t work = 0;
        struct pattern_scan s = {.pattern = p, .text = text, .n = n, .work = &work};
        for (size_t at = 0, len; at < n; at += len ? len : 1) {
            at = pattern_next(&s, at, &len);
            require(at + len <= n, "a match outside the text");
        }
        pattern_scan_end(&s);
        pattern_free(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MAX_INPUT) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t n = size - 1;
    struct error e = {.code = ERROR_NONE};
    struct hf_reader r = {.folder = "/nonexistent", .spec = tokenizer_spec_new(), .e = &e};
    r.spec->model = "gpt2";
    bool ok = false;
    switch (data[0] % 4) {
    case 0:
        read_pattern(text, n);
        break;
    case 1:
        ok = hf_read_tokenizer_json(&r, text, n);
        break;
    case 2:
        ok = hf_read_tokenizer_model(&r, text, n);
        break;
    default:
        ok = hf_read_vocab_text(&r, text, n);
    }
    require(ok || data[0] % 4 == 0 || e.code != ERROR_NONE, "neither read nor refused");
    if (ok && r.spec->n_tokens) {
        use(&r);
    }
    strmap_free(r.index);
    tokenizer_spec_free(r.spec);
    return 0;
}
