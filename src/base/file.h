/* file.h: mapping, bounded reading and atomic writing. */
#ifndef LLLM_BASE_FILE_H
#define LLLM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

/* A whole file, read-only and private. data is never NULL (an empty file has size 0). */
struct file_map {
    const uint8_t *data;
    uint64_t size_bytes;
    uint64_t device, inode; /* which file it is, whatever its name stands for later */
};

bool file_map_open(const char *path, struct file_map *map, struct error *e);
void file_map_close(struct file_map *map);
/* A descriptor of the mapped file, to read it in other ways: close() it. -1 with a sentence where
 * path stands for another file by now, or for none. */
int file_map_reopen(const struct file_map *map, const char *path, struct error *e);

/* Reads a whole file (or a pipe) of at most max_bytes and appends it to b. */
bool file_read(const char *path, size_t max_bytes, struct buf *b, struct error *e);

bool file_exists(const char *path);
bool file_is_directory(const char *path);
bool file_is_same(const char *a, const char *b); /* both exist and are one file */
/* Whether path still stands for the file that is open: one that was opened to be locked may have
 * been removed by whoever had the lock before. */
bool file_is_named(int fd, const char *path);

/* Creates a directory and its parents; one that exists is fine. */
bool file_make_directories(const char *path, struct error *e);

/* Writing that leaves either the old file or the whole new one: data goes to a temporary file in
 * the same folder, which is flushed to disk and renamed over the target on commit. A link is
 * followed, and the new file has the mode of the old one; a device, pipe or folder is refused, and
 * so is a file that may only be read. */
struct file_writer;
struct file_writer *file_writer_open(const char *path, struct error *e);
bool file_writer_put(struct file_writer *w, const void *data, size_t n, struct error *e);
bool file_writer_commit(struct file_writer *w, struct error *e); /* frees w in every case */
void file_writer_abort(struct file_writer *w);                   /* frees w; NULL is fine */

bool file_write_atomic(const char *path, const void *data, size_t n, struct error *e);

#endif
