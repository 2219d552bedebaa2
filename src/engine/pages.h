/* pages.h: who holds which page of keys and values, and which text stands in it.
 *
 * Pure bookkeeping: pages are numbers here, and no float is touched; what is in them lies in
 * struct model_pages (model.h). A page has room for a fixed number of positions, one after the
 * other, of one timeline. It is
 *
 *   free      nobody's
 *   held      by one sequence or more, each through its table
 *   cached    in the tree and held by nobody: it may be evicted
 *
 * The tree (a radix tree whose edges are pages) remembers texts: a node is a page with the tokens
 * of its positions, a path from the top is a text. Full pages may have children; a page with fewer
 * tokens is a leaf, and whoever shares a part of it gets a copy (copy on write). Texts of different
 * keys never meet: a key stands for all that changes keys and values beside the tokens, such as an
 * adapter.
 *
 * What always holds (P5 is the sequences' own duty, pages_check looks at the others):
 *   P1  a page is free, in the tree or held, and free only when neither of the others.
 *   P2  who holds a node holds all those above it. So what nobody holds are whole branches.
 *   P3  cached pages are in one list in the order of their last use, each behind its parent where
 *       that is cached too: the last is a leaf, and the one to evict.
 *   P4  no node begins with all the tokens of another node with the same parent and key.
 *   P5  a position that more than one can see is never written: a sequence writes into pages that
 *       no other sequence holds, behind the tokens that the tree has of them.
 *
 * One thread at a time. All operations take time that grows with the pages and tokens of the text,
 * not with those of the cache (but for a memmove among a node's children).
 */
#ifndef LLLM_ENGINE_PAGES_H
#define LLLM_ENGINE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#define PAGES_NONE UINT32_MAX

struct pages;
/* n_pages pages of n_positions positions each, both at least 1. Session lifetime. */
struct pages *pages_new(uint32_t n_pages, uint32_t n_positions);
void pages_free(struct pages *p);

/* The pages of one sequence: pages[i] has the positions from i * n_positions. */
struct page_table {
    uint32_t *pages; /* [n_max] */
    uint32_t n, n_max;
    uint32_t n_shared; /* so many at the beginning are full pages of the tree */
};
void page_table_init(struct page_table *t, uint32_t n_max);
void page_table_free(struct page_table *t); /* which holds nothing any more */

/* A copy that the caller makes before the next call of any function here: the first n_positions
 * positions of page `from` to page `to`. n_positions 0: none. */
struct page_copy {
    uint32_t to, from, n_positions;
};

/* Gives an empty table what the tree has of the beginning of tokens[0..n): full pages shared, the
 * rest as a leaf that nobody else holds, or as a copy where a page is to be had for one. Returns
 * for how many tokens the table has keys and values then, at most n. */
uint32_t pages_take(struct pages *p, struct page_table *t, uint64_t key, const int32_t *tokens,
                    uint32_t n, struct page_copy *copy);
/* Makes room for n_tokens positions with pages of its own, evicting where none is free. False, and
 * nothing changed, where there are too few pages. */
bool pages_grow(struct pages *p, struct page_table *t, uint32_t n_tokens);
/* Enters tokens[0..n) into the tree, whose positions are all written in t. Where the tree has a
 * page with the same text already, t holds that one afterwards instead of its own: equal texts
 * have equal bits (kernels.h). Later calls may tell more tokens of the same text. */
void pages_publish(struct pages *p, struct page_table *t, uint64_t key, const int32_t *tokens,
                   uint32_t n);
/* Gives the empty table `to` the first n_tokens positions of `from`: full pages shared, the rest as
 * a copy. False, and nothing changed, where no page is to be had for it. */
bool pages_fork(struct pages *p, const struct page_table *from, struct page_table *to,
                uint32_t n_tokens, struct page_copy *copy);
/* Holds nothing any more. What is in the tree stays there until it is evicted. */
void pages_release(struct pages *p, struct page_table *t);
/* Evicts up to n cached pages, the least recently used first; returns how many. */
uint32_t pages_evict(struct pages *p, uint32_t n);

uint32_t pages_n_free(const struct pages *p);
uint32_t pages_n_cached(const struct pages *p);
/* Free or cached: how many can be had. */
static inline uint32_t pages_available(const struct pages *p)
{
    return pages_n_free(p) + pages_n_cached(p);
}
/* How many sequences hold a page; how many tokens the tree has of it (0: it is not there). */
uint32_t pages_holders(const struct pages *p, uint32_t page);
uint32_t pages_in_tree(const struct pages *p, uint32_t page);
/* How many pages n_tokens positions need. */
uint32_t pages_for(const struct pages *p, uint32_t n_tokens);

/* For tests: the name of a law above that is broken ("P3"), or NULL. tables: all that are in use.
 */
const char *pages_check(const struct pages *p, const struct page_table *const *tables,
                        uint32_t n_tables);

#endif
