/* schema_format.c: the formats of strings that are held, each as a regular expression of the whole
 * text. Where a format is more than regular (or nearly so), what is written here is a subset, so
 * that every text is valid; docs/json-schema.md says what is left out. */
#include "grammar/schema_internal.h"

#include <string.h>

/* Parts by name: "<name>" in a pattern stands for the part's pattern. */
struct part {
    const char *name, *pattern;
};

/* clang-format off */
static const struct part parts[] = {
    /* RFC 3339, 5.6 and appendix A; days of the Gregorian calendar. A leap second is written at its
     * own time, 23:59:60 UTC. */
    {"month-day", "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"
                  "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"},
    {"leap-year", "(?:[0-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"},
    {"date", "(?:[0-9]{4}-<month-day>|<leap-year>-02-29)"},
    {"hour", "(?:[01][0-9]|2[0-3])"},
    {"minute", "[0-5][0-9]"},
    {"fraction", "(?:\\.<figures>)?"},
    {"any-time", "[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"},
    {"time", "(?:<hour>:<minute>:<minute><fraction>(?:[Zz]|[+-]<hour>:<minute>)|"
             "23:59:60<fraction>(?:[Zz]|[+-]00:00))"},
    {"period-time", "T(?:<figures>H(?:<figures>M(?:<figures>S)?)?|<figures>M(?:<figures>S)?|<figures>S)"},
    {"period-date", "(?:<figures>Y(?:<figures>M(?:<figures>D)?)?|<figures>M(?:<figures>D)?|<figures>D)"},
    /* RFC 2673, and RFC 4291 as RFC 3986 spells it. */
    {"octet", "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"},
    {"ipv4", "<octet>\\.<octet>\\.<octet>\\.<octet>"},
    {"h16", "[0-9A-Fa-f]{1,4}"},
    {"ls32", "(?:<h16>:<h16>|<ipv4>)"},
    {"ipv6", "(?:(?:<h16>:){6}<ls32>|::(?:<h16>:){5}<ls32>|(?:<h16>)?::(?:<h16>:){4}<ls32>|"
             "(?:(?:<h16>:){0,1}<h16>)?::(?:<h16>:){3}<ls32>|"
             "(?:(?:<h16>:){0,2}<h16>)?::(?:<h16>:){2}<ls32>|"
             "(?:(?:<h16>:){0,3}<h16>)?::<h16>:<ls32>|(?:(?:<h16>:){0,4}<h16>)?::<ls32>|"
             "(?:(?:<h16>:){0,5}<h16>)?::<h16>|(?:(?:<h16>:){0,6}<h16>)?::)"},
    /* RFC 1123, 2.1. No hyphens at places 3 and 4: those are names in Punycode, and whether one of
     * them is right is no matter of its letters. */
    {"alnum", "[0-9A-Za-z]"},
    {"ldh", "[0-9A-Za-z-]"},
    {"label", "(?:<alnum>(?:<ldh>{0,2}<alnum>)?|<alnum><ldh>(?:<alnum><ldh>|-<alnum>)<ldh>{0,58}<alnum>)"},
    {"hostname", "<label>(?:\\.<label>)*"},
    /* RFC 5321, 4.1.2; RFC 6531 adds characters beyond ASCII. */
    {"atom", "[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+"},
    {"quoted", "\"(?:[\\x20\\x21\\x23-\\x5B\\x5D-\\x7E]|\\\\[\\x20-\\x7E])*\""},
    {"wide-atom", "[0-9A-Za-z!#$%&'*+/=?^_`{|}~\\u{80}-\\u{10FFFF}-]+"},
    {"email-domain", "(?:<hostname>|\\[(?:<ipv4>|IPv6:<ipv6>)\\])"},
    /* RFC 3986, appendix A. <more> and <private> are what RFC 3987 adds. */
    {"hex", "[0-9A-Fa-f]"},
    {"escaped", "%<hex><hex>"},
    {"pchar", "(?:[0-9A-Za-z._~<more>!$&'()*+,;=:@-]|<escaped>)"},
    {"segment", "(?:[0-9A-Za-z._~<more>!$&'()*+,;=@-]|<escaped>)+"},
    {"user", "(?:(?:[0-9A-Za-z._~<more>!$&'()*+,;=:-]|<escaped>)*@)?"},
    {"literal", "\\[(?:<ipv6>|[vV]<hex>+\\.[0-9A-Za-z._~!$&'()*+,;=:-]+)\\]"},
    {"host", "(?:<literal>|(?:[0-9A-Za-z._~<more>!$&'()*+,;=-]|<escaped>)*)"},
    {"authority", "//<user><host>(?::[0-9]*)?(?:/<pchar>*)*"},
    {"rooted", "/(?:<pchar>+(?:/<pchar>*)*)?"},
    {"tail", "(?:\\?(?:<pchar>|[/?<private>])*)?(?:#(?:<pchar>|[/?])*)?"},
    {"uri", "[A-Za-z][0-9A-Za-z+.-]*:(?:<authority>|<rooted>|<pchar>+(?:/<pchar>*)*|)<tail>"},
    {"relative", "(?:<authority>|<rooted>|<segment>(?:/<pchar>*)*|)<tail>"},
    {"ucs", "\\u{A0}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFEF}\\u{10000}-\\u{1FFFD}"
            "\\u{20000}-\\u{2FFFD}\\u{30000}-\\u{3FFFD}\\u{40000}-\\u{4FFFD}\\u{50000}-\\u{5FFFD}"
            "\\u{60000}-\\u{6FFFD}\\u{70000}-\\u{7FFFD}\\u{80000}-\\u{8FFFD}\\u{90000}-\\u{9FFFD}"
            "\\u{A0000}-\\u{AFFFD}\\u{B0000}-\\u{BFFFD}\\u{C0000}-\\u{CFFFD}\\u{D0000}-\\u{DFFFD}"
            "\\u{E1000}-\\u{EFFFD}"},
    {"iprivate", "\\u{E000}-\\u{F8FF}\\u{F0000}-\\u{FFFFD}\\u{100000}-\\u{10FFFD}"},
    /* RFC 6901. */
    {"pointer", "(?:/(?:[\\u{0}-.0-}\\u{7F}-\\u{10FFFF}]|~[01])*)*"},
    /* RFC 6570, 2. */
    {"varchar", "(?:[0-9A-Za-z_]|<escaped>)"},
    {"varspec", "<varchar>(?:\\.?<varchar>)*(?:\\*|:[1-9][0-9]{0,3})?"},
};

static const struct format {
    const char *name, *pattern;
    uint32_t max_length; /* 0: none */
    bool wide;           /* <more> and <private> are not empty */
    /* Where the pattern leaves out some that are valid: one that does not, for what must not have
     * the format; NULL: the pattern itself. */
    const char *all;
} formats[] = {
    {"date", "<date>", 0, false, NULL},
    {"time", "<time>", 0, false, "<any-time>"},
    {"date-time", "<date>[Tt]<time>", 0, false, "<date>[Tt]<any-time>"},
    {"duration", "P(?:<figures>W|<period-time>|<period-date>(?:<period-time>)?)", 0, false, NULL},
    {"email", "(?:<atom>(?:\\.<atom>)*|<quoted>)@<email-domain>", 254, false, "[^]*@[^]*"},
    {"idn-email", "(?:<wide-atom>(?:\\.<wide-atom>)*|<quoted>)@<email-domain>", 254, false, "[^]*@[^]*"},
    {"hostname", "<hostname>", 253, false, "[0-9A-Za-z._\\u{80}-\\u{10FFFF}-]*"},
    {"ipv4", "<ipv4>", 0, false, NULL},
    {"ipv6", "<ipv6>", 0, false, NULL},
    {"uuid", "<hex>{8}-<hex>{4}-<hex>{4}-<hex>{4}-<hex>{12}", 0, false, NULL},
    {"uri", "<uri>", 0, false, NULL},
    {"uri-reference", "(?:<uri>|<relative>)", 0, false, NULL},
    {"iri", "<uri>", 0, true, NULL},
    {"iri-reference", "(?:<uri>|<relative>)", 0, true, NULL},
    {"uri-template", "(?:[!#$&-;=?-\\[\\]_a-z~<ucs>]|<escaped>|"
                     "\\{[+#./;?&=,!@|]?<varspec>(?:,<varspec>)*\\})*", 0, false, NULL},
    {"json-pointer", "<pointer>", 0, false, NULL},
    {"relative-json-pointer", "(?:0|[1-9][0-9]*)(?:#|<pointer>)", 0, false, NULL},
};
/* clang-format on */

/* How the parts are meant. */
struct meaning {
    bool wide;
    bool bounded; /* <figures> are as few as people write */
};

static const char *part_pattern(const char *name, size_t n, const struct meaning *m)
{
    if (n == 4 && memcmp(name, "more", 4) == 0) {
        return m->wide ? "<ucs>" : "";
    }
    if (n == 7 && memcmp(name, "private", 7) == 0) {
        return m->wide ? "<iprivate>" : "";
    }
    if (n == 7 && memcmp(name, "figures", 7) == 0) {
        return m->bounded ? "[0-9]{1,9}" : "[0-9]+";
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strlen(parts[i].name) == n && memcmp(parts[i].name, name, n) == 0) {
            return parts[i].pattern;
        }
    }
    return NULL;
}

/* Parts name parts that are simpler, so this ends. */
static void append_expanded(struct buf *out, const char *pattern, const struct meaning *m)
{
    while (*pattern) {
        const char *end = *pattern == '<' ? strchr(pattern, '>') : NULL;
        const char *part = end ? part_pattern(pattern + 1, (size_t)(end - pattern - 1), m) : NULL;
        if (part) {
            append_expanded(out, part, m);
            pattern = end + 1;
        } else {
            buf_append_char(out, *pattern++);
        }
    }
}

/* Of numbers: OpenAPI's registry. */
static const struct number_format {
    const char *name;
    json_int_t min, max; /* both 0: any number */
} number_formats[] = {
    {"int32", INT32_MIN, INT32_MAX},
    {"int64", INT64_MIN, INT64_MAX},
    {"float", 0, 0},
    {"double", 0, 0},
};

static struct lang number_range(struct compiler *c, json_int_t min, json_int_t max)
{
    json_t *low = json_integer(min), *high = json_integer(max);
    struct lang all[] = {number_integer(c), number_compare(c, low, false, true, true),
                         number_compare(c, high, true, true, false)};
    json_decref(low);
    json_decref(high);
    return lang_and_all(c->langs, all, 3);
}

static struct lang format_lang(struct compiler *c, uint32_t schema, const struct format *f,
                               bool all)
{
    struct meaning m = {f->wide, !all && json_bounds_plain(&c->o.bounds)};
    struct buf pattern;
    buf_init(&pattern, LANG_MAX_PATTERN_BYTES);
    append_expanded(&pattern, all && f->all ? f->all : f->pattern, &m);
    struct lang l = string_regex(c, schema, "format", pattern.data, pattern.len);
    struct lang any = lang_any_char(c->langs, c->spelling);
    buf_free(&pattern);
    return f->max_length && !all
               ? lang_and(c->langs, l, lang_repeat(c->langs, any, 0, f->max_length))
               : l;
}

struct lang value_format(struct compiler *c, uint32_t schema, const char *name, uint32_t type,
                         bool all)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return type == TYPE_STRING ? format_lang(c, schema, &formats[i], all) : lang_all();
        }
    }
    for (size_t i = 0; i < sizeof number_formats / sizeof *number_formats; i++) {
        const struct number_format *f = &number_formats[i];
        if (strcmp(f->name, name) == 0) {
            return type == TYPE_NUMBER && f->max ? number_range(c, f->min, f->max) : lang_all();
        }
    }
    schema_fail(
        c, ERROR_UNSUPPORTED, schema, "format",
        "\"%.60s\" is no format that can be held; known are date, time, date-time, duration, "
        "email, idn-email, hostname, ipv4, ipv6, uuid, uri, uri-reference, iri, "
        "iri-reference, uri-template, json-pointer, relative-json-pointer, int32, int64, "
        "float and double",
        name);
    return lang_none();
}
