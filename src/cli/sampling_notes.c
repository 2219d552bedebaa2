#include "cli/sampling_notes.h"

#include "cli/term.h"

#define BIT(row) (UINT32_C(1) << (row))

enum { NO_PARENT = -1, MAX_BYTES = 1 << 12 };

/* The sampler that a row is about (N_SAMPLERS: none of the order), and the row that switches it on
 * where it is a part of it. */
static const struct {
    uint8_t sampler;
    int8_t parent;
} about[] = {
    [SAMPLING_TEMP] = {SAMPLER_TEMPERATURE, NO_PARENT},
    [SAMPLING_RANGE] = {SAMPLER_TEMPERATURE, NO_PARENT},
    [SAMPLING_EXPONENT] = {SAMPLER_TEMPERATURE, SAMPLING_RANGE},
    [SAMPLING_TOP_K] = {SAMPLER_TOP_K, NO_PARENT},
    [SAMPLING_TOP_P] = {SAMPLER_TOP_P, NO_PARENT},
    [SAMPLING_MIN_P] = {SAMPLER_MIN_P, NO_PARENT},
    [SAMPLING_TYPICAL] = {SAMPLER_TYPICAL, NO_PARENT},
    [SAMPLING_SIGMA] = {SAMPLER_TOP_N_SIGMA, NO_PARENT},
    [SAMPLING_XTC_P] = {SAMPLER_XTC, NO_PARENT},
    [SAMPLING_XTC_T] = {SAMPLER_XTC, SAMPLING_XTC_P},
    [SAMPLING_REPEAT] = {SAMPLER_PENALTIES, NO_PARENT},
    [SAMPLING_PRESENCE] = {SAMPLER_PENALTIES, NO_PARENT},
    [SAMPLING_FREQUENCY] = {SAMPLER_PENALTIES, NO_PARENT},
    [SAMPLING_LAST_N] = {SAMPLER_PENALTIES, SAMPLING_REPEAT},
    [SAMPLING_DRY] = {SAMPLER_DRY, NO_PARENT},
    [SAMPLING_DRY_BASE] = {SAMPLER_DRY, SAMPLING_DRY},
    [SAMPLING_DRY_LENGTH] = {SAMPLER_DRY, SAMPLING_DRY},
    [SAMPLING_DRY_LAST_N] = {SAMPLER_DRY, SAMPLING_DRY},
    [SAMPLING_MIROSTAT] = {N_SAMPLERS, NO_PARENT},
    [SAMPLING_MIROSTAT_TAU] = {N_SAMPLERS, SAMPLING_MIROSTAT},
    [SAMPLING_MIROSTAT_ETA] = {N_SAMPLERS, SAMPLING_MIROSTAT},
    [SAMPLING_ADAPTIVE] = {SAMPLER_ADAPTIVE_P, NO_PARENT},
    [SAMPLING_ADAPTIVE_DECAY] = {SAMPLER_ADAPTIVE_P, SAMPLING_ADAPTIVE},
    [SAMPLING_SEED] = {N_SAMPLERS, NO_PARENT},
    [SAMPLING_BREAKERS] = {SAMPLER_DRY, SAMPLING_DRY},
};

/* Whether what the row switches on is on. Parts of something are as on as that is. */
static bool is_on(const struct sampling *s, enum sampling_row row)
{
    switch (row) {
    case SAMPLING_TEMP:
        return s->temperature != 1;
    case SAMPLING_RANGE:
        return s->temperature_range > 0;
    case SAMPLING_TOP_K:
        return s->top_k > 0;
    case SAMPLING_TOP_P:
        return s->top_p < 1;
    case SAMPLING_MIN_P:
        return s->min_p > 0;
    case SAMPLING_TYPICAL:
        return s->typical_p > 0 && s->typical_p < 1;
    case SAMPLING_SIGMA:
        return s->top_n_sigma > 0;
    case SAMPLING_XTC_P:
        return s->xtc_probability > 0;
    case SAMPLING_REPEAT:
        return s->repeat_penalty != 1;
    case SAMPLING_PRESENCE:
        return s->presence_penalty != 0;
    case SAMPLING_FREQUENCY:
        return s->frequency_penalty != 0;
    case SAMPLING_DRY:
        return s->dry_multiplier > 0;
    case SAMPLING_MIROSTAT:
        return s->mirostat > 0;
    case SAMPLING_ADAPTIVE:
        return s->adaptive_target > 0;
    default:
        return true;
    }
}

static bool parent_is_on(const struct sampling *s, enum sampling_row parent)
{
    return is_on(s, parent) || (parent == SAMPLING_REPEAT &&
                                (is_on(s, SAMPLING_PRESENCE) || is_on(s, SAMPLING_FREQUENCY)));
}

/* The fields have the bias before the breakers, the options behind them. */
static const char *field_of(enum sampling_row row)
{
    return row == SAMPLING_BREAKERS ? "dry_sequence_breakers" : sampling_field(row);
}

static void add_name(enum sampling_row row, bool field, struct buf *out)
{
    if (field) {
        buf_printf(out, "\"%s\"", field_of(row));
    } else {
        buf_printf(out, "--%s", sampling_table[row].name);
    }
}

/* "--top-k, --seed change nothing", behind what stands there already. */
static void add_idle(const struct sampling_notes *n, uint32_t rows, struct buf *out)
{
    uint32_t count = 0;
    for (uint32_t row = 0; row <= SAMPLING_BREAKERS; row++) {
        if (rows & BIT(row)) {
            buf_append_str(out, count++ ? ", " : "");
            add_name(row, n->fields & BIT(row), out);
        }
    }
    buf_append_str(out, count == 1 ? " changes nothing" : " change nothing");
}

/* What cuts or weighs what there is to draw from; of a draw's luck, the seed. XTC and typical-p may
 * cut the likeliest, too. */
uint32_t sampling_notes_idle_rows(void)
{
    return BIT(SAMPLING_EXPONENT) | BIT(SAMPLING_TOP_K) | BIT(SAMPLING_TOP_P) |
           BIT(SAMPLING_MIN_P) | BIT(SAMPLING_SIGMA) | BIT(SAMPLING_MIROSTAT_TAU) |
           BIT(SAMPLING_MIROSTAT_ETA) | BIT(SAMPLING_ADAPTIVE) | BIT(SAMPLING_ADAPTIVE_DECAY) |
           BIT(SAMPLING_SEED);
}

bool sampling_notes_greedy(const struct sampling_notes *n, struct buf *out)
{
    uint32_t idle = n->given & (sampling_notes_idle_rows() | BIT(SAMPLING_MIROSTAT));
    if (!idle || !sampling_is_greedy(n->how)) {
        return false;
    }
    buf_printf(out, "the temperature is 0%s, so the likeliest token is taken each time and ",
               n->given & BIT(SAMPLING_TEMP) ? ""
                                             : " (which the file recommends; --temp sets another)");
    add_idle(n, idle, out);
    return true;
}

static bool is_one(uint32_t rows)
{
    return (rows & (rows - 1)) == 0;
}

static void add_left_out(const struct sampling_notes *n, uint32_t rows, struct buf *out)
{
    add_idle(n, rows, out);
    const char *which = is_one(rows) ? "its sampler" : "their samplers";
    if (n->order) {
        buf_printf(out, ", because %s leaves %s out", n->order, which);
    } else {
        buf_printf(out,
                   ", because the order that the file recommends leaves %s out (--samplers sets "
                   "another)",
                   which);
    }
}

static void add_without(const struct sampling_notes *n, uint32_t rows, enum sampling_row parent,
                        struct buf *out)
{
    bool field = rows & n->fields;
    add_idle(n, rows, out);
    buf_append_str(out, " without ");
    add_name(parent, field, out);
    if (parent == SAMPLING_REPEAT) {
        buf_append_str(out, ", ");
        add_name(SAMPLING_PRESENCE, field, out);
        buf_append_str(out, " or ");
        add_name(SAMPLING_FREQUENCY, field, out);
    }
}

/* Between reasons. */
static struct buf *next(struct buf *out, bool *any)
{
    buf_append_str(out, *any ? "; " : "");
    *any = true;
    return out;
}

bool sampling_notes_unused(const struct sampling_notes *n, struct buf *out)
{
    const struct sampling *s = n->how;
    uint32_t left_out = 0, replaced = 0, without[SAMPLING_BREAKERS] = {0};
    bool any = false;
    for (uint32_t row = 0; row <= SAMPLING_BREAKERS; row++) {
        int parent = about[row].parent;
        enum sampler_kind sampler = about[row].sampler;
        bool promised = row == SAMPLING_TEMP && s->temperature <= 0; /* greedy in any order */
        bool cut = sampler != SAMPLER_PENALTIES && sampler != SAMPLER_DRY &&
                   sampler != SAMPLER_TEMPERATURE;
        if (!(n->given & BIT(row)) || !is_on(s, row) || promised) {
            continue;
        }
        if (sampler != N_SAMPLERS && !sampling_names(s, sampler)) {
            left_out |= BIT(row);
        } else if (sampler != N_SAMPLERS && cut && s->mirostat) {
            replaced |= BIT(row);
        } else if (parent != NO_PARENT && !parent_is_on(s, (enum sampling_row)parent)) {
            without[parent] |= BIT(row);
        }
    }
    if (left_out) {
        add_left_out(n, left_out, next(out, &any));
    }
    if (replaced) {
        add_idle(n, replaced, next(out, &any));
        buf_printf(out, ", because mirostat stands in %s place",
                   is_one(replaced) ? "its" : "their");
    }
    for (uint32_t parent = 0; parent < SAMPLING_BREAKERS; parent++) {
        if (without[parent]) {
            add_without(n, without[parent], parent, next(out, &any));
        }
    }
    return any;
}

uint32_t sampling_notes_fields(const json_t *object)
{
    uint32_t given = 0;
    for (uint32_t row = 0; row <= SAMPLING_BREAKERS; row++) {
        const json_t *v = json_object_get(object, field_of(row));
        given |= v && !json_is_null(v) ? BIT(row) : 0;
    }
    return given;
}

void sampling_notes_tell(const struct sampling_options *o, const struct sampling *how)
{
    struct sampling_notes n = {
        .how = how, .given = sampling_options_given(o), .order = o->samplers ? "--samplers" : NULL};
    struct buf text;
    buf_init(&text, MAX_BYTES);
    if (sampling_notes_greedy(&n, &text)) {
        n.given &= ~(sampling_notes_idle_rows() | BIT(SAMPLING_MIROSTAT));
        struct buf more;
        buf_init(&more, MAX_BYTES);
        if (sampling_notes_unused(&n, &more)) {
            buf_printf(&text, "; %s", more.data);
        }
        buf_free(&more);
        term_message("%s", text.data);
    } else if (sampling_notes_unused(&n, &text)) {
        term_message("%s", text.data);
    }
    buf_free(&text);
}
