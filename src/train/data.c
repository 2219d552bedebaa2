#include "train/data.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "chat/chat.h"

enum { MAX_FILE_BYTES = 1 << 30 };

static const char *const special_tokens[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
enum { N_SPECIALS = sizeof special_tokens / sizeof *special_tokens };

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void dataset_add_token(struct dataset *d, int32_t id, bool predict)
{
    if (d->n_tokens == d->token_capacity) {
        d->token_capacity = d->token_capacity * 2 + 4096;
        d->tokens = mem_resize(d->tokens, d->token_capacity * sizeof *d->tokens);
        d->predict = mem_resize(d->predict, d->token_capacity);
    }
    d->tokens[d->n_tokens] = id;
    d->predict[d->n_tokens++] = predict;
}

/* Closes the document that began at `start`, or drops it when it is unusable. */
static void dataset_end_document(struct dataset *d, size_t start, uint32_t context)
{
    size_t length = d->n_tokens - start;
    /* The last token is only ever a target, so a document may have one more than the context. */
    if (length > (size_t)context + 1 || length < 2) {
        d->n_too_long += length > (size_t)context + 1;
        d->n_tokens = start;
        return;
    }
    if (d->n_documents + 2 > d->document_capacity) {
        d->document_capacity = d->document_capacity * 2 + 1024;
        d->starts = mem_resize(d->starts, d->document_capacity * sizeof *d->starts);
    }
    d->starts[d->n_documents++] = start;
    d->starts[d->n_documents] = d->n_tokens;
}

struct reader {
    struct dataset *data;
    const struct tokenizer *tokenizer;
    const struct chat_template *template;
    enum loss_on loss_on;
    uint32_t context;
    struct token_list ids;
};

static bool add_text(struct reader *r, const char *text, size_t n, const uint8_t *trusted,
                     bool predict, struct error *e)
{
    r->ids.n = 0;
    if (!tokenizer_encode(r->tokenizer, text, n, trusted, &r->ids, e)) {
        return false;
    }
    for (size_t i = 0; i < r->ids.n; i++) {
        dataset_add_token(r->data, r->ids.ids[i], predict);
    }
    return true;
}

static void add_bos(struct reader *r)
{
    if (tokenizer_add_bos(r->tokenizer)) {
        dataset_add_token(r->data, tokenizer_bos(r->tokenizer), false);
    }
}

/* Renders messages[0..n) into out. */
static bool render_head(const struct chat_template *t, json_t *conversation, size_t n,
                        bool generation_prompt, struct chat_text *out, struct error *e)
{
    json_t *messages = json_object_get(conversation, "messages"), *head = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append(head, json_array_get(messages, i));
    }
    json_t *vars =
        json_pack("{s:o,s:b}", "messages", head, "add_generation_prompt", (int)generation_prompt);
    json_t *tools = json_object_get(conversation, "tools");
    if (tools) {
        json_object_set(vars, "tools", tools);
    }
    bool ok = chat_template_render(t, vars, 0, out, e);
    json_decref(vars);
    return ok;
}

/* Answers are what a rendering with one message more adds to the rendering that asks for it. */
static bool add_conversation(struct reader *r, json_t *conversation, struct error *e)
{
    json_t *messages = json_object_get(conversation, "messages");
    size_t n = json_array_size(messages), done = 0, start = r->data->n_tokens;
    bool ok = true, cut = false;
    add_bos(r);
    for (size_t i = 0; ok && !cut && i <= n; i++) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
        bool answer = role && strcmp(role, "assistant") == 0;
        if (!answer && i < n) {
            continue;
        }
        /* What leads up to the answer (or, after the last message, whatever remains). */
        struct chat_text before = {0}, after = {0};
        ok = render_head(r->template, conversation, i, answer, &before, e);
        if (ok && before.n < done) {
            ok = error_set(e, ERROR_INPUT, "the chat template rewrites earlier messages");
        }
        ok = ok && add_text(r, before.text + done, before.n - done, before.trusted + done,
                            r->loss_on == LOSS_ON_ALL, e);
        done = ok ? before.n : done;
        if (ok && answer) {
            ok = render_head(r->template, conversation, i + 1, false, &after, e);
            if (ok && (after.n < done || memcmp(after.text, before.text, done) != 0)) {
                ok = error_set(e, ERROR_INPUT, "the chat template rewrites earlier messages");
            }
            cut = json_is_true(json_object_get(json_array_get(messages, i), "cut"));
            if (ok && cut && i + 1 < n) {
                ok = error_set(e, ERROR_INPUT, "only the last message can have \"cut\"");
            }
            /* White space that the template puts after the end-of-turn token is not the answer's,
             * and what ends a turn is no part of an answer that is cut. */
            size_t end = ok ? after.n : 0;
            while (end > done && after.trusted[end - 1] && (cut || after.text[end - 1] == '\n')) {
                end--;
            }
            ok = ok && add_text(r, after.text + done, end - done, after.trusted + done, true, e);
            done = end;
        }
        chat_text_free(&before);
        chat_text_free(&after);
    }
    if (!ok) {
        r->data->n_tokens = start;
        return false;
    }
    dataset_end_document(r->data, start, r->context);
    return true;
}

static bool read_line(void *context, json_t *object, struct error *e)
{
    struct reader *r = context;
    json_t *plain = json_object_get(object, "text");
    if (json_is_array(json_object_get(object, "messages"))) {
        r->data->has_conversations = true;
        return add_conversation(r, object, e);
    }
    if (!json_is_string(plain)) {
        return error_set(e, ERROR_INPUT, "a line needs \"messages\" (an array) or \"text\"");
    }
    size_t start = r->data->n_tokens;
    add_bos(r);
    bool ok = add_text(r, json_string_value(plain), json_string_length(plain), NULL, true, e);
    if (tokenizer_eos(r->tokenizer) != TOKENIZER_NO_TOKEN) {
        dataset_add_token(r->data, tokenizer_eos(r->tokenizer), true);
    }
    dataset_end_document(r->data, start, r->context);
    return ok;
}

/* Calls each(context, object) for every line that is not empty; errors get file and line. */
typedef bool line_fn(void *context, json_t *object, struct error *e);

static bool each_line(const char *path, const char *text, size_t n, line_fn *each, void *context,
                      struct error *e)
{
    size_t line = 0;
    for (const char *p = text, *end = text + n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t length = (size_t)((stop ? stop : end) - p);
        line++;
        if (length) {
            json_error_t why;
            json_t *object = json_loadb(p, length, 0, &why);
            bool ok = object ? each(context, object, e)
                             : error_set(e, ERROR_INPUT, "not JSON: %s", why.text);
            json_decref(object);
            if (!ok) {
                return error_prefix(e, "%s:%zu: ", path, line);
            }
        }
        p += length + 1;
    }
    return true;
}

/* A plain text is cut into stretches that fill the context; no token is lost between them. */
static bool read_plain(struct reader *r, const char *text, size_t n, struct error *e)
{
    if (r->loss_on == LOSS_ON_ANSWERS) {
        return error_set(e, ERROR_INPUT,
                         "a plain text has no answers to learn; set data.loss_on to \"all\"");
    }
    struct token_list all = {0};
    if (!tokenizer_encode(r->tokenizer, text, n, NULL, &all, e)) {
        token_list_free(&all);
        return false;
    }
    for (size_t at = 0; at + 1 < all.n;) {
        size_t start = r->data->n_tokens;
        add_bos(r);
        size_t room = (size_t)r->context + 1 - (r->data->n_tokens - start);
        size_t take = all.n - at < room ? all.n - at : room;
        for (size_t i = 0; i < take; i++) {
            dataset_add_token(r->data, all.ids[at + i], true);
        }
        dataset_end_document(r->data, start, r->context);
        at += take;
    }
    token_list_free(&all);
    return true;
}

bool dataset_read(struct dataset *d, const char *const *files, size_t n_files,
                  const struct tokenizer *t, const char *chat_template, enum loss_on loss_on,
                  uint32_t context, struct error *e)
{
    *d = (struct dataset){0};
    struct reader r = {.data = d, .tokenizer = t, .loss_on = loss_on, .context = context};
    struct chat_template *template = chat_template_new(chat_template, strlen(chat_template), e);
    r.template = template;
    bool ok = template != NULL;
    for (size_t i = 0; ok && i < n_files; i++) {
        struct buf text;
        buf_init(&text, MAX_FILE_BYTES);
        ok = file_read(files[i], MAX_FILE_BYTES, &text, e);
        if (ok && ends_with(files[i], ".jsonl")) {
            ok = each_line(files[i], text.data ? text.data : "", text.len, read_line, &r, e);
        } else if (ok) {
            ok = read_plain(&r, text.data ? text.data : "", text.len, e) ||
                 error_prefix(e, "%s: ", files[i]);
        }
        buf_free(&text);
    }
    token_list_free(&r.ids);
    chat_template_free(template);
    if (ok && n_files && d->n_documents == 0) {
        ok = error_set(e, ERROR_INPUT, "%s holds nothing to train on", files[0]);
    }
    if (!ok) {
        dataset_free(d);
    }
    return ok;
}

void dataset_free(struct dataset *d)
{
    free(d->tokens);
    free(d->predict);
    free(d->starts);
    *d = (struct dataset){0};
}

void dataset_order(const struct dataset *d, uint64_t seed, uint64_t epoch, uint32_t *order)
{
    struct rng rng;
    rng_seed(&rng, seed * 0x9E3779B97F4A7C15u + epoch);
    for (size_t i = 0; i < d->n_documents; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = d->n_documents; i > 1; i--) {
        size_t j = rng_below(&rng, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

bool packed_batch_init(struct packed_batch *p, size_t max_tokens)
{
    *p = (struct packed_batch){.tokens = mem_array(max_tokens, sizeof *p->tokens),
                               .targets = mem_array(max_tokens, sizeof *p->targets),
                               .spans = mem_array(max_tokens, sizeof *p->spans)};
    return true;
}

void packed_batch_free(struct packed_batch *p)
{
    free(p->tokens);
    free(p->targets);
    free(p->spans);
    *p = (struct packed_batch){0};
}

bool dataset_next(const struct dataset *d, uint64_t seed, uint32_t *order,
                  struct data_cursor *cursor, size_t max_tokens, struct packed_batch *p)
{
    size_t n = 0, n_spans = 0;
    p->n_targets = 0;
    for (;;) {
        if (cursor->next == d->n_documents) {
            if (!order) {
                break;
            }
            cursor->epoch++;
            cursor->next = 0;
            dataset_order(d, seed, cursor->epoch, order);
        }
        size_t document = order ? order[cursor->next] : cursor->next;
        size_t start = d->starts[document];
        size_t length = d->starts[document + 1] - start - 1; /* rows; the last token has none */
        if (n + length > max_tokens) {
            break;
        }
        for (size_t i = 0; i < length; i++) {
            bool predict = d->predict[start + i + 1];
            p->tokens[n + i] = d->tokens[start + i];
            p->targets[n + i] = predict ? d->tokens[start + i + 1] : -1;
            p->n_targets += predict;
        }
        p->spans[n_spans++] = (struct document_span){(uint32_t)n, (uint32_t)length};
        n += length;
        cursor->next++;
    }
    p->batch = (struct net_batch){.n_tokens = n,
                                  .tokens = p->tokens,
                                  .targets = p->targets,
                                  .n_spans = n_spans,
                                  .spans = p->spans};
    return n > 0;
}

/* The words a tokenizer is trained on: every message and text, and the rendering of tool lists. */
struct corpus {
    char **texts;
    size_t *lengths;
    size_t n, capacity;
};

static void corpus_add(struct corpus *c, const char *text, size_t n)
{
    if (c->n == c->capacity) {
        c->capacity = c->capacity * 2 + 1024;
        c->texts = mem_resize(c->texts, c->capacity * sizeof *c->texts);
        c->lengths = mem_resize(c->lengths, c->capacity * sizeof *c->lengths);
    }
    c->texts[c->n] = mem_strndup(text, n);
    c->lengths[c->n++] = n;
}

/* Cuts at the spellings of special tokens, which are never part of an ordinary one. */
static void corpus_add_rendered(struct corpus *c, const char *text)
{
    while (*text) {
        const char *cut = text + strlen(text);
        size_t skip = 0;
        for (int i = 0; i < N_SPECIALS; i++) {
            const char *found = strstr(text, special_tokens[i]);
            if (found && found < cut) {
                cut = found;
                skip = strlen(special_tokens[i]);
            }
        }
        if (cut > text) {
            corpus_add(c, text, (size_t)(cut - text));
        }
        text = cut + skip;
    }
}

struct corpus_reader {
    struct corpus *corpus;
    const struct chat_template *template;
};

static bool corpus_line(void *context, json_t *object, struct error *e)
{
    struct corpus_reader *r = context;
    json_t *plain = json_object_get(object, "text");
    if (json_is_string(plain)) {
        corpus_add(r->corpus, json_string_value(plain), json_string_length(plain));
        return true;
    }
    struct chat_text rendered = {0};
    size_t n = json_array_size(json_object_get(object, "messages"));
    bool ok = render_head(r->template, object, n, false, &rendered, e);
    if (ok) {
        corpus_add_rendered(r->corpus, rendered.text);
    }
    chat_text_free(&rendered);
    return ok;
}

static bool corpus_read(struct corpus *c, const char *path, const struct chat_template *template,
                        struct error *e)
{
    struct buf text;
    buf_init(&text, MAX_FILE_BYTES);
    bool ok = file_read(path, MAX_FILE_BYTES, &text, e);
    if (ok && ends_with(path, ".jsonl")) {
        struct corpus_reader r = {c, template};
        ok = each_line(path, text.data ? text.data : "", text.len, corpus_line, &r, e);
    } else if (ok) {
        corpus_add(c, text.data ? text.data : "", text.len);
    }
    buf_free(&text);
    return ok;
}

struct tokenizer_spec *data_train_tokenizer(const struct train_config *c, struct error *e)
{
    struct corpus corpus = {0};
    struct chat_template *template =
        chat_template_new(chat_template_chatml, strlen(chat_template_chatml), e);
    bool ok = template != NULL;
    for (size_t i = 0; ok && i < c->n_train; i++) {
        ok = corpus_read(&corpus, c->train_files[i], template, e);
    }
    chat_template_free(template);
    struct tokenizer_spec *spec = NULL;
    if (ok) {
        struct bpe_training how = {.pre = c->pre,
                                   .n_tokens = c->n_vocab,
                                   .specials = special_tokens,
                                   .n_specials = N_SPECIALS,
                                   .bos = "<|endoftext|>",
                                   .eos = "<|im_end|>",
                                   .space_alone = c->space_alone,
                                   .min_count = 2};
        spec = bpe_train(&how, (const char *const *)corpus.texts, corpus.lengths, corpus.n, e);
    }
    for (size_t i = 0; i < corpus.n; i++) {
        free(corpus.texts[i]);
    }
    free(corpus.texts);
    free(corpus.lengths);
    return spec;
}
