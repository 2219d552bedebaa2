/* checks.h: vocabularies and texts in tests. */
#ifndef TESTS_TOKENIZER_CHECKS_H
#define TESTS_TOKENIZER_CHECKS_H

#include "tokenizer/tokenizer.h"

/* A tokenizer of the spec, which is freed; fails the test where there is none. */
struct tokenizer *open_spec(struct tokenizer_spec *spec);
/* The spellings of the tokens, separated by '|'; the caller's. */
char *spelled(const struct tokenizer *t, const struct token_list *ids);
/* The text becomes the tokens of these spellings. */
void check_trusted(const struct tokenizer *t, const char *text, const uint8_t *trusted,
                   const char *want);
void check(const struct tokenizer *t, const char *text, const char *want); /* nothing is trusted */
/* Compiled normalisation rules of SentencePiece: see there. Returns their bytes. */
size_t make_charsmap(uint8_t *out);

#endif
