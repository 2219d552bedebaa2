/* batch_output.h: where the answers of `lllm batch` go, in the order of their prompts, and how a
 * run that was interrupted goes on.
 *
 * An output file appears whole when all is done. Until then each answer is appended to a journal
 * beside it (FILE.journal: a line that says what run it is of, then a line for each answer as it
 * comes), which the same command reads and goes on from; a last line that was torn by a crash is
 * cut off, others that cannot be read are passed over. Results are kept there and not in memory;
 * without a file, until they are told, which for one document is at the end. */
#ifndef LLLM_CLI_BATCH_OUTPUT_H
#define LLLM_CLI_BATCH_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct batch_output;

/* The name of the journal beside an output; the caller's. */
char *batch_output_journal(const char *path);
/* How many results such a journal has, whatever run it is of; 0 where there is none. */
size_t batch_output_journaled(const char *path);
/* path NULL: standard output, an object a line as soon as those before are there, or with `whole`
 * one document at the end. run (borrowed): the model and the options, which must be the same to go
 * on; digests[n] (borrowed): of the prompts, whose answers are taken from a journal where they
 * still are the same. *seed is that of the journal where there is one and `seed_given` is false. An
 * error where the journal is of another run (`force` begins anew then), in use by another process,
 * or a file that is no journal. */
struct batch_output *batch_output_open(const char *path, bool whole, size_t n, const json_t *run,
                                       const uint64_t *digests, bool seed_given, uint64_t *seed,
                                       bool force, struct error *e);
/* How many are there already, and which. */
size_t batch_output_count(const struct batch_output *o);
bool batch_output_has(const struct batch_output *o, size_t index);
/* Lines of the journal that could not be read: their answers are missing. */
size_t batch_output_unreadable(const struct batch_output *o);
/* Said before the result of a prompt comes: it is the error of this run, not of the prompt. It goes
 * into the output, and a run that goes on from the journal tries again. */
void batch_output_blame_run(struct batch_output *o, size_t index);
/* Takes the result of a prompt. ERROR_CANCELLED where standard output takes no more: that has been
 * said, or nobody wants to hear it. */
bool batch_output_put(struct batch_output *o, size_t index, json_t *result, struct error *e);
/* How many answers the results have: of one prompt there may be several, or none. */
size_t batch_output_answers(const struct batch_output *o);
/* How many results have an "error". */
size_t batch_output_errors(const struct batch_output *o);
/* Answers, of all results, that have not the form which was asked for ("form_complete"): ended by
 * --max-tokens or the context, by having no token to go on with, by a stop string. */
struct batch_ends {
    size_t n_cut, n_stuck, n_stopped;
};
struct batch_ends batch_output_ends(const struct batch_output *o);
/* All are there: {head..., "results": [...]}, or for a path in .jsonl a line each; the journal
 * goes. head: an object, taken. */
bool batch_output_finish(struct batch_output *o, json_t *head, struct error *e);
/* Not all will come: standard output gets those that wait for others, too, or the document with
 * those that are there. ERROR_CANCELLED as above. head: borrowed. */
bool batch_output_give_up(struct batch_output *o, const json_t *head, struct error *e);
/* Without batch_output_finish the journal stays. NULL is fine. */
void batch_output_close(struct batch_output *o);

#endif
