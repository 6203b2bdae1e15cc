/* Choosing one of the bugs of base/planted.h. */
#ifndef TESTS_SIM_PLANTED_H
#define TESTS_SIM_PLANTED_H

#include "base/planted.h"

/* "ack-before-commit"; false: no such bug, or none in this build. */
bool planted_choose(const char *name);
/* How many this build has; numbers from 1. */
int planted_count(void);
const char *planted_name(int number);
const char *planted_text(int number);

#endif
