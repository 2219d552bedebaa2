/* spm_model.c: tokenizer.model, a SentencePiece ModelProto (sentencepiece_model.proto) in protocol
 * buffers' wire format. Of its fields these count:
 *
 *   ModelProto       1 pieces, 2 trainer_spec, 3 normalizer_spec
 *   SentencePiece    1 piece (string), 2 score (float), 3 type (as in tokenizer.ggml.token_type)
 *   TrainerSpec      3 model_type (1 unigram, 2 BPE, 3 word, 4 character),
 *                    24 treat_whitespace_as_suffix, 40 unk_id, 41 bos_id, 42 eos_id, 43 pad_id
 *   NormalizerSpec   2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
 *                    5 escape_whitespaces
 */
#include <string.h>

#include "tokenizer/hf.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

struct message {
    const uint8_t *at, *end;
};

struct field {
    uint64_t number, value; /* value: of varints and fixed ones */
    unsigned wire;
    struct message bytes;
};

static bool read_varint(struct message *m, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t byte = *m->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct message *m, size_t n, uint64_t *value)
{
    if ((size_t)(m->end - m->at) < n) {
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        *value |= (uint64_t)m->at[i] << 8 * i;
    }
    m->at += n;
    return true;
}

/* False at the end, and where the bytes make no sense: then m->at is not m->end. */
static bool next_field(struct message *m, struct field *f)
{
    struct message probe = *m;
    uint64_t key, n;
    if (m->at == m->end || !read_varint(&probe, &key)) {
        return false;
    }
    f->number = key >> 3;
    f->wire = key & 7;
    bool ok = false;
    switch (f->wire) {
    case WIRE_VARINT:
        ok = read_varint(&probe, &f->value);
        break;
    case WIRE_FIXED64:
        ok = read_fixed(&probe, 8, &f->value);
        break;
    case WIRE_FIXED32:
        ok = read_fixed(&probe, 4, &f->value);
        break;
    case WIRE_BYTES:
        ok = read_varint(&probe, &n) && n <= (uint64_t)(probe.end - probe.at);
        if (ok) {
            f->bytes = (struct message){probe.at, probe.at + n};
            probe.at += n;
        }
        break;
    default:
        break;
    }
    if (ok) {
        *m = probe;
    }
    return ok;
}

static bool damaged(struct hf_reader *r, const char *what)
{
    return error_set(r->e, ERROR_INPUT, "it is no SentencePiece model, or a damaged one (%s)",
                     what);
}

static bool read_piece(struct hf_reader *r, struct message m, int64_t id)
{
    struct field f;
    struct message text = {NULL, NULL};
    uint32_t bits = 0;
    uint64_t type = TOKEN_NORMAL;
    float score;
    while (next_field(&m, &f)) {
        if (f.number == 1 && f.wire == WIRE_BYTES) {
            text = f.bytes;
        } else if (f.number == 2 && f.wire == WIRE_FIXED32) {
            bits = (uint32_t)f.value;
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            type = f.value;
        }
    }
    if (m.at != m.end || type < TOKEN_NORMAL || type > TOKEN_BYTE) {
        return damaged(r, "a piece");
    }
    memcpy(&score, &bits, sizeof score);
    size_t n = (size_t)(text.end - text.at);
    const char *spelling = n ? (const char *)text.at : "";
    if (type == TOKEN_USER_DEFINED) {
        return hf_set_token(r, id, spelling, n, (int32_t)type, score) &&
               hf_add_special(r, id, spelling, n, false, 0);
    }
    return hf_set_token(r, id, spelling, n, (int32_t)type, score);
}

struct trainer {
    uint64_t model;
    bool suffix;
    int64_t ids[4]; /* unk, bos, eos, pad */
};

static bool read_trainer(struct hf_reader *r, struct message m, struct trainer *t)
{
    struct field f;
    while (next_field(&m, &f)) {
        if (f.wire != WIRE_VARINT) {
            continue;
        }
        if (f.number == 3) {
            t->model = f.value;
        } else if (f.number == 24) {
            t->suffix = f.value != 0;
        } else if (f.number >= 40 && f.number <= 43) {
            t->ids[f.number - 40] = (int32_t)(uint32_t)f.value; /* negative: none */
        }
    }
    return m.at == m.end || damaged(r, "trainer_spec");
}

static bool read_normalizer(struct hf_reader *r, struct message m)
{
    struct tokenizer_spec *s = r->spec;
    struct field f;
    bool escapes = true;
    while (next_field(&m, &f)) {
        if (f.number == 2 && f.wire == WIRE_BYTES && f.bytes.at != f.bytes.end) {
            size_t n = (size_t)(f.bytes.end - f.bytes.at);
            uint8_t *map = arena_alloc(s->arena, n);
            memcpy(map, f.bytes.at, n);
            s->charsmap = map;
            s->charsmap_bytes = n;
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            s->add_space_prefix = f.value != 0;
        } else if (f.number == 4 && f.wire == WIRE_VARINT) {
            s->remove_extra_whitespaces = f.value != 0;
        } else if (f.number == 5 && f.wire == WIRE_VARINT) {
            escapes = f.value != 0;
        }
    }
    if (m.at != m.end) {
        return damaged(r, "normalizer_spec");
    }
    return escapes || error_set(r->e, ERROR_UNSUPPORTED,
                                "it leaves spaces as they are (escape_whitespaces), which this "
                                "program does not know");
}

static bool use_trainer(struct hf_reader *r, const struct trainer *t)
{
    static const enum token_role roles[] = {ROLE_UNKNOWN, ROLE_BOS, ROLE_EOS, ROLE_PADDING};
    struct tokenizer_spec *s = r->spec;
    if (t->model != MODEL_BPE && t->model != MODEL_UNIGRAM) {
        return error_set(r->e, ERROR_UNSUPPORTED,
                         "its model type is %llu; unigram (1) and BPE (2) are known",
                         (unsigned long long)t->model);
    }
    bool bpe = t->model == MODEL_BPE;
    if (bpe && t->suffix) {
        return error_set(r->e, ERROR_UNSUPPORTED,
                         "it puts the mark of a space behind words (treat_whitespace_as_suffix), "
                         "which this program knows for unigram models only");
    }
    s->model = bpe ? "llama" : "t5";
    s->whitespace_suffix = t->suffix;
    s->changes = CHANGE_NOTHING;
    s->add_bos = bpe;
    s->add_eos = !bpe;
    s->float_sums = !bpe;
    for (size_t i = 0; i < 4; i++) {
        if (t->ids[i] >= 0 && (uint64_t)t->ids[i] < s->n_tokens) {
            s->roles[roles[i]] = (int32_t)t->ids[i];
        }
    }
    return true;
}

bool hf_read_tokenizer_model(struct hf_reader *r, const char *data, size_t n)
{
    struct message m = {(const uint8_t *)data, (const uint8_t *)data + n};
    struct trainer trainer = {MODEL_UNIGRAM, false, {0, 1, 2, -1}};
    struct field f;
    int64_t count = 0;
    r->spec->add_space_prefix = r->spec->remove_extra_whitespaces = true;
    while (next_field(&m, &f)) {
        if (f.wire != WIRE_BYTES) {
            continue;
        }
        if ((f.number == 1 && !read_piece(r, f.bytes, count++)) ||
            (f.number == 2 && !read_trainer(r, f.bytes, &trainer)) ||
            (f.number == 3 && !read_normalizer(r, f.bytes))) {
            return false;
        }
    }
    if (m.at != m.end || count == 0) {
        return damaged(r, count ? "its end" : "no pieces");
    }
    return use_trainer(r, &trainer);
}
