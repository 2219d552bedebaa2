/* train.c: learning a byte-level BPE vocabulary (Sennrich, Haddow and Birch, "Neural Machine
 * Translation of Rare Words with Subword Units", 2016).
 *
 * The texts are cut into words once and only distinct words with their counts are kept. A table has
 * for each pair of neighbouring tokens how often it occurs and in which words; a heap has the pairs
 * by count. Merging a pair touches only the words that have it. Counts of pairs only fall between
 * the moments at which they are pushed, so an entry of the heap is never too small: one that is too
 * large goes back with the count of now.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

enum {
    N_BYTES = 256,
    MAX_WORD_BYTES = 256, /* longer words are counted in parts: they say little and cost much */
};

#define NO_MERGE UINT32_MAX

struct word {
    const char *text;
    size_t at; /* its tokens are ids[at..at + len) */
    uint32_t len;
    uint64_t count;
};

struct pair {
    uint64_t key; /* left id << 32 | right id */
    int64_t count;
    uint32_t *words; /* where it occurs, perhaps no longer */
    size_t n_words, words_capacity;
    bool banned; /* its spelling is a special token's */
    bool fresh;  /* its count rose in the merge that is being done */
};

struct ranked {
    int64_t count;
    uint64_t key;
    uint32_t pair;
};

struct trainer {
    const struct bpe_training *how;
    struct arena *arena;
    struct strmap *word_index;
    struct word *words;
    size_t n_words, words_capacity;
    uint32_t *ids;
    struct pair *pairs;
    size_t n_pairs, pairs_capacity;
    uint32_t *slots; /* pair number + 1; 0 is empty */
    size_t slot_mask;
    struct ranked *heap;
    size_t n_heap, heap_capacity;
    uint32_t *fresh;
    size_t n_fresh, fresh_capacity;
    struct strmap *by_spelling;
    struct gguf_string *tokens;
    size_t n_tokens;
    struct gguf_string *merges;
    size_t n_merges, merges_capacity;
};

/* Makes room for one more element. */
#define GROW(array, count, capacity)                                                               \
    do {                                                                                           \
        if ((count) == (capacity)) {                                                               \
            (capacity) = (capacity) ? (capacity)*2 : 8;                                            \
            (array) = mem_resize((array), (capacity) * sizeof *(array));                           \
        }                                                                                          \
    } while (0)

/* ---- counting words ---- */

static void count_word(struct trainer *t, const char *text, size_t n)
{
    uint32_t i;
    if (!strmap_get(t->word_index, text, n, &i)) {
        i = (uint32_t)t->n_words;
        strmap_add(t->word_index, text, n, i);
        GROW(t->words, t->n_words, t->words_capacity);
        t->words[t->n_words++] = (struct word){text, 0, (uint32_t)n, 0};
    }
    t->words[i].count++;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (uint8_t)c >= 0x80;
}

static bool take_word(void *context, const char *text, size_t n)
{
    const struct trainer *t = context;
    if (t->how->space_alone && n > 1 && text[0] == ' ' && is_letter(text[1])) {
        count_word(context, text++, 1);
        n--;
    }
    while (n > MAX_WORD_BYTES) {
        size_t cut = MAX_WORD_BYTES;
        while (cut > MAX_WORD_BYTES - 3 && ((uint8_t)text[cut] & 0xC0) == 0x80) {
            cut--;
        }
        count_word(context, text, cut);
        text += cut;
        n -= cut;
    }
    count_word(context, text, n);
    return true;
}

/* The words of one text, without the spellings of special tokens in it. */
static bool take_text(struct trainer *t, const struct pre *pre, const struct specials *specials,
                      const char *text, size_t n, struct error *e)
{
    if (n > TOKENIZER_MAX_TEXT_BYTES) {
        return error_set(e, ERROR_LIMIT, "a training text of %zu bytes is too long; split it", n);
    }
    struct special_match *matches;
    size_t n_matches, done = 0;
    uint64_t work = 0;
    if (!specials_find(specials, text, n, TOKENIZER_ALL_TRUSTED, &matches, &n_matches, &work, e)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < n_matches; i++) {
        ok = pre_split(pre, text + done, matches[i].at - done, take_word, t, &work);
        done = matches[i].at + matches[i].len;
    }
    ok = ok && pre_split(pre, text + done, n - done, take_word, t, &work);
    free(matches);
    return ok;
}

static bool take_texts(struct trainer *t, const char *const *texts, const size_t *lengths,
                       size_t n_texts, struct error *e)
{
    const struct bpe_training *how = t->how;
    struct pre *pre = pre_new(how->pre ? how->pre : "", how->pre ? strlen(how->pre) : 0, e);
    if (!pre) {
        return false;
    }
    struct special *list = mem_array(how->n_specials, sizeof *list);
    for (size_t i = 0; i < how->n_specials; i++) {
        list[i] =
            (struct special){t->tokens[i].data, (int32_t)i, (uint16_t)t->tokens[i].len, false, 0};
    }
    struct specials *specials = specials_new(list, how->n_specials);
    bool ok = true;
    for (size_t i = 0; ok && i < n_texts; i++) {
        ok = take_text(t, pre, specials, texts[i], lengths[i], e);
    }
    specials_free(specials);
    pre_free(pre);
    return ok;
}

/* ---- pairs ---- */

static size_t slot_of(const struct trainer *t, uint64_t key)
{
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    size_t i = (size_t)(h >> 20) & t->slot_mask;
    while (t->slots[i] && t->pairs[t->slots[i] - 1].key != key) {
        i = (i + 1) & t->slot_mask;
    }
    return i;
}

static void grow_slots(struct trainer *t)
{
    size_t size = t->slots ? (t->slot_mask + 1) * 2 : 1 << 14;
    free(t->slots);
    t->slots = mem_array(size, sizeof *t->slots);
    t->slot_mask = size - 1;
    for (size_t i = 0; i < t->n_pairs; i++) {
        t->slots[slot_of(t, t->pairs[i].key)] = (uint32_t)i + 1;
    }
}

/* Adds change (of either sign) to the count of a pair, and the word to where it occurs. */
static void change_pair(struct trainer *t, uint32_t left, uint32_t right, int64_t change,
                        uint32_t word)
{
    if (!t->slots || t->n_pairs * 2 > t->slot_mask) {
        grow_slots(t);
    }
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot = slot_of(t, key);
    if (t->slots[slot] == 0) {
        GROW(t->pairs, t->n_pairs, t->pairs_capacity);
        t->pairs[t->n_pairs] = (struct pair){.key = key};
        t->slots[slot] = (uint32_t)++t->n_pairs;
    }
    uint32_t number = t->slots[slot] - 1;
    struct pair *p = &t->pairs[number];
    p->count += change;
    if (change < 0) {
        return;
    }
    if (p->n_words == 0 || p->words[p->n_words - 1] != word) {
        GROW(p->words, p->n_words, p->words_capacity);
        p->words[p->n_words++] = word;
    }
    if (!p->fresh) {
        p->fresh = true;
        GROW(t->fresh, t->n_fresh, t->fresh_capacity);
        t->fresh[t->n_fresh++] = number;
    }
}

static void count_pairs(struct trainer *t)
{
    size_t total = 0;
    for (size_t i = 0; i < t->n_words; i++) {
        t->words[i].at = total;
        total += t->words[i].len;
    }
    t->ids = mem_alloc(total * sizeof *t->ids);
    for (size_t i = 0; i < t->n_words; i++) {
        const struct word *w = &t->words[i];
        uint32_t *ids = t->ids + w->at;
        for (uint32_t j = 0; j < w->len; j++) {
            ids[j] = (uint32_t)t->how->n_specials + (uint8_t)w->text[j];
            if (j > 0) {
                change_pair(t, ids[j - 1], ids[j], (int64_t)w->count, (uint32_t)i);
            }
        }
    }
}

/* ---- the heap: largest count first, then the pair with lower ids ---- */

static bool is_before(const struct ranked *a, const struct ranked *b)
{
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static void heap_push(struct trainer *t, uint32_t pair)
{
    struct ranked r = {t->pairs[pair].count, t->pairs[pair].key, pair};
    int64_t least = t->how->min_count > 2 ? t->how->min_count : 2;
    if (r.count < least || t->pairs[pair].banned) {
        return;
    }
    GROW(t->heap, t->n_heap, t->heap_capacity);
    size_t i = t->n_heap++;
    while (i > 0 && is_before(&r, &t->heap[(i - 1) / 2])) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = r;
}

static struct ranked heap_pop(struct trainer *t)
{
    struct ranked top = t->heap[0], last = t->heap[--t->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= t->n_heap) {
            break;
        }
        if (child + 1 < t->n_heap && is_before(&t->heap[child + 1], &t->heap[child])) {
            child++;
        }
        if (!is_before(&t->heap[child], &last)) {
            break;
        }
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return top;
}

static void push_fresh(struct trainer *t)
{
    for (size_t i = 0; i < t->n_fresh; i++) {
        t->pairs[t->fresh[i]].fresh = false;
        heap_push(t, t->fresh[i]);
    }
    t->n_fresh = 0;
}

/* ---- merging ---- */

/* Joins every left, right in a word and keeps the counts of what stands around them right. */
static void merge_in_word(struct trainer *t, uint32_t word, uint32_t left, uint32_t right,
                          uint32_t whole)
{
    struct word *w = &t->words[word];
    uint32_t *ids = t->ids + w->at, len = 0;
    int64_t count = (int64_t)w->count;
    for (uint32_t i = 0; i < w->len; i++) {
        if (i + 1 == w->len || ids[i] != left || ids[i + 1] != right) {
            ids[len++] = ids[i];
            continue;
        }
        if (len > 0) {
            change_pair(t, ids[len - 1], left, -count, word);
            change_pair(t, ids[len - 1], whole, count, word);
        }
        if (i + 2 < w->len) {
            change_pair(t, right, ids[i + 2], -count, word);
            change_pair(t, whole, ids[i + 2], count, word);
        }
        ids[len++] = whole;
        i++;
    }
    w->len = len;
}

static struct gguf_string join(struct arena *a, const struct gguf_string *l, const char *between,
                               const struct gguf_string *r)
{
    size_t gap = strlen(between);
    char *text = arena_alloc(a, l->len + gap + r->len + 1);
    memcpy(text, l->data, l->len);
    memcpy(text + l->len, between, gap);
    memcpy(text + l->len + gap, r->data, r->len);
    return (struct gguf_string){text, l->len + gap + r->len};
}

/* The token that a pair becomes: a new one, or one that another pair became before. NO_MERGE where
 * its spelling is a special token's. */
static uint32_t token_for(struct trainer *t, uint32_t left, uint32_t right)
{
    struct gguf_string spelling = join(t->arena, &t->tokens[left], "", &t->tokens[right]);
    uint32_t id;
    if (strmap_get(t->by_spelling, spelling.data, spelling.len, &id)) {
        return id < t->how->n_specials ? NO_MERGE : id;
    }
    id = (uint32_t)t->n_tokens++;
    t->tokens[id] = spelling;
    strmap_add(t->by_spelling, spelling.data, spelling.len, id);
    return id;
}

static void merge_pair(struct trainer *t, uint32_t number)
{
    uint32_t left = (uint32_t)(t->pairs[number].key >> 32), right = (uint32_t)t->pairs[number].key;
    uint32_t whole = token_for(t, left, right);
    if (whole == NO_MERGE) {
        t->pairs[number].banned = true;
        return;
    }
    GROW(t->merges, t->n_merges, t->merges_capacity);
    t->merges[t->n_merges++] = join(t->arena, &t->tokens[left], " ", &t->tokens[right]);
    /* The table may move while pairs are added; this pair itself gains no words (its parts are
     * shorter than the whole). */
    uint32_t *words = t->pairs[number].words;
    size_t n_words = t->pairs[number].n_words;
    t->pairs[number].words = NULL;
    t->pairs[number].n_words = t->pairs[number].words_capacity = 0;
    for (size_t i = 0; i < n_words; i++) {
        merge_in_word(t, words[i], left, right, whole);
    }
    free(words);
    t->pairs[number].count = 0;
    push_fresh(t);
}

static void merge_all(struct trainer *t)
{
    count_pairs(t);
    push_fresh(t);
    while (t->n_tokens < t->how->n_tokens && t->n_heap > 0) {
        struct ranked top = heap_pop(t);
        int64_t count = t->pairs[top.pair].count;
        if (count == top.count) {
            merge_pair(t, top.pair);
        } else if (count < top.count) {
            heap_push(t, top.pair);
        } /* else: a later entry with the larger count was here before */
    }
}

/* ---- what goes in and what comes out ---- */

static bool add_first_tokens(struct trainer *t, struct error *e)
{
    const struct bpe_training *how = t->how;
    for (size_t i = 0; i < how->n_specials + N_BYTES; i++) {
        char byte[4];
        const char *spelling = i < how->n_specials ? how->specials[i] : byte;
        size_t n = i < how->n_specials ? strlen(spelling)
                                       : bpe_byte_spelling((uint8_t)(i - how->n_specials), byte);
        if (n == 0 || n > TOKENIZER_MAX_SPELLING_BYTES) {
            return error_set(e, ERROR_USAGE, "special token %zu has %zu bytes; 1 to %d are allowed",
                             i, n, TOKENIZER_MAX_SPELLING_BYTES);
        }
        t->tokens[i] = (struct gguf_string){arena_strndup(t->arena, spelling, n), n};
        if (!strmap_add(t->by_spelling, t->tokens[i].data, n, (uint32_t)i)) {
            return error_set(e, ERROR_USAGE,
                             "special tokens must differ from each other and from the spellings of "
                             "bytes; \"%.40s\" does not",
                             t->tokens[i].data);
        }
        t->n_tokens++;
    }
    return true;
}

static bool find_special(const struct trainer *t, const char *spelling, int32_t *id,
                         struct error *e)
{
    *id = TOKENIZER_NO_TOKEN;
    for (size_t i = 0; spelling && i < t->how->n_specials; i++) {
        if (strcmp(spelling, t->how->specials[i]) == 0) {
            *id = (int32_t)i;
            return true;
        }
    }
    return !spelling ||
           error_set(e, ERROR_USAGE, "\"%.40s\" is not among the special tokens", spelling);
}

static struct tokenizer_spec *make_spec(struct trainer *t)
{
    struct tokenizer_spec *spec = arena_alloc(t->arena, sizeof *spec);
    const char *pre = t->how->pre ? t->how->pre : "gpt-2";
    spec->arena = t->arena;
    spec->model = "gpt2";
    spec->pre = arena_strndup(t->arena, pre, strlen(pre));
    spec->n_tokens = t->n_tokens;
    spec->tokens = t->tokens;
    spec->types = arena_alloc(t->arena, t->n_tokens * sizeof *spec->types);
    for (size_t i = 0; i < t->n_tokens; i++) {
        spec->types[i] = i < t->how->n_specials ? TOKEN_CONTROL : TOKEN_NORMAL;
    }
    spec->n_merges = t->n_merges;
    spec->merges = arena_alloc(t->arena, (t->n_merges + 1) * sizeof *spec->merges);
    if (t->n_merges) {
        memcpy(spec->merges, t->merges, t->n_merges * sizeof *spec->merges);
    }
    for (size_t r = 0; r < N_TOKEN_ROLES; r++) {
        spec->roles[r] = TOKENIZER_NO_TOKEN;
    }
    spec->add_bos = t->how->bos != NULL;
    t->arena = NULL; /* the spec's now */
    return spec;
}

static void free_trainer(struct trainer *t)
{
    for (size_t i = 0; i < t->n_pairs; i++) {
        free(t->pairs[i].words);
    }
    free(t->pairs);
    free(t->slots);
    free(t->heap);
    free(t->fresh);
    free(t->words);
    free(t->ids);
    free(t->merges);
    strmap_free(t->word_index);
    strmap_free(t->by_spelling);
    arena_free(t->arena);
}

struct tokenizer_spec *bpe_train(const struct bpe_training *how, const char *const *texts,
                                 const size_t *lengths, size_t n_texts, struct error *e)
{
    if (how->n_tokens > TOKENIZER_MAX_TOKENS || how->n_specials > how->n_tokens ||
        how->n_tokens - how->n_specials < N_BYTES) {
        error_set(
            e, ERROR_USAGE,
            "a vocabulary of %zu tokens cannot be trained: it needs %zu special tokens and 256 "
            "for the bytes, and has at most %d",
            how->n_tokens, how->n_specials, TOKENIZER_MAX_TOKENS);
        return NULL;
    }
    struct trainer t = {.how = how,
                        .arena = arena_new(),
                        .word_index = strmap_new(1 << 16),
                        .by_spelling = strmap_new(how->n_tokens)};
    t.tokens = arena_alloc(t.arena, how->n_tokens * sizeof *t.tokens);
    struct tokenizer_spec *spec = NULL;
    int32_t bos, eos;
    if (find_special(&t, how->bos, &bos, e) && find_special(&t, how->eos, &eos, e) &&
        add_first_tokens(&t, e) && take_texts(&t, texts, lengths, n_texts, e)) {
        merge_all(&t);
        spec = make_spec(&t);
        spec->roles[ROLE_BOS] = bos;
        spec->roles[ROLE_EOS] = eos;
    }
    free_trainer(&t);
    return spec;
}
