/* adapters.h: the adapters that --lora names. */
#ifndef LLLM_CLI_ADAPTERS_H
#define LLLM_CLI_ADAPTERS_H

#include "cli/options.h"
#include "engine/engine.h"

struct adapter_list {
    struct model_adapter *loaded[MODEL_MAX_ADAPTERS];
    struct model_adapters use; /* n of them, for session_adapt */
};

/* Loads "FILE" or "FILE=X" each (X: the strength), files or folders, for the model of the engine,
 * which must outlive them. Close also after a failure. */
bool adapters_open(const struct string_list *arguments, const struct engine *en,
                   struct adapter_list *list, struct error *e);
void adapters_close(struct adapter_list *list);

/* What `lllm show` says of one: facts, or with `json` an object, the caller's. False where it is
 * damaged. */
bool adapters_show(const struct gguf *g, const char *name, struct error *e);
json_t *adapters_json(const struct gguf *g, const char *name, struct error *e);

#endif
