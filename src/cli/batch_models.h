/* batch_models.h: the models that answer the lines of `lllm batch`.
 *
 * Lines are data, and may come from anywhere: they name models and adapters, and the command line
 * alone says which files those names mean. A model is loaded (engine/shelf.h) when it is the turn
 * of its lines, and unloaded when they are done; as many are loaded side by side as --memory, or
 * the machine, has room for. */
#ifndef LLLM_CLI_BATCH_MODELS_H
#define LLLM_CLI_BATCH_MODELS_H

#include "cli/adapters.h"
#include "cli/models.h"
#include "cli/sampling_options.h"
#include "engine/model_digest.h"
#include "engine/plan.h"
#include "engine/queue.h"
#include "engine/shelf.h"

/* What the command line says about all models. */
struct batch_model_options {
    const struct common_options *common;
    const struct sampling_options *sampling;
    const char *chat_template, *system, *tools; /* of these two only whether they are there */
    const struct string_list *lora;             /* of the first model */
    const char *draft;                          /* for the first model, or NULL */
    bool lookup;                                /* for all */
    bool raw, thinking;
    uint32_t parallel;
    bool stays;             /* weights are not moved by themselves */
    uint64_t prompts_bytes; /* what the lines take */
    bool all;               /* there are no lines: all models count, each with all adapters */
};

/* A model that is loaded. */
struct batch_engine {
    struct engine *engine, *draft; /* draft: or NULL */
    struct queue *queue;
    struct sampling sampling; /* what options and file say; the seed is none of it */
    struct adapter_list adapters;
    struct model_adapter **modules; /* those of --lora-modules that lines have asked for */
    struct arena *arena;
    bool raw; /* texts are continued: it has no chat template, or --raw */
};

struct batch_model {
    struct model_source source;
    char digest[DIGEST_TEXT_BYTES]; /* of its content */
    struct error why;               /* why it cannot answer, known before it is loaded */
    struct memory_plan plan;
    uint32_t parallel;          /* answers at once; 0: as many as a queue has */
    bool *asks;                 /* [n_modules] the adapters that its lines name */
    uint64_t adapters_bytes;    /* of these, and of --lora */
    uint64_t budget_bytes;      /* what it may take while others are there */
    bool moves;                 /* its weights, because that pays for so many answers */
    uint64_t n_answers, n_long; /* to come of its lines, and of these (moving.h) */
    size_t *lines; /* [n_lines] those that it answers, in the order in which they begin */
    size_t n_lines, next, n_jobs, n_asked; /* n_asked: answers of its jobs */
    struct shelf_hold *hold;
    struct batch_engine *loaded; /* while it is held */
};

struct batch_module {
    char *name, *path;
    float strength;
};

struct batch_models {
    struct batch_model_options o;
    struct model_source draft; /* of o.draft */
    struct batch_model *items; /* the first is the one that lines need not name */
    size_t n;
    struct batch_name *names; /* and whom they mean */
    size_t n_names;
    struct batch_module *modules;
    size_t n_modules;
    size_t n_used, n_held, most_held; /* models that have lines, are loaded, were at once */
    struct shelf *shelf;
    struct pool *pool;   /* one for all: one of them computes at a time */
    uint64_t room_bytes; /* for all together */
};

/* `first`, and those of `more`: "MODEL" or "NAME=MODEL", several with commas between them. Lines
 * may use these spellings, and of paths the file's name with or without its ".gguf". modules:
 * "NAME=FILE" or "NAME=FILE=X" each. Nothing is loaded. Free also after a failure. */
bool batch_models_find(struct batch_models *m, const struct batch_model_options *o,
                       const char *first, const struct string_list *more,
                       const struct string_list *modules, struct error *e);
void batch_models_free(struct batch_models *m);

/* Whom a line means by "model". The name of an adapter means the first model with it: *module is
 * its index then, and n_modules otherwise. The sentence of a failure lists the names. */
bool batch_models_named(const struct batch_models *m, const char *name, size_t *model,
                        size_t *module, struct error *e);
/* The adapter of that name. */
bool batch_models_module(const struct batch_models *m, const char *name, size_t *module,
                         struct error *e);

/* Notes that a line of the model asks for adapters: the value of its "lora", or a text. */
void batch_models_ask(struct batch_models *m, size_t model, const json_t *lora);

/* When it is known which lines each model answers: looks at the headers of those that have some,
 * and divides the memory. One that can never fit, or has no header, has its `why`; where none is
 * left, that is an error, before anything else of any model is read. `digest` is made of those
 * with a header. */
bool batch_models_plan(struct batch_models *m, struct error *e);

/* batch_plan.c. Whose answers a draft model writes ahead. */
const struct model_source *batch_plan_draft(const struct batch_models *m,
                                            const struct batch_model *model);
/* What a model is opened with, and planned for. */
struct engine_options batch_plan_options(const struct batch_models *m,
                                         const struct batch_model *model);
/* Plans for those that have lines. */
bool batch_plan_all(struct batch_models *m, struct error *e);
/* Prints the plans; an error too where one does not fit. */
bool batch_plan_print(struct batch_models *m, struct error *e);

/* Whether there is room for it beside those that are held. */
bool batch_models_fits(const struct batch_models *m, const struct batch_model *model);
/* Loads a model and holds it; ERROR_CANCELLED where the user interrupts that. */
bool batch_models_take(struct batch_models *m, struct batch_model *model, struct error *e);
/* Unloads it. Nothing may use it any more. */
void batch_models_give(struct batch_models *m, struct batch_model *model);

/* The adapter of --lora-modules for a model that is loaded; NULL where it does not fit. */
const struct model_adapter *batch_engine_module(const struct batch_models *m,
                                                struct batch_engine *loaded, size_t module,
                                                struct error *e);

#endif
