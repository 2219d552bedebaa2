#include "cli/output.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gguf/gguf.h"

static bool same_place(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether path lies directly in the folder. */
static bool lies_in(const char *path, const struct stat *folder)
{
    char *copy = mem_strdup(path);
    struct stat parent;
    bool yes = stat(dirname(copy), &parent) == 0 && same_place(&parent, folder);
    free(copy);
    return yes;
}

/* Another part of the same model: NAME-00002-of-00003.gguf beside NAME-00001-of-00003.gguf. */
static bool is_other_part(const char *output, const char *input)
{

    uint32_t number, count, output_count;
    if (!gguf_shard_name(input, &number, &count) ||
        !gguf_shard_name(output, &number, &output_count) || count != output_count) {
        return false;
    }
    char *in = mem_strdup(input);
    struct stat folder;
    bool beside = stat(dirname(in), &folder) == 0 && lies_in(output, &folder);
    free(in);
    const char *a = strrchr(input, '/'), *b = strrchr(output, '/');
    a = a ? a + 1 : input;
    b = b ? b + 1 : output;
    return beside && strlen(a) == strlen(b) && strlen(a) >= GGUF_SHARD_TAIL_BYTES &&
           memcmp(a, b, strlen(a) - GGUF_SHARD_TAIL_BYTES) == 0;
}

static bool would_replace(const char *output, const char *input)
{
    struct stat in, out;
    if (stat(input, &in) != 0 || stat(output, &out) != 0) {
        return false; /* what is not there cannot be replaced */
    }
    return file_is_same(input, output) || same_place(&in, &out) ||
           (S_ISDIR(in.st_mode) && lies_in(output, &in)) || is_other_part(output, input);
}

/* Whether a file can be made there at all, with the sentence of the writer: it would have it after
 * all the work. */
static bool check_folder(const char *output, struct error *e)
{
    char *copy = mem_strdup(output);
    struct stat st;
    const char *folder = dirname(copy);
    int why = stat(folder, &st) != 0             ? errno
              : !S_ISDIR(st.st_mode)             ? ENOTDIR
              : access(folder, W_OK | X_OK) != 0 ? errno
                                                 : 0;
    free(copy);
    return why == 0 || error_set(e, ERROR_IO, "cannot create %s: %s", output, strerror(why));
}

/* Nothing that is there is replaced unasked, and what is no file not at all: the writer would say
 * so too, after all the work. */
static bool check_place(const char *output, bool force, struct error *e)
{
    struct stat st;
    if (lstat(output, &st) != 0) {
        size_t n = strlen(output);
        return n && output[n - 1] == '/'
                   ? error_set(e, ERROR_USAGE, "%s is the name of a folder; name a file to write",
                               output)
                   : check_folder(output, e);
    }
    if (stat(output, &st) != 0) {
        return force || error_set(e, ERROR_USAGE,
                                  "%s is a link to a file that is not there: give the output that "
                                  "file's name, or let --force put it in the link's place",
                                  output);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(e, ERROR_USAGE, "%s is %s; name a file to write", output,
                         S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    }
    if (force && access(output, W_OK) != 0) {
        return error_set(e, ERROR_IO, "cannot replace %s: %s", output, strerror(errno));
    }
    return force || error_set(e, ERROR_USAGE,
                              "%s is there already: give the output another name, or replace it "
                              "with --force",
                              output);
}

bool output_check(const char *output, const char *const *inputs, size_t n_inputs, bool force,
                  struct error *e)
{
    if (strcmp(output, "-") == 0) {
        return error_set(e, ERROR_USAGE,
                         "the output is a file and cannot go into a pipe: give it "
                         "a name (./- for a file called so)");
    }
    for (size_t i = 0; i < n_inputs; i++) {
        const char *input = inputs[i];
        if (input && strcmp(input, "-") != 0 && would_replace(output, input)) {
            return error_set(e, ERROR_USAGE,
                             "%s is among what is being read; give the output another name",
                             output);
        }
    }
    return check_place(output, force, e);
}
