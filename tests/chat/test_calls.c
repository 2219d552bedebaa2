/* test_calls.c: answers taken apart: content, reasoning and tool calls of every format, cut at
 * every byte, with their marks as text and as control tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call_samples.h"
#include "chat/tools.h"

static json_t *tools_of_tests(void)
{
    return json_loads(
        "[{\"type\": \"function\", \"function\": {\"name\": \"python\"}},"
        " {\"type\": \"function\", \"function\": {\"name\": \"typed\", \"parameters\":"
        " {\"type\": \"object\", \"properties\": {\"zip\": {\"type\": \"string\"},"
        " \"count\": {\"type\": [\"integer\", \"null\"]},"
        " \"both\": {\"type\": [\"integer\", \"string\"]}}}}}]",
        0, NULL);
}

/* The control tokens of the sample at hand, for the probe. */
static enum chat_token probe_sample(void *context, const char *spelling)
{
    const char *text = context;
    size_t n = strlen(spelling);
    for (const char *at = strchr(text, 1); at; at = strchr(at + 1, 1)) {
        if (strncmp(at + 1, spelling, n) == 0 && at[1 + n] == 2) {
            return CHAT_TOKEN_CONTROL;
        }
    }
    return CHAT_TOKEN_NONE;
}

/* Checks the order of the events on their way to the message. */
struct watcher {
    struct chat_message *message;
    uint32_t next;
    bool in_call;
    size_t argument_bytes;
};

static bool watch(void *context, const struct chat_event *e)
{
    struct watcher *w = context;
    switch (e->kind) {
    case CHAT_CONTENT:
    case CHAT_REASONING:
        assert_false(w->in_call);
        assert_true(e->n > 0);
        break;
    case CHAT_CALL_BEGIN:
        assert_false(w->in_call);
        assert_int_equal(e->index, w->next);
        assert_true(*e->name && *e->id);
        w->in_call = true;
        w->next++;
        break;
    case CHAT_CALL_ARGUMENTS:
        assert_true(w->in_call && e->n > 0);
        assert_int_equal(e->index, w->next - 1);
        break;
    case CHAT_CALL_END:
        assert_true(w->in_call);
        assert_int_equal(e->index, w->next - 1);
        w->in_call = false;
        break;
    }
    chat_message_add(w->message, e);
    return true;
}

enum { AS_TEXT = 1, STREAMED = 2 };

/* The pieces of a sample go to the parser: cut at byte `cut` (of the marked text), or byte by byte
 * where cut is SIZE_MAX. */
static json_t *parse(const struct sample *s, int how, size_t cut)
{
    json_t *tools = tools_of_tests();
    struct chat_format f;
    assert_true(chat_format_find(s->calls + (s->calls[0] == '!'), s->reasoning, &f));
    struct chat_parser_options o = {.parse_calls = true,
                                    .parse_reasoning = true,
                                    .stream_arguments = how & STREAMED,
                                    .tools = tools,
                                    .id_seed = 7,
                                    .prompt_end = s->prompt_end,
                                    .n_prompt_end = strlen(s->prompt_end)};
    if (!(how & AS_TEXT)) {
        o.probe = probe_sample;
        o.probe_context = (void *)s->text;
    }
    struct watcher w = {.message = chat_message_new()};
    struct chat_parser *p = chat_parser_new(f, &o, watch, &w);
    const char *text = s->text;
    size_t n = strlen(text), from = 0;
    for (size_t i = 0; i <= n; i++) {
        bool mark = i < n && (text[i] == 1 || text[i] == 2);
        if (i > from && (i == n || mark || i == cut || cut == SIZE_MAX)) {
            assert_true(chat_parser_push(p, text + from, i - from));
            from = i;
        }
        if (mark && text[i] == 1 && !(how & AS_TEXT)) {
            size_t end = i + strcspn(text + i, "\x02");
            assert_true(chat_parser_control(p, text + i + 1, end - i - 1));
            i = end;
        }
        from = mark ? i + 1 : from;
    }
    assert_true(chat_parser_finish(p));
    assert_false(w.in_call);
    json_t *message = chat_message_json(w.message);
    assert_int_equal(chat_parser_calls(p), json_array_size(json_object_get(message, "tool_calls")));
    chat_parser_free(p);
    chat_message_free(w.message);
    json_decref(tools);
    return message;
}

static json_t *expected_of(const struct sample *s)
{
    char *copy = strdup(s->expected);
    for (char *c = copy; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_error_t why;
    json_t *json = json_loads(copy, 0, &why);
    if (!json) {
        fail_msg("%s: %s", copy, why.text);
    }
    free(copy);
    return json;
}

/* True where the message is what the sample expects; its ids must differ from each other. */
static bool same(json_t *message, json_t *expected)
{
    json_t *calls = json_object_get(message, "tool_calls"),
           *wanted = json_object_get(expected, "tool_calls");
    if (!json_equal(json_object_get(message, "content"), json_object_get(expected, "content")) ||
        json_array_size(calls) != json_array_size(wanted) ||
        !json_object_get(message, "reasoning_content") !=
            !json_object_get(expected, "reasoning_content") ||
        (json_object_get(expected, "reasoning_content") &&
         !json_equal(json_object_get(message, "reasoning_content"),
                     json_object_get(expected, "reasoning_content")))) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i), *f = json_object_get(call, "function");
        json_t *want = json_array_get(wanted, i), *id = json_object_get(call, "id");
        json_t *arguments = json_loads(json_string_value(json_object_get(f, "arguments")), 0, NULL);
        bool ok = json_equal(json_object_get(f, "name"), json_array_get(want, 0)) &&
                  json_equal(arguments, json_array_get(want, 1)) &&
                  (!json_array_get(want, 2) || json_equal(id, json_array_get(want, 2))) &&
                  strcmp(json_string_value(json_object_get(call, "type")), "function") == 0;
        json_decref(arguments);
        for (size_t k = 0; ok && k < i; k++) {
            ok = !json_equal(id, json_object_get(json_array_get(calls, k), "id"));
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static void check(const struct sample *s, int how, size_t cut, json_t *expected)
{
    json_t *message = parse(s, how, cut);
    if (!same(message, expected)) {
        char *got = json_dumps(message, 0), *wanted = json_dumps(expected, 0);
        fail_msg("%s, how %d, cut %zd:\n%s\ngot    %s\nwanted %s", s->calls, how, cut, s->text, got,
                 wanted);
    }
    json_decref(message);
}

static void every_sample_at_every_cut(void **state)
{
    (void)state;
    for (int i = 0; i < n_samples; i++) {
        const struct sample *s = &samples[i];
        json_t *expected = expected_of(s);
        size_t n = strlen(s->text);
        for (int how = 0; how < 4; how++) {
            if ((how & AS_TEXT) && s->calls[0] == '!') {
                continue;
            }
            check(s, how, n + 1, expected);
            check(s, how, SIZE_MAX, expected);
            for (size_t cut = 1; cut < n; cut++) {
                check(s, how, cut, expected);
            }
        }
        json_decref(expected);
    }
    print_message("# %d samples, each cut at every byte, as text and as control tokens\n",
                  n_samples);
}

/* ---- options ---- */

struct collected {
    struct chat_message *message;
    struct buf log; /* a letter per event: c r ( a ) x */
    size_t stop_after;
};

static bool collect(void *context, const struct chat_event *e)
{
    struct collected *c = context;
    char letter = "cr(a)"[e->kind];
    letter = e->kind == CHAT_CALL_END && !e->valid ? 'x' : letter;
    buf_append_char(&c->log, letter);
    chat_message_add(c->message, e);
    return !c->stop_after || c->log.len < c->stop_after;
}

static json_t *run_text(const char *calls, const char *reasoning, struct chat_parser_options o,
                        const char *text, size_t n, size_t piece, struct collected *c)
{
    struct chat_format f;
    assert_true(chat_format_find(calls, reasoning, &f));
    size_t stop_after = c->stop_after;
    *c = (struct collected){.message = chat_message_new(), .stop_after = stop_after};
    buf_init(&c->log, 1 << 24);
    struct chat_parser *p = chat_parser_new(f, &o, collect, c);
    bool more = true;
    for (size_t i = 0; more && i < n; i += piece) {
        more = chat_parser_push(p, text + i, n - i < piece ? n - i : piece);
    }
    if (more) {
        chat_parser_finish(p);
    }
    chat_parser_free(p);
    json_t *message = chat_message_json(c->message);
    chat_message_free(c->message);
    return message;
}

static void expect_run(const char *calls, const char *reasoning, struct chat_parser_options o,
                       const char *text, const char *expected, const char *log)
{
    struct collected c = {0};
    json_t *wanted = expected_of(&(struct sample){.expected = expected});
    json_t *message = run_text(calls, reasoning, o, text, strlen(text), 4096, &c);
    if (!same(message, wanted) || (log && strcmp(c.log.data ? c.log.data : "", log) != 0)) {
        char *got = json_dumps(message, 0);
        fail_msg("%s\ngot    %s %s\nwanted %s %s", text, got, c.log.data, expected, log);
    }
    buf_free(&c.log);
    json_decref(message);
    json_decref(wanted);
}

static void what_was_not_asked_for_is_content(void **state)
{
    (void)state;
    const char *text = "<think>t</think>w<tool_call>{\"name\": \"f\"}</tool_call>";
    struct chat_parser_options none = {0}, calls = {.parse_calls = true},
                               thoughts = {.parse_reasoning = true};
    expect_run("hermes", "think", none, text,
               "{'content': '<think>t</think>w<tool_call>{\\\"name\\\": \\\"f\\\"}</tool_call>'}",
               NULL);
    expect_run("hermes", "think", calls, text,
               "{'content': '<think>t</think>w', 'tool_calls': [['f', {}]]}", "c(a)");
    expect_run("hermes", "think", thoughts, text,
               "{'content': 'w<tool_call>{\\\"name\\\": \\\"f\\\"}</tool_call>', "
               "'reasoning_content': 't'}",
               NULL);
    expect_run("hermes", NULL, thoughts, "<think>t</think>w", "{'content': '<think>t</think>w'}",
               NULL);
    expect_run("llama3", NULL, none, "{\"name\": \"f\", \"parameters\": {}}",
               "{'content': '{\\\"name\\\": \\\"f\\\", \\\"parameters\\\": {}}'}", "c");
    /* Code behind the mark is for the interpreter, which need not be among the tools. */
    expect_run("llama3", NULL, calls, "<|python_tag|>print(1+1)",
               "{'content': null, 'tool_calls': [['python', {'code': 'print(1+1)'}]]}", "(a)");
    /* Thoughts are at the start, or behind a call. */
    struct chat_parser_options both = {.parse_calls = true, .parse_reasoning = true};
    expect_run("hermes", "think", both, "w <think>t</think>", "{'content': 'w <think>t</think>'}",
               NULL);
    expect_run("hermes", "think", both,
               "<tool_call>{\"name\": \"f\"}</tool_call>\n<think>t</think>\nw",
               "{'content': 'w', 'reasoning_content': 't', 'tool_calls': [['f', {}]]}", "(a)rc");
}

static void arguments_as_they_come(void **state)
{
    (void)state;
    struct chat_parser_options o = {.parse_calls = true, .stream_arguments = true};
    const char *text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1, 2]}}</tool_call>";
    struct collected c = {0};
    json_t *message = run_text("hermes", NULL, o, text, strlen(text), 1, &c);
    assert_string_equal(c.log.data, "(aaaaaaaaaaaaa)");
    buf_free(&c.log);
    json_decref(message);
    /* A call that breaks off is taken back: its text is content. */
    text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": oops}}";
    message = run_text("hermes", NULL, o, text, strlen(text), 1, &c);
    assert_memory_equal(c.log.data, "(aaaaaax", 8);
    assert_string_equal(json_string_value(json_object_get(message, "content")), text);
    assert_null(json_object_get(message, "tool_calls"));
    buf_free(&c.log);
    json_decref(message);
    /* Without the option nothing comes before the call is right. */
    o.stream_arguments = false;
    message = run_text("hermes", NULL, o, text, strlen(text), 1, &c);
    assert_null(strpbrk(c.log.data, "(ax)"));
    buf_free(&c.log);
    json_decref(message);
}

static void ids(void **state)
{
    (void)state;
    struct collected c = {0};
    const char *text = "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]g[ARGS]{}";
    char first[2][64];
    for (uint64_t seed = 1; seed < 4; seed++) {
        struct chat_parser_options o = {.parse_calls = true, .id_seed = seed / 2};
        json_t *message = run_text("mistral", NULL, o, text, strlen(text), 5, &c);
        json_t *calls = json_object_get(message, "tool_calls");
        for (size_t i = 0; i < 2; i++) {
            const char *id = json_string_value(json_object_get(json_array_get(calls, i), "id"));
            assert_int_equal(strlen(id), 9);
            assert_int_equal(
                strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), 9);
            if (seed == 1) {
                snprintf(first[i], sizeof first[i], "%s", id);
            } else if (seed == 2) {
                assert_string_not_equal(id, first[i]);
                snprintf(first[i], sizeof first[i], "%s", id);
            } else {
                assert_string_equal(id, first[i]); /* the same seed, the same ids */
            }
        }
        buf_free(&c.log);
        json_decref(message);
    }
    assert_string_not_equal(first[0], first[1]);
}

static void stopping(void **state)
{
    (void)state;
    struct chat_parser_options o = {.parse_calls = true};
    struct collected c = {.stop_after = 2};
    const char *text = "a<tool_call>{\"name\": \"f\"}</tool_call>bcdef";
    json_t *message = run_text("hermes", NULL, o, text, strlen(text), 1, &c);
    assert_string_equal(c.log.data, "c(");
    buf_free(&c.log);
    json_decref(message);
}

/* ---- hostile answers ---- */

static char *repeat(const char *piece, size_t times)
{
    size_t n = strlen(piece);
    char *text = malloc(n * times + 1);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + i * n, piece, n);
    }
    text[n * times] = 0;
    return text;
}

/* The whole text comes out as content, however long and however cut. */
static void expect_content(const char *calls, const char *before, const char *piece, size_t times)
{
    struct chat_parser_options o = {.parse_calls = true, .parse_reasoning = true};
    char *middle = repeat(piece, times);
    char *text = malloc(strlen(before) + strlen(middle) + 1);
    strcpy(text, before);
    strcat(text, middle);
    for (size_t piece_bytes = 7; piece_bytes < 2000000; piece_bytes *= 37) {
        struct collected c = {0};
        json_t *message = run_text(calls, "think", o, text, strlen(text), piece_bytes, &c);
        json_t *content = json_object_get(message, "content");
        assert_int_equal(json_string_length(content), strlen(text));
        assert_memory_equal(json_string_value(content), text, strlen(text));
        assert_null(json_object_get(message, "tool_calls"));
        buf_free(&c.log);
        json_decref(message);
    }
    free(middle);
    free(text);
}

static void hostile(void **state)
{
    (void)state;
    expect_content("hermes", "", "<tool_call>", 20000);
    expect_content("hermes", "", "<tool_call>{\"a\": \"", 5000);
    expect_content("hermes", "<tool_call>", "{\"a\":", 5000);
    expect_content("hermes", "<tool_call>", "[", 100000);
    expect_content("hermes", "<tool_call>{\"name\": \"", "x", 300000);
    expect_content("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"", "y",
                   CHAT_MAX_CALL_BYTES + 100000);
    expect_content("llama3", "", "{", 50000);
    expect_content("mistral", "[TOOL_CALLS]", "name", 50000);
    expect_content("mistral", "", "[TOOL_CALLS]f[ARGS]", 5000);
    expect_content("qwen3-coder", "<tool_call><function=f>", "<parameter=k>", 20000);
    expect_content("glm", "", "<tool_call>f<arg_key>", 10000);
    expect_content("functionary-v3.2", "", "\n>>>", 30000);
    expect_content("lfm2", "", "<|tool_call_start|>[f(", 5000);
    expect_content("command-r", "", "Action:\n```json\n[", 5000);
    expect_content("hermes", "x", "\n", 100000);
    /* More calls than anybody makes. */
    char *text = repeat("<tool_call>{\"name\": \"f\"}</tool_call>", CHAT_MAX_CALLS + 5);
    struct chat_parser_options o = {.parse_calls = true};
    struct collected c = {0};
    json_t *message = run_text("hermes", NULL, o, text, strlen(text), 1000, &c);
    assert_int_equal(json_array_size(json_object_get(message, "tool_calls")), CHAT_MAX_CALLS);
    assert_int_equal(json_string_length(json_object_get(message, "content")),
                     5 * strlen("<tool_call>{\"name\": \"f\"}</tool_call>"));
    buf_free(&c.log);
    json_decref(message);
    free(text);
}

static void bytes_that_are_no_text(void **state)
{
    (void)state;
    struct chat_parser_options o = {.parse_calls = true};
    struct collected c = {0};
    static const char text[] = "a\xff<tool_call>{\"name\": \"f\xfe\"}</tool_call>\0b";
    json_t *message = run_text("hermes", NULL, o, text, sizeof text - 1, 3, &c);
    static const char wanted[] =
        "a\xef\xbf\xbd<tool_call>{\"name\": \"f\xef\xbf\xbd\"}</tool_call>\0b";
    json_t *content = json_object_get(message, "content");
    assert_int_equal(json_string_length(content), sizeof wanted - 1);
    assert_memory_equal(json_string_value(content), wanted, sizeof wanted - 1);
    buf_free(&c.log);
    json_decref(message);
}

static void ends_of_prompts(void **state)
{
    (void)state;
    struct error e = {.code = ERROR_NONE};
    static const char source[] = "<|user|>{{ x }}<|assistant|>\n<think>\n{{ y }}";
    struct chat_template *t = chat_template_new(source, sizeof source - 1, &e);
    json_t *vars = json_pack("{s:s, s:s}", "x", "<think>", "y", "");
    struct chat_text out;
    size_t n;
    assert_true(chat_template_render(t, vars, 0, &out, &e));
    const char *end = chat_prompt_end(&out, &n);
    assert_int_equal(n, strlen("<|assistant|>\n<think>\n"));
    assert_memory_equal(end, "<|assistant|>", 13);
    chat_text_free(&out);
    /* What a variable wrote last opens nothing. */
    json_object_set_new(vars, "y", json_string("<think>"));
    assert_true(chat_template_render(t, vars, 0, &out, &e));
    chat_prompt_end(&out, &n);
    assert_int_equal(n, 0);
    chat_text_free(&out);
    json_decref(vars);
    chat_template_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_at_every_cut),
        cmocka_unit_test(what_was_not_asked_for_is_content),
        cmocka_unit_test(arguments_as_they_come),
        cmocka_unit_test(ids),
        cmocka_unit_test(stopping),
        cmocka_unit_test(hostile),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(ends_of_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
