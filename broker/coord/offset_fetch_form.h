/* OffsetFetch has two forms: one group (versions 0-7) and several (8+).  The
 * coordinator knows the second only; these translate at the edge. */
#ifndef BROKER_COORD_OFFSET_FETCH_FORM_H
#define BROKER_COORD_OFFSET_FETCH_FORM_H

#include "proto/kafka/api.h"

#include "base/error.h"

/* A request of any version in its groups form; arrays in `arena`, the rest
 * borrowed from `request`.  False when the arena's limit is passed. */
bool offset_fetch_to_groups(const struct offset_fetch_request *request,
                            int16_t version, struct arena *arena,
                            struct offset_fetch_request *groups);

/* The other way for an answer, in place: for versions 0-7 the one group becomes
 * the response itself.  Version 0 and 1 have no group error, so it is put into
 * each partition. */
bool offset_fetch_from_groups(struct offset_fetch_response *response,
                              int16_t version, struct arena *arena);

#endif
