#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void to_stderr(enum log_level level, const char *area,
                      const char *message)
{
    char line[2304], stamp[32];
    struct timespec now;
    struct tm local;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    int n =
        snprintf(line, sizeof line, "[%s,%03ld] %s %s (%s)\n", stamp,
                 now.tv_nsec / 1000000, log_level_name(level), message, area);
    if (n >= (int)sizeof line)
        n = sizeof line - 1;
    ssize_t written = write(STDERR_FILENO, line, (size_t)n);
    (void)written; /* nowhere left to report to */
}

void log_to_stderr(enum log_level lowest) { log_set_sink(to_stderr, lowest); }
