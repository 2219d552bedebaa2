#include "cli/sampling_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/term.h"

/* How the options of a command that samples begin. */
struct sampled_options {
    struct common_options common;
    struct sampling_options sampling;
};

enum {
    TEMP,
    RANGE,
    EXPONENT,
    TOP_K,
    TOP_P,
    MIN_P,
    TYPICAL,
    SIGMA,
    XTC_P,
    XTC_T,
    REPEAT,
    PRESENCE,
    FREQUENCY,
    LAST_N,
    DRY,
    DRY_BASE,
    DRY_LENGTH,
    DRY_LAST_N,
    MIROSTAT,
    MIROSTAT_TAU,
    MIROSTAT_ETA,
    ADAPTIVE,
    ADAPTIVE_DECAY,
    SEED,
    N_ROWS,
};
_Static_assert((int)N_ROWS <= (int)SAMPLING_OPTIONS_MOST, "a bool for each");

#define GIVEN(member) offsetof(struct sampled_options, sampling.given.member)
#define WAS(row)      (offsetof(struct sampled_options, sampling.was_given) + (row) * sizeof(bool))
#define OTHER(member) offsetof(struct sampled_options, sampling.member)

/* The first N_ROWS are numbers of struct sampling. */
const struct option sampling_table[] = {
    [TEMP] = {"temp", 0, OPTION_FLOAT, "X",
              "temperature: below 1 the likely become likelier, 0: always the likeliest (default: "
              "what the file recommends, or 0.8)",
              GIVEN(temperature), 0, 100, WAS(TEMP)},
    [RANGE] = {"dynatemp-range", 0, OPTION_FLOAT, "X",
               "the temperature goes from --temp - X to --temp + X, the higher the less sure the "
               "model is; 0: fixed (default 0)",
               GIVEN(temperature_range), 0, 100, WAS(RANGE)},
    [EXPONENT] = {"dynatemp-exp", 0, OPTION_FLOAT, "X",
                  "how late it rises: above 1 later (default 1)", GIVEN(temperature_exponent), 0,
                  100, WAS(EXPONENT)},
    [TOP_K] = {"top-k", 0, OPTION_U32, "N", "draw among the N likeliest; 0: off (default 40)",
               GIVEN(top_k), 0, 1 << 24, WAS(TOP_K)},
    [TOP_P] = {"top-p", 0, OPTION_FLOAT, "X",
               "draw among the likeliest that sum to X; 0: the likeliest alone, 1: off (default "
               "0.95)",
               GIVEN(top_p), 0, 1, WAS(TOP_P)},
    [MIN_P] = {"min-p", 0, OPTION_FLOAT, "X",
               "drop tokens below X times the likeliest; 0: off (default 0.05)", GIVEN(min_p), 0, 1,
               WAS(MIN_P)},
    [TYPICAL] = {"typical", 0, OPTION_FLOAT, "X",
                 "draw among those that sum to X and surprise about as much as the model expects; "
                 "1: off (default 1)",
                 GIVEN(typical_p), 0, 1, WAS(TYPICAL)},
    [SIGMA] = {"top-n-sigma", 0, OPTION_FLOAT, "X",
               "drop logits more than X deviations below the highest; 0: off (default 0; 1 is "
               "usual)",
               GIVEN(top_n_sigma), 0, 1000, WAS(SIGMA)},
    [XTC_P] = {"xtc-probability", 0, OPTION_FLOAT, "X",
               "with this chance drop the likeliest tokens but the last above the threshold, for "
               "livelier texts; 0: off (default 0; 0.5 is usual)",
               GIVEN(xtc_probability), 0, 1, WAS(XTC_P)},
    [XTC_T] = {"xtc-threshold", 0, OPTION_FLOAT, "X",
               "how probable such tokens are; above 0.5: none (default 0.1)", GIVEN(xtc_threshold),
               0, 1, WAS(XTC_T)},
    [REPEAT] = {"repeat-penalty", 0, OPTION_FLOAT, "X",
                "divide the logits of recent tokens by X (multiply, where negative); 1: off "
                "(default 1; 1.1 is usual)",
                GIVEN(repeat_penalty), 0.01, 100, WAS(REPEAT)},
    [PRESENCE] = {"presence-penalty", 0, OPTION_FLOAT, "X",
                  "take X off the logits of recent tokens (default 0)", GIVEN(presence_penalty),
                  -100, 100, WAS(PRESENCE)},
    [FREQUENCY] = {"frequency-penalty", 0, OPTION_FLOAT, "X",
                   "the same for each time that they occur (default 0)", GIVEN(frequency_penalty),
                   -100, 100, WAS(FREQUENCY)},
    [LAST_N] = {"repeat-last-n", 0, OPTION_INT, "N",
                "how many tokens are recent, the prompt's too; -1: all (default 64)",
                GIVEN(repeat_last_n), -1, 1 << 24, WAS(LAST_N)},
    [DRY] = {"dry-multiplier", 0, OPTION_FLOAT, "X",
             "discourage tokens that continue a sequence that was there before, by X times base to "
             "the power of its length over the allowed one; 0: off (default 0; 0.8 is usual)",
             GIVEN(dry_multiplier), 0, 100, WAS(DRY)},
    [DRY_BASE] = {"dry-base", 0, OPTION_FLOAT, "X", "the base (default 1.75)", GIVEN(dry_base), 1,
                  100, WAS(DRY_BASE)},
    [DRY_LENGTH] = {"dry-allowed-length", 0, OPTION_U32, "N",
                    "shorter repetitions are free (default 2)", GIVEN(dry_allowed_length), 0,
                    1 << 24, WAS(DRY_LENGTH)},
    [DRY_LAST_N] = {"dry-penalty-last-n", 0, OPTION_INT, "N",
                    "how far back they are looked for; -1: everywhere (default -1)",
                    GIVEN(dry_last_n), -1, 1 << 24, WAS(DRY_LAST_N)},
    [MIROSTAT] = {"mirostat", 0, OPTION_U32, "N",
                  "1 or 2: hold the surprise of the text at a target, in place of the cuts (top-k, "
                  "top-p, ...); 0: off (default 0)",
                  GIVEN(mirostat), 0, 2, WAS(MIROSTAT)},
    [MIROSTAT_TAU] = {"mirostat-ent", 0, OPTION_FLOAT, "X", "the target, in bits (default 5)",
                      GIVEN(mirostat_tau), 0, 100, WAS(MIROSTAT_TAU)},
    [MIROSTAT_ETA] = {"mirostat-lr", 0, OPTION_FLOAT, "X", "how quickly it adapts (default 0.1)",
                      GIVEN(mirostat_eta), 0, 1, WAS(MIROSTAT_ETA)},
    [ADAPTIVE] = {"adaptive-target", 0, OPTION_FLOAT, "X",
                  "prefer tokens whose probability is near X; 0: off (default 0; goes best with "
                  "--min-p alone)",
                  GIVEN(adaptive_target), 0, 1, WAS(ADAPTIVE)},
    [ADAPTIVE_DECAY] = {"adaptive-decay", 0, OPTION_FLOAT, "X",
                        "how long what was drawn moves the target (default 0.9)",
                        GIVEN(adaptive_decay), 0, 0.99, WAS(ADAPTIVE_DECAY)},
    [SEED] = {"seed", 0, OPTION_U64, "N", "of the random numbers (default: another one each time)",
              GIVEN(seed), 0, (double)SAMPLING_OPTIONS_MAX_SEED, WAS(SEED)},
    [N_ROWS] = {"dry-sequence-breaker", 0, OPTION_STRINGS, "TEXT",
                "no repetition goes across this text (may be repeated; none: across all; default: "
                "newline, colon, quote, asterisk)",
                OTHER(breakers), 0, 0, 0},
    {"logit-bias", 0, OPTION_STRINGS, "ID+X",
     "add X to the logit of a token (ID-X: take it off, ID-inf: never; may be repeated; lllm "
     "tokenize shows ids)",
     OTHER(bias), 0, 0, 0},
    {"samplers", 0, OPTION_STRING, "NAMES",
     "which samplers there are, and their order (default: "
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
    for (size_t row = 0; row < N_ROWS; row++) {
        if (o->was_given[row]) {
            size_t at = sampling_table[row].offset - OTHER(given);
            memcpy((char *)s + at, (const char *)&o->given + at, size_of(sampling_table[row].type));
        }
    }
    if (!o->was_given[SEED]) {
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
    return o->was_given[TEMP];
}

bool sampling_options_seed_given(const struct sampling_options *o)
{
    return o->was_given[SEED];
}

/* What cuts or weighs what there is to draw from; of a draw's luck, the seed. XTC and typical-p may
 * cut the likeliest, too. */
bool sampling_options_list_idle(const struct sampling_options *o, struct buf *names)
{
    static const uint8_t rows[] = {EXPONENT,     TOP_K,        TOP_P,    MIN_P,          SIGMA,
                                   MIROSTAT_TAU, MIROSTAT_ETA, ADAPTIVE, ADAPTIVE_DECAY, SEED};
    size_t n = 0;
    for (size_t i = 0; i < sizeof rows; i++) {
        if (o->was_given[rows[i]]) {
            buf_printf(names, "%s--%s", n++ ? ", " : "", sampling_table[rows[i]].name);
        }
    }
    return n > 0;
}

void sampling_options_note_idle(const struct sampling_options *o, const struct sampling *s)
{
    struct buf names;
    buf_init(&names, 1 << 12);
    bool greedy = s->temperature <= 0 && s->temperature_range <= 0 && s->n_order == 0 &&
                  s->xtc_probability <= 0 && (s->typical_p <= 0 || s->typical_p >= 1);
    if (greedy && (sampling_options_list_idle(o, &names) || o->was_given[MIROSTAT])) {
        if (o->was_given[MIROSTAT]) {
            buf_printf(&names, "%s--%s", names.len ? ", " : "", sampling_table[MIROSTAT].name);
        }
        bool several = strchr(names.data, ',') != NULL;
        term_message("the temperature is 0%s, so the likeliest token is taken each time and %s "
                     "change%s nothing",
                     o->was_given[TEMP] ? "" : " (which the file recommends; --temp sets another)",
                     names.data, several ? "" : "s");
    }
    buf_free(&names);
}
