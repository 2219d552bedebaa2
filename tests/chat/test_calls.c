/* test_calls.c: answers taken apart: content, reasoning and tool calls of every format, cut at
 * every byte, with their marks as text and as control tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/tools.h"

/* Around a control token in the samples. */
#define C(token) "\x01" token "\x02"

struct sample {
    /* The format; behind '!': only with control tokens as such, for some of them are no marks and
     * say nothing, or the marks stand where their text would not count. */
    const char *calls, *reasoning, *prompt_end;
    const char *text;
    /* {content, reasoning_content, tool_calls: [[name, arguments, id?]]} with ' for ". */
    const char *expected;
};

#define DS(words) C("<\xef\xbd\x9c" words "\xef\xbd\x9c>")
#define SP        "\xe2\x96\x81"
#define DSML                                                                                       \
    "\xef\xbd\x9c"                                                                                 \
    "DSML"                                                                                         \
    "\xef\xbd\x9c"

static const struct sample samples[] = {
    /* ---- content alone ---- */
    {"generic", NULL, "", "Just words.\n\nTwo lines.\n",
     "{'content': 'Just words.\\n\\nTwo lines.\\n'}"},
    {"hermes", "think", "", "", "{'content': ''}"},
    {"hermes", "think", "", "\n\n", "{'content': '\\n\\n'}"},
    {"!hermes", "think", "", "a < b <tool> <tool_cal </tool_call>" C("<|im_end|>"),
     "{'content': 'a < b <tool> <tool_cal </tool_call>'}"},
    /* ---- Hermes and Qwen ---- */
    {"!hermes", NULL, "",
     C("<tool_call>") "\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2, {}]}}\n" C(
         "</tool_call>") C("<|im_end|>"),
     "{'content': null, 'tool_calls': [['add', {'a': 1, 'b': [2, {}]}]]}"},
    {"hermes", NULL, "",
     "Let me look.\n" C("<tool_call>") "{\"arguments\": {\"q\": \"</tool_call> \\\"x\\\" {\"}, "
                                       "\"name\": \"find\"}" C("</tool_call>") "\n" C(
                                           "<tool_call>") "\n{\"name\":\"now\"}\n" C("</"
                                                                                     "tool_call>"),
     "{'content': 'Let me look.', 'tool_calls': [['find', {'q': '</tool_call> \\\"x\\\" {'}], "
     "['now', {}]]}"},
    {"hermes", "think", "",
     C("<think>") "\nThe user wants\na sum.\n" C("</think>") "\n\nSure.\n\n" C(
         "<tool_call>") "\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n" C("</tool_call>"),
     "{'content': 'Sure.', 'reasoning_content': 'The user wants\\na sum.', 'tool_calls': [['add', "
     "{'a': 1}]]}"},
    {"hermes", "think", "<|im_start|>assistant\n<think>\n", "Hm.\n" C("</think>") "\nYes.",
     "{'content': 'Yes.', 'reasoning_content': 'Hm.'}"},
    {"hermes", "think", "<think>\n\n</think>\n\n", "Yes.", "{'content': 'Yes.'}"},
    {"hermes", "think", "<think>", "only thoughts\n",
     "{'content': '', 'reasoning_content': 'only thoughts'}"},
    /* the missing closing mark, the arguments as text, OpenAI's nesting, an id */
    {"hermes", NULL, "",
     C("<tool_call>") "{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\", \"id\": \"x9\"}",
     "{'content': null, 'tool_calls': [['f', {'a': 1}, 'x9']]}"},
    {"hermes", NULL, "",
     C("<tool_call>") "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": "
                      "{\"a\": null}}}" C("</tool_call>") "done",
     "{'content': 'done', 'tool_calls': [['f', {'a': null}]]}"},
    {"hermes", NULL, "",
     C("<tool_call>") "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": "
                      "{\"x\": -0.5e3}}]" C("</tool_call>"),
     "{'content': null, 'tool_calls': [['f', {}], ['g', {'x': -500.0}]]}"},
    {"generic", NULL, "",
     "<tool_call>{\"name\": \"f\", \"arguments\": {\"u\": \"\\u00e9\\n\"}}</tool_call>",
     "{'content': null, 'tool_calls': [['f', {'u': '\\u00e9\\n'}]]}"},
    /* ---- what looks like a call and is none ---- */
    {"hermes", NULL, "", "The tag <tool_call> opens, </tool_call> closes.",
     "{'content': 'The tag <tool_call> opens, </tool_call> closes.'}"},
    {"hermes", NULL, "", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call> x",
     "{'content': '<tool_call>{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": [1]}</tool_call> x'}"},
    {"hermes", NULL, "", "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
     "{'content': '<tool_call>{\\\"name\\\": \\\"\\\", \\\"arguments\\\": {}}</tool_call>'}"},
    {"hermes", NULL, "", "<tool_call>{\"nam: \"f\"}</tool_call>",
     "{'content': '<tool_call>{\\\"nam: \\\"f\\\"}</tool_call>'}"},
    {"hermes", NULL, "", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": ",
     "{'content': '<tool_call>\\n{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {\\\"a\\\": '}"},
    {"hermes", NULL, "", "<tool_call>{x<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
     "{'content': '<tool_call>{x', 'tool_calls': [['f', {}]]}"},
    /* ---- Llama 3.x ---- */
    {"!llama3", NULL, "",
     "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Oslo\"}}" C("<|eom_id|>"),
     "{'content': null, 'tool_calls': [['get_weather', {'city': 'Oslo'}]]}"},
    {"llama3", NULL, "",
     "\n\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"s\": \"}\"}}",
     "{'content': null, 'tool_calls': [['f', {'s': '}'}]]}"},
    {"!llama3", NULL, "",
     C("<|python_tag|>") "{\"name\": \"f\", \"parameters\": {\"a\": 1}}; {\"name\": \"g\", "
                         "\"parameters\": {}}" C("<|eom_id|>"),
     "{'content': null, 'tool_calls': [['f', {'a': 1}], ['g', {}]]}"},
    {"!llama3", NULL, "",
     C("<|python_tag|>") "brave_search.call(query=\"weather in 'Oslo'\", n=3)" C("<|eom_id|>"),
     "{'content': null, 'tool_calls': [['brave_search', {'query': 'weather in \\u0027Oslo\\u0027', "
     "'n': 3}]]}"},
    {"!llama3", NULL, "", C("<|python_tag|>") "print('hello')\nx = 1" C("<|eom_id|>"),
     "{'content': null, 'tool_calls': [['python', {'code': 'print(\\u0027hello\\u0027)\\nx = "
     "1'}]]}"},
    {"llama3", NULL, "", "{\"answer\": 42}", "{'content': '{\\\"answer\\\": 42}'}"},
    {"llama3", NULL, "", "{not json} and words", "{'content': '{not json} and words'}"},
    {"llama3", NULL, "", "Words, then {\"name\": \"f\", \"parameters\": {}}",
     "{'content': 'Words, then {\\\"name\\\": \\\"f\\\", \\\"parameters\\\": {}}'}"},
    /* ---- Mistral ---- */
    {"!mistral", NULL, "",
     C("[TOOL_CALLS]") "[{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, "
                       "{\"name\": \"g\", \"arguments\": {}, \"id\": \"jklmnopqr\"}]" C("</s>"),
     "{'content': null, 'tool_calls': [['f', {'a': 1}, 'abcdefghi'], ['g', {}, 'jklmnopqr']]}"},
    {"mistral", NULL, "", C("[TOOL_CALLS]") " [{\"arguments\": {\"a\": \"]\"}, \"name\": \"f\"}]",
     "{'content': null, 'tool_calls': [['f', {'a': ']'}]]}"},
    {"!mistral", NULL, "",
     "Looking. " C("[TOOL_CALLS]") "f" C("[CALL_ID]") "abcdefghi" C(
         "[ARGS]") "{\"a\": {\"b\": []}}" C("[TOOL_CALLS]") "g" C("[ARGS]") "{}" C("</s>"),
     "{'content': 'Looking. ', 'tool_calls': [['f', {'a': {'b': []}}, 'abcdefghi'], ['g', {}]]}"},
    {"mistral", "mistral", "",
     C("[THINK]") "a plan" C("[/THINK]") "Words" C("[TOOL_CALLS]") "f" C("[ARGS]") "{\"x\": true}",
     "{'content': 'Words', 'reasoning_content': 'a plan', 'tool_calls': [['f', {'x': true}]]}"},
    {"mistral", NULL, "", "[TOOL_CALLS] is a mark of theirs",
     "{'content': '[TOOL_CALLS] is a mark of theirs'}"},
    /* ---- Phi-4 and Granite ---- */
    {"!phi4", NULL, "",
     C("<|tool_call|>") "[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]" C("<|/tool_call|>")
         C("<|end|>"),
     "{'content': null, 'tool_calls': [['f', {'a': 1}]]}"},
    {"phi4", NULL, "",
     C("<|tool_call|>") "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": "
                        "{\"k\": \"v\"}}]",
     "{'content': null, 'tool_calls': [['f', {}], ['g', {'k': 'v'}]]}"},
    {"phi4", NULL, "",
     C("<|tool_call|>") "[]"
                        "none needed",
     "{'content': 'none needed'}"},
    /* ---- Functionary ---- */
    {"!functionary-v3.1", NULL, "",
     "One moment.\n<function=get_weather>{\"city\": "
     "\"Rome\"}</function>\n<function=now>{}</function>" C("<|eom_id|>"),
     "{'content': 'One moment.', 'tool_calls': [['get_weather', {'city': 'Rome'}], ['now', {}]]}"},
    {"functionary-v3.1", NULL, "", "<function=f>no json</function>",
     "{'content': '<function=f>no json</function>'}"},
    {"functionary-v3.2", NULL, "<|end_header_id|>\n\n>>>", "all\nHello there",
     "{'content': 'Hello there'}"},
    {"!functionary-v3.2", NULL, ">>>",
     "get_weather\n{\"city\": \"Rome\"}>>>now\n{}" C("<|eot_id|>"),
     "{'content': null, 'tool_calls': [['get_weather', {'city': 'Rome'}], ['now', {}]]}"},
    {"functionary-v3.2", NULL, ">>>", "all\nA doctest: >>> 1 + 1 and >>>\n>>>f\n{\"a\": 1}",
     "{'content': 'A doctest: >>> 1 + 1 and >>>\\n', 'tool_calls': [['f', {'a': 1}]]}"},
    {"functionary-v3.2", NULL, ">>>", "python\nprint(1)\n",
     "{'content': null, 'tool_calls': [['python', {'code': 'print(1)\\n'}]]}"},
    {"functionary-v3.2", NULL, ">>>", "f\n{broken", "{'content': 'f\\n{broken'}"},
    {"functionary-v3.2", NULL, ">>>", "no name", "{'content': 'no name'}"},
    /* ---- Command-R ---- */
    {"command-r", NULL, "",
     "I will search.\nAction:\n```json\n[\n    {\n        \"tool_name\": \"search\",\n        "
     "\"parameters\": {\n            \"q\": \"cats\"\n        }\n    }\n]```\n",
     "{'content': 'I will search.', 'tool_calls': [['search', {'q': 'cats'}]]}"},
    {"command-r7b", "cohere", "",
     C("<|START_THINKING|>") "I need f." C("<|END_THINKING|>")
         C("<|START_ACTION|>") "[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"f\", "
                               "\"parameters\": {\"a\": 1}},\n    {\"tool_call_id\": \"1\", "
                               "\"tool_name\": \"g\", \"parameters\": {}}\n]" C("<|END_ACTION|>"),
     "{'content': null, 'reasoning_content': 'I need f.', 'tool_calls': [['f', {'a': 1}], ['g', "
     "{}]]}"},
    {"!command-r7b", "cohere", "", C("<|START_RESPONSE|>") "Hi." C("<|END_RESPONSE|>"),
     "{'content': 'Hi.'}"},
    /* ---- gpt-oss ---- */
    {"harmony", NULL, "<|start|>assistant",
     C("<|channel|>") "analysis" C("<|message|>") "Thinking it over." C("<|end|>")
         C("<|start|>") "assistant" C("<|channel|>") "final" C("<|message|>") "The answer is 4." C(
             "<|return|>"),
     "{'content': 'The answer is 4.', 'reasoning_content': 'Thinking it over.'}"},
    {"harmony", NULL, "<|start|>assistant",
     C("<|channel|>") "analysis" C("<|message|>") "Need weather." C("<|end|>")
         C("<|start|>") "assistant" C("<|channel|>") "commentary to=functions.get_weather " C(
             "<|constrain|>") "json" C("<|message|>") "{\"city\": \"Rome\"}" C("<|call|>"),
     "{'content': null, 'reasoning_content': 'Need weather.', 'tool_calls': [['get_weather', "
     "{'city': 'Rome'}]]}"},
    {"harmony", NULL, "<|start|>assistant",
     " to=functions.f" C("<|channel|>") "commentary json" C("<|message|>") "{}" C("<|call|>"),
     "{'content': null, 'tool_calls': [['f', {}]]}"},
    {"harmony", NULL, "<|start|>assistant",
     C("<|channel|>") "commentary" C("<|message|>") "First I look." C("<|end|>")
         C("<|start|>") "assistant to=functions.f" C("<|channel|>") "commentary" C(
             "<|message|>") "{\"a\": \"b\"}" C("<|call|>"),
     "{'content': 'First I look.', 'tool_calls': [['f', {'a': 'b'}]]}"},
    {"harmony", NULL, "<|start|>assistant",
     C("<|channel|>") "commentary to=functions.f" C("<|message|>") "no json" C("<|call|>"),
     "{'content': 'no json'}"},
    {"harmony", NULL, "<|start|>assistant", C("<|channel|>") "final" C("<|message|>") "cut of",
     "{'content': 'cut of'}"},
    /* ---- DeepSeek ---- */
    {"deepseek", "think", "",
     C("<think>") "\nA city.\n" C("</think>") "\n\n" DS("tool" SP "calls" SP "begin")
         DS("tool" SP "call" SP "begin") "function" DS(
             "tool" SP
             "sep") "get_weather\n```json\n{"
                    "\"city\": "
                    "\"Rome\"}\n```" DS(
                        "too"
                        "l" SP "call" SP
                        "end") "\n" DS("tool" SP "call" SP
                                       "begin") "functio"
                                                "n" DS("too"
                                                       "l" SP "se"
                                                       "p") "now\n```json\n{}\n```" DS("tool" SP
                                                                                       "call" SP
                                                                                       "end")
                                                    DS("too"
                                                       "l" SP "cal"
                                                       "l"
                                                       "s" SP "en"
                                                       "d"),
     "{'content': null, 'reasoning_content': 'A city.', 'tool_calls': [['get_weather', {'city': "
     "'Rome'}], ['now', {}]]}"},
    {"deepseek", NULL, "",
     "Sure." DS("tool" SP "calls" SP "begin") DS("tool" SP "call" SP "begin") "f" DS(
         "tool" SP "sep") "{\"a\": 1}" DS("tool" SP "call" SP "end")
         DS("tool" SP "call" SP "begin") "g" DS("tool" SP "sep") "{\"b\": \"`\"}" DS(
             "tool" SP "call" SP "end") DS("tool" SP "calls" SP "end"),
     "{'content': 'Sure.', 'tool_calls': [['f', {'a': 1}], ['g', {'b': '`'}]]}"},
    {"dsml", "think", "", "plan</think>", "{'content': 'plan</think>'}"},
    {"dsml", NULL, "",
     "Yes.\n\n<" DSML "function_calls>\n<" DSML "invoke name=\"f\">\n<" DSML
     "parameter name=\"s\" string=\"true\">5 < 6</" DSML "parameter>\n<" DSML
     "parameter name=\"n\" string=\"false\">[5]</" DSML "parameter>\n</" DSML "invoke>\n<" DSML
     "invoke name=\"g\">\n</" DSML "invoke>\n</" DSML "function_calls>",
     "{'content': 'Yes.', 'tool_calls': [['f', {'s': '5 < 6', 'n': [5]}], ['g', {}]]}"},
    /* ---- Kimi ---- */
    {"kimi", NULL, "",
     "Ok." C("<|tool_calls_section_begin|>") C("<|tool_call_begin|>") "functions.get_weather:0" C(
         "<|tool_call_argument_begin|>") "{\"city\": \"Rome\"}" C("<|tool_call_end|>")
         C("<|tool_call_begin|>") "functions.f:1" C("<|tool_call_argument_begin|>") "{}" C(
             "<|tool_call_end|>") C("<|tool_calls_section_end|>"),
     "{'content': 'Ok.', 'tool_calls': [['get_weather', {'city': 'Rome'}, "
     "'functions.get_weather:0'], ['f', {}, 'functions.f:1']]}"},
    /* ---- tags ---- */
    {"!qwen3-coder", NULL, "",
     "Let me.\n" C("<tool_call>") "\n<function=edit>\n<parameter=path>\n/tmp/a "
                                  "b\n</parameter>\n<parameter=lines>\n[1, "
                                  "2]\n</parameter>\n<parameter=text>\nx\n</parameter>y\n\n</"
                                  "parameter>\n<parameter=n>\n42\n</parameter>\n</function>\n" C(
                                      "</tool_call>"),
     "{'content': 'Let me.\\n<tool_call>\\n<function=edit>\\n<parameter=path>\\n/tmp/a "
     "b\\n</parameter>\\n<parameter=lines>\\n[1, "
     "2]\\n</parameter>\\n<parameter=text>\\nx\\n</parameter>y\\n\\n</"
     "parameter>\\n<parameter=n>\\n42\\n</parameter>\\n</function>\\n'}"},
    {"qwen3-coder", NULL, "",
     C("<tool_call>") "\n<function=edit>\n<parameter=path>\n/tmp/a "
                      "b\n</parameter>\n<parameter=lines>\n[1, "
                      "2]\n</parameter>\n<parameter=ok>\nTrue\n</"
                      "parameter>\n<parameter=none>\nNone\n</"
                      "parameter>\n<parameter=text>\nx\n\ny\n</parameter>\n</function>\n" C(
                          "</"
                          "tool_"
                          "call>") "\n" C("<tool_call>") "\n<function=now>\n</function>\n" C("</"
                                                                                             "tool_"
                                                                                             "call"
                                                                                             ">"),
     "{'content': null, 'tool_calls': [['edit', {'path': '/tmp/a b', 'lines': [1, 2], 'ok': true, "
     "'none': null, 'text': 'x\\n\\ny'}], ['now', {}]]}"},
    /* the schema decides: "zip" is a string, "count" may be one of several types */
    {"qwen3-coder", NULL, "",
     "<function=typed>\n<parameter=zip>\n01234\n</parameter>\n<parameter=count>\n7\n</"
     "parameter>\n<parameter=both>\n7\n</parameter>\n</function>",
     "{'content': null, 'tool_calls': [['typed', {'zip': '01234', 'count': 7, 'both': '7'}]]}"},
    {"seed", "seed", "",
     C("<seed:think>") "hm" C("</seed:think>")
         C("<seed:tool_call>") "\n<function=f>\n<parameter=a>1</parameter>\n<parameter=b>x "
                               "y</parameter>\n</function>\n" C("</seed:tool_call>"),
     "{'content': null, 'reasoning_content': 'hm', 'tool_calls': [['f', {'a': 1, 'b': 'x y'}]]}"},
    {"glm", "think", "<think>",
     "plan" C("</think>") "Ok.\n" C("<tool_call>") "get_weather\n" C("<arg_key>") "city" C(
         "</arg_key>") "\n" C("<arg_value>") "New York" C("</arg_value>")
         C("<arg_key>") "days" C("</arg_key>") C("<arg_value>") "3" C("</arg_value>") "\n" C(
             "</tool_call>") C("<tool_call>") "now" C("</tool_call>"),
     "{'content': 'Ok.', 'reasoning_content': 'plan', 'tool_calls': [['get_weather', {'city': 'New "
     "York', 'days': 3}], ['now', {}]]}"},
    /* ---- others ---- */
    {"apriel", NULL, "",
     "Thoughts.\n<tool_calls>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]</tool_calls>",
     "{'content': 'Thoughts.', 'tool_calls': [['f', {'a': 1}]]}"},
    {"apriel", "apriel", "Here are my reasoning steps:\n",
     "1. think\n[BEGIN FINAL RESPONSE]\nDone.",
     "{'content': 'Done.', 'reasoning_content': '1. think'}"},
    {"nemotron", NULL, "", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {}}]</TOOLCALL>",
     "{'content': null, 'tool_calls': [['f', {}]]}"},
    {"firefunction", NULL, "",
     " functools[{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}, {\"name\": \"g\", "
     "\"arguments\": {}}]",
     "{'content': ' ', 'tool_calls': [['f', {'a': 'x'}], ['g', {}]]}"},
    {"firefunction", NULL, "", "import functools; functools[0]",
     "{'content': 'import functools; functools[0]'}"},
    {"!apertus", "apertus", "",
     C("<|inner_prefix|>") "hm" C("<|tools_prefix|>") "[{\"f\": {\"a\": 1}}, {\"g\": {}}]" C(
         "<|tools_suffix|>"),
     "{'content': null, 'reasoning_content': 'hm', 'tool_calls': [['f', {'a': 1}], ['g', {}]]}"},
    {"apertus", "apertus", "",
     "See: " C("<|tools_prefix|>") "[{\"f\": {\"a\": 1}}, {\"g\": {}}]" C("<|tools_suffix|>"),
     "{'content': 'See: ', 'tool_calls': [['f', {'a': 1}], ['g', {}]]}"},
    {"!gigachat", NULL, "",
     "Ok." C("<|function_call|>") "{\"name\": \"f\", \"arguments\": {\"a\": 1}}" C(
         "<|message_sep|>"),
     "{'content': 'Ok.', 'tool_calls': [['f', {'a': 1}]]}"},
    {"lfm2", NULL, "",
     C("<|tool_call_start|>") "[get(city=\"Rome\", days=3, at=[1, 2.5, None], o={'k': True}), "
                              "now()]" C("<|tool_call_end|>") "Checking.",
     "{'content': 'Checking.', 'tool_calls': [['get', {'city': 'Rome', 'days': 3, 'at': [1, 2.5, "
     "null], 'o': {'k': true}}], ['now', {}]]}"},
    {"!lfm2", NULL, "", C("<|tool_call_start|>") "[get(1)]" C("<|tool_call_end|>"),
     "{'content': '<|tool_call_start|>[get(1)]'}"},
    {"gemma4", "gemma4", "",
     C("<|channel>") "thought\nhm\n" C("<channel|>") C("<|tool_call>") "call:get{city:" C(
         "<|\"|>") "New \"York\"" C("<|\"|>") ",n:3,o:{k:[true,null]}}" C("<tool_call|>")
         C("<|tool_call>") "call:now{}" C("<tool_call|>"),
     "{'content': null, 'reasoning_content': 'hm', 'tool_calls': [['get', {'city': 'New "
     "\\\"York\\\"', 'n': 3, 'o': {'k': [true, null]}}], ['now', {}]]}"},
};

enum { N_SAMPLES = sizeof samples / sizeof *samples };

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
    for (size_t i = 0; i < N_SAMPLES; i++) {
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
                  N_SAMPLES);
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
