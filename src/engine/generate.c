#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"

/* More than any token's bytes, and any answer's. */
enum { MAX_PIECE_BYTES = 1 << 24, MAX_FORMED_BYTES = 1 << 30 };

static const char word_start[] = "\xE2\x96\x81"; /* U+2581 */

const char *finish_reason_name(enum finish_reason r)
{
    switch (r) {
    case FINISH_STOP:
        return "stop";
    case FINISH_LENGTH:
        return "length";
    case FINISH_CANCELLED:
        return "cancelled";
    case FINISH_CONSTRAINT:
        return "constraint";
    case FINISH_ERROR:
        return "error";
    }
    return "unknown";
}

/* Whether what is put out is to be judged when a stop string has ended it. */
static bool is_formed(const struct generation *g)
{
    return g->constraint && !g->free && g->o->n_stop;
}

/* A control token for the parser, behind the text that came before it. */
static bool put_control(struct generation *g, int32_t id)
{
    struct gguf_string spelling = tokenizer_spelling(g->engine->tokenizer, id);
    stream_finish(&g->stream);
    if (!g->is_trial && !g->stream.cancelled &&
        !chat_parser_control(g->o->parser, spelling.data, spelling.len)) {
        g->stream.cancelled = true;
    }
    return !g->stream.cancelled;
}

/* Puts the bytes of a token on their way. False when the answer ends with it. */
static bool put_token(struct generation *g, int32_t id)
{
    const struct tokenizer *t = g->engine->tokenizer;
    if (g->o->parser && tokenizer_is_control(t, id)) {
        g->has_controls = g->has_controls || is_formed(g);
        return put_control(g, id);
    }
    buf_clear(&g->piece);
    tokenizer_append_piece(t, id, g->o->show_control, &g->piece);
    if (g->piece.len == 0) {
        return true;
    }
    size_t skip = 0;
    if (g->at_start && g->o->spm_start) {
        struct gguf_string spelling = tokenizer_spelling(t, id);
        if (g->piece.data[0] == ' ' && spelling.len >= 3 &&
            memcmp(spelling.data, word_start, 3) == 0) {
            skip = 1;
        }
    }
    g->at_start = false;
    if (is_formed(g)) {
        buf_append(&g->formed, g->piece.data + skip, g->piece.len - skip);
    }
    return stream_push(&g->stream, g->piece.data + skip, g->piece.len - skip);
}

static bool is_cancelled(const struct generation *g)
{
    return g->stream.cancelled ||
           (!g->is_trial && g->o->cancelled && g->o->cancelled(g->o->cancelled_context));
}

static bool to_parser(void *context, const char *bytes, size_t n)
{
    return chat_parser_push(context, bytes, n);
}

/* Rows of the embedding that no token names are padding: they are never drawn. Without a vocabulary
 * nothing is. */
struct sampler_room *generation_room(const struct engine *en)
{
    return en->tokenizer ? sampler_room_new(tokenizer_count(en->tokenizer)) : NULL;
}

static size_t mask_words(const struct tokenizer *t)
{
    return tokenizer_count(t) / 32 + 1;
}

/* All tokens but those that end an answer: what is to be in a form must come to its mark. */
static uint32_t *all_but_ends(const struct tokenizer *t)
{
    uint32_t n = tokenizer_count(t);
    uint32_t *mask = mem_array(mask_words(t), sizeof *mask);
    memset(mask, 0, mask_words(t) * sizeof *mask);
    for (uint32_t id = 0; id < n; id++) {
        mask[id / 32] |= (uint32_t)!tokenizer_is_end(t, (int32_t)id) << id % 32;
    }
    return mask;
}

/* For a fork, of which a beam search makes one for each token that it tries. */
static uint32_t *copy_mask(const struct tokenizer *t, const uint32_t *mask)
{
    uint32_t *copy = mem_array(mask_words(t), sizeof *copy);
    return memcpy(copy, mask, mask_words(t) * sizeof *copy);
}

bool generation_begin(struct generation *g, const struct engine *en,
                      const struct generation_options *o, struct sampler_room *room,
                      generation_text_fn *text, void *context, struct error *e)
{
    const struct tokenizer *t = en->tokenizer;
    if (!engine_require_vocabulary(en, e) || !sampling_check(&o->sampling, tokenizer_count(t), e)) {
        return false;
    }
    struct constraint *constraint = NULL;
    if (o->grammar) {
        constraint = constraint_new(o->grammar, engine_grammar_vocab(en), e);
        if (!constraint) {
            return false;
        }
        if (o->spm_start) {
            constraint_drop_first_space(constraint);
        }
    }
    *g = (struct generation){.engine = en,
                             .o = o,
                             .sampler = sampler_new(&o->sampling, t, room),
                             .constraint = constraint,
                             .free = constraint && o->grammar_behind && *o->grammar_behind,
                             .at_start = true};
    buf_init(&g->recent, MAX_PIECE_BYTES);
    buf_init(&g->formed, MAX_FORMED_BYTES);
    g->no_end = g->free ? all_but_ends(t) : NULL;
    stream_init(&g->stream, o->stop, o->n_stop, o->parser ? to_parser : text,
                o->parser ? (void *)o->parser : context);
    buf_init(&g->piece, MAX_PIECE_BYTES);
    return true;
}

void generation_fork(const struct generation *from, struct generation *to,
                     const struct generation_options *o, struct sampler *sampler,
                     generation_text_fn *text, void *context)
{
    bool is_trial = !sampler, parses = o->parser && sampler;
    *to = (struct generation){.engine = from->engine,
                              .o = o,
                              .sampler = sampler,
                              .free = from->free,
                              .stats = from->stats,
                              .at_start = from->at_start,
                              .has_controls = from->has_controls,
                              .is_trial = is_trial};
    to->constraint = from->constraint ? constraint_copy(from->constraint) : NULL;
    buf_init(&to->recent, MAX_PIECE_BYTES);
    buf_init(&to->piece, MAX_PIECE_BYTES);
    buf_init(&to->formed, MAX_FORMED_BYTES);
    if (from->recent.len) {
        buf_append(&to->recent, from->recent.data, from->recent.len);
    }
    if (from->formed.len) {
        buf_append(&to->formed, from->formed.data, from->formed.len);
    }
    to->no_end = to->free ? copy_mask(from->engine->tokenizer, from->no_end) : NULL;
    stream_fork(&from->stream, &to->stream, o->stop,
                parses     ? to_parser
                : is_trial ? NULL
                           : text,
                parses ? (void *)o->parser : context);
}

void generation_free(struct generation *g)
{
    if (g->engine) {
        sampler_free(g->sampler);
        constraint_free(g->constraint);
        buf_free(&g->recent);
        buf_free(&g->formed);
        free(g->no_end);
        stream_free(&g->stream);
        buf_free(&g->piece);
    }
}

/* The mark may be a token or text, and cut anywhere. What stands behind it in its last token must
 * begin the form, unless it is blank, which parsers leave out there. */
static bool watch_for_mark(struct generation *g, int32_t id)
{
    const char *mark = g->o->grammar_behind;
    size_t n = strlen(mark);
    tokenizer_append_piece(g->engine->tokenizer, id, true, &g->recent);
    const char *found = g->recent.len > 0 ? memmem(g->recent.data, g->recent.len, mark, n) : NULL;
    if (found) {
        const char *rest = found + n, *end = g->recent.data + g->recent.len;
        g->free = false;
        while (rest < end && memchr(" \t\r\n", *rest, 4)) {
            rest++;
        }
        if (rest == end) {
            return true;
        }
        if (is_formed(g)) {
            buf_append(&g->formed, rest, (size_t)(end - rest));
        }
        if (!constraint_accept_bytes(g->constraint, rest, (size_t)(end - rest))) {
            g->stats.reason = FINISH_CONSTRAINT;
            g->stats.why = "the token that ended the reasoning went on with other text";
            return false;
        }
        g->stats.reason = FINISH_STOP;
        return constraint_state(g->constraint) != CONSTRAINT_CLOSED;
    } else if (g->recent.len >= n) {
        memmove(g->recent.data, g->recent.data + g->recent.len - (n - 1), n - 1);
        g->recent.len = n - 1;
    }
    return true;
}

/* Whether anything can follow this token, which is among the allowed ones. */
static bool go_on(struct generation *g, int32_t id)
{
    if (!constraint_accept(g->constraint, id)) {
        g->stats.reason = FINISH_CONSTRAINT;
        g->stats.why = constraint_reason(g->constraint);
        return false;
    }
    g->stats.reason = FINISH_STOP;
    return constraint_state(g->constraint) != CONSTRAINT_CLOSED;
}

bool generation_mask(struct generation *g, const uint32_t **allowed)
{
    bool held = g->constraint && !g->free;
    *allowed = held ? constraint_mask(g->constraint) : g->free ? g->no_end : NULL;
    if (held && !*allowed) {
        g->stats.reason = FINISH_CONSTRAINT;
        g->stats.why = constraint_reason(g->constraint);
        return false;
    }
    return true;
}

bool generation_draw(struct generation *g, const float *logits, const int32_t *tokens, size_t n,
                     bool full, int32_t *id)
{
    const uint32_t *allowed;
    *id = TOKENIZER_NO_TOKEN;
    if (!generation_mask(g, &allowed)) {
        return false;
    }
    *id = sampler_next(g->sampler, logits, tokens, n, allowed);
    if (sampler_met_nan(g->sampler)) {
        *id = TOKENIZER_NO_TOKEN;
        g->stats.reason = FINISH_ERROR;
        return false;
    }
    if (*id == SAMPLER_NOTHING) {
        g->stats.reason = FINISH_CONSTRAINT;
        g->stats.why = g->constraint && !g->free
                           ? "a logit bias of -inf forbids every token that the form allows here"
                           : "a logit bias of -inf forbids every token";
        return false;
    }
    return generation_take(g, *id, full);
}

bool generation_no_numbers(const struct model_adapters *adapters, struct error *e)
{
    return error_set(e, ERROR_INPUT, "the model computed no numbers (NaN): %s is damaged%s",
                     adapters && adapters->n ? "its adapter (--lora, \"lora\") or its file"
                                             : "its file",
                     adapters && adapters->n ? ", or the adapter far too strong"
                                             : "; get it again, or convert it anew");
}

bool generation_take(struct generation *g, int32_t id, bool full)
{
    const struct tokenizer *t = g->engine->tokenizer;
    bool held = g->constraint && !g->free;
    if (tokenizer_is_end(t, id) && (!g->o->ignore_end || g->constraint)) {
        g->stats.reason = FINISH_STOP;
        if (g->o->parser && tokenizer_is_control(t, id)) {
            put_control(g, id);
        }
        return false;
    }
    g->stats.n_generated++;
    if (!put_token(g, id)) {
        g->stats.reason = g->stream.cancelled ? FINISH_CANCELLED : FINISH_STOP;
        g->stats.stop = g->stream.stopped ? g->stream.stopped_by : NULL;
        return false;
    }
    if (is_cancelled(g)) {
        g->stats.reason = FINISH_CANCELLED;
        return false;
    }
    if (held && !go_on(g, id)) {
        return false;
    }
    if (g->free && !watch_for_mark(g, id)) {
        return false;
    }
    if (g->stats.n_generated == g->o->max_tokens || full) {
        g->stats.reason = FINISH_LENGTH;
        return false;
    }
    return true;
}

/* Where the text ends that is shown: before the first of the stop strings. */
static size_t cut_at(const struct generation *g)
{
    size_t end = g->formed.len;
    for (size_t i = 0; i < g->o->n_stop; i++) {
        const char *stop = g->o->stop[i];
        const char *found =
            g->formed.len ? memmem(g->formed.data, g->formed.len, stop, strlen(stop)) : NULL;
        size_t at = found ? (size_t)(found - g->formed.data) : end;
        end = at < end ? at : end;
    }
    return end;
}

/* A stop string may have begun in tokens that the constraint has taken, and in the midst of one:
 * what is left is judged as a text of its own. */
static bool is_whole_until_stop(const struct generation *g)
{
    struct constraint *c = constraint_new(g->o->grammar, engine_grammar_vocab(g->engine), NULL);
    size_t n = cut_at(g);
    bool ok = c && (n == 0 || constraint_accept_bytes(c, g->formed.data, n));
    enum constraint_state s = ok ? constraint_state(c) : CONSTRAINT_ENDED;
    constraint_free(c);
    return ok && (s == CONSTRAINT_COMPLETE || s == CONSTRAINT_CLOSED);
}

/* Whether the text so far is one that its form begins and does not end. */
static bool is_partial(const struct generation *g)
{
    if (g->stream.stopped && g->constraint && !g->free && !g->has_controls) {
        return !is_whole_until_stop(g);
    }
    enum constraint_state s = g->constraint ? constraint_state(g->constraint) : CONSTRAINT_ENDED;
    return g->constraint && (g->free || (s != CONSTRAINT_COMPLETE && s != CONSTRAINT_CLOSED &&
                                         s != CONSTRAINT_ENDED));
}

void generation_end(struct generation *g)
{
    if (!g->engine) {
        return; /* it has not begun */
    }
    g->stats.partial = is_partial(g);
    stream_finish(&g->stream);
    if (g->o->parser && !g->stream.cancelled && !chat_parser_finish(g->o->parser)) {
        g->stream.cancelled = true;
    }
    if (g->stream.cancelled) {
        g->stats.reason = FINISH_CANCELLED;
    }
}

/* top: room for two lists of o->n_top tokens. */
static void report_token(const struct generation *g, const float *logits, int32_t id,
                         struct token_logprob *top)
{
    uint32_t n_top = g->o->n_top;
    struct token_report r = {.token = id, .top = top, .sampled_top = top + n_top};
    r.n_top =
        logits_logprobs(logits, tokenizer_count(g->engine->tokenizer), id, &r.logprob, n_top, top);
    r.n_sampled_top = sampler_logprobs(g->sampler, id, &r.sampled_logprob, n_top, top + n_top);
    g->o->report(g->o->report_context, &r);
}

/* The last token drawn is not part of the timeline. */
static bool run(struct generation *g, struct session *s, const int32_t *prompt, size_t n_prompt,
                struct token_logprob *top, struct error *e)
{
    double start_s = time_now_s();
    struct error why = {0};
    bool ok = session_prefill(s, prompt, n_prompt, &g->stats.n_reused, g->o->cancelled,
                              g->o->cancelled_context, &why);
    g->stats.prefill_s = time_now_s() - start_s;
    if (!ok) {
        if (why.code != ERROR_CANCELLED) {
            if (e) {
                *e = why;
            }
            return false;
        }
        g->stats.reason = FINISH_CANCELLED;
        g->stats.n_prompt = (uint32_t)n_prompt;
        g->stats.n_left = (uint32_t)n_prompt - s->cache.n_tokens;
        g->stats.behind = -1;
        return true;
    }
    g->stats.n_prompt = (uint32_t)n_prompt;
    g->stats.behind = -1;
    struct draft *d = g->o->draft;
    struct draft_stats before = d ? draft_stats(d) : (struct draft_stats){0};
    for (bool goes_on = true, first = true; goes_on; first = false) {
        int32_t id;
        uint32_t n = s->cache.n_tokens, n_before = g->stats.n_generated;
        goes_on = generation_draw(g, s->logits, s->tokens, n, n == s->cache.capacity, &id);
        if (g->stats.reason == FINISH_ERROR) {
            return generation_no_numbers(s->cache.adapters, e);
        }
        if (first) {
            g->stats.first_token_s = time_now_s() - start_s;
        }
        if (top && g->stats.n_generated > n_before) {
            report_token(g, s->logits, id, top);
        }
        g->stats.behind = goes_on || g->stats.n_generated == n_before ? -1 : id;
        if (goes_on && !(d ? draft_decode(d, s, id, e) : session_decode(s, id, e))) {
            return false;
        }
    }
    generation_end(g);
    if (d) {
        draft_end(d);
        struct draft_stats after = draft_stats(d);
        g->stats.n_drafts = (uint32_t)(after.n_proposed - before.n_proposed);
        g->stats.n_drafts_kept = (uint32_t)(after.n_kept - before.n_kept);
    }
    g->stats.decode_s = time_now_s() - start_s - g->stats.first_token_s;
    return true;
}

bool engine_generate(struct session *s, const int32_t *prompt, size_t n_prompt,
                     const struct generation_options *o, generation_text_fn *text, void *context,
                     struct generation_stats *stats, struct error *e)
{
    struct generation g = {0};
    struct sampler_room *room = generation_room(s->engine);
    struct token_logprob *top = o->report ? mem_array(2 * (size_t)o->n_top + 1, sizeof *top) : NULL;
    bool ok = generation_begin(&g, s->engine, o, room, text, context, e) &&
              run(&g, s, prompt, n_prompt, top, e);
    if (ok && stats) {
        *stats = g.stats;
    }
    generation_free(&g);
    sampler_room_free(room);
    free(top);
    return ok;
}
