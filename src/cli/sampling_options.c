#include "cli/sampling_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/sampling_notes.h"

/* How the options of a command that samples begin. */
struct sampled_options {
    struct common_options common;
    struct sampling_options sampling;
};

#define GIVEN(member) offsetof(struct sampled_options, sampling.given.member)
#define WAS(row)      (offsetof(struct sampled_options, sampling.was_given) + (row) * sizeof(bool))
#define OTHER(member) offsetof(struct sampled_options, sampling.member)

/* Those before SAMPLING_BREAKERS are numbers of struct sampling. */
const struct option sampling_table[] = {
    [SAMPLING_TEMP] =
        {"temp", 0, OPTION_FLOAT, "X",
         "temperature: below 1 the likely become likelier, 0: always the likeliest (default: "
         "what the file recommends, or 0.8)",
         GIVEN(temperature), 0, 100, WAS(SAMPLING_TEMP)},
    [SAMPLING_RANGE] =
        {"dynatemp-range", 0, OPTION_FLOAT, "X",
         "the temperature goes from --temp - X to --temp + X, the higher the less sure the "
         "model is; 0: fixed (default 0)",
         GIVEN(temperature_range), 0, 100, WAS(SAMPLING_RANGE)},
    [SAMPLING_EXPONENT] = {"dynatemp-exp", 0, OPTION_FLOAT, "X",
                           "how late it rises: above 1 later (default 1)",
                           GIVEN(temperature_exponent), 0, 100, WAS(SAMPLING_EXPONENT)},
    [SAMPLING_TOP_K] = {"top-k", 0, OPTION_U32, "N",
                        "draw among the N likeliest; 0: off (default 40)", GIVEN(top_k), 0, 1 << 24,
                        WAS(SAMPLING_TOP_K)},
    [SAMPLING_TOP_P] =
        {"top-p", 0, OPTION_FLOAT, "X",
         "draw among the likeliest that sum to X; 0: the likeliest alone, 1: off (default "
         "0.95)",
         GIVEN(top_p), 0, 1, WAS(SAMPLING_TOP_P)},
    [SAMPLING_MIN_P] = {"min-p", 0, OPTION_FLOAT, "X",
                        "drop tokens below X times the likeliest; 0: off (default 0.05)",
                        GIVEN(min_p), 0, 1, WAS(SAMPLING_MIN_P)},
    [SAMPLING_TYPICAL] =
        {"typical", 0, OPTION_FLOAT, "X",
         "draw among those that sum to X and surprise about as much as the model expects; "
         "1: off (default 1)",
         GIVEN(typical_p), 0, 1, WAS(SAMPLING_TYPICAL)},
    [SAMPLING_SIGMA] =
        {"top-n-sigma", 0, OPTION_FLOAT, "X",
         "drop logits more than X deviations below the highest; 0: off (default 0; 1 is "
         "usual)",
         GIVEN(top_n_sigma), 0, 1000, WAS(SAMPLING_SIGMA)},
    [SAMPLING_XTC_P] =
        {"xtc-probability", 0, OPTION_FLOAT, "X",
         "with this chance drop the likeliest tokens but the last above the threshold, for "
         "livelier texts; 0: off (default 0; 0.5 is usual)",
         GIVEN(xtc_probability), 0, 1, WAS(SAMPLING_XTC_P)},
    [SAMPLING_XTC_T] = {"xtc-threshold", 0, OPTION_FLOAT, "X",
                        "how probable such tokens are; above 0.5: none (default 0.1)",
                        GIVEN(xtc_threshold), 0, 1, WAS(SAMPLING_XTC_T)},
    [SAMPLING_REPEAT] =
        {"repeat-penalty", 0, OPTION_FLOAT, "X",
         "divide the logits of recent tokens by X (multiply, where negative); 1: off "
         "(default 1; 1.1 is usual)",
         GIVEN(repeat_penalty), 0.01, 100, WAS(SAMPLING_REPEAT)},
    [SAMPLING_PRESENCE] = {"presence-penalty", 0, OPTION_FLOAT, "X",
                           "take X off the logits of recent tokens (default 0)",
                           GIVEN(presence_penalty), -100, 100, WAS(SAMPLING_PRESENCE)},
    [SAMPLING_FREQUENCY] = {"frequency-penalty", 0, OPTION_FLOAT, "X",
                            "the same for each time that they occur (default 0)",
                            GIVEN(frequency_penalty), -100, 100, WAS(SAMPLING_FREQUENCY)},
    [SAMPLING_LAST_N] = {"repeat-last-n", 0, OPTION_INT, "N",
                         "how many tokens are recent, the prompt's too; -1: all (default 64)",
                         GIVEN(repeat_last_n), -1, 1 << 24, WAS(SAMPLING_LAST_N)},
    [SAMPLING_DRY] =
        {"dry-multiplier", 0, OPTION_FLOAT, "X",
         "discourage tokens that continue a sequence that was there before, by X times base to "
         "the power of its length over the allowed one; 0: off (default 0; 0.8 is usual)",
         GIVEN(dry_multiplier), 0, 100, WAS(SAMPLING_DRY)},
    [SAMPLING_DRY_BASE] = {"dry-base", 0, OPTION_FLOAT, "X", "the base (default 1.75)",
                           GIVEN(dry_base), 1, 100, WAS(SAMPLING_DRY_BASE)},
    [SAMPLING_DRY_LENGTH] = {"dry-allowed-length", 0, OPTION_U32, "N",
                             "shorter repetitions are free (default 2)", GIVEN(dry_allowed_length),
                             0, 1 << 24, WAS(SAMPLING_DRY_LENGTH)},
    [SAMPLING_DRY_LAST_N] = {"dry-penalty-last-n", 0, OPTION_INT, "N",
                             "how far back they are looked for; -1: everywhere (default -1)",
                             GIVEN(dry_last_n), -1, 1 << 24, WAS(SAMPLING_DRY_LAST_N)},
    [SAMPLING_MIROSTAT] =
        {"mirostat", 0, OPTION_U32, "N",
         "1 or 2: hold the surprise of the text at a target, in place of the cuts (top-k, "
         "top-p, ...); 0: off (default 0)",
         GIVEN(mirostat), 0, 2, WAS(SAMPLING_MIROSTAT)},
    [SAMPLING_MIROSTAT_TAU] = {"mirostat-ent", 0, OPTION_FLOAT, "X",
                               "the target, in bits (default 5)", GIVEN(mirostat_tau), 0, 100,
                               WAS(SAMPLING_MIROSTAT_TAU)},
    [SAMPLING_MIROSTAT_ETA] = {"mirostat-lr", 0, OPTION_FLOAT, "X",
                               "how quickly it adapts (default 0.1)", GIVEN(mirostat_eta), 0, 1,
                               WAS(SAMPLING_MIROSTAT_ETA)},
    [SAMPLING_ADAPTIVE] =
        {"adaptive-target", 0, OPTION_FLOAT, "X",
         "prefer tokens whose probability is near X; 0: off (default 0; goes best with "
         "--min-p alone)",
         GIVEN(adaptive_target), 0, 1, WAS(SAMPLING_ADAPTIVE)},
    [SAMPLING_ADAPTIVE_DECAY] = {"adaptive-decay", 0, OPTION_FLOAT, "X",
                                 "how long what was drawn moves the target (default 0.9)",
                                 GIVEN(adaptive_decay), 0, 0.99, WAS(SAMPLING_ADAPTIVE_DECAY)},
    [SAMPLING_SEED] = {"seed", 0, OPTION_U64, "N",
                       "of the random numbers (default: another one each time)", GIVEN(seed), 0,
                       (double)SAMPLING_OPTIONS_MAX_SEED, WAS(SAMPLING_SEED)},
    [SAMPLING_BREAKERS] =
        {"dry-sequence-breaker", 0, OPTION_STRINGS, "TEXT",
         "no repetition goes across this text (may be repeated; none: across all; default: "
         "newline, colon, quote, asterisk)",
         OTHER(breakers), 0, 0, 0},
    {"logit-bias", 0, OPTION_STRINGS, "ID+X",
     "add X to the logit of a token (ID-X: take it off, ID-inf: never; may be repeated; lllm "
     "tokenize shows ids)",
     OTHER(bias), 0, 0, 0},
    {"samplers", 0, OPTION_STRING, "NAMES",
     "which samplers there are, and their order; those not named are off (temperature 0 stays "
     "greedy; default: "
     "penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature, adaptive_p)",
     OTHER(samplers), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

/* Below 2^53, so that every JSON reader keeps it. */
static uint64_t draw_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint64_t)(time_now_s() * 1e9) ^ (uint64_t)getpid() << 32;
    }
    return seed >> 12; /* room for those that follow in a batch */
}

static size_t size_of(enum option_type type)
{
    return type == OPTION_U64 ? sizeof(uint64_t) : sizeof(uint32_t);
}

/* "15+1.5", "15-1", "15-inf" */
static bool read_bias(const char *text, struct logit_bias *b)
{
    char *end;
    size_t digits = strspn(text, "0123456789");
    const char *sign = text + digits;
    if (digits == 0 || digits > 9 || (*sign != '+' && *sign != '-')) {
        return false;
    }
    double x = strtod(sign, &end);
    b->id = (int32_t)strtol(text, NULL, 10);
    b->bias = (float)x;
    return end != sign && !*end && !isnan(x) && x <= 1e30 &&
           strspn(sign + 1, "0123456789.einf-+") == strlen(sign + 1);
}

static bool take_bias(const struct sampling_options *o, struct arena *arena, struct sampling *s,
                      struct error *e)
{
    struct logit_bias *list = arena_alloc(arena, (o->bias.n + 1) * sizeof *list);
    for (size_t i = 0; i < o->bias.n; i++) {
        if (!read_bias(o->bias.items[i], &list[i])) {
            return error_set(
                e, ERROR_USAGE,
                "--logit-bias takes a token id and a number with its sign, like 15+1.5 "
                "or 15-inf, not \"%.60s\"",
                o->bias.items[i]);
        }
    }
    s->bias = list;
    s->n_bias = o->bias.n;
    return true;
}

static void take_breakers(const struct sampling_options *o, struct sampling *s)
{
    if (o->breakers.n) {
        bool none = o->breakers.n == 1 && strcmp(o->breakers.items[0], "none") == 0;
        s->dry_breakers = o->breakers.items;
        s->n_dry_breakers = none ? 0 : o->breakers.n;
    }
}

bool sampling_options_take(const struct sampling_options *o, const struct gguf *g,
                           struct arena *arena, struct sampling *s, struct error *e)
{
    sampling_defaults(s);
    if (g) {
        sampling_recommended(g, s);
    }
    for (size_t row = 0; row < SAMPLING_BREAKERS; row++) {
        if (o->was_given[row]) {
            size_t at = sampling_table[row].offset - OTHER(given);
            memcpy((char *)s + at, (const char *)&o->given + at, size_of(sampling_table[row].type));
        }
    }
    if (!o->was_given[SAMPLING_SEED]) {
        s->seed = draw_seed();
    }
    take_breakers(o, s);
    if (!take_bias(o, arena, s, e)) {
        return false;
    }
    if (o->samplers && !sampling_parse_order(o->samplers, s, e)) {
        return error_prefix(e, "--samplers: ");
    }
    return sampling_check(s, 0, e);
}

bool sampling_options_temperature_given(const struct sampling_options *o)
{
    return o->was_given[SAMPLING_TEMP];
}

bool sampling_options_seed_given(const struct sampling_options *o)
{
    return o->was_given[SAMPLING_SEED];
}

uint32_t sampling_options_given(const struct sampling_options *o)
{
    uint32_t given = o->breakers.n ? UINT32_C(1) << SAMPLING_BREAKERS : 0;
    for (uint32_t row = 0; row < SAMPLING_BREAKERS; row++) {
        given |= o->was_given[row] ? UINT32_C(1) << row : 0;
    }
    return given;
}

bool sampling_options_list_idle(const struct sampling_options *o, struct buf *names)
{
    uint32_t idle = sampling_options_given(o) & sampling_notes_idle_rows();
    for (uint32_t row = 0, n = 0; row <= SAMPLING_BREAKERS; row++) {
        if (idle >> row & 1) {
            buf_printf(names, "%s--%s", n++ ? ", " : "", sampling_table[row].name);
        }
    }
    return idle != 0;
}
