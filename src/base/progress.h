/* progress.h: one line on standard error that tells how far long work is and when it ends.
 * Silent unless standard error is a terminal and progress_enable has not switched it off. */
#ifndef LLLM_BASE_PROGRESS_H
#define LLLM_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    char label[64];
    uint64_t total, first; /* first: how much was done before this run */
    double start_s, shown_s;
    bool active, drawn; /* drawn: the line is there now */
};

void progress_enable(bool on);
void progress_begin(struct progress *p, const char *label, uint64_t total);
/* The same for work that was partly done before: the time left is judged by what this run does. */
void progress_resume(struct progress *p, const char *label, uint64_t total, uint64_t done);
/* Clears the line where it is drawn, for other output; the next update draws it again at once. */
void progress_hide(struct progress *p);
/* The same, but it stays away for a moment, for a line that another process is to print. */
void progress_make_way(struct progress *p);
/* note (may be NULL): a few words behind the bar, such as "loss 1.32  5210 tok/s". Redraws at most
 * ten times a second. */
void progress_update(struct progress *p, uint64_t done, const char *note);
void progress_end(struct progress *p); /* clears the line */

double time_now_s(void); /* monotonic */

/* "1 h 02 min", "3 min 10 s", "12 s" */
void time_format(double seconds, char *out, unsigned long out_bytes);

#endif
