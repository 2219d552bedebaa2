#include "hf/adapter_config.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "hf/weights.h"

enum { MAX_PATTERNS = 4096, MAX_PATTERN_BYTES = 256 };

static const char file_name[] = "adapter_config.json";

/* ---- patterns -------------------------------------------------------------------------------- */

struct pattern {
    regex_t regex;
    double value;
};

struct adapter_patterns {
    size_t n;
    struct pattern items[];
};

/* A pattern of Python's re as a POSIX extended one, as far as both mean the same: peft asks whether
 * a whole name, or what follows a dot of it, is of the pattern. False where they might differ. */
static bool translate(const char *from, struct buf *out)
{
    bool in_brackets = false;
    char before = 0;
    buf_append_str(out, "^(.*\\.)?(");
    for (; *from; before = *from++) {
        bool repeats = before == '*' || before == '+' || before == '?' || before == '(';
        if (*from == '\\') {
            from++;
            const char *as = *from == '.' ? "\\." : *from == 'd' ? "[0-9]" : NULL;
            if (!as || in_brackets) {
                return false;
            }
            buf_append_str(out, as);
            continue;
        }
        if (strchr("{}", *from) || (unsigned char)*from < 0x21 || (unsigned char)*from > 0x7e ||
            (repeats && strchr("*+?", *from))) {
            return false; /* counts, lazy ones, look-around */
        }
        in_brackets = *from == '[' ? true : *from == ']' ? false : in_brackets;
        buf_append_char(out, *from);
    }
    buf_append_str(out, ")$");
    return !in_brackets && !out->full;
}

static bool compile(const char *text, regex_t *regex)
{
    struct buf b;
    buf_init(&b, MAX_PATTERN_BYTES + 32);
    bool ok = strlen(text) <= MAX_PATTERN_BYTES && translate(text, &b) &&
              regcomp(regex, b.data, REG_EXTENDED | REG_NOSUB) == 0;
    buf_free(&b);
    return ok;
}

static void patterns_free(struct adapter_patterns *p)
{
    for (size_t i = 0; p && i < p->n; i++) {
        regfree(&p->items[i].regex);
    }
    free(p);
}

/* NULL with an error; an absent or empty table gives one without patterns. */
static struct adapter_patterns *read_patterns(const struct config *c, const char *key,
                                              struct error *e)
{
    json_t *table = json_object_get(c->root, key), *value;
    size_t count = json_object_size(table);
    const char *text;
    if (table && !json_is_null(table) && !json_is_object(table)) {
        hf_config_wrong(c, key, table, "an object", e);
        return NULL;
    }
    if (count > MAX_PATTERNS) {
        error_set(e, ERROR_LIMIT, "%s: %s has more than %d entries", c->path, key, MAX_PATTERNS);
        return NULL;
    }
    struct adapter_patterns *p = mem_zalloc(sizeof *p + count * sizeof *p->items);
    json_object_foreach(table, text, value)
    {
        char shown[UTF8_QUOTE_BYTES];
        if (!json_is_number(value)) {
            hf_config_wrong(c, key, value, "a number", e);
            patterns_free(p);
            return NULL;
        }
        if (!compile(text, &p->items[p->n].regex)) {
            error_set(e, ERROR_UNSUPPORTED,
                      "%s: %s of %s is an expression that is not understood here: names, and "
                      ". * + ? | ( ) [ ] \\d of regular expressions, are",
                      c->path, utf8_quote(shown, text, strlen(text)), key);
            patterns_free(p);
            return NULL;
        }
        p->items[p->n++].value = json_number_value(value);
    }
    return p;
}

/* The first that fits counts. */
static double look_up(const struct adapter_patterns *p, const char *module, double otherwise)
{
    for (size_t i = 0; i < p->n; i++) {
        if (regexec(&p->items[i].regex, module, 0, NULL, 0) == 0) {
            return p->items[i].value;
        }
    }
    return otherwise;
}

double hf_adapter_rank(const struct adapter_config *c, const char *module)
{
    return look_up(c->ranks, module, c->rank);
}

double hf_adapter_scale(const struct adapter_config *c, const char *module)
{
    double rank = hf_adapter_rank(c, module), alpha = look_up(c->alphas, module, c->alpha);
    return alpha / (c->stabilised ? sqrt(rank) : rank);
}

/* ---- settings -------------------------------------------------------------------------------- */

/* What is not y = w x + s b (a x). Absent, null, false, 0, "", [] and {} stand for "no". */
static const struct {
    const char *key, *what;
} refused[] = {
    {"use_dora", "weight-decomposed (DoRA)"},
    {"use_qalora", "of another kind (QALoRA)"},
    {"use_bdlora", "of another kind (BD-LoRA)"},
    {"modules_to_save", "accompanied by parts that were trained whole"},
    {"trainable_token_indices", "accompanied by embeddings that were trained"},
    {"target_parameters", "for parameters that are no layers of their own (experts)"},
    {"layer_replication", "for a model with repeated layers"},
    {"lora_bias", "trained with biases of its own"},
    {"alora_invocation_tokens", "one that certain tokens switch on (aLoRA)"},
    {"arrow_config", "a mixture of adapters"},
    {"kasa_config", "of another kind (KaSA)"},
    {"monteclora_config", "of another kind (MonteCLoRA)"},
};

static bool says_no(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

/* Ways to begin training that leave the model's own weights alone; others (PiSSA, OLoRA, LoftQ, ..)
 * change them, and what is stored is what was added to the changed ones. */
static const char *const plain_starts[] = {"gaussian", "orthogonal", "eva", "true", "false", NULL};

static bool check_settings(const struct config *c, struct error *e)
{
    static const char advice[] =
        "merge it into its model (merge_and_unload of the peft library) and use that";
    char shown[UTF8_QUOTE_BYTES];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (!says_no(json_object_get(c->root, refused[i].key))) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "%s: the adapter is %s (%s), which is not supported: %s", c->path,
                             refused[i].what, refused[i].key, advice);
        }
    }
    const json_t *bias = json_object_get(c->root, "bias");
    if (!says_no(bias) && (!json_is_string(bias) || strcmp(json_string_value(bias), "none") != 0)) {
        return error_set(
            e, ERROR_UNSUPPORTED,
            "%s: biases were trained with the adapter (bias is not \"none\"), which is "
            "not supported: %s",
            c->path, advice);
    }
    const char *start = json_string_value(json_object_get(c->root, "init_lora_weights"));
    if (start && !is_one_of(start, plain_starts)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s: the adapter began from changed weights of the model "
                         "(init_lora_weights is %s): save it as a plain one, or %s",
                         c->path, utf8_quote(shown, start, strlen(start)), advice);
    }
    return true;
}

static bool read_number(const struct config *c, const char *key, double least, double *out,
                        struct error *e)
{
    bool there;
    if (!hf_config_number(c, key, out, &there, e)) {
        return false;
    }
    if (!there) {
        return error_set(e, ERROR_INPUT, "%s has no %s: it is no configuration of a LoRA adapter",
                         c->path, key);
    }
    return (*out >= least && *out <= 1e9) ||
           error_set(e, ERROR_INPUT, "%s: %s is %g, which makes no sense", c->path, key, *out);
}

static bool read_all(struct adapter_config *a, struct error *e)
{
    const struct config *c = a->config;
    const json_t *kind = json_object_get(c->root, "peft_type");
    if (!json_is_string(kind) || strcmp(json_string_value(kind), "LORA") != 0) {
        return hf_config_wrong(c, "peft_type", kind ? kind : json_null(), "\"LORA\"", e);
    }
    a->base = json_string_value(json_object_get(c->root, "base_model_name_or_path"));
    a->stabilised = hf_config_true(c, "use_rslora");
    return check_settings(c, e) && read_number(c, "r", 1, &a->rank, e) &&
           read_number(c, "lora_alpha", -1e9, &a->alpha, e) &&
           (a->ranks = read_patterns(c, "rank_pattern", e)) &&
           (a->alphas = read_patterns(c, "alpha_pattern", e));
}

bool hf_adapter_config_open(const char *folder, struct adapter_config *c, struct error *e)
{
    *c = (struct adapter_config){.config = hf_config_open(folder, file_name, false, e)};
    if (!c->config || !read_all(c, e)) {
        hf_adapter_config_close(c);
        return false;
    }
    return true;
}

void hf_adapter_config_close(struct adapter_config *c)
{
    patterns_free(c->ranks);
    patterns_free(c->alphas);
    hf_config_close(c->config);
    *c = (struct adapter_config){0};
}
