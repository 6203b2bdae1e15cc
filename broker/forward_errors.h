/* One error for everything in a request that was to be forwarded. */
#ifndef BROKER_FORWARD_ERRORS_H
#define BROKER_FORWARD_ERRORS_H

#include "broker/request.h"

/* Answers the request; `message` lives until the call returns. */
void forward_respond_error(struct request *r, enum err error,
                           struct slice message);

#endif
