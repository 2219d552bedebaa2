/* The recipe file. One table says for each key its type, range, default and place, so that an
 * unknown or misspelt key, a wrong type and a number out of range are each one sentence. */
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/train.h"

enum key_type {
    KEY_U32,
    KEY_U64,
    KEY_INT,
    KEY_F32,
    KEY_BOOL,
    KEY_STRING,
    KEY_FILES,
    KEY_LOSS,
    KEY_PRECISION
};

struct key {
    const char *section, *name; /* section "": top level */
    enum key_type type;
    size_t place;
    double low, high, initial;
    const char *initial_text;
    bool required;
};

#define PLACE(field) offsetof(struct train_config, field)

static const struct key keys[] = {
    {"", "seed", KEY_U64, PLACE(seed), 0, 9e15, 1, NULL, false},
    {"", "threads", KEY_INT, PLACE(n_threads), 0, 256, 0, NULL, false},
    {"", "precision", KEY_PRECISION, PLACE(bf16), 0, 0, 0, "f32", false},
    {"model", "layers", KEY_U32, PLACE(model.n_layers), 1, 256, 6, NULL, false},
    {"model", "embedding", KEY_U32, PLACE(model.n_embd), 8, 16384, 256, NULL, false},
    {"model", "heads", KEY_U32, PLACE(model.n_heads), 1, 256, 8, NULL, false},
    {"model", "kv_heads", KEY_U32, PLACE(model.n_kv_heads), 1, 256, 4, NULL, false},
    {"model", "feed_forward", KEY_U32, PLACE(model.n_ff), 8, 65536, 704, NULL, false},
    {"model", "context", KEY_U32, PLACE(model.n_context), 8, 16384, 512, NULL, false},
    {"model", "rope_base", KEY_F32, PLACE(model.rope_base), 1, 1e9, 10000, NULL, false},
    {"model", "norm_eps", KEY_F32, PLACE(model.norm_eps), 1e-12, 0.1, 1e-5, NULL, false},
    {"model", "tied_head", KEY_BOOL, PLACE(model.tied_head), 0, 1, 1, NULL, false},
    {"model", "init", KEY_STRING, PLACE(init_file), 0, 0, 0, NULL, false},
    {"tokenizer", "gguf", KEY_STRING, PLACE(tokenizer_file), 0, 0, 0, NULL, false},
    {"tokenizer", "pre", KEY_STRING, PLACE(pre), 0, 0, 0, "smollm", false},
    {"tokenizer", "space_alone", KEY_BOOL, PLACE(space_alone), 0, 1, 0, NULL, false},
    {"tokenizer", "tokens", KEY_U32, PLACE(n_vocab), 300, 1 << 20, 4096, NULL, false},
    {"data", "train", KEY_FILES, PLACE(train_files), 0, 0, 0, NULL, true},
    {"data", "valid", KEY_FILES, PLACE(valid_files), 0, 0, 0, NULL, false},
    {"data", "loss_on", KEY_LOSS, PLACE(loss_on), 0, 0, 0, "all", false},
    {"optimizer", "steps", KEY_U32, PLACE(steps), 1, 1e8, 1000, NULL, true},
    {"optimizer", "warmup_steps", KEY_U32, PLACE(warmup_steps), 0, 1e8, 100, NULL, false},
    {"optimizer", "learning_rate", KEY_F32, PLACE(learning_rate), 0, 10, 1e-3, NULL, false},
    {"optimizer", "final_learning_rate", KEY_F32, PLACE(final_learning_rate), 0, 10, 1e-4, NULL,
     false},
    {"optimizer", "weight_decay", KEY_F32, PLACE(weight_decay), 0, 10, 0.1, NULL, false},
    {"optimizer", "beta1", KEY_F32, PLACE(beta1), 0, 0.99999, 0.9, NULL, false},
    {"optimizer", "beta2", KEY_F32, PLACE(beta2), 0, 0.99999, 0.95, NULL, false},
    {"optimizer", "epsilon", KEY_F32, PLACE(epsilon), 1e-15, 1, 1e-8, NULL, false},
    {"optimizer", "clip_norm", KEY_F32, PLACE(clip_norm), 0, 1e6, 1, NULL, false},
    {"batch", "micro_tokens", KEY_U32, PLACE(micro_tokens), 8, 1 << 20, 1024, NULL, false},
    {"batch", "lanes", KEY_U32, PLACE(lanes), 1, TRAIN_MAX_LANES, 4, NULL, false},
    {"batch", "accumulate", KEY_U32, PLACE(accumulate), 1, 4096, 1, NULL, false},
    {"output", "folder", KEY_STRING, PLACE(output_folder), 0, 0, 0, NULL, true},
    {"output", "type", KEY_STRING, PLACE(output_type), 0, 0, 0, "f16", false},
    {"output", "name", KEY_STRING, PLACE(name), 0, 0, 0, NULL, false},
    {"output", "description", KEY_STRING, PLACE(description), 0, 0, 0, NULL, false},
    {"output", "license", KEY_STRING, PLACE(license), 0, 0, 0, NULL, false},
    {"output", "author", KEY_STRING, PLACE(author), 0, 0, 0, NULL, false},
    {"output", "chat_template", KEY_STRING, PLACE(chat_template_file), 0, 0, 0, NULL, false},
    {"output", "temperature", KEY_F32, PLACE(temperature), 0, 100, -1, NULL, false},
    {"output", "checkpoint_every", KEY_U32, PLACE(checkpoint_every), 1, 1e8, 200, NULL, false},
    {"output", "validate_every", KEY_U32, PLACE(validate_every), 1, 1e8, 200, NULL, false},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

static void store_number(const struct key *k, void *place, double x, json_int_t exact)
{
    switch (k->type) {
    case KEY_U32:
        *(uint32_t *)place = (uint32_t)exact;
        break;
    case KEY_U64:
        *(uint64_t *)place = (uint64_t)exact;
        break;
    case KEY_INT:
        *(int *)place = (int)exact;
        break;
    case KEY_BOOL:
        *(bool *)place = exact != 0;
        break;
    default:
        *(float *)place = (float)x;
        break;
    }
}

static bool set_precision(struct train_config *c, const char *word, struct error *e)
{
    c->bf16 = strcmp(word, "bf16") == 0;
    if (!c->bf16 && strcmp(word, "f32") != 0) {
        return error_set(e, ERROR_INPUT, "precision must be \"f32\" or \"bf16\", not \"%s\"", word);
    }
    return true;
}

static bool set_loss(struct train_config *c, const char *word, struct error *e)
{
    if (strcmp(word, "all") == 0) {
        c->loss_on = LOSS_ON_ALL;
    } else if (strcmp(word, "answers") == 0) {
        c->loss_on = LOSS_ON_ANSWERS;
    } else {
        return error_set(e, ERROR_INPUT, "data.loss_on must be \"all\" or \"answers\", not \"%s\"",
                         word);
    }
    return true;
}

static bool set_files(struct train_config *c, const struct key *k, json_t *value, struct error *e)
{
    const char **list = (const char **)((char *)c + k->place);
    size_t n = json_array_size(value);
    if (n > TRAIN_MAX_FILES) {
        return error_set(e, ERROR_LIMIT, "data.%s names %zu files; at most %d are allowed", k->name,
                         n, TRAIN_MAX_FILES);
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (!text) {
            return error_set(e, ERROR_INPUT, "data.%s must be an array of file names", k->name);
        }
        list[i] = arena_strndup(c->arena, text, strlen(text));
    }
    *(strcmp(k->name, "train") == 0 ? &c->n_train : &c->n_valid) = n;
    return true;
}

static bool set_value(struct train_config *c, const struct key *k, json_t *value, struct error *e)
{
    void *place = (char *)c + k->place;
    const char *dot = *k->section ? "." : "";
    static const char *const wanted[] = {"a whole number", "a whole number", "a whole number",
                                         "a number",       "true or false",  "a string",
                                         "an array",       "a string",       "a string"};
    bool fits = k->type <= KEY_INT     ? json_is_integer(value)
                : k->type == KEY_F32   ? json_is_number(value)
                : k->type == KEY_BOOL  ? json_is_boolean(value)
                : k->type == KEY_FILES ? json_is_array(value)
                                       : json_is_string(value);
    if (!fits) {
        return error_set(e, ERROR_INPUT, "%s%s%s must be %s", k->section, dot, k->name,
                         wanted[k->type]);
    }
    if (k->type == KEY_LOSS) {
        return set_loss(c, json_string_value(value), e);
    }
    if (k->type == KEY_PRECISION) {
        return set_precision(c, json_string_value(value), e);
    }
    if (k->type == KEY_FILES) {
        return set_files(c, k, value, e);
    }
    if (k->type == KEY_STRING) {
        *(const char **)place =
            arena_strndup(c->arena, json_string_value(value), json_string_length(value));
        return true;
    }
    double x = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
    if (!(x >= k->low && x <= k->high)) {
        return error_set(e, ERROR_INPUT, "%s%s%s is %g; it must be between %g and %g", k->section,
                         dot, k->name, x, k->low, k->high);
    }
    store_number(k, place, x,
                 json_is_boolean(value) ? json_is_true(value) : json_integer_value(value));
    return true;
}

static bool read_section(struct train_config *c, const char *section, json_t *object, bool *seen,
                         struct error *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!*section && json_is_object(value)) {
            bool known = false;
            for (size_t i = 0; i < N_KEYS; i++) {
                known = known || strcmp(keys[i].section, name) == 0;
            }
            if (!known) {
                return error_set(e, ERROR_INPUT, "unknown section \"%s\"", name);
            }
            if (!read_section(c, name, value, seen, e)) {
                return false;
            }
            continue;
        }
        size_t i = 0;
        while (i < N_KEYS && (strcmp(keys[i].section, section) || strcmp(keys[i].name, name))) {
            i++;
        }
        if (i == N_KEYS) {
            return error_set(e, ERROR_INPUT, "unknown key \"%s%s%s\"", section, *section ? "." : "",
                             name);
        }
        seen[i] = true;
        if (!set_value(c, &keys[i], value, e)) {
            return false;
        }
    }
    return true;
}

static bool finish(struct train_config *c, struct error *e)
{
    struct model_config *m = &c->model;
    m->arch = model_arch_find("llama", 5);
    m->rope_scale = 1;
    if (m->n_embd % m->n_heads || (m->n_embd / m->n_heads) % 2) {
        return error_set(e, ERROR_INPUT,
                         "model.embedding (%u) must be an even multiple of model.heads (%u)",
                         m->n_embd, m->n_heads);
    }
    m->head_dim = m->n_rot = m->n_embd / m->n_heads;
    if (m->n_heads % m->n_kv_heads) {
        return error_set(e, ERROR_INPUT,
                         "model.heads (%u) must be a multiple of model.kv_heads (%u)", m->n_heads,
                         m->n_kv_heads);
    }
    if (c->micro_tokens < m->n_context) {
        return error_set(
            e, ERROR_INPUT,
            "batch.micro_tokens (%u) must be at least model.context (%u), so that every "
            "document fits",
            c->micro_tokens, m->n_context);
    }
    const struct quant_format *f = quant_format_by_name(c->output_type);
    if (!f || !f->quantize) {
        return error_set(e, ERROR_INPUT, "output.type \"%s\" is not a format this program writes",
                         c->output_type);
    }
    if (m->n_embd % f->block_elements || m->n_ff % f->block_elements) {
        return error_set(
            e, ERROR_INPUT,
            "output.type %s needs model.embedding and model.feed_forward to be multiples "
            "of %u",
            f->name, f->block_elements);
    }
    if (c->warmup_steps >= c->steps) {
        return error_set(e, ERROR_INPUT,
                         "optimizer.warmup_steps (%u) must be below optimizer.steps (%u)",
                         c->warmup_steps, c->steps);
    }
    if (!c->n_train) {
        return error_set(e, ERROR_INPUT, "data.train names no file");
    }
    m->n_vocab = c->n_vocab;
    return model_config_check(m, e);
}

bool train_config_read(const char *path, struct train_config *c, struct error *e)
{
    *c = (struct train_config){.arena = arena_new()};
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct key *k = &keys[i];
        void *place = (char *)c + k->place;
        if (k->type == KEY_STRING) {
            *(const char **)place = k->initial_text;
        } else if (k->type < KEY_STRING) {
            store_number(k, place, k->initial, (json_int_t)k->initial);
        }
    }
    struct buf text;
    buf_init(&text, 1 << 20);
    bool seen[N_KEYS] = {false};
    json_error_t why;
    json_t *root = NULL;
    bool ok = file_read(path, 1 << 20, &text, e);
    if (ok) {
        root = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &why);
        if (!root) {
            ok = error_set(e, ERROR_INPUT, "%s:%d: not JSON: %s", path, why.line, why.text);
        } else if (!json_is_object(root)) {
            ok = error_set(e, ERROR_INPUT, "%s: a recipe is a JSON object", path);
        } else {
            ok = read_section(c, "", root, seen, e);
            for (size_t i = 0; ok && i < N_KEYS; i++) {
                if (keys[i].required && !seen[i]) {
                    ok = error_set(e, ERROR_INPUT, "%s.%s is missing", keys[i].section,
                                   keys[i].name);
                }
            }
            ok = ok && finish(c, e);
            if (!ok) {
                error_prefix(e, "%s: ", path);
            }
        }
    }
    json_decref(root);
    buf_free(&text);
    if (!ok) {
        train_config_free(c);
    }
    return ok;
}

void train_config_free(struct train_config *c)
{
    arena_free(c->arena);
    *c = (struct train_config){0};
}
