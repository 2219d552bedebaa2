/* sampling_options.h: how tokens are chosen, as the commands that generate text are told it.
 *
 * The options of such a command begin with a struct common_options and a struct sampling_options,
 * and its row has `samples`: the parser then knows SAMPLING_OPTIONS, and the help text lists them.
 */
#ifndef LLLM_CLI_SAMPLING_OPTIONS_H
#define LLLM_CLI_SAMPLING_OPTIONS_H

#include "cli/options.h"
#include "engine/sampling.h"
#include "gguf/gguf.h"

/* Rows of the table; sampling_field has the numbers and the seed at the same places. */
enum sampling_row {
    SAMPLING_TEMP,
    SAMPLING_RANGE,
    SAMPLING_EXPONENT,
    SAMPLING_TOP_K,
    SAMPLING_TOP_P,
    SAMPLING_MIN_P,
    SAMPLING_TYPICAL,
    SAMPLING_SIGMA,
    SAMPLING_XTC_P,
    SAMPLING_XTC_T,
    SAMPLING_REPEAT,
    SAMPLING_PRESENCE,
    SAMPLING_FREQUENCY,
    SAMPLING_LAST_N,
    SAMPLING_DRY,
    SAMPLING_DRY_BASE,
    SAMPLING_DRY_LENGTH,
    SAMPLING_DRY_LAST_N,
    SAMPLING_MIROSTAT,
    SAMPLING_MIROSTAT_TAU,
    SAMPLING_MIROSTAT_ETA,
    SAMPLING_ADAPTIVE,
    SAMPLING_ADAPTIVE_DECAY,
    SAMPLING_SEED,
    SAMPLING_BREAKERS, /* the first that is no number */
};

struct sampling_options {
    struct sampling given;
    bool was_given[SAMPLING_BREAKERS]; /* by row */
    const char *samplers;
    struct string_list bias, breakers;
};

extern const struct option sampling_table[];

/* *s = the usual values, over them what the file recommends (g may be NULL: nothing), over them
 * what was given. A seed that was not given is drawn. Lists go to the arena. The texts among the
 * options are checked here: an ERROR_USAGE names the option. */
bool sampling_options_take(const struct sampling_options *o, const struct gguf *g,
                           struct arena *arena, struct sampling *s, struct error *e);

/* Appends the names of those given that change nothing where nothing is drawn ("--top-k, --seed");
 * false where there are none. Mirostat itself is not among them. */
bool sampling_options_list_idle(const struct sampling_options *o, struct buf *names);
/* Which were given: bits by row. */
uint32_t sampling_options_given(const struct sampling_options *o);
bool sampling_options_temperature_given(const struct sampling_options *o);
#define SAMPLING_OPTIONS_MAX_SEED (UINT64_C(1) << 53) /* whole in every program's JSON */
bool sampling_options_seed_given(const struct sampling_options *o);

#endif
