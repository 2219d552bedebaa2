/* show_adapter.c: what an adapter says about itself, for `lllm show`. */
#include <stdlib.h>
#include <string.h>

#include "cli/adapters.h"
#include "cli/inventory.h"
#include "cli/term.h"

enum { MAX_KINDS = 32 };

/* The kinds of matrices that are changed: "attn_q" for blk.3.attn_q.weight, "q_proj" for
 * model.layers.3.self_attn.q_proj.weight. */
struct kinds {
    struct gguf_string names[MAX_KINDS];
    size_t n;
    bool more;
};

static void add_kind(struct kinds *k, struct gguf_string name)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->names[i].len == name.len && memcmp(k->names[i].data, name.data, name.len) == 0) {
            return;
        }
    }
    if (k->n == MAX_KINDS) {
        k->more = true;
    } else {
        k->names[k->n++] = name;
    }
}

static void find_kinds(const struct gguf *g, struct kinds *k)
{
    static const char tail[] = ".weight.lora_a";
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const char *name = gguf_tensor_at(g, i)->name;
        size_t n = strlen(name), m = sizeof tail - 1;
        if (n <= m || strcmp(name + n - m, tail) != 0) {
            continue;
        }
        const char *begin = name + n - m;
        while (begin > name && begin[-1] != '.') {
            begin--;
        }
        add_kind(k, (struct gguf_string){begin, (uint64_t)(name + n - m - begin)});
    }
}

static void label(const char *text)
{
    printf("%s%-14s%s", term_style(stdout, TERM_BOLD), text, term_style(stdout, TERM_PLAIN));
}

static void line(const char *what, const char *text)
{
    label(what);
    term_print_escaped(stdout, text, strlen(text), 200);
    putchar('\n');
}

bool adapters_show(const struct gguf *g, const char *name, struct error *e)
{
    struct model_adapter_facts f;
    struct kinds kinds = {.n = 0};
    char a[32], b[32];
    if (!model_adapter_describe(g, &f, e)) {
        return false;
    }
    find_kinds(g, &kinds);
    char *architecture = inventory_text(g, "general.architecture");
    char *base = inventory_text(g, "general.base_model.0.name");
    line("adapter", name);
    line("kind", "LoRA: lllm run MODEL --lora FILE");
    line("architecture", architecture ? architecture : "(that of its model)");
    if (base) {
        line("of the model", base);
    }
    label("rank");
    printf(f.least_rank == f.most_rank ? "%u" : "%u to %u", f.least_rank, f.most_rank);
    printf(", alpha %g\n", (double)f.alpha);
    label("changes");
    printf("%u matri%s:", f.n_matrices, f.n_matrices == 1 ? "x" : "ces");
    for (size_t i = 0; i < kinds.n; i++) {
        putchar(' ');
        term_print_escaped(stdout, kinds.names[i].data, kinds.names[i].len, 60);
    }
    puts(kinds.more ? " ..." : "");
    label("parameters");
    printf("%s (%s)\n", term_short_count(f.n_parameters, a), term_count(f.n_parameters, b));
    free(architecture);
    free(base);
    return true;
}

static json_t *text_or_null(char *text)
{
    json_t *value = text ? term_json_text(text, strlen(text)) : json_null();
    free(text);
    return value;
}

json_t *adapters_json(const struct gguf *g, const char *name, struct error *e)
{
    struct model_adapter_facts f;
    struct kinds kinds = {.n = 0};
    if (!model_adapter_describe(g, &f, e)) {
        return NULL;
    }
    find_kinds(g, &kinds);
    json_t *changes = json_array();
    for (size_t i = 0; i < kinds.n; i++) {
        json_array_append_new(changes, term_json_text(kinds.names[i].data, kinds.names[i].len));
    }
    return json_pack("{s:o, s:s, s:o, s:o, s:[I, I], s:f, s:I, s:o, s:I}", "adapter",
                     term_json_text(name, strlen(name)), "kind", "lora", "architecture",
                     text_or_null(inventory_text(g, "general.architecture")), "base_model",
                     text_or_null(inventory_text(g, "general.base_model.0.name")), "ranks",
                     (json_int_t)f.least_rank, (json_int_t)f.most_rank, "alpha", (double)f.alpha,
                     "matrices", (json_int_t)f.n_matrices, "changes", changes, "parameters",
                     (json_int_t)f.n_parameters);
}
