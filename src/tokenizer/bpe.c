/* bpe.c: byte-level BPE (Radford et al., "Language Models are Unsupervised Multitask Learners",
 * 2019): patterns cut the text into words (pre.c), the bytes of a word are joined by rules
 * (rules.c).
 *
 * Vocabularies spell bytes as printable characters: '!'..'~', U+00A1..U+00AC and U+00AE..U+00FF are
 * themselves; the other 68 bytes are, in order, U+0100..U+0143.
 */
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

static bool prints_as_itself(uint32_t b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

/* Bytes below b that do not print as themselves. */
static uint32_t hidden_before(uint32_t b)
{
    if (b <= 0x20) {
        return b;
    }
    if (b <= 0xA0) {
        return b <= 0x7F ? 0x21 : b - 0x7F + 0x21;
    }
    return 67;
}

size_t bpe_byte_spelling(uint8_t byte, char out[4])
{
    return utf8_put(prints_as_itself(byte) ? byte : 0x100 + hidden_before(byte), out);
}

int bpe_byte_of(uint32_t cp)
{
    if (cp < 0x100) {
        return prints_as_itself(cp) ? (int)cp : -1;
    }
    if (cp > 0x143) {
        return -1;
    }
    uint32_t i = cp - 0x100;
    return (int)(i <= 0x20 ? i : i < 67 ? 0x7F + i - 0x21 : 0xAD);
}

static void build(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    for (uint32_t b = 0; b < 256; b++) {
        char spelling[4];
        uint32_t id;
        size_t n = bpe_byte_spelling((uint8_t)b, spelling);
        if (token_index_find(t->by_spelling, spelling, n, &id) && vocab_is_mergeable(t, id)) {
            t->byte_ids[b] = (int32_t)id;
        }
    }
    rules_build(t, spec);
    t->whole_words = spec->whole_words ? spec->whole_words > 0 : pre_whole_words(t->pre);
}

/* The token that is the whole word. */
static bool find_word(const struct tokenizer *t, const char *word, size_t n, uint32_t *id)
{
    char spelling[TOKENIZER_MAX_SPELLING_BYTES + 4];
    size_t len = 0;
    for (size_t i = 0; i < n && len <= t->max_mergeable_bytes; i++) {
        uint8_t byte = (uint8_t)word[i];
        if (byte > ' ' && byte < 0x7F) {
            spelling[len++] = word[i];
        } else {
            len += bpe_byte_spelling(byte, spelling + len);
        }
    }
    return vocab_find(t, spelling, len, id);
}

static bool word_tokens(struct encoding *enc, const char *word, size_t n)
{
    const struct tokenizer *t = enc->t;
    uint32_t id;
    if (t->whole_words && find_word(t, word, n, &id)) {
        encoding_emit(enc, (int32_t)id, word, n);
        return true;
    }
    if (n <= RULES_FEW) {
        uint32_t ids[RULES_FEW], offsets[RULES_FEW + 1];
        for (uint32_t i = 0; i < n; i++) {
            ids[i] = (uint32_t)t->byte_ids[(uint8_t)word[i]];
            offsets[i] = i;
        }
        offsets[n] = (uint32_t)n;
        rules_merge_few(enc, word, ids, offsets, (uint32_t)n);
        return true;
    }
    if (!scratch_reserve(enc, n)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        enc->symbols[i] =
            (struct symbol){.id = (uint32_t)t->byte_ids[(uint8_t)word[i]], .at = i, .len = 1};
    }
    return rules_merge(enc, word, (uint32_t)n);
}

static bool cut(struct encoding *enc, const char *text, size_t n)
{
    return pre_split(enc->t->pre, text, n, encode_word, enc, &enc->work);
}

const struct family family_bpe = {
    .model = "gpt2",
    .check = rules_check,
    .build = build,
    .cut = cut,
    .word = word_tokens,
};
