#include "base/log.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { LOG_LINE_MAX = 2048 };

/* Every area that a line is written in, and root; sorted. */
static const char *const loggers[] = {
    "cleaner", "controller", "groups", "log",   "raft",
    "replica", "root",       "server", "share", "transactions",
};
enum { LOGGERS = sizeof loggers / sizeof *loggers, ROOT = 6, INHERITS = 0 };

static const char *const level_names[] = {"TRACE", "DEBUG", "INFO",
                                          "WARN",  "ERROR", "FATAL"};
enum { LEVELS = sizeof level_names / sizeof *level_names };

/* Set once by main() before other threads start. */
static log_sink sink;
/* A logger's own level + 1, or INHERITS. */
static _Atomic int own_levels[LOGGERS];
/* Of all of them: what is below needs no look at its logger. */
static _Atomic int lowest_level;

/* ---- levels --------------------------------------------------------------*/

static int load(const _Atomic int *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void store(_Atomic int *number, int value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

enum log_level log_logger_level(int logger)
{
    int own = load(&own_levels[logger]);

    if (own == INHERITS)
        own = load(&own_levels[ROOT]);
    return own == INHERITS ? LOG_TRACE : (enum log_level)(own - 1);
}

static void set(int logger, int own)
{
    enum log_level lowest = LOG_FATAL;

    ASSERT(logger >= 0 && logger < LOGGERS);
    store(&own_levels[logger], own);
    for (int i = 0; i < LOGGERS; i++)
        if (log_logger_level(i) < lowest)
            lowest = log_logger_level(i);
    store(&lowest_level, (int)lowest);
}

void log_logger_set(int logger, enum log_level level)
{
    set(logger, (int)level + 1);
}

void log_logger_unset(int logger)
{
    ASSERT(logger != ROOT);
    set(logger, INHERITS);
}

/* ---- names ---------------------------------------------------------------*/

int log_loggers(void) { return LOGGERS; }

const char *log_logger_name(int logger) { return loggers[logger]; }

bool log_logger_is_root(int logger) { return logger == ROOT; }

int log_logger_find(struct slice name)
{
    for (int i = 0; i < LOGGERS; i++)
        if (slice_eq_str(name, loggers[i]))
            return i;
    return -1;
}

const char *log_level_name(enum log_level level) { return level_names[level]; }

bool log_level_find(struct slice name, enum log_level *level)
{
    for (int i = 0; i < LEVELS; i++)
        if (slice_eq_str(name, level_names[i])) {
            *level = (enum log_level)i;
            return true;
        }
    return false;
}

/* ---- lines ---------------------------------------------------------------*/

void log_set_sink(log_sink new_sink, enum log_level lowest)
{
    sink = new_sink;
    log_logger_set(ROOT, lowest);
}

static bool is_wanted(enum log_level level, const char *area)
{
    if (sink == NULL || (int)level < load(&lowest_level))
        return false;
    int logger = log_logger_find(slice_str(area));

    return level >= log_logger_level(logger < 0 ? ROOT : logger);
}

void log_line(enum log_level level, const char *area, const char *format, ...)
{
    char message[LOG_LINE_MAX];
    va_list args;

    if (!is_wanted(level, area))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (char *c = message; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    sink(level, area, message);
}
