#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum log_level threshold = LOG_WARN;
static log_sink *sink_function;

void log_set_level(enum log_level level)
{
    threshold = level;
}

void log_set_sink(log_sink *sink)
{
    sink_function = sink;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > threshold) {
        return;
    }
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (sink_function) {
        sink_function(level, line);
    } else {
        fprintf(stderr, "lllm: %s\n", line);
    }
}
