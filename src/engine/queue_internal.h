/* queue_internal.h: what the files of the queue share.
 *
 *   queue.c        requests come and go; the only file that locks
 *   queue_order.c  who is next: admission, preemption, forks
 *   queue_step.c   passes, drawn tokens, events
 *   queue_encode.c texts that become numbers
 *   queue_fork.c   a request from an answer under way
 *   queue_beams.c  searches: which texts go on
 *   queue_file.c   to a file and back
 *   queue_draft.c  what is computed ahead of the answers
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
#include "engine/queue_draft.h"

struct request {
    uint64_t id;
    struct request_options o; /* prompt, types, stop and strings are its own */
    char **stop;
    double submitted_s;
    atomic_bool cancelled;
    atomic_uint n_forks;        /* of it, asked for and not begun or refused */
    struct sequence *sequences; /* [n_sequences] */
    uint32_t n_sequences;       /* n_answers, or the width of a search */
    uint32_t n_open;            /* answers whose last event is to come */
    struct beams *beams;        /* queue_beams.c; NULL: no search */
    uint64_t fork_of;           /* the request that it was forked from, or 0 */
    uint32_t fork_answer;
    struct sampler *fork_sampler; /* until it begins; NULL: a copy of the source's */
    struct request *next;         /* among all (guarded by lock) */
    struct request *next_new;     /* among those that no step has seen (the same) */
};

enum sequence_state {
    SEQUENCE_WAITING,   /* holds no page */
    SEQUENCE_FILLING,   /* tokens[cache.n_tokens .. fill_end) are to be computed */
    SEQUENCE_ANSWERING, /* all but the last token are computed, which is next */
    SEQUENCE_IDLE,      /* of a search: no beam's, or waits with the first one */
    SEQUENCE_OVER,
};

/* Of a sequence that wants numbers. */
struct text_work {
    enum model_pooling pooling;
    bool each;      /* token has numbers of its own */
    double *sums;   /* [n_embd] of a mean, so far; this and the following from the first turn on */
    float *pooled;  /* [n_embd] */
    float *numbers; /* [n_rows, n_columns] */
    uint32_t n_rows, n_columns;
    uint32_t n_chunk; /* its tokens in the pass that is under way; 0: it is not in it */
};

struct sequence {
    struct request *request;
    struct text_work *text; /* NULL: an answer */
    uint32_t index;         /* of the answer */
    enum sequence_state state;
    struct page_table table;
    struct model_cache cache; /* through table.pages; n_tokens: how many are computed */
    int32_t *tokens;          /* prompt and answer, the last one drawn included */
    uint32_t n_tokens, room;
    /* How many later requests were admitted while it waited, or went before it in its prompt. */
    uint32_t n_passed_over;
    uint32_t n_done;               /* the most that was ever computed */
    bool begun;                    /* was admitted before */
    struct generation_options how; /* its seed and parser */
    struct generation generation;
    struct buf event_text; /* for the next event */
    double first_s;        /* when the first token was drawn */
    struct answer_figures figures;
    struct sequence_drafts drafts;
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
    bool has_pages; /* else the model sees a text at once, and keeps nothing */
    struct pages *pages;
    struct model_pages *storage;   /* one page more than `pages` knows: queue_file.c */
    struct model_scratch *scratch; /* the engine's */
    float *logits;                 /* of a pass: [batch or MODEL_MAX_JOINT, n_vocab] */
    struct queue_drafts *drafts;
    struct sequence **waiting;
    uint32_t n_waiting, waiting_room;
    struct sequence *running[QUEUE_MAX_RUNNING + QUEUE_MAX_TEXTS];
    uint32_t n_running;
    struct sequence *chunk_of; /* whose chunk is under way, the first of texts; NULL: nobody's */
    uint32_t chunk_tokens;     /* its length, or that of all texts */
    /* The texts that the pass under way computes side by side, and its memory: allocated for the
     * first of all. */
    struct sequence *texts[QUEUE_MAX_TEXTS];
    uint32_t n_texts;
    float *hidden;                     /* [batch, n_embd] */
    int32_t *text_tokens, *text_types; /* [batch] */
    struct model_part part;
    struct pace pace[2]; /* by enum model_phase */
    double decode_s;     /* of a pass, as of late; 0: none yet */
    struct sampler_room *room;
    struct token_logprob *top;    /* [2, QUEUE_MAX_TOP] before and after the samplers */
    struct queue_figures figures; /* of the stepping thread */

    pthread_mutex_t lock;
    pthread_cond_t stir;
    bool stirred; /* something came since the last step began */
    bool closing; /* queue_free has begun; of its thread */
    bool woken;   /* queue_wake was called since the last wait */
    uint64_t last_id;
    struct request *all, *first_new, **last_new;
    struct queue_figures shown; /* a copy of figures */
};

/* queue.c: its last event was sent. Frees the request with the last of its answers. */
void request_answer_over(struct queue *q, struct request *r);

/* False, with an error, for events of queue_free. */
bool queue_is_open(const struct queue *q, struct error *e);
/* context: a struct request. Whether nobody waits for it any more. */
bool request_is_cancelled(void *context);
/* Makes a new request known to the next step; returns its id. */
uint64_t request_enter(struct queue *q, struct request *r);
/* Called with the lock held. NULL: none of its answers is under way any more. */
struct request *request_find(const struct queue *q, uint64_t id);
/* What a stream hands out waits for the token's event; context: the sequence. */
bool sequence_keep_text(void *context, const char *bytes, size_t n);
enum { SEQUENCE_MAX_TEXT_BYTES = 1 << 28 }; /* as much as a stream may hold back */

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
/* Gives its pages back and waits; a search as a whole. */
void order_preempt(struct queue *q, struct sequence *s);
/* Runs with the first n_tokens tokens of `from`, whose pages it shares, and pages for all that is
 * to be filled. Whoever is last in line makes room; false where that is s itself, which then waits.
 */
bool order_run_from(struct queue *q, struct sequence *s, const struct sequence *from,
                    uint32_t n_tokens);
/* Of a search: does not run for the moment, with what it has (`keeps`), or without pages; and runs
 * again with them. */
void order_leave(struct queue *q, struct sequence *s, bool keeps);
void order_rejoin(struct queue *q, struct sequence *s, uint32_t n_passed_over);
/* What a sequence needs from its first admission on. */
void sequence_equip(struct queue *q, struct sequence *s);
/* Enters what later requests may use into the tree. */
void sequence_publish(struct queue *q, struct sequence *s);
/* How far it is computed before a token is drawn. */
uint32_t sequence_fill_end(const struct sequence *s);
uint64_t sequence_id(const struct sequence *s); /* of its request */

/* How many of the running ones are answers, which grow, and hold a row of logits each. */
uint32_t order_n_answers(const struct queue *q);
/* The running texts that are not computed to the end, the first in line first. */
uint32_t order_texts(const struct queue *q, struct sequence *out[QUEUE_MAX_TEXTS]);

/* queue_encode.c. What queue_submit asks, and what a text has from then on. */
bool encode_check(const struct queue *q, const struct request_options *o, struct error *e);
void encode_begin(struct queue *q, struct sequence *s);
/* Memory for its numbers. */
bool encode_equip(struct queue *q, struct sequence *s, struct error *e);
/* Whether it may take what is computed already, and leave it for others: where its last token
 * alone is looked at. */
bool encode_shares(const struct queue *q, const struct sequence *s);
/* How many tokens the next pass of texts has. */
uint32_t encode_rows(const struct queue *q, bool beside);
/* A part of a pass over the texts whose turn it is. */
void encode_fill(struct queue *q, bool beside);
/* Out of the pass that is under way, and of what it has computed: its pages are another's soon. */
void encode_leave(struct queue *q, struct sequence *s);
void encode_finish(struct queue *q, struct sequence *s, enum finish_reason reason,
                   const struct error *why);

/* queue_step.c. How many tokens a chunk should have, how many of its layers a step; what they took.
 * `beside`: others answer meanwhile. */
uint32_t pace_tokens(const struct queue *q, enum model_phase phase, bool beside);
uint32_t pace_layers(const struct queue *q, enum model_phase phase, bool beside);
void pace_learn(struct queue *q, enum model_phase phase, uint32_t n_layers, double seconds);
void queue_run_passes(struct queue *q);
void sequence_finish(struct queue *q, struct sequence *s, enum finish_reason reason,
                     int32_t end_token, const struct error *why);
void sequence_append(struct sequence *s, int32_t token);
/* With the text that the token made certain. */
void sequence_tell(struct sequence *s, struct queue_event *event);
/* The last event of one that the order does not know any more. Frees the request with its last
 * answer. */
void sequence_over(struct queue *q, struct sequence *s, enum finish_reason reason,
                   int32_t end_token, const struct error *why);
void sequence_free(struct sequence *s); /* what it holds, but no pages */

/* queue_fork.c */
void fork_begin(struct queue *q, struct request *r); /* on the stepping thread */
/* Gives s, which was forked, the pages of its source as far as their texts are one; returns for how
 * many tokens, 0 where the source runs no more or no page is to be had. */
uint32_t fork_share(struct queue *q, struct sequence *s);

/* queue_beams.c */
bool beams_check(const struct queue *q, const struct request_options *o, struct error *e);
struct beams *beams_new(const struct queue *q, struct request *r);
void beams_free(struct beams *b);
/* How many answers of a decode pass it takes when it runs. */
uint32_t beams_width(const struct request *r);
/* How many sequences of the request have a beam, the first ones: what runs, or waits as one. */
uint32_t beams_count(const struct request *r);
/* Whether all of them are ready for the next decode pass. */
bool beams_ready(const struct request *r);
/* Pages that all but the first need beside those of its prompt. */
uint32_t beams_pages(const struct queue *q, const struct request *r);
/* The first one has its prompt computed again: the others go on from there. */
void beams_spread(struct queue *q, struct request *r);
/* One token further: logits: [beams_count, n_vocab] behind each. May end the search, and with it r.
 */
void beams_step(struct queue *q, struct request *r, const float *logits);
void beams_finish(struct queue *q, struct request *r, enum finish_reason reason,
                  const struct error *why);

#endif
