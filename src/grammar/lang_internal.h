/* lang_internal.h: how a store keeps its languages; for the files of src/grammar/ alone. */
#ifndef LLLM_GRAMMAR_LANG_INTERNAL_H
#define LLLM_GRAMMAR_LANG_INTERNAL_H

#include "grammar/lang.h"

enum lang_kind {
    LANG_IS_NONE,
    LANG_IS_EMPTY,
    LANG_IS_SET,      /* one byte of sets[a] */
    LANG_IS_CONCAT,   /* a, then b; a is no concatenation, so that chains lean to the right */
    LANG_IS_OR,       /* args[a .. a + b), sorted by id */
    LANG_IS_AND,      /* likewise */
    LANG_IS_NOT,      /* a; of NONE: all texts */
    LANG_IS_REPEAT,   /* from b to c times a */
    LANG_IS_MARK,     /* number a */
    LANG_IS_MULTIPLE, /* figures that, behind a remainder of a, make a multiple of b; c: places that
                       * count, and how many of them are still to come (lang_multiple_places) */
};

enum { LANG_FAR_MARK = 1 << 23 };

enum lang_life { LIFE_UNKNOWN, LIFE_LIVE, LIFE_DEAD };

struct lang_node {
    uint8_t kind;
    bool has_empty; /* the empty text is in it */
    bool ends;      /* has_empty, or a mark stands here */
    bool has_cuts;  /* an intersection or complement is in it: whether it is empty takes a search */
    bool has_marks, has_far_marks; /* far: LANG_FAR_MARK and above */
    bool pruned;                   /* no branch of it is known to be dead */
    uint8_t goes_on;               /* 0 unknown, 1 some byte may follow, 2 none */
    uint8_t life;                  /* enum lang_life */
    uint16_t figures;              /* memo of lang_multiple.c, 2 bits for each number of them */
    uint16_t rank;                 /* how deep its derivative recurses */
    uint32_t hash;
    uint32_t a, b, c;
    uint32_t steps;  /* into table of steps; 0: not made yet */
    uint32_t met[3]; /* the last task, part and search that came here: langs_set_work */
    uint32_t near;   /* memo of lang_near; 0: not made yet */
};

/* The derivatives of a language: next[of_byte[b]] is what follows byte b. */
struct lang_table {
    uint8_t of_byte[256];
    uint16_t n;
    uint32_t work; /* that making it takes, with those of its parts */
    uint32_t next[];
};

struct langs {
    struct lang_node *nodes;
    size_t n, capacity;
    uint32_t *args;
    size_t n_args, args_capacity;
    struct byte_set *sets;
    size_t n_sets, sets_capacity;
    uint32_t *slots; /* of nodes by hash; 0 is free (no node that is looked for has id 0) */
    size_t slot_mask;
    struct lang_table **steps;
    size_t n_steps, steps_capacity;
    struct arena *arena; /* of steps */
    size_t arena_bytes;
    uint64_t work, work_begin, work_limit; /* see langs_set_work */
    uint32_t task[3]; /* numbers of this task, of its part, and of its searches */
    uint8_t level;    /* which of them is at work */
    bool is_shared;   /* many use it: what the first of them finds out is not his alone to pay */
    uint32_t json_ascii[2][128]; /* lang_chars of one character, LANG_JSON and LANG_JSON_PLAIN */
    uint32_t near_bytes;         /* what lang_near was asked for */
    struct buf scratch;
    bool failed;
    struct error error;
};

static inline const struct lang_node *lang_node(const struct langs *s, struct lang l)
{
    return &s->nodes[l.id];
}

/* A state of lang_multiples; n_left: places still to come, n_places + 1 in front of the point, so
 * that places are told from figures before them. */
struct lang lang_multiple_state(struct langs *s, uint32_t remainder, uint32_t modulus,
                                uint32_t n_places, uint32_t n_left);

/* lang_multiple.c: whether an intersection with a state of lang_multiples, or with what is none,
 * has a text, where that is easily told; false: not told. */
bool lang_has_multiple(struct langs *s, uint32_t id);

/* The id of an expression whose parts (a set, or args) have just been put at the end of their
 * arrays by the caller, who takes them back where there was one already: compare ids. */
uint32_t lang_intern(struct langs *s, struct lang_node n);
/* Room for one more element of an array. */
void *lang_grown(void *array, size_t n, size_t *capacity, size_t element_bytes);
static inline uint16_t lang_rank_above(uint16_t below)
{
    return below < UINT16_MAX ? (uint16_t)(below + 1) : below;
}

/* A copy with the same ids, without the states' tables. */
struct langs *langs_copy(const struct langs *s);
size_t langs_memory(const struct langs *s); /* bytes */
size_t langs_count(const struct langs *s);
/* A task begins: from now on at most so much work, then the store fails. Work is counted in units
 * of some ten nanoseconds, and as if nothing were known when a task begins: a state whose table
 * somebody made before costs what making it took, once per task. So whether a mask or a token is
 * within its budget depends neither on the machine nor on who used the grammar before. (Long
 * searches for what is empty are the exception: what they found stays known and is not paid again;
 * short ones cost nothing.) */
void langs_set_work(struct langs *s, uint64_t work);
uint64_t langs_work(const struct langs *s); /* of this task until now */
/* A part of a task whose outcome is kept, and may be paid by itself another time: what it meets
 * costs as if the task had met nothing yet. langs_end_part returns its work. Parts do not nest. */
uint64_t langs_begin_part(struct langs *s);
uint32_t langs_end_part(struct langs *s, uint64_t begin);
/* False, and the store has failed, where that is too much: for each byte of a walk, so in place. */
bool langs_overspent(struct langs *s);
static inline bool langs_spend(struct langs *s, uint64_t work)
{
    s->work += work;
    return s->work > s->work_limit ? langs_overspent(s) : !s->failed;
}
/* At most 1 s to compile, and 100 ms for a mask or a token, where every unit is spent. */
enum { LANGS_COMPILE_WORK = 32 << 20, LANGS_STEP_WORK = 9 << 19 };

/* The table of derivatives, made where it is not there; NULL where the store has failed. What it
 * leads to may be empty where it has_cuts: lang_step looks. */
const struct lang_table *lang_derive(struct langs *s, uint32_t id);
uint32_t lang_step_id(struct langs *s, uint32_t id, uint8_t byte);

/* The marks that stand at the place l, each once, in rising order: at most max of them to out.
 * Returns how many there are. */
size_t lang_marks(const struct langs *s, struct lang l, uint32_t *out, size_t max);
/* Whether any byte may follow: it is more than its end. */
bool lang_goes_on(struct langs *s, struct lang l);

/* A language that takes the same texts as l as far as n_bytes go: repetitions that are counted
 * beyond that are cut. Languages that differ in such counts alone become one. The same n_bytes for
 * the life of the store. */
struct lang lang_near(struct langs *s, struct lang l, uint32_t n_bytes);

/* l of another store, in s: both began as copies of one, which had n_shared nodes. */
struct lang_moving {
    const struct langs *from;
    struct langs *to;
    uint32_t n_shared;
    uint32_t *map; /* [from->n], 0: not moved yet */
};
struct lang lang_move(struct lang_moving *m, struct lang l);

#endif
