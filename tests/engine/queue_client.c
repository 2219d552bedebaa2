#include "queue_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

bool client_event(void *context, const struct queue_event *event)
{
    struct client *c = (struct client *)context + event->answer;
    assert_false(c->over);
    assert_true(event->request > 0 && (c->id == 0 || c->id == event->request));
    c->id = event->request;
    assert_true(c->n_text + event->n_text < CLIENT_MAX_TEXT);
    assert_true(utf8_valid(event->text, event->n_text, NULL));
    memcpy(c->text + c->n_text, event->text, event->n_text);
    c->n_text += event->n_text;
    if (event->finish) {
        c->over = true;
        c->end_token = event->token;
        c->figures = *event->finish;
        c->reason = event->finish->stats.reason;
        c->order = c->counter ? ++*c->counter : 0;
        snprintf(c->error, sizeof c->error, "%s", event->error ? event->error->message : "");
        const char *stop = c->figures.stats.stop;
        snprintf(c->stop, sizeof c->stop, "%s", stop ? stop : "");
        assert_int_equal(c->figures.stats.n_generated, c->figures.n_inherited + c->n);
        assert_int_equal(c->reason == FINISH_ERROR, event->error != NULL);
        return true;
    }
    assert_true(c->n < CLIENT_MAX_TOKENS);
    c->tokens[c->n] = event->token;
    c->logprobs[c->n][0] = event->logprob;
    c->logprobs[c->n][1] = event->sampled_logprob;
    assert_true(event->n_top <= CLIENT_TOP && event->n_sampled_top <= CLIENT_TOP);
    for (size_t i = 0; i < event->n_top; i++) {
        c->top[c->n][0][i] = event->top[i];
    }
    for (size_t i = 0; i < event->n_sampled_top; i++) {
        c->top[c->n][1][i] = event->sampled_top[i];
    }
    c->n++;
    if (c->n == c->cancel_at) {
        assert_true(queue_cancel(c->queue, c->id));
    }
    return c->n != c->refuse_at;
}

struct request_options client_request(struct client *c, const int32_t *prompt, size_t n)
{
    struct request_options r = {.prompt = prompt,
                                .n_prompt = n,
                                .logprobs = true,
                                .n_top = CLIENT_TOP,
                                .event = client_event,
                                .context = c};
    sampling_defaults(&r.how.sampling);
    return r;
}

struct queue *client_queue(struct engine *en, const struct queue_options *o)
{
    struct error e = {0};
    struct queue *q = queue_new(en, o, &e);
    if (!q) {
        fail_msg("%s", e.message);
    }
    return q;
}

void client_submit(struct queue *q, const struct request_options *r)
{
    struct error e = {0};
    struct client *c = r->context;
    uint64_t id = queue_submit(q, r, &e);
    if (!id) {
        fail_msg("%s", e.message);
    }
    for (uint32_t i = 0; i < (r->n_answers ? r->n_answers : 1); i++) {
        c[i].queue = q;
        c[i].id = id;
    }
}

void client_run(struct queue *q)
{
    while (queue_step(q)) {
    }
}

bool client_same(const struct client *a, const struct client *b)
{
    return a->over && b->over && a->n == b->n && a->reason == b->reason &&
           a->end_token == b->end_token && a->n_text == b->n_text &&
           memcmp(a->tokens, b->tokens, a->n * sizeof *a->tokens) == 0 &&
           memcmp(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs) == 0 &&
           memcmp(a->top, b->top, a->n * sizeof *a->top) == 0 &&
           memcmp(a->text, b->text, a->n_text) == 0;
}
