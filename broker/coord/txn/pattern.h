/* Patterns over transactional ids (ListTransactions from version 2 on): RE2's
 * syntax as far as ids need it, in time that grows with the length of pattern
 * times id and not faster, whatever the pattern.
 *
 *     a . [a-z] [^,] \d \w \s \D \W \S \. | ( ) (?: ) * + ? {2} {2,} {2,4} ^ $
 *
 * The whole id must match.  Bytes are compared, so "." is one byte of a
 * character outside ASCII.  A pattern is used by one thread at a time. */
#ifndef BROKER_COORD_TXN_PATTERN_H
#define BROKER_COORD_TXN_PATTERN_H

#include "base/slice.h"

struct txn_pattern;

/* NULL: not a pattern, or one that would be too large. */
struct txn_pattern *txn_pattern_compile(struct slice text);
bool txn_pattern_matches(struct txn_pattern *pattern, struct slice id);
void txn_pattern_free(struct txn_pattern *pattern);

#endif
