/* shelf.h: several models, loaded when they are asked for and unloaded when nobody needs them.
 *
 * What a "model" is belongs to the caller: an engine, or an engine with its queue. The shelf knows
 * names, how much memory each takes, who uses it, and when it was last used.
 *
 *             acquire                       release, the last
 *   absent ------------> loading ---> in use ---------------> idle
 *      ^                    | failed    ^                       | keep-alive over, room needed,
 *      |<-------------------+           +------- acquire -------+ or shelf_unload
 *      +--------------------------------------------------------+
 *
 * A model in use is never unloaded. Loading happens on a thread of its own, so that a caller may
 * give up; all who ask for a model while it is loaded wait for that one load and share its outcome,
 * an error too. Where memory is short, the idle model that was used least recently goes first; so
 * it does where a load fails for want of memory (ERROR_MEMORY), which is then tried again.
 *
 * Where all models are in use, who needs room for another waits in line. Those that are loaded
 * still serve who comes later, but only until the first in line has waited for patience_ms: from
 * then on he is overtaken by those only whose model leaves him the room.
 *
 * All functions but shelf_new and shelf_free may be called from any thread.
 */
#ifndef LLLM_ENGINE_SHELF_H
#define LLLM_ENGINE_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What the shelf needs to know of models. Called without locks held, from any thread; size and open
 * once for each load. */
struct shelf_models {
    /* How much memory a model takes, without loading it (engine/plan.h). */
    bool (*size)(void *context, const char *name, uint64_t *size_bytes, struct error *e);
    void *(*open)(void *context, const char *name, struct error *e); /* NULL on failure */
    void (*close)(void *context, void *model);
    void *context;
};

#define SHELF_FOREVER UINT64_MAX
#define SHELF_DEFAULT (UINT64_MAX - 1) /* what the shelf's options say */

struct shelf_options {
    uint64_t memory_bytes;  /* of all models together; 0: no limit */
    uint64_t keep_alive_ms; /* of idle models; 0: unloaded at once; SHELF_FOREVER */
    uint32_t most_models;   /* loaded at a time; 0: no limit */
    uint64_t patience_ms;   /* of who waits for room; 0: nobody is overtaken */
};
/* No limits, 5 minutes, a patience of 2 seconds. */
void shelf_defaults(struct shelf_options *o);

struct shelf;
/* The options are copied. NULL when no thread is to be had. */
struct shelf *shelf_new(const struct shelf_models *models, const struct shelf_options *o,
                        struct error *e);
/* Ends loads and waiting callers with ERROR_CANCELLED, waits for both, and unloads everything. All
 * holds must have been released, and no acquire may begin. */
void shelf_free(struct shelf *s);

/* A model in use. */
struct shelf_hold;
void *shelf_model(const struct shelf_hold *h);

/* Loads the model where it is not there, and waits for that, and for room. keep_alive_ms counts
 * from the last release on, in place of what an earlier caller said. `cancelled` (may be NULL) is
 * polled while this waits, some 20 times a second; true ends with ERROR_CANCELLED, and a load goes
 * on for the others, or to stand idle. ERROR_LIMIT, with the figures: the model alone is larger
 * than what the options allow. Who holds one model and waits for another may wait for himself: then
 * `cancelled` is the way out. */
typedef bool shelf_cancelled_fn(void *context);
struct shelf_hold *shelf_acquire(struct shelf *s, const char *name, uint64_t keep_alive_ms,
                                 shelf_cancelled_fn *cancelled, void *context, struct error *e);
void shelf_release(struct shelf *s, struct shelf_hold *h);

/* Unloads an idle model at once, and one in use when it is idle. False where none of that name is
 * loaded or being loaded. */
bool shelf_unload(struct shelf *s, const char *name);

/* What is there or waited for, for people to look at. */
enum shelf_state { SHELF_WAITING, SHELF_LOADING, SHELF_IN_USE, SHELF_IDLE, SHELF_UNLOADING };
struct shelf_entry {
    char *name;
    enum shelf_state state;
    uint64_t size_bytes;
    uint32_t n_users;    /* holds */
    uint32_t n_waiting;  /* callers */
    uint64_t expires_ms; /* from now, of an idle one; SHELF_FOREVER */
    double load_s;       /* how long loading took */
};
/* In the order of their last use, the latest first. Release with shelf_list_free. */
struct shelf_entry *shelf_list(struct shelf *s, size_t *n);
void shelf_list_free(struct shelf_entry *list, size_t n);
const char *shelf_state_name(enum shelf_state state); /* "in use", "idle", ... */

#endif
