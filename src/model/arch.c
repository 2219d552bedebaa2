/* Looking up rows, names and lengths. The rows themselves are in the files by kin. */
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const struct model_arch *const families[] = {
    arch_llama, arch_qwen, arch_phi, arch_gemma, arch_gpt, arch_encoder,
};

const struct model_arch *arch_at(size_t index)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        for (const struct model_arch *a = families[f]; a->name; a++) {
            if (index-- == 0) {
                return a;
            }
        }
    }
    return NULL;
}

const struct model_arch *model_arch_find(const char *name, size_t n)
{
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        if (strlen(a->name) == n && memcmp(a->name, name, n) == 0) {
            return a;
        }
    }
    return NULL;
}

const char *model_arch_name(const struct model_arch *a)
{
    return a->name;
}

const char *model_arch_family(const struct model_arch *a)
{
    return a->same_as ? a->same_as : a->name;
}

void model_arch_list(char *out, size_t out_bytes)
{
    size_t used = 0;
    if (out_bytes) {
        out[0] = 0;
    }
    for (size_t i = 0; arch_at(i) && used < out_bytes; i++) {
        int n = snprintf(out + used, out_bytes - used, "%s%s", i ? ", " : "", arch_at(i)->name);
        used += n > 0 ? (size_t)n : 0;
    }
}

uint64_t arch_dim_value(const struct model_config *c, enum arch_dim dim)
{
    switch (dim) {
    case ARCH_ONE:
        return 1;
    case ARCH_EMBD:
        return c->n_embd;
    case ARCH_VOCAB:
        return c->n_vocab;
    case ARCH_CONTEXT:
        return c->n_context;
    case ARCH_TYPES:
        return c->n_token_types;
    case ARCH_LABELS:
        return c->n_labels;
    case ARCH_HEAD:
        return c->head_dim;
    case ARCH_HEADS:
        return c->n_heads;
    case ARCH_Q:
        return (uint64_t)c->n_heads * c->head_dim;
    case ARCH_KV:
        return (uint64_t)c->n_kv_heads * c->head_dim;
    case ARCH_ROT_HALF:
        return c->n_rot / 2;
    case ARCH_FF:
        return c->n_experts ? 0 : c->n_ff;
    case ARCH_DENSE:
        return c->n_experts ? 0 : 1;
    case ARCH_EXPERTS:
        return c->n_experts;
    case ARCH_FF_EXPERT:
        return c->n_experts ? c->n_ff_expert : 0;
    case ARCH_FF_SHARED:
        return c->n_experts ? c->n_ff_shared : 0;
    }
    return 0;
}

/* A number as it is printed, without leading zeros, below 2^32; NULL where there is none. */
static const char *read_number(const char *text, uint32_t *out)
{
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && n <= UINT32_MAX; at++) {
        n = n * 10 + (uint64_t)(*at - '0');
    }
    if (at == text || (*text == '0' && at != text + 1) || n > UINT32_MAX) {
        return NULL;
    }
    *out = (uint32_t)n;
    return at;
}

bool arch_name_match(const char *pattern, const char *name, uint32_t *layer, uint32_t *expert)
{
    uint32_t numbers[2] = {0, 0};
    size_t n = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*name++ != *pattern) {
                return false;
            }
        } else if (n == 2 || !(name = read_number(name, &numbers[n++]))) {
            return false;
        }
    }
    if (*name) {
        return false;
    }
    *layer = n > 0 ? numbers[0] : *layer;
    *expert = n > 1 ? numbers[1] : *expert;
    return true;
}

void arch_name_write(const char *pattern, uint32_t layer, uint32_t expert, char *out,
                     size_t out_bytes)
{
    const char *star = strchr(pattern, '*');
    const char *second = star ? strchr(star + 1, '*') : NULL;
    if (!star) {
        snprintf(out, out_bytes, "%s", pattern);
    } else if (!second) {
        snprintf(out, out_bytes, "%.*s%u%s", (int)(star - pattern), pattern, layer, star + 1);
    } else {
        snprintf(out, out_bytes, "%.*s%u%.*s%u%s", (int)(star - pattern), pattern, layer,
                 (int)(second - star - 1), star + 1, expert, second + 1);
    }
}

const char *arch_shown(const char *text, size_t n, char out[ARCH_SHOWN_BYTES])
{
    size_t shown = n > 64 ? 64 : n;
    shown -= utf8_incomplete_tail(text, shown);
    for (size_t i = 0; i < shown; i++) {
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    }
    out[shown] = 0;
    return out;
}
