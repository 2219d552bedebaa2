#include "vocabs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct tokenizer_spec *s, const char *text, int32_t type, float score)
{
    s->tokens[s->n_tokens] =
        (struct gguf_string){arena_strndup(s->arena, text, strlen(text)), strlen(text)};
    s->types[s->n_tokens] = type;
    s->scores[s->n_tokens++] = score;
}

struct tokenizer_spec *vocab_spm(void)
{
    static const char *const words[] = {
        "\xE2\x96\x81t",
        "he",
        "\xE2\x96\x81the",
        "in",
        "er",
        "\342\226\201a",
        "an",
        "nd",
        "and",
        "the",
        "ing",
        "\xE2\x96\x81\xE2\x96\x81",
        "aa",
        "aaaa",
        "ab",
        "aba",
        "bab",
        "\xE2\x96\x81\xE2\x96\x81\xE2\x96\x81\xE2\x96\x81",
        "\xC3\xA9t",
        "\xF0\x9F\x98\x80\xF0\x9F\x98\x80",
        "</",
        "s>",
        "<s",
        "0x",
        "41>",
        "<0x4",
        "1>",
    };
    struct arena *a = arena_new();
    struct tokenizer_spec *s = arena_alloc(a, sizeof *s);
    s->arena = a;
    s->model = "llama";
    s->tokens = arena_alloc(a, 512 * sizeof *s->tokens);
    s->scores = arena_alloc(a, 512 * sizeof *s->scores);
    s->types = arena_alloc(a, 512 * sizeof *s->types);
    add(s, "<unk>", TOKEN_UNKNOWN, 0);
    add(s, "<s>", TOKEN_CONTROL, 0);
    add(s, "</s>", TOKEN_CONTROL, 0);
    for (int b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        add(s, text, TOKEN_BYTE, 0);
    }
    add(s, "<code>", TOKEN_USER_DEFINED, 0);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        add(s, words[i], TOKEN_NORMAL, -(float)(i / 2)); /* with ties */
    }
    add(s, "\xE2\x96\x81", TOKEN_NORMAL, -100);
    for (char c = 'a'; c <= 'z'; c++) {
        add(s, (char[2]){c, 0}, TOKEN_NORMAL, -101);
    }
    add(s, "<", TOKEN_NORMAL, -101);
    add(s, "\xC3\xA9", TOKEN_NORMAL, -101);
    s->bos = 1;
    s->eos = 2;
    s->unknown = 0;
    s->padding = TOKENIZER_NO_TOKEN;
    s->add_bos = s->add_space_prefix = true;
    return s;
}

struct tokenizer_spec *vocab_bpe(const char *pre, size_t n_tokens)
{
    static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    static const char *const texts[] = {
        "the quick brown fox jumps over the lazy dog and the other dog jumps over the quick fox\n",
        "In the year 1984 there were 1,024 foxes; in 2024 there are 4096!\n\n    indented   text\n",
        ("abababab aaaaaaaa abab aaaa \xC3\xA9t\xC3\xA9 \xC3\xA9t\xC3\xA9 \xF0\x9F\x98\x80 "
         "\xF0\x9F\x98\x80 \xE4\xBD\xA0\xE5\xA5\xBD \xE4\xBD\xA0\xE5\xA5\xBD don't won't I'll "
         "I'll"),
        "it's it's the the the and and <|im_start|>user\nhello<|im_end|> <|im_start|>user\nhello",
    };
    size_t lengths[4];
    for (size_t i = 0; i < 4; i++) {
        lengths[i] = strlen(texts[i]);
    }
    struct bpe_training how = {.pre = pre,
                               .n_tokens = n_tokens,
                               .specials = specials,
                               .n_specials = 3,
                               .bos = NULL,
                               .eos = "<|im_end|>",
                               .min_count = 2};
    struct error e = {.code = ERROR_NONE};
    struct tokenizer_spec *s = bpe_train(&how, texts, lengths, 4, &e);
    if (!s) {
        fprintf(stderr, "%s\n", e.message);
        abort();
    }
    return s;
}
