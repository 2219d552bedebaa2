#include "base/size_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

const char *size_text_write(uint64_t n, char out[SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)n;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    snprintf(out, SIZE_TEXT_BYTES, unit && value < 100 ? "%.1f %s" : "%.0f %s", value,
             n == 1 ? "byte" : units[unit]);
    return out;
}

/* What follows the number; 0 where it is no unit. */
static uint64_t unit_bytes(const char *text)
{
    static const char letters[] = "kmgt";
    char first = (char)tolower((unsigned char)*text);
    if (!first || (first == 'b' && !text[1])) {
        return 1;
    }
    const char *letter = strchr(letters, first);
    if (!letter) {
        return 0;
    }
    const char *rest = text + 1;
    char second = (char)tolower((unsigned char)*rest), third = second ? rest[1] : 0;
    bool binary = !second || (second == 'i' && tolower((unsigned char)third) == 'b' && !rest[2]);
    if (!binary && (second != 'b' || third)) {
        return 0;
    }
    uint64_t bytes = 1;
    for (int i = 0; i <= letter - letters; i++) {
        bytes *= binary ? 1024 : 1000;
    }
    return bytes;
}

bool size_text_read(const char *text, uint64_t *n)
{
    uint64_t whole = 0;
    double fraction = 0, place = 1;
    const char *p = text;
    if (!isdigit((unsigned char)*p)) {
        return false;
    }
    for (; isdigit((unsigned char)*p); p++) {
        if (!checked_mul_u64(whole, 10, &whole) ||
            !checked_add_u64(whole, (uint64_t)(*p - '0'), &whole)) {
            return false;
        }
    }
    if (*p == '.') {
        for (p++; isdigit((unsigned char)*p); p++) {
            place /= 10;
            fraction += place * (*p - '0');
        }
    }
    p += *p == ' ';
    uint64_t unit = unit_bytes(p), bytes;
    if (!unit || (unit == 1 && fraction > 0) || !checked_mul_u64(whole, unit, &bytes) ||
        !checked_add_u64(bytes, (uint64_t)(fraction * (double)unit), &bytes)) {
        return false;
    }
    *n = bytes;
    return true;
}
