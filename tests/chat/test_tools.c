/* test_tools.c: from a conversation to a template: formats found out, abilities, messages
 * prepared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/tools.h"
#include "published.h"

static json_t *parse_json(const char *text) /* with ' for " */
{
    char *copy = strdup(text);
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

/* ---- which format ---- */

static void formats_of_templates(void **state)
{
    (void)state;
    need_templates();
    for (int i = 0; i < n_models; i++) {
        struct buf source;
        read_template(models[i].file, &source);
        struct chat_format f = chat_format_detect(source.data, NULL, NULL);
        if (strcmp(chat_calls_name(f.calls), models[i].calls) != 0 ||
            strcmp(chat_reasoning_name(f.reasoning), models[i].reasoning) != 0) {
            fail_msg("%s: %s, %s", models[i].file, chat_calls_name(f.calls),
                     chat_reasoning_name(f.reasoning));
        }
        buf_free(&source);
    }
}

static enum chat_token knows_tag(void *context, const char *spelling)
{
    return strcmp(spelling, context) == 0 ? CHAT_TOKEN_TEXT : CHAT_TOKEN_NONE;
}

static void formats_of_vocabularies(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"<tool_call>", "hermes"},    {"[TOOL_CALLS]", "mistral"},
        {"<|python_tag|>", "llama3"}, {"<|channel|>", "harmony"},
        {"<|tool_call|>", "phi4"},    {"<|START_ACTION|>", "command-r7b"},
        {"nothing", "generic"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct chat_format f = chat_format_detect(NULL, knows_tag, (void *)rows[i][0]);
        assert_string_equal(chat_calls_name(f.calls), rows[i][1]);
        f = chat_format_detect("{{ messages }}", knows_tag, (void *)rows[i][0]);
        assert_string_equal(chat_calls_name(f.calls), rows[i][1]);
        f = chat_format_detect("<tool_call>", knows_tag, (void *)rows[i][0]);
        assert_string_equal(chat_calls_name(f.calls), "hermes"); /* the template says it */
    }
    struct chat_format f = chat_format_detect("{{ '<|tool|>' + t + '<|/tool|>' }}", NULL, NULL);
    assert_string_equal(chat_calls_name(f.calls), "phi4");
    f = chat_format_detect("<function={{ name }}>{...}</function>", NULL, NULL);
    assert_string_equal(chat_calls_name(f.calls), "functionary-v3.1");
    for (size_t i = 0; chat_calls_at(i); i++) {
        assert_true(chat_format_find(chat_calls_name(chat_calls_at(i)), NULL, &f));
        assert_ptr_equal(f.calls, chat_calls_at(i));
    }
    for (size_t i = 0; chat_reasoning_at(i); i++) {
        assert_true(chat_format_find("generic", chat_reasoning_name(chat_reasoning_at(i)), &f));
        assert_ptr_equal(f.reasoning, chat_reasoning_at(i));
    }
    assert_false(chat_format_find("nothing", NULL, &f));
    assert_false(chat_format_find("generic", "nothing", &f));
}

/* ---- messages for a template ---- */

/* What chat_prepare makes of messages and tools for a template of our own. */
static json_t *prepare(const char *source, const char *messages_json, const char *tools_json,
                       struct chat_abilities *a, const char **calls)
{
    struct error e = {.code = ERROR_NONE};
    struct chat_template *t = chat_template_new(source, strlen(source), &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    chat_abilities_probe(t, a);
    struct chat_format f = chat_format_detect(source, NULL, NULL);
    json_t *messages = parse_json(messages_json),
           *tools = tools_json ? parse_json(tools_json) : NULL;
    json_t *vars = chat_prepare(a, messages, tools, &f, &e);
    if (!vars) {
        fail_msg("%s", e.message);
    }
    if (calls) {
        *calls = chat_calls_name(f.calls);
    }
    json_decref(messages);
    json_decref(tools);
    chat_template_free(t);
    return vars;
}

static void expect_prepared(const char *source, const char *messages, const char *tools,
                            const char *expected)
{
    struct chat_abilities a;
    json_t *vars = prepare(source, messages, tools, &a, NULL), *wanted = parse_json(expected);
    if (!json_equal(vars, wanted)) {
        char *got = json_dumps(vars, JSON_INDENT(1));
        fail_msg("%s\ngot %s\nwanted %s", source, got, expected);
    }
    json_decref(vars);
    json_decref(wanted);
}

/* Templates that can do some things and not others. */
#define TURNS "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
#define WITH_CALLS                                                                                 \
    "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}{{ m.role "    \
    "}}: "                                                                                         \
    "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}"             \
    "{{ c.function.arguments | tojson }}{% endfor %}\n{% endfor %}"
#define TEXT_CALLS                                                                                 \
    "{% for m in messages %}{{ m.role }}: {% if m.tool_calls is defined %}{% if m.content is not " \
    "none %}{{ raise_exception('x') }}{% endif %}{{ m.tool_calls[0].function.name + ' ' + "        \
    "m.tool_calls[0].function.arguments }}{% else %}{{ m.content }}{% endif %}\n{% endfor %}"
#define NO_SYSTEM                                                                                  \
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"         \
    "{% endif %}{{ m.content }}{% endfor %}"

#define CALL                                                                                       \
    "{'id': 'call_1', 'type': 'function', 'function': {'name': 'add', 'arguments': '{\\\"a\\\": "  \
    "1}'}}"
#define HISTORY                                                                                    \
    "[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': null, 'tool_calls': "     \
    "[" CALL "]}, {'role': 'tool', 'tool_call_id': 'call_1', 'content': '2'}]"

static void messages_for_templates(void **state)
{
    (void)state;
    /* A template that does all takes them as they are, arguments as an object. */
    expect_prepared(
        WITH_CALLS, HISTORY, "[{'name': 'add'}]",
        "{'messages': [{'role': 'user', 'content': 'q'}, {'role': 'assistant', "
        "'content': '', 'tool_calls': [{'id': 'call_1', 'type': 'function', 'function': "
        "{'name': 'add', 'arguments': {'a': 1}}}]}, {'role': 'tool', 'tool_call_id': "
        "'call_1', 'content': '2'}], 'tools': [{'type': 'function', 'function': {'name': "
        "'add', 'description': '', 'parameters': {'type': 'object', 'properties': {}}}}]}");
    /* One that knows nothing of calls gets words. */
    expect_prepared(
        TURNS, HISTORY, NULL,
        "{'messages': [{'role': 'user', 'content': 'q'}, {'role': 'assistant', "
        "'content': '<tool_call>\\n{\\\"name\\\": \\\"add\\\", \\\"arguments\\\": {\\\"a\\\": "
        "1}}\\n</tool_call>'}, {'role': 'user', 'content': '<tool_response>\\n2\\n"
        "</tool_response>'}]}");
    /* Arguments as text, and content null. One call a message, its result behind it. */
    expect_prepared(
        TEXT_CALLS,
        "[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': '', 'tool_calls': ["
        "{'id': 'a', 'function': {'name': 'f', 'arguments': {'x': 1}}}, {'id': 'b', 'function': "
        "{'name': 'g'}}]}, {'role': 'tool', 'tool_call_id': 'b', 'content': 'B'}, {'role': 'tool', "
        "'tool_call_id': 'a', 'content': 'A'}]",
        NULL,
        "{'messages': [{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': null, "
        "'tool_calls': [{'id': 'a', 'type': 'function', 'function': {'name': 'f', 'arguments': "
        "'{\\\"x\\\": 1}'}}]}, {'role': 'tool', 'tool_call_id': 'a', 'content': 'A'}, {'role': "
        "'assistant', 'content': null, 'tool_calls': [{'id': 'b', 'type': 'function', 'function': "
        "{'name': 'g', 'arguments': '{}'}}]}, {'role': 'tool', 'tool_call_id': 'b', 'content': "
        "'B'}]}");
    /* The system's words go to the user, and parts become text. */
    expect_prepared(NO_SYSTEM,
                    "[{'role': 'system', 'content': 'S'}, {'role': 'user', 'content': [{'type': "
                    "'text', 'text': 'a'}, {'type': 'text', 'text': 'b'}]}]",
                    NULL, "{'messages': [{'role': 'user', 'content': 'S\\n\\nab'}]}");
    expect_prepared(NO_SYSTEM, "[{'role': 'system', 'content': 'S'}]", NULL,
                    "{'messages': [{'role': 'user', 'content': 'S'}]}");
    /* Thoughts have one name. */
    expect_prepared(
        TURNS, "[{'role': 'assistant', 'content': 'c', 'reasoning': 'r'}]", NULL,
        "{'messages': [{'role': 'assistant', 'content': 'c', 'reasoning_content': 'r'}]}");
    /* Ids that a format cannot have become others, the same for call and result. */
    struct chat_abilities a;
    const char *calls;
    json_t *vars = prepare(WITH_CALLS "[TOOL_CALLS]", HISTORY, NULL, &a, &calls);
    assert_string_equal(calls, "mistral");
    json_t *messages = json_object_get(vars, "messages");
    json_t *call = json_array_get(json_object_get(json_array_get(messages, 1), "tool_calls"), 0);
    assert_int_equal(json_string_length(json_object_get(call, "id")), 9);
    assert_true(json_equal(json_object_get(call, "id"),
                           json_object_get(json_array_get(messages, 2), "tool_call_id")));
    json_decref(vars);
}

static void tools_in_words(void **state)
{
    (void)state;
    struct chat_abilities a;
    const char *calls;
    json_t *vars = prepare(
        TURNS, "[{'role': 'user', 'content': 'q'}]",
        "[{'type': 'function', 'function': {'name': 'add', 'description': 'Adds.'}}]", &a, &calls);
    assert_string_equal(calls, "generic");
    assert_null(json_object_get(vars, "tools"));
    json_t *first = json_array_get(json_object_get(vars, "messages"), 0);
    const char *words = json_string_value(json_object_get(first, "content"));
    assert_string_equal(json_string_value(json_object_get(first, "role")), "system");
    assert_non_null(strstr(words, "\"name\": \"add\""));
    assert_non_null(strstr(words, "<tool_call>\n{\"name\""));
    json_decref(vars);
    /* With a system message, and where there is no place for one. */
    vars =
        prepare(NO_SYSTEM, "[{'role': 'system', 'content': 'S'}, {'role': 'user', 'content': 'q'}]",
                "[{'name': 'add'}]", &a, &calls);
    assert_int_equal(json_array_size(json_object_get(vars, "messages")), 1);
    words = json_string_value(
        json_object_get(json_array_get(json_object_get(vars, "messages"), 0), "content"));
    assert_true(strncmp(words, "S\n\nYou can use these tools", 26) == 0);
    assert_string_equal(words + strlen(words) - 3, "\n\nq");
    json_decref(vars);
    /* Phi-4 mini: text in the system message's own field. */
    vars =
        prepare("{% for m in messages %}{% if m.tools is defined %}<|tool|>{{ m.tools }}<|/tool|>"
                "{% endif %}{{ m.content }}{% endfor %}",
                "[{'role': 'user', 'content': 'q'}]", "[{'name': 'add'}]", &a, &calls);
    assert_true(a.tools_in_system);
    assert_string_equal(calls, "phi4");
    first = json_array_get(json_object_get(vars, "messages"), 0);
    assert_non_null(strstr(json_string_value(json_object_get(first, "tools")), "\"add\""));
    json_decref(vars);
}

/* DeepSeek's way: calls and results are written, tools are not listed. Words stand in a turn of
 * their own: a message with both loses one of them. */
#define DS(word) "<\xef\xbd\x9ctool\xe2\x96\x81" word "\xef\xbd\x9c>"
#define NATIVE(call)                                                                               \
    "{% for m in messages %}{% if m.role == 'assistant' and m.tool_calls %}A:" DS(                 \
        "calls\xe2\x96\x81"                                                                        \
        "begin") "{% for c in m.tool_calls %}" call "{% endfor %}{% elif m.role == 'tool' "        \
                 "%}R:{{ m.content }}{% endif %}{% if m.role != 'tool' and m.content is not none " \
                 "%}{{ m.role }}:{{ m.content }}{% endif %}\n{% endfor %}"
#define FENCED                                                                                     \
    "{{ c.function.name }}" DS("sep") "\n```json\n{{ c.function.arguments | tojson }}\n```"
#define PLAIN "{{ c.function.name }}" DS("sep") "{{ c.function.arguments | tojson }}"

static void tools_untold(void **state)
{
    (void)state;
    static const struct {
        const char *source, *calls, *told, *other;
    } cases[] = {
        {NATIVE(FENCED), "deepseek", "function" DS("sep") "NAME\n```json\n{", "<tool_call>"},
        {NATIVE(PLAIN), "deepseek-v3.1", "NAME" DS("sep") "{", "```"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_abilities a;
        const char *calls;
        json_t *vars =
            prepare(cases[i].source,
                    "[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'I look.',"
                    " 'tool_calls': [" CALL "]}, {'role': 'tool', 'tool_call_id': 'call_1', "
                    "'content': '2'}]",
                    "[{'name': 'add', 'description': 'Adds.'}]", &a, &calls);
        assert_true(!a.tools && a.calls && a.results && a.null_content && !a.words_with_calls);
        assert_string_equal(calls, cases[i].calls);
        assert_null(json_object_get(vars, "tools"));
        json_t *messages = json_object_get(vars, "messages");
        const char *told =
            json_string_value(json_object_get(json_array_get(messages, 0), "content"));
        assert_non_null(strstr(told, "\"name\": \"add\""));
        assert_non_null(strstr(told, cases[i].told));
        assert_null(strstr(told, cases[i].other));
        json_t *rest =
            parse_json("[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': "
                       "'I look.'}, {'role': 'assistant', 'content': null, 'tool_calls': [{'id': "
                       "'call_1', 'type': 'function', 'function': {'name': 'add', 'arguments': "
                       "{'a': 1}}}]}, {'role': 'tool', 'tool_call_id': 'call_1', 'content': '2'}]");
        json_array_remove(messages, 0);
        assert_true(json_equal(messages, rest));
        json_decref(rest);
        json_decref(vars);
    }
}

static void refused(const char *messages, const char *tools, enum error_code code,
                    const char *words)
{
    json_t *m = parse_json(messages), *t = tools ? parse_json(tools) : NULL;
    /* Whether the template takes parts or not. */
    for (int parts = 0; parts < 2; parts++) {
        struct chat_abilities a = {.parts = parts};
        struct chat_format f;
        struct error e = {.code = ERROR_NONE};
        chat_format_find("generic", NULL, &f);
        assert_null(chat_prepare(&a, m, t, &f, &e));
        if (e.code != code || !strstr(e.message, words)) {
            fail_msg("%s", e.message);
        }
    }
    json_decref(m);
    json_decref(t);
}

static void messages_refused(void **state)
{
    (void)state;
    refused("{}", NULL, ERROR_INPUT, "lists");
    refused("[1]", NULL, ERROR_INPUT, "each message must be an object");
    refused("[{'content': 'x'}]", NULL, ERROR_INPUT, "role");
    refused("[{'role': 'user', 'content': 5}]", NULL, ERROR_INPUT, "must be text");
    refused("[{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {}}]}]", NULL,
            ERROR_UNSUPPORTED, "image_url; only text can be given to the model, which takes no");
    refused("[{'role': 'user'}]", NULL, ERROR_INPUT, "role \"user\" has no \"content\"");
    refused("[{'role': 'user', 'content': null}]", NULL, ERROR_INPUT, "has no \"content\"");
    refused("[{'role': 'assistant', 'content': null, 'tool_calls': []}]", NULL, ERROR_INPUT,
            "role \"assistant\" has no \"content\"");
    refused("[{'role': 'tool', 'tool_call_id': 'a'}]", NULL, ERROR_INPUT, "has no \"content\"");
    refused("[{'role': 'assistant', 'tool_calls': {}}]", NULL, ERROR_INPUT, "must be a list");
    refused("[{'role': 'assistant', 'tool_calls': [{}]}]", NULL, ERROR_INPUT, "no name");
    refused("[{'role': 'assistant', 'tool_calls': [{'name': 'f', 'arguments': '{'}]}]", NULL,
            ERROR_INPUT, "call to \"f\" are no JSON object");
    refused("[{'role': 'assistant', 'tool_calls': [{'name': 'f', 'arguments': [1]}]}]", NULL,
            ERROR_INPUT, "no JSON object");
    refused("[]", "[{'type': 'function'}]", ERROR_INPUT, "tool 1 has no name");
}

int main(int argc, char **argv)
{
    published_open(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_of_templates),   cmocka_unit_test(formats_of_vocabularies),
        cmocka_unit_test(messages_for_templates), cmocka_unit_test(tools_in_words),
        cmocka_unit_test(tools_untold),           cmocka_unit_test(messages_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
