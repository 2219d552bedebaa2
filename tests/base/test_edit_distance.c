/* How far words are apart: known pairs, what holds of any distance, and the definition itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/edit_distance.h"
#include "base/rng.h"

static void test_known_pairs(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t n;
    } pairs[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"kitten", "sitting", 3},
        {"temp", "tmep", 1},  /* swapped */
        {"temp", "tempp", 1}, /* too many */
        {"temp", "tep", 1},   /* missing */
        {"temp", "tamp", 1},  /* another */
        {"minLenght", "minlength", 1},
        {"ca", "abc", 3}, /* restricted: the swapped pair is not changed again */
        {"TITLE", "title", 0},
        {"[", "{", 1}, /* only letters have capitals */
        {"abcdef", "badcfe", 3},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(edit_distance(pairs[i].a, pairs[i].b), pairs[i].n);
        assert_int_equal(edit_distance(pairs[i].b, pairs[i].a), pairs[i].n);
    }
}

static void test_long_words(void **state)
{
    (void)state;
    char a[EDIT_MAX_BYTES + 2], b[EDIT_MAX_BYTES + 2];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    a[EDIT_MAX_BYTES] = b[EDIT_MAX_BYTES] = 0;
    assert_int_equal(edit_distance(a, b), EDIT_MAX_BYTES);
    assert_int_equal(edit_distance(a, a), 0);
    a[EDIT_MAX_BYTES] = 'a';
    a[EDIT_MAX_BYTES + 1] = 0;
    assert_true(edit_distance(a, b) == SIZE_MAX && edit_distance(b, a) == SIZE_MAX);
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* As it is defined, from the ends of the words. */
static size_t defined(const char *a, size_t n, const char *b, size_t m)
{
    if (n == 0 || m == 0) {
        return n + m;
    }
    size_t best = min3(defined(a, n - 1, b, m) + 1, defined(a, n, b, m - 1) + 1,
                       defined(a, n - 1, b, m - 1) + (a[n - 1] != b[m - 1]));
    if (n > 1 && m > 1 && a[n - 1] == b[m - 2] && a[n - 2] == b[m - 1]) {
        size_t swapped = defined(a, n - 2, b, m - 2) + 1;
        best = swapped < best ? swapped : best;
    }
    return best;
}

static void test_as_defined(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 2000; i++) {
        char words[2][8] = {{0}};
        for (int k = 0; k < 2; k++) {
            size_t n = rng_below(&r, 7);
            for (size_t c = 0; c < n; c++) {
                words[k][c] = (char)('a' + rng_below(&r, 3));
            }
        }
        assert_int_equal(edit_distance(words[0], words[1]),
                         defined(words[0], strlen(words[0]), words[1], strlen(words[1])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_pairs),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_as_defined),
    };
    return cmocka_run_group_tests_name("edit_distance", tests, NULL, NULL);
}
