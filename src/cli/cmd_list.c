/* cmd_list.c: the models that are here. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/models.h"
#include "cli/term.h"

struct list_options {
    struct common_options common;
};

struct row {
    char *architecture, *error;
    struct inventory inventory;
    uint64_t size_bytes;
};

static void look(const struct model_source *s, struct row *row)
{
    struct error e = {0};
    struct gguf *g = models_open_gguf(s, &e);
    if (!g) {
        row->error = mem_strdup(e.message);
        return;
    }
    inventory_take(g, &row->inventory);
    row->architecture = inventory_text(g, "general.architecture");
    row->size_bytes = gguf_file_bytes(g);
    gguf_close(g);
}

static json_t *text_or_null(const char *text)
{
    return text ? term_json_text(text, strlen(text)) : json_null();
}

static json_t *row_json(const struct model_source *s, const struct row *row)
{
    json_t *o = json_pack("{s:o, s:b, s:o}", "name", term_json_text(s->name, strlen(s->name)),
                          "built_in", s->path == NULL, "path", text_or_null(s->path));
    if (row->error) {
        json_object_set_new(o, "error", text_or_null(row->error));
        return o;
    }
    json_object_set_new(o, "size_bytes", json_integer((json_int_t)row->size_bytes));
    json_object_set_new(o, "quantization", json_string(inventory_quantization(&row->inventory)));
    json_object_set_new(o, "architecture", text_or_null(row->architecture));
    json_object_set_new(o, "parameters", json_integer((json_int_t)row->inventory.n_elements));
    return o;
}

static void print_row(const struct model_source *s, const struct row *row, int width)
{
    char size[32], parameters[32];
    term_print_escaped(stdout, s->name, strlen(s->name), 0);
    printf("%*s", width - (int)strlen(s->name) + 2, "");
    if (row->error) {
        term_print_escaped(stdout, row->error, strlen(row->error), 0);
        putchar('\n');
        return;
    }
    const char *architecture = row->architecture ? row->architecture : "-";
    printf("%10s  %10s  %-8s  ", term_bytes(row->size_bytes, size),
           term_short_count(row->inventory.n_elements, parameters),
           inventory_quantization(&row->inventory));
    term_print_escaped(stdout, architecture, strlen(architecture), 32);
    puts(s->path ? "" : "  (built in)");
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct list_options *o = options;
    if (arguments->n) {
        return cli_usage("list", "list takes no argument, but \"%s\" was given",
                         arguments->items[0]);
    }
    size_t n;
    struct model_source *list = models_list(&n);
    char *folder = models_folder();
    json_t *rows = json_array();
    int width = 4;
    for (size_t i = 0; i < n; i++) {
        int len = (int)strlen(list[i].name);
        width = len > width ? len : width;
    }
    if (!o->common.json && n) {
        printf("%s%-*s  %10s  %10s  %-8s  %s%s\n", term_style(stdout, TERM_BOLD), width, "NAME",
               "SIZE", "PARAMETERS", "TYPE", "ARCHITECTURE", term_style(stdout, TERM_PLAIN));
    }
    for (size_t i = 0; i < n; i++) {
        struct row row = {0};
        look(&list[i], &row);
        if (o->common.json) {
            json_array_append_new(rows, row_json(&list[i], &row));
        } else {
            print_row(&list[i], &row, width);
        }
        free(row.architecture);
        free(row.error);
    }
    if (o->common.json) {
        term_print_json(json_pack("{s:o, s:O}", "folder", text_or_null(folder), "models", rows),
                        true);
    } else if (!n && !o->common.quiet) {
        term_message("there are no models in %s; put .gguf files there or give their path",
                     folder ? folder : "the models folder (HOME is not set)");
    }
    json_decref(rows);
    free(folder);
    models_list_free(list, n);
    return CLI_DONE;
}

const struct command cmd_list = {
    .name = "list",
    .summary = "the models that are here",
    .arguments = "",
    .description =
        "The built-in model and the .gguf files of the models folder: $LLLM_HOME/models,\n"
        "or $XDG_CACHE_HOME/lllm-lab/models, or ~/.cache/lllm-lab/models.",
    .examples = "  lllm list\n"
                "  lllm list --json\n",
    .options_bytes = sizeof(struct list_options),
    .run = run,
};
