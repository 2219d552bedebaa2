/* unigram.c: SentencePiece unigram (Kudo, "Subword Regularization", 2018): of all ways to cut a
 * word into pieces of the vocabulary the most probable, by Viterbi's algorithm. A character that no
 * piece covers costs more than any piece; it becomes byte tokens or the unknown token.
 */
#include <float.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

#define UNKNOWN_PENALTY 10.0

/* The best way to the end of the first bytes of a word. */
struct best_path {
    double score;
    uint32_t from; /* where its last piece begins */
    int32_t id;    /* the last piece; TOKENIZER_NO_TOKEN: an unknown character */
};

static void build(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    double lowest = DBL_MAX;
    t->probabilities = arena_alloc(t->arena, t->n_tokens * sizeof *t->probabilities);
    for (size_t i = 0; i < t->n_tokens; i++) {
        double score = spec->exact_scores ? spec->exact_scores[i] : (double)spec->scores[i];
        t->probabilities[i] = score;
        if (vocab_is_mergeable(t, i) && !(t->flags[i] & TOKEN_IS_UNUSED) && score < lowest) {
            lowest = score;
        }
    }
    t->sums_by_mark = spec->exact_scores != NULL;
    t->unknown_score = (lowest == DBL_MAX ? 0 : lowest) - UNKNOWN_PENALTY;
    t->unknown_score = t->float_sums ? (double)(float)t->unknown_score : t->unknown_score;
    vocab_build_byte_ids(t);
    vocab_build_joints(t);
    vocab_build_trie(t);
}

/* A piece from word[from] to word[to]. */
static void improve(struct encoding *enc, size_t from, size_t to, double score, int32_t id)
{
    double sum = enc->paths[from].score + score;
    sum = enc->t->float_sums ? (double)(float)sum : sum;
    if (sum > enc->paths[to].score) {
        enc->paths[to] = (struct best_path){sum, (uint32_t)from, id};
    }
}

/* All pieces that begin at word[at]. */
static void extend(struct encoding *enc, const char *word, size_t n, size_t at, size_t step)
{
    const struct tokenizer *t = enc->t;
    struct trie_walk walk = {0};
    int32_t id;
    bool covered = false;
    for (size_t end = at; end < n && trie_step(t->trie, &walk, (uint8_t)word[end], &id); end++) {
        enc->work++;
        if (id >= 0) {
            improve(enc, at, end + 1, t->probabilities[id], id);
            covered = covered || end + 1 == at + step;
        }
    }
    if (!covered) {
        improve(enc, at, at + step, t->unknown_score, TOKENIZER_NO_TOKEN);
    }
}

static bool word_tokens(struct encoding *enc, const char *word, size_t n)
{
    void *paths = enc->paths;
    bool ok =
        scratch_reserve_array(&paths, &enc->paths_capacity, n + 1, sizeof *enc->paths, enc->e);
    enc->paths = paths;
    if (!ok) {
        return false;
    }
    for (size_t i = 0; i <= n; i++) {
        enc->paths[i].score = -DBL_MAX;
    }
    enc->paths[0].score = enc->path_score;
    for (size_t at = 0; at < n;) {
        uint32_t cp;
        size_t step = utf8_decode(word + at, n - at, &cp);
        step = step ? step : 1;
        extend(enc, word, n, at, step);
        at += step;
    }
    enc->path_score = enc->t->float_sums ? enc->paths[n].score : 0;
    /* Turn the way back into a way forth. */
    size_t next = n;
    for (size_t at = n; at > 0;) {
        size_t from = enc->paths[at].from;
        enc->paths[at].from = (uint32_t)next;
        next = at;
        at = from;
    }
    for (size_t at = 0, end = next; at < n;) {
        if (enc->paths[end].id == TOKENIZER_NO_TOKEN) {
            vocab_emit_bytes(enc, word + at, end - at);
        } else {
            encoding_emit(enc, enc->paths[end].id, word + at, end - at);
        }
        at = end;
        end = enc->paths[end].from;
    }
    return true;
}

static bool cut(struct encoding *enc, const char *text, size_t n)
{
    /* Where sums are rounded, what has been added up before a word may turn the scale within it.
     * Sums of floats in double precision are not; others are as those of the library from which
     * they are: along the whole text, or between marks. */
    bool remembers = !enc->t->float_sums;
    enc->path_score = 0;
    for (size_t at = 0; at < n;) {
        size_t len = vocab_word_length(enc->t, text + at, n - at);
        if (enc->t->sums_by_mark) {
            const char *mark = memmem(text + at + 1, n - at - 1, WORD_START, 3);
            len = mark ? (size_t)(mark - text) - at : n - at;
        }
        if (!(remembers ? encode_word(enc, text + at, len) : word_tokens(enc, text + at, len))) {
            return false;
        }
        at += len;
    }
    return true;
}

const struct family family_unigram = {
    .model = "t5",
    .needs_scores = true,
    .spells_spaces = true,
    .marks_spaces = true,
    .bytes_by_name = true,
    .joins_unknown = true,
    .build = build,
    .cut = cut,
    .word = word_tokens,
};
