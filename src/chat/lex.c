/* lex.c: template source to tokens, as Jinja2 cuts it under trim_blocks and lstrip_blocks.
 *
 * Text between tags becomes T_DATA with whitespace control already applied; comments vanish; raw
 * blocks are data. Strings are decoded here.
 */
#include "chat/interp.h"

#include <string.h>

#include "base/utf8.h"

enum { MAX_BRACKETS = 1024 };

struct lexer {
    struct arena *arena;
    const char *s;
    size_t n, pos;
    unsigned line;
    bool line_starting; /* the last thing read ended with a newline */
    char closers[MAX_BRACKETS];
    size_t n_closers;
    struct tokens *out;
    struct error *e;
};

const char *token_name(enum token_kind kind)
{
    static const char *const names[] = {
        [T_EOF] = "end of template",
        [T_DATA] = "text",
        [T_VAR_BEGIN] = "'{{'",
        [T_VAR_END] = "'}}'",
        [T_BLOCK_BEGIN] = "'{%'",
        [T_BLOCK_END] = "'%}'",
        [T_NAME] = "a name",
        [T_STRING] = "a string",
        [T_INT] = "an integer",
        [T_FLOAT] = "a number",
        [T_ADD] = "'+'",
        [T_SUB] = "'-'",
        [T_MUL] = "'*'",
        [T_DIV] = "'/'",
        [T_FLOORDIV] = "'//'",
        [T_MOD] = "'%'",
        [T_POW] = "'**'",
        [T_TILDE] = "'~'",
        [T_EQ] = "'=='",
        [T_NE] = "'!='",
        [T_LT] = "'<'",
        [T_LE] = "'<='",
        [T_GT] = "'>'",
        [T_GE] = "'>='",
        [T_ASSIGN] = "'='",
        [T_DOT] = "'.'",
        [T_COMMA] = "','",
        [T_COLON] = "':'",
        [T_PIPE] = "'|'",
        [T_SEMICOLON] = "';'",
        [T_LPAREN] = "'('",
        [T_RPAREN] = "')'",
        [T_LBRACKET] = "'['",
        [T_RBRACKET] = "']'",
        [T_LBRACE] = "'{'",
        [T_RBRACE] = "'}'",
        [T_IN] = "'in'",
        [T_NOT_IN] = "'not in'",
    };
    return names[kind];
}

static void push(struct lexer *l, enum token_kind kind, unsigned line, const char *s, size_t n)
{
    struct tokens *t = l->out;
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : 256;
        struct token *v = arena_alloc(l->arena, capacity * sizeof *v);
        if (t->n) {
            memcpy(v, t->v, t->n * sizeof *v);
        }
        t->v = v;
        t->capacity = capacity;
    }
    t->v[t->n++] = (struct token){kind, line, s, n};
}

static bool at(const struct lexer *l, size_t pos, const char *what)
{
    size_t n = strlen(what);
    return pos + n <= l->n && memcmp(l->s + pos, what, n) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static size_t skip_space(const struct lexer *l, size_t pos)
{
    while (pos < l->n && is_space(l->s[pos])) {
        pos++;
    }
    return pos;
}

/* Moves to pos, counting lines. */
static void advance(struct lexer *l, size_t pos)
{
    for (size_t i = l->pos; i < pos; i++) {
        l->line += l->s[i] == '\n';
    }
    if (pos > l->pos) {
        l->line_starting = l->s[pos - 1] == '\n';
    }
    l->pos = pos;
}

/* Emits the text [l->pos, end) in front of a tag with the given sign behind its brace. */
static void push_data(struct lexer *l, size_t end, char sign, bool variable)
{
    size_t begin = l->pos, stop = end;
    if (sign == '-') {
        while (stop > begin && is_space(l->s[stop - 1])) {
            stop--;
        }
    } else if (sign != '+' && !variable) {
        size_t line = end;
        while (line > begin && l->s[line - 1] != '\n') {
            line--;
        }
        if (line > begin || l->line_starting) {
            size_t i = line;
            while (i < end && is_space(l->s[i])) {
                i++;
            }
            if (i == end) {
                stop = line;
            }
        }
    }
    if (stop > begin) {
        push(l, T_DATA, l->line, l->s + begin, stop - begin);
    }
    advance(l, end);
}

/* Length of the end of a tag at pos ("%}", "-%}", "+%}" with what they swallow); 0: none is there.
 */
static size_t tag_end(const struct lexer *l, size_t pos, const char *close, bool trim)
{
    if (pos < l->n && l->s[pos] == '-' && at(l, pos + 1, close)) {
        return skip_space(l, pos + 3) - pos;
    }
    if (trim && pos < l->n && l->s[pos] == '+' && at(l, pos + 1, close)) {
        return 3;
    }
    if (at(l, pos, close)) {
        return 2 + (trim && pos + 2 < l->n && l->s[pos + 2] == '\n');
    }
    return 0;
}

static bool lex_comment(struct lexer *l)
{
    unsigned line = l->line;
    for (size_t i = l->pos + 2 +
                    (l->pos + 2 < l->n && (l->s[l->pos + 2] == '+' || l->s[l->pos + 2] == '-'));
         i + 1 < l->n; i++) {
        size_t n = tag_end(l, i, "#}", true);
        if (n) {
            advance(l, i + n);
            return true;
        }
    }
    return error_set(l->e, ERROR_INPUT, "template line %u: comment without '#}'", line);
}

/* At "{%": true in *raw when it is a raw tag, which is then read up to its end. */
static bool lex_raw(struct lexer *l, bool *raw)
{
    unsigned line = l->line;
    size_t i = l->pos + 2;
    if (i < l->n && (l->s[i] == '-' || l->s[i] == '+')) {
        i++;
    }
    i = skip_space(l, i);
    *raw = false;
    if (!at(l, i, "raw")) {
        return true;
    }
    i = skip_space(l, i + 3);
    size_t n = tag_end(l, i, "%}", false);
    if (!n) {
        return true;
    }
    *raw = true;
    advance(l, i + n);
    for (i = l->pos; i + 1 < l->n; i++) {
        if (!at(l, i, "{%")) {
            continue;
        }
        size_t k = i + 2;
        char sign = k < l->n ? l->s[k] : 0;
        k = skip_space(l, k + (sign == '-' || sign == '+'));
        if (!at(l, k, "endraw")) {
            continue;
        }
        k = skip_space(l, k + 6);
        n = tag_end(l, k, "%}", true);
        if (n) {
            push_data(l, i, sign, false);
            advance(l, k + n);
            return true;
        }
    }
    return error_set(l->e, ERROR_INPUT, "template line %u: raw block without '{%% endraw %%}'",
                     line);
}

static int hex_digit(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static size_t put_char(char *out, uint32_t cp)
{
    size_t n = utf8_put(cp, out);
    return n ? n : utf8_put(0xfffd, out);
}

/* Reads n hexadecimal digits at s[i]; false when there are fewer. */
static bool read_hex(const char *s, size_t n_s, size_t i, size_t n, uint32_t *value)
{
    *value = 0;
    for (size_t k = 0; k < n; k++) {
        int d = i + k < n_s ? hex_digit(s[i + k]) : -1;
        if (d < 0) {
            return false;
        }
        *value = *value * 16 + (uint32_t)d;
    }
    return true;
}

/* s: the inside of a string literal. An escape never gets longer when decoded. */
static bool decode_string(struct lexer *l, const char *s, size_t n)
{
    char *out = arena_alloc(l->arena, n * 2 + 8);
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        if (s[i] != '\\' || i + 1 >= n) {
            out[k++] = s[i++];
            continue;
        }
        char c = s[i + 1];
        static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
        const char *found = NULL;
        for (const char *p = plain; *p; p += 2) {
            if (*p == c) {
                found = p;
            }
        }
        size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (found) {
            out[k++] = found[1];
            i += 2;
        } else if (c == '\n') {
            i += 2;
        } else if (digits) {
            uint32_t cp, low;
            if (!read_hex(s, n, i + 2, digits, &cp)) {
                return error_set(l->e, ERROR_INPUT, "template line %u: incomplete escape \\%c",
                                 l->line, c);
            }
            i += 2 + digits;
            if (cp >= 0xd800 && cp < 0xdc00 && i + 1 < n && s[i] == '\\' && s[i + 1] == 'u' &&
                read_hex(s, n, i + 2, 4, &low) && low >= 0xdc00 && low < 0xe000) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                i += 6;
            }
            k += put_char(out + k, cp);
        } else if (c >= '0' && c <= '7') {
            uint32_t cp = 0;
            size_t end = i + 4;
            for (i++; i < n && i < end && s[i] >= '0' && s[i] <= '7'; i++) {
                cp = cp * 8 + (uint32_t)(s[i] - '0');
            }
            k += put_char(out + k, cp);
        } else {
            out[k++] = s[i++];
        }
    }
    push(l, T_STRING, l->line, out, k);
    return true;
}

static bool lex_number(struct lexer *l)
{
    const char *s = l->s;
    size_t i = l->pos, n = l->n;
    enum token_kind kind = T_INT;
    if (s[i] == '0' && i + 1 < n && s[i + 1] && strchr("xXbBoO", s[i + 1])) {
        for (i += 2; i < n && (hex_digit(s[i]) >= 0 || s[i] == '_'); i++) {
        }
    } else {
        while (i < n && (is_digit(s[i]) || s[i] == '_')) {
            i++;
        }
        bool after_dot = l->out->n && l->out->v[l->out->n - 1].kind == T_DOT;
        if (!after_dot && i + 1 < n && s[i] == '.' && is_digit(s[i + 1])) {
            kind = T_FLOAT;
            for (i++; i < n && (is_digit(s[i]) || s[i] == '_'); i++) {
            }
        }
        size_t k = i + 1;
        if (!after_dot && i < n && (s[i] == 'e' || s[i] == 'E')) {
            k += k < n && (s[k] == '+' || s[k] == '-');
            if (k < n && is_digit(s[k])) {
                kind = T_FLOAT;
                for (i = k; i < n && (is_digit(s[i]) || s[i] == '_'); i++) {
                }
            }
        }
    }
    char *out = arena_alloc(l->arena, i - l->pos + 1);
    size_t k = 0;
    for (size_t j = l->pos; j < i; j++) {
        if (s[j] != '_') {
            out[k++] = s[j];
        }
    }
    push(l, kind, l->line, out, k);
    advance(l, i);
    return true;
}

static bool lex_operator(struct lexer *l)
{
    static const struct {
        const char *text;
        enum token_kind kind;
    } rows[] = {
        {"//", T_FLOORDIV}, {"**", T_POW},   {"==", T_EQ},      {"!=", T_NE},
        {">=", T_GE},       {"<=", T_LE},    {"+", T_ADD},      {"-", T_SUB},
        {"*", T_MUL},       {"/", T_DIV},    {"%", T_MOD},      {"~", T_TILDE},
        {">", T_GT},        {"<", T_LT},     {"=", T_ASSIGN},   {".", T_DOT},
        {",", T_COMMA},     {":", T_COLON},  {"|", T_PIPE},     {";", T_SEMICOLON},
        {"(", T_LPAREN},    {")", T_RPAREN}, {"[", T_LBRACKET}, {"]", T_RBRACKET},
        {"{", T_LBRACE},    {"}", T_RBRACE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!at(l, l->pos, rows[i].text)) {
            continue;
        }
        char c = rows[i].text[0];
        if (c == '(' || c == '[' || c == '{') {
            if (l->n_closers == MAX_BRACKETS) {
                return error_set(l->e, ERROR_LIMIT,
                                 "template line %u: more than %d nested brackets", l->line,
                                 MAX_BRACKETS);
            }
            l->closers[l->n_closers++] = (char)(c == '(' ? ')' : c + 2);
        } else if (c == ')' || c == ']' || c == '}') {
            if (!l->n_closers) {
                return error_set(l->e, ERROR_INPUT, "template line %u: unexpected '%c'", l->line,
                                 c);
            }
            if (l->closers[--l->n_closers] != c) {
                return error_set(l->e, ERROR_INPUT,
                                 "template line %u: unexpected '%c', expected '%c'", l->line, c,
                                 l->closers[l->n_closers]);
            }
        }
        push(l, rows[i].kind, l->line, rows[i].text, strlen(rows[i].text));
        advance(l, l->pos + strlen(rows[i].text));
        return true;
    }
    char c = l->s[l->pos];
    return error_set(l->e, ERROR_INPUT,
                     c < ' ' ? "template line %u: unexpected character 0x%02x"
                             : "template line %u: unexpected character '%c'",
                     l->line, c);
}

/* The inside of {{ }} or {% %}, up to and with its end. */
static bool lex_tag(struct lexer *l, bool variable)
{
    unsigned line = l->line;
    for (;;) {
        advance(l, skip_space(l, l->pos));
        if (l->pos >= l->n) {
            return error_set(l->e, ERROR_INPUT, "template line %u: tag without '%s'", line,
                             variable ? "}}" : "%}");
        }
        if (!l->n_closers) {
            size_t n = tag_end(l, l->pos, variable ? "}}" : "%}", !variable);
            if (n) {
                push(l, variable ? T_VAR_END : T_BLOCK_END, l->line, l->s, 0);
                advance(l, l->pos + n);
                return true;
            }
        }
        char c = l->s[l->pos];
        size_t i = l->pos;
        if (is_digit(c)) {
            if (!lex_number(l)) {
                return false;
            }
        } else if (is_name(c)) {
            while (i < l->n && (is_name(l->s[i]) || is_digit(l->s[i]))) {
                i++;
            }
            push(l, T_NAME, l->line, l->s + l->pos, i - l->pos);
            advance(l, i);
        } else if (c == '"' || c == '\'') {
            for (i++; i < l->n && l->s[i] != c; i++) {
                i += l->s[i] == '\\';
            }
            if (i >= l->n) {
                return error_set(l->e, ERROR_INPUT, "template line %u: string without end",
                                 l->line);
            }
            if (!decode_string(l, l->s + l->pos + 1, i - l->pos - 1)) {
                return false;
            }
            advance(l, i + 1);
        } else if (!lex_operator(l)) {
            return false;
        }
    }
}

/* One newline spelling, and without the last one, as Jinja2 does by default. */
static char *normalise(struct arena *a, const char *source, size_t n, size_t *n_out)
{
    char *s = arena_alloc(a, n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r') {
            s[k++] = '\n';
            i += i + 1 < n && source[i + 1] == '\n';
        } else {
            s[k++] = source[i];
        }
    }
    if (k && s[k - 1] == '\n') {
        k--;
    }
    *n_out = k;
    return s;
}

bool lex(struct arena *a, const char *source, size_t n, struct tokens *out, struct error *e)
{
    struct lexer l = {.arena = a, .line = 1, .line_starting = true, .out = out, .e = e};
    l.s = normalise(a, source, n, &l.n);
    while (l.pos < l.n) {
        const char *brace = l.s + l.pos;
        size_t i;
        do {
            brace = memchr(brace, '{', l.n - (size_t)(brace - l.s));
            i = brace ? (size_t)(brace - l.s) : l.n;
            brace = brace ? brace + 1 : NULL;
        } while (i < l.n && !(at(&l, i, "{{") || at(&l, i, "{%") || at(&l, i, "{#")));
        if (i >= l.n) {
            push(&l, T_DATA, l.line, l.s + l.pos, l.n - l.pos);
            break;
        }
        char kind = l.s[i + 1], sign = i + 2 < l.n ? l.s[i + 2] : 0;
        push_data(&l, i, sign, kind == '{');
        if (kind == '#') {
            if (!lex_comment(&l)) {
                return false;
            }
            continue;
        }
        if (kind == '%') {
            bool raw;
            if (!lex_raw(&l, &raw)) {
                return false;
            }
            if (raw) {
                continue;
            }
        }
        push(&l, kind == '{' ? T_VAR_BEGIN : T_BLOCK_BEGIN, l.line, l.s + i, 2);
        advance(&l, i + 2 + (sign == '-' || sign == '+'));
        if (!lex_tag(&l, kind == '{')) {
            return false;
        }
    }
    push(&l, T_EOF, l.line, "", 0);
    return true;
}
