/* texts.h: random texts that ask much of a tokenizer: the same ones for the same seed, so that what
 * another program makes of them can be kept. */
#ifndef TESTS_TOKENIZER_TEXTS_H
#define TESTS_TOKENIZER_TEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

struct texts;
/* ranges: golden/assigned-14.txt. */
struct texts *texts_open(const char *ranges, uint64_t seed, struct error *e);
void texts_free(struct texts *t);
/* Replaces what b holds by the next text, at most a few hundred bytes of valid UTF-8. */
void texts_next(struct texts *t, struct buf *b);

#endif
