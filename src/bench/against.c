/* against.c: another program's speed on the same model, asked through a shell command. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/bench.h"

enum { COMMAND_BYTES = 1 << 16, OUTPUT_BYTES = 1 << 20 };

/* As one word of the shell. */
static void append_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '\'');
    for (; *text; text++) {
        if (*text == '\'') {
            buf_append_str(out, "'\\''");
        } else {
            buf_append_char(out, *text);
        }
    }
    buf_append_char(out, '\'');
}

static bool expand(const struct bench_against *a, const char *test, uint32_t depth, struct buf *out,
                   struct error *e)
{
    for (const char *p = a->command; *p;) {
        if (strncmp(p, "{model}", 7) == 0) {
            append_quoted(out, a->model);
            p += 7;
        } else if (strncmp(p, "{threads}", 9) == 0) {
            buf_printf(out, "%d", a->n_threads);
            p += 9;
        } else if (strncmp(p, "{test}", 6) == 0) {
            buf_append_str(out, test);
            p += 6;
        } else if (strncmp(p, "{depth}", 7) == 0) {
            buf_printf(out, "%u", depth);
            p += 7;
        } else {
            buf_append_char(out, *p++);
        }
    }
    if (out->full) {
        return error_set(e, ERROR_LIMIT, "the command of --against is longer than %d bytes",
                         COMMAND_BYTES);
    }
    return true;
}

static bool read_rate(const char *line, double *rate)
{
    char *end;
    double x = strtod(line, &end);
    if (end != line && end[strspn(end, " \t\r\n")] == 0) {
        *rate = x;
    } else {
        json_t *o = json_loads(line, 0, NULL);
        json_t *v = json_object_get(o, "tokens_per_second");
        v = json_is_object(v) ? json_object_get(v, "median") : v;
        *rate = json_is_number(v) ? json_number_value(v) : 0;
        json_decref(o);
    }
    return isfinite(*rate) && *rate > 0;
}

/* The last line of text that is not blank; the text is cut behind it. */
static char *last_line(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r\n", text[n - 1])) {
        text[--n] = 0;
    }
    char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

static bool run_command(const char *command, struct buf *output, struct error *e)
{
    FILE *pipe = popen(command, "re");
    if (!pipe) {
        return error_set(e, ERROR_IO, "the command of --against cannot be started: %s",
                         strerror(errno));
    }
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, pipe)) > 0) {
        buf_append(output, piece, n);
    }
    int status = pclose(pipe);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return error_set(e, ERROR_IO, "the command of --against failed with status %d: %s",
                         WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), command);
    }
    return true;
}

bool bench_against(const struct bench_against *a, const char *test, uint32_t depth,
                   double *tokens_per_second, struct error *e)
{
    struct buf command, output;
    buf_init(&command, COMMAND_BYTES);
    buf_init(&output, OUTPUT_BYTES);
    bool ok = expand(a, test, depth, &command, e) && run_command(command.data, &output, e);
    if (ok) {
        char *line = output.data ? last_line(output.data) : "";
        if (!read_rate(line, tokens_per_second)) {
            ok = error_set(e, ERROR_INPUT,
                           "the command of --against ended with \"%.80s\"; its last line must be a "
                           "number of tokens a second, or a JSON object with tokens_per_second",
                           line);
        }
    }
    buf_free(&command);
    buf_free(&output);
    return ok;
}
