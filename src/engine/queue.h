/* queue.h: many requests on one engine at once (continuous batching).
 *
 *   queue_submit ──► waiting ──► prefill ──────────► answering ──────────► finish
 *   (any thread)        ▲        a part a step        a token a step,
 *                       │             │               all in one pass
 *                       └─ preempted ◄┴─────────────────┘
 *
 * queue_step, on one thread, is one step of all: at most one pass that decodes the next token of
 * every answer that is under way, and a part of the prompt whose turn it is: some layers of a chunk
 * of its tokens. While others answer, the part takes about as long as their decode pass, as
 * measured so far; so a long prompt at most doubles the time between their tokens.
 *
 * The same answer under any load. Tokens and log-probabilities of a request follow from its
 * options, the weights, the type of keys and values and the processor's kernels, to the bit:
 * company, threads, chunks, reuse of prefixes, preemption and the order of arrival change nothing.
 * A prompt is always computed by the arithmetic of given tokens, an answer by that of generated
 * ones (enum model_phase), whenever and however often that happens.
 *
 * Memory is pages of keys and values (pages.h). A request is admitted when there are pages for all
 * its tokens and one more for each answer under way. Where pages run out, the answer that is last
 * in line gives all its pages back, waits, and is computed again later. Pages that nobody holds
 * keep the texts of given tokens (of all tokens, where both arithmetics are the same) for later
 * requests with the same beginning, until they are needed: the least recently used go first.
 *
 * A request may want numbers instead of an answer: the vector of a text, or the scores of the
 * model's classification head (request_options.kind). It waits in the same line; when it is its
 * turn, a step computes a part of its text and of those behind it that want numbers too, side by
 * side: the weights are read once for all of them, and each row has the bits that it has alone. A
 * model that sees a whole text at once (BERT) keeps no keys and values: its queue has no pages, and
 * answers nothing else.
 *
 * Forks. An answer under way can be forked: another request goes on from where it stands, with the
 * same pages, of which the last one, if it is not full, is copied. A beam search (Graves, "Sequence
 * transduction with recurrent neural networks", 2012; as transformers' generate does it) forks and
 * drops its beams in this way at every token. It is one in the order above: all its beams are
 * admitted, decoded and preempted together.
 *
 * Order: higher priority first, then arrival. Nobody overtakes whoever is first in line, not even
 * with a request for which there would be room. A request that waits, or whose prompt is under way,
 * and before which QUEUE_PATIENCE later ones were admitted, each with any number of answers, goes
 * before all priorities, and stays there: so none waits for ever. A request of higher priority that
 * finds no room preempts those of lower priority.
 */
#ifndef LLLM_ENGINE_QUEUE_H
#define LLLM_ENGINE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"

enum {
    QUEUE_MAX_RUNNING = MODEL_MAX_JOINT, /* answers under way at once */
    QUEUE_MAX_ANSWERS = 1024,            /* of one request */
    QUEUE_MAX_TOP = 1024,                /* log-probabilities beside the chosen one */
    QUEUE_MAX_BEAMS = QUEUE_MAX_RUNNING,
    QUEUE_PATIENCE = 16,
    QUEUE_MAX_TEXTS = 64,     /* that want numbers, in a pass */
    QUEUE_DRAFT_SESSIONS = 4, /* answers for which a draft model writes ahead, at once */
};

struct queue_options {
    /* Pages of MODEL_PAGE_POSITIONS positions, at least those of one whole context. 0: of as many
     * contexts as can be answered at once, and for a pass of short texts, but of at most a quarter
     * of the machine's memory. Only pages that have been used take memory. */
    uint32_t n_pages;
    uint32_t max_running;  /* 0: QUEUE_MAX_RUNNING, or the engine's batch size where that is less */
    uint32_t chunk_tokens; /* of a prompt at once, for tests; 0: as measured */
    uint32_t chunk_layers; /* of them in a step, for tests; 0: as measured */
    bool no_reuse;         /* nothing is kept for later requests */
    /* A model with the same tokens that writes ahead for requests that ask for it (draft.h), on
     * QUEUE_DRAFT_SESSIONS sessions (or max_running where that is less), which the answers first in
     * line have. Borrowed, on the threads of the queue's engine; NULL: none. */
    struct engine *draft_model;
    bool drafts_always; /* without the rule that decides how many pay, and sure or not: for tests */
};

struct queue;
/* The engine must outlive it, and is used by nobody else while queue_step runs. Session lifetime:
 * pages (address space until used) and logits of max_running rows. ERROR_LIMIT
 * with the figures where n_pages is less than one context needs. */
struct queue *queue_new(struct engine *en, const struct queue_options *o, struct error *e);
/* What is left is cancelled, with its events, from which nothing can be submitted any more. */
void queue_free(struct queue *q);

/* What an answer cost. Times in seconds; stats.first_token_s counts from the submission,
 * stats.prefill_s is the time of the prompt's own chunks. */
struct answer_figures {
    struct generation_stats stats; /* n_reused: of its first admission */
    double waited_s;               /* from the submission to the first admission */
    uint32_t n_preempted;
    uint32_t n_recomputed; /* tokens that were computed again after preemption */
    /* Of stats.n_generated, the tokens that were there when the answer was forked from another. */
    uint32_t n_inherited;
    /* Of a beam search: the sum of the log-probabilities of all its tokens, an end token included,
     * divided by their number to the power of the length penalty. */
    double score;
};

/* One for each token that is drawn, and a last one. A request that wants numbers has one, the last:
 * FINISH_STOP with the numbers, or FINISH_CANCELLED or FINISH_ERROR without; stats.n_prompt is what
 * its text had of tokens. */
struct queue_event {
    uint64_t request;
    uint32_t answer; /* 0 .. n_answers - 1 */
    int32_t token;   /* -1 in the last event, but where an end token ended the answer */
    /* What the token made certain of the text: whole UTF-8 characters, never a part of a stop
     * string; often of several tokens, often nothing. None where there is a parser. */
    const char *text;
    size_t n_text;
    /* Where they were asked for, natural logarithms of the token's probability and of the likeliest
     * tokens, before the samplers (log_softmax of the logits) and after them. */
    float logprob, sampled_logprob;
    const struct token_logprob *top, *sampled_top;
    size_t n_top, n_sampled_top;
    const float *numbers; /* [n_rows, n_columns], or NULL */
    uint32_t n_rows, n_columns;
    /* NULL but in the last event. An error is of this answer alone: stats.reason is FINISH_ERROR
     * then. */
    const struct answer_figures *finish;
    const struct error *error;
};
/* On the thread of queue_step, which must not be called from here; queue_submit and queue_cancel
 * may. Everything is borrowed for the call. False ends this answer (FINISH_CANCELLED). */
typedef bool queue_event_fn(void *context, const struct queue_event *event);

/* What a request wants of its prompt. */
enum request_kind {
    REQUEST_ANSWER,
    REQUEST_VECTOR, /* [1, dimensions], or [n_prompt, dimensions] without pooling */
    /* [1, n_labels], or [n_prompt, n_labels] where config.label_tokens: before softmax. Only of
     * models with a classification head. */
    REQUEST_SCORES,
};
struct vector_options {
    /* engine_pooling for what the file asks for; NONE: a vector for each token. Not RANK. */
    enum model_pooling pooling;
    /* The first elements of each vector, 0: all, for models whose first elements are a vector
     * themselves (Kusupati et al., Matryoshka representation learning, 2022). */
    uint32_t dimensions;
    bool normalize; /* to the Euclidean length 1, of what dimensions leave; zeros stay zeros */
};

/* Looks for the likeliest answers instead of drawing: of all continuations by a token of `width`
 * texts, the `width` likeliest go on; one that ends among the first `width` of them is a result. */
enum beams_until {
    BEAMS_UNTIL_WORSE, /* the best text under way, divided by its length now, is behind all results
                        */
    BEAMS_UNTIL_FOUND, /* there are `width` results */
    /* As the first, but by the length at which a text under way could get the best score. */
    BEAMS_UNTIL_HOPELESS,
};
struct beam_search {
    uint32_t width; /* 0: no search */
    /* Above 0 long answers are preferred; 0: the plain sum counts. transformers' default is 1. */
    float length_penalty;
    enum beams_until until; /* transformers' early_stopping: false, true, "never" */
};

/* Prompt, types, stop strings and sampling are copied; what else is pointed to must last until the
 * last event. */
struct request_options {
    const int32_t *prompt; /* [n_prompt] at least one token */
    size_t n_prompt;
    /* A text that is to become numbers is one of engine_encode_tokens or engine_encode_pair, and
     * nothing of `how` but `cancelled`, of answers and log-probabilities is looked at. */
    enum request_kind kind;
    struct vector_options vector; /* of REQUEST_VECTOR */
    const int32_t *types;         /* [n_prompt] of a pair's tokens, or NULL for zeros */
    /* how.parser and how.draft (see `lookup`) are not looked at; how.cancelled (may be NULL) is
     * polled at each step. */
    struct generation_options how;
    /* 0 counts as 1. Answer i has the seed how.sampling.seed + i, and is what a request with that
     * seed would be given; the prompt is computed once, and its pages are shared. */
    uint32_t n_answers;
    struct chat_parser *const *parsers; /* [n_answers] or NULL: where the text goes instead */
    int32_t priority;                   /* higher ones first */
    struct model_adapters adapters;     /* n = 0: none; they must last until the last event */
    /* What may come is computed ahead, where that pays beside the other answers: what followed the
     * same words earlier in the text, or what the queue's draft model says. Changes nothing but the
     * time, and stats.n_drafts and n_drafts_kept. */
    bool lookup, draft_model;
    bool logprobs;  /* of chosen tokens */
    uint32_t n_top; /* ... and of so many of the likeliest */
    /* With a search, its n_answers best results in order, at most beams.width, told at the end with
     * all their events; where it is cancelled, the best texts that it has by then
     * (FINISH_CANCELLED). Greedy sampling is asked for (temperature 0, and nothing that draws);
     * bias and penalties count, cuts do not. Log-probabilities are those of chosen tokens alone
     * (n_top 0). Fewer texts than answers, in a narrow form: the others end with FINISH_CONSTRAINT.
     */
    struct beam_search beams;
    /* Requests share pages only with those of the same key and the same adapters: what else changes
     * keys and values beside the tokens has a key of its own. 0: the plain model. */
    uint64_t cache_key;
    queue_event_fn *event;
    void *context;
};

/* From any thread. The id, above 0; 0 with an error where the request makes no sense or can never
 * fit: no token, ids outside the vocabulary, a prompt longer than the context, sampling out of
 * range, numbers that the model has not. There are no events then. Otherwise each answer gets
 * exactly one last event. */
uint64_t queue_submit(struct queue *q, const struct request_options *r, struct error *e);
/* A request of its own that goes on from where an answer stands, with keys and values, sampler,
 * form and held-back text as they are there; its events are of what follows. What `how` of the
 * source points to (but how.cancelled, which is not asked), and its adapters, must last for both.
 */
struct fork_options {
    /* Makes a new sampler with its own seed, which knows only the text; NULL: a copy of the
     * source's with its past, so that the same tokens follow. */
    const struct sampling *sampling;
    uint32_t max_tokens; /* of the whole answer, those before the fork included; 0: no end */
    struct chat_parser
        *parser; /* or NULL: text; what came before the fork is the caller's to tell */
    int32_t priority;
    queue_event_fn *event;
    void *context;
};
/* From any thread, and from events. It happens at the beginning of the next step: asked for from an
 * event, right behind that event's token. An answer that is over by then gives one last event with
 * an error. 0 with an error where there is no such answer, or it is of a beam search. */
uint64_t queue_fork(struct queue *q, uint64_t request, uint32_t answer,
                    const struct fork_options *o, struct error *e);
/* From any thread, at any time: its answers end (FINISH_CANCELLED) at the beginning of the next
 * step, wherever they are. False where there is no such request any more. */
bool queue_cancel(struct queue *q, uint64_t id);

/* One step. False when there is nothing left to do. Errors go to the requests that they are of. */
bool queue_step(struct queue *q);
/* Sleeps until something was submitted or cancelled since the last step began, queue_wake was
 * called since the last wait, or the time is over; < 0: without end. So nothing is missed by
 *
 *   while (!stopped) { if (!queue_step(q)) { queue_wait(q, -1); } }
 *
 * where another thread sets `stopped` and then calls queue_wake. */
void queue_wait(struct queue *q, double timeout_s);
void queue_wake(struct queue *q); /* from any thread */

/* As of the last step; from any thread. */
struct queue_figures {
    uint32_t n_waiting, n_prefilling, n_answering; /* answers; of texts the first two */
    uint32_t n_pages, n_free, n_cached;            /* the others are held */
    uint64_t page_bytes;
    uint64_t n_steps, n_finished, n_preempted;
    uint64_t n_prompt, n_reused;       /* tokens of prompts that were admitted, and not computed */
    uint64_t n_prefilled, n_generated; /* tokens */
    uint64_t n_texts, n_text_tokens;   /* that became numbers, and their tokens computed so far */
    double prefill_s, decode_s;        /* time of passes */
    uint64_t n_drafts, n_drafts_kept;  /* tokens computed ahead, and what was drawn */
    double draft_s;                    /* time of the draft model */
    uint32_t chunk_tokens;             /* what a chunk beside answers is now */
};
void queue_figures(struct queue *q, struct queue_figures *out);

/* The following on the thread of queue_step. */

/* The key of what requests with this cache_key and these adapters keep, in any process: what
 * queue_save and queue_restore are told. */
static inline uint64_t queue_cache_key(uint64_t cache_key, const struct model_adapters *adapters)
{
    return cache_key ^ model_adapters_key(adapters);
}

/* Writes what is kept of the beginning of tokens[0..n) to a file (saved.h), from which a queue or a
 * session of another process with the same model can go on. *n_saved: of how many tokens.
 * ERROR_INPUT where there is nothing. */
bool queue_save(struct queue *q, uint64_t cache_key, const int32_t *tokens, size_t n,
                const char *path, uint32_t *n_saved, struct error *e);
/* Takes a file's keys and values as if a request with these tokens had been here. */
bool queue_restore(struct queue *q, uint64_t cache_key, const char *path, uint32_t *n_restored,
                   struct error *e);
/* Forgets what nobody holds and gives the memory of all free pages back to the system. */
void queue_trim(struct queue *q);

#endif
