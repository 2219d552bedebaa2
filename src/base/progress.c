#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double every_s = 0.1, way_s = 0.03;
static bool enabled = true;

void progress_enable(bool on)
{
    enabled = on;
}

double time_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void time_format(double seconds, char *out, unsigned long out_bytes)
{
    unsigned long s = seconds > 0 ? (unsigned long)(seconds + 0.5) : 0;
    if (s >= 3600) {
        snprintf(out, out_bytes, "%lu h %02lu min", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        snprintf(out, out_bytes, "%lu min %02lu s", s / 60, s % 60);
    } else {
        snprintf(out, out_bytes, "%lu s", s);
    }
}

void progress_begin(struct progress *p, const char *label, uint64_t total)
{
    *p = (struct progress){.total = total, .start_s = time_now_s()};
    snprintf(p->label, sizeof p->label, "%s", label);
    p->active = enabled && isatty(STDERR_FILENO);
}

void progress_resume(struct progress *p, const char *label, uint64_t total, uint64_t done)
{
    progress_begin(p, label, total);
    p->first = done;
}

void progress_hide(struct progress *p)
{
    if (p->active && p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->drawn = false;
        p->shown_s = 0;
    }
}

void progress_make_way(struct progress *p)
{
    progress_hide(p);
    p->shown_s = time_now_s() - (every_s - way_s);
}

void progress_update(struct progress *p, uint64_t done, const char *note)
{
    double now = time_now_s();
    /* The whole bar is drawn at once, but for where it has to stay away. */
    if (!p->active || (now - p->shown_s < every_s && (done < p->total || !p->drawn))) {
        return;
    }
    p->shown_s = now;
    p->drawn = true;
    done = done < p->total ? done : p->total;
    double share = p->total ? (double)done / (double)p->total : 1;
    share = share > 1 ? 1 : share;
    char bar[25], left[32] = "", line[320];
    for (int i = 0; i < 24; i++) {
        bar[i] = (i + 1) <= (int)(share * 24 + 0.5) ? '#' : '.';
    }
    bar[24] = 0;
    if (done > p->first && now - p->start_s > 0.5) {
        double rate = (double)(done - p->first) / (now - p->start_s);
        time_format((double)(p->total - done) / rate, left, sizeof left);
    }
    /* A line that wraps could not be drawn over: on a narrow terminal the bar goes first. */
    struct winsize size;
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    for (int with_bar = 1; with_bar >= 0; with_bar--) {
        int n =
            snprintf(line, sizeof line, "%s %s%s%s%3d %%%s%s%s%s", p->label, with_bar ? "[" : "",
                     with_bar ? bar : "", with_bar ? "] " : "", (int)(share * 100),
                     *left ? "  left " : "", left, note ? "  " : "", note ? note : "");
        if (n < columns) {
            break;
        }
    }
    fprintf(stderr, "\r%.*s\033[K", columns - 1, line);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    progress_hide(p);
    p->active = false;
}
