/* test_schema.c: what the test suite does not say: sentences with their pointers, bounds, keys in
 * disguise, depth, alternatives without end, strict mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/rng.h"
#include "grammar/grammar.h"
#include "grammar/schema.h"
#include "schema_checks.h"

/* What is generated: one spelling where the value has one already. */
static void test_plain(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    PLAIN("{\"type\": \"integer\"}", "5", "-12", "0", NULL, "5.0", "5e0", "-12.00", "05");
    PLAIN("{\"type\": \"integer\", \"minimum\": 3, \"not\": {\"const\": 5}}", "4", "60", NULL,
          "4.0", "5", "5.0", "2");
    PLAIN("{\"type\": \"number\"}", "5", "5.0", "5e0", "-1.25", NULL, "5.");
    PLAIN("{\"type\": \"number\", \"not\": {\"type\": \"integer\"}}", "5.5", NULL, "5", "5.0");
    PLAIN("{\"format\": \"int32\", \"type\": \"number\"}", "7", NULL, "7.0", "2147483648");
    PLAIN("{\"enum\": [1, 2.5, 0, \"a/b\\n\", {\"k\": 7}]}", "1", "2.5", "0", "\"a/b\\n\"",
          "{\"k\": 7}", NULL, "1.0", "2.50", "-0", "\"a\\/b\\n\"", "\"\\u0061/b\\n\"",
          "{\"\\u006b\": 7}", "{\"k\": 7.0}");
    PLAIN("{\"properties\": {\"key\": {}, \"\\u00e9\\\"\\u0007\": {}}}", "{\"key\": \"\\u0061\"}",
          "{\"\xc3\xa9\\\"\\u0007\": 1}", "{\"more\": {\"\\n\": 1}}", NULL, "{\"k\\u0065y\": 1}",
          "{\"\\u00e9\\\"\\u0007\": 1}", "{\"m\\u006fre\": 1}", "{\"more\": {\"\\u000a\": 1}}");
    PLAIN("{\"patternProperties\": {\"^k\": {\"type\": \"integer\"}}, \"additionalProperties\": "
          "false}",
          "{\"k1\": 3}", NULL, "{\"\\u006b1\": 3}", "{\"k1\": 3.0}", "{\"x\": 1}");
    PLAIN("{\"uniqueItems\": true, \"type\": \"array\", \"items\": {\"enum\": [1, \"a\"]}}",
          "[1, \"a\"]", NULL, "[1, 1]", "[1.0]", "[\"\\u0061\"]");
}

static void test_sentences(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *begins;
    } rows[] = {
        {"3", "#: a schema is an object, true or false"},
        {"{\"properties\": {\"a/b\": {\"items\": 3}}}", "#/properties/a~1b/items: a schema is"},
        {"{\"type\": \"strin\"}", "#/type: \"strin\" is none of"},
        {"{\"minLength\": -1}", "#/minLength: must be a whole number"},
        {"{\"allOf\": []}", "#/allOf: must be a list of at least one schema"},
        {"{\"multipleOf\": 0}", "#/multipleOf: must be a number above 0"},
        {"{\"required\": [1]}", "#/required: must be a list of names"},
        {"{\"items\": {\"pattern\": \"(a\"}}", "#/items/pattern: \"(a\""},
        {"{\"pattern\": \"(?=a)b\"}", "#/pattern: \"(?=a)b\""},
        {"{\"patternProperties\": {\"(\": true}}", "#/patternProperties: \"(\""},
        {"{\"$ref\": \"#/$defs/x\"}", "#/$ref: \"#/$defs/x\" leads to nothing"},
        {"{\"$ref\": \"#x\"}", "#/$ref: there is no anchor \"#x\""},
        {"{\"$ref\": \"http://x.org/y\"}", "#/$ref: \"http://x.org/y\" is no schema that is known"},
        {"{\"$ref\": \"#\"}", "#/$ref: more than"},
        {"{\"allOf\": [{\"$ref\": \"#\"}]}", "#: this schema leads back to itself"},
        {"{\"not\": {\"$ref\": \"#\"}}", "#"},
        {"{\"format\": \"colour\"}", "#/format: \"colour\" is no format"},
        {"{\"format\": \"colour\", \"type\": \"integer\"}", "#/format: \"colour\" is no format"},
        {"{\"items\": {\"uniqueItems\": true}}", "#/items/uniqueItems: that items differ"},
        {"{\"not\": {\"uniqueItems\": true}, \"type\": \"array\"}",
         "#/not/uniqueItems: that items must"},
        {"{\"multipleOf\": 0.123456789}", "#/multipleOf: divisors"},
        {"{\"additionalItems\": false}", "#/additionalItems: is no keyword of draft 2020-12"},
        {"{\"properties\": {\"a\": {\"nullable\": true}}}",
         "#/properties/a/nullable: is no keyword"},
        {"{\"items\": [true]}",
         "#/items: a schema is an object, true or false; an array of schemas, "
         "which draft 7 has in \"items\", is \"prefixItems\" now"},
        {"{\"$schema\": \"http://x.org/s\"}", "#/$schema: \"http://x.org/s\" is no dialect"},
        {"{\"$id\": \"a#b\"}", "#/$id: an address with a fragment"},
        {"{\"$defs\": {\"a\": {\"$id\": \"http://x/\"}, \"b\": {\"$id\": \"http://x/\"}}}",
         "#/$defs/b/$id: a second schema with this address"},
        {"{\"$defs\": {\"a\": {\"$anchor\": \"x\"}, \"b\": {\"$anchor\": \"x\"}}}",
         "#/$defs/b/$anchor: there are two anchors"},
        {"false", "#: nothing satisfies"},
        {"{\"type\": \"string\", \"not\": {\"format\": \"double\"}}", "#/not: nothing satisfies"},
        {"{\"type\": \"string\", \"minLength\": 5, \"maxLength\": 3}",
         "#/maxLength: nothing satisfies"},
        {"{\"type\": \"integer\", \"minimum\": 1.2, \"maximum\": 1.8}",
         "#/maximum: nothing satisfies"},
        {"{\"properties\": {\"a\": {\"type\": \"string\", \"enum\": [1, 2]}}}",
         "#/properties/a/enum: nothing satisfies"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}}, \"required\": "
         "[\"a\"], "
         "\"allOf\": [{\"properties\": {\"a\": {\"type\": \"null\"}}}]}",
         "#/allOf/0/properties/a/type: nothing satisfies this together with "
         "#/properties/a/type, #/required"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": "
         "[\"a\"]}",
         "#/properties/a/$ref: nothing satisfies this together with #/required"},
        {"{", "the schema is no JSON"},
        {"{\"a\": 1, \"a\": 2}", "the key \"a\" comes twice (at byte 13)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error e;
        struct grammar *g = schema_compile(rows[i].schema, NULL, &e);
        if (g || strncmp(e.message, rows[i].begins, strlen(rows[i].begins)) != 0) {
            fail_msg("%s: %s", rows[i].schema, g ? "accepted" : e.message);
        }
        assert_int_not_equal(e.code, ERROR_NONE);
    }
}

/* The keyword that is to blame, and those that it contradicts. */
static void test_contradictions(void **state)
{
    (void)state;
    int n_wrong = 0;
    static const struct {
        const char *schema, *blamed, *others;
    } rows[] = {
        {"{\"minimum\":5,\"maximum\":3,\"type\":\"number\"}", "#/maximum", "#/minimum"},
        {"{\"maximum\":3,\"type\":\"number\",\"minimum\":5}", "#/minimum", "#/maximum"},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":3,\"exclusiveMaximum\":4}",
         "#/exclusiveMaximum", "#/exclusiveMinimum"},
        {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":8,\"maximum\":13,\"title\":\"x\"}",
         "#/maximum", "#/multipleOf, #/minimum"},
        {"{\"type\":\"number\",\"const\":0.05,\"multipleOf\":0.1}", "#/const", "#/multipleOf"},
        {"{\"minLength\":9223372036854775808,\"maxLength\":3,\"type\":\"string\"}", "#/maxLength",
         "#/minLength"},
        {"{\"type\":\"string\",\"enum\":[1,2]}", "#/enum", "#/type"},
        {"{\"enum\":[1,2],\"type\":\"string\"}", "#/enum", "#/type"},
        {"{\"type\":[\"string\",\"null\"],\"const\":7}", "#/const", "#/type"},
        {"{\"const\":\"abc\",\"pattern\":\"^x\"}", "#/const", "#/pattern"},
        {"{\"pattern\":\"^x\",\"const\":\"abc\"}", "#/const", "#/pattern"},
        {"{\"enum\":[\"a\",\"b\"],\"minLength\":2}", "#/enum", "#/minLength"},
        {"{\"const\":1,\"enum\":[2,3]}", "#/enum", "#/const"},
        {"{\"enum\":[]}", "#/enum", ""},
        {"{\"type\":\"string\",\"pattern\":\"^a\",\"maxLength\":5,\"allOf\":[{\"pattern\":\"^b\"}]"
         "}",
         "#/allOf/0/pattern", "#/pattern"},
        {"{\"type\":\"string\",\"format\":\"date\",\"maxLength\":9}", "#/maxLength", "#/format"},
        {"{\"type\":\"string\",\"format\":\"uuid\",\"pattern\":\"^z\"}", "#/pattern", "#/format"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false,"
         "\"required\":[\"a\",\"b\"]}",
         "#/required", "#/additionalProperties"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":false}}", "#/required",
         "#/properties/a"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\","
         "\"enum\":[1]},\"b\":{\"type\":\"null\"}}}",
         "#/properties/a/enum", "#/properties/a/type"},
        {"{\"type\":\"object\",\"properties\":{\"list\":{\"type\":\"array\",\"items\":{\"type\":"
         "\"integer\",\"minimum\":5,\"maximum\":3}}}}",
         "#/properties/list/items/maximum", "#/properties/list/items/minimum"},
        {"{\"type\":\"object\",\"minProperties\":3,\"maxProperties\":2}", "#/maxProperties",
         "#/minProperties"},
        {"{\"type\":\"object\",\"required\":[\"a\",\"b\",\"c\"],\"maxProperties\":2}",
         "#/maxProperties", "#/required"},
        {"{\"type\":\"object\",\"minProperties\":2,\"properties\":{\"a\":{}},"
         "\"additionalProperties\":false}",
         "#/minProperties", "#/additionalProperties"},
        {"{\"type\":\"object\",\"required\":[\"abc\",\"x\"],\"propertyNames\":{\"maxLength\":2}}",
         "#/required", "#/propertyNames"},
        {"{\"type\":\"object\",\"required\":[\"x1\"],\"patternProperties\":{\"^x\":false}}",
         "#/required", "#/patternProperties/^x"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"dependentRequired\":{\"a\":[\"b\"]},"
         "\"properties\":{\"b\":false}}",
         "#/dependentRequired", "#/required, #/properties/b"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"dependentSchemas\":{\"a\":{\"maxProperties\":"
         "0}}}",
         "#/dependentSchemas/a/maxProperties", "#/required"},
        {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"c\"]},\"not\":{\"patternProperties\":"
         "{\"^[ab]$\":{\"type\":\"boolean\"}}}}",
         "#/not", "#/propertyNames"},
        {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^c$\"},\"not\":{"
         "\"patternProperties\":{\"^[ab]$\":{\"type\":\"boolean\"}}}}",
         "#/not", "#/propertyNames"},
        {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"c\"]},\"oneOf\":[true,{"
         "\"patternProperties\":{\"^[ab]$\":{\"type\":\"boolean\"}}}]}",
         "#/oneOf", "#/propertyNames"},
        {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"c\"]},\"if\":{\"patternProperties\":{"
         "\"^[ab]$\":{\"type\":\"boolean\"}}},\"then\":false}",
         "#/if", "#/propertyNames, #/then"},
        {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"a\",\"b\"]},\"minProperties\":3}",
         "#/minProperties", "#/propertyNames"},
        {"{\"patternProperties\":{\"^(x|y)$\":{}},\"additionalProperties\":false,\"type\":"
         "\"object\",\"minProperties\":3}",
         "#/minProperties", "#/additionalProperties"},
        {"{\"properties\":{\"a\":true},\"patternProperties\":{\"^[ab]$\":{\"type\":\"boolean\"}},"
         "\"additionalProperties\":false,\"type\":\"object\",\"minProperties\":3}",
         "#/minProperties", "#/additionalProperties"},
        {"{\"type\":\"object\",\"patternProperties\":{\"^[\\\\x01-\\\\x1f]$\":{}},"
         "\"additionalProperties\":false,\"minProperties\":32}",
         "#/minProperties", "#/additionalProperties"},
        {"{\"properties\":{\"p\":{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"a\",\"b\"]},"
         "\"minProperties\":3}}}",
         "#/properties/p/minProperties", "#/properties/p/propertyNames"},
        {"{\"items\":{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"c\"]},\"not\":{"
         "\"patternProperties\":{\"^[ab]$\":{\"type\":\"boolean\"}}}}}",
         "#/items/not", "#/items/propertyNames"},
        {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "#/maxItems", "#/minItems"},
        {"{\"type\":\"array\",\"prefixItems\":[{},{}],\"items\":false,\"minItems\":3}",
         "#/minItems", "#/items"},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"null\"},{\"type\":\"string\",\"const\":"
         "1}],\"minItems\":2}",
         "#/prefixItems/1/const", "#/prefixItems/1/type"},
        {"{\"type\":\"array\",\"contains\":{\"type\":\"string\"},\"items\":{\"type\":\"number\"}}",
         "#/items/type", "#/contains/type"},
        {"{\"type\":\"array\",\"contains\":{},\"maxItems\":0}", "#/maxItems", "#/contains"},
        {"{\"type\":\"array\",\"contains\":{},\"minContains\":3,\"maxItems\":2}", "#/maxItems",
         "#/contains, #/minContains"},
        {"{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[1,2]},\"minItems\":3}",
         "#/items/enum", "#/uniqueItems, #/minItems"},
        {"{\"allOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}", "#/allOf/1/type",
         "#/allOf/0/type"},
        {"{\"allOf\":[{\"type\":\"string\"},{\"type\":\"number\"}],\"title\":\"x\",\"minLength\":"
         "3}",
         "#/allOf/1/type", "#/allOf/0/type"},
        {"{\"allOf\":[{\"title\":\"a\"},{\"minimum\":5,\"type\":\"number\"},{\"maximum\":3}]}",
         "#/allOf/2/maximum", "#/allOf/1/minimum"},
        {"{\"$ref\":\"#/$defs/"
         "s\",\"type\":\"number\",\"$defs\":{\"s\":{\"type\":\"string\",\"minLength\":2}}}",
         "#/type", "#/$defs/s/type"},
        {"{\"$ref\":\"#/$defs/"
         "s\",\"maxLength\":1,\"$defs\":{\"s\":{\"type\":\"string\",\"minLength\":2}}}",
         "#/maxLength", "#/$defs/s/type, #/$defs/s/minLength"},
        {"{\"$ref\":\"#/$defs/"
         "s\",\"$defs\":{\"s\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":1}}}",
         "#/$defs/s/maxLength", "#/$defs/s/minLength"},
        {"{\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
         "s\"}},\"$defs\":{\"s\":{\"type\":\"string\",\"const\":2}}}",
         "#/$defs/s/const", "#/$defs/s/type"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
         "t\"}},\"required\":[\"a\"],\"not\":{\"required\":[\"b\"]},\"$defs\":{\"t\":{"
         "\"properties\":{\"v\":{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}},\"required\":["
         "\"v\"],\"type\":\"object\"}}}",
         "#/$defs/t/properties/v/maximum", "#/$defs/t/properties/v/minimum"},
        {"{\"type\":\"string\",\"not\":{\"type\":\"string\"}}", "#/not", "#/type"},
        {"{\"const\":1,\"not\":{\"const\":1}}", "#/not", "#/const"},
        {"{\"enum\":[1,2],\"not\":{\"minimum\":0}}", "#/not", "#/enum"},
        {"{\"not\":{}}", "#/not", ""},
        {"{\"type\":\"string\",\"anyOf\":[{\"type\":\"number\"},{\"type\":\"null\"}]}", "#/anyOf",
         "#/type"},
        {"{\"type\":\"object\",\"oneOf\":[{\"type\":\"object\"},{\"type\":\"object\"}]}", "#/oneOf",
         ""},
        {"{\"anyOf\":[{\"properties\":{\"a\":{\"type\":\"string\",\"enum\":[1]}}},{\"type\":"
         "\"null\"}]}",
         "#/anyOf/0/properties/a/enum", "#/anyOf/0/properties/a/type"},
        {"{\"type\":\"string\",\"if\":{\"minLength\":1},\"then\":false,\"else\":{\"type\":\"null\"}"
         "}",
         "#/else/type", "#/if, #/then"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"b\":{}},"
         "\"unevaluatedProperties\":false}",
         "#/required", "#/unevaluatedProperties"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"allOf\":[{\"properties\":{\"b\":{}}}],"
         "\"unevaluatedProperties\":false}",
         "#/required", "#/unevaluatedProperties"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
         "#/properties/a/$ref", "#/required"},
        {"{\"items\":{\"properties\":{\"a/b\":{\"minimum\":2,\"maximum\":1,\"type\":\"number\"}}}}",
         "#/items/properties/a~1b/maximum", "#/items/properties/a~1b/minimum"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error e;
        char wanted[256];
        snprintf(wanted, sizeof wanted, "%s: nothing satisfies this%s%s", rows[i].blamed,
                 rows[i].others[0] ? " together with " : "", rows[i].others);
        struct grammar *g = schema_compile(rows[i].schema, NULL, &e);
        if (g || strcmp(e.message, wanted) != 0) {
            print_error("%s\n  says    %s\n  instead %s\n", rows[i].schema,
                        g ? "accepted" : e.message, wanted);
            n_wrong++;
        }
        grammar_free(g);
    }
    assert_int_equal(n_wrong, 0);
}

static void test_keys(void **state)
{
    (void)state;
    /* Any order, none twice, whatever their spelling. */
    CHECK("{\"properties\": {\"foo\": {\"type\": \"integer\"}, \"b\": {}}, \"required\": [\"b\"]}",
          "{\"b\": null, \"foo\": 1}", "{\"f\\u006fo\": 1, \"b\": 2}", "{\"x\": {}, \"b\": 2}",
          "{\"b\":{\"b\":1}}", NULL, "{\"foo\": \"1\", \"b\": 2}",
          "{\"f\\u006fo\": \"1\", \"b\": 2}", "{\"foo\": 1}", "{\"b\": 1, \"b\": 2}",
          "{\"b\": 1, \"\\u0062\": 2}", "{\"b\": 1, \"x\": 2, \"x\": 3}",
          "{\"b\": 1, \"x\": 2, \"\\u0078\": 3}", "{\"b\": {\"y\": 1, \"y\": 1}}");
    CHECK("{\"properties\": {\"\\ud83d\\ude00\": {\"const\": 1}}, \"additionalProperties\": false}",
          "{\"\xf0\x9f\x98\x80\": 1}", "{\"\\uD83D\\uDE00\": 1}", "{}", NULL,
          "{\"\\uD83D\\uDE00\": 2}", "{\"\\uD83D\": 1}");
    /* One member of a class must be there: the opposite of patternProperties. */
    CHECK("{\"type\": \"object\", \"not\": {\"patternProperties\": {\"^x\": {\"type\": "
          "\"string\"}}}, "
          "\"maxProperties\": 2}",
          "{\"x\": 1}", "{\"x1\": \"\", \"x2\": 1}", "{\"a\": 1, \"xx\": null}", NULL, "{}",
          "{\"a\": 1}", "{\"x\": \"\"}", "{\"a\": 1, \"b\": 1, \"x\": 1}", "{\"a\": 1, \"b\": 1}");
    CHECK("{\"dependentRequired\": {\"a\": [\"b\"], \"b\": [\"c\"]}, \"maxProperties\": 3}",
          "{\"a\": 1, \"c\": 1, \"b\": 1}", "{\"c\": 1}", NULL, "{\"a\": 1, \"b\": 1}",
          "{\"a\": 1, \"b\": 1, \"x\": 1, \"c\": 1}", "{\"x\": 1, \"y\": 1, \"b\": 1, \"c\": 1}");
}

/* Keys are told apart by their characters, and counted so: what cannot come to as many as
 * minProperties says, or to a key that must be there, is never begun. */
static void test_key_counts(void **state)
{
    (void)state;
    CHECK("{\"oneOf\": [{\"propertyNames\": {\"enum\": [\"c\", \"a\"]}}, {\"propertyNames\": "
          "{\"enum\": [\"a\"]}}]}",
          "{\"c\":1}", "{\"a\":1, \"c\":2}", NULL, "{}", "{\"a\":1}", "{\"b\":1}", "3");
    CHECK("{\"type\": \"object\", \"propertyNames\": {\"enum\": [\"a\", \"b\"]}, "
          "\"minProperties\": 2}",
          "{\"b\":1, \"\\u0061\":2}", NULL, "{\"a\":1}", "{\"a\":1, \"\\u0061\":2}");
    CHECK("{\"type\": \"object\", \"propertyNames\": {\"enum\": [\"a\", \"c\"]}, \"not\": "
          "{\"patternProperties\": {\"^[ab]$\": {\"type\": \"boolean\"}}}}",
          "{\"a\":1}", "{\"c\":1, \"a\":null}", NULL, "{}", "{\"a\":true}", "{\"c\":1}",
          "{\"b\":1}");
    CHECK(
        "{\"type\": \"object\", \"properties\": {\"a\": false}, \"propertyNames\": {\"enum\": "
        "[\"a\", \"b\"]}, \"not\": {\"patternProperties\": {\"^[ab]$\": {\"type\": \"boolean\"}}}}",
        "{\"b\":1}", NULL, "{}", "{\"a\":1}", "{\"b\":true}");
    CHECK("{\"type\": \"object\", \"patternProperties\": {\"^[a-z]{5}$\": {}}, "
          "\"additionalProperties\": false, \"minProperties\": 2}",
          "{\"abcde\":1, \"zzzzz\":2}", NULL, "{\"abcde\":1}");
    static const char *const too_many[][2] = {
        {"{\"type\": \"object\", \"minProperties\": 20001}", "#/minProperties: asks for more than"},
        {"{\"type\": \"object\", \"not\": {\"maxProperties\": 99999}}",
         "#/not/maxProperties: asks for more than"},
        {"{\"properties\": {\"a\": {\"minProperties\": 1e15, \"type\": \"object\"}}}",
         "#/properties/a/minProperties: asks for more than"},
        {"{\"type\": \"object\", \"minProperties\": 20001, \"maxProperties\": 20000}",
         "#/maxProperties: nothing satisfies this together with #/minProperties"},
    };
    struct error e;
    for (size_t i = 0; i < sizeof too_many / sizeof *too_many; i++) {
        assert_null(schema_compile(too_many[i][0], NULL, &e));
        assert_memory_equal(e.message, too_many[i][1], strlen(too_many[i][1]));
    }
    struct buf names;
    buf_init(&names, 1 << 22);
    buf_append_str(&names, "{\"type\": \"object\", \"minProperties\": 20001, \"required\": [\"x\"");
    for (int i = 0; i < 70000; i++) {
        buf_printf(&names, ", \"%d\"", i);
        if (i == 12000) { /* so many have names */
            struct buf some;
            buf_init(&some, 1 << 22);
            buf_append(&some, names.data, names.len);
            buf_append(&some, "]}", 3);
            struct grammar *g = schema_compile(some.data, NULL, &e);
            assert_non_null(g);
            grammar_free(g);
            buf_free(&some);
        }
    }
    buf_append(&names, "]}", 3);
    assert_null(schema_compile(names.data, NULL, &e));
    assert_memory_equal(e.message, "#/required: more than 65536", 27);
    buf_free(&names);
    static const char *const walks[] = {
        "{\"type\": \"object\", \"properties\": {\"mode\": {\"enum\": [\"x\", \"y\"]}}, "
        "\"patternProperties\": {\"^(on|off)$\": {\"type\": \"boolean\"}}, "
        "\"additionalProperties\": false, \"required\": [\"mode\"], \"if\": {\"properties\": "
        "{\"mode\": {\"const\": \"x\"}}}, \"then\": {\"minProperties\": 4}}",
        "{\"type\": \"object\", \"patternProperties\": {\"^(on|off)$\": {\"type\": \"boolean\"}}, "
        "\"additionalProperties\": false, \"minProperties\": 2}",
        "{\"type\": \"object\", \"patternProperties\": {\"^[ab]$\": {\"enum\": [true, 1]}}, "
        "\"additionalProperties\": false, \"not\": {\"patternProperties\": {\"^[ab]$\": {\"type\": "
        "\"boolean\"}}}}",
        "{\"type\": \"object\", \"properties\": {\"a\": {\"const\": 1}, \"b\": {\"const\": 2}}, "
        "\"patternProperties\": {\"^[cd]$\": {\"const\": 3}}, \"additionalProperties\": false, "
        "\"minProperties\": 3, \"required\": [\"b\"]}",
        "{\"type\": \"object\", \"properties\": {\"a\": {\"const\": 1}}, \"patternProperties\": "
        "{\"^[bcd]$\": {\"enum\": [true, 1]}}, \"additionalProperties\": false, \"minProperties\": "
        "3, \"maxProperties\": 3, \"not\": {\"patternProperties\": {\"^[cd]$\": {\"type\": "
        "\"boolean\"}}}}",
    };
    for (size_t i = 0; i < 2 * sizeof walks / sizeof *walks; i++) {
        struct schema_options o;
        schema_options_defaults(&o);
        o.in_order = i % 2;
        schema_walk(&o, walks[i / 2]);
    }
}

/* Figures within formats are bounded where they are generated; what must not have a format has
 * nothing that is valid, also where the format itself is held as a subset. */
static void test_formats(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    PLAIN("{\"format\": \"time\", \"type\": \"string\"}", "\"12:00:00.123456789Z\"", NULL,
          "\"12:00:00.1234567891Z\"");
    PLAIN("{\"format\": \"duration\", \"type\": \"string\"}", "\"PT123456789S\"", NULL,
          "\"PT1234567891S\"");
    CHECK("{\"format\": \"time\", \"type\": \"string\"}", "\"12:00:00.1234567891Z\"", NULL,
          "\"00:59:60+01:00\"");
    PLAIN("{\"not\": {\"format\": \"time\"}, \"type\": \"string\"}", "\"x\"", NULL,
          "\"12:00:00.1234567891Z\"", "\"00:59:60+01:00\"");
    PLAIN("{\"not\": {\"format\": \"duration\"}, \"type\": \"string\"}", "\"P\"", NULL,
          "\"PT1234567891S\"");
    PLAIN("{\"not\": {\"format\": \"hostname\"}, \"type\": \"string\"}", "\"a b\"", NULL, "\"a.b\"",
          "\"xn--ihqwcrb4cv8a8dqg056pqjye\"");
    PLAIN("{\"not\": {\"format\": \"email\"}, \"type\": \"string\"}", "\"a b\"", NULL,
          "\"joe@xn--ihqwcrb4cv8a8dqg056pqjye.org\"");
    PLAIN("{\"not\": {\"format\": \"date\"}, \"type\": \"string\"}", "\"2023-02-29\"", NULL,
          "\"2024-02-29\"");
    PLAIN("{\"oneOf\": [{\"type\": \"string\", \"format\": \"date\"}, {\"type\": \"string\", "
          "\"format\": "
          "\"date-time\"}]}",
          "\"2024-02-29\"", "\"2024-02-29T00:00:00Z\"", NULL, "\"x\"");
}

/* White space as it is generated: in a line or in lines, one line end at a place and no more than
 * an indentation behind it. */
static void test_space(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"array\", \"items\": "
        "{\"type\": "
        "\"integer\"}}, \"b\": {\"type\": \"array\", \"contains\": {\"const\": 1}, \"items\": "
        "{\"type\": \"integer\"}, \"allOf\": [{\"contains\": {\"const\": 2}, \"minContains\": 0, "
        "\"maxContains\": 1}]}, \"c\": {\"type\": \"array\", \"uniqueItems\": true, "
        "\"prefixItems\": [{\"enum\": [1, 2]}], \"items\": {\"enum\": [2, 3]}, \"maxItems\": 2}, "
        "\"d\": "
        "{}, \"e\": {\"uniqueItems\": true, \"type\": \"array\", \"items\": {\"enum\": [1, 2]}}}, "
        "\"additionalProperties\": false}";
    static const char *const shapes[] = {"a", "b", "c", "d", "e", NULL};
    static const struct {
        bool accepted;
        const char *text; /* @: the key */
    } rows[] = {
        {true, "{\"@\":[1,2]}"},
        {true, "{\"@\": [1, 2]}"},
        {true, "{ \"@\" : [ 1, 2 ] }"},
        {true, "{\n  \"@\": [\n    1,\n    2\n  ]\n}"},
        {true, "{\r\n\t\"@\": [\r\n\t\t1,\r\n\t\t2\r\n\t]\r\n}"},
        {true, "{\n                                \"@\": [1]}"},
        {true, "{\n\t\t\t\t\t\t\t\t\"@\": [1]}"},
        {false, "{\n\t\t\t\t\t\t\t\t\t\"@\": [1]}"},
        {false, "{\n                                 \"@\": [1]}"},
        {false, "{\n\t \"@\": [1]}"},
        {false, "{ \n\"@\": [1]}"},
        {false, "{\n\n\"@\": [1]}"},
        {false, "{  \"@\": [1]}"},
        {false, "{\"@\"\n: [1]}"},
        {false, "{\"@\":  [1]}"},
        {false, "{\"@\": [1 ,2]}"},
        {false, "{\"@\": [1\n,2]}"},
        {false, "{\"@\": [1,2\n\n]}"},
        {false, "{\"@\": [1,2  ]}"},
        {false, "{\"@\": [1]\n }  "},
    };
    struct error e;
    struct grammar *g = schema_compile(schema, &o, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    for (const char *const *key = shapes; *key; key++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char text[128];
            strcpy(text, rows[i].text);
            for (char *p = text; *p; p++) {
                *p = *p == '@' ? **key : *p;
            }
            if (schema_accepts(g, text) != rows[i].accepted) {
                fail_msg("%s is %saccepted", text, rows[i].accepted ? "not " : "");
            }
        }
    }
    assert_true(schema_accepts(g, "{}") && schema_accepts(g, "{ }") && schema_accepts(g, "{\n}"));
    assert_true(schema_accepts(g, "{\"a\": [\n]}") && schema_accepts(g, "{\"e\": [\n]}"));
    assert_true(schema_accepts(g, "{\"c\": [ ]}") && schema_accepts(g, "{\"d\": [ ]}"));
    assert_false(schema_accepts(g, "{\"c\": [  ]}") || schema_accepts(g, "{\"d\": [\n\n]}"));
    grammar_free(g);
    o.bounds.max_blanks = 3;
    o.bounds.max_indent = 2;
    schema_check(
        &o, "{\"type\": \"array\"}",
        (const char *const[]){"[   1]", "[\n  1\n]", NULL, "[    1]", "[\n   1]", "[\n\t1]", NULL});
}

static void test_bounds(void **state)
{
    (void)state;
    char blanks[64] = "[";
    memset(blanks + 1, ' ', 40);
    strcpy(blanks + 41, "1]");
    CHECK("{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}", "[ 1 ]", "[\n  1,\n  2\n]",
          "[12345678901234567890]", "[1.0]", NULL, blanks, "[123456789012345678901]", "[1e2]",
          "[01]", "[-]", "[1.]", "[+1]");
    CHECK("{\"format\": \"int32\"}", "2147483647", "-2147483648", "1.0", "\"x\"", NULL,
          "2147483648", "-2147483649", "1.5");
    CHECK("{\"format\": \"int64\"}", "9223372036854775807", "-9223372036854775808", NULL,
          "9223372036854775808", "-9223372036854775809");
    CHECK("{\"format\": \"date\"}", "7", "1e5", "\"2024-02-29\"", NULL, "\"2023-02-29\"");
    struct schema_options o;
    schema_options_defaults(&o);
    o.bounds.unbounded = true;
    schema_check(&o, "{\"items\": {\"type\": \"integer\"}}",
                 (const char *const[]){blanks, "[123456789012345678901.000]", NULL, "[1.5]", NULL});
    CHECK("{\"type\": \"number\"}", "1e5", "-0.5E-3", NULL, "1e", "1e5555", ".5");
    o.bounds.unbounded = false;
    o.in_order = true;
    /* What needs one that had its turn does not even begin. */
    struct error e;
    struct grammar_verdict v;
    struct grammar *g =
        schema_compile("{\"properties\": {\"a\": {}, \"b\": {}}, \"dependentRequired\": "
                       "{\"b\": [\"a\"]}, \"additionalProperties\": false}",
                       &o, &e);
    assert_true(schema_accepts(g, "{\"a\": 1, \"b\": 2}") && schema_accepts(g, "{\"a\": 1}"));
    assert_true(grammar_check_text(g, "{\"b", 3, &v, &e));
    assert_int_equal(v.n_good, 2);
    grammar_free(g);
    schema_check(&o, "{\"properties\": {\"a\": {}, \"b\": {}}, \"required\": [\"b\"]}",
                 (const char *const[]){"{\"a\": 1, \"b\": 2}", "{\"b\": 2}", "{\"b\": 2, \"c\": 1}",
                                       NULL, "{\"b\": 1, \"a\": 2}", NULL});
}

static void test_depth(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    static const char open[] = "{\"items\":";
    struct buf b;
    struct error e = {0};
    buf_init(&b, 1 << 24);
    for (int i = 0; i < DEEP; i++) {
        buf_append_str(&b, open);
    }
    buf_append_str(&b, "{}");
    for (int i = 0; i < DEEP; i++) {
        buf_append_char(&b, '}');
    }
    assert_null(schema_read(b.data, b.len, &e));
    assert_non_null(strstr(e.message, "no JSON"));
    buf_free(&b);

    json_t *deep = json_object(), *value = json_array();
    for (int i = 0; i < 10000; i++) { /* freeing is recursive in jansson */
        json_t *outer = json_object(), *list = json_array();
        json_object_set_new(outer, "items", deep);
        json_array_append_new(list, value);
        deep = outer;
        value = list;
    }
    assert_null(grammar_json_schema(deep, NULL, &e));
    assert_non_null(strstr(e.message, "nested more than"));
    json_t *constant = json_pack("{s:O}", "const", value);
    assert_null(grammar_json_schema(constant, NULL, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    json_decref(constant);
    json_decref(value);
    json_decref(deep);

    /* A chain of references, and one of schemas about the same value. */
    for (int kind = 0; kind < 2; kind++) {
        json_t *schema = json_object(), *defs = json_object();
        for (int i = 0; i < 5000; i++) {
            char name[32], next[48];
            snprintf(name, sizeof name, "d%d", i);
            snprintf(next, sizeof next, "#/$defs/d%d", i + 1);
            json_object_set_new(defs, name,
                                kind ? json_pack("{s:[{s:s}]}", "allOf", "$ref", next)
                                     : json_pack("{s:s}", "$ref", next));
        }
        json_object_set_new(defs, "d5000", json_true());
        json_object_set_new(schema, "$defs", defs);
        json_object_set_new(schema, "$ref", json_string("#/$defs/d0"));
        assert_null(grammar_json_schema(schema, NULL, &e));
        assert_int_equal(e.code, ERROR_LIMIT);
        json_decref(schema);
    }
    /* Recursion costs what it says: 2,000 levels of a tree. */
    struct grammar *g =
        schema_compile("{\"type\": \"array\", \"items\": {\"$ref\": \"#\"}}", NULL, &e);
    assert_non_null(g);
    char *text = mem_zalloc(4001);
    memset(text, '[', 2000);
    memset(text + 2000, ']', 2000);
    assert_true(schema_accepts(g, text));
    text[3999] = '[';
    assert_false(schema_accepts(g, text));
    free(text);
    grammar_free(g);
}

/* 2^n alternatives: a sentence, soon. */
static void test_alternatives(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    buf_init(&b, 1 << 20);
    buf_append_str(&b, "{\"allOf\": [");
    for (int i = 0; i < 30; i++) {
        buf_printf(&b, "%s{\"anyOf\": [{\"required\": [\"a%d\"]}, {\"required\": [\"b%d\"]}]}",
                   i ? "," : "", i, i);
    }
    buf_append_str(&b, "]}");
    clock_t begin = clock();
    assert_null(schema_compile(b.data, NULL, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(strncmp(e.message, "#", 1), 0);
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 20);
    buf_free(&b);
    /* A hundred alternatives with a discriminator are a hundred. */
    buf_append_str(&b, "{\"oneOf\": [");
    for (int i = 0; i < 100; i++) {
        buf_printf(
            &b,
            "%s{\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"k%d\"}, \"v\": "
            "{\"type\": \"integer\", \"minimum\": %d}}, \"required\": [\"kind\", \"v\"]}",
            i ? "," : "", i, i);
    }
    buf_append_str(&b, "]}");
    begin = clock();
    struct grammar *g = schema_compile(b.data, NULL, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 20);
    assert_true(schema_accepts(g, "{\"v\": 77, \"kind\": \"k77\"}"));
    assert_false(schema_accepts(g, "{\"v\": 76, \"kind\": \"k77\"}"));
    grammar_free(g);
    buf_free(&b);
}

/* What docs/json-schema.md measures: a hundred properties of all kinds. */
static void test_hundred(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "{\"enum\": [\"red\", \"green\", \"blue\"]}",
        "{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 1000}",
        "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 100}",
        "{\"type\": \"string\", \"pattern\": \"^[A-Z]{2}[0-9]{4}$\"}",
        "{\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"maxItems\": 10}",
        ("{\"type\": \"object\", \"properties\": {\"lat\": {\"type\": \"number\", \"minimum\": "
         "-90, "
         "\"maximum\": 90}, \"lon\": {\"type\": \"number\"}}, \"required\": [\"lat\", \"lon\"]}"),
        "{\"type\": \"string\", \"format\": \"date-time\"}",
        "{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}",
        "{\"type\": \"boolean\"}",
        "{\"type\": \"number\"}",
    };
    struct buf schema, text;
    buf_init(&schema, 1 << 20);
    buf_init(&text, 1 << 20);
    buf_append_str(&schema,
                   "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
    for (int i = 0; i < 100; i++) {
        buf_printf(&schema, "%s\"property_%d\": %s", i ? ", " : "", i, kinds[i % 10]);
    }
    buf_append_str(&schema, "}, \"required\": [");
    for (int i = 0; i < 50; i++) {
        buf_printf(&schema, "%s\"property_%d\"", i ? ", " : "", i);
    }
    buf_append_str(&schema, "]}");
    struct error e = {0};
    json_t *v = schema_read(schema.data, schema.len, &e);
    double best = 1e9;
    struct grammar *g = NULL;
    for (int i = 0; i < 5; i++) {
        grammar_free(g);
        clock_t begin = clock();
        g = grammar_json_schema(v, NULL, &e);
        double s = (double)(clock() - begin) / CLOCKS_PER_SEC;
        best = s < best ? s : best;
    }
    print_message("# a schema of 100 properties compiles in %.1f ms\n", 1000 * best);
    assert_true(best < 1); /* sanitizers and loaded machines included */
    static const char *const values[] = {"\"red\"",
                                         "7",
                                         "\"x\"",
                                         "\"AB1234\"",
                                         "[]",
                                         "{\"lat\": 89.5, \"lon\": 1e3}",
                                         "\"2024-02-29T00:00:00Z\"",
                                         "null",
                                         "true",
                                         "1.5e-3"};
    for (int missing = -1; missing < 50; missing += 7) {
        buf_clear(&text);
        buf_append_char(&text, '{');
        for (int i = 99; i >= 0; i--) {
            if (i != missing) {
                buf_printf(&text, "\"property_%d\": %s%s", i, values[i % 10],
                           i && !(i == 1 && missing == 0) ? ", " : "");
            }
        }
        buf_append_char(&text, '}');
        assert_int_equal(schema_accepts(g, text.data), missing < 0);
    }
    grammar_free(g);
    json_decref(v);
    buf_free(&schema);
    buf_free(&text);
}

static void keep_words(void *context, const char *pointer, const char *meant)
{
    struct buf *b = context;
    buf_printf(b, "%s>%s\n", pointer, meant ? meant : "");
}

/* Words that are no keywords are told, with the one that may be meant; known annotations are not.
 */
static void test_words(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"title\": \"t\", \"x-order\": 1, \"requried\": [\"a\"], \"properties\": {\"minimun\": "
        "{\"minimun\": 3, \"example\": 1}, \"a/b\": {\"anyOf\": [{}, {\"aditionalproperties\": "
        "false}]}}, \"discriminator\": {}, \"$comment\": \"\", \"nulable\": true, \"colour\": 1, "
        "\"items\": {\"tpye\": 1, \"fi\": 1, \"a\": 1}}";
    static const char expected[] =
        "#/requried>required\n#/nulable>nullable\n#/colour>\n"
        "#/properties/minimun/minimun>minimum\n"
        "#/properties/a~1b/anyOf/1/aditionalproperties>additionalProperties\n"
        "#/items/tpye>type\n#/items/fi>if\n#/items/a>\n";
    struct error e = {0};
    struct buf words;
    buf_init(&words, 1 << 16);
    json_t *v = schema_read(schema, sizeof schema - 1, &e);
    assert_non_null(v);
    schema_each_unknown(v, keep_words, &words);
    assert_string_equal(words.data, expected);
    buf_free(&words);
    json_decref(v);
    struct schema_options o;
    schema_options_defaults(&o);
    o.strict = true;
    assert_null(schema_compile("{\"type\": \"string\", \"maxlenght\": 3}", &o, &e));
    assert_string_equal(e.message, "#/maxlenght: is no keyword, which strict mode refuses; did you "
                                   "mean \"maxLength\"?");
    grammar_free(schema_compile("{\"type\": \"string\", \"title\": \"a\"}", &o, &e));
    assert_int_equal(e.code, ERROR_NONE);
}

static void test_strict(void **state)
{
    (void)state;
    struct error e;
    struct schema_options o;
    schema_options_defaults(&o);
    o.strict = true;
    assert_null(schema_compile(
        "{\"type\": \"object\", \"properties\": {\"a\": {}}, \"required\": [\"a\"]}", &o, &e));
    assert_non_null(strstr(e.message, "#/additionalProperties: must be there and false"));
    assert_null(schema_compile(
        "{\"type\": \"object\", \"properties\": {\"a\": {}, \"b\": {}}, \"required\": "
        "[\"a\"], \"additionalProperties\": false}",
        &o, &e));
    assert_non_null(strstr(e.message, "#/required: must name \"b\" too"));
    schema_check(&o,
                 "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}}, "
                 "\"required\": [\"a\"], \"additionalProperties\": false}",
                 (const char *const[]){"{\"a\": 1}", NULL, "{}", "{\"a\": 1, \"b\": 1}", NULL});

    static const struct {
        const char *format, *text, *error;
        bool free_text;
    } rows[] = {
        {"{\"type\": \"text\"}", NULL, NULL, true},
        {"{\"type\": \"json_object\"}", "{\"a\": []}", NULL, false},
        {"{\"type\": \"json_schema\", \"json_schema\": {\"name\": \"x\", \"schema\": {\"type\": "
         "\"boolean\"}}}",
         "true", NULL, false},
        {"{\"type\": \"json_schema\", \"json_schema\": {\"strict\": true, \"schema\": {\"type\": "
         "\"object\"}}}",
         NULL, "#/additionalProperties", false},
        {"{\"type\": \"json_schema\"}", NULL, "\"type\" is text", false},
        {"{}", NULL, "\"type\" is text", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *format = json_loads(rows[i].format, 0, NULL);
        bool free_text;
        e = (struct error){0};
        struct grammar *g = grammar_response_format(format, NULL, &free_text, &e);
        assert_int_equal(free_text, rows[i].free_text);
        assert_int_equal(g != NULL, rows[i].text != NULL);
        assert_true(!g || schema_accepts(g, rows[i].text));
        assert_true(!rows[i].error ||
                    strncmp(e.message, rows[i].error, strlen(rows[i].error)) == 0);
        assert_int_equal(e.code != ERROR_NONE, rows[i].error != NULL);
        grammar_free(g);
        json_decref(format);
    }
}

static void test_arrays(void **state)
{
    (void)state;
    /* As many ways of counting as there may be, each open in both directions, and the end. */
    struct buf six;
    buf_init(&six, 1 << 12);
    buf_append_str(&six, "{\"type\": \"array\", \"allOf\": [");
    for (int i = 0; i < 6; i++) {
        buf_printf(&six,
                   "%s{\"contains\": {\"minimum\": %d}, \"minContains\": 0, \"maxContains\": 2}",
                   i ? ", " : "", i);
    }
    buf_append(&six, "]}", 3);
    CHECK(six.data, "[]", "[9, 9]", "[-1, 1, 2, -3]", NULL, "[9, 8, 7]", "[1, \"x\", \"x\"]");
    buf_free(&six);
    CHECK("{\"items\": {\"enum\": [\"a\", 1, null]}, \"uniqueItems\": true, \"minItems\": 2}",
          "[\"a\", 1]", "[null, \"\\u0061\", 1.0]", NULL, "[\"a\", \"\\u0061\"]", "[1, 1.0]", "[1]",
          "[1, \"a\", null, 1]");
    CHECK("{\"prefixItems\": [{\"enum\": [1, 2]}, {\"enum\": [2, 3]}], \"items\": false, "
          "\"uniqueItems\": true}",
          "[]", "[2]", "[1, 2]", "[2, 3]", NULL, "[2, 2]", "[2, 2.0]", "[1, 2, 3]");
    /* Counted in two ways at once. */
    CHECK("{\"type\": \"array\", \"contains\": {\"type\": \"integer\"}, \"minContains\": 2, "
          "\"allOf\": "
          "[{\"contains\": {\"minimum\": 5}, \"maxContains\": 1}]}",
          "[1, 7]", "[1, 2, 5.5]", "[ 9 , 1]", NULL, "[1, 2]", "[7, 8]", "[5.5, 1]", "[]");
    CHECK(
        "{\"type\": \"array\", \"contains\": {\"const\": 1}, \"minContains\": 3, \"maxItems\": 4}",
        "[1, 1, 1]", "[1, 2, 1, 1]", NULL, "[1, 1]", "[1, 2, 2, 1, 1]", "[1, 1, 2, 2]");
}

/* Which alternatives hold and which do not, where unevaluated* wants to know. */
static void test_unevaluated_any_of(void **state)
{
    (void)state;
    CHECK("{\"type\": \"object\", \"unevaluatedProperties\": false, \"properties\": {\"id\": {}, "
          "\"email\": {}, \"phone\": {}}, \"required\": [\"id\"], \"anyOf\": [{\"required\": "
          "[\"email\"]}, {\"required\": [\"phone\"]}]}",
          "{\"id\":1,\"phone\":1}", "{\"email\":1,\"id\":1}", "{\"id\":1,\"email\":1,\"phone\":1}",
          NULL, "{\"id\":1}", "{\"phone\":1}");
    CHECK("{\"unevaluatedItems\": true, \"anyOf\": [{\"items\": {\"const\": 1}}, {\"items\": "
          "{\"const\": 2}}]}",
          "[]", "[1]", "[2]", "[2,2]", "3", NULL, "[3]", "[1,2]");
    CHECK("{\"unevaluatedItems\": true, \"anyOf\": [{\"minItems\": 2}, {\"maxItems\": 0}]}", "[]",
          "[1,2]", NULL, "[1]");
    CHECK("{\"unevaluatedItems\": true, \"anyOf\": [{\"contains\": {\"const\": 1}}, {\"contains\": "
          "{\"const\": 2}}, {\"contains\": {\"const\": 3}}]}",
          "[1]", "[2]", "[4,3]", "[1,2]", NULL, "[]", "[4]");
    CHECK("{\"unevaluatedItems\": false, \"anyOf\": [{\"prefixItems\": [{\"const\": 1}]}, "
          "{\"prefixItems\": [{\"const\": 2}, {\"const\": 3}]}]}",
          "[]", "[1]", "[2]", "[2,3]", NULL, "[3]", "[1,3]", "[2,2]");
    CHECK("{\"unevaluatedProperties\": true, \"anyOf\": [{\"minProperties\": 2}, {\"required\": "
          "[\"a\"]}]}",
          "{\"a\":1}", "{\"b\":1,\"c\":1}", NULL, "{}", "{\"b\":1}");
    CHECK("{\"unevaluatedProperties\": true, \"anyOf\": [{\"propertyNames\": {\"const\": \"a\"}}, "
          "{\"required\": [\"z\"]}]}",
          "{}", "{\"a\":1}", "{\"z\":1,\"b\":2}", NULL, "{\"b\":1}");
    CHECK("{\"unevaluatedProperties\": false, \"anyOf\": [{\"additionalProperties\": {\"type\": "
          "\"string\"}}, {\"properties\": {\"a\": {}}, \"required\": [\"a\"]}]}",
          "{}", "{\"a\":1}", "{\"q\":\"s\"}", "{\"q\":\"s\",\"a\":\"s\"}", NULL, "{\"q\":1}",
          "{\"q\":\"s\",\"a\":1}");
}

/* What a schema that fails has looked at does not count, nor what stands under `not`. */
static void test_unevaluated_failed(void **state)
{
    (void)state;
    CHECK("{\"unevaluatedProperties\": {\"const\": true}, \"if\": {\"properties\": {\"a\": true}, "
          "\"unevaluatedProperties\": false}}",
          "{\"a\":1}", "{\"a\":true,\"b\":true}", NULL, "{\"a\":1,\"b\":true}", "{\"b\":1}");
    CHECK("{\"unevaluatedItems\": {\"const\": true}, \"if\": {\"prefixItems\": [true], "
          "\"unevaluatedItems\": false}}",
          "[1]", "[true,true]", NULL, "[1,true]", "[true,1]");
    CHECK("{\"unevaluatedProperties\": {\"const\": 1}, \"not\": {\"not\": "
          "{\"unevaluatedProperties\": true}}}",
          "{}", "{\"a\":1}", NULL, "{\"a\":2}");
    CHECK("{\"unevaluatedItems\": {\"const\": 1}, \"not\": {\"not\": {\"unevaluatedItems\": "
          "true}}}",
          "[]", "[1]", NULL, "[2]", "[1,2]");
    CHECK("{\"unevaluatedItems\": false, \"oneOf\": [{\"prefixItems\": [{\"const\": 1}], "
          "\"unevaluatedItems\": false}, {\"minItems\": 2}]}",
          "[]", "[1]", NULL, "[2]", "[1,1]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_key_counts),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_space),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_alternatives),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_hundred),
        cmocka_unit_test(test_unevaluated_any_of),
        cmocka_unit_test(test_unevaluated_failed),
    };
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
