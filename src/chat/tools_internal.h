/* tools_internal.h: what the parser of answers (answer.c) and the formats share. Private to chat/.
 *
 * The parser keeps what has come and is not yet understood in `text`. A format is a function that
 * takes a call off its front, called again and again until it says GO, BAD or DONE; between two
 * calls it remembers where it was in `phase` and in the fields below it. Everything it needs to
 * take comes from the take_* functions, which wait for more text where they must.
 *
 *          ┌── mark of a call ──► call ── GO ──► emits events, back to content
 *  content ┤                        └── BAD ──► the mark is content, back to content behind it
 *          └── mark of reasoning ──► reasoning ── closing mark ──► content
 *
 * Formats whose whole answer is framed (harmony, functionary) replace this machine by `run`.
 */
#ifndef LLLM_CHAT_TOOLS_INTERNAL_H
#define LLLM_CHAT_TOOLS_INTERNAL_H

#include "chat/json_scan.h"
#include "chat/tools.h"

enum step {
    STEP_MORE, /* wait for more text */
    STEP_GO,   /* done with this part */
    STEP_BAD,  /* this is not what it looked like */
};

enum { CHAT_MAX_MARKS = 4 };

/* The JSON of a call: one object, or an array of them. */
struct json_shape {
    const char *close[CHAT_MAX_MARKS]; /* one of them ends the call; it may be missing */
    bool name_is_key; /* {"NAME": {...}} instead of {"name": ..., "arguments": ...} */
    bool several;     /* further objects may follow, after ';' or blanks */
};

/* Calls in tags, an argument each; marks in the order in which they come. NULL: not there. */
struct xml_shape {
    const char *call;      /* before the name */
    const char *name_end;  /* behind it; NULL: the next mark ends it */
    const char *parameter; /* before a key */
    const char *key_end, *value, *value_end;
    const char *type_end; /* behind true or false: whether the value is a string */
    const char *call_end;
    const char *close, *close_too;
    bool newlines; /* a newline behind and before the tags is not part of the value */
};

struct chat_calls {
    const char *name;
    const char *sign;       /* in a template's source: it writes calls so; NULL: see detect */
    const char *vocabulary; /* a token that tells it too, where no template does; may be NULL */
    bool (*detect)(const char *source); /* for what one word does not tell; may be NULL */
    /* How to call, told to a model whose template writes such calls but lists no tools; NULL: such
     * a template gets the generic format. */
    const char *how;
    const char *open[CHAT_MAX_MARKS]; /* marks that begin a call */
    uint8_t keep;   /* bytes at the end of the mark that belong to what follows it */
    bool bare;      /* an answer that begins with '{' may be a call, without a mark */
    bool short_ids; /* ids are nine letters and digits */
    struct json_shape json;
    struct xml_shape xml;
    /* Takes what follows mark number `p->mark`. */
    enum step (*call)(struct chat_parser *p);
    /* Takes any answer; NULL: the usual machine. False: wait for more. */
    bool (*run)(struct chat_parser *p);
};

struct chat_reasoning {
    const char *name, *open, *close;
};

enum parser_state { IN_CONTENT, IN_REASONING, IN_CALL };

struct chat_parser {
    struct chat_format f;
    struct chat_parser_options o;
    chat_event_fn *event;
    void *context;
    char *prompt_end; /* a copy, NUL-terminated */
    json_t *tools;    /* a reference; may be NULL */
    struct {
        const char *mark;
        bool control; /* the vocabulary has it as a control token: text does not spell it */
    } marks[32];
    size_t n_marks;

    struct buf text; /* what came; [0, at) is done with */
    struct buf kind; /* [text.len] 0: text, 1: first byte of a control token, 2: its other bytes */
    size_t at;
    bool ended, stopped;

    enum parser_state state;
    bool spoke;       /* content other than blanks came since the start or the last call */
    bool no_bare;     /* an opening brace is no call any more */
    bool skip_blanks; /* newlines that come now belong to a mark before them */

    /* The call that is being taken. */
    size_t call_begin; /* offset in text */
    size_t open_bytes; /* length of its mark */
    int phase, mark, sub;
    struct buf name, id, arguments, key;
    struct buf header; /* what harmony says before a call's arguments */
    json_t *object;    /* arguments that come one by one */
    bool begun;        /* CHAT_CALL_BEGIN was sent */
    bool right;        /* what CHAT_CALL_END says */
    size_t sent;       /* bytes of the arguments that were sent */
    uint32_t n_begun, n_valid;
    struct json_scan json;
    size_t json_begin, json_at; /* offsets in text: where the scan began, and where it is */
    size_t value;               /* of the value that take_json takes, or of a member */
    size_t element, arguments_begin, arguments_end; /* of the object in a list of calls */
    unsigned level;                                 /* brackets around its members */
    int member;                                     /* which one is read */
};

/* ---- answer_take.c ---- */

bool parser_emit(struct chat_parser *p, enum chat_event_kind kind, const char *text, size_t n);
/* text[at, end) as content or reasoning, control tokens left out; at moves to end. */
void parser_flush(struct chat_parser *p, size_t end, enum chat_event_kind kind);
enum found { FOUND_NO, FOUND_PART, FOUND_YES };
/* Whether mark stands at offset i; FOUND_PART: what is there begins it. */
enum found parser_match(struct chat_parser *p, size_t i, const char *mark);
/* Any of marks (ended by NULL, at most CHAT_MAX_MARKS) at or behind `from`: its offset and number;
 * FOUND_PART: one may begin at *at; FOUND_NO: *at is the end of the text. */
enum found parser_search(struct chat_parser *p, size_t from, const char *const *marks, size_t *at,
                         int *which);
bool parser_is_control(const struct chat_parser *p, size_t i); /* a control token begins at i */
bool parser_in_control(const struct chat_parser *p, size_t i); /* byte i belongs to one */
bool parser_is_newline(char c);
bool parser_is_blank(char c);

enum step take_blanks(struct chat_parser *p);
enum step take_mark(struct chat_parser *p, const char *mark);
/* Text up to one of the marks, which is taken too; *which is its number, or -1 at the end of the
 * answer or before a control token that is no mark. BAD when out is full. */
enum step take_until(struct chat_parser *p, const char *const *marks, int *which, struct buf *out);
/* An object or array, after parser_json_start; its text is [value, at). With stream the bytes are
 * sent as arguments, if that was asked for. */
void parser_json_start(struct chat_parser *p);
enum step take_json(struct chat_parser *p, bool stream);
/* One call, or an array of calls, by the row's json shape. */
enum step take_json_calls(struct chat_parser *p);
/* Python up to the end or a control token: name.call(key=value), or code for the interpreter: the
 * tool that is offered as code_interpreter, python or ipython, or else "python". */
enum step take_python(struct chat_parser *p);

/* A call is complete: p->name, p->id and these arguments. Sends its events, what was sent already
 * excepted; false when the name is empty or the arguments are no JSON object. */
bool parser_call(struct chat_parser *p, const char *arguments, size_t n);
/* For arguments that are sent as they come: the beginning of the call, at the arguments' opening
 * brace (where, however the text is cut, the same is known of it), and the arguments so far, all
 * from their beginning, once the call has begun. */
void parser_begin(struct chat_parser *p);
void parser_send(struct chat_parser *p, const char *arguments, size_t n);
void parser_reset_call(struct chat_parser *p); /* forgets name, id and arguments */
void parser_give_up(struct chat_parser *p);    /* a call whose beginning was sent is none */

void chat_make_id(uint64_t seed, uint32_t index, bool short_id, char out[32]);

/* ---- formats ---- */

/* Rows, by file: calls_json.c, calls_named.c, calls_xml.c, calls_framed.c, calls_literal.c. */
extern const struct chat_calls calls_generic, calls_hermes, calls_llama3, calls_phi4,
    calls_command_r, calls_command_r7b, calls_apriel, calls_nemotron, calls_firefunction,
    calls_apertus, calls_gigachat;
extern const struct chat_calls calls_mistral, calls_deepseek, calls_deepseek_v31, calls_kimi,
    calls_functionary_v31;
extern const struct chat_calls calls_qwen3_coder, calls_seed, calls_glm, calls_dsml;
extern const struct chat_calls calls_harmony, calls_functionary_v32;
extern const struct chat_calls calls_lfm2, calls_gemma4;

/* calls_literal.c: name(key=value, ...) with Python's literals at text[*at]; *at moves behind it.
 * The arguments come as a new object, or NULL where there is no such call. */
json_t *pythonic_call(const char *text, size_t n, size_t *at, struct buf *name);
/* Sends a call whose arguments are an object, which is released. */
bool parser_call_object(struct chat_parser *p, json_t *arguments);

#endif
