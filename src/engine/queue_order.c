/* Who is next. The order is that of queue.h; everything here is arithmetic on numbers of pages and
 * of requests, but for the copy of a page that is shared in part. */
#include <string.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

uint64_t sequence_id(const struct sequence *s)
{
    return s->request->id;
}

/* One that was passed over too often goes before all priorities, waiting or running: otherwise it
 * would be preempted as soon as it was admitted. */
static bool is_urgent(const struct sequence *s)
{
    return s->n_passed_over >= QUEUE_PATIENCE;
}

static bool is_before(const struct sequence *a, const struct sequence *b)
{
    if (is_urgent(a) != is_urgent(b)) {
        return is_urgent(a);
    }
    if (!is_urgent(a) && a->request->o.priority != b->request->o.priority) {
        return a->request->o.priority > b->request->o.priority;
    }
    return sequence_id(a) != sequence_id(b) ? sequence_id(a) < sequence_id(b) : a->index < b->index;
}

void order_add(struct queue *q, struct sequence *s)
{
    if (q->n_waiting == q->waiting_room) {
        q->waiting_room = q->waiting_room ? 2 * q->waiting_room : 16;
        q->waiting = mem_resize(q->waiting, q->waiting_room * sizeof(struct sequence *));
    }
    s->state = SEQUENCE_WAITING;
    q->waiting[q->n_waiting++] = s;
}

static void take_away(struct sequence **list, uint32_t *n, const struct sequence *s)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (list[i] == s) {
            list[i] = list[--*n];
            return;
        }
    }
}

static struct sequence *first_of(struct sequence *const *list, uint32_t n)
{
    struct sequence *best = NULL;
    for (uint32_t i = 0; i < n; i++) {
        best = best && is_before(best, list[i]) ? best : list[i];
    }
    return best;
}

static struct sequence *last_of(struct sequence *const *list, uint32_t n)
{
    struct sequence *worst = NULL;
    for (uint32_t i = 0; i < n; i++) {
        worst = worst && is_before(list[i], worst) ? worst : list[i];
    }
    return worst;
}

/* A drawn token is computed with the next decode pass, the prompt's last one before the first is
 * drawn. */
uint32_t sequence_fill_end(const struct sequence *s)
{
    uint32_t n_prompt = (uint32_t)s->request->o.n_prompt;
    return s->n_tokens > n_prompt ? s->n_tokens - 1 : n_prompt;
}

void sequence_publish(struct queue *q, struct sequence *s)
{
    uint32_t n = s->cache.n_tokens, n_prompt = (uint32_t)s->request->o.n_prompt;
    if (!q->o.no_reuse && (!s->text || encode_shares(q, s))) {
        n = q->phases_differ && n > n_prompt ? n_prompt : n;
        pages_publish(q->pages, &s->table, s->request->o.cache_key, s->tokens, n);
    }
}

static void give_back(struct queue *q, struct sequence *s)
{
    if (s->text) {
        encode_leave(q, s);
    }
    sequence_publish(q, s);
    pages_release(q->pages, &s->table);
    s->cache.n_tokens = 0;
    q->chunk_of = q->chunk_of == s ? NULL : q->chunk_of;
}

void order_remove(struct queue *q, struct sequence *s)
{
    if (s->state == SEQUENCE_WAITING) {
        take_away(q->waiting, &q->n_waiting, s);
    } else if (s->state != SEQUENCE_IDLE) {
        take_away(q->running, &q->n_running, s);
        give_back(q, s);
    }
    s->state = SEQUENCE_OVER;
}

void order_leave(struct queue *q, struct sequence *s, bool keeps)
{
    if (s->state != SEQUENCE_IDLE) {
        take_away(q->running, &q->n_running, s);
        s->state = SEQUENCE_IDLE;
    }
    if (!keeps) {
        give_back(q, s);
    }
}

static void run(struct queue *q, struct sequence *s, uint32_t n_computed)
{
    q->running[q->n_running++] = s;
    s->cache.n_tokens = n_computed;
    s->state = n_computed < sequence_fill_end(s) ? SEQUENCE_FILLING : SEQUENCE_ANSWERING;
}

void order_rejoin(struct queue *q, struct sequence *s, uint32_t n_passed_over)
{
    s->n_passed_over = n_passed_over;
    run(q, s, s->cache.n_tokens);
}

void order_preempt(struct queue *q, struct sequence *s)
{
    struct request *r = s->request;
    struct sequence *first = r->beams ? &r->sequences[0] : s;
    for (uint32_t i = beams_count(r); i-- > 0;) {
        struct sequence *each = first + i;
        each->n_done = each->cache.n_tokens > each->n_done ? each->cache.n_tokens : each->n_done;
        order_leave(q, each, false);
    }
    first->figures.n_preempted++;
    q->figures.n_preempted++;
    order_add(q, first);
}

void sequence_equip(struct queue *q, struct sequence *s)
{
    const struct request_options *o = &s->request->o;
    if (!s->tokens) {
        s->room = s->n_tokens + 64;
        s->tokens = mem_alloc(s->room * sizeof *s->tokens);
        memcpy(s->tokens, o->prompt, s->n_tokens * sizeof *s->tokens);
    }
    if (!s->table.pages) {
        page_table_init(&s->table, pages_for(q->pages, q->capacity));
        s->cache = (struct model_cache){.pages = q->storage,
                                        .table = s->table.pages,
                                        .capacity = q->capacity,
                                        .adapters = o->adapters.n > 0 ? &o->adapters : NULL};
    }
}

void sequence_append(struct sequence *s, int32_t token)
{
    if (s->n_tokens == s->room) {
        s->room *= 2;
        s->tokens = mem_resize(s->tokens, s->room * sizeof *s->tokens);
    }
    s->tokens[s->n_tokens++] = token;
}

/* How many tokens may be another's: those of the prompt and, where generated ones are computed in
 * the same way, of the answer; but not the one whose logits are wanted. */
static uint32_t may_share(const struct queue *q, const struct sequence *s)
{
    uint32_t n = s->n_tokens - 1, n_prompt = (uint32_t)s->request->o.n_prompt;
    return q->phases_differ && n > n_prompt ? n_prompt : n;
}

/* By s, with which a request begins: further answers to it do not count, however many there are. */
static void pass_over_others(struct queue *q, const struct sequence *s)
{
    for (uint32_t i = 0; i < q->n_waiting; i++) {
        q->waiting[i]->n_passed_over += sequence_id(q->waiting[i]) < sequence_id(s);
    }
    for (uint32_t i = 0; i < q->n_running; i++) { /* whose prompt stands still meanwhile */
        struct sequence *other = q->running[i];
        other->n_passed_over += other->state == SEQUENCE_FILLING &&
                                sequence_id(other) < sequence_id(s) && is_before(s, other);
    }
}

static void begin_running(struct queue *q, struct sequence *s, uint32_t n_computed)
{
    take_away(q->waiting, &q->n_waiting, s);
    run(q, s, n_computed);
    if (!s->begun) {
        uint32_t n_prompt = (uint32_t)s->request->o.n_prompt;
        s->begun = true;
        s->figures.stats.n_prompt = n_prompt;
        s->figures.stats.n_reused = n_computed < n_prompt ? n_computed : n_prompt;
        s->figures.waited_s = time_now_s() - s->request->submitted_s;
        q->figures.n_prompt += n_prompt;
        q->figures.n_reused += s->figures.stats.n_reused;
    }
    if (s->index == 0) {
        pass_over_others(q, s);
    }
}

/* How many answers of a decode pass are taken: a search has room for all its beams from the
 * beginning. */
uint32_t order_n_answers(const struct queue *q)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n_running; i++) {
        const struct sequence *s = q->running[i];
        n += s->text ? 0 : !s->request->beams ? 1 : s->index == 0 ? beams_width(s->request) : 0;
    }
    return n;
}

/* All its pages, and one more for each of the answers, which grow too. */
static bool admit(struct queue *q, struct sequence *s)
{
    uint32_t n_answers = order_n_answers(q);
    if (!s->text && n_answers + beams_width(s->request) > q->o.max_running) {
        return false;
    }
    struct page_copy copy = {0};
    uint32_t n_positions = q->has_pages ? sequence_fill_end(s) : 0;
    sequence_equip(q, s);
    uint32_t n_computed = s->text ? 0 : fork_share(q, s);
    if (n_computed == 0 && !q->o.no_reuse && (!s->text || encode_shares(q, s))) {
        n_computed = pages_take(q->pages, &s->table, s->request->o.cache_key, s->tokens,
                                may_share(q, s), &copy);
    }
    uint32_t wanted = pages_for(q->pages, n_positions) - s->table.n;
    wanted += s->request->beams ? beams_pages(q, s->request) : 0;
    if (wanted + (q->has_pages ? n_answers : 0) > pages_available(q->pages)) {
        pages_release(q->pages, &s->table);
        return false;
    }
    if (copy.n_positions) {
        model_page_copy(q->storage, copy.to, copy.from, copy.n_positions);
    }
    pages_grow(q->pages, &s->table, n_positions);
    begin_running(q, s, n_computed);
    if (n_computed >= (uint32_t)s->request->o.n_prompt) {
        beams_spread(q, s->request);
    }
    return true;
}

/* Whoever is last in line of those that have a lower priority. */
static bool admit_before_others(struct queue *q, struct sequence *s)
{
    while (!admit(q, s)) {
        struct sequence *victim = last_of(q->running, q->n_running);
        if (!victim || is_urgent(victim) || victim->request->o.priority >= s->request->o.priority) {
            return false;
        }
        order_preempt(q, victim);
    }
    return true;
}

static struct sequence *first_filling(const struct queue *q)
{
    struct sequence *best = NULL;
    for (uint32_t i = 0; i < q->n_running; i++) {
        struct sequence *s = q->running[i];
        if (s->state == SEQUENCE_FILLING && (!best || is_before(s, best))) {
            best = s;
        }
    }
    return best;
}

uint32_t order_texts(const struct queue *q, struct sequence *out[QUEUE_MAX_TEXTS])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n_running; i++) {
        struct sequence *s = q->running[i];
        if (s->text) {
            uint32_t at = n++;
            for (; at > 0 && is_before(s, out[at - 1]); at--) {
                out[at] = out[at - 1];
            }
            out[at] = s;
        }
    }
    return n;
}

/* Whether the next pass of texts has room for s beside those that go before it. */
static bool text_fits(const struct queue *q, const struct sequence *s)
{
    uint32_t n_texts = 0, n_rows = 0;
    for (uint32_t i = 0; i < q->n_running; i++) {
        const struct sequence *other = q->running[i];
        if (other->text) {
            n_texts++;
            n_rows += is_before(other, s) ? other->n_tokens - other->cache.n_tokens : 0;
        }
    }
    return n_texts < QUEUE_MAX_TEXTS && n_rows < encode_rows(q, n_texts < q->n_running);
}

/* One prompt at a time, so that the next may find its beginning in the tree; but whoever goes
 * before does so in the middle of a prompt as well, and texts join texts. */
void order_admit(struct queue *q)
{
    for (;;) {
        struct sequence *s = first_of(q->waiting, q->n_waiting), *filling = first_filling(q);
        bool joins = s && s->text && filling && filling->text;
        if (!s || (filling && is_before(filling, s) && !joins) || (s->text && !text_fits(q, s))) {
            return;
        }
        struct error why = {0};
        if (s->text && !encode_equip(q, s, &why)) {
            encode_finish(q, s, FINISH_ERROR, &why);
        } else if (!admit_before_others(q, s)) {
            return;
        }
    }
}

/* A chunk that was begun is ended first. */
struct sequence *order_filling(struct queue *q)
{
    return q->chunk_of ? q->chunk_of : first_filling(q);
}

uint32_t order_answering(struct queue *q, struct sequence *out[QUEUE_MAX_RUNNING])
{
    uint32_t n = 0, n_kept = 0;
    for (uint32_t i = 0; i < q->n_running; i++) {
        struct sequence *s = q->running[i];
        uint32_t at = n;
        if (s->state != SEQUENCE_ANSWERING || !beams_ready(s->request)) {
            continue;
        }
        for (; at > 0 && is_before(s, out[at - 1]); at--) {
            out[at] = out[at - 1];
        }
        out[at] = s;
        n++;
    }
    /* The last in line may be one of these, one that is still being filled, or s itself. Alone, s
     * has room: there are pages for a whole context. */
    for (uint32_t i = 0; i < n; i++) {
        struct sequence *s = out[i];
        while (s->state == SEQUENCE_ANSWERING &&
               !pages_grow(q->pages, &s->table, s->cache.n_tokens + 1)) {
            order_preempt(q, last_of(q->running, q->n_running));
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (out[i]->state == SEQUENCE_ANSWERING) {
            out[n_kept++] = out[i];
        }
    }
    return n_kept;
}

uint32_t order_fork(struct queue *q, struct sequence *s, struct sequence *out[QUEUE_MAX_RUNNING])
{
    uint32_t n = 0, n_prompt = (uint32_t)s->request->o.n_prompt, n_answers;
    while ((n_answers = order_n_answers(q)) < q->o.max_running) {
        struct sequence *next = first_of(q->waiting, q->n_waiting);
        struct page_copy copy;
        if (!next || next->request != s->request || next->begun ||
            pages_available(q->pages) < 1 + n_answers) {
            break;
        }
        sequence_equip(q, next);
        if (!pages_fork(q->pages, &s->table, &next->table, n_prompt, &copy)) {
            break;
        }
        if (copy.n_positions) {
            model_page_copy(q->storage, copy.to, copy.from, copy.n_positions);
        }
        begin_running(q, next, n_prompt);
        out[n++] = next;
    }
    return n;
}

/* Where s is computed again, it needs pages of its own behind those that it shares. */
bool order_run_from(struct queue *q, struct sequence *s, const struct sequence *from,
                    uint32_t n_tokens)
{
    struct page_copy copy;
    bool forked = false;
    sequence_equip(q, s);
    while (!(forked = forked || pages_fork(q->pages, &from->table, &s->table, n_tokens, &copy)) ||
           !pages_grow(q->pages, &s->table, sequence_fill_end(s))) {
        struct sequence *victim = last_of(q->running, q->n_running);
        bool own = victim->request == s->request;
        order_preempt(q, victim);
        if (own) {
            return false;
        }
    }
    if (copy.n_positions) {
        model_page_copy(q->storage, copy.to, copy.from, copy.n_positions);
    }
    s->n_passed_over = from->n_passed_over;
    run(q, s, n_tokens);
    return true;
}
