/* wordpiece.c: WordPiece as in BERT (Devlin et al., 2019): the text is cut at white space and
 * around punctuation; from the beginning of a word on, the longest piece of the vocabulary is
 * taken. A word that cannot be covered so, or has more than 100 characters, is the unknown token.
 *
 * In files a piece that begins words has U+2581 in front, and one that goes on has not.
 */
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"

enum { MAX_WORD_CHARS = 100 };

/* What the tokenizers library takes for punctuation: its tables are those of Unicode 8. */

static bool is_punctuation(uint32_t cp)
{
    bool ascii = (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '@') || (cp >= '[' && cp <= '`') ||
                 (cp >= '{' && cp <= '~');
    const struct unicode_class_row *row = &unicode_classes[unicode_class(cp)];
    return ascii || (cp >= 0x80 && row->category[0] == 'P' && !row->late) || cp == 0x166D ||
           cp == 0x111C9; /* two that were punctuation then */
}

/* The longest piece at the start of word[0..n): its length (of the word), and *id. */
static size_t longest(struct encoding *enc, const char *word, size_t n, bool first, int32_t *id)
{
    const struct trie *trie = enc->t->trie;
    struct trie_walk walk = first ? enc->t->word_start : (struct trie_walk){0, 0};
    int32_t value;
    size_t len = 0;
    if (first && walk.node == 0) {
        return 0;
    }
    /* A mark in the text itself is not the one that files put in front of words. */
    if (!first && n >= 3 && memcmp(word, WORD_START, 3) == 0) {
        return 0;
    }

    for (size_t i = 0; i < n && trie_step(trie, &walk, (uint8_t)word[i], &value); i++) {
        enc->work++;
        if (value >= 0) {
            len = i + 1;
            *id = value;
        }
    }
    return len;
}

static bool word_tokens(struct encoding *enc, const char *word, size_t n)
{
    int32_t ids[4 * MAX_WORD_CHARS];
    uint32_t ends[4 * MAX_WORD_CHARS];
    size_t n_chars = 0, count = 0, at = 0;
    for (size_t i = 0; i < n && n_chars <= MAX_WORD_CHARS; i++) {
        n_chars += ((uint8_t)word[i] & 0xC0) != 0x80;
    }
    while (n_chars <= MAX_WORD_CHARS && at < n && count < 4 * MAX_WORD_CHARS) {
        size_t len = longest(enc, word + at, n - at, at == 0, &ids[count]);
        if (len == 0) {
            break;
        }
        at += len;
        ends[count++] = (uint32_t)at;
    }
    if (at < n) {
        encoding_emit(enc, enc->t->roles[ROLE_UNKNOWN], word, n);
        return true;
    }
    for (size_t i = 0, from = 0; i < count; from = ends[i++]) {
        encoding_emit(enc, ids[i], word + from, ends[i] - from);
    }
    return true;
}

static bool cut(struct encoding *enc, const char *text, size_t n)
{
    size_t start = 0;
    for (size_t at = 0; at < n;) {
        uint32_t cp;
        enc->work++;
        if ((text[at] >= 'a' && text[at] <= 'z') || (text[at] >= 'A' && text[at] <= 'Z')) {
            at++;
            continue;
        }
        size_t step = utf8_decode(text + at, n - at, &cp);
        bool space = step && unicode_is_space(cp), mark = step && !space && is_punctuation(cp);
        step = step ? step : 1;
        if (space || mark) {
            if ((at > start && !encode_word(enc, text + start, at - start)) ||
                (mark && !encode_word(enc, text + at, step))) {
                return false;
            }
            start = at + step;
        }
        at += step;
    }
    return start == n || encode_word(enc, text + start, n - start);
}

static void build(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    (void)spec;
    vocab_build_trie(t);
    struct trie_walk walk = {0, 0};
    int32_t value;
    bool found = true;
    for (size_t i = 0; found && i < sizeof WORD_START - 1; i++) {
        found = trie_step(t->trie, &walk, (uint8_t)WORD_START[i], &value);
    }
    t->word_start = found ? walk : (struct trie_walk){0, 0};
}

const struct family family_wordpiece = {
    .model = "bert",
    .spells_spaces = true,
    .build = build,
    .cut = cut,
    .word = word_tokens,
};
