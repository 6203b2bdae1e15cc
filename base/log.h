/* Log lines: one event, one line, one write.
 *
 * [2026-11-21 09:30:00,123] INFO what happened, to what, why, what next (area)
 *
 * `area` names the part ("raft", "log", "server").  Any thread may call.  The
 * core only formats; where lines go and what the time is belong to the sink,
 * which main() installs (base/log_posix.c); without one, lines are dropped.
 *
 * Each area is a logger with a level: lines below it are dropped.  A logger
 * without a level of its own has that of the logger "root", which is no area.
 * Levels can be changed at any time (KIP-412). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

/* Kafka's.  Nothing is written at the first and the last. */
enum log_level {
    LOG_TRACE,
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_FATAL,
};

/* Called for each line at or above its logger's level; must be thread-safe. */
typedef void (*log_sink)(enum log_level level, const char *area,
                         const char *message);

/* Before other threads start; `lowest` is the level of root. */
void log_set_sink(log_sink sink, enum log_level lowest);
/* Standard error, with the wall clock (base/log_posix.c). */
void log_to_stderr(enum log_level lowest);

void log_line(enum log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(area, ...) log_line(LOG_DEBUG, area, __VA_ARGS__)
#define log_info(area, ...) log_line(LOG_INFO, area, __VA_ARGS__)
#define log_warn(area, ...) log_line(LOG_WARN, area, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_ERROR, area, __VA_ARGS__)

/* ---- loggers -------------------------------------------------------------*/

/* They have numbers from 0 on, in the order of their names. */
int log_loggers(void);
const char *log_logger_name(int logger);
/* -1: there is none of this name. */
int log_logger_find(struct slice name);
bool log_logger_is_root(int logger);

/* Its own, or root's.  Any thread. */
enum log_level log_logger_level(int logger);
/* One thread at a time. */
void log_logger_set(int logger, enum log_level level);
/* It has root's again; not for root. */
void log_logger_unset(int logger);

/* "INFO" */
const char *log_level_name(enum log_level level);
/* False if there is none of this name, in capitals. */
bool log_level_find(struct slice name, enum log_level *level);

#endif
