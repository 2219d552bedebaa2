/* batch_result.c: what came of a line, as JSON.
 *
 *   ours: {"id", "line", "model", "prompt" or "messages", "content", "reasoning", "tool_calls",
 *   "finish_reason", "usage", "seed", "why", "logprobs"}, or "error"; where a line has several
 *   answers, what each has of its own is in "choices"
 *
 *   OpenAI's, where the line was one of its batch files: {"id", "custom_id", "response":
 *   {"status_code", "request_id", "body"}, "error"}; the body is a chat.completion, or the
 *   text_completion of /v1/completions, with the "seed" of its first answer besides. As there, a
 *   request that failed has its error in the body, and "error" is of lines that are no request
 */
#include <string.h>

#include "cli/answer.h"
#include "cli/batch.h"
#include "cli/logprobs.h"
#include "cli/term.h"

void batch_name_place(const struct batch *b, size_t index, char out[BATCH_PLACE_BYTES])
{
    size_t line = b->lines.items[index].number;
    snprintf(out, BATCH_PLACE_BYTES, "%s %zu", line ? "line" : "prompt", line ? line : index + 1);
}

static json_t *text_json(const char *text)
{
    return term_json_text(text, strlen(text));
}

/* What is printed goes in front of the bar, which comes back with its next update. */
static void put_result(struct batch *b, size_t index, json_t *result)
{
    struct error e = {0};
    if (!b->o->output && !b->o->common.json) {
        term_clear_bar(&b->bar, stdout);
    }
    if (!batch_output_put(b->output, index, result, &e) && b->failure.code == ERROR_NONE) {
        b->failure = e;
    }
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

/* In the notes of an answer: this, and both lists behind it. */
struct note {
    int32_t token;
    float logprob, sampled_logprob;
    uint32_t n_top, n_sampled_top;
};

bool batch_note_logprobs(struct batch_answer *a, const struct queue_event *event)
{
    const struct note note = {event->token, event->logprob, event->sampled_logprob,
                              (uint32_t)event->n_top, (uint32_t)event->n_sampled_top};
    size_t n_top = note.n_top * sizeof *event->top;
    size_t n_sampled = note.n_sampled_top * sizeof *event->sampled_top;
    return buf_reserve(&a->logprobs, sizeof note + n_top + n_sampled) &&
           buf_append(&a->logprobs, &note, sizeof note) &&
           buf_append(&a->logprobs, event->top, n_top) &&
           buf_append(&a->logprobs, event->sampled_top, n_sampled);
}

/* NULL where they are not wanted. */
static json_t *logprobs_of(const struct batch_answer *a)
{
    const struct batch_request *r = &a->job->request;
    const struct tokenizer *t = engine_tokenizer(a->job->model->loaded->engine);
    json_t *all = r->logprobs ? json_array() : NULL;
    const char *p = a->logprobs.data, *end = all && p ? p + a->logprobs.len : p;
    while (p < end) {
        struct note note;
        memcpy(&note, p, sizeof note);
        size_t n = (size_t)note.n_top + note.n_sampled_top;
        struct token_logprob *lists = mem_array(n + 1, sizeof *lists);
        memcpy(lists, p + sizeof note, n * sizeof *lists);
        struct token_report report = {.token = note.token,
                                      .logprob = note.logprob,
                                      .sampled_logprob = note.sampled_logprob,
                                      .top = lists,
                                      .sampled_top = lists + note.n_top,
                                      .n_top = note.n_top,
                                      .n_sampled_top = note.n_sampled_top};
        json_array_append_new(all, r->openai ? logprobs_openai_json(t, &report)
                                             : logprobs_json(t, &report, r->n_top > 0));
        free(lists);
        p += sizeof note + n * sizeof *lists;
    }
    return all;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* {"role", "content", "reasoning_content", "tool_calls"} */
static json_t *message_of(const struct batch_answer *a)
{
    json_t *message =
        a->message ? chat_message_json(a->message)
                   : json_pack("{s:s, s:o}", "role", "assistant", "content",
                               term_json_text(a->text.data ? a->text.data : "", a->text.len));
    if (json_array_size(json_object_get(message, "tool_calls")) == 0) {
        json_object_del(message, "tool_calls");
        if (!json_is_string(json_object_get(message, "content"))) {
            json_object_set_new(message, "content", json_string(""));
        }
    }
    if (a->job->request.thinking == THINKING_OFF) {
        json_object_del(message, "reasoning_content");
    }
    return message;
}

static json_t *finish_of(const struct batch_answer *a, const json_t *message)
{
    bool called = a->stats.reason == FINISH_STOP && json_object_get(message, "tool_calls");
    return json_string(called ? "tool_calls" : finish_reason_name(a->stats.reason));
}

static uint64_t seed_of(const struct batch_answer *a)
{
    return a->job->request.sampling.seed + (uint64_t)(a - a->job->answers);
}

/* Of an answer that has not the form which was asked for. */
static void note_form(json_t *to, const struct batch_answer *a)
{
    char why[ANSWER_WHY_BYTES];
    if (answer_why_cut(&a->stats, a->job->request.max_tokens, why)) {
        json_object_set_new(to, "form_complete", json_false());
        json_object_set_new(to, "why", text_json(why));
    }
}

/* Usage is that of the line, in front of what few answers have. */
static void set_ours(json_t *to, const struct batch_answer *a, json_t *usage)
{
    json_t *message = message_of(a);
    json_t *content = json_object_get(message, "content");
    json_t *reasoning = json_object_get(message, "reasoning_content");
    json_t *calls = json_object_get(message, "tool_calls");
    json_object_set_new(to, "content",
                        json_is_string(content) ? json_incref(content) : json_string(""));
    if (reasoning) {
        json_object_set(to, "reasoning", reasoning);
    }
    if (calls) {
        json_object_set(to, "tool_calls", calls);
    }
    json_object_set_new(to, "finish_reason", finish_of(a, message));
    if (usage) {
        json_object_set(to, "usage", usage);
    }
    json_object_set_new(to, "seed", json_integer((json_int_t)seed_of(a)));
    note_form(to, a);
    json_t *logprobs = logprobs_of(a);
    if (logprobs) {
        json_object_set_new(to, "logprobs", logprobs);
    }
    json_decref(message);
}

static json_t *usage_of(const struct batch_job *j, bool total)
{
    json_int_t n_prompt = j->answers[0].stats.n_prompt, n_generated = 0;
    for (uint32_t i = 0; i < j->request.n_answers; i++) {
        n_generated += j->answers[i].stats.n_generated;
    }
    json_t *usage =
        json_pack("{s:I, s:I}", "prompt_tokens", n_prompt, "completion_tokens", n_generated);
    if (total) {
        json_object_set_new(usage, "total_tokens", json_integer(n_prompt + n_generated));
    }
    return usage;
}

/* {"id", "line", "model", "prompt" or "messages"}, as far as they are known. */
static json_t *our_head(const struct batch *b, size_t index, const struct batch_request *r)
{
    json_t *result = json_object();
    if (r->id) {
        json_object_set(result, "id", r->id);
    }
    if (b->lines.items[index].number) {
        json_object_set_new(result, "line", json_integer((json_int_t)b->lines.items[index].number));
    }
    if (r->model) {
        json_object_set_new(result, "model", text_json(r->model));
    }
    if (r->prompt) {
        json_object_set_new(result, "prompt", text_json(r->prompt));
    } else if (r->messages) {
        json_object_set(result, "messages", r->messages);
    }
    return result;
}

static json_t *our_result(const struct batch_job *j)
{
    json_t *result = our_head(j->batch, j->index, &j->request);
    json_t *usage = usage_of(j, false);
    if (j->request.n_answers == 1) {
        set_ours(result, &j->answers[0], usage);
    } else {
        json_t *choices = json_array();
        for (uint32_t i = 0; i < j->request.n_answers; i++) {
            json_t *choice = json_object();
            set_ours(choice, &j->answers[i], NULL);
            json_array_append_new(choices, choice);
        }
        json_object_set_new(result, "choices", choices);
        json_object_set(result, "usage", usage);
    }
    json_decref(usage);
    return result;
}

/* The same text for the same line of the same file. */
static json_t *id_of(const struct batch *b, size_t index, const char *kind)
{
    return json_sprintf("%s%016llx-%zu", kind, (unsigned long long)b->digests[index], index);
}

static json_t *openai_line(const struct batch *b, size_t index, const struct batch_request *r,
                           int status, json_t *body)
{
    return json_pack("{s:o, s:O?, s:{s:i, s:o, s:o}}", "id", id_of(b, index, "batch_req_"),
                     "custom_id", r->id, "response", "status_code", status, "request_id",
                     id_of(b, index, "req_"), "body", body);
}

/* Tokens, numbers and where each begins, in characters, side by side. */
static json_t *completion_logprobs(const struct batch_answer *a)
{
    json_t *all = logprobs_of(a);
    if (!all) {
        return json_null();
    }
    json_t *tokens = json_array(), *numbers = json_array(), *all_tops = json_array(),
           *offsets = json_array(), *one, *other;
    size_t i, k, offset = 0;
    json_array_foreach(all, i, one)
    {
        json_t *token = json_object_get(one, "token"), *tops = json_object();
        json_array_append(tokens, token);
        json_array_append(numbers, json_object_get(one, "logprob"));
        json_array_append_new(offsets, json_integer((json_int_t)offset));
        for (const char *c = json_string_value(token); *c; c++) {
            offset += ((unsigned char)*c & 0xC0) != 0x80; /* the first byte of a character */
        }
        json_array_foreach(json_object_get(one, "top_logprobs"), k, other)
        {
            json_object_set(tops, json_string_value(json_object_get(other, "token")),
                            json_object_get(other, "logprob"));
        }
        json_array_append_new(all_tops, tops);
    }
    json_decref(all);
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", numbers,
                     "top_logprobs", all_tops, "text_offset", offsets);
}

static json_t *completion_choice(const struct batch_answer *a, uint32_t i)
{
    json_t *choice =
        json_pack("{s:i, s:o, s:o, s:s}", "index", (int)i, "text",
                  term_json_text(a->text.data ? a->text.data : "", a->text.len), "logprobs",
                  completion_logprobs(a), "finish_reason", finish_reason_name(a->stats.reason));
    note_form(choice, a);
    return choice;
}

static json_t *openai_choice(const struct batch_answer *a, uint32_t i)
{
    if (a->job->request.continues) {
        return completion_choice(a, i);
    }
    json_t *message = message_of(a), *content = logprobs_of(a);
    json_object_set_new(message, "refusal", json_null());
    json_t *logprobs =
        content ? json_pack("{s:o, s:n}", "content", content, "refusal") : json_null();
    json_t *finish = finish_of(a, message);
    json_t *choice = json_pack("{s:i, s:o, s:o, s:o}", "index", (int)i, "message", message,
                               "logprobs", logprobs, "finish_reason", finish);
    note_form(choice, a);
    return choice;
}

static json_t *openai_result(const struct batch_job *j)
{
    const struct batch *b = j->batch;
    const struct batch_request *r = &j->request;
    const char *model = r->model ? r->model : j->model->source.name;
    json_t *choices = json_array();
    for (uint32_t i = 0; i < r->n_answers; i++) {
        json_array_append_new(choices, openai_choice(&j->answers[i], i));
    }
    json_t *body = json_pack("{s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:I}", "id",
                             id_of(b, j->index, r->continues ? "cmpl-" : "chatcmpl-"), "object",
                             r->continues ? "text_completion" : "chat.completion", "created",
                             (json_int_t)b->began_unix_s, "model", text_json(model), "choices",
                             choices, "usage", usage_of(j, true), "system_fingerprint",
                             json_sprintf("fp_%.16s", j->model->digest), "seed",
                             (json_int_t)seed_of(&j->answers[0]));
    json_t *line = openai_line(b, j->index, r, 200, body);
    json_object_set_new(line, "error", json_null());
    return line;
}

/* Answers that end because the context does are counted, to be told at the end. */
static void count_full(const struct batch_job *j)
{
    struct batch *b = j->batch;
    uint32_t most = j->request.max_tokens;
    uint32_t context = engine_context_size(j->model->loaded->engine);
    for (uint32_t i = 0; i < j->request.n_answers; i++) {
        const struct generation_stats *s = &j->answers[i].stats;
        bool full = s->reason == FINISH_LENGTH && (!most || s->n_generated < most);
        b->n_full += full;
        b->full_context = full && context > b->full_context ? context : b->full_context;
    }
}

void batch_put_answers(const struct batch_job *j)
{
    struct batch *b = j->batch;
    count_full(j);
    put_result(b, j->index, j->request.openai ? openai_result(j) : our_result(j));
}

/* The request's own fault (400), or not. */
static int status_of(const struct error *why)
{
    return why->code == ERROR_INPUT || why->code == ERROR_USAGE || why->code == ERROR_LIMIT ||
                   why->code == ERROR_UNSUPPORTED
               ? 400
               : 500;
}

/* As of an answer over HTTP. */
static json_t *openai_error(const struct batch *b, size_t index, const struct batch_request *r,
                            const struct error *why)
{
    int status = status_of(why);
    const char *kind = status == 400 ? "invalid_request_error" : "server_error";
    json_t *text = text_json(why->message);
    json_t *body = json_pack("{s:{s:O, s:s, s:n, s:n}}", "error", "message", text, "type", kind,
                             "param", "code");
    json_t *line = openai_line(b, index, r, status, body);
    json_object_set_new(line, "error", json_null());
    json_decref(text);
    return line;
}

/* Of a line that cannot be read, so that all results of its file have one shape. */
static json_t *openai_no_request(const struct batch *b, size_t index, const struct error *why)
{
    return json_pack("{s:o, s:n, s:n, s:{s:s, s:o, s:I}}", "id", id_of(b, index, "batch_req_"),
                     "custom_id", "response", "error", "code", "invalid_request_error", "message",
                     text_json(why->message), "line", (json_int_t)b->lines.items[index].number);
}

void batch_put_error(struct batch *b, size_t index, const struct batch_request *r,
                     const struct error *why)
{
    char place[BATCH_PLACE_BYTES];
    json_t *result;
    if (r->openai) {
        result = openai_error(b, index, r, why);
    } else if (b->openai) {
        result = openai_no_request(b, index, why);
    } else {
        result = our_head(b, index, r);
        json_object_set_new(result, "error", text_json(why->message));
    }
    batch_name_place(b, index, place);
    progress_hide(&b->bar);
    term_message("%s: %s", place, why->message);
    put_result(b, index, result);
}
