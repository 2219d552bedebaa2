/* internal.h: what the files of src/engine/ share. */
#ifndef LLLM_ENGINE_INTERNAL_H
#define LLLM_ENGINE_INTERNAL_H

#include "base/digest.h"
#include "engine/engine.h"
#include "engine/plan.h"

struct engine {
    struct gguf *gguf;
    struct model *model;
    struct tokenizer *tokenizer;
    struct prompter *prompter;
    struct pool *pool;
    bool borrows_pool;
    const struct kernels *kernels;
    struct memory_plan plan;
    uint64_t memory_bytes; /* of the options */
    struct gguf_move move; /* where huge pages were asked for */
    bool moves;
    bool in_strips;       /* the matrices were laid out anew (model_to_strips); */
    struct digest digest; /* of the file before that, for saved sessions */
    uint32_t context_size, batch_size;
    enum model_kv_type kv_type;
    /* Of all its sequences: the threads are shared as well. NULL until engine_scratch. */
    struct model_scratch *scratch;
    double load_time_s;
    struct engine_tokens *tokens; /* see engine_grammar_vocab */
};

/* The most tokens of a pass: batch_size, or, of a model that sees a whole text at once, those of a
 * text or of several short ones. */
uint32_t engine_rows(const struct engine *en);
/* For such passes; process lifetime. NULL, with a sentence, when there is no memory. */
struct model_scratch *engine_scratch(struct engine *en, struct error *e);

struct session {
    struct engine *engine;
    struct model_cache cache;
    struct model_adapters adapters; /* to which the cache points where there are some */
    struct model_clock *clock;      /* of its passes, or NULL */
    int32_t *tokens;                /* [context_size], the first cache.n_tokens are the timeline */
    float *logits;                  /* [n_vocab] of the last position */
    /* How many tokens at the beginning were computed as given ones (model_forward); those behind
     * were generated, and are computed again where a prompt has them. */
    uint32_t n_given;
    float *joint_logits; /* [n_joint, n_vocab] of the sessions that it led, or NULL */
    size_t n_joint;
    /* Behind the timeline, n_ahead positions have been computed for drafts, which stand in tokens;
     * their logits are the rows of joint_logits from ahead_row on. */
    uint32_t n_ahead, ahead_row;
};

/* session.c. Appends n tokens, at most batch_size, as given or generated ones; their last logits
 * are at session_logits. */
bool session_append(struct session *s, enum model_phase phase, const int32_t *tokens, uint32_t n,
                    struct error *e);
/* session_decode, and behind it n drafts (n + 1 at most batch_size and what the context has room
 * for) that are not part of the timeline. */
bool session_decode_ahead(struct session *s, int32_t token, const int32_t *drafts, uint32_t n,
                          struct error *e);
/* session_decode without computing anything, where the token is the next draft; else false. */
bool session_take_ahead(struct session *s, int32_t token);

/* stream.c: bytes of an answer on their way out. Holds back what may turn out to be part of a stop
 * string or of a character. */
struct stream {
    struct buf pending, ready;
    const char *const *stop;
    size_t n_stop;
    generation_text_fn *text;
    void *context;
    const char *stopped_by; /* the stop string that was completed */
    bool stopped, cancelled;
};

void stream_init(struct stream *s, const char *const *stop, size_t n_stop, generation_text_fn *text,
                 void *context);
/* False when nothing more is wanted: `stopped` (a stop string was completed) or `cancelled`. */
bool stream_push(struct stream *s, const char *bytes, size_t n);
/* The same bytes are held back; stop: the same strings, another's copies of them. */
void stream_fork(const struct stream *from, struct stream *to, const char *const *stop,
                 generation_text_fn *text, void *context);
void stream_finish(struct stream *s); /* hands out what was held back, unless stopped */
void stream_free(struct stream *s);

/* generate.c: one answer, whoever runs the passes: what is drawn from logits, when it is over, and
 * its text on its way out. */
struct generation {
    const struct engine *engine;
    const struct generation_options *o; /* borrowed */
    struct sampler *sampler;
    struct constraint *constraint; /* or NULL */
    bool free;                     /* the text behind which it holds has not come yet */
    struct buf recent;             /* while free: as much of the text as its mark may be in */
    uint32_t *no_end;              /* while free: a mask of all tokens but those that end answers */
    struct buf formed; /* where stop strings may cut it: the text that is to be in the form */
    bool has_controls; /* of which control tokens are a part */
    struct stream stream;
    struct buf piece;
    struct generation_stats stats; /* n_generated, reason and stop */
    bool at_start;                 /* no visible piece has come yet */
    bool is_trial;                 /* nobody is told anything, nor asked */
};

/* What the samplers of one thread share; sampler_room_free. */
struct sampler_room *generation_room(const struct engine *en);
/* Checks the options. room is borrowed. text is not called where there is a parser. */
bool generation_begin(struct generation *g, const struct engine *en,
                      const struct generation_options *o, struct sampler_room *room,
                      generation_text_fn *text, void *context, struct error *e);
void generation_free(struct generation *g); /* also one that is all zero */
/* From here on both go on from where `from` stands, each with its own state. o: `from`'s, or a copy
 * of them with another end or parser. Takes the sampler; NULL: a trial, which says what tokens
 * would do (generation_take) and tells nobody. */
void generation_fork(const struct generation *from, struct generation *to,
                     const struct generation_options *o, struct sampler *sampler,
                     generation_text_fn *text, void *context);
/* The tokens that may come next (*allowed NULL: all); false where none may: stats say why. Before
 * the generation's next call. */
bool generation_mask(struct generation *g, const uint32_t **allowed);
/* What generation_draw does once the token is known, which must be among the allowed ones. */
bool generation_take(struct generation *g, int32_t id, bool full);
/* Draws the token after tokens[0..n), which is *id then; `full`: no position is left for another
 * after it. False when the answer is over with it: stats.reason says why. An end token is drawn,
 * and neither counted nor part of the text. */
bool generation_draw(struct generation *g, const float *logits, const int32_t *tokens, size_t n,
                     bool full, int32_t *id);
/* The sentence where it is over with FINISH_ERROR: the logits were no numbers. False. */
bool generation_no_numbers(const struct model_adapters *adapters, struct error *e);
/* What was held back goes out, and the parser is told. */
void generation_end(struct generation *g);

#endif
