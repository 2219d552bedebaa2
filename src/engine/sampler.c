#include <stdlib.h>

#include "engine/sampler_parts.h"

enum {
    MAX_TEXT_BYTES = 1 << 24,
    MIROSTAT_TOP = 100, /* tokens by which mirostat 1 judges the steepness (the paper's m) */
};

struct sampler_room *sampler_room_new(size_t n_vocab)
{
    size_t blocks = logit_blocks(n_vocab);
    struct sampler_room *r = mem_zalloc(sizeof *r);
    r->n_vocab = n_vocab;
    r->work = mem_array(n_vocab, sizeof *r->work);
    r->counts = mem_array(n_vocab, sizeof *r->counts);
    r->most = mem_array(blocks, sizeof *r->most);
    r->sums = mem_array(blocks, sizeof *r->sums);
    r->stale = mem_array(blocks, sizeof *r->stale);
    buf_init(&r->text, MAX_TEXT_BYTES);
    return r;
}

void sampler_room_free(struct sampler_room *r)
{
    if (r) {
        free(r->work);
        free(r->counts);
        free(r->most);
        free(r->sums);
        free(r->stale);
        free(r->list);
        free(r->repeats);
        buf_free(&r->text);
        free(r);
    }
}

/* What the options point to becomes the sampler's own. */
static void keep_lists(struct sampler *s)
{
    struct sampling *how = &s->how;
    const char **breakers = arena_alloc(s->arena, (how->n_dry_breakers + 1) * sizeof *breakers);
    for (size_t i = 0; i < how->n_dry_breakers; i++) {
        breakers[i] = arena_strndup(s->arena, how->dry_breakers[i], strlen(how->dry_breakers[i]));
    }
    how->dry_breakers = breakers;
    struct logit_bias *bias = arena_alloc(s->arena, (how->n_bias + 1) * sizeof *bias);
    if (how->n_bias) {
        memcpy(bias, how->bias, how->n_bias * sizeof *bias);
    }
    how->bias = bias;
    for (uint32_t i = 0; how->n_order == 0 && i < N_SAMPLERS; i++) {
        how->order[i] = (uint8_t)i;
    }
    how->n_order = how->n_order ? how->n_order : (uint32_t)N_SAMPLERS;
}

bool sampling_names(const struct sampling *s, enum sampler_kind kind)
{
    bool named = s->n_order == 0;
    for (uint32_t i = 0; i < s->n_order; i++) {
        named = named || s->order[i] == kind;
    }
    return named;
}

/* Temperature 0 promises the likeliest token: an order that does not name the temperature then has
 * it behind all others but adaptive_p, which chooses among what is left. */
static void keep_promise(struct sampling *how)
{
    if (how->temperature > 0 || sampling_names(how, SAMPLER_TEMPERATURE)) {
        return;
    }
    uint32_t at = how->n_order++;
    if (how->order[at - 1] == SAMPLER_ADAPTIVE_P) {
        how->order[at--] = SAMPLER_ADAPTIVE_P;
    }
    how->order[at] = SAMPLER_TEMPERATURE;
    how->temperature_range = 0; /* part of the sampler that was left out */
}

struct sampler *sampler_new(const struct sampling *how, const struct tokenizer *tokenizer,
                            struct sampler_room *room)
{
    struct sampler *s = mem_zalloc(sizeof *s);
    s->how = *how;
    s->tokenizer = tokenizer;
    s->room = room;
    s->arena = arena_new();
    keep_lists(s);
    keep_promise(&s->how);
    rng_seed(&s->rng, how->seed);
    s->mu = 2 * (double)how->mirostat_tau;
    /* As if all tokens before had been at the target. */
    s->average[1] = 1 / (1 - (double)how->adaptive_decay);
    s->average[0] = (double)how->adaptive_target * s->average[1];
    return s;
}

struct sampler *sampler_copy(const struct sampler *s, struct sampler_room *room)
{
    struct sampler *copy = mem_zalloc(sizeof *copy);
    *copy = *s;
    copy->room = room;
    copy->left = (struct left){.room = room};
    copy->sum = 0;
    copy->arena = arena_new();
    keep_lists(copy);
    return copy;
}

void sampler_free(struct sampler *s)
{
    if (s) {
        arena_free(s->arena);
        free(s);
    }
}

/* ---- the steps ------------------------------------------------------------------------------- */

static void add_bias(const struct sampler *s, struct left *l)
{
    if (s->how.n_bias == 0) {
        return;
    }
    for (size_t i = 0; i < s->how.n_bias; i++) {
        struct logit_bias b = s->how.bias[i];
        if (b.id >= 0 && (size_t)b.id < s->room->n_vocab && s->room->work[b.id] >= -FLT_MAX) {
            float x = s->room->work[b.id] + b.bias;
            x = x > FLT_MAX ? FLT_MAX : x;
            left_set(l, (size_t)b.id, x < -FLT_MAX && b.bias >= -FLT_MAX ? -FLT_MAX : x);
        }
    }
    left_refresh(l);
}

static void temper(const struct sampler *s, struct left *l)
{
    double t = (double)s->how.temperature, range = (double)s->how.temperature_range;
    if (range > 0) {
        struct logit_moments m;
        left_moments(l, &m);
        double entropy = log(m.sum) - m.mean, most = log((double)m.n);
        double share = m.n > 1 && entropy > 0 ? entropy / most : 0;
        double low = t > range ? t - range : 0, high = t + range;
        share = share < 1 ? share : 1;
        t = low + (high - low) * pow(share, (double)s->how.temperature_exponent);
        if (m.n <= 1) {
            return;
        }
    }
    if (t <= 0) {
        left_keep_best(l);
    } else if (t != 1) {
        left_scale(l, 1 / t);
    }
}

/* luck: decides whether XTC strikes this time. */
static void apply(struct sampler *s, enum sampler_kind kind, struct left *l, const int32_t *recent,
                  size_t n_recent, double luck)
{
    const struct sampling *how = &s->how;
    bool cut_here = how->mirostat == 0;
    switch (kind) {
    case SAMPLER_PENALTIES:
        repeat_penalties(s, l, recent, n_recent);
        return;
    case SAMPLER_DRY:
        repeat_dry(s, l, recent, n_recent);
        return;
    case SAMPLER_TEMPERATURE:
        temper(s, l);
        return;
    case SAMPLER_TOP_N_SIGMA:
        if (cut_here && how->top_n_sigma > 0) {
            struct logit_moments m;
            left_moments(l, &m);
            left_cut_below(l, (double)l->most - (double)how->top_n_sigma * sqrt(m.variance));
        }
        return;
    case SAMPLER_TOP_K:
        if (cut_here && how->top_k > 0 && how->top_k < s->room->n_vocab) {
            left_top_k(l, how->top_k);
        }
        return;
    case SAMPLER_TYPICAL:
        if (cut_here && how->typical_p > 0 && how->typical_p < 1) {
            left_typical(l, (double)how->typical_p);
        }
        return;
    case SAMPLER_TOP_P:
        if (cut_here && how->top_p < 1) {
            left_top_p(l, (double)how->top_p);
        }
        return;
    case SAMPLER_MIN_P:
        if (cut_here && how->min_p > 0) {
            left_cut_below(l, (double)l->most + log((double)how->min_p));
        }
        return;
    case SAMPLER_XTC:
        if (cut_here && luck < (double)how->xtc_probability) {
            left_exclude_top(l, (double)how->xtc_threshold);
        }
        return;
    case SAMPLER_ADAPTIVE_P: /* changes how the token is drawn: see draw_adaptive */
    case N_SAMPLERS:
        return;
    }
}

/* ---- the draw -------------------------------------------------------------------------------- */

/* Tokens stand side by side in the order of their ids, each as wide as its weight; the one at
 * luck * sum is drawn. By id, because logits that differ by a rounding then move borders by as
 * little, whereas in the order of logits tokens would change places. */
static size_t draw_dense(const struct left *l, double at)
{
    const struct sampler_room *r = l->room;
    size_t n = r->n_vocab, last = 0;
    for (size_t b = 0; b < logit_blocks(n); b++) {
        if (r->sums[b] > 0) {
            last = b;
        }
        if (at < r->sums[b]) {
            break;
        }
        at -= r->sums[b];
    }
    size_t id = last * LOGIT_BLOCK, drawn = id;
    for (size_t end = id + logit_block_size(n, last); id < end; id++) {
        double weight = (double)logit_exp(r->work[id] - l->most);
        if (weight > 0) {
            drawn = id;
        }
        if (at < weight) {
            break;
        }
        at -= weight;
    }
    return drawn;
}

static int32_t draw(struct sampler *s, double luck)
{
    struct left *l = &s->left;
    if (l->dense) {
        return (int32_t)draw_dense(l, luck * s->sum);
    }
    /* The first by id whose sum is above luck * sum. */
    double wanted = nextafter(luck * s->sum, INFINITY);
    return l->room->list[list_first(l->room->list, l->n, BY_ID, 0, false, wanted) - 1].id;
}

static const struct entry *find_entry(const struct left *l, int32_t id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->room->list[i].id == id) {
            return &l->room->list[i];
        }
    }
    return NULL;
}

/* The logarithm of a probability; -INFINITY: the token was cut. */
static double entry_logarithm(const struct sampler *s, const struct entry *e)
{
    double weight = s->drawn_by_weight ? log(e->weight) : (double)e->logit - (double)s->left.most;
    return weight - log(s->sum);
}

static double logarithm_of(const struct sampler *s, int32_t id)
{
    const struct left *l = &s->left;
    if (l->dense) {
        return (double)l->room->work[id] - (double)l->most - log(s->sum);
    }
    const struct entry *e = find_entry(l, id);
    return e ? entry_logarithm(s, e) : -INFINITY;
}

/* How many of the likeliest tokens mirostat 1 takes, by an estimate of the exponent of Zipf's law
 * from the steps between the first hundred (Basu et al., 2020, algorithm 1). */
static size_t mirostat_k(struct sampler *s)
{
    struct left top = s->left; /* which stays dense */
    left_top_k(&top, MIROSTAT_TOP);
    struct entry *list = s->room->list;
    for (size_t i = 0; i < top.n; i++) {
        list_first(list + i, top.n - i, BY_LOGIT, 0, true, 1);
    }
    double over = 0, under = 0;
    for (size_t i = 0; i + 1 < top.n; i++) {
        double t = log((double)(i + 2) / (double)(i + 1));
        over += t * ((double)list[i].logit - (double)list[i + 1].logit);
        under += t * t;
    }
    double n = (double)s->room->n_vocab, exponent = under > 0 ? over / under : 1;
    double e = exponent - 1;
    double share = fabs(e) < 1e-9 ? 1 / log(n) : e / (1 - pow(n, -e));
    double k = pow(share * exp2(s->mu), 1 / exponent);
    return k < n ? k >= 1 ? (size_t)k : 1 : (size_t)n;
}

static int32_t draw_mirostat(struct sampler *s, double luck)
{
    struct left *l = &s->left;
    if (s->how.mirostat == 1 && l->dense && s->room->n_vocab > 1) {
        left_top_k(l, mirostat_k(s));
    } else if (s->how.mirostat == 2) {
        left_cut_below(l, (double)l->most + log(left_weigh(l)) - s->mu * log(2));
    }
    s->sum = left_weigh(l);
    int32_t id = draw(s, luck);
    double surprise = -logarithm_of(s, id) / log(2);
    s->mu -= (double)s->how.mirostat_eta * (surprise - (double)s->how.mirostat_tau);
    return id;
}

/* Weights fall with the distance of a probability from the target, which moves against the average
 * of those drawn so far. The constants are those of the original. */
static int32_t draw_adaptive(struct sampler *s, double luck)
{
    struct left *l = &s->left;
    const double width = 0.3, peak = 5, sharpness = 10;
    left_cut_below(l, -INFINITY); /* a list in any case */
    double sum = left_weigh(l), decay = (double)s->how.adaptive_decay;
    double target = 2 * (double)s->how.adaptive_target - s->average[0] / s->average[1];
    target = target < 0 ? 0 : target > 1 ? 1 : target;
    s->sum = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct entry *e = &l->room->list[i];
        double off = fabs(e->weight / sum - target) / width;
        e->weight = exp(peak - sharpness * off * off / (1 + off));
        s->sum += e->weight;
    }
    s->drawn_by_weight = true;
    int32_t id = draw(s, luck);
    double drawn = exp((double)find_entry(l, id)->logit - (double)l->most) / sum;
    s->average[0] = drawn + decay * s->average[0];
    s->average[1] = 1 + decay * s->average[1];
    return id;
}

static void mark_forbidden(struct sampler *s, uint32_t mark)
{
    for (size_t i = 0; i < s->how.n_bias; i++) {
        struct logit_bias b = s->how.bias[i];
        if (b.bias < -FLT_MAX && b.id >= 0 && (size_t)b.id < s->room->n_vocab) {
            s->room->counts[b.id] = mark;
        }
    }
}

/* Where no logit is above -inf: of those that the model ruled out, the first; never one that the
 * user did. */
static int32_t lowest_allowed(struct sampler *s, const uint32_t *allowed)
{
    size_t n = s->room->n_vocab, id = 0;
    mark_forbidden(s, 1);
    while (id < n && (s->room->counts[id] || (allowed && !(allowed[id / 32] >> (id % 32) & 1)))) {
        id = allowed && allowed[id / 32] == 0 ? (id / 32 + 1) * 32 : id + 1;
    }
    mark_forbidden(s, 0);
    s->left.dense = true;
    s->sum = 0;
    return id < n ? (int32_t)id : SAMPLER_NOTHING;
}

static bool is_adaptive(const struct sampling *how)
{
    return how->adaptive_target > 0 && how->mirostat == 0 &&
           how->order[how->n_order - 1] == SAMPLER_ADAPTIVE_P;
}

/* With temperature 0 the best token is the choice, and cuts that keep it need not be made: all but
 * typ_p and xtc. Where penalties come behind a cut, it counts after all. */
bool sampling_is_greedy(const struct sampling *how)
{
    bool cut = false, always = how->temperature <= 0 && !sampling_names(how, SAMPLER_TEMPERATURE);
    if (how->temperature > 0 || (how->temperature_range > 0 && !always)) {
        return false;
    }
    for (uint32_t i = 0; i < (how->n_order ? how->n_order : (uint32_t)N_SAMPLERS); i++) {
        switch (how->n_order ? (enum sampler_kind)how->order[i] : (enum sampler_kind)i) {
        case SAMPLER_TEMPERATURE:
            return true;
        case SAMPLER_PENALTIES:
        case SAMPLER_DRY:
            if (cut) {
                return false;
            }
            break;
        case SAMPLER_TYPICAL:
            if (how->mirostat == 0 && how->typical_p > 0 && how->typical_p < 1) {
                return false;
            }
            break;
        case SAMPLER_XTC:
            if (how->mirostat == 0 && how->xtc_probability > 0) {
                return false;
            }
            break;
        default:
            cut = true;
        }
    }
    return true;
}

static bool is_penalty(uint8_t kind)
{
    return kind == SAMPLER_PENALTIES || kind == SAMPLER_DRY;
}

/* What changes logits before the temperature, then the best. */
static void take_greedily(struct sampler *s, struct left *l, const int32_t *recent, size_t n_recent)
{
    for (uint32_t i = 0; s->how.order[i] != SAMPLER_TEMPERATURE; i++) {
        if (is_penalty(s->how.order[i])) {
            apply(s, s->how.order[i], l, recent, n_recent, 1);
        }
    }
    left_keep_best(l);
}

int32_t sampler_next(struct sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                     const uint32_t *allowed)
{
    const struct sampling *how = &s->how;
    struct sampler_room *r = s->room;
    double luck = rng_uniform(&s->rng);
    double strike = how->xtc_probability > 0 ? rng_uniform(&s->rng) : 1;
    struct left *l = &s->left;
    *l = (struct left){.room = r, .dense = true};
    s->drawn_by_weight = false;
    l->most = logits_load(logits, r->n_vocab, allowed, r->work, r->most, &r->has_nan);
    add_bias(s, l);
    if (!(l->most >= -FLT_MAX)) {
        return lowest_allowed(s, allowed);
    }
    if (sampling_is_greedy(how)) {
        take_greedily(s, l, recent, n_recent);
    } else {
        for (uint32_t i = 0; i < how->n_order; i++) {
            apply(s, how->order[i], l, recent, n_recent, strike);
        }
    }
    if (how->mirostat) {
        return draw_mirostat(s, luck);
    }
    if (is_adaptive(how)) {
        return draw_adaptive(s, luck);
    }
    s->sum = left_weigh(l);
    return draw(s, luck);
}

bool sampler_met_nan(const struct sampler *s)
{
    return s->room->has_nan;
}

/* In two steps, as in logits_logprobs: beside an extreme logit the logarithm would be lost. */
static void shift(float *x, size_t n, double most, double log_sum)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)x[i] - most - log_sum);
    }
}

size_t sampler_best(struct sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                    const uint32_t *allowed, size_t n, struct token_logprob *best)
{
    struct sampler_room *r = s->room;
    struct left *l = &s->left;
    size_t n_best = 0;
    *l = (struct left){.room = r, .dense = true};
    s->drawn_by_weight = false;
    s->sum = 0; /* nothing is drawn */
    float most = logits_load(logits, r->n_vocab, NULL, r->work, r->most, &r->has_nan);
    if (!(most >= -FLT_MAX)) {
        return 0;
    }
    double log_sum = log(logits_exp_sum(r->work, r->n_vocab, most, NULL));
    if (allowed) {
        logits_load(logits, r->n_vocab, allowed, r->work, r->most, &r->has_nan);
    }
    shift(r->work, r->n_vocab, (double)most, log_sum);
    shift(r->most, logit_blocks(r->n_vocab), (double)most, log_sum);
    left_refresh(l);
    add_bias(s, l);
    for (uint32_t i = 0; i < s->how.n_order; i++) {
        if (is_penalty(s->how.order[i])) {
            apply(s, s->how.order[i], l, recent, n_recent, 1);
        }
    }
    n = n < r->n_vocab ? n : r->n_vocab;
    struct candidate *list = mem_array(n ? n : 1, sizeof *list);
    n = logits_top(r->work, r->n_vocab, n, list);
    while (n_best < n && list[n_best].logit >= -FLT_MAX) {
        best[n_best] = (struct token_logprob){list[n_best].id, list[n_best].logit};
        n_best++;
    }
    free(list);
    return n_best;
}

/* ---- how likely the choice was --------------------------------------------------------------- */

static size_t list_logprobs(const struct sampler *s, size_t n_top, struct token_logprob *top)
{
    const struct left *l = &s->left;
    struct entry *list = l->room->list; /* its order is free */
    n_top = n_top < l->n ? n_top : l->n;
    for (size_t i = 0; i < n_top; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < l->n; j++) {
            if (list[j].weight > list[best].weight ||
                (list[j].weight == list[best].weight && list[j].id < list[best].id)) {
                best = j;
            }
        }
        struct entry first = list[best];
        list[best] = list[i];
        list[i] = first;
        top[i] = (struct token_logprob){first.id, (float)entry_logarithm(s, &first)};
    }
    return n_top;
}

size_t sampler_logprobs(const struct sampler *s, int32_t chosen, float *logprob, size_t n_top,
                        struct token_logprob *top)
{
    const struct left *l = &s->left;
    *logprob = -INFINITY;
    if (!(s->sum > 0)) {
        return 0;
    }
    if (!l->dense) {
        *logprob = (float)logarithm_of(s, chosen);
        return list_logprobs(s, n_top, top);
    }
    n_top = logits_logprobs(l->room->work, s->room->n_vocab, chosen, logprob, n_top, top);
    while (n_top && !(top[n_top - 1].logprob >= -FLT_MAX)) {
        n_top--;
    }
    return n_top;
}
