#include "cli/talk_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

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

static bool take_note(struct talk_file *f, const struct buf *note, bool raw, uint32_t n_vocab,
                      struct error *e)
{
    json_t *all = note->len ? json_loadb(note->data, note->len, 0, NULL) : NULL;
    json_t *messages = json_object_get(all, "messages"), *tokens = json_object_get(all, "tokens");
    bool ok;
    if (json_is_array(messages)) {
        ok = raw ? error_set(e, ERROR_USAGE,
                             "%s holds a chat: go on with it without --raw, or name another file",
                             f->path)
                 : take_messages(f, messages, e);
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

/* Before hours of talk are lost. */
static bool check_place(const char *path, struct error *e)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? mem_strndup(path, slash > path ? (size_t)(slash - path) : 1) : NULL;
    bool ok = access(folder ? folder : ".", W_OK) == 0 ||
              error_set(e, ERROR_IO, "the session could not be written to %s: its folder is %s",
                        path, file_exists(folder ? folder : ".") ? "read-only" : "not there");
    free(folder);
    return ok;
}

bool talk_file_open(struct talk_file *f, const char *path, const char *system, bool raw,
                    const struct engine *en, struct session *s, struct error *e)
{
    *f = (struct talk_file){.path = path, .was_there = file_exists(path)};
    if (!check_place(path, e)) {
        return false;
    }
    if (!f->was_there) {
        return true;
    }
    if (system) {
        return error_set(e, ERROR_USAGE,
                         "--system begins a chat, and %s holds one already: leave it out, or name "
                         "another file",
                         path);
    }
    struct buf note;
    buf_init(&note, MAX_NOTE_BYTES);
    bool ok = session_restore(s, path, &note, e) &&
              take_note(f, &note, raw, engine_config(en)->n_vocab, e);
    buf_free(&note);
    return ok;
}

static bool save(const struct talk_file *f, const struct session *s, json_t *note, struct error *e)
{
    char *text = json_dumps(note, JSON_COMPACT);
    bool ok = session_save(s, text, text ? strlen(text) : 0, f->path, e);
    free(text);
    json_decref(note);
    return ok;
}

bool talk_file_save_chat(const struct talk_file *f, const struct session *s, json_t *messages,
                         struct error *e)
{
    return save(f, s, json_pack("{s:O}", "messages", messages), e);
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
    json_decref(f->messages);
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
