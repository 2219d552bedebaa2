#include "base/sysmem.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 8192 };

static FILE *open_below(const char *root, const char *path)
{
    char full[2 * PATH_MAX];
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    return n > 0 && (size_t)n < sizeof full ? fopen(full, "re") : NULL;
}

/* The value of "NAME: 123 kB" or "NAME 123" in a file of such lines; SYSMEM_UNKNOWN without it. */
static uint64_t named_number(const char *root, const char *path, const char *name)
{
    FILE *f = open_below(root, path);
    char line[LINE_BYTES];
    size_t n = strlen(name);
    uint64_t value = SYSMEM_UNKNOWN;
    while (f && fgets(line, sizeof line, f)) {
        uint64_t number;
        const char *rest = line + n;
        if (strncmp(line, name, n) != 0 || (*rest != ':' && *rest != ' ')) {
            continue;
        }
        if (sscanf(rest + 1, "%" SCNu64, &number) == 1) {
            bool in_kib = strstr(rest, " kB") != NULL;
            value = !in_kib ? number : number < SYSMEM_UNKNOWN / 1024 ? number * 1024 : value;
        }
        break;
    }
    if (f) {
        fclose(f);
    }
    return value;
}

/* A file with one number; "max" and files that are not there: SYSMEM_UNKNOWN. */
static uint64_t lone_number(const char *root, const char *path)
{
    FILE *f = open_below(root, path);
    uint64_t value = SYSMEM_UNKNOWN;
    if (f) {
        if (fscanf(f, "%" SCNu64, &value) != 1) {
            value = SYSMEM_UNKNOWN;
        }
        fclose(f);
    }
    return value;
}

/* How the two versions of control groups spell things. */
struct spelling {
    const char *limit, *usage, *file_pages[2]; /* the latter in memory.stat */
};
static const struct spelling spellings[2] = {
    {"memory.limit_in_bytes",
     "memory.usage_in_bytes",
     {"total_inactive_file", "total_active_file"}},
    {"memory.max", "memory.current", {"inactive_file", "active_file"}},
};

static void take_group(const char *root, const char *folder, const struct spelling *s,
                       struct sysmem *m)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, s->limit);
    uint64_t limit = lone_number(root, path);
    if (limit >= m->total_bytes) {
        return; /* version 1 writes "none" as a number that no machine has */
    }
    snprintf(path, sizeof path, "%s/%s", folder, s->usage);
    uint64_t used = lone_number(root, path);
    used = used == SYSMEM_UNKNOWN ? 0 : used;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    for (size_t i = 0; i < 2; i++) {
        uint64_t cached = named_number(root, path, s->file_pages[i]);
        cached = cached == SYSMEM_UNKNOWN ? 0 : cached;
        used = used > cached ? used - cached : 0;
    }
    uint64_t left = limit > used ? limit - used : 0;
    if (left < m->group_free_bytes) {
        m->group_limit_bytes = limit;
        m->group_free_bytes = left;
    }
}

/* Every group between this one and the mounted root has a say. */
static void take_groups(const char *root, char folder[PATH_MAX], size_t mount_length,
                        const struct spelling *s, struct sysmem *m)
{
    for (;;) {
        take_group(root, folder, s, m);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < mount_length) {
            return;
        }
        *slash = 0;
    }
}

/* mountinfo writes blanks as "\040". */
static void unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] && p[3]) {
            *to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 3;
        } else {
            *to++ = *p;
        }
    }
    *to = 0;
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n) {
        bool begins = p == list || p[-1] == ',';
        if (begins && (p[n] == 0 || p[n] == ',' || p[n] == '\n')) {
            return true;
        }
    }
    return false;
}

/* This process's group of the memory controller: in a hierarchy of version 1, or 2 (true). */
static bool find_group(const char *root, char group[PATH_MAX], bool *is_v2)
{
    FILE *f = open_below(root, "/proc/self/cgroup");
    char line[LINE_BYTES];
    bool found = false;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) {
            continue;
        }
        *path++ = 0;
        controllers++;
        bool v1 = has_word(controllers, "memory");
        if ((v1 || (!found && !*controllers)) && strlen(path) < PATH_MAX) {
            memcpy(group, path, strlen(path) + 1);
            *is_v2 = !v1;
            found = true;
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* Where that hierarchy is mounted, and which of its groups is the root there. */
static bool find_mount(const char *root, bool is_v2, char top[PATH_MAX], char mount[PATH_MAX])
{
    FILE *f = open_below(root, "/proc/self/mountinfo");
    char line[LINE_BYTES], type[64], options[LINE_BYTES];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *rest = strstr(line, " - ");
        /* ID PARENT MAJOR:MINOR ROOT MOUNT ... - TYPE SOURCE OPTIONS */
        if (rest && sscanf(rest, " - %63s %*s %8191s", type, options) == 2 &&
            strcmp(type, is_v2 ? "cgroup2" : "cgroup") == 0 &&
            (is_v2 || has_word(options, "memory"))) {
            found = sscanf(line, "%*s %*s %*s %4095s %4095s", top, mount) == 2;
        }
    }
    if (f) {
        fclose(f);
    }
    if (found) {
        unescape(top);
        unescape(mount);
    }
    return found;
}

static void read_groups(const char *root, struct sysmem *m)
{
    char group[PATH_MAX], top[PATH_MAX], mount[PATH_MAX], folder[PATH_MAX];
    bool is_v2;
    if (!find_group(root, group, &is_v2) || !find_mount(root, is_v2, top, mount)) {
        return;
    }
    /* Inside a container, the group may be told as it is called outside: then what is mounted is
     * its own. */
    size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
    bool inside =
        strncmp(group, top, n) == 0 && (group[n] == '/' || group[n] == 0) && !strstr(group, "/..");
    const char *below = inside && strcmp(group + n, "/") != 0 ? group + n : "";
    int length = snprintf(folder, sizeof folder, "%s%s", mount, below);
    if (length > 0 && (size_t)length < sizeof folder) {
        take_groups(root, folder, strlen(mount), &spellings[is_v2], m);
    }
}

void sysmem_read(const char *root, struct sysmem *m)
{
    *m = (struct sysmem){
        .total_bytes = named_number(root, "/proc/meminfo", "MemTotal"),
        .available_bytes = named_number(root, "/proc/meminfo", "MemAvailable"),
        .group_limit_bytes = SYSMEM_UNKNOWN,
        .group_free_bytes = SYSMEM_UNKNOWN,
    };
    read_groups(root, m);
}

uint64_t sysmem_free(const struct sysmem *m)
{
    return m->available_bytes < m->group_free_bytes ? m->available_bytes : m->group_free_bytes;
}
