#include "grammar/schema_uri.h"

#include <string.h>

/* A component is [text, n]; text is NULL where it is absent, which differs from empty. */
struct part {
    const char *text;
    size_t n;
};

struct uri {
    struct part scheme, authority, path, query;
    const char *fragment; /* NUL-terminated, as it was written; NULL: absent */
};

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_scheme_char(char c)
{
    return is_alpha(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

static struct uri uri_split(const char *text)
{
    struct uri u = {0};
    const char *p = text;
    if (is_alpha(*p)) {
        while (is_scheme_char(*p)) {
            p++;
        }
        if (*p == ':') {
            u.scheme = (struct part){text, (size_t)(p - text)};
            text = p + 1;
        }
    }
    p = text;
    if (p[0] == '/' && p[1] == '/') {
        size_t n = strcspn(p + 2, "/?#");
        u.authority = (struct part){p + 2, n};
        p += 2 + n;
    }
    size_t n = strcspn(p, "?#");
    u.path = (struct part){p, n};
    p += n;
    if (*p == '?') {
        n = strcspn(p + 1, "#");
        u.query = (struct part){p + 1, n};
        p += 1 + n;
    }
    if (*p == '#') {
        u.fragment = p + 1;
    }
    return u;
}

/* RFC 3986, 5.2.4, over whole segments: "." is dropped, ".." takes the segment before it away. */
static void append_path(struct buf *out, const char *path, size_t n)
{
    size_t root = out->len, i = 0;
    bool rooted = n > 0 && path[0] == '/';
    while (i < n) {
        size_t begin = i + (path[i] == '/'), end = begin;
        while (end < n && path[end] != '/') {
            end++;
        }
        size_t len = end - begin;
        bool last = end == n;
        bool dot = len == 1 && path[begin] == '.';
        bool dots = len == 2 && path[begin] == '.' && path[begin + 1] == '.';
        if (dots) {
            while (out->len > root && out->data[out->len - 1] != '/') {
                out->len--;
            }
            out->len -= out->len > root;
        }
        if (dot || dots) {
            if (last && (rooted || out->len > root)) {
                buf_append_char(out, '/');
            }
        } else {
            if (path[i] == '/' && (rooted || out->len > root)) {
                buf_append_char(out, '/');
            }
            buf_append(out, path + begin, len);
        }
        i = end;
    }
    if (out->data) {
        out->data[out->len] = 0;
    }
}

static void append_part(struct buf *out, const char *before, struct part p, const char *behind)
{
    if (p.text) {
        buf_append_str(out, before);
        buf_append(out, p.text, p.n);
        buf_append_str(out, behind);
    }
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static const char *percent_decode(struct arena *a, const char *text)
{
    size_t n = strlen(text), m = 0;
    char *out = arena_strndup(a, text, n);
    for (size_t i = 0; i < n; i++) {
        int high = text[i] == '%' && i + 2 < n ? hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text[i + 2]) : -1;
        if (low >= 0 && (high || low)) { /* an escaped NUL stays as it is written */
            out[m++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[m++] = text[i];
        }
    }
    out[m] = 0;
    return out;
}

struct uri_target uri_resolve(struct arena *a, const char *base, const char *reference)
{
    struct uri b = uri_split(base), r = uri_split(reference), t = r;
    struct buf path, out;
    buf_init(&path, (size_t)-1);
    buf_init(&out, (size_t)-1);
    if (r.scheme.text || r.authority.text) {
        append_path(&path, r.path.text, r.path.n);
    } else if (r.path.n == 0) {
        t.query = r.query.text ? r.query : b.query;
        t.authority = b.authority;
        buf_append(&path, b.path.text, b.path.n);
    } else {
        struct buf merged;
        buf_init(&merged, (size_t)-1);
        if (r.path.text[0] != '/') {
            size_t keep = b.path.n;
            while (keep > 0 && b.path.text[keep - 1] != '/') {
                keep--;
            }
            if (b.authority.text && b.path.n == 0) {
                buf_append_char(&merged, '/');
            }
            buf_append(&merged, b.path.text, keep);
        }
        buf_append(&merged, r.path.text, r.path.n);
        append_path(&path, merged.data, merged.len);
        buf_free(&merged);
        t.authority = b.authority;
    }
    append_part(&out, "", r.scheme.text ? r.scheme : b.scheme, ":");
    append_part(&out, "//", t.authority, "");
    buf_append(&out, path.data ? path.data : "", path.len);
    append_part(&out, "?", t.query, "");
    struct uri_target target = {arena_strndup(a, out.data ? out.data : "", out.len),
                                percent_decode(a, r.fragment ? r.fragment : "")};
    buf_free(&path);
    buf_free(&out);
    return target;
}

void pointer_append(struct buf *b, const char *token, size_t n)
{
    buf_append_char(b, '/');
    for (size_t i = 0; i < n; i++) {
        if (token[i] == '~' || token[i] == '/') {
            buf_append_str(b, token[i] == '~' ? "~0" : "~1");
        } else {
            buf_append_char(b, token[i]);
        }
    }
}

const char *pointer_next(const char *pointer, struct buf *out)
{
    buf_clear(out);
    const char *p = pointer + 1;
    for (; *p && *p != '/'; p++) {
        if (*p != '~') {
            buf_append_char(out, *p);
        } else if (p[1] == '0' || p[1] == '1') {
            buf_append_char(out, *++p == '0' ? '~' : '/');
        } else {
            return NULL;
        }
    }
    return p;
}
