#include "cli/input.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/term.h"

bool input_text(struct buf *b, const struct string_list *arguments, size_t first, const char *file,
                struct error *e)
{
    buf_init(b, INPUT_MAX_BYTES);
    if (!file && arguments->n > first) {
        for (size_t i = first; i < arguments->n; i++) {
            if ((i > first && !buf_append_char(b, ' ')) ||
                !buf_append_str(b, arguments->items[i])) {
                return error_set(e, ERROR_LIMIT, "the arguments are too long; use -f");
            }
        }
        return true;
    }
    if (file && strcmp(file, "-") != 0) {
        return file_read(file, INPUT_MAX_BYTES, b, e);
    }
    if (!file && isatty(STDIN_FILENO)) {
        term_message("reading from the terminal; Ctrl-D ends the text");
    }
    if (!file_read("/dev/stdin", INPUT_MAX_BYTES, b, e)) {
        return error_prefix(e, "standard input: ");
    }
    return true;
}

bool input_ids(const char *text, size_t n_vocab, struct token_list *ids, struct error *e)
{
    static const char separators[] = " ,[]\t\r\n";
    const char *c = text ? text : "";
    for (;;) {
        c += strspn(c, separators);
        size_t n = strcspn(c, separators);
        if (!n) {
            return true;
        }
        char word[24];
        uint64_t id;
        snprintf(word, sizeof word, "%.*s", n < sizeof word ? (int)n : (int)sizeof word - 1, c);
        if (n >= sizeof word || !options_read_u64(word, &id) || id >= n_vocab) {
            return error_set(e, ERROR_INPUT,
                             "\"%s\" is no token id of this model: they are 0 to "
                             "%zu",
                             word, n_vocab ? n_vocab - 1 : 0);
        }
        token_list_add(ids, (int32_t)id);
        c += n;
    }
}
