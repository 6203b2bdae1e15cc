#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

enum { LOG_LINE_MAX = 2048 };

/* Set once by main() before other threads start. */
static log_sink sink;
static enum log_level lowest;

void log_set_sink(log_sink new_sink, enum log_level new_lowest)
{
    sink = new_sink;
    lowest = new_lowest;
}

void log_line(enum log_level level, const char *area, const char *format, ...)
{
    char message[LOG_LINE_MAX];
    va_list args;

    if (sink == NULL || level < lowest)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (char *c = message; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    sink(level, area, message);
}
