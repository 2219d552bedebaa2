/* hf_folder.h: a folder for Hugging Face's files, filled by a test and emptied after it. */
#ifndef TESTS_TOKENIZER_HF_FOLDER_H
#define TESTS_TOKENIZER_HF_FOLDER_H

#include <jansson.h>

#include "tokenizer/tokenizer.h"

extern char folder[64];
/* For cmocka: the folder, which all tests of a program share, and its end; its files go. */
int make_folder(void **state);
int remove_folder(void **state);
int empty_folder(void **state);

void path_of(char out[4096], const char *name); /* of a file in it */
void put(const char *name, const char *data, size_t n);
void put_text(const char *name, const char *text);
void put_json(const char *name, const json_t *json);

/* The vocabulary of the folder; fails the test where there is none. */
struct tokenizer_spec *read_spec(void);
/* There is none, and the sentence names this and the folder. */
void refuse(enum error_code code, const char *names);

/* A small tokenizer.json of byte-level BPE, and a part of one replaced by other JSON. */
json_t *byte_level(void);
void set(json_t *root, const char *path, const char *value);

#define TEST(name) cmocka_unit_test_teardown(name, empty_folder)

#endif
