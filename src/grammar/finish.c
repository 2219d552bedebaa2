/* finish.c: what a grammar has to be told about itself before it can be followed: which nodes have
 * texts at all, and which begin with themselves. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

enum { MAX_ROUNDS_WORK = 200 << 20 };

/* ---- nodes below nodes ---- */

bool build_each_child(const struct build *b, uint32_t id, build_child_fn *call, void *context)
{
    const struct build_node *n = &b->nodes[id];
    switch (n->kind) {
    case NODE_SEQUENCE:
    case NODE_CHOICE:
        for (uint32_t i = 0; i < n->b; i++) {
            if (!call(context, b->links[n->a + i])) {
                return false;
            }
        }
        return true;
    case NODE_REPEAT:
        return call(context, n->a);
    case NODE_RULE:
        return call(context, b->rules[n->a].body);
    case NODE_TOKEN:
        return call(context, b->tokens[n->a].otherwise);
    case NODE_OBJECT: {
        const struct object_frame *f = b->objects[n->a];
        for (uint32_t i = 0; i < f->n_parts; i++) {
            if (!call(context, f->parts[i].value)) {
                return false;
            }
        }
        for (uint32_t i = 0; i < f->n_families; i++) {
            if (!call(context, f->families[i].value)) {
                return false;
            }
        }
        return true;
    }
    case NODE_ARRAY: {
        const struct array_frame *f = b->arrays[n->a];
        for (uint32_t i = 0; i < f->n_first; i++) {
            if (!call(context, f->first[i].plain.id) || !call(context, f->first[i].counted.id)) {
                return false;
            }
        }
        for (uint32_t i = 0; i < f->n_distinct; i++) {
            if (!call(context, f->distinct[i])) {
                return false;
            }
        }
        return call(context, f->rest.plain.id) && call(context, f->rest.counted.id);
    }
    default:
        return true;
    }
}

/* A walk in depth without recursion: the nodes in the order in which they are finished, children
 * first but for circles. */
struct walk {
    struct build *b;
    uint32_t *stack, *order;
    uint8_t *state; /* 0 new, 1 children are being looked at, 2 finished */
    size_t n_stack, n_order, capacity;
    bool left;       /* only children that may stand at the beginning */
    uint32_t circle; /* a node that begins with itself; 0: none */
};

static bool push_child(void *context, uint32_t child)
{
    struct walk *w = context;
    if (w->state[child] == 1 && w->left && !w->circle) {
        w->circle = child;
    }
    if (w->state[child] == 0) {
        if (w->n_stack == w->capacity) {
            w->capacity = w->capacity ? 2 * w->capacity : 64;
            w->stack = mem_resize(w->stack, w->capacity * sizeof *w->stack);
        }
        w->stack[w->n_stack++] = child;
    }
    return true;
}

static void push_left_children(struct walk *w, uint32_t id)
{
    const struct build_node *n = &w->b->nodes[id];
    if (n->kind == NODE_SEQUENCE) {
        for (uint32_t i = 0; i < n->b; i++) {
            uint32_t child = w->b->links[n->a + i];
            push_child(w, child);
            if (!w->b->nodes[child].has_empty) {
                break;
            }
        }
    } else if (n->kind != NODE_OBJECT && n->kind != NODE_ARRAY) {
        build_each_child(w->b, id, push_child, w);
    }
}

static void walk_from(struct walk *w, uint32_t root)
{
    push_child(w, root);
    while (w->n_stack && !w->circle) {
        uint32_t id = w->stack[w->n_stack - 1];
        if (w->state[id] == 0) {
            w->state[id] = 1;
            if (w->left) {
                push_left_children(w, id);
            } else {
                build_each_child(w->b, id, push_child, w);
            }
        } else {
            w->n_stack--;
            if (w->state[id] == 1) {
                w->state[id] = 2;
                w->order[w->n_order++] = id;
            }
        }
    }
}

static void walk_begin(struct walk *w, struct build *b, bool left)
{
    *w = (struct walk){.b = b, .left = left};
    w->order = mem_array(b->n_nodes, sizeof *w->order);
    w->state = mem_zalloc(b->n_nodes);
}

static void walk_end(struct walk *w)
{
    free(w->stack);
    free(w->order);
    free(w->state);
}

/* ---- rules that begin with themselves ---- */

static bool is_rule(const struct build *b, uint32_t node, uint32_t rule)
{
    return b->nodes[node].kind == NODE_RULE && b->nodes[node].a == rule;
}

/* x ::= x a | x b | c | d  is  (c | d) (a | b)*  */
static void rewrite_rule(struct build *b, uint32_t rule)
{
    struct build_node body = b->nodes[b->rules[rule].body];
    if (body.kind != NODE_CHOICE) {
        return;
    }
    struct node *tails = mem_array(body.b, sizeof *tails),
                *others = mem_array(body.b, sizeof *others);
    size_t n_tails = 0, n_others = 0;
    bool found = false;
    for (uint32_t i = 0; i < body.b; i++) {
        uint32_t way = b->links[body.a + i];
        const struct build_node *n = &b->nodes[way];
        if (is_rule(b, way, rule)) {
            found = true; /* x ::= x says nothing */
        } else if (n->kind == NODE_SEQUENCE && is_rule(b, b->links[n->a], rule)) {
            found = true;
            struct node *rest = mem_array(n->b, sizeof *rest);
            uint32_t n_rest = n->b - 1;
            for (uint32_t j = 0; j < n_rest; j++) {
                rest[j].id = b->links[n->a + 1 + j];
            }
            tails[n_tails++] = build_sequence(b, rest, n_rest);
            free(rest);
        } else {
            others[n_others++].id = way;
        }
    }
    if (found) {
        struct node parts[2] = {build_choice(b, others, n_others), build_choice(b, tails, n_tails)};
        parts[1] = build_repeat(b, parts[1], 0, LANG_INFINITE);
        b->rules[rule].body = build_sequence(b, parts, 2).id;
    }
    free(tails);
    free(others);
}

/* Names the rule that a circle of beginnings goes through. */
static bool refuse_circle(struct build *b, const struct walk *w, struct error *e)
{
    const char *name = NULL;
    /* The nodes that are being looked at lie on the stack in the order of the circle. */
    for (size_t i = w->n_stack; i-- > 0;) {
        uint32_t id = w->stack[i];
        if (w->state[id] == 1 && b->nodes[id].kind == NODE_RULE) {
            name = b->rules[b->nodes[id].a].name;
        }
        if (w->state[id] == 1 && id == w->circle) {
            break;
        }
    }
    return error_set(e, ERROR_INPUT,
                     "the rule \"%.100s\" begins with itself (left recursion); write the "
                     "repetition with *, or let something stand before it",
                     name ? name : "?");
}

/* ---- which texts there are ---- */

static void look_at_many(struct build *b, struct build_node *n)
{
    bool is_choice = n->kind == NODE_CHOICE;
    bool has_empty = !is_choice, lives = !is_choice;
    for (uint32_t i = 0; i < n->b; i++) {
        const struct build_node *c = &b->nodes[b->links[n->a + i]];
        has_empty = is_choice ? has_empty || c->has_empty : has_empty && c->has_empty;
        lives = is_choice ? lives || c->lives : lives && c->lives;
    }
    n->has_empty = has_empty;
    n->lives = lives;
}

static bool look_at(struct build *b, uint32_t id)
{
    struct build_node *n = &b->nodes[id];
    bool had_empty = n->has_empty, lived = n->lives;
    switch (n->kind) {
    case NODE_LANG:
        n->has_empty = lang_has_empty(b->langs, (struct lang){n->a});
        n->lives = n->lives || lang_is_empty(b->langs, (struct lang){n->a}) != LANG_YES;
        break;
    case NODE_SEQUENCE:
    case NODE_CHOICE:
        look_at_many(b, n);
        break;
    case NODE_REPEAT:
        n->has_empty = n->b == 0 || b->nodes[n->a].has_empty;
        n->lives = n->b == 0 || b->nodes[n->a].lives;
        break;
    case NODE_RULE:
        n->has_empty = b->nodes[b->rules[n->a].body].has_empty;
        n->lives = b->nodes[b->rules[n->a].body].lives;
        break;
    case NODE_TOKEN:
        n->has_empty = b->nodes[b->tokens[n->a].otherwise].has_empty;
        n->lives = true;
        break;
    case NODE_OBJECT:
        n->lives = object_lives(b, b->objects[n->a]);
        break;
    case NODE_ARRAY:
        n->lives = array_lives(b, b->arrays[n->a]);
        break;
    default:
        break;
    }
    return n->has_empty != had_empty || n->lives != lived;
}

/* Until nothing changes. In the order of a walk one or two rounds do, but circles within circles
 * may take many. */
static bool look_at_all(struct build *b, const struct walk *w, struct error *e)
{
    uint64_t work = 0;
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < w->n_order; i++) {
            changed = look_at(b, w->order[i]) || changed;
        }
        work += w->n_order;
        if (work > MAX_ROUNDS_WORK) {
            return error_set(e, ERROR_LIMIT,
                             "the rules of the grammar depend on each other in a way that takes "
                             "too long to settle; make it smaller");
        }
    }
    return true;
}

/* ---- build_finish ---- */

static bool check_rules(const struct build *b, const struct walk *w, struct error *e)
{
    for (size_t i = 0; i < w->n_order; i++) {
        const struct build_node *n = &b->nodes[w->order[i]];
        if (n->kind == NODE_RULE && !b->rules[n->a].defined) {
            return error_set(e, ERROR_INPUT, "the rule \"%.100s\" is used and never defined",
                             b->rules[n->a].name);
        }
    }
    return true;
}

static bool no_text(const struct build *b, const struct walk *w, struct error *e)
{
    const char *name = NULL;
    for (size_t i = 0; i < w->n_order && !name; i++) {
        const struct build_node *n = &b->nodes[w->order[i]];
        name = n->kind == NODE_RULE && !n->lives ? b->rules[n->a].name : NULL;
    }
    return name ? error_set(e, ERROR_INPUT,
                            "no text fits the grammar: the rule \"%.100s\" can never be completed",
                            name)
                : error_set(e, ERROR_INPUT,
                            "no text fits the grammar: it asks for things that "
                            "contradict each other");
}

static bool analyse(struct build *b, uint32_t root, struct error *e)
{
    for (uint32_t i = 0; i < b->n_rules; i++) {
        rewrite_rule(b, i);
    }
    if (build_failed(b, e)) {
        return false;
    }
    struct walk w;
    walk_begin(&w, b, false);
    walk_from(&w, root);
    bool ok = check_rules(b, &w, e) && look_at_all(b, &w, e);
    if (ok) {
        struct walk left;
        walk_begin(&left, b, true);
        for (size_t i = 0; i < w.n_order && !left.circle; i++) {
            walk_from(&left, w.order[i]);
        }
        ok = !left.circle || refuse_circle(b, &left, e);
        walk_end(&left);
    }
    ok = ok && (b->nodes[root].lives || no_text(b, &w, e));
    if (ok) {
        fold_all(b, w.order, w.n_order, root);
    }
    for (size_t i = 0; ok && i < w.n_order; i++) {
        b->nodes[w.order[i]].reached = true;
    }
    for (size_t i = 0; ok && i < w.n_order; i++) {
        const struct build_node *n = &b->nodes[w.order[i]];
        if (n->kind == NODE_OBJECT) {
            object_prepare(b, b->objects[n->a]);
        }
    }
    walk_end(&w);
    return ok && !build_failed(b, e);
}

struct grammar *build_finish(struct build *b, struct node root, struct error *e)
{
    struct error why = {.code = ERROR_NONE};
    bool ok = !build_failed(b, &why) && analyse(b, root.id, &why);
    if (!ok) {
        if (e) {
            *e = why;
        }
        build_free(b);
        return NULL;
    }
    struct grammar *g = mem_zalloc(sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    g->b = b;
    g->root = root.id;
    g->n_owners = 1;
    g->memory_bytes = GRAMMAR_MEMORY_BYTES;
    return g;
}
