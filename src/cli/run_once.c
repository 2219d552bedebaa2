/* run_once.c: one prompt and its answer. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/answer.h"
#include "cli/answer_beams.h"
#include "cli/chat_input.h"
#include "cli/input.h"
#include "cli/logprobs.h"
#include "cli/run.h"
#include "cli/talk_file.h"
#include "cli/term.h"

/* Log-probabilities as they come. */
struct noted {
    const struct tokenizer *tokenizer;
    json_t *logprobs; /* an array, or NULL */
    bool top;
};

struct generation_options run_generation(const struct run *r)
{
    return (struct generation_options){
        .sampling = r->sampling,
        .max_tokens = r->o->max_tokens,
        .stop = r->o->stop.items,
        .n_stop = r->o->stop.n,
        .ignore_end = r->o->ignore_eos,
        .grammar = r->grammar,
        .draft = r->draft,
    };
}

enum prompter_thinking run_thinking(const struct run_options *o)
{
    return o->thinking ? THINKING_ON : o->no_thinking ? THINKING_OFF : THINKING_AS_USUAL;
}

bool run_shows_reasoning(const struct run_options *o)
{
    return isatty(STDOUT_FILENO) && !o->common.quiet && !o->no_thinking;
}

/* before: the tokens of a text that goes on. */
static bool raw_prompt(const struct run *r, const struct engine *en,
                       const struct token_list *before, struct prompt *prompt, struct error *e)
{
    for (size_t i = 0; i < before->n; i++) {
        token_list_add(&prompt->tokens, before->ids[i]);
    }
    size_t n = strlen(r->prompt);
    bool ok = before->n ? n == 0 || tokenizer_encode(engine_tokenizer(en), r->prompt, n, NULL,
                                                     &prompt->tokens, e)
                        : engine_text_tokens(en, r->prompt, n, &prompt->tokens, e);
    if (ok && !prompt->tokens.n) {
        return error_set(e, ERROR_INPUT,
                         "the prompt is empty and this model has no token to begin with; give it "
                         "some text");
    }
    return ok;
}

static void note_token(void *context, const struct token_report *report)
{
    struct noted *n = context;
    json_array_append_new(n->logprobs, logprobs_json(n->tokenizer, report, n->top));
}

static void print_result(const struct run *r, const char *name, const struct engine *en,
                         const struct answer *a, const double *scores, const json_t *logprobs,
                         double total_s)
{
    const struct generation_stats *s = &a->stats;
    json_t *message = chat_message_json(a->message);
    json_t *reasoning = json_object_get(message, "reasoning_content");
    json_t *calls = json_object_get(message, "tool_calls");
    json_t *usage = json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)s->n_prompt,
                              "completion_tokens", (json_int_t)s->n_generated);
    if (r->o->session) {
        json_object_set_new(usage, "reused_tokens", json_integer(s->n_reused));
    }
    json_t *timings = json_pack(
        "{s:f, s:f, s:f, s:f, s:f}", "load_ms", engine_load_time_s(en) * 1e3,
        "prefill_tokens_per_second", answer_prefill_rate(s), "decode_tokens_per_second",
        answer_decode_rate(s), "first_token_ms", s->first_token_s * 1e3, "total_ms", total_s * 1e3);
    json_t *stop = s->stop ? term_json_text(s->stop, strlen(s->stop)) : json_null();
    json_t *all = json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "model", term_json_text(name, strlen(name)),
        "content", term_json_text(a->text.data ? a->text.data : "", a->text.len), "reasoning",
        reasoning && !r->o->no_thinking ? json_incref(reasoning) : json_null(), "tool_calls",
        calls ? json_incref(calls) : json_array(), "finish_reason", answer_finish_reason(a),
        "stop_string", stop, "usage", usage, "timings", timings);
    if (!r->o->beams) { /* a search draws nothing */
        json_object_set_new(all, "seed", json_integer((json_int_t)r->sampling.seed));
    }
    char why[ANSWER_WHY_BYTES];
    if (answer_why_cut(s, r->o->max_tokens, why)) {
        json_object_set_new(all, "form_complete", json_false());
        json_object_set_new(all, "why", term_json_text(why, strlen(why)));
    }
    if (logprobs) {
        json_object_set(all, "logprobs", (json_t *)(uintptr_t)logprobs);
    }
    if (r->o->beams) {
        json_object_set_new(all, "beams",
                            answer_beams_json(a, scores, r->o->beams, !r->o->no_thinking));
    }
    if (r->draft) {
        json_object_set_new(all, "drafts",
                            json_pack("{s:I, s:I}", "proposed", (json_int_t)s->n_drafts, "kept",
                                      (json_int_t)s->n_drafts_kept));
    }
    json_dumpf(all, stdout, JSON_COMPACT); /* with all digits, as in lllm batch */
    fputc('\n', stdout);
    json_decref(all);
    json_decref(message);
}

/* Ends the line of the answer where a person looks at it; pipes and files get the answer as it
 * is. */
static void finish_output(const struct run *r, const struct engine *en, struct answer *a)
{
    answer_print_calls(a);
    if (isatty(STDOUT_FILENO) && (a->open_line || a->stats.reason == FINISH_CANCELLED)) {
        putchar('\n');
        a->open_line = false;
    }
    fflush(stdout);
    if (r->o->common.quiet) {
        return;
    }
    if (a->open_line && (isatty(STDERR_FILENO) || term_same_target(stdout, stderr))) {
        fputc('\n', stderr);
    }
    answer_print_figures(a, engine_load_time_s(en), stderr);
    if (r->o->common.verbose) {
        fprintf(stderr, "kernels %s | %d threads | context %u | seed %llu\n",
                engine_kernels_name(en), engine_threads(en), engine_context_size(en),
                (unsigned long long)r->sampling.seed);
    }
}

/* The messages of the request: those of the file and what is said now, which is the result of a
 * call where the last answer asked for one. */
static json_t *messages_of(const struct run *r, const struct talk_file *f, struct error *e)
{
    if (!f->messages) {
        return chat_input_messages(r->o->system, r->prompt);
    }
    json_t *messages = json_copy(f->messages), *waiting = talk_file_waiting(messages);
    size_t n = json_array_size(waiting);
    json_t *said = chat_input_message(n ? "tool" : "user", r->prompt, strlen(r->prompt));
    if (n) {
        const json_t *call = json_array_get(waiting, 0);
        json_object_set(said, "tool_call_id", json_object_get(call, "id"));
        json_object_set(said, "name", json_object_get(json_object_get(call, "function"), "name"));
    }
    json_array_append_new(messages, said);
    if (n == 1 && !r->o->common.quiet) {
        term_message("the prompt is the result of %s, which %s waits for",
                     json_string_value(json_object_get(said, "name")), f->path);
    }
    json_decref(waiting);
    if (n > 1) {
        error_set(e, ERROR_USAGE,
                  "the last answer of %s waits for the results of %zu calls: give them in a chat "
                  "(lllm run --session FILE, without a prompt)",
                  f->path, n);
        json_decref(messages);
        return NULL;
    }
    return messages;
}

/* What became of the file of --session. */
struct kept {
    bool written;
    struct error why; /* why it could not be */
};

static void save_session(const struct talk_file *f, const struct session *s, json_t *messages,
                         const struct answer *a, struct kept *kept)
{
    if (session_count(s) == 0 || (!messages && a->stats.n_left)) {
        return; /* interrupted before all of the text was there again: it stays as it is */
    }
    if (messages) {
        json_array_append_new(messages, chat_message_json(a->message));
        kept->written = talk_file_save_chat(f, s, messages, &kept->why);
    } else {
        kept->written = talk_file_save_text(f, s, a->stats.behind, &kept->why);
    }
}

/* What was said before counts too. */
static bool check_room(const struct engine *en, const struct talk_file *f,
                       const struct prompt *prompt, struct error *e)
{
    uint32_t size = engine_context_size(en);
    return !f->was_there || prompt->tokens.n <= size ||
           error_set(e, ERROR_LIMIT,
                     "%s of %s and what is said now fill the context of %u tokens: --context-size "
                     "sets how much fits, and another file begins anew",
                     f->messages ? "the conversation" : "the text", f->path, size);
}

/* With the prompt's tokens: draws one answer, or searches. all: as answer_count says. */
static bool answer_prompt(const struct run *r, struct engine *en, struct session *session,
                          const struct prompt_request *request, const struct prompt *prompt,
                          const struct generation_options *how, struct answer *all, double *scores,
                          uint32_t n, struct error *e)
{
    struct prompter *p = engine_prompter(en);
    if (!r->o->beams) {
        return request->messages ? answer_chat(all, session, p, request, prompt, how, e)
                                 : answer_generate(all, session, &prompt->tokens, how, e);
    }
    struct answer_search search = {
        .engine = en,
        .adapters = &r->adapters.use,
        .beams = {.width = r->o->beams, .length_penalty = r->o->length_penalty},
        .n = n};
    return answer_beams(&search, all, scores, request->messages ? p : NULL, request, prompt, how,
                        e);
}

/* Fills all[n] and scores[n]; false on an error. A file that cannot be written is none: the answer
 * is to be shown all the same. */
static bool generate(const struct run *r, struct engine *en, bool raw,
                     const struct generation_options *how, struct answer *all, double *scores,
                     uint32_t n, struct kept *kept, struct error *e)
{
    struct prompt prompt = {0};
    struct prompt_request request = {
        .tools = r->tools, .add_generation_prompt = true, .thinking = run_thinking(r->o)};
    struct talk_file file = {0};
    struct session *session = r->o->beams ? NULL : session_new(en, e);
    bool ok = r->o->beams || session;
    if (ok && session) {
        session_adapt(session, &r->adapters.use);
    }
    if (ok && r->o->session) {
        struct talk_wish wish = {
            .path = r->o->session, .system = r->o->system, .tools = r->tools, .raw = raw};
        ok = talk_file_open(&file, &wish, en, session, e);
    }
    if (ok && file.other_tools && !r->o->common.quiet) {
        term_message("%s", file.other_tools);
    }
    if (ok && !raw) {
        request.messages = messages_of(r, &file, e);
        ok = request.messages && prompter_prompt(engine_prompter(en), &request, &prompt, e);
    } else if (ok) {
        ok = raw_prompt(r, en, &file.tokens, &prompt, e);
    }
    ok = ok && check_room(en, &file, &prompt, e) &&
         answer_prompt(r, en, session, &request, &prompt, how, all, scores, n, e);
    if (ok && r->o->session) {
        save_session(&file, session, request.messages, all, kept);
    }
    session_free(session);
    talk_file_free(&file);
    prompt_free(&prompt);
    json_decref(request.messages);
    return ok;
}

/* False, after a sentence, where a form was asked for that the answer has not. */
static bool explain_form(const struct answer *a, const struct generation_options *how)
{
    char why[ANSWER_WHY_BYTES];
    if (a->stats.reason == FINISH_CONSTRAINT) {
        term_message("the answer stops before it is whole: %s", a->stats.why);
        return false;
    }
    if (a->stats.partial && a->stats.reason == FINISH_LENGTH) {
        term_message("the answer was cut before its form was whole%s",
                     answer_filled_context(a, how) ? "" : "; --max-tokens allows more");
        return false;
    }
    if (answer_why_cut(&a->stats, how->max_tokens, why)) {
        term_message("the answer has not its form: %s", why);
        return false;
    }
    return true;
}

/* An exit status: the one that there was, where nothing failed. */
static int tell_kept(const struct run *r, const struct kept *kept, int status)
{
    int number = answer_told_to_end();
    if (kept->why.code != ERROR_NONE) {
        return cli_fail(&kept->why);
    }
    if (number && !r->o->common.quiet) {
        term_message("told to end (%s): %s%s", number == SIGHUP ? "SIGHUP" : "SIGTERM",
                     kept->written ? "what there is of the answer is in "
                                   : "before there was an answer, so nothing is written to ",
                     r->o->session);
    }
    return status;
}

int run_once(const struct run *r, const char *name, struct engine *en, bool raw, double start_s)
{
    struct error e = {0};
    int status = CLI_DONE;
    bool json = r->o->common.json;
    uint32_t n = json && r->o->beams ? r->o->beams : 1; /* the first is the one to show */
    struct answer *all = mem_array(n, sizeof *all);
    double *scores = mem_array(n, sizeof *scores);
    for (uint32_t i = 0; i < n; i++) {
        answer_init(&all[i], json ? NULL : stdout);
        all[i].show_reasoning = run_shows_reasoning(r->o);
        all[i].tool_choice = r->o->tool_choice;
        all[i].tools_from = r->o->tools ? input_name(r->o->tools) : NULL;
    }
    answer_catch_interrupt(true);
    if (r->o->session) {
        answer_catch_end();
    }
    struct kept kept = {0};
    struct generation_options how = run_generation(r);
    struct noted noted = {.tokenizer = engine_tokenizer(en),
                          .logprobs = r->o->logprobs ? json_array() : NULL,
                          .top = r->o->n_top > 0};
    how.report = noted.logprobs ? note_token : NULL;
    how.report_context = &noted;
    how.n_top = r->o->n_top;
    how.spm_start = raw && !*r->prompt && !r->o->session;
    if (!generate(r, en, raw, &how, all, scores, n, &kept, &e)) {
        if (all->text.len && !json) {
            putchar('\n');
            fflush(stdout);
        }
        status = e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e);
    } else if (all->output_failed) {
        status = CLI_FAILED;
    } else {
        if (json) {
            print_result(r, name, en, all, scores, noted.logprobs, time_now_s() - start_s);
        } else {
            finish_output(r, en, all);
        }
        bool held = explain_form(all, &how);
        if (!r->o->common.quiet && answer_filled_context(all, &how)) {
            term_message("the answer stops here because the context of %u tokens is full; "
                         "--context-size makes it larger",
                         engine_context_size(en));
        }
        status = all->stats.reason == FINISH_CANCELLED ? CLI_INTERRUPTED
                 : held                                ? CLI_DONE
                                                       : CLI_FAILED;
    }
    fflush(stdout);
    status = tell_kept(r, &kept, status);
    for (uint32_t i = 0; i < n; i++) {
        answer_free(&all[i]);
    }
    free(all);
    free(scores);
    json_decref(noted.logprobs);
    if (answer_told_to_end()) {
        raise(answer_told_to_end()); /* whoever sent it sees that it was heard */
    }
    return status;
}
