#include "sample.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"

static char folder[1024];

const char *sample_folder(void)
{
    if (folder[0] == 0) {
        const char *root = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/gguf-test-XXXXXX", root != NULL ? root : "/tmp");
        assert_non_null(mkdtemp(folder));
        atexit(sample_folder_remove);
    }
    return folder;
}

const char *sample_path(const char *name)
{
    static char path[2048];
    snprintf(path, sizeof path, "%s/%s", sample_folder(), name);
    return path;
}

void sample_folder_remove(void)
{
    DIR *d = folder[0] != 0 ? opendir(folder) : NULL;
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.') {
            unlink(sample_path(entry->d_name));
        }
    }
    if (d != NULL) {
        closedir(d);
        rmdir(folder);
        folder[0] = 0;
    }
}

void sample_add(struct gguf_writer *w)
{
    /* Borrowed until the file is written: static. Aligned as tensors of a program are. */
    static float f32[24];
    static uint16_t f16[20];
    static uint8_t q8[2 * 2 * 34], q4[3 * 18], bytes[64];
    static const struct gguf_string strings[] = {{"<s>", 3}, {"", 0}, {"\xff\0x", 3}, {"caf", 3}};
    static const int32_t i32s[] = {1, -2, INT32_MAX, INT32_MIN};
    static const float f32s[] = {0.25f, -1e30f, 3};
    for (size_t i = 0; i < sizeof f32 / sizeof *f32; i++) {
        f32[i] = (float)i / 8 - 1;
    }
    for (size_t i = 0; i < sizeof f16 / sizeof *f16; i++) {
        f16[i] = quant_f32_to_f16((float)i);
    }
    memset(q8, 0x11, sizeof q8);
    memset(q4, 0x22, sizeof q4);
    memset(bytes, 0x33, sizeof bytes);
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_u32(w, "llama.block_count", 2);
    gguf_writer_u64(w, "big", UINT64_MAX);
    gguf_writer_i32(w, "negative", -7);
    gguf_writer_f32(w, "llama.rope.freq_base", 10000.5f);
    gguf_writer_bool(w, "add_bos", true);
    gguf_writer_bool(w, "add_eos", false);
    gguf_writer_string(w, "empty", NULL, 0);
    gguf_writer_strings(w, "tokens", strings, sizeof strings / sizeof *strings);
    gguf_writer_i32s(w, "types", i32s, sizeof i32s / sizeof *i32s);
    gguf_writer_f32s(w, "scores", f32s, sizeof f32s / sizeof *f32s);
    gguf_writer_strings(w, "no strings", NULL, 0);
    gguf_writer_i32s(w, "no numbers", NULL, 0);

    struct error e;
    bool ok = gguf_writer_tensor(w, "f32", TENSOR_F32, 4, (uint64_t[]){3, 2, 2, 2}, f32, &e) &&
              gguf_writer_tensor(w, "f16.weight", TENSOR_F16, 2, (uint64_t[]){5, 4}, f16, &e) &&
              gguf_writer_tensor(w, "q8", TENSOR_Q8_0, 2, (uint64_t[]){64, 2}, q8, &e) &&
              gguf_writer_tensor(w, "q4", TENSOR_Q4_0, 1, (uint64_t[]){96}, q4, &e) &&
              gguf_writer_tensor(w, "last", TENSOR_I8, 3, (uint64_t[]){8, 4, 2}, bytes, &e);
    if (!ok) {
        fail_msg("%s", e.message);
    }
}

uint8_t *sample_bytes(size_t *n)
{
    struct gguf_writer *w = gguf_writer_new();
    struct error e;
    sample_add(w);
    if (!gguf_writer_commit(w, sample_path("sample.gguf"), &e)) {
        fail_msg("%s", e.message);
    }
    gguf_writer_free(w);
    struct buf b;
    buf_init(&b, 1 << 20);
    if (!file_read(sample_path("sample.gguf"), 1 << 20, &b, &e)) {
        fail_msg("%s", e.message);
    }
    return (uint8_t *)buf_take(&b, n);
}
