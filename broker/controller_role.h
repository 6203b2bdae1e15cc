/* The controller in this process: joins configuration and directories to
 * controller/service.h. */
#ifndef BROKER_CONTROLLER_ROLE_H
#define BROKER_CONTROLLER_ROLE_H

#include "broker/broker.h"

struct controller_role;

/* Blocking, before the loop runs. NULL and a sentence that the caller frees.
 * `failed` as in controller/service.h. */
struct controller_role *controller_role_start(struct broker *broker,
                                              struct env *env,
                                              void (*failed)(void *arg),
                                              void *arg, char **why);
/* Any thread. A leader hands over first; `stopped` is called on the loop when
 * everything is on disk. */
void controller_role_stop(struct controller_role *role,
                          void (*stopped)(void *arg), void *arg);

/* For looking at, on its loop. */
struct controller_service;
struct controller_service *
controller_role_service(const struct controller_role *role);

#endif
