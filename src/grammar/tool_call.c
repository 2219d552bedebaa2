#include "grammar/tool_call.h"

#include <stdlib.h>
#include <string.h>

#include "base/strmap.h"
#include "chat/tools.h"
#include "grammar/grammar.h"
#include "grammar/schema_parts.h"

enum { MAX_TOOLS = 1024, MAX_NAME_BYTES = 256, MAX_CALLS = 128 };

/* How a call is spelled. What stands in <...> stands for something:
 *
 *   <NAME> <ARGS> <NUMBER>   the tool's name, its arguments as JSON, a figure or two
 *   <[>MARK<]>               a mark, which may be a token */
struct form {
    const char *calls;
    const char *open, *call, *between, *close;
    bool several;
    bool bare; /* no mark in front: words must not begin with a brace */
    const struct tags *tags;
};

/* Calls with a tag for each argument. */
struct tags {
    const char *before, *key_end, *value_end; /* of an argument */
    const char *stop;                         /* what a text must not contain */
    const char *text_end, *json_end;          /* behind a key, by what the value is; or key_end */
};

#define MARK(text)      "<[>" text "<]>"
#define DEEPSEEK(words) MARK("<\xef\xbd\x9c" words "\xef\xbd\x9c>")
#define SPACE           "\xe2\x96\x81"
#define DSML                                                                                       \
    "\xef\xbd\x9c"                                                                                 \
    "DSML"                                                                                         \
    "\xef\xbd\x9c"
#define OBJECT "{\"name\": \"<NAME>\", \"arguments\": <ARGS>}"

/* clang-format off */
static const struct tags qwen_tags = {"<parameter=", ">\n", "\n</parameter>\n", "</parameter>", NULL, NULL};
static const struct tags seed_tags = {"<parameter=", ">", "</parameter>\n", "</parameter>", NULL, NULL};
static const struct tags glm_tags = {"<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n", "</arg_value>",
                                     NULL, NULL};
static const struct tags dsml_tags = {"<" DSML "parameter name=\"", NULL, "</" DSML "parameter>\n",
                                      "</" DSML "parameter>", "\" string=\"true\">", "\" string=\"false\">"};

static const struct form forms[] = {
    {"generic", "", MARK("<tool_call>") "\n" OBJECT "\n" MARK("</tool_call>"), "\n", "", true, false, NULL},
    {"hermes", "", MARK("<tool_call>") "\n" OBJECT "\n" MARK("</tool_call>"), "\n", "", true, false, NULL},
    {"llama3", "", "{\"name\": \"<NAME>\", \"parameters\": <ARGS>}", "", "", false, true, NULL},
    {"phi4", MARK("<|tool_call|>") "[", OBJECT, ", ", "]" MARK("<|/tool_call|>"), true, false, NULL},
    {"command-r", "Action:\n```json\n[", "{\"tool_name\": \"<NAME>\", \"parameters\": <ARGS>}", ", ", "]\n```",
     true, false, NULL},
    {"command-r7b", MARK("<|START_ACTION|>") "[",
     "{\"tool_call_id\": \"<NUMBER>\", \"tool_name\": \"<NAME>\", \"parameters\": <ARGS>}", ", ",
     "]" MARK("<|END_ACTION|>"), true, false, NULL},
    {"apriel", "<tool_calls>[", OBJECT, ", ", "]</tool_calls>", true, false, NULL},
    {"nemotron", "<TOOLCALL>[", OBJECT, ", ", "]</TOOLCALL>", true, false, NULL},
    {"firefunction", "functools[", OBJECT, ", ", "]", true, false, NULL},
    {"gigachat", "function call" MARK("<|role_sep|>") "\n", OBJECT, "", "", false, false, NULL},
    {"apertus", MARK("<|tools_prefix|>") "[", "{\"<NAME>\": <ARGS>}", ", ", "]" MARK("<|tools_suffix|>"), true,
     false, NULL},
    {"mistral", MARK("[TOOL_CALLS]") "[", OBJECT, ", ", "]", true, false, NULL},
    {"deepseek", DEEPSEEK("tool" SPACE "calls" SPACE "begin"),
     DEEPSEEK("tool" SPACE "call" SPACE "begin") "function" DEEPSEEK("tool" SPACE "sep")
     "<NAME>\n```json\n<ARGS>\n```" DEEPSEEK("tool" SPACE "call" SPACE "end"), "\n",
     DEEPSEEK("tool" SPACE "calls" SPACE "end"), true, false, NULL},
    {"deepseek-v3.1", DEEPSEEK("tool" SPACE "calls" SPACE "begin"),
     DEEPSEEK("tool" SPACE "call" SPACE "begin") "<NAME>" DEEPSEEK("tool" SPACE "sep") "<ARGS>"
     DEEPSEEK("tool" SPACE "call" SPACE "end"), "", DEEPSEEK("tool" SPACE "calls" SPACE "end"), true, false, NULL},
    {"kimi", MARK("<|tool_calls_section_begin|>"),
     MARK("<|tool_call_begin|>") "functions.<NAME>:<NUMBER>" MARK("<|tool_call_argument_begin|>") "<ARGS>"
     MARK("<|tool_call_end|>"), "", MARK("<|tool_calls_section_end|>"), true, false, NULL},
    {"functionary-v3.1", "", "<function=<NAME>><ARGS></function>", "\n", "", true, false, NULL},
    {"harmony", "",
     MARK("<|channel|>") "commentary to=functions.<NAME> " MARK("<|constrain|>") "json" MARK("<|message|>")
     "<ARGS>", "", "", false, false, NULL},
    {"qwen3-coder", "", MARK("<tool_call>") "\n<function=<NAME>>\n<ARGS></function>\n" MARK("</tool_call>"), "\n",
     "", true, false, &qwen_tags},
    {"seed", "", MARK("<seed:tool_call>") "\n<function=<NAME>>\n<ARGS></function>\n" MARK("</seed:tool_call>"),
     "\n", "", true, false, &seed_tags},
    {"glm", "", MARK("<tool_call>") "<NAME>\n<ARGS>" MARK("</tool_call>"), "\n", "", true, false, &glm_tags},
    {"dsml", "<" DSML "function_calls>\n", "<" DSML "invoke name=\"<NAME>\">\n<ARGS></" DSML "invoke>\n", "",
     "</" DSML "function_calls>", true, false, &dsml_tags},
};
/* clang-format on */

struct writer {
    const struct tool_call_options *o;
    struct build *b;
    struct langs *langs;
    const struct form *form;
    struct error *e;
    struct strmap *names; /* of the tools so far */
};

static struct node text_node(struct writer *w, const char *text, size_t n)
{
    return build_text(w->b, text, n);
}

/* A mark by its spelling: the token, or the text where there is none. */
static struct node mark_node(struct writer *w, const char *mark, size_t n)
{
    return build_token(w->b, mark, n, false, text_node(w, mark, n));
}

static bool at(const char *p, const char *word)
{
    return strncmp(p, word, strlen(word)) == 0;
}

/* A row's text as nodes. */
static struct node spell(struct writer *w, const char *p, const char *name, struct node args)
{
    enum { MAX_PARTS = 64 };
    struct node parts[MAX_PARTS];
    size_t n = 0;
    while (*p && n < MAX_PARTS) {
        if (at(p, "<NAME>")) {
            parts[n++] = text_node(w, name, strlen(name));
            p += strlen("<NAME>");
        } else if (at(p, "<ARGS>")) {
            parts[n++] = args;
            p += strlen("<ARGS>");
        } else if (at(p, "<NUMBER>")) {
            struct lang figures = lang_repeat(w->langs, lang_byte_range(w->langs, '0', '9'), 1, 2);
            parts[n++] = build_lang(w->b, figures);
            p += strlen("<NUMBER>");
        } else if (at(p, "<[>")) {
            const char *mark = p + 3, *end = strstr(mark, "<]>");
            parts[n++] = mark_node(w, mark, (size_t)(end - mark));
            p = end + 3;
        } else {
            size_t len = 1;
            while (p[len] && !at(p + len, "<NAME>") && !at(p + len, "<ARGS>") &&
                   !at(p + len, "<NUMBER>") && !at(p + len, "<[>")) {
                len++;
            }
            parts[n++] = text_node(w, p, len);
            p += len;
        }
    }
    return build_sequence(w->b, parts, n);
}

/* ---- words ---- */

static struct lang any_text(struct writer *w)
{
    return lang_repeat(w->langs, lang_any_char(w->langs, LANG_PLAIN), 0, LANG_INFINITE);
}

/* Text in which this does not come. */
static struct lang text_without(struct writer *w, const char *mark, size_t n)
{
    struct lang with = lang_concat(w->langs, lang_all(),
                                   lang_concat(w->langs, lang_text(w->langs, mark, n), lang_all()));
    return n ? lang_minus(w->langs, any_text(w), with) : any_text(w);
}

/* What begins a call: a mark's spelling, or the text in front of it. */
static const char *sign_of(const struct form *f, size_t *n)
{
    const char *p = f->open[0] ? f->open : f->call;
    p += at(p, "<[>") ? 3 : 0;
    static const char *const ends[] = {"<[>", "<]>", "<NAME>"};
    *n = strlen(p);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *end = strstr(p, ends[i]);
        *n = end && (size_t)(end - p) < *n ? (size_t)(end - p) : *n;
    }
    return p;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* So much of a sign that nobody begins it for another reason: brackets, a word and a character
 * behind it
 * ("<tool_" of "<tool_call>"). Signs that begin like words (functools[) are taken whole. */
static size_t sign_beginning(const char *sign, size_t n)
{
    size_t i = 0;
    if (n == 0 || (sign[0] != '<' && sign[0] != '[')) {
        return n;
    }
    while (i < n && !is_letter(sign[i])) {
        i++;
    }
    while (i < n && is_letter(sign[i])) {
        i++;
    }
    i += i < n;
    while (i < n && ((unsigned char)sign[i] & 0xC0) == 0x80) {
        i++;
    }
    return i;
}

static struct node words_node(struct writer *w)
{
    size_t n;
    const char *sign = sign_of(w->form, &n);
    if (w->o->choice == TOOL_CHOICE_NONE) { /* not even half a call is wanted */
        n = sign_beginning(sign, n);
    }
    if (w->form->bare) { /* what begins with a brace is a call */
        struct byte_set blanks = {{0}};
        blanks.bits[0] =
            UINT64_C(1) << ' ' | UINT64_C(1) << '\n' | UINT64_C(1) << '\r' | UINT64_C(1) << '\t';
        struct lang blank =
            lang_repeat(w->langs, lang_byte_set(w->langs, &blanks), 0, LANG_INFINITE);
        struct lang brace = lang_concat(w->langs, lang_text(w->langs, "{", 1), lang_all());
        return build_lang(w->b,
                          lang_minus(w->langs, any_text(w), lang_concat(w->langs, blank, brace)));
    }
    struct lang words = text_without(w, sign, n);
    if (strcmp(w->form->calls, "harmony") != 0) {
        return build_lang(w->b, words);
    }
    struct node parts[] = {
        spell(w, MARK("<|channel|>") "final" MARK("<|message|>"), "", build_empty()),
        build_lang(w->b, words)};
    return build_sequence(w->b, parts, 2);
}

/* Reasoning that comes first: must where the prompt has opened it, else may. */
static struct node thoughts_node(struct writer *w)
{
    const char *open = w->o->reasoning_open, *close = w->o->reasoning_close;
    if (strcmp(w->form->calls, "harmony") == 0) {
        static const char end[] = "<|end|>";
        struct node parts[] = {
            spell(w, MARK("<|channel|>") "analysis" MARK("<|message|>"), "", build_empty()),
            build_lang(w->b, text_without(w, end, sizeof end - 1)),
            spell(w, MARK("<|end|>") MARK("<|start|>") "assistant", "", build_empty())};
        return build_repeat(w->b, build_sequence(w->b, parts, 3), 0, 1);
    }
    if (!close) {
        return build_empty();
    }
    size_t n = strlen(close);
    struct lang line = lang_repeat(w->langs, lang_text(w->langs, "\n", 1), 0, 2);
    struct node blank = build_lang(w->b, line);
    struct node parts[] = {
        open && !w->o->thinking ? mark_node(w, open, strlen(open)) : build_empty(),
        build_lang(w->b, text_without(w, close, n)), mark_node(w, close, n), blank};
    struct node thoughts = build_sequence(w->b, parts, 4);
    return w->o->thinking ? thoughts : build_repeat(w->b, thoughts, 0, 1);
}

/* ---- arguments ---- */

/* An argument in tags: strings as they are, without the closing tag; else JSON. */
static struct node argument_node(struct writer *w, const json_t *parameters, const char *key)
{
    const struct tags *t = w->form->tags;
    struct schema_part part;
    if (!schema_part_build(w->b, parameters, key, &w->o->schema, &part, w->e)) {
        return build_none();
    }
    const char *end = t->value_end;
    struct lang text = lang_and(w->langs, part.strings, text_without(w, t->stop, strlen(t->stop)));
    struct node ways[2];
    struct node text_way[] = {build_text(w->b, t->text_end ? t->text_end : t->key_end,
                                         strlen(t->text_end ? t->text_end : t->key_end)),
                              build_lang(w->b, text)};
    struct node json_way[] = {build_text(w->b, t->json_end ? t->json_end : t->key_end,
                                         strlen(t->json_end ? t->json_end : t->key_end)),
                              part.others};
    ways[0] = build_sequence(w->b, text_way, 2);
    ways[1] = build_sequence(w->b, json_way, 2);
    struct node parts[] = {build_text(w->b, t->before, strlen(t->before)),
                           build_text(w->b, key, strlen(key)), build_choice(w->b, ways, 2),
                           build_text(w->b, end, strlen(end))};
    return build_sequence(w->b, parts, 4);
}

/* False, with a sentence, where what tags hold would not be all that the schema asks for. */
static bool check_tagged(struct writer *w, const json_t *parameters, const json_t *properties,
                         const json_t *required)
{
    const char *type = json_string_value(json_object_get(parameters, "type")), *key;
    json_t *one;
    size_t i;
    if (!json_is_object(parameters) || (properties && !json_is_object(properties)) ||
        (required && !json_is_array(required))) {
        return error_set(w->e, ERROR_INPUT,
                         "#: parameters are an object, with \"properties\" that are one and "
                         "\"required\" that is an array");
    }
    if (json_object_get(parameters, "type") && (!type || strcmp(type, "object") != 0)) {
        return error_set(w->e, ERROR_UNSUPPORTED,
                         "#/type: the arguments of a call in tags are an object");
    }
    json_array_foreach(required, i, one)
    {
        const char *name = json_string_value(one);
        if (!name || !json_object_get(properties, name)) {
            return error_set(w->e, ERROR_UNSUPPORTED,
                             "#/required/%zu: \"%.60s\" is not among the properties, and a call in "
                             "tags has no others",
                             i, name ? name : "");
        }
    }
    json_object_foreach((json_t *)properties, key, one)
    {
        if (strpbrk(key, "<>\n")) {
            return error_set(w->e, ERROR_UNSUPPORTED,
                             "#/properties: the key \"%.60s\" cannot be written in a tag", key);
        }
    }
    return true;
}

/* Arguments in tags come in the order of the schema, those that are not required if at all. */
static struct node tagged_arguments(struct writer *w, const json_t *parameters)
{
    static const char *const known[] = {
        "type",    "properties",  "required",    "additionalProperties",
        "$defs",   "definitions", "description", "title",
        "$schema", "strict"};
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)parameters, key, one)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            found = found || strcmp(known[i], key) == 0;
        }
        if (!found) {
            error_set(w->e, ERROR_UNSUPPORTED,
                      "#/%.100s: the arguments of a call in tags are held one by one; what is said "
                      "about all of them together is not",
                      key);
            return build_none();
        }
    }
    json_t *properties = json_object_get(parameters, "properties");
    json_t *required = json_object_get(parameters, "required");
    if (!check_tagged(w, parameters, properties, required)) {
        return build_none();
    }
    struct node *parts = mem_array(json_object_size(properties) + 1, sizeof *parts);
    size_t n = 0, i;
    json_object_foreach(properties, key, one)
    {
        struct node argument = argument_node(w, parameters, key);
        if (build_is_none(argument)) {
            free(parts);
            return argument;
        }
        bool must = false;
        json_t *name;
        json_array_foreach(required, i, name)
        {
            const char *text = json_string_value(name);
            must = must || (text && strcmp(text, key) == 0);
        }
        parts[n++] = must ? argument : build_repeat(w->b, argument, 0, 1);
    }
    struct node all = build_sequence(w->b, parts, n);
    free(parts);
    return all;
}

static bool is_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    for (size_t i = 0; i < n; i++) {
        char c = name[i], letter = (char)(c | 32);
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && !strchr("_-.:/", c)) {
            return false;
        }
    }
    return n > 0 && n <= MAX_NAME_BYTES;
}

/* The call of tool i; none where it is not wanted, or after an error. */
static struct node tool_node(struct writer *w, size_t i, bool *wanted)
{
    const json_t *function = chat_tool_function(json_array_get(w->o->tools, i));
    const char *name = json_string_value(json_object_get(function, "name"));
    const json_t *parameters = json_object_get(function, "parameters");
    *wanted = false;
    if (!is_name(name)) {
        error_set(
            w->e, ERROR_INPUT,
            "tools/%zu: a tool has a \"name\" of at most %d letters, digits, '_', '-', '.', ':' "
            "and '/'",
            i, MAX_NAME_BYTES);
        return build_none();
    }
    if (!strmap_add(w->names, name, strlen(name), (uint32_t)i)) {
        error_set(w->e, ERROR_INPUT, "tools/%zu: a tool before it has the name \"%s\", too", i,
                  name);
        return build_none();
    }
    if (w->o->choice == TOOL_CHOICE_NAMED && strcmp(name, w->o->name) != 0) {
        return build_empty();
    }
    *wanted = true;
    json_t *any = json_object();
    parameters = parameters && !json_is_null(parameters) ? parameters : any;
    struct schema_options o = w->o->schema;
    o.strict = o.strict || json_is_true(json_object_get(function, "strict"));
    struct node args = w->form->tags ? tagged_arguments(w, parameters)
                                     : schema_object_build(w->b, parameters, &o, w->e);
    json_decref(any);
    if (build_is_none(args)) {
        error_prefix(w->e, "tools/%zu (%s): ", i, name);
        return args;
    }
    return spell(w, w->form->call, name, args);
}

/* One call or several, with what is around them; none after an error. */
static struct node calls_node(struct writer *w)
{
    size_t n_tools = json_array_size(w->o->tools), n = 0;
    struct node *nodes = mem_array(n_tools + 1, sizeof *nodes), all = build_none();
    bool ok = true;
    w->names = strmap_new(n_tools);
    for (size_t i = 0; i < n_tools && ok; i++) {
        bool wanted;
        struct node node = tool_node(w, i, &wanted);
        ok = !build_is_none(node);
        nodes[n] = node;
        n += wanted;
    }
    strmap_free(w->names);
    if (ok && n_tools == 0) {
        error_set(w->e, ERROR_INPUT, "a call is wanted, and there are no tools");
    } else if (ok && n == 0) {
        error_set(w->e, ERROR_INPUT, "no tool has the name \"%.100s\"",
                  w->o->name ? w->o->name : "");
    } else if (ok) {
        struct node call = build_choice(w->b, nodes, n);
        struct node more[] = {spell(w, w->form->between, "", build_empty()), call};
        bool several = w->o->parallel && w->form->several;
        struct node parts[] = {
            spell(w, w->form->open, "", build_empty()), call,
            build_repeat(w->b, build_sequence(w->b, more, 2), 0, several ? MAX_CALLS - 1 : 0),
            spell(w, w->form->close, "", build_empty())};
        all = build_sequence(w->b, parts, 4);
    }
    free(nodes);
    return all;
}

/* Of which tool no call can be completed, with the keyword to blame; false where it is none's. */
static bool explain_tools(struct writer *w)
{
    size_t i;
    json_t *tool;
    json_array_foreach(w->o->tools, i, tool)
    {
        const json_t *function = chat_tool_function(tool);
        const char *name = json_string_value(json_object_get(function, "name"));
        const json_t *parameters = json_object_get(function, "parameters");
        if (parameters && schema_object_explain(parameters, &w->o->schema, w->e)) {
            error_prefix(w->e, "tools/%zu (%s): ", i, name ? name : "");
            return true;
        }
    }
    return false;
}

struct grammar *grammar_tool_call(const struct tool_call_options *o, struct error *e)
{
    struct writer w = {.o = o, .e = e};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        w.form = strcmp(forms[i].calls, o->calls) == 0 ? &forms[i] : w.form;
    }
    if (!w.form) {
        error_set(e, ERROR_UNSUPPORTED, "calls in the format \"%.60s\" cannot be held to a grammar",
                  o->calls);
        return NULL;
    }
    if (!json_is_array(o->tools) || json_array_size(o->tools) > MAX_TOOLS) {
        error_set(e, ERROR_INPUT, "tools: an array of at most %d definitions", MAX_TOOLS);
        return NULL;
    }
    if (o->choice != TOOL_CHOICE_NONE && !tool_call_check_strict(o->tools, e)) {
        return NULL;
    }
    w.b = build_new();
    w.langs = build_langs(w.b);
    struct node ways[3], calls = build_none();
    size_t n = 0;
    bool free_words = o->choice == TOOL_CHOICE_NONE || o->choice == TOOL_CHOICE_AUTO;
    if (o->choice != TOOL_CHOICE_NONE) {
        calls = calls_node(&w);
        if (build_is_none(calls)) {
            build_free(w.b);
            return NULL;
        }
        ways[n++] = calls;
    }
    if (free_words) {
        struct node words = words_node(&w), both[] = {words, calls};
        ways[n++] = words;
        if (o->choice == TOOL_CHOICE_AUTO && !w.form->bare) {
            ways[n++] = build_sequence(w.b, both, 2);
        }
    }
    struct node root[] = {thoughts_node(&w), build_choice(w.b, ways, n)};
    struct node all = build_sequence(w.b, root, 2);
    struct error why = {.code = ERROR_NONE};
    struct grammar *g = build_finish(w.b, all, &why);
    if (!g && !(why.code == ERROR_INPUT && explain_tools(&w)) && e) {
        *e = why;
    }
    return g;
}

bool tool_call_check_strict(const json_t *tools, struct error *e)
{
    struct schema_options o;
    schema_options_defaults(&o);
    o.strict = true;
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool)
    {
        const json_t *function = chat_tool_function(tool);
        const char *name = json_string_value(json_object_get(function, "name"));
        const json_t *parameters = json_object_get(function, "parameters");
        const json_t *strict = json_object_get(function, "strict");
        if (strict && !json_is_boolean(strict) && !json_is_null(strict)) {
            return error_set(e, ERROR_INPUT, "tools/%zu (%.*s): \"strict\" is true or false", i,
                             MAX_NAME_BYTES, name ? name : "");
        }
        if (!json_is_true(strict) || !parameters || json_is_null(parameters)) {
            continue;
        }
        struct grammar *g = grammar_json_schema(parameters, &o, e);
        if (!g) {
            error_prefix(e, "tools/%zu (%.*s): ", i, MAX_NAME_BYTES, name ? name : "");
            return false;
        }
        grammar_free(g);
    }
    return true;
}

bool tool_choice_word(const char *word, enum tool_choice *choice)
{
    static const char *const words[] = {"none", "auto", "required"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            *choice = (enum tool_choice)i;
            return true;
        }
    }
    return false;
}

bool tool_choice_read(const json_t *v, enum tool_choice *choice, const char **name, struct error *e)
{
    const char *word = json_string_value(v);
    *name = NULL;
    *choice = TOOL_CHOICE_AUTO;
    if (!v || json_is_null(v) || (word && tool_choice_word(word, choice))) {
        return true;
    }
    const json_t *function = json_object_get(v, "function");
    *name = json_string_value(json_object_get(function ? function : v, "name"));
    *choice = TOOL_CHOICE_NAMED;
    return *name || error_set(e, ERROR_INPUT,
                              "must be \"none\", \"auto\", \"required\", or {\"type\": "
                              "\"function\", \"function\": {\"name\": ...}}");
}
