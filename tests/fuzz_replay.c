/* fuzz_replay.c: the main of a fuzz target that is built without libFuzzer. Runs the target over
 * each file that is named, and over each file of a folder that is named: a test over a corpus, and
 * a way to look at one crash. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILE_BYTES = 64 << 20 };

static size_t n_files;

static bool replay_file(const char *path)
{
    struct error e = {.code = ERROR_NONE};
    struct buf b;
    buf_init(&b, MAX_FILE_BYTES);
    if (!file_read(path, MAX_FILE_BYTES, &b, &e)) {
        fprintf(stderr, "%s\n", e.message);
        buf_free(&b);
        return false;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)(b.data != NULL ? b.data : ""), b.len);
    buf_free(&b);
    n_files++;
    return true;
}

static bool replay(const char *path)
{
    if (!file_is_directory(path)) {
        return replay_file(path);
    }
    DIR *folder = opendir(path);
    if (folder == NULL) {
        perror(path);
        return false;
    }
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(folder)) != NULL;) {
        struct buf name;
        buf_init(&name, 65536);
        buf_printf(&name, "%s/%s", path, entry->d_name);
        struct stat st;
        if (stat(name.data, &st) == 0 && S_ISREG(st.st_mode)) {
            ok = replay_file(name.data);
        }
        buf_free(&name);
    }
    closedir(folder);
    return ok;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!replay(argv[i])) {
            return 1;
        }
    }
    printf("%zu files replayed\n", n_files);
    return n_files > 0 ? 0 : 1;
}
