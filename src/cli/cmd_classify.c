/* cmd_classify.c: what a text is, or what its words are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/encode_texts.h"
#include "cli/entities.h"
#include "cli/term.h"

struct classify_options {
    struct encode_options encode;
    bool independent, every_token;
    uint32_t top;
};

#define FIELD(field) offsetof(struct classify_options, field)

static const struct option table[] = {
    ENCODE_TEXTS_OPTIONS,
    {"top", 0, OPTION_U32, "N", "labels of a text to tell (0, the default: all)", FIELD(top), 0,
     UINT32_MAX, 0},
    {"independent", 0, OPTION_FLAG, NULL,
     "labels do not exclude each other: each has a probability of its own", FIELD(independent), 0,
     0, 0},
    {"every-token", 0, OPTION_FLAG, NULL,
     "entities: the label of each token instead of whole spans", FIELD(every_token), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

struct label_score {
    uint32_t label;
    float logit;
    double probability;
};

struct classification {
    const struct classify_options *o;
    const struct model_config *config;
    struct label_names names;
};

static bool accept(void *context, struct encode_job *job, struct error *e)
{
    struct classification *c = context;
    const struct model_config *config = engine_config(job->engine);
    if (config->n_labels == 0) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s has no classification head; `lllm embed` gives its vectors",
                         job->source.name);
    }
    if (config->label_tokens && c->o->independent) {
        return error_set(e, ERROR_USAGE,
                         "%s labels tokens, of which each has one label: leave --independent away",
                         job->source.name);
    }
    if (!config->label_tokens && c->o->every_token) {
        return error_set(e, ERROR_USAGE, "%s labels whole texts: leave --every-token away",
                         job->source.name);
    }
    c->config = config;
    label_names_init(&c->names, engine_model(job->engine));
    job->how.kind = REQUEST_SCORES;
    job->wants_spans = config->label_tokens;
    return true;
}

/* As transformers' pipeline takes them, but that --independent goes before what the file says. */
static enum model_classifier_problem problem_of(const struct classification *c)
{
    enum model_classifier_problem problem = c->config->classifier_problem;
    if (c->o->independent || (problem == MODEL_PROBLEM_AUTO && c->names.n == 1)) {
        problem = MODEL_PROBLEM_LABELS;
    }
    return problem == MODEL_PROBLEM_AUTO ? MODEL_PROBLEM_ONE_LABEL : problem;
}

/* Probabilities (or numbers) of one row, the highest first, equal ones by label. */
static void rank(const float *scores, size_t n, enum model_classifier_problem problem,
                 struct label_score *out)
{
    double *p = mem_array(n, sizeof *p);
    if (problem == MODEL_PROBLEM_ONE_LABEL) {
        label_softmax(scores, n, p);
    }
    for (size_t i = 0; problem != MODEL_PROBLEM_ONE_LABEL && i < n; i++) {
        double x = (double)scores[i];
        p[i] = problem == MODEL_PROBLEM_LABELS ? 1 / (1 + exp(-x)) : x;
    }
    for (size_t i = 0; i < n; i++) {
        struct label_score s = {(uint32_t)i, scores[i], p[i]};
        size_t at = i;
        for (; at > 0 && s.probability > out[at - 1].probability; at--) {
            out[at] = out[at - 1];
        }
        out[at] = s;
    }
    free(p);
}

static void print_label(const struct label_names *names, uint32_t label)
{
    struct buf text;
    buf_init(&text, SIZE_MAX / 2);
    term_append_escaped(&text, names->items[label], strlen(names->items[label]));
    printf("%-*s", (int)names->longest, text.data ? text.data : "");
    buf_free(&text);
}

static void print_score(const struct classification *c, double score)
{
    bool number = problem_of(c) == MODEL_PROBLEM_NUMBERS;
    printf(number ? "  %9.4f" : "  %6.2f%%", number ? score : 100 * score);
}

static void print_labels(const struct classification *c, const struct encode_job *job,
                         const struct encoded *t, const struct label_score *ranked, size_t n)
{
    if (job->texts.n == 1 && !job->texts.lines) {
        for (size_t i = 0; i < n; i++) {
            print_label(&c->names, ranked[i].label);
            print_score(c, ranked[i].probability);
            putchar('\n');
        }
        return;
    }
    print_label(&c->names, ranked[0].label);
    print_score(c, ranked[0].probability);
    fputs("  ", stdout);
    term_print_escaped(stdout, t->text->text, t->text->n, 0);
    putchar('\n');
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void label_json(json_t *into, const struct label_names *names, uint32_t label, double score)
{
    const char *name = names->items[label];
    json_object_set_new(into, "label", term_json_text(name, strlen(name)));
    json_object_set_new(into, "score", number(score));
}

static void print_labels_json(const struct classification *c, const struct encode_job *job,
                              const struct encoded *t, const struct label_score *ranked, size_t n)
{
    json_t *result = encode_json(job, t), *list = json_array();
    label_json(result, &c->names, ranked[0].label, ranked[0].probability);
    for (size_t i = 0; i < n; i++) {
        json_t *row = json_object();
        label_json(row, &c->names, ranked[i].label, ranked[i].probability);
        json_object_set_new(row, "logit", number((double)ranked[i].logit));
        json_array_append_new(list, row);
    }
    json_object_set_new(result, "labels", list);
    term_print_json(result, false);
}

static void tell_sequence(const struct classification *c, const struct encode_job *job,
                          const struct encoded *t)
{
    size_t n = c->names.n, n_told = c->o->top && c->o->top < n ? c->o->top : n;
    struct label_score *ranked = mem_array(n, sizeof *ranked);
    rank(t->numbers, n, problem_of(c), ranked);
    if (c->o->encode.common.json) {
        print_labels_json(c, job, t, ranked, n_told);
    } else {
        print_labels(c, job, t, ranked, n_told);
    }
    free(ranked);
}

static void print_entities(const struct classification *c, const struct encode_job *job,
                           const struct encoded *t, const struct entity_list *found)
{
    const char *indent = "";
    if (job->texts.n > 1 || job->texts.lines) {
        term_print_escaped(stdout, t->text->text, t->text->n, 0);
        putchar('\n');
        indent = "  ";
    }
    for (size_t i = 0; i < found->n; i++) {
        const struct entity *s = &found->items[i];
        char place[48];
        snprintf(place, sizeof place, "%zu-%zu", s->start, s->end);
        printf("%s%-9s  ", indent, place);
        term_print_escaped(stdout, s->label, s->label_bytes, 0);
        printf("%*s  %6.2f%%  \"", (int)(c->names.longest - s->label_bytes), "", 100 * s->score);
        term_print_escaped(stdout, t->text->text + s->start_byte, s->end_byte - s->start_byte, 0);
        puts("\"");
    }
    if (found->n == 0) {
        printf("%s(none)\n", indent);
    }
}

static void print_entities_json(const struct classification *c, const struct encode_job *job,
                                const struct encoded *t, const struct entity_list *found)
{
    json_t *result = encode_json(job, t), *list = json_array();
    for (size_t i = 0; i < found->n; i++) {
        const struct entity *s = &found->items[i];
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:I, s:I, s:o}", "label",
                      term_json_text(s->label, s->label_bytes), "score", number(s->score), "start",
                      (json_int_t)s->start, "end", (json_int_t)s->end, "text",
                      term_json_text(t->text->text + s->start_byte, s->end_byte - s->start_byte)));
    }
    json_object_set_new(result, c->o->every_token ? "labels" : "entities", list);
    term_print_json(result, false);
}

static void tell_tokens(const struct classification *c, const struct encode_job *job,
                        const struct encoded *t)
{
    struct entity_list found = {0};
    entities_find(&found, &c->names, t->text->text, t->text->n, t->spans, t->n_tokens, t->numbers,
                  c->o->every_token);
    if (c->o->encode.common.json) {
        print_entities_json(c, job, t, &found);
    } else {
        print_entities(c, job, t, &found);
    }
    entity_list_free(&found);
}

static bool each(void *context, const struct encode_job *job, const struct encoded *t,
                 struct error *e)
{
    const struct classification *c = context;
    (void)e;
    if (c->config->label_tokens) {
        tell_tokens(c, job, t);
    } else {
        tell_sequence(c, job, t);
    }
    return true;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct classify_options *o = options;
    struct classification c = {.o = o};
    struct encode_calls calls = {.things = "texts", .accept = accept, .each = each, .context = &c};
    int status = encode_texts("classify", &o->encode, arguments, &calls);
    label_names_free(&c.names);
    return status;
}

const struct command cmd_classify = {
    .name = "classify",
    .summary = "what texts are (labels), or what is named in them (entities)",
    .arguments = "MODEL [TEXT... | -f FILE]",
    .description =
        "A model with a classification head says with which probability a text has each\n"
        "of its labels (such as POSITIVE and NEGATIVE), the likeliest first; of several\n"
        "texts, or lines, each gets a line with its likeliest label. Whether labels exclude\n"
        "each other, or are numbers, is as the model has it (\"problem_type\"). A model that "
        "labels\n"
        "tokens tells the entities: where they are (characters from 0, the end not\n"
        "included), what they are, how sure that is, and the words. Neighbouring tokens\n"
        "with one label are one entity, unless a label begins with B-. With --json there\n"
        "is an object a line. A text that is too long is said on standard error (with --json\n"
        "an object with \"error\"); the others go on, and the exit status is 1.",
    .examples = "  lllm classify sst2.gguf \"A film that stays with you.\"\n"
                "  lllm classify sst2.gguf -f reviews.txt --json > labels.jsonl\n"
                "  lllm classify ner.gguf \"Ada Lovelace lived in London.\"\n",
    .options = table,
    .options_bytes = sizeof(struct classify_options),
    .uses_engine = true,
    .run = run,
};
