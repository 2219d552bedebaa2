/* queue_internal.h: what the files of the queue share.
 *
 *   queue.c        requests come and go; the only file that locks
 *   queue_order.c  who is next: admission, preemption, forks
 *   queue_step.c   passes, drawn tokens, events
 *   queue_file.c   to a file and back
 *
 * A sequence is one answer with its timeline. All but what `lock` guards belongs to the thread of
 * queue_step.
 */
#ifndef LLLM_ENGINE_QUEUE_INTERNAL_H
#define LLLM_ENGINE_QUEUE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/internal.h"
#include "engine/pages.h"
#include "engine/queue.h"

struct request {
    uint64_t id;
    struct request_options o; /* prompt, stop and strings are its own */
    char **stop;
    double submitted_s;
    atomic_bool cancelled;
    struct sequence *sequences; /* [n_answers] */
    uint32_t n_open;            /* answers whose last event is to come */
    struct request *next;       /* among all (guarded by lock) */
    struct request *next_new;   /* among those that no step has seen (the same) */
};

enum sequence_state {
    SEQUENCE_WAITING,   /* holds no page */
    SEQUENCE_FILLING,   /* tokens[cache.n_tokens .. fill_end) are to be computed */
    SEQUENCE_ANSWERING, /* all but the last token are computed, which is next */
    SEQUENCE_OVER,
};

struct sequence {
    struct request *request;
    uint32_t index; /* of the answer */
    enum sequence_state state;
    struct page_table table;
    struct model_cache cache; /* through table.pages; n_tokens: how many are computed */
    int32_t *tokens;          /* prompt and answer, the last one drawn included */
    uint32_t n_tokens, room;
    uint32_t n_passed_over;        /* how many later ones were admitted while it waited */
    uint32_t n_done;               /* the most that was ever computed */
    bool begun;                    /* was admitted before */
    struct generation_options how; /* its seed and parser */
    struct generation generation;
    struct buf text; /* for the next event */
    double first_s;  /* when the first token was drawn */
    struct answer_figures figures;
};

/* What a part of a chunk took last, for either phase, and how many tokens a chunk should have. */
struct pace {
    double tokens;  /* 0: not known yet */
    double layer_s; /* of a layer of a chunk of layer_tokens; 0: not known yet */
    uint32_t layer_tokens;
};

struct queue {
    struct engine *engine;
    struct queue_options o; /* without zeros, but for chunk_tokens */
    uint32_t capacity, batch;
    bool phases_differ;
    struct pages *pages;
    struct model_pages *storage;   /* one page more than `pages` knows: queue_file.c */
    struct model_scratch *scratch; /* the engine's */
    float *logits;                 /* [max_running, n_vocab] */
    struct sequence **waiting;
    uint32_t n_waiting, waiting_room;
    struct sequence *running[QUEUE_MAX_RUNNING];
    uint32_t n_running;
    struct sequence *chunk_of; /* whose chunk is under way; NULL: nobody's */
    uint32_t chunk_tokens;     /* its length */
    struct model_part part;
    struct pace pace[2]; /* by enum model_phase */
    double decode_s;     /* of a pass, as of late; 0: none yet */
    struct sampler_room *room;
    struct token_logprob *top;    /* [2, QUEUE_MAX_TOP] before and after the samplers */
    struct queue_figures figures; /* of the stepping thread */

    pthread_mutex_t lock;
    pthread_cond_t stir;
    bool stirred; /* something came since the last step began */
    bool woken;   /* queue_wake was called since the last wait */
    uint64_t last_id;
    struct request *all, *first_new, **last_new;
    struct queue_figures shown; /* a copy of figures */
};

/* queue.c: its last event was sent. Frees the request with the last of its answers. */
void request_answer_over(struct queue *q, struct request *r);

/* queue_order.c */
void order_add(struct queue *q, struct sequence *s); /* waits from now on */
void order_admit(struct queue *q); /* whoever's turn it is, as far as there is room */
/* Whose chunk is next; NULL: nobody's. */
struct sequence *order_filling(struct queue *q);
/* The answers that go on with the next decode pass, all with room for one more position, the first
 * in line first; whoever stands in their way is preempted. */
uint32_t order_answering(struct queue *q, struct sequence *out[QUEUE_MAX_RUNNING]);
/* Answers to the same prompt that go on from s, which has just been filled; returns how many. */
uint32_t order_fork(struct queue *q, struct sequence *s, struct sequence *out[QUEUE_MAX_RUNNING]);
/* s neither waits nor runs any more, and holds no pages. */
void order_remove(struct queue *q, struct sequence *s);
/* Enters what later requests may use into the tree. */
void sequence_publish(struct queue *q, struct sequence *s);
/* How far it is computed before a token is drawn. */
uint32_t sequence_fill_end(const struct sequence *s);
uint64_t sequence_id(const struct sequence *s); /* of its request */

/* queue_step.c */
void queue_run_passes(struct queue *q);
void sequence_finish(struct queue *q, struct sequence *s, enum finish_reason reason,
                     int32_t end_token, const struct error *why);
void sequence_append(struct sequence *s, int32_t token);

#endif
