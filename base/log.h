/* Log lines: one event, one line, one write.
 *
 * [2026-11-21 09:30:00,123] INFO what happened, to what, why, what next (area)
 *
 * `area` names the part ("raft", "log", "server").  Any thread may call.  The
 * core only formats; where lines go and what the time is belong to the sink,
 * which main() installs (base/log_posix.c); without one, lines are dropped. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Called for each line at or above the level; must be thread-safe. */
typedef void (*log_sink)(enum log_level level, const char *area,
                         const char *message);

void log_set_sink(log_sink sink, enum log_level lowest);
/* Standard error, with the wall clock (base/log_posix.c). */
void log_to_stderr(enum log_level lowest);

void log_line(enum log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(area, ...) log_line(LOG_DEBUG, area, __VA_ARGS__)
#define log_info(area, ...) log_line(LOG_INFO, area, __VA_ARGS__)
#define log_warn(area, ...) log_line(LOG_WARN, area, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_ERROR, area, __VA_ARGS__)

#endif
