/* char_classes.h: sets of characters as lists of ranges, with the classes that regular expressions
 * name; for the readers of src/grammar/ alone. */
#ifndef LLLM_GRAMMAR_CHAR_CLASSES_H
#define LLLM_GRAMMAR_CHAR_CLASSES_H

#include "grammar/lang.h"

struct char_list {
    struct char_range *ranges; /* in any order until one of the functions has sorted them */
    size_t n, capacity;
};

void char_list_add(struct char_list *l, uint32_t first, uint32_t last);
void char_list_negate(struct char_list *l);      /* of U+0000 to U+10FFFF */
void char_list_ignore_case(struct char_list *l); /* of ASCII letters */
/* What \d \D \w \W \s \S have, by their letter (ECMA-262, 22.2.2.9). */
void char_list_add_escape(struct char_list *l, char letter);
/* What \p{name} has, or \P{name}. False where the name is not known. */
bool char_list_add_property(struct char_list *l, const char *name, size_t n, bool negated);
void char_list_free(struct char_list *l);

#endif
