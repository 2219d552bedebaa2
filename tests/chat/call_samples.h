/* call_samples.h: answers of models with calls and reasoning, and what they mean. */
#ifndef LLLM_TESTS_CALL_SAMPLES_H
#define LLLM_TESTS_CALL_SAMPLES_H

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

extern const struct sample samples[];
extern const int n_samples;

#endif
