/* message.c: the events of an answer put together as an OpenAI message. */
#include <string.h>

#include <stdlib.h>

#include "base/utf8.h"
#include "chat/tools.h"

enum { MAX_TEXT_BYTES = 1 << 28 };

struct chat_message {
    struct buf content, reasoning, arguments;
    json_t *calls, *call; /* call: the one that is coming, without its arguments */
};

struct chat_message *chat_message_new(void)
{
    struct chat_message *m = mem_zalloc(sizeof *m);
    buf_init(&m->content, MAX_TEXT_BYTES);
    buf_init(&m->reasoning, MAX_TEXT_BYTES);
    buf_init(&m->arguments, MAX_TEXT_BYTES);
    m->calls = json_array();
    return m;
}

void chat_message_free(struct chat_message *m)
{
    if (m) {
        buf_free(&m->content);
        buf_free(&m->reasoning);
        buf_free(&m->arguments);
        json_decref(m->calls);
        json_decref(m->call);
        free(m);
    }
}

static json_t *text_json(const struct buf *b)
{
    struct buf repaired;
    buf_init(&repaired, (size_t)MAX_TEXT_BYTES * 3);
    utf8_append_repaired(&repaired, b->data ? b->data : "", b->len);
    json_t *text = json_stringn(repaired.data ? repaired.data : "", repaired.len);
    buf_free(&repaired);
    return text;
}

static json_t *c_text_json(const char *text)
{
    struct buf b;
    buf_init(&b, MAX_TEXT_BYTES);
    buf_append_str(&b, text);
    json_t *json = text_json(&b);
    buf_free(&b);
    return json;
}

void chat_message_add(struct chat_message *m, const struct chat_event *e)
{
    switch (e->kind) {
    case CHAT_CONTENT:
        buf_append(&m->content, e->text, e->n);
        break;
    case CHAT_REASONING:
        buf_append(&m->reasoning, e->text, e->n);
        break;
    case CHAT_CALL_BEGIN:
        json_decref(m->call);
        m->call = json_pack("{s:o, s:s, s:{s:o}}", "id", c_text_json(e->id), "type", "function",
                            "function", "name", c_text_json(e->name));
        buf_clear(&m->arguments);
        break;
    case CHAT_CALL_ARGUMENTS:
        buf_append(&m->arguments, e->text, e->n);
        break;
    case CHAT_CALL_END:
        if (e->valid && m->call) {
            json_object_set_new(json_object_get(m->call, "function"), "arguments",
                                text_json(&m->arguments));
            json_array_append(m->calls, m->call);
        }
        json_decref(m->call);
        m->call = NULL;
        break;
    }
}

json_t *chat_message_json(const struct chat_message *m)
{
    bool calls = json_array_size(m->calls) > 0;
    json_t *out = json_pack("{s:s, s:o}", "role", "assistant", "content",
                            calls && !m->content.len ? json_null() : text_json(&m->content));
    if (m->reasoning.len) {
        json_object_set_new(out, "reasoning_content", text_json(&m->reasoning));
    }
    if (calls) {
        json_object_set_new(out, "tool_calls", json_deep_copy(m->calls));
    }
    return out;
}
