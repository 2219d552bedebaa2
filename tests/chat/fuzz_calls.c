/* fuzz_calls.c: takes whatever it is given as an answer, in a format that its first bytes choose,
 * and ends the process where tools.h does not hold: events out of order, arguments that are no
 * object, a message that depends on how the bytes were cut. Built for libFuzzer with -Dfuzz=true,
 * and with fuzz_replay.c as a test over the corpus.
 *
 *   byte 0: the calls' format; byte 1: the reasoning's, and options; then the answer, in which
 *   bytes 1 and 2 stand around a control token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "chat/tools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { STREAM = 64, CONTROLS = 128 };

struct watcher {
    struct chat_message *message;
    uint32_t next, valid;
    bool in_call, stream;
    struct buf arguments;
};

static bool watch(void *context, const struct chat_event *e)
{
    struct watcher *w = context;
    switch (e->kind) {
    case CHAT_CONTENT:
    case CHAT_REASONING:
        CHECK(!w->in_call && e->n > 0);
        break;
    case CHAT_CALL_BEGIN:
        CHECK(!w->in_call && e->index == w->next);
        CHECK(*e->name && strlen(e->name) <= CHAT_MAX_NAME_BYTES && *e->id);
        CHECK(w->next < CHAT_MAX_CALLS);
        w->in_call = true;
        w->next++;
        buf_clear(&w->arguments);
        break;
    case CHAT_CALL_ARGUMENTS:
        CHECK(w->in_call && e->n > 0 && e->index + 1 == w->next);
        buf_append(&w->arguments, e->text, e->n);
        break;
    case CHAT_CALL_END:
        CHECK(w->in_call && e->index + 1 == w->next);
        CHECK(e->valid || w->stream);
        w->in_call = false;
        if (e->valid) {
            json_t *object = json_loadb(w->arguments.data, w->arguments.len, JSON_ALLOW_NUL, NULL);
            CHECK(json_is_object(object));
            json_decref(object);
            w->valid++;
        }
        break;
    }
    chat_message_add(w->message, e);
    return true;
}

static enum chat_token all_control(void *context, const char *spelling)
{
    (void)context;
    (void)spelling;
    return CHAT_TOKEN_CONTROL;
}

/* piece: bytes that are pushed at a time; 0: as many as there are up to the next control token. */
static json_t *parse(struct chat_format f, uint8_t how, const char *text, size_t n, size_t piece)
{
    static const char prompt_end[] = "<|start|>assistant\n>>>";
    struct chat_parser_options o = {.parse_calls = true,
                                    .parse_reasoning = true,
                                    .stream_arguments = (how & STREAM) != 0,
                                    .id_seed = 3,
                                    .prompt_end = prompt_end,
                                    .n_prompt_end = sizeof prompt_end - 1,
                                    .probe = how & CONTROLS ? all_control : NULL};
    struct watcher w = {.message = chat_message_new(), .stream = o.stream_arguments};
    buf_init(&w.arguments, 1 << 26);
    struct chat_parser *p = chat_parser_new(f, &o, watch, &w);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        if (text[i] == 1) {
            for (end = i + 1; end < n && text[end] != 2; end++) {
            }
            chat_parser_control(p, text + i + 1, end - i - 1);
            i = end < n ? end + 1 : n;
            continue;
        }
        while (end < n && text[end] != 1 && (piece == 0 || end - i < piece)) {
            end++;
        }
        chat_parser_push(p, text + i, end - i);
        i = end;
    }
    chat_parser_finish(p);
    CHECK(!w.in_call);
    CHECK(chat_parser_calls(p) == w.valid);
    json_t *message = chat_message_json(w.message);
    CHECK(json_array_size(json_object_get(message, "tool_calls")) == w.valid);
    chat_parser_free(p);
    chat_message_free(w.message);
    buf_free(&w.arguments);
    return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t n_calls = 0, n_reasoning = 0;
    while (chat_calls_at(n_calls)) {
        n_calls++;
    }
    while (chat_reasoning_at(n_reasoning)) {
        n_reasoning++;
    }
    struct chat_format f = {chat_calls_at(data[0] % n_calls),
                            chat_reasoning_at((data[1] & 63) % (n_reasoning + 1))};
    /* A block of its own, of the exact size, so that a sanitizer sees a read past the end. */
    char *text = malloc(size);
    CHECK(text);
    memcpy(text, data + 2, size - 2);
    json_t *whole = parse(f, data[1], text, size - 2, 0);
    json_t *cut = parse(f, data[1], text, size - 2, 1);
    json_t *other = parse(f, data[1], text, size - 2, 3);
    CHECK(json_equal(whole, cut) && json_equal(whole, other));
    json_decref(whole);
    json_decref(cut);
    json_decref(other);
    free(text);
    return 0;
}
