/* test_builtin.c: the templates that the program brings, against those that the makers of the
 * models published: equal text for random conversations, and an error where theirs has one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "chat/builtin.h"

enum { MAX_FILE_BYTES = 64 << 20, NOW = 1735776000 };

static const char *data_folder;

/* What a comparison may leave out: what the published template has of its own besides. */
enum {
    NO_SYSTEM = 1,    /* its default system message: every conversation brings one */
    SYSTEM_FIRST = 2, /* (always a system message) */
    TURNS_ONLY = 4,   /* user and assistant alone, in turns */
    NO_END = 8,       /* a token behind the last turn: always with the generation prompt */
    NO_PROMPT = 16,   /* always without */
    TOOLS = 32,       /* tools, calls and results too */
    BLANK_END = 64,   /* blanks at the end are left out on both sides */
};

static const struct {
    const char *name, *file; /* of templates/; or "#N": line N of ollama-rendered/templates.jsonl */
    int how;
} published[] = {
    {"zephyr", "#2", 0},
    {"tinyllama", "#2", 0},
    {"mistral", "#10", TURNS_ONLY},
    {"llama2", "#12", 0},
    {"codellama", "#26", 0},
    {"gemma", "#21", 0},
    {"gemma", "llama.cpp/google-gemma-2-2b-it.jinja", 0},
    {"llama3", "#22", 0},
    {"phi-3", "#29", NO_END},
    {"deepseek", "llama.cpp/deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", NO_PROMPT},
    {"gpt-oss", "llama.cpp/openai-gpt-oss-120b.jinja", TOOLS},
    {"mistral-v7", "llama.cpp/Mistral-Small-3.2-24B-Instruct-2506.jinja",
     SYSTEM_FIRST | TURNS_ONLY | TOOLS},
    {"mistral-tekken", "llama.cpp/mistralai-Mistral-Nemo-Instruct-2407.jinja", TURNS_ONLY},
};

static bool read_source(const char *file, struct buf *out)
{
    char path[4096];
    buf_init(out, MAX_FILE_BYTES);
    if (file[0] != '#') {
        snprintf(path, sizeof path, "%s/templates/%s", data_folder, file);
        return file_read(path, MAX_FILE_BYTES, out, NULL);
    }
    struct buf lines;
    buf_init(&lines, MAX_FILE_BYTES);
    snprintf(path, sizeof path, "%s/templates/ollama-rendered/templates.jsonl", data_folder);
    if (!file_read(path, MAX_FILE_BYTES, &lines, NULL)) {
        return false;
    }
    char *line = lines.data;
    for (int n = atoi(file + 1); n && line; n--) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    json_t *row = line ? json_loadb(line, strcspn(line, "\n"), 0, NULL) : NULL;
    void *it = json_object_iter(row);
    json_t *text = it ? json_object_iter_value(it) : NULL;
    bool ok = json_is_string(text) && buf_append_str(out, json_string_value(text));
    json_decref(row);
    buf_free(&lines);
    return ok;
}

static json_t *words(struct rng *r)
{
    static const char *const pieces[] = {"Hello",  " ",       "\n",      "caf\xc3\xa9",
                                         "[INST]", "<|end|>", "{{ x }}", "</think>",
                                         "a  b",   "</s>",    "\"q\"",   "<start_of_turn>"};
    char text[256] = "";
    for (uint64_t n = rng_below(r, 5); n; n--) {
        strcat(text, pieces[rng_below(r, sizeof pieces / sizeof *pieces)]);
    }
    return json_string(text);
}

static json_t *tools_of(struct rng *r)
{
    static const char *const all[] = {
        "{\"type\": \"function\", \"function\": {\"name\": \"now\", \"description\": \"Tells the "
        "time.\"}}",
        "{\"type\": \"function\", \"function\": {\"name\": \"add\", \"description\": \"Adds.\", "
        "\"parameters\": "
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"number\", \"description\": "
        "\"one\", "
        "\"default\": 1.5}, \"b\": {\"type\": \"array\", \"items\": {\"type\": \"integer\"}}, "
        "\"c\": {\"type\": "
        "\"string\", \"enum\": [\"x\", \"y\"], \"default\": \"x\"}}, \"required\": [\"a\"]}}}",
        "{\"type\": \"function\", \"function\": {\"name\": \"find\", \"description\": \"Finds.\", "
        "\"parameters\": {\"type\": \"object\", \"properties\": {\"where\": {\"type\": \"object\", "
        "\"properties\": {\"city\": {\"type\": \"string\", \"nullable\": true}, \"n\": {\"type\": "
        "\"boolean\"}}, \"required\": [\"n\"]}, \"kinds\": {\"type\": [\"string\", \"null\"]}, "
        "\"either\": "
        "{\"oneOf\": [{\"type\": \"string\", \"description\": \"text\"}, {\"type\": \"number\", "
        "\"default\": 3}]}, \"any\": {\"oneOf\": [{\"type\": \"object\"}, {\"type\": "
        "\"string\"}]}, "
        "\"lists\": {\"type\": \"array\", \"items\": {\"type\": \"object\"}, \"nullable\": true}, "
        "\"bare\": "
        "{\"type\": \"array\"}}}}}"};
    json_t *tools = json_array();
    for (uint64_t n = 1 + rng_below(r, 3); n; n--) {
        json_array_append_new(tools, json_loads(all[rng_below(r, 3)], 0, NULL));
    }
    return tools;
}

static void add_call(struct rng *r, json_t *messages, int i)
{
    char id[16];
    snprintf(id, sizeof id, "call%05d", i);
    json_t *call = json_pack("{s:s, s:s, s:{s:s, s:{s:i, s:o}}}", "id", id, "type", "function",
                             "function", "name", "add", "arguments", "a", i, "b", words(r));
    json_t *m = json_pack("{s:s, s:o, s:[o]}", "role", "assistant", "content",
                          rng_below(r, 2) ? words(r) : json_string(""), "tool_calls", call);
    if (!rng_below(r, 3)) {
        json_object_set_new(m, "thinking", words(r));
    }
    json_array_append_new(messages, m);
    json_array_append_new(messages, json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", id,
                                              "content", words(r)));
}

static json_t *conversation(struct rng *r, int how)
{
    json_t *messages = json_array();
    if ((how & SYSTEM_FIRST) || !rng_below(r, 3)) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:o}", "role", "system", "content", words(r)));
    }
    bool orderly = (how & TURNS_ONLY) || rng_below(r, 4);
    uint64_t n = 1 + rng_below(r, 5);
    for (uint64_t i = 0; i < n; i++) {
        bool user = orderly ? i % 2 == 0 : rng_below(r, 2) == 0;
        json_array_append_new(messages, json_pack("{s:s, s:o}", "role", user ? "user" : "assistant",
                                                  "content", words(r)));
        if (user && (how & TOOLS) && !rng_below(r, 3)) {
            add_call(r, messages, (int)i);
        }
    }
    bool generation = (how & NO_END) || (!(how & NO_PROMPT) && rng_below(r, 2));
    json_t *vars =
        json_pack("{s:o, s:b, s:s, s:s}", "messages", messages, "add_generation_prompt", generation,
                  "bos_token", how & NO_END ? "" : "<s>", "eos_token", "</s>");
    if ((how & TOOLS) && rng_below(r, 2)) {
        json_object_set_new(vars, "tools", tools_of(r));
    }
    return vars;
}

static void compare(const char *name, const struct chat_template *theirs,
                    const struct chat_template *ours, json_t *vars, int *texts, int *errors)
{
    struct chat_text a = {0}, b = {0};
    struct error ea = {0}, eb = {0};
    bool ok_a = chat_template_render(theirs, vars, NOW, &a, &ea);
    bool ok_b = chat_template_render(ours, vars, NOW, &b, &eb);
    if (ok_a != ok_b || (ok_a && (a.n != b.n || memcmp(a.text, b.text, a.n) != 0))) {
        char *given = json_dumps(vars, 0);
        size_t same = 0; /* what is alike at the beginning is left out */
        while (ok_a && ok_b && same < a.n && same < b.n && a.text[same] == b.text[same]) {
            same++;
        }
        same = same > 20 ? same - 20 : 0;
        fail_msg("%s:\ntheirs ...%.300s\nours   ...%.300s\nof %s", name,
                 ok_a ? a.text + same : ea.message, ok_b ? b.text + same : eb.message, given);
    }
    ok_a ? ++*texts : ++*errors;
    if (ok_a) {
        chat_text_free(&a);
        chat_text_free(&b);
    }
}

static struct chat_template *template_of(const char *source)
{
    struct error e = {0};
    struct chat_template *t = chat_template_new(source, strlen(source), &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    return t;
}

static void same_as_published(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/templates", data_folder ? data_folder : "");
    if (!data_folder || !file_is_directory(path)) {
        print_message("# no folder templates: set LLLM_TEST_DATA\n");
        skip();
    }
    struct rng r;
    rng_seed(&r, 5);
    int n = getenv("LLLM_SOAK") ? 5000 : 100;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        struct buf source;
        if (!read_source(published[i].file, &source)) {
            fail_msg("%s cannot be read", published[i].file);
        }
        const struct chat_builtin *b = chat_builtin_find(published[i].name);
        assert_non_null(b);
        struct chat_template *theirs = template_of(source.data), *ours = template_of(b->source);
        int texts = 0, errors = 0;
        for (int k = 0; k < n; k++) {
            json_t *vars = conversation(&r, published[i].how);
            compare(published[i].name, theirs, ours, vars, &texts, &errors);
            json_decref(vars);
        }
        print_message("# %-15s %d texts and %d errors alike\n", b->name, texts, errors);
        assert_true(texts > n / 5);
        chat_template_free(theirs);
        chat_template_free(ours);
        buf_free(&source);
    }
}

/* The same conversation through each, for those that nobody here publishes too. */
static const struct {
    const char *name, *expected;
} fixed[] = {
    {"alpaca", "S\n\n### Instruction:\nu1\n\n### Response:\na1</s>\n\n### Instruction:\nu2\n\n### "
               "Response:\n"},
    {"chatml",
     "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n<|im_start|>assistant\n"
     "a1<|im_end|>\n<|im_start|>user\nu2<|im_end|>\n<|im_start|>assistant\n"},
    {"codellama", "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nu1 [/INST] a1 </s><s>[INST] u2 [/INST]"},
    {"command-r",
     "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
     "<|USER_TOKEN|>u1<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>a1"
     "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>u2<|END_OF_TURN_TOKEN|>"
     "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {"mistral-tekken", "<s>[INST]u1[/INST]a1</s>[INST]S\n\nu2[/INST]"},
    {"mistral-v3", "<s>[INST] u1[/INST] a1</s>[INST] S\n\nu2[/INST]"},
    {"mistral-v7", "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]u1[/INST]a1</s>[INST]u2[/INST]"},
    {"phi-2", "S\nInstruct: u1\nOutput: a1\nInstruct: u2\nOutput:"},
    {"phi-3",
     "<|system|>\nS<|end|>\n<|user|>\nu1<|end|>\n<|assistant|>\na1<|end|>\n<|user|>\nu2<|end|>\n"
     "<|assistant|>\n"},
    {"phi-4",
     "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>u1<|im_end|><|im_start|>"
     "assistant<|im_sep|>a1<|im_end|><|im_start|>user<|im_sep|>u2<|im_end|><|im_start|>assistant"
     "<|im_sep|>"},
    {"vicuna", "S USER: u1 ASSISTANT: a1</s>USER: u2 ASSISTANT:"},
};

static void fixed_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        const struct chat_builtin *b = chat_builtin_find(fixed[i].name);
        struct chat_template *t = template_of(b->source);
        json_t *vars =
            json_pack("{s:[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:s}], s:b, s:s, s:s}", "messages",
                      "role", "system", "content", "S", "role", "user", "content", "u1", "role",
                      "assistant", "content", "a1", "role", "user", "content", "u2",
                      "add_generation_prompt", 1, "bos_token", "<s>", "eos_token", "</s>");
        struct chat_text out;
        struct error e = {0};
        if (!chat_template_render(t, vars, NOW, &out, &e)) {
            fail_msg("%s: %s", fixed[i].name, e.message);
        }
        assert_string_equal(out.text, fixed[i].expected);
        chat_text_free(&out);
        json_decref(vars);
        chat_template_free(t);
    }
}

/* Each takes a system message by itself or through chat_prepare, and a conversation with a call. */
static void all_serve(void **state)
{
    (void)state;
    for (size_t i = 0; chat_builtin_at(i); i++) {
        const struct chat_builtin *b = chat_builtin_at(i);
        assert_true(i == 0 || strcmp(chat_builtin_at(i - 1)->name, b->name) < 0);
        assert_ptr_equal(chat_builtin_find(b->name), b);
        struct chat_template *t = template_of(b->source);
        struct chat_abilities a;
        struct error e = {0};
        chat_abilities_probe(t, &a);
        struct chat_format f = chat_format_detect(b->source, NULL, NULL);
        json_error_t why;
        json_t *given = json_loads(
            "[[{\"role\": \"system\", \"content\": \"SYS\"}, {\"role\": \"user\", \"content\": "
            "\"ASK\"}, "
            "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"1\", "
            "\"function\": "
            "{\"name\": \"NAME\", \"arguments\": \"{\\\"key\\\": 5}\"}}]}, {\"role\": \"tool\", "
            "\"tool_call_id\": \"1\", \"content\": \"GOT\"}], [{\"name\": \"NAME\", "
            "\"description\": "
            "\"TOLD\"}]]",
            0, &why);
        json_t *vars = chat_prepare(&a, json_array_get(given, 0), json_array_get(given, 1), &f, &e);
        assert_non_null(vars);
        json_object_set_new(vars, "add_generation_prompt", json_true());
        json_object_set_new(vars, "bos_token", json_string("<s>"));
        json_object_set_new(vars, "eos_token", json_string("</s>"));
        struct chat_text out;
        if (!chat_template_render(t, vars, NOW, &out, &e)) {
            fail_msg("%s: %s", b->name, e.message);
        }
        static const char *const needed[] = {"SYS", "ASK", "NAME", "TOLD", "key", "GOT"};
        /* Nemo's template, and ours with it, tells the system's words in the last message alone,
         * and only where that is the user's. */
        bool nemo =
            strncmp(b->name, "mistral-tekken", 14) == 0 || strcmp(b->name, "mistral-v3") == 0;
        for (size_t k = nemo; k < sizeof needed / sizeof *needed; k++) {
            if (!strstr(out.text, needed[k])) {
                fail_msg("%s lacks %s:\n%s", b->name, needed[k], out.text);
            }
        }
        chat_text_free(&out);
        json_decref(vars);
        json_decref(given);
        chat_template_free(t);
    }
}

static enum chat_token in_list(void *context, const char *spelling)
{
    const char *at = strstr(context, spelling);
    return at && (at[strlen(spelling)] == ' ' || !at[strlen(spelling)]) ? CHAT_TOKEN_CONTROL
                                                                        : CHAT_TOKEN_NONE;
}

static void chosen_by_vocabulary(void **state)
{
    (void)state;
    static const struct {
        const char *vocabulary, *architecture, *model, *expected;
    } cases[] = {
        {"<|im_start|> <|im_end|>", "qwen2", NULL, "chatml"},
        {"<|im_start|> <|im_sep|> <|im_end|>", "phi3", NULL, "phi-4"},
        {"<|start_header_id|> <|end_header_id|> <|eot_id|>", "llama", "Llama 3.2 1B Instruct",
         "llama3"},
        {"<|start|> <|channel|> <|message|> <|end|>", "gpt-oss", NULL, "gpt-oss"},
        {"<start_of_turn> <end_of_turn>", "gemma2", NULL, "gemma"},
        {"<|START_OF_TURN_TOKEN|> <|CHATBOT_TOKEN|>", "command-r", NULL, "command-r"},
        {"<\xef\xbd\x9cUser\xef\xbd\x9c> <\xef\xbd\x9c"
         "Assistant\xef\xbd\x9c>",
         "deepseek2", NULL, "deepseek"},
        {"[INST] [/INST] [TOOL_CALLS] [SYSTEM_PROMPT]", "llama", NULL, "mistral-v7"},
        {"[INST] [/INST] [TOOL_CALLS] \xe2\x96\x81the", "llama", NULL, "mistral-v3"},
        {"[INST] [/INST] [TOOL_CALLS]", "llama", NULL, "mistral-tekken"},
        {"<|user|> <|assistant|> <|end|>", "phi3", NULL, "phi-3"},
        {"", "phi2", "Phi 2", "phi-2"},
        {"", "llama", "Llama-2-7b-chat-hf", "llama2"},
        {"", "llama", "codellama_CodeLlama-7b-Instruct-hf", "codellama"},
        {"", "llama", "tinyllama_tinyllama-1.1b-chat-v1.0", "tinyllama"},
        {"", "llama", "Mixtral 8x7B Instruct v0.1", "mistral"},
        {"", "llama", "zephyr-7b-beta", "zephyr"},
        {"", "llama", "Llama 2 7B", NULL},
        {"", "llama", NULL, NULL},
        {"", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct chat_builtin *b = chat_builtin_for(cases[i].architecture, cases[i].model,
                                                        in_list, (void *)cases[i].vocabulary);
        const char *got = b ? b->name : "none",
                   *wanted = cases[i].expected ? cases[i].expected : "none";
        if (strcmp(got, wanted) != 0) {
            fail_msg("%s, %s: %s", cases[i].vocabulary, cases[i].model, got);
        }
    }
    assert_string_equal(chat_builtin_find("Llama-2")->name, "llama2");
    assert_string_equal(chat_builtin_find("PHI_3")->name, "phi-3");
    assert_string_equal(chat_builtin_find("mixtral")->name, "mistral");
    assert_string_equal(chat_builtin_find("harmony")->name, "gpt-oss");
    assert_null(chat_builtin_find("nothing"));
    assert_null(chat_builtin_find(""));
}

int main(int argc, char **argv)
{
    data_folder = getenv("LLLM_TEST_DATA");
    if (!data_folder && argc > 1) {
        data_folder = argv[1];
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_published),
        cmocka_unit_test(fixed_texts),
        cmocka_unit_test(all_serve),
        cmocka_unit_test(chosen_by_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
