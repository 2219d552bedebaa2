/* calls_framed.c: formats that frame the whole answer: each part says for whom it is.
 *
 *   harmony           <|channel|>analysis<|message|>thoughts<|end|><|start|>assistant
 *   (gpt-oss)         <|channel|>commentary to=functions.f
 * <|constrain|>json<|message|>{...}<|call|>
 *                     <|channel|>final<|message|>words<|return|>
 *   functionary-v3.2  all\nwords>>>f\n{...}            behind the ">>>" of the prompt
 */
#include "chat/tools_internal.h"

#include <string.h>

/* The rest of text from `from` as content: what was no call. */
static void give_content(struct chat_parser *p, const char *text, size_t n)
{
    parser_emit(p, CHAT_CONTENT, text, n);
    p->spoke = true;
}

/* ---- harmony ---- */

enum { HEADER, BODY };
enum channel { FINAL, ANALYSIS, CALL };

/* The word behind `label` in a header, up to a blank or '<'. */
static size_t word_behind(const struct buf *header, const char *label, const char **word)
{
    const char *at = header->data ? strstr(header->data, label) : NULL;
    if (!at) {
        return 0;
    }
    *word = at + strlen(label);
    return strcspn(*word, " \t\r\n<");
}

/* "assistant to=functions.f<|channel|>commentary json" and the like. */
static enum channel read_header(struct chat_parser *p)
{
    const char *word;
    size_t n = word_behind(&p->arguments, "to=", &word);
    if (n && p->o.parse_calls) {
        size_t skip = n > 10 && memcmp(word, "functions.", 10) == 0 ? 10 : 0;
        buf_clear(&p->name);
        buf_append(&p->name, word + skip, n - skip);
        return CALL;
    }
    n = word_behind(&p->arguments, "<|channel|>", &word);
    return n == 8 && memcmp(word, "analysis", 8) == 0 ? ANALYSIS : FINAL;
}

static const char *const message = "<|message|>";
static const char *const ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>", NULL};

/* A header is collected whole, its control tokens too. */
static bool harmony_header(struct chat_parser *p)
{
    while (p->at < p->text.len) {
        enum found found = parser_match(p, p->at, message);
        if (found == FOUND_PART) {
            return false;
        }
        if (found == FOUND_YES) {
            p->at += strlen(message);
            p->sub = (int)read_header(p);
            buf_clear(&p->header);
            if (p->sub == CALL) { /* for a call that turns out to be none */
                buf_append(&p->header, p->arguments.data, p->arguments.len);
                buf_append_str(&p->header, message);
            }
            buf_clear(&p->arguments);
            p->begun = false;
            p->phase = BODY;
            return true;
        }
        if (!buf_append_char(&p->arguments, p->text.data[p->at])) {
            give_content(p, p->arguments.data, p->arguments.len);
            buf_clear(&p->arguments);
        }
        p->at++;
        if (p->arguments.len > 4 * CHAT_MAX_NAME_BYTES) { /* no header is that long */
            give_content(p, p->arguments.data, p->arguments.len);
            buf_clear(&p->arguments);
        }
    }
    if (p->ended && p->arguments.len) {
        /* Words without a frame. */
        bool frame = strstr(p->arguments.data, "<|") != NULL;
        if (!frame) {
            give_content(p, p->arguments.data, p->arguments.len);
        }
        buf_clear(&p->arguments);
    }
    return false;
}

/* The arguments of a call are complete, or as complete as they get. */
static void harmony_call(struct chat_parser *p)
{
    const char *text = p->arguments.data ? p->arguments.data : "";
    if (!parser_call(p, text, p->arguments.len)) {
        parser_give_up(p);
        give_content(p, p->header.data, p->header.len);
        give_content(p, text, p->arguments.len);
    }
    parser_reset_call(p);
}

static bool harmony_body(struct chat_parser *p)
{
    size_t at;
    int which;
    enum found found = parser_search(p, p->at, ends, &at, &which);
    if (p->sub == CALL) {
        /* Control tokens inside are left out, as in content. */
        for (; p->at < at; p->at++) {
            if (!parser_in_control(p, p->at) &&
                !buf_append_char(&p->arguments, p->text.data[p->at])) {
                found = FOUND_YES; /* too long for a call */
                break;
            }
        }
        if (p->o.stream_arguments && p->arguments.len && p->arguments.data[0] == '{') {
            parser_begin(p);
            parser_send(p, p->arguments.data, p->arguments.len);
        }
    } else {
        parser_flush(p, at,
                     p->sub == ANALYSIS && p->o.parse_reasoning ? CHAT_REASONING : CHAT_CONTENT);
    }
    if (found != FOUND_YES && !(p->ended && p->at == p->text.len)) {
        return false;
    }
    if (p->sub == CALL) {
        harmony_call(p);
    }
    if (found != FOUND_YES) {
        p->phase = HEADER;
        return false;
    }
    if (p->at == at) {
        p->at += strlen(ends[which]);
    }
    p->phase = HEADER;
    return true;
}

static bool run_harmony(struct chat_parser *p)
{
    if (p->phase < 0) {
        p->phase = HEADER;
    }
    return p->phase == HEADER ? harmony_header(p) : harmony_body(p);
}

const struct chat_calls calls_harmony = {
    .name = "harmony",
    .sign = "<|channel|>",
    .vocabulary = "<|channel|>",
    .run = run_harmony,
};

/* ---- Functionary v3.2 ---- */

enum { WORDS, RECIPIENT, OBJECT, CODE };

static bool in_name(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' ||
           c == '-';
}

static bool functionary_words(struct chat_parser *p)
{
    static const char *const marks[] = {">>>", NULL};
    size_t at;
    int which;
    enum found found = parser_search(p, p->at, marks, &at, &which);
    parser_flush(p, at, CHAT_CONTENT);
    if (found != FOUND_YES) {
        return false;
    }
    p->at += strlen(marks[0]);
    parser_reset_call(p);
    p->phase = RECIPIENT;
    return true;
}

/* The name, which is a line of its own; what is none is content. */
static bool functionary_recipient(struct chat_parser *p)
{
    while (p->at < p->text.len && !parser_in_control(p, p->at) && in_name(p->text.data[p->at]) &&
           buf_append_char(&p->name, p->text.data[p->at])) {
        p->at++;
    }
    if (p->at == p->text.len && !p->ended) {
        return false;
    }
    const char *name = p->name.data ? p->name.data : "";
    bool line = p->at < p->text.len && !parser_in_control(p, p->at) && p->text.data[p->at] == '\n';
    bool all = strcmp(name, "all") == 0;
    if (!line || !*name || (!all && !p->o.parse_calls)) {
        give_content(p, ">>>", p->sub ? 3 : 0);
        give_content(p, name, p->name.len);
        parser_reset_call(p);
        p->phase = WORDS;
    } else {
        p->at++;
        p->phase = all ? WORDS : strcmp(name, "python") == 0 ? CODE : OBJECT;
        parser_json_start(p);
    }
    p->sub = 1; /* the next ">>>" is the model's own */
    return true;
}

static bool functionary_object(struct chat_parser *p)
{
    enum step step = take_json(p, true);
    if (step == STEP_MORE) {
        return false;
    }
    if (step == STEP_BAD || !parser_call(p, p->text.data + p->value, p->at - p->value)) {
        parser_give_up(p);
        give_content(p, p->name.data ? p->name.data : "", p->name.len);
        give_content(p, "\n", 1);
        p->at = p->json_begin; /* what should have been JSON is words */
        parser_reset_call(p);
    }
    p->phase = WORDS;
    return true;
}

static bool functionary_code(struct chat_parser *p)
{
    static const char *const marks[] = {">>>", NULL};
    int which;
    enum step step = take_until(p, marks, &which, &p->arguments);
    if (step == STEP_MORE) {
        return false;
    }
    const char *text = p->arguments.data ? p->arguments.data : "";
    size_t n = p->arguments.len;
    if (!parser_call(p, text, n)) {
        json_t *code = json_pack("{s:s%}", "code", text, n);
        if (!code || !parser_call_object(p, code)) {
            give_content(p, text, n);
        }
    }
    parser_reset_call(p);
    p->phase = step == STEP_GO && which == 0 ? RECIPIENT : WORDS;
    return true;
}

static bool run_functionary(struct chat_parser *p)
{
    if (p->phase < 0) {
        size_t n = strlen(p->prompt_end);
        bool asked = n >= 3 && memcmp(p->prompt_end + n - 3, ">>>", 3) == 0;
        p->phase = asked ? RECIPIENT : WORDS;
        p->sub = !asked;
    }
    bool more = p->phase == WORDS       ? functionary_words(p)
                : p->phase == RECIPIENT ? functionary_recipient(p)
                : p->phase == OBJECT    ? functionary_object(p)
                                        : functionary_code(p);
    if (!more && p->ended && p->phase == OBJECT) {
        return functionary_object(p);
    }
    return more;
}

static bool is_functionary_v32(const char *source)
{
    return strstr(source, ">>>all\\n") != NULL;
}

const struct chat_calls calls_functionary_v32 = {
    .name = "functionary-v3.2",
    .detect = is_functionary_v32,
    .run = run_functionary,
};
