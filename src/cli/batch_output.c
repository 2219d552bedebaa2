#include "cli/batch_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/term.h"

enum { JOURNAL_VERSION = 7 };
static const double sync_every_s = 2; /* a crash of the machine loses at most so much work */

/* A result, a line of JSON: in the journal where there is one, else in memory until it is told. */
struct kept {
    bool there, of_run; /* of_run: an error that another run need not have */
    char *text;
    uint64_t at; /* in the journal */
    size_t n;
};

struct batch_output {
    char *path, *journal_path; /* NULL: standard output */
    bool whole;
    const uint64_t *digests; /* [n] of the prompts */
    struct kept *results;    /* [n] */
    size_t n, n_done, n_answers, n_errors, n_told, n_unreadable;
    struct batch_ends ends;
    int journal; /* -1: none */
    uint64_t journal_bytes;
    char *room; /* for a result of the journal */
    size_t n_room;
    double synced_s;
};

static void note_end(struct batch_output *o, const json_t *answer)
{
    const char *reason = json_string_value(json_object_get(answer, "finish_reason"));
    if (reason && json_is_false(json_object_get(answer, "form_complete"))) {
        o->ends.n_stuck += strcmp(reason, "constraint") == 0;
        o->ends.n_stopped += strcmp(reason, "stop") == 0;
        o->ends.n_cut += strcmp(reason, "length") == 0;
    }
}

/* In our shape, and in that of OpenAI's batch files. */
static void note_answers(struct batch_output *o, const json_t *result)
{
    json_t *body = json_object_get(json_object_get(result, "response"), "body"), *choice;
    const json_t *choices = json_object_get(body ? body : result, "choices");
    size_t i;
    o->n_answers += choices ? json_array_size(choices) : 1;
    note_end(o, result);
    json_array_foreach(choices, i, choice)
    {
        note_end(o, choice);
    }
}

/* OpenAI's has an answer over HTTP in place of "error". */
static bool has_failed(const json_t *result)
{
    const json_t *why = json_object_get(result, "error");
    const json_t *status = json_object_get(json_object_get(result, "response"), "status_code");
    return (why && !json_is_null(why)) || (status && json_integer_value(status) != 200);
}

static void note(struct batch_output *o, size_t index, const json_t *result)
{
    o->results[index].there = true;
    o->n_done++;
    if (has_failed(result)) {
        o->n_errors++;
    } else {
        note_answers(o, result);
    }
}

enum { DIGEST_BYTES = 17 };

static void print_digest(const struct batch_output *o, size_t index, char out[DIGEST_BYTES])
{
    snprintf(out, DIGEST_BYTES, "%016llx", (unsigned long long)o->digests[index]);
}

/* ---- the journal ----------------------------------------------------------------------------- */

static bool journal_error(const struct batch_output *o, struct error *e, const char *what)
{
    return error_set(e, ERROR_IO, "%s: cannot %s it: %s", o->journal_path, what, strerror(errno));
}

static bool append(struct batch_output *o, const struct buf *line, struct error *e)
{
    size_t done = 0;
    while (done < line->len) {
        ssize_t k = write(o->journal, line->data + done, line->len - done);
        if (k < 0 && errno != EINTR) {
            return journal_error(o, e, "write");
        }
        done += k > 0 ? (size_t)k : 0;
    }
    o->journal_bytes += line->len;
    if (time_now_s() - o->synced_s > sync_every_s) {
        fdatasync(o->journal);
        o->synced_s = time_now_s();
    }
    return true;
}

/* What stands before the result in its line; the line is {"index", "prompt", "result"}, or of a
 * result that no other run takes {"index", "again", "result"}. */
enum { OPENING_BYTES = 96 };
static size_t print_opening(const struct batch_output *o, size_t index, char out[OPENING_BYTES])
{
    char digest[DIGEST_BYTES];
    if (o->results[index].of_run) {
        return (size_t)snprintf(out, OPENING_BYTES,
                                "{\"index\":%zu,\"again\":true,\"result\":", index);
    }
    print_digest(o, index, digest);
    return (size_t)snprintf(out, OPENING_BYTES,
                            "{\"index\":%zu,\"prompt\":\"%s\",\"result\":", index, digest);
}

/* A line is one write, so that a crash tears the last one at most. */
static bool append_result(struct batch_output *o, size_t index, const char *text, struct error *e)
{
    struct kept *r = &o->results[index];
    char opening[OPENING_BYTES];
    size_t n = print_opening(o, index, opening);
    struct buf line;
    buf_init(&line, SIZE_MAX / 2);
    r->at = o->journal_bytes + n;
    r->n = strlen(text);
    bool ok = buf_append(&line, opening, n) && buf_append(&line, text, r->n) &&
              buf_append_str(&line, "}\n") && append(o, &line, e);
    buf_free(&line);
    return ok;
}

/* The first line: what run it is. */
static bool check_head(const struct batch_output *o, const json_t *head, const json_t *run,
                       bool seed_given, uint64_t *seed, struct error *e)
{
    json_int_t was = json_integer_value(json_object_get(head, "seed"));
    json_int_t version = json_integer_value(json_object_get(head, "lllm_batch"));
    if (version > 0 && version != JOURNAL_VERSION) {
        return error_set(e, ERROR_INPUT,
                         "%s holds answers of another version of lllm; finish them with that one, "
                         "or --force to begin anew",
                         o->journal_path);
    }
    bool same = version == JOURNAL_VERSION && json_equal(json_object_get(head, "run"), run) &&
                (!seed_given || was == (json_int_t)*seed);
    if (!same) {
        error_set(e, ERROR_INPUT,
                  "%s holds answers of another run, with another model or other options; give "
                  "the same ones to go on, or --force to begin anew",
                  o->journal_path);
        return false;
    }
    *seed = (uint64_t)was;
    return true;
}

struct journal_count {
    size_t n_answers, n_fit;
};

/* Takes the answer in a line that begins at `at`. False where it cannot be read. */
static bool read_answer(struct batch_output *o, const char *text, size_t n, uint64_t at,
                        struct journal_count *count)
{
    json_t *line = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
    json_t *index = json_object_get(line, "index");
    json_t *result = json_object_get(line, "result");
    const char *was = json_string_value(json_object_get(line, "prompt"));
    json_int_t i = json_is_integer(index) ? json_integer_value(index) : -1;
    bool again = json_is_true(json_object_get(line, "again"));
    bool ok = i >= 0 && result && (was || again);
    count->n_answers += ok && !again;
    if (ok && !again && (uint64_t)i < o->n && !o->results[i].there) {
        char opening[OPENING_BYTES], digest[DIGEST_BYTES];
        size_t n_opening = print_opening(o, (size_t)i, opening);
        print_digest(o, (size_t)i, digest);
        bool fits = strcmp(was, digest) == 0;
        count->n_fit += fits;
        ok = !fits || (n > n_opening && memcmp(text, opening, n_opening) == 0);
        if (fits && ok) {
            o->results[i].at = at + n_opening;
            o->results[i].n = n - n_opening - 1;
            note(o, (size_t)i, result);
        }
    }
    json_decref(line);
    return ok;
}

/* Line by line: a journal may be larger than memory. *good is where its last whole line ends:
 * a crash tears what comes last; damage to a line before says nothing against those behind it. */
static bool read_lines(struct batch_output *o, FILE *f, const json_t *run, bool seed_given,
                       uint64_t *seed, uint64_t *good, struct error *e)
{
    char *text = NULL;
    size_t n_text = 0;
    struct journal_count count = {0};
    bool ok = true, whole = true;
    for (ssize_t n; ok && whole && (n = getline(&text, &n_text, f)) > 0;) {
        whole = text[n - 1] == '\n';
        if (whole && *good == 0) {
            json_t *head = json_loadb(text, (size_t)n - 1, JSON_ALLOW_NUL, NULL);
            ok = check_head(o, head, run, seed_given, seed, e);
            json_decref(head);
        } else if (whole) {
            o->n_unreadable += !read_answer(o, text, (size_t)n - 1, *good, &count);
        }
        *good += ok && whole ? (uint64_t)n : 0;
    }
    free(text);
    if (ok && ferror(f)) {
        return journal_error(o, e, "read");
    }
    if (ok && count.n_answers > 0 && count.n_fit == 0) {
        *good = 0;
        return error_set(e, ERROR_INPUT,
                         "%s holds %zu answers to other prompts; give another --output, or --force "
                         "to begin anew",
                         o->journal_path, count.n_answers);
    }
    return ok;
}

static bool read_journal(struct batch_output *o, const json_t *run, bool seed_given, uint64_t *seed,
                         uint64_t *good, struct error *e)
{
    int copy = dup(o->journal);
    FILE *f = copy >= 0 ? fdopen(copy, "r") : NULL;
    if (!f) {
        if (copy >= 0) {
            close(copy);
        }
        return journal_error(o, e, "read");
    }
    bool ok = read_lines(o, f, run, seed_given, seed, good, e);
    fclose(f);
    return ok;
}

static const char head_start[] = "{\"lllm_batch\":";

/* Whatever else has that name is somebody's file, which --force does not mean either. A head that
 * was torn is ours. */
static bool check_ours(const struct batch_output *o, struct error *e)
{
    struct stat st;
    char start[sizeof head_start];
    bool file = fstat(o->journal, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t n = file ? pread(o->journal, start, sizeof head_start - 1, 0) : 0;
    if (n < 0) {
        return journal_error(o, e, "read");
    }
    return (file && memcmp(start, head_start, (size_t)n) == 0) ||
           error_set(e, ERROR_INPUT,
                     "%s is no journal of lllm batch, and one is written there: remove it, or give "
                     "another --output",
                     o->journal_path);
}

static bool begin_journal(struct batch_output *o, const json_t *run, uint64_t seed, struct error *e)
{
    json_t *head = json_pack("{s:i, s:I, s:O}", "lllm_batch", JOURNAL_VERSION, "seed",
                             (json_int_t)seed, "run", run);
    char *text = json_dumps(head, JSON_COMPACT);
    struct buf line;
    buf_init(&line, SIZE_MAX / 2);
    bool ok =
        text && buf_append_str(&line, text) && buf_append_char(&line, '\n') && append(o, &line, e);
    buf_free(&line);
    free(text);
    json_decref(head);
    return ok;
}

/* Opened, locked, and still there: a run that was done in between has removed it, and another one
 * would lock the file that has its name then. */
static bool lock_journal(struct batch_output *o, struct error *e)
{
    struct stat old; /* what only some may read, only they may read here */
    mode_t mode = stat(o->path, &old) == 0 ? (old.st_mode & 0777) | 0600 : 0666;
    for (;;) {
        o->journal = open(o->journal_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, mode);
        if (o->journal < 0) {
            return journal_error(o, e, "open");
        }
        if (flock(o->journal, LOCK_EX | LOCK_NB) != 0) {
            return error_set(e, ERROR_IO, "%s is in use: another run writes the same output",
                             o->journal_path);
        }
        if (file_is_named(o->journal, o->journal_path)) {
            return true;
        }
        close(o->journal);
    }
}

static bool open_journal(struct batch_output *o, const json_t *run, bool seed_given, uint64_t *seed,
                         bool force, struct error *e)
{
    uint64_t good = 0;
    if (!lock_journal(o, e)) {
        return false;
    }
    if (!check_ours(o, e)) {
        return false;
    }
    if (!read_journal(o, run, seed_given, seed, &good, e)) {
        if (!force) {
            return false;
        }
        good = 0;
        o->n_unreadable = 0;
    }
    if (ftruncate(o->journal, (off_t)good) != 0) {
        return journal_error(o, e, "write");
    }
    o->journal_bytes = good;
    return good > 0 || begin_journal(o, run, *seed, e);
}

/* ---- results --------------------------------------------------------------------------------- */

char *batch_output_journal(const char *path)
{
    struct buf name;
    buf_init(&name, 1 << 16);
    buf_printf(&name, "%s.journal", path);
    return buf_take(&name, NULL);
}

size_t batch_output_journaled(const char *path)
{
    char *name = batch_output_journal(path), *line = NULL;
    FILE *f = fopen(name, "re");
    size_t n = 0, size = 0;
    while (f && getline(&line, &size, f) > 0) {
        n++;
    }
    if (f) {
        fclose(f);
    }
    free(line);
    free(name);
    return n > 0 ? n - 1 : 0; /* the first says what run it is of */
}

struct batch_output *batch_output_open(const char *path, bool whole, size_t n, const json_t *run,
                                       const uint64_t *digests, bool seed_given, uint64_t *seed,
                                       bool force, struct error *e)
{
    struct batch_output *o = mem_zalloc(sizeof *o);
    o->n = n;
    o->whole = whole;
    o->digests = digests;
    o->journal = -1;
    o->synced_s = time_now_s();
    o->results = mem_array(n, sizeof *o->results);
    if (path) {
        o->path = mem_strdup(path);
        o->journal_path = batch_output_journal(path);
        if (!open_journal(o, run, seed_given, seed, force, e)) {
            batch_output_close(o);
            return NULL;
        }
    }
    return o;
}

size_t batch_output_count(const struct batch_output *o)
{
    return o->n_done;
}

size_t batch_output_answers(const struct batch_output *o)
{
    return o->n_answers;
}

size_t batch_output_unreadable(const struct batch_output *o)
{
    return o->n_done < o->n ? o->n_unreadable : 0;
}

size_t batch_output_errors(const struct batch_output *o)
{
    return o->n_errors;
}

struct batch_ends batch_output_ends(const struct batch_output *o)
{
    return o->ends;
}

bool batch_output_has(const struct batch_output *o, size_t index)
{
    return o->results[index].there;
}

/* Those that have not been told yet: at the beginning, or with `all` wherever they are. */
static bool tell(struct batch_output *o, bool all, struct error *e)
{
    bool any = false;
    for (; o->n_told < o->n && (all || o->results[o->n_told].there); o->n_told++) {
        struct kept *r = &o->results[o->n_told];
        if (r->there) {
            fputs(r->text, stdout);
            fputc('\n', stdout);
            free(r->text);
            r->text = NULL;
            any = true;
        }
    }
    if (any && fflush(stdout) != 0) {
        cli_output_failed(errno);
        return error_set(e, ERROR_CANCELLED, "standard output takes no more");
    }
    return true;
}

void batch_output_blame_run(struct batch_output *o, size_t index)
{
    o->results[index].of_run = true;
}

bool batch_output_put(struct batch_output *o, size_t index, json_t *result, struct error *e)
{
    char *text = json_dumps(result, JSON_COMPACT);
    bool ok = text || error_set(e, ERROR_MEMORY, "no memory for an answer");
    if (ok && o->journal >= 0) {
        ok = append_result(o, index, text, e);
    } else if (ok) {
        o->results[index].text = text;
        text = NULL;
    }
    free(text);
    if (ok) {
        note(o, index, result);
    }
    json_decref(result);
    return ok && (o->path || o->whole || tell(o, false, e));
}

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcasecmp(path + n - m, end) == 0;
}

typedef bool put_fn(void *to, const char *text, size_t n, struct error *e);

static bool put_stdout(void *to, const char *text, size_t n, struct error *e)
{
    (void)e; /* cli_flush tells of it */
    return fwrite(text, 1, n, to) == n;
}

static bool put_file(void *to, const char *text, size_t n, struct error *e)
{
    return file_writer_put(to, text, n, e);
}

static bool read_result(struct batch_output *o, const struct kept *r, struct error *e)
{
    if (r->n > o->n_room) {
        free(o->room);
        o->room = mem_try_alloc(r->n);
        o->n_room = o->room ? r->n : 0;
    }
    if (!o->room) {
        return error_set(e, ERROR_MEMORY, "no memory for an answer of %zu bytes", r->n);
    }
    for (size_t done = 0; done < r->n;) {
        ssize_t k = pread(o->journal, o->room + done, r->n - done, (off_t)(r->at + done));
        if (k == 0) {
            return error_set(e, ERROR_IO, "%s was cut by another program", o->journal_path);
        }
        if (k < 0 && errno != EINTR) {
            return journal_error(o, e, "read");
        }
        done += k > 0 ? (size_t)k : 0;
    }
    return true;
}

static bool put_result(struct batch_output *o, size_t index, put_fn *put, void *to, struct error *e)
{
    const struct kept *r = &o->results[index];
    return r->text ? put(to, r->text, strlen(r->text), e)
                   : read_result(o, r, e) && put(to, o->room, r->n, e);
}

static bool write_lines(struct batch_output *o, put_fn *put, void *to, struct error *e)
{
    bool ok = true;
    for (size_t i = 0; ok && i < o->n; i++) {
        ok = put_result(o, i, put, to, e) && put(to, "\n", 1, e);
    }
    return ok;
}

static bool write_document(struct batch_output *o, const json_t *head, put_fn *put, void *to,
                           struct error *e)
{
    char *text = json_dumps(head, JSON_COMPACT);
    size_t n = text ? strlen(text) : 0; /* {...}: results go in front of the brace */
    bool ok = n > 2 && put(to, text, n - 1, e) && put(to, ",\"results\":[", 12, e);
    bool any = false;
    for (size_t i = 0; ok && i < o->n; i++) {
        if (o->results[i].there) {
            ok = put(to, any ? ",\n" : "\n", any ? 2 : 1, e) && put_result(o, i, put, to, e);
            any = true;
        }
    }
    ok = ok && put(to, "\n]}\n", 4, e);
    free(text);
    return ok;
}

static bool write_file(struct batch_output *o, const json_t *head, struct error *e)
{
    struct file_writer *w = file_writer_open(o->path, e);
    if (!w) {
        return false;
    }
    bool lines = ends_in(o->path, ".jsonl") || ends_in(o->path, ".ndjson");
    if (lines ? write_lines(o, put_file, w, e) : write_document(o, head, put_file, w, e)) {
        return file_writer_commit(w, e);
    }
    file_writer_abort(w);
    return false;
}

bool batch_output_finish(struct batch_output *o, json_t *head, struct error *e)
{
    bool ok = true;
    if (o->path) {
        ok = write_file(o, head, e);
        if (ok) {
            unlink(o->journal_path);
        }
    } else if (o->whole) {
        write_document(o, head, put_stdout, stdout, e);
    }
    json_decref(head);
    return ok;
}

bool batch_output_give_up(struct batch_output *o, const json_t *head, struct error *e)
{
    if (!o->whole) {
        return tell(o, true, e);
    }
    write_document(o, head, put_stdout, stdout, e); /* cli_flush tells where it fails */
    return true;
}

void batch_output_close(struct batch_output *o)
{
    if (!o) {
        return;
    }
    if (o->journal >= 0) {
        close(o->journal);
    }
    for (size_t i = 0; i < o->n; i++) {
        free(o->results[i].text);
    }
    free(o->results);
    free(o->room);
    free(o->path);
    free(o->journal_path);
    free(o);
}
