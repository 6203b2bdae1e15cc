/* What happened in a run, for people: the last lines are kept, all of them are
 * printed on demand, and every one goes into the run's hash. */
#ifndef TESTS_SIM_TRACE_H
#define TESTS_SIM_TRACE_H

#include "tests/sim/world.h"

/* Log lines of the processes become trace lines.  print: all to standard
 * output, as they come. */
void trace_start(struct world *w, bool print);
/* `who` NULL: the world itself. */
void trace_line(const char *who, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Only printed, never kept nor in the hash. */
void trace_detail(const char *who, const char *text);
/* The last n lines. */
void trace_dump(int n);

#endif
