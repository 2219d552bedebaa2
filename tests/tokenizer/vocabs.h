/* vocabs.h: small vocabularies for the tests, built here. */
#ifndef TESTS_TOKENIZER_VOCABS_H
#define TESTS_TOKENIZER_VOCABS_H

#include "tokenizer/tokenizer.h"

/* SentencePiece: <unk> <s> </s>, 256 bytes, "<code>" (user-defined), letters and some words. The
 * caller may change it before use; tokenizer_spec_free. */
struct tokenizer_spec *vocab_spm(void);

/* WordPiece: [PAD] [UNK] [CLS] [SEP] [MASK], letters, digits, punctuation and some pieces. */
struct tokenizer_spec *vocab_wordpiece(void);

/* Unigram: <pad> </s> <unk>, letters and pieces with probabilities; with_bytes: 256 bytes too. */
struct tokenizer_spec *vocab_unigram(bool with_bytes);

/* Byte-level BPE trained on a few sentences, with <|endoftext|> <|im_start|> <|im_end|> in front.
 */
struct tokenizer_spec *vocab_bpe(const char *pre, size_t n_tokens);

#endif
