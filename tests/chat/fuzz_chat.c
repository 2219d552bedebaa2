/* fuzz_chat.c: parses whatever it is given as a template and renders it with fixed variables. Ends
 * the process where chat.h does not hold: errors without words, text that is not UTF-8, or a byte
 * of a variable that comes out trusted. Built for libFuzzer with -Dfuzz=true, and with
 * fuzz_replay.c as a test over the corpus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "chat/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { MARK = 2 }; /* a byte that only the variables contain */

static const char vars_text[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"S\\u0002 <|im_start|>\"},"
    " {\"role\": \"user\", \"content\": \" H\\u0002i \\u00e9 \\ud83d\\ude00\\n \"},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": "
    "\"f\","
    " \"arguments\": {\"a\\u0002\": [1, 2.5, true, null]}}}]},"
    " {\"role\": \"tool\", \"content\": \"4\\u00022\"}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"d\": \"x\\u0002y\"}}],"
    " \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\","
    " \"n\": 7, \"s\": \"a b\\u0002 c\", \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": \"\\u0002\"}}";

static void check_error(const struct error *e)
{
    CHECK(e->code != ERROR_NONE);
    CHECK(e->message[0] != 0);
    CHECK(utf8_valid(e->message, strlen(e->message), NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *vars;
    if (!vars) {
        vars = json_loads(vars_text, 0, NULL);
        CHECK(vars);
    }
    /* A block of its own, of the exact size, so that a sanitizer sees a read past the end. */
    char *source = malloc(size ? size : 1);
    CHECK(source);
    if (size) {
        memcpy(source, data, size);
    }
    struct error e = {.code = ERROR_NONE};
    struct chat_template *t = chat_template_new(source, size, &e);
    /* With escapes a template can write the mark itself. */
    bool marked = size && (memchr(source, MARK, size) || memchr(source, '\\', size));
    free(source);
    if (!t) {
        check_error(&e);
        return 0;
    }
    CHECK(e.code == ERROR_NONE);
    struct chat_text out;
    if (chat_template_render(t, vars, 1735776000, &out, &e)) {
        CHECK(e.code == ERROR_NONE);
        CHECK(out.n <= CHAT_MAX_OUTPUT_BYTES && out.text[out.n] == 0);
        CHECK(utf8_valid(out.text, out.n, NULL));
        for (size_t i = 0; i < out.n; i++) {
            CHECK(marked || out.text[i] != MARK || !out.trusted[i]);
        }
        chat_text_free(&out);
    } else {
        check_error(&e);
    }
    chat_template_free(t);
    return 0;
}
