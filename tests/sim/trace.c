#include "tests/sim/trace.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES = 4096, LINE_BYTES = 400, TEXT_BYTES = 360 };

static struct {
    struct world *world;
    bool print;
    uint64_t lines;
    char line[LINES][LINE_BYTES];
} trace;

static void format(char *line, const char *who, const char *text)
{
    int64_t us = trace.world->now_us;

    snprintf(line, LINE_BYTES, "%4lld.%06lld %-8s %s",
             (long long)(us / 1000000), (long long)(us % 1000000), who, text);
}

static void put(const char *who, const char *text)
{
    char *line = trace.line[trace.lines++ % LINES];

    format(line, who, text);
    world_note(trace.world, line, strlen(line));
    if (trace.print)
        puts(line);
}

void trace_detail(const char *who, const char *text)
{
    char line[LINE_BYTES];

    if (!trace.print)
        return;
    format(line, who, text);
    puts(line);
}

void trace_line(const char *who, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(who != NULL ? who : "world", text);
}

static void on_log(enum log_level level, const char *area, const char *message)
{
    struct process *p = trace.world->current;

    if (level == LOG_DEBUG)
        trace_detail(p != NULL ? p->name : "?", message);
    else
        trace_line(p != NULL ? p->name : "?", "%s %s (%s)",
                   log_level_name(level), message, area);
}

void trace_start(struct world *w, bool print)
{
    trace.world = w;
    trace.print = print;
    log_set_sink(on_log, print ? LOG_DEBUG : LOG_INFO);
}

void trace_dump(int n)
{
    uint64_t from = trace.lines > (uint64_t)n ? trace.lines - (uint64_t)n : 0;

    if (from + LINES < trace.lines)
        from = trace.lines - LINES;
    for (uint64_t i = from; i < trace.lines; i++)
        puts(trace.line[i % LINES]);
}
