/* A history as lines of text, for clients that are written in other languages:
 * each line is one call of history.h, in the order in which the client learnt
 * of it.  Words are separated by one space, numbers are decimal.
 *
 *   topic T NAME                 T: 0, 1, ... in order of mention
 *   session S PRODUCER           S: 0, 1, ... in order
 *   sent T PRODUCER NUMBER PARTITION ACKS SESSION SEQUENCE MS
 *                                idempotent, or session and sequence are -1
 *   acked T PRODUCER NUMBER OFFSET
 *   unknown T PRODUCER NUMBER WHY...
 *   seek READER T PARTITION OFFSET
 *   read READER T PARTITION OFFSET EPOCH MS PRODUCER NUMBER SOUND
 *                                what a value says of itself; SOUND 0: its
 *                                bytes are not those that were sent
 *   delivered GROUP T PARTITION OFFSET
 *   assigned GROUP GENERATION MEMBER T PARTITION      -1: nothing
 *   commit C GROUP GENERATION MEMBER T PARTITION OFFSET   C: 0, 1, ...
 *   committed C acked|refused|unknown
 *   ask Q                        OffsetFetch is about to be sent; Q: 0, 1, ...
 *   offset Q GROUP GENERATION T PARTITION COMMIT OFFSET   its answer
 *   final-start
 *   final T PARTITION START END
 *   note ...
 *   end                          the last line of a whole history
 *
 * What these mean, and what is judged, history.h says. */
#ifndef TESTS_SIM_LOAD_HISTORY_LINES_H
#define TESTS_SIM_LOAD_HISTORY_LINES_H

#include "tests/sim/load/history.h"

struct history_lines {
    struct history *history;
    int topics;
    int64_t commits;
    uint64_t *asked; /* ticks, by question */
    int64_t asked_len;
    bool ended; /* "end" was there */
};

/* False: the line is none, or out of its order. */
bool history_lines_take(struct history_lines *l, const char *line);
void history_lines_free(struct history_lines *l);

#endif
