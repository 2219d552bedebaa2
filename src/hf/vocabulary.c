#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "hf/folder.h"
#include "tokenizer/tokenizer.h"

enum {
    MAX_ENDS = 64,
    /* Embeddings have more rows than there are tokens, so that their number is a round one: a few,
     * and in no model that is known as many as one in eight. */
    MIN_UNUSED_ROWS = 32,
    MAX_UNUSED_SHARE = 8,
};

static bool has_tokenizer(const char *folder)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json",
                                        "vocab.txt"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++) {
        char *path = hf_folder_path(folder, names[i]);
        found = file_exists(path);
        free(path);
    }
    return found;
}

/* ---- the tokens that end an answer ----------------------------------------------------------- */

/* One token is EOS; others that end an answer too find room as end of turn and of message, which
 * every reader knows, and those beyond as an attribute of our own. */
static void add_end(struct tokenizer_spec *spec, const char *path, double id)
{
    static const enum token_role roles[] = {ROLE_EOS, ROLE_EOT, ROLE_EOM};
    if (!(id >= 0 && id < (double)spec->n_tokens)) {
        log_write(LOG_WARN, "%s: eos_token_id %.9g is no token of the vocabulary, which has %zu",
                  path, id, spec->n_tokens);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (spec->roles[roles[i]] == (int32_t)id) {
            return;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        if (spec->roles[roles[i]] == TOKENIZER_NO_TOKEN) {
            spec->roles[roles[i]] = (int32_t)id;
            return;
        }
    }
    if (!spec->attributes) {
        spec->attributes = arena_alloc(spec->arena, spec->n_tokens);
    }
    spec->attributes[(size_t)id] |= TOKEN_ENDS_ANSWER;
}

/* eos_token_id: a number or a list of them. *found: it is there. */
static bool read_ends(const struct config *c, struct tokenizer_spec *spec, bool *found,
                      struct error *e)
{
    const json_t *v = hf_config_get(c, "eos_token_id");
    size_t n = json_is_array(v) ? json_array_size(v) : v ? 1 : 0;
    *found = n > 0;
    if (n > MAX_ENDS) {
        return error_set(e, ERROR_LIMIT, "%s: eos_token_id has more than %d tokens", c->path,
                         MAX_ENDS);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_number(one)) {
            return hf_config_wrong(c, "eos_token_id", v, "a token's number or a list of them", e);
        }
        add_end(spec, c->path, json_number_value(one));
    }
    return true;
}

/* generation_config.json knows best; config.json is older. */
static bool add_ends(const struct folder *f, struct tokenizer_spec *spec, struct error *e)
{
    struct error why = {0};
    bool found = false, ok = true;
    struct config *c = hf_config_open(f->path, "generation_config.json", true, &why);
    if (c) {
        ok = read_ends(c, spec, &found, e);
        hf_config_close(c);
    } else if (why.code != ERROR_NONE) {
        return error_set(e, why.code, "%s", why.message);
    }
    return ok && (found || read_ends(f->config, spec, &found, e));
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

/* How many tokens the weights have rows for. */
static bool count_rows(const struct folder *f, uint32_t *n, struct error *e)
{
    const struct planned *t = hf_plan_find(&f->plan, "token_embd.weight");
    if (t && t->n_dims == 2 && t->dims[1] <= INT32_MAX) {
        *n = (uint32_t)t->dims[1];
        return true;
    }
    return hf_family_u32(&f->family, "vocab_size", n, e);
}

static bool fit(const struct folder *f, struct tokenizer_spec *spec, struct error *e)
{
    uint32_t n_rows = 0;
    if (!count_rows(f, &n_rows, e)) {
        return false;
    }
    if (n_rows && spec->n_tokens > n_rows) {
        return error_set(
            e, ERROR_INPUT,
            "%s: the tokenizer has %zu tokens and the embedding rows for %u: the files "
            "belong to different models; download them again",
            f->path, spec->n_tokens, n_rows);
    }
    size_t n_unused = n_rows > spec->n_tokens ? n_rows - spec->n_tokens : 0;
    if (n_unused >= MIN_UNUSED_ROWS && n_unused > n_rows / MAX_UNUSED_SHARE) {
        log_write(LOG_WARN,
                  "%s: the tokenizer has %zu tokens and the embedding rows for %u: the tokenizer's "
                  "files may be incomplete; %zu rows are never used",
                  f->path, spec->n_tokens, n_rows, n_unused);
    }
    return spec->n_tokens >= n_rows || tokenizer_spec_pad(spec, n_rows, e);
}

bool hf_vocabulary_write(const struct folder *f, struct gguf_writer *w, bool *found,
                         struct error *e)
{
    *found = has_tokenizer(f->path);
    if (!*found) {
        log_write(LOG_WARN,
                  "%s has no tokenizer files (tokenizer.json, tokenizer.model, vocab.json, "
                  "vocab.txt): the model has no vocabulary",
                  f->path);
        gguf_writer_string(w, "tokenizer.ggml.model", "no_vocab", 8);
        return true;
    }
    struct tokenizer_spec *spec = tokenizer_spec_from_hf(f->path, e);
    bool ok = spec && add_ends(f, spec, e) && fit(f, spec, e);
    if (ok) {
        tokenizer_spec_write(spec, w);
    }
    if (spec) {
        tokenizer_spec_free(spec);
    }
    return ok;
}
