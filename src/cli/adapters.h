/* adapters.h: the adapters that --lora names. */
#ifndef LLLM_CLI_ADAPTERS_H
#define LLLM_CLI_ADAPTERS_H

#include "cli/options.h"
#include "base/digest.h"
#include "engine/engine.h"

enum { ADAPTERS_MAX_STRENGTH = 1000 };

struct adapter_list {
    struct model_adapter *loaded[MODEL_MAX_ADAPTERS];
    struct model_adapters use; /* n of them, for session_adapt */
};

/* Loads "FILE" or "FILE=X" each (X: the strength), files or folders, for the model of the engine,
 * which must outlive them. Close also after a failure. */
bool adapters_open(const struct string_list *arguments, const struct engine *en,
                   struct adapter_list *list, struct error *e);
void adapters_close(struct adapter_list *list);

/* The path in "FILE" or "FILE=X", the caller's, and the strength. A name that is there with its '='
 * is meant so. NULL: X is no strength. */
char *adapters_argument(const char *argument, float *strength, struct error *e);
/* What a file or folder will take in memory, at most, by its header: for memory_plan_make. */
bool adapters_size(const char *path, uint64_t *size_bytes, struct error *e);
/* Of all arguments together. */
bool adapters_sizes(const struct string_list *arguments, uint64_t *size_bytes, struct error *e);
/* One file or folder, for the model of the engine. Release with model_adapter_free. */
struct model_adapter *adapters_load(const char *path, const struct engine *en, struct error *e);
/* Which adapter it is, by its content. */
bool adapters_digest(const char *path, struct digest *digest, struct error *e);

/* What `lllm show` says of one: facts, or with `json` an object, the caller's. False where it is
 * damaged. */
bool adapters_show(const struct gguf *g, const char *name, struct error *e);
json_t *adapters_json(const struct gguf *g, const char *name, struct error *e);

#endif
