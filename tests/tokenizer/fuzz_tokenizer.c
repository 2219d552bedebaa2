/* fuzz_tokenizer.c: any bytes encode, with a vocabulary of each family, and decode to the same
 * bytes where the family keeps them; what is not trusted never gives a control token; where tokens
 * lie is in the text. The first byte of the input seeds which bytes of the text are trusted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vocabs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_VOCABS = 9, MAX_INPUT = 1 << 16 };

/* What comes back. */
enum keeps { KEEPS_BYTES, KEEPS_SPACES, KEEPS_LESS };

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* The text as an SPM vocabulary can give it back: U+2581 is its mark for a space. */
static size_t marks_to_spaces(char *text, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        if (i + 2 < n && memcmp(text + i, "\xE2\x96\x81", 3) == 0) {
            text[len++] = ' ';
            i += 3;
        } else {
            text[len++] = text[i++];
        }
    }
    return len;
}

static void check_spans(const struct tokenizer *t, const char *text, size_t n,
                        const uint8_t *trusted, const struct token_list *want)
{
    struct token_list ids = {0};
    struct span_list spans = {0};
    struct error e = {.code = ERROR_NONE};
    require(tokenizer_encode_spans(t, text, n, trusted, &ids, &spans, &e), e.message);
    require(ids.n == want->n && spans.n == ids.n, "other tokens when their places are asked for");
    for (size_t i = 0; i < ids.n; i++) {
        require(ids.ids[i] == want->ids[i], "another token when its place is asked for");
        require(spans.spans[i].start <= spans.spans[i].end && spans.spans[i].end <= n,
                "a token outside the text");
    }
    token_list_free(&ids);
    span_list_free(&spans);
}

/* want is NULL where the text need not come back. */
static void check(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted,
                  const char *want, size_t want_len)
{
    struct token_list ids = {0};
    struct error e = {.code = ERROR_NONE};
    require(tokenizer_encode(t, text, n, trusted, &ids, &e), e.message);
    for (size_t i = 0; i < ids.n; i++) {
        require(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_count(t), "an id out of range");
        require(trusted || !tokenizer_is_control(t, ids.ids[i]), "a control token from text");
    }
    struct buf back;
    buf_init(&back, 4 * (size_t)MAX_INPUT);
    tokenizer_decode(t, ids.ids, ids.n, true, &back);
    require(!want ||
                (back.len == want_len && (want_len == 0 || memcmp(back.data, want, want_len) == 0)),
            "the text did not come back");
    check_spans(t, text, n, trusted, &ids);
    buf_free(&back);
    token_list_free(&ids);
}

static struct tokenizer *make(struct tokenizer_spec *spec)
{
    struct error e = {.code = ERROR_NONE};
    struct tokenizer *t = tokenizer_new(spec, &e);
    require(t != NULL, e.message);
    tokenizer_spec_free(spec);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum keeps keeps[N_VOCABS] = {KEEPS_SPACES, KEEPS_BYTES, KEEPS_BYTES,
                                               KEEPS_BYTES,  KEEPS_BYTES, KEEPS_LESS,
                                               KEEPS_SPACES, KEEPS_LESS,  KEEPS_LESS};
    static struct tokenizer *vocabs[N_VOCABS]; /* made once; they live as long as the process */
    if (!vocabs[0]) {
        struct tokenizer_spec *changed = vocab_unigram(true);
        changed->changes = CHANGE_NFKC | CHANGE_LOWERCASE | CHANGE_SPACES;
        changed->remove_extra_whitespaces = changed->space_prefix_unless_space = true;
        vocabs[0] = make(vocab_spm());
        vocabs[1] = make(vocab_bpe("gpt-2", 400));
        vocabs[2] = make(vocab_bpe("smollm", 400));
        vocabs[3] = make(vocab_bpe("llama-bpe", 400));
        vocabs[4] = make(vocab_bpe("deepseek-coder", 400));
        vocabs[5] = make(vocab_wordpiece());
        vocabs[6] = make(vocab_unigram(true));
        vocabs[7] = make(changed);
        vocabs[8] = make(vocab_bpe("qwen2", 400));
    }
    if (size == 0 || size > MAX_INPUT) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t n = size - 1;
    uint8_t *trusted = malloc(n + 1);
    char *plain = malloc(n + 1);
    require(trusted && plain, "no memory");
    memcpy(plain, text, n);
    size_t plain_len = marks_to_spaces(plain, n);
    for (size_t i = 0; i < n; i++) {
        trusted[i] = data[0] >> (i / 16) % 8 & 1;
    }
    for (size_t v = 0; v < N_VOCABS; v++) {
        const char *want = keeps[v] == KEEPS_LESS ? NULL : keeps[v] == KEEPS_SPACES ? plain : text;
        size_t want_len = want == plain ? plain_len : n;
        check(vocabs[v], text, n, NULL, want, want_len);
        check(vocabs[v], text, n, trusted, want, want_len);
        check(vocabs[v], text, n, TOKENIZER_ALL_TRUSTED, want, want_len);
    }
    free(trusted);
    free(plain);
    return 0;
}
