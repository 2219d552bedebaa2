#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_map_open(const char *path, struct file_map *map, struct error *e)
{
    static const uint8_t empty[1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(e, ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        int why = errno;
        close(fd);
        return error_set(e, ERROR_IO, "cannot read %s: %s", path, strerror(why));
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return S_ISDIR(st.st_mode)
                   ? error_set(e, ERROR_IO, "%s is a folder, and a file is wanted here", path)
                   : error_set(e, ERROR_IO, "cannot map %s: it is not a regular file", path);
    }
    if (st.st_size == 0) {
        close(fd);
        *map = (struct file_map){.data = empty};
        return true;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int why = errno;
    close(fd);
    if (p == MAP_FAILED) {
        return error_set(e, ERROR_IO, "cannot map %s: %s", path, strerror(why));
    }
    *map = (struct file_map){
        .data = p, .size_bytes = (uint64_t)st.st_size, .device = st.st_dev, .inode = st.st_ino};
    return true;
}

int file_map_reopen(const struct file_map *map, const char *path, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error_set(e, ERROR_IO, "cannot open %s again: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) != 0 || st.st_dev != map->device || st.st_ino != map->inode ||
        (uint64_t)st.st_size != map->size_bytes) {
        close(fd);
        error_set(e, ERROR_IO, "%s has become another file while it was being opened: try again",
                  path);
        return -1;
    }
    return fd;
}

void file_map_close(struct file_map *map)
{
    if (map->size_bytes) {
        munmap((void *)map->data, (size_t)map->size_bytes);
    }
    *map = (struct file_map){0};
}

bool file_read(const char *path, size_t max_bytes, struct buf *b, struct error *e)
{
    bool use_stdin = strcmp(path, "-") == 0;
    int fd = use_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(e, ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    size_t total = 0;
    bool ok = true;
    for (;;) {
        char chunk[65536];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            ok = error_set(e, ERROR_IO, "cannot read %s: %s", path, strerror(errno));
            break;
        }
        if (n == 0) {
            break;
        }
        total += (size_t)n;
        if (total > max_bytes || !buf_append(b, chunk, (size_t)n)) {
            ok =
                error_set(e, ERROR_LIMIT, "%s is larger than %zu bytes, the most that is read here",
                          path, max_bytes);
            break;
        }
    }
    if (!use_stdin) {
        close(fd);
    }
    return ok;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool is_one_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool file_is_same(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && is_one_file(&first, &second);
}

bool file_is_named(int fd, const char *path)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && is_one_file(&opened, &named);
}

bool file_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_make_directories(const char *path, struct error *e)
{
    char *copy = mem_strdup(path);
    bool ok = true;
    for (char *p = copy + 1; ok; p++) {
        if (*p == '/' || *p == 0) {
            char end = *p;
            *p = 0;
            if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
                ok = error_set(e, ERROR_IO, "cannot create the folder %s: %s", copy,
                               strerror(errno));
            }
            *p = end;
            if (end == 0) {
                break;
            }
        }
    }
    if (ok && !file_is_directory(path)) {
        ok = error_set(e, ERROR_IO, "%s exists and is not a folder", path);
    }
    free(copy);
    return ok;
}

struct file_writer {
    char *path, *temporary;
    FILE *file;
    bool nameless; /* the data has no name yet: a kill leaves nothing behind */
};

/* The folder that holds path. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return mem_strdup(".");
    }
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* A file without a name where the system can give it one later; -1 where it cannot. */
static int open_nameless(const char *path)
{
    if (access("/proc/self/fd", X_OK) != 0) {
        return -1;
    }
    char *folder = folder_of(path);
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    free(folder);
    return fd;
}

/* The file that path means: the target of a link that leads somewhere, otherwise path itself. NULL
 * for what a rename would destroy: devices, pipes, folders. */
static char *target_of(const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        error_set(e, ERROR_IO, "%s is %s; name a file to write", path,
                  S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
        return NULL;
    }
    char *real = lstat(path, &st) == 0 && S_ISLNK(st.st_mode) ? realpath(path, NULL) : NULL;
    return real ? real : mem_strdup(path);
}

/* Whose it is, and who may read it: as the file that it replaces; a new one has what the umask
 * leaves. */
static void set_mode(int fd, const struct stat *old)
{
    if (old) {
        (void)!fchown(fd, old->st_uid, old->st_gid); /* of others' files only root may */
        (void)!fchmod(fd, old->st_mode & 0777);
        return;
    }
    mode_t mask = umask(0);
    umask(mask);
    (void)!fchmod(fd, 0666 & ~mask);
}

struct file_writer *file_writer_open(const char *path, struct error *e)
{
    char *target = target_of(path, e);
    if (!target) {
        return NULL;
    }
    struct stat old;
    bool replaces = stat(target, &old) == 0;
    if (replaces && access(target, W_OK) != 0) {
        error_set(e, ERROR_IO, "cannot write %s: %s", path, strerror(errno));
        free(target);
        return NULL;
    }
    struct file_writer *w = mem_zalloc(sizeof *w);
    w->path = target;
    struct buf name;
    buf_init(&name, 65536);
    buf_printf(&name, "%s.XXXXXX", target);
    w->temporary = buf_take(&name, NULL);
    int fd = open_nameless(target);
    w->nameless = fd >= 0;
    if (fd < 0) {
        fd = mkostemp(w->temporary, O_CLOEXEC);
    }
    if (fd >= 0) {
        set_mode(fd, replaces ? &old : NULL);
    }
    w->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!w->file) {
        error_set(e, ERROR_IO, "cannot create %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        } else {
            w->nameless = true; /* nothing to remove */
        }
        file_writer_abort(w);
        return NULL;
    }
    return w;
}

bool file_writer_put(struct file_writer *w, const void *data, size_t n, struct error *e)
{
    if (n && fwrite(data, 1, n, w->file) != n) {
        return error_set(e, ERROR_IO, "cannot write %s: %s", w->path, strerror(errno));
    }
    return true;
}

/* A rename is only durable once the folder that holds the name is flushed too. */
static void sync_folder_of(const char *path)
{
    char *folder = folder_of(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

/* Gives a nameless file the temporary name, for the moment until it is renamed. */
static bool name_file(struct file_writer *w)
{
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", fileno(w->file));
    for (int attempt = 0; attempt < 100; attempt++) {
        size_t end = strlen(w->temporary);
        snprintf(w->temporary + end - 6, 7, "%06x", (unsigned)(getpid() + attempt) & 0xFFFFFF);
        if (linkat(AT_FDCWD, source, AT_FDCWD, w->temporary, AT_SYMLINK_FOLLOW) == 0) {
            w->nameless = false;
            return true;
        }
        if (errno != EEXIST) {
            return false;
        }
    }
    return false;
}

bool file_writer_commit(struct file_writer *w, struct error *e)
{
    bool ok = fflush(w->file) == 0 && fsync(fileno(w->file)) == 0 && (!w->nameless || name_file(w));
    int why = errno;
    /* At once, all bytes being on the disk: who is killed before it leaves the temporary name. */
    if (ok && rename(w->temporary, w->path) != 0) {
        ok = false;
        why = errno;
    }
    fclose(w->file);
    w->file = NULL;
    if (!ok) {
        error_set(e, ERROR_IO, "cannot write %s: %s", w->path, strerror(why));
        file_writer_abort(w);
        return false;
    }
    sync_folder_of(w->path);
    free(w->temporary);
    w->temporary = NULL;
    file_writer_abort(w);
    return true;
}

void file_writer_abort(struct file_writer *w)
{
    if (!w) {
        return;
    }
    if (w->file) {
        fclose(w->file);
    }
    if (w->temporary && !w->nameless) {
        unlink(w->temporary);
    }
    free(w->temporary);
    free(w->path);
    free(w);
}

bool file_write_atomic(const char *path, const void *data, size_t n, struct error *e)
{
    struct file_writer *w = file_writer_open(path, e);
    if (!w) {
        return false;
    }
    if (!file_writer_put(w, data, n, e)) {
        file_writer_abort(w);
        return false;
    }
    return file_writer_commit(w, e);
}
