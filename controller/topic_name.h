/* What a topic may be called, in Kafka's words.  Pure; any thread. */
#ifndef CONTROLLER_TOPIC_NAME_H
#define CONTROLLER_TOPIC_NAME_H

#include "base/arena.h"

enum { TOPIC_NAME_MAX = 249 };

bool topic_name_is_valid(struct slice name);
/* The sentence for a name that isn't: "Topic name is invalid: ...". */
struct slice topic_name_problem(struct slice name, struct arena *a);

#endif
