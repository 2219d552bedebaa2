/* answer_take.c: what the machine (answer.c) and the formats take off the front of an answer, and
 * the events that they make of it: see tools_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "chat/tools_internal.h"

/* ---- events ---- */

bool parser_emit(struct chat_parser *p, enum chat_event_kind kind, const char *text, size_t n)
{
    bool has_text = kind <= CHAT_REASONING || kind == CHAT_CALL_ARGUMENTS;
    if (p->stopped || (has_text && n == 0)) {
        return !p->stopped;
    }
    struct chat_event e = {.kind = kind, .text = has_text ? text : NULL, .n = n, .valid = true};
    if (kind == CHAT_CALL_BEGIN) {
        e.id = p->id.data;
        e.name = p->name.data;
    }
    if (kind >= CHAT_CALL_BEGIN) {
        e.index = p->n_begun - 1;
        e.valid = kind != CHAT_CALL_END || p->right;
    }
    p->stopped = !p->event(p->context, &e);
    return !p->stopped;
}

bool parser_is_newline(char c)
{
    return c == '\n' || c == '\r';
}

bool parser_is_blank(char c)
{
    return c == ' ' || c == '\t' || parser_is_newline(c);
}

static uint8_t kind_at(const struct chat_parser *p, size_t i)
{
    return (uint8_t)p->kind.data[i];
}

bool parser_is_control(const struct chat_parser *p, size_t i)
{
    return kind_at(p, i) == 1;
}

bool parser_in_control(const struct chat_parser *p, size_t i)
{
    return kind_at(p, i) != 0;
}

void parser_flush(struct chat_parser *p, size_t end, enum chat_event_kind kind)
{
    while (p->at < end && !p->stopped) {
        size_t from = p->at;
        bool control = kind_at(p, from) != 0;
        while (p->at < end && (kind_at(p, p->at) != 0) == control) {
            p->at++;
        }
        if (!control) {
            parser_emit(p, kind, p->text.data + from, p->at - from);
        }
    }
    p->at = end;
}

/* ---- marks ---- */

static bool is_control_mark(struct chat_parser *p, const char *mark)
{
    for (size_t i = 0; i < p->n_marks; i++) {
        if (p->marks[i].mark == mark) {
            return p->marks[i].control;
        }
    }
    bool control = p->o.probe && p->o.probe(p->o.probe_context, mark) == CHAT_TOKEN_CONTROL;
    if (p->n_marks < sizeof p->marks / sizeof *p->marks) {
        p->marks[p->n_marks].mark = mark;
        p->marks[p->n_marks++].control = control;
    }
    return control;
}

enum found parser_match(struct chat_parser *p, size_t i, const char *mark)
{
    size_t n = strlen(mark), rest = p->text.len - i, same = 0;
    while (same < n && same < rest && p->text.data[i + same] == mark[same]) {
        same++;
    }
    if ((same < n && (same < rest || p->ended)) || (rest && kind_at(p, i) == 2) ||
        (same == n && same < rest && kind_at(p, i + n) == 2)) {
        return FOUND_NO; /* something else, or a part of a token */
    }
    if (rest && kind_at(p, i) == 0 && is_control_mark(p, mark)) {
        return FOUND_NO; /* text that spells it */
    }
    return same == n ? FOUND_YES : FOUND_PART;
}

enum found parser_search(struct chat_parser *p, size_t from, const char *const *marks, size_t *at,
                         int *which)
{
    for (size_t i = from; i < p->text.len; i++) {
        for (int k = 0; k < CHAT_MAX_MARKS && marks[k]; k++) {
            if (p->text.data[i] != marks[k][0]) {
                continue;
            }
            enum found found = parser_match(p, i, marks[k]);
            if (found != FOUND_NO) {
                *at = i;
                *which = k;
                return found;
            }
        }
    }
    *at = p->text.len;
    *which = -1;
    return FOUND_NO;
}

enum step take_blanks(struct chat_parser *p)
{
    while (p->at < p->text.len && kind_at(p, p->at) == 0 && parser_is_blank(p->text.data[p->at])) {
        p->at++;
    }
    return p->at < p->text.len || p->ended ? STEP_GO : STEP_MORE;
}

enum step take_mark(struct chat_parser *p, const char *mark)
{
    enum found found = parser_match(p, p->at, mark);
    if (found == FOUND_YES) {
        p->at += strlen(mark);
    }
    return found == FOUND_YES ? STEP_GO : found == FOUND_PART ? STEP_MORE : STEP_BAD;
}

enum step take_until(struct chat_parser *p, const char *const *marks, int *which, struct buf *out)
{
    size_t at;
    enum found found = parser_search(p, p->at, marks, &at, which);
    for (size_t i = p->at; i < at; i++) {
        if (kind_at(p, i) != 0) { /* a control token that is no mark ends the text */
            found = FOUND_NO;
            *which = -1;
            at = i;
            break;
        }
    }
    if (!buf_append(out, p->text.data + p->at, at - p->at)) {
        return STEP_BAD;
    }
    p->at = at;
    if (found == FOUND_YES) {
        p->at += strlen(marks[*which]);
        return STEP_GO;
    }
    bool over = p->ended || (found == FOUND_NO && at < p->text.len);
    *which = -1;
    return over ? STEP_GO : STEP_MORE;
}

void parser_begin(struct chat_parser *p)
{
    if (p->begun || !p->name.len || p->n_begun >= CHAT_MAX_CALLS) {
        return;
    }
    if (!p->id.len) {
        char id[32];
        chat_make_id(p->o.id_seed, p->n_begun, p->f.calls->short_ids, id);
        buf_append_str(&p->id, id);
    }
    p->begun = true;
    p->sent = 0;
    p->n_begun++;
    parser_emit(p, CHAT_CALL_BEGIN, NULL, 0);
}

static void end_call(struct chat_parser *p, bool right)
{
    p->right = right;
    parser_emit(p, CHAT_CALL_END, NULL, 0);
    p->n_valid += right;
    p->begun = false;
}

void parser_send(struct chat_parser *p, const char *arguments, size_t n)
{
    if (p->begun && n > p->sent) {
        parser_emit(p, CHAT_CALL_ARGUMENTS, arguments + p->sent, n - p->sent);
        p->sent = n;
    }
}

enum step take_json(struct chat_parser *p, bool stream)
{
    while (p->json_at < p->text.len) {
        size_t i = p->json_at;
        unsigned what = kind_at(p, i) ? JSON_BAD : json_scan_push(&p->json, p->text.data[i]);
        if (what & JSON_BAD) {
            return STEP_BAD;
        }
        p->json_at++;
        if ((what & JSON_VALUE_BEGIN) && p->json.around == 0) {
            p->value = i;
            if (stream && p->o.stream_arguments && p->text.data[i] == '{') {
                parser_begin(p);
            }
        }
        if (what & JSON_DONE) {
            p->at = p->json_at;
            return STEP_GO;
        }
    }
    if (p->begun && p->json.depth) {
        parser_send(p, p->text.data + p->value, p->json_at - p->value);
    }
    return p->ended ? STEP_BAD : STEP_MORE;
}

void parser_give_up(struct chat_parser *p)
{
    if (p->begun) {
        end_call(p, false);
    }
}

void parser_reset_call(struct chat_parser *p)
{
    buf_clear(&p->name);
    buf_clear(&p->id);
    buf_clear(&p->arguments);
    buf_clear(&p->key);
    json_decref(p->object);
    p->object = NULL;
    p->begun = false;
    p->sent = 0;
}

void parser_json_start(struct chat_parser *p)
{
    json_scan_init(&p->json);
    p->json_at = p->json_begin = p->at;
}

bool parser_call(struct chat_parser *p, const char *arguments, size_t n)
{
    if (!p->name.len || p->name.len > CHAT_MAX_NAME_BYTES || p->id.len > CHAT_MAX_NAME_BYTES ||
        memchr(p->name.data, 0, p->name.len) || (p->id.len && memchr(p->id.data, 0, p->id.len)) ||
        (!p->begun && p->n_begun >= CHAT_MAX_CALLS)) {
        return false;
    }
    json_t *object = json_loadb(arguments, n, JSON_ALLOW_NUL, NULL);
    bool ok = json_is_object(object);
    json_decref(object);
    if (!ok) {
        return false;
    }
    parser_begin(p);
    parser_send(p, arguments, n);
    end_call(p, true);
    p->spoke = false;
    parser_reset_call(p);
    return true;
}

bool parser_call_object(struct chat_parser *p, json_t *arguments)
{
    char *text = json_dumps(arguments, JSON_COMPACT);
    json_decref(arguments);
    bool ok = text && parser_call(p, text, strlen(text));
    free(text);
    return ok;
}
