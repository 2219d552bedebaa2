/* hf_parts.c: tokenizer.json in parts. Vocabulary, merges and added tokens may have millions of
 * values, of which a tree would take 25 times the file and more; they are read as a stream, from
 * the text, and what is left is parsed as a whole.
 *
 * What is counted is reserved at once: growing arrays would cost as much again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/strmap.h"
#include "tokenizer/hf.h"

enum {
    MAX_REST_BYTES = 2 << 20, /* the largest known, a table of normalisation, has 0.4 MB */
    MAX_REST_VALUES = 1 << 15,
    MAX_KEY_BYTES = 1 << 16,
    MAX_ADDED_BYTES = 1 << 17, /* a spelling of 16,384 bytes, each escaped, and its members */
    MAX_ADDED_VALUES = 64,
    MAX_RAW_BYTES = TOKENIZER_MAX_SPELLING_BYTES + 2, /* WordPiece writes "##" in front */
    MAX_MERGE_BYTES = 2 * TOKENIZER_MAX_SPELLING_BYTES + 1,
};

/* ---- taking the document apart ---- */

struct cutter {
    struct json_scan s;
    struct hf_parts *parts;
    struct buf rest, key;
    const char *copied; /* up to here the text is in rest, or was left out */
    size_t n_values;    /* in rest */
};

static bool refuse_rest(struct cutter *c)
{
    return error_set(c->s.e, ERROR_LIMIT,
                     "what it has beside vocabulary, merges and added tokens is larger than %d "
                     "bytes",
                     MAX_REST_BYTES);
}

static bool copy_to(struct cutter *c, const char *end)
{
    if (!buf_append(&c->rest, c->copied, (size_t)(end - c->copied))) {
        return refuse_rest(c);
    }
    c->copied = end;
    return true;
}

/* A value that is not for the tree; null stands there for it. */
static bool leave_out(struct cutter *c, const char **at)
{
    json_scan_peek(&c->s);
    *at = c->s.p;
    if (!copy_to(c, *at) || !json_scan_skip(&c->s)) {
        return false;
    }
    c->copied = c->s.p;
    return buf_append_str(&c->rest, "null") || refuse_rest(c);
}

static bool keep(struct cutter *c)
{
    size_t before = c->s.n_skipped;
    if (!json_scan_skip(&c->s)) {
        return false;
    }
    c->n_values += c->s.n_skipped - before;
    return c->n_values <= MAX_REST_VALUES ||
           error_set(c->s.e, ERROR_LIMIT,
                     "it has more than %d values beside vocabulary, merges and added tokens",
                     MAX_REST_VALUES);
}

/* Of members with one name the last counts, as in the tree. */
static bool cut_model(struct cutter *c)
{
    bool more = true;
    c->parts->vocab = c->parts->merges = NULL;
    if (json_scan_peek(&c->s) != '{') {
        return keep(c);
    }
    bool ok = json_scan_object(&c->s);
    while (ok && (ok = json_scan_key(&c->s, &c->key, &more)) && more) {
        ok = strcmp(c->key.data, "vocab") == 0    ? leave_out(c, &c->parts->vocab)
             : strcmp(c->key.data, "merges") == 0 ? leave_out(c, &c->parts->merges)
                                                  : keep(c);
    }
    return ok;
}

static bool cut_root(struct cutter *c)
{
    bool more = true;
    bool ok = json_scan_object(&c->s);
    while (ok && (ok = json_scan_key(&c->s, &c->key, &more)) && more) {
        ok = strcmp(c->key.data, "model") == 0          ? cut_model(c)
             : strcmp(c->key.data, "added_tokens") == 0 ? leave_out(c, &c->parts->added)
                                                        : keep(c);
    }
    return ok && json_scan_end(&c->s) && copy_to(c, c->s.end);
}

bool hf_parts_open(struct hf_parts *parts, const char *text, size_t n, struct error *e)
{
    struct cutter c = {.parts = parts, .copied = text};
    json_error_t problem;
    *parts = (struct hf_parts){0};
    buf_init(&c.rest, MAX_REST_BYTES);
    buf_init(&c.key, MAX_KEY_BYTES);
    bool ok = json_scan_begin(&c.s, text, n, 0, NULL, e) && cut_root(&c);
    parts->all = c.s;
    if (ok) {
        parts->rest = hf_parse(c.rest.data, c.rest.len, &problem);
        ok = parts->rest || error_set(e, ERROR_INPUT, "it is no valid JSON: %s", problem.text);
    }
    buf_free(&c.rest);
    buf_free(&c.key);
    return ok;
}

bool hf_parts_open_vocab(struct hf_parts *parts, const char *text, size_t n, struct error *e)
{
    struct json_scan s;
    *parts = (struct hf_parts){0};
    if (!json_scan_begin(&s, text, n, 0, NULL, e)) {
        return false;
    }
    if (json_scan_peek(&s) != '{') {
        return error_set(e, ERROR_INPUT, "it is no JSON object");
    }
    parts->vocab = s.p;
    if (!json_scan_skip(&s) || !json_scan_end(&s)) {
        return false;
    }
    parts->all = s;
    return true;
}

void hf_parts_close(struct hf_parts *parts)
{
    json_decref(parts->rest);
    *parts = (struct hf_parts){0};
}

bool hf_parts_begins(const char *part, char c)
{
    return part && *part == c;
}

/* The document as it stands at a part that begins with '{' or '['. */
static struct json_scan enter(const struct hf_parts *parts, const char *part)
{
    struct json_scan s = parts->all;
    s.p = part + 1;
    s.first = true;
    return s;
}

/* The text of a string that has a ceiling; what it is, for the sentence. */
static bool read_text(struct json_scan *s, struct buf *out, const char *what, size_t number)
{
    return json_scan_text(s, out) ||
           (out->full && error_set(s->e, ERROR_LIMIT, "%s %zu is longer than %zu bytes", what,
                                   number, out->max_bytes));
}

static bool is_number(struct json_scan *s)
{
    char c = json_scan_peek(s);
    return c == '-' || (c >= '0' && c <= '9');
}

/* ---- added tokens ---- */

typedef bool added_fn(struct hf_reader *r, size_t i, const json_t *added, int64_t *end);

/* One at a time. */
static bool each_added(struct hf_reader *r, const struct hf_parts *parts, added_fn *fn,
                       int64_t *end)
{
    if (!hf_parts_begins(parts->added, '[')) {
        return true;
    }
    struct json_scan s = enter(parts, parts->added);
    struct buf text;
    bool more = true, ok = true;
    buf_init(&text, MAX_ADDED_BYTES);
    for (size_t i = 0; ok && (ok = json_scan_element(&s, &more)) && more; i++) {
        bool is_object = json_scan_peek(&s) == '{';
        const char *begin = s.p;
        size_t before = s.n_skipped;
        json_error_t problem;
        json_t *added = NULL;
        ok = json_scan_skip(&s);
        buf_clear(&text);
        if (ok && (s.n_skipped - before > MAX_ADDED_VALUES ||
                   !buf_append(&text, begin, (size_t)(s.p - begin)))) {
            ok = error_set(r->e, ERROR_LIMIT,
                           "added token %zu has more than %d values or more than %d bytes", i,
                           MAX_ADDED_VALUES, MAX_ADDED_BYTES);
        }
        if (ok && is_object) {
            added = hf_parse(text.data, text.len, &problem);
            ok = added || error_set(r->e, ERROR_INPUT, "added token %zu is no valid JSON: %s", i,
                                    problem.text);
        }
        ok = ok && fn(r, i, added, end);
        json_decref(added);
    }
    buf_free(&text);
    return ok;
}

static void include_id(int64_t *end, int64_t id)
{
    if (id >= *end && id < TOKENIZER_MAX_TOKENS) {
        *end = id + 1;
    }
}

static bool include_added(struct hf_reader *r, size_t i, const json_t *added, int64_t *end)
{
    (void)r;
    (void)i;
    include_id(end, json_integer_value(json_object_get(added, "id")));
    return true;
}

static bool read_one_added(struct hf_reader *r, size_t i, const json_t *added, int64_t *end)
{
    (void)end;
    const json_t *id = json_object_get(added, "id"), *text = json_object_get(added, "content");
    if (!json_is_integer(id) || !json_is_string(text) || json_string_length(text) == 0) {
        return error_set(r->e, ERROR_INPUT, "added token %zu has no number or no text", i);
    }
    return hf_add_special(r, json_integer_value(id), json_string_value(text),
                          json_string_length(text), hf_bool(added, "special", false),
                          hf_attributes(added));
}

bool hf_read_added(struct hf_reader *r, const struct hf_parts *parts)
{
    return each_added(r, parts, read_one_added, NULL);
}

/* Room for ids below `end` and those of added tokens. */
static bool reserve_all(struct hf_reader *r, const struct hf_parts *parts, int64_t end)
{
    if (!each_added(r, parts, include_added, &end)) {
        return false;
    }
    hf_reserve(r, (size_t)end);
    return true;
}

/* ---- {"piece": id, ...} ---- */

/* The keys of the object, each where it stands last, for of equal keys the last counts: 32 bits of
 * the hash and 1 + the place of its quote in the text, which is under HF_MAX_FILE_BYTES. */
struct key_table {
    uint64_t *slots; /* 0: empty */
    uint64_t seed;
    size_t n, n_replaced;
};

enum { N_KEY_SLOTS = 2 * TOKENIZER_MAX_TOKENS };
_Static_assert((N_KEY_SLOTS & (N_KEY_SLOTS - 1)) == 0, "a mask is made of it");

struct vocab_reader {
    struct hf_reader *r;
    const struct hf_parts *parts;
    struct key_table keys;
    struct buf key, other;
    bool word_pieces;
};

static bool is_key_at(struct vocab_reader *v, size_t place)
{
    struct json_scan s = v->parts->all;
    s.p = s.begin + place;
    return json_scan_text(&s, &v->other) && v->other.len == v->key.len &&
           memcmp(v->other.data, v->key.data, v->key.len) == 0;
}

/* The key that was read last, at this place. False: there are too many. */
static bool note_key(struct vocab_reader *v, size_t place)
{
    struct key_table *t = &v->keys;
    uint32_t hash = strmap_hash(t->seed, v->key.data, v->key.len);
    size_t i = hash & (N_KEY_SLOTS - 1);
    for (; t->slots[i]; i = (i + 1) & (N_KEY_SLOTS - 1)) {
        if (t->slots[i] >> 32 == hash && is_key_at(v, (uint32_t)t->slots[i] - 1)) {
            t->n--;
            t->n_replaced++;
            break;
        }
    }
    t->slots[i] = (uint64_t)hash << 32 | (uint32_t)(place + 1);
    return ++t->n <= TOKENIZER_MAX_TOKENS;
}

/* Whether the key that was read last comes once more, behind this place. */
static bool is_replaced(const struct vocab_reader *v, size_t place)
{
    const struct key_table *t = &v->keys;
    if (t->n_replaced == 0) {
        return false;
    }
    size_t i = strmap_hash(t->seed, v->key.data, v->key.len) & (N_KEY_SLOTS - 1);
    while (t->slots[i] && (uint32_t)t->slots[i] != place + 1) {
        i = (i + 1) & (N_KEY_SLOTS - 1);
    }
    return t->slots[i] == 0;
}

/* *more is false at the end of the object. */
static bool next_key(struct vocab_reader *v, struct json_scan *s, size_t i, size_t *place,
                     bool *more)
{
    if (!json_scan_key(s, &v->key, more)) {
        return v->key.full &&
               error_set(s->e, ERROR_LIMIT, "key %zu of vocab is longer than %zu bytes", i,
                         v->key.max_bytes);
    }
    *place = *more ? (size_t)(s->text - s->begin) : 0;
    return true;
}

static bool survey_vocab(struct vocab_reader *v, int64_t *end)
{
    struct json_scan s = enter(v->parts, v->parts->vocab);
    struct json_number id;
    bool more = true;
    for (size_t i = 0, place = 0;; i++) {
        if (!next_key(v, &s, i, &place, &more) || !more) {
            return !more;
        }
        if (!note_key(v, place)) {
            return error_set(s.e, ERROR_LIMIT, "its vocabulary has more than %d tokens",
                             TOKENIZER_MAX_TOKENS);
        }
        if (!is_number(&s)) {
            if (!json_scan_skip(&s)) {
                return false;
            }
        } else if (!json_scan_number(&s, &id)) {
            return false;
        } else if (id.is_whole) {
            include_id(end, id.integer);
        }
    }
}

static bool set_token(struct vocab_reader *v, int64_t id)
{
    struct hf_reader *r = v->r;
    struct gguf_string s = {v->key.data, v->key.len};
    if (v->word_pieces) {
        s = hf_word_piece(&v->other, s.data, s.len);
    }
    if (id >= 0 && (uint64_t)id < r->spec->n_tokens && r->spec->types[id]) {
        return error_set(r->e, ERROR_INPUT, "two tokens have the number %lld", (long long)id);
    }
    return hf_set_token(r, id, s.data, s.len, TOKEN_NORMAL, HF_NO_SCORE);
}

static bool set_tokens(struct vocab_reader *v)
{
    struct json_scan s = enter(v->parts, v->parts->vocab);
    struct json_number id = {0};
    bool more = true;
    for (size_t i = 0, place = 0;; i++) {
        if (!next_key(v, &s, i, &place, &more) || !more) {
            return !more;
        }
        bool number = is_number(&s), replaced = is_replaced(v, place);
        if (!(number ? json_scan_number(&s, &id) : json_scan_skip(&s))) {
            return false;
        }
        if (!replaced && !(number && id.is_whole)) {
            return error_set(s.e, ERROR_INPUT, "the token \"%.40s\" has no number", v->key.data);
        }
        if (!replaced && !set_token(v, id.integer)) {
            return false;
        }
    }
}

bool hf_read_vocab_object(struct hf_reader *r, const struct hf_parts *parts, bool word_pieces)
{
    if (!hf_parts_begins(parts->vocab, '{')) {
        return error_set(r->e, ERROR_INPUT, "its model has no vocabulary (vocab)");
    }
    struct vocab_reader v = {.r = r, .parts = parts, .word_pieces = word_pieces};
    int64_t end = 0;
    v.keys.slots = mem_array(N_KEY_SLOTS, sizeof *v.keys.slots);
    v.keys.seed = strmap_seed();
    buf_init(&v.key, MAX_RAW_BYTES);
    buf_init(&v.other, MAX_RAW_BYTES + 4);
    bool ok = survey_vocab(&v, &end) && reserve_all(r, parts, end) && set_tokens(&v);
    free(v.keys.slots);
    buf_free(&v.key);
    buf_free(&v.other);
    return ok;
}

/* ---- [["piece", score], ...] ---- */

/* Whether element i is a list that begins with a text and a number, which are read. */
static bool read_piece(struct json_scan *s, size_t i, struct buf *text, double *score)
{
    struct json_number number = {0};
    bool more = true, fine = json_scan_peek(s) == '[' && json_scan_array(s) &&
                             json_scan_element(s, &more) && more && json_scan_peek(s) == '"';
    if (fine && !read_text(s, text, "piece", i)) {
        return false;
    }
    fine = fine && json_scan_element(s, &more) && more && is_number(s);
    if (!fine) {
        return error_set(s->e, ERROR_INPUT, "piece %zu has no spelling or no score", i);
    }
    if (!json_scan_number(s, &number)) {
        return false;
    }
    *score = number.value;
    while (more) { /* more members mean nothing */
        if (!json_scan_element(s, &more) || (more && !json_scan_skip(s))) {
            return false;
        }
    }
    return true;
}

/* How many elements a list has; 0 for no list. */
static size_t count_elements(const struct hf_parts *parts, const char *list)
{
    if (!hf_parts_begins(list, '[')) {
        return 0;
    }
    struct json_scan s = enter(parts, list);
    bool more = true;
    size_t n = 0;
    while (json_scan_element(&s, &more) && more && json_scan_skip(&s)) {
        n++;
    }
    return n;
}

bool hf_read_piece_list(struct hf_reader *r, const struct hf_parts *parts, score_fn *change)
{
    if (!hf_parts_begins(parts->vocab, '[')) {
        return error_set(r->e, ERROR_INPUT, "its model has no list of pieces (vocab)");
    }
    size_t n = count_elements(parts, parts->vocab);
    if (!reserve_all(r, parts, n < TOKENIZER_MAX_TOKENS ? (int64_t)n : TOKENIZER_MAX_TOKENS)) {
        return false;
    }
    struct json_scan s = enter(parts, parts->vocab);
    struct buf text;
    bool more = true, ok = true;
    double score = 0;
    buf_init(&text, TOKENIZER_MAX_SPELLING_BYTES);
    for (size_t i = 0; ok && (ok = json_scan_element(&s, &more)) && more; i++) {
        ok = read_piece(&s, i, &text, &score) &&
             hf_set_token(r, (int64_t)i, text.data, text.len, TOKEN_NORMAL, change(score));
    }
    buf_free(&text);
    return ok;
}

/* ---- ["l r", ...] or [["l", "r"], ...] ---- */

/* ["l", "r"] into left, with the space. */
static bool read_pair(struct hf_reader *r, struct json_scan *s, size_t i, struct buf *left,
                      struct buf *right)
{
    struct buf *const parts[] = {left, right};
    bool more = true, fine = json_scan_array(s);
    for (size_t k = 0; k < 2; k++) {
        fine = fine && json_scan_element(s, &more) && more && json_scan_peek(s) == '"';
        if (fine && !read_text(s, parts[k], "a part of merge", i)) {
            return false;
        }
    }
    if (!fine) {
        return error_set(r->e, ERROR_INPUT, "merge %zu is no pair of texts", i);
    }
    while (more) {
        if (!json_scan_element(s, &more) || (more && !json_scan_skip(s))) {
            return false;
        }
    }
    if (left->len == 0 || memchr(left->data + 1, ' ', left->len - 1)) {
        return error_set(r->e, ERROR_UNSUPPORTED, /* it would be cut elsewhere */
                         "its model has merges of parts with spaces, which this program does not "
                         "know");
    }
    return (buf_append_char(left, ' ') && buf_append(left, right->data, right->len)) ||
           error_set(r->e, ERROR_LIMIT, "merge %zu is longer than %d bytes", i, MAX_MERGE_BYTES);
}

static bool read_merge(struct hf_reader *r, struct json_scan *s, size_t i, struct buf *left,
                       struct buf *right)
{
    char c = json_scan_peek(s);
    if (c == '"') {
        return read_text(s, left, "merge", i);
    }
    return c == '[' ? read_pair(r, s, i, left, right)
                    : error_set(r->e, ERROR_INPUT, "merge %zu is no pair of texts", i);
}

bool hf_read_merges(struct hf_reader *r, const struct hf_parts *parts)
{
    struct tokenizer_spec *spec = r->spec;
    size_t n = count_elements(parts, parts->merges);
    if (!hf_parts_begins(parts->merges, '[') || n > TOKENIZER_MAX_MERGES) {
        return error_set(r->e, ERROR_INPUT,
                         "its model has no list of merges, or one of more than %d",
                         TOKENIZER_MAX_MERGES);
    }
    struct json_scan s = enter(parts, parts->merges);
    struct buf left, right;
    bool more = true, ok = true;
    buf_init(&left, MAX_MERGE_BYTES);
    buf_init(&right, MAX_MERGE_BYTES);
    spec->merges = arena_alloc(spec->arena, (n + 1) * sizeof *spec->merges);
    for (size_t i = 0; ok && (ok = json_scan_element(&s, &more)) && more; i++) {
        ok = read_merge(r, &s, i, &left, &right);
        if (ok) {
            spec->merges[i] = (struct gguf_string){hf_copy_text(r, left.data, left.len), left.len};
        }
    }
    spec->n_merges = ok ? n : 0;
    buf_free(&left);
    buf_free(&right);
    return ok;
}
