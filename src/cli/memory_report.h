/* memory_report.h: plans of memory (engine/plan.h) for people and programs. */
#ifndef LLLM_CLI_MEMORY_REPORT_H
#define LLLM_CLI_MEMORY_REPORT_H

#include <jansson.h>

#include "engine/plan.h"

/* Prints the plan of one start, with what the machine has, as `lllm run --plan` shows it. */
void memory_report_plan(const struct memory_plan *p, const struct engine_options *o,
                        const struct sysmem *machine);
/* Prints plans for several contexts and all types of keys and values, as `lllm show --memory` shows
 * them: those of the options, or powers of four from 512 on and the trained length. Everything else
 * is as in o. False with a sentence where the model cannot be planned for. */
bool memory_report_table(const struct gguf *g, const struct engine_options *o, struct error *e);

/* The same as JSON; NULL with a sentence. */
json_t *memory_report_plan_json(const struct memory_plan *p, const struct engine_options *o,
                                const struct sysmem *machine);
json_t *memory_report_table_json(const struct gguf *g, const struct engine_options *o,
                                 struct error *e);

/* The contexts of a table: *context is 0 before the first; false behind the last, the trained
 * length. */
bool memory_report_next(const struct model_config *c, uint32_t *context);

#endif
