/* fold.c: what of a grammar is regular becomes languages: they are followed by one look-up per
 * byte, without a stack. */
#include "grammar/build_internal.h"

#include <stdlib.h>

enum {
    FOLD_RANK = LANG_MAX_RANK / 2,
    FOLD_LENGTH = 1024, /* parts of a chain that are copied to put something behind it */
};

struct folding {
    struct build *b;
    /* A sequence, or the rule for one, that is used once, and in a sequence: that one takes its
     * parts, so that a chain of rules costs its length and not the square of it. */
    bool *inlined;
};

static bool as_lang(const struct build *b, uint32_t id, struct lang *l)
{
    const struct build_node *n = &b->nodes[id];
    l->id = n->kind == NODE_LANG ? n->a : n->kind == NODE_EMPTY ? 1 : 0;
    return n->kind == NODE_LANG || n->kind == NODE_EMPTY;
}

/* A node for a language that texts are known to be in. */
static uint32_t add_lang(struct build *b, struct lang l)
{
    struct node made = build_lang(b, l);
    b->nodes[made.id].lives = true;
    b->nodes[made.id].has_empty = lang_has_empty(b->langs, l);
    return made.id;
}

static void make_lang(struct build *b, uint32_t id, struct lang l)
{
    struct build_node *n = &b->nodes[id];
    n->kind = l.id == 0 ? NODE_NONE : l.id == 1 ? NODE_EMPTY : NODE_LANG;
    n->a = l.id;
}

/* ---- sequences ---- */

static bool is_long(const struct build *b, struct lang l)
{
    uint32_t n = 0;
    for (; lang_node(b->langs, l)->kind == LANG_IS_CONCAT && n <= FOLD_LENGTH; n++) {
        l.id = lang_node(b->langs, l)->b;
    }
    return n > FOLD_LENGTH;
}

struct parts {
    uint32_t *ids;
    size_t n, capacity;
};

static void push(struct parts *p, uint32_t id)
{
    p->ids = build_grown(p->ids, p->n, &p->capacity, sizeof *p->ids);
    p->ids[p->n++] = id;
}

static void push_links(struct parts *p, const struct build *b, const struct build_node *sequence)
{
    for (uint32_t i = 0; i < sequence->b; i++) {
        push(p, b->links[sequence->a + i]);
    }
}

/* The parts of a sequence, with those that it takes, from the end. */
static void gather(const struct folding *f, uint32_t id, struct parts *parts)
{
    const struct build *b = f->b;
    struct parts left = {0};
    push_links(&left, b, &b->nodes[id]);
    while (left.n) {
        uint32_t part = left.ids[--left.n];
        const struct build_node *n = &b->nodes[part];
        if (f->inlined[part] && n->kind == NODE_SEQUENCE) {
            push_links(&left, b, n);
        } else if (f->inlined[part] && n->kind == NODE_RULE) {
            push(&left, b->rules[n->a].body);
        } else {
            push(parts, part);
        }
    }
    free(left.ids);
}

/* Parts that follow each other and are regular become one. */
static void fold_sequence(const struct folding *f, uint32_t id)
{
    struct build *b = f->b;
    struct parts all = {0}, kept = {0}; /* both from the end */
    struct lang run = lang_empty(), l;
    gather(f, id, &all);
    for (size_t i = 0; i < all.n; i++) {
        bool is_lang = as_lang(b, all.ids[i], &l);
        bool joins = is_lang && (run.id == 1 || !is_long(b, l));
        struct lang longer = joins ? lang_concat(b->langs, l, run) : run;
        if (joins && lang_node(b->langs, longer)->rank <= FOLD_RANK) {
            run = longer;
            continue;
        }
        if (run.id != 1) {
            push(&kept, add_lang(b, run));
        }
        run = is_lang ? l : lang_empty();
        if (!is_lang) {
            push(&kept, all.ids[i]);
        }
    }
    if (run.id != 1 && kept.n) {
        push(&kept, add_lang(b, run));
    }
    if (kept.n == 0) {
        make_lang(b, id, run);
    } else {
        b->nodes[id].a = (uint32_t)b->n_links;
        b->nodes[id].b = (uint32_t)kept.n;
        while (kept.n && !build_failed(b, NULL)) {
            build_add_link(b, kept.ids[--kept.n]);
        }
    }
    free(all.ids);
    free(kept.ids);
}

/* ---- the others ---- */

static void fold_choice(struct build *b, uint32_t id)
{
    uint32_t first = b->nodes[id].a, n = b->nodes[id].b, kept = 0, n_langs = 0;
    struct lang *langs = mem_array(n + 1, sizeof *langs);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t way = b->links[first + i];
        struct lang l;
        if (!b->nodes[way].lives) {
            continue;
        }
        if (as_lang(b, way, &l) && lang_node(b->langs, l)->rank <= FOLD_RANK) {
            langs[n_langs++] = l;
        } else {
            b->links[first + kept++] = way;
        }
    }
    struct lang all = lang_or_all(b->langs, langs, n_langs);
    free(langs);
    if (kept == 0) {
        make_lang(b, id, all);
        return;
    }
    if (n_langs) {
        b->links[first + kept++] = add_lang(b, all);
    }
    b->nodes[id].b = kept;
}

static void fold(const struct folding *f, uint32_t id)
{
    struct build *b = f->b;
    struct build_node *n = &b->nodes[id];
    struct lang l;
    if (!n->lives) {
        n->kind = NODE_NONE;
        n->has_empty = false;
        return;
    }
    switch (n->kind) {
    case NODE_SEQUENCE:
        if (!f->inlined[id]) {
            fold_sequence(f, id);
        }
        break;
    case NODE_CHOICE:
        fold_choice(b, id);
        break;
    case NODE_REPEAT:
        if (!b->nodes[n->a].lives) {
            make_lang(b, id, lang_empty());
        } else if (as_lang(b, n->a, &l) && lang_node(b->langs, l)->rank <= FOLD_RANK) {
            make_lang(b, id, lang_repeat(b->langs, l, n->b, n->c));
        }
        break;
    case NODE_RULE:
        if (as_lang(b, b->rules[n->a].body, &l)) {
            make_lang(b, id, l);
        }
        break;
    default:
        break;
    }
}

/* ---- who is used where ---- */

struct counting_uses {
    uint8_t *uses; /* up to 2 */
};

static bool count_use(void *context, uint32_t child)
{
    uint8_t *uses = ((struct counting_uses *)context)->uses;
    uses[child] += uses[child] < 2;
    return true;
}

/* order: children first, but for circles, each of which has a node that is used twice. */
static void find_inlined(struct folding *f, const uint32_t *order, size_t n, uint32_t root)
{
    const struct build *b = f->b;
    struct counting_uses c = {mem_zalloc(b->n_nodes)};
    count_use(&c, root);
    for (size_t i = 0; i < n; i++) {
        build_each_child(b, order[i], count_use, &c);
    }
    for (size_t i = n; i-- > 0;) {
        uint32_t id = order[i];
        const struct build_node *x = &b->nodes[id];
        if (x->kind == NODE_SEQUENCE) {
            for (uint32_t j = 0; j < x->b; j++) {
                uint32_t child = b->links[x->a + j];
                f->inlined[child] = child != root && c.uses[child] == 1;
            }
        } else if (x->kind == NODE_RULE && f->inlined[id]) {
            uint32_t body = b->rules[x->a].body;
            f->inlined[body] = body != root && c.uses[body] == 1;
        }
    }
    free(c.uses);
}

void fold_all(struct build *b, const uint32_t *order, size_t n, uint32_t root)
{
    struct folding f = {b, mem_zalloc(b->n_nodes)};
    find_inlined(&f, order, n, root);
    for (size_t i = 0; i < n; i++) {
        fold(&f, order[i]);
    }
    free(f.inlined);
}
