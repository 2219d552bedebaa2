#include "cli/talk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "chat/tools.h"

enum { MAX_NOTE_BYTES = 1 << 28 };

static bool is_damaged(const char *path, struct error *e)
{
    return error_set(e, ERROR_INPUT,
                     "%s is a session, but not one of lllm run: what was said is not in it", path);
}

static bool take_messages(struct talk_file *f, json_t *messages, struct error *e)
{
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        size_t k;
        json_t *call;
        bool ok = json_is_string(json_object_get(m, "role"));
        json_array_foreach(json_object_get(m, "tool_calls"), k, call)
        {
            json_t *function = json_object_get(call, "function");
            ok = ok && json_is_string(json_object_get(function, "name")) &&
                 json_is_string(json_object_get(function, "arguments"));
        }
        if (!ok) {
            return is_damaged(f->path, e);
        }
    }
    f->messages = json_incref(messages);
    return true;
}

static bool take_tokens(struct talk_file *f, const json_t *tokens, uint32_t n_vocab,
                        struct error *e)
{
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *id = json_array_get(tokens, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= (json_int_t)n_vocab) {
            return is_damaged(f->path, e);
        }
        token_list_add(&f->tokens, (int32_t)value);
    }
    return f->tokens.n > 0 || is_damaged(f->path, e);
}

/* ---- the template ---------------------------------------------------------------------------- */

/* {"name", "digest"}; NULL where there is none. */
static json_t *describe_template(const struct prompter *p)
{
    const char *source = prompter_template(p);
    return source
               ? json_pack("{s:s, s:o}", "name", prompter_origin(p), "digest",
                           json_sprintf("%016llx",
                                        (unsigned long long)digest_number(source, strlen(source))))
               : NULL;
}

/* Messages would be read as they were not written. was: NULL in files of before. */
static bool check_template(const struct talk_file *f, const json_t *was, struct error *e)
{
    json_t *now = describe_template(f->prompter);
    const char *name = json_string_value(json_object_get(was, "name"));
    bool same = !was || json_equal(json_object_get(was, "digest"), json_object_get(now, "digest"));
    json_decref(now);
    if (same) {
        return true;
    }
    bool own = !name || strcmp(name, "file") == 0, given = name && strcmp(name, "given") == 0;
    return error_set(
        e, ERROR_INPUT,
        "%s was made with another chat template (%s%.40s): %s, or name another file", f->path,
        own     ? "the model's own"
        : given ? "a file of --chat-template"
                : "--chat-template ",
        own || given ? "" : name, own ? "leave --chat-template out" : "give the same one to go on");
}

/* ---- the tools ------------------------------------------------------------------------------- */

static json_t *describe_tools(const json_t *tools)
{
    char *text = tools ? json_dumps(tools, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
    json_t *names = json_array(), *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        json_array_append(names, json_object_get(chat_tool_function(tool), "name"));
    }
    json_t *digest =
        json_sprintf("%016llx", (unsigned long long)(text ? digest_number(text, strlen(text)) : 0));
    free(text);
    return json_pack("{s:o, s:o}", "names", names, "digest", digest);
}

static void append_names(struct buf *out, const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        buf_printf(out, "%s%.100s", i ? ", " : "", name ? name : "?");
    }
}

/* The model sees those of this time alone. was: NULL in files of before. */
static char *tell_other_tools(const struct talk_file *f, const json_t *was)
{
    const json_t *before = json_object_get(was, "names"), *now = json_object_get(f->tools, "names");
    if (!was || json_equal(was, f->tools)) {
        return NULL;
    }
    struct buf text;
    buf_init(&text, 1 << 16);
    if (json_equal(before, now)) {
        buf_printf(&text, "%s was made with other definitions of its tools (", f->path);
        append_names(&text, before);
        buf_append_str(&text, "): those of now hold");
        return buf_take(&text, NULL);
    }
    buf_printf(&text, "%s was made with%s", f->path,
               json_array_size(before) ? " --tools (" : "out --tools");
    append_names(&text, before);
    buf_append_str(&text, json_array_size(before) ? ")" : "");
    buf_append_str(&text, json_array_size(now) ? ", and now the model has others (" : "");
    append_names(&text, now);
    buf_append_str(&text, json_array_size(now) ? ")" : ", and now the model has none");
    return buf_take(&text, NULL);
}

/* ---- who has it ------------------------------------------------------------------------------ */

static bool take_lock(struct talk_file *f, struct error *e)
{
    struct buf path;
    buf_init(&path, 1 << 16);
    buf_printf(&path, "%s.lock", f->file);
    for (;;) {
        struct flock how = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        f->lock = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (f->lock < 0) {
            error_set(e, ERROR_IO, "the session cannot be locked: %s: %s", path.data,
                      strerror(errno));
            break;
        }
        if (fcntl(f->lock, F_SETLK, &how) == 0) {
            if (file_is_named(f->lock, path.data)) {
                f->lock_path = buf_take(&path, NULL);
                return true;
            }
        } else if (errno != EACCES && errno != EAGAIN) {
            f->lock_path = buf_take(&path, NULL); /* a file system without locks */
            return true;
        } else if (fcntl(f->lock, F_GETLK, &how) == 0 && how.l_type != F_UNLCK) {
            error_set(e, ERROR_IO,
                      "%s is in use by process %ld: end that one, or name another file", f->path,
                      (long)how.l_pid);
            close(f->lock);
            break;
        }
        close(f->lock); /* whoever had it has just let it go */
    }
    buf_free(&path);
    return false;
}

static bool take_note(struct talk_file *f, const struct buf *note, bool raw, uint32_t n_vocab,
                      struct error *e)
{
    json_t *all = note->len ? json_loadb(note->data, note->len, 0, NULL) : NULL;
    json_t *messages = json_object_get(all, "messages"), *tokens = json_object_get(all, "tokens");
    bool ok;
    if (json_is_array(messages)) {
        f->other_tools = tell_other_tools(f, json_object_get(all, "tools"));
        ok = raw ? error_set(e, ERROR_USAGE,
                             "%s holds a chat: go on with it without --raw, or name another file",
                             f->path)
                 : check_template(f, json_object_get(all, "template"), e) &&
                       take_messages(f, messages, e);
    } else if (json_is_array(tokens)) {
        ok = raw ? take_tokens(f, tokens, n_vocab, e)
                 : error_set(e, ERROR_USAGE,
                             "%s holds a text, which goes on with --raw; name another file for a "
                             "chat",
                             f->path);
    } else {
        ok = is_damaged(f->path, e);
    }
    json_decref(all);
    return ok;
}

/* "folder/name" of a file that is not there yet. */
static char *new_name(const char *folder, const char *path)
{
    char *real = realpath(folder, NULL), *copy = mem_strdup(path);
    struct buf name;
    buf_init(&name, 1 << 16);
    buf_printf(&name, "%s/%s",
               real && strcmp(real, "/") == 0 ? ""
               : real                         ? real
                                              : folder,
               basename(copy));
    free(real);
    free(copy);
    return buf_take(&name, NULL);
}

/* Which file it is, and whether it can be written: before hours of talk are lost. */
static char *find_place(const char *path, struct error *e)
{
    char *file = realpath(path, NULL), *copy = mem_strdup(file ? file : path);
    const char *folder = dirname(copy);
    struct stat st;
    bool ok = false;
    if (!file && lstat(path, &st) == 0) {
        error_set(e, ERROR_IO, "%s is a link to a file that is not there: name that file", path);
    } else if (access(folder, W_OK) != 0) {
        error_set(e, ERROR_IO, "the session could not be written to %s: its folder is %s", path,
                  file_exists(folder) ? "read-only" : "not there");
    } else if (file && access(file, W_OK) != 0) {
        error_set(e, ERROR_IO, "the session could not be written to %s: it may only be read", path);
    } else {
        file = file ? file : new_name(folder, path);
        ok = true;
    }
    free(copy);
    if (!ok) {
        free(file);
        file = NULL;
    }
    return file;
}

bool talk_file_open(struct talk_file *f, const struct talk_wish *wish, const struct engine *en,
                    struct session *s, struct error *e)
{
    *f = (struct talk_file){
        .path = wish->path, .prompter = engine_prompter(en), .tools = describe_tools(wish->tools)};
    f->file = find_place(wish->path, e);
    if (!f->file || !take_lock(f, e)) {
        return false;
    }
    f->was_there = file_exists(f->file);
    if (!f->was_there) {
        return true;
    }
    if (wish->system) {
        return error_set(e, ERROR_USAGE,
                         "--system begins a chat, and %s holds one already: leave it out, or name "
                         "another file",
                         f->path);
    }
    struct buf note;
    buf_init(&note, MAX_NOTE_BYTES);
    bool ok = session_restore(s, f->file, &note, e) &&
              take_note(f, &note, wish->raw, engine_config(en)->n_vocab, e);
    buf_free(&note);
    return ok;
}

static bool save(const struct talk_file *f, const struct session *s, json_t *note, struct error *e)
{
    char *text = json_dumps(note, JSON_COMPACT);
    bool ok = session_save(s, text, text ? strlen(text) : 0, f->file, e);
    free(text);
    json_decref(note);
    return ok;
}

bool talk_file_save_chat(const struct talk_file *f, const struct session *s, json_t *messages,
                         struct error *e)
{
    json_t *note = json_pack("{s:O, s:O}", "messages", messages, "tools", f->tools);
    json_t *template = describe_template(f->prompter);
    if (template) {
        json_object_set_new(note, "template", template);
    }
    return save(f, s, note, e);
}

bool talk_file_save_text(const struct talk_file *f, const struct session *s, int32_t behind,
                         struct error *e)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < session_count(s); i++) {
        json_array_append_new(list, json_integer(session_tokens(s)[i]));
    }
    if (behind >= 0) {
        json_array_append_new(list, json_integer(behind));
    }
    return save(f, s, json_pack("{s:o}", "tokens", list), e);
}

void talk_file_free(struct talk_file *f)
{
    if (f->lock_path) {
        unlink(f->lock_path);
        close(f->lock);
        free(f->lock_path);
    }
    free(f->file);
    free(f->other_tools);
    json_decref(f->messages);
    json_decref(f->tools);
    token_list_free(&f->tokens);
    *f = (struct talk_file){0};
}

json_t *talk_file_waiting(json_t *messages)
{
    size_t n = json_array_size(messages), n_results = 0;
    while (n_results < n) {
        json_t *m = json_array_get(messages, n - 1 - n_results);
        const char *role = json_string_value(json_object_get(m, "role"));
        if (!role || strcmp(role, "tool") != 0) {
            break;
        }
        n_results++;
    }
    json_t *waiting = json_array();
    json_t *last = n_results < n ? json_array_get(messages, n - 1 - n_results) : NULL;
    json_t *calls = json_object_get(last, "tool_calls");
    for (size_t i = n_results; i < json_array_size(calls); i++) {
        json_array_append(waiting, json_array_get(calls, i));
    }
    return waiting;
}
