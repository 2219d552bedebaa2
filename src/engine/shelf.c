#include "engine/shelf.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/size_text.h"

enum { POLL_MS = 50 };

enum state {
    UNSIZED,
    SIZING, /* a caller finds out how large it is */
    ABSENT, /* callers wait for room, or a failed load has just ended */
    LOADING,
    LOADED,
    UNLOADING,
};

/* A model that is here, or wanted. It has a place in the list while it is either. */
struct book {
    struct book *next;
    char *name;
    enum state state;
    uint64_t size_bytes;
    void *model;
    uint32_t n_holds, n_tickets;
    uint64_t used; /* the shelf's count of uses when this one was last used */
    uint64_t idle_since_ms, keep_alive_ms;
    bool goes; /* when it is idle, whatever its keep-alive says */
    double load_s;
    struct shelf *shelf;
    pthread_t loader;
    bool loader_ended; /* and is to be joined */
};

/* A caller who waits; on his stack. */
struct ticket {
    struct ticket *next;
    struct book *book;
    uint64_t since_ms, keep_alive_ms;
    bool granted, failed;
    struct error why;
};

struct shelf_hold {
    struct book *book;
};

struct shelf {
    struct shelf_models models;
    struct shelf_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything: callers, keeper and shelf_free look for themselves */
    pthread_t keeper;       /* unloads, joins loaders, and looks at the clock */
    struct book *books;
    struct ticket *line; /* in the order of their coming */
    uint64_t n_uses;
    bool stop;
};

void shelf_defaults(struct shelf_options *o)
{
    *o = (struct shelf_options){.keep_alive_ms = 5 * 60 * 1000, .patience_ms = 2000};
}

static uint64_t now_ms(void)
{
    return (uint64_t)(time_now_s() * 1e3);
}

/* ---- books: all of this under the lock ---- */

static struct book *find_book(const struct shelf *s, const char *name)
{
    for (struct book *b = s->books; b; b = b->next) {
        if (strcmp(b->name, name) == 0) {
            return b;
        }
    }
    return NULL;
}

static struct book *add_book(struct shelf *s, const char *name)
{
    struct book *b = mem_zalloc(sizeof *b);
    b->name = mem_strdup(name);
    b->shelf = s;
    b->keep_alive_ms = s->options.keep_alive_ms;
    b->next = s->books;
    s->books = b;
    return b;
}

/* Once nobody wants it and nothing of it is there. */
static void drop_if_unwanted(struct shelf *s, struct book *b)
{
    if ((b->state != ABSENT && b->state != UNSIZED) || b->n_tickets || b->loader_ended) {
        return;
    }
    struct book **at = &s->books;
    while (*at != b) {
        at = &(*at)->next;
    }
    *at = b->next;
    free(b->name);
    free(b);
}

static bool takes_room(const struct book *b)
{
    return b->state == LOADING || b->state == LOADED || b->state == UNLOADING;
}

static bool is_in_use(const struct book *b)
{
    return b->state == LOADING || (b->state == LOADED && b->n_holds > 0);
}

static bool is_idle(const struct book *b)
{
    return b->state == LOADED && b->n_holds == 0;
}

/* Whether these fit together: all that count by `counts`, a, and b (NULL: none). */
static bool fits(const struct shelf *s, bool (*counts)(const struct book *), const struct book *a,
                 const struct book *b)
{
    uint64_t room = s->options.memory_bytes ? s->options.memory_bytes : UINT64_MAX;
    uint32_t places = s->options.most_models ? s->options.most_models : UINT32_MAX;
    for (const struct book *other = s->books; other; other = other->next) {
        if (!counts(other) && other != a && other != b) {
            continue;
        }
        if (places == 0 || other->size_bytes > room) {
            return false;
        }
        places--;
        room -= other->size_bytes;
    }
    return true;
}

/* The idle book that was used least recently goes; the keeper does the work. */
static bool let_one_go(struct shelf *s)
{
    struct book *oldest = NULL;
    for (struct book *b = s->books; b; b = b->next) {
        if (is_idle(b) && (!oldest || b->used < oldest->used)) {
            oldest = b;
        }
    }
    if (oldest) {
        oldest->state = UNLOADING;
    }
    return oldest != NULL;
}

static bool is_unloading(const struct shelf *s)
{
    for (const struct book *b = s->books; b; b = b->next) {
        if (b->state == UNLOADING) {
            return true;
        }
    }
    return false;
}

/* An idle book whose time is over; what remains until the next one's is over otherwise. */
static bool let_expired_go(struct shelf *s, uint64_t *remaining_ms)
{
    uint64_t now = now_ms();
    bool any = false;
    *remaining_ms = SHELF_FOREVER;
    for (struct book *b = s->books; b; b = b->next) {
        if (!is_idle(b)) {
            continue;
        }
        uint64_t idle_ms = now - b->idle_since_ms;
        if (b->goes || (b->keep_alive_ms != SHELF_FOREVER && idle_ms >= b->keep_alive_ms)) {
            b->state = UNLOADING;
            any = true;
        } else if (b->keep_alive_ms != SHELF_FOREVER &&
                   b->keep_alive_ms - idle_ms < *remaining_ms) {
            *remaining_ms = b->keep_alive_ms - idle_ms;
        }
    }
    return any;
}

/* ---- the line: all of this under the lock ---- */

static void fail_tickets(struct shelf *s, const struct book *b, const struct error *why)
{
    for (struct ticket *t = s->line; t; t = t->next) {
        if ((!b || t->book == b) && !t->granted) {
            t->failed = true;
            t->why = *why;
        }
    }
}

static void *load(void *argument);

static void start_loading(struct shelf *s, struct book *b)
{
    b->state = LOADING;
    int code = pthread_create(&b->loader, NULL, load, b);
    if (code) {
        struct error why = {0};
        error_set(&why, ERROR_IO, "cannot start a thread to load %s: %s", b->name, strerror(code));
        b->state = ABSENT;
        fail_tickets(s, b, &why);
    }
}

static void grant(struct shelf *s, struct ticket *t)
{
    struct book *b = t->book;
    b->n_holds++;
    b->used = ++s->n_uses;
    b->keep_alive_ms = t->keep_alive_ms;
    t->granted = true;
}

/* Gives the callers in line what can be given now, in their order. */
static void serve(struct shelf *s)
{
    const struct ticket *first = NULL; /* who waits for room */
    uint64_t now = now_ms();
    for (struct ticket *t = s->line; t; t = t->next) {
        struct book *b = t->book;
        if (t->granted || t->failed) {
            continue;
        }
        if (b->state == LOADED) {
            bool overtakes = first && now - first->since_ms >= s->options.patience_ms &&
                             !fits(s, is_in_use, first->book, b);
            if (!overtakes) {
                grant(s, t);
            }
        } else if (b->state == ABSENT && !first) {
            /* What is being unloaded comes first, so that the machine has the memory too. */
            if (!is_unloading(s) && !b->loader_ended && fits(s, takes_room, b, NULL)) {
                start_loading(s, b);
            } else {
                first = t;
                if (!is_unloading(s) && !fits(s, takes_room, b, NULL) &&
                    fits(s, is_in_use, b, NULL)) {
                    let_one_go(s);
                }
            }
        }
    }
    pthread_cond_broadcast(&s->changed);
}

static void enter_line(struct shelf *s, struct ticket *t)
{
    struct ticket **end = &s->line;
    while (*end) {
        end = &(*end)->next;
    }
    *end = t;
    t->book->n_tickets++;
}

static void leave_line(struct shelf *s, struct ticket *t)
{
    struct ticket **at = &s->line;
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    t->book->n_tickets--;
    drop_if_unwanted(s, t->book);
    serve(s); /* he may have been the first of those who wait */
}

/* ---- threads ---- */

/* Loads one book. */
static void *load(void *argument)
{
    struct book *b = argument;
    struct shelf *s = b->shelf;
    struct error why = {0};
    double start_s = time_now_s();
    void *model = s->models.open(s->models.context, b->name, &why);
    pthread_mutex_lock(&s->lock);
    b->loader_ended = true;
    b->model = model;
    b->load_s = time_now_s() - start_s;
    b->idle_since_ms = now_ms();
    b->state = model ? LOADED : ABSENT;
    b->goes = b->goes && model;
    if (!model && !(why.code == ERROR_MEMORY && let_one_go(s))) {
        fail_tickets(s, b, &why);
    }
    serve(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* One piece of work for which the lock is given away; false when there is none. */
static bool keep(struct shelf *s)
{
    for (struct book *b = s->books; b; b = b->next) {
        if (b->loader_ended) {
            pthread_t loader = b->loader;
            pthread_mutex_unlock(&s->lock);
            pthread_join(loader, NULL); /* it is past its last lock, or about to give it back */
            pthread_mutex_lock(&s->lock);
            b->loader_ended = false;
        } else if (b->state == UNLOADING) {
            pthread_mutex_unlock(&s->lock);
            s->models.close(s->models.context, b->model);
            pthread_mutex_lock(&s->lock);
            b->model = NULL;
            b->goes = false;
            b->state = ABSENT;
        } else {
            continue;
        }
        drop_if_unwanted(s, b);
        serve(s);
        return true;
    }
    return false;
}

static void wait_changed(struct shelf *s, uint64_t at_most_ms)
{
    if (at_most_ms == SHELF_FOREVER) {
        pthread_cond_wait(&s->changed, &s->lock);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + at_most_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(at_most_ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

static void *run_keeper(void *argument)
{
    struct shelf *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        uint64_t remaining_ms;
        bool expired = let_expired_go(s, &remaining_ms);
        while (s->stop && let_one_go(s)) {
        }
        if (keep(s) || expired) {
            continue;
        }
        if (s->stop && !s->books) {
            break;
        }
        wait_changed(s, remaining_ms);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the public face ---- */

struct shelf *shelf_new(const struct shelf_models *models, const struct shelf_options *o,
                        struct error *e)
{
    struct shelf *s = mem_zalloc(sizeof *s);
    pthread_condattr_t attributes;
    s->models = *models;
    s->options = *o;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int code = pthread_create(&s->keeper, NULL, run_keeper, s);
    if (code) {
        error_set(e, ERROR_IO, "cannot start a thread to look after models: %s", strerror(code));
        pthread_cond_destroy(&s->changed);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
    }
    return s;
}

void shelf_free(struct shelf *s)
{
    if (!s) {
        return;
    }
    struct error why = {0};
    error_set(&why, ERROR_CANCELLED, "the program is ending");
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    fail_tickets(s, NULL, &why);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->keeper, NULL); /* when no book is left, for which nobody waits then either */
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void *shelf_model(const struct shelf_hold *h)
{
    return h->book->model;
}

/* Gives the lock away meanwhile. */
static void find_size(struct shelf *s, struct book *b)
{
    struct error why = {0};
    uint64_t size_bytes = 0;
    b->state = SIZING;
    pthread_mutex_unlock(&s->lock);
    bool ok = s->models.size(s->models.context, b->name, &size_bytes, &why);
    pthread_mutex_lock(&s->lock);
    char needs[SIZE_TEXT_BYTES], may[SIZE_TEXT_BYTES];
    uint64_t most = s->options.memory_bytes;
    if (ok && most && size_bytes > most) {
        ok = error_set(&why, ERROR_LIMIT,
                       "%s needs %s of memory, and all models together may take %s: allow more, or "
                       "take a smaller context or a model in fewer bits",
                       b->name, size_text_write(size_bytes, needs), size_text_write(most, may));
    }
    b->size_bytes = size_bytes;
    b->state = ok ? ABSENT : UNSIZED;
    if (!ok) {
        fail_tickets(s, b, &why);
    }
    serve(s);
}

struct shelf_hold *shelf_acquire(struct shelf *s, const char *name, uint64_t keep_alive_ms,
                                 shelf_cancelled_fn *cancelled, void *context, struct error *e)
{
    struct shelf_hold *h = NULL;
    struct ticket t = {.since_ms = now_ms(), .keep_alive_ms = keep_alive_ms};
    if (keep_alive_ms == SHELF_DEFAULT) {
        t.keep_alive_ms = s->options.keep_alive_ms;
    }
    pthread_mutex_lock(&s->lock);
    t.book = find_book(s, name);
    t.book = t.book ? t.book : add_book(s, name);
    enter_line(s, &t);
    if (t.book->state == UNSIZED) {
        find_size(s, t.book);
    } else {
        serve(s);
    }
    while (!t.granted && !t.failed) {
        if (cancelled) {
            pthread_mutex_unlock(&s->lock);
            bool ends = cancelled(context);
            pthread_mutex_lock(&s->lock);
            if (ends && !t.granted && !t.failed) {
                t.failed = true;
                error_set(&t.why, ERROR_CANCELLED, "cancelled while waiting for %s", name);
                break;
            }
        }
        if (!t.granted && !t.failed) {
            wait_changed(s, cancelled ? POLL_MS : SHELF_FOREVER);
        }
    }
    if (t.granted) {
        h = mem_zalloc(sizeof *h);
        h->book = t.book;
    } else if (e) {
        *e = t.why;
    }
    leave_line(s, &t);
    pthread_mutex_unlock(&s->lock);
    return h;
}

void shelf_release(struct shelf *s, struct shelf_hold *h)
{
    struct book *b = h->book;
    free(h);
    pthread_mutex_lock(&s->lock);
    b->used = ++s->n_uses;
    b->idle_since_ms = now_ms();
    b->n_holds--;
    serve(s);
    pthread_mutex_unlock(&s->lock);
}

bool shelf_unload(struct shelf *s, const char *name)
{
    pthread_mutex_lock(&s->lock);
    struct book *b = find_book(s, name);
    bool there = b && (b->state == LOADING || b->state == LOADED);
    if (there) {
        b->goes = true;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return there;
}

static int by_use(const void *a, const void *b)
{
    const struct book *x = *(struct book *const *)a, *y = *(struct book *const *)b;
    return (x->used < y->used) - (x->used > y->used);
}

static struct shelf_entry entry_of(const struct book *b, uint64_t now)
{
    struct shelf_entry entry = {.name = mem_strdup(b->name),
                                .state = !takes_room(b)          ? SHELF_WAITING
                                         : b->state == LOADING   ? SHELF_LOADING
                                         : b->state == UNLOADING ? SHELF_UNLOADING
                                         : b->n_holds            ? SHELF_IN_USE
                                                                 : SHELF_IDLE,
                                .size_bytes = b->size_bytes,
                                .n_users = b->n_holds,
                                .n_waiting = b->n_tickets,
                                .expires_ms = SHELF_FOREVER,
                                .load_s = b->load_s};
    if (is_idle(b) && b->keep_alive_ms != SHELF_FOREVER) {
        uint64_t idle_ms = now - b->idle_since_ms;
        entry.expires_ms = idle_ms < b->keep_alive_ms ? b->keep_alive_ms - idle_ms : 0;
    }
    return entry;
}

static bool is_there(const struct book *b)
{
    return takes_room(b) || b->n_tickets > 0;
}

struct shelf_entry *shelf_list(struct shelf *s, size_t *n)
{
    size_t count = 0;
    pthread_mutex_lock(&s->lock);
    for (const struct book *b = s->books; b; b = b->next) {
        count += is_there(b);
    }
    struct book **order = mem_array(count + 1, sizeof *order);
    struct shelf_entry *list = mem_array(count + 1, sizeof *list);
    *n = 0;
    for (struct book *b = s->books; b; b = b->next) {
        if (is_there(b)) {
            order[(*n)++] = b;
        }
    }
    qsort(order, *n, sizeof *order, by_use);
    for (size_t i = 0; i < *n; i++) {
        list[i] = entry_of(order[i], now_ms());
    }
    pthread_mutex_unlock(&s->lock);
    free(order);
    return list;
}

void shelf_list_free(struct shelf_entry *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].name);
    }
    free(list);
}

const char *shelf_state_name(enum shelf_state state)
{
    static const char *const names[] = {"waiting", "loading", "in use", "idle", "unloading"};
    return names[state];
}
