/* queue_client.h: who asks a queue, for the tests: keeps all that comes back. */
#ifndef LLLM_TESTS_ENGINE_QUEUE_CLIENT_H
#define LLLM_TESTS_ENGINE_QUEUE_CLIENT_H

#include "engine/queue.h"

enum { CLIENT_MAX_TOKENS = 1024, CLIENT_MAX_TEXT = 8192, CLIENT_TOP = 3 };

/* One answer. */
struct client {
    struct queue *queue;
    uint64_t id; /* of the request */
    int32_t tokens[CLIENT_MAX_TOKENS], end_token;
    float logprobs[CLIENT_MAX_TOKENS][2]; /* before and after the samplers */
    struct token_logprob top[CLIENT_MAX_TOKENS][2][CLIENT_TOP];
    size_t n;
    char text[CLIENT_MAX_TEXT];
    size_t n_text;
    bool over;
    enum finish_reason reason;
    struct answer_figures figures;
    char error[ERROR_MESSAGE_BYTES], stop[64]; /* empty: none */
    size_t order; /* the how many-th to finish of all that share a counter */
    size_t *counter;
    size_t refuse_at; /* the event that returns false, from 1; 0: none */
    size_t cancel_at; /* the event after which the request is cancelled */
};

/* The event function; context: struct client[n_answers]. */
bool client_event(void *context, const struct queue_event *event);
/* Log-probabilities with CLIENT_TOP others, this prompt and these clients. */
struct request_options client_request(struct client *c, const int32_t *prompt, size_t n);
/* A queue; fails the test on an error. */
struct queue *client_queue(struct engine *en, const struct queue_options *o);
/* Submits, fails the test on an error. */
void client_submit(struct queue *q, const struct request_options *r);
void client_run(struct queue *q); /* until nothing is left */
/* Tokens, log-probabilities, text and reason are the same, to the bit. */
bool client_same(const struct client *a, const struct client *b);

#endif
