#include "cli/batch_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/term.h"

enum { JOURNAL_MAX_BYTES = 1 << 30, JOURNAL_VERSION = 3 };
static const double sync_every_s = 2; /* a crash of the machine loses at most so much work */

struct batch_output {
    char *path, *journal_path; /* NULL: standard output */
    bool whole;
    const uint64_t *digests; /* [n] of the prompts */
    char **results;          /* [n] a line of JSON each; NULL: not there yet */
    size_t n, n_done, n_errors, n_told;
    int journal; /* -1: none */
    double synced_s;
};

static bool keep(struct batch_output *o, size_t index, const json_t *result)
{
    char *line = json_dumps(result, JSON_COMPACT);
    if (!line) {
        return false;
    }
    o->results[index] = line;
    o->n_done++;
    const json_t *why = json_object_get(result, "error");
    o->n_errors += why && !json_is_null(why);
    return true;
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

static bool append(struct batch_output *o, const json_t *line, struct error *e)
{
    char *text = json_dumps(line, JSON_COMPACT);
    size_t n = text ? strlen(text) : 0, done = 0;
    bool ok = text != NULL;
    if (ok) {
        text[n++] = '\n'; /* in place of the zero byte, so that a line is one write */
    }
    while (ok && done < n) {
        ssize_t k = write(o->journal, text + done, n - done);
        if (k < 0 && errno != EINTR) {
            ok = journal_error(o, e, "write");
        }
        done += k > 0 ? (size_t)k : 0;
    }
    if (ok && time_now_s() - o->synced_s > sync_every_s) {
        fdatasync(o->journal);
        o->synced_s = time_now_s();
    }
    free(text);
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

/* Takes the answers of a journal; *good is where its last whole line ends. */
static bool read_journal(struct batch_output *o, const struct buf *text, const json_t *run,
                         bool seed_given, uint64_t *seed, size_t *good, struct error *e)
{
    const char *at = text->data, *end = text->data + text->len;
    size_t n_answers = 0, n_fit = 0;
    for (const char *newline; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        json_t *line = json_loadb(at, (size_t)(newline - at), JSON_ALLOW_NUL, NULL);
        if (at == text->data) {
            bool ok = check_head(o, line, run, seed_given, seed, e);
            json_decref(line);
            if (!ok) {
                return false;
            }
        } else {
            json_t *index = json_object_get(line, "index");
            json_t *result = json_object_get(line, "result");
            json_int_t i = json_is_integer(index) ? json_integer_value(index) : -1;
            char digest[DIGEST_BYTES];
            bool ok = i >= 0 && result;
            n_answers += ok;
            if (ok && (size_t)i < o->n && !o->results[i]) {
                const char *was = json_string_value(json_object_get(line, "prompt"));
                print_digest(o, (size_t)i, digest);
                bool fits = was && strcmp(was, digest) == 0;
                n_fit += fits;
                ok = was && (!fits || keep(o, (size_t)i, result));
            }
            json_decref(line);
            if (!ok) {
                break; /* torn: what follows is not trusted either */
            }
        }
        *good = (size_t)(newline + 1 - text->data);
    }
    if (n_answers > 0 && n_fit == 0) {
        *good = 0;
        return error_set(e, ERROR_INPUT,
                         "%s holds %zu answers to other prompts; give another --output, or --force "
                         "to begin anew",
                         o->journal_path, n_answers);
    }
    return true;
}

static bool open_journal(struct batch_output *o, const json_t *run, bool seed_given, uint64_t *seed,
                         bool force, struct error *e)
{
    struct buf text;
    size_t good = 0;
    o->journal = open(o->journal_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (o->journal < 0) {
        return journal_error(o, e, "open");
    }
    if (flock(o->journal, LOCK_EX | LOCK_NB) != 0) {
        return error_set(e, ERROR_IO, "%s is in use: another run writes the same output",
                         o->journal_path);
    }
    buf_init(&text, JOURNAL_MAX_BYTES);
    bool ok = file_read(o->journal_path, JOURNAL_MAX_BYTES, &text, e);
    if (ok && text.len) {
        ok = read_journal(o, &text, run, seed_given, seed, &good, e) || force;
    }
    buf_free(&text);
    if (!ok) {
        return false;
    }
    if (ftruncate(o->journal, (off_t)good) != 0) {
        return journal_error(o, e, "write");
    }
    if (good == 0) {
        json_t *head = json_pack("{s:i, s:I, s:O}", "lllm_batch", JOURNAL_VERSION, "seed",
                                 (json_int_t)*seed, "run", run);
        ok = append(o, head, e);
        json_decref(head);
    }
    return ok;
}

/* ---- results --------------------------------------------------------------------------------- */

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
        struct buf name;
        buf_init(&name, 1 << 16);
        buf_printf(&name, "%s.journal", path);
        o->path = mem_strdup(path);
        o->journal_path = buf_take(&name, NULL);
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

size_t batch_output_errors(const struct batch_output *o)
{
    return o->n_errors;
}

bool batch_output_has(const struct batch_output *o, size_t index)
{
    return o->results[index] != NULL;
}

/* Those that have not been told yet: at the beginning, or with `all` wherever they are. */
static bool tell(struct batch_output *o, bool all, struct error *e)
{
    bool any = false;
    for (; o->n_told < o->n && (all || o->results[o->n_told]); o->n_told++) {
        char **result = &o->results[o->n_told];
        if (*result) {
            fputs(*result, stdout);
            fputc('\n', stdout);
            free(*result);
            *result = mem_strdup(""); /* there, and gone */
            any = true;
        }
    }
    if (any && fflush(stdout) != 0) {
        cli_output_failed(errno);
        return error_set(e, ERROR_CANCELLED, "standard output takes no more");
    }
    return true;
}

bool batch_output_put(struct batch_output *o, size_t index, json_t *result, struct error *e)
{
    bool ok = keep(o, index, result) || error_set(e, ERROR_MEMORY, "no memory for an answer");
    if (ok && o->journal >= 0) {
        char digest[DIGEST_BYTES];
        print_digest(o, index, digest);
        json_t *line = json_pack("{s:I, s:s, s:O}", "index", (json_int_t)index, "prompt", digest,
                                 "result", result);
        ok = append(o, line, e);
        json_decref(line);
    }
    json_decref(result);
    return ok && (o->path || o->whole || tell(o, false, e));
}

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
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

static bool write_lines(const struct batch_output *o, put_fn *put, void *to, struct error *e)
{
    bool ok = true;
    for (size_t i = 0; ok && i < o->n; i++) {
        ok = put(to, o->results[i], strlen(o->results[i]), e) && put(to, "\n", 1, e);
    }
    return ok;
}

static bool write_document(const struct batch_output *o, const json_t *head, put_fn *put, void *to,
                           struct error *e)
{
    char *text = json_dumps(head, JSON_COMPACT);
    size_t n = text ? strlen(text) : 0; /* {...}: results go in front of the brace */
    bool ok = n > 2 && put(to, text, n - 1, e) && put(to, ",\"results\":[", 12, e);
    bool any = false;
    for (size_t i = 0; ok && i < o->n; i++) {
        if (o->results[i]) {
            ok = put(to, any ? ",\n" : "\n", any ? 2 : 1, e) &&
                 put(to, o->results[i], strlen(o->results[i]), e);
            any = true;
        }
    }
    ok = ok && put(to, "\n]}\n", 4, e);
    free(text);
    return ok;
}

static bool write_file(const struct batch_output *o, const json_t *head, struct error *e)
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
        free(o->results[i]);
    }
    free(o->results);
    free(o->path);
    free(o->journal_path);
    free(o);
}
