#include "chat/json_scan.h"

#include <string.h>

enum state {
    START,        /* before the whole value */
    VALUE,        /* a value must come */
    FIRST_VALUE,  /* a value or ']' */
    FIRST_KEY,    /* a key or '}' */
    KEY,          /* a key must come */
    COLON,        /* ':' must come */
    AFTER,        /* ',' or a closing bracket */
    STRING,       /* in a string or key */
    ESCAPE,       /* behind a backslash */
    HEX,          /* in \uXXXX */
    WORD,         /* in true, false, null */
    NUMBER_MINUS, /* behind '-' */
    NUMBER_ZERO,  /* behind a leading 0 */
    NUMBER_WHOLE, /* in the digits before the point */
    NUMBER_POINT, /* behind '.' */
    NUMBER_PART,  /* in the digits behind it */
    NUMBER_E,     /* behind 'e' */
    NUMBER_SIGN,  /* behind its sign */
    NUMBER_POWER, /* in its digits */
    END,          /* the whole value has come */
};

void json_scan_init(struct json_scan *s)
{
    memset(s, 0, sizeof *s);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static unsigned open_bracket(struct json_scan *s, bool object)
{
    if (s->depth == JSON_SCAN_MAX_DEPTH) {
        return JSON_BAD;
    }
    s->object[s->depth++] = object;
    s->state = object ? FIRST_KEY : FIRST_VALUE;
    return JSON_VALUE_BEGIN;
}

static unsigned close_bracket(struct json_scan *s)
{
    s->depth--;
    s->around = s->depth;
    s->state = s->depth ? AFTER : END;
    return JSON_VALUE_END | (s->depth ? 0 : JSON_DONE);
}

static unsigned begin_value(struct json_scan *s, char c)
{
    s->around = s->depth;
    switch (c) {
    case '{':
    case '[':
        return open_bracket(s, c == '{');
    case '"':
        s->in_key = false;
        s->state = STRING;
        break;
    case 't':
        s->word = "rue";
        s->state = WORD;
        break;
    case 'f':
        s->word = "alse";
        s->state = WORD;
        break;
    case 'n':
        s->word = "ull";
        s->state = WORD;
        break;
    case '-':
        s->state = NUMBER_MINUS;
        break;
    case '0':
        s->state = NUMBER_ZERO;
        break;
    default:
        if (!is_digit(c)) {
            return JSON_BAD;
        }
        s->state = NUMBER_WHOLE;
        break;
    }
    s->number = s->depth;
    s->begin = s->n;
    return JSON_VALUE_BEGIN;
}

/* Behind a value, inside brackets. */
static unsigned after_value(struct json_scan *s, char c)
{
    bool object = s->object[s->depth - 1];
    if (is_blank(c)) {
        return 0;
    }
    if (c == ',') {
        s->state = object ? KEY : VALUE;
        return 0;
    }
    return c == (object ? '}' : ']') ? close_bracket(s) : JSON_BAD;
}

static unsigned in_string(struct json_scan *s, char c)
{
    if ((unsigned char)c < 0x20) {
        return JSON_BAD;
    }
    if (c == '\\') {
        s->state = ESCAPE;
    } else if (c == '"') {
        s->state = s->in_key ? COLON : AFTER;
        s->around = s->depth;
        return s->in_key ? JSON_KEY_END : JSON_VALUE_END;
    }
    return 0;
}

static unsigned in_escape(struct json_scan *s, char c)
{
    if (s->state == ESCAPE) {
        s->state = c == 'u' ? HEX : STRING;
        s->hex = 4;
        return c && strchr("\"\\/bfnrtu", c) ? 0 : JSON_BAD;
    }
    if (!is_digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f')) {
        return JSON_BAD;
    }
    if (--s->hex == 0) {
        s->state = STRING;
    }
    return 0;
}

/* The state behind one more byte of a number; AFTER: the number is over; -1: it is none. */
static int number_next(int state, char c)
{
    bool digit = is_digit(c), e = c == 'e' || c == 'E';
    switch (state) {
    case NUMBER_MINUS:
        return c == '0' ? NUMBER_ZERO : digit ? NUMBER_WHOLE : -1;
    case NUMBER_ZERO:
        return c == '.' ? NUMBER_POINT : e ? NUMBER_E : digit ? -1 : AFTER;
    case NUMBER_WHOLE:
        return digit ? NUMBER_WHOLE : c == '.' ? NUMBER_POINT : e ? NUMBER_E : AFTER;
    case NUMBER_POINT:
        return digit ? NUMBER_PART : -1;
    case NUMBER_PART:
        return digit ? NUMBER_PART : e ? NUMBER_E : AFTER;
    case NUMBER_E:
        return digit ? NUMBER_POWER : c == '+' || c == '-' ? NUMBER_SIGN : -1;
    case NUMBER_SIGN:
        return digit ? NUMBER_POWER : -1;
    default:
        return digit ? NUMBER_POWER : AFTER;
    }
}

static unsigned in_number(struct json_scan *s, char c)
{
    int next = number_next(s->state, c);
    if (next < 0) {
        return JSON_BAD;
    }
    s->state = (uint8_t)next;
    return next == AFTER ? JSON_NUMBER_END | after_value(s, c) : 0;
}

static unsigned take(struct json_scan *s, char c)
{
    switch (s->state) {
    case STRING:
        return in_string(s, c);
    case ESCAPE:
    case HEX:
        return in_escape(s, c);
    case WORD:
        if (c != *s->word) {
            return JSON_BAD;
        }
        s->state = *++s->word ? WORD : AFTER;
        s->around = s->depth;
        return *s->word ? 0 : JSON_VALUE_END;
    case AFTER:
        return after_value(s, c);
    case END:
        return JSON_BAD;
    default:
        break;
    }
    if (s->state >= NUMBER_MINUS) {
        return in_number(s, c);
    }
    if (is_blank(c)) {
        return 0;
    }
    switch (s->state) {
    case START:
        return c == '{' || c == '[' ? begin_value(s, c) : JSON_BAD;
    case FIRST_VALUE:
        return c == ']' ? close_bracket(s) : begin_value(s, c);
    case VALUE:
        return begin_value(s, c);
    case COLON:
        s->state = VALUE;
        return c == ':' ? 0 : JSON_BAD;
    default: /* a key */
        if (c == '}' && s->state == FIRST_KEY) {
            return close_bracket(s);
        }
        s->in_key = true;
        s->begin = s->n;
        s->state = STRING;
        return c == '"' ? 0 : JSON_BAD;
    }
}

unsigned json_scan_push(struct json_scan *s, char c)
{
    unsigned what = take(s, c);
    s->n += !(what & JSON_BAD);
    return what;
}
