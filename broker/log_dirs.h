/* The log directories at start and stop: formatted for this cluster and node,
 * locked against a second process, and whether the last stop was a clean one.
 *
 * With several, one whose disk does not answer is left out (log_dir_failed()),
 * and one that is new is formatted like the others.
 *
 * Kafka's marks: meta.properties, .lock, .kafka_cleanshutdown (which holds the
 * broker epoch, so that the controller can tell that nothing was lost). */
#ifndef BROKER_LOG_DIRS_H
#define BROKER_LOG_DIRS_H

#include "broker/broker.h"

/* Opens and locks all directories of broker->config; fills log_dirs,
 * log_dirs_len, node_id and cluster_id. An unformatted directory is formatted
 * when the configuration names a cluster id (CLUSTER_ID), else refused.
 * Blocking. On failure *why gets a sentence that the caller frees. */
enum err log_dirs_open(struct broker *broker, struct env *env, char **why);

/* *epoch: the broker epoch of the last clean stop; -1 if it was not clean.
 * Removes the marks for good, so that a crash from here on counts as one; a
 * directory where that fails is left out, or the start ends with *why. */
enum err log_dirs_take_clean_marks(struct broker *broker, struct env *env,
                                   int64_t *epoch, char **why);
/* Everything is flushed: leaves the marks. */
void log_dirs_leave_clean_marks(struct broker *broker, struct env *env);

#endif
