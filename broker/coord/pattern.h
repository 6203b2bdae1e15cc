/* Patterns over transactional ids (ListTransactions from version 2 on) and over
 * topics (consumer groups, KIP-848): RE2's syntax as far as such names need it,
 * in time that grows with the length of pattern times name and not faster,
 * whatever the pattern.
 *
 *     a . [a-z] [^,] [[:alpha:]] \d \w \s \D \W \S \. \x2d \Q...\E
 *     | ( ) (?: ) (?P<n> ) (?<n> ) (?i) (?i: ) * + ? {2} {2,} {2,4}, and these
 *     with ? behind them; ^ $ \A \z \b \B
 *
 * Of the flags i, m, s and U only i and s change what matches.  Not there:
 * classes of Unicode (\pL), octal escapes, \C, and letters outside ASCII in
 * any case.  What RE2 does not have (references, looking around) is no pattern.
 *
 * The whole name must match.  Bytes are compared, so "." is one byte of a
 * character outside ASCII.  A pattern is used by one thread at a time. */
#ifndef BROKER_COORD_PATTERN_H
#define BROKER_COORD_PATTERN_H

#include "base/slice.h"

struct coord_pattern;

/* NULL: not a pattern, or one that would be too large. */
struct coord_pattern *coord_pattern_compile(struct slice text);
bool coord_pattern_matches(struct coord_pattern *pattern, struct slice name);
/* What a match costs, in steps for each byte of the name. */
uint32_t coord_pattern_steps(const struct coord_pattern *pattern);
void coord_pattern_free(struct coord_pattern *pattern);

#endif
