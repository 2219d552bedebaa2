#include "engine/sampling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the fields ------------------------------------------------------------------------------ */

enum field_type { FIELD_FLOAT, FIELD_U32, FIELD_I32 };

/* A number of struct sampling: its name in JSON, in sentences and in files. */
static const struct field {
    const char *name, *words, *key;
    enum field_type type;
    size_t offset;
    double least, most;
} fields[] = {
#define AT(member) offsetof(struct sampling, member)
    {"temperature", "the temperature", "temp", FIELD_FLOAT, AT(temperature), 0, 100},
    {"dynatemp_range", "the range of the temperature", NULL, FIELD_FLOAT, AT(temperature_range), 0,
     100},
    {"dynatemp_exponent", "the exponent of the temperature", NULL, FIELD_FLOAT,
     AT(temperature_exponent), 0, 100},
    {"top_k", "top-k", "top_k", FIELD_U32, AT(top_k), 0, 1 << 24},
    {"top_p", "top-p", "top_p", FIELD_FLOAT, AT(top_p), 0, 1},
    {"min_p", "min-p", "min_p", FIELD_FLOAT, AT(min_p), 0, 1},
    {"typical_p", "typical-p", NULL, FIELD_FLOAT, AT(typical_p), 0, 1},
    {"top_n_sigma", "top-n-sigma", NULL, FIELD_FLOAT, AT(top_n_sigma), 0, 1000},
    {"xtc_probability", "the XTC probability", "xtc_probability", FIELD_FLOAT, AT(xtc_probability),
     0, 1},
    {"xtc_threshold", "the XTC threshold", "xtc_threshold", FIELD_FLOAT, AT(xtc_threshold), 0, 1},
    {"repeat_penalty", "the repetition penalty", "penalty_repeat", FIELD_FLOAT, AT(repeat_penalty),
     0.01, 100},
    {"presence_penalty", "the presence penalty", NULL, FIELD_FLOAT, AT(presence_penalty), -100,
     100},
    {"frequency_penalty", "the frequency penalty", NULL, FIELD_FLOAT, AT(frequency_penalty), -100,
     100},
    {"repeat_last_n", "the number of recent tokens", "penalty_last_n", FIELD_I32, AT(repeat_last_n),
     SAMPLING_ALL, 1 << 24},
    {"dry_multiplier", "the DRY multiplier", NULL, FIELD_FLOAT, AT(dry_multiplier), 0, 100},
    {"dry_base", "the DRY base", NULL, FIELD_FLOAT, AT(dry_base), 0, 100},
    {"dry_allowed_length", "the DRY allowed length", NULL, FIELD_U32, AT(dry_allowed_length), 0,
     1 << 24},
    {"dry_penalty_last_n", "the number of tokens for DRY", NULL, FIELD_I32, AT(dry_last_n),
     SAMPLING_ALL, 1 << 24},
    {"mirostat", "the mirostat version", "mirostat", FIELD_U32, AT(mirostat), 0, 2},
    {"mirostat_tau", "mirostat's tau", "mirostat_tau", FIELD_FLOAT, AT(mirostat_tau), 0, 100},
    {"mirostat_eta", "mirostat's eta", "mirostat_eta", FIELD_FLOAT, AT(mirostat_eta), 0, 1},
    {"adaptive_target", "the adaptive target", NULL, FIELD_FLOAT, AT(adaptive_target), 0, 1},
    {"adaptive_decay", "the adaptive decay", NULL, FIELD_FLOAT, AT(adaptive_decay), 0, 0.99},
#undef AT
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

/* Limits are the floats that their decimals are written as: 0.01 and 0.99 are in range. */
static bool in_range(const struct field *f, double x)
{
    return (float)x >= (float)f->least && (float)x <= (float)f->most;
}

static double get(const struct sampling *s, const struct field *f)
{
    const char *at = (const char *)s + f->offset;
    switch (f->type) {
    case FIELD_FLOAT:
        return (double)*(const float *)(const void *)at;
    case FIELD_U32:
        return *(const uint32_t *)(const void *)at;
    case FIELD_I32:
        return *(const int32_t *)(const void *)at;
    }
    return 0;
}

static void set(struct sampling *s, const struct field *f, double x)
{
    void *at = (char *)s + f->offset;
    switch (f->type) {
    case FIELD_FLOAT:
        *(float *)at = (float)x;
        return;
    case FIELD_U32:
        *(uint32_t *)at = (uint32_t)x;
        return;
    case FIELD_I32:
        *(int32_t *)at = (int32_t)x;
        return;
    }
}

void sampling_off(struct sampling *s)
{
    *s = (struct sampling){.temperature = 1,
                           .temperature_exponent = 1,
                           .top_p = 1,
                           .typical_p = 1,
                           .xtc_threshold = 0.1f,
                           .repeat_penalty = 1,
                           .repeat_last_n = 64,
                           .dry_base = 1.75f,
                           .dry_allowed_length = 2,
                           .dry_last_n = SAMPLING_ALL,
                           .mirostat_tau = 5,
                           .mirostat_eta = 0.1f,
                           .adaptive_decay = 0.9f};
}

void sampling_defaults(struct sampling *s)
{
    static const char *const breakers[] = {"\n", ":", "\"", "*"};
    sampling_off(s);
    s->temperature = 0.8f;
    s->top_k = 40;
    s->top_p = 0.95f;
    s->min_p = 0.05f;
    s->dry_breakers = breakers;
    s->n_dry_breakers = sizeof breakers / sizeof *breakers;
}

static bool check_bias(const struct sampling *s, size_t n_vocab, struct error *e)
{
    if (s->n_bias > SAMPLING_MAX_BIAS) {
        return error_set(e, ERROR_LIMIT, "there are %zu logit biases, and at most %d are taken",
                         s->n_bias, SAMPLING_MAX_BIAS);
    }
    for (size_t i = 0; i < s->n_bias; i++) {
        struct logit_bias b = s->bias[i];
        if (isnan(b.bias) || b.bias > 1e30f) {
            return error_set(e, ERROR_USAGE, "the logit bias of token %d is no number to add",
                             (int)b.id);
        }
        if (b.id < 0 || (n_vocab && (size_t)b.id >= n_vocab)) {
            return error_set(e, ERROR_USAGE,
                             "the logit bias names token %d, and the tokens of this model are 0 to "
                             "%zu",
                             (int)b.id, n_vocab ? n_vocab - 1 : (size_t)INT32_MAX);
        }
    }
    return true;
}

static bool check_breakers(const struct sampling *s, struct error *e)
{
    if (s->n_dry_breakers > SAMPLING_MAX_BREAKERS) {
        return error_set(e, ERROR_LIMIT,
                         "there are %zu DRY sequence breakers, and at most %d are taken",
                         s->n_dry_breakers, SAMPLING_MAX_BREAKERS);
    }
    for (size_t i = 0; i < s->n_dry_breakers; i++) {
        size_t n = strlen(s->dry_breakers[i]);
        if (n == 0 || n > SAMPLING_MAX_BREAKER_BYTES) {
            return error_set(e, ERROR_USAGE,
                             "DRY sequence breaker %zu has %zu bytes, and must have 1 to %d", i + 1,
                             n, SAMPLING_MAX_BREAKER_BYTES);
        }
    }
    return true;
}

static bool check_order(const struct sampling *s, struct error *e)
{
    bool seen[N_SAMPLERS] = {false};
    if (s->n_order > N_SAMPLERS) {
        return error_set(e, ERROR_USAGE, "there are %u samplers in the order, and %d in all",
                         (unsigned)s->n_order, N_SAMPLERS);
    }
    for (uint32_t i = 0; i < s->n_order; i++) {
        enum sampler_kind kind = s->order[i];
        if (kind >= N_SAMPLERS || seen[kind]) {
            return error_set(e, ERROR_USAGE, "the order of samplers names %s",
                             kind < N_SAMPLERS ? "one twice" : "one that there is not");
        }
        if (kind == SAMPLER_ADAPTIVE_P && i + 1 < s->n_order) {
            return error_set(
                e, ERROR_USAGE,
                "adaptive_p chooses the token, so it must be the last of the samplers");
        }
        seen[kind] = true;
    }
    return true;
}

bool sampling_check(const struct sampling *s, size_t n_vocab, struct error *e)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        double x = get(s, &fields[i]);
        if (!in_range(&fields[i], x)) { /* a NaN too */
            return error_set(e, ERROR_USAGE,
                             fields[i].type == FIELD_FLOAT
                                 ? "%s is %g, and must be between %g and %g"
                                 : "%s is %.0f, and must be between %.0f and %.0f",
                             fields[i].words, x, fields[i].least, fields[i].most);
        }
    }
    return check_bias(s, n_vocab, e) && check_breakers(s, e) && check_order(s, e);
}

/* ---- the order ------------------------------------------------------------------------------- */

/* llama.cpp's spellings, "-" read as "_"; the first of a kind is the one that is printed. The
 * letters are those of its --sampling-seq, which files have too. */
static const struct {
    const char *name;
    char letter;
    enum sampler_kind kind;
} names[] = {
    {"penalties", 'e', SAMPLER_PENALTIES},
    {"dry", 'd', SAMPLER_DRY},
    {"top_n_sigma", 's', SAMPLER_TOP_N_SIGMA},
    {"top_nsigma", 0, SAMPLER_TOP_N_SIGMA},
    {"top_k", 'k', SAMPLER_TOP_K},
    {"typ_p", 'y', SAMPLER_TYPICAL},
    {"typical_p", 0, SAMPLER_TYPICAL},
    {"typical", 0, SAMPLER_TYPICAL},
    {"typ", 0, SAMPLER_TYPICAL},
    {"top_p", 'p', SAMPLER_TOP_P},
    {"nucleus", 0, SAMPLER_TOP_P},
    {"min_p", 'm', SAMPLER_MIN_P},
    {"xtc", 'x', SAMPLER_XTC},
    {"temperature", 't', SAMPLER_TEMPERATURE},
    {"temp", 0, SAMPLER_TEMPERATURE},
    {"adaptive_p", 'a', SAMPLER_ADAPTIVE_P},
};
enum { N_NAMES = sizeof names / sizeof *names };

static bool same_name(const char *text, size_t n, const char *name)
{
    if (strlen(name) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = text[i] == '-' ? '_' : text[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        if (c != name[i]) {
            return false;
        }
    }
    return true;
}

static const char *kind_name(enum sampler_kind kind)
{
    for (size_t i = 0; i < N_NAMES; i++) {
        if (names[i].kind == kind) {
            return names[i].name;
        }
    }
    return "?";
}

static bool add_to_order(struct sampling *s, const char *text, size_t n, struct error *e)
{
    size_t i = 0;
    while (i < N_NAMES && !same_name(text, n, names[i].name)) {
        i++;
    }
    if (i == N_NAMES) {
        return error_set(e, ERROR_USAGE,
                         "there is no sampler \"%.*s\"; there are penalties, dry, top_n_sigma, "
                         "top_k, typ_p, top_p, min_p, xtc, temperature and adaptive_p",
                         n > 40 ? 40 : (int)n, text);
    }
    for (uint32_t k = 0; k < s->n_order; k++) {
        if (s->order[k] == names[i].kind) {
            return error_set(e, ERROR_USAGE, "the sampler %s is named twice",
                             kind_name(names[i].kind));
        }
    }
    s->order[s->n_order++] = (uint8_t)names[i].kind;
    return true;
}

bool sampling_parse_order(const char *text, struct sampling *s, struct error *e)
{
    static const char between[] = ";, ";
    struct sampling parsed = *s;
    parsed.n_order = 0;
    for (const char *c = text + strspn(text, between); *c; c += strspn(c, between)) {
        size_t n = strcspn(c, between);
        if (!add_to_order(&parsed, c, n, e)) {
            return false;
        }
        c += n;
    }
    if (!parsed.n_order) {
        return error_set(e, ERROR_USAGE,
                         "no samplers are named; \"temperature\" alone is the plain distribution");
    }
    if (!check_order(&parsed, e)) {
        return false;
    }
    *s = parsed;
    return true;
}

void sampling_print_order(const struct sampling *s, struct buf *out)
{
    uint32_t n = s->n_order ? s->n_order : (uint32_t)N_SAMPLERS;
    for (uint32_t i = 0; i < n; i++) {
        buf_append_str(out, i ? ";" : "");
        buf_append_str(
            out, kind_name(s->n_order ? (enum sampler_kind)s->order[i] : (enum sampler_kind)i));
    }
}

/* ---- what files recommend -------------------------------------------------------------------- */

/* Letters that stand for no sampler here (infill) are passed over; a sequence that is wrong in
 * another way is left alone. */
static void take_sequence(struct gguf_string letters, struct sampling *s)
{
    struct sampling with = *s;
    with.n_order = 0;
    for (size_t i = 0; i < letters.len; i++) {
        for (size_t k = 0; k < N_NAMES && with.n_order < N_SAMPLERS; k++) {
            if (names[k].letter && names[k].letter == letters.data[i]) {
                with.order[with.n_order++] = (uint8_t)names[k].kind;
            }
        }
    }
    if (with.n_order && check_order(&with, NULL)) {
        *s = with;
    }
}

static bool recommends(const struct gguf *g, const struct field *f, double *x)
{
    char key[64];
    int64_t whole;
    snprintf(key, sizeof key, "general.sampling.%s", f->key ? f->key : "");
    const struct gguf_value *v = f->key ? gguf_value_find(g, key) : NULL;
    if (v && gguf_value_as_i64(v, &whole)) {
        *x = (double)whole;
    } else if (!v || !gguf_value_as_f64(v, x)) {
        return false;
    }
    return in_range(f, *x);
}

void sampling_recommended(const struct gguf *g, struct sampling *s)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        double x;
        if (recommends(g, &fields[i], &x)) {
            set(s, &fields[i], x);
        }
    }
    const struct gguf_value *v = gguf_value_find(g, "general.sampling.sequence");
    struct gguf_string letters;
    if (v && gguf_value_as_string(v, &letters)) {
        take_sequence(letters, s);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static bool number_from_json(const struct field *f, const json_t *v, struct sampling *s,
                             struct error *e)
{
    double x = json_number_value(v);
    bool whole = f->type == FIELD_FLOAT || json_is_integer(v) || x == floor(x);
    if (!json_is_number(v) || !whole || !in_range(f, x)) {
        return f->type == FIELD_FLOAT
                   ? error_set(e, ERROR_USAGE, "\"%s\" must be a number between %g and %g", f->name,
                               f->least, f->most)
                   : error_set(e, ERROR_USAGE,
                               "\"%s\" must be a whole number between %.0f and %.0f", f->name,
                               f->least, f->most);
    }
    set(s, f, x);
    return true;
}

static bool add_bias(struct logit_bias *list, size_t *n, json_int_t id, const json_t *value,
                     struct error *e)
{
    if (id < 0 || id > INT32_MAX) {
        return error_set(
            e, ERROR_USAGE,
            "\"logit_bias\" names token %" JSON_INTEGER_FORMAT ", which is no token id", id);
    }
    if (!json_is_number(value) && !json_is_false(value)) {
        return error_set(e, ERROR_USAGE,
                         "\"logit_bias\" of token %" JSON_INTEGER_FORMAT
                         " must be a number, or false for never",
                         id);
    }
    float bias = json_is_false(value) ? -INFINITY : (float)json_number_value(value);
    list[(*n)++] = (struct logit_bias){(int32_t)id, bias};
    return true;
}

/* {"15": -1.5, "7": false} as in the OpenAI API, or [[15, -1.5], [7, false]] as llama.cpp's server
 * takes it too. */
static bool bias_from_json(const json_t *v, struct sampling *s, struct arena *arena,
                           struct error *e)
{
    size_t most = json_is_object(v) ? json_object_size(v) : json_array_size(v), n = 0, i;
    if ((!json_is_object(v) && !json_is_array(v)) || most > SAMPLING_MAX_BIAS) {
        return error_set(e, ERROR_USAGE,
                         "\"logit_bias\" must be an object of token ids and numbers, with at most "
                         "%d of them",
                         SAMPLING_MAX_BIAS);
    }
    struct logit_bias *list = arena_alloc(arena, (most + 1) * sizeof *list);
    json_t *each;
    if (json_is_array(v)) {
        json_array_foreach(v, i, each)
        {
            const json_t *id = json_array_get(each, 0);
            if (json_array_size(each) != 2 || !json_is_integer(id)) {
                return error_set(e, ERROR_USAGE,
                                 "\"logit_bias\" must hold pairs of a token id and a number");
            }
            if (!add_bias(list, &n, json_integer_value(id), json_array_get(each, 1), e)) {
                return false;
            }
        }
    } else {
        const char *key;
        json_object_foreach((json_t *)(uintptr_t)v, key, each)
        {
            size_t digits = strspn(key, "0123456789");
            if (!digits || digits > 10 || key[digits]) {
                return error_set(e, ERROR_USAGE,
                                 "\"logit_bias\" names \"%.40s\", which is no token "
                                 "id",
                                 key);
            }
            if (!add_bias(list, &n, strtoll(key, NULL, 10), each, e)) {
                return false;
            }
        }
    }
    s->bias = list;
    s->n_bias = n;
    return true;
}

static bool breakers_from_json(const json_t *v, struct sampling *s, struct arena *arena,
                               struct error *e)
{
    size_t n = json_array_size(v), i;
    if (!json_is_array(v) || n > SAMPLING_MAX_BREAKERS) {
        return error_set(e, ERROR_USAGE,
                         "\"dry_sequence_breakers\" must be an array of at most %d texts",
                         SAMPLING_MAX_BREAKERS);
    }
    const char **list = arena_alloc(arena, (n + 1) * sizeof *list);
    json_t *each;
    json_array_foreach(v, i, each)
    {
        size_t bytes = json_string_length(each);
        const char *text = json_string_value(each);
        if (!text || !bytes || bytes > SAMPLING_MAX_BREAKER_BYTES || strlen(text) != bytes) {
            return error_set(e, ERROR_USAGE,
                             "\"dry_sequence_breakers\" must hold texts of 1 to %d bytes, none of "
                             "them zero",
                             SAMPLING_MAX_BREAKER_BYTES);
        }
        list[i] = arena_strndup(arena, text, bytes);
    }
    s->dry_breakers = list;
    s->n_dry_breakers = n;
    return true;
}

static bool order_from_json(const json_t *v, struct sampling *s, struct error *e)
{
    struct buf names_of;
    buf_init(&names_of, 1 << 12);
    bool ok = json_is_string(v) || json_is_array(v);
    if (json_is_string(v)) {
        ok = buf_append_str(&names_of, json_string_value(v));
    }
    json_t *each;
    size_t i;
    json_array_foreach(v, i, each)
    {
        ok = ok && json_is_string(each) && buf_append_str(&names_of, json_string_value(each)) &&
             buf_append_char(&names_of, ';');
    }
    if (ok) {
        ok = sampling_parse_order(names_of.data ? names_of.data : "", s, e) ||
             error_prefix(e, "\"samplers\": ");
    } else {
        error_set(e, ERROR_USAGE,
                  "\"samplers\" must be names of samplers: a text with semicolons "
                  "between them, or an array");
    }
    buf_free(&names_of);
    return ok;
}

static bool special_from_json(const char *name, const json_t *v, struct sampling *s,
                              struct arena *arena, struct error *e)
{
    if (strcmp(name, "seed") == 0) {
        s->seed = (uint64_t)json_integer_value(v);
        return (json_is_integer(v) && json_integer_value(v) >= 0) ||
               error_set(e, ERROR_USAGE, "\"seed\" must be a whole number from 0");
    }
    if (strcmp(name, "logit_bias") == 0) {
        return bias_from_json(v, s, arena, e);
    }
    if (strcmp(name, "dry_sequence_breakers") == 0) {
        return breakers_from_json(v, s, arena, e);
    }
    return order_from_json(v, s, e);
}

json_t *sampling_recommended_json(const struct gguf *g)
{
    json_t *o = json_object();
    struct sampling s;
    sampling_off(&s);
    sampling_recommended(g, &s);
    for (size_t i = 0; i < N_FIELDS; i++) {
        double x;
        if (recommends(g, &fields[i], &x)) {
            json_object_set_new(o, fields[i].name,
                                fields[i].type == FIELD_FLOAT ? json_real(x)
                                                              : json_integer((json_int_t)x));
        }
    }
    if (s.n_order) {
        struct buf order;
        buf_init(&order, 1 << 12);
        sampling_print_order(&s, &order);
        json_object_set_new(o, "samplers", json_string(order.data));
        buf_free(&order);
    }
    return o;
}

json_t *sampling_json(const struct sampling *s)
{
    json_t *o = json_object(), *bias = json_array(), *breakers = json_array(),
           *order = json_array();
    for (size_t i = 0; i < N_FIELDS; i++) {
        double x = get(s, &fields[i]);
        json_object_set_new(o, fields[i].name,
                            fields[i].type == FIELD_FLOAT ? json_real(x)
                                                          : json_integer((json_int_t)x));
    }
    for (size_t i = 0; i < s->n_bias; i++) {
        struct logit_bias b = s->bias[i];
        json_t *value = isinf(b.bias) ? json_false() : json_real((double)b.bias);
        json_array_append_new(bias, json_pack("[I, o]", (json_int_t)b.id, value));
    }
    for (size_t i = 0; i < s->n_dry_breakers; i++) {
        json_array_append_new(breakers, json_string(s->dry_breakers[i]));
    }
    for (uint32_t i = 0; i < (s->n_order ? s->n_order : (uint32_t)N_SAMPLERS); i++) {
        enum sampler_kind kind = s->n_order ? (enum sampler_kind)s->order[i] : (enum sampler_kind)i;
        json_array_append_new(order, json_string(kind_name(kind)));
    }
    json_object_set_new(o, "seed", json_integer((json_int_t)s->seed));
    json_object_set_new(o, "logit_bias", bias);
    json_object_set_new(o, "dry_sequence_breakers", breakers);
    json_object_set_new(o, "samplers", order);
    return o;
}

static const char *const special[] = {"seed", "logit_bias", "dry_sequence_breakers", "samplers"};
enum { N_SPECIAL = sizeof special / sizeof *special };

const char *sampling_field(size_t index)
{
    return index < N_FIELDS               ? fields[index].name
           : index < N_FIELDS + N_SPECIAL ? special[index - N_FIELDS]
                                          : NULL;
}

bool sampling_knows(const char *name)
{
    const char *field;
    for (size_t i = 0; (field = sampling_field(i)); i++) {
        if (strcmp(field, name) == 0) {
            return true;
        }
    }
    return false;
}

bool sampling_from_json(const json_t *object, struct sampling *s, struct arena *arena,
                        struct error *e)
{
    struct sampling with = *s;
    for (size_t i = 0; i < N_FIELDS; i++) {
        const json_t *v = json_object_get(object, fields[i].name);
        if (v && !json_is_null(v) && !number_from_json(&fields[i], v, &with, e)) {
            return false;
        }
    }
    for (size_t i = 0; i < N_SPECIAL; i++) {
        const json_t *v = json_object_get(object, special[i]);
        if (v && !json_is_null(v) && !special_from_json(special[i], v, &with, arena, e)) {
            return false;
        }
    }
    *s = with;
    return true;
}
