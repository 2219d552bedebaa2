#include <stdlib.h>

#include "engine/sampler_parts.h"

/* ---- the first by an order ------------------------------------------------------------------- */

static bool comes_before(struct entry a, struct entry b, enum entry_order order, double from)
{
    if (order == BY_LOGIT && a.logit != b.logit) {
        return a.logit > b.logit;
    }
    if (order == BY_DISTANCE) {
        double x = fabs((double)a.logit - from), y = fabs((double)b.logit - from);
        if (x != y) {
            return x < y;
        }
    }
    return a.id < b.id;
}

static void swap(struct entry *a, struct entry *b)
{
    struct entry c = *a;
    *a = *b;
    *b = c;
}

/* Moves the middle one of the first, the middle and the last entry to the front. */
static void choose_pivot(struct entry *list, size_t n, enum entry_order order, double from)
{
    struct entry *a = list, *b = list + n / 2, *c = list + n - 1;
    if (comes_before(*b, *a, order, from)) {
        swap(a, b);
    }
    if (comes_before(*c, *b, order, from)) {
        swap(b, c);
        if (comes_before(*b, *a, order, from)) {
            swap(a, b);
        }
    }
    swap(a, b);
}

/* Quickselect (Hoare, 1961) by mass in place of number. */
size_t list_first(struct entry *list, size_t n, enum entry_order order, double from, bool count,
                  double wanted)
{
    size_t low = 0, high = n; /* the beginning ends in (low, high] */
    double have = 0;          /* the mass before low */
    while (low < high) {
        choose_pivot(list + low, high - low, order, from);
        struct entry pivot = list[low];
        size_t middle = low;
        double mass = 0; /* of what comes before the pivot */
        for (size_t i = low + 1; i < high; i++) {
            if (comes_before(list[i], pivot, order, from)) {
                mass += count ? 1 : list[i].weight;
                swap(&list[++middle], &list[i]);
            }
        }
        swap(&list[low], &list[middle]);
        if (middle > low && have + mass >= wanted) {
            high = middle;
            continue;
        }
        have += mass + (count ? 1 : pivot.weight);
        if (have >= wanted) {
            return middle + 1;
        }
        low = middle + 1;
    }
    return high; /* rounding, or all of them */
}

/* ---- the tokens that are left ---------------------------------------------------------------- */

void left_set(struct left *l, size_t id, float logit)
{
    l->room->work[id] = logit;
    l->room->stale[id / LOGIT_BLOCK] = true;
}

void left_refresh(struct left *l)
{
    struct sampler_room *r = l->room;
    l->most = -INFINITY;
    for (size_t b = 0; b < logit_blocks(r->n_vocab); b++) {
        if (r->stale[b]) {
            r->stale[b] = false;
            r->most[b] =
                logits_block_most(r->work + b * LOGIT_BLOCK, logit_block_size(r->n_vocab, b));
        }
        l->most = r->most[b] > l->most ? r->most[b] : l->most;
    }
}

static void append(struct left *l, float logit, size_t id)
{
    struct sampler_room *r = l->room;
    if (l->n == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 256;
        r->list = mem_resize(r->list, r->capacity * sizeof *r->list);
    }
    r->list[l->n++] = (struct entry){.logit = logit, .id = (int32_t)id};
}

/* The list of all logits that are at least `least`, and above -inf. Stays dense: the list is an
 * extract until the caller says that it is what is left. */
static void gather(struct left *l, float least)
{
    const struct sampler_room *r = l->room;
    least = least >= -FLT_MAX ? least : -FLT_MAX;
    l->n = 0;
    for (size_t b = 0; b < logit_blocks(r->n_vocab); b++) {
        if (!(r->most[b] >= least)) {
            continue;
        }
        size_t at = b * LOGIT_BLOCK, size = logit_block_size(r->n_vocab, b);
        for (size_t i = at; i < at + size; i++) {
            if (r->work[i] >= least) {
                append(l, r->work[i], i);
            }
        }
    }
}

/* The lowest float that is not below x, so that floats may be compared with it. */
static float least_float(double x)
{
    if (!(x > (double)-FLT_MAX)) {
        return -FLT_MAX;
    }
    if (x >= (double)FLT_MAX) {
        return FLT_MAX;
    }
    float f = (float)x;
    return (double)f < x ? nextafterf(f, INFINITY) : f;
}

void left_cut_below(struct left *l, double least)
{
    float limit = least_float(least);
    limit = limit > l->most ? l->most : limit;
    if (l->dense) {
        gather(l, limit);
        l->dense = false;
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->room->list[i].logit >= limit) {
            l->room->list[kept++] = l->room->list[i];
        }
    }
    l->n = kept;
}

static double weigh_list(struct left *l)
{
    double sum = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct entry *e = &l->room->list[i];
        e->weight = exp((double)e->logit - (double)l->most);
        sum += e->weight;
    }
    return sum;
}

double left_weigh(struct left *l)
{
    return l->dense ? logits_exp_sum(l->room->work, l->room->n_vocab, l->most, l->room->sums)
                    : weigh_list(l);
}

void left_moments(struct left *l, struct logit_moments *m)
{
    if (l->dense) {
        logits_moments(l->room->work, l->room->n_vocab, l->most, m);
        return;
    }
    double square = 0;
    *m = (struct logit_moments){.n = l->n, .sum = weigh_list(l)};
    for (size_t i = 0; i < l->n; i++) {
        const struct entry *e = &l->room->list[i];
        double d = (double)e->logit - (double)l->most;
        m->mean += e->weight * d;
        m->plain_mean += d;
        square += d * d;
    }
    m->mean /= m->sum;
    m->plain_mean /= (double)l->n;
    m->variance = square / (double)l->n - m->plain_mean * m->plain_mean;
    m->variance = m->variance > 0 ? m->variance : 0;
}

static float scaled(float x, float factor)
{
    float y = x * factor;
    y = y > FLT_MAX ? FLT_MAX : y;
    return y >= -FLT_MAX ? y : x >= -FLT_MAX ? -FLT_MAX : x; /* what is left stays so */
}

void left_scale(struct left *l, double factor)
{
    struct sampler_room *r = l->room;
    float f = factor < (double)FLT_MAX ? (float)factor : FLT_MAX;
    l->most = scaled(l->most, f);
    if (!l->dense) {
        for (size_t i = 0; i < l->n; i++) {
            r->list[i].logit = scaled(r->list[i].logit, f);
        }
        return;
    }
    for (size_t i = 0; i < r->n_vocab; i++) {
        r->work[i] = scaled(r->work[i], f);
    }
    /* Multiplying keeps an order, so the highest of a block are those of before. */
    for (size_t b = 0; b < logit_blocks(r->n_vocab); b++) {
        r->most[b] = scaled(r->most[b], f);
    }
}

void left_shorten(struct left *l, size_t n)
{
    l->n = n < l->n ? n : l->n;
    l->most = -INFINITY;
    for (size_t i = 0; i < l->n; i++) {
        l->most = l->room->list[i].logit > l->most ? l->room->list[i].logit : l->most;
    }
}

void left_keep_best(struct left *l)
{
    if (l->dense) {
        gather(l, l->most);
        l->dense = false;
    }
    left_shorten(l, list_first(l->room->list, l->n, BY_LOGIT, 0, true, 1));
}

/* ---- cuts ------------------------------------------------------------------------------------ */

/* A bound that at least k logits reach: k blocks have one that does. -inf where there are not that
 * many blocks. */
static float bound_of_top(struct left *l, size_t k)
{
    struct sampler_room *r = l->room;
    size_t n = logit_blocks(r->n_vocab);
    if (k > n) {
        return -INFINITY;
    }
    l->n = 0;
    for (size_t b = 0; b < n; b++) {
        append(l, r->most[b], b);
    }
    return r->list[list_first(r->list, n, BY_LOGIT, 0, true, (double)k) - 1].logit;
}

void left_top_k(struct left *l, size_t k)
{
    if (l->dense) {
        gather(l, bound_of_top(l, k));
        l->dense = false;
    }
    if (k < l->n) {
        left_shorten(l, list_first(l->room->list, l->n, BY_LOGIT, 0, true, (double)k));
    }
}

/* The weight of those in the list that are near enough. */
static double mass_within(const struct left *l, double middle, double distance)
{
    double mass = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct entry *e = &l->room->list[i];
        mass += fabs((double)e->logit - middle) <= distance ? e->weight : 0;
    }
    return mass;
}

/* Extracts, of a dense set, tokens around `middle` (and all above) that have the mass wanted and
 * are the nearest, so that a cut need not look at more; all of them at worst. */
static void gather_mass(struct left *l, double middle, double wanted)
{
    for (double distance = 4;; distance *= 2) {
        double least = middle - distance;
        gather(l, least_float(least));
        weigh_list(l);
        if (mass_within(l, middle, distance) >= wanted || distance > 1e3) {
            break;
        }
    }
    if (mass_within(l, middle, INFINITY) < wanted) {
        gather(l, -FLT_MAX);
        weigh_list(l);
    }
    l->dense = false;
}

void left_top_p(struct left *l, double share)
{
    double wanted = share * left_weigh(l);
    if (l->dense) {
        gather_mass(l, (double)l->most, wanted);
    }
    left_shorten(l, list_first(l->room->list, l->n, BY_LOGIT, 0, false, wanted));
}

void left_typical(struct left *l, double share)
{
    struct logit_moments m;
    left_moments(l, &m);
    /* The surprise of a token is log sum - (x - most), the entropy log sum - mean. */
    double middle = (double)l->most + m.mean, wanted = share * m.sum;
    if (l->dense) {
        gather_mass(l, middle, wanted);
    }
    left_shorten(l, list_first(l->room->list, l->n, BY_DISTANCE, middle, false, wanted));
}

void left_exclude_top(struct left *l, double threshold)
{
    if (threshold <= 0) {
        left_exclude_top(l, DBL_MIN); /* all that are possible */
        return;
    }
    double least = (double)l->most + log(threshold) + log(left_weigh(l));
    bool dense = l->dense;
    struct entry *list = l->room->list;
    size_t n = 0;
    if (dense) {
        gather(l, least_float(least));
        list = l->room->list;
        n = l->n;
    } else { /* to the front */
        for (size_t i = 0; i < l->n; i++) {
            if ((double)list[i].logit >= least) {
                swap(&list[n++], &list[i]);
            }
        }
    }
    if (n < 2) {
        return;
    }
    list_first(list, n, BY_LOGIT, 0, true, (double)n);
    if (dense) {
        for (size_t i = 0; i + 1 < n; i++) {
            left_set(l, (size_t)list[i].id, -INFINITY);
        }
        left_refresh(l);
    } else {
        memmove(list, list + n - 1, (l->n - n + 1) * sizeof *list);
        left_shorten(l, l->n - n + 1);
    }
}
