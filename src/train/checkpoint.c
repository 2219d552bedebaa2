#include "train/checkpoint.h"

#include <string.h>

#include "base/file.h"

enum { HEADER_BYTES = 56 };

/* FNV-1a over 8-byte words, then over the remaining bytes: a check against damage, not against
 * intent. */
uint64_t checkpoint_hash(uint64_t hash, const void *data, size_t n)
{
    const uint64_t prime = 0x100000001B3u;
    const uint8_t *p = data;
    hash = hash ? hash : 0xCBF29CE484222325u;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 29;
    }
    for (; n; n--, p++) {
        hash = (hash ^ *p) * prime;
    }
    return hash;
}

static void put_u64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++) {
        p[i] = (uint8_t)(x >> (8 * i));
    }
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) {
        x |= (uint64_t)p[i] << (8 * i);
    }
    return x;
}

bool checkpoint_write(const char *path, const struct train_state *s, struct error *e)
{
    uint8_t header[HEADER_BYTES], sum[8];
    memcpy(header, "LLLMCKP1", 8);
    const uint64_t fields[] = {s->fingerprint,  s->n_parameters, s->step,
                               s->cursor.epoch, s->cursor.next,  s->tokens};
    for (int i = 0; i < 6; i++) {
        put_u64(header + 8 + 8 * i, fields[i]);
    }
    const float *blocks[] = {s->weights, s->m, s->v};
    size_t bytes = s->n_parameters * sizeof(float);
    uint64_t hash = checkpoint_hash(0, header, sizeof header);
    struct file_writer *w = file_writer_open(path, e);
    if (!w) {
        return false;
    }
    bool ok = file_writer_put(w, header, sizeof header, e);
    for (int i = 0; ok && i < 3; i++) {
        ok = file_writer_put(w, blocks[i], bytes, e);
        hash = checkpoint_hash(hash, blocks[i], bytes);
    }
    put_u64(sum, hash);
    ok = ok && file_writer_put(w, sum, sizeof sum, e);
    if (!ok) {
        file_writer_abort(w);
        return false;
    }
    return file_writer_commit(w, e);
}

bool checkpoint_read(const char *path, struct train_state *s, struct error *e)
{
    struct file_map map;
    if (!file_map_open(path, &map, e)) {
        return false;
    }
    size_t block = s->n_parameters * sizeof(float);
    const uint8_t *p = map.data;
    bool ok = true;
    if (map.size_bytes < HEADER_BYTES || memcmp(p, "LLLMCKP1", 8) != 0) {
        ok = error_set(e, ERROR_INPUT, "%s is not a training checkpoint", path);
    } else if (get_u64(p + 8) != s->fingerprint || get_u64(p + 16) != s->n_parameters) {
        ok = error_set(
            e, ERROR_INPUT,
            "%s belongs to another recipe or other data; remove it to start anew, or name "
            "another output.folder",
            path);
    } else if (map.size_bytes != HEADER_BYTES + 3 * block + 8) {
        ok = error_set(e, ERROR_INPUT, "%s is cut off; remove it to start anew", path);
    } else {
        uint64_t hash = checkpoint_hash(0, p, HEADER_BYTES);
        for (int i = 0; i < 3; i++) {
            hash = checkpoint_hash(hash, p + HEADER_BYTES + i * block, block);
        }
        if (hash != get_u64(p + HEADER_BYTES + 3 * block)) {
            ok = error_set(e, ERROR_INPUT, "%s is damaged (checksum); remove it to start anew",
                           path);
        }
    }
    if (ok) {
        s->step = get_u64(p + 24);
        s->cursor = (struct data_cursor){get_u64(p + 32), get_u64(p + 40)};
        s->tokens = get_u64(p + 48);
        memcpy(s->weights, p + HEADER_BYTES, block);
        memcpy(s->m, p + HEADER_BYTES + block, block);
        memcpy(s->v, p + HEADER_BYTES + 2 * block, block);
    }
    file_map_close(&map);
    return ok;
}
