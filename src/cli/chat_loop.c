#include "cli/chat_loop.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"
#include "cli/answer.h"
#include "cli/chat_input.h"
#include "cli/input.h"
#include "cli/line_reader.h"
#include "cli/talk_file.h"
#include "cli/term.h"

struct talk {
    const struct chat_loop *chat;
    struct session *session;
    struct answer answer;
    json_t *messages;
    json_t *waiting; /* calls of the last answer that have no result yet */
    size_t turn;     /* messages before the turn of the person that is being answered */
    char *system;    /* NULL: none */
    char *saved;     /* what /save wrote last; NULL: nothing */
    bool at_terminal, joins_pastes;
    bool leave;
    int status;
};

static void start_anew(struct talk *t)
{
    json_array_clear(t->messages);
    json_array_clear(t->waiting);
    if (t->system) {
        json_array_append_new(t->messages,
                              chat_input_message("system", t->system, strlen(t->system)));
    }
}

/* As if it had not been said. */
static void forget_turn(struct talk *t)
{
    json_array_clear(t->waiting);
    while (json_array_size(t->messages) > t->turn) {
        json_array_remove(t->messages, json_array_size(t->messages) - 1);
    }
}

static void say_context_full(const struct talk *t)
{
    term_message("the conversation fills the context of %u tokens; /clear starts a new one "
                 "(--context-size sets how much fits)",
                 engine_context_size(t->chat->engine));
}

static void refuse_long_turn(struct talk *t)
{
    if (t->turn > (t->system != NULL)) {
        say_context_full(t);
    } else {
        term_message("this message does not fit the context of %u tokens; shorten it "
                     "(--context-size sets how much fits)",
                     engine_context_size(t->chat->engine));
    }
    t->status = CLI_FAILED;
    forget_turn(t);
}

static const char *call_text(const json_t *call, const char *key)
{
    return json_string_value(json_object_get(json_object_get(call, "function"), key));
}

static void ask_for_result(const struct talk *t)
{
    json_t *call = json_array_get(t->waiting, 0);
    if (call && t->at_terminal && !t->chat->quiet) {
        term_note("what does %s give? The next line is its result", call_text(call, "name"));
    }
}

/* Ends the line of the answer and puts it into the conversation. */
static void keep_answer(struct talk *t)
{
    struct answer *a = &t->answer;
    char why[ANSWER_WHY_BYTES];
    if (a->open_line || (a->text.len == 0 && a->n_calls == 0)) {
        putchar('\n');
        a->open_line = false;
    }
    answer_print_calls(a);
    fflush(stdout);
    json_t *message = chat_message_json(a->message);
    json_array_append_new(t->messages, message);
    json_array_extend(t->waiting, json_object_get(message, "tool_calls"));
    answer_forget_interrupt();
    if (t->chat->quiet) {
        /* the answers alone */
    } else if (a->stats.reason == FINISH_CONSTRAINT) {
        term_note("the answer stops before it is whole: %s", a->stats.why);
    } else if (a->stats.partial && a->stats.reason == FINISH_LENGTH) {
        term_note("the answer was cut before its form was whole");
    } else if (answer_why_cut(&a->stats, t->chat->how.max_tokens, why)) {
        term_note("the answer has not its form: %s", why);
    }
    if (answer_filled_context(a, &t->chat->how)) {
        say_context_full(t);
    } else if (t->chat->verbose && !t->chat->quiet) {
        answer_print_figures(a, -1, stderr);
    }
    ask_for_result(t);
}

/* Answers the conversation as it stands. */
static void respond(struct talk *t)
{
    struct prompter *p = engine_prompter(t->chat->engine);
    struct prompt_request request = {
        .messages = t->messages,
        .tools = t->chat->tools,
        .add_generation_prompt = true,
        .thinking = t->chat->thinking,
    };
    struct prompt prompt = {0};
    struct error e = {0};
    answer_forget_interrupt();
    bool ok = prompter_prompt(p, &request, &prompt, &e);
    if (ok && prompt.tokens.n >= engine_context_size(t->chat->engine)) {
        refuse_long_turn(t);
        prompt_free(&prompt);
        return;
    }
    ok = ok && answer_chat(&t->answer, t->session, p, &request, &prompt, &t->chat->how, &e);
    prompt_free(&prompt);
    if (t->answer.output_failed) {
        t->leave = true;
        t->status = CLI_FAILED;
    } else if (ok) {
        keep_answer(t);
    } else {
        forget_turn(t);
        term_message("%s", e.message);
        t->status = CLI_FAILED;
    }
}

/* A chat that goes on may wait for a result. Without a terminal nothing asks for each, so it is
 * said once what the first text is taken for. */
static void tell_waiting(const struct talk *t, const char *first_prompt)
{
    if (json_array_size(t->waiting) && !t->chat->quiet && (first_prompt || !t->at_terminal)) {
        term_message("%s is the result of %s, which %s waits for",
                     first_prompt ? "the prompt" : "the first line",
                     call_text(json_array_get(t->waiting, 0), "name"), t->chat->session);
    } else {
        ask_for_result(t);
    }
}

static void say(struct talk *t, const char *text)
{
    t->turn = json_array_size(t->messages);
    json_array_append_new(t->messages, chat_input_message("user", text, strlen(text)));
    respond(t);
}

/* The result of the first call that waits for one; after the last the model goes on. */
static void give_result(struct talk *t, const char *text)
{
    json_t *call = json_array_get(t->waiting, 0);
    json_t *result = chat_input_message("tool", text, strlen(text));
    json_object_set(result, "tool_call_id", json_object_get(call, "id"));
    json_object_set_new(result, "name", json_string(call_text(call, "name")));
    json_array_append_new(t->messages, result);
    json_array_remove(t->waiting, 0);
    if (json_array_size(t->waiting)) {
        ask_for_result(t);
    } else {
        respond(t);
    }
}

/* What is said, or the result that is waited for. */
static void take_text(struct talk *t, const char *text)
{
    if (json_array_size(t->waiting)) {
        give_result(t, text);
    } else {
        say(t, text);
    }
}

static void command_help(struct talk *t, const char *argument);

static void command_clear(struct talk *t, const char *argument)
{
    (void)argument;
    start_anew(t);
    if (!t->chat->quiet) {
        term_note("a new conversation");
    }
}

static void command_system(struct talk *t, const char *argument)
{
    free(t->system);
    t->system = *argument ? mem_strdup(argument) : NULL;
    start_anew(t);
    if (!t->chat->quiet) {
        term_note(t->system ? "a new conversation with this system message"
                            : "a new conversation without a system message");
    }
}

static void append_as_text(struct buf *out, json_t *messages)
{
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        json_t *content = json_object_get(m, "content"), *call;
        size_t k;
        buf_printf(out, "%s%s:\n", i ? "\n" : "", json_string_value(json_object_get(m, "role")));
        if (json_is_string(content)) {
            buf_append(out, json_string_value(content), json_string_length(content));
            buf_append_char(out, '\n');
        }
        json_array_foreach(json_object_get(m, "tool_calls"), k, call)
        {
            buf_printf(out, "call %s %s\n", call_text(call, "name"), call_text(call, "arguments"));
        }
    }
}

static void command_save(struct talk *t, const char *argument)
{
    bool replaces = strncmp(argument, "-f", 2) == 0 && strchr(" \t", argument[2]);
    argument += replaces ? 2 + strspn(argument + 2, " \t") : 0;
    size_t n = strlen(argument);
    if (!n) {
        term_message("/save needs a file: /save chat.json, or any other name for plain text");
        t->status = CLI_FAILED;
        return;
    }
    if (file_is_directory(argument)) {
        term_message("%s is a folder; /save needs a file", argument);
        t->status = CLI_FAILED;
        return;
    }
    if (!replaces && file_exists(argument) && strcmp(argument, t->saved ? t->saved : "") != 0) {
        term_message("%s is there already; /save -f %s replaces it", argument, argument);
        t->status = CLI_FAILED;
        return;
    }
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    if (n > 5 && strcmp(argument + n - 5, ".json") == 0) {
        json_t *all = json_pack("{s:o, s:O}", "model",
                                term_json_text(t->chat->model_name, strlen(t->chat->model_name)),
                                "messages", t->messages);
        char *text = json_dumps(all, JSON_INDENT(2));
        buf_append_str(&out, text ? text : "");
        buf_append_char(&out, '\n');
        free(text);
        json_decref(all);
    } else {
        append_as_text(&out, t->messages);
    }
    struct error e = {0};
    if (!file_write_atomic(argument, out.data ? out.data : "", out.len, &e)) {
        term_message("%s", e.message);
        t->status = CLI_FAILED;
        buf_free(&out);
        return;
    }
    free(t->saved);
    t->saved = mem_strdup(argument);
    if (!t->chat->quiet) {
        size_t n_messages = json_array_size(t->messages);
        term_note("saved %zu message%s to %s", n_messages, n_messages == 1 ? "" : "s", argument);
    }
    buf_free(&out);
}

static void command_exit(struct talk *t, const char *argument)
{
    (void)argument;
    t->leave = true;
}

static const struct chat_command {
    const char *name, *argument, *summary;
    void (*run)(struct talk *t, const char *argument);
} chat_commands[] = {
    {"/help", "", "this list", command_help},
    {"/clear", "", "forget the conversation, but not the system message", command_clear},
    {"/save", "FILE",
     "write the conversation (JSON for a name in .json, else text); -f FILE: also where it is "
     "there",
     command_save},
    {"/system", "TEXT", "a new conversation with this system message; without TEXT: with none",
     command_system},
    {"/exit", "", "leave (also Ctrl-D)", command_exit},
};
enum { N_CHAT_COMMANDS = sizeof chat_commands / sizeof *chat_commands };

static void command_help(struct talk *t, const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < N_CHAT_COMMANDS; i++) {
        fprintf(stderr, "  %-8s%-6s%s\n", chat_commands[i].name, chat_commands[i].argument,
                chat_commands[i].summary);
    }
    fprintf(stderr, "  Ctrl-C stops an answer; at an empty prompt, twice, it leaves\n  %s\n",
            t->joins_pastes ? "Lines that are pasted together are one message"
                            : "Each line is a message, also of several that are pasted");
}

static const char *chat_candidate(const void *context, size_t index)
{
    (void)context;
    return index < N_CHAT_COMMANDS ? chat_commands[index].name : NULL;
}

static void run_chat_command(struct talk *t, const char *line)
{
    size_t n = strcspn(line, " \t");
    const char *argument = line + n + strspn(line + n, " \t");
    char *trimmed = mem_strdup(argument);
    for (size_t i = strlen(trimmed); i && (trimmed[i - 1] == ' ' || trimmed[i - 1] == '\t'); i--) {
        trimmed[i - 1] = 0;
    }
    char name[32];
    size_t shown = n < sizeof name ? n : sizeof name - 1;
    snprintf(name, sizeof name, "%.*s", (int)(shown - utf8_incomplete_tail(line, shown)), line);
    const struct chat_command *found = NULL;
    for (size_t i = 0; i < N_CHAT_COMMANDS; i++) {
        found = strcmp(chat_commands[i].name, name) == 0 ? &chat_commands[i] : found;
    }
    if (found) {
        found->run(t, trimmed);
    } else {
        const char *near = options_nearest(name, chat_candidate, NULL);
        term_message("there is no command %s%s%s%s (/help lists them)", name,
                     near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    free(trimmed);
}

static void loop(struct talk *t, struct line_reader *reader)
{
    bool asked_to_leave = false;
    while (!t->leave) {
        const char *line;
        bool typed;
        enum line_result result = line_reader_next(reader, &line, &typed);
        if (result == LINE_END) {
            if (line_reader_is_terminal(reader)) {
                putchar('\n');
            }
            break;
        }
        if (result == LINE_INTERRUPTED) {
            answer_forget_interrupt();
            if (answer_told_to_end()) {
                break;
            }
            if (!line_reader_is_terminal(reader)) {
                t->status = CLI_INTERRUPTED;
                break;
            }
            putchar('\n');
            if (!typed && asked_to_leave) {
                break;
            }
            asked_to_leave = !typed;
            if (!typed) {
                term_note("Ctrl-C again, Ctrl-D or /exit leaves");
            }
            continue;
        }
        asked_to_leave = false;
        struct error e = {0};
        const char *text = line + strspn(line, " \t\n");
        if (*text == '/' && !strchr(text, '\n')) { /* several lines are no command */
            run_chat_command(t, text);
        } else if (!input_check_text("what was typed", NULL, line, strlen(line), &e)) {
            term_message("%s", e.message);
            t->status = CLI_FAILED;
        } else if (*text) {
            take_text(t, line);
        }
    }
}

/* Where the last turn of a person begins. */
static size_t last_turn(const json_t *messages)
{
    size_t i = json_array_size(messages);
    while (i > 0) {
        const json_t *m = json_array_get(messages, --i);
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && strcmp(role, "user") == 0) {
            break;
        }
    }
    return i;
}

/* Goes on with what the file has; false on an error. */
static bool open_file(struct talk *t, struct talk_file *f, struct error *e)
{
    const struct chat_loop *chat = t->chat;
    if (!chat->session) {
        return true;
    }
    struct talk_wish wish = {.path = chat->session, .system = chat->system, .tools = chat->tools};
    if (!talk_file_open(f, &wish, chat->engine, t->session, e)) {
        return false;
    }
    if (f->other_tools && !chat->quiet) {
        term_message("%s", f->other_tools);
    }
    if (f->messages) {
        const json_t *first = json_array_get(f->messages, 0);
        const char *role = json_string_value(json_object_get(first, "role"));
        const char *text = json_string_value(json_object_get(first, "content"));
        t->system = role && text && strcmp(role, "system") == 0 ? mem_strdup(text) : NULL;
        json_array_clear(t->messages);
        json_array_extend(t->messages, f->messages);
        json_decref(t->waiting);
        t->waiting = talk_file_waiting(t->messages);
        t->turn = last_turn(t->messages);
    }
    if (f->messages && !chat->quiet && t->at_terminal) {
        size_t n = json_array_size(t->messages);
        term_note("%s goes on: %zu message%s, %u tokens", chat->session, n, n == 1 ? "" : "s",
                  session_count(t->session));
    }
    return true;
}

static bool save_file(struct talk *t, const struct talk_file *f)
{
    struct error e = {0};
    bool ok = !t->chat->session || session_count(t->session) == 0 ||
              talk_file_save_chat(f, t->session, t->messages, &e);
    if (!ok) {
        t->status = cli_fail(&e);
    }
    return ok;
}

/* To its end. Where the file cannot be written then, a person may go on once: to make room for it,
 * or to keep the text elsewhere. */
static void hold_talk(struct talk *t, struct line_reader *reader, const struct talk_file *f)
{
    for (bool again = false;; again = true) {
        loop(t, reader);
        if (t->at_terminal && !t->answer.output_failed) {
            t->status = CLI_DONE; /* a person has seen what failed, and left */
        }
        if (save_file(t, f) || again || !t->at_terminal || answer_told_to_end() ||
            t->answer.output_failed) {
            return;
        }
        term_note("the chat is still open: make room and leave again, or /save FILE keeps its text "
                  "elsewhere; what is not written when you leave again is lost");
        t->leave = false;
        answer_forget_interrupt();
    }
}

static int end(struct talk *t, int status)
{
    session_free(t->session);
    json_decref(t->messages);
    json_decref(t->waiting);
    free(t->system);
    free(t->saved);
    return status;
}

int chat_loop_run(const struct chat_loop *chat, const char *first_prompt)
{
    struct error e = {0};
    struct talk t = {.chat = chat, .messages = json_array(), .waiting = json_array()};
    t.session = session_new(chat->engine, &e);
    if (!t.session) {
        return end(&t, cli_fail(&e));
    }
    session_adapt(t.session, chat->adapters);
    t.system = chat->system ? mem_strdup(chat->system) : NULL;
    start_anew(&t);
    struct line_reader *reader = line_reader_new(">>> ");
    struct talk_file file = {0};
    t.at_terminal = line_reader_is_terminal(reader);
    t.joins_pastes = line_reader_joins_pastes(reader);
    if (!open_file(&t, &file, &e)) {
        talk_file_free(&file);
        line_reader_free(reader);
        return end(&t, e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e));
    }
    answer_init(&t.answer, stdout);
    t.answer.show_reasoning = chat->show_reasoning;
    t.answer.tool_choice = chat->tool_choice;
    t.answer.tools_from = chat->tools_from;
    answer_catch_interrupt(false);
    if (chat->session) {
        answer_catch_end();
    }
    if (!chat->quiet && t.at_terminal) {
        fputs(term_style(stderr, TERM_DIM), stderr);
        term_print_escaped(stderr, chat->model_name, strlen(chat->model_name), 0);
        fprintf(stderr, ": /help lists commands, Ctrl-D leaves%s\n",
                term_style(stderr, TERM_PLAIN));
    }
    tell_waiting(&t, first_prompt);
    if (first_prompt) {
        take_text(&t, first_prompt);
    }
    hold_talk(&t, reader, &file);
    talk_file_free(&file);
    line_reader_free(reader);
    answer_free(&t.answer);
    int status = end(&t, t.status);
    if (answer_told_to_end()) {
        raise(answer_told_to_end()); /* whoever sent it sees that it was heard */
    }
    return status;
}
