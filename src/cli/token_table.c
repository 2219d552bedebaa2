#include "cli/token_table.h"

#include <stdio.h>

#include "cli/term.h"

void token_table_print(const struct tokenizer *t, const struct token_list *ids)
{
    struct buf piece;
    buf_init(&piece, SIZE_MAX / 2);
    for (size_t i = 0; i < ids->n; i++) {
        buf_clear(&piece);
        tokenizer_append_piece(t, ids->ids[i], true, &piece);
        printf("%7d  \"", ids->ids[i]);
        term_print_escaped(stdout, piece.data ? piece.data : "", piece.len, 0);
        puts("\"");
    }
    buf_free(&piece);
}

json_t *token_table_json(const struct tokenizer *t, const struct token_list *ids,
                         const struct span_list *spans)
{
    json_t *tokens = json_array();
    struct buf piece;
    buf_init(&piece, SIZE_MAX / 2);
    for (size_t i = 0; i < ids->n; i++) {
        int32_t id = ids->ids[i];
        struct gguf_string spelling = tokenizer_spelling(t, id);
        buf_clear(&piece);
        tokenizer_append_piece(t, id, true, &piece);
        json_t *token = json_pack("{s:i, s:o, s:o, s:b}", "id", id, "text",
                                  term_json_text(piece.data ? piece.data : "", piece.len),
                                  "spelling", term_json_text(spelling.data, spelling.len),
                                  "control", tokenizer_is_control(t, id));
        if (spans) {
            json_object_set_new(token, "start", json_integer(spans->spans[i].start));
            json_object_set_new(token, "end", json_integer(spans->spans[i].end));
        }
        json_array_append_new(tokens, token);
    }
    buf_free(&piece);
    return tokens;
}
