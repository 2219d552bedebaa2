/* cmd_show.c: what a model file says about itself. */
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "cli/adapters.h"
#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/memory_report.h"
#include "cli/models.h"
#include "cli/term.h"
#include "engine/engine.h"
#include "hf/hf.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

struct show_options {
    struct common_options common;
    bool tensors, template, metadata, memory;
    const char *draft;
    uint32_t n_sequences;
};

#define FIELD(field) offsetof(struct show_options, field)

static const struct option table[] = {
    {"tensors", 0, OPTION_FLAG, NULL, "list the tensors too", FIELD(tensors), 0, 0, 0},
    {"metadata", 0, OPTION_FLAG, NULL, "list every key of the file too", FIELD(metadata), 0, 0, 0},
    {"template", 0, OPTION_FLAG, NULL, "print the chat template and nothing else", FIELD(template),
     0, 0, 0},
    {"memory", 0, OPTION_FLAG, NULL,
     "print what memory the model takes, at several contexts and with every type of keys and "
     "values, and what this machine has, and nothing else",
     FIELD(memory), 0, 0, 0},
    {"context-size", 0, OPTION_U32, "N", "with --memory: for this context alone",
     FIELD(common.context_size), 0, MODEL_MAX_CONTEXT, 0},
    {"batch-size", 0, OPTION_U32, "N", "with --memory: prompt tokens computed at a time",
     FIELD(common.batch_size), 0, ENGINE_MAX_BATCH, 0},
    {"sequences", 0, OPTION_U32, "N",
     "with --memory: for so many answers at a time, each with a context of its own (default 1)",
     FIELD(n_sequences), 1, 1 << 20, 0},
    {"draft", 0, OPTION_STRING, "MODEL",
     "with --memory: with this draft model beside it, as lllm run --draft has it", FIELD(draft), 0,
     0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

/* All that is shown, gathered before anything is printed. */
struct facts {
    const struct model_source *source;
    const struct gguf *gguf;
    struct inventory inventory;
    bool has_config;
    struct model_config config;
    int n_threads;
    bool has_long_factors;
    struct error why_not_run; /* message: "" where nothing stands in the way */
    char *name, *description, *license, *architecture, *template, *vocabulary, *pre;
    uint64_t n_vocab;
};

static void gather(struct facts *f, const struct common_options *o)
{
    const struct gguf *g = f->gguf;
    f->n_threads = o->n_threads ? o->n_threads : cpu_count();
    inventory_take(g, &f->inventory);
    f->has_config = f->inventory.n_tensors && model_config_read(g, &f->config, &f->why_not_run);
    struct model *m = f->has_config ? model_load(g, &f->why_not_run) : NULL;
    f->has_long_factors = m && m->rope_long && f->config.n_context_original;
    model_free(m);
    f->name = inventory_text(g, "general.name");
    f->description = inventory_text(g, "general.description");
    f->license = inventory_text(g, "general.license");
    f->architecture = inventory_text(g, "general.architecture");
    f->template = inventory_text(g, "tokenizer.chat_template");
    f->vocabulary = inventory_text(g, "tokenizer.ggml.model");
    f->pre = inventory_text(g, "tokenizer.ggml.pre");
    const struct gguf_value *tokens = gguf_value_find(g, "tokenizer.ggml.tokens");
    f->n_vocab = tokens && tokens->type == GGUF_ARRAY ? tokens->count : 0;
}

static void release(struct facts *f)
{
    free(f->name);
    free(f->description);
    free(f->license);
    free(f->architecture);
    free(f->template);
    free(f->vocabulary);
    free(f->pre);
}

/* As `lllm run` keeps keys and values, with the engine's own batch. The configuration was read, so
 * a plan for it can be made. */
static struct memory_plan plan_at(const struct facts *f, uint32_t context)
{
    struct engine_options o = {
        .n_threads = f->n_threads, .context_size = context, .kv_type = MODEL_KV_F16};
    struct memory_plan p = {0};
    memory_plan_make(f->gguf, &o, &p, NULL);
    return p;
}

static void print_label(const char *label)
{
    printf("%s%-14s%s", term_style(stdout, TERM_BOLD), label, term_style(stdout, TERM_PLAIN));
}

static void print_text(const char *label, const char *text)
{
    if (text && *text) {
        print_label(label);
        term_print_escaped(stdout, text, strlen(text), 2000);
        putchar('\n');
    }
}

static const char *pooling_name(enum model_pooling pooling)
{
    static const char *const names[] = {"none", "mean", "cls", "last", "rank"};
    return (size_t)pooling < sizeof names / sizeof *names ? names[pooling] : "unknown";
}

static void print_config(const struct model_config *c, bool has_long_factors)
{
    char a[32];
    print_label("layers");
    printf("%u\n", c->n_layers);
    print_label("heads");
    printf("%u of %u", c->n_heads, c->head_dim);
    if (c->n_kv_heads != c->n_heads) {
        printf(", %u for keys and values", c->n_kv_heads);
    }
    putchar('\n');
    print_label("embedding");
    printf("%u, feed-forward %u%s\n", c->n_embd, c->n_experts ? c->n_ff_expert : c->n_ff,
           c->tied_head && !c->bidirectional ? ", output tied to it" : "");
    if (c->n_experts) {
        print_label("experts");
        printf("%u, of which a token uses %u%s\n", c->n_experts, c->n_experts_used,
               c->n_ff_shared ? " and a shared one" : "");
    }
    print_label("context");
    printf("%s tokens", term_count(c->n_context, a));
    if (c->n_context_original && c->n_context_original != c->n_context) {
        printf(", stretched from %s", term_count(c->n_context_original, a));
    }
    if (c->window) {
        printf(", a window of %s in %s", term_count(c->window, a),
               c->window_period == MODEL_WINDOW_ALL ? "all layers" : "most layers");
    }
    putchar('\n');
    if (has_long_factors) {
        print_label("rope");
        printf("factors for long texts where --context-size is above %s\n",
               term_count(c->n_context_original, a));
    }
    if (c->bidirectional) {
        print_label("encoder");
        printf("pooling %s", pooling_name(c->pooling));
        if (c->n_labels) {
            printf(", %u labels for each %s", c->n_labels, c->label_tokens ? "token" : "text");
        }
        putchar('\n');
    }
}

static void print_memory(const struct facts *f)
{
    char context[32], kv[32], scratch[32], all[32];
    struct memory_plan p = plan_at(f, 0);
    print_label("memory");
    printf("weights %s, ", term_bytes(p.weights_bytes, all));
    printf("program and vocabulary %s (--memory tells more)\n",
           term_bytes(p.program_bytes + p.vocabulary_bytes, all));
    for (uint32_t n = 0; memory_report_next(&f->config, &n);) {
        p = plan_at(f, n);
        printf("%-14scontext %9s: ", "", term_count(n, context));
        if (p.has_kv) {
            printf("+ KV cache %9s (%s) ", term_bytes(p.kv_bytes, kv), model_kv_name(p.kv_type));
        }
        printf("+ scratch %9s = %s\n", term_bytes(p.scratch_bytes + p.logits_bytes, scratch),
               term_bytes(p.total_bytes, all));
    }
}

static void print_tensors(const struct gguf *g)
{
    puts("");
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char size[32], dims[96];
        int at = 0;
        for (uint32_t d = 0; d < t->n_dims; d++) {
            at += snprintf(dims + at, sizeof dims - (size_t)at, "%s%llu", d ? " x " : "",
                           (unsigned long long)t->dims[d]);
        }
        printf("%-6s  %-20s  %10s  ", t->format->name, dims, term_bytes(t->size_bytes, size));
        term_print_escaped(stdout, t->name, strlen(t->name), 0);
        putchar('\n');
    }
}

static void print_value(const struct gguf_value *v)
{
    int64_t i;
    double x;
    struct gguf_string s;
    if (gguf_value_as_string(v, &s)) {
        term_print_escaped(stdout, s.data, s.len, 200);
    } else if (v->type == GGUF_BOOL && gguf_value_as_i64(v, &i)) {
        printf(i ? "true" : "false");
    } else if (v->type != GGUF_F32 && v->type != GGUF_F64 && gguf_value_as_i64(v, &i)) {
        printf("%lld", (long long)i);
    } else if (gguf_value_as_f64(v, &x)) {
        printf("%.9g", x);
    } else {
        printf("%llu x %s", (unsigned long long)v->count, gguf_value_type_name(v->element_type));
    }
}

static void print_metadata(const struct gguf *g)
{
    puts("");
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        term_print_escaped(stdout, v->key.data, v->key.len, 0);
        printf(" = ");
        print_value(v);
        putchar('\n');
    }
}

/* What answers take without options for it. */
static void print_sampling(const struct gguf *g)
{
    json_t *all = sampling_recommended_json(g), *v;
    const char *name, *between = "";
    if (json_object_size(all)) {
        print_label("sampling");
    }
    json_object_foreach(all, name, v)
    {
        printf("%s%s ", between, name);
        if (json_is_string(v)) {
            printf("%s", json_string_value(v));
        } else {
            printf("%.6g", json_number_value(v));
        }
        between = ", ";
    }
    if (json_object_size(all)) {
        printf(" (recommended by the file; lllm run -h lists the options)\n");
    }
    json_decref(all);
}

static void print_facts(const struct facts *f, const struct show_options *o)
{
    char a[32], b[32];
    const struct inventory *in = &f->inventory;
    print_text("model", f->source->name);
    if (f->name && strcmp(f->name, f->source->name) != 0) {
        print_text("name", f->name);
    }
    print_text("description", f->description);
    print_text("license", f->license);
    print_text("architecture", f->architecture ? f->architecture : "(not told)");
    uint32_t n_files = gguf_file_count(f->gguf);
    print_label("file");
    printf("%s", term_bytes(gguf_file_bytes(f->gguf), a));
    if (n_files == 0) {
        printf(" as GGUF, a Hugging Face folder\n");
    } else if (n_files > 1) {
        printf(" in %u files, GGUF version %u\n", n_files, gguf_version(f->gguf));
    } else {
        printf("%s, GGUF version %u\n", f->source->path ? "" : " (built in)",
               gguf_version(f->gguf));
    }
    print_label("parameters");
    printf("%s", term_short_count(in->n_elements, a));
    printf(in->n_elements ? " (%s)\n" : " (a vocabulary only)\n", term_count(in->n_elements, b));
    for (size_t i = 0; i < in->n_types; i++) {
        print_label(i ? "" : "types");
        bool one = in->types[i].n_tensors == 1;
        printf("%-6s %5llu tensor%s  %10s\n", in->types[i].format->name,
               (unsigned long long)in->types[i].n_tensors, one ? " " : "s",
               term_bytes(in->types[i].size_bytes, a));
    }
    if (f->has_config) {
        print_config(&f->config, f->has_long_factors);
    }
    print_label("tokenizer");
    if (f->n_vocab) {
        const char *kind = f->vocabulary ? f->vocabulary : "(kind not told)";
        term_print_escaped(stdout, kind, strlen(kind), 60);
        if (f->pre) {
            printf(", ");
            term_print_escaped(stdout, f->pre, strlen(f->pre), 60);
        }
        printf(", %s tokens\n", term_count(f->n_vocab, a));
    } else {
        printf("none\n");
    }
    print_label("chat template");
    if (f->template && *f->template) {
        size_t line = strcspn(f->template, "\n");
        bool more = f->template[line] != 0 || line > 60;
        term_print_escaped(stdout, f->template, line, 60);
        puts(more ? "  (--template prints all)" : "");
    } else {
        puts("none");
    }
    print_sampling(f->gguf);
    if (f->has_config) {
        print_memory(f);
    }
    if (o->metadata) {
        print_metadata(f->gguf);
    }
    if (o->tensors) {
        print_tensors(f->gguf);
    }
    if (f->why_not_run.code != ERROR_NONE) {
        cli_flush();
        term_message("this program cannot run it: %s", f->why_not_run.message);
    }
}

/* Copies of what is longer would cost a hostile file's size several times over. */
enum { LONGEST_TEXT = 1 << 20 };

static json_t *text_json(const char *text, size_t n)
{
    return n > LONGEST_TEXT ? json_pack("{s:I}", "text_bytes", (json_int_t)n)
                            : term_json_text(text, n);
}

static json_t *text_or_null(const char *text)
{
    return text ? text_json(text, strlen(text)) : json_null();
}

static json_t *tensors_json(const struct gguf *g)
{
    json_t *all = json_array();
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        json_t *dims = json_array();
        for (uint32_t d = 0; d < t->n_dims; d++) {
            json_array_append_new(dims, json_integer((json_int_t)t->dims[d]));
        }
        json_array_append_new(all, json_pack("{s:s, s:s, s:o, s:I, s:I}", "name", t->name, "type",
                                             t->format->name, "dims", dims, "offset",
                                             (json_int_t)t->offset, "size_bytes",
                                             (json_int_t)t->size_bytes));
    }
    return all;
}

static json_t *value_json(const struct gguf_value *v)
{
    int64_t i;
    double x;
    struct gguf_string s;
    if (gguf_value_as_string(v, &s)) {
        return text_json(s.data, s.len);
    }
    if (v->type == GGUF_BOOL && gguf_value_as_i64(v, &i)) {
        return json_boolean(i);
    }
    if (v->type != GGUF_F32 && v->type != GGUF_F64 && gguf_value_as_i64(v, &i)) {
        return json_integer(i);
    }
    if (gguf_value_as_f64(v, &x)) {
        json_t *number = json_real(x);
        return number ? number : json_null(); /* not finite */
    }
    return json_pack("{s:s, s:I}", "array_of", gguf_value_type_name(v->element_type), "count",
                     (json_int_t)v->count);
}

static json_t *metadata_json(const struct gguf *g)
{
    json_t *all = json_object();
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        json_object_setn_new(all, v->key.data, v->key.len, value_json(v));
    }
    return all;
}

static json_t *config_json(const struct facts *f)
{
    const struct model_config *c = &f->config;
    json_t *memory = json_array();
    for (uint32_t n = 0; memory_report_next(c, &n);) {
        struct memory_plan p = plan_at(f, n);
        uint64_t other_bytes = p.logits_bytes + p.vocabulary_bytes + p.program_bytes;
        json_array_append_new(
            memory, json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "context", (json_int_t)n,
                              "kv_type", model_kv_name(p.kv_type), "weights_bytes",
                              (json_int_t)p.weights_bytes, "kv_cache_bytes", (json_int_t)p.kv_bytes,
                              "scratch_bytes", (json_int_t)p.scratch_bytes, "other_bytes",
                              (json_int_t)other_bytes, "total_bytes", (json_int_t)p.total_bytes));
    }
    json_t *all =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "context",
                  (json_int_t)c->n_context, "layers", (json_int_t)c->n_layers, "heads",
                  (json_int_t)c->n_heads, "kv_heads", (json_int_t)c->n_kv_heads, "head_dim",
                  (json_int_t)c->head_dim, "embedding", (json_int_t)c->n_embd, "feed_forward",
                  (json_int_t)c->n_ff, "tied_output", c->tied_head, "memory", memory);
    if (c->n_experts) {
        json_object_set_new(all, "experts",
                            json_pack("{s:I, s:I, s:I}", "count", (json_int_t)c->n_experts, "used",
                                      (json_int_t)c->n_experts_used, "feed_forward",
                                      (json_int_t)c->n_ff_expert));
    }
    if (f->has_long_factors) {
        json_object_set_new(all, "long_rope_above", json_integer(c->n_context_original));
    }
    if (c->window) {
        json_object_set_new(all, "sliding_window", json_integer(c->window));
    }
    if (c->bidirectional) {
        json_object_set_new(all, "pooling", json_string(pooling_name(c->pooling)));
        json_object_set_new(all, "labels", json_integer(c->n_labels));
    }
    return all;
}

static void print_json(const struct facts *f, const struct show_options *o)
{
    json_t *types = json_array();
    for (size_t i = 0; i < f->inventory.n_types; i++) {
        const struct inventory_type *t = &f->inventory.types[i];
        json_array_append_new(types, json_pack("{s:s, s:I, s:I, s:I}", "type", t->format->name,
                                               "tensors", (json_int_t)t->n_tensors, "parameters",
                                               (json_int_t)t->n_elements, "size_bytes",
                                               (json_int_t)t->size_bytes));
    }
    json_t *all =
        json_pack("{s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:o}", "model",
                  text_or_null(f->source->name), "path", text_or_null(f->source->path), "built_in",
                  f->source->path == NULL, "name", text_or_null(f->name), "description",
                  text_or_null(f->description), "license", text_or_null(f->license), "architecture",
                  text_or_null(f->architecture), "gguf_version", (json_int_t)gguf_version(f->gguf),
                  "size_bytes", (json_int_t)gguf_file_bytes(f->gguf), "parameters",
                  (json_int_t)f->inventory.n_elements, "quantization",
                  inventory_quantization(&f->inventory), "types", types);
    /* 0 for a Hugging Face folder, which is shown as the GGUF file that it would be */
    json_object_set_new(all, "gguf_files", json_integer(gguf_file_count(f->gguf)));
    json_object_set_new(all, "config", f->has_config ? config_json(f) : json_null());
    const char *problem = f->why_not_run.code != ERROR_NONE ? f->why_not_run.message : NULL;
    json_object_set_new(all, "problem", text_or_null(problem));
    json_object_set_new(all, "tokenizer",
                        json_pack("{s:o, s:o, s:I}", "model", text_or_null(f->vocabulary), "pre",
                                  text_or_null(f->pre), "tokens", (json_int_t)f->n_vocab));
    json_object_set_new(all, "chat_template", text_or_null(f->template));
    json_object_set_new(all, "sampling", sampling_recommended_json(f->gguf));
    if (o->metadata) {
        json_object_set_new(all, "metadata", metadata_json(f->gguf));
    }
    if (o->tensors) {
        json_object_set_new(all, "tensors", tensors_json(f->gguf));
    }
    term_print_json(all, true);
}

static int print_template(const struct facts *f, bool json)
{
    if (!f->template) {
        term_message("%s has no chat template", f->source->name);
        return CLI_FAILED;
    }
    if (json) {
        term_print_json(json_pack("{s:o}", "template", text_or_null(f->template)), true);
        return CLI_DONE;
    }
    size_t n = strlen(f->template);
    term_write_text(stdout, f->template, n);
    if (n && f->template[n - 1] != '\n') {
        putchar('\n');
    }
    return CLI_DONE;
}

static int show_adapter(const struct gguf *g, const char *name, const struct show_options *o)
{
    struct error e = {0};
    if (o->template) {
        term_message("%s is an adapter and has no chat template", name);
        return CLI_FAILED;
    }
    json_t *all = o->common.json ? adapters_json(g, name, &e) : NULL;
    if (o->common.json ? !all : !adapters_show(g, name, &e)) {
        models_name_in_error(&e, name);
        return cli_fail(&e);
    }
    if (o->metadata && all) {
        json_object_set_new(all, "metadata", metadata_json(g));
    } else if (o->metadata) {
        print_metadata(g);
    }
    if (o->tensors && all) {
        json_object_set_new(all, "tensors", tensors_json(g));
    } else if (o->tensors) {
        print_tensors(g);
    }
    if (all) {
        term_print_json(all, true);
    }
    return CLI_DONE;
}

/* A folder of the peft library, which is no model. */
static int show_adapter_folder(const char *folder, const struct show_options *o)
{
    struct error e = {0};
    struct gguf *g = hf_open_adapter(folder, NULL, &e);
    int status = g ? show_adapter(g, folder, o) : cli_fail(&e);
    gguf_close(g);
    return status;
}

/* --memory */
static int print_plans(const struct facts *f, const struct show_options *o)
{
    struct engine_options how = models_engine_options(&o->common);
    struct error e = {0};
    struct model_source source = {0};
    struct gguf *draft = NULL;
    bool done = false;
    how.n_sequences = o->n_sequences;
    if (gguf_tensor_count(f->gguf) == 0) {
        error_set(&e, ERROR_UNSUPPORTED, "the file is a vocabulary without weights");
    } else if (o->draft &&
               (!models_find(o->draft, &source, &e) || !(draft = models_open_gguf(&source, &e)))) {
        error_prefix(&e, "--draft: ");
        return cli_fail(&e); /* of the other model nothing is wrong */
    } else {
        how.draft = draft;
        how.n_drafts = draft ? DRAFT_MOST : 0;
        json_t *all = o->common.json ? memory_report_table_json(f->gguf, &how, &e) : NULL;
        done = o->common.json ? all != NULL : memory_report_table(f->gguf, &how, &e);
        if (all) {
            term_print_json(all, true);
        }
    }
    gguf_close(draft);
    models_release(&source);
    if (!done) {
        models_name_in_error(&e, f->source->name);
    }
    return done ? CLI_DONE : cli_fail(&e);
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct show_options *o = options;
    if (arguments->n != 1) {
        return cli_usage("show", arguments->n ? "show takes one model" : "show needs a model");
    }
    const char *of_memory = o->draft                 ? "--draft"
                            : o->n_sequences         ? "--sequences"
                            : o->common.context_size ? "--context-size"
                            : o->common.batch_size   ? "--batch-size"
                                                     : NULL;
    if (of_memory && !o->memory) {
        return cli_usage("show", "%s is about --memory, which is not given", of_memory);
    }
    if (hf_is_adapter(arguments->items[0]) && !hf_is_folder(arguments->items[0])) {
        return show_adapter_folder(arguments->items[0], o);
    }
    struct error e = {0};
    struct model_source source;
    if (!models_find(arguments->items[0], &source, &e)) {
        return cli_fail(&e);
    }
    struct facts f = {.source = &source, .gguf = NULL};
    struct gguf *g = models_open_gguf(&source, &e);
    int status = CLI_DONE;
    if (!g) {
        status = cli_fail(&e);
    } else if (model_is_adapter(g)) {
        status = show_adapter(g, source.name, o);
    } else {
        f.gguf = g;
        gather(&f, &o->common);
        if (o->memory) {
            status = print_plans(&f, o);
        } else if (o->template) {
            status = print_template(&f, o->common.json);
        } else if (o->common.json) {
            print_json(&f, o);
        } else {
            print_facts(&f, o);
        }
    }
    release(&f);
    gguf_close(g);
    models_release(&source);
    return status;
}

const struct command cmd_show = {
    .name = "show",
    .summary = "what a model file says about itself",
    .arguments = "MODEL",
    .description =
        "Name, licence, architecture, sizes, number formats, tokenizer, chat template, and\n"
        "the memory it needs at several context lengths: weights, keys and values of the\n"
        "tokens (KV cache), and scratch, which depends on --threads; of both no more is\n"
        "taken than is used. --memory has a table of it, and the largest contexts for which\n"
        "this machine has enough left. Works on GGUF files with a vocabulary only, too (of a\n"
        "folder it needs config.json), and on adapters (LoRA): GGUF files, or folders of the\n"
        "peft library. What keeps this program from running a file is said at the end\n"
        "(\"problem\" of --json).",
    .examples = "  lllm show starter\n"
                "  lllm show tinyllama.gguf --tensors\n"
                "  lllm show tinyllama.gguf --json\n"
                "  lllm show mistral-7b.gguf --memory --sequences 8\n"
                "  lllm show llama-3.1-8b.gguf --memory --draft llama-3.2-1b.gguf\n"
                "  lllm show tinyllama.gguf --template > template.jinja\n",
    .options = table,
    .options_bytes = sizeof(struct show_options),
    .run = run,
};
