#include "call_samples.h"

#include <stddef.h>

#define DS(words) C("<\xef\xbd\x9c" words "\xef\xbd\x9c>")
#define SP        "\xe2\x96\x81"
#define DSML                                                                                       \
    "\xef\xbd\x9c"                                                                                 \
    "DSML"                                                                                         \
    "\xef\xbd\x9c"

const struct sample samples[] = {
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
    {"llama3", NULL, "", "{\"name\": \"Anna\", \"age\": 36} is hers.",
     "{'content': '{\\\"name\\\": \\\"Anna\\\", \\\"age\\\": 36} is hers.'}"},
    {"llama3", NULL, "", "{\"name\": \"Anna\", \"arguments\": {}}",
     "{'content': null, 'tool_calls': [['Anna', {}]]}"},
    {"!llama3", NULL, "", C("<|python_tag|>") "{\"name\": \"Anna\", \"age\": 36}",
     "{'content': null, 'tool_calls': [['Anna', {}]]}"},
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
    {"command-r", NULL, "",
     "Action:```json\n[{\"tool_name\": \"search\", \"parameters\": {}}]\n```",
     "{'content': null, 'tool_calls': [['search', {}]]}"},
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
     "{'content': '<|channel|>commentary to=functions.f<|message|>no json'}"},
    {"harmony", NULL, "<|start|>assistant",
     C("<|channel|>") "analysis" C("<|message|>") "Hm." C("<|end|>")
         C("<|start|>") "assistant" C("<|channel|>") "commentary to=functions.g " C(
             "<|constrain|>") "json" C("<|message|>") "{\"a\": " C("<|call|>"),
     "{'content': '<|start|>assistant<|channel|>commentary to=functions.g "
     "<|constrain|>json<|message|>{\\\"a\\\": ', 'reasoning_content': 'Hm.'}"},
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

const int n_samples = sizeof samples / sizeof *samples;
