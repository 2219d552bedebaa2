/* test_tool_call.c: what a grammar of calls lets a model say, read back by the parser of answers
 * (chat/tools.h) in every format: names and arguments come out as the schemas of the tools want. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/tools.h"
#include "grammar/grammar.h"
#include "grammar/tool_call.h"

static const char tools_text[] = "[{\"type\": \"function\", \"function\": {\"name\": "
                                 "\"get_weather\", \"parameters\": {\"type\": \"object\","
                                 " \"properties\": {\"city\": {\"type\": \"string\", \"enum\": "
                                 "[\"Paris\", \"Bonn\"]}, \"days\": {\"type\": "
                                 "\"integer\", \"minimum\": 1, \"maximum\": 5}}, \"required\": "
                                 "[\"city\"], \"additionalProperties\": false}}},"
                                 " {\"type\": \"function\", \"function\": {\"name\": \"stop\"}}]";

/* Calls in each format: one that is right, the same with a city and a number that are not. */
static const struct {
    const char *calls, *text, *wrong_city, *wrong_days;
} rows[] = {
#define JSON_CALL(before, name, arguments, behind)                                                 \
    before "{\"" name "\": \"get_weather\", \"" arguments                                          \
           "\": {\"city\": \"Paris\", \"days\": 3}}" behind,                                       \
        before "{\"" name "\": \"get_weather\", \"" arguments "\": {\"city\": \"Rome\"}}" behind,  \
        before "{\"" name "\": \"get_weather\", \"" arguments                                      \
               "\": {\"city\": \"Bonn\", \"days\": 6}}" behind
    {"generic", JSON_CALL("<tool_call>\n", "name", "arguments", "\n</tool_call>")},
    {"hermes", JSON_CALL("<tool_call>\n", "name", "arguments", "\n</tool_call>")},
    {"llama3", JSON_CALL("", "name", "parameters", "")},
    {"phi4", JSON_CALL("<|tool_call|>[", "name", "arguments", "]<|/tool_call|>")},
    {"command-r", JSON_CALL("Action:\n```json\n[", "tool_name", "parameters", "]\n```")},
    {"command-r7b", JSON_CALL("<|START_ACTION|>[", "tool_call_id\": \"0\", \"tool_name",
                              "parameters", "]<|END_ACTION|>")},
    {"apriel", JSON_CALL("<tool_calls>[", "name", "arguments", "]</tool_calls>")},
    {"nemotron", JSON_CALL("<TOOLCALL>[", "name", "arguments", "]</TOOLCALL>")},
    {"firefunction", JSON_CALL("functools[", "name", "arguments", "]")},
    {"gigachat", JSON_CALL("function call<|role_sep|>\n", "name", "arguments", "")},
    {"mistral", JSON_CALL("[TOOL_CALLS][", "name", "arguments", "]")},
#define PLAIN_CALL(before, behind)                                                                 \
    before "{\"city\": \"Paris\", \"days\": 3}" behind, before "{\"city\": \"Rome\"}" behind,      \
        before "{\"city\": \"Bonn\", \"days\": 6}" behind
    {"apertus", PLAIN_CALL("<|tools_prefix|>[{\"get_weather\": ", "}]<|tools_suffix|>")},
    {"deepseek",
     PLAIN_CALL("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
                "```json\n",
                "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>")},
    {"deepseek-v3.1",
     PLAIN_CALL("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>",
                "<｜tool▁call▁end｜><｜tool▁calls▁end｜>")},
    {"kimi", PLAIN_CALL("<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
                        "<|tool_call_argument_begin|>",
                        "<|tool_call_end|><|tool_calls_section_end|>")},
    {"functionary-v3.1", PLAIN_CALL("<function=get_weather>", "</function>")},
    {"harmony",
     PLAIN_CALL("<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>", "")},
#define TAG_CALL(before, city, days, end, behind)                                                  \
    before city "Paris" end days "3" end behind, before city "Rome" end behind,                    \
        before city "Bonn" end days "6" end behind
    {"qwen3-coder",
     TAG_CALL("<tool_call>\n<function=get_weather>\n", "<parameter=city>\n", "<parameter=days>\n",
              "\n</parameter>\n", "</function>\n</tool_call>")},
    {"seed", TAG_CALL("<seed:tool_call>\n<function=get_weather>\n", "<parameter=city>",
                      "<parameter=days>", "</parameter>\n", "</function>\n</seed:tool_call>")},
    {"glm", TAG_CALL("<tool_call>get_weather\n", "<arg_key>city</arg_key>\n<arg_value>",
                     "<arg_key>days</arg_key>\n<arg_value>", "</arg_value>\n", "</tool_call>")},
    {"dsml", TAG_CALL("<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n",
                      "<｜DSML｜parameter name=\"city\" string=\"true\">",
                      "<｜DSML｜parameter name=\"days\" string=\"false\">",
                      "</｜DSML｜parameter>\n", "</｜DSML｜invoke>\n</｜DSML｜function_calls>")},
};

static json_t *tools;

static struct grammar *compile(const char *calls, enum tool_choice choice, const char *name,
                               bool parallel, struct error *e)
{
    struct tool_call_options o = {
        .tools = tools, .calls = calls, .choice = choice, .name = name, .parallel = parallel};
    schema_options_defaults(&o.schema);
    *e = (struct error){0};
    return grammar_tool_call(&o, e);
}

static bool accepts(struct grammar *g, const char *text)
{
    struct grammar_verdict v;
    struct error e = {0};
    return grammar_check_text(g, text, strlen(text), &v, &e) && v.complete &&
           v.n_good == strlen(text);
}

static bool add_event(void *context, const struct chat_event *event)
{
    chat_message_add(context, event);
    return true;
}

/* The parser finds the call that the grammar allowed. */
static void check_parsed(const char *calls, const char *text)
{
    struct chat_format f;
    struct chat_parser_options o = {.parse_calls = true, .tools = tools};
    struct chat_message *m = chat_message_new();
    assert_true(chat_format_find(calls, NULL, &f));
    struct chat_parser *p = chat_parser_new(f, &o, add_event, m);
    chat_parser_push(p, text, strlen(text));
    chat_parser_finish(p);
    json_t *message = chat_message_json(m);
    json_t *call = json_array_get(json_object_get(message, "tool_calls"), 0);
    json_t *function = json_object_get(call, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    const char *arguments = json_string_value(json_object_get(function, "arguments"));
    json_t *found = arguments ? json_loads(arguments, 0, NULL) : NULL;
    json_t *expected = json_pack("{s:s, s:i}", "city", "Paris", "days", 3);
    if (!name || strcmp(name, "get_weather") != 0 || !json_equal(found, expected)) {
        char *shown = json_dumps(message, 0);
        fail_msg("%s: %s is read as %s", calls, text, shown);
    }
    json_decref(expected);
    json_decref(found);
    json_decref(message);
    chat_parser_free(p);
    chat_message_free(m);
}

static void test_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error e;
        char both[1024];
        snprintf(both, sizeof both, "Let me see.\n%s", rows[i].text);
        for (int choice = TOOL_CHOICE_NONE; choice <= TOOL_CHOICE_NAMED; choice++) {
            struct grammar *g =
                compile(rows[i].calls, (enum tool_choice)choice, "get_weather", false, &e);
            if (!g) {
                fail_msg("%s: %s", rows[i].calls, e.message);
            }
            bool framed = strcmp(rows[i].calls, "harmony") == 0, bare = i == 2;
            const char *words = framed ? "<|channel|>final<|message|>Hello." : "Hello.";
            if (accepts(g, rows[i].text) != (choice != TOOL_CHOICE_NONE) ||
                accepts(g, words) != (choice <= TOOL_CHOICE_AUTO)) {
                fail_msg("%s, choice %d: %s", rows[i].calls, choice, rows[i].text);
            }
            assert_false(accepts(g, rows[i].wrong_city));
            assert_false(accepts(g, rows[i].wrong_days));
            assert_true(framed || bare || accepts(g, both) == (choice == TOOL_CHOICE_AUTO));
            grammar_free(g);
        }
        check_parsed(rows[i].calls, rows[i].text);
    }
}

static void test_choices(void **state)
{
    (void)state;
    static const char stop[] = "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>";
    static const char two[] =
        "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>\n"
        "<tool_call>\n{\"name\": \"stop\", \"arguments\": {\"x\": 1}}\n</tool_call>";
    struct error e;
    struct grammar *g = compile("hermes", TOOL_CHOICE_REQUIRED, NULL, false, &e);
    assert_true(accepts(g, stop));
    assert_false(accepts(g, two));
    grammar_free(g);
    g = compile("hermes", TOOL_CHOICE_REQUIRED, NULL, true, &e);
    assert_true(accepts(g, two));
    grammar_free(g);
    g = compile("hermes", TOOL_CHOICE_NAMED, "get_weather", true, &e);
    assert_false(accepts(g, stop));
    grammar_free(g);
    assert_null(compile("hermes", TOOL_CHOICE_NAMED, "fly", true, &e));
    assert_string_equal(e.message, "no tool has the name \"fly\"");
    assert_null(compile("lfm2", TOOL_CHOICE_AUTO, NULL, true, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);

    json_t *all = tools;
    tools = json_loads(
        "[{\"name\": \"f\", \"parameters\": {\"properties\": {\"a\": {\"pattern\": \"(\"}}}}]", 0,
        NULL);
    assert_null(compile("hermes", TOOL_CHOICE_AUTO, NULL, true, &e));
    assert_int_equal(strncmp(e.message, "tools/0 (f): #/properties/a/pattern: ", 37), 0);
    assert_null(compile("glm", TOOL_CHOICE_AUTO, NULL, true, &e));
    assert_int_equal(strncmp(e.message, "tools/0 (f): #/properties/a/pattern: ", 37), 0);
    json_decref(tools);
    tools = json_loads("[{\"name\": \"f\", \"parameters\": {\"type\": \"string\"}}]", 0, NULL);
    assert_null(compile("hermes", TOOL_CHOICE_AUTO, NULL, true, &e));
    assert_int_equal(strncmp(e.message, "tools/0 (f): #", 14), 0);
    json_decref(tools);
    /* The keyword to blame, as of a schema by itself, whether one must or may have the member. */
    static const char *const contradictory[] = {
        "{\"type\": \"object\", \"properties\": {\"u\": {\"type\": \"integer\", \"minimum\": 5, "
        "\"maximum\": 4}}, \"required\": [\"u\"]}",
        "{\"properties\": {\"u\": {\"type\": \"integer\", \"minimum\": 5, \"maximum\": 4}}, "
        "\"required\": [\"u\"]}",
        "{\"type\": \"object\", \"properties\": {\"u\": {\"type\": \"integer\", \"minimum\": 5, "
        "\"maximum\": 4}}}"};
    for (int i = 0; i < 3; i++) {
        tools = json_pack("[{s:s}, {s:s, s:o}]", "name", "fine", "name", "f", "parameters",
                          json_loads(contradictory[i], 0, NULL));
        for (int j = 0; j < 2; j++) {
            static const char said[] = "tools/1 (f): #/properties/u/maximum: nothing satisfies "
                                       "this together with #/properties/u/minimum";
            assert_null(compile(j ? "glm" : "hermes", TOOL_CHOICE_REQUIRED, NULL, true, &e));
            assert_memory_equal(e.message, said, sizeof said - 1);
        }
        json_decref(tools);
    }
    /* Seen only where all rules are put together. */
    tools = json_loads("[{\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": "
                       "{\"a\": {\"$ref\": \"#\"}}, \"required\": [\"a\"]}}]",
                       0, NULL);
    assert_null(compile("hermes", TOOL_CHOICE_REQUIRED, NULL, true, &e));
    assert_int_equal(strncmp(e.message, "tools/0 (f): #/", 15), 0);
    json_decref(tools);
    /* Strict tools ask for all of their members, in every notation. */
    tools =
        json_loads("[{\"name\": \"f\", \"strict\": true, \"parameters\": {\"type\": \"object\", "
                   "\"properties\": {\"a\": {}}, \"additionalProperties\": false}}]",
                   0, NULL);
    for (int j = 0; j < 2; j++) {
        assert_null(compile(j ? "glm" : "hermes", TOOL_CHOICE_AUTO, NULL, true, &e));
        assert_int_equal(strncmp(e.message, "tools/0 (f): #/required: must name \"a\"", 38), 0);
    }
    json_decref(tools);
    tools = json_loads("[{\"name\": \"a b\"}]", 0, NULL);
    assert_null(compile("hermes", TOOL_CHOICE_AUTO, NULL, true, &e));
    assert_int_equal(strncmp(e.message, "tools/0: a tool has a", 21), 0);
    json_decref(tools);
    tools = json_loads("[{\"name\": \"a\"}, {\"name\": \"b\"}, {\"name\": \"a\"}]", 0, NULL);
    assert_null(compile("hermes", TOOL_CHOICE_AUTO, NULL, true, &e));
    assert_string_equal(e.message, "tools/2: a tool before it has the name \"a\", too");
    json_decref(tools);
    tools = json_array();
    assert_null(compile("hermes", TOOL_CHOICE_REQUIRED, NULL, true, &e));
    assert_string_equal(e.message, "a call is wanted, and there are no tools");
    json_decref(tools);
    tools = all;

    struct tool_call_options o = {.tools = tools,
                                  .calls = "hermes",
                                  .choice = TOOL_CHOICE_REQUIRED,
                                  .reasoning_open = "<think>",
                                  .reasoning_close = "</think>"};
    schema_options_defaults(&o.schema);
    char thought[256];
    snprintf(thought, sizeof thought, "<think>Hm <tool_call>?</think>\n\n%s", stop);
    g = grammar_tool_call(&o, &e);
    assert_true(accepts(g, thought));
    assert_true(accepts(g, stop));
    assert_false(accepts(g, thought + 7));
    grammar_free(g);
    o.thinking = true;
    g = grammar_tool_call(&o, &e);
    assert_true(accepts(g, thought + 7));
    assert_false(accepts(g, stop));
    grammar_free(g);

    enum tool_choice choice;
    const char *name;
    json_t *v = json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", "stop");
    assert_true(tool_choice_read(v, &choice, &name, &e));
    assert_int_equal(choice, TOOL_CHOICE_NAMED);
    assert_string_equal(name, "stop");
    json_decref(v);
    v = json_string("required");
    assert_true(tool_choice_read(v, &choice, &name, &e));
    assert_int_equal(choice, TOOL_CHOICE_REQUIRED);
    json_decref(v);
    v = json_integer(3);
    assert_false(tool_choice_read(v, &choice, &name, &e));
    assert_true(strncmp(e.message, "must be \"none\", ", 16) == 0); /* behind a field's name */
    json_decref(v);
}

/* With "none" a call is not even begun; what only looks like it is said. */
static void test_none(void **state)
{
    (void)state;
    static const struct {
        const char *calls, *begins, *words;
    } marks[] = {
        {"hermes", "Well. <tool_", "x < y, <b>tools</b>, <tool> and <toolbox>"},
        {"glm", "<tool_", "a <to b"},
        {"mistral", "[TOOL_", "[1] and [TOOLS]"},
        {"command-r7b", "<|START_", "<|x|>"},
        {"functionary-v3.1", "<function=", "#include <functional>"},
        {"nemotron", "<TOOLCALL>", "<TOOL>"},
        {"deepseek", "<\xef\xbd\x9ctool\xe2\x96\x81", "<|tool|>"},
        {"dsml",
         "<\xef\xbd\x9c"
         "DSML\xef\xbd\x9c",
         "DSML"},
        {"seed", "<seed:", "<seed>"},
        {"firefunction", "functools[", "functools, function"},
        {"llama3", " \n{", "a {b}"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        struct error e;
        struct grammar_verdict v;
        struct grammar *g = compile(marks[i].calls, TOOL_CHOICE_NONE, NULL, true, &e);
        assert_non_null(g);
        size_t n = strlen(marks[i].begins);
        assert_true(grammar_check_text(g, marks[i].begins, n, &v, &e));
        if (v.n_good != n - 1) {
            fail_msg("%s: %zu of %zu bytes are good", marks[i].begins, v.n_good, n);
        }
        if (!accepts(g, marks[i].words)) {
            fail_msg("%s: \"%s\" is refused", marks[i].calls, marks[i].words);
        }
        grammar_free(g);
    }
}

int main(void)
{
    tools = json_loads(tools_text, 0, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_choices),
    };
    int failed = cmocka_run_group_tests_name("tool_call", tests, NULL, NULL);
    json_decref(tools);
    return failed;
}
