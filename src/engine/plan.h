/* plan.h: how much memory a model takes, known from its file's header before any of it is taken.
 *
 *   weights      the tensors: pages of the file, or the process's own where they are moved into
 *                huge pages
 *   kv           keys and values of all sequences at full length, in whole pages
 *   scratch      working memory of a pass, one for all sequences
 *   logits       rows of logits, what samplers keep, and the sequences' tokens
 *   vocabulary   the tokenizer, an estimate from the numbers of tokens and merges
 *   draft        all of the same, but the program, of a draft model beside it
 *   adapters     of all answers: the tensors of their files, and of folders the copies too
 *   prompts      of a batch, which are all in memory first; of JSON what reading them takes, too
 *   program      code, libraries and threads: what any model takes
 *
 * Keys, values and scratch become resident when they are used, so a process stays below its plan
 * until a context is full. tests/engine/test_plan.c compares plans with what processes take.
 */
#ifndef LLLM_ENGINE_PLAN_H
#define LLLM_ENGINE_PLAN_H

#include "base/sysmem.h"
#include "engine/engine.h"

struct memory_plan {
    /* For what: nothing is left to be chosen. */
    uint32_t context_size, batch_size, n_sequences;
    int n_threads;
    enum model_kv_type kv_type;
    uint32_t trained_context; /* of the model: beyond it answers may get worse */
    bool has_kv;              /* models that see a whole text at once keep none */
    uint64_t weights_bytes, kv_bytes, scratch_bytes, logits_bytes, vocabulary_bytes, program_bytes;
    uint64_t draft_bytes, adapters_bytes, prompts_bytes, total_bytes;
    /* Of a queue (queue.h): the answers at once, and the pages that they have together. */
    uint32_t n_running, n_pages;
    uint64_t page_bytes;
};

/* Reads the header alone: no weights are touched. ERROR_LIMIT for a context or batch size beyond
 * what is possible; ERROR_UNSUPPORTED and ERROR_INPUT as model_config_read. With n_running: the
 * least that a queue can begin with, pages for one whole context (memory_plan_fill). */
bool memory_plan_make(const struct gguf *g, const struct engine_options *o, struct memory_plan *p,
                      struct error *e);

/* What may be taken: the less of the options' memory_bytes and what machine and control group have
 * left; SYSMEM_UNKNOWN: anything. */
uint64_t memory_plan_room(const struct engine_options *o, const struct sysmem *machine);
/* ERROR_MEMORY where the plan of these options does not fit, with the figures, whose limit it is,
 * and what would fit: another type of keys and values, a smaller context. */
bool memory_plan_check(const struct gguf *g, const struct engine_options *o,
                       const struct sysmem *machine, struct error *e);

/* Makes the plan that of a queue of n_running answers at once: pages for one whole context, and
 * what is there for each answer and for n_rows rows of logits (0: a row for each). Nothing for
 * models that keep no keys and values. */
void memory_plan_queue(struct memory_plan *p, const struct model_config *c, uint32_t n_running,
                       uint32_t n_rows);
/* Gives the plan of a queue as many pages as it will have: for n_running whole contexts, or for a
 * pass of short texts, within room_bytes and a quarter of the machine's memory. */
void memory_plan_fill(struct memory_plan *p, uint64_t room_bytes, const struct sysmem *machine);

/* The largest context of at most `most` tokens, a multiple of MODEL_PAGE_POSITIONS or `most`
 * itself, with which the plan is at most room_bytes; 0: none. Everything else as in o. */
uint32_t memory_plan_fit(const struct gguf *g, const struct engine_options *o, uint32_t most,
                         uint64_t room_bytes);

/* The most answers at once, at most o->n_running, with which the plan is at most room_bytes; 0: not
 * even with one, or the header is not to be planned for. */
uint32_t memory_plan_answers(const struct gguf *g, const struct engine_options *o,
                             uint64_t room_bytes);

/* "--memory allows 4.0 GiB", or what else memory_plan_room is the room of, where it is known.
 * Returns out. */
enum { MEMORY_WHOSE_BYTES = 128 };
const char *memory_plan_whose(const struct engine_options *o, const struct sysmem *machine,
                              char out[MEMORY_WHOSE_BYTES]);

/* Warns through base/log.h of a context that is longer than the model was trained for. */
void memory_plan_warn(const struct memory_plan *p, const char *name);

/* "weights 3.8 GiB, keys and values of 4096 tokens (f16) 512 MiB, working memory 50.1 MiB, program
 * and vocabulary 8.4 MiB", and "draft model 300 MiB, ", "adapters 12.0 MiB, " and "prompts 80.0
 * MiB, " before the program where there are some. Returns out. */
enum { MEMORY_PLAN_TEXT_BYTES = 384 };
const char *memory_plan_text(const struct memory_plan *p, char out[MEMORY_PLAN_TEXT_BYTES]);

#endif
