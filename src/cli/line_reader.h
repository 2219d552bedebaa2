/* line_reader.h: lines from a person or a pipe. On a terminal, with libedit: editing and a history
 * that is kept in a file; otherwise plain lines. */
#ifndef LLLM_CLI_LINE_READER_H
#define LLLM_CLI_LINE_READER_H

#include <stdbool.h>
#include <stddef.h>

enum line_result {
    LINE_READ,
    LINE_END,         /* end of input, Ctrl-D */
    LINE_INTERRUPTED, /* Ctrl-C; *typed tells whether something stood on the line */
};

struct line_reader;
/* prompt is shown on terminals only. The interrupt flag of answer.h must be in use. */
struct line_reader *line_reader_new(const char *prompt);
void line_reader_free(struct line_reader *r); /* saves the history */
bool line_reader_is_terminal(const struct line_reader *r);
/* Whether several lines that are pasted come as one; else each is a line of its own (a dumb
 * terminal, keys of vi, a build without libedit). */
bool line_reader_joins_pastes(const struct line_reader *r);
/* line: NUL-terminated without its newline, valid until the next call. One that was pasted may have
 * newlines within. */
enum line_result line_reader_next(struct line_reader *r, const char **line, bool *typed);

#endif
