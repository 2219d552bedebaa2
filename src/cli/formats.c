#include "cli/formats.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/term.h"

const struct quant_format *formats_find(const char *name)
{
    const struct quant_format *f = quant_format_by_name(name);
    return f && f->quantize ? f : NULL;
}

int formats_refuse(const char *verb, const char *option, const char *name)
{
    struct buf names;
    buf_init(&names, ERROR_MESSAGE_BYTES);
    const struct quant_format *f;
    for (size_t i = 0; (f = quant_format_at(i)); i++) {
        if (f->quantize) {
            buf_printf(&names, "%s%s", names.len ? ", " : "", f->name);
        }
    }
    int status = cli_usage(verb, "--%s %.40s is no number format that can be written: %s", option,
                           name, names.data ? names.data : "");
    buf_free(&names);
    return status;
}

void formats_print(FILE *out)
{
    fprintf(out, "\n%sTypes%s (bits per weight)\n", term_style(out, TERM_BOLD),
            term_style(out, TERM_PLAIN));
    const struct quant_format *f;
    for (size_t i = 0, n = 0; (f = quant_format_at(i)); i++) {
        if (f->quantize) {
            fprintf(out, "%s  %-7s %5.2f", n > 0 && n % 4 == 0 ? "\n" : "", f->name,
                    8.0 * f->block_bytes / f->block_elements);
            n++;
        }
    }
    fputc('\n', out);
}

const char *formats_counts(const uint64_t *counts, uint32_t n, char out[FORMATS_COUNTS_BYTES])
{
    size_t n_kinds = 0, done = 0, used = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_kinds += counts[i] > 0;
    }
    out[0] = 0;
    for (uint32_t i = 0; i < n && used < FORMATS_COUNTS_BYTES; i++) {
        if (counts[i] == 0) {
            continue;
        }
        char number[24] = "";
        if (n_kinds > 1) {
            snprintf(number, sizeof number, "%llu ", (unsigned long long)counts[i]);
        }
        int written = snprintf(out + used, FORMATS_COUNTS_BYTES - used, "%s%s%s",
                               done == 0             ? ""
                               : done + 1 == n_kinds ? " and "
                                                     : ", ",
                               number, quant_format_by_type(i)->name);
        used += written > 0 ? (size_t)written : 0;
        done++;
    }
    return out;
}
