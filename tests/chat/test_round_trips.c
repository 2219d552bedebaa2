/* test_round_trips.c: calls that a model's template writes, read again. Templates and the
 * definitions of real tools come from LLLM_TEST_DATA, or the folder named on the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "chat/tools.h"
#include "published.h"

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
    for (int i = 0; i < n_models; i++) {
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
    published_open(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
