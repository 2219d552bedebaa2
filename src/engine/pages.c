/* A node of the tree is its page: all that is known of a page stands in one row, so that there is
 * nothing to allocate but the lists of children. Children are sorted by key and tokens; then the
 * one that shares most with a text is a neighbour of the place where the text would stand. */
#include "engine/pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct children {
    uint32_t *at; /* [room], sorted */
    uint32_t n, room;
};

struct page {
    uint64_t key;          /* in the tree */
    uint32_t holders;      /* sequences */
    uint32_t parent;       /* in the tree; PAGES_NONE at the top */
    uint32_t newer, older; /* in the list of cached pages; of free ones, `older` is the next */
    uint32_t n_tokens;     /* in the tree; 0: it is not there */
    struct children children;
};

struct pages {
    uint32_t n_pages, n_positions;
    struct page *page; /* [n_pages] */
    int32_t *tokens;   /* [n_pages, n_positions] of those in the tree */
    struct children top;
    uint32_t first_free, n_free;
    uint32_t newest, oldest, n_cached;
};

struct pages *pages_new(uint32_t n_pages, uint32_t n_positions)
{
    struct pages *p = mem_zalloc(sizeof *p);
    *p = (struct pages){.n_pages = n_pages,
                        .n_positions = n_positions,
                        .page = mem_array(n_pages, sizeof *p->page),
                        .tokens = mem_array((size_t)n_pages * n_positions, sizeof *p->tokens),
                        .first_free = PAGES_NONE,
                        .newest = PAGES_NONE,
                        .oldest = PAGES_NONE,
                        .n_free = n_pages};
    for (uint32_t i = n_pages; i-- > 0;) {
        p->page[i].older = p->first_free;
        p->first_free = i;
    }
    return p;
}

void pages_free(struct pages *p)
{
    if (p) {
        for (uint32_t i = 0; i < p->n_pages; i++) {
            free(p->page[i].children.at);
        }
        free(p->top.at);
        free(p->page);
        free(p->tokens);
        free(p);
    }
}

void page_table_init(struct page_table *t, uint32_t n_max)
{
    *t = (struct page_table){.pages = mem_array(n_max, sizeof *t->pages), .n_max = n_max};
}

void page_table_free(struct page_table *t)
{
    free(t->pages);
    *t = (struct page_table){0};
}

uint32_t pages_n_free(const struct pages *p)
{
    return p->n_free;
}

uint32_t pages_n_cached(const struct pages *p)
{
    return p->n_cached;
}

uint32_t pages_holders(const struct pages *p, uint32_t page)
{
    return p->page[page].holders;
}

uint32_t pages_in_tree(const struct pages *p, uint32_t page)
{
    return p->page[page].n_tokens;
}

uint32_t pages_for(const struct pages *p, uint32_t n_tokens)
{
    return n_tokens / p->n_positions + (n_tokens % p->n_positions != 0);
}

/* ---- the lists ------------------------------------------------------------------------------- */

static void put_free(struct pages *p, uint32_t page)
{
    p->page[page].older = p->first_free;
    p->first_free = page;
    p->n_free++;
}

static void put_newest(struct pages *p, uint32_t page)
{
    struct page *x = &p->page[page];
    x->newer = PAGES_NONE;
    x->older = p->newest;
    if (p->newest != PAGES_NONE) {
        p->page[p->newest].newer = page;
    } else {
        p->oldest = page;
    }
    p->newest = page;
    p->n_cached++;
}

static void unlist(struct pages *p, uint32_t page)
{
    const struct page *x = &p->page[page];
    if (x->newer != PAGES_NONE) {
        p->page[x->newer].older = x->older;
    } else {
        p->newest = x->older;
    }
    if (x->older != PAGES_NONE) {
        p->page[x->older].newer = x->newer;
    } else {
        p->oldest = x->newer;
    }
    p->n_cached--;
}

static void hold(struct pages *p, uint32_t page)
{
    struct page *x = &p->page[page];
    if (x->holders++ == 0 && x->n_tokens) {
        unlist(p, page);
    }
}

static void let_go(struct pages *p, uint32_t page)
{
    struct page *x = &p->page[page];
    if (--x->holders == 0) {
        if (x->n_tokens) {
            put_newest(p, page);
        } else {
            put_free(p, page);
        }
    }
}

/* ---- the tree -------------------------------------------------------------------------------- */

static int32_t *tokens_of(const struct pages *p, uint32_t page)
{
    return p->tokens + (size_t)page * p->n_positions;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static struct children *children_of(struct pages *p, uint32_t parent)
{
    return parent == PAGES_NONE ? &p->top : &p->page[parent].children;
}

/* How many tokens the beginnings of a node and of a text of that key have in common. */
static uint32_t in_common(const struct pages *p, uint32_t node, uint64_t key, const int32_t *tokens,
                          uint32_t n)
{
    const int32_t *own = tokens_of(p, node);
    uint32_t most = min_u32(p->page[node].n_tokens, n), i = 0;
    while (p->page[node].key == key && i < most && own[i] == tokens[i]) {
        i++;
    }
    return i;
}

/* Whether a node stands before a text: by key, then token by token, a beginning before the whole.
 */
static bool stands_before(const struct pages *p, uint32_t node, uint64_t key, const int32_t *tokens,
                          uint32_t n)
{
    const struct page *x = &p->page[node];
    if (x->key != key) {
        return x->key < key;
    }
    uint32_t same = in_common(p, node, key, tokens, n);
    if (same == n || same == x->n_tokens) {
        return x->n_tokens < n;
    }
    return tokens_of(p, node)[same] < tokens[same];
}

/* Where a text stands, or would, among the children. */
static uint32_t place_of(const struct pages *p, const struct children *c, uint64_t key,
                         const int32_t *tokens, uint32_t n)
{
    uint32_t low = 0, high = c->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stands_before(p, c->at[middle], key, tokens, n)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The child that shares the most tokens with a text, at least one; PAGES_NONE where there is none.
 */
static uint32_t nearest(const struct pages *p, const struct children *c, uint64_t key,
                        const int32_t *tokens, uint32_t n, uint32_t *n_common)
{
    uint32_t place = place_of(p, c, key, tokens, n), best = PAGES_NONE;
    *n_common = 0;
    for (uint32_t i = place ? place - 1 : 0; i < c->n && i <= place; i++) {
        uint32_t same = in_common(p, c->at[i], key, tokens, n);
        if (same > *n_common) {
            *n_common = same;
            best = c->at[i];
        }
    }
    return best;
}

/* Takes a node without children out of the tree; in which list it is then is the caller's. */
static void take_out(struct pages *p, uint32_t node)
{
    struct page *x = &p->page[node];
    struct children *c = children_of(p, x->parent);
    uint32_t place = place_of(p, c, x->key, tokens_of(p, node), x->n_tokens);
    memmove(c->at + place, c->at + place + 1, (c->n - place - 1) * sizeof *c->at);
    if (--c->n == 0) {
        free(c->at);
        *c = (struct children){0};
    }
    x->n_tokens = 0;
}

static void put_in(struct pages *p, uint32_t page, uint32_t parent, uint64_t key,
                   const int32_t *tokens, uint32_t n)
{
    struct page *x = &p->page[page];
    struct children *c = children_of(p, parent);
    uint32_t place = place_of(p, c, key, tokens, n);
    if (c->n == c->room) {
        c->room = c->room ? 2 * c->room : 2;
        c->at = mem_resize(c->at, c->room * sizeof *c->at);
    }
    memmove(c->at + place + 1, c->at + place, (c->n - place) * sizeof *c->at);
    c->at[place] = page;
    c->n++;
    memcpy(tokens_of(p, page), tokens, n * sizeof *tokens);
    x->n_tokens = n;
    x->key = key;
    x->parent = parent;
}

/* The child that has all these tokens, or more; PAGES_NONE where there is none. */
static uint32_t find(struct pages *p, uint32_t parent, uint64_t key, const int32_t *tokens,
                     uint32_t n)
{
    const struct children *c = children_of(p, parent);
    uint32_t place = place_of(p, c, key, tokens, n);
    bool there = place < c->n && in_common(p, c->at[place], key, tokens, n) == n;
    return there ? c->at[place] : PAGES_NONE;
}

/* A leaf with a beginning of this text is of no more use: whoever wants it finds it here. */
static void drop_beginning(struct pages *p, uint32_t parent, uint64_t key, const int32_t *tokens,
                           uint32_t n)
{
    const struct children *c = children_of(p, parent);
    uint32_t place = place_of(p, c, key, tokens, n);
    if (place == 0) {
        return;
    }
    uint32_t node = c->at[place - 1], same = in_common(p, node, key, tokens, n);
    if (same && same == p->page[node].n_tokens) {
        take_out(p, node);
        if (p->page[node].holders == 0) {
            unlist(p, node);
            put_free(p, node);
        }
    }
}

static bool evict_oldest(struct pages *p)
{
    uint32_t page = p->oldest;
    if (page == PAGES_NONE) {
        return false;
    }
    unlist(p, page);
    take_out(p, page);
    put_free(p, page);
    return true;
}

/* A page that somebody holds now; PAGES_NONE where none is to be had. */
static uint32_t allocate(struct pages *p)
{
    if (p->n_free == 0 && !evict_oldest(p)) {
        return PAGES_NONE;
    }
    uint32_t page = p->first_free;
    p->first_free = p->page[page].older;
    p->n_free--;
    p->page[page].holders = 1;
    return page;
}

/* ---- what sequences do ----------------------------------------------------------------------- */

uint32_t pages_take(struct pages *p, struct page_table *t, uint64_t key, const int32_t *tokens,
                    uint32_t n, struct page_copy *copy)
{
    uint32_t done = 0, parent = PAGES_NONE, same = 0, node;
    *copy = (struct page_copy){0};
    for (;;) {
        node = nearest(p, children_of(p, parent), key, tokens + done, n - done, &same);
        if (same < p->n_positions) {
            break;
        }
        hold(p, node);
        t->pages[t->n++] = parent = node;
        done += same;
    }
    t->n_shared = t->n;
    if (node == PAGES_NONE) {
        return done;
    }
    bool cached = p->page[node].holders == 0;
    if (cached && same == p->page[node].n_tokens) {
        hold(p, node);
        t->pages[t->n++] = node;
        return done + same;
    }
    if (pages_available(p) == cached) {
        return done;
    }
    hold(p, node); /* so that it is not the one to be evicted */
    uint32_t own = allocate(p);
    let_go(p, node);
    t->pages[t->n++] = own;
    *copy = (struct page_copy){own, node, same};
    return done + same;
}

bool pages_grow(struct pages *p, struct page_table *t, uint32_t n_tokens)
{
    uint32_t wanted = pages_for(p, n_tokens);
    if (wanted > t->n_max || (wanted > t->n && wanted - t->n > pages_available(p))) {
        return false;
    }
    while (t->n < wanted) {
        t->pages[t->n++] = allocate(p);
    }
    return true;
}

void pages_publish(struct pages *p, struct page_table *t, uint64_t key, const int32_t *tokens,
                   uint32_t n)
{
    while (t->n_shared < t->n && (uint64_t)t->n_shared * p->n_positions < n) {
        uint32_t i = t->n_shared, at = i * p->n_positions, page = t->pages[i];
        uint32_t n_own = min_u32(p->n_positions, n - at);
        if (p->page[page].n_tokens >= n_own) {
            return; /* a leaf, told before */
        }
        if (p->page[page].n_tokens) {
            take_out(p, page);
        }
        uint32_t parent = i ? t->pages[i - 1] : PAGES_NONE;
        uint32_t node = find(p, parent, key, tokens + at, n_own);
        if (node == PAGES_NONE) {
            if (p->page[page].holders > 1) {
                return; /* the others may not hold this parent (P2) */
            }
            drop_beginning(p, parent, key, tokens + at, n_own);
            put_in(p, page, parent, key, tokens + at, n_own);
            node = page;
        }
        if (n_own < p->n_positions) {
            return;
        }
        if (node != page) {
            hold(p, node);
            let_go(p, page);
            t->pages[i] = node;
        }
        t->n_shared++;
    }
}

bool pages_fork(struct pages *p, const struct page_table *from, struct page_table *to,
                uint32_t n_tokens, struct page_copy *copy)
{
    uint32_t n_full = n_tokens / p->n_positions, rest = n_tokens % p->n_positions;
    *copy = (struct page_copy){0};
    if (rest) {
        uint32_t own = allocate(p);
        if (own == PAGES_NONE) {
            return false;
        }
        to->pages[n_full] = own;
        *copy = (struct page_copy){own, from->pages[n_full], rest};
    }
    for (uint32_t i = 0; i < n_full; i++) {
        hold(p, from->pages[i]);
        to->pages[i] = from->pages[i];
    }
    to->n = n_full + (rest != 0);
    to->n_shared = min_u32(from->n_shared, n_full);
    return true;
}

/* From the end, so that in the list a page is behind its parent (P3). */
void pages_release(struct pages *p, struct page_table *t)
{
    while (t->n > 0) {
        let_go(p, t->pages[--t->n]);
    }
    t->n_shared = 0;
}

uint32_t pages_evict(struct pages *p, uint32_t n)
{
    uint32_t done = 0;
    while (done < n && evict_oldest(p)) {
        done++;
    }
    return done;
}

/* ---- the laws -------------------------------------------------------------------------------- */

static const char *check_tables(const struct pages *p, const struct page_table *const *tables,
                                uint32_t n_tables)
{
    uint32_t *holders = mem_array(p->n_pages, sizeof *holders);
    const char *broken = NULL;
    for (uint32_t k = 0; k < n_tables; k++) {
        const struct page_table *t = tables[k];
        uint32_t parent = PAGES_NONE;
        for (uint32_t i = 0; i < t->n; i++) {
            const struct page *x = &p->page[t->pages[i]];
            holders[t->pages[i]]++;
            bool full = x->n_tokens == p->n_positions;
            if (x->n_tokens && (i <= t->n_shared ? x->parent != parent : true)) {
                broken = "P2";
            }
            if (i < t->n_shared && !full) {
                broken = "P2";
            }
            parent = t->pages[i];
        }
    }
    for (uint32_t i = 0; i < p->n_pages; i++) {
        broken = holders[i] == p->page[i].holders ? broken : "P1";
    }
    free(holders);
    return broken;
}

static const char *check_children(const struct pages *p, const struct children *c, uint32_t parent)
{
    for (uint32_t i = 0; i < c->n; i++) {
        const struct page *x = &p->page[c->at[i]];
        const int32_t *tokens = tokens_of(p, c->at[i]);
        if (x->parent != parent || !x->n_tokens) {
            return "P1";
        }
        if (parent != PAGES_NONE &&
            (p->page[parent].n_tokens != p->n_positions || p->page[parent].key != x->key)) {
            return "P1";
        }
        if (parent != PAGES_NONE && x->holders && !p->page[parent].holders) {
            return "P2";
        }
        if (i && (!stands_before(p, c->at[i - 1], x->key, tokens, x->n_tokens) ||
                  in_common(p, c->at[i - 1], x->key, tokens, x->n_tokens) ==
                      p->page[c->at[i - 1]].n_tokens)) {
            return "P4";
        }
    }
    return NULL;
}

static const char *check_lists(const struct pages *p)
{
    uint32_t n_free = 0, n_cached = 0, n_marked = 0;
    bool *seen = mem_array(p->n_pages, sizeof *seen);
    const char *broken = NULL;
    for (uint32_t i = p->first_free; i != PAGES_NONE && !broken; i = p->page[i].older) {
        broken = seen[i] || p->page[i].holders || p->page[i].n_tokens ? "P1" : NULL;
        seen[i] = true;
        n_free++;
    }
    for (uint32_t i = p->newest; i != PAGES_NONE && !broken; i = p->page[i].older) {
        const struct page *x = &p->page[i];
        uint32_t up = x->parent;
        bool behind = up == PAGES_NONE || p->page[up].holders || seen[up];
        broken = seen[i] || x->holders || !x->n_tokens ? "P1" : behind ? NULL : "P3";
        seen[i] = true;
        n_cached++;
    }
    for (uint32_t i = 0; i < p->n_pages; i++) {
        n_marked += seen[i] || p->page[i].holders;
    }
    free(seen);
    if (!broken && (n_marked != p->n_pages || n_free != p->n_free || n_cached != p->n_cached)) {
        broken = "P1";
    }
    return broken;
}

const char *pages_check(const struct pages *p, const struct page_table *const *tables,
                        uint32_t n_tables)
{
    const char *broken = check_lists(p);
    broken = broken ? broken : check_tables(p, tables, n_tables);
    broken = broken ? broken : check_children(p, &p->top, PAGES_NONE);
    for (uint32_t i = 0; i < p->n_pages && !broken; i++) {
        broken = check_children(p, &p->page[i].children, i);
    }
    return broken;
}
