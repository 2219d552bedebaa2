#include "cli/line_reader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#ifdef LLLM_HAVE_LIBEDIT
#include <histedit.h>
#endif

#include "base/file.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/models.h"

/* Terminals that are told to (xterm's mode 2004, "bracketed paste") put marks around what is
 * pasted: its line ends are text then, not the key that sends a message. */
#define PASTES_ON  "\x1b[?2004h"
#define PASTES_OFF "\x1b[?2004l"

enum { HISTORY_LINES = 1000, LINE_MAX_BYTES = 1 << 24 };

struct line_reader {
    char *prompt;
    bool terminal;
    struct buf line;
    char pending[4096]; /* of plain reading */
    size_t n_pending, at_pending;
    size_t n_typed; /* characters since the line began, as far as is known */
#ifdef LLLM_HAVE_LIBEDIT
    EditLine *editor;
    History *history;
    char *history_path;
    bool pastes; /* the terminal is to say what is pasted */
#endif
};

/* As by fg in a shell, which has set up the terminal anew. */
static volatile sig_atomic_t continued;
static pthread_t reading;

static void on_continue(int number)
{
    continued = 1;
    if (!pthread_equal(pthread_self(), reading)) { /* any thread may have it; that one waits */
        pthread_kill(reading, number);
    }
}

static void catch_continue(void)
{
    struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    reading = pthread_self();
    sigaction(SIGCONT, &action, NULL);
}

/* The prompt and what was typed behind it, on a line that the shell has left free. */
static void draw_again(struct line_reader *r)
{
    continued = 0;
#ifdef LLLM_HAVE_LIBEDIT
    if (r->editor) {
        el_set(r->editor, EL_PREP_TERM, 0); /* it thinks that the terminal is as it was */
        el_set(r->editor, EL_PREP_TERM, 1);
        fputs(r->pastes ? PASTES_ON : "", stdout);
        el_set(r->editor, EL_REFRESH);
        fflush(stdout);
        return;
    }
#endif
    fputs(r->prompt, stdout);
    fflush(stdout);
}

/* One byte, or -1 at the end of input and -2 on Ctrl-C. Signals are let in only while waiting, so
 * that none can fall between the check and the read. */
static int read_byte(struct line_reader *r)
{
    if (r->at_pending < r->n_pending) {
        return (unsigned char)r->pending[r->at_pending++];
    }
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGCONT);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    int result = -1;
    for (;;) {
        struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
        sigset_t open = before;
        sigdelset(&open, SIGINT);
        sigdelset(&open, SIGTERM);
        sigdelset(&open, SIGHUP);
        sigdelset(&open, SIGCONT);
        if (answer_interrupted()) {
            result = -2;
            break;
        }
        if (continued && r->terminal) {
            draw_again(r);
        }
        if (ppoll(&wait, 1, NULL, &open) < 0) {
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        /* The editor wants keys one by one; whoever runs next may want the rest. */
        ssize_t n = read(STDIN_FILENO, r->pending, r->terminal ? 1 : sizeof r->pending);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n > 0) {
            r->n_pending = (size_t)n;
            r->at_pending = 1;
            result = (unsigned char)r->pending[0];
        }
        break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}

static enum line_result read_plain(struct line_reader *r, const char **line, bool *typed)
{
    if (r->terminal) {
        fputs(r->prompt, stdout);
        fflush(stdout);
    }
    buf_clear(&r->line);
    for (;;) {
        int c = read_byte(r);
        if (c == '\n' || (c == -1 && r->line.len)) {
            break;
        }
        if (c < 0) {
            *typed = r->line.len > 0;
            return c == -1 ? LINE_END : LINE_INTERRUPTED;
        }
        buf_append_char(&r->line, (char)c); /* what passes the ceiling is dropped */
    }
    if (r->line.len && r->line.data[r->line.len - 1] == '\r') {
        r->line.data[--r->line.len] = 0;
    }
    *line = r->line.data ? r->line.data : "";
    return LINE_READ;
}

#ifdef LLLM_HAVE_LIBEDIT
static char *editor_prompt(EditLine *editor)
{
    void *data = NULL;
    el_get(editor, EL_CLIENTDATA, &data);
    return ((struct line_reader *)data)->prompt;
}

static int editor_read(EditLine *editor, wchar_t *out)
{
    void *data = NULL;
    el_get(editor, EL_CLIENTDATA, &data);
    struct line_reader *r = data;
    mbstate_t state = {0};
    for (;;) {
        int c = read_byte(r);
        if (c < 0) {
            return 0;
        }
        char byte = (char)c;
        size_t n = mbrtowc(out, &byte, 1, &state);
        if (n == (size_t)-2) {
            continue;
        }
        if (n == (size_t)-1) {
            memset(&state, 0, sizeof state); /* not a character of this locale: left out */
            continue;
        }
        r->n_typed++;
        return 1;
    }
}

static const wchar_t paste_end[] = L"\x1b[201~";
enum {
    PASTE_END = sizeof paste_end / sizeof *paste_end - 1,
    PASTE_MAX_CHARACTERS = LINE_MAX_BYTES / 8, /* what passes it is dropped */
};

/* Line ends are \r where the terminal sends them as the key does; other control characters are no
 * text. Returns how many are left. */
static size_t clean_paste(wchar_t *text, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        wchar_t c = text[i] == L'\r' ? L'\n' : text[i];
        if ((c >= 0x20 && !(c >= 0x7F && c < 0xA0)) || c == L'\n' || c == L'\t') {
            text[k++] = c;
        }
    }
    return k;
}

/* Bound to the mark that begins a paste: takes all to the other one into the line, at once. */
static unsigned char editor_paste(EditLine *editor, wint_t key)
{
    (void)key;
    wchar_t *text = NULL, c;
    size_t n = 0, room = 0, n_mark = 0; /* n_mark: so much of the mark was the last that came */
    while (n_mark < PASTE_END && el_wgetc(editor, &c) == 1) {
        n_mark = c == paste_end[n_mark] ? n_mark + 1 : c == paste_end[0];
        if (n < PASTE_MAX_CHARACTERS || n_mark) {
            if (n == room) {
                room = 2 * room + 1024;
                text = mem_resize(text, room * sizeof *text);
            }
            text[n++] = c;
        }
    }
    bool whole = n_mark == PASTE_END, ok = whole;
    n = whole ? clean_paste(text, n - PASTE_END) : 0;
    if (n) {
        text[n] = 0;
        ok = el_winsertstr(editor, text) == 0;
    }
    free(text);
    return ok ? CC_REFRESH : whole ? CC_ERROR : CC_EOF;
}

static void open_pastes(struct line_reader *r)
{
    const char *keys = NULL;
    el_get(r->editor, EL_EDITOR, &keys);
    r->pastes = keys && strcmp(keys, "emacs") == 0; /* vi's has Escape alone as a key */
    if (r->pastes) {
        el_wset(r->editor, EL_ADDFN, L"lllm-paste", L"Insert what is pasted", editor_paste);
        el_set(r->editor, EL_BIND, "\\e[200~", "lllm-paste", NULL);
    }
}

static void open_history(struct line_reader *r)
{
    HistEvent event;
    r->history = history_init();
    if (!r->history) {
        return;
    }
    history(r->history, &event, H_SETSIZE, HISTORY_LINES);
    history(r->history, &event, H_SETUNIQUE, 1);
    r->history_path = models_user_path("XDG_STATE_HOME", ".local/state", "history");
    if (r->history_path && file_exists(r->history_path)) {
        history(r->history, &event, H_LOAD, r->history_path);
    }
    el_set(r->editor, EL_HIST, history, r->history);
}

/* What people type is theirs: a new file that only they may read, then renamed over the old. */
static void save_history(struct line_reader *r)
{
    HistEvent event;
    char *slash = r->history_path ? strrchr(r->history_path, '/') : NULL;
    if (!slash) {
        return;
    }
    *slash = 0;
    bool made = file_make_directories(r->history_path, NULL);
    *slash = '/';
    struct buf fresh;
    buf_init(&fresh, 1 << 16);
    buf_printf(&fresh, "%s.%ld.tmp", r->history_path, (long)getpid());
    mode_t mask = umask(077);
    if (made && fresh.data && history(r->history, &event, H_SAVE, fresh.data) >= 0 &&
        rename(fresh.data, r->history_path) != 0) {
        unlink(fresh.data);
    }
    umask(mask);
    buf_free(&fresh);
}

static void open_editor(struct line_reader *r)
{
    const char *kind = getenv("TERM");
    if (!isatty(STDOUT_FILENO) || !kind || strcmp(kind, "dumb") == 0) {
        return;
    }
    r->editor = el_init("lllm", stdin, stdout, stderr);
    if (!r->editor) {
        return;
    }
    el_set(r->editor, EL_CLIENTDATA, r);
    el_set(r->editor, EL_PROMPT, editor_prompt);
    el_set(r->editor, EL_EDITOR, "emacs");
    el_set(r->editor, EL_SIGNAL, 0);
    el_set(r->editor, EL_GETCFN, editor_read);
    el_set(r->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    open_history(r);
    el_source(r->editor, NULL);
    open_pastes(r);
}

static enum line_result read_edited(struct line_reader *r, const char **line, bool *typed)
{
    int n = 0;
    r->n_typed = 0;
    /* Before the prompt is shown, so that a key that follows it at once is read as a key. */
    el_set(r->editor, EL_PREP_TERM, 1);
    fputs(r->pastes ? PASTES_ON : "", stdout);
    const char *text = el_gets(r->editor, &n);
    fputs(r->pastes ? PASTES_OFF : "", stdout);
    fflush(stdout);
    if (answer_interrupted()) {
        *typed = r->n_typed > 0;
        return LINE_INTERRUPTED;
    }
    if (!text || n <= 0) {
        return LINE_END;
    }
    size_t len = strlen(text);
    while (len && text[len - 1] == '\n') { /* the key, and the end of what was pasted */
        len--;
    }
    buf_clear(&r->line);
    *line = buf_append(&r->line, text, len) ? r->line.data : "";
    if (len && r->history) {
        HistEvent event;
        history(r->history, &event, H_ENTER, *line);
    }
    return LINE_READ;
}
#endif

struct line_reader *line_reader_new(const char *prompt)
{
    struct line_reader *r = mem_zalloc(sizeof *r);
    r->prompt = mem_strdup(prompt);
    r->terminal = isatty(STDIN_FILENO);
    buf_init(&r->line, LINE_MAX_BYTES);
#ifdef LLLM_HAVE_LIBEDIT
    if (r->terminal) {
        open_editor(r);
    }
#endif
    if (r->terminal) {
        catch_continue();
    }
    return r;
}

void line_reader_free(struct line_reader *r)
{
    if (!r) {
        return;
    }
#ifdef LLLM_HAVE_LIBEDIT
    if (r->history) {
        save_history(r);
        history_end(r->history);
    }
    if (r->editor) {
        el_end(r->editor);
    }
    free(r->history_path);
#endif
    buf_free(&r->line);
    free(r->prompt);
    free(r);
}

bool line_reader_is_terminal(const struct line_reader *r)
{
    return r->terminal;
}

bool line_reader_joins_pastes(const struct line_reader *r)
{
#ifdef LLLM_HAVE_LIBEDIT
    return r->pastes;
#else
    (void)r;
    return false;
#endif
}

enum line_result line_reader_next(struct line_reader *r, const char **line, bool *typed)
{
    *typed = false;
    continued = 0;
#ifdef LLLM_HAVE_LIBEDIT
    if (r->editor) {
        return read_edited(r, line, typed);
    }
#endif
    return read_plain(r, line, typed);
}
