/* test_tools.c: from a conversation to a template and back: formats found out, abilities, messages
 * prepared, and calls that a template writes read again. The published templates and the
 * definitions of real tools come from LLLM_TEST_DATA, or the folder named on the command line. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "chat/tools.h"

enum { MAX_FILE_BYTES = 64 << 20 };

static const char *data_folder;

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

static bool read_data(const char *name, struct buf *b)
{
    char path[4096];
    buf_init(b, MAX_FILE_BYTES);
    snprintf(path, sizeof path, "%s/%s", data_folder ? data_folder : "", name);
    return data_folder && file_read(path, MAX_FILE_BYTES, b, NULL);
}

static void need_templates(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/templates/llama.cpp", data_folder ? data_folder : "");
    if (!data_folder || !file_is_directory(path)) {
        print_message("# no folder templates/llama.cpp: set LLLM_TEST_DATA\n");
        skip();
    }
}

/* ---- which format ---- */

static const struct {
    const char *file, *calls, *reasoning;
} models[] = {
    {"Apertus-8B-Instruct", "apertus", "apertus"},
    {"Apriel-1.6-15b-Thinker-fixed", "apriel", "apriel"},
    {"ByteDance-Seed-OSS", "seed", "seed"},
    {"Cohere2MoE", "command-r7b", "cohere"},
    {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r", "none"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command-r7b", "cohere"},
    {"GLM-4.7-Flash", "glm", "think"},
    {"GLM-5.2", "glm", "think"},
    {"GigaChat3-10B-A1.8B", "gigachat", "none"},
    {"GigaChat3.1-10B-A1.8B", "gigachat", "none"},
    {"Kimi-K2-Instruct", "kimi", "none"},
    {"Kimi-K2-Thinking", "kimi", "think"},
    {"LFM2-8B-A1B", "lfm2", "none"},
    {"LFM2.5-Instruct", "lfm2", "think"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral", "none"},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen3-coder", "think"},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "hermes", "none"},
    {"Qwen-QwQ-32B", "hermes", "think"},
    {"Qwen-Qwen2.5-7B-Instruct", "hermes", "none"},
    {"Qwen-Qwen3-0.6B", "hermes", "think"},
    {"Qwen3-Coder", "qwen3-coder", "none"},
    {"Reka-Edge", "hermes", "think"},
    {"StepFun3.5-Flash", "qwen3-coder", "think"},
    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek", "think"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek", "think"},
    {"deepseek-ai-DeepSeek-V3.2", "dsml", "think"},
    {"deepseek-ai-DeepSeek-V4", "dsml", "think"},
    {"fireworks-ai-llama-3-firefunction-v2", "firefunction", "none"},
    {"google-gemma-2-2b-it", "generic", "none"},
    {"google-gemma-4-31B-it", "gemma4", "gemma4"},
    {"ibm-granite-granite-3.3-2B-Instruct", "phi4", "think"},
    {"llama-cpp-deepseek-r1", "deepseek", "think"},
    {"llama-cpp-rwkv-world", "generic", "think"},
    {"meetkai-functionary-medium-v3.2", "functionary-v3.2", "none"},
    {"meta-llama-Llama-3.1-8B-Instruct", "llama3", "none"},
    {"meta-llama-Llama-3.2-3B-Instruct", "llama3", "none"},
    {"meta-llama-Llama-3.3-70B-Instruct", "llama3", "none"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "mistral"},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral", "none"},
    {"moonshotai-Kimi-K2", "kimi", "none"},
    {"openai-gpt-oss-120b", "harmony", "none"},
    {"unsloth-Apriel-1.5", "apriel", "apriel"},
    {"unsloth-mistral-Devstral-Small-2507", "mistral", "none"},
};
enum { N_MODELS = sizeof models / sizeof *models };

static void read_template(const char *file, struct buf *b)
{
    char name[256];
    snprintf(name, sizeof name, "templates/llama.cpp/%s.jinja", file);
    if (!read_data(name, b)) {
        fail_msg("%s cannot be read", name);
    }
}

static void formats_of_templates(void **state)
{
    (void)state;
    need_templates();
    for (size_t i = 0; i < N_MODELS; i++) {
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

static void refused(const char *messages, const char *tools, enum error_code code,
                    const char *words)
{
    struct chat_abilities a = {0};
    struct chat_format f;
    struct error e = {.code = ERROR_NONE};
    chat_format_find("generic", NULL, &f);
    json_t *m = parse_json(messages), *t = tools ? parse_json(tools) : NULL;
    assert_null(chat_prepare(&a, m, t, &f, &e));
    if (e.code != code || !strstr(e.message, words)) {
        fail_msg("%s", e.message);
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
            ERROR_UNSUPPORTED, "image_url; only text");
    refused("[{'role': 'assistant', 'tool_calls': {}}]", NULL, ERROR_INPUT, "must be a list");
    refused("[{'role': 'assistant', 'tool_calls': [{}]}]", NULL, ERROR_INPUT, "no name");
    refused("[{'role': 'assistant', 'tool_calls': [{'name': 'f', 'arguments': '{'}]}]", NULL,
            ERROR_INPUT, "call to \"f\" are no JSON object");
    refused("[{'role': 'assistant', 'tool_calls': [{'name': 'f', 'arguments': [1]}]}]", NULL,
            ERROR_INPUT, "no JSON object");
    refused("[]", "[{'type': 'function'}]", ERROR_INPUT, "tool 1 has no name");
}

/* ---- round trips ---- */

/* Tools of the Berkeley function calling data, in OpenAI's form; NULL where the data is not there.
 */
static json_t *real_tools(void)
{
    struct buf lines;
    if (!read_data("toolcall/bfcl/BFCL_v4_multiple.json", &lines)) {
        return NULL;
    }
    json_t *all = json_array();
    for (char *line = lines.data, *end; line && *line && json_array_size(all) < 300;
         line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        json_t *row = json_loadb(line, end ? (size_t)(end - line) : strlen(line), 0, NULL);
        json_t *functions = json_object_get(row, "function"), *f;
        size_t i;
        json_array_foreach(functions, i, f)
        {
            json_array_append(all, f);
        }
        json_decref(row);
    }
    buf_free(&lines);
    return all;
}

static const char *const strings[] = {"",
                                      "Oslo",
                                      "two words",
                                      "with \"quotes\" and 'others'",
                                      "back\\slash \\n",
                                      "line\nbreak\ttab",
                                      "\xc3\xa9\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80",
                                      "{\"json\": [1]}",
                                      "}]",
                                      "<b>&amp;</b>",
                                      "```json",
                                      "a, b: c; d=e",
                                      "12",
                                      "true",
                                      "C:\\path\\file"};

static json_t *random_value(struct rng *r, const char *type, int depth)
{
    if (strcmp(type, "string") == 0) {
        return json_string(strings[rng_below(r, sizeof strings / sizeof *strings)]);
    }
    if (strcmp(type, "integer") == 0) {
        return json_integer((json_int_t)rng_below(r, 2000) - 1000);
    }
    if (strcmp(type, "float") == 0 || strcmp(type, "number") == 0) {
        return json_real(((double)rng_below(r, 2000) - 1000) / 8);
    }
    if (strcmp(type, "boolean") == 0) {
        return json_boolean(rng_below(r, 2));
    }
    if (strcmp(type, "array") == 0 || strcmp(type, "tuple") == 0) {
        json_t *list = json_array();
        for (uint64_t n = rng_below(r, 4); n; n--) {
            json_array_append_new(list, random_value(r, depth ? "string" : "any", depth + 1));
        }
        return list;
    }
    if (strcmp(type, "dict") == 0 || strcmp(type, "object") == 0) {
        json_t *object = json_object();
        for (uint64_t n = rng_below(r, 4); n; n--) {
            char key[16];
            snprintf(key, sizeof key, "key %c", (int)('a' + n));
            json_object_set_new(object, key, random_value(r, "any", depth + 1));
        }
        return object;
    }
    static const char *const any[] = {"string", "integer", "number", "boolean", "array", "object"};
    return random_value(r, any[rng_below(r, depth < 3 ? 6 : 4)], depth + 1);
}

/* Arguments for a tool, by its schema. scalars: none that hold others. */
static json_t *random_arguments(struct rng *r, json_t *tool, bool scalars)
{
    json_t *arguments = json_object(), *schema;
    const char *key;
    json_t *properties = json_object_get(json_object_get(tool, "parameters"), "properties");
    json_object_foreach(properties, key, schema)
    {
        const char *type = json_string_value(json_object_get(schema, "type"));
        bool holds = !type || strcmp(type, "array") == 0 || strcmp(type, "tuple") == 0 ||
                     strcmp(type, "dict") == 0 || strcmp(type, "any") == 0;
        if (rng_below(r, 4) && !(scalars && holds)) {
            json_object_set_new(arguments, key, random_value(r, type ? type : "any", 0));
        }
    }
    return arguments;
}

/* Spellings of control tokens, as the vocabularies of these models have them. */
static size_t token_length(const char *s, size_t n)
{
    static const char *const brackets[][2] = {
        {"<|", "|>"},         {"<\xef\xbd\x9c", "\xef\xbd\x9c>"},
        {"<turn|", ">"},      {"<|turn", ">"},
        {"<|tool_call", ">"}, {"<tool_call|", ">"},
        {"<|\"|", ">"},       {"<|channel", ">"},
        {"<channel|", ">"},   {"<|tool_response", ">"}};
    static const char *const whole[] = {"</s>",          "[INST]",     "[/INST]",    "[TOOL_CALLS]",
                                        "[ARGS]",        "[CALL_ID]",  "[THINK]",    "[/THINK]",
                                        "<end_of_turn>", "<seed:eos>", "<seed:bos>", "<sep>",
                                        "<turn|>",       "<|turn>"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        size_t len = strlen(whole[i]);
        if (n >= len && memcmp(s, whole[i], len) == 0) {
            return len;
        }
    }
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
        size_t open = strlen(brackets[i][0]), close = strlen(brackets[i][1]);
        if (n < open || memcmp(s, brackets[i][0], open) != 0) {
            continue;
        }
        for (size_t k = open; k + close <= n && k < 40 && !strchr("\n <{", s[k]); k++) {
            if (memcmp(s + k, brackets[i][1], close) == 0) {
                return k + close;
            }
        }
    }
    return 0;
}

static enum chat_token probe_spelling(void *context, const char *spelling)
{
    (void)context;
    return token_length(spelling, strlen(spelling)) == strlen(spelling) ? CHAT_TOKEN_CONTROL
                                                                        : CHAT_TOKEN_NONE;
}

static bool add_event(void *context, const struct chat_event *e)
{
    chat_message_add(context, e);
    return true;
}

/* The rendered answer through a parser: trusted spellings of tokens as tokens. */
static json_t *read_answer(struct chat_format f, const struct chat_text *out, size_t from,
                           size_t prompt, json_t *tools, size_t step)
{
    struct chat_text head = {out->text, prompt, out->trusted};
    struct chat_parser_options o = {
        .parse_calls = true, .parse_reasoning = true, .tools = tools, .probe = probe_spelling};
    o.prompt_end = chat_prompt_end(&head, &o.n_prompt_end);
    struct chat_message *m = chat_message_new();
    struct chat_parser *p = chat_parser_new(f, &o, add_event, m);
    for (size_t i = from; i < out->n;) {
        size_t n = token_length(out->text + i, out->n - i);
        if (n && out->trusted[i] && !memchr(out->trusted + i, 0, n)) {
            chat_parser_control(p, out->text + i, n);
            i += n;
            continue;
        }
        size_t end = i + 1;
        while (end < out->n && end - i < step &&
               !(out->trusted[end] && token_length(out->text + end, out->n - end))) {
            end++;
        }
        chat_parser_push(p, out->text + i, end - i);
        i = end;
    }
    chat_parser_finish(p);
    chat_parser_free(p);
    json_t *message = chat_message_json(m);
    chat_message_free(m);
    return message;
}

static bool render(const struct chat_template *t, const struct chat_abilities *a,
                   struct chat_format *f, json_t *messages, json_t *tools, bool generation,
                   struct chat_text *out, struct error *e)
{
    json_t *vars = chat_prepare(a, messages, tools, f, e);
    if (!vars) {
        return false;
    }
    json_object_set_new(vars, "add_generation_prompt", json_boolean(generation));
    json_object_set_new(vars, "bos_token", json_string("<s>"));
    json_object_set_new(vars, "eos_token", json_string("</s>"));
    json_object_set_new(vars, "enable_thinking", json_true());
    bool ok = chat_template_render(t, vars, 1735776000, out, e);
    json_decref(vars);
    return ok;
}

static size_t common(const char *a, size_t n, const char *b, size_t m)
{
    size_t i = 0;
    while (i < n && i < m && a[i] == b[i]) {
        i++;
    }
    return i;
}

/* Where both texts part, moved out of a mark that they begin alike. */
static size_t parting(const struct chat_text *prompt, const struct chat_text *whole)
{
    size_t from = common(prompt->text, prompt->n, whole->text, whole->n);
    for (size_t back = 1; back < 40 && back <= from; back++) {
        char c = whole->text[from - back];
        if (c == '>' || c == ']' || c == '\n') {
            break;
        }
        if (c == '<' || c == '[') {
            return from - back;
        }
    }
    return from;
}

static bool same_calls(json_t *wanted, json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls");
    if (json_array_size(calls) != json_array_size(wanted)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *f = json_object_get(json_array_get(calls, i), "function");
        json_t *want = json_object_get(json_array_get(wanted, i), "function");
        json_t *arguments = json_loads(json_string_value(json_object_get(f, "arguments")), 0, NULL);
        bool same = json_equal(json_object_get(f, "name"), json_object_get(want, "name")) &&
                    json_equal(arguments, json_object_get(want, "arguments"));
        json_decref(arguments);
        if (!same) {
            return false;
        }
    }
    return true;
}

/* One conversation through a template and back. False where the template recurses without end over
 * the type of a list, as two of them do in Jinja2 as well. */
static bool round_trip(const char *name, const struct chat_template *t,
                       const struct chat_abilities *a, struct chat_format f, json_t *real,
                       struct rng *r)
{
    bool scalars = strcmp(chat_calls_name(f.calls), "seed") == 0;
    uint64_t n_calls = a->several_calls ? 1 + rng_below(r, 3) : 1;
    json_t *tools = json_array(), *calls = json_array();
    for (uint64_t i = 0; i < n_calls; i++) {
        json_t *tool = json_array_get(real, rng_below(r, json_array_size(real)));
        char id[16];
        snprintf(id, sizeof id, "call%05d", (int)rng_below(r, 100000));
        json_array_append(tools, tool);
        json_array_append_new(calls,
                              json_pack("{s:s, s:s, s:{s:O, s:o}}", "id", id, "type", "function",
                                        "function", "name", json_object_get(tool, "name"),
                                        "arguments", random_arguments(r, tool, scalars)));
    }
    const char *words = a->null_content || rng_below(r, 2) ? "" : "Let me look.";
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "Please do it.");
    struct chat_text bare = {0}, prompt = {0}, whole = {0};
    struct error e = {.code = ERROR_NONE};
    bool ok = render(t, a, &f, messages, tools, false, &bare, &e) &&
              render(t, a, &f, messages, tools, true, &prompt, &e);
    json_array_append_new(messages, json_pack("{s:s, s:s, s:O}", "role", "assistant", "content",
                                              words, "tool_calls", calls));
    ok = ok && render(t, a, &f, messages, tools, false, &whole, &e);
    if (!ok && e.code == ERROR_LIMIT) {
        json_decref(messages);
        json_decref(tools);
        json_decref(calls);
        return false;
    }
    if (!ok) {
        fail_msg("%s: %s", name, e.message);
    }
    /* The answer begins where the generation prompt ends, or where the two part. */
    size_t from = parting(&prompt, &whole);
    json_t *message = read_answer(f, &whole, from, from, tools, 1 + rng_below(r, 20));
    if (!same_calls(calls, message)) {
        char *got = json_dumps(message, 0), *wanted = json_dumps(calls, 0);
        fail_msg("%s (%s):\n%s\ngot    %s\nwanted %s", name, chat_calls_name(f.calls),
                 whole.text + (bare.n < whole.n ? bare.n : 0), got, wanted);
    }
    json_decref(message);
    json_decref(messages);
    json_decref(tools);
    json_decref(calls);
    chat_text_free(&bare);
    chat_text_free(&prompt);
    chat_text_free(&whole);
    return true;
}

static void calls_round_trips(void **state)
{
    (void)state;
    need_templates();
    json_t *real = real_tools();
    if (!real) {
        print_message("# no toolcall/bfcl: set LLLM_TEST_DATA\n");
        skip();
    }
    struct rng r;
    rng_seed(&r, 20250102);
    int per_template = getenv("LLLM_SOAK") ? 300 : 6, done = 0;
    for (size_t i = 0; i < N_MODELS; i++) {
        struct buf source;
        struct chat_abilities a;
        read_template(models[i].file, &source);
        struct chat_template *t = chat_template_new(source.data, source.len, NULL);
        assert_non_null(t);
        chat_abilities_probe(t, &a);
        struct chat_format f = chat_format_detect(source.data, NULL, NULL);
        /* Without calls of its own, a template that shows tools wants them in words it does not
         * tell; one that shows no tools gets the generic format. */
        bool writes = (a.calls || !a.tools) && !strstr(models[i].file, "firefunction");
        for (int k = 0; writes && k < per_template; k++) {
            done += round_trip(models[i].file, t, &a, f, real, &r);
        }
        if (!writes) {
            print_message("# writes no calls: %s\n", models[i].file);
        }
        chat_template_free(t);
        buf_free(&source);
    }
    print_message("# %d conversations with calls written and read\n", done);
    json_decref(real);
    assert_true(done >= per_template * 28);
}

int main(int argc, char **argv)
{
    data_folder = getenv("LLLM_TEST_DATA");
    if (!data_folder && argc > 1) {
        data_folder = argv[1];
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_of_templates),   cmocka_unit_test(formats_of_vocabularies),
        cmocka_unit_test(messages_for_templates), cmocka_unit_test(tools_in_words),
        cmocka_unit_test(messages_refused),       cmocka_unit_test(calls_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
