#include "cli/entities.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

void label_names_init(struct label_names *names, const struct model *m)
{
    *names = (struct label_names){.n = m->config.n_labels};
    names->items = mem_array(names->n, sizeof *names->items);
    for (size_t i = 0; i < names->n; i++) {
        struct gguf_string given;
        char number[32];
        snprintf(number, sizeof number, "LABEL_%zu", i);
        names->items[i] = model_label(m, (uint32_t)i, &given) ? mem_strndup(given.data, given.len)
                                                              : mem_strdup(number);
        size_t n = strlen(names->items[i]);
        names->longest = n > names->longest ? n : names->longest;
    }
}

void label_names_free(struct label_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        free(names->items[i]);
    }
    free(names->items);
    *names = (struct label_names){0};
}

void label_softmax(const float *scores, size_t n, double *probabilities)
{
    double max = -(double)INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        max = (double)scores[i] > max ? (double)scores[i] : max; /* not fmax: attention_ref.c */
    }
    for (size_t i = 0; i < n; i++) {
        probabilities[i] = exp((double)scores[i] - max);
        sum += probabilities[i];
    }
    for (size_t i = 0; i < n; i++) {
        probabilities[i] /= sum;
    }
}

/* What a label names, without its place in the entity. */
static const char *name_of(const char *label)
{
    return strncmp(label, "B-", 2) == 0 || strncmp(label, "I-", 2) == 0 ? label + 2 : label;
}

/* Characters before each byte that is asked for, in ascending order. */
struct counter {
    const char *text;
    size_t n, at, characters;
};

static size_t characters_before(struct counter *c, size_t byte)
{
    if (byte < c->at) {
        c->at = c->characters = 0; /* spans of normalised text may step back */
    }
    while (c->at < byte && c->at < c->n) {
        uint32_t cp;
        size_t step = utf8_decode(c->text + c->at, c->n - c->at, &cp);
        c->at += step ? step : 1;
        c->characters++;
    }
    return c->characters;
}

static struct entity *add(struct entity_list *l)
{
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 16;
        l->items = mem_resize(l->items, l->capacity * sizeof *l->items);
    }
    l->items[l->n] = (struct entity){0};
    return &l->items[l->n++];
}

static size_t best_of(const double *p, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = p[i] > p[best] ? i : best;
    }
    return best;
}

void entities_find(struct entity_list *found, const struct label_names *names, const char *text,
                   size_t n, const struct token_span *spans, size_t n_spans, const float *scores,
                   bool every_token)
{
    double *p = mem_array(names->n, sizeof *p);
    struct counter place = {.text = text, .n = n};
    struct entity *open = NULL;
    size_t n_tokens = 0; /* of the open entity */
    for (size_t t = 0; t < n_spans; t++) {
        if (spans[t].start == spans[t].end) {
            continue;
        }
        label_softmax(scores + t * names->n, names->n, p);
        size_t best = best_of(p, names->n);
        const char *whole = names->items[best], *name = every_token ? whole : name_of(whole);
        bool goes_on = open && !every_token && strncmp(whole, "B-", 2) != 0 &&
                       strlen(name) == open->label_bytes &&
                       memcmp(name, open->label, open->label_bytes) == 0;
        if (!goes_on) {
            bool outside = strcmp(whole, "O") == 0;
            open = outside && !every_token ? NULL : add(found);
            n_tokens = 0;
            if (!open) {
                continue;
            }
            open->label = name;
            open->label_bytes = strlen(name);
            open->start_byte = spans[t].start;
            open->start = characters_before(&place, spans[t].start);
        }
        open->end_byte = spans[t].end;
        open->end = characters_before(&place, spans[t].end);
        open->score += (p[best] - open->score) / (double)++n_tokens;
    }
    free(p);
}

void entity_list_free(struct entity_list *l)
{
    free(l->items);
    *l = (struct entity_list){0};
}
