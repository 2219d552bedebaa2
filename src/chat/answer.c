/* answer.c: the machine that takes an answer apart: see tools_internal.h. */
#include "chat/tools_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum {
    HELD_NEWLINES = 16,  /* newlines in front of a mark belong to it; more than these do not */
    RESCAN_BYTES = 1024, /* of a call that was none: so much is looked at again for marks */
};

/* ---- the usual machine ---- */

/* The newlines that stand right before `end`, at most HELD_NEWLINES of them. */
static size_t without_newlines(const struct chat_parser *p, size_t end)
{
    size_t begin = end;
    while (begin > p->at && end - begin < HELD_NEWLINES && !parser_in_control(p, begin - 1) &&
           parser_is_newline(p->text.data[begin - 1])) {
        begin--;
    }
    return begin;
}

static void skip_newlines(struct chat_parser *p)
{
    while (p->skip_blanks && p->at < p->text.len) {
        if (!parser_in_control(p, p->at) && parser_is_newline(p->text.data[p->at])) {
            p->at++;
        } else {
            p->skip_blanks = false;
        }
    }
}

/* Marks that count in content now: those of calls, and the one that opens thoughts. */
static size_t content_marks(const struct chat_parser *p, const char *marks[CHAT_MAX_MARKS + 2])
{
    size_t n = 0;
    for (; p->o.parse_calls && n < CHAT_MAX_MARKS && p->f.calls->open[n]; n++) {
        marks[n] = p->f.calls->open[n];
    }
    if (p->o.parse_reasoning && p->f.reasoning && !p->spoke) {
        marks[n++] = p->f.reasoning->open;
    }
    marks[n] = NULL;
    return n;
}

static enum found search_content(struct chat_parser *p, size_t *at, const char **mark)
{
    const char *marks[CHAT_MAX_MARKS + 2];
    size_t n = content_marks(p, marks);
    bool spoke = p->spoke;
    for (size_t i = p->at; i < p->text.len; i++) {
        bool thought = !spoke && p->o.parse_reasoning && p->f.reasoning;
        for (size_t k = 0; k < n; k++) {
            if (p->text.data[i] != marks[k][0] ||
                (marks[k] == (p->f.reasoning ? p->f.reasoning->open : NULL) && !thought)) {
                continue;
            }
            enum found found = parser_match(p, i, marks[k]);
            if (found != FOUND_NO) {
                *at = i;
                *mark = marks[k];
                return found;
            }
        }
        spoke |= !parser_in_control(p, i) && !parser_is_blank(p->text.data[i]);
    }
    *at = p->text.len;
    *mark = NULL;
    return FOUND_NO;
}

/* The call's mark number `mark` is text[at, end); the newlines from p->at to it are the call's too.
 */
static void open_call(struct chat_parser *p, size_t end, int mark)
{
    parser_reset_call(p);
    p->json_at = 0;
    p->state = IN_CALL;
    p->call_begin = p->at;
    p->open_bytes = end - p->at;
    p->mark = mark;
    p->phase = p->sub = 0;
    p->at = mark < 0 ? end : end - p->f.calls->keep;
}

/* True while it goes on without more text. */
static bool step_content(struct chat_parser *p)
{
    skip_newlines(p);
    if (p->o.parse_calls && p->f.calls->bare && !p->no_bare && !p->spoke) {
        size_t i = p->at;
        while (i < p->text.len && !parser_in_control(p, i) && parser_is_blank(p->text.data[i])) {
            i++;
        }
        if (i < p->text.len && !parser_in_control(p, i) && p->text.data[i] == '{') {
            open_call(p, p->at, -1);
            return true;
        }
    }
    const char *mark;
    size_t at;
    enum found found = search_content(p, &at, &mark);
    bool held = (p->o.parse_calls || p->f.reasoning) && !p->ended;
    size_t end = found == FOUND_YES || held ? without_newlines(p, at) : at;
    for (size_t i = p->at; i < end && !p->spoke; i++) {
        p->spoke = !parser_in_control(p, i) && !parser_is_blank(p->text.data[i]);
    }
    parser_flush(p, end, CHAT_CONTENT);
    if (found != FOUND_YES) {
        if (p->ended) {
            parser_flush(p, p->text.len, CHAT_CONTENT);
        }
        return false;
    }
    if (p->f.reasoning && mark == p->f.reasoning->open) {
        p->at = at + strlen(mark);
        p->state = IN_REASONING;
        p->skip_blanks = true;
        return true;
    }
    int number = 0;
    while (p->f.calls->open[number] != mark) {
        number++;
    }
    open_call(p, at + strlen(mark), number);
    return true;
}

/* The mark that ends the thoughts: their own (-1), or the control token that begins a call. A model
 * that thinks about the spelling of a call does not begin one. */
static enum found search_reasoning(struct chat_parser *p, size_t *at, int *which)
{
    for (size_t i = p->at; i < p->text.len; i++) {
        enum found found = parser_match(p, i, p->f.reasoning->close);
        *at = i;
        *which = -1;
        if (found != FOUND_NO) {
            return found;
        }
        for (int k = 0; p->o.parse_calls && parser_is_control(p, i) && k < CHAT_MAX_MARKS &&
                        p->f.calls->open[k];
             k++) {
            if (parser_match(p, i, p->f.calls->open[k]) == FOUND_YES) {
                *which = k;
                return FOUND_YES;
            }
        }
    }
    *at = p->text.len;
    return FOUND_NO;
}

static bool step_reasoning(struct chat_parser *p)
{
    size_t at;
    int which;
    skip_newlines(p);
    enum found found = search_reasoning(p, &at, &which);
    parser_flush(p, without_newlines(p, at), CHAT_REASONING);
    if (found != FOUND_YES) {
        p->at = p->ended ? p->text.len : p->at;
        return false;
    }
    p->skip_blanks = true;
    p->state = IN_CONTENT;
    if (which >= 0) {
        open_call(p, at + strlen(p->f.calls->open[which]), which);
    } else {
        p->at = at + strlen(p->f.reasoning->close);
    }
    return true;
}

/* What looked like a call is content: its mark, and what follows is looked at again. */
static void give_back(struct chat_parser *p)
{
    parser_give_up(p);
    size_t end = p->json_at > p->at ? p->json_at : p->at;
    bool again = end - p->call_begin <= RESCAN_BYTES;
    size_t keep = p->open_bytes ? p->open_bytes : 1;
    end = again && p->call_begin + keep < end ? p->call_begin + keep : end;
    end = end < p->call_begin + p->open_bytes ? p->call_begin + p->open_bytes : end;
    end = end > p->text.len ? p->text.len : end;
    parser_emit(p, CHAT_CONTENT, p->text.data + p->call_begin, end - p->call_begin);
    p->at = end;
    p->spoke = p->no_bare = true;
    p->state = IN_CONTENT;
    parser_reset_call(p);
}

static bool step_call(struct chat_parser *p)
{
    enum step step = p->f.calls->call(p);
    if (step == STEP_MORE && p->text.len - p->call_begin > CHAT_MAX_CALL_BYTES) {
        step = STEP_BAD;
    }
    if (step == STEP_MORE && !p->ended) {
        return false;
    }
    if (step == STEP_GO) {
        p->state = IN_CONTENT;
        p->skip_blanks = true;
        return true;
    }
    give_back(p);
    return true;
}

static void run(struct chat_parser *p)
{
    bool more = true;
    if (p->f.calls->run) {
        while (more && !p->stopped) {
            more = p->f.calls->run(p);
        }
        return;
    }
    while (more && !p->stopped) {
        more = p->state == IN_CONTENT     ? step_content(p)
               : p->state == IN_REASONING ? step_reasoning(p)
                                          : step_call(p);
    }
}

/* Drops the text that is done with. */
static void compact(struct chat_parser *p)
{
    size_t done = p->state == IN_CALL && p->call_begin < p->at ? p->call_begin : p->at;
    size_t rest = p->text.len - done;
    if (done == 0 || (rest && done < 4096 && p->state == IN_CALL)) {
        return;
    }
    memmove(p->text.data, p->text.data + done, rest);
    memmove(p->kind.data, p->kind.data + done, rest);
    p->text.len = p->kind.len = rest;
    p->at -= done;
    p->call_begin = p->call_begin > done ? p->call_begin - done : 0;
    size_t *const offsets[] = {&p->json_begin, &p->json_at,         &p->element,
                               &p->value,      &p->arguments_begin, &p->arguments_end};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        *offsets[i] = *offsets[i] > done ? *offsets[i] - done : 0;
    }
}

/* Appends to what is not understood yet; false where memory for it ends. */
static bool take_in(struct chat_parser *p, const char *bytes, size_t n, bool control)
{
    if (!buf_reserve(&p->text, n) || !buf_reserve(&p->kind, n)) {
        return false;
    }
    buf_append(&p->text, bytes, n);
    for (size_t i = 0; i < n; i++) {
        buf_append_char(&p->kind, (char)(control ? i ? 2 : 1 : 0));
    }
    return true;
}

/* ---- public ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    while (n && parser_is_blank(text[n - 1])) {
        n--;
    }
    while (m && parser_is_blank(end[m - 1])) {
        m--;
    }
    return m && n >= m && memcmp(text + n - m, end, m) == 0;
}

const char *chat_reasoning_opened(const struct chat_format *f, const char *prompt_end, size_t n)
{
    char *end = mem_strndup(prompt_end ? prompt_end : "", n);
    bool opened = f->reasoning && ends_with(end, f->reasoning->open);
    free(end);
    return opened ? f->reasoning->close : NULL;
}

struct chat_parser *chat_parser_new(struct chat_format f, const struct chat_parser_options *o,
                                    chat_event_fn *event, void *context)
{
    struct chat_parser *p = mem_zalloc(sizeof *p);
    p->f = f;
    p->o = *o;
    p->event = event;
    p->context = context;
    p->prompt_end = mem_strndup(o->prompt_end ? o->prompt_end : "", o->n_prompt_end);
    p->tools = json_incref(o->tools);
    buf_init(&p->text, (size_t)CHAT_MAX_CALL_BYTES * 4);
    buf_init(&p->kind, (size_t)CHAT_MAX_CALL_BYTES * 4);
    buf_init(&p->name, CHAT_MAX_NAME_BYTES + 2);
    buf_init(&p->id, CHAT_MAX_NAME_BYTES + 2);
    buf_init(&p->arguments, CHAT_MAX_CALL_BYTES);
    buf_init(&p->key, CHAT_MAX_NAME_BYTES + 2);
    buf_init(&p->header, CHAT_MAX_CALL_BYTES);
    p->phase = -1;
    if (f.reasoning && o->parse_reasoning && ends_with(p->prompt_end, f.reasoning->open)) {
        p->state = IN_REASONING;
        p->skip_blanks = true;
    }
    return p;
}

void chat_parser_free(struct chat_parser *p)
{
    if (p) {
        free(p->prompt_end);
        json_decref(p->tools);
        buf_free(&p->text);
        buf_free(&p->kind);
        buf_free(&p->name);
        buf_free(&p->id);
        buf_free(&p->arguments);
        buf_free(&p->key);
        buf_free(&p->header);
        json_decref(p->object);
        free(p);
    }
}

bool chat_parser_push(struct chat_parser *p, const char *bytes, size_t n)
{
    /* In portions, so that a long text is as good as many short ones. */
    for (size_t done = 0; done < n && !p->stopped;) {
        size_t portion = n - done < 65536 ? n - done : 65536;
        if (!take_in(p, bytes + done, portion, false)) {
            p->stopped = true;
            break;
        }
        done += portion;
        run(p);
        compact(p);
    }
    return !p->stopped;
}

bool chat_parser_control(struct chat_parser *p, const char *spelling, size_t n)
{
    if (!p->stopped && n) {
        p->stopped = !take_in(p, spelling, n, true);
        run(p);
        compact(p);
    }
    return !p->stopped;
}

bool chat_parser_finish(struct chat_parser *p)
{
    p->ended = true;
    if (!p->stopped) {
        run(p);
    }
    return !p->stopped;
}

uint32_t chat_parser_calls(const struct chat_parser *p)
{
    return p->n_valid;
}

const char *chat_prompt_end(const struct chat_text *prompt, size_t *n)
{
    size_t begin = prompt->n;
    while (begin > 0 && prompt->n - begin < 512 && prompt->trusted[begin - 1]) {
        begin--;
    }
    *n = prompt->n - begin;
    return prompt->text ? prompt->text + begin : "";
}

void chat_make_id(uint64_t seed, uint32_t index, bool short_id, char out[32])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t x = rng_mix(seed + (index + 1) * RNG_STEP);
    size_t n = 0;
    if (!short_id) {
        memcpy(out, "call_", 5);
        n = 5;
    }
    for (int i = 0; i < 9; i++) {
        out[n++] = digits[x % 62];
        x /= 62;
    }
    out[n] = 0;
}
