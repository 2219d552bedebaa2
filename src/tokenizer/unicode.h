/* unicode.h: the classes of characters that patterns ask for (internal to this module).
 *
 * A class is a general category of the Unicode Character Database, with White_Space, the script Han
 * and characters that older tables do not have set apart; unicode_table.c has them. Numbers of
 * classes have gaps.
 */
#ifndef LLLM_TOKENIZER_UNICODE_H
#define LLLM_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

enum { UNICODE_N_CLASSES = 58, UNICODE_MAX = 0x10FFFF };

struct unicode_class_row {
    char category[3]; /* "Lu"; empty: no character has this class */
    bool space, han;
    uint8_t late; /* marks, punctuation, format: 1 came in Unicode 9, 2 later */
};

extern const struct unicode_class_row unicode_classes[UNICODE_N_CLASSES];
extern const uint32_t unicode_limit;
extern const uint16_t unicode_blocks[];
extern const char unicode_block_classes[][129];

/* cp is at most UNICODE_MAX. */
static inline uint32_t unicode_class(uint32_t cp)
{
    uint32_t block;
    if (cp < unicode_limit) {
        block = unicode_blocks[cp >> 7];
    } else if (cp - 0xE0000 < 0x200) {
        block = unicode_blocks[(unicode_limit >> 7) + ((cp - 0xE0000) >> 7)];
    } else { /* the rest is for private use, or nothing */
        return cp >= 0xF0000 && (cp & 0xFFFE) != 0xFFFE ? 3 : 0;
    }
    return (uint32_t)(unicode_block_classes[block][cp & 127] - 'A');
}

static inline bool unicode_is_space(uint32_t cp)
{
    return unicode_classes[unicode_class(cp)].space;
}

/* \w as Oniguruma has it. */
static inline bool unicode_is_word(uint32_t cp)
{
    const char *category = unicode_classes[unicode_class(cp)].category;
    switch (category[0]) {
    case 'L':
    case 'M':
        return true;
    case 'N':
        return category[1] != 'o' || cp < 0x100;
    case 'P':
        return category[1] == 'c';
    default: /* letters in circles and squares */
        return (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
               (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
    }
}

/* Whether the general category of cp begins with this letter. */
static inline bool unicode_is(uint32_t cp, char major)
{
    return unicode_classes[unicode_class(cp)].category[0] == major;
}

#endif
