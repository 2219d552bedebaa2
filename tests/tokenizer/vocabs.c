#include "vocabs.h"

#include <stdio.h>
#include <stdbool.h>
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
    struct tokenizer_spec *s = tokenizer_spec_new();
    struct arena *a = s->arena;
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
    s->roles[ROLE_BOS] = 1;
    s->roles[ROLE_EOS] = 2;
    s->roles[ROLE_UNKNOWN] = 0;
    s->add_bos = s->add_space_prefix = true;
    return s;
}

static struct tokenizer_spec *begin(const char *model)
{
    struct tokenizer_spec *s = tokenizer_spec_new();
    s->model = model;
    s->tokens = arena_alloc(s->arena, 1024 * sizeof *s->tokens);
    s->scores = arena_alloc(s->arena, 1024 * sizeof *s->scores);
    s->types = arena_alloc(s->arena, 1024 * sizeof *s->types);
    return s;
}

#define M "\xE2\x96\x81"

struct tokenizer_spec *vocab_wordpiece(void)
{
    static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    static const char *const words[] = {M "the",          M "hello",    M "wor", "ld",     "ing",
                                        M "un",           "aff",        "able",  M "cafe", "s",
                                        M "\xE6\x97\xA5", M "\xC3\xA9", "123"};
    struct tokenizer_spec *s = begin("bert");
    for (size_t i = 0; i < 5; i++) {
        add(s, specials[i], TOKEN_NORMAL, 0); /* as files have them */
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        add(s, words[i], TOKEN_NORMAL, 0);
    }
    for (char c = '!'; c <= '~'; c++) {
        char text[8];
        snprintf(text, sizeof text, M "%c", c);
        if (c < 'A' || c > 'Z') {
            add(s, text, TOKEN_NORMAL, 0);
        }
        if (c >= 'a' && c < 'q') { /* no word goes on with q to z but in longer pieces */
            add(s, text + 3, TOKEN_NORMAL, 0);
        }
    }
    s->roles[ROLE_PADDING] = 0;
    s->roles[ROLE_UNKNOWN] = 1;
    s->roles[ROLE_CLS] = 2;
    s->roles[ROLE_SEPARATOR] = 3;
    s->roles[ROLE_MASK] = 4;
    s->changes = CHANGE_CLEAN | CHANGE_SPLIT_CJK | CHANGE_STRIP_ACCENTS | CHANGE_LOWERCASE;
    return s;
}

struct tokenizer_spec *vocab_unigram(bool with_bytes)
{
    static const struct {
        const char *text;
        float score;
    } pieces[] = {{M, -2.5f},       {M "the", -3}, {"the", -4},       {"he", -4.25f},  {"ab", -3},
                  {"abab", -6.5f},  {"ba", -3},    {"aba", -4},       {M "a", -3},     {"a", -3.5f},
                  {"b", -3.5f},     {"t", -4.5f},  {"h", -4.5f},      {"e", -3.75f},   {"bb", -5},
                  {"aaaa", -8.25f}, {"aa", -5},    {"\xC3\xA9t", -6}, {"\xC3\xA9", -7}};
    struct tokenizer_spec *s = begin("t5");
    add(s, "<pad>", TOKEN_CONTROL, 0);
    add(s, "</s>", TOKEN_CONTROL, 0);
    add(s, "<unk>", TOKEN_UNKNOWN, 0);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        add(s, pieces[i].text, TOKEN_NORMAL, pieces[i].score);
    }
    add(s, "<extra_id_0>", TOKEN_USER_DEFINED, 0);
    add(s, "th", TOKEN_UNUSED, -0.5f);
    for (int b = 0; with_bytes && b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        add(s, text, TOKEN_BYTE, 0);
    }
    s->roles[ROLE_PADDING] = 0;
    s->roles[ROLE_EOS] = 1;
    s->roles[ROLE_UNKNOWN] = 2;
    s->add_eos = s->add_space_prefix = true;
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
