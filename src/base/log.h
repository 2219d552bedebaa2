/* log.h: messages for the person at the terminal, on standard error unless a sink is set. */
#ifndef LLLM_BASE_LOG_H
#define LLLM_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void log_sink(enum log_level level, const char *line);

void log_set_level(enum log_level level); /* default LOG_WARN */
void log_set_sink(log_sink *sink);        /* NULL: standard error */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
