/* meta.properties: which cluster and node a log directory belongs to.
 *
 * Written once, when the directory is formatted (by `leat storage format`, or
 * by a server that is told the cluster id), and checked at every start: a
 * directory of another cluster or node must never be written to.  Kafka's
 * version 1: version, cluster.id, node.id, directory.id (KIP-631, KIP-858).
 *
 * The first half is pure, the second half reads and writes files
 * (base/meta_dir.c) and blocks. */
#ifndef BASE_META_PROPERTIES_H
#define BASE_META_PROPERTIES_H

#include "base/error.h"
#include "base/uuid.h"

struct env;

#define META_PROPERTIES_NAME "meta.properties"
/* The first voters of a quorum without controller.quorum.voters, in the
 * metadata directory: id@host:port:directory,... as --initial-controllers. */
#define META_VOTERS_NAME "initial.voters"

enum { META_CLUSTER_ID_MAX = 255 }; /* bytes */

struct meta_properties {
    char cluster_id[META_CLUSTER_ID_MAX + 1];
    int32_t node_id;
    struct uuid directory_id; /* zero: the file has none (before KIP-858) */
};

/* A cluster id is 1 to META_CLUSTER_ID_MAX visible ASCII characters. */
bool meta_cluster_id_ok(struct slice id);

/* ERR_NONE, or ERR_DAMAGED with a sentence in *why that the caller frees.
 * Unknown keys are ignored; version 0 (broker.id for node.id, cluster.id
 * optional) is understood too. */
enum err meta_properties_parse(struct slice text, const char *name,
                               struct meta_properties *m, char **why);
/* Appends the text of the file. */
void meta_properties_print(const struct meta_properties *m, struct buf *text);

/* ---- directories ----------------------------------------------------------
 */

/* ERR_NONE; ERR_ABSENT when the directory or the file in it does not exist;
 * ERR_IO, ERR_DAMAGED.  Other than ERR_NONE sets *why. */
enum err meta_dir_read(struct env *env, const char *dir,
                       struct meta_properties *m, char **why);

/* Makes the directory and its parents, then writes the file so that it is
 * there whole or not at all, also after a power failure.  ERR_IO, ERR_FULL. */
enum err meta_dir_format(struct env *env, const char *dir,
                         const struct meta_properties *m, char **why);

/* Reads and writes META_VOTERS_NAME; *text is NULL if there is none, and the
 * caller frees it. */
enum err meta_dir_read_voters(struct env *env, const char *dir, char **text,
                              char **why);
enum err meta_dir_write_voters(struct env *env, const char *dir,
                               const char *text, char **why);

#endif
