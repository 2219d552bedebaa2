/* test_changes.c: what happens to text before it is cut: SentencePiece's compiled rules, and
 * Unicode's normal forms. Vocabularies built here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "checks.h"
#include "tokenizer/tokenizer_internal.h"
#include "vocabs.h"

#define M "\xE2\x96\x81"

static void test_charsmap(void **state)
{
    (void)state;
    uint8_t map[8192];
    size_t n = make_charsmap(map);
    struct tokenizer_spec *s = vocab_unigram(true);
    s->charsmap = map;
    s->charsmap_bytes = n;
    struct tokenizer *t = open_spec(s);
    check(t, "A", M "a");
    check(t, "AB", M "|<0x78>|<0x79>|<0x7A>");
    check(t, "A-B", M "a|<0x42>");
    check(t, "---", "");
    check(t, "th\xFF", M "|t|h|<0xEF>|<0xBF>|<0xBD>"); /* what is invalid becomes U+FFFD */
    tokenizer_free(t);
    static const struct {
        size_t at, n;
        uint8_t byte;
    } damage[] = {{0, 0, 0}, {0, 8, 0}, {3, 4100, 0xFF}, {0, 4100, 2}, {0, 4106, 0}};
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        uint8_t copy[8192];
        memcpy(copy, map, n);
        copy[damage[i].at] = damage[i].byte;
        if (i == 4) {
            copy[0] = map[0];
            copy[n - 1] = 'x'; /* the last text does not end */
        }
        s = vocab_unigram(true);
        s->charsmap = copy;
        s->charsmap_bytes = i == 4 ? n : damage[i].n;
        struct error e = {.code = ERROR_NONE};
        assert_null(tokenizer_new(s, &e));
        assert_int_equal(e.code, ERROR_INPUT);
        assert_non_null(strstr(e.message, "charsmap"));
        tokenizer_spec_free(s);
    }
}

/* Whatever the units say, there are tokens. */
static void test_random_charsmaps(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 21);
    for (int round = 0; round < 300; round++) {
        uint8_t map[8192];
        size_t n = make_charsmap(map);
        for (uint64_t k = rng_below(&r, 600); k > 0; k--) {
            map[4 + rng_below(&r, n - 5)] = (uint8_t)rng_next(&r);
        }
        struct tokenizer_spec *s = vocab_unigram(true);
        s->charsmap = map;
        s->charsmap_bytes = n;
        struct tokenizer *t = open_spec(s);
        struct token_list ids = {0};
        assert_true(tokenizer_encode(t, "ABAB--the A\xFF", 12, NULL, &ids, NULL));
        token_list_free(&ids);
        tokenizer_free(t);
    }
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        uint32_t changes;
        const char *text, *want;
    } rows[] = {
        {CHANGE_NFC, "e\xCC\x81", "\xC3\xA9"},
        {CHANGE_NFC, "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C"},
        {CHANGE_NFC, "\xE2\x84\xAB", "\xC3\x85"},
        {CHANGE_NFC, "a\xCC\x81\xCC\xA3", "\xE1\xBA\xA1\xCC\x81"},
        {CHANGE_NFC, "a\xFF\xCC\x81", "a\xFF\xCC\x81"},
        {CHANGE_NFC, "x", "x"},
        {CHANGE_NFD, "\xC3\xA9\xED\x95\x9C", "e\xCC\x81\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"},
        {CHANGE_NFKC, "\xEF\xAC\x81\xC2\xBD",
         "fi1\xE2\x81\x84"
         "2"},
        {CHANGE_NFKD, "\xEF\xAC\x81\xC3\xA9", "fie\xCC\x81"},
        {CHANGE_LOWERCASE, "\xC3\x89 \xC4\xB0 ABC", "\xC3\xA9 i\xCC\x87 abc"},
        {CHANGE_NFC | CHANGE_LOWERCASE, "E\xCC\x81", "\xC3\xA9"},
        {CHANGE_NOTHING, "e\xCC\x81", "e\xCC\x81"},
        /* A mark that came after Unicode 9 stays where it is, as with the tokenizers library. */
        {CHANGE_NFC, "a\xCC\x81\xE1\xB7\xB9\xCC\xA3", "\xC3\xA1\xE1\xB7\xB9\xCC\xA3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tokenizer_spec *s = vocab_bpe("gpt-2", 300);
        s->changes = rows[i].changes;
        struct tokenizer *t = open_spec(s);
        struct token_list ids = {0};
        struct buf back;
        buf_init(&back, 1000);
        assert_true(tokenizer_encode(t, rows[i].text, strlen(rows[i].text), NULL, &ids, NULL));
        tokenizer_decode(t, ids.ids, ids.n, false, &back);
        assert_string_equal(back.data, rows[i].want);
        buf_free(&back);
        token_list_free(&ids);
        tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_charsmap),
        cmocka_unit_test(test_random_charsmaps),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests_name("tokenizer_changes", tests, NULL, NULL);
}
