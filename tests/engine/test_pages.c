/* Random operations on pages beside a slow model of them, which knows the tree as a list of whole
 * texts and looks through all of it each time. What stands in a page is modelled too: a position
 * holds a hash of the text up to it, so that a page which is shared wrongly, written while another
 * sees it, or given away too early shows. LLLM_SOAK=1 does 100,000 operations for each case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/pages.h"

enum {
    POSITIONS = 4,
    MAX_PAGES = 48,
    N_SEQUENCES = 10,
    MAX_TOKENS = 60,
    MAX_TABLE = MAX_TOKENS / POSITIONS,
    N_SYMBOLS = 3,
    N_BASES = 4,
};

/* A page as the model knows it. */
struct slow_page {
    uint32_t holders, n_tokens; /* n_tokens: in the tree */
    uint64_t key, stamp;        /* when it was used last, of cached ones */
    int32_t text[MAX_TOKENS];   /* from the beginning of the timeline */
    uint32_t begin;             /* the position of its first token */
    uint64_t content[POSITIONS];
};

struct sequence {
    bool live;
    struct page_table table;
    uint64_t key;
    int32_t tokens[MAX_TOKENS];
    uint32_t n_tokens, n_given;
    uint32_t group;               /* of the beams of one search; 0: none */
    uint64_t content[MAX_TOKENS]; /* what its positions must hold */
};

struct saved {
    uint64_t key;
    int32_t tokens[MAX_TOKENS];
    uint32_t n;
    uint64_t content[MAX_TOKENS];
};

struct world {
    struct pages *pages;
    uint32_t n_pages;
    bool phases_differ;
    struct rng rng;
    uint64_t clock;
    struct slow_page page[MAX_PAGES];
    struct sequence sequences[N_SEQUENCES];
    struct saved saved;
    int32_t bases[N_BASES][MAX_TOKENS];
    size_t n_reused, n_copied, n_joined, n_evicted, n_refused, n_restored, n_forked;
    size_t n_beams, n_dropped; /* forked and dropped by searches */
    uint32_t n_groups;
};

static uint32_t below(struct world *w, uint32_t bound)
{
    return (uint32_t)rng_below(&w->rng, bound);
}

/* What position i of a text holds, given what position i - 1 does. */
static uint64_t content_of(uint64_t before, uint64_t key, int32_t token, bool generated)
{
    uint64_t x = before * 0x9E3779B97F4A7C15u + key * 31 + (uint64_t)token * 7 + generated + 1;
    return (x ^ x >> 29) * 0xBF58476D1CE4E5B9u;
}

/* ---- the model ------------------------------------------------------------------------------- */

static uint32_t slow_free(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_pages; i++) {
        n += !w->page[i].holders && !w->page[i].n_tokens;
    }
    return n;
}

static uint32_t slow_cached(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_pages; i++) {
        n += !w->page[i].holders && w->page[i].n_tokens;
    }
    return n;
}

/* The real one says which page was allocated; the model says which could have been. */
static void slow_allocate(struct world *w, uint32_t page)
{
    struct slow_page *x = &w->page[page];
    assert_int_equal(x->holders, 0);
    if (slow_free(w) == 0) {
        for (uint32_t i = 0; i < w->n_pages; i++) {
            assert_false(!w->page[i].holders && w->page[i].stamp < x->stamp);
        }
        assert_true(x->n_tokens > 0);
        w->n_evicted++;
        x->n_tokens = 0;
    }
    assert_int_equal(x->n_tokens, 0);
    x->holders = 1;
    memset(x->content, 0xEE, sizeof x->content);
}

static void slow_let_go(struct world *w, uint32_t page)
{
    assert_true(w->page[page].holders > 0);
    if (--w->page[page].holders == 0) {
        w->page[page].stamp = ++w->clock;
    }
}

static uint32_t common(const int32_t *a, const int32_t *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

/* How much of a text some node has, up to the end of that node. */
static uint32_t slow_match(const struct world *w, uint64_t key, const int32_t *tokens, uint32_t n,
                           uint32_t *node)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < w->n_pages; i++) {
        const struct slow_page *x = &w->page[i];
        uint32_t end = x->begin + x->n_tokens;
        if (x->n_tokens && x->key == key) {
            uint32_t same = common(x->text, tokens, end < n ? end : n);
            if (same > x->begin && same > best) {
                best = same;
                *node = i;
            }
        }
    }
    return best;
}

/* Whether a node that nobody holds has that much of it. */
static bool slow_cached_match(const struct world *w, uint64_t key, const int32_t *tokens,
                              uint32_t n, uint32_t want)
{
    for (uint32_t i = 0; i < w->n_pages; i++) {
        const struct slow_page *x = &w->page[i];
        uint32_t end = x->begin + x->n_tokens;
        if (x->n_tokens && !x->holders && x->key == key && x->begin < want &&
            common(x->text, tokens, end < n ? end : n) == want) {
            return true;
        }
    }
    return false;
}

static void slow_copy(struct world *w, const struct page_copy *copy)
{
    for (uint32_t i = 0; i < copy->n_positions; i++) {
        w->page[copy->to].content[i] = w->page[copy->from].content[i];
    }
    w->n_copied += copy->n_positions > 0;
}

/* ---- both at once ---------------------------------------------------------------------------- */

static uint32_t take(struct world *w, struct page_table *t, uint64_t key, const int32_t *tokens,
                     uint32_t n)
{
    struct page_copy copy;
    uint32_t node = 0, want = slow_match(w, key, tokens, n, &node);
    uint32_t n_full = want / POSITIONS, rest = want % POSITIONS;
    uint32_t got = pages_take(w->pages, t, key, tokens, n, &copy);
    for (uint32_t i = 0; i < n_full; i++) {
        w->page[t->pages[i]].holders++;
    }
    assert_int_equal(t->n_shared, n_full);
    bool itself = rest && !w->page[node].holders && w->page[node].n_tokens == rest;
    if (rest && !itself && got < want) {
        /* The node to be copied from is not given away for its own copy; where several would do, it
         * may have been the last page that could be had. */
        uint32_t available = slow_free(w) + slow_cached(w);
        assert_true(available == 0 ||
                    (available == 1 && slow_cached_match(w, key, tokens, n, want)));
        want -= rest;
        rest = 0;
    }
    assert_int_equal(got, want);
    assert_int_equal(t->n, n_full + (rest > 0));
    assert_int_equal(copy.n_positions, itself ? 0 : rest);
    if (itself) {
        assert_int_equal(t->pages[n_full], node);
        w->page[node].holders++;
    } else if (rest) {
        struct slow_page *from = &w->page[copy.from];
        assert_int_equal(copy.to, t->pages[n_full]);
        assert_int_equal(common(from->text, tokens, want), want);
        from->holders++;
        slow_allocate(w, copy.to);
        slow_let_go(w, copy.from);
        slow_copy(w, &copy);
    }
    w->n_reused += got;
    return got;
}

static bool grow(struct world *w, struct page_table *t, uint32_t n_tokens)
{
    uint32_t before = t->n, wanted = (n_tokens + POSITIONS - 1) / POSITIONS;
    bool can = wanted <= before || wanted - before <= slow_free(w) + slow_cached(w);
    assert_int_equal(pages_grow(w->pages, t, n_tokens), can);
    assert_int_equal(t->n, can && wanted > before ? wanted : before);
    for (uint32_t i = before; i < t->n; i++) {
        slow_allocate(w, t->pages[i]);
    }
    w->n_refused += !can;
    return can;
}

static void slow_enter(struct world *w, uint32_t page, uint64_t key, const int32_t *tokens,
                       uint32_t begin, uint32_t end)
{
    for (uint32_t i = 0; i < w->n_pages; i++) {
        struct slow_page *x = &w->page[i];
        if (x->n_tokens && x->key == key && x->begin == begin &&
            common(x->text, tokens, end) >= begin + x->n_tokens) {
            x->n_tokens = 0;
        }
    }
    struct slow_page *x = &w->page[page];
    x->n_tokens = end - begin;
    x->key = key;
    x->begin = begin;
    memcpy(x->text, tokens, end * sizeof *tokens);
}

static void publish(struct world *w, struct page_table *t, uint64_t key, const int32_t *tokens,
                    uint32_t n)
{
    uint32_t before[MAX_TABLE];
    memcpy(before, t->pages, t->n * sizeof *before);
    uint32_t i = t->n_shared;
    pages_publish(w->pages, t, key, tokens, n);
    for (; i < t->n && i * POSITIONS < n; i++) {
        uint32_t begin = i * POSITIONS, end = begin + POSITIONS < n ? begin + POSITIONS : n;
        uint32_t page = before[i], node = PAGES_NONE;
        if (w->page[page].n_tokens >= end - begin) {
            break;
        }
        w->page[page].n_tokens = 0; /* a leaf that is longer now */
        for (uint32_t k = 0; k < w->n_pages; k++) {
            const struct slow_page *x = &w->page[k];
            if (x->n_tokens >= end - begin && x->key == key && x->begin == begin &&
                common(x->text, tokens, end) == end) {
                node = k;
            }
        }
        if (node == PAGES_NONE) {
            if (w->page[page].holders > 1) {
                break;
            }
            slow_enter(w, page, key, tokens, begin, end);
            node = page;
        }
        if (end - begin == POSITIONS && node != page) {
            w->page[node].holders++;
            slow_let_go(w, page);
            w->n_joined++;
        }
        assert_int_equal(t->pages[i], end - begin == POSITIONS ? node : page);
    }
}

static void release(struct world *w, struct page_table *t)
{
    for (uint32_t i = t->n; i-- > 0;) {
        slow_let_go(w, t->pages[i]);
    }
    pages_release(w->pages, t);
    assert_int_equal(t->n, 0);
}

/* A pass writes positions [from, to) of a table. */
static void write_positions(struct world *w, const struct page_table *t, const uint64_t *content,
                            uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct slow_page *x = &w->page[t->pages[i / POSITIONS]];
        assert_int_equal(x->holders, 1);
        assert_true(i % POSITIONS >= x->n_tokens);
        x->content[i % POSITIONS] = content[i];
    }
}

static void expect_content(const struct world *w, const struct page_table *t,
                           const uint64_t *content, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (w->page[t->pages[i / POSITIONS]].content[i % POSITIONS] != content[i]) {
            fail_msg("position %u of a sequence was lost", i);
        }
    }
}

static void check(struct world *w)
{
    const struct page_table *tables[N_SEQUENCES];
    uint32_t n = 0;
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        struct sequence *s = &w->sequences[i];
        if (s->live) {
            tables[n++] = &s->table;
            expect_content(w, &s->table, s->content, s->n_tokens);
        }
    }
    const char *broken = pages_check(w->pages, tables, n);
    if (broken) {
        fail_msg("law %s of pages.h is broken", broken);
    }
    for (uint32_t i = 0; i < w->n_pages; i++) {
        assert_int_equal(pages_holders(w->pages, i), w->page[i].holders);
        assert_int_equal(pages_in_tree(w->pages, i), w->page[i].n_tokens);
    }
    assert_int_equal(pages_n_free(w->pages), slow_free(w));
    assert_int_equal(pages_n_cached(w->pages), slow_cached(w));
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void append(struct world *w, struct sequence *s, int32_t token, bool generated)
{
    uint32_t i = s->n_tokens++;
    s->tokens[i] = token;
    s->content[i] =
        content_of(i ? s->content[i - 1] : 0, s->key, token, generated && w->phases_differ);
    if (!generated || !w->phases_differ) {
        s->n_given = s->n_tokens;
    }
}

static void finish(struct world *w, struct sequence *s)
{
    if (below(w, 2)) {
        publish(w, &s->table, s->key, s->tokens, s->n_given);
    }
    release(w, &s->table);
    s->live = false;
    s->group = 0;
}

/* A prompt that begins as others do; a part of it is computed, often all. */
static void admit(struct world *w, struct sequence *s)
{
    uint32_t n = 1 + below(w, MAX_TOKENS * 3 / 4), shared = below(w, n + 1);
    const int32_t *base = w->bases[below(w, N_BASES)];
    s->live = true;
    s->key = below(w, 4) == 0;
    s->n_tokens = s->n_given = 0;
    for (uint32_t i = 0; i < n; i++) {
        append(w, s, i < shared ? base[i] : (int32_t)below(w, N_SYMBOLS), false);
    }
    uint32_t done = take(w, &s->table, s->key, s->tokens, n - 1);
    if (!grow(w, &s->table, n)) {
        s->n_tokens = s->n_given = done;
        finish(w, s);
        return;
    }
    while (done < n && below(w, 12)) {
        uint32_t step = 1 + below(w, n - done);
        write_positions(w, &s->table, s->content, done, done + step);
        done += step;
        if (below(w, 2)) {
            publish(w, &s->table, s->key, s->tokens, done / POSITIONS * POSITIONS);
        }
    }
    s->n_tokens = s->n_given = done; /* cancelled in prefill, or whole */
    if (below(w, 4)) {
        publish(w, &s->table, s->key, s->tokens, done);
    }
}

static void generate(struct world *w, struct sequence *s, uint32_t n)
{
    uint32_t from = s->n_tokens;
    if (from + n > MAX_TOKENS || !grow(w, &s->table, from + n)) {
        finish(w, s);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        append(w, s, (int32_t)below(w, N_SYMBOLS), true);
    }
    write_positions(w, &s->table, s->content, from, from + n);
}

static void fork_sequence(struct world *w, const struct sequence *from, struct sequence *to,
                          uint32_t n)
{
    struct page_copy copy;
    bool can = n % POSITIONS == 0 || slow_free(w) + slow_cached(w) > 0;
    assert_int_equal(pages_fork(w->pages, &from->table, &to->table, n, &copy), can);
    if (!can) {
        w->n_refused++;
        return;
    }
    to->live = true;
    to->key = from->key;
    to->n_tokens = n;
    to->n_given = from->n_given < n ? from->n_given : n;
    memcpy(to->tokens, from->tokens, sizeof to->tokens);
    memcpy(to->content, from->content, sizeof to->content);
    if (n % POSITIONS) {
        slow_allocate(w, copy.to);
        slow_copy(w, &copy);
    }
    for (uint32_t i = 0; i < n / POSITIONS; i++) {
        assert_int_equal(to->table.pages[i], from->table.pages[i]);
        w->page[to->table.pages[i]].holders++;
    }
    w->n_forked++;
}

static struct sequence *any(struct world *w, bool live)
{
    uint32_t first = below(w, N_SEQUENCES);
    for (uint32_t i = 0; i < N_SEQUENCES; i++) {
        struct sequence *s = &w->sequences[(first + i) % N_SEQUENCES];
        if (s->live == live) {
            return s;
        }
    }
    return NULL;
}

/* A step of a search whose beams the sequence is one of: some are dropped, others forked where they
 * stand, and each gets a token. What those give back who are dropped is enough for the copies. */
static void step_beams(struct world *w, struct sequence *one)
{
    enum { WIDTH = 4 };
    struct sequence *beams[N_SEQUENCES];
    uint32_t n = 0, n_children[N_SEQUENCES] = {0}, width = 1 + below(w, WIDTH);
    uint32_t group = one->group = one->group ? one->group : ++w->n_groups;
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        if (w->sequences[i].live && w->sequences[i].group == group) {
            beams[n++] = &w->sequences[i];
        }
    }
    for (uint32_t i = 0; i < width; i++) {
        n_children[below(w, n)]++;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (n_children[i] == 0) {
            uint32_t had = slow_free(w) + slow_cached(w);
            bool is_own = beams[i]->n_tokens % POSITIONS != 0; /* its last page */
            finish(w, beams[i]);
            assert_true(slow_free(w) + slow_cached(w) >= had + is_own);
            w->n_dropped++;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        struct sequence *to;
        for (uint32_t k = 1; k < n_children[i] && (to = any(w, false)); k++) {
            fork_sequence(w, beams[i], to, beams[i]->n_tokens);
            to->group = to->live ? group : 0;
            w->n_beams += to->live;
        }
    }
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        if (w->sequences[i].live && w->sequences[i].group == group) {
            generate(w, &w->sequences[i], 1);
        }
    }
}

/* What the tree has of a text, as a file would get it; and back into the tree. */
static void save(struct world *w, const struct sequence *like)
{
    struct page_table t;
    page_table_init(&t, MAX_TABLE);
    struct saved *f = &w->saved;
    f->key = like->key;
    memcpy(f->tokens, like->tokens, sizeof f->tokens);
    f->n = take(w, &t, f->key, f->tokens, like->n_tokens);
    for (uint32_t i = 0; i < f->n; i++) {
        f->content[i] = content_of(i ? f->content[i - 1] : 0, f->key, f->tokens[i], false);
    }
    expect_content(w, &t, f->content, f->n);
    release(w, &t);
    page_table_free(&t);
}

static void restore(struct world *w)
{
    struct page_table t;
    const struct saved *f = &w->saved;
    page_table_init(&t, MAX_TABLE);
    uint32_t done = take(w, &t, f->key, f->tokens, f->n);
    if (grow(w, &t, f->n)) {
        write_positions(w, &t, f->content, done, f->n);
        publish(w, &t, f->key, f->tokens, f->n);
        w->n_restored += f->n > done;
    }
    release(w, &t);
    page_table_free(&t);
}

static void evict(struct world *w)
{
    uint32_t n = below(w, 4), cached = slow_cached(w);
    assert_int_equal(pages_evict(w->pages, n), n < cached ? n : cached);
    for (uint32_t k = 0; k < n && k < cached; k++) {
        uint32_t oldest = PAGES_NONE;
        for (uint32_t i = 0; i < w->n_pages; i++) {
            const struct slow_page *x = &w->page[i];
            if (!x->holders && x->n_tokens &&
                (oldest == PAGES_NONE || x->stamp < w->page[oldest].stamp)) {
                oldest = i;
            }
        }
        w->page[oldest].n_tokens = 0;
    }
}

static void operate(struct world *w)
{
    struct sequence *idle = any(w, false), *busy = any(w, true);
    uint32_t kind = below(w, 100);
    if (kind < 30 && idle) {
        admit(w, idle);
    } else if (kind < 48 && busy) {
        generate(w, busy, 1 + below(w, 6));
    } else if (kind < 62 && busy) {
        step_beams(w, busy);
    } else if (kind < 75 && busy) {
        finish(w, busy);
    } else if (kind < 82 && busy && idle) {
        /* Most where they stand, as answers under way. */
        fork_sequence(w, busy, idle,
                      busy->n_tokens - (below(w, 3) ? 0 : below(w, busy->n_tokens + 1)));
    } else if (kind < 88 && busy) {
        publish(w, &busy->table, busy->key, busy->tokens, below(w, busy->n_given + 1));
    } else if (kind < 92) {
        evict(w);
    } else if (kind < 96 && busy) {
        save(w, busy);
    } else {
        restore(w);
    }
}

static void random_operations(uint32_t n_pages, bool phases_differ, uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->n_pages = n_pages;
    w->phases_differ = phases_differ;
    w->pages = pages_new(n_pages, POSITIONS);
    rng_seed(&w->rng, seed);
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        page_table_init(&w->sequences[i].table, MAX_TABLE);
    }
    for (size_t b = 0; b < N_BASES; b++) {
        for (size_t i = 0; i < MAX_TOKENS; i++) {
            w->bases[b][i] = (int32_t)below(w, N_SYMBOLS);
        }
    }
    size_t n = getenv("LLLM_SOAK") ? 100000 : 3000;
    for (size_t i = 0; i < n; i++) {
        operate(w);
        check(w);
    }
    /* What the cases are for has happened. */
    assert_true(w->n_reused > n && w->n_copied > n / 100 && w->n_forked > n / 100);
    assert_true(w->n_beams > n / 50 && w->n_dropped > n / 50);
    assert_true(w->n_evicted > n / 10 && w->n_refused > n / 200 && w->n_restored > n / 500);
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        if (w->sequences[i].live) {
            release(w, &w->sequences[i].table);
        }
        page_table_free(&w->sequences[i].table);
    }
    pages_evict(w->pages, UINT32_MAX);
    assert_int_equal(pages_n_free(w->pages), n_pages); /* none was lost */
    pages_free(w->pages);
    free(w);
}

static void test_random_operations(void **state)
{
    (void)state;
    random_operations(MAX_PAGES, true, 1);
    random_operations(MAX_PAGES, false, 2);
    random_operations(MAX_TABLE + 3, true, 3); /* hardly room for anything */
    random_operations(MAX_TABLE + 3, false, 4);
}

/* ---- single cases ---------------------------------------------------------------------------- */

static uint32_t take_only(struct pages *p, struct page_table *t, uint64_t key,
                          const int32_t *tokens, uint32_t n, struct page_copy *copy)
{
    page_table_init(t, 8);
    return pages_take(p, t, key, tokens, n, copy);
}

static void drop(struct pages *p, struct page_table *t)
{
    pages_release(p, t);
    page_table_free(t);
}

static void test_a_shared_beginning(void **state)
{
    (void)state;
    struct pages *p = pages_new(8, 4);
    const int32_t a[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, b[] = {1, 2, 3, 4, 5, 6, 0, 0, 0, 0};
    struct page_table s, t, u;
    struct page_copy copy;
    assert_int_equal(take_only(p, &s, 7, a, 9, &copy), 0);
    assert_true(pages_grow(p, &s, 10));
    assert_int_equal(s.n, 3);
    pages_publish(p, &s, 7, a, 10);
    assert_int_equal(s.n_shared, 2);
    /* One page of b is a's; of the next, half is copied. */
    assert_int_equal(take_only(p, &t, 7, b, 9, &copy), 6);
    assert_int_equal(t.pages[0], s.pages[0]);
    assert_int_equal(copy.from, s.pages[1]);
    assert_int_equal(copy.to, t.pages[1]);
    assert_int_equal(copy.n_positions, 2);
    assert_int_equal(pages_holders(p, s.pages[0]), 2);
    /* Another key sees nothing of it. */
    assert_int_equal(take_only(p, &u, 8, a, 9, &copy), 0);
    drop(p, &u);
    drop(p, &t);
    /* A leaf that nobody holds is taken as it is, one that somebody holds is copied. */
    const int32_t longer[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    assert_int_equal(take_only(p, &t, 7, longer, 11, &copy), 10);
    assert_int_equal(copy.from, s.pages[2]);
    drop(p, &t);
    uint32_t leaf = s.pages[2];
    drop(p, &s);
    assert_int_equal(take_only(p, &t, 7, longer, 11, &copy), 10);
    assert_int_equal(copy.n_positions, 0);
    assert_int_equal(t.pages[2], leaf);
    pages_publish(p, &t, 7, longer, 12);
    assert_int_equal(pages_in_tree(p, leaf), 4);
    drop(p, &t);
    /* The whole of what is there, but for the token whose logits are wanted. */
    assert_int_equal(take_only(p, &t, 7, longer, 11, &copy), 11);
    assert_int_equal(copy.n_positions, 3);
    drop(p, &t);
    pages_free(p);
}

static void test_the_oldest_goes_first(void **state)
{
    (void)state;
    struct pages *p = pages_new(4, 4);
    const int32_t a[] = {1, 1, 1, 1, 2, 2, 2, 2}, b[] = {3, 3, 3, 3, 4, 4, 4, 4};
    struct page_table s, t;
    struct page_copy copy;
    take_only(p, &s, 0, a, 8, &copy);
    assert_true(pages_grow(p, &s, 8));
    pages_publish(p, &s, 0, a, 8);
    take_only(p, &t, 0, b, 8, &copy);
    assert_true(pages_grow(p, &t, 8));
    pages_publish(p, &t, 0, b, 8);
    drop(p, &t);
    assert_int_equal(pages_available(p), 2);
    /* What is held stays, whatever is asked for. */
    page_table_init(&t, 8);
    assert_false(pages_grow(p, &t, 12));
    assert_int_equal(pages_n_cached(p), 2);
    assert_int_equal(pages_evict(p, 99), 2);
    drop(p, &s);
    /* A branch goes from its end. */
    assert_true(pages_grow(p, &t, 12));
    drop(p, &t);
    assert_int_equal(take_only(p, &t, 0, a, 8, &copy), 4);
    drop(p, &t);
    pages_free(p);
}

/* Two that computed the same at the same time hold one page afterwards. */
static void test_equal_pages_are_joined(void **state)
{
    (void)state;
    struct pages *p = pages_new(8, 4);
    const int32_t a[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct page_table s[2];
    struct page_copy copy;
    for (int i = 0; i < 2; i++) {
        take_only(p, &s[i], 0, a, 8, &copy);
        assert_true(pages_grow(p, &s[i], 9));
    }
    assert_int_equal(pages_n_free(p), 2);
    pages_publish(p, &s[0], 0, a, 9);
    pages_publish(p, &s[1], 0, a, 9);
    assert_int_equal(pages_n_free(p), 4);
    assert_memory_equal(s[0].pages, s[1].pages, 2 * sizeof *s[0].pages);
    assert_int_not_equal(s[0].pages[2], s[1].pages[2]); /* both write there */
    drop(p, &s[0]);
    drop(p, &s[1]);
    assert_int_equal(pages_n_cached(p), 3);
    pages_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_shared_beginning),
        cmocka_unit_test(test_the_oldest_goes_first),
        cmocka_unit_test(test_equal_pages_are_joined),
        cmocka_unit_test(test_random_operations),
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
