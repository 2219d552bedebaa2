/* models.h: what a model argument means, and which models are here.
 *
 *   starter          the model inside the program
 *   a path           a .gguf file, any of the files of a model in several
 *                    (NAME-00001-of-00003.gguf), or a Hugging Face folder (with config.json)
 *   any other name   NAME or NAME.gguf, or the parts of NAME, in the models folder:
 *                    $LLLM_HOME/models, or $XDG_CACHE_HOME/lllm-lab/models, or
 *                    ~/.cache/lllm-lab/models
 */
#ifndef LLLM_CLI_MODELS_H
#define LLLM_CLI_MODELS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"
#include "engine/engine.h"
#include "gguf/gguf.h"

#define MODELS_STARTER "starter"

struct model_source {
    char *name;       /* as it is shown */
    char *path;       /* NULL: built in */
    const void *data; /* of a built-in model, 64-byte aligned */
    uint64_t size_bytes;
};

/* The sentence of a failure says where was looked and what to do. */
bool models_find(const char *argument, struct model_source *s, struct error *e);
void models_release(struct model_source *s);
/* Whether an argument is spelled as a path: with a slash, or a name in .gguf. */
bool models_is_path(const char *argument);
/* Whether a lone argument of `lllm run` is meant as a model rather than a prompt: the model or path
 * exists, or it is spelled as a path without blanks, or as a model in other letter case. */
bool models_is_model(const char *argument);

struct gguf *models_open_gguf(const struct model_source *s, struct error *e);
/* With the tensors that a file is to have: a folder's experts are stacked. */
struct gguf *models_open_to_write(const struct model_source *s, struct error *e);
/* What the common options say to the engine. */
struct engine_options models_engine_options(const struct common_options *o);
/* A model with a draft model beside it, on its threads, which it must outlive; *draft is NULL where
 * d is. The plan of the first counts both, and n_sessions texts that are written ahead at once, and
 * is refused before either is loaded. On a failure both are NULL. */
struct engine *models_open_pair(const struct model_source *s, const struct model_source *d,
                                uint32_t n_sessions, const struct engine_options *o,
                                struct engine **draft, struct error *e);
struct engine *models_open_engine(const struct model_source *s, const struct common_options *o,
                                  struct error *e);
struct engine *models_open_engine_as(const struct model_source *s, const struct engine_options *how,
                                     struct error *e);

/* The folder, whether it exists or not; NULL where no home is known. Release with free(). */
char *models_folder(void);
/* A folder of this program below XDG_*_HOME: $LLLM_HOME/sub, or $variable/lllm-lab/sub, or
 * ~/fallback/lllm-lab/sub. */
char *models_user_path(const char *variable, const char *fallback, const char *sub);

/* The built-in model, if this build has one, and the .gguf files of the folder, by name. */
struct model_source *models_list(size_t *n);
void models_list_free(struct model_source *list, size_t n);

/* Puts "PATH: " in front of a sentence that does not name the file yet. */
void models_name_in_error(struct error *e, const char *name);

#endif
